// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.
#pragma once

namespace tinytorch::serialize {
class OutputArchive;
class InputArchive;
}  // namespace tinytorch::serialize

namespace tinytorch::nn {
class Module;

// What serialization adds to Module: parameters and buffers, by their dotted names, to and from an archive. A module that keeps more than these overrides both and
// calls nn::Module::save and load in them; one that is not serializable is left out by its parent.
class ModuleSerialization {
 public:
  virtual void save(serialize::OutputArchive& archive) const;
  // Checks every name, shape and dtype first: a checkpoint that does not fit changes nothing.
  virtual void load(serialize::InputArchive& archive);
  virtual bool is_serializable() const { return true; }

 protected:
  ModuleSerialization() = default;
  ModuleSerialization(const ModuleSerialization&) = default;
  ModuleSerialization& operator=(const ModuleSerialization&) = default;
  ~ModuleSerialization() = default;
};
}  // namespace tinytorch::nn
