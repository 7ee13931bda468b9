// From the lesson modules/64_gradient_table/gradient_table_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/gradient.h"

namespace tinytorch {

std::string detail::node_name(const char* operator_name) {
  std::string name;
  bool capital = true;
  const char* c = operator_name;
  for (; *c != '\0' && *c != '.'; ++c) {
    if (*c == '_') {
      capital = true;
      continue;
    }
    name += capital && *c >= 'a' && *c <= 'z' ? static_cast<char>(*c - 'a' + 'A') : *c;
    capital = false;
  }
  return name + "Backward" + (*c == '.' ? c + 1 : "0");
}

}  // namespace tinytorch
