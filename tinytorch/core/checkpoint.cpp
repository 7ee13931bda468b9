// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/checkpoint.h"

#include "tinytorch/core/autograd.h"

namespace tinytorch {

namespace {
// The default generator as `past` for a scope; after it, as it was before.
class GeneratorGuard {
 public:
  explicit GeneratorGuard(const Generator& past) : present_(default_generator().state()) { default_generator().set_state(past.state()); }
  ~GeneratorGuard() { default_generator().set_state(present_); }
  GeneratorGuard(const GeneratorGuard&) = delete;
  GeneratorGuard& operator=(const GeneratorGuard&) = delete;

 private:
  std::string present_;
};

class CheckpointNode : public Node {
 public:
  CheckpointNode(std::function<Tensor(const Tensor&)> block, const Tensor& input)
      : block_(std::move(block)), input_(input, false), generator_(default_generator().clone()) {
    set_next_edges({gradient_edge(input)});
  }
  std::string name() const override { return "CheckpointBackward"; }
  variable_list apply(variable_list&& grads) override;
  void release_variables() override { input_.reset(); }

 private:
  std::function<Tensor(const Tensor&)> block_;
  SavedVariable input_;
  Generator generator_;  // as it stood before the first run
};
}  // namespace

// Runs the block again, with recording, and goes back through it with the gradient that arrived. Returns the gradient of the input; parameters inside accumulate.
variable_list CheckpointNode::apply(variable_list&& grads) {
  if (!grads[0].defined()) return {Tensor()};
  const AutoGradMode recording(true);
  const Tensor input = input_.unpack(*this).detach().requires_grad_();
  Tensor output;
  {
    const GeneratorGuard guard(generator_);
    output = block_(input);
  }
  autograd::backward({output}, {grads[0]});
  return {input.grad()};
}

Tensor autograd::checkpoint(const std::function<Tensor(const Tensor&)>& f, const Tensor& input) {
  TORCH_CHECK(input.requires_grad() || !GradMode::is_enabled(), "None of the inputs have requires_grad=True. Gradients will be None\n"
              "[checkpoint] the block would be computed without a way back; call input.requires_grad_() if parameters inside shall learn.");
  if (!GradMode::is_enabled()) return f(input);
  const auto node = make_node<CheckpointNode>(f, input);
  Tensor output;
  {
    const NoGradGuard no_grad;
    output = f(input);
  }
  set_history(output, node);
  return output;
}

}  // namespace tinytorch
