// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>

namespace tinytorch {

// Where a tensor lives. The numbers are PyTorch's. Source: torch/headeronly/core/DeviceType.h.
enum class DeviceType : std::int8_t { CPU = 0, CUDA = 1, XLA = 9, XPU = 12, MPS = 13, Meta = 14, PrivateUse1 = 20 };
using DeviceIndex = std::int8_t;

inline constexpr DeviceType kCPU = DeviceType::CPU;
inline constexpr DeviceType kCUDA = DeviceType::CUDA;
inline constexpr DeviceType kXLA = DeviceType::XLA;
inline constexpr DeviceType kXPU = DeviceType::XPU;
inline constexpr DeviceType kMPS = DeviceType::MPS;
inline constexpr DeviceType kMeta = DeviceType::Meta;
inline constexpr DeviceType kPrivateUse1 = DeviceType::PrivateUse1;

// Gives devices of type PrivateUse1 their name, which is "privateuseone" before. Throws for one that is no lower-case word, that another type has, or when they have another already.
// Source: c10/core/DeviceType.cpp.
void register_privateuse1_backend(const std::string& name);
std::string get_privateuse1_backend(bool lower_case = true);

// "cuda", or "CUDA" when not lower_case.
std::string DeviceTypeName(DeviceType type, bool lower_case = false);
std::ostream& operator<<(std::ostream& out, DeviceType type);

// A device: its type, and which one of that type; -1 is the current one. Source: c10/core/Device.h.
class Device {
 public:
  Device(DeviceType type, DeviceIndex index = -1) : type_(type), index_(index) {
    if (index < -1 || (is_cpu() && index > 0)) check_index();
  }
  // "cpu", "cuda" or "cuda:1". Throws for another type, and for an index that is no number.
  Device(const std::string& text);
  Device(const char* text) : Device(std::string(text)) {}

  DeviceType type() const { return type_; }
  DeviceIndex index() const { return index_; }
  bool has_index() const { return index_ != -1; }
  void set_index(DeviceIndex index) { index_ = index; }
  bool is_cpu() const { return type_ == DeviceType::CPU; }
  bool is_cuda() const { return type_ == DeviceType::CUDA; }
  bool is_mps() const { return type_ == DeviceType::MPS; }
  bool is_meta() const { return type_ == DeviceType::Meta; }
  bool is_privateuseone() const { return type_ == DeviceType::PrivateUse1; }
  std::string str() const;  // "cuda:1"
  friend bool operator==(const Device&, const Device&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Device& device) { return out << device.str(); }

 private:
  void check_index() const;
  DeviceType type_;
  DeviceIndex index_;
};

// An address in a device's memory. It owns nothing: what it points to lives as long as the storage that gave it. Source: c10/core/Allocator.h.
class DataPtr {
 public:
  DataPtr(void* data, Device device) : data_(data), device_(device) {}
  void* get() const { return data_; }
  void* mutable_get() const { return data_; }
  void* operator->() const { return data_; }
  Device device() const { return device_; }
  explicit operator bool() const { return data_ != nullptr; }
  friend bool operator==(const DataPtr& pointer, std::nullptr_t) { return pointer.data_ == nullptr; }

 private:
  void* data_;
  Device device_;
};

// Throws unless tensors can live there: on the CPU. `name` is the function that was asked.
void require_cpu(const char* name, const Device& device);

namespace cuda {
bool is_available();         // false: there are no kernels for a graphics card here
std::size_t device_count();  // 0
bool cudnn_is_available();   // false
void manual_seed(std::uint64_t seed);      // nothing to seed
void manual_seed_all(std::uint64_t seed);  // nothing to seed
void synchronize(std::int64_t device_index = -1);
}  // namespace cuda

}  // namespace tinytorch
