// From the lesson modules/64_gradient_table/gradient_table_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/gradient.h"

namespace tinytorch {

void detail::append_gradients(variable_list& out, const std::vector<Tensor>& gradients) { out.insert(out.end(), gradients.begin(), gradients.end()); }

std::string detail::node_name(const char* operator_name, bool second) {
  std::string name;
  bool capital = true;
  for (const char* c = operator_name; *c != '\0'; ++c) {
    if (*c == '_') {
      capital = true;
      continue;
    }
    name += capital && *c >= 'a' && *c <= 'z' ? static_cast<char>(*c - 'a' + 'A') : *c;
    capital = *c >= '0' && *c <= '9';
  }
  return name + "Backward" + (second ? "1" : "0");
}

}  // namespace tinytorch
