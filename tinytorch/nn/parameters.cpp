// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/parameters.h"

#include <ostream>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

void nn::ParameterDictImpl::clear() { parameters_.clear(); }
std::vector<std::string> nn::ParameterDictImpl::keys() const { return parameters_.keys(); }
std::vector<Tensor> nn::ParameterDictImpl::values() const { return parameters_.values(); }
bool nn::ParameterDictImpl::contains(const std::string& key) const noexcept { return parameters_.contains(key); }
Tensor& nn::ParameterDictImpl::get(const std::string& key) { return parameters_[key]; }
const Tensor& nn::ParameterDictImpl::get(const std::string& key) const { return parameters_[key]; }
Tensor& nn::ParameterDictImpl::operator[](const std::string& key) { return parameters_[key]; }
const Tensor& nn::ParameterDictImpl::operator[](const std::string& key) const { return parameters_[key]; }

namespace {
void print_parameters(std::ostream& stream, const char* name, const OrderedDict<std::string, Tensor>& parameters) {
  stream << "torch::nn::" << name << "(\n";
  for (const auto& item : parameters)
    stream << '(' << item.key() << "): Parameter containing: [" << item->scalar_type() << " of size " << item->sizes() << "]\n";
  stream << ')';
}

// A parameter of its own with the values of `parameter`.
Tensor copied(const Tensor& parameter) { return parameter.detach().clone().requires_grad_(parameter.requires_grad()); }
}  // namespace

void nn::ParameterListImpl::append(const Tensor& parameter) {
  register_parameter(std::to_string(size()), parameter, parameter.requires_grad());
}

std::shared_ptr<nn::Module> nn::ParameterListImpl::clone(const std::optional<Device>& device) const {
  const auto copy = std::make_shared<ParameterListImpl>();
  for (const auto& item : parameters_) copy->append(copied(item.value()));
  copy->train(is_training());
  if (device) copy->to(*device);
  return copy;
}

void nn::ParameterListImpl::pretty_print(std::ostream& stream) const { print_parameters(stream, "ParameterList", parameters_); }

Tensor& nn::ParameterListImpl::at(std::size_t index) {
  TORCH_CHECK(index < size(), "Index out of range\n[ParameterList] asked for ", index, " of ", size());
  return parameters_[std::to_string(index)];
}
const Tensor& nn::ParameterListImpl::at(std::size_t index) const {
  TORCH_CHECK(index < size(), "Index out of range\n[ParameterList] asked for ", index, " of ", size());
  return parameters_[std::to_string(index)];
}

nn::ParameterDictImpl::ParameterDictImpl(const OrderedDict<std::string, Tensor>& parameters) {
  for (const auto& item : parameters) insert(item.key(), item.value());
}

Tensor& nn::ParameterDictImpl::insert(const std::string& key, const Tensor& parameter) {
  return register_parameter(key, parameter, parameter.requires_grad());
}

Tensor nn::ParameterDictImpl::pop(const std::string& key) {
  Tensor parameter = parameters_[key];
  parameters_.erase(key);
  return parameter;
}

std::shared_ptr<nn::Module> nn::ParameterDictImpl::clone(const std::optional<Device>& device) const {
  const auto copy = std::make_shared<ParameterDictImpl>();
  for (const auto& item : parameters_) copy->insert(item.key(), copied(item.value()));
  copy->train(is_training());
  if (device) copy->to(*device);
  return copy;
}

void nn::ParameterDictImpl::pretty_print(std::ostream& stream) const { print_parameters(stream, "ParameterDict", parameters_); }

Tensor nn::utils::parameters_to_vector(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> pieces;
  for (const Tensor& parameter : parameters) pieces.push_back(parameter.view({-1}));
  return cat(pieces);
}

void nn::utils::vector_to_parameters(const Tensor& vec, const std::vector<Tensor>& parameters) {
  const AutoDispatchBelowAutograd guard;
  std::int64_t start = 0;
  for (const Tensor& parameter : parameters) {
    parameter.set_data(vec.slice(0, start, start + parameter.numel()).view(parameter.sizes()));
    start += parameter.numel();
  }
}

}  // namespace tinytorch
