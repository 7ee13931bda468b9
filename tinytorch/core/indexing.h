// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string_view>

#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

// ---- Indexing along a dimension. Indices are Long (or Int) and not negative.
Tensor index_select(const Tensor& self, std::int64_t dim, const Tensor& index);
Tensor index_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                 const Scalar& alpha = 1);
const Tensor& index_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                         const Scalar& alpha = 1);
// With dim = 1: result[i][j] = self[i][index[i][j]]; the result has index's sizes.
Tensor gather(const Tensor& self, std::int64_t dim, const Tensor& index, bool sparse_grad = false);
// With dim = 1: self[i][index[i][j]] = src[i][j] (scatter_add_: +=).
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value);
const Tensor& scatter_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value);
Tensor scatter_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor masked_select(const Tensor& self, const Tensor& mask);  // 1-d
Tensor flip(const Tensor& self, IntArrayRef dims);
Tensor nonzero(const Tensor& self);  // (count, dim) Long: the indices of the elements that are not 0

namespace op {
extern Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> index_select;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> index_add_;
extern Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> gather;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> scatter_;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> scatter_add_;
extern Operator<Tensor(const Tensor&)> nonzero;
}  // namespace op

// What stands in x.index({...}): an integer, a boolean, a Slice, None, Ellipsis (or "...") or a tensor of indices or booleans.
// Source: aten/src/ATen/TensorIndexing.h.
namespace indexing {

enum class TensorIndexType : std::uint8_t { None, Ellipsis, Integer, Boolean, Slice, Tensor };

struct EllipsisIndexType {};
inline constexpr EllipsisIndexType Ellipsis{};
inline constexpr std::nullopt_t None = std::nullopt;

// start, start + step, ... below stop; both count from the end when negative.
class Slice {
 public:
  Slice(std::optional<std::int64_t> start = std::nullopt, std::optional<std::int64_t> stop = std::nullopt,
        std::optional<std::int64_t> step = std::nullopt)
      : start_(start), stop_(stop), step_(step.value_or(1)) {}
  std::optional<std::int64_t> start() const { return start_; }
  std::optional<std::int64_t> stop() const { return stop_; }
  std::int64_t step() const { return step_; }

 private:
  std::optional<std::int64_t> start_;
  std::optional<std::int64_t> stop_;
  std::int64_t step_;
};

class TensorIndex {
 public:
  TensorIndex(std::nullopt_t) : kind_(TensorIndexType::None) {}
  TensorIndex(EllipsisIndexType) : kind_(TensorIndexType::Ellipsis) {}
  TensorIndex(const char* text);  // "..." only
  template <class T>
  requires std::integral<T> &&(!std::same_as<T, bool>)TensorIndex(T integer)
      : kind_(TensorIndexType::Integer), integer_(static_cast<std::int64_t>(integer)) {}
  template <std::same_as<bool> T>
  TensorIndex(T boolean) : kind_(TensorIndexType::Boolean), integer_(boolean) {}
  TensorIndex(tinytorch::indexing::Slice slice) : kind_(TensorIndexType::Slice), slice_(slice) {}
  TensorIndex(tinytorch::Tensor tensor) : kind_(TensorIndexType::Tensor), tensor_(std::move(tensor)) {}

  TensorIndexType kind() const { return kind_; }
  bool is_none() const { return kind_ == TensorIndexType::None; }
  bool is_ellipsis() const { return kind_ == TensorIndexType::Ellipsis; }
  bool is_integer() const { return kind_ == TensorIndexType::Integer; }
  bool is_boolean() const { return kind_ == TensorIndexType::Boolean; }
  bool is_slice() const { return kind_ == TensorIndexType::Slice; }
  bool is_tensor() const { return kind_ == TensorIndexType::Tensor; }
  std::int64_t integer() const { return integer_; }
  bool boolean() const { return integer_ != 0; }
  const tinytorch::indexing::Slice& slice() const { return slice_; }
  const tinytorch::Tensor& tensor() const { return tensor_; }

 private:
  TensorIndexType kind_;
  std::int64_t integer_ = 0;
  tinytorch::indexing::Slice slice_;
  tinytorch::Tensor tensor_;
};

}  // namespace indexing

// self[indices]: a view when no tensor is among the indices, a copy when one is.
Tensor index(const Tensor& self, ArrayRef<indexing::TensorIndex> indices);
const Tensor& index_put_(const Tensor& self, ArrayRef<indexing::TensorIndex> indices, const Tensor& rhs);
// One index tensor per leading dimension; an absent one takes the whole dimension. With `accumulate`, values that meet in one place add up.
Tensor index(const Tensor& self, const std::vector<std::optional<Tensor>>& indices);
const Tensor& index_put_(const Tensor& self, const std::vector<std::optional<Tensor>>& indices,
                         const Tensor& values, bool accumulate = false);

namespace op {
// The indexed dimensions stand first: `indices` are Long, of one shape, within bounds, one for each of self's first dimensions.
extern Operator<Tensor(const Tensor&, TensorList)> index;
extern Operator<const Tensor&(const Tensor&, TensorList, const Tensor&, bool)> index_put_;
}  // namespace op

}  // namespace tinytorch
