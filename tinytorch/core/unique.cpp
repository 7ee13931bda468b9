// From the lesson modules/82_more_functions/more_functions_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/unique.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

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

}  // namespace tinytorch
