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
// # Module 07: Data
//
// A network learns from batches of numbers. Where do they come from? From files of other people's bytes, which may be cut off or
// damaged; in an order that must be random, and yet come back exactly when a run is repeated; and always a little earlier than
// the training step asks for them, because a step that waits for data wastes everything else that you have built.
//
// Here is what this module builds, each part on its own and each with an interface of one or two functions:
//
//        file on disk                                   one thread, or several workers
//     +----------------+    +---------+    +---------------------------------------------+    +-----------+
//     | IDX, CSV, text | -> | Dataset | -> |  DataLoader                                 | -> | for batch |
//     +----------------+    | get(i)  |    |  Sampler -> jobs -> get_batch -> transforms |    |   train   |
//         readers           +---------+    |  (which)    (queue)   (what)      (how)     |    +-----------+
//                                          +---------------------------------------------+
//
// **Learning objectives**
//
// - Separate *which* examples come next (sampler), *what* an example is (dataset), *how* it is changed (transform) and
//   *when* it is made (loader), and say why all frameworks draw the lines there.
// - Build a prefetching pipeline: a blocking queue, workers, results put back in order, errors carried between threads.
// - Read binary and text formats without believing anything that a file claims about itself.
// - Measure what batching gains, when workers help and when they only cost, and what a prefetch queue does to memory.
//
// **Where it sits.** Module 01's tensors and views, and the random permutations and gathers of chapter 90, are all that is needed.
// Module 08 trains with the loader built here. Nothing here knows about networks or gradients.
//
// **Prerequisites.** Modules 00 and 01; C++ threads as far as `std::thread`, `std::mutex` and `std::condition_variable`, which the
// lesson introduces where they are used.

// %%
//| export data/example.h
#include <utility>
#include "tinytorch/core/ops.h"
//| export data/datasets.h
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>
#include "tinytorch/core/array_ref.h"
#include "tinytorch/data/example.h"
//| export data/datasets.cpp
#include <algorithm>
#include <cstring>
#include "tinytorch/core/more_ops.h"
//| export data/transforms.h
#include <functional>
#include <utility>
#include <vector>
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/datasets.h"
//| export data/transforms.cpp
#include "tinytorch/core/more_ops.h"
//| export data/samplers.h
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>
#include "tinytorch/core/ops.h"
//| export data/samplers.cpp
#include <algorithm>
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
//| export data/queue.h
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <queue>
#include <utility>
#include "tinytorch/core/error.h"
//| export data/sequencers.h
#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <utility>
#include <vector>
#include "tinytorch/core/error.h"
//| export data/iterator.h
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>
#include "tinytorch/core/error.h"
//| export data/dataloader_options.h
#include <chrono>
#include <cstddef>
#include <optional>
//| export data/worker_exception.h
#include <exception>
#include <string>
//| export data/dataloader.h
#include <exception>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>
#include "tinytorch/core/dispatch.h"
#include "tinytorch/data/dataloader_options.h"
#include "tinytorch/data/datasets.h"
#include "tinytorch/data/iterator.h"
#include "tinytorch/data/queue.h"
#include "tinytorch/data/samplers.h"
#include "tinytorch/data/sequencers.h"
#include "tinytorch/data/worker_exception.h"
//| export data/idx.h
#include <cstdint>
#include <string>
#include <string_view>
#include "tinytorch/core/ops.h"
//| export data/idx.cpp
#include <zlib.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
//| export data/csv.h
#include <string>
#include <vector>
#include "tinytorch/core/ops.h"
//| export data/csv.cpp
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
//| export data/vision.h
#include <optional>
#include <string>
#include "tinytorch/data/datasets.h"
//| export data/vision.cpp
#include <cmath>
#include <filesystem>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/data/csv.h"
#include "tinytorch/data/idx.h"
//| export data/text_lines.h
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/data/datasets.h"
//| export data/text_lines.cpp
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

// %%
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <set>
#include <sstream>
#include <thread>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### What an epoch costs
//
// Training reads the whole set of N examples again and again; one pass is an *epoch*. A batch of B examples gives N / B steps, and a
// step takes
//
//     one thread:          t_step = t_load(B) + t_train(B)
//     loading ahead:       t_step = max(t_load(B) / W, t_train(B))         W workers, enough cores
//
// The second line is the whole reason for the machinery below: loading costs nothing as long as it is finished in time, and more
// workers help only until training is the slower side. Loading ahead has a price, and it is memory: every batch that is ready, or
// being made, is held. With at most J of them,
//
//     memory = J x B x bytes of one example
//
// Both lines are measured in Part 2.
//
// ### An example
//
// An example is what a dataset gives for one index: the data, and the target that the network shall learn to say. A dataset without
// targets has examples that are data only.

// %%
//| export data/example.h
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

// %% [markdown]
// ### A dataset answers two questions
//
// *How many examples are there*, and *which is number i*. That is all that a dataset must say; everything else (order, batches,
// threads) belongs to others, so that one dataset works with every sampler and every loader.
//
//               Dataset<Self, Example>                     BatchDataset<Self, Batch, Request>
//     index i -----> get(i) -----> one example        request -----> get_batch(request) -----> a batch
//                      ^                                                  |
//                      +------------ called for each index by ------------+
//
// The loader only ever calls `get_batch`. A dataset that can do better than example by example (one read from disk, one gather from
// memory) derives from `BatchDataset` and answers a whole request at once; all others derive from `Dataset` and write `get`.
//
// `Self` is the deriving class itself (the *curiously recurring template pattern*): it lets the base class return a dataset of
// the right type from `map`, which comes below, without a virtual call or an allocation.

// %%
//| export data/datasets.h
namespace data::datasets {

namespace detail {
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
}  // namespace detail

template <class SourceDataset, class AppliedTransform>
class MapDataset;

// Anything that gives a batch for a request: a list of indices, or for streams a number of examples.
// A loader copies the dataset into each worker, so a copy should share its data (Tensors do).
// Source: torch/data/datasets/base.h.
template <class Self, class Batch = std::vector<Example<>>, class BatchRequest = ArrayRef<std::size_t>>
class BatchDataset {
 public:
  using SelfType = Self;
  using BatchType = Batch;
  using BatchRequestType = BatchRequest;
  // A stateful dataset decides itself when an epoch ends: it gives no batch then.
  static constexpr bool is_stateful = detail::is_optional<Batch>;

  virtual ~BatchDataset() = default;

  virtual Batch get_batch(BatchRequest request) = 0;
  // The number of examples, if it is known.
  virtual std::optional<std::size_t> size() const = 0;

  // This dataset with `transform` applied to each of its batches.
  template <class TransformType>
  MapDataset<Self, TransformType> map(TransformType transform) &;
  template <class TransformType>
  MapDataset<Self, TransformType> map(TransformType transform) &&;
};

// A dataset that gives its examples one by one. Derive from it and write get() and size().
template <class Self, class SingleExample = Example<>>
class Dataset : public BatchDataset<Self, std::vector<SingleExample>> {
 public:
  using ExampleType = SingleExample;

  // Example number `index`. REQUIRES: index < size().
  virtual ExampleType get(std::size_t index) = 0;
  std::vector<ExampleType> get_batch(ArrayRef<std::size_t> indices) override;
};

// A dataset without indices: the request is a number of examples.
template <class Self, class Batch = std::vector<Example<>>>
using StreamDataset = BatchDataset<Self, Batch, std::size_t>;

}  // namespace data::datasets

// %% {"nbgrader": {"grade": false, "grade_id": "07-get-batch", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/datasets.h
// The examples with these indices, in their order. O(indices.size()) calls of get(); room for all is taken once.
//
// TODO: Collect get(i) for every index of the request.
// APPROACH: 1. A vector with room for all. 2. One get() for each index, moved into it.
// EXAMPLE: get_batch({4, 1}) is {get(4), get(1)}.
// HINT: reserve() makes room without making elements; resize() makes elements, too.
template <class Self, class SingleExample>
std::vector<SingleExample> data::datasets::Dataset<Self, SingleExample>::get_batch(ArrayRef<std::size_t> indices) {
  // BEGIN SOLUTION
  std::vector<SingleExample> batch;
  batch.reserve(indices.size());
  for (const std::size_t index : indices) batch.push_back(get(index));
  return batch;
  // END SOLUTION
}

// %%
//| mistake 07-get-batch empty-examples-first
//| says The batch is twice as long as the request: a vector made with a size already has that many empty examples, and push_back adds behind them. Use reserve().
#if 0
template <class Self, class SingleExample>
std::vector<SingleExample> data::datasets::Dataset<Self, SingleExample>::get_batch(ArrayRef<std::size_t> indices) {
  std::vector<SingleExample> batch(indices.size());
  for (const std::size_t index : indices) batch.push_back(get(index));
  return batch;
}
#endif

// %%
//| mistake 07-get-batch counts-instead-of-reading
//| says The request says which examples: read the index out of the list, instead of counting from 0.
#if 0
template <class Self, class SingleExample>
std::vector<SingleExample> data::datasets::Dataset<Self, SingleExample>::get_batch(ArrayRef<std::size_t> indices) {
  std::vector<SingleExample> batch;
  batch.reserve(indices.size());
  for (std::size_t i = 0; i < indices.size(); ++i) batch.push_back(get(i));
  return batch;
}
#endif

// %%
//| lesson
// Example i is i squared, with target i. A dataset needs no storage when it can compute its examples.
struct Squares : data::datasets::Dataset<Squares, data::Example<std::int64_t, std::int64_t>> {
  explicit Squares(std::size_t count_of_squares) : count(count_of_squares) {}
  data::Example<std::int64_t, std::int64_t> get(std::size_t index) override {
    const auto i = static_cast<std::int64_t>(index);
    return {i * i, i};
  }
  std::optional<std::size_t> size() const override { return count; }
  std::size_t count;
};

// %% {"nbgrader": {"grade": true, "grade_id": "07-get-batch-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("get_batch: the examples that the request names, in its order") {
  Squares squares(10);
  const auto batch = squares.get_batch({7, 2, 2});
  REQUIRE_EQ(batch.size(), 3);
  CHECK_EQ(batch[0].data, 49);
  CHECK_EQ(batch[0].target, 7);
  CHECK_EQ(batch[1].data, 4);
  CHECK_EQ(batch[2].data, 4);
  CHECK_EQ(squares.get_batch({}).size(), 0);
  // BEGIN HIDDEN TESTS
  const auto whole = squares.get_batch({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  REQUIRE_EQ(whole.size(), 10);
  CHECK_EQ(whole.capacity(), 10);
  for (std::size_t i = 0; i < whole.size(); ++i) CHECK_EQ(whole[i].target, static_cast<std::int64_t>(i));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Transforms, and datasets of datasets
//
// Between the raw example and the batch something is usually done: scale the pixels, cut out a window, and at the end lay many small
// tensors into one large one. A transform is an object with one function from batch to batch, and `dataset.map(transform)` is again a
// dataset:
//
//     Digits ----map(Normalize)----> MapDataset ----map(Stack<>())----> MapDataset
//     vector<Example<>>              vector<Example<>>                   Example<>      <- what the loader hands out
//     (1,8,8) and ()                 (1,8,8) and ()                      (B,1,8,8) and (B)
//
// The type says all of it: `MapDataset<MapDataset<Digits, Normalize<>>, Stack<>>`. There is no list of transforms to walk at run time;
// the compiler sees through the whole chain. TensorFlow's tf.data and JAX users' Grain chain the same way, at run time.

// %%
//| export data/datasets.h
namespace data::datasets {

namespace detail {
template <bool condition, class T>
using optional_if = std::conditional_t<condition, std::optional<T>, T>;
}  // namespace detail

// A dataset and what is done to each of its batches. Source: torch/data/datasets/map.h.
template <class SourceDataset, class AppliedTransform>
class MapDataset
    : public BatchDataset<MapDataset<SourceDataset, AppliedTransform>,
                          detail::optional_if<SourceDataset::is_stateful, typename AppliedTransform::OutputBatchType>,
                          typename SourceDataset::BatchRequestType> {
 public:
  using DatasetType = SourceDataset;
  using TransformType = AppliedTransform;
  using BatchRequestType = typename SourceDataset::BatchRequestType;
  using OutputBatchType = detail::optional_if<SourceDataset::is_stateful, typename AppliedTransform::OutputBatchType>;

  MapDataset(SourceDataset source, AppliedTransform applied) : dataset_(std::move(source)), transform_(std::move(applied)) {}

  OutputBatchType get_batch(BatchRequestType request) override;
  std::optional<std::size_t> size() const noexcept override { return dataset_.size(); }
  // For stateful datasets: begins the next epoch.
  void reset() { dataset_.reset(); }

  const SourceDataset& dataset() noexcept { return dataset_; }
  const AppliedTransform& transform() noexcept { return transform_; }

 private:
  SourceDataset dataset_;
  AppliedTransform transform_;
};

// The free form of dataset.map(transform).
template <class DatasetType, class TransformType>
MapDataset<DatasetType, TransformType> map(DatasetType dataset, TransformType transform) {
  using SourceBatch = typename DatasetType::BatchType;
  if constexpr (DatasetType::is_stateful) {
    static_assert(std::is_same_v<typename SourceBatch::value_type, typename TransformType::InputBatchType>,
                  "BatchType type of dataset does not match input type of transform");
  } else {
    static_assert(std::is_same_v<SourceBatch, typename TransformType::InputBatchType>,
                  "BatchType type of dataset does not match input type of transform");
  }
  return {std::move(dataset), std::move(transform)};
}

}  // namespace data::datasets

// %%
//| export data/datasets.h
template <class SourceDataset, class AppliedTransform>
auto data::datasets::MapDataset<SourceDataset, AppliedTransform>::get_batch(BatchRequestType request) -> OutputBatchType {
  if constexpr (SourceDataset::is_stateful) {
    auto batch = dataset_.get_batch(std::move(request));
    if (!batch) return std::nullopt;
    return transform_.apply_batch(std::move(*batch));
  } else {
    return transform_.apply_batch(dataset_.get_batch(std::move(request)));
  }
}

// %%
//| export data/datasets.h
template <class Self, class Batch, class BatchRequest>
template <class TransformType>
data::datasets::MapDataset<Self, TransformType> data::datasets::BatchDataset<Self, Batch, BatchRequest>::map(TransformType transform) & {
  return datasets::map(static_cast<Self&>(*this), std::move(transform));
}

template <class Self, class Batch, class BatchRequest>
template <class TransformType>
data::datasets::MapDataset<Self, TransformType> data::datasets::BatchDataset<Self, Batch, BatchRequest>::map(TransformType transform) && {
  return datasets::map(std::move(static_cast<Self&>(*this)), std::move(transform));
}

// %% [markdown]
// The transforms themselves. Three levels, each a special case of the one above it: from any batch to any batch; example by
// example; and only the `data` tensor of each example.

// %%
//| export data/transforms.h
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

// A batch transform, or a transform, from a function.
template <class Input, class Output = Input>
class BatchLambda : public BatchTransform<Input, Output> {
 public:
  using FunctionType = std::function<Output(Input)>;
  explicit BatchLambda(FunctionType function) : function_(std::move(function)) {}
  Output apply_batch(Input input_batch) override { return function_(std::move(input_batch)); }

 private:
  FunctionType function_;
};

template <class Input, class Output = Input>
class Lambda : public Transform<Input, Output> {
 public:
  using FunctionType = std::function<Output(Input)>;
  explicit Lambda(FunctionType function) : function_(std::move(function)) {}
  Output apply(Input input) override { return function_(std::move(input)); }

 private:
  FunctionType function_;
};

// What turns a list of examples into one: the last transform before the loader.
template <class T, class BatchType = std::vector<T>>
using Collation = BatchTransform<BatchType, T>;
template <class T, class BatchType = std::vector<T>>
using Collate = BatchLambda<BatchType, T>;

}  // namespace data::transforms

// %%
//| export data/transforms.h
namespace data::transforms {

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

template <class Target = Tensor>
class TensorLambda : public TensorTransform<Target> {
 public:
  using FunctionType = std::function<Tensor(Tensor)>;
  explicit TensorLambda(FunctionType function) : function_(std::move(function)) {}
  Tensor operator()(Tensor input) override { return function_(std::move(input)); }

 private:
  FunctionType function_;
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

// %%
//| lesson
// Example i is a (2, 1, 2) full of i, with target i.
struct Ramp : data::datasets::Dataset<Ramp> {
  data::Example<> get(std::size_t index) override {
    return {full({2, 1, 2}, static_cast<double>(index), kFloat), tensor(static_cast<std::int64_t>(index))};
  }
  std::optional<std::size_t> size() const override { return 5; }
};

// %%
TEST_CASE("transforms: by tensor, by example, by batch, and chained") {
  using namespace data;
  auto chained = Ramp()
                     .map(transforms::TensorLambda<>([](Tensor x) { return x + 1; }))
                     .map(transforms::Normalize<>({1.0, 0.0}, {1.0, 2.0}))
                     .map(transforms::Lambda<Example<>>([](Example<> e) { return Example<>(e.data, e.target * 10); }));
  CHECK_EQ(chained.size().value(), 5);
  const std::vector<Example<>> batch = chained.get_batch({3, 0});
  REQUIRE_EQ(batch.size(), 2);
  CHECK_EQ(batch[0].data, tensor({{{3.0, 3.0}}, {{2.0, 2.0}}}));
  CHECK_EQ(batch[1].data, tensor({{{0.0, 0.0}}, {{0.5, 0.5}}}));
  CHECK_EQ(batch[0].target, tensor(30));

  auto counted =
      Ramp().map(transforms::BatchLambda<std::vector<Example<>>, std::size_t>([](const auto& examples) { return examples.size(); }));
  CHECK_EQ(counted.get_batch({1, 2, 3}), 3);
}

// %% [markdown]
// ### Stacking
//
// Sixteen images in sixteen tensors are sixteen pieces of memory; a matrix product wants one. `Stack` copies them next to each other
// and gives the result a new first dimension, the batch:
//
//     (1,8,8)  (1,8,8)  ...  (1,8,8)          (B, 1, 8, 8)
//     +-----+  +-----+       +-----+     +-----+-----+-- --+-----+
//     |  0  |  |  1  |  ...  | B-1 |  => |  0  |  1  | ... | B-1 |   one allocation, row i is example i
//     +-----+  +-----+       +-----+     +-----+-----+-- --+-----+
//
// `cat`, its neighbour, joins along a dimension that is there already: sixteen (1, 8, 8) give a (16, 8, 8), and the channel
// dimension is lost. The targets are tensors of no dimension at all; `cat` refuses them, `stack` makes a vector.

// %%
//| export data/transforms.h
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

// %% {"nbgrader": {"grade": false, "grade_id": "07-stack", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/transforms.cpp
// One example out of many: data and targets each stacked along a new first dimension. O(bytes of the batch). Throws Error for no
// examples, and for examples whose sizes differ.
//
// TODO: Make one example out of many.
// APPROACH: 1. Collect the data tensors and the targets in two lists. 2. Stack each list.
// EXAMPLE: two examples of data (1, 8, 8) and target () give data (2, 1, 8, 8) and target (2).
// HINT: stack() adds a dimension, cat() does not.
data::Example<> data::transforms::stack_examples(const std::vector<Example<>>& examples) {
  // BEGIN SOLUTION
  std::vector<Tensor> values;
  std::vector<Tensor> targets;
  values.reserve(examples.size());
  targets.reserve(examples.size());
  for (const Example<>& example : examples) {
    values.push_back(example.data);
    targets.push_back(example.target);
  }
  return {stack(values), stack(targets)};
  // END SOLUTION
}

// %%
//| mistake 07-stack joins-instead-of-stacking
//| says cat() joins the examples along a dimension that they already have; a batch needs a new first dimension. Use stack().
#if 0
data::Example<> data::transforms::stack_examples(const std::vector<Example<>>& examples) {
  std::vector<Tensor> values;
  std::vector<Tensor> targets;
  for (const Example<>& example : examples) {
    values.push_back(example.data);
    targets.push_back(example.target);
  }
  return {cat(values), stack(targets)};
}
#endif

// %%
//| mistake 07-stack data-as-target
//| says The targets of the batch are the data again: the second list collects example.target.
#if 0
data::Example<> data::transforms::stack_examples(const std::vector<Example<>>& examples) {
  std::vector<Tensor> values;
  std::vector<Tensor> targets;
  for (const Example<>& example : examples) {
    values.push_back(example.data);
    targets.push_back(example.data);
  }
  return {stack(values), stack(targets)};
}
#endif

// %%
//| export data/transforms.cpp
data::TensorExample data::transforms::stack_examples(const std::vector<TensorExample>& examples) {
  std::vector<Tensor> values;
  values.reserve(examples.size());
  for (const TensorExample& example : examples) values.push_back(example.data);
  return stack(values);
}

// %% {"nbgrader": {"grade": true, "grade_id": "07-stack-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("stack_examples: one tensor for all data, one for all targets") {
  using data::Example;
  const Example<> batch = data::transforms::stack_examples(
      std::vector<Example<>>{{tensor({{1.0, 2.0}}), tensor(7)}, {tensor({{3.0, 4.0}}), tensor(9)}});
  CHECK_EQ(batch.data, tensor({{{1.0, 2.0}}, {{3.0, 4.0}}}));
  CHECK_EQ(batch.target, tensor({7, 9}));
  // BEGIN HIDDEN TESTS
  const std::vector<Example<>> uneven{{zeros({2}), tensor(0)}, {zeros({3}), tensor(0)}};
  CHECK_ERROR(data::transforms::stack_examples(uneven), "stack expects each tensor to be equal size");
  // END HIDDEN TESTS
}

// %%
TEST_CASE("Stack: the last transform before the loader") {
  using namespace data;
  auto batches = Ramp().map(transforms::Stack<>());
  CHECK_EQ(batches.get_batch({3, 0}).data, tensor({{{{3.0, 3.0}}, {{3.0, 3.0}}}, {{{0.0, 0.0}}, {{0.0, 0.0}}}}));
  CHECK_EQ(batches.get_batch({3, 0}).target, tensor({3, 0}));
  const TensorExample rows = transforms::Stack<TensorExample>().apply_batch({tensor({1, 2}), tensor({3, 4})});
  CHECK_EQ(rows.data, tensor({{1, 2}, {3, 4}}));
}

// %% [markdown]
// ### Datasets on tensors, and datasets that are shared
//
// When everything fits into memory, a dataset is a view of large tensors. `TensorDataset` hands out rows one by one, as views;
// `TensorBatchDataset` hands out whole batches, gathered; and `SharedBatchDataset` puts any dataset behind a pointer, for those that
// must not be copied into each worker.
//
//     TensorDataset:       row 5, row 1  (views)  -> Stack -> batch       B views, then one copy
//     TensorBatchDataset:  rows 5 and 1  ------------------> batch       one copy
//
//     worker 0 --+
//     worker 1 --+--> SharedBatchDataset --> one dataset, whose get_batch is thread-safe
//     worker 2 --+

// %%
//| export data/datasets.h
namespace data::datasets {

// The rows of one tensor, without targets. Source: torch/data/datasets/tensor.h.
struct TensorDataset : public Dataset<TensorDataset, TensorExample> {
  explicit TensorDataset(const std::vector<Tensor>& tensors);  // stacked
  explicit TensorDataset(Tensor rows) : tensor(std::move(rows)) {}
  TensorExample get(std::size_t index) override { return tensor[static_cast<std::int64_t>(index)]; }
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(tensor.size(0)); }

  Tensor tensor;
};

// Rows of `data` (N, ...) with rows of `targets` (N, ...), handed out as whole batches: nothing is stacked, because each batch is
// gathered straight from the large tensors.
class TensorBatchDataset : public BatchDataset<TensorBatchDataset, Example<>> {
 public:
  // Keeps a contiguous copy of a tensor whose rows do not lie one behind the other. Throws if the first sizes differ or one of the
  // tensors has no dimension.
  TensorBatchDataset(Tensor data, Tensor targets);
  Example<> get_batch(ArrayRef<std::size_t> indices) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(data_.size(0)); }

 private:
  Tensor data_, targets_;
};

// One dataset object for all workers, for datasets that must not be copied. get_batch() must then be safe to call from
// several threads at once. Source: torch/data/datasets/shared.h.
template <class UnderlyingDataset>
class SharedBatchDataset
    : public BatchDataset<SharedBatchDataset<UnderlyingDataset>, typename UnderlyingDataset::BatchType,
                          typename UnderlyingDataset::BatchRequestType> {
 public:
  using BatchType = typename UnderlyingDataset::BatchType;
  using BatchRequestType = typename UnderlyingDataset::BatchRequestType;

  SharedBatchDataset(std::shared_ptr<UnderlyingDataset> shared_dataset) : dataset_(std::move(shared_dataset)) {}

  BatchType get_batch(BatchRequestType request) override { return dataset_->get_batch(std::move(request)); }
  std::optional<std::size_t> size() const override { return dataset_->size(); }
  void reset() { dataset_->reset(); }

  UnderlyingDataset& operator*() { return *dataset_; }
  const UnderlyingDataset& operator*() const { return *dataset_; }
  UnderlyingDataset* operator->() { return dataset_.get(); }
  const UnderlyingDataset* operator->() const { return dataset_.get(); }

 private:
  std::shared_ptr<UnderlyingDataset> dataset_;
};

template <class UnderlyingDataset, class... Args>
SharedBatchDataset<UnderlyingDataset> make_shared_dataset(Args&&... args) {
  return std::make_shared<UnderlyingDataset>(std::forward<Args>(args)...);
}

}  // namespace data::datasets

