// A new module to start from: small, complete, and already right by lint, export and its tests.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tito {

// File names within the module's folder, and their texts.
std::vector<std::pair<std::string, std::string>> module_skeleton(std::string_view number, std::string_view name);

}  // namespace tito
