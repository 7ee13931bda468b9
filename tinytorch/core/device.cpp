// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/device.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "tinytorch/core/error.h"

namespace tinytorch {

namespace {
constexpr std::array<std::pair<DeviceType, const char*>, 6> kDeviceNames{{{DeviceType::CPU, "cpu"},
                                                                          {DeviceType::CUDA, "cuda"},
                                                                          {DeviceType::XLA, "xla"},
                                                                          {DeviceType::XPU, "xpu"},
                                                                          {DeviceType::MPS, "mps"},
                                                                          {DeviceType::Meta, "meta"}}};

std::string& privateuse1_name() {
  static std::string name = "privateuseone";
  return name;
}
}  // namespace

void register_privateuse1_backend(const std::string& name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  TORCH_CHECK(!name.empty() && std::all_of(name.begin(), name.end(), letter), "a device's name is a word of lower-case letters, but got '", name, "'");
  for (const auto& [type, text] : kDeviceNames) TORCH_CHECK(name != text, "Cannot register the name '", name, "': it is that of another type of device");
  std::string& known = privateuse1_name();
  TORCH_CHECK(known == "privateuseone" || known == name, "torch.register_privateuse1_backend() has already been set! Current backend: ", known, "\n[register_privateuse1_backend] a process has one device from outside.");
  known = name;
}

std::string get_privateuse1_backend(bool lower_case) { return DeviceTypeName(kPrivateUse1, lower_case); }

std::string DeviceTypeName(DeviceType type, bool lower_case) {
  std::string name = type == kPrivateUse1 ? privateuse1_name() : std::string();
  for (const auto& [known, text] : kDeviceNames)
    if (known == type) name = text;
  if (!lower_case)
    for (char& letter : name) letter = static_cast<char>(letter >= 'a' && letter <= 'z' ? letter - 'a' + 'A' : letter);
  return name;
}

std::ostream& operator<<(std::ostream& out, DeviceType type) { return out << DeviceTypeName(type, true); }

void Device::check_index() const {
  TORCH_CHECK(index_ >= -1, "Device index must be -1 or non-negative, got ", static_cast<int>(index_));
  TORCH_CHECK(!is_cpu() || index_ <= 0, "CPU device index must be -1 or zero, got ", static_cast<int>(index_));
}

Device::Device(const std::string& text) : Device(DeviceType::CPU) {
  TORCH_CHECK(!text.empty(), "Device string must not be empty");
  const std::size_t colon = text.find(':');
  const std::string type = text.substr(0, colon);
  bool known = type == privateuse1_name();
  if (known) type_ = DeviceType::PrivateUse1;
  for (const auto& [candidate, name] : kDeviceNames) {
    if (type != name) continue;
    type_ = candidate;
    known = true;
  }
  TORCH_CHECK(known, "Expected one of cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, vulkan, mps, meta, hpu, mtia, privateuseone device type at start of device string: ", type);
  if (colon == std::string::npos) return;
  const std::string digits = text.substr(colon + 1);
  int number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool whole = !digits.empty() && digits[0] >= '0' && digits[0] <= '9' && error == std::errc() && end == digits.data() + digits.size();
  TORCH_CHECK(whole && (digits.size() == 1 || digits[0] != '0') && number <= 127, "Invalid device string: '", text, "'");
  *this = Device(type_, static_cast<DeviceIndex>(number));
}

std::string Device::str() const {
  std::string text = DeviceTypeName(type_, true);
  if (has_index()) text.append(1, ':').append(std::to_string(index_));
  return text;
}

void require_cpu(const char* name, const Device& device) {
  TORCH_CHECK_NOT_IMPLEMENTED(device.is_cpu(), "Could not run '", name, "' with arguments from the '", DeviceTypeName(device.type()),
                              "' backend.\n[", name, "] tensors live on the CPU here, not on ", device,
                              "; use torch::kCPU, and ask torch::cuda::is_available() before torch::kCUDA.");
}

bool cuda::is_available() { return false; }
std::size_t cuda::device_count() { return 0; }
bool cuda::cudnn_is_available() { return false; }
void cuda::manual_seed(std::uint64_t) {}
void cuda::manual_seed_all(std::uint64_t) {}
void cuda::synchronize(std::int64_t) { require_cpu("cuda::synchronize", Device(DeviceType::CUDA)); }

}  // namespace tinytorch