// %%
//| export data/datasets.cpp
data::datasets::TensorDataset::TensorDataset(const std::vector<Tensor>& tensors) : tensor(stack(tensors)) {}

data::datasets::TensorBatchDataset::TensorBatchDataset(Tensor data, Tensor targets) : data_(std::move(data)), targets_(std::move(targets)) {
  TORCH_CHECK(data_.dim() > 0 && targets_.dim() > 0, "Size mismatch between tensors\n[TensorBatchDataset] data ", data_.sizes(), " and targets ",
              targets_.sizes(), " must both have a first dimension, which counts the examples");
  TORCH_CHECK(data_.size(0) == targets_.size(0), "Size mismatch between tensors\n[TensorBatchDataset] data ", data_.sizes(), " has ", data_.size(0),
              " examples and targets ", targets_.sizes(), " have ", targets_.size(0));
  data_ = data_.contiguous();
  targets_ = targets_.contiguous();
}

// %% [markdown]
// **A design exercise.** `TensorBatchDataset` gives whole batches. Nothing but the contract is given here: what the batch holds, how much
// memory may be touched on the way, what happens to a wrong index. How you get there is yours to decide: a loop over rows, a list of
// views and one `stack`, an index tensor and one gather. Part 2 measures two of these ways against each other.

// %% {"nbgrader": {"grade": false, "grade_id": "07-gather-batch", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/datasets.cpp
//| exercise design
// The batch with rows indices[0], indices[1], ... of data (B, ...) and targets (B, ...). It owns its memory: changing it leaves the
// dataset as it is. Beside the batch itself it allocates at most 8 bytes for each index, however large the dataset is.
// Throws IndexError for an index that is not below size(). An empty request gives tensors with first size 0.
//
// TODO: Give the batch, without copying anything that is not in it.
// APPROACH: yours. Think of what is allocated: for each row, for each batch, for each call.
// EXAMPLE: with data (100, 3) and indices {5, 1}, the result's data is a (2, 3) with rows 5 and 1.
// HINT: chapter 90 has index_select(self, dim, index) and stack(tensors); module 01 has select, copy_ and data_ptr. data_ and targets_
//   are contiguous.
data::Example<> data::datasets::TensorBatchDataset::get_batch(ArrayRef<std::size_t> indices) {
  // BEGIN SOLUTION
  const auto gather_rows = [&](const Tensor& from) {
    DimVector sizes(from.sizes());
    sizes[0] = static_cast<std::int64_t>(indices.size());
    const Tensor rows = empty(sizes, from.options());
    const std::size_t row_bytes = from.nbytes() / std::max<std::size_t>(1, *size());
    char* to = static_cast<char*>(rows.data_ptr());
    for (const std::size_t index : indices) {
      TORCH_CHECK_INDEX(index < *size(), "index ", index, " is out of bounds for dimension 0 with size ", *size());
      if (row_bytes > 0) std::memcpy(to, static_cast<const char*>(from.data_ptr()) + index * row_bytes, row_bytes);
      to += row_bytes;
    }
    return rows;
  };
  return {gather_rows(data_), gather_rows(targets_)};
  // END SOLUTION
}

// %%
//| mistake 07-gather-batch takes-a-slice
//| says The rows follow each other from the first index on. A shuffled request names them in any order, so each index must be looked at.
#if 0
data::Example<> data::datasets::TensorBatchDataset::get_batch(ArrayRef<std::size_t> indices) {
  const auto count = static_cast<std::int64_t>(indices.size());
  const auto first = indices.empty() ? 0 : static_cast<std::int64_t>(indices[0]);
  TORCH_CHECK_INDEX(first + count <= data_.size(0), "index out of bounds");
  return {data_.narrow(0, first, count).clone(), targets_.narrow(0, first, count).clone()};
}
#endif

// %%
//| mistake 07-gather-batch copies-the-dataset
//| says The whole dataset is copied for each batch. Gather only the rows of the request; the allocator's counter shows the difference.
#if 0
data::Example<> data::datasets::TensorBatchDataset::get_batch(ArrayRef<std::size_t> indices) {
  const Tensor everything = data_.clone();
  std::vector<Tensor> values;
  std::vector<Tensor> targets;
  for (const std::size_t index : indices) {
    TORCH_CHECK_INDEX(index < *size(), "index ", index, " is out of bounds for dimension 0 with size ", *size());
    values.push_back(everything[static_cast<std::int64_t>(index)]);
    targets.push_back(targets_[static_cast<std::int64_t>(index)]);
  }
  if (indices.empty()) return {data_.narrow(0, 0, 0), targets_.narrow(0, 0, 0)};
  return {stack(values), stack(targets)};
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "07-gather-batch-test", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("TensorBatchDataset: the rows of the request, and no memory beside them") {
  data::datasets::TensorBatchDataset dataset(arange(300).to(kFloat).view({100, 3}), arange(100));
  const data::Example<> batch = dataset.get_batch({5, 1});
  CHECK_EQ(batch.data, tensor({{15.0, 16.0, 17.0}, {3.0, 4.0, 5.0}}));
  CHECK_EQ(batch.target, tensor({5, 1}));
  CHECK_THROWS_AS(dataset.get_batch({3, 100}), IndexError);

  // 64 rows of 4 KB out of 4 MB.
  data::datasets::TensorBatchDataset large(zeros({1024, 1024}), zeros({1024}, kLong));
  std::vector<std::size_t> request(64);
  std::iota(request.begin(), request.end(), std::size_t{100});
  memory::reset_peak();
  const std::size_t before = memory::stats().live;
  const data::Example<> rows = large.get_batch(request);
  CHECK_LE(memory::stats().peak - before, rows.data.nbytes() + rows.target.nbytes() + 64 * 8);
  // BEGIN HIDDEN TESTS
  batch.data.fill_(-1);
  batch.target.fill_(-1);
  CHECK_EQ(dataset.get_batch({5}).data, tensor({{15.0, 16.0, 17.0}}));
  CHECK_EQ(dataset.get_batch({5}).target, tensor({5}));
  CHECK_EQ(dataset.get_batch({}).data.sizes(), IntArrayRef({0, 3}));
  CHECK_EQ(dataset.get_batch({2, 2}).target, tensor({2, 2}));
  // END HIDDEN TESTS
}

// %%
TEST_CASE("datasets on tensors: rows, sharing, and sizes that do not fit") {
  data::datasets::TensorDataset rows(arange(6).view({3, 2}));
  CHECK_EQ(Tensor(rows.get(1)), tensor({2, 3}));
  CHECK(rows.get(2).data.is_alias_of(rows.tensor));
  CHECK_EQ(data::datasets::TensorDataset({tensor({1, 2}), tensor({3, 4})}).get(1).data, tensor({3, 4}));

  auto shared = data::datasets::make_shared_dataset<data::datasets::TensorDataset>(arange(4));
  auto other = shared;
  CHECK_EQ(&*shared, &*other);
  CHECK_EQ(shared->size().value(), 4);

  CHECK_ERROR(data::datasets::TensorBatchDataset(zeros({3, 2}), zeros({4})), "Size mismatch between tensors");
}

// %% [markdown]
// ### The sampler decides the order
//
// Gradient descent assumes that a batch is a random draw. Examples lie in files sorted (by class, by writer, by day), so the order is
// shuffled anew for each epoch. Drawing *without* replacement, as a permutation, shows every example exactly once per epoch:
//
//     dataset     0   1   2   3   4   5   6   7   8   9
//     randperm    2   9   4   0   7   1   5   8   3   6       reset(): one permutation for each epoch
//                 [  next(4) ]   [  next(4) ]   [next]        next(B): the following B; the last may be shorter
//
// The permutation costs 8 bytes per example and O(N) time per epoch. What a sampler must *remember* to go on later is little: the
// permutation and a position. `state()` gives it as named tensors, which is what a checkpoint is made of; `save` and `load` put the
// same into libtorch's archives, which module 08 brings.

// %%
//| export data/samplers.h
namespace serialize {

class OutputArchive;
class InputArchive;

// How a named tensor enters an archive and comes out again. The module that brings the archives sets both at start-up; before that
// no archive can exist.
struct ArchiveAccess {
  void (*write)(OutputArchive& archive, const std::string& key, const Tensor& value) = nullptr;
  Tensor (*read)(InputArchive& archive, const std::string& key) = nullptr;
};
inline constinit ArchiveAccess archive_access{};

}  // namespace serialize

namespace data {
// What something must remember to go on later, as named tensors.
using State = std::map<std::string, Tensor>;
}  // namespace data

// %%
//| export data/samplers.h
namespace data::samplers {

// Decides which examples come next. A loader calls reset() before each epoch and next() until it gives nothing.
// Source: torch/data/samplers/base.h.
template <class BatchRequest = std::vector<std::size_t>>
class Sampler {
 public:
  using BatchRequestType = BatchRequest;
  virtual ~Sampler() = default;

  // Begins an epoch, over `new_size` examples if given.
  virtual void reset(std::optional<std::size_t> new_size) = 0;
  // The next request for up to `batch_size` examples, or nothing at the end of the epoch.
  virtual std::optional<BatchRequest> next(std::size_t batch_size) = 0;

  // Where the epoch stands. set_state() takes what state() gave, or throws and changes nothing.
  // A sampler that does not override them cannot be saved: its state is empty.
  virtual State state() const { return {}; }
  virtual void set_state(const State& state);

  // state() to and from an archive.
  virtual void save(serialize::OutputArchive& archive) const;
  virtual void load(serialize::InputArchive& archive);
};

}  // namespace data::samplers

// %%
//| export data/samplers.h
template <class BatchRequest>
void data::samplers::Sampler<BatchRequest>::set_state(const State& state) {
  TORCH_CHECK_NOT_IMPLEMENTED(state.empty(), "This sampler cannot go on in the middle of an epoch\n[set_state] it does not override state() and set_state()");
}

template <class BatchRequest>
void data::samplers::Sampler<BatchRequest>::save(serialize::OutputArchive& archive) const {
  for (const auto& [key, value] : state()) serialize::archive_access.write(archive, key, value);
}

template <class BatchRequest>
void data::samplers::Sampler<BatchRequest>::load(serialize::InputArchive& archive) {
  State loaded;
  for (const auto& [key, value] : state()) loaded[key] = serialize::archive_access.read(archive, key);
  set_state(loaded);
}

// %%
//| export data/samplers.h
namespace data::samplers {

// 0, 1, 2, ... Source: torch/data/samplers/sequential.h.
class SequentialSampler : public Sampler<> {
 public:
  explicit SequentialSampler(std::size_t size) : size_(size) {}
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<std::vector<std::size_t>> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;
  // How many indices of this epoch have been given.
  std::size_t index() const noexcept { return index_; }

 private:
  std::size_t size_;
  std::size_t index_ = 0;
};

// Every index once, in random order: a permutation from the default generator for each epoch, PyTorch's for the same seed.
// Source: torch/data/samplers/random.h.
class RandomSampler : public Sampler<> {
 public:
  // Draws a permutation at once, as libtorch does; a loader's first reset() draws another one.
  explicit RandomSampler(std::int64_t size, ScalarType index_dtype = kLong);
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<std::vector<std::size_t>> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;
  std::size_t index() const noexcept { return static_cast<std::size_t>(index_); }

 private:
  Tensor indices_;
  std::int64_t index_ = 0;
};

// A request by number alone, for streams.
struct BatchSize {
  explicit BatchSize(std::size_t count) : size_(count) {}
  std::size_t size() const noexcept { return size_; }
  operator std::size_t() const noexcept { return size_; }

  std::size_t size_;
};

// For datasets that are streams: says how many examples to read, until the epoch has had `epoch_size` of them.
// Source: torch/data/samplers/stream.h.
class StreamSampler : public Sampler<BatchSize> {
 public:
  explicit StreamSampler(std::size_t epoch_size) : epoch_size_(epoch_size) {}
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<BatchSize> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;

 private:
  std::size_t examples_retrieved_so_far_ = 0;
  std::size_t epoch_size_;
};

}  // namespace data::samplers

// %%
//| export data/samplers.cpp
namespace {

// The tensor `key` of a saved state. Throws if it is missing or is not whole numbers of `dim` dimensions.
Tensor saved_tensor(const data::State& state, const char* key, std::int64_t dim) {
  const auto found = state.find(key);
  TORCH_CHECK(found != state.end(), "The saved state has no '", key, "'\n[set_state] it was not made by this kind of sampler");
  TORCH_CHECK(found->second.defined() && found->second.dim() == dim && isIntegralType(found->second.scalar_type(), false),
              "The saved state is damaged: '", key, "' must be whole numbers of ", dim, " dimensions\n[set_state] take what state() gave");
  return found->second;
}

// The position `key`, which must be in [0, limit].
std::int64_t saved_position(const data::State& state, const char* key, std::int64_t limit) {
  const auto position = saved_tensor(state, key, 0).item<std::int64_t>();
  TORCH_CHECK(position >= 0 && position <= limit, "The saved state is damaged: '", key, "' is ", position, ", outside of [0, ", limit,
              "]\n[set_state] was it made for a dataset of this size?");
  return position;
}

data::State state_of_position(const char* key, std::size_t position) { return {{key, tensor(static_cast<std::int64_t>(position))}}; }

}  // namespace

// %%
//| export data/samplers.cpp
void data::samplers::SequentialSampler::reset(std::optional<std::size_t> new_size) {
  if (new_size) size_ = *new_size;
  index_ = 0;
}

std::optional<std::vector<std::size_t>> data::samplers::SequentialSampler::next(std::size_t batch_size) {
  const std::size_t count = std::min(batch_size, size_ - index_);
  if (index_ == size_) return std::nullopt;
  std::vector<std::size_t> batch(count);
  for (std::size_t& index : batch) index = index_++;
  return batch;
}

data::State data::samplers::SequentialSampler::state() const { return state_of_position("index", index_); }

void data::samplers::SequentialSampler::set_state(const State& state) {
  index_ = static_cast<std::size_t>(saved_position(state, "index", static_cast<std::int64_t>(size_)));
}

// %%
//| export data/samplers.cpp
data::samplers::RandomSampler::RandomSampler(std::int64_t size, ScalarType index_dtype) : indices_(randperm(size, index_dtype)) {}

void data::samplers::RandomSampler::reset(std::optional<std::size_t> new_size) {
  const std::int64_t size = new_size ? static_cast<std::int64_t>(*new_size) : indices_.numel();
  indices_ = randperm(size, indices_.options());
  index_ = 0;
}

// %% {"nbgrader": {"grade": false, "grade_id": "07-random-next", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/samplers.cpp
// The next indices of the permutation: `batch_size` of them, or as many as are left; nothing when all have been given.
// O(batch_size).
//
// TODO: Hand out the next piece of the permutation and move on.
// APPROACH: 1. How many are left? None: the epoch is over. 2. Copy the smaller of batch_size and that many. 3. Advance index_.
// EXAMPLE: with indices_ = [2, 0, 1] next(2) is {2, 0}, then {1}, then nothing.
// HINT: indices_ may be of another integer dtype than Long: slice it, then to(kLong).
std::optional<std::vector<std::size_t>> data::samplers::RandomSampler::next(std::size_t batch_size) {
  // BEGIN SOLUTION
  const std::int64_t left = indices_.numel() - index_;
  if (left == 0) return std::nullopt;
  const std::int64_t count = std::min(left, static_cast<std::int64_t>(batch_size));
  const Tensor piece = indices_.slice(0, index_, index_ + count).to(kLong);
  const std::int64_t* const first = piece.data_ptr<std::int64_t>();
  index_ += count;
  return std::vector<std::size_t>(first, first + count);
  // END SOLUTION
}

// %%
//| mistake 07-random-next drops-the-last
//| says The examples that are left over at the end of the epoch never come. A last, shorter batch is right; leaving it out is the loader's choice (drop_last).
#if 0
std::optional<std::vector<std::size_t>> data::samplers::RandomSampler::next(std::size_t batch_size) {
  const auto count = static_cast<std::int64_t>(batch_size);
  if (indices_.numel() - index_ < count) return std::nullopt;
  const Tensor piece = indices_.slice(0, index_, index_ + count).to(kLong);
  const std::int64_t* const first = piece.data_ptr<std::int64_t>();
  index_ += count;
  return std::vector<std::size_t>(first, first + count);
}
#endif

// %%
//| mistake 07-random-next gives-positions
//| says These are the positions in the permutation, not the indices that stand there: the order is not random at all.
#if 0
std::optional<std::vector<std::size_t>> data::samplers::RandomSampler::next(std::size_t batch_size) {
  const std::int64_t left = indices_.numel() - index_;
  if (left == 0) return std::nullopt;
  std::vector<std::size_t> batch;
  for (std::size_t i = 0; i < batch_size && index_ < indices_.numel(); ++i) batch.push_back(static_cast<std::size_t>(index_++));
  return batch;
}
#endif

// %%
//| export data/samplers.cpp
data::State data::samplers::RandomSampler::state() const {
  return {{"index", tensor(index_)}, {"indices", indices_}};
}

void data::samplers::RandomSampler::set_state(const State& state) {
  const Tensor indices = saved_tensor(state, "indices", 1).to(kLong).contiguous();
  const std::int64_t position = saved_position(state, "index", indices.numel());
  // Every index once: a damaged permutation would show some examples twice, or point outside of the dataset.
  std::vector<bool> seen(static_cast<std::size_t>(indices.numel()));
  for (std::int64_t i = 0; i < indices.numel(); ++i) {
    const std::int64_t index = indices.data<std::int64_t>()[i];
    TORCH_CHECK(index >= 0 && index < indices.numel() && !seen[static_cast<std::size_t>(index)],
                "The saved state is damaged: 'indices' is not a permutation of 0 ... ", indices.numel() - 1, "\n[set_state] entry ", i, " is ", index);
    seen[static_cast<std::size_t>(index)] = true;
  }
  indices_ = indices.to(indices_.scalar_type());
  index_ = position;
}

// %%
//| export data/samplers.cpp
void data::samplers::StreamSampler::reset(std::optional<std::size_t> new_size) {
  if (new_size) epoch_size_ = *new_size;
  examples_retrieved_so_far_ = 0;
}

std::optional<data::samplers::BatchSize> data::samplers::StreamSampler::next(std::size_t batch_size) {
  if (examples_retrieved_so_far_ >= epoch_size_) return std::nullopt;
  const std::size_t count = std::min(batch_size, epoch_size_ - examples_retrieved_so_far_);
  examples_retrieved_so_far_ += count;
  return BatchSize(count);
}

data::State data::samplers::StreamSampler::state() const {
  return state_of_position("examples_retrieved_so_far", examples_retrieved_so_far_);
}

void data::samplers::StreamSampler::set_state(const State& state) {
  examples_retrieved_so_far_ =
      static_cast<std::size_t>(saved_position(state, "examples_retrieved_so_far", static_cast<std::int64_t>(epoch_size_)));
}

// %% {"nbgrader": {"grade": true, "grade_id": "07-random-next-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("RandomSampler: every index once, the last batch shorter, a new order for each epoch") {
  manual_seed(5);
  data::samplers::RandomSampler sampler(10);
  std::vector<std::size_t> first_epoch;
  for (const std::size_t expected_size : {4, 4, 2}) {
    const auto batch = sampler.next(4);
    REQUIRE(batch.has_value());
    CHECK_EQ(batch->size(), expected_size);
    first_epoch.insert(first_epoch.end(), batch->begin(), batch->end());
  }
  CHECK(!sampler.next(4).has_value());
  CHECK_EQ(std::set<std::size_t>(first_epoch.begin(), first_epoch.end()).size(), 10);
  CHECK(!std::is_sorted(first_epoch.begin(), first_epoch.end()));

  sampler.reset();
  const auto second_epoch = sampler.next(10);
  REQUIRE(second_epoch.has_value());
  CHECK_NE(*second_epoch, first_epoch);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(sampler.index(), 10);
  sampler.reset(3);
  CHECK_EQ(sampler.next(100)->size(), 3);
  CHECK_EQ(data::samplers::RandomSampler(7, kInt).next(7)->size(), 7);
  // END HIDDEN TESTS
}

