// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/any.h"

#include <typeinfo>

namespace tinytorch {

void nn::detail::fail_argument_count(const std::type_info& module, std::size_t expected,
                                     std::size_t received) {
  TORCH_CHECK(false, demangle(module.name()), "'s forward() method expects ", expected,
              " argument(s), but received ", received, ".");
}

void nn::detail::fail_argument_type(std::size_t index, const std::type_info& expected,
                                    const std::type_info& received) {
  TORCH_CHECK(false, "Expected argument #", index, " to be of type ", demangle(expected.name()),
              ", but received value of type ", demangle(received.name()));
}

const std::type_info& nn::AnyModule::type_info() const {
  TORCH_CHECK(!is_empty(), "Cannot call type_info() on an empty AnyModule");
  return *type_;
}

std::shared_ptr<nn::Module> nn::AnyModule::ptr() const {
  TORCH_CHECK(!is_empty(), "Cannot call ptr() on an empty AnyModule");
  return module_;
}

nn::AnyModule nn::AnyModule::clone(const std::optional<Device>& device) const {
  AnyModule copy = *this;
  if (!is_empty()) copy.module_ = module_->clone(device);
  return copy;
}

nn::AnyValue nn::AnyModule::call(std::span<AnyValue> arguments) const {
  TORCH_CHECK(!is_empty(), "Cannot call forward() on an empty AnyModule");
  RecordFunction record(RecordScope::MODULE);
  if (record.isActive()) detail::begin_record(record, *module_);
  return forward_(*module_, arguments);
}

}  // namespace tinytorch
