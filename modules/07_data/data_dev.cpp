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
// damaged; in an order that must be random, and yet come back exactly when a run is repeated; and always a little earlier than the training step asks for them, because a step that waits for data wastes everything else that you have built.
//
// Here is what this module builds, each part on its own and each with an interface of one or two functions:
//
//        file on disk                                   one thread, or several workers
//     +----------------+    +---------+    +---------------------------------------------+    +-----------+
//     | IDX, tables    | -> | Dataset | -> |  DataLoader                                 | -> | for batch |
//     +----------------+    | get(i)  |    |  Sampler -> jobs -> get_batch -> transforms |    |   train   |
//         readers           +---------+    |  (which)    (queue)   (what)      (how)     |    +-----------+
//                                          +---------------------------------------------+
//
// **Learning objectives**
//
// - Separate *which* examples come next (sampler), *what* an example is (dataset), *how* it is changed (transform) and
//   *when* it is made (loader), and say why all frameworks draw the lines there.
// - Build a prefetching pipeline: a blocking queue, workers, results put back in order, errors carried between threads.
// - Read a binary format without believing anything that a file claims about itself.
// - Measure what batching gains, when workers help and when they only cost, and what a prefetch queue does to memory.
//
// **Where it sits.** Module 01's tensors and views, and three functions of library chapters (`stack` of chapter 90, `index_select` of 91, the random permutation `randperm` of 96), are all that is needed.
// Library chapter 94 adds breadth on the same interfaces: whole files (IDX, CIFAR-10, CSV, text), memory mapping, caches, augmentation, streams,
// and samplers for several machines. Module 08 trains with the loader built here. Nothing here knows about networks or gradients.
//
// **Prerequisites.** Modules 00 and 01, and from module 03 the macro `TORCH_ARG(type, name)`, which gives a struct of options a setting with setter and getter; C++ threads as far as `std::thread`, `std::mutex` and `std::condition_variable`, which the
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
//| export data/threads.h
#include <functional>
#include <memory>
#include <mutex>  // std::chrono's durations too: <chrono> itself adds calendars and time zones
#include "tinytorch/core/function_ref.h"
//| export data/threads.cpp
#include <condition_variable>
#include <thread>
#include <utility>
#include <vector>
//| export data/queue.h
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include "tinytorch/core/error.h"
#include "tinytorch/data/threads.h"
//| export data/sequencers.h
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
#include <mutex>  // std::chrono's durations
#include <cstddef>
#include <optional>
#include <utility>
#include "tinytorch/core/arg.h"
//| export data/worker_exception.h
#include <exception>
#include <string>
//| export data/worker_exception.cpp
#include <utility>
//| export data/dataloader.h
#include <exception>
#include <memory>
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
#include "tinytorch/data/threads.h"
#include "tinytorch/data/worker_exception.h"
//| export data/idx_header.h
#include <cstdint>
#include <string>
#include <string_view>
#include "tinytorch/core/ops.h"
//| export data/idx_header.cpp
#include <cstring>
#include <utility>

// %%
#include <algorithm>
#include <chrono>
#include <future>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <set>
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
// Training reads the whole set of N examples again and again; one pass is an *epoch*. A batch of B examples gives N / B steps, and a step takes
//
//     one thread:          t_step = t_load(B) + t_train(B)
//     loading ahead:       t_step = max(t_load(B) / W, t_train(B))         W workers, enough cores
//
// The second line is the whole reason for the machinery below: loading costs nothing as long as it is finished in time, and more
// workers help only until training is the slower side. Loading ahead has a price, and it is memory: every batch that is ready, or being made, is held. With at most J of them,
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
template <class DatasetType, class TransformType>
MapDataset<DatasetType, TransformType> map(DatasetType dataset, TransformType transform);

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
  MapDataset<Self, TransformType> map(TransformType transform) & {
    return datasets::map(static_cast<Self&>(*this), std::move(transform));
  }
  template <class TransformType>
  MapDataset<Self, TransformType> map(TransformType transform) && {
    return datasets::map(std::move(static_cast<Self&>(*this)), std::move(transform));
  }
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