// %%
TEST_CASE("samplers: a saved state goes on where it stood, a damaged one changes nothing") {
  data::samplers::RandomSampler sampler(20);
  sampler.next(7);
  const data::State state = sampler.state();
  const auto expected = sampler.next(13);
  data::samplers::RandomSampler other(20);
  other.set_state(state);
  CHECK_EQ(other.index(), 7);
  CHECK_EQ(*other.next(13), *expected);

  data::State damaged = state;
  damaged["index"] = tensor(21);
  CHECK_ERROR(other.set_state(damaged), "'index' is 21, outside of [0, 20]");
  damaged = state;
  damaged["indices"] = zeros({20}, kLong);
  CHECK_ERROR(other.set_state(damaged), "'indices' is not a permutation");
  CHECK_ERROR(other.set_state({}), "The saved state has no 'indices'");
  CHECK_EQ(other.index(), 20);

  data::samplers::SequentialSampler sequential(5);
  CHECK_EQ(*sequential.next(3), std::vector<std::size_t>{0, 1, 2});
  data::samplers::SequentialSampler resumed(5);
  resumed.set_state(sequential.state());
  CHECK_EQ(*resumed.next(3), std::vector<std::size_t>{3, 4});
  CHECK(!resumed.next(3).has_value());

  data::samplers::StreamSampler stream(5);
  CHECK_EQ(stream.next(3)->size(), 3);
  CHECK_EQ(stream.next(3)->size(), 2);
  CHECK(!stream.next(3).has_value());
}

// %% [markdown]
// ### A queue between threads
//
// One thread makes batches and another takes them. Between them stands a queue, and it must do what a plain `std::queue` cannot: let
// the taker *sleep* until there is something, and let the maker wake it. That is a mutex and a condition variable:
//
//      push(x)                                    pop()
//      lock                                       lock
//      queue <- x                                 while the queue is empty:
//      unlock                                         sleep, with the lock given back
//      notify one sleeper  ---------------------> woken: take the lock, look again
//                                                 x <- queue; unlock; return x
//
// "Look again" is the part that is forgotten most often. Looking comes *before* sleeping too: what was pushed before `pop` began has
// already sent its notification, and no other will come. `cv.wait(lock, condition)` does both: it returns at once when the condition
// holds, and checks it after every wake-up.

// %%
//| export data/queue.h
namespace data::detail {

// A queue that any number of threads may push into and pop from. Source: torch/data/detail/queue.h.
template <class T>
class Queue {
 public:
  void push(T value);
  T pop(std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  // Throws everything away; returns how much that was.
  std::size_t clear();

 private:
  std::queue<T> queue_;
  std::mutex mutex_;
  std::condition_variable cv_;
};

}  // namespace data::detail

// %%
//| export data/queue.h
template <class T>
void data::detail::Queue<T>::push(T value) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push(std::move(value));
  }
  cv_.notify_one();
}

template <class T>
std::size_t data::detail::Queue<T>::clear() {
  std::queue<T> old;
  {
    const std::lock_guard lock(mutex_);
    std::swap(old, queue_);
  }
  return old.size();  // its elements are destroyed here, without the lock
}

// %% {"nbgrader": {"grade": false, "grade_id": "07-queue-pop", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/queue.h
// Takes the oldest element out; sleeps until there is one. With a timeout, throws Error when there is none by then.
//
// TODO: Wait until the queue has an element, take it out and return it.
// APPROACH: 1. Lock. 2. With a timeout: cv_.wait_for(lock, *timeout, condition), which returns false if the condition still does not
//   hold; then throw "Timeout in DataLoader queue while waiting for next batch (timeout was N ms)". Without: cv_.wait.
//   3. Move the front out, and pop it.
// EXAMPLE: after push(1) and push(2), pop() is 1 and pop() is 2.
// HINT: the condition is [this] { return !queue_.empty(); }; waiting needs a std::unique_lock, because it unlocks meanwhile.
template <class T>
T data::detail::Queue<T>::pop(std::optional<std::chrono::milliseconds> timeout) {
  // BEGIN SOLUTION
  std::unique_lock lock(mutex_);
  const auto has_element = [this] { return !queue_.empty(); };
  if (timeout) {
    TORCH_CHECK(cv_.wait_for(lock, *timeout, has_element),
                "Timeout in DataLoader queue while waiting for next batch (timeout was ", timeout->count(), " ms)");
  } else {
    cv_.wait(lock, has_element);
  }
  T value = std::move(queue_.front());
  queue_.pop();
  return value;
  // END SOLUTION
}

// %%
//| mistake 07-queue-pop sleeps-before-looking
//| says The element was there before pop() was called, so no notification will come. Give wait_for the condition: it looks before it sleeps.
#if 0
template <class T>
T data::detail::Queue<T>::pop(std::optional<std::chrono::milliseconds> timeout) {
  std::unique_lock lock(mutex_);
  if (timeout) {
    TORCH_CHECK(cv_.wait_for(lock, *timeout) == std::cv_status::no_timeout,
                "Timeout in DataLoader queue while waiting for next batch (timeout was ", timeout->count(), " ms)");
  } else {
    cv_.wait(lock, [this] { return !queue_.empty(); });
  }
  T value = std::move(queue_.front());
  queue_.pop();
  return value;
}
#endif

// %%
//| mistake 07-queue-pop takes-the-newest
//| says The newest element is returned, and the oldest thrown away. A queue gives back what came first: front().
#if 0
template <class T>
T data::detail::Queue<T>::pop(std::optional<std::chrono::milliseconds> timeout) {
  std::unique_lock lock(mutex_);
  const auto has_element = [this] { return !queue_.empty(); };
  if (timeout) {
    TORCH_CHECK(cv_.wait_for(lock, *timeout, has_element),
                "Timeout in DataLoader queue while waiting for next batch (timeout was ", timeout->count(), " ms)");
  } else {
    cv_.wait(lock, has_element);
  }
  T value = std::move(queue_.back());
  queue_.pop();
  return value;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "07-queue-pop-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("Queue: first in, first out, and a timeout when nothing comes") {
  using std::chrono::milliseconds;
  data::detail::Queue<int> queue;
  queue.push(1);
  queue.push(2);
  CHECK_EQ(queue.pop(milliseconds(20)), 1);
  CHECK_EQ(queue.pop(), 2);
  CHECK_ERROR(queue.pop(milliseconds(1)), "Timeout in DataLoader queue while waiting for next batch (timeout was 1 ms)");
  // BEGIN HIDDEN TESTS
  std::thread late([&queue] {
    std::this_thread::sleep_for(milliseconds(5));
    queue.push(3);
  });
  int received = 0;
  CHECK_NOTHROW(received = queue.pop(milliseconds(5000)));
  CHECK_EQ(received, 3);
  late.join();
  queue.push(4);
  queue.push(5);
  CHECK_EQ(queue.clear(), 2);
  // END HIDDEN TESTS
}

// %% [markdown]
// Two such queues make the *shuttle* between the loader's thread and its workers: jobs go out, results come back. It counts what is
// in flight, and only the loader's own thread reads or writes that number, so the number needs no lock.
//
//                    jobs:     [ 7 | 6 | 5 ]  ---->  worker 0: job 4     results come back in the
//     loader's                                ---->  worker 1: job 3     order in which they are done
//     thread         results:  [ 2 ]          <----                      in flight: 6

// %%
//| export data/queue.h
namespace data::detail {

// Jobs to the workers and results back. Everything but pop_job() and push_result() is for the loader's thread only.
// Source: torch/data/detail/data_shuttle.h.
template <class Job, class Result>
class DataShuttle {
 public:
  void push_job(Job job) {
    new_jobs_.push(std::move(job));
    ++in_flight_jobs_;
  }
  Job pop_job() { return new_jobs_.pop(); }
  void push_result(Result result) { results_.push(std::move(result)); }
  std::optional<Result> pop_result(std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  void cancel_jobs() { in_flight_jobs_ -= new_jobs_.clear(); }
  void drain();
  std::size_t in_flight_jobs() const noexcept { return in_flight_jobs_; }

 private:
  Queue<Job> new_jobs_;
  std::size_t in_flight_jobs_ = 0;
  Queue<Result> results_;
};

}  // namespace data::detail

// %%
//| export data/queue.h
// The next result; nothing if no job is in flight. Throws on a timeout; the job stays in flight then.
template <class Job, class Result>
std::optional<Result> data::detail::DataShuttle<Job, Result>::pop_result(std::optional<std::chrono::milliseconds> timeout) {
  if (in_flight_jobs_ == 0) return std::nullopt;
  Result result = results_.pop(timeout);
  --in_flight_jobs_;
  return result;
}

// Cancels the jobs that nobody has begun, and waits for the others.
template <class Job, class Result>
void data::detail::DataShuttle<Job, Result>::drain() {
  cancel_jobs();
  while (in_flight_jobs_ > 0) pop_result();
}

// %%
TEST_CASE("DataShuttle: results of two workers, and what is in flight") {
  data::detail::DataShuttle<int, int> shuttle;
  CHECK(!shuttle.pop_result().has_value());
  shuttle.push_job(5);
  CHECK_EQ(shuttle.pop_job(), 5);
  shuttle.push_result(25);
  CHECK_EQ(shuttle.pop_result().value(), 25);

  for (int job = 1; job <= 6; ++job) shuttle.push_job(job);
  CHECK_EQ(shuttle.in_flight_jobs(), 6);
  auto square_three = [&shuttle] {
    for (int i = 0; i < 3; ++i) {
      const int job = shuttle.pop_job();
      shuttle.push_result(job * job);
    }
  };
  std::thread first(square_three);
  std::thread second(square_three);
  int sum = 0;
  while (const std::optional<int> result = shuttle.pop_result()) sum += *result;
  CHECK_EQ(sum, 1 + 4 + 9 + 16 + 25 + 36);
  first.join();
  second.join();

  shuttle.push_job(7);
  shuttle.drain();
  CHECK_EQ(shuttle.in_flight_jobs(), 0);
}

// %% [markdown]
// ### Results in order
//
// Two workers finish in any order: job 1 may hold one large image and job 2 a small one. A run that shall come back number by number
// must see the batches in the order of the sampler. So each job carries a *sequence number*, and a sequencer holds back what
// comes too early:
//
//     arrives:   2   0   1   3             next to deliver: 0
//
//     2 -> not 0: keep it                  buffer [ . . 2 . ]
//     0 -> deliver                         next: 1
//     1 -> deliver                         next: 2, which is in the buffer: deliver without waiting
//     3 -> deliver
//
// No more than J jobs are in flight, so the buffer needs J places, and job n goes to place n mod J. Reordering is not free: while
// job 0 is slow, finished batches lie in the buffer and no new jobs are sent out. Where order does not matter (evaluation), it can be
// switched off: `enforce_ordering(false)`.

// %%
//| export data/sequencers.h
namespace data::detail::sequencers {

// Decides in which order results are delivered. `next_result` gives the next one that is done, or nothing when none is in flight.
// Source: torch/data/detail/sequencers.h.
template <class Result>
class Sequencer {
 public:
  using ResultProducer = std::function<std::optional<Result>()>;
  virtual ~Sequencer() = default;
  virtual std::optional<Result> next(ResultProducer next_result) = 0;
};

// As they come.
template <class Result>
class NoSequencer final : public Sequencer<Result> {
 public:
  using typename Sequencer<Result>::ResultProducer;
  std::optional<Result> next(ResultProducer next_result) override { return next_result(); }
};

// By `sequence_number`: 0, 1, 2, ... REQUIRES: at most `max_jobs` results are in flight.
template <class Result>
class OrderedSequencer final : public Sequencer<Result> {
 public:
  using typename Sequencer<Result>::ResultProducer;
  explicit OrderedSequencer(std::size_t max_jobs) : buffer_(max_jobs) {}
  std::optional<Result> next(ResultProducer next_result) override;

 private:
  std::optional<Result>& place(std::size_t sequence_number) { return buffer_[sequence_number % buffer_.size()]; }

