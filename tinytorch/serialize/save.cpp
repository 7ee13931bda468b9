// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.

#include "tinytorch/serialize/save.h"

#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <variant>

#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/samplers.h"
#include "tinytorch/serialize/file.h"

namespace tinytorch {

void serialize::OutputArchive::save_to(const std::string& path) const { write_file_atomically(path, bytes()); }
void serialize::InputArchive::load_from(const std::string& path, std::optional<Device> device) { load_bytes(read_file(path), path), move_to(device); }

// Module 07's samplers write their state into an archive, and knew none yet.
void register_archive_access() {
  serialize::archive_access.write = [](serialize::OutputArchive& archive, const std::string& key, const Tensor& value) { archive.write(key, value); };
  serialize::archive_access.read = [](serialize::InputArchive& archive, const std::string& key) {
    Tensor value;
    archive.read(key, value);
    return value;
  };
}

namespace {
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

NamedTensors state_of_module(const nn::Module& module, bool recurse = true) {
  NamedTensors state;
  for (const auto& entry : module.named_parameters(recurse)) state.emplace_back(entry.key(), entry.value());
  for (const auto& entry : module.named_buffers(recurse)) state.emplace_back(entry.key(), entry.value());
  return state;
}
}  // namespace

void nn::ModuleSerialization::save(serialize::OutputArchive& archive) const {
  const auto& module = static_cast<const nn::Module&>(*this);
  for (const auto& [name, tensor] : state_of_module(module, /*recurse=*/false)) archive.write(name, tensor);
  for (const auto& child : module.named_children()) {
    if (!child.value()->is_serializable()) continue;
    serialize::OutputArchive part;
    child.value()->save(part);
    archive.write(child.key(), part);
  }
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

namespace {
// Lets each child read its part of the archive.
void load_children(const serialize::InputArchive& archive, nn::Module& module, bool restored) {
  for (const auto& child : module.named_children()) {
    if (!child.value()->is_serializable()) continue;
    serialize::InputArchive part;
    archive.try_read(child.key(), part);
    part.set_restored(restored);
    child.value()->load(part);
  }
}

// For a module one of whose children writes something else than its parameters: each reads its own. Puts everything back if one throws.
void load_piece_by_piece(const serialize::InputArchive& archive, nn::Module& module) {
  const AutoDispatchBelowAutograd below_autograd;
  NamedTensors before;
  for (const auto& [name, tensor] : state_of_module(module)) before.emplace_back(name, tensor.clone());
  try {
    for (const auto& [name, own] : state_of_module(module, /*recurse=*/false)) {
      Tensor saved;
      archive.read(name, saved);
      TORCH_CHECK(saved.sizes() == own.sizes() && saved.scalar_type() == own.scalar_type(), "size or dtype mismatch for ", name);
      own.copy_(saved);
    }
    load_children(archive, module, /*restored=*/false);
  } catch (...) {
    const NamedTensors state = state_of_module(module);
    for (std::size_t i = 0; i < state.size(); ++i) state[i].second.copy_(before[i].second);
    throw;
  }
}
}  // namespace

void nn::ModuleSerialization::load(serialize::InputArchive& archive) {
  auto& module = static_cast<nn::Module&>(*this);
  if (archive.restored()) return load_children(archive, module, true);
  std::function<void()> change;
  std::exception_ptr misfit;
  try {
    change = serialize::prepare_load(archive, module);
  } catch (const Error&) {
    misfit = std::current_exception();
  }
  if (!misfit) {
    change();
    return load_children(archive, module, true);
  }
  try {
    load_piece_by_piece(archive, module);
  } catch (const Error&) {
    std::rethrow_exception(misfit);  // it names the tensor from the root
  }
}

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
  tensors.insert(tensors.end(), loaded.begin(), loaded.end());
  return archive;
}

namespace {
// Each kind of field, to an archive and back.
struct WriteField {
  serialize::OutputArchive& archive;
  const std::string& key;
  void operator()(const Tensor* value) const {
    if (value->defined()) archive.write(key, *value);
  }
  void operator()(const std::deque<Tensor>* value) const {
    archive.write(key + ".size", value->size());
    for (std::size_t i = 0; i < value->size(); ++i) archive.write(key + "." + std::to_string(i), (*value)[i]);
  }
  template <class T>
  void operator()(const std::optional<T>* value) const {
    if (*value) archive.write(key, **value);
  }
  template <class T>
  void operator()(const T* value) const {
    archive.write(key, *value);
  }
};

struct ReadField {
  const serialize::InputArchive& archive;
  const std::string& key;
  void operator()(Tensor* value) const { archive.try_read(key, *value); }
  void operator()(std::deque<Tensor>* value) const {
    std::uint32_t size = 0;
    archive.read(key + ".size", size);
    value->clear();
    for (std::uint32_t i = 0; i < size; ++i) archive.read(key + "." + std::to_string(i), value->emplace_back());
  }
  template <class T>
  void operator()(std::optional<T>* value) const {
    value->reset();
    if (archive.has_value(key)) archive.read(key, value->emplace());
  }
  template <class T>
  void operator()(T* value) const {
    archive.read(key, *value);
  }
};
}  // namespace

void serialize::write_fields(OutputArchive& archive, const std::string& prefix, const optim::Fields& fields) {
  for (const auto& [name, field] : fields) {
    const std::string key = prefix + "." + name;
    std::visit(WriteField{archive, key}, field);
  }
}

void serialize::read_fields(const InputArchive& archive, const std::string& prefix, const optim::Fields& fields) {
  for (const auto& [name, field] : fields) {
    const std::string key = prefix + "." + name;
    std::visit(ReadField{archive, key}, field);
  }
}

serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const optim::Optimizer& optimizer) {
  archive.write("optimizer", optimizer.name());
  archive.write("groups", optimizer.param_groups().size());
  std::size_t position = 0;
  for (std::size_t g = 0; g < optimizer.param_groups().size(); ++g) {
    optim::OptimizerParamGroup group = optimizer.param_groups()[g];  // a copy: fields() also allows writing
    const std::string prefix = "group." + std::to_string(g);
    write_fields(archive, prefix, group.options().fields());
    write_fields(archive, prefix, {{"initial_lr", &group.initial_lr()}});
    archive.write(prefix + ".parameters", group.params().size());
    for (const Tensor& parameter : group.params()) {
      const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (found != optimizer.state().end()) write_fields(archive, "state." + std::to_string(position), found->second->fields());
      ++position;
    }
  }
  return archive;
}

