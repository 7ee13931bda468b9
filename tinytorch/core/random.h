// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/generator.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

// The functions that draw random numbers. All take the generator to draw from (default: default_generator()) and hold its mutex meanwhile. The same seed gives PyTorch's CPU
// numbers. Where PyTorch runs on an Intel processor it draws bernoulli_ with one probability for all elements (and so dropout) and exponential_ from Intel's MKL, and its
// numbers differ from these; on other processors they agree.

// A generator is a plain value to the dispatcher: it asks for no layer.
template <>
inline constexpr bool is_plain_argument<Generator> = true;

// ---- In place: every element of `self` drawn anew.
const Tensor& uniform_(const Tensor& self, double from = 0, double to = 1,
                       std::optional<Generator> generator = std::nullopt);
const Tensor& normal_(const Tensor& self, double mean = 0, double std = 1,
                      std::optional<Generator> generator = std::nullopt);
// Integers, each equally likely: of [from, to); of [0, to); or as many as the dtype holds exactly from 0 on.
const Tensor& random_(const Tensor& self, std::int64_t from, std::optional<std::int64_t> to,
                      std::optional<Generator> generator = std::nullopt);
const Tensor& random_(const Tensor& self, std::int64_t to, std::optional<Generator> generator = std::nullopt);
const Tensor& random_(const Tensor& self, std::optional<Generator> generator = std::nullopt);
// 1 with probability p, else 0. `p` may be a tensor, which broadcasts.
const Tensor& bernoulli_(const Tensor& self, double p = 0.5,
                         std::optional<Generator> generator = std::nullopt);
const Tensor& bernoulli_(const Tensor& self, const Tensor& p,
                         std::optional<Generator> generator = std::nullopt);
const Tensor& exponential_(const Tensor& self, double lambd = 1,
                           std::optional<Generator> generator = std::nullopt);
const Tensor& cauchy_(const Tensor& self, double median = 0, double sigma = 1, std::optional<Generator> generator = std::nullopt);
const Tensor& log_normal_(const Tensor& self, double mean = 1, double std = 2, std::optional<Generator> generator = std::nullopt);  // exp of a normal number
const Tensor& geometric_(const Tensor& self, double p, std::optional<Generator> generator = std::nullopt);  // how many trials until the first success: 1, 2, ...

// ---- New tensors.
Tensor rand(IntArrayRef size, const TensorOptions& options = {});  // uniform in [0, 1)
Tensor rand(IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options = {});
Tensor randn(IntArrayRef size, const TensorOptions& options = {});  // mean 0, standard deviation 1
Tensor randn(IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options = {});
Tensor randint(std::int64_t high, IntArrayRef size,
               const TensorOptions& options = kLong);  // integers of [low, high)
Tensor randint(std::int64_t low, std::int64_t high, IntArrayRef size, const TensorOptions& options = kLong);
Tensor randint(std::int64_t high, IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options = kLong);
Tensor randint(std::int64_t low, std::int64_t high, IntArrayRef size, std::optional<Generator> generator,
               const TensorOptions& options = kLong);
Tensor randperm(std::int64_t n, const TensorOptions& options = kLong);  // 0 ... n - 1 in random order
Tensor randperm(std::int64_t n, std::optional<Generator> generator, const TensorOptions& options = kLong);
Tensor rand_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor randn_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor randint_like(const Tensor& self, std::int64_t high, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor randint_like(const Tensor& self, std::int64_t low, std::int64_t high, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor normal(double mean, double std, IntArrayRef size, std::optional<Generator> generator = std::nullopt,
              const TensorOptions& options = {});
Tensor normal(const Tensor& mean, double std = 1, std::optional<Generator> generator = std::nullopt);
Tensor normal(double mean, const Tensor& std, std::optional<Generator> generator = std::nullopt);
Tensor normal(const Tensor& mean, const Tensor& std, std::optional<Generator> generator = std::nullopt);
Tensor bernoulli(const Tensor& self,
                 std::optional<Generator> generator = std::nullopt);  // probabilities in, zeros and ones out
Tensor bernoulli(const Tensor& self, double p, std::optional<Generator> generator = std::nullopt);
Tensor poisson(const Tensor& self, std::optional<Generator> generator = std::nullopt);  // rates in, counts out, of the same floating-point type
// Indices (Long) drawn with probabilities proportional to `self`: (C) -> (num_samples), (N, C) -> (N, num_samples).
Tensor multinomial(const Tensor& self, std::int64_t num_samples, bool replacement = false,
                   std::optional<Generator> generator = std::nullopt);

// While it lives, uniform_ and normal_ leave this thread's tensors as they are, and draw nothing: for a model whose weights come from a file right after it is made. What is not
// loaded then holds whatever was in memory. Source of the idea: torch/nn/utils/init.py (skip_init).
class SkipRandomFill {
 public:
  static constexpr std::uint32_t kSkip = 4;  // a bit of ThreadState::modes
  SkipRandomFill() : saved_(thread_state().modes) { thread_state().modes |= kSkip; }
  ~SkipRandomFill() { thread_state().modes = saved_; }
  SkipRandomFill(const SkipRandomFill&) = delete;
  SkipRandomFill& operator=(const SkipRandomFill&) = delete;
  static bool is_on() { return (thread_state().modes & kSkip) != 0; }

 private:
  std::uint32_t saved_;
};

namespace op {
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> uniform_;
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> normal_;
extern Operator<const Tensor&(const Tensor&, std::optional<std::int64_t>, std::optional<std::int64_t>,
                              std::optional<Generator>)>
    random_;
extern Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> bernoulli_;
extern Operator<const Tensor&(const Tensor&, const Tensor&, std::optional<Generator>)> bernoulli_tensor_;
extern Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> exponential_;
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> cauchy_;
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> log_normal_;
extern Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> geometric_;
extern Operator<Tensor(const Tensor&, std::optional<Generator>)> poisson;
}  // namespace op

}  // namespace tinytorch
