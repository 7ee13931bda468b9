// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>
#include <memory>

#include "tinytorch/nn/module.h"
#include "tinytorch/optim/optimizer.h"
#include "tinytorch/serialize/archive.h"

namespace tinytorch {

namespace serialize {

// Loading in two steps: each checks the whole state against the module or the optimizer, throws if it does not fit, and returns the change
// to make. Several things can so be loaded together, or not at all.
std::function<void()> prepare_load(const InputArchive& archive, nn::Module& module);
std::function<void()> prepare_load(const InputArchive& archive, optim::Optimizer& optimizer);

// Named values of an optimizer or of a callback, to and from `prefix`.<name>. An undefined tensor or an empty optional is not written, and stays as it is
// when there is nothing to read; everything else must be there.
void write_fields(OutputArchive& archive, const std::string& prefix, const optim::Fields& fields);
void read_fields(const InputArchive& archive, const std::string& prefix, const optim::Fields& fields);

// The path of the newest file step-<digits>.ckpt in `folder` that loads; "" if there is none.
std::string newest_sound_checkpoint(const std::string& folder);

// The options of each group, and the state of an optimizer, parameter by parameter in the order of its groups.
OutputArchive& operator<<(OutputArchive& archive, const optim::Optimizer& optimizer);
InputArchive& operator>>(InputArchive& archive, optim::Optimizer& optimizer);
OutputArchive& operator<<(OutputArchive& archive, const nn::Module& module);
InputArchive& operator>>(InputArchive& archive, nn::Module& module);
OutputArchive& operator<<(OutputArchive& archive, const Tensor& tensor);
InputArchive& operator>>(InputArchive& archive, Tensor& tensor);
OutputArchive& operator<<(OutputArchive& archive, const std::vector<Tensor>& tensors);
InputArchive& operator>>(InputArchive& archive, std::vector<Tensor>& tensors);

template <class T>
OutputArchive& operator<<(OutputArchive& archive, const std::shared_ptr<T>& module) {
  return archive << static_cast<const nn::Module&>(*module);
}
template <class T>
InputArchive& operator>>(InputArchive& archive, std::shared_ptr<T>& module) {
  return archive >> static_cast<nn::Module&>(*module);
}
template <class T>
OutputArchive& operator<<(OutputArchive& archive, const nn::ModuleHolder<T>& module) {
  return archive << static_cast<const nn::Module&>(*module);
}
template <class T>
InputArchive& operator>>(InputArchive& archive, nn::ModuleHolder<T>& module) {
  return archive >> static_cast<nn::Module&>(*module);
}

}  // namespace serialize

// Writes a tensor, a list of tensors, a module or an optimizer to a file (atomically), a stream or a writer: see OutputArchive::save_to.
template <class Value, class... SaveToArgs>
void save(const Value& value, SaveToArgs&&... arguments) {
  serialize::OutputArchive archive;
  archive << value;
  archive.save_to(std::forward<SaveToArgs>(arguments)...);
}

// A list in braces: save({a, b}, "two.pt").
template <class... SaveToArgs>
void save(const std::vector<Tensor>& tensors, SaveToArgs&&... arguments) {
  serialize::OutputArchive archive;
  archive << tensors;
  archive.save_to(std::forward<SaveToArgs>(arguments)...);
}

// Reads what save() wrote, from a file, a stream or a buffer. What is damaged or does not fit throws and changes nothing. A list is appended to, as in libtorch.
template <class Value, class... LoadFromArgs>
void load(Value& value, LoadFromArgs&&... arguments) {
  serialize::InputArchive archive;
  archive.load_from(std::forward<LoadFromArgs>(arguments)...);
  archive >> value;
}

}  // namespace tinytorch
