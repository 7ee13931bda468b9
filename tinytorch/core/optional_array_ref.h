// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <initializer_list>
#include <optional>
#include <type_traits>

#include "tinytorch/core/array_ref.h"

namespace tinytorch {

// What an IntArrayRef takes, or nothing, for a parameter. A std::optional<IntArrayRef> would not do: it takes no `{0, 1}`, and of the number 1 it would keep a reference into itself being made. Source: c10/util/OptionalArrayRef.h.
class OptionalIntArrayRef : public std::optional<IntArrayRef> {
 public:
  OptionalIntArrayRef() = default;
  OptionalIntArrayRef(std::nullopt_t) {}
  OptionalIntArrayRef(const std::int64_t& one) : optional(IntArrayRef(one)) {}
  OptionalIntArrayRef(std::initializer_list<std::int64_t> list) : optional(IntArrayRef(list)) {}
  template <class T>
    requires(std::convertible_to<const T&, IntArrayRef> && !std::is_arithmetic_v<T>)
  OptionalIntArrayRef(const T& list) : optional(IntArrayRef(list)) {}
};

// Dimensions that may be absent, where the argument's own type says so. Braces and numbers could become either, so functions take them as an IntArrayRef.
template <class T>
concept OptionalDims = std::same_as<T, OptionalIntArrayRef> || std::same_as<T, std::nullopt_t>;

// The list, or the empty one, which reductions read as all dimensions.
inline IntArrayRef dims_or_all(const OptionalIntArrayRef& dim) { return dim.value_or(IntArrayRef()); }

}  // namespace tinytorch
