// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.

#include "tinytorch/serialize/save.h"

#include <filesystem>
#include <map>

#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

namespace {
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

NamedTensors state_of_module(const nn::Module& module) {
  NamedTensors state;
  for (const auto& entry : module.named_parameters()) state.emplace_back(entry.key(), entry.value());
  for (const auto& entry : module.named_buffers()) state.emplace_back(entry.key(), entry.value());
  return state;
}
}  // namespace

void nn::ModuleSerialization::save(serialize::OutputArchive& archive) const {
  for (const auto& [name, tensor] : state_of_module(static_cast<const nn::Module&>(*this))) archive.write(name, tensor);
}

// Checks that `archive` has every parameter and buffer of `module` with its sizes and dtype; throws, and has changed nothing, if not. Returns the change:
// a function that copies them in (in place, so that handles on the parameters see it). What else the archive holds is ignored.
std::function<void()> serialize::prepare_load(const InputArchive& archive, nn::Module& module) {
  const NamedTensors state = state_of_module(module);
  std::vector<Tensor> saved(state.size());
  for (std::size_t i = 0; i < state.size(); ++i) {
    const auto& [name, own] = state[i];
    archive.read(name, saved[i]);
    TORCH_CHECK(saved[i].sizes() == own.sizes(), "size mismatch for ", name, ": copying a param with shape ", saved[i].sizes(),
                " from checkpoint, the shape in current model is ", own.sizes(), ".\n[load] ", archive.name(), " was saved from another architecture.");
    TORCH_CHECK(saved[i].scalar_type() == own.scalar_type(), "dtype mismatch for ", name, ": ", archive.name(), " has ", saved[i].scalar_type(),
                ", the current model ", own.scalar_type(), "\n[load] convert the model with to() first.");
  }
  return [state, saved] {
    const AutoDispatchBelowAutograd below_autograd;
    for (std::size_t i = 0; i < state.size(); ++i) state[i].second.copy_(saved[i]);
  };
}

void nn::ModuleSerialization::load(serialize::InputArchive& archive) { serialize::prepare_load(archive, static_cast<nn::Module&>(*this))(); }

serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const nn::Module& module) {
  module.save(archive);
  return archive;
}
serialize::InputArchive& serialize::operator>>(InputArchive& archive, nn::Module& module) {
  module.load(archive);
  return archive;
}
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const Tensor& tensor) {
  archive.write("0", tensor);
  return archive;
}
serialize::InputArchive& serialize::operator>>(InputArchive& archive, Tensor& tensor) {
  archive.read("0", tensor);
  return archive;
}
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const std::vector<Tensor>& tensors) {
  archive.write("size", static_cast<std::int64_t>(tensors.size()));
  for (std::size_t i = 0; i < tensors.size(); ++i) archive.write(std::to_string(i), tensors[i]);
  return archive;
}
serialize::InputArchive& serialize::operator>>(InputArchive& archive, std::vector<Tensor>& tensors) {
  std::int64_t size = 0;
  archive.read("size", size);
  TORCH_CHECK(size >= 0 && static_cast<std::size_t>(size) < archive.keys().size(), archive.name(), " claims to hold ", size, " tensors");
  std::vector<Tensor> loaded(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < loaded.size(); ++i) archive.read(std::to_string(i), loaded[i]);
  tensors = std::move(loaded);
  return archive;
}

serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const optim::Optimizer& optimizer) {
  archive.write("optimizer", optimizer.name());
  std::int64_t position = 0;
  for (std::size_t g = 0; g < optimizer.param_groups().size(); ++g) {
    const optim::OptimizerParamGroup& group = optimizer.param_groups()[g];
    archive.write("group." + std::to_string(g) + ".lr", group.options().get_lr());
    for (const Tensor& parameter : group.params()) {
      const std::string prefix = "state." + std::to_string(position++) + ".";
      const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (found == optimizer.state().end()) continue;
      for (const auto& [name, counter] : found->second->named_counters()) archive.write(prefix + name, *counter);
      for (const auto& [name, tensor] : found->second->named_tensors())
        if (tensor->defined()) archive.write(prefix + name, *tensor);
    }
  }
  archive.write("parameters", position);
  return archive;
}

std::function<void()> serialize::prepare_load(const InputArchive& archive, optim::Optimizer& optimizer) {
  std::string name;
  archive.read("optimizer", name);
  TORCH_CHECK(name == optimizer.name(), "cannot load ", archive.name(), ": it holds the state of ", name, ", this optimizer is ", optimizer.name());
  std::vector<Tensor> parameters;
  for (const optim::OptimizerParamGroup& group : optimizer.param_groups()) parameters.insert(parameters.end(), group.params().begin(), group.params().end());
  std::int64_t count = 0;
  archive.read("parameters", count);
  TORCH_CHECK(count == static_cast<std::int64_t>(parameters.size()), "loaded state dict contains a parameter group that doesn't match the size of optimizer's group\n[load] ",
              archive.name(), " has state for ", count, " parameters, this optimizer has ", parameters.size());

  std::vector<double> rates(optimizer.param_groups().size());
  for (std::size_t g = 0; g < rates.size(); ++g) archive.read("group." + std::to_string(g) + ".lr", rates[g]);
  const auto loaded = std::make_shared<optim::Optimizer::State>();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    InputArchive entry;
    if (!archive.try_read("state." + std::to_string(i), entry)) continue;
    std::unique_ptr<optim::OptimizerParamState> state = optimizer.make_state();
    for (const auto& [key, counter] : state->named_counters()) entry.read(key, *counter);
    for (const auto& [key, tensor] : state->named_tensors()) {
      if (!entry.try_read(key, *tensor)) continue;
      TORCH_CHECK(tensor->sizes() == parameters[i].sizes(), "cannot load ", archive.name(), ": ", key, " of parameter ", i, " has sizes ", tensor->sizes(),
                  ", the parameter has ", parameters[i].sizes());
    }
    (*loaded)[parameters[i].unsafeGetTensorImpl()] = std::move(state);
  }
  return [&optimizer, loaded, rates] {
    optimizer.state() = std::move(*loaded);
    for (std::size_t g = 0; g < rates.size(); ++g) optimizer.param_groups()[g].options().set_lr(rates[g]);
  };
}

serialize::InputArchive& serialize::operator>>(InputArchive& archive, optim::Optimizer& optimizer) {
  prepare_load(archive, optimizer)();
  return archive;
}

// The path of the newest sound checkpoint in `folder`: of the files named step-<digits>.ckpt the one with the highest number that an InputArchive loads; "" if there is
// none. At no time more than one checkpoint is held in memory, and none that is older than the answer is read. Throws only if the folder cannot be read.
std::string serialize::newest_sound_checkpoint(const std::string& folder) {
  std::map<std::uint64_t, std::string, std::greater<>> candidates;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || !name.starts_with("step-") || !name.ends_with(".ckpt") || name.size() < 11) continue;
    const std::string digits = name.substr(5, name.size() - 10);
    if (digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    candidates[std::stoull(digits)] = entry.path().string();
  }
  for (const auto& [step, path] : candidates) {
    try {
      InputArchive().load_from(path);
      return path;
    } catch (const Error&) {
      continue;  // damaged: the one before it
    }
  }
  return "";
}

}  // namespace tinytorch
