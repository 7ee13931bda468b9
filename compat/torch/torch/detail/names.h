// PyTorch's namespaces on TinyTorch's.
//
// `torch` is a second spelling of the namespace `tinytorch`, so that a program may name it, open it again
// (`namespace torch::nn { ... }`), specialise its templates and say `using namespace torch;`. C++ itself has no such second name: an
// alias cannot be opened again, and a namespace with using-directives in it makes `nn::Linear` ambiguous after
// `using namespace torch;`. `at` and `c10` are plain namespaces in which the same names are found.
#pragma once

#include <optional>

#define torch tinytorch

namespace tinytorch {
using std::make_optional;
using std::nullopt;
using std::nullopt_t;
using std::optional;
}  // namespace tinytorch

namespace at {
using namespace tinytorch;
}
namespace c10 {
using namespace tinytorch;
}
namespace caffe2 {
using namespace tinytorch;
}
