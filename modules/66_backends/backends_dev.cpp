// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 66: Kernels for a device from outside
//
// Chapter 84 lets a device join: tensors are made in its memory, moved and looked at through views. Now they are computed with. The dispatcher needs nothing new for that: between the layers of the CPU and those of autograd stands
// `PrivateUse1`, and a function that is put there is called for tensors of the device. Gradients, version counters, views, hooks and modules lie above and never learn where the numbers are.
//
//     x on the device:  Autograd  -->  InplaceOrView  -->  PrivateUse1:  a kernel     device_kernel<op::mm, mm_on_it>()
//                                                                        the CPU      compute_on_cpu<op::nll_loss>()
//                                                                        nothing      "Could not run 'exp' ...": a sentence
//
// Read beside it: PyTorch's `aten/src/ATen/native/CPUFallback.cpp` and `test/cpp_extensions/open_registration_extension.cpp`. No exercises; the capstone "a framework for specialised hardware" (docs/capstones) is one.

// %%
//| after 05
//| export core/device_kernels.h
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>
#include "tinytorch/core/backend.h"
//| export core/device_kernels.cpp
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/module.h"

// %%
#include <cstring>
#include <map>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/loss.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## One device for each call
//
// A kernel reads addresses, and the address of another memory is a number like any other. So the arguments are looked at before the kernel sees them. A tensor of the host among them is an error that names both places, but for one
// exception, PyTorch's: a number. `x * 2` makes a 0-d tensor of 2 on the host, and the kernel reads it with `item()` and passes it on as part of its instruction.

// %%
//| export core/device_kernels.h
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

// %%
//| export core/device_kernels.cpp
void detail::OneDevice::see(const Tensor& tensor) {
  ++argument_;
  if (!tensor.defined() || (!tensor.is_elsewhere() && tensor.dim() == 0)) return;
  const Device device = tensor.storage()->device();
  if (!device_) device_ = device;
  TORCH_CHECK(*device_ == device, "Expected all tensors to be on the same device, but found at least two devices, ", *device_, " and ", device, "!\n[", operator_name_, "] tensor ", argument_, " lies on ", device,
              "; move it with to(\"", *device_, "\") first.");
}

void detail::OneDevice::see(TensorList tensors) {
  for (const Tensor& tensor : tensors) see(tensor);
}

// %% [markdown]
// ## What the CPU computes for it
//
// A new chip has five kernels in its first week, and a network needs thirty operators. For the others the arguments are brought over, the CPU computes, and the result goes back. PyTorch offers this as one switch for all operators; the training
// then runs, and is slow, and nobody knows where. Here each operator is named, and the backend is told each time (`fell_back`), so that it can count.
//
//     device      x ---copy_from_device--+                           +--copy_to_device---> y
//     host                               +--> nll_loss on the CPU ---+

// %%
//| export core/device_kernels.h
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

// %% [markdown]
// ## Gradients across devices
//
// `x.to(device)` is an operator like another, and what arrives at its result goes back to where x is. A network that begins on the host, computes on the device and ends on the host again has gradients without anybody's doing. Beside that the
// operators that read no elements are shared with the CPU: they work on sizes and strides.

// %%
//| export core/device_kernels.cpp
namespace {
// Where an argument lay at the forward call.
struct PlaceOf {
  PlaceOf() = default;
  explicit PlaceOf(const Tensor& tensor) : device(tensor.storage()->device()) {}
  Device device = kCPU;
};
}  // namespace

// %%
//| export core/device_kernels.cpp
//| registers
void register_devices() {
  gradient<op::to_device>([](const Tensor& g, Arg<0, PlaceOf> from) { return to_device(g, from.value.device); });
  op::permute.set(Layer::PrivateUse1, op::permute.function(Layer::CPU));
  op::parameter.set(Layer::PrivateUse1, op::parameter.function(Layer::CPU));
}

// %%
//| lesson
// A device for the tests, whose addresses are numbers from 64 on.
class Cellar : public Backend {
 public:
  DeviceIndex device_count() const override { return 2; }
  void* allocate(std::size_t nbytes, DeviceIndex) override {
    const std::size_t place = memory_.size();
    memory_.resize(place + (nbytes + 63) / 64 * 64);
    return reinterpret_cast<void*>(place + 64);
  }
  void deallocate(void*, std::size_t, DeviceIndex) noexcept override {}
  void copy_to_device(void* address, const void* host, std::size_t nbytes, DeviceIndex) override { std::memcpy(at(address), host, nbytes); }
  void copy_from_device(void* host, const void* address, std::size_t nbytes, DeviceIndex) override { std::memcpy(host, at(address), nbytes); }
  void fell_back(const char* operator_name) override { ++fallbacks[operator_name]; }
  float* at(const void* address) { return reinterpret_cast<float*>(memory_.data() + (reinterpret_cast<std::size_t>(address) - 64)); }
  std::map<std::string, int> fallbacks;
  int multiplications = 0;

 private:
  std::vector<std::byte> memory_;
};

Cellar& cellar() {
  static Cellar device;
  return device;
}

// Dense floats, or a number as `other`: enough to see that a kernel is called. The rest it hands down.
Tensor mul_in_cellar(const Tensor& self, const Tensor& other) {
  const bool ours = self.is_elsewhere() && self.is_contiguous() && (!other.is_elsewhere() || (other.is_contiguous() && other.sizes() == self.sizes()));
  if (!ours) return call_on_cpu<op::mul>(self, other);
  const Tensor result = empty_on_device(self.sizes(), kFloat, self.device());
  const float number = other.is_elsewhere() ? 0 : other.item<float>();
  for (std::int64_t i = 0; i < self.numel(); ++i) {
    const float factor = other.is_elsewhere() ? cellar().at(device_address(other))[i] : number;
    cellar().at(device_address(result))[i] = cellar().at(device_address(self))[i] * factor;
  }
  ++cellar().multiplications;
  return result;
}

