// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/saved_state.h"

#include <vector>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

Tensor data::detail::saved_tensor(const State& state, const char* key, std::int64_t dim) {
  const auto found = state.find(key);
  TORCH_CHECK(found != state.end(), "The saved state has no '", key, "'\n[set_state] it was not made by this kind of sampler");
  TORCH_CHECK(found->second.defined() && found->second.dim() == dim && isIntegralType(found->second.scalar_type(), false),
              "The saved state is damaged: '", key, "' must be whole numbers of ", dim, " dimensions\n[set_state] take what state() gave");
  return found->second;
}

std::int64_t data::detail::saved_position(const State& state, const char* key, std::int64_t limit) {
  const auto position = saved_tensor(state, key, 0).item<std::int64_t>();
  TORCH_CHECK(position >= 0 && position <= limit, "The saved state is damaged: '", key, "' is ", position, ", outside of [0, ", limit,
              "]\n[set_state] was it made for a dataset of this size?");
  return position;
}

data::State data::detail::state_of_position(const char* key, std::size_t position) { return {{key, tensor(static_cast<std::int64_t>(position))}}; }

data::State data::samplers::SequentialSampler::state() const { return detail::state_of_position("index", index_); }

void data::samplers::SequentialSampler::set_state(const State& state) {
  index_ = static_cast<std::size_t>(detail::saved_position(state, "index", static_cast<std::int64_t>(size_)));
}

data::State data::samplers::RandomSampler::state() const {
  return {{"index", tensor(index_)}, {"indices", indices_}};
}

void data::samplers::RandomSampler::set_state(const State& state) {
  const Tensor indices = detail::saved_tensor(state, "indices", 1).to(kLong).contiguous();
  const std::int64_t position = detail::saved_position(state, "index", indices.numel());
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

void data::detail::save_state(serialize::OutputArchive& archive, const State& state) {
  for (const auto& [key, value] : state) serialize::archive_access.write(archive, key, value);
}

data::State data::detail::load_state(serialize::InputArchive& archive, const State& known) {
  State loaded;
  for (const auto& [key, value] : known) loaded[key] = serialize::archive_access.read(archive, key);
  return loaded;
}

data::State data::detail::pack_epoch(const EpochState& epoch, std::size_t batch_size) {
  TORCH_CHECK_NOT_IMPLEMENTED(!epoch.sampler.empty(), "This loader's sampler cannot be saved\n[DataLoader::state] it does not override state() and set_state()");
  State state;
  for (const auto& [key, value] : epoch.sampler) state["sampler." + key] = value;
  state["delivered"] = tensor(static_cast<std::int64_t>(epoch.delivered));
  state["batch_size"] = tensor(static_cast<std::int64_t>(batch_size));
  return state;
}

data::detail::EpochState data::detail::unpack_epoch(const State& state, std::size_t batch_size) {
  const auto number = [&state](const char* key) {
    const auto found = state.find(key);
    TORCH_CHECK(found != state.end() && found->second.defined() && found->second.numel() == 1, "The saved state has no number '", key,
                "'\n[DataLoader::set_state] take what state() gave");
    return static_cast<std::size_t>(found->second.item<std::int64_t>());
  };
  EpochState epoch;
  epoch.delivered = number("delivered");
  TORCH_CHECK(number("batch_size") == batch_size, "The saved state is of a loader with batch_size ", number("batch_size"), ", this one has ", batch_size,
              "\n[DataLoader::set_state] use the same batch size to go on");
  for (const auto& [key, value] : state)
    if (key.starts_with("sampler.")) epoch.sampler[key.substr(8)] = value;
  return epoch;
}

}  // namespace tinytorch
