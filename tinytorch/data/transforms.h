// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <utility>
#include <vector>

#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/datasets.h"

namespace tinytorch {

namespace data::transforms {

// From a whole batch to another. Source: torch/data/transforms/base.h.
template <class InputBatch, class OutputBatch>
class BatchTransform {
 public:
  using InputBatchType = InputBatch;
  using OutputBatchType = OutputBatch;
  virtual ~BatchTransform() = default;
  virtual OutputBatch apply_batch(InputBatch input_batch) = 0;
};

// Example by example: write apply().
template <class Input, class Output>
class Transform : public BatchTransform<std::vector<Input>, std::vector<Output>> {
 public:
  using InputType = Input;
  using OutputType = Output;
  virtual OutputType apply(InputType input) = 0;
  std::vector<Output> apply_batch(std::vector<Input> input_batch) override {
    std::vector<Output> output_batch;
    output_batch.reserve(input_batch.size());
    for (Input& input : input_batch) output_batch.push_back(apply(std::move(input)));
    return output_batch;
  }
};

// What turns a list of examples into one: the last transform before the loader.
template <class T, class BatchType = std::vector<T>>
using Collation = BatchTransform<BatchType, T>;

// Changes the data tensor of each example and leaves the target. Source: torch/data/transforms/tensor.h.
template <class Target = Tensor>
class TensorTransform : public Transform<Example<Tensor, Target>, Example<Tensor, Target>> {
 public:
  virtual Tensor operator()(Tensor input) = 0;
  Example<Tensor, Target> apply(Example<Tensor, Target> input) override {
    input.data = (*this)(std::move(input.data));
    return input;
  }
};

// (input - mean) / stddev, with one mean and one stddev for each channel of a (C, H, W) image, or one for all.
template <class Target = Tensor>
struct Normalize : public TensorTransform<Target> {
  Normalize(ArrayRef<double> channel_mean, ArrayRef<double> channel_stddev)
      : mean(tensor(channel_mean, kFloat).unsqueeze(1).unsqueeze(2)), stddev(tensor(channel_stddev, kFloat).unsqueeze(1).unsqueeze(2)) {}
  Tensor operator()(Tensor input) override { return input.sub(mean).div(stddev); }

  Tensor mean, stddev;
};

}  // namespace data::transforms

namespace data::transforms {

// The examples as one: data and targets, each with a new first dimension. Throws for no examples, or sizes that differ.
Example<> stack_examples(const std::vector<Example<>>& examples);
TensorExample stack_examples(const std::vector<TensorExample>& examples);

// A collation by stack_examples: `dataset.map(Stack<>())`. Source: torch/data/transforms/stack.h.
template <class T = Example<>>
struct Stack : public Collation<T> {
  T apply_batch(std::vector<T> examples) override { return stack_examples(examples); }
};

}  // namespace data::transforms

}  // namespace tinytorch
