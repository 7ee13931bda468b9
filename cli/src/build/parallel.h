// Work on every processor.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace tito {

// Calls `work(i)` for all i below `count`, on every processor, with a progress bar. The first exception ends it and is thrown on.
void in_parallel(std::size_t count, const std::string& label, const std::function<void(std::size_t)>& work);

}  // namespace tito
