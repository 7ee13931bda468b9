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
// # Library chapter 82: Classes, labels and very many words
//
// Functions about numbers that are names: which of them occur (`unique`) and which most often (`mode`), each as a row of zeros with a one (`one_hot`), a loss for sequences of labels whose places nobody wrote down (`CTCLoss`), and a softmax over so many
// classes that computing all of them would be the whole cost (`AdaptiveLogSoftmaxWithLoss`). All but one are composed of operators, so gradients follow by themselves; `ctc_loss` is an operator with a gradient of its own. No exercises.
//
//     tensor({3, 1, 3})   --> unique   values (1, 3)   inverse (1, 0, 1)   counts (1, 2)
//                         --> one_hot  0 0 0 1 | 0 1 0 0 | 0 0 0 1

// %%
//| after 05
//| export core/unique.h
#include <optional>
#include <tuple>
#include "tinytorch/core/ops.h"
//| export core/unique.cpp
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export nn/ctc.h
#include <tuple>
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/loss_modules.h"
//| export nn/ctc.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <utility>
#include <variant>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
//| export nn/adaptive.h
#include <cstdint>
#include <string>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/unique.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/containers.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/sequential.h"
//| export nn/adaptive.cpp
#include <cmath>
#include <ostream>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"

// %%
#include <cmath>
#include <limits>
#include <sstream>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/unique.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/adaptive.h"
#include "tinytorch/nn/ctc.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Which values occur
//
// Sorted, equal values stand together, and a value is new where it differs from the one before it. Counting the new ones gives each element the number of its group, from which the inverse (put back in the old order) and the counts
// follow. A NaN differs from every other, so each is a value of its own.
//
//     sorted    1  1  2  3  3  7
//     new       1  0  1  1  0  1
//     group     0  0  1  2  2  3        cumsum(new) - 1
//
// `mode` looks for the longest group in each row. Its gradient is that of the one element it names.

// %%
//| export core/unique.h
// ---- Values that occur. What is not asked for is an empty tensor. The results have no gradient.
// The values in rising order, for each element of self the position of its value (in self's shape), and how often each occurs. Sorts always. O(n log n).
std::tuple<Tensor, Tensor, Tensor> _unique2(const Tensor& self, bool sorted = true, bool return_inverse = false, bool return_counts = false);
std::tuple<Tensor, Tensor> _unique(const Tensor& self, bool sorted = true, bool return_inverse = false);
// The same for runs of equal neighbours: {1, 1, 2, 1} gives {1, 2, 1}. O(n).
std::tuple<Tensor, Tensor, Tensor> unique_consecutive(const Tensor& self, bool return_inverse = false, bool return_counts = false);
// The different slices of self along `dim`, in lexicographic order.
std::tuple<Tensor, Tensor, Tensor> unique_dim(const Tensor& self, std::int64_t dim, bool sorted = true, bool return_inverse = false, bool return_counts = false);

// The value that occurs most often along `dim`, the smallest of several, and where one of its elements stands; the gradient goes to that one. NaNs are all different (PyTorch's answer depends on their order). Throws IndexError for a dimension without elements. O(n log n).
std::tuple<Tensor, Tensor> mode(const Tensor& self, std::int64_t dim = -1, bool keepdim = false);

// (...) of Long -> (..., C): a one at the class of each element, zeros elsewhere. C is `num_classes`, or one more than the largest class when -1. O(numel * C).
Tensor one_hot(const Tensor& self, std::int64_t num_classes = -1);

namespace nn::functional {
inline Tensor one_hot(const Tensor& tensor, std::int64_t num_classes = -1) { return tinytorch::one_hot(tensor, num_classes); }
}  // namespace nn::functional

// %%
//| export core/unique.cpp
namespace {
struct Groups {
  Tensor group;  // of each element, in the order that was given
  Tensor first;  // where a group begins
};

// `fresh`: (n) of Bool, whether an element differs from the one before it.
Groups number_groups(const Tensor& fresh) { return {fresh.to(kLong).cumsum(0) - 1, fresh.nonzero().squeeze(1)}; }

// Inverse and counts for elements that stand in groups, where element i was number order[i] before.
std::tuple<Tensor, Tensor> inverse_and_counts(const Groups& groups, const Tensor& order, IntArrayRef sizes, bool inverse, bool counts) {
  Tensor back = empty({0}, kLong);
  Tensor number = empty({0}, kLong);
  if (inverse) back = empty_like(groups.group).scatter_(0, order, groups.group).view(sizes);
  if (counts) number = zeros(groups.first.sizes(), kLong).scatter_add_(0, groups.group, ones_like(groups.group));
  return {back, number};
}

// Whether each element of (n) differs from the one before it.
Tensor differs_from_last(const Tensor& values) {
  const Tensor fresh = ones(values.sizes(), kBool);
  if (values.numel() > 1) fresh.slice(0, 1).copy_(values.slice(0, 1) != values.slice(0, 0, -1));
  return fresh;
}
}  // namespace

std::tuple<Tensor, Tensor, Tensor> _unique2(const Tensor& self, bool, bool return_inverse, bool return_counts) {
  const AutoDispatchBelowAutograd below_autograd;
  const auto [values, order] = sort(reshape(self, {-1}), 0);
  const Groups groups = number_groups(differs_from_last(values));
  const auto [inverse, counts] = inverse_and_counts(groups, order, self.sizes(), return_inverse, return_counts);
  return {values.index_select(0, groups.first), inverse, counts};
}

std::tuple<Tensor, Tensor> _unique(const Tensor& self, bool sorted, bool return_inverse) {
  const auto [values, inverse, counts] = _unique2(self, sorted, return_inverse, false);
  return {values, inverse};
}

std::tuple<Tensor, Tensor, Tensor> unique_consecutive(const Tensor& self, bool return_inverse, bool return_counts) {
  const AutoDispatchBelowAutograd below_autograd;
  const Tensor values = reshape(self, {-1});
  const Groups groups = number_groups(differs_from_last(values));
  const auto [inverse, counts] = inverse_and_counts(groups, arange(values.numel()), self.sizes(), return_inverse, return_counts);
  return {values.index_select(0, groups.first), inverse, counts};
}

std::tuple<Tensor, Tensor, Tensor> unique_dim(const Tensor& self, std::int64_t dim, bool, bool return_inverse, bool return_counts) {
  const AutoDispatchBelowAutograd below_autograd;
  const Tensor slices = (isReducedFloatingType(self.scalar_type()) ? self.to(kFloat) : self).transpose(0, dim);
  const std::int64_t n = slices.size(0);
  const Tensor rows = slices.contiguous().view({n, n == 0 ? 0 : slices.numel() / n});
  const Tensor order = arange(n);
  const Tensor fresh = ones({n}, kBool);
  dispatch_all_types(rows.scalar_type(), [&]<class T>() {
    const auto row = [&rows](std::int64_t i) { return rows.data<T>() + i * rows.size(1); };
    const std::int64_t width = rows.size(1);
    std::int64_t* const numbers = order.data<std::int64_t>();
    std::stable_sort(numbers, numbers + n, [&](std::int64_t a, std::int64_t b) { return std::lexicographical_compare(row(a), row(a) + width, row(b), row(b) + width); });
    for (std::int64_t i = 1; i < n; ++i) fresh.data<bool>()[i] = !std::equal(row(numbers[i]), row(numbers[i]) + width, row(numbers[i - 1]));
  });
  const Groups groups = number_groups(fresh);
  const auto [inverse, counts] = inverse_and_counts(groups, order, {n}, return_inverse, return_counts);
  return {self.index_select(dim, order.index_select(0, groups.first)), inverse, counts};
}