namespace data {
using datasets::BatchDataset;
using datasets::Dataset;
}  // namespace data

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
// A dataset of your own is these few lines. Here are the 1,797 handwritten digits that ship with the course (8 x 8 pixels with 17 grey levels, Alpaydin and
// Kaynak, 1998), read with module 00's `find_data` and `read_numeric_text`, and what `get_batch` gives for a request. `tito run 07` draws them.
//
//     a line of digits/optdigits.csv:   0 0 5 13 9 1 0 0 ... 10 0 0 0   0        64 pixels from 0 to 16, and the class
//     example i:                        data (1, 8, 8) from 0 to 1, target ()    views of two tensors: nothing is copied

// %%
//| lesson
struct DigitImages : data::datasets::Dataset<DigitImages> {
  DigitImages() {
    const NumericArray table = read_numeric_text(find_data("digits/optdigits.csv"));
    const Tensor rows = tensor(table.values, kFloat).view(table.sizes);
    images = rows.narrow(1, 0, 64).div(16).view({-1, 1, 8, 8});
    targets = rows.select(1, 64).to(kLong);
  }
  data::Example<> get(std::size_t index) override {
    const auto i = static_cast<std::int64_t>(index);
    return {images[i], targets[i]};
  }
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(images.size(0)); }

  Tensor images, targets;
};

// %%
DEMO("eight digits, as get_batch hands them out") {
  DigitImages digits;
  const std::vector<data::Example<>> batch = digits.get_batch({10, 221, 42, 633, 1004, 75, 1796, 7});
  for (std::int64_t y = 0; y < 8; ++y) {
    for (const data::Example<>& example : batch) {
      for (std::int64_t x = 0; x < 8; ++x) std::cout << " .:*#"[static_cast<std::size_t>(example.data[0][y][x].item<float>() * 4.99f)];
      std::cout << "  ";
    }
    std::cout << '\n';
  }
  for (const data::Example<>& example : batch) std::cout << "   " << example.target.item<std::int64_t>() << "      ";
  std::cout << '\n';
}

// %% [markdown]
// ### Transforms, and datasets of datasets
//
// Between the raw example and the batch something is usually done: scale the pixels, cut out a window, and at the end lay many small
// tensors into one large one. A transform is an object with one function from batch to batch, and `dataset.map(transform)` is again a
// dataset:
//
//     digits ----map(Normalize)----> MapDataset ----map(Stack<>())----> MapDataset
//     vector<Example<>>              vector<Example<>>                   Example<>      <- what the loader hands out
//     (1,8,8) and ()                 (1,8,8) and ()                      (B,1,8,8) and (B)
//
// The type says all of it: `MapDataset<MapDataset<DigitImages, Normalize<>>, Stack<>>`. There is no list of transforms to walk at run time;
// the compiler sees through the whole chain. TensorFlow's tf.data and JAX users' Grain chain the same way, at run time.

// %%
//| export data/datasets.h
namespace data::datasets {

namespace detail {
template <bool condition, class T>
using optional_if = std::conditional_t<condition, std::optional<T>, T>;
template <class T>
using without_optional = typename std::conditional_t<is_optional<T>, T, std::optional<T>>::value_type;
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

  OutputBatchType get_batch(BatchRequestType request) override {
    if constexpr (SourceDataset::is_stateful) {
      auto batch = dataset_.get_batch(std::move(request));
      if (!batch) return std::nullopt;
      return transform_.apply_batch(std::move(*batch));
    } else {
      return transform_.apply_batch(dataset_.get_batch(std::move(request)));
    }
  }
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
  static_assert(std::is_same_v<detail::without_optional<typename DatasetType::BatchType>, typename TransformType::InputBatchType>,
                "BatchType type of dataset does not match input type of transform");
  return {std::move(dataset), std::move(transform)};
}

}  // namespace data::datasets