  std::size_t next_sequence_number_ = 0;
  std::vector<std::optional<Result>> buffer_;
};

}  // namespace data::detail::sequencers

// %% {"nbgrader": {"grade": false, "grade_id": "07-ordered-next", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/sequencers.h
// The result with number next_sequence_number_; nothing when no result is left. Results that come too early wait in the buffer.
//
// TODO: Deliver results by their sequence numbers, whatever the order in which they come.
// APPROACH: 1. Is it in the buffer already? Then take it out of its place. 2. Else call next_result() until it comes; put every other
//   result in its place. 3. Advance next_sequence_number_ when you deliver.
// EXAMPLE: results that come as 2, 0, 1 are delivered as 0, 1, 2.
// HINT: std::exchange(place(n), std::nullopt) takes a result out and empties its place.
template <class Result>
std::optional<Result> data::detail::sequencers::OrderedSequencer<Result>::next(ResultProducer next_result) {
  // BEGIN SOLUTION
  std::optional<Result> result = std::exchange(place(next_sequence_number_), std::nullopt);
  while (!result) {
    std::optional<Result> arrived = next_result();
    if (!arrived) return std::nullopt;
    if (arrived->sequence_number == next_sequence_number_) {
      result = std::move(arrived);
    } else {
      std::optional<Result>& waiting = place(arrived->sequence_number);
      TORCH_INTERNAL_ASSERT(!waiting, "two results for one place: more jobs in flight than the sequencer has places");
      waiting = std::move(arrived);
    }
  }
  ++next_sequence_number_;
  return result;
  // END SOLUTION
}

// %%
//| mistake 07-ordered-next as-they-come
//| says The results are handed on in the order of their arrival. Compare each one's sequence_number with the number that is due.
#if 0
template <class Result>
std::optional<Result> data::detail::sequencers::OrderedSequencer<Result>::next(ResultProducer next_result) {
  return next_result();
}
#endif

// %%
//| mistake 07-ordered-next forgets-the-buffer
//| says A result that came early was put into the buffer and never delivered. Look into the buffer first, before you wait for the next result.
#if 0
template <class Result>
std::optional<Result> data::detail::sequencers::OrderedSequencer<Result>::next(ResultProducer next_result) {
  while (std::optional<Result> arrived = next_result()) {
    if (arrived->sequence_number == next_sequence_number_) {
      ++next_sequence_number_;
      return arrived;
    }
    place(arrived->sequence_number) = std::move(arrived);
  }
  return std::nullopt;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "07-ordered-next-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("OrderedSequencer: 2, 0, 1, 3 is delivered as 0, 1, 2, 3") {
  struct Numbered {
    std::size_t sequence_number;
  };
  const std::vector<std::size_t> arrivals{2, 0, 1, 3};
  std::size_t arrived = 0;
  const auto next_result = [&]() -> std::optional<Numbered> {
    if (arrived == arrivals.size()) return std::nullopt;
    return Numbered{arrivals[arrived++]};
  };
  data::detail::sequencers::OrderedSequencer<Numbered> sequencer(4);
  for (std::size_t expected = 0; expected < 4; ++expected) {
    const auto result = sequencer.next(next_result);
    REQUIRE(result.has_value());
    CHECK_EQ(result->sequence_number, expected);
  }
  CHECK(!sequencer.next(next_result).has_value());
  // BEGIN HIDDEN TESTS
  // Numbers beyond the buffer's size reuse its places.
  arrived = 0;
  data::detail::sequencers::OrderedSequencer<Numbered> small(2);
  std::vector<std::size_t> later{1, 0, 3, 2, 5, 4};
  const auto next_later = [&]() -> std::optional<Numbered> {
    if (arrived == later.size()) return std::nullopt;
    return Numbered{later[arrived++]};
  };
  for (std::size_t expected = 0; expected < 6; ++expected) CHECK_EQ(small.next(next_later)->sequence_number, expected);
  CHECK(!small.next(next_later).has_value());
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The loader's options and its iterator
//
// A loader is used by a range-based `for`, so it needs an iterator, and one of the weakest kind: an *input* iterator, which can only go
// forward, once. Two iterators are equal when both are at the end. Batches are made when they are asked for, so "at the end" is only
// known after asking:
//
//     begin()                          end()
//     it == end?   makes batch 0       has none: equal
//     *it          batch 0
//     ++it         makes batch 1
//     it == end?   no ... until next() gives nothing

// %%
//| export data/dataloader_options.h
namespace data {

// How a loader works; every setter returns the options, so they chain. A number alone is a batch size.
// Source: torch/data/dataloader_options.h.
struct DataLoaderOptions {
  DataLoaderOptions() = default;
  DataLoaderOptions(std::size_t size) : batch_size_(size) {}

  // Examples in a batch.
  DataLoaderOptions& batch_size(std::size_t value) { return set(batch_size_, value); }
  std::size_t batch_size() const { return batch_size_; }
  // Threads that make batches; 0: the calling thread makes each batch when it is asked for.
  DataLoaderOptions& workers(std::size_t value) { return set(workers_, value); }
  std::size_t workers() const { return workers_; }
  // The most batches that are ready or being made; twice the workers if not given. It bounds the memory of loading ahead.
  DataLoaderOptions& max_jobs(std::optional<std::size_t> value) { return set(max_jobs_, value); }
  std::optional<std::size_t> max_jobs() const { return max_jobs_; }
  // How long to wait for a batch from the workers before giving up with an error; for ever if not given.
  DataLoaderOptions& timeout(std::optional<std::chrono::milliseconds> value) { return set(timeout_, value); }
  std::optional<std::chrono::milliseconds> timeout() const { return timeout_; }
  // Whether batches come in the order of the sampler. Costs time when some batches take much longer than others.
  DataLoaderOptions& enforce_ordering(bool value) { return set(enforce_ordering_, value); }
  bool enforce_ordering() const { return enforce_ordering_; }
  // Whether to leave out a last batch with fewer than batch_size examples.
  DataLoaderOptions& drop_last(bool value) { return set(drop_last_, value); }
  bool drop_last() const { return drop_last_; }

 private:
  template <class T>
  DataLoaderOptions& set(T& field, const T& value) {
    field = value;
    return *this;
  }

  std::size_t batch_size_ = 1;
  std::size_t workers_ = 0;
  std::optional<std::size_t> max_jobs_;
  std::optional<std::chrono::milliseconds> timeout_;
  bool enforce_ordering_ = true;
  bool drop_last_ = false;
};

// The options with every default worked out.
struct FullDataLoaderOptions {
  explicit FullDataLoaderOptions(const DataLoaderOptions& options)
      : batch_size(options.batch_size()),
        workers(options.workers()),
        max_jobs(options.max_jobs().value_or(2 * options.workers())),
        timeout(options.timeout()),
        enforce_ordering(options.enforce_ordering()),
        drop_last(options.drop_last()) {}

  std::size_t batch_size;
  std::size_t workers;
  std::size_t max_jobs;
  std::optional<std::chrono::milliseconds> timeout;
  bool enforce_ordering;
  bool drop_last;
};

}  // namespace data

// %%
//| export data/iterator.h
namespace data {

namespace detail {
// A running pass over batches: each one is made when somebody looks. If that throws, the next look asks for the next batch.
template <class Batch>
struct Pass {
  std::function<std::optional<Batch>()> next_batch;
  std::optional<Batch> batch;
  bool fetched = false;

  std::optional<Batch>& current() {
    if (!fetched) {
      batch = next_batch();
      fetched = true;
    }
    return batch;
  }
};
}  // namespace detail

// An input iterator over batches. Copies share one pass; without a pass it is the end. Source: torch/data/iterator.h.
template <class Batch>
class Iterator {
 public:
  using difference_type = std::ptrdiff_t;
  using value_type = Batch;
  using pointer = Batch*;
  using reference = Batch&;
  using iterator_category = std::input_iterator_tag;

  Iterator() = default;
  explicit Iterator(std::shared_ptr<detail::Pass<Batch>> pass) : pass_(std::move(pass)) {}

  Iterator& operator++();
  Batch& operator*() const;
  Batch* operator->() const { return &**this; }
  bool operator==(const Iterator& other) const { return pass_ == other.pass_ || (at_end() && other.at_end()); }

 private:
  bool at_end() const { return !pass_ || !pass_->current(); }
  std::shared_ptr<detail::Pass<Batch>> pass_;
};

}  // namespace data

// %%
//| export data/iterator.h
template <class Batch>
data::Iterator<Batch>& data::Iterator<Batch>::operator++() {
  TORCH_CHECK(pass_ != nullptr, "Incrementing the DataLoader's past-the-end iterator is not allowed");
  TORCH_CHECK(pass_->current().has_value(), "Attempted to increment iterator past the end");
  pass_->batch.reset();  // its memory is free before the next batch is waited for
  pass_->fetched = false;
  pass_->current();
  return *this;
}

template <class Batch>
Batch& data::Iterator<Batch>::operator*() const {
  TORCH_CHECK(pass_ != nullptr, "Dereferencing the DataLoader's past-the-end iterator is not allowed");
  TORCH_CHECK(pass_->current().has_value(), "Attempted to dereference iterator that was past the end");
  return *pass_->current();
}

// %%
TEST_CASE("Iterator: one pass, its end, and past it") {
  int made = 0;
  auto pass = std::make_shared<data::detail::Pass<int>>();
  pass->next_batch = [&made] { return made < 3 ? std::optional<int>(++made) : std::nullopt; };
  data::Iterator<int> it(pass);
  const data::Iterator<int> end;
  CHECK_EQ(made, 0);  // nothing is made before somebody looks
  CHECK_EQ(*it, 1);
  CHECK_EQ(made, 1);
  CHECK_EQ(*++it, 2);
  CHECK(it != end);
  ++it;
  ++it;
  CHECK(it == end);
  CHECK_ERROR(*it, "Attempted to dereference iterator that was past the end");
  CHECK_ERROR(++it, "Attempted to increment iterator past the end");
  data::Iterator<int> sentinel;
  CHECK_ERROR(*sentinel, "Dereferencing the DataLoader's past-the-end iterator is not allowed");
  CHECK_ERROR(++sentinel, "Incrementing the DataLoader's past-the-end iterator is not allowed");
}

// %% [markdown]
// ### The loader
//
// All parts together. The loader's own thread asks the sampler for requests and sends them out as jobs, `max_jobs` of them at the
// beginning and then one for each batch that it delivers; so the number in flight never grows. A worker knows nothing of samplers or
// order: it takes a job, asks its copy of the dataset, and sends the result back.
//
//        loader's thread                                        worker (one of W)
//
//        prefetch: sampler.next(B) -> job n                     loop:
//        next:     sequencer waits for n                          job <- jobs            (no request: quit)
//                  exception? throw it here                       run_job: get_batch, in the
//                  else one more job, return the batch                     thread state of the job
//                                                                 result -> results
//
// Three things cross the border between threads and are easy to forget.
//
// - **Errors.** An exception that leaves a thread's function ends the whole program. So a worker catches everything and
//   sends it back (`std::exception_ptr` holds any exception), and the loader's thread throws it where a programmer can
//   catch it.
// - **The thread state.** Modes such as "do not record gradients" belong to a thread (module 01). A worker is another thread and would
//   not know them, so each job carries the state of the thread that asked.
// - **The dataset.** Each worker has its own copy, so that `get` needs no lock. Copying a dataset must therefore be cheap: Tensors share
//   their storage, and large things of other kinds belong behind a `std::shared_ptr`.

// %%
//| export data/worker_exception.h
namespace data {

// What the loader's thread throws for an exception in a worker. The original one can be thrown again.
// Source: torch/data/worker_exception.h.
struct WorkerException : public std::exception {
  explicit WorkerException(std::exception_ptr original) : original_exception(original), message("Caught exception in DataLoader worker thread.") {
    try {
      std::rethrow_exception(original_exception);
    } catch (const std::exception& e) {
      message += " Original message: ";
      message += e.what();
    } catch (...) {
      message += " It is not a std::exception.";
    }
  }
  const char* what() const noexcept override { return message.c_str(); }

  std::exception_ptr original_exception;
  std::string message;
};

}  // namespace data

// %%
//| export data/dataloader.h
namespace data {

// What loaders have in common: jobs, workers, results. Used from one thread. Source: torch/data/dataloader/base.h.
template <class Dataset, class Batch, class BatchRequest>
class DataLoaderBase {
 public:
  using BatchType = Batch;
  using BatchRequestType = BatchRequest;

  // Throws if the options make no sense.
  explicit DataLoaderBase(const DataLoaderOptions& options, std::unique_ptr<Dataset> main_thread_dataset = nullptr);
  virtual ~DataLoaderBase() { join(); }
  DataLoaderBase(const DataLoaderBase&) = delete;
  DataLoaderBase& operator=(const DataLoaderBase&) = delete;

  // Begins an epoch. What is left of one whose iterator is gone is thrown away; throws if an iterator is still on its way.
  Iterator<Batch> begin();
  Iterator<Batch> end() { return Iterator<Batch>(); }

  // Lets the workers finish what they do, and ends them. The loader cannot be used after that.
  void join();

  const FullDataLoaderOptions& options() const noexcept { return options_; }

 protected:
  struct Job {
    std::size_t sequence_number = 0;
    std::optional<BatchRequest> request;  // none: quit
    ThreadState thread;                   // of the thread that asked
  };
  struct Result {
    std::size_t sequence_number = 0;
    std::optional<Batch> batch;  // none: the dataset has no more
    std::exception_ptr exception;
  };

  // The next request of this epoch, or nothing at its end.
  virtual std::optional<BatchRequest> get_batch_request() = 0;
  // Begins an epoch; overriders prepare it and then call this one.
  virtual void reset();

  void prefetch(std::size_t requested_jobs);
  std::optional<Batch> next();
  static Result run_job(Dataset& dataset, Job job);
  void worker_thread(Dataset& dataset);

  const FullDataLoaderOptions options_;
  std::unique_ptr<Dataset> main_thread_dataset_;
  std::vector<std::thread> workers_;
  std::size_t delivered_ = 0;  // batches of this epoch that next() has returned
  bool in_epoch_ = false;

 private:
  std::unique_ptr<detail::sequencers::Sequencer<Result>> new_sequencer() const;
  void finish_epoch() { in_epoch_ = false; }

  std::size_t sequence_number_ = 0;
  detail::DataShuttle<Job, Result> shuttle_;
  std::unique_ptr<detail::sequencers::Sequencer<Result>> sequencer_;
  std::weak_ptr<detail::Pass<Batch>> pass_;
  bool joined_ = false;
};

}  // namespace data

// %%
//| export data/dataloader.h
template <class Dataset, class Batch, class BatchRequest>
data::DataLoaderBase<Dataset, Batch, BatchRequest>::DataLoaderBase(const DataLoaderOptions& options, std::unique_ptr<Dataset> main_thread_dataset)
    : options_(options), main_thread_dataset_(std::move(main_thread_dataset)), sequencer_(new_sequencer()) {
  TORCH_CHECK(options_.batch_size > 0, "batch_size must be positive\n[DataLoader] a batch of 0 examples never ends");
  TORCH_CHECK(options_.workers == 0 || options_.max_jobs > 0,
              "max_jobs must be positive when there are workers\n[DataLoader] with max_jobs 0 the ", options_.workers, " workers would never get a job");
}

template <class Dataset, class Batch, class BatchRequest>
auto data::DataLoaderBase<Dataset, Batch, BatchRequest>::new_sequencer() const -> std::unique_ptr<detail::sequencers::Sequencer<Result>> {
  if (options_.enforce_ordering) return std::make_unique<detail::sequencers::OrderedSequencer<Result>>(options_.max_jobs);
  return std::make_unique<detail::sequencers::NoSequencer<Result>>();
}

// %%
//| export data/dataloader.h
template <class Dataset, class Batch, class BatchRequest>
data::Iterator<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::begin() {
  TORCH_CHECK(shuttle_.in_flight_jobs() == 0 || pass_.expired(),
              "Attempted to get a new DataLoader iterator while another iterator is not yet exhausted");
  TORCH_CHECK(!joined_ || options_.workers == 0, "The DataLoader's workers have ended\n[DataLoader] do not call join() before the last epoch");
  reset();
  auto pass = std::make_shared<detail::Pass<Batch>>();
  pass->next_batch = [this] { return next(); };
  pass_ = pass;
  return Iterator<Batch>(std::move(pass));
}

template <class Dataset, class Batch, class BatchRequest>
void data::DataLoaderBase<Dataset, Batch, BatchRequest>::reset() {
  shuttle_.drain();
  sequence_number_ = 0;
  sequencer_ = new_sequencer();
  in_epoch_ = true;
  if (options_.workers > 0) prefetch(options_.max_jobs);
}

// %%
//| export data/dataloader.h
// Sends out up to `requested_jobs` jobs; fewer at the end of the epoch.
template <class Dataset, class Batch, class BatchRequest>
void data::DataLoaderBase<Dataset, Batch, BatchRequest>::prefetch(std::size_t requested_jobs) {
  for (std::size_t i = 0; i < requested_jobs; ++i) {
    std::optional<BatchRequest> request = get_batch_request();
    if (!request) return;
    shuttle_.push_job({sequence_number_++, std::move(request), thread_state()});
  }
}

// %%
//| export data/dataloader.h
// A worker's life: one job after the other, until one says quit.
template <class Dataset, class Batch, class BatchRequest>
void data::DataLoaderBase<Dataset, Batch, BatchRequest>::worker_thread(Dataset& dataset) {
  std::size_t sequence_number = 0;
  try {
    while (true) {
      Job job = shuttle_.pop_job();
      if (!job.request) return;
      sequence_number = job.sequence_number;
      shuttle_.push_result(run_job(dataset, std::move(job)));
    }
  } catch (...) {
    // run_job() sends back what the dataset throws; this is a failure of the machinery itself.
    shuttle_.push_result({sequence_number, std::nullopt, std::current_exception()});
  }
}

// %%
//| export data/dataloader.h
template <class Dataset, class Batch, class BatchRequest>
void data::DataLoaderBase<Dataset, Batch, BatchRequest>::join() {
  if (joined_) return;
  joined_ = true;
  shuttle_.cancel_jobs();
  // Each worker takes one of these and ends.
  for (std::size_t i = 0; i < workers_.size(); ++i) shuttle_.push_job({});
  for (std::thread& worker : workers_) worker.join();
}

// %% [markdown]
// Now the two functions that carry the weight. First the worker's side: one job becomes one result, whatever happens.

// %% {"nbgrader": {"grade": false, "grade_id": "07-run-job", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/dataloader.h
// Asks the dataset for the job's batch, with the job's thread state in place. Returns the batch, or the exception that was thrown,
// under the job's sequence number. Throws nothing itself. REQUIRES: the job has a request.
//
// TODO: Make the job's batch, and turn an exception into a result.
// APPROACH: 1. A result with the job's number. 2. Put the thread state in place. 3. get_batch, into the result.
//   4. catch (...): keep std::current_exception() in the result.
// EXAMPLE: for a dataset that throws for index 3, the job {3} gives a result without a batch and with an exception.
// HINT: module 01's ThreadStateGuard puts a state in place for a scope.
template <class Dataset, class Batch, class BatchRequest>
auto data::DataLoaderBase<Dataset, Batch, BatchRequest>::run_job(Dataset& dataset, Job job) -> Result {
  // BEGIN SOLUTION
  Result result{job.sequence_number, std::nullopt, nullptr};
  try {
    const ThreadStateGuard guard(job.thread);
    result.batch = dataset.get_batch(std::move(*job.request));
  } catch (...) {
    result.exception = std::current_exception();
  }
  return result;
  // END SOLUTION
}

// %%
//| mistake 07-run-job forgets-the-thread-state
//| says The worker runs with its own thread state, so modes of the calling thread are lost. Put job.thread in place with a ThreadStateGuard.
#if 0
template <class Dataset, class Batch, class BatchRequest>
auto data::DataLoaderBase<Dataset, Batch, BatchRequest>::run_job(Dataset& dataset, Job job) -> Result {
  Result result{job.sequence_number, std::nullopt, nullptr};
  try {
    result.batch = dataset.get_batch(std::move(*job.request));
  } catch (...) {
    result.exception = std::current_exception();
  }
  return result;
}
#endif

// %%
//| mistake 07-run-job swallows-exceptions
//| says The exception ends here and the epoch goes on without the batch: nobody learns that data is missing. Send std::current_exception() back in the result.
#if 0
template <class Dataset, class Batch, class BatchRequest>
auto data::DataLoaderBase<Dataset, Batch, BatchRequest>::run_job(Dataset& dataset, Job job) -> Result {
  Result result{job.sequence_number, std::nullopt, nullptr};
  try {
    const ThreadStateGuard guard(job.thread);
    result.batch = dataset.get_batch(std::move(*job.request));
  } catch (...) {
  }
  return result;
}
#endif

// %% [markdown]
// And the loader's side. The number of jobs in flight is the loader's *credit*: `max_jobs` at the start, one spent for each batch that
// is delivered, one earned back by sending out the next request.

// %% {"nbgrader": {"grade": false, "grade_id": "07-next-batch", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/dataloader.h
// The next batch of the epoch, or nothing at its end. With workers: throws WorkerException for an exception in a worker, and Error
// when the timeout is over.
//
// TODO: Deliver the next batch, from the workers or made here.
// APPROACH: Without workers: get_batch_request(), and main_thread_dataset_->get_batch on it. With workers: take results from
//   sequencer_->next(...) until one has a batch; throw WorkerException(result->exception) for a failed one; for a good one
//   prefetch(1) first, so that the number in flight stays. In both: count what you return in delivered_; finish_epoch() at the end.
// EXAMPLE: 10 examples, batch_size 4: three batches, then nothing.
// HINT: the sequencer wants a function: [this] { return shuttle_.pop_result(options_.timeout); }. A result without batch and
//   without exception comes from a dataset that has no more: go on with the next result.
template <class Dataset, class Batch, class BatchRequest>
std::optional<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::next() {
  // BEGIN SOLUTION
  std::optional<Batch> batch;
  if (options_.workers == 0) {
    if (std::optional<BatchRequest> request = get_batch_request()) batch = main_thread_dataset_->get_batch(std::move(*request));
  } else {
    while (!batch) {
      std::optional<Result> result = sequencer_->next([this] { return shuttle_.pop_result(options_.timeout); });
      if (!result) break;
      if (result->exception) throw WorkerException(result->exception);
      batch = std::move(result->batch);
    }
    if (batch) prefetch(1);
  }
  if (batch) {
    ++delivered_;
  } else {
    finish_epoch();
  }
  return batch;
  // END SOLUTION
}

// %%
//| mistake 07-next-batch no-new-jobs
//| says The epoch ends after max_jobs batches: nobody sends out further requests. Call prefetch(1) for each batch that you deliver.
#if 0
template <class Dataset, class Batch, class BatchRequest>
std::optional<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::next() {
  std::optional<Batch> batch;
  if (options_.workers == 0) {
    if (std::optional<BatchRequest> request = get_batch_request()) batch = main_thread_dataset_->get_batch(std::move(*request));
  } else {
    while (!batch) {
      std::optional<Result> result = sequencer_->next([this] { return shuttle_.pop_result(options_.timeout); });
      if (!result) break;
      if (result->exception) throw WorkerException(result->exception);
      batch = std::move(result->batch);
    }
  }
  if (batch) {
    ++delivered_;
  } else {
    finish_epoch();
  }
  return batch;
}
#endif

// %%
//| mistake 07-next-batch ignores-exceptions
//| says A result with an exception has no batch, and was skipped like the end of a stream. Throw WorkerException(result->exception).
#if 0
template <class Dataset, class Batch, class BatchRequest>
std::optional<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::next() {
  std::optional<Batch> batch;
  if (options_.workers == 0) {
    if (std::optional<BatchRequest> request = get_batch_request()) batch = main_thread_dataset_->get_batch(std::move(*request));
  } else {
    while (!batch) {
      std::optional<Result> result = sequencer_->next([this] { return shuttle_.pop_result(options_.timeout); });
      if (!result) break;
      batch = std::move(result->batch);
    }
    if (batch) prefetch(1);
  }
  if (batch) {
    ++delivered_;
  } else {
    finish_epoch();
  }
  return batch;
}
#endif

// %% [markdown]
// Two loaders are made of it. The *stateless* one is the usual one: the dataset answers any request at any time, and a sampler makes
// the requests. For the *stateful* one the dataset is a stream that knows itself where it is: all workers share it, so its `get_batch`
// must be thread-safe, and requests are just numbers.
//
// The stateless loader can also say where it stands. Its sampler alone cannot: it is ahead of the training by whatever is in flight.
// What is needed is the sampler's state at the beginning of the epoch and the number of batches that training *has had*; going on means
// to put the one back and skip the other.

// %%
//| export data/dataloader.h
namespace data {

// A dataset, a sampler, and workers that each have a copy of the dataset. Source: torch/data/dataloader/stateless.h.
template <class Dataset, class Sampler>
class StatelessDataLoader : public DataLoaderBase<Dataset, typename Dataset::BatchType, typename Sampler::BatchRequestType> {
 public:
  using super = DataLoaderBase<Dataset, typename Dataset::BatchType, typename Sampler::BatchRequestType>;
  using typename super::BatchRequestType;

  StatelessDataLoader(Dataset dataset, Sampler sampler, const DataLoaderOptions& options);

  // Where the epoch stands: the next begin() of a loader that has been given this state (of the same dataset, sampler and batch size)
  // goes on behind the batch that was delivered last. Between epochs it says to begin a new one.
  State state() const;
  // Throws, and changes nothing, if the state does not fit; REQUIRES that no iterator is in use.
  void set_state(const State& state);

 private:
  void reset() override;
  std::optional<BatchRequestType> get_batch_request() override;

  Sampler sampler_;
  State epoch_start_;  // of the sampler
  bool resumed_ = false;
};

// A stream that all workers share; its get_batch() must be thread-safe. Source: torch/data/dataloader/stateful.h.
template <class Dataset>
class StatefulDataLoader : public DataLoaderBase<Dataset, typename Dataset::BatchType::value_type, typename Dataset::BatchRequestType> {
 public:
  using super = DataLoaderBase<Dataset, typename Dataset::BatchType::value_type, typename Dataset::BatchRequestType>;
  using typename super::BatchRequestType;

  StatefulDataLoader(Dataset dataset, const DataLoaderOptions& options);

 private:
  void reset() override {
    this->main_thread_dataset_->reset();
    super::reset();
  }
  std::optional<BatchRequestType> get_batch_request() override { return BatchRequestType(this->options_.batch_size); }
};

}  // namespace data

// %%
//| export data/dataloader.h
template <class Dataset, class Sampler>
data::StatelessDataLoader<Dataset, Sampler>::StatelessDataLoader(Dataset dataset, Sampler sampler, const DataLoaderOptions& options)
    : super(options), sampler_(std::move(sampler)) {
  for (std::size_t i = 0; i < this->options_.workers; ++i) {
    this->workers_.emplace_back([this, dataset]() mutable { this->worker_thread(dataset); });
  }
  if (this->options_.workers == 0) this->main_thread_dataset_ = std::make_unique<Dataset>(std::move(dataset));
}

template <class Dataset>
data::StatefulDataLoader<Dataset>::StatefulDataLoader(Dataset dataset, const DataLoaderOptions& options)
    : super(options, std::make_unique<Dataset>(std::move(dataset))) {
  for (std::size_t i = 0; i < this->options_.workers; ++i) {
    this->workers_.emplace_back([this] { this->worker_thread(*this->main_thread_dataset_); });
  }
}

// %%
//| export data/dataloader.h
template <class Dataset, class Sampler>
void data::StatelessDataLoader<Dataset, Sampler>::reset() {
  if (!std::exchange(resumed_, false)) {
    sampler_.reset(std::nullopt);
    epoch_start_ = sampler_.state();
    this->delivered_ = 0;
  }
  super::reset();
}

template <class Dataset, class Sampler>
auto data::StatelessDataLoader<Dataset, Sampler>::get_batch_request() -> std::optional<BatchRequestType> {
  std::optional<BatchRequestType> request = sampler_.next(this->options_.batch_size);
  if (request && this->options_.drop_last && request->size() < this->options_.batch_size) return std::nullopt;
  return request;
}

// %%
//| export data/dataloader.h
template <class Dataset, class Sampler>
data::State data::StatelessDataLoader<Dataset, Sampler>::state() const {
  if (resumed_ || this->in_epoch_) {
    TORCH_CHECK_NOT_IMPLEMENTED(!epoch_start_.empty(), "This loader's sampler cannot be saved\n[DataLoader::state] it does not override state() and set_state()");
    State state;
    for (const auto& [key, value] : epoch_start_) state["sampler." + key] = value;
    state["delivered"] = full({}, this->delivered_, kLong);
    state["batch_size"] = full({}, this->options_.batch_size, kLong);
    return state;
  }
  return {};
}

// %%
//| export data/dataloader.h
template <class Dataset, class Sampler>
void data::StatelessDataLoader<Dataset, Sampler>::set_state(const State& state) {
  if (state.empty()) {
    resumed_ = this->in_epoch_ = false;
    return;
  }
  const auto number = [&state](const char* key) {
    const auto found = state.find(key);
    TORCH_CHECK(found != state.end() && found->second.defined() && found->second.numel() == 1, "The saved state has no number '", key,
                "'\n[DataLoader::set_state] take what state() gave");
    return static_cast<std::size_t>(found->second.template item<std::int64_t>());
  };
  const std::size_t delivered = number("delivered");
  TORCH_CHECK(number("batch_size") == this->options_.batch_size, "The saved state is of a loader with batch_size ", number("batch_size"),
              ", this one has ", this->options_.batch_size, "\n[DataLoader::set_state] use the same batch size to go on");
  // Go to the place on a copy, so that a state which does not fit changes nothing.
  State start;
  for (const auto& [key, value] : state)
    if (key.starts_with("sampler.")) start[key.substr(8)] = value;
  Sampler sampler = sampler_;
  sampler.set_state(start);
  for (std::size_t i = 0; i < delivered; ++i)
    TORCH_CHECK(sampler.next(this->options_.batch_size), "The saved state is damaged: ", delivered, " batches were delivered, but an epoch has ", i,
                "\n[DataLoader::set_state] was it made for a dataset of this size?");
  sampler_ = std::move(sampler);
  epoch_start_ = std::move(start);
  this->delivered_ = delivered;
  resumed_ = true;
}

// %%
//| export data/dataloader.h
namespace data {

// A loader of `dataset` in the order of `sampler`.
template <class Dataset, class Sampler>
  requires(!Dataset::is_stateful)
std::unique_ptr<StatelessDataLoader<Dataset, Sampler>> make_data_loader(Dataset dataset, Sampler sampler, DataLoaderOptions options) {
  return std::make_unique<StatelessDataLoader<Dataset, Sampler>>(std::move(dataset), std::move(sampler), options);
}

// A loader with a sampler of the dataset's size: make_data_loader<samplers::SequentialSampler>(dataset, 64).
template <class Sampler = samplers::RandomSampler, class Dataset>
  requires(!Dataset::is_stateful && std::is_constructible_v<Sampler, std::size_t>)
std::unique_ptr<StatelessDataLoader<Dataset, Sampler>> make_data_loader(Dataset dataset, DataLoaderOptions options = DataLoaderOptions()) {
  const std::optional<std::size_t> size = dataset.size();
  TORCH_CHECK(size.has_value(), "Expected the dataset to be sized in order to construct the Sampler");
  return make_data_loader(std::move(dataset), Sampler(*size), options);
}

// A loader of a stream.
template <class Dataset>
  requires(Dataset::is_stateful)
std::unique_ptr<StatefulDataLoader<Dataset>> make_data_loader(Dataset dataset, DataLoaderOptions options = DataLoaderOptions()) {
  return std::make_unique<StatefulDataLoader<Dataset>>(std::move(dataset), options);
}

}  // namespace data

// %%
//| lesson
// All targets of an epoch, in the order of delivery.
template <class Loader>
std::vector<std::int64_t> targets_of(Loader& loader) {
  std::vector<std::int64_t> targets;
  for (auto& batch : loader)
    for (auto& example : batch) targets.push_back(example.target);
  return targets;
}

std::vector<std::int64_t> first_numbers(std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  return numbers;
}

// %% {"nbgrader": {"grade": true, "grade_id": "07-run-job-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("workers: the thread state travels with the job, and exceptions travel back") {
  struct Modes : data::datasets::Dataset<Modes, std::uint32_t> {
    std::uint32_t get(std::size_t index) override {
      if (index == 3) throw IndexError("example 3 is damaged");
      return thread_state().modes;
    }
    std::optional<std::size_t> size() const override { return 4; }
  };
  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(Modes(), data::DataLoaderOptions(1).workers(2));
  const ThreadStateGuard guard(ThreadState{{}, 0x40});
  std::vector<std::uint32_t> modes;
  bool thrown = false;
  try {
    for (auto& batch : *loader) modes.push_back(batch.at(0));
  } catch (const data::WorkerException& e) {
    thrown = true;
    CHECK_NE(std::string(e.what()).find("Caught exception in DataLoader worker thread. Original message: example 3 is damaged"), std::string::npos);
    CHECK_THROWS_AS(std::rethrow_exception(e.original_exception), IndexError);
  }
  CHECK(thrown);
  CHECK_EQ(modes, std::vector<std::uint32_t>{0x40, 0x40, 0x40});
  // BEGIN HIDDEN TESTS
  // The workers have survived the exception, and see the state of the asking thread as it is now.
  thread_state().modes = 0x80;
  CHECK_EQ(loader->begin()->at(0), 0x80);
  // END HIDDEN TESTS
}

// %% {"nbgrader": {"grade": true, "grade_id": "07-next-batch-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("DataLoader: every example of the epoch, with and without workers") {
  using data::DataLoaderOptions;
  using data::samplers::SequentialSampler;
  for (const std::size_t workers : {0, 1, 3}) {
    CAPTURE(workers);
    auto loader = data::make_data_loader<SequentialSampler>(Squares(10), DataLoaderOptions().batch_size(4).workers(workers));
    CHECK_EQ(targets_of(*loader), first_numbers(10));
    CHECK_EQ(targets_of(*loader), first_numbers(10));  // and the next epoch
    auto full_only = data::make_data_loader<SequentialSampler>(Squares(10), DataLoaderOptions(4).workers(workers).drop_last(true));
    CHECK_EQ(targets_of(*full_only), first_numbers(8));
    auto one_job = data::make_data_loader<SequentialSampler>(Squares(40), DataLoaderOptions(2).workers(workers).max_jobs(1));
    CHECK_EQ(targets_of(*one_job), first_numbers(40));
  }
  // BEGIN HIDDEN TESTS
  auto unordered = data::make_data_loader(Squares(100), DataLoaderOptions(7).workers(3).enforce_ordering(false));
  std::vector<std::int64_t> seen = targets_of(*unordered);
  CHECK_NE(seen, first_numbers(100));
  std::sort(seen.begin(), seen.end());
  CHECK_EQ(seen, first_numbers(100));
  CHECK_EQ(targets_of(*data::make_data_loader(Squares(0), DataLoaderOptions(3).workers(2))).size(), 0);
  // END HIDDEN TESTS
}

