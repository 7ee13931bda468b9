// From the lesson modules/73_chunks/chunks_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/data/samplers.h"
#include "tinytorch/serialize/archive.h"

namespace tinytorch {

namespace data::samplers {
template <class BatchRequest>
serialize::OutputArchive& operator<<(serialize::OutputArchive& archive, const Sampler<BatchRequest>& sampler) {
  sampler.save(archive);
  return archive;
}
template <class BatchRequest>
serialize::InputArchive& operator>>(serialize::InputArchive& archive, Sampler<BatchRequest>& sampler) {
  sampler.load(archive);
  return archive;
}
}  // namespace data::samplers

}  // namespace tinytorch
