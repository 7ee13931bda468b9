// From the lesson modules/66_backends/backends_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include "tinytorch/core/backend.h"

namespace tinytorch {

namespace detail {
// Finds the device of a call, argument by argument. Throws if two of them are on different ones; 0-d tensors of the host go with any.
class OneDevice {
 public:
  explicit OneDevice(const char* operator_name) : operator_name_(operator_name) {}
  void see(const Tensor& tensor);
  void see(const std::optional<Tensor>& tensor) { see(tensor.value_or(Tensor())); }
  void see(TensorList tensors);
  template <class T>
    requires is_plain_argument<T>
  void see(const T&) {}
  void see(const TensorOptions&) {}
  const Device& device() const { return *device_; }

 private:
  const char* operator_name_;
  int argument_ = 0;
  std::optional<Device> device_;
};

template <auto& Op, auto Kernel, class Signature = std::remove_cvref_t<decltype(Op)>>
struct DeviceKernel;
template <auto& Op, auto Kernel, class R, class... Args>
struct DeviceKernel<Op, Kernel, Operator<R(Args...)>> {
  static R call(Args... args) {
    OneDevice device(Op.name());
    (device.see(args), ...);
    return Kernel(std::forward<Args>(args)...);
  }
};
}  // namespace detail

// Makes `Kernel`, a function or a lambda of the operator's signature, what Op does for tensors of the device from outside. It gets arguments on one device (and 0-d tensors of the host), of any strides, and sees neither
// gradients nor versions. Results are made by empty_on_device. At start-up only.
//
//     device_kernel<op::mm, mm_on_it>();
template <auto& Op, auto Kernel>
void device_kernel() {
  Op.set(Layer::PrivateUse1, &detail::DeviceKernel<Op, Kernel>::call);
}

namespace detail {
inline Tensor brought_over(const Tensor& tensor) { return tensor.defined() ? to_host(tensor) : tensor; }
inline std::optional<Tensor> brought_over(const std::optional<Tensor>& tensor) { return tensor ? std::optional<Tensor>(brought_over(*tensor)) : std::nullopt; }
inline std::vector<Tensor> brought_over(TensorList tensors) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) result.push_back(brought_over(tensor));
  return result;
}
template <class T>
  requires is_plain_argument<T>
const T& brought_over(const T& argument) {
  return argument;
}

inline Tensor sent_back(const Tensor& result, const Device& device) { return result.defined() ? to_device(result, device) : result; }
inline std::vector<Tensor> sent_back(const std::vector<Tensor>& results, const Device& device) {
  std::vector<Tensor> there;
  for (const Tensor& result : results) there.push_back(sent_back(result, device));
  return there;
}
template <class... T>
std::tuple<T...> sent_back(const std::tuple<T...>& results, const Device& device) {
  return std::apply([&](const auto&... result) { return std::tuple<T...>(sent_back(result, device)...); }, results);
}

template <auto& Op, class Signature = std::remove_cvref_t<decltype(Op)>>
struct OnCpu;
template <auto& Op, class R, class... Args>
struct OnCpu<Op, Operator<R(Args...)>> {
  static R call(Args... args) {
    OneDevice where(Op.name());
    (where.see(args), ...);
    const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
    backend_of(Op.name(), where.device()).fell_back(Op.name());
    return sent_back(Op(brought_over(args)...), where.device());
  }
};
// In place: computed on what came over, which is written back.
template <auto& Op, class... Args>
struct OnCpu<Op, Operator<const Tensor&(const Tensor&, Args...)>> {
  static const Tensor& call(const Tensor& self, Args... args) {
    OneDevice where(Op.name());
    where.see(self);
    (where.see(args), ...);
    const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
    backend_of(Op.name(), where.device()).fell_back(Op.name());
    const Tensor here = to_host(self);
    Op(here, brought_over(args)...);
    copy_(self, here);
    return self;
  }
};
}  // namespace detail

// Lets the CPU compute these operators for tensors of the device from outside: arguments are copied to the host, results back. At start-up only.
//
//     compute_on_cpu<op::nll_loss, op::argmax>();
template <auto&... Ops>
void compute_on_cpu() {
  (Ops.set(Layer::PrivateUse1, &detail::OnCpu<Ops>::call), ...);
}

// The same for one call: for a kernel of the device that does not do what these arguments ask for.
template <auto& Op, class... Args>
decltype(auto) call_on_cpu(Args&&... args) {
  return detail::OnCpu<Op>::call(std::forward<Args>(args)...);
}

}  // namespace tinytorch