// %%
//| export core/unique.cpp
namespace {
// Where the longest run of equal values ends, once (value, place) pairs stand in order. NaN is the largest.
template <class T>
std::int64_t place_of_mode(std::vector<std::pair<T, std::int64_t>>& elements) {
  std::sort(elements.begin(), elements.end(), [](const auto& a, const auto& b) {
    if constexpr (std::is_floating_point_v<T>)
      if (std::isnan(b.first)) return !std::isnan(a.first);
    return a.first < b.first;
  });
  std::size_t longest = 0, length = 0;
  std::int64_t place = 0;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    ++length;
    if (i + 1 < elements.size() && elements[i].first == elements[i + 1].first) continue;
    if (length > longest) {
      longest = length;
      place = elements[i].second;
    }
    length = 0;
  }
  return place;
}
}  // namespace

std::tuple<Tensor, Tensor> mode(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  const std::int64_t size = self.size(d);
  TORCH_CHECK_INDEX(size > 0, "mode(): Expected reduction dim ", d, " to have non-zero size.");
  DimVector sizes(self.sizes());
  sizes[static_cast<std::size_t>(d)] = 1;
  const Tensor places = empty(sizes, kLong);
  const Tensor values = isReducedFloatingType(self.scalar_type()) ? self.detach().to(kFloat) : self.detach();
  dispatch_all_types(values.scalar_type(), [&]<class T>() {
    std::vector<std::pair<T, std::int64_t>> elements(static_cast<std::size_t>(size));
    for_each_row<T>(values, d, [&](std::int64_t k, const T* row, std::int64_t step) {
      for (std::int64_t j = 0; j < size; ++j) elements[static_cast<std::size_t>(j)] = {row[j * step], j};
      places.data<std::int64_t>()[k] = place_of_mode(elements);
    });
  });
  const Tensor modes = gather(self, d, places);
  return keepdim ? std::tuple(modes, places) : std::tuple(modes.squeeze(d), places.squeeze(d));
}

// %%
TEST_CASE("mode: the value that occurs most often, and where it stands") {
  const Tensor x = tensor({{3.0, 1.0, 3.0, 1.0}, {2.0, 2.0, 5.0, 0.0}}, requires_grad());
  const auto [values, places] = mode(x);
  CHECK_EQ(values, tensor({1.0, 2.0}));
  CHECK_EQ(places, tensor({3, 1}));
  values.sum().backward();
  CHECK_EQ(x.grad(), tensor({{0.0, 0.0, 0.0, 1.0}, {0.0, 1.0, 0.0, 0.0}}));
  CHECK_EQ(std::get<0>(mode(x, 0, true)), tensor({{2.0, 1.0, 3.0, 0.0}}));
  CHECK_EQ(std::get<1>(mode(x, 0)), tensor({1, 0, 0, 1}));
  CHECK_EQ(std::get<0>(mode(tensor({NAN, 2.0F, NAN, 2.0F, NAN}))), tensor(2.0));
  CHECK_EQ(std::get<0>(mode(tensor({true, false, true}))), tensor(true));
  CHECK_EQ(std::get<1>(mode(tensor(3))), tensor(0));
  CHECK_EQ(std::get<0>(mode(zeros({0, 2}))).sizes(), IntArrayRef({0}));
  CHECK_ERROR(mode(zeros({2, 0})), "mode(): Expected reduction dim 1 to have non-zero size.");
}

// %%
//| export core/unique.cpp
Tensor one_hot(const Tensor& self, std::int64_t num_classes) {
  TORCH_CHECK(self.scalar_type() == kLong, "one_hot is only applicable to index tensor of type LongTensor.\n[one_hot] got ", self.scalar_type(), "; convert with to(kLong).");
  TORCH_CHECK(self.numel() > 0 || num_classes > 0, "Can not infer total number of classes from empty tensor.");
  const std::int64_t largest = self.numel() == 0 ? -1 : self.max().item<std::int64_t>();
  TORCH_CHECK(self.numel() == 0 || self.min().item<std::int64_t>() >= 0, "Class values must be non-negative.");
  const std::int64_t classes = num_classes == -1 ? largest + 1 : num_classes;
  TORCH_CHECK(classes > largest, "Class values must be smaller than num_classes.\n[one_hot] the largest is ", largest, ", num_classes is ", num_classes, ".");
  DimVector sizes(self.sizes());
  sizes.push_back(classes);
  return zeros(sizes, kLong).scatter_(-1, self.unsqueeze(-1), 1);
}

// %%
TEST_CASE("unique: values, where they stand, and how often") {
  const auto [values, inverse, counts] = _unique2(tensor({3, 1, 2, 3, 1, 7}), true, true, true);
  CHECK_EQ(values, tensor({1, 2, 3, 7}));
  CHECK_EQ(inverse, tensor({2, 0, 1, 2, 0, 3}));
  CHECK_EQ(counts, tensor({2, 1, 2, 1}));
  const auto [numbers, places, many] = _unique2(tensor({{2.0F, 1.0F}, {2.0F, NAN}}), true, true, true);
  CHECK_EQ(numbers, tensor({1.0F, 2.0F, NAN}));
  CHECK_EQ(places, tensor({{1, 0}, {1, 2}}));
  CHECK_EQ(many, tensor({1, 2, 1}));
  const auto [runs, of, lengths] = unique_consecutive(tensor({1, 1, 2, 2, 2, 1}), true, true);
  CHECK_EQ(runs, tensor({1, 2, 1}));
  CHECK_EQ(of, tensor({0, 0, 1, 1, 1, 2}));
  CHECK_EQ(lengths, tensor({2, 3, 1}));
  const auto [rows, row_of, row_count] = unique_dim(tensor({{2, 1}, {0, 5}, {2, 1}}), 0, true, true, true);
  CHECK_EQ(rows, tensor({{0, 5}, {2, 1}}));
  CHECK_EQ(row_of, tensor({1, 0, 1}));
  CHECK_EQ(row_count, tensor({1, 2}));
  CHECK_EQ(std::get<0>(unique_dim(tensor({{2, 1, 2}, {0, 5, 0}}), 1)), tensor({{1, 2}, {5, 0}}));
  CHECK_EQ(std::get<0>(_unique(tensor({true, false, true}))), tensor({false, true}));
  CHECK_EQ(std::get<1>(_unique(tensor({2, 2}))).numel(), 0);
  CHECK_EQ(std::get<0>(_unique2(zeros({0}))).sizes(), IntArrayRef({0}));
  CHECK_EQ(std::get<0>(_unique2(tensor(4))), tensor({4}));
}

TEST_CASE("one_hot: a one at each element's class") {
  CHECK_EQ(one_hot(tensor({0, 2, 1})), tensor({{1, 0, 0}, {0, 0, 1}, {0, 1, 0}}));
  CHECK_EQ(nn::functional::one_hot(tensor({{0}, {2}}), 4).sizes(), IntArrayRef({2, 1, 4}));
  CHECK_EQ(one_hot(tensor(2), 4), tensor({0, 0, 1, 0}));
  CHECK_EQ(one_hot(zeros({0}, kLong), 3).sizes(), IntArrayRef({0, 3}));
  CHECK_ERROR(one_hot(tensor({0.5})), "one_hot is only applicable to index tensor of type LongTensor.");
  CHECK_ERROR(one_hot(tensor({-1})), "Class values must be non-negative.");
  CHECK_ERROR(one_hot(tensor({3}), 2), "Class values must be smaller than num_classes.");
  CHECK_ERROR(one_hot(tensor({1}), 0), "Class values must be smaller than num_classes.");
  CHECK_ERROR(one_hot(zeros({0}, kLong)), "Can not infer total number of classes from empty tensor.");
}