// Joins once, as a library that is loaded would.
const Device& in_cellar() {
  static const Device device = [] {
    register_backend("cellar", cellar());
    device_kernel<op::mul, mul_in_cellar>();
    compute_on_cpu<op::add, op::add_, op::sub, op::sub_, op::sum, op::amax, op::max, op::cat, op::clone, op::to_dtype, op::eq, op::div, op::mul_>();
    compute_on_cpu<op::addmm, op::mm, op::relu, op::where, op::le, op::neg, op::exp, op::log_softmax, op::nll_loss, op::scatter_add_, op::fill_>();
    return Device("cellar:0");
  }();
  return device;
}

// %%
TEST_CASE("a kernel of the device is called, with arguments on one device and with numbers") {
  const Tensor x = tensor({1.0, 2.0, 3.0}).to(in_cellar());
  const int before = cellar().multiplications;
  CHECK_EQ((x * x).cpu(), tensor({1.0, 4.0, 9.0}));
  CHECK_EQ((x * 3).cpu(), tensor({3.0, 6.0, 9.0}));
  CHECK_EQ((x * tensor(0.5)).cpu(), tensor({0.5, 1.0, 1.5}));
  CHECK_EQ(cellar().multiplications - before, 3);
  CHECK_EQ((x * x).device(), in_cellar());
  CHECK_ERROR(x * ones({3}), "Expected all tensors to be on the same device, but found at least two devices, cellar:0 and cpu!\n[mul] tensor 2 lies on cpu; move it with to(\"cellar:0\") first.");
  CHECK_ERROR(ones({3}) * x, "found at least two devices, cpu and cellar:0!");
  CHECK_ERROR(x * x.to("cellar:1"), "found at least two devices, cellar:0 and cellar:1!");
  CHECK_ERROR(x + ones({3}), "Expected all tensors to be on the same device");
  CHECK_ERROR(x.sin(), "Could not run 'sin' with arguments from the 'CELLAR' backend.\n[sin] no kernel is registered for cellar");
}

TEST_CASE("what the CPU computes for the device is counted, and its results lie there again") {
  const Tensor x = tensor({{3.0, 1.0}, {2.0, 5.0}}).to(in_cellar());
  std::map<std::string, int>& fallbacks = cellar().fallbacks;
  fallbacks.clear();
  CHECK_EQ((x + x).device(), in_cellar());
  CHECK_EQ((x + x).cpu(), tensor({{6.0, 2.0}, {4.0, 10.0}}));
  const auto [values, indices] = x.max(1);
  CHECK_EQ(indices.device(), in_cellar());
  CHECK_EQ(indices.cpu(), tensor({0, 1}));
  CHECK_EQ(cat({x, x.t()}).cpu().size(0), 4);
  // In place, through a view and without copying what is beside it.
  x.select(1, 0).add_(10);
  CHECK_EQ(x.cpu(), tensor({{13.0, 1.0}, {12.0, 5.0}}));
  CHECK_EQ(x._version(), 1);
  CHECK_EQ(fallbacks, std::map<std::string, int>{{"add", 2}, {"max", 1}, {"cat", 1}, {"add_", 1}});
}

TEST_CASE("gradients: on the device, and across") {
  const Tensor x = tensor({1.0, 2.0, 3.0}).to(in_cellar()).requires_grad_();
  (x * x).sum().backward();
  CHECK_EQ(x.grad().device(), in_cellar());
  CHECK_EQ(x.grad().cpu(), tensor({2.0, 4.0, 6.0}));
  const Tensor here = tensor({1.0, 2.0, 3.0}).requires_grad_();
  const Tensor loss = (here.to(in_cellar()) * x.detach()).cpu().sum();
  loss.backward();
  CHECK_EQ(here.grad().device(), Device(kCPU));
  CHECK_EQ(here.grad(), tensor({1.0, 2.0, 3.0}));
  CHECK_EQ(here.to(in_cellar()).grad_fn()->name(), "ToCopyBackward0");
  // What was saved may not be written to, there as here.
  const Tensor y = x.detach().clone().requires_grad_();
  const Tensor product = y * y;
  y.detach().add_(1);
  CHECK_ERROR(product.sum().backward(), "one of the variables needed for gradient computation has been modified by an inplace operation");
}

TEST_CASE("a network moved to the device learns the same there") {
  manual_seed(0);
  nn::Linear there(3, 2), here(3, 2);
  here->load_state_dict(there->state_dict());
  const Tensor handle = there->weight;
  there->to(in_cellar());
  CHECK_EQ(there->weight.device(), in_cellar());
  CHECK(handle.is_same(there->weight));
  CHECK(there->weight.requires_grad());
  const Tensor x = randn({8, 3}), target = tensor({0, 1, 0, 1, 1, 0, 0, 1});
  for (int step = 0; step < 3; ++step) {
    for (nn::LinearImpl* const net : {there.get(), here.get()}) {
      const Device device = net->weight.device();
      net->zero_grad();
      const Tensor loss = nll_loss(log_softmax(relu(net->forward(x.to(device))), 1), target.to(device));
      loss.backward();
      const NoGradGuard no_grad;
      for (const Tensor& parameter : net->parameters()) parameter.sub_(parameter.grad() * 0.5);
    }
    CHECK_CLOSE(there->weight.cpu(), here->weight);  // sums in another order
  }
  there->to(kCPU);
  CHECK_CLOSE(there->bias, here->bias);
}

// %%
}  // namespace tinytorch