// %% [markdown]
// The transforms themselves. Three levels, each a special case of the one above it: from any batch to any batch; example by
// example; and only the `data` tensor of each example. (Chapter 94 makes each of them from a lambda, as libtorch does: `Lambda`, `BatchLambda`,
// `TensorLambda`.)

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
TEST_CASE("transforms: by tensor, by example, and chained") {
  using namespace data;
  struct TenTimesTheTarget : transforms::Transform<Example<>, Example<>> {
    Example<> apply(Example<> e) override { return {e.data, e.target * 10}; }
  };
  auto chained = Ramp().map(transforms::Normalize<>({1.0, 0.0}, {1.0, 2.0})).map(TenTimesTheTarget());
  CHECK_EQ(chained.size().value(), 5);
  const std::vector<Example<>> batch = chained.get_batch({3, 0});
  REQUIRE_EQ(batch.size(), 2);
  CHECK_EQ(batch[0].data, tensor({{{2.0, 2.0}}, {{1.5, 1.5}}}));
  CHECK_EQ(batch[1].data, tensor({{{-1.0, -1.0}}, {{0.0, 0.0}}}));
  CHECK_EQ(batch[0].target, tensor(30));
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
// dimension is lost. The targets are tensors of no dimension at all; `cat` refuses them, `stack` makes a vector. `stack(tensors)` takes a `std::vector<Tensor>`, and throws by itself for an empty one and for sizes that differ.

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
// ### Datasets on tensors
//
// When everything fits into memory, a dataset is a view of large tensors. `TensorDataset` hands out rows one by one, as views;
// `TensorBatchDataset` hands out whole batches, gathered.
//
//     request {5, 1}
//       TensorDataset:       row 5, row 1  (views)  -> Stack -> batch       B views, then one copy
//       TensorBatchDataset:  rows 5 and 1  ------------------> batch       one copy

// %%
//| export data/datasets.h
namespace data::datasets {

// The rows of one tensor, without targets. Source: torch/data/datasets/tensor.h.
struct TensorDataset : public Dataset<TensorDataset, TensorExample> {
  explicit TensorDataset(const std::vector<Tensor>& tensors);  // stacked
  explicit TensorDataset(Tensor rows);
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

}  // namespace data::datasets

// %%
//| export data/datasets.cpp
data::datasets::TensorDataset::TensorDataset(const std::vector<Tensor>& tensors) : tensor(stack(tensors)) {}
data::datasets::TensorDataset::TensorDataset(Tensor rows) : tensor(std::move(rows)) {}

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
// views and one `stack`, an index tensor and one gather. Part 2 measures two of these ways against each other. (`TORCH_CHECK_INDEX(condition, ...)` of module 00 throws an IndexError.)

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
// HINT: there are index_select(self, dim, index) of chapter 91, stack(tensors) of 90, and select, copy_ and data_ptr of module 01. data_ and targets_
//   are contiguous.
data::Example<> data::datasets::TensorBatchDataset::get_batch(ArrayRef<std::size_t> indices) {
  // BEGIN SOLUTION
  const std::size_t count = *size();
  const auto gather_rows = [&](const Tensor& from) {
    DimVector sizes(from.sizes());
    sizes[0] = static_cast<std::int64_t>(indices.size());
    const Tensor rows = empty(sizes, from.options());
    const std::size_t row_bytes = from.nbytes() / std::max<std::size_t>(1, count);
    const char* const first = static_cast<const char*>(from.data_ptr());
    char* to = static_cast<char*>(rows.data_ptr());
    for (const std::size_t index : indices) {
      TORCH_CHECK_INDEX(index < count, "index ", index, " is out of bounds for dimension 0 with size ", count);
      if (row_bytes > 0) std::memcpy(to, first + index * row_bytes, row_bytes);
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
TEST_CASE("datasets on tensors: rows, and sizes that do not fit") {
  data::datasets::TensorDataset rows(arange(6).view({3, 2}));
  CHECK_EQ(Tensor(rows.get(1)), tensor({2, 3}));
  CHECK(rows.get(2).data.is_alias_of(rows.tensor));
  CHECK_EQ(data::datasets::TensorDataset({tensor({1, 2}), tensor({3, 4})}).get(1).data, tensor({3, 4}));

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
// same into libtorch's archives, the files of module 08. `state()` and `set_state()` are only declared here: a state that comes from a file must be checked, and chapter 94 does that.

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

namespace data::detail {

// Where an epoch stands: the sampler at its beginning, and how many batches have been handed out since. As a State and back; unpack_epoch()
// throws if `state` is none, or of another batch size.
struct EpochState {
  State sampler;
  std::size_t delivered = 0;
};
State pack_epoch(const EpochState& epoch, std::size_t batch_size);
EpochState unpack_epoch(const State& state, std::size_t batch_size);
// `state` to an archive, and the values that stand there under the names that `known` has.
void save_state(serialize::OutputArchive& archive, const State& state);
State load_state(serialize::InputArchive& archive, const State& known);

}  // namespace data::detail

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
  virtual void set_state(const State& state) {
    TORCH_CHECK_NOT_IMPLEMENTED(state.empty(), "This sampler cannot go on in the middle of an epoch\n[set_state] it does not override state() and set_state()");
  }

  // state() to and from an archive.
  virtual void save(serialize::OutputArchive& archive) const { detail::save_state(archive, state()); }
  virtual void load(serialize::InputArchive& archive) { set_state(detail::load_state(archive, state())); }
};

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

}  // namespace data::samplers

// %%
// What state() and set_state() of the samplers below are made of (chapter 94): a loader asks its sampler for them.
}  // namespace tinytorch
#include "tinytorch/data/saved_state.h"
namespace tinytorch {

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

// %% [markdown]
// ### A queue between threads
//
// One thread makes batches and another takes them. Between them stands a queue, and it must do what a plain `std::deque` cannot: let
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
//
// The mutex is `std::mutex` itself. The condition variable, and the threads that the loader needs below, stand behind a pointer, as the stream of module 00 does: a loader is a template, which a program compiles where it uses it, so this header is part of the whole framework's, and with
// `<condition_variable>`, `<thread>` and `<queue>` g++ 12 needs 2 % more memory for each file that includes that.

// %%
//| export data/threads.h
namespace data::detail {

// A std::condition_variable.
class ConditionVariable {
 public:
  ConditionVariable();
  ~ConditionVariable();
  ConditionVariable(const ConditionVariable&) = delete;
  ConditionVariable& operator=(const ConditionVariable&) = delete;

  void notify_one();
  void notify_all();
  // Returns when `condition` holds. It is asked with the lock held, at once and after each wake-up; while the thread sleeps, the lock is given back.
  void wait(std::unique_lock<std::mutex>& lock, function_ref<bool()> condition);
  // The same, but no longer than `timeout`. Returns whether the condition holds.
  bool wait_for(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds timeout, function_ref<bool()> condition);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Some threads. REQUIRES: join() before the end, as of a std::thread.
class Threads {
 public:
  Threads();
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  // One more thread, which calls `work`.
  void start(std::function<void()> work);
  std::size_t size() const;
  // Waits until all have ended; there are none after that.
  void join();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace data::detail

// %%
//| export data/threads.cpp
struct data::detail::ConditionVariable::Impl {
  std::condition_variable variable;
};

data::detail::ConditionVariable::ConditionVariable() : impl_(std::make_unique<Impl>()) {}
data::detail::ConditionVariable::~ConditionVariable() = default;
void data::detail::ConditionVariable::notify_one() { impl_->variable.notify_one(); }
void data::detail::ConditionVariable::notify_all() { impl_->variable.notify_all(); }
void data::detail::ConditionVariable::wait(std::unique_lock<std::mutex>& lock, function_ref<bool()> condition) { impl_->variable.wait(lock, condition); }
bool data::detail::ConditionVariable::wait_for(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds timeout, function_ref<bool()> condition) {
  return impl_->variable.wait_for(lock, timeout, condition);
}

struct data::detail::Threads::Impl {
  std::vector<std::thread> threads;
};

data::detail::Threads::Threads() : impl_(std::make_unique<Impl>()) {}
data::detail::Threads::~Threads() = default;
void data::detail::Threads::start(std::function<void()> work) { impl_->threads.emplace_back(std::move(work)); }
std::size_t data::detail::Threads::size() const { return impl_->threads.size(); }
void data::detail::Threads::join() {
  for (std::thread& thread : impl_->threads) thread.join();
  impl_->threads.clear();
}

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
  std::deque<T> queue_;
  std::mutex mutex_;
  ConditionVariable cv_;
};

}  // namespace data::detail

// %%
//| export data/queue.h
template <class T>
void data::detail::Queue<T>::push(T value) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(value));
  }
  cv_.notify_one();
}

template <class T>
std::size_t data::detail::Queue<T>::clear() {
  std::deque<T> old;
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
//   3. Move the front out, and pop_front() it.
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
  queue_.pop_front();
  return value;
  // END SOLUTION
}

// %%
//| mistake 07-queue-pop waits-for-a-notification
//| says The element was there before pop() was called, so no notification will come. The condition must look at the queue: wait_for asks it before the thread sleeps.
#if 0
template <class T>
T data::detail::Queue<T>::pop(std::optional<std::chrono::milliseconds> timeout) {
  std::unique_lock lock(mutex_);
  const std::size_t before = queue_.size();
  const auto grew = [&] { return queue_.size() > before; };
  if (timeout) {
    TORCH_CHECK(cv_.wait_for(lock, *timeout, grew), "Timeout in DataLoader queue while waiting for next batch (timeout was ", timeout->count(), " ms)");
  } else {
    cv_.wait(lock, [this] { return !queue_.empty(); });
  }
  T value = std::move(queue_.front());
  queue_.pop_front();
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
  // The next result; nothing if no job is in flight. Throws on a timeout; the job stays in flight then.
  std::optional<Result> pop_result(std::optional<std::chrono::milliseconds> timeout = std::nullopt) {
    if (in_flight_jobs_ == 0) return std::nullopt;
    Result result = results_.pop(timeout);
    --in_flight_jobs_;
    return result;
  }
  // Throws away the jobs that nobody has begun.
  void cancel_jobs() { in_flight_jobs_ -= new_jobs_.clear(); }
  // Cancels, and waits for what has begun.
  void drain() {
    cancel_jobs();
    while (in_flight_jobs_ > 0) pop_result();
  }
  std::size_t in_flight_jobs() const noexcept { return in_flight_jobs_; }

 private:
  Queue<Job> new_jobs_;
  std::size_t in_flight_jobs_ = 0;
  Queue<Result> results_;
};

}  // namespace data::detail

// %%
TEST_CASE("DataShuttle: results of two workers, and what is in flight") {
  data::detail::DataShuttle<int, int> shuttle;
  CHECK(!shuttle.pop_result().has_value());
  for (int job = 1; job <= 6; ++job) shuttle.push_job(job);
  CHECK_EQ(shuttle.in_flight_jobs(), 6);
  const auto square_three = [&shuttle] {
    for (int i = 0; i < 3; ++i) {
      const int job = shuttle.pop_job();
      shuttle.push_result(job * job);
    }
  };
  // A task, not a thread: what it throws comes back with get().
  std::future<void> first = std::async(std::launch::async, square_three);
  std::future<void> second = std::async(std::launch::async, square_three);
  int sum = 0;
  while (const std::optional<int> result = shuttle.pop_result()) sum += *result;
  CHECK_EQ(sum, 1 + 4 + 9 + 16 + 25 + 36);
  first.get();
  second.get();
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
// No more than J jobs are sent out whose batches have not been delivered, so the buffer needs J places, and job n goes to place n mod J. Reordering is not free: while
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
// ### The loader
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

// How a loader works. A number alone is a batch size; setters return the options, so they chain: DataLoaderOptions(64).workers(2).
// Source: torch/data/dataloader_options.h.
struct DataLoaderOptions {
  DataLoaderOptions() = default;
  DataLoaderOptions(std::size_t size) : batch_size_(size) {}

  // Examples in a batch.
  TORCH_ARG(std::size_t, batch_size) = 1;
  // Threads that make batches; 0: the calling thread makes each batch when it is asked for.
  TORCH_ARG(std::size_t, workers) = 0;
  // The most batches that are ready or being made; twice the workers if not given. It bounds the memory of loading ahead.
  TORCH_ARG(std::optional<std::size_t>, max_jobs);
  // How long to wait for a batch from the workers before giving up with an error; for ever if not given.
  TORCH_ARG(std::optional<std::chrono::milliseconds>, timeout);
  // Whether batches come in the order of the sampler. Costs time when some batches take much longer than others.
  TORCH_ARG(bool, enforce_ordering) = true;
  // Whether to leave out a last batch with fewer than batch_size examples.
  TORCH_ARG(bool, drop_last) = false;
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

  Iterator& operator++() {
    TORCH_CHECK(pass_ != nullptr, "Incrementing the DataLoader's past-the-end iterator is not allowed");
    TORCH_CHECK(pass_->current().has_value(), "Attempted to increment iterator past the end");
    pass_->batch.reset();  // its memory is free before the next batch is waited for
    pass_->fetched = false;
    pass_->current();
    return *this;
  }
  Batch& operator*() const {
    TORCH_CHECK(pass_ != nullptr, "Dereferencing the DataLoader's past-the-end iterator is not allowed");
    TORCH_CHECK(pass_->current().has_value(), "Attempted to dereference iterator that was past the end");
    return *pass_->current();
  }
  Batch* operator->() const { return &**this; }
  bool operator==(const Iterator& other) const { return pass_ == other.pass_ || (at_end() && other.at_end()); }

 private:
  bool at_end() const { return !pass_ || !pass_->current(); }
  std::shared_ptr<detail::Pass<Batch>> pass_;
};

}  // namespace data

// %% [markdown]
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
  explicit WorkerException(std::exception_ptr original);
  const char* what() const noexcept override { return message.c_str(); }

  std::exception_ptr original_exception;
  std::string message;
};

}  // namespace data

