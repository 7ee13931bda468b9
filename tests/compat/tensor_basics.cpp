// Making tensors, their anatomy, devices, element types, access to memory.
#include <torch/torch.h>

#include <iostream>
#include <vector>

void creation() {
  std::cout << torch::zeros({2, 3}) << "\n" << torch::ones({2}, torch::kLong) << "\n" << torch::full({2, 2}, 1.5) << "\n";
  std::cout << torch::arange(1, 2, 0.25) << "\n" << torch::linspace(0, 1, 5) << "\n" << torch::eye(2) << "\n";
  std::cout << torch::tensor({{1, 2}, {3, 4}}) << "\n" << torch::tensor(0.1) << "\n" << torch::tensor(1.0 / 3, torch::kDouble) << "\n" << torch::tensor(1234567) << "\n";
  std::cout << torch::zeros_like(torch::ones({2}, torch::kInt)) << "\n" << torch::empty({0, 3}) << "\n";
  std::vector<float> values{1, 2, 3};
  std::cout << torch::tensor(values) << "\n";
}

void anatomy() {
  torch::Tensor x = torch::arange(24, torch::kFloat).view({2, 3, 4});
  std::cout << x.dim() << " " << x.numel() << " " << x.sizes() << " " << x.strides() << " " << x.size(-1) << " " << x.storage_offset() << "\n";
  std::cout << x.transpose(0, 2).strides() << x.permute({1, 0, 2}).is_contiguous() << x[1].storage_offset() << x.is_alias_of(x[1]) << "\n";
  std::cout << x.reshape({6, -1}).sizes() << x.flatten(1).sizes() << x.unsqueeze(0).squeeze().sizes() << x.expand({5, 2, 3, 4}).strides() << x.narrow(2, 1, 2).sizes() << "\n";
}

void types() {
  for (const torch::ScalarType type : {torch::kBool, torch::kUInt8, torch::kInt8, torch::kInt16, torch::kInt32, torch::kInt64, torch::kFloat16, torch::kBFloat16, torch::kFloat32, torch::kFloat64}) {
    const torch::Tensor x = torch::ones({2}, type);
    std::cout << type << " " << x.dtype() << " " << x.element_size() << " " << x.nbytes() << " " << x.is_floating_point() << " " << x.toString() << "\n";
  }
  std::cout << (torch::ones({1}, torch::kInt) + torch::ones({1}, torch::kFloat)).dtype() << " " << (torch::ones({1}, torch::kLong) / 2).dtype() << " " << (torch::ones({1}) > 0).dtype() << "\n";
  const torch::Tensor half = torch::tensor({0.1, 2.5, -3.0}).to(torch::kHalf);
  std::cout << half << "\n" << half * 3 << "\n" << (half + torch::ones({3})).dtype() << "\n" << half.to(torch::kBFloat16) << "\n" << half.sum().item<float>() << "\n";
  std::cout << (half == 0.1) << "\n" << (half + torch::ones({3}, torch::kBFloat16)).dtype() << "\n";
  std::cout << (half.dtype() == torch::kHalf) << (half.scalar_type() == torch::kFloat) << "\n";
}

void devices() {
  torch::Device device(torch::kCPU);
  if (torch::cuda::is_available()) device = torch::Device(torch::kCUDA);
  std::cout << device << " " << device.is_cpu() << " " << torch::Device("cuda:1") << " " << torch::Device("cuda:1").index() << " " << torch::kCUDA << "\n";
  const torch::Tensor x = torch::ones({2}, torch::TensorOptions().dtype(torch::kDouble).device(device).requires_grad(true));
  std::cout << x.device() << " " << x.dtype() << " " << x.requires_grad() << " " << x.is_cuda() << "\n";
  std::cout << x.to(device).is_same(x) << x.to(device, torch::kFloat).dtype() << x.to(torch::kInt).dtype() << x.cpu().is_same(x) << "\n";
  std::cout << torch::zeros({2}, torch::device(torch::kCPU).dtype(torch::kLong)) << "\n" << torch::zeros({1}, x.options()).dtype() << "\n";
}

void memory() {
  float data[] = {1, 2, 3, 4, 5, 6};
  bool freed = false;
  {
    const torch::Tensor x = torch::from_blob(data, {3, 2}, {1, 3}, [&freed](void*) { freed = true; });
    std::cout << x << "\n" << x.strides() << "\n";
    auto a = x.accessor<float, 2>();
    a[2][1] = 60;
    float sum = 0;
    for (int64_t i = 0; i < a.size(0); ++i)
      for (int64_t j = 0; j < a.size(1); ++j) sum += a[i][j];
    std::cout << sum << " " << data[5] << " " << x.data_ptr<float>()[5] << "\n";
  }
  std::cout << freed << "\n";
  torch::Tensor y = torch::arange(6);
  y.resize_({2, 2});
  std::cout << y << "\n";
  const torch::Tensor handle = y;
  y.set_data(torch::ones({3}));
  std::cout << handle << "\n";
}

int main() {
  creation();
  anatomy();
  types();
  devices();
  memory();
}
