// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.
#pragma once

namespace tinytorch::serialize {
class OutputArchive;
class InputArchive;
}  // namespace tinytorch::serialize

namespace tinytorch::nn {
class Module;

// What serialization adds to Module: parameters and buffers, by their dotted names, to and from an archive.
class ModuleSerialization {
 public:
  void save(serialize::OutputArchive& archive) const;
  // Checks every name, shape and dtype first: a checkpoint that does not fit changes nothing.
  void load(serialize::InputArchive& archive);
};
}  // namespace tinytorch::nn
