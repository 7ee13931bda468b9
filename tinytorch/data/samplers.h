// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tinytorch/core/ops.h"

namespace tinytorch {

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

}  // namespace tinytorch
