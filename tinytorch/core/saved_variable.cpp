// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/saved_variable.h"

#include "tinytorch/core/grad_mode.h"

namespace tinytorch {

void SavedVariable::save(const Tensor& tensor, bool is_output) {
  is_output_ = is_output;
  was_defined_ = tensor.defined();
  if (!was_defined_) return;
  TORCH_CHECK(!is_inference(tensor), "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation tracked by "
              "autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`.");
  saved_version_ = tensor.storage()->version.load();
  if (!is_output) grad_fn_ = history(tensor);
  // A handle on a tensor that is not a leaf would be a cycle once that tensor is written to and gets a new history.
  data_ = is_output || grad_fn_ ? tensor.detach() : tensor;
  if (const AutogradMeta* const meta = autograd_meta(tensor)) output_nr_ = meta->output_nr;
}

// The tensor as it was saved, with its history if recording is on. Throws Error if it was freed or has been written to since. O(1), copies nothing.
Tensor SavedVariable::unpack(Node& owner) const {
  TORCH_CHECK(!released_,
              "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). "
              "Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
              "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after "
              "calling backward.");
  if (!was_defined_) return {};
  const std::uint32_t version = data_.storage()->version.load();
  const Node* const maker = is_output_ ? &owner : grad_fn_.get();
  TORCH_CHECK(version == saved_version_, "one of the variables needed for gradient computation has been modified by an inplace operation: [CPU",
              data_.scalar_type(), "Type ", data_.sizes(), "]",
              maker ? ", which is output " + std::to_string(output_nr_) + " of " + maker->name() + "," : std::string(), " is at version ", version,
              "; expected version ", saved_version_, " instead.\n", owner.name(),
              " saved it in the forward pass: use the out-of-place form of the later operator, or clone() before it.");
  if (!GradMode::is_enabled() || (!is_output_ && !grad_fn_)) return data_;
  const Tensor attached = data_.detach();
  AutogradMeta& meta = materialize_autograd_meta(attached);
  meta.grad_fn = is_output_ ? owner.shared_from_this() : grad_fn_;
  meta.output_nr = output_nr_;
  attached.impl().layers = attached.impl().layers | Layer::Autograd;
  return attached;
}

}  // namespace tinytorch
