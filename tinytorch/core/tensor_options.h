// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/device.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/options_extensions.h"

namespace tinytorch {

// How a new tensor shall be: its dtype, and layers that later modules ask for. Fluent: `dtype(kDouble)`. Source: c10/core/TensorOptions.h.
class TensorOptions : public OptionsExtensions {
 public:
  TensorOptions() = default;
  TensorOptions(ScalarType type) : dtype_(type) {}
  TensorOptions(TypeMeta type) : dtype_(type) {}
  template <std::convertible_to<Device> T>
  TensorOptions(const T& device) { set_device(device); }
  TensorOptions(MemoryFormat format) { set_memory_format(format); }

  [[nodiscard]] TensorOptions dtype(std::optional<ScalarType> type) const {
    TensorOptions changed = *this;
    changed.dtype_ = type;
    return changed;
  }
  TypeMeta dtype() const;
  std::optional<ScalarType> dtype_opt() const { return dtype_; }
  bool has_dtype() const { return dtype_.has_value(); }

  [[nodiscard]] TensorOptions layers(LayerSet wanted) const {
    TensorOptions changed = *this;
    changed.layers_ = wanted;
    return changed;
  }
  LayerSet layers() const { return layers_; }

 private:
  std::optional<ScalarType> dtype_;
  LayerSet layers_ = Layer::CPU;
};

inline TensorOptions dtype(ScalarType type) { return TensorOptions(type); }
inline LayerSet layers_of(const TensorOptions& options) { return options.layers(); }
inline bool is_undefined(const TensorOptions&) { return false; }
inline void note_tensors(RecordFunction&, const TensorOptions&) {}

// The floating-point type of new tensors that name none: Float at first. REQUIRES: a floating-point type.
TypeMeta get_default_dtype();
inline ScalarType get_default_dtype_as_scalartype() { return get_default_dtype(); }
void set_default_dtype(ScalarType type);

}  // namespace tinytorch