// %% [markdown]
// ## Labels without places: CTC
//
// A recording has hundreds of frames and its transcript five letters; nobody marked which frame belongs to which letter. Connectionist temporal classification (Graves and others, 2006) sums the probability of *all* placements: each frame
// emits a label or a blank, repeated labels merge, then blanks go. For the transcript `a b` the states are blank a blank b blank, and a placement is a way through this grid:
//
//     state   0 blank    o--o           from a state one may stay, go on to the next,
//             1 a           \o--o       or skip a blank between two different labels
//             2 blank            \
//             3 b                  o
//             4 blank               \o  <- ends in one of the last two
//                        t = 0 1 2 3 4
//
// The sum over exponentially many ways costs T * L sums of at most three terms, L = 2 S + 1, because the ways into a state at frame t need only those into three states at t - 1. Let p(t, s) be the probability that frame t emits what state s
// stands for, and alpha(t, s) the probability of all ways from the first frame that stand in s at t, with what they emit at t:
//
//     alpha(0, s) = p(0, s)                                                            for s = 0 and 1, else 0
//     alpha(t, s) = (alpha(t-1, s) + alpha(t-1, s-1) + alpha(t-1, s-2)) * p(t, s)      the last term only where a skip is allowed
//     p(labels)   = alpha(T-1, L-1) + alpha(T-1, L-2)
//
// Each frame multiplies by a probability. With twenty classes that are equally probable, a way through 35 frames has the probability 20^-35 = 3e-46, which is 0 as a float, and 250 frames are too many for a double. So the loop keeps
// logarithms: a product becomes a sum, and a sum becomes log(exp(a) + exp(b) + exp(c)), from which the largest is taken out first, as in softmax. The logarithm of the probability 0 is minus infinity: that of a state which no way has reached
// yet, and at the end that of labels which no way emits, whose loss is infinity.

// %%
//| export nn/ctc.h
// The negative log-likelihood of `targets` under all alignments. log_probs: (T, N, C), or (T, C) for one sample; targets: (N, S) padded, or all targets behind each other (sum of target_lengths), without blanks.
// Gives (N) for Reduction::None; the mean divides each loss by its target's length first. A target that no alignment fits costs infinity, or 0 with zero_infinity, and has the gradient 0. Throws for lengths beyond T and S, a blank that is
// no class, and a label that is none. The gradient is that of log_probs, whatever they were computed by. O(N * T * S) time and memory. Source: aten/src/ATen/native/LossCTC.cpp.
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank = 0, std::int64_t reduction = Reduction::Mean,
                bool zero_infinity = false);
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths, std::int64_t blank = 0, std::int64_t reduction = Reduction::Mean,
                bool zero_infinity = false);
namespace op {
// log_probs (T, N, C), targets of Long, checked lengths and blank -> losses (N), and for the gradient of these the logarithms of all alphas (N, T, 2 S + 1), which have none themselves; S is the largest target length.
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, std::int64_t)> ctc_loss;
}  // namespace op

namespace nn {
struct CTCLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(std::int64_t, blank) = 0;
  TORCH_ARG(reduction_t, reduction) = kMean;
  TORCH_ARG(bool, zero_infinity) = false;
};

namespace functional {
using CTCLossFuncOptions = CTCLossOptions;
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths, const CTCLossFuncOptions& options = {});
}  // namespace functional

class CTCLossImpl : public Cloneable<CTCLossImpl> {
 public:
  explicit CTCLossImpl(CTCLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths) {
    return functional::ctc_loss(log_probs, targets, input_lengths, target_lengths, options);
  }
  CTCLossOptions options;
};
TORCH_MODULE(CTCLoss);
}  // namespace nn

// %%
//| export nn/ctc.cpp
namespace {
template <class T>
constexpr T kNever = -std::numeric_limits<T>::infinity();  // the logarithm of a probability of 0

// log(exp(a) + exp(b) + exp(c)).
template <class T>
T log_sum_exp(T a, T b, T c = kNever<T>) {
  if (a < b) std::swap(a, b);
  if (a < c) std::swap(a, c);
  if (a == kNever<T>) return b + c;  // all are, or one is NaN
  return a + std::log(1 + std::exp(b - a) + (c == kNever<T> ? T{0} : std::exp(c - a)));
}

// One sample: its frames, and the classes that its states emit.
template <class T>
struct CtcSample {
  const T* log_probs;  // of its first frame
  std::int64_t step;   // from a frame to the next
  std::int64_t frames;
  std::vector<std::int64_t> states;  // a blank, a label, a blank, ..., a blank

  CtcSample(const T* first, std::int64_t step_, std::int64_t frames_, ArrayRef<std::int64_t> labels, std::int64_t blank)
      : log_probs(first), step(step_), frames(frames_), states(2 * labels.size() + 1, blank) {
    for (std::size_t i = 0; i < labels.size(); ++i) states[2 * i + 1] = labels[i];
  }
  T emitted(std::int64_t t, std::size_t s) const { return log_probs[t * step + states[s]]; }
  // Whether state s may follow the one before the last one: between two blanks, or two labels that are the same, nothing may be left out.
  bool may_skip_to(std::size_t s) const { return s >= 2 && s < states.size() && states[s] != states[s - 2]; }
};

// Fills the rows of `alphas`, one of `width` for each frame, which are kNever. Returns log p(labels).
template <class T>
T fill_alphas(const CtcSample<T>& sample, T* alphas, std::size_t width) {
  const std::size_t L = sample.states.size();
  if (sample.frames == 0) return L == 1 ? T{0} : kNever<T>;
  for (std::size_t s = 0; s < std::min<std::size_t>(L, 2); ++s) alphas[s] = sample.emitted(0, s);
  const T* last = alphas;
  for (std::int64_t t = 1; t < sample.frames; ++t) {
    T* const now = alphas + static_cast<std::size_t>(t) * width;
    for (std::size_t s = 0; s < L; ++s)
      now[s] = log_sum_exp(last[s], s > 0 ? last[s - 1] : kNever<T>, sample.may_skip_to(s) ? last[s - 2] : kNever<T>) + sample.emitted(t, s);
    last = now;
  }
  return log_sum_exp(last[L - 1], L > 1 ? last[L - 2] : kNever<T>);
}

// Calls f(n, sample) for each sample of contiguous log_probs (T, N, C).
template <class T, class F>
void for_each_ctc_sample(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank, F f) {
  const std::int64_t N = log_probs.size(1), C = log_probs.size(2);
  const Tensor labels = targets.contiguous();
  const std::int64_t* all = labels.data<std::int64_t>();
  for (std::int64_t n = 0; n < N; ++n) {
    const auto at = static_cast<std::size_t>(n);
    const ArrayRef<std::int64_t> own(all, static_cast<std::size_t>(target_lengths[at]));
    for (const std::int64_t label : own) TORCH_CHECK_INDEX(label >= 0 && label < C, "index ", label, " is out of bounds for dimension 1 with size ", C, "\n[ctc_loss] a label must be a class.");
    f(n, CtcSample<T>(log_probs.data<T>() + n * C, N * C, input_lengths[at], own, blank));
    all += targets.dim() == 1 ? target_lengths[at] : targets.size(1);
  }
}

std::tuple<Tensor, Tensor> ctc_loss_cpu(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank) {
  const Tensor frames = log_probs.contiguous();
  const std::int64_t T = frames.size(0), N = frames.size(1);
  const std::int64_t width = 2 * *std::max_element(target_lengths.begin(), target_lengths.end()) + 1;
  const Tensor losses = empty({N}, frames.scalar_type());
  const Tensor alphas = full({N, T, width}, kNever<double>, frames.scalar_type());
  dispatch_floating_types(frames.scalar_type(), "ctc_loss_cpu", [&]<class R>() {
    for_each_ctc_sample<R>(frames, targets, input_lengths, target_lengths, blank, [&](std::int64_t n, const CtcSample<R>& sample) {
      losses.data<R>()[n] = -fill_alphas(sample, alphas.data<R>() + n * T * width, static_cast<std::size_t>(width));
    });
  });
  return {losses, alphas};
}
}  // namespace