// %%
//| export data/worker_exception.cpp
data::WorkerException::WorkerException(std::exception_ptr original) : original_exception(std::move(original)), message("Caught exception in DataLoader worker thread.") {
  try {
    std::rethrow_exception(original_exception);
  } catch (const std::exception& e) {
    message += " Original message: ";
    message += e.what();
  } catch (...) {
    message += " It is not a std::exception.";
  }
}

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
  std::optional<Batch> receive_batch();
  static Result run_job(Dataset& dataset, Job job);
  void worker_thread(Dataset& dataset);

  const FullDataLoaderOptions options_;
  std::unique_ptr<Dataset> main_thread_dataset_;
  detail::Threads workers_;
  std::size_t delivered_ = 0;  // batches of this epoch that next() has returned
  bool in_epoch_ = false;

 private:
  std::unique_ptr<detail::sequencers::Sequencer<Result>> new_sequencer() const;

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
// The next batch of the epoch, made here or by the workers; nothing at its end.
template <class Dataset, class Batch, class BatchRequest>
std::optional<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::next() {
  std::optional<Batch> batch;
  if (options_.workers > 0) {
    batch = receive_batch();
  } else if (std::optional<BatchRequest> request = get_batch_request()) {
    batch = main_thread_dataset_->get_batch(std::move(*request));
  }
  in_epoch_ = batch.has_value();
  delivered_ += in_epoch_ ? 1 : 0;
  return batch;
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
  workers_.join();
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
// HINT: ThreadStateGuard (chapter 92) puts a state in place for a scope.
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
// And the loader's side. It begins with `max_jobs` *credits*: a job that is sent out costs one, and its batch, once delivered, gives it back. So for
// each batch that it delivers it sends out the next request.

// %% {"nbgrader": {"grade": false, "grade_id": "07-receive-batch", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/dataloader.h
// The next batch from the workers, or nothing when no job is in flight any more. Throws WorkerException for an exception in a worker, and
// Error when the timeout is over.
//
// TODO: Wait for the next result and deliver its batch.
// APPROACH: 1. Take results from sequencer_->next(...) until one has a batch. 2. Throw WorkerException(result->exception) for a failed one.
//   3. For a good one prefetch(1) first, so that the number in flight stays; then return the batch.
// EXAMPLE: 10 examples, batch_size 4: three batches, then nothing.
// HINT: the sequencer wants a function: [this] { return shuttle_.pop_result(options_.timeout); }. A result without batch and
//   without exception comes from a dataset that has no more: go on with the next result.
template <class Dataset, class Batch, class BatchRequest>
std::optional<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::receive_batch() {
  // BEGIN SOLUTION
  while (std::optional<Result> result = sequencer_->next([this] { return shuttle_.pop_result(options_.timeout); })) {
    if (result->exception) throw WorkerException(result->exception);
    if (!result->batch) continue;
    prefetch(1);
    return std::move(result->batch);
  }
  return std::nullopt;
  // END SOLUTION
}

// %%
//| mistake 07-receive-batch no-new-jobs
//| says The epoch ends after max_jobs batches: nobody sends out further requests. Call prefetch(1) for each batch that you deliver.
#if 0
template <class Dataset, class Batch, class BatchRequest>
std::optional<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::receive_batch() {
  while (std::optional<Result> result = sequencer_->next([this] { return shuttle_.pop_result(options_.timeout); })) {
    if (result->exception) throw WorkerException(result->exception);
    if (result->batch) return std::move(result->batch);
  }
  return std::nullopt;
}
#endif

// %%
//| mistake 07-receive-batch ignores-exceptions
//| says A result with an exception has no batch, and was skipped like the end of a stream. Throw WorkerException(result->exception).
#if 0
template <class Dataset, class Batch, class BatchRequest>
std::optional<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::receive_batch() {
  while (std::optional<Result> result = sequencer_->next([this] { return shuttle_.pop_result(options_.timeout); })) {
    if (!result->batch) continue;
    prefetch(1);
    return std::move(result->batch);
  }
  return std::nullopt;
}
#endif

// %% [markdown]
// The usual loader is *stateless*: the dataset answers any request at any time, and a sampler makes the requests. (Chapter 94 has the other kind,
// for streams that know themselves where they are.) It can also say where it stands. Its sampler alone cannot: it is ahead of the training by whatever is in flight.
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

}  // namespace data

