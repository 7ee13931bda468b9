// What lies under a tensor: its storage, the same bytes read as another type, and the order of its elements.
#include <torch/torch.h>

#include <iostream>
#include <sstream>
#include <string>

namespace {
void fails(const char* what, const std::function<void()>& f) {
  try {
    f();
    std::cout << what << ": no error\n";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << what << ": " << text.substr(0, text.find('\n')) << "\n";
  }
}
}  // namespace

int main() {
  // The storage, which views share.
  const torch::Tensor x = torch::arange(8, torch::kFloat).view({2, 4});
  const torch::Tensor row = x[1];
  std::cout << x.storage().nbytes() << " bytes, " << x.storage().use_count() << " owners, " << x.storage().device() << "\n";
  const torch::Storage storage = x.storage();
  std::cout << storage.use_count() << " " << storage.is_alias_of(row.storage()) << " " << (storage.unsafeGetStorageImpl() == row.storage().unsafeGetStorageImpl()) << "\n";
  static_cast<float*>(storage.mutable_data())[4] = -1;
  std::cout << row << "\n" << static_cast<const float*>(storage.data())[4] << "\n";
  std::cout << x.is_set_to(storage ? x.view({2, 4}) : row) << x.is_set_to(row) << "\n";
  const at::DataPtr& pointer = storage.data_ptr();
  std::cout << static_cast<float*>(pointer.get())[4] << " " << pointer.device() << " " << (pointer.get() == x.data_ptr()) << (row.storage().data_ptr().get() == row.data_ptr()) << (pointer == nullptr) << static_cast<bool>(pointer) << "\n";
  static_cast<float*>(storage.mutable_data_ptr().get())[4] = -2;
  std::cout << row[0] << storage.device_type() << " " << storage.unique() << " " << row.storage().nbytes() << "\n";

  // The same bytes, read as another type.
  std::cout << x.view(torch::kInt) << "\n" << x.view(torch::kByte).sizes() << " " << x.view(torch::kDouble).strides() << "\n";
  std::cout << x.slice(1, 2, 4).view(torch::kLong).storage_offset() << " " << x.t().view(torch::kInt).strides() << "\n";
  row.view(torch::kInt).zero_();
  std::cout << x << "\n" << x._version() << x.view(torch::kInt)._version() << "\n";
  const torch::Tensor w = torch::ones({2}, torch::requires_grad());
  const torch::Tensor bits = w.view(torch::kInt);
  std::cout << bits.requires_grad() << bits.is_leaf() << bits.is_view() << w.view(torch::kFloat).requires_grad() << w.view(torch::kDouble).requires_grad() << "\n";
  fails("size", [&] { x.slice(1, 0, 3).view(torch::kLong); });
  fails("offset", [&] { x.slice(1, 1, 3).view(torch::kLong); });
  fails("last stride", [&] { x.slice(1, 0, 4, 2).view(torch::kDouble); });
  fails("columns", [&] { x.t().view(torch::kShort); });
  fails("stride", [&] { x.as_strided({2, 2}, {3, 1}).view(torch::kLong); });
  fails("0-d", [&] { x[0][0].view(torch::kLong); });

  // Options that name an order.
  const auto last = torch::TensorOptions().memory_format(torch::MemoryFormat::ChannelsLast);
  const torch::Tensor rows = torch::arange(48, torch::kFloat).view({2, 3, 2, 4});
  const torch::Tensor pixels = rows.to(last);
  std::cout << last.has_memory_format() << " " << *last.memory_format_opt() << " " << torch::TensorOptions().has_memory_format() << "\n";
  std::cout << pixels.strides() << torch::equal(pixels, rows) << torch::empty({2, 3, 2, 4}, last).strides() << torch::empty({2, 3, 2, 4}, torch::MemoryFormat::ChannelsLast).strides() << "\n";
  std::cout << torch::zeros({2, 3, 2, 4}, last).strides() << torch::rand({2, 3, 2, 4}, last).strides() << rows.new_empty({2, 3, 2, 4}, last).strides() << "\n";
  std::cout << torch::empty_like(rows, last).strides() << torch::zeros_like(rows, last).strides() << torch::ones_like(rows, last).strides() << torch::full_like(rows, 2, last).strides() << "\n";
  std::cout << torch::rand_like(rows, last).strides() << torch::randn_like(rows, last).strides() << torch::randint_like(rows, 5, last).strides() << "\n";
  const auto contiguous = torch::TensorOptions().memory_format(torch::MemoryFormat::Contiguous);
  std::cout << torch::zeros_like(pixels).strides() << torch::zeros_like(pixels, contiguous).strides() << pixels.to(contiguous).strides() << pixels.to(last).is_same(pixels) << "\n";
  std::cout << rows.to(torch::kCPU, torch::kDouble, false, false, torch::MemoryFormat::ChannelsLast).strides() << rows.to(pixels, false, false, torch::MemoryFormat::ChannelsLast).strides() << rows.to(pixels).strides() << "\n";
  const torch::Tensor t = torch::ones({4, 6}).t();
  std::cout << t.to(torch::kFloat, false, false, torch::MemoryFormat::Contiguous).is_same(t) << t.to(torch::kDouble, false, false, torch::MemoryFormat::Contiguous).strides() << t.to(torch::kFloat, false, true).strides() << "\n";
  std::cout << torch::empty_like(t.slice(0, 0, 6, 2)).strides() << torch::zeros_like(torch::ones({3, 1}).expand({3, 4})).strides() << torch::zeros_like(torch::ones({4}).expand({3, 4})).strides() << "\n";
  fails("twice", [&] { torch::zeros_like(rows, last, torch::MemoryFormat::ChannelsLast); });
  fails("rank", [&] { torch::empty({2, 3}, last); });
  fails("preserve", [&] { torch::empty({2, 3}, torch::TensorOptions().memory_format(torch::MemoryFormat::Preserve)); });
  fails("gradients", [&] { rows.to(last.requires_grad(true)); });

  // Printed options; what they print with stays behind in the stream, so it is a stream of its own.
  std::ostringstream text;
  text << torch::TensorOptions() << "\n" << last.dtype(torch::kLong).device(torch::kCPU).layout(torch::kStrided).requires_grad(true).pinned_memory(false) << "\n";
  text << x.options() << "\n" << torch::ones({2}, torch::requires_grad()).to(torch::kLong).options() << "\n" << torch::requires_grad(false) << "\n" << torch::requires_grad(false).requires_grad(std::nullopt) << "\n";
  std::cout << x.options().has_device() << x.options().has_layout() << x.options().has_requires_grad() << torch::requires_grad(false).has_requires_grad() << x.options().has_pinned_memory() << x.options().layout_opt().has_value() << "\n";
  std::cout << text.str();
  std::cout << torch::get_default_dtype() << (torch::get_default_dtype() == torch::kFloat) << torch::get_default_dtype_as_scalartype() << "\n";

  // Other memory under the same tensor.
  const torch::Tensor numbers = torch::arange(6, torch::kFloat);
  torch::Tensor other = torch::zeros({2, 2});
  const torch::Tensor handle = other, part = other[0];
  std::cout << other.set_(numbers) << handle.sizes() << part << other.is_alias_of(numbers) << "\n";
  std::cout << other.set_(numbers.storage(), 1, {2, 2}, {2, 1}) << other.set_(numbers.storage(), 1, {2, 2}).strides() << other.set_(numbers, 2, {3}) << "\n";
  std::cout << torch::zeros({1}, torch::kDouble).set_(numbers.storage()).sizes() << other.set_(numbers, 4, {4}).storage().nbytes() << other.set_().sizes() << "\n";
  const torch::Tensor leaf = torch::ones({2}, torch::requires_grad());
  fails("lengths", [&] { other.set_(numbers, 2, {3}, {1, 1}); });
  fails("offset", [&] { other.set_(numbers, -1, {3}, {1}); });
  fails("strides", [&] { other.set_(numbers, 0, {3}, {-1}); });
  fails("gradients", [&] { leaf.set_(numbers); });
}
