// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <utility>

#include "tinytorch/core/error.h"

namespace tinytorch {

namespace detail {
// Collects what a failed comparison has to say and throws it as an Error when the statement ends. Source: c10/util/Logging.h (MessageLogger).
class FailedComparison {
 public:
  explicit FailedComparison(SourceLocation where) : where_(where) {}
  FailedComparison(const FailedComparison&) = delete;
  FailedComparison& operator=(const FailedComparison&) = delete;
  ~FailedComparison() noexcept(false) { throw Error(where_, out_.text()); }
  std::ostream& stream() { return out_.stream(); }

 private:
  SourceLocation where_;
  TextStream out_;
};

// Makes a stream void, so that both sides of a `?:` are.
struct IgnoreStream {
  void operator&(std::ostream&) const {}
};
}  // namespace detail

// Throws an Error that shows both values unless `val1 op val2` holds; they are evaluated again for it. Source: c10/util/Exception.h.
#define TORCH_CHECK_OP(val1, val2, op)                                                                                  \
  ((val1)op(val2)) ? static_cast<void>(0)                                                                               \
                   : ::tinytorch::detail::IgnoreStream() & ::tinytorch::detail::FailedComparison(TINYTORCH_HERE).stream() \
                         << "Check failed: " #val1 " " #op " " #val2 " (" << (val1) << " vs. " << (val2) << "). "
#define TORCH_CHECK_EQ(val1, val2) TORCH_CHECK_OP(val1, val2, ==)
#define TORCH_CHECK_NE(val1, val2) TORCH_CHECK_OP(val1, val2, !=)
#define TORCH_CHECK_LT(val1, val2) TORCH_CHECK_OP(val1, val2, <)
#define TORCH_CHECK_LE(val1, val2) TORCH_CHECK_OP(val1, val2, <=)
#define TORCH_CHECK_GT(val1, val2) TORCH_CHECK_OP(val1, val2, >)
#define TORCH_CHECK_GE(val1, val2) TORCH_CHECK_OP(val1, val2, >=)

}  // namespace tinytorch