// %% [markdown]
// ### The gradient: the same grid from its other end
//
// Let beta(t, s) be the probability of all that is emitted *after* frame t on ways that stand in s at t:
//
//     beta(T-1, s) = 1                                                                                    for s = L-1 and L-2, else 0
//     beta(t, s)   = p(t+1, s) beta(t+1, s) + p(t+1, s+1) beta(t+1, s+1) + p(t+1, s+2) beta(t+1, s+2)     the last term only where a skip is allowed
//
// Then alpha(t, s) * beta(t, s) is the probability of all ways that stand in s at t. Any frame will do to add up all ways: summed over s, these products are p(labels) for every t. And a way that emits class c at t has the probability of c at t as
// a factor exactly once, so that a derivative by its logarithm leaves the way's probability as it is:
//
//     d -log p(labels) / d log_probs(t, c)  =  - (sum of alpha(t, s) beta(t, s) over the states s of class c) / p(labels)
//
// The gradient is the share of the ways that emit c at t, with a minus, and the shares of a frame add up to one. This is the forward-backward algorithm of hidden Markov models. The alphas are there from the forward pass; of the betas one row is
// kept at a time. They are logarithms as well, but the shares are not: each is exp(alpha + beta - log p(labels)), at most 1, and can be added as it is.
//
// The recursion of the alphas can also be written with operators, `logsumexp` above all, and autograd's backward pass through them then gives these gradients without anyone's deriving them. That takes ten times as long as PyTorch forward and
// eighteen times with gradients (50 frames, 16 samples of 10 labels), for each frame of each sample calls a handful of operators on some twenty numbers. The composed version is the second one here: the recursion of the betas has no gradient of its own,
// so where a graph of the gradient is recorded, it is made by autograd through the composed losses. There a probability of 0 has the logarithm -1e30 instead of minus infinity, because the gradient of `logsumexp` is NaN where all its terms are minus infinity.
//
// PyTorch's `aten/src/ATen/native/LossCTC.cpp` has the same two recursions, with the samples divided among threads, and `cuda/LossCTC.cu` has a thread for each state; cuDNN has a loss of its own. There beta counts what is emitted at t as well, as in the
// paper, and the product is divided by p(t, s) once. PyTorch takes for granted that a log-softmax stands in front: what it gives as the gradient of `log_probs` is exp(log_probs) minus the shares, that of the scores. The log-softmax's own backward pass
// leaves this as it is, since its rows add up to 0, and makes the same of the shares here: networks train alike.

// %%
//| export nn/ctc.cpp
namespace {
// Takes from `gradient` (frames as far apart as the sample's, zeros) each frame's shares of the ways, times `factor`.
template <class T>
void subtract_shares(const CtcSample<T>& sample, const T* alphas, std::size_t width, T loss, T factor, T* gradient) {
  const std::size_t L = sample.states.size();
  std::vector<T> betas(L, kNever<T>);
  betas[L - 1] = 0;
  if (L > 1) betas[L - 2] = 0;
  std::vector<T> next(L + 2, kNever<T>);  // p * beta of the frame behind, and two states that no way enters
  for (std::int64_t t = sample.frames; t-- > 0;) {
    const T* const alpha = alphas + static_cast<std::size_t>(t) * width;
    for (std::size_t s = 0; s < L; ++s) {
      gradient[t * sample.step + sample.states[s]] -= factor * std::exp(alpha[s] + betas[s] + loss);
      next[s] = betas[s] + sample.emitted(t, s);
    }
    for (std::size_t s = 0; s < L; ++s) betas[s] = log_sum_exp(next[s], next[s + 1], sample.may_skip_to(s + 2) ? next[s + 2] : kNever<T>);
  }
}

Tensor ctc_loss_backward_cpu(const Tensor& g, const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank, const Tensor& losses, const Tensor& alphas) {
  const Tensor frames = log_probs.contiguous(), factors = g.contiguous();
  const Tensor result = zeros(frames.sizes(), frames.scalar_type());
  const std::int64_t C = frames.size(2), width = alphas.size(2);
  dispatch_floating_types(frames.scalar_type(), "ctc_loss_backward_cpu", [&]<class R>() {
    for_each_ctc_sample<R>(frames, targets, input_lengths, target_lengths, blank, [&](std::int64_t n, const CtcSample<R>& sample) {
      const R loss = losses.data<R>()[n];
      if (loss == -kNever<R>) return;  // there is no way to have a share
      subtract_shares(sample, alphas.data<R>() + n * frames.size(0) * width, static_cast<std::size_t>(width), loss, factors.data<R>()[n], result.data<R>() + n * C);
    });
  });
  return result;
}
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, std::int64_t, const Tensor&, const Tensor&)> ctc_loss_backward("ctc_loss_backward", {.cpu = ctc_loss_backward_cpu});
}  // namespace

// %%
//| export nn/ctc.cpp
namespace {
constexpr double kAlmostNever = -1e30;  // kNever, for what is differentiated

// -log p(labels) of one sample, composed of operators: log_probs (T, C), labels (S).
Tensor ctc_of_one(const Tensor& log_probs, const Tensor& labels, std::int64_t blank) {
  const std::int64_t T = log_probs.size(0);
  const std::int64_t S = labels.size(0);
  const std::int64_t L = 2 * S + 1;
  const auto never = [&log_probs](std::int64_t count) { return full({count}, kAlmostNever, log_probs.scalar_type()); };
  if (T == 0) return full({}, S == 0 ? 0.0 : std::numeric_limits<double>::infinity(), log_probs.scalar_type());

  // The states: a blank, a label, a blank, ... A label may be reached from the one before it, unless both are the same.
  const Tensor states = full({L}, blank, kLong);
  if (S > 0) states.slice(0, 1, L, 2).copy_(labels);
  const Tensor may_skip = never(L);
  for (std::int64_t s = 3; s < L; s += 2)
    if (states[s].item<std::int64_t>() != states[s - 2].item<std::int64_t>()) may_skip[s] = 0;

  const Tensor emitted = log_probs.index_select(1, states);  // (T, L)
  Tensor ways = L == 1 ? emitted[0] : cat({emitted[0].slice(0, 0, 2), never(L - 2)});
  for (std::int64_t t = 1; t < T; ++t) {
    if (L == 1) {
      ways = ways + emitted[t];
      continue;
    }
    const Tensor next = cat({never(1), ways.slice(0, 0, L - 1)});
    const Tensor skipped = cat({never(2), ways.slice(0, 0, L - 2)}) + may_skip;
    ways = stack({ways, next, skipped}).logsumexp(0) + emitted[t];
  }
  const Tensor total = L == 1 ? ways[0] : ways.slice(0, L - 2).logsumexp(0);
  return where(total < kAlmostNever / 2, full({}, std::numeric_limits<double>::infinity(), log_probs.scalar_type()), -total);
}

// The gradient, recorded: autograd's of the composed losses.
Tensor ctc_loss_backward_composed(const Tensor& g, const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank) {
  const Tensor frames = log_probs.view_as(log_probs);  // without hooks of log_probs, which wait for the gradient that is returned
  std::vector<Tensor> losses;
  std::int64_t begin = 0;
  for (std::size_t n = 0; n < input_lengths.size(); ++n) {
    const auto sample = static_cast<std::int64_t>(n);
    const Tensor labels = targets.dim() == 1 ? targets.narrow(0, begin, target_lengths[n]) : targets.select(0, sample).narrow(0, 0, target_lengths[n]);
    begin += target_lengths[n];
    losses.push_back(ctc_of_one(frames.select(1, sample).narrow(0, 0, input_lengths[n]), labels, blank));
  }
  const Tensor all = stack(losses);
  return all.requires_grad() ? autograd::grad({all}, {frames}, {g}, true, true)[0] : zeros_like(log_probs);
}
}  // namespace

constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, std::int64_t)> op::ctc_loss(
    "ctc_loss", {.cpu = ctc_loss_cpu,
                 .autograd = gradient_of<op::ctc_loss>(
                     [](const Tensor& g, Input<0> log_probs, Input<1> targets, Arg<2, DimVector> input_lengths, Arg<3, DimVector> target_lengths, Arg<4, std::int64_t> blank, Output losses, OutputAt<1> alphas) {
                       return is_recording() ? ctc_loss_backward_composed(g, log_probs, targets, input_lengths.value, target_lengths.value, blank)
                                             : ctc_loss_backward(g, log_probs, targets, input_lengths.value, target_lengths.value, blank, losses, alphas);
                     },
                     no_gradient)});

// %%
//| export nn/ctc.cpp
namespace {
void check_lengths(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank) {
  const std::int64_t T = log_probs.size(0);
  const auto N = static_cast<std::size_t>(log_probs.size(1));
  TORCH_CHECK(blank >= 0 && blank < log_probs.size(2), "blank must be in label range\n[ctc_loss] blank is ", blank, ", there are ", log_probs.size(2), " classes.");
  TORCH_CHECK(input_lengths.size() == N, "input_lengths must be of size batch_size\n[ctc_loss] got ", input_lengths.size(), " for ", N, " samples.");
  TORCH_CHECK(target_lengths.size() == N, "target_lengths must be of size batch_size\n[ctc_loss] got ", target_lengths.size(), " for ", N, " samples.");
  for (const std::int64_t length : input_lengths) {
    TORCH_CHECK(length >= 0, "Expected input_lengths to have value at least 0, but got value ", length);
    TORCH_CHECK(length <= T, "Expected input_lengths to have value at most ", T, ", but got value ", length);
  }
  std::int64_t total = 0;
  std::int64_t longest = 0;
  for (const std::int64_t length : target_lengths) {
    TORCH_CHECK(length >= 0, "Expected target_lengths to have value at least 0, but got value ", length);
    total += length;
    longest = length > longest ? length : longest;
  }
  TORCH_CHECK(N > 0, "log_probs tensor must not be empty\n[ctc_loss] log_probs is ", log_probs.sizes(), ".");
  TORCH_CHECK(targets.dim() == 1 || targets.dim() == 2, "targets must be 1-D or 2-D, got ", targets.dim(), "-D");
  if (targets.dim() == 1) {
    TORCH_CHECK(targets.size(0) == total, "Expected tensor to have size ", total, " at dimension 0, but got size ", targets.size(0), " for argument #2 'targets'");
  } else {
    TORCH_CHECK(targets.size(0) == log_probs.size(1), "Expected tensor to have size ", log_probs.size(1), " at dimension 0, but got size ", targets.size(0), " for argument #2 'targets'");
    TORCH_CHECK(targets.size(1) >= longest, "Expected tensor to have size at least ", longest, " at dimension 1, but got size ", targets.size(1), " for argument #2 'targets'");
  }
}

// The whole numbers of a tensor, as a list.
std::vector<std::int64_t> numbers_of(const Tensor& lengths) {
  const Tensor dense = reshape(lengths, {-1}).to(kLong).contiguous();
  return {dense.data<std::int64_t>(), dense.data<std::int64_t>() + dense.numel()};
}
}  // namespace

// %%
//| export nn/ctc.cpp
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank, std::int64_t reduction, bool zero_infinity) {
  TORCH_CHECK_NOT_IMPLEMENTED(log_probs.scalar_type() == kFloat || log_probs.scalar_type() == kDouble, "\"ctc_loss_cpu\" not implemented for '", log_probs.scalar_type(), "'");
  if (log_probs.dim() == 2) {
    const Tensor one = ctc_loss(log_probs.unsqueeze(1), targets.dim() == 1 ? targets.unsqueeze(0) : targets, input_lengths, target_lengths, blank, reduction, zero_infinity);
    return reduction == Reduction::None ? one.squeeze(0) : one;
  }
  TORCH_CHECK(log_probs.dim() == 3, "log_probs must be (T, N, C) or (T, C), got ", log_probs.dim(), "-D");
  check_lengths(log_probs, targets, input_lengths, target_lengths, blank);
  Tensor loss = std::get<0>(op::ctc_loss(log_probs, targets.to(kLong), input_lengths, target_lengths, blank));
  if (zero_infinity) loss = where(loss.isinf(), zeros({}, loss.scalar_type()), loss);
  if (reduction == Reduction::None) return loss;
  if (reduction == Reduction::Sum) return loss.sum();
  std::vector<double> lengths;
  for (const std::int64_t length : target_lengths) lengths.push_back(length < 1 ? 1.0 : static_cast<double>(length));
  return (loss / tensor(ArrayRef<double>(lengths), loss.scalar_type())).mean();
}

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths, std::int64_t blank, std::int64_t reduction, bool zero_infinity) {
  return ctc_loss(log_probs, targets, numbers_of(input_lengths), numbers_of(target_lengths), blank, reduction, zero_infinity);
}

Tensor nn::functional::ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths, const CTCLossFuncOptions& options) {
  const std::int64_t reduction = std::holds_alternative<enumtype::kNone>(options.reduction()) ? Reduction::None
                                 : std::holds_alternative<enumtype::kSum>(options.reduction()) ? Reduction::Sum
                                                                                               : Reduction::Mean;
  return tinytorch::ctc_loss(log_probs, targets, input_lengths, target_lengths, options.blank(), reduction, options.zero_infinity());
}

nn::CTCLossImpl::CTCLossImpl(CTCLossOptions options_) : options(std::move(options_)) {}

void nn::CTCLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::CTCLoss()"; }

// %%
//| lesson
// (T, N, C) = (6, 3, 4)
Tensor frames() { return sin(arange(72, kDouble) * 0.7).view({6, 3, 4}); }
const Tensor& transcripts() {
  static const Tensor labels = tensor({{1, 2, 2}, {3, 1, 0}, {2, 0, 0}});
  return labels;
}

// The loss by listing all C^T ways through the frames of one sample: log_probs (T, C).
double ctc_by_listing(const Tensor& log_probs, const std::vector<std::int64_t>& labels) {
  const std::int64_t T = log_probs.size(0);
  const std::int64_t C = log_probs.size(1);
  std::int64_t ways = 1;
  for (std::int64_t t = 0; t < T; ++t) ways *= C;
  double total = 0;
  for (std::int64_t way = 0; way < ways; ++way) {
    std::vector<std::int64_t> said;
    std::int64_t last = 0;
    double log_p = 0;
    for (std::int64_t t = 0, rest = way; t < T; ++t, rest /= C) {
      const std::int64_t label = rest % C;
      log_p += log_probs[t][label].item<double>();
      if (label != 0 && label != last) said.push_back(label);
      last = label;
    }
    if (said == labels) total += std::exp(log_p);
  }
  return -std::log(total);
}

// The gradient of sum(losses * (1, 2, ...)) for log_probs, by the recursions or, if it is recorded, composed.
Tensor ctc_gradient(const Tensor& log_probs, const Tensor& targets, const std::vector<std::int64_t>& in, const std::vector<std::int64_t>& out, std::int64_t blank, bool recorded) {
  const Tensor leaf = log_probs.clone().requires_grad_();
  const Tensor losses = ctc_loss(leaf, targets, in, out, blank, Reduction::None);
  return autograd::grad({losses}, {leaf}, {arange(losses.numel(), leaf.scalar_type()) + 1}, recorded, recorded)[0].detach();
}

