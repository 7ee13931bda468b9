// The first difference that the last comparison of two tensors found; the reporters print it below the
// values.
#pragma once

#include <string>

namespace tito {

std::string& last_difference();

}  // namespace tito