// %%
//| export data/dataloader.h
template <class Dataset, class Sampler>
data::StatelessDataLoader<Dataset, Sampler>::StatelessDataLoader(Dataset dataset, Sampler sampler, const DataLoaderOptions& options)
    : super(options), sampler_(std::move(sampler)) {
  for (std::size_t i = 0; i < this->options_.workers; ++i) {
    this->workers_.start([this, dataset]() mutable { this->worker_thread(dataset); });
  }
  if (this->options_.workers == 0) this->main_thread_dataset_ = std::make_unique<Dataset>(std::move(dataset));
}

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

template <class Dataset, class Sampler>
data::State data::StatelessDataLoader<Dataset, Sampler>::state() const {
  return resumed_ || this->in_epoch_ ? detail::pack_epoch({epoch_start_, this->delivered_}, this->options_.batch_size) : State();
}

template <class Dataset, class Sampler>
void data::StatelessDataLoader<Dataset, Sampler>::set_state(const State& state) {
  if (state.empty()) {
    resumed_ = this->in_epoch_ = false;
    return;
  }
  detail::EpochState epoch = detail::unpack_epoch(state, this->options_.batch_size);
  // Go to the place on a copy, so that a state which does not fit changes nothing.
  Sampler sampler = sampler_;
  sampler.set_state(epoch.sampler);
  for (std::size_t i = 0; i < epoch.delivered; ++i)
    TORCH_CHECK(sampler.next(this->options_.batch_size), "The saved state is damaged: ", epoch.delivered, " batches were delivered, but an epoch has ", i,
                "\n[DataLoader::set_state] was it made for a dataset of this size?");
  sampler_ = std::move(sampler);
  epoch_start_ = std::move(epoch.sampler);
  this->delivered_ = epoch.delivered;
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

// %% {"nbgrader": {"grade": true, "grade_id": "07-receive-batch-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
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
TEST_CASE("DataLoader: leaving an epoch early, and joining") {
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
// bytes out of one. You write the part that decides: it gets the bytes of the header, and as `capacity` the most bytes of values that a file of this length can hold (`elementSize(type)` of module 01 is how many one value has). `read_idx` of chapter 94 opens the file, calls it, and unpacks the values.

// %%
//| export data/idx_header.h
namespace data::detail {

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

}  // namespace data::detail

// %%
//| export data/idx_header.cpp
namespace {
ScalarType idx_type(unsigned char code, const std::string& path) {
  constexpr std::pair<unsigned char, ScalarType> types[] = {{0x08, kByte}, {0x09, kChar}, {0x0B, kShort}, {0x0C, kInt}, {0x0D, kFloat}, {0x0E, kDouble}};
  for (const auto& [known, type] : types)
    if (known == code) return type;
  throw Error(path + ": not an IDX file: the type in its header is " + std::to_string(code) + "\n[read_idx] types are 8, 9, 11, 12, 13 and 14");
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "07-idx-header", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export data/idx_header.cpp
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
// ## Part 2: Systems analysis
//
// Three questions, each answered by a measurement on your machine. The numbers appear when you run `tito run 07`; none is written here.
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
data::Example<> batch_v1(DigitImages& digits, ArrayRef<std::size_t> indices) {
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

data::Example<> batch_v2(DigitImages& digits, ArrayRef<std::size_t> indices) {
  return data::transforms::stack_examples(digits.get_batch(indices));
}

data::Example<> batch_v3(data::datasets::TensorBatchDataset& digits, ArrayRef<std::size_t> indices) { return digits.get_batch(indices); }

// `value` of at most `limit`, drawn.
std::string bar(double value, double limit) {
  return std::string(static_cast<std::size_t>(std::max(1.0, 40 * value / limit)), '#');
}

// %%
TEST_CASE("three ways to make a batch give the same batch") {
  DigitImages digits;
  data::datasets::TensorBatchDataset gathered(digits.images, digits.targets);
  const std::vector<std::size_t> indices{1000, 3, 77, 3};
  const data::Example<> expected = batch_v1(digits, indices);
  CHECK_EQ(batch_v2(digits, indices).data, expected.data);
  CHECK_EQ(batch_v3(gathered, indices).data, expected.data);
  CHECK_EQ(batch_v2(digits, indices).target, expected.target);
  CHECK_EQ(batch_v3(gathered, indices).target, expected.target);
}

// %%
DEMO("a batch: pixel by pixel, stacked, gathered") {
  DigitImages digits;
  data::datasets::TensorBatchDataset gathered(digits.images, digits.targets);
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
// **PyTorch.** In Python one process runs one thread of Python at a time (the one that holds the global interpreter lock, the GIL), so workers are *processes*: the dataset is pickled (turned into bytes) or forked, batches come back through shared memory, and a thread copies them into page-locked memory, from where a GPU can fetch them
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
// be too slow; sharding over machines (module 19).
//
// **Where a cache may stand.** Bytes of files cost nothing (the system keeps them) and save the disk; decoded examples also save the decoding, for N examples of memory (`CachedDataset` of chapter 94); augmented examples or finished batches save
// everything, and every epoch sees the same ones. So cache in front of the first step that is random: tf.data's `cache()` stands before `shuffle` and augmentation.

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
    auto dataset = DigitImages().map(transforms::Normalize<>({0.5}, {0.25})).map(transforms::Stack<>());
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
  CHECK_EQ(targets.sizes(), IntArrayRef({2 * 1797}));
  CHECK(!targets.narrow(0, 0, 1797).equal(targets.narrow(0, 1797, 1797)));
  const Tensor all = DigitImages().targets;
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
// - A file's header is a claim. Check it against what the file can hold before you allocate, and say in the error which file it is and what does not fit.
// - An epoch can be saved as the sampler's state at its beginning and the number of batches delivered. Module 08 writes it into checkpoints, and trains.

// %%
}  // namespace tinytorch