// %%
TEST_CASE("DataLoader: two shuffled epochs in PyTorch's order, and the stream behind them") {
  // Recorded from PyTorch 2.15.0's C++ frontend: make_data_loader of 10 examples, batch_size 4, two workers, after manual_seed(7).
  manual_seed(7);
  auto loader = data::make_data_loader(Squares(10), data::DataLoaderOptions(4).workers(2));
  CHECK_EQ(targets_of(*loader), std::vector<std::int64_t>{1, 8, 9, 5, 7, 4, 0, 3, 6, 2});
  CHECK_EQ(targets_of(*loader), std::vector<std::int64_t>{3, 7, 6, 2, 9, 0, 5, 4, 1, 8});
  CHECK_CLOSE(rand({1}).item<double>(), 0.628589, 1e-6, 0);
}

// %%
TEST_CASE("DataLoader: batches stay in order when some take longer") {
  struct Uneven : data::datasets::Dataset<Uneven, data::Example<std::int64_t, std::int64_t>> {
    data::Example<std::int64_t, std::int64_t> get(std::size_t index) override {
      if (index % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      return {0, static_cast<std::int64_t>(index)};
    }
    std::optional<std::size_t> size() const override { return 24; }
  };
  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(Uneven(), data::DataLoaderOptions(1).workers(4));
  CHECK_EQ(targets_of(*loader), first_numbers(24));
}

// %%
TEST_CASE("DataLoader: leaving an epoch early, and options that make no sense") {
  using data::DataLoaderOptions;
  using data::samplers::SequentialSampler;
  auto loader = data::make_data_loader<SequentialSampler>(Squares(50), DataLoaderOptions(5).workers(2));
  for (auto& batch : *loader) {
    CHECK_EQ(batch[0].target, 0);
    break;
  }
  CHECK_EQ(targets_of(*loader), first_numbers(50));
  {
    auto held = loader->begin();
    CHECK_ERROR(loader->begin(), "Attempted to get a new DataLoader iterator while another iterator is not yet exhausted");
  }
  loader->join();
  CHECK_ERROR(loader->begin(), "The DataLoader's workers have ended");

  CHECK_ERROR(data::make_data_loader(Squares(5), DataLoaderOptions(0)), "batch_size must be positive");
  CHECK_ERROR(data::make_data_loader(Squares(5), DataLoaderOptions(1).workers(2).max_jobs(0)), "max_jobs must be positive");
  CHECK_EQ(DataLoaderOptions(3).workers(4).max_jobs().has_value(), false);
  CHECK_EQ(data::FullDataLoaderOptions(DataLoaderOptions(3).workers(4)).max_jobs, 8);
}

// %%
TEST_CASE("DataLoader: a worker that is too slow runs into the timeout") {
  struct Stuck : data::datasets::Dataset<Stuck, int> {
    int get(std::size_t) override {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return 1;
    }
    std::optional<std::size_t> size() const override { return 1; }
  };
  auto loader = data::make_data_loader(Stuck(), data::DataLoaderOptions(1).workers(1).timeout(std::chrono::milliseconds(5)));
  CHECK_ERROR(*loader->begin(), "Timeout in DataLoader queue while waiting for next batch (timeout was 5 ms)");
}

// %%
TEST_CASE("DataLoader: a stream that all workers share") {
  // Counts down; each request takes up to `request` numbers.
  struct Countdown : data::datasets::BatchDataset<Countdown, std::optional<std::vector<int>>, std::size_t> {
    explicit Countdown(int first) : start(first), left(std::make_shared<std::atomic<int>>(first)) {}
    std::optional<std::vector<int>> get_batch(std::size_t request) override {
      std::vector<int> batch;
      while (batch.size() < request) {
        const int value = left->fetch_sub(1);
        if (value <= 0) break;
        batch.push_back(value);
      }
      if (batch.empty()) return std::nullopt;
      return batch;
    }
    std::optional<std::size_t> size() const override { return std::nullopt; }
    void reset() { left->store(start); }
    int start;
    std::shared_ptr<std::atomic<int>> left;
  };
  for (const std::size_t workers : {0, 2}) {
    auto loader = data::make_data_loader(
        Countdown(20).map(data::transforms::BatchLambda<std::vector<int>, int>([](std::vector<int> x) { return std::accumulate(x.begin(), x.end(), 0); })),
        data::DataLoaderOptions(3).workers(workers));
    for (int epoch = 0; epoch < 2; ++epoch) {
      int sum = 0;
      for (const int part : *loader) sum += part;
      CHECK_EQ(sum, 210);
    }
  }
}

// %%
TEST_CASE("DataLoader: a saved epoch goes on with the next batch, whatever was in flight") {
  using data::DataLoaderOptions;
  for (const std::size_t workers : {0, 2}) {
    CAPTURE(workers);
    manual_seed(3);
    auto loader = data::make_data_loader(Squares(30), DataLoaderOptions(4).workers(workers));
    std::vector<std::int64_t> whole;
    data::State saved;
    for (auto& batch : *loader) {
      for (auto& example : batch) whole.push_back(example.target);
      if (whole.size() == 12) saved = loader->state();
    }
    CHECK(loader->state().empty());  // between epochs

    auto other = data::make_data_loader(Squares(30), DataLoaderOptions(4).workers(2 - workers));
    other->set_state(saved);
    const std::vector<std::int64_t> rest = targets_of(*other);
    CHECK_EQ(rest, std::vector<std::int64_t>(whole.begin() + 12, whole.end()));
    CHECK_EQ(targets_of(*other).size(), 30);

    auto wider = data::make_data_loader(Squares(30), DataLoaderOptions(5));
    CHECK_ERROR(wider->set_state(saved), "The saved state is of a loader with batch_size 4, this one has 5");
    saved["delivered"] = tensor(9);
    CHECK_ERROR(other->set_state(saved), "9 batches were delivered, but an epoch has 8");
    saved.erase("delivered");
    CHECK_ERROR(other->set_state(saved), "The saved state has no number 'delivered'");
  }
}

// %% [markdown]
// ### Reading files that may be damaged
//
// Yann LeCun's MNIST files, and many that followed, are in the IDX format: a header that says what follows, then the numbers, row by
// row, the most significant byte first (*big-endian*, the opposite of almost every machine that reads them).
//
//     byte    0    1    2      3      4..7     8..11    12..15    16 ...
//           +----+----+------+------+--------+--------+--------+------------------------------+
//           | 00 | 00 | type | dims | size 0 | size 1 | size 2 |  size0 x size1 x size2 values |
//           +----+----+------+------+--------+--------+--------+------------------------------+
//     MNIST   00   00   08      03     60000      28       28        one byte per pixel
//
//     types:  08 uint8   09 int8   0B int16   0C int32   0D float   0E double
//
// The header is a claim by whoever wrote the file, and a reader that believes it can be made to allocate any amount of memory. So the
// order is: read the few bytes of the header, check every field, compare the size that it claims with what a file of this length can
// hold, and only then allocate. A gzip file does not know its unpacked length in advance, but there is a bound: deflate's best case is 1,032
// bytes out of one.

// %%
//| export data/idx.h
namespace data {

// The numbers of an IDX file, plain or compressed by gzip, in the type and shape that its header names.
// Throws Error, one sentence that names the file, if it is missing, is not IDX, is cut off, damaged, or longer than it says;
// nothing is allocated for a size that the file cannot hold. Source: torch/csrc/api/src/data/datasets/mnist.cpp.
Tensor read_idx(const std::string& path);

namespace detail {

struct IdxHeader {
  ScalarType type = kByte;
  DimVector sizes;
  std::int64_t nbytes = 0;  // of the values
};

// REQUIRES: bytes.size() is 4 + 4 x (the number in bytes[3]).
IdxHeader parse_idx_header(std::string_view bytes, std::int64_t capacity, const std::string& path);

// The four bytes as one number, most significant first.
inline std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes.substr(0, 4)) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

}  // namespace detail
}  // namespace data