// A label twice, one frame too many, no label; labels behind each other; another blank; frames and labels that fill each other exactly, and too few frames; no frames.
struct CtcExample {
  Tensor targets;
  std::vector<std::int64_t> in, out;
  std::int64_t blank = 0;
};
std::vector<CtcExample> ctc_examples() {
  return {{transcripts(), {6, 5, 6}, {3, 2, 0}},
          {tensor({1, 2, 2, 3, 1, 2}), {6, 5, 6}, {3, 2, 1}},
          {tensor({{0, 1}, {2, 0}, {1, 1}}), {6, 6, 6}, {2, 2, 2}, 3},
          {tensor({{2, 2, 2}, {1, 2, 3}, {2, 2, 2}}), {5, 3, 4}, {3, 3, 3}},
          {transcripts(), {0, 1, 0}, {0, 1, 2}}};
}

// %%
TEST_CASE("ctc_loss: the sum over all alignments, and PyTorch's numbers") {
  const Tensor raw = frames().requires_grad_();
  const Tensor log_probs = log_softmax(raw, 2);
  const std::vector<std::int64_t> in{6, 5, 6};
  const std::vector<std::int64_t> out{3, 2, 1};
  const Tensor losses = ctc_loss(log_probs, transcripts(), in, out, 0, Reduction::None);
  CHECK_CLOSE(losses, tensor({5.0522781217579, 3.5598937030727, 5.7128852811613}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(losses[0].detach(), full({}, ctc_by_listing(log_probs.detach().select(1, 0), {1, 2, 2}), kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(losses[2].detach(), full({}, ctc_by_listing(log_probs.detach().select(1, 2), {2}), kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(ctc_loss(log_probs, transcripts(), in, out).detach(), full({}, 3.0589749466501, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(ctc_loss(log_probs, tensor({1, 2, 2, 3, 1, 2}), tensor({6, 5, 6}), tensor({3, 2, 1})).detach(), full({}, 3.0589749466501, kDouble), 1e-12, 1e-12);
  losses.sum().backward();
  CHECK_CLOSE(raw.grad()[0][1], tensor({-0.2728129735278931, 0.24324652441329042, 0.1445004884919388, -0.11493403937733619}, kDouble), 1e-10, 1e-12);
  CHECK_CLOSE(raw.grad()[5], tensor({{0.09900812323781588, 0.1542928722905545, -0.7058770328222509, 0.45257603729388046}, {0.0, 0.0, 0.0, 0.0},
                                     {-0.5431023623199654, 0.19862939467934776, 0.05189393805822086, 0.2925790295823968}}, kDouble), 1e-10, 1e-12);
  CHECK_CLOSE(ctc_loss(log_probs.detach(), tensor({{0, 1}, {2, 0}, {1, 1}}), {6, 6, 6}, {2, 2, 2}, 3, Reduction::None),
              tensor({3.9742874360530602, 4.727706471788246, 4.565722794903816}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(ctc_loss(log_probs.detach(), transcripts(), {6, 6, 6}, {0, 0, 0}), full({}, 9.046130621736884, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(ctc_loss(log_probs.detach().select(1, 0), transcripts()[0], {6}, {3}, 0, Reduction::None), full({}, 5.0522781217579045, kDouble), 1e-12, 1e-12);
}

TEST_CASE("ctc_loss: the gradient is that of finite differences, and autograd's through the composed version") {
  const Tensor log_probs = frames();  // any numbers: the gradient is that of log_probs, not of scores in front of a log-softmax
  for (const CtcExample& example : ctc_examples()) {
    const auto [targets, in, out, blank] = example;
    CAPTURE(in);
    const Tensor gradient = ctc_gradient(log_probs, targets, in, out, blank, false);
    CHECK_CLOSE(gradient, ctc_gradient(log_probs, targets, in, out, blank, true), 1e-11, 1e-13);
    const Tensor expected = zeros_like(log_probs);
    for (std::int64_t i = 0; i < log_probs.numel(); ++i) {
      const std::int64_t n = i / 4 % 3;
      Tensor moved = log_probs.clone();
      const auto loss_of_moved = [&](double change) {
        moved.data<double>()[i] += change;
        return ctc_loss(moved, example.targets, example.in, example.out, example.blank, Reduction::None)[n].item<double>();
      };
      const double above = loss_of_moved(1e-5), below = loss_of_moved(-2e-5);
      if (std::isfinite(above)) expected.data<double>()[i] = (above - below) / 2e-5 * static_cast<double>(n + 1);
    }
    CHECK_CLOSE(gradient, expected, 1e-7, 1e-8);
    CHECK_CLOSE(ctc_gradient(log_probs.to(kFloat), targets, in, out, blank, false), gradient.to(kFloat), 1e-5, 1e-6);
  }
}

TEST_CASE("ctc_loss: the gradient is the share of the ways that emit a class in a frame") {
  const Tensor log_probs = log_softmax(frames(), 2);
  const Tensor gradient = ctc_gradient(log_probs, transcripts(), {6, 5, 6}, {3, 2, 0}, 0, false) / tensor({1.0, 2.0, 3.0}, kDouble).unsqueeze(1);
  const Tensor shares = -gradient.sum(2);  // of all classes together
  CHECK_CLOSE(shares, tensor({{1.0, 1.0, 1.0}, {1.0, 1.0, 1.0}, {1.0, 1.0, 1.0}, {1.0, 1.0, 1.0}, {1.0, 1.0, 1.0}, {1.0, 0.0, 1.0}}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(gradient.select(1, 2), tensor({-1.0, 0.0, 0.0, 0.0}, kDouble).expand({6, 4}), 1e-12, 1e-12);  // without labels all are blanks
  CHECK_EQ(gradient.select(1, 0).select(1, 3), zeros({6}, kDouble));                                          // a class that is no label
  // Three frames and `1 2`, all classes alike: 0 1 2, 1 0 2, 1 1 2, 1 2 0, 1 2 2.
  const Tensor alike = ctc_gradient(zeros({3, 1, 3}, kDouble), tensor({{1, 2}}), {3}, {2}, 0, false).squeeze(1);
  CHECK_CLOSE(alike, tensor({{1.0, 4.0, 0.0}, {1.0, 2.0, 2.0}, {1.0, 0.0, 4.0}}, kDouble) / -5, 1e-12, 1e-12);
  // A way that has the probability 0 has no share.
  const Tensor barred = zeros({3, 1, 3}, kDouble);
  barred[0][0][0] = -std::numeric_limits<double>::infinity();
  CHECK_CLOSE(ctc_gradient(barred, tensor({{1, 2}}), {3}, {2}, 0, false).squeeze(1), tensor({{0.0, 4.0, 0.0}, {1.0, 1.0, 2.0}, {1.0, 0.0, 3.0}}, kDouble) / -4, 1e-12, 1e-12);
  // Without a way there is no gradient.
  CHECK_EQ(ctc_gradient(log_probs, tensor({{1, 1}, {1, 1}, {1, 1}}), {2, 2, 2}, {2, 2, 2}, 0, false), zeros({6, 3, 4}, kDouble));
}

TEST_CASE("ctc_loss: five hundred frames are no matter, and second derivatives are those of the gradient") {
  const Tensor log_probs = log_softmax(sin(arange(500 * 20, kDouble) * 0.7).view({500, 1, 20}), 2);
  const Tensor targets = arange(40).remainder(19).add(1).unsqueeze(0);
  for (const ScalarType type : {kDouble, kFloat}) {
    const Tensor gradient = ctc_gradient(log_probs.to(type), targets, {500}, {40}, 0, false);
    CHECK_CLOSE(gradient.sum(2), full({500, 1}, -1.0, type), 1e-3, 0);  // logarithms near a thousand, in float exact to 6e-5
  }
  const Tensor direction = cos(arange(72, kDouble)).view({6, 3, 4});
  const CtcExample example = ctc_examples()[0];
  const auto gradient_at = [&](double step) { return ctc_gradient(frames() + direction * step, example.targets, example.in, example.out, 0, false); };
  const Tensor leaf = frames().requires_grad_();
  const Tensor losses = ctc_loss(leaf, example.targets, example.in, example.out, 0, Reduction::None);
  const Tensor gradient = autograd::grad({losses}, {leaf}, {tensor({1.0, 2.0, 3.0}, kDouble)}, true, true)[0];
  const Tensor second = autograd::grad({(gradient * direction).sum()}, {leaf})[0];
  CHECK_CLOSE(second, (gradient_at(1e-5) - gradient_at(-1e-5)) / 2e-5, 1e-7, 1e-8);
  // A hook of log_probs sees one gradient, recorded or not.
  int calls = 0;
  leaf.register_hook([&calls](const Tensor&) { ++calls; });
  const Tensor loss = ctc_loss(leaf, example.targets, example.in, example.out);
  static_cast<void>(autograd::grad({loss}, {leaf}, {}, true, true));
  CHECK_EQ(calls, 1);
}

TEST_CASE("ctc_loss: targets that do not fit, modules and errors") {
  const Tensor raw = frames().requires_grad_();
  const Tensor log_probs = log_softmax(raw, 2);
  const std::vector<std::int64_t> short_in{2, 5, 6};
  const std::vector<std::int64_t> out{3, 2, 1};
  CHECK(std::isinf(ctc_loss(log_probs, transcripts(), short_in, out, 0, Reduction::None)[0].item<double>()));
  CHECK_ERROR(ctc_loss(log_probs.detach().to(kHalf), transcripts(), short_in, out), "\"ctc_loss_cpu\" not implemented for 'Half'");
  const Tensor zeroed = ctc_loss(log_probs, transcripts(), short_in, out, 0, Reduction::Sum, true);
  CHECK_CLOSE(zeroed.detach(), full({}, 3.559893703072687 + 5.712885281161278, kDouble), 1e-12, 1e-12);
  zeroed.backward();
  CHECK_EQ(raw.grad().select(1, 0), zeros({6, 4}, kDouble));
  nn::CTCLoss module(nn::CTCLossOptions().reduction(kSum).zero_infinity(true));
  CHECK_EQ(module(log_probs, transcripts(), tensor({2, 5, 6}), tensor({3, 2, 1})).item<double>(), zeroed.item<double>());
  std::ostringstream text;
  text << module;
  CHECK_EQ(text.str(), "torch::nn::CTCLoss()");
  CHECK_ERROR(ctc_loss(log_probs, transcripts(), {6, 6}, out), "input_lengths must be of size batch_size");
  CHECK_ERROR(ctc_loss(log_probs, transcripts(), {7, 6, 6}, out), "Expected input_lengths to have value at most 6, but got value 7");
  CHECK_ERROR(ctc_loss(log_probs, transcripts(), short_in, {3, 2}), "target_lengths must be of size batch_size");
  CHECK_ERROR(ctc_loss(log_probs, transcripts(), short_in, {4, 2, 1}), "Expected tensor to have size at least 4 at dimension 1, but got size 3 for argument #2 'targets'");
  CHECK_ERROR(ctc_loss(log_probs, transcripts(), short_in, out, 4), "blank must be in label range");
  CHECK_ERROR(ctc_loss(log_probs, transcripts() + 1, short_in, out), "index 4 is out of bounds for dimension 1 with size 4");
  CHECK_ERROR(ctc_loss(log_probs, transcripts() - 3, short_in, out), "index -2 is out of bounds for dimension 1 with size 4");
  CHECK_ERROR(ctc_loss(log_probs.narrow(1, 0, 0), transcripts().narrow(0, 0, 0), IntArrayRef(), IntArrayRef()), "log_probs tensor must not be empty");
}

// %% [markdown]
// ## Very many classes
//
// A vocabulary has a hundred thousand words, of which a thousand make up nine tenths of any text. The adaptive softmax (Grave and others, 2017) sorts classes by frequency: a *head* decides among the frequent ones and a few *clusters*
// of rare ones, and only an example whose word is rare pays for its cluster. Clusters of rarer words also see fewer features.
//
//     in_features --> head: [ class 0 .. c0-1 | cluster 1 | cluster 2 ]        log p(word) of a frequent word
//                                                |           |
//                  projection to in / 4  <-------+           +---> in / 16
//                  classes c0 .. c1-1                              c1 .. n-1   + log p(word | cluster)

// %%
//| export nn/adaptive.h
namespace nn {
// Log-probabilities of the targets, and their negative mean, a plain number. Source: torch/csrc/api/include/torch/nn/modules/adaptive.h.
struct ASMoutput {
  ASMoutput(Tensor output_, double loss_) : output(std::move(output_)), loss(loss_) {}
  Tensor output;
  double loss;
};

// `cutoffs`: where the clusters begin, rising, each between 1 and n_classes - 1; classes are sorted by falling frequency.
struct AdaptiveLogSoftmaxWithLossOptions {
  AdaptiveLogSoftmaxWithLossOptions(std::int64_t in_features, std::int64_t n_classes, std::vector<std::int64_t> cutoffs)
      : in_features_(in_features), n_classes_(n_classes), cutoffs_(std::move(cutoffs)) {}
  TORCH_ARG(std::int64_t, in_features);
  TORCH_ARG(std::int64_t, n_classes);
  TORCH_ARG(std::vector<std::int64_t>, cutoffs);
  TORCH_ARG(double, div_value) = 4.0;
  TORCH_ARG(bool, head_bias) = false;
};

class AdaptiveLogSoftmaxWithLossImpl : public Cloneable<AdaptiveLogSoftmaxWithLossImpl> {
 public:
  AdaptiveLogSoftmaxWithLossImpl(std::int64_t in_features, std::int64_t n_classes, std::vector<std::int64_t> starts);
  explicit AdaptiveLogSoftmaxWithLossImpl(AdaptiveLogSoftmaxWithLossOptions options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;

  // input (N, in_features), target (N) of Long -> the log-probability of each target, and the loss. A cluster that no target is in costs nothing.
  ASMoutput forward(const Tensor& input, const Tensor& target);
  Tensor log_prob(const Tensor& input);  // (N, in_features) -> (N, n_classes), all of them
  Tensor predict(const Tensor& input);   // (N, in_features) -> (N) of Long, the most probable class; clusters are opened only where they win

  AdaptiveLogSoftmaxWithLossOptions options;
  std::vector<std::int64_t> cutoffs;  // those of the options, and n_classes
  std::int64_t shortlist_size = 0;    // classes that the head decides itself
  std::int64_t n_clusters = 0;
  std::int64_t head_size = 0;
  Linear head = nullptr;
  ModuleList tail;

 private:
  Tensor all_log_probs(const Tensor& input, const Tensor& head_output);
  Tensor cluster_scores(std::int64_t cluster, const Tensor& input);  // (N, classes of the cluster)
};
TORCH_MODULE(AdaptiveLogSoftmaxWithLoss);
}  // namespace nn

// %%
//| export nn/adaptive.cpp
nn::AdaptiveLogSoftmaxWithLossImpl::AdaptiveLogSoftmaxWithLossImpl(std::int64_t in_features, std::int64_t n_classes, std::vector<std::int64_t> starts)
    : AdaptiveLogSoftmaxWithLossImpl(AdaptiveLogSoftmaxWithLossOptions(in_features, n_classes, std::move(starts))) {}
nn::AdaptiveLogSoftmaxWithLossImpl::AdaptiveLogSoftmaxWithLossImpl(AdaptiveLogSoftmaxWithLossOptions options_) : options(std::move(options_)) {
  AdaptiveLogSoftmaxWithLossImpl::reset();
}

void nn::AdaptiveLogSoftmaxWithLossImpl::reset() {
  const std::vector<std::int64_t>& given = options.cutoffs();
  bool rising = !given.empty() && given.front() >= 1 && given.back() <= options.n_classes() - 1;
  for (std::size_t i = 1; i < given.size(); ++i) rising = rising && given[i] > given[i - 1];
  TORCH_CHECK(rising, "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is between 1 and n_classes-1");
  cutoffs = given;
  cutoffs.push_back(options.n_classes());
  shortlist_size = cutoffs.front();
  n_clusters = static_cast<std::int64_t>(cutoffs.size()) - 1;
  head_size = shortlist_size + n_clusters;

  head = register_module("head", Linear(LinearOptions(options.in_features(), head_size).bias(options.head_bias())));
  tail = register_module("tail", ModuleList());
  for (std::size_t i = 0; i + 1 < cutoffs.size(); ++i) {
    const auto features = static_cast<std::int64_t>(std::floor(static_cast<double>(options.in_features()) / std::pow(options.div_value(), static_cast<double>(i + 1))));
    tail->push_back(Sequential(Linear(LinearOptions(options.in_features(), features).bias(false)), Linear(LinearOptions(features, cutoffs[i + 1] - cutoffs[i]).bias(false))));
  }
}

void nn::AdaptiveLogSoftmaxWithLossImpl::reset_parameters() {
  head->reset_parameters();
  for (const auto& module : *tail)
    for (const auto& layer : module->children()) layer->as<LinearImpl>()->reset_parameters();
}

void nn::AdaptiveLogSoftmaxWithLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::AdaptiveLogSoftmaxWithLoss"; }

Tensor nn::AdaptiveLogSoftmaxWithLossImpl::cluster_scores(std::int64_t cluster, const Tensor& input) {
  return tail->ptr(static_cast<std::size_t>(cluster))->as<SequentialImpl>()->forward(input);
}

// %%
//| export nn/adaptive.cpp
nn::ASMoutput nn::AdaptiveLogSoftmaxWithLossImpl::forward(const Tensor& input, const Tensor& target) {
  TORCH_CHECK(input.size(0) == target.size(0), "Input and target should have the same size in the batch dimension.");
  if (target.numel() > 0) {
    const auto least = target.min().item<std::int64_t>();
    const auto most = target.max().item<std::int64_t>();
    TORCH_CHECK(least >= 0 && most < options.n_classes(), "Target values should be in [0, ", options.n_classes() - 1, "], but values in range [", least, ", ", most, "] were found. ");
  }
  // What the head is asked for: a class, or the cluster that the class is in.
  Tensor of_head = target.clone();
  Tensor output = zeros({target.size(0)}, input.options());
  for (std::int64_t cluster = 0; cluster < n_clusters; ++cluster) {
    const std::int64_t low = cutoffs[static_cast<std::size_t>(cluster)];
    const std::int64_t high = cutoffs[static_cast<std::size_t>(cluster) + 1];
    const Tensor rows = target.ge(low).logical_and(target.lt(high)).nonzero().squeeze(1);
    if (rows.numel() == 0) continue;
    const Tensor among = log_softmax(cluster_scores(cluster, input.index_select(0, rows)), 1);
    const Tensor wanted = (target.index_select(0, rows) - low).unsqueeze(1);
    output = output.index_add(0, rows, among.gather(1, wanted).squeeze(1));
    of_head.index_put_({rows}, shortlist_size + cluster);
  }
  output = output + log_softmax(head(input), 1).gather(1, of_head.unsqueeze(1)).squeeze(1);
  return {output, (-output).mean().item<double>()};
}

Tensor nn::AdaptiveLogSoftmaxWithLossImpl::all_log_probs(const Tensor& input, const Tensor& head_output) {
  const Tensor of_head = log_softmax(head_output, 1);
  std::vector<Tensor> parts{of_head.narrow(1, 0, shortlist_size)};
  for (std::int64_t cluster = 0; cluster < n_clusters; ++cluster)
    parts.push_back(log_softmax(cluster_scores(cluster, input), 1) + of_head.select(1, shortlist_size + cluster).unsqueeze(1));
  return cat(parts, 1);
}

Tensor nn::AdaptiveLogSoftmaxWithLossImpl::log_prob(const Tensor& input) { return all_log_probs(input, head(input)); }

Tensor nn::AdaptiveLogSoftmaxWithLossImpl::predict(const Tensor& input) {
  const Tensor head_output = head(input);
  Tensor output = head_output.argmax(1);
  const Tensor rare = output.ge(shortlist_size).nonzero().squeeze(1);
  if (rare.numel() > 0) output.index_put_({rare}, all_log_probs(input.index_select(0, rare), head_output.index_select(0, rare)).argmax(1));
  return output;
}

// %%
TEST_CASE("AdaptiveLogSoftmaxWithLoss: PyTorch's numbers, recorded") {
  nn::AdaptiveLogSoftmaxWithLoss module(nn::AdaptiveLogSoftmaxWithLossOptions(4, 10, {3, 6}).div_value(2.0).head_bias(true));
  module->to(kDouble);
  std::string names;
  {
    const NoGradGuard no_grad;
    std::int64_t i = 0;
    for (const auto& item : module->named_parameters()) {
      names += item.key() + " ";
      item.value().copy_(cos(arange(item.value().numel(), kDouble) * 0.3 + i++).view_as(item.value()));
    }
  }
  CHECK_EQ(names, "head.weight head.bias tail.0.0.weight tail.0.1.weight tail.1.0.weight tail.1.1.weight ");
  const Tensor input = sin(arange(20, kDouble) * 0.5).view({5, 4}).requires_grad_();
  const nn::ASMoutput result = module(input, tensor({0, 2, 4, 9, 7}));
  CHECK_CLOSE(result.output.detach(), tensor({-0.30923699532231, -3.3554324335132, -4.2435564746923, -2.7633322129834, -4.1361720903893}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(full({}, result.loss, kDouble), full({}, 2.96154604138009, kDouble), 1e-12, 1e-12);
  const Tensor all = module->log_prob(input).detach();
  CHECK_CLOSE(all[1], tensor({-0.4015812744469194, -1.5369914699883065, -3.3554324335132195, -4.542872378912181, -4.955305877321951, -5.891866178358508, -3.89673711767309, -4.144567588832883,
                              -4.3470631325589455, -4.486135425012828}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(all.exp().sum(1), ones({5}, kDouble));
  CHECK_EQ(module->predict(input), tensor({0, 0, 2, 0, 0}));
  CHECK_EQ(module->predict(input), all.argmax(1));
  (-result.output).mean().backward();
  CHECK(module->head->weight.grad().defined());
  CHECK_ERROR(nn::AdaptiveLogSoftmaxWithLoss(4, 10, std::vector<std::int64_t>{6, 3}), "cutoffs should be a sequence of unique, positive integers sorted in an increasing order");
  CHECK_ERROR(module(input, tensor({0, 2, 4, 9, 10})), "Target values should be in [0, 9], but values in range [0, 10] were found.");
  CHECK_ERROR(module(input, tensor({0, 2})), "Input and target should have the same size in the batch dimension.");
}

// %%
}  // namespace tinytorch
