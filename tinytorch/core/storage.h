// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>

#include "tinytorch/core/device.h"
#include "tinytorch/core/intrusive_ptr.h"

namespace tinytorch {

// What the allocator has done so far, in bytes and calls. The process shares one set of counters.
struct MemoryStats {
  std::size_t live = 0;         // bytes held now
  std::size_t peak = 0;         // the most bytes held at one time since reset_peak()
  std::size_t allocations = 0;  // calls that took memory
};

namespace memory {
MemoryStats stats();
void reset_peak();
}  // namespace memory

// A run of bytes with an owner count: what views share. Up to 64 bytes lie in the object itself. `version` counts writes in place; it is opaque to this module.
// Source: c10/core/StorageImpl.h.
class StorageImpl : public RefCounted {
 public:
  using Deleter = void (*)(void* data, std::size_t nbytes, void* context);
  explicit StorageImpl(std::size_t nbytes);
  StorageImpl(void* data, std::size_t nbytes, Deleter deleter, void* context);
  ~StorageImpl() override;

  void* data() const { return data_; }  // of a device's memory: an address that only the device understands
  std::size_t nbytes() const { return nbytes_; }
  virtual Device device() const { return DeviceType::CPU; }
  void resize(std::size_t nbytes);  // keeps the bytes that fit; chapter 84
  std::atomic<std::uint32_t> version{0};

 private:
  void take_bytes(std::size_t nbytes);                          // sets data_ and nbytes_
  void give_bytes_back(void* data, std::size_t nbytes) noexcept;

  void* data_;
  std::size_t nbytes_;
  Deleter deleter_ = nullptr;
  void* context_ = nullptr;
  alignas(64) std::byte room_[64];
};

// The handle on it that tensors share. Source: c10/core/Storage.h.
class Storage : public intrusive_ptr<StorageImpl> {
 public:
  using intrusive_ptr::intrusive_ptr;
  Storage() = default;
  Storage(intrusive_ptr impl) : intrusive_ptr(std::move(impl)) {}

  const void* data() const { return get()->data(); }
  void* mutable_data() const { return get()->data(); }
  DataPtr data_ptr() const { return {get()->data(), device()}; }
  DataPtr mutable_data_ptr() const { return data_ptr(); }
  std::size_t nbytes() const { return get()->nbytes(); }
  std::size_t use_count() const { return get()->use_count(); }
  bool unique() const { return use_count() == 1; }
  Device device() const { return get()->device(); }
  DeviceType device_type() const { return device().type(); }
  bool is_alias_of(const Storage& other) const { return get() == other.get(); }
  StorageImpl* unsafeGetStorageImpl() const { return get(); }
};

}  // namespace tinytorch