namespace {
// Throws unless the state's tensors have the sizes and the dtype of the parameter (or of all in one vector, where the state is about all).
void check_state(const serialize::InputArchive& archive, optim::OptimizerParamState& state, const Tensor& parameter, std::size_t position, std::int64_t total) {
  const auto check = [&](const std::string& name, const Tensor& tensor) {
    const bool fits = state.spans_all_parameters() ? tensor.dim() == 0 || tensor.sizes() == IntArrayRef({total}) : tensor.sizes() == parameter.sizes();
    TORCH_CHECK(fits && tensor.scalar_type() == parameter.scalar_type(), "cannot load ", archive.name(), ": ", name, " of parameter ", position, " has sizes ", tensor.sizes(),
                " and dtype ", tensor.scalar_type(), ", the parameter has ", parameter.sizes(), " and ", parameter.scalar_type());
  };
  for (const auto& [name, field] : state.fields()) {
    if (const auto* tensor = std::get_if<Tensor*>(&field); tensor != nullptr && (*tensor)->defined()) check(name, **tensor);
    if (const auto* list = std::get_if<std::deque<Tensor>*>(&field))
      for (const Tensor& tensor : **list) check(name, tensor);
  }
}
}  // namespace

std::function<void()> serialize::prepare_load(const InputArchive& archive, optim::Optimizer& optimizer) {
  std::string name;
  archive.read("optimizer", name);
  TORCH_CHECK(name == optimizer.name(), "cannot load ", archive.name(), ": it holds the state of ", name, ", this optimizer is ", optimizer.name());
  std::size_t groups = 0;
  archive.read("groups", groups);
  TORCH_CHECK(groups == optimizer.param_groups().size(), "loaded state dict has a different number of parameter groups\n[load] ", archive.name(), " has ", groups,
              ", this optimizer has ", optimizer.param_groups().size());
  std::int64_t total = 0;
  for (const optim::OptimizerParamGroup& group : optimizer.param_groups())
    for (const Tensor& parameter : group.params()) total += parameter.numel();

  const auto loaded = std::make_shared<optim::Optimizer::State>();
  std::size_t position = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    optim::OptimizerParamGroup trial = optimizer.param_groups()[g];
    const std::string prefix = "group." + std::to_string(g);
    read_fields(archive, prefix, trial.options().fields());
    std::size_t count = 0;
    archive.read(prefix + ".parameters", count);
    TORCH_CHECK(count == trial.params().size(), "loaded state dict contains a parameter group that has a different size than the optimizer's parameter group\n[load] group ", g,
                " of ", archive.name(), " has ", count, " parameters, the optimizer's has ", trial.params().size());
    for (const Tensor& parameter : trial.params()) {
      const std::string key = "state." + std::to_string(position);
      if (InputArchive entry; archive.try_read(key, entry)) {
        std::unique_ptr<optim::OptimizerParamState> state = optimizer.make_state();
        read_fields(archive, key, state->fields());
        check_state(archive, *state, parameter, position, total);
        (*loaded)[parameter.unsafeGetTensorImpl()] = std::move(state);
      }
      ++position;
    }
  }
  return [&optimizer, archive, loaded] {
    optimizer.state() = std::move(*loaded);
    for (std::size_t g = 0; g < optimizer.param_groups().size(); ++g) {
      optim::OptimizerParamGroup& group = optimizer.param_groups()[g];
      const std::string prefix = "group." + std::to_string(g);
      read_fields(archive, prefix, group.options().fields());
      read_fields(archive, prefix, {{"initial_lr", &group.initial_lr()}});
    }
  };
}

serialize::InputArchive& serialize::operator>>(InputArchive& archive, optim::Optimizer& optimizer) {
  prepare_load(archive, optimizer)();
  return archive;
}

void optim::Optimizer::save(serialize::OutputArchive& archive) const { archive << *this; }
void optim::Optimizer::load(serialize::InputArchive& archive) { archive >> *this; }

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
