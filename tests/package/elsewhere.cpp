// Every operator with tensors of a device that has no kernels: views are views, and everything else ends in a sentence. Nothing reads a device's address on the host; it would crash here, the addresses are small numbers.
#include <cstring>
#include <vector>

#include "package/recorded.h"
#include "tinytorch/core/backend.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

class BareMemory : public Backend {
 public:
  void* allocate(std::size_t nbytes, DeviceIndex) override {
    const std::size_t place = memory_.size();
    memory_.resize(place + (nbytes + 63) / 64 * 64);
    return reinterpret_cast<void*>(place + 64);
  }
  void deallocate(void*, std::size_t, DeviceIndex) noexcept override {}
  void copy_to_device(void* address, const void* host, std::size_t nbytes, DeviceIndex) override { std::memcpy(at(address), host, nbytes); }
  void copy_from_device(void* host, const void* address, std::size_t nbytes, DeviceIndex) override { std::memcpy(host, at(address), nbytes); }

 private:
  std::byte* at(const void* address) { return memory_.data() + (reinterpret_cast<std::size_t>(address) - 64); }
  std::vector<std::byte> memory_;
};

const Device& bare() {
  static BareMemory memory;
  static const Device device = (register_backend("bare", memory), Device("bare:0"));
  return device;
}

struct Attempt {
  std::vector<Tensor> results;
  std::string error;
};
Attempt attempt(const OperatorCase& row, const Inputs& inputs) {
  Attempt made;
  manual_seed(7);
  try {
    for (const Tensor& result : row.call(inputs)) made.results.push_back(result.detach());
  } catch (const Error& error) {
    made.error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    made.error = error.what();
  }
  return made;
}

bool same_elements_in(const Tensor& there, const Tensor& here) {
  if (there.sizes() != here.sizes() || there.scalar_type() != here.scalar_type()) return false;
  const Tensor a = there.cpu().to(kDouble), b = here.to(kDouble);
  return allclose(a, b, 0, 0, true);
}
}  // namespace

TEST_CASE("a device without kernels: each operator is a view, or says what is missing") {
  std::size_t said = 0, viewed = 0;
  for (const OperatorCase& row : all_cases()) {
    for (const auto& entry : recorded(row.name).outcomes) {
      const auto& variant = entry.first;
      if (row.options.leaves_out.find(variant) != std::string_view::npos) continue;
      const Inputs inputs = inputs_of(recorded(row.name), variant);
      Inputs there, copies;
      for (const Tensor& x : inputs) {
        there.push_back(x.to(bare()));
        copies.push_back(x.clone());
      }
      const Attempt on_device = attempt(row, there), here = attempt(row, copies);
      CAPTURE(row.name);
      CAPTURE(variant);
      CAPTURE(on_device.error);
      if (on_device.error.empty()) {
        ++viewed;
        REQUIRE(here.error.empty());
        REQUIRE_EQ(on_device.results.size(), here.results.size());
        for (std::size_t i = 0; i < here.results.size(); ++i) CHECK(same_elements_in(on_device.results[i], here.results[i]));
      } else {
        ++said;
        const bool plain = on_device.error.find("with arguments from the 'BARE' backend") != std::string::npos || on_device.error.find("can't read bare:0 device type tensor on the host") != std::string::npos ||
                           on_device.error.find("Expected all tensors to be on the same device") != std::string::npos || on_device.error == here.error;
        CHECK(plain);
      }
    }
  }
  CHECK_GT(said, 500);
  CHECK_GT(viewed, 50);
}

}  // namespace tinytorch::testing