// %%
//| export data/idx.cpp
namespace {
ScalarType idx_type(unsigned char code, const std::string& path) {
  switch (code) {
    case 0x08: return kByte;
    case 0x09: return kChar;
    case 0x0B: return kShort;
    case 0x0C: return kInt;
    case 0x0D: return kFloat;
    case 0x0E: return kDouble;
    default: break;
  }
  throw Error(path + ": not an IDX file: the type in its header is " + std::to_string(code) + "\n[read_idx] types are 8, 9, 11, 12, 13 and 14");
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "07-idx-header", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/idx.cpp
// What the header says, checked: type, sizes, and the bytes of the values, which are at most `capacity`.
// Throws Error if the first two bytes are not 0 ("not an IDX file"), and if the sizes ask for more than `capacity` bytes, or for a number
// that does not fit into 64 bits ("cut off").
//
// TODO: Read the sizes, and believe none of them before it is checked.
// APPROACH: 1. Check bytes 0 and 1; idx_type(byte 2) gives or refuses the type. 2. Size d is the big-endian number at byte 4 + 4 d.
//   3. Multiply sizes and the element's size with a check for overflow. 4. Compare the product with the capacity.
// EXAMPLE: 00 00 08 02 | 00 00 00 03 | 00 00 00 05 is a (3, 5) of Byte: 15 bytes.
// HINT: __builtin_mul_overflow(a, b, &a) multiplies and returns true on overflow; big_endian(bytes.substr(n)) reads four bytes.
data::detail::IdxHeader data::detail::parse_idx_header(std::string_view bytes, std::int64_t capacity, const std::string& path) {
  // BEGIN SOLUTION
  TORCH_CHECK(bytes[0] == 0 && bytes[1] == 0, path, ": not an IDX file: it does not begin with two zero bytes\n[read_idx] is it the right file?");
  IdxHeader header;
  header.type = idx_type(static_cast<unsigned char>(bytes[2]), path);
  header.nbytes = static_cast<std::int64_t>(elementSize(header.type));
  bool overflow = false;
  for (std::size_t at = 4; at < bytes.size(); at += 4) {
    const std::int64_t size = big_endian(bytes.substr(at));
    header.sizes.push_back(size);
    overflow = __builtin_mul_overflow(header.nbytes, size, &header.nbytes) || overflow;
  }
  TORCH_CHECK(!overflow && header.nbytes <= capacity, path, ": the file is cut off, or its header is damaged: the header says sizes ",
              IntArrayRef(header.sizes), " of ", header.type, ", the file can hold at most ", capacity, " bytes of values\n[read_idx] fetch it again");
  return header;
  // END SOLUTION
}

// %%
//| mistake 07-idx-header little-endian
//| says The sizes are read with the least significant byte first, so 28 became 469,762,048. IDX files are big-endian.
#if 0
data::detail::IdxHeader data::detail::parse_idx_header(std::string_view bytes, std::int64_t capacity, const std::string& path) {
  TORCH_CHECK(bytes[0] == 0 && bytes[1] == 0, path, ": not an IDX file");
  IdxHeader header;
  header.type = idx_type(static_cast<unsigned char>(bytes[2]), path);
  header.nbytes = static_cast<std::int64_t>(elementSize(header.type));
  for (std::size_t at = 4; at < bytes.size(); at += 4) {
    std::uint32_t size = 0;
    std::memcpy(&size, bytes.data() + at, 4);
    header.sizes.push_back(size);
    header.nbytes *= size;
  }
  TORCH_CHECK(header.nbytes <= capacity, path, ": the file is cut off");
  return header;
}
#endif

// %%
//| mistake 07-idx-header product-wraps-around
//| says The product of the sizes does not fit into 64 bits and wraps around to a small number, so the check passes. Multiply with __builtin_mul_overflow.
#if 0
data::detail::IdxHeader data::detail::parse_idx_header(std::string_view bytes, std::int64_t capacity, const std::string& path) {
  TORCH_CHECK(bytes[0] == 0 && bytes[1] == 0, path, ": not an IDX file");
  IdxHeader header;
  header.type = idx_type(static_cast<unsigned char>(bytes[2]), path);
  std::uint64_t nbytes = elementSize(header.type);
  for (std::size_t at = 4; at < bytes.size(); at += 4) {
    header.sizes.push_back(big_endian(bytes.substr(at)));
    nbytes *= big_endian(bytes.substr(at));
  }
  header.nbytes = static_cast<std::int64_t>(nbytes);
  TORCH_CHECK(header.nbytes <= capacity, path, ": the file is cut off");
  return header;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "07-idx-header-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("parse_idx_header: sizes, types, and claims that cannot be true") {
  using namespace std::string_literals;
  using data::detail::parse_idx_header;
  const data::detail::IdxHeader header = parse_idx_header("\0\0\x08\x02\0\0\0\x03\0\0\x01\x05"s, 1000, "x");
  CHECK_EQ(header.type, kByte);
  CHECK_EQ(IntArrayRef(header.sizes), IntArrayRef({3, 261}));
  CHECK_EQ(header.nbytes, 783);
  CHECK_ERROR(parse_idx_header("\0\0\x08\x01\0\0\x10\0"s, 4095, "x.idx"), "x.idx: the file is cut off");
  CHECK_ERROR(parse_idx_header("\0\0\x0E\x03\x80\0\0\0\x80\0\0\0\x80\0\0\0"s, 100, "x"), "cut off");
  CHECK_ERROR(parse_idx_header("PK\x03\x04"s, 100, "x.zip"), "x.zip: not an IDX file");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(parse_idx_header("\0\0\x0D\x01\0\0\0\x04"s, 16, "x").nbytes, 16);
  CHECK_EQ(parse_idx_header("\0\0\x08\x00"s, 1, "x").nbytes, 1);
  CHECK_ERROR(parse_idx_header("\0\0\x07\x01\0\0\0\x04"s, 16, "x"), "the type in its header is 7");
  // END HIDDEN TESTS
}

// %% [markdown]
// The rest of the reader. zlib's `gzread` reads plain files as they are and unpacks compressed ones, so one path serves both.

// %%
//| export data/idx.cpp
namespace {

// A file that is unpacked while it is read, if it is compressed.
class PackedFile {
 public:
  explicit PackedFile(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose) {
    TORCH_CHECK(file_ != nullptr && !std::filesystem::is_directory(path), "cannot open ", path, ": ", file_ != nullptr ? "it is a folder" : std::strerror(errno),
                "\n[read_idx] check the path; a relative one starts at ", std::filesystem::current_path().string());
  }

  // Reads up to `count` bytes; fewer at the end of the file. Throws if the compressed data is damaged.
  std::int64_t read_some(char* to, std::int64_t count) {
    std::int64_t done = 0;
    while (done < count) {
      const auto piece = static_cast<unsigned>(std::min<std::int64_t>(count - done, std::int64_t{1} << 30));
      const int got = gzread(file_.get(), to + done, piece);
      int error = Z_OK;
      const char* const message = gzerror(file_.get(), &error);
      TORCH_CHECK(got >= 0 && (error == Z_OK || error == Z_STREAM_END), path_, ": the compressed data is damaged or cut off (", message, ")\n[read_idx] fetch it again");
      if (got == 0) break;
      done += got;
    }
    return done;
  }

  void read(char* to, std::int64_t count, const char* what) {
    const std::int64_t got = read_some(to, count);
    TORCH_CHECK(got == count, path_, ": the file is cut off: it ends after ", got, " of ", count, " bytes of its ", what, "\n[read_idx] fetch it again");
  }

  // The most bytes that the file can hold when unpacked.
  std::int64_t capacity() const {
    constexpr std::int64_t best_ratio = 1032;  // of deflate; see zlib's "Technical Details"
    const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path_));
    return gzdirect(file_.get()) != 0 ? bytes : bytes * best_ratio;
  }

 private:
  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

}  // namespace

// %%
//| export data/idx.cpp
Tensor data::read_idx(const std::string& path) {
  PackedFile file(path);
  std::string bytes(4, '\0');
  file.read(bytes.data(), 4, "header");
  // The fourth byte counts the dimensions, so the header has at most 4 + 4 x 255 bytes. A file that is not IDX ends at the magic number.
  const auto dims = static_cast<unsigned char>(bytes[3]);
  if (bytes[0] == 0 && bytes[1] == 0) {
    bytes.resize(4 + 4 * std::size_t{dims});
    file.read(bytes.data() + 4, 4 * std::int64_t{dims}, "header");
  }
  const detail::IdxHeader header = detail::parse_idx_header(bytes, file.capacity() - static_cast<std::int64_t>(bytes.size()), path);

  const Tensor values = empty(header.sizes, header.type);
  file.read(static_cast<char*>(values.data_ptr()), header.nbytes, "values");
  char more = 0;
  TORCH_CHECK(file.read_some(&more, 1) == 0, path, ": the file goes on after the ", header.nbytes, " bytes that its header announces\n[read_idx] the header is damaged: fetch it again");

  // To the byte order of this machine.
  const auto width = static_cast<std::ptrdiff_t>(values.element_size());
  if (width > 1) {
    char* const first = static_cast<char*>(values.data_ptr());
    for (char* element = first; element < first + header.nbytes; element += width) std::reverse(element, element + width);
  }
  return values;
}

// %%
//| lesson
// A folder for the files of a test, removed at its end.
class Scratch {
 public:
  Scratch() {
    static std::atomic<int> count{0};
    folder_ = std::filesystem::temp_directory_path() / str("tinytorch_data_", std::chrono::steady_clock::now().time_since_epoch().count(), "_", count++);
    std::filesystem::create_directory(folder_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

 private:
  std::filesystem::path folder_;
};

// %%
TEST_CASE("read_idx: plain and compressed, and every way in which a file can be wrong") {
  using namespace std::string_literals;
  const Scratch scratch;
  const std::string good = "\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x01\x02\x03\x04\x05\xff"s;
  const Tensor expected = tensor({{1, 2, 3}, {4, 5, 255}}).to(kByte);
  CHECK_EQ(data::read_idx(scratch.write("good.idx", good)), expected);
  CHECK_EQ(data::read_idx(scratch.write("short.idx", "\0\0\x0B\x01\0\0\0\x02\x01\x00\xff\xfe"s)), tensor({256, -2}).to(kShort));
  // `good`, as `gzip -n` packs it.
  const std::string packed =
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x63\x60\xe0\x60\x62\x60\x60\x00\x61\x66\x46\x26\x66\x16\xd6\xff\x00\xf0\xde\x5f\x21\x12\x00\x00\x00"s;
  CHECK_EQ(data::read_idx(scratch.write("good.idx.gz", packed)), expected);

  CHECK_ERROR(data::read_idx(scratch.path("missing.idx")), "No such file or directory");
  CHECK_ERROR(data::read_idx(scratch.path("")), "it is a folder");
  CHECK_ERROR(data::read_idx(scratch.write("empty.idx", "")), "the file is cut off: it ends after 0 of 4 bytes of its header");
  CHECK_ERROR(data::read_idx(scratch.write("header.idx", good.substr(0, 9))), "of its header");
  CHECK_ERROR(data::read_idx(scratch.write("values.idx", good.substr(0, 16))), "cut off");
  CHECK_ERROR(data::read_idx(scratch.write("long.idx", good + "x")), "the file goes on after the 6 bytes that its header announces");
  CHECK_ERROR(data::read_idx(scratch.write("png.idx", "\x89PNG")), "not an IDX file");
  CHECK_ERROR(data::read_idx(scratch.write("cut.idx.gz", packed.substr(0, 20))), "cut off");
  std::string damaged = packed;
  damaged[25] = static_cast<char>(damaged[25] ^ 0x10);
  CHECK_ERROR(data::read_idx(scratch.write("damaged.idx.gz", damaged)), "damaged");

  // A header that asks for 2^62 bytes: refused before anything is allocated.
  memory::reset_peak();
  const std::size_t before = memory::stats().live;
  CHECK_ERROR(data::read_idx(scratch.write("huge.idx", "\0\0\x08\x02\x80\0\0\0\x80\0\0\0abc"s)), "its header is damaged");
  CHECK_EQ(memory::stats().peak, before);
}

// %% [markdown]
// ### Tables of numbers
//
// CSV is the other format that everyone meets. It has no header that counts anything, so nothing is known before the last line is read,
// and its errors are those of people: a missing value, a column too many, a decimal comma. An error therefore says *where*: line and column,
// and the column's name if there are names.
//
//     height,width,label        <- names, if header(true)
//     1.5,2.0,0                 <- line 2: three values for three names
//     1.7,x,1                   <- iris.csv:3: column 2 (width): 'x' is not a number
//
// How to read it fast is no secret but worth measuring (Part 2): the obvious `std::getline` with `std::stringstream` and `std::stod` makes a
// string for each value and asks for the locale each time. `std::from_chars` reads a number where it stands.

// %%
//| export data/csv.h
namespace data {

// How a table is written.
class CsvOptions {
 public:
  // Between values; spaces and tabs around a value never count.
  CsvOptions& delimiter(char value) {
    delimiter_ = value;
    return *this;
  }
  char delimiter() const { return delimiter_; }
  // Whether the first line has the names of the columns.
  CsvOptions& header(bool value) {
    header_ = value;
    return *this;
  }
  bool header() const { return header_; }

 private:
  char delimiter_ = ',';
  bool header_ = false;
};

// A table of numbers.
struct CsvTable {
  std::vector<std::string> names;  // empty without a header
  Tensor values;                   // (rows, columns), Double

  // The column with this name, as a view (rows). Throws IndexError if there is none.
  Tensor column(const std::string& name) const;
};

// Reads lines of numbers; a number may stand in double quotes. Empty lines do not count. Throws Error that names file, line and column
// for anything but a number, and for a line with more or fewer values than the first.
CsvTable read_csv(const std::string& path, const CsvOptions& options = CsvOptions());

}  // namespace data

// %%
//| export data/csv.cpp
namespace {

// Walks over the values of a line.
class CsvLine {
 public:
  CsvLine(std::string_view line, char delimiter) : rest_(line), delimiter_(delimiter) {}
  bool done() const { return done_; }

  // The next value, without the blanks and quotes around it. A quote that is not closed, or closed before the value ends, is part of it.
  std::string_view next() {
    skip_blanks();
    const char* const start = rest_.data();
    std::string_view value;
    const std::size_t close = rest_.starts_with('"') ? rest_.find('"', 1) : std::string_view::npos;
    const bool quoted = close != std::string_view::npos;
    if (quoted) {
      value = rest_.substr(1, close - 1);
      rest_.remove_prefix(close + 1);
      skip_blanks();
    }
    const std::size_t end = std::min(rest_.find(delimiter_), rest_.size());
    if (!quoted || end > 0) value = std::string_view(start, static_cast<std::size_t>(rest_.data() + end - start));
    done_ = end == rest_.size();
    rest_.remove_prefix(std::min(rest_.size(), end + 1));
    while (!value.empty() && is_blank(value.back())) value.remove_suffix(1);
    return value;
  }

 private:
  bool is_blank(char c) const { return (c == ' ' || c == '\t') && c != delimiter_; }
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }
  std::string_view rest_;
  char delimiter_;
  bool done_ = false;
};

// The number that `text` is, as a whole; nothing if it is none.
std::optional<double> parse_number(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string read_text(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  const bool folder = std::filesystem::is_directory(path);
  TORCH_CHECK(file.is_open() && !folder, "cannot open ", path, ": ", folder ? "it is a folder" : std::strerror(errno),
              "\n[read_csv] check the path; a relative one starts at ", std::filesystem::current_path().string());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

// %%
//| export data/csv.cpp
data::CsvTable data::read_csv(const std::string& path, const CsvOptions& options) {
  const std::string text = read_text(path);
  CsvTable table;
  std::vector<double> numbers;
  std::int64_t rows = 0;
  std::size_t columns = 0;

  // The place of an error: "file:line: column 3 (width)".
  std::int64_t line_number = 0;
  const auto place = [&](std::size_t column) {
    return str(path, ":", line_number, ": column ", column, column <= table.names.size() ? " (" + table.names[column - 1] + ")" : "");
  };

  std::string_view rest = text;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);  // the mark with which some programs begin UTF-8
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;

    CsvLine values(line, options.delimiter());
    if (options.header() && columns == 0) {
      while (!values.done()) table.names.emplace_back(values.next());
      columns = table.names.size();
      continue;
    }
    std::size_t column = 0;
    while (!values.done()) {
      const std::string_view value = values.next();
      ++column;
      TORCH_CHECK(rows == 0 || column <= columns, place(column), ": one value too many\n[read_csv] the lines before have ", columns);
      const std::optional<double> number = parse_number(value);
      TORCH_CHECK(number, place(column), ": '", value, "' is not a number\n[read_csv] ",
                  value.empty() ? "a value is missing" : "all values must be numbers; header(true) skips a line of names");
      numbers.push_back(*number);
    }
    if (columns == 0) columns = column;
    TORCH_CHECK(column == columns, place(column), ": the line has ", column, " values, ", columns, " are expected\n[read_csv] was the file cut off?");
    ++rows;
  }
  TORCH_CHECK(rows > 0, path, ": there are no numbers in it\n[read_csv] the file has ", line_number, " lines");

  table.values = empty({rows, static_cast<std::int64_t>(columns)}, kDouble);
  std::copy(numbers.begin(), numbers.end(), table.values.data<double>());
  return table;
}

// %%
//| export data/csv.cpp
Tensor data::CsvTable::column(const std::string& name) const {
  const auto found = std::find(names.begin(), names.end(), name);
  TORCH_CHECK_INDEX(found != names.end(), "no column is named '", name, "'\n[CsvTable] the ", names.size(), " names are: ", ArrayRef<std::string>(names));
  return values.select(1, found - names.begin());
}

// %%
TEST_CASE("read_csv: numbers, names, quotes, and where an error is") {
  const Scratch scratch;
  const data::CsvTable plain = data::read_csv(scratch.write("plain.csv", "1,2.5,-3e2\r\n\r\n 4 ,\"5\", +6\n"));
  CHECK_EQ(plain.values, tensor({{1.0, 2.5, -300.0}, {4.0, 5.0, 6.0}}, kDouble));
  CHECK(plain.names.empty());

  const std::string text = "\xef\xbb\xbfheight;\"the; width\"\n1;2\n3;4";
  const data::CsvTable named = data::read_csv(scratch.write("named.csv", text), data::CsvOptions().delimiter(';').header(true));
  CHECK_EQ(named.names, std::vector<std::string>{"height", "the; width"});
  CHECK_EQ(named.column("the; width"), tensor({2.0, 4.0}, kDouble));
  CHECK_ERROR(named.column("depth"), "no column is named 'depth'");

  const auto bad = [&scratch](const char* content, bool header = false) {
    return data::read_csv(scratch.write("bad.csv", content), data::CsvOptions().header(header));
  };
  CHECK_ERROR(bad("a,b\n1,2\n3,x\n", true), "bad.csv:3: column 2 (b): 'x' is not a number");
  CHECK_ERROR(bad("1,2\n3,\n"), "bad.csv:2: column 2: '' is not a number\n[read_csv] a value is missing");
  CHECK_ERROR(bad("1,2\n3,4,5\n"), "bad.csv:2: column 3: one value too many");
  CHECK_ERROR(bad("1,2,3\n4,5\n"), "bad.csv:2: column 2: the line has 2 values, 3 are expected");
  CHECK_ERROR(bad("1,2 3\n"), "column 2: '2 3' is not a number");
  CHECK_ERROR(bad("1,\"2\"x\n"), "column 2: '\"2\"x' is not a number");
  CHECK_ERROR(bad("1,\"2\n"), "column 2: '\"2' is not a number");
  CHECK_ERROR(bad("1,1e999\n"), "'1e999' is not a number");
  CHECK_ERROR(bad("\n \n"), "there are no numbers in it");
  CHECK_ERROR(bad("a,b\n1,2,3\n", true), "column 3: the line has 3 values, 2 are expected");
  CHECK_ERROR(data::read_csv(scratch.path("missing.csv")), "No such file or directory");
}

// %% [markdown]
// ### Lines of text
//
// A text of a gigabyte is one string and a list of where its lines begin: 8 bytes per line, not a `std::string` of 32 bytes and an
// allocation per line. And since every worker gets a copy of the dataset, both lie behind one `std::shared_ptr`: a copy costs two
// pointers.
//
//     TextLines (worker 0) --+                +--> text    "the first line\nthe second\n..."
//     TextLines (worker 1) --+--> one object -+
//     TextLines (loader)   --+                +--> begins  [0, 15, 26, ...]

// %%
//| export data/text_lines.h
namespace data::datasets {

// The lines of a text file, without their ends (\n or \r\n). Copies share the text.
class TextLines : public Dataset<TextLines, std::string> {
 public:
  // Reads the whole file. Throws Error if it cannot be read.
  explicit TextLines(const std::string& path);
  std::string get(std::size_t index) override { return std::string(line(index)); }
  std::optional<std::size_t> size() const override { return lines_->begins.size() - 1; }
  // Line `index` where it stands; valid as long as a copy of the dataset lives. Throws IndexError.
  std::string_view line(std::size_t index) const;

 private:
  struct Lines {
    std::string text;
    std::vector<std::size_t> begins;  // of each line, and the end of the last
  };
  std::shared_ptr<const Lines> lines_;
};

}  // namespace data::datasets

// %%
//| export data/text_lines.cpp
data::datasets::TextLines::TextLines(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  const bool folder = std::filesystem::is_directory(path);
  TORCH_CHECK(file.is_open() && !folder, "cannot open ", path, ": ", folder ? "it is a folder" : std::strerror(errno),
              "\n[TextLines] check the path; a relative one starts at ", std::filesystem::current_path().string());
  auto lines = std::make_shared<Lines>();
  lines->text.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  // A last line without an end counts like the others.
  if (!lines->text.empty() && lines->text.back() != '\n') lines->text += '\n';
  lines->begins.push_back(0);
  for (std::size_t end = lines->text.find('\n'); end != std::string::npos; end = lines->text.find('\n', end + 1)) lines->begins.push_back(end + 1);
  lines_ = std::move(lines);
}

std::string_view data::datasets::TextLines::line(std::size_t index) const {
  TORCH_CHECK_INDEX(index < *size(), "index ", index, " is out of range for a text of ", *size(), " lines");
  const std::size_t begin = lines_->begins[index];
  std::string_view text = std::string_view(lines_->text).substr(begin, lines_->begins[index + 1] - begin - 1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

// %%
TEST_CASE("TextLines: lines without their ends, shared by copies") {
  const Scratch scratch;
  data::datasets::TextLines lines(scratch.write("text.txt", "one\n\r\nthree\r\nfour"));
  CHECK_EQ(lines.size().value(), 4);
  CHECK_EQ(lines.get_batch({3, 0}), std::vector<std::string>{"four", "one"});
  CHECK_EQ(lines.get(1), "");
  CHECK_EQ(lines.get(2), "three");
  CHECK_THROWS_AS(lines.get(4), IndexError);
  const data::datasets::TextLines copy = lines;
  CHECK_EQ(static_cast<const void*>(copy.line(0).data()), static_cast<const void*>(lines.line(0).data()));
  CHECK_EQ(data::datasets::TextLines(scratch.write("empty.txt", "")).size().value(), 0);
  CHECK_ERROR(data::datasets::TextLines(scratch.path("missing.txt")), "No such file or directory");
}

// %% [markdown]
// ### Two datasets of handwritten digits
//
// `Digits` ships with the course: 1,797 images of 8 x 8 pixels with 17 grey levels, written by 43 people (Alpaydin and Kaynak, 1998). `MNIST` reads
// LeCun's files, 28 x 28, if you have them. Both give images of shape (1, H, W) with values from 0 to 1, and a target from 0 to 9.
//
// What is learnt is judged on examples that were not learnt from, so `Digits` keeps a fifth of its images apart. Which ones must never
// change, or two runs cannot be compared, and they must not be the last fifth, because the file is not in random order. A permutation from a
// generator of its own, with a fixed seed, does both, and leaves the default generator's stream alone:
//
//     file order     0  1  2  3  4  ...  1796
//     randperm       a fixed shuffle, from Generator(seed)
//                    [ first 20 %: test ][ the rest: train ]

// %%
//| export data/vision.h
namespace data {

// Indices of the examples to learn from and of those to judge by: Long, disjoint, together all of 0 ... size - 1.
struct Split {
  Tensor train;
  Tensor test;
};

// A random split that is the same for the same arguments, always. The test part has ceil(size x test_fraction) examples.
// REQUIRES: 0 <= test_fraction <= 1.
Split train_test_split(std::int64_t size, double test_fraction = 0.2, std::uint64_t seed = 0);

}  // namespace data

namespace data::datasets {

// Images (N, 1, H, W) with values in [0, 1], and one class (Long) for each.
class ImageDataset {
 public:
  const Tensor& images() const { return images_; }
  const Tensor& targets() const { return targets_; }

 protected:
  Tensor images_, targets_;
};

// The 8 x 8 handwritten digits of data/digits, a fixed fifth of them for testing.
class Digits : public Dataset<Digits>, public ImageDataset {
 public:
  enum class Mode { kTrain, kTest };
  // `path` names the table (64 pixels from 0 to 16, then the class); without it, find_data() looks for it.
  explicit Digits(Mode mode = Mode::kTrain, const std::string& path = "");
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(images_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }

 private:
  Mode mode_;
};

// LeCun, Cortes and Burges's 28 x 28 digits: 60,000 to learn from, 10,000 to test. `root` is the folder of the IDX files under their original
// names, plain or .gz. Source: torch/csrc/api/src/data/datasets/mnist.cpp.
class MNIST : public Dataset<MNIST>, public ImageDataset {
 public:
  enum class Mode { kTrain, kTest };
  explicit MNIST(const std::string& root, Mode mode = Mode::kTrain);
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(images_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }

 private:
  Mode mode_;
};

}  // namespace data::datasets

// %%
//| export data/vision.cpp
data::Split data::train_test_split(std::int64_t size, double test_fraction, std::uint64_t seed) {
  TORCH_CHECK_VALUE(size >= 0 && test_fraction >= 0 && test_fraction <= 1, "train_test_split needs a fraction from 0 to 1 of a size that is not negative, but got ",
                    test_fraction, " of ", size);
  const Tensor order = randperm(size, Generator(seed));
  const auto test = static_cast<std::int64_t>(std::ceil(static_cast<double>(size) * test_fraction));
  return {order.narrow(0, test, size - test), order.narrow(0, 0, test)};
}

// %%
//| export data/vision.cpp
namespace {

data::Example<> image_example(const data::datasets::ImageDataset& dataset, std::size_t index) {
  const auto i = static_cast<std::int64_t>(index);
  return {dataset.images()[i], dataset.targets()[i]};
}

// Throws unless every target is one of `classes` classes.
void check_classes(const Tensor& targets, std::int64_t classes, const std::string& path) {
  const std::int64_t* const first = targets.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < targets.numel(); ++i)
    TORCH_CHECK(first[i] >= 0 && first[i] < classes, path, ": the class of example ", i, " is ", first[i], ", not one of 0 to ", classes - 1);
}

}  // namespace

data::Example<> data::datasets::Digits::get(std::size_t index) { return image_example(*this, index); }
data::Example<> data::datasets::MNIST::get(std::size_t index) { return image_example(*this, index); }

// %%
//| export data/vision.cpp
data::datasets::Digits::Digits(Mode mode, const std::string& path) : mode_(mode) {
  const std::string file = path.empty() ? find_data("digits/optdigits.csv") : path;
  const Tensor table = read_csv(file).values;
  TORCH_CHECK(table.size(1) == 65, file, ": 65 values a line are expected (64 pixels and the class), but there are ", table.size(1));
  const Tensor targets = table.select(1, 64).to(kLong);
  check_classes(targets, 10, file);

  const Split split = train_test_split(table.size(0));
  const Tensor& chosen = mode == Mode::kTrain ? split.train : split.test;
  images_ = index_select(table.narrow(1, 0, 64), 0, chosen).to(kFloat).div(16).view({-1, 1, 8, 8});
  targets_ = index_select(targets, 0, chosen);
}

// %%
//| export data/vision.cpp
namespace {

// The IDX file of this name, plain or compressed, which must have the magic number `magic`: type Byte in the third byte, dimensions in the last.
Tensor read_mnist_file(const std::string& root, const std::string& name, const char* kind, std::uint32_t magic) {
  std::string path = (std::filesystem::path(root) / name).string();
  if (!std::filesystem::exists(path)) path += ".gz";
  TORCH_CHECK(std::filesystem::exists(path), "Error opening ", kind, " file at ", (std::filesystem::path(root) / name).string(),
              "\n[MNIST] neither this file nor ", name, ".gz is there");
  const Tensor values = data::read_idx(path);
  TORCH_CHECK(values.scalar_type() == kByte && values.dim() == static_cast<std::int64_t>(magic & 0xff), "Expected to read number ", magic, " but found another instead\n[MNIST] ",
              path, " holds ", values.dim(), " dimensions of ", values.scalar_type(), "; is it the ", kind, " file?");
  return values;
}

}  // namespace

// %%
//| export data/vision.cpp
data::datasets::MNIST::MNIST(const std::string& root, Mode mode) : mode_(mode) {
  constexpr std::uint32_t image_magic = 2051;
  constexpr std::uint32_t target_magic = 2049;
  const std::string prefix = mode == Mode::kTrain ? "train" : "t10k";
  const Tensor images = read_mnist_file(root, prefix + "-images-idx3-ubyte", "images", image_magic);
  const Tensor targets = read_mnist_file(root, prefix + "-labels-idx1-ubyte", "targets", target_magic);
  TORCH_CHECK(images.size(1) == 28 && images.size(2) == 28, "Expected images of 28 x 28 pixels but found ", images.size(1), " x ", images.size(2), " in ", root);
  TORCH_CHECK(images.size(0) == targets.size(0), "Expected as many images as targets but found ", images.size(0), " images and ", targets.size(0), " targets in ", root);
  images_ = images.to(kFloat).div_(255).unsqueeze(1);
  targets_ = targets.to(kLong);
  check_classes(targets_, 10, root);
}

// %%
TEST_CASE("train_test_split: disjoint, complete, the same every time, and nobody else's stream is touched") {
  manual_seed(1);
  const std::string stream = default_generator().state();
  const data::Split split = data::train_test_split(11, 0.2);
  CHECK_EQ(split.test.numel(), 3);
  CHECK_EQ(split.train.numel(), 8);
  std::set<std::int64_t> all;
  for (const Tensor& part : {split.train, split.test})
    for (std::int64_t i = 0; i < part.numel(); ++i) all.insert(part[i].item<std::int64_t>());
  CHECK_EQ(all.size(), 11);
  CHECK_EQ(data::train_test_split(11, 0.2).test, split.test);
  CHECK(!data::train_test_split(11, 0.2, 1).train.equal(split.train));
  CHECK_EQ(default_generator().state(), stream);
  CHECK_THROWS_AS(data::train_test_split(5, 1.5), ValueError);
}

// %%
TEST_CASE("Digits: 1,437 images to learn from and 360 to be judged by") {
  data::datasets::Digits train(data::datasets::Digits::Mode::kTrain);
  data::datasets::Digits test(data::datasets::Digits::Mode::kTest);
  CHECK_EQ(train.images().sizes(), IntArrayRef({1437, 1, 8, 8}));
  CHECK_EQ(test.images().sizes(), IntArrayRef({360, 1, 8, 8}));
  CHECK_EQ(train.size().value(), 1437);
  CHECK(train.is_train());
  CHECK_EQ(train.images().amax().item<float>(), 1.0f);
  CHECK_EQ(test.images().neg().amax().item<float>(), 0.0f);
  // The whole file has 182 ones and 174 eights.
  CHECK_EQ((train.targets() == 1).sum().item<std::int64_t>() + (test.targets() == 1).sum().item<std::int64_t>(), 182);
  CHECK_EQ((train.targets() == 8).sum().item<std::int64_t>() + (test.targets() == 8).sum().item<std::int64_t>(), 174);
  const data::Example<> example = test.get(7);
  CHECK_EQ(example.data.sizes(), IntArrayRef({1, 8, 8}));
  CHECK_EQ(example.target.dim(), 0);
  CHECK(example.data.is_alias_of(test.images()));

  const Scratch scratch;
  CHECK_ERROR(data::datasets::Digits(data::datasets::Digits::Mode::kTest, scratch.write("narrow.csv", "1,2,3\n")), "65 values a line are expected");
}

// %%
TEST_CASE("MNIST: files of the original names, and what can be wrong with them") {
  using namespace std::string_literals;
  using data::datasets::MNIST;
  const Scratch scratch;
  const std::string root = scratch.path("");
  CHECK_ERROR(MNIST(root), "Error opening images file at " + scratch.path("train-images-idx3-ubyte"));
  scratch.write("t10k-images-idx3-ubyte", "\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c"s + std::string(784, '\xff') + std::string(784, '\0'));
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "Error opening targets file at ");
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x02\x07\x09"s);
  MNIST test(root, MNIST::Mode::kTest);
  CHECK(!test.is_train());
  CHECK_EQ(test.images().sizes(), IntArrayRef({2, 1, 28, 28}));
  CHECK_EQ(test.get(0).data, ones({1, 28, 28}));
  CHECK_EQ(test.targets(), tensor({7, 9}));
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x02\x07\x0a"s);
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "the class of example 1 is 10");
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x01\x07"s);
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "2 images and 1 targets");
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x02\0\0\0\x01\0\0\0\x01\x07"s);
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "Expected to read number 2049");
}

