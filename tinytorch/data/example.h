// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <utility>

#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace data {

// One element of a dataset, or one batch of them: the data and its target. Source: torch/data/example.h.
template <class Data = Tensor, class Target = Tensor>
struct Example {
  using DataType = Data;
  using TargetType = Target;

  Example() = default;
  Example(Data value, Target label) : data(std::move(value)), target(std::move(label)) {}

  Data data;
  Target target;
};

namespace example {
using NoTarget = void;
}  // namespace example

// Data without a target; converts to the data.
template <class Data>
struct Example<Data, example::NoTarget> {
  using DataType = Data;
  using TargetType = example::NoTarget;

  Example() = default;
  Example(Data value) : data(std::move(value)) {}
  operator Data&() { return data; }
  operator const Data&() const { return data; }

  Data data;
};

using TensorExample = Example<Tensor, example::NoTarget>;

}  // namespace data

}  // namespace tinytorch