// %%
TEST_CASE("MNIST: the real test set, if TINYTORCH_DATA names a folder that has it") {
  const char* const folder = std::getenv("TINYTORCH_DATA");
  const std::string root = folder == nullptr ? "" : (std::filesystem::path(folder) / "mnist").string();
  if (folder == nullptr || !std::filesystem::exists(root + "/t10k-images-idx3-ubyte.gz")) {
    MESSAGE("skipped: TINYTORCH_DATA does not name a folder with mnist/t10k-images-idx3-ubyte.gz");
    return;
  }
  const data::datasets::MNIST test(root, data::datasets::MNIST::Mode::kTest);
  CHECK_EQ(test.images().sizes(), IntArrayRef({10000, 1, 28, 28}));
  CHECK_EQ(test.targets().slice(0, 0, 10), tensor({7, 2, 1, 0, 4, 1, 4, 9, 5, 9}));
  CHECK_EQ((test.targets() == 5).sum().item<std::int64_t>(), 892);
  CHECK_CLOSE(test.images().mean().item<double>(), 0.1325, 1e-3, 0);
}

// %% [markdown]
// Something to look at: a few of the images, and how the guess of a network will have to do better than ours.

// %%
DEMO("eight digits, as the loader hands them out") {
  manual_seed(11);
  auto loader = data::make_data_loader(data::datasets::Digits().map(data::transforms::Stack<>()), 8);
  const data::Example<> batch = *loader->begin();
  for (std::int64_t y = 0; y < 8; ++y) {
    for (std::int64_t i = 0; i < 8; ++i) {
      for (std::int64_t x = 0; x < 8; ++x) {
        const auto level = static_cast<std::size_t>(batch.data[i][0][y][x].item<float>() * 4.99f);
        std::cout << " .:*#"[level];
      }
      std::cout << "  ";
    }
    std::cout << '\n';
  }
  for (std::int64_t i = 0; i < 8; ++i) std::cout << "   " << batch.target[i].item<std::int64_t>() << "      ";
  std::cout << '\n';
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// Four questions, each answered by a measurement on your machine. The numbers appear when you run `tito run 07`; none is written here.
//
// ### Three ways to make a batch
//
// - **v1** copies pixel by pixel through the Tensor interface: each pixel costs a chain of views and a dispatched copy.
// - **v2** is what most datasets do: one view per example, one `stack` per batch. The bytes move in runs of one image.
// - **v3** asks the dataset for the whole batch: no view, no list, one copy per row. This is why `get_batch` is what a loader calls, and
//   why Python's DataLoader later gained `__getitems__`.
//
// The bytes are the same in all three. What differs is the work *per example* and *per pixel*:
//
//     v1   B x H x W x (views + dispatch)
//     v2   B x (views + dispatch)         + B x H x W x bytes / bandwidth
//     v3   B x (one memcpy call)          + B x H x W x bytes / bandwidth

// %%
//| lesson
data::Example<> batch_v1(data::datasets::Digits& digits, ArrayRef<std::size_t> indices) {
  const auto count = static_cast<std::int64_t>(indices.size());
  const Tensor images = empty({count, 1, 8, 8});
  const Tensor targets = empty({count}, kLong);
  for (std::int64_t i = 0; i < count; ++i) {
    const data::Example<> example = digits.get(indices[static_cast<std::size_t>(i)]);
    for (std::int64_t y = 0; y < 8; ++y)
      for (std::int64_t x = 0; x < 8; ++x) images[i][0][y][x] = example.data[0][y][x];
    targets[i] = example.target;
  }
  return {images, targets};
}

data::Example<> batch_v2(data::datasets::Digits& digits, ArrayRef<std::size_t> indices) {
  return data::transforms::stack_examples(digits.get_batch(indices));
}

data::Example<> batch_v3(data::datasets::TensorBatchDataset& digits, ArrayRef<std::size_t> indices) { return digits.get_batch(indices); }

// `value` of at most `limit`, drawn.
std::string bar(double value, double limit) {
  return std::string(static_cast<std::size_t>(std::max(1.0, 40 * value / limit)), '#');
}

// %%
TEST_CASE("three ways to make a batch give the same batch") {
  data::datasets::Digits digits;
  data::datasets::TensorBatchDataset gathered(digits.images(), digits.targets());
  const std::vector<std::size_t> indices{1000, 3, 77, 3};
  const data::Example<> expected = batch_v1(digits, indices);
  CHECK_EQ(batch_v2(digits, indices).data, expected.data);
  CHECK_EQ(batch_v3(gathered, indices).data, expected.data);
  CHECK_EQ(batch_v2(digits, indices).target, expected.target);
  CHECK_EQ(batch_v3(gathered, indices).target, expected.target);
}

// %%
DEMO("a batch: pixel by pixel, stacked, gathered") {
  data::datasets::Digits digits;
  data::datasets::TensorBatchDataset gathered(digits.images(), digits.targets());
  std::cout << "   B        v1 pixels    v2 stack   v3 gather   v1 / v2   v2 / v3   allocations v1 v2 v3\n";
  for (const std::size_t size : {1, 16, 64, 256}) {
    std::vector<std::size_t> indices(size);
    for (std::size_t i = 0; i < size; ++i) indices[i] = i * 5;
    const auto seconds = [](auto make) { return measure([&] { do_not_optimize(make()); }, {.samples = 5}).median; };
    const auto allocations = [](auto make) {
      const std::size_t before = memory::stats().allocations;
      make();
      return memory::stats().allocations - before;
    };
    const auto v1 = [&] { return batch_v1(digits, indices); };
    const auto v2 = [&] { return batch_v2(digits, indices); };
    const auto v3 = [&] { return batch_v3(gathered, indices); };
    const double t1 = seconds(v1);
    const double t2 = seconds(v2);
    const double t3 = seconds(v3);
    std::cout << std::setw(4) << size << std::setw(17) << format_seconds(t1) << std::setw(12) << format_seconds(t2) << std::setw(12)
              << format_seconds(t3) << std::fixed << std::setprecision(1) << std::setw(10) << t1 / t2 << std::setw(10) << t2 / t3
              << std::setw(16) << allocations(v1) << std::setw(3) << allocations(v2) << std::setw(3) << allocations(v3) << '\n';
  }
}

// %% [markdown]
// ### When do workers help?
//
// An example can be slow for two reasons. Either it *waits* (a disk, a network), and then a second worker can wait at the same time, with
// any number of cores. Or it *computes* (decoding, augmentation), and then workers help as far as there are cores, and not beyond; the training
// step needs one, too. And where an example is nearly free, every worker costs: a batch changes threads twice, and each change is a lock, a
// wake-up and cold caches.
//
//     W workers          waiting                computing (C cores)        free
//     time per epoch     N t / W                N t / min(W, C)            N t + (handing over)

// %%
//| lesson
// Examples that take a given time, by waiting or by computing.
struct Slow : data::datasets::Dataset<Slow, int> {
  Slow(std::size_t examples, double seconds_each, bool waits_for_it) : count(examples), seconds(seconds_each), waits(waits_for_it) {}
  int get(std::size_t index) override {
    if (waits) {
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    } else {
      for (const Timer timer; timer.seconds() < seconds;) {
      }
    }
    return static_cast<int>(index);
  }
  std::optional<std::size_t> size() const override { return count; }

  std::size_t count;
  double seconds;
  bool waits;
};

// Seconds of one epoch whose every step trains for `train_seconds`.
template <class Dataset>
double epoch_seconds(const Dataset& dataset, data::DataLoaderOptions options, double train_seconds = 0) {
  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(dataset, options);
  const Timer timer;
  for (auto& batch : *loader) {
    do_not_optimize(batch);
    for (const Timer step; step.seconds() < train_seconds;) {
    }
  }
  return timer.seconds();
}

// %%
DEMO("workers: examples that wait, that compute, and that cost nothing") {
  std::cout << std::thread::hardware_concurrency() << " cores\n";
  struct Kind {
    const char* name;
    std::size_t examples;
    double seconds;
    bool waits;
  };
  for (const Kind& kind : {Kind{"waiting 1 ms each", 128, 1e-3, true}, Kind{"computing 1 ms each", 128, 1e-3, false}, Kind{"nearly free", 8192, 0, false}}) {
    std::cout << '\n' << kind.examples << " examples, " << kind.name << '\n';
    double alone = 0;
    for (const std::size_t workers : {0, 1, 2, 4, 8}) {
      const double seconds = epoch_seconds(Slow(kind.examples, kind.seconds, kind.waits), data::DataLoaderOptions(4).workers(workers));
      if (workers == 0) alone = seconds;
      std::cout << "  workers " << workers << std::setw(11) << format_seconds(seconds) << "  " << std::fixed << std::setprecision(2) << std::setw(6)
                << alone / seconds << " x  " << bar(alone / seconds, 8) << '\n';
    }
  }
}

// %% [markdown]
// ### Loading behind training
//
// One worker is enough to hide loading that is faster than training. The demonstration lets a batch wait for `load` and a step compute for `train`,
// and compares the epoch with the two formulas from the beginning of Part 1.

// %%
DEMO("one worker hides loading behind training") {
  constexpr std::size_t steps = 40;
  std::cout << "  load ms   train ms   no worker: load + train   measured   one worker: max(load, train)   measured     (ms per step)\n";
  for (const double load : {0.5, 1.0, 2.0, 4.0}) {
    constexpr double train = 2.0;
    const auto step_ms = [&](std::size_t workers) {
      return 1e3 / steps * epoch_seconds(Slow(steps, load / 1e3, true), data::DataLoaderOptions(1).workers(workers), train / 1e3);
    };
    std::cout << std::fixed << std::setprecision(1) << std::setw(9) << load << std::setw(11) << train << std::setw(26) << load + train << std::setprecision(2)
              << std::setw(11) << step_ms(0) << std::setprecision(1) << std::setw(31) << std::max(load, train) << std::setprecision(2) << std::setw(11)
              << step_ms(1) << '\n';
  }
}

// %% [markdown]
// ### What the queue holds
//
// While training is the slower side, the workers run ahead until no job is left: `max_jobs` batches lie ready, and one more is in use.
// That is memory bought for safety against slow moments; past the point where no step waits any more, it buys nothing.
//
//     memory
//       ^                     .
//       |               .           J x (bytes of a batch)
//       |         .
//       |   .
//       +------------------------> max_jobs J

// %%
//| lesson
// Example i is a new tensor of 64 KiB.
struct Fresh : data::datasets::Dataset<Fresh, Tensor> {
  Tensor get(std::size_t) override { return empty({16 * 1024}); }
  std::optional<std::size_t> size() const override { return 256; }
};

// The most bytes that an epoch held at one time, with a training step that is slower than loading.
std::size_t peak_of_epoch(std::size_t batch_size, std::size_t max_jobs) {
  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(Fresh(), data::DataLoaderOptions(batch_size).workers(2).max_jobs(max_jobs));
  memory::reset_peak();
  const std::size_t before = memory::stats().live;
  for (auto& batch : *loader) {
    do_not_optimize(batch);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return memory::stats().peak - before;
}

// %%
DEMO("the memory of loading ahead grows with max_jobs") {
  constexpr std::size_t batch_size = 4;
  constexpr std::size_t batch_bytes = batch_size * 64 * 1024;
  std::cout << "  max_jobs      held   batches of " << format_bytes(batch_bytes) << '\n';
  for (const std::size_t max_jobs : {1, 2, 4, 8, 16}) {
    const std::size_t peak = peak_of_epoch(batch_size, max_jobs);
    const double batches = static_cast<double>(peak) / static_cast<double>(batch_bytes);
    std::cout << std::setw(10) << max_jobs << std::setw(10) << format_bytes(static_cast<std::int64_t>(peak)) << std::fixed << std::setprecision(1) << std::setw(6)
              << batches << "  " << bar(batches, 18) << '\n';
  }
}

// %%
TEST_CASE("the queue never holds more than max_jobs batches and the one in use") {
  constexpr std::size_t batch_bytes = 4 * 64 * 1024;
  for (const std::size_t max_jobs : {1, 4}) {
    const std::size_t peak = peak_of_epoch(4, max_jobs);
    CHECK_LE(peak, (max_jobs + 1) * batch_bytes + 64);  // and the sampler's saved position
    CHECK_GE(peak, batch_bytes);
  }
}

// %% [markdown]
// ### What a worker's copy holds
//
// Every worker copies the dataset. If the data is a Tensor, the copies share one storage; if it is a `std::vector`, each worker has all of it
// again. The allocator counts tensors only, so this one looks at the memory of the whole process.

// %%
DEMO("a dataset of 32 MiB in four workers: shared, and copied") {
  constexpr std::size_t floats = 8 * 1024 * 1024;
  struct InTensor : data::datasets::Dataset<InTensor, float> {
    float get(std::size_t index) override { return values.data<float>()[index]; }
    std::optional<std::size_t> size() const override { return floats; }
    Tensor values = zeros({static_cast<std::int64_t>(floats)});
  };
  struct InVector : data::datasets::Dataset<InVector, float> {
    float get(std::size_t index) override { return values[index]; }
    std::optional<std::size_t> size() const override { return floats; }
    std::vector<float> values = std::vector<float>(floats);
  };
  const auto growth = [](auto dataset) {
    const std::int64_t before = resident_bytes();
    auto loader = data::make_data_loader<data::samplers::SequentialSampler>(std::move(dataset), data::DataLoaderOptions(64).workers(4));
    auto first = loader->begin();
    do_not_optimize(*first);
    return format_bytes(std::max<std::int64_t>(0, resident_bytes() - before));
  };
  std::cout << "what the process holds with four workers beyond the one dataset that it had before\n";
  std::cout << "  dataset with a Tensor        " << growth(InTensor()) << '\n';
  std::cout << "  dataset with a std::vector   " << growth(InVector()) << '\n';
}

// %% [markdown]
// ### Reading numbers
//
// And the table. v1 below is how a table is usually read for the first time; `read_csv` looks at every character once.

// %%
//| lesson
// The table as a vector, by getline, stringstream and stod. No checks.
std::vector<double> read_csv_v1(const std::string& path) {
  std::ifstream file(path);
  std::vector<double> numbers;
  for (std::string line; std::getline(file, line);) {
    std::stringstream values(line);
    for (std::string value; std::getline(values, value, ',');) numbers.push_back(std::stod(value));
  }
  return numbers;
}

// %%
TEST_CASE("read_csv and its first version read the same numbers") {
  const std::string path = find_data("digits/optdigits.csv");
  const std::vector<double> expected = read_csv_v1(path);
  const Tensor table = data::read_csv(path).values;
  CHECK_EQ(table.sizes(), IntArrayRef({1797, 65}));
  CHECK_EQ(table.flatten(), tensor(expected, kDouble));
}

// %%
DEMO("a table: streams and strings against from_chars") {
  const std::string path = find_data("digits/optdigits.csv");
  const auto bytes = static_cast<double>(std::filesystem::file_size(path));
  const double v1 = measure([&] { do_not_optimize(read_csv_v1(path)); }, {.samples = 5}).median;
  const double v2 = measure([&] { do_not_optimize(data::read_csv(path)); }, {.samples = 5}).median;
  std::cout << std::fixed << std::setprecision(1) << "v1 stringstream, stod  " << std::setw(9) << format_seconds(v1) << std::setw(8) << bytes / v1 / 1e6 << " MB/s\n"
            << "v2 from_chars          " << std::setw(9) << format_seconds(v2) << std::setw(8) << bytes / v2 / 1e6 << " MB/s   " << v1 / v2 << " x\n";
}

// %% [markdown]
// ## Part 3: Production context
//
// You have built libtorch's loader: the interfaces, the queue, the sequencer and the errors are its own. The others draw the lines in the same
// places and choose other tools:
//
//                     which               what              in parallel by         ordered by
//     libtorch        Sampler             Dataset           threads                sequence numbers
//     PyTorch         Sampler             Dataset           processes (the GIL)    sequence numbers (_rcvd_idx)
//     tf.data         a source dataset    map               threads of a runtime   a ring of pending results
//     Grain (JAX)     IndexSampler        DataSource        processes              worker i mod W
//
// **PyTorch.** In Python one process runs one thread of Python at a time, so workers are *processes*: the dataset is pickled or
// forked, batches come back through shared memory, and a thread copies them into page-locked memory, from where a GPU can fetch them
// without the CPU. Each worker seeds its generators with a base seed plus its number, or all would draw the same augmentations.
//
// **TensorFlow.** A pipeline is a graph of datasets, each with an iterator: `shuffle`, `map`, `batch`, `prefetch`. The number of threads and the size of each
// buffer may be left open; a model of the pipeline, measured while it runs, tunes them within a memory budget. tf.data shuffles a stream through a
// buffer of limited size, because a stream has no permutation: a buffer of 1 does not shuffle at all.
//
// **JAX** has no loader of its own. Grain's idea is that randomness is a function of (seed, index): example i is augmented the same way whichever worker
// makes it, and the state of an epoch is one number per worker, which makes checkpoints small and resuming exact.
//
// | read | for |
// |---|---|
// | PyTorch: `torch/csrc/api/include/torch/data/dataloader/base.h` | the loader that you built |
// | PyTorch: `torch/csrc/api/include/torch/data/detail/{data_shuttle,queue,sequencers}.h` | queue, credits, order |
// | PyTorch: `torch/csrc/api/src/data/samplers/random.cpp`, `src/data/datasets/mnist.cpp` | permutation, IDX |
// | PyTorch: `torch/utils/data/dataloader.py`, `torch/utils/data/_utils/{worker,fetch,collate,pin_memory}.py` | the same with processes |
// | TensorFlow: `tensorflow/core/kernels/data/{prefetch,parallel_map,shuffle}_dataset_op.cc` | queue, order, shuffle buffer |
// | TensorFlow: `tensorflow/core/framework/model.h` | the model that tunes a pipeline |
// | JAX users: `grain/_src/python/data_loader.py`, `data_sources.py` | randomness by index, small states |
//
// What production adds and this lesson leaves out: pinned memory and copies to a device on a stream of their own; formats that pack many examples into large
// files, because a million small files are slow on any network disk; shuffling at two levels (shards, then a buffer) where N permutations of single reads would
// be too slow; sharding over machines (module 19); and caching of what was decoded once.

// %% [markdown]
// ## Integration test
//
// From the file to the batches of two epochs: the shipped digits, normalized, stacked, shuffled, with workers and without. The same seed gives the same batches
// for any number of workers, and all examples come once in each epoch.

// %%
TEST_CASE("integration: two epochs of digits, the same for any number of workers") {
  using namespace data;
  const auto epochs = [](std::size_t workers) {
    manual_seed(42);
    auto dataset = datasets::Digits().map(transforms::Normalize<>({0.5}, {0.25})).map(transforms::Stack<>());
    auto loader = make_data_loader(std::move(dataset), DataLoaderOptions().batch_size(100).workers(workers));
    std::vector<Tensor> targets;
    double sum = 0;
    for (int epoch = 0; epoch < 2; ++epoch) {
      for (Example<>& batch : *loader) {
        CHECK_EQ(batch.data.size(0), batch.target.size(0));
        targets.push_back(batch.target);
        sum += batch.data.sum().item<double>();
      }
    }
    return std::pair(cat(targets), sum);
  };
  const auto [targets, sum] = epochs(0);
  CHECK_EQ(targets.sizes(), IntArrayRef({2 * 1437}));
  CHECK(!targets.narrow(0, 0, 1437).equal(targets.narrow(0, 1437, 1437)));
  const Tensor all = datasets::Digits().targets();
  for (std::int64_t digit = 0; digit < 10; ++digit)
    CHECK_EQ((targets == digit).sum().item<std::int64_t>(), 2 * (all == digit).sum().item<std::int64_t>());

  const auto [same_targets, same_sum] = epochs(3);
  CHECK_EQ(same_targets, targets);
  CHECK_EQ(same_sum, sum);
}

// %% [markdown]
// ## ML systems thinking
//
// This module's pattern is Build -> Use -> **Reflect**. Answer from your own measurements and your own code.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "07-explain-batches", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. Why process data in batches?** From "a batch: pixel by pixel, stacked, gathered": what does one example cost in v2 and in v3, for B = 1 and for B = 256? What part of it is
// paid per batch and what per example? Which of the costs would remain if an example were an image of 224 x 224 x 3 bytes instead of 8 x 8 floats?
// BEGIN SOLUTION
// Dividing each time by B gives the cost of an example; the difference between B = 1 and B = 256 is what is paid per batch (the allocation of the result, the calls, the dispatch of
// stack). v2 pays per example for two views, their reference counts and their place in two lists; v3 pays a memcpy call and its bytes. For a large image the
// bytes dominate: 150 KB take microseconds at memory bandwidth, more than all bookkeeping, so v2 and v3 would come close to each other; decoding the file
// would cost more than both.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "07-explain-workers", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. How many workers?** From the two demonstrations on workers: for which of the three kinds of example did 8 workers beat 2 on your machine, and why? At
// which ratio of load to train does one worker stop being enough? You get a machine with 64 cores and a GPU: name two reasons not to set workers to 64.
// BEGIN SOLUTION
// Only for examples that wait: waiting needs no core. For examples that compute, more workers than cores only take turns, and for free examples each further worker adds
// locks and wake-ups. One worker stops being enough when load exceeds train; then W workers make the step max(load / W, train). Against 64: every worker prefetches, so the
// memory of the queue grows with 2 x 64 jobs; the copies of the dataset; the disk or network saturates before; and the training loop, the kernels' own threads and the
// driver need cores, too. Enough workers that no step waits is the number, and more buys nothing.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "07-explain-design", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. Memory, order and caching.** (a) How does `max_jobs` affect memory, and what does `enforce_ordering` add when one batch in a hundred is ten times slower? (b) Two
// caching strategies: keep decoded examples in memory, or keep finished batches. What does each cost and gain, and which one is wrong together with a random sampler or with random
// augmentation? (c) Why must the state of an epoch hold the batches *delivered*, and not the sampler's position?
// BEGIN SOLUTION
// (a) At most max_jobs batches wait beside the one in use, so memory is proportional to it. With ordering, the slow batch holds back all that follow: finished ones wait in the buffer, no new job is sent
// out, and the workers stand still once max_jobs are done; a larger max_jobs hides it and costs memory. (b) Decoded examples cost N examples of memory and save the decoding of every epoch but the first;
// they work with any order, and augmentation still runs afterwards. Finished batches save everything, but freeze the composition of the batches and the augmentation: wrong with both.
// (c) The sampler is ahead by what is in flight. Batches that were made but never trained on would be skipped after resuming.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - Four questions, four interfaces: a sampler says which examples, a dataset what they are, a transform how they are changed, a loader when they are made.
// - A loader asks for batches, not examples, so that a dataset which can answer at once may do so; collating is a copy, and how many calls it takes decides its cost.
// - A queue between threads waits on a condition, looks before it sleeps, and is bounded by credits: `max_jobs` batches are in flight, and that is the memory of loading ahead.
// - Results carry sequence numbers, so that the number of workers does not change the run; errors and the thread state travel with them.
// - Workers help where examples wait, or compute with cores to spare; for cheap examples they cost.
// - A file's header is a claim. Check it against what the file can hold before you allocate, and say which file, which line, which column.
// - An epoch can be saved as the sampler's state at its beginning and the number of batches delivered. Module 08 writes it into checkpoints, and trains.

// %%
}  // namespace tinytorch
