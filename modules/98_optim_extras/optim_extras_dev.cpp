// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 98: More optimizers and schedules
//
// Module 06 builds the optimizers that train most networks. This chapter adds one of another kind, L-BFGS, which calls the loss several times per step and learns the curvature from the gradients it sees, and the schedules that training recipes name.
//
//     rate  StepLR, MultiStepLR      LinearLR, then cosine         OneCycleLR              ReduceLROnPlateau
//           ──┐                         ╭─╮                          ╱╲                     ──────┐   falls when the metric
//             └──┐                     ╱   ╲                        ╱  ╲                          └───┐  has not got better
//                └────                ╱     ╰──                    ╱    ╰──                           └─  for `patience` epochs

// %%
//| after 06
//| export optim/lbfgs.h
#include "tinytorch/optim/optimizer.h"
//| export optim/lbfgs.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include "tinytorch/core/more_ops.h"
//| export optim/schedulers.h
#include <memory>
#include "tinytorch/core/arg.h"
#include "tinytorch/optim/lr_scheduler.h"
//| export optim/schedulers.cpp
#include <algorithm>
#include <cmath>
//| export optim/reduce_on_plateau.h
#include "tinytorch/optim/optimizer.h"
//| export optim/reduce_on_plateau.cpp
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <limits>

// %%
#include "tito/lesson.h"
#include <cmath>
#include <limits>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/optim/adam.h"
#include "tinytorch/optim/sgd.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## L-BFGS
//
// Newton's method divides the gradient by the curvature: `p -= H^-1 g`, where H is the matrix of second derivatives. It needs no learning rate and goes through a ravine in one step, but H has n^2 elements. L-BFGS never stores a matrix. Between two points it sees
// how far it went, `s`, and how the gradient changed, `y`; since `y = H s` for a quadratic, each pair says what H does in one direction. From the last `history_size` pairs it computes `H^-1 g` by two loops of dot products.
//
//     newest pair first                                     oldest pair first
//     q = g                                                 r = q * (s.y / y.y)          a scalar for all other directions
//     for each pair:  a = s.q / s.y;  q = q - a y    ->     for each pair:  b = y.r / s.y;  r = r + (a - b) s        ->  direction -r
//
// Memory: 2 * history_size vectors of the size of all parameters (200 with the default: compare Adam's 2). Each step is O(history_size * n) beside the calls of the loss. It wants the *exact* loss: with a new batch in each call, `y` is noise. So it belongs to
// small problems with all data at once, fine-tuning of physics, style transfer, and least squares.

// %%
//| export optim/lbfgs.h
namespace optim {

struct LBFGSOptions : public OptimizerCloneableOptions<LBFGSOptions> {
  LBFGSOptions(double lr = 1);
  TORCH_ARG(double, lr);
  TORCH_ARG(std::int64_t, max_iter) = 20;                          // iterations in one step()
  TORCH_ARG(std::optional<std::int64_t>, max_eval) = std::nullopt;  // calls of the closure in one step(); by default max_iter * 5 / 4
  TORCH_ARG(double, tolerance_grad) = 1e-7;                        // ends when no element of the gradient is larger
  TORCH_ARG(double, tolerance_change) = 1e-9;                      // ends when neither parameters nor loss change more
  TORCH_ARG(std::int64_t, history_size) = 100;
  TORCH_ARG(std::optional<std::string>, line_search_fn) = std::nullopt;  // "strong_wolfe" or none: steps of length lr

 public:
  Fields fields() override;
};

// All parameters are one vector here; its state is kept under the first of them.
struct LBFGSParamState : public OptimizerCloneableParamState<LBFGSParamState> {
  TORCH_ARG(std::int64_t, func_evals) = 0;
  TORCH_ARG(std::int64_t, n_iter) = 0;
  TORCH_ARG(double, t) = 0;          // the last step length
  TORCH_ARG(double, prev_loss) = 0;
  TORCH_ARG(Tensor, d);              // the last direction
  TORCH_ARG(Tensor, H_diag);         // s.y / y.y of the newest pair
  TORCH_ARG(Tensor, prev_flat_grad);
  TORCH_ARG(std::deque<Tensor>, old_dirs);  // y, oldest first
  TORCH_ARG(std::deque<Tensor>, old_stps);  // s
  TORCH_ARG(std::deque<Tensor>, ro);        // 1 / (s.y)

 public:
  Fields fields() override;
  bool spans_all_parameters() const override { return true; }
};

// Limited-memory BFGS. step() needs a closure that clears the gradients, computes the loss and calls backward(); it is called up to max_eval times.
// One parameter group only. Source: Nocedal 1980; torch/csrc/api/src/optim/lbfgs.cpp.
class LBFGS : public Optimizer {
 public:
  LBFGS(std::vector<OptimizerParamGroup> groups, LBFGSOptions defaults = {});
  LBFGS(std::vector<Tensor> params, LBFGSOptions defaults = {});
  Tensor step(LossClosure closure) override;
  std::string name() const override { return "LBFGS"; }
  std::unique_ptr<OptimizerParamState> make_state() const override;

 private:
  Tensor flat_grad() const;
  void move_parameters(const Tensor& direction, double t);
};

}  // namespace optim

// %%
//| export optim/lbfgs.cpp
optim::LBFGSOptions::LBFGSOptions(double lr) : lr_(lr) {}
optim::Fields optim::LBFGSOptions::fields() {
  return {{"lr", &lr_}, {"max_iter", &max_iter_}, {"max_eval", &max_eval_}, {"tolerance_grad", &tolerance_grad_}, {"tolerance_change", &tolerance_change_},
          {"history_size", &history_size_}, {"line_search_fn", &line_search_fn_}};
}
optim::Fields optim::LBFGSParamState::fields() {
  return {{"func_evals", &func_evals_}, {"n_iter", &n_iter_}, {"t", &t_}, {"prev_loss", &prev_loss_}, {"d", &d_}, {"H_diag", &H_diag_},
          {"prev_flat_grad", &prev_flat_grad_}, {"old_dirs", &old_dirs_}, {"old_stps", &old_stps_}, {"ro", &ro_}};
}
optim::LBFGS::LBFGS(std::vector<Tensor> params, LBFGSOptions defaults) : LBFGS({OptimizerParamGroup(std::move(params))}, std::move(defaults)) {}
std::unique_ptr<optim::OptimizerParamState> optim::LBFGS::make_state() const { return std::make_unique<LBFGSParamState>(); }

optim::LBFGS::LBFGS(std::vector<OptimizerParamGroup> groups, LBFGSOptions defaults) : Optimizer(std::move(groups), std::make_unique<LBFGSOptions>(defaults)) {
  TORCH_CHECK(param_groups_.size() == 1, "LBFGS doesn't support per-parameter options (parameter groups)");
  TORCH_CHECK(defaults.lr() >= 0, "Invalid learning rate: ", defaults.lr());
  auto& options = static_cast<LBFGSOptions&>(param_groups_[0].options());
  if (!options.max_eval()) options.max_eval(options.max_iter() * 5 / 4);
}

// The gradients of all parameters in one vector; zeros where there is none.
Tensor optim::LBFGS::flat_grad() const {
  std::vector<Tensor> pieces;
  for (const Tensor& parameter : parameters())
    pieces.push_back(parameter.grad().defined() ? parameter.grad().reshape({-1}) : zeros({parameter.numel()}, parameter.scalar_type()));
  return cat(pieces, 0);
}

void optim::LBFGS::move_parameters(const Tensor& direction, double t) {
  std::int64_t offset = 0;
  for (const Tensor& parameter : parameters()) {
    parameter.add_(direction.narrow(0, offset, parameter.numel()).view(parameter.sizes()), t);
    offset += parameter.numel();
  }
}

// %%
//| export optim/lbfgs.cpp
namespace {
// Remembers the pair of the last step, if its curvature is positive: others would make the next direction point uphill.
void remember_pair(optim::LBFGSParamState& state, const Tensor& grad, std::int64_t history_size) {
  const Tensor y = grad.sub(state.prev_flat_grad());
  const Tensor s = state.d().mul(state.t());
  const Tensor ys = y.dot(s);
  if (!(ys.item<double>() > 1e-10)) return;
  if (static_cast<std::int64_t>(state.old_dirs().size()) == history_size) {
    state.old_dirs().pop_front();
    state.old_stps().pop_front();
    state.ro().pop_front();
  }
  state.old_dirs().push_back(y);
  state.old_stps().push_back(s);
  state.ro().push_back(ys.reciprocal());
  state.H_diag(ys / y.dot(y));
}

// -H^-1 grad by the two loops.
Tensor search_direction(optim::LBFGSParamState& state, const Tensor& grad) {
  const std::size_t pairs = state.old_dirs().size();
  std::vector<double> a(pairs);
  const Tensor q = grad.neg();
  for (std::size_t i = pairs; i-- > 0;) {
    a[i] = (state.old_stps()[i].dot(q) * state.ro()[i]).item<double>();
    q.add_(state.old_dirs()[i], -a[i]);
  }
  const Tensor r = q.mul(state.H_diag());
  for (std::size_t i = 0; i < pairs; ++i) {
    const double b = (state.old_dirs()[i].dot(r) * state.ro()[i]).item<double>();
    r.add_(state.old_stps()[i], a[i] - b);
  }
  return r;
}
}  // namespace

// %% [markdown]
// ### The strong Wolfe line search
//
// The direction is good; how far to go along it? A step is accepted when the loss has fallen by at least a part of what the slope promised (not too far), and when the slope there has become flat (not too short):
//
//     loss along the line            f(t) <= f(0) + 1e-4 t f'(0)       |f'(t)| <= 0.9 |f'(0)|
//      |\                            . . . . the sloping line . . . .
//      | \        __/
//      |  \__    /                   too short | accepted | too far
//      |     \__/                    ----------+----------+---------> t
//
// First the step grows until the interval must hold such a point (bracketing), then the interval shrinks around the minimum of the cubic that has the losses and slopes of both ends (zooming). Every trial is one call of the closure.

// %%
//| export optim/lbfgs.cpp
namespace {
// A trial on the line: how far, the loss there, the gradient, and the slope along the direction.
struct LinePoint {
  double t = 0;
  double loss = 0;
  Tensor grad;
  double slope = 0;
};

// Where the cubic through both points, with their slopes, has its minimum, within [least, most].
double cubic_minimum(const LinePoint& a, const LinePoint& b, double least, double most) {
  const double d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t);
  const double square = d1 * d1 - a.slope * b.slope;
  if (!(square >= 0)) return (least + most) / 2;
  const double d2 = std::sqrt(square);
  const double t = a.t <= b.t ? b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
                              : a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2));
  return std::min(std::max(t, least), most);
}

class StrongWolfe {
 public:
  using Trial = std::function<LinePoint(double t)>;

  StrongWolfe(Trial trial, LinePoint start, double direction_size, double tolerance_change, std::int64_t max_trials)
      : trial_(std::move(trial)), start_(std::move(start)), direction_size_(direction_size), tolerance_change_(tolerance_change), max_trials_(max_trials) {}

  // The accepted point, or the best one when the trials are used up.
  LinePoint search(double t) {
    if (!bracket(t)) zoom();
    return ends_[low_];
  }
  std::int64_t evaluations() const { return evaluations_; }

 private:
  LinePoint try_at(double t) {
    ++evaluations_;
    return trial_(t);
  }
  bool too_high(const LinePoint& point) const { return point.loss > start_.loss + 1e-4 * point.t * start_.slope; }
  bool flat_enough(const LinePoint& point) const { return std::abs(point.slope) <= -0.9 * start_.slope; }
  void set_ends(const LinePoint& first, const LinePoint& second) {
    ends_ = {first, second};
    low_ = first.loss <= second.loss ? 0 : 1;
  }
  bool bracket(double t);
  void zoom();
  double next_trial();

  Trial trial_;
  LinePoint start_;
  double direction_size_, tolerance_change_;
  std::int64_t max_trials_;
  std::int64_t trials_ = 0;
  std::int64_t evaluations_ = 0;
  std::array<LinePoint, 2> ends_;
  std::size_t low_ = 0;  // the end with the lower loss
  bool too_near_ = false;
};

// Lengthens the step until an interval holds an acceptable point. True if it met one on the way.
bool StrongWolfe::bracket(double t) {
  LinePoint previous = start_;
  LinePoint now = try_at(t);
  for (; trials_ < max_trials_; ++trials_) {
    if (too_high(now) || (trials_ > 1 && now.loss >= previous.loss)) return set_ends(previous, now), false;
    if (flat_enough(now)) return set_ends(now, now), true;
    if (now.slope >= 0) return set_ends(previous, now), false;
    const double next = cubic_minimum(previous, now, now.t + 0.01 * (now.t - previous.t), now.t * 10);
    previous = now;
    now = try_at(next);
  }
  set_ends(start_, now);
  return false;
}

// The cubic's minimum; moved inwards when it lies close to an end for the second time, so that the interval does shrink.
double StrongWolfe::next_trial() {
  const auto [least, most] = std::minmax(ends_[0].t, ends_[1].t);
  const double t = cubic_minimum(ends_[0], ends_[1], least, most);
  const double margin = 0.1 * (most - least);
  if (std::min(most - t, t - least) >= margin) {
    too_near_ = false;
    return t;
  }
  if (!too_near_ && t < most && t > least) {
    too_near_ = true;
    return t;
  }
  too_near_ = false;
  return std::abs(t - most) < std::abs(t - least) ? most - margin : least + margin;
}

void StrongWolfe::zoom() {
  while (trials_ < max_trials_ && !(std::abs(ends_[1].t - ends_[0].t) * direction_size_ < tolerance_change_)) {
    const LinePoint now = try_at(next_trial());
    ++trials_;
    const std::size_t high = 1 - low_;
    if (too_high(now) || now.loss >= ends_[low_].loss) {
      ends_[high] = now;
      low_ = ends_[0].loss <= ends_[1].loss ? 0 : 1;
      continue;
    }
    if (flat_enough(now)) {
      ends_[low_] = now;
      return;
    }
    if (now.slope * (ends_[high].t - ends_[low_].t) >= 0) ends_[high] = ends_[low_];
    ends_[low_] = now;
  }
}
}  // namespace

// %%
//| export optim/lbfgs.cpp
Tensor optim::LBFGS::step(LossClosure closure) {
  TORCH_CHECK(closure != nullptr, "LBFGS requires a closure function\n[LBFGS] step() calls it several times: clear the gradients, compute the loss, call backward(), return the loss.");
  const NoGradGuard no_grad;
  const auto& options = static_cast<const LBFGSOptions&>(param_groups_[0].options());
  if (parameters().empty()) return evaluate(closure);
  auto& state = state_of<LBFGSParamState>(parameters()[0]);

  const Tensor first_loss = evaluate(closure);
  double loss = first_loss.item<double>();
  std::int64_t evaluations = 1;
  state.func_evals(state.func_evals() + 1);
  Tensor grad = flat_grad();
  const auto converged = [&] { return grad.abs().max().item<double>() <= options.tolerance_grad(); };
  if (converged()) return first_loss;

  for (std::int64_t iteration = 1; iteration <= options.max_iter(); ++iteration) {
    // Direction.
    state.n_iter(state.n_iter() + 1);
    const bool very_first = state.n_iter() == 1;
    if (very_first) {
      state.d(grad.neg());
      state.H_diag(ones({}, grad.scalar_type()));
    } else {
      remember_pair(state, grad, options.history_size());
      state.d(search_direction(state, grad));
    }
    state.prev_flat_grad(grad.clone());
    state.prev_loss(loss);
    state.t(very_first ? std::min(1.0, 1.0 / grad.abs().sum().item<double>()) * options.lr() : options.lr());
    const double slope = grad.dot(state.d()).item<double>();
    if (slope > -options.tolerance_change()) break;

    // How far.
    std::int64_t calls = 0;
    if (options.line_search_fn()) {
      TORCH_CHECK(*options.line_search_fn() == "strong_wolfe", "only 'strong_wolfe' is supported");
      std::vector<Tensor> origin;
      for (const Tensor& parameter : parameters()) origin.push_back(parameter.detach().clone());
      const auto trial = [&](double t) {
        move_parameters(state.d(), t);
        LinePoint point{t, evaluate(closure).item<double>(), flat_grad(), 0};
        point.slope = point.grad.dot(state.d()).item<double>();
        for (std::size_t i = 0; i < origin.size(); ++i) parameters()[i].copy_(origin[i]);
        return point;
      };
      StrongWolfe line(trial, {0, loss, grad, slope}, state.d().abs().max().item<double>(), 1e-9, *options.max_eval() - evaluations);
      const LinePoint accepted = line.search(state.t());
      state.t(accepted.t);
      loss = accepted.loss;
      grad = accepted.grad;
      calls = line.evaluations();
      move_parameters(state.d(), state.t());
    } else {
      move_parameters(state.d(), state.t());
      if (iteration != options.max_iter()) {  // with a new batch in the next step(), a last call would be of no use
        loss = evaluate(closure).item<double>();
        grad = flat_grad();
        calls = 1;
      }
    }
    evaluations += calls;
    state.func_evals(state.func_evals() + calls);
    if (evaluations >= *options.max_eval() || converged()) break;
    if (state.d().mul(state.t()).abs().max().item<double>() <= options.tolerance_change()) break;
    if (std::abs(loss - state.prev_loss()) < options.tolerance_change()) break;
  }
  return first_loss;
}

// %%
//| lesson
// Rosenbrock's valley, which bends: (1 - x)^2 + 100 (y - x^2)^2, with its minimum 0 at (1, 1).
Tensor rosenbrock(const Tensor& p) { return (p[0] * -1.0 + 1.0).pow(2) + (p[1] - p[0].pow(2)).pow(2) * 100.0; }

// %%
TEST_CASE("LBFGS: through Rosenbrock's valley in a few dozen calls; plain descent is still far away after a thousand") {
  const auto run = [](optim::Optimizer& optimizer, const Tensor& p, int steps) {
    int calls = 0;
    for (int i = 0; i < steps; ++i)
      optimizer.step([&] {
        ++calls;
        optimizer.zero_grad();
        const Tensor loss = rosenbrock(p);
        loss.backward();
        return loss;
      });
    return std::pair(rosenbrock(p).item<double>(), calls);
  };
  const Tensor p = tensor({-1.2, 1.0}, kDouble);
  p.requires_grad_();
  optim::LBFGS lbfgs({p}, optim::LBFGSOptions(1.0).line_search_fn("strong_wolfe"));
  const auto [loss, calls] = run(lbfgs, p, 4);
  CHECK_LT(loss, 1e-8);
  CHECK_LT(calls, 100);
  const Tensor q = tensor({-1.2, 1.0}, kDouble);
  q.requires_grad_();
  optim::SGD sgd({q}, 1e-3);
  CHECK_GT(run(sgd, q, 1000).first, 0.01);
}

// %%
TEST_CASE("LBFGS: what it refuses, and what it forgets") {
  const Tensor p = tensor({3.0, -2.0}, kDouble);
  p.requires_grad_();
  CHECK_ERROR(optim::LBFGS({p}).step(nullptr), "LBFGS requires a closure function");
  CHECK_ERROR(optim::LBFGS({optim::OptimizerParamGroup({p}), optim::OptimizerParamGroup({ones({1})})}), "LBFGS doesn't support per-parameter options");
  optim::LBFGS optimizer({p}, optim::LBFGSOptions(0.3).max_iter(10).history_size(2));
  const auto closure = [&] {
    optimizer.zero_grad();
    const Tensor loss = (p * p * tensor({1.0, 10.0}, kDouble)).sum() + p.pow(4).sum();
    loss.backward();
    return loss;
  };
  const double before = optimizer.step(closure).item<double>();
  CHECK_LT(closure().item<double>(), before);
  const auto& state = static_cast<const optim::LBFGSParamState&>(*optimizer.state().at(p.unsafeGetTensorImpl()));
  CHECK_EQ(state.n_iter(), 10);
  CHECK_EQ(state.old_dirs().size(), 2);
  CHECK_EQ(static_cast<const optim::LBFGSOptions&>(optimizer.param_groups()[0].options()).max_eval().value(), 12);
  optim::LBFGS searching({p}, optim::LBFGSOptions(1.0).line_search_fn("golden_section"));
  CHECK_ERROR(searching.step(closure), "only 'strong_wolfe' is supported");
}

// %% [markdown]
// ## Schedules by step number
//
// `StepLR` and `CosineAnnealingLR` are in module 06. These follow PyTorch's Python classes of the same names (libtorch has none of them), number by number. Schedules from the *present* rate keep a change by hand; those from the *first* rate are formulas of the step number, so
// that resuming needs that number only.
//
//     from the present rate:  MultiStepLR, ExponentialLR               from the first rate:  all others
//
// A warm-up starts with a small rate because Adam's second moment and a network's normalization statistics are still guesses; one cycle raises the rate far above what would be stable at the beginning, and takes momentum down while the rate is high.

// %%
//| export optim/schedulers.h
namespace optim {

// Multiplies the rate by gamma at each milestone (several times at one that is named several times).
class MultiStepLR : public LRScheduler {
 public:
  MultiStepLR(Optimizer& optimizer, std::vector<unsigned> milestones, double gamma = 0.1);

 private:
  std::vector<double> get_lrs() override;
  std::vector<unsigned> milestones_;
  double gamma_;
};

// Multiplies the rate by gamma in every step.
class ExponentialLR : public LRScheduler {
 public:
  ExponentialLR(Optimizer& optimizer, double gamma);

 private:
  std::vector<double> get_lrs() override;
  double gamma_;
};

// The first rate times factor for total_iters steps, and then the first rate itself.
class ConstantLR : public LRScheduler {
 public:
  ConstantLR(Optimizer& optimizer, double factor = 1.0 / 3, unsigned total_iters = 5);

 private:
  std::vector<double> get_lrs() override;
  double factor_;
  unsigned total_iters_;
};

// From the first rate times start_factor to the first rate times end_factor, in a straight line over total_iters steps: a warm-up.
class LinearLR : public LRScheduler {
 public:
  LinearLR(Optimizer& optimizer, double start_factor = 1.0 / 3, double end_factor = 1.0, unsigned total_iters = 5);

 private:
  std::vector<double> get_lrs() override;
  double start_factor_, end_factor_;
  unsigned total_iters_;
};

// Half a cosine down to eta_min over T_0 steps, then again from the first rate, each time T_mult times as long.
// Source: Loshchilov and Hutter 2017.
class CosineAnnealingWarmRestarts : public LRScheduler {
 public:
  CosineAnnealingWarmRestarts(Optimizer& optimizer, unsigned T_0, unsigned T_mult = 1, double eta_min = 0);

 private:
  std::vector<double> get_lrs() override;
  unsigned T_0_, T_mult_;
  double eta_min_;
};

struct OneCycleLROptions {
  OneCycleLROptions(double max_lr, unsigned total_steps) : max_lr_(max_lr), total_steps_(total_steps) {}
  TORCH_ARG(double, max_lr);
  TORCH_ARG(unsigned, total_steps);
  TORCH_ARG(double, pct_start) = 0.3;           // the part of the cycle in which the rate rises
  TORCH_ARG(bool, linear) = false;              // straight lines instead of cosines
  TORCH_ARG(bool, cycle_momentum) = true;       // momentum (or beta1) falls while the rate rises
  TORCH_ARG(double, base_momentum) = 0.85;
  TORCH_ARG(double, max_momentum) = 0.95;
  TORCH_ARG(double, div_factor) = 25;           // the first rate is max_lr / div_factor
  TORCH_ARG(double, final_div_factor) = 1e4;    // the last one is the first / final_div_factor
  TORCH_ARG(bool, three_phase) = false;         // up, down to the first rate in the same time, and then down to the last
};

// One rise of the rate and one fall, for the whole training: to be stepped after each batch. Source: Smith and Topin 2019.
class OneCycleLR : public LRScheduler {
 public:
  OneCycleLR(Optimizer& optimizer, OneCycleLROptions options);

 private:
  struct Phase {
    double end_step;
    double start_lr, end_lr;
    double start_momentum, end_momentum;
  };
  std::vector<double> get_lrs() override;
  void set_momentum(double value);
  OneCycleLROptions options_;
  std::vector<Phase> phases_;
};

// One scheduler after the other: schedulers[i] runs from milestones[i - 1] (0 for the first) and begins there at its own step 0. Make them before this one,
// on the same optimizer, and step only this one.
class SequentialLR : public LRScheduler {
 public:
  SequentialLR(Optimizer& optimizer, std::vector<std::shared_ptr<LRScheduler>> schedulers, std::vector<unsigned> milestones);
  void set_step_count(unsigned count) override;

 private:
  std::vector<double> get_lrs() override;
  // Which scheduler runs at a step, and the step at which it began.
  std::pair<std::size_t, unsigned> running_at(unsigned step) const;
  std::vector<std::shared_ptr<LRScheduler>> schedulers_;
  std::vector<unsigned> milestones_;
};

}  // namespace optim

// %%
//| export optim/schedulers.cpp
namespace {
std::vector<double> scaled(std::vector<double> rates, double factor) {
  for (double& rate : rates) rate *= factor;
  return rates;
}

// From `start` at 0 to `end` at 1 along half a cosine.
double half_cosine(double start, double end, double progress) { return end + (start - end) / 2 * (std::cos(std::acos(-1.0) * progress) + 1); }
}  // namespace

optim::MultiStepLR::MultiStepLR(Optimizer& optimizer, std::vector<unsigned> milestones, double gamma)
    : LRScheduler(optimizer, true), milestones_(std::move(milestones)), gamma_(gamma) {}

std::vector<double> optim::MultiStepLR::get_lrs() {
  const auto times = std::count(milestones_.begin(), milestones_.end(), step_count_);
  return scaled(get_current_lrs(), std::pow(gamma_, static_cast<double>(times)));
}

optim::ExponentialLR::ExponentialLR(Optimizer& optimizer, double gamma) : LRScheduler(optimizer, true), gamma_(gamma) {}

std::vector<double> optim::ExponentialLR::get_lrs() { return scaled(get_current_lrs(), step_count_ == 0 ? 1.0 : gamma_); }

optim::ConstantLR::ConstantLR(Optimizer& optimizer, double factor, unsigned total_iters) : LRScheduler(optimizer, true), factor_(factor), total_iters_(total_iters) {
  TORCH_CHECK_VALUE(factor >= 0 && factor <= 1, "Constant multiplicative factor expected to be between 0 and 1.");
  start();
}

std::vector<double> optim::ConstantLR::get_lrs() { return scaled(base_lrs_, step_count_ < total_iters_ ? factor_ : 1.0); }

optim::LinearLR::LinearLR(Optimizer& optimizer, double start_factor, double end_factor, unsigned total_iters)
    : LRScheduler(optimizer, true), start_factor_(start_factor), end_factor_(end_factor), total_iters_(total_iters) {
  TORCH_CHECK_VALUE(start_factor > 0 && start_factor <= 1, "Starting multiplicative factor expected to be greater than 0 and less or equal to 1.");
  TORCH_CHECK_VALUE(end_factor >= 0 && end_factor <= 1, "Ending multiplicative factor expected to be between 0 and 1.");
  TORCH_CHECK_VALUE(total_iters > 0, "LinearLR needs total_iters of at least 1, but got 0");
  start();
}

std::vector<double> optim::LinearLR::get_lrs() {
  const double progress = static_cast<double>(std::min(step_count_, total_iters_)) / total_iters_;
  return scaled(base_lrs_, start_factor_ + (end_factor_ - start_factor_) * progress);
}

optim::CosineAnnealingWarmRestarts::CosineAnnealingWarmRestarts(Optimizer& optimizer, unsigned T_0, unsigned T_mult, double eta_min)
    : LRScheduler(optimizer, true), T_0_(T_0), T_mult_(T_mult), eta_min_(eta_min) {
  TORCH_CHECK_VALUE(T_0 > 0, "Expected positive integer T_0, but got ", T_0);
  TORCH_CHECK_VALUE(T_mult >= 1, "Expected integer T_mult >= 1, but got ", T_mult);
}

std::vector<double> optim::CosineAnnealingWarmRestarts::get_lrs() {
  unsigned within = step_count_;  // steps since the last restart
  unsigned length = T_0_;
  if (T_mult_ == 1) within %= T_0_;
  for (; within >= length; length *= T_mult_) within -= length;
  std::vector<double> rates = base_lrs_;
  for (double& rate : rates) rate = half_cosine(rate, eta_min_, static_cast<double>(within) / length);
  return rates;
}

// %%
//| export optim/schedulers.cpp
optim::OneCycleLR::OneCycleLR(Optimizer& optimizer, OneCycleLROptions options) : LRScheduler(optimizer, true), options_(std::move(options)) {
  TORCH_CHECK_VALUE(options_.total_steps() > 0, "Expected positive integer total_steps, but got ", options_.total_steps());
  TORCH_CHECK_VALUE(options_.pct_start() >= 0 && options_.pct_start() <= 1, "Expected float between 0 and 1 pct_start, but got ", options_.pct_start());
  const double first = options_.max_lr() / options_.div_factor();
  const double last = first / options_.final_div_factor();
  const double high = options_.max_momentum(), low = options_.base_momentum();
  const double rise = options_.pct_start() * options_.total_steps();
  phases_.push_back({rise - 1, first, options_.max_lr(), high, low});
  if (options_.three_phase()) {
    phases_.push_back({2 * rise - 2, options_.max_lr(), first, low, high});
    phases_.push_back({options_.total_steps() - 1.0, first, last, high, high});
  } else {
    phases_.push_back({options_.total_steps() - 1.0, options_.max_lr(), last, low, high});
  }
  for (std::size_t i = 0; i < base_lrs_.size(); ++i) {
    base_lrs_[i] = first;
    optimizer_.param_groups()[i].initial_lr() = first;
  }
  start();
}

// Sets `momentum`, or `beta1`, of each group.
void optim::OneCycleLR::set_momentum(double value) {
  for (OptimizerParamGroup& group : optimizer_.param_groups()) {
    bool found = false;
    for (const auto& [name, field] : group.options().fields()) {
      if (name != "momentum" && name != "beta1") continue;
      *std::get<double*>(field) = value;
      found = true;
    }
    TORCH_CHECK_VALUE(found, "optimizer must support momentum or beta1 with `cycle_momentum` option enabled");
  }
}

std::vector<double> optim::OneCycleLR::get_lrs() {
  TORCH_CHECK_VALUE(step_count_ <= options_.total_steps(), "Tried to step ", step_count_, " times. The specified number of total steps is ", options_.total_steps());
  std::size_t i = 0;
  while (i + 1 < phases_.size() && step_count_ > phases_[i].end_step) ++i;
  const Phase& phase = phases_[i];
  const double begin = i == 0 ? 0.0 : phases_[i - 1].end_step;
  const double progress = (step_count_ - begin) / (phase.end_step - begin);
  const auto between = [&](double start_value, double end_value) {
    return options_.linear() ? start_value + (end_value - start_value) * progress : half_cosine(start_value, end_value, progress);
  };
  if (options_.cycle_momentum()) set_momentum(between(phase.start_momentum, phase.end_momentum));
  return std::vector<double>(base_lrs_.size(), between(phase.start_lr, phase.end_lr));
}

// %%
//| export optim/schedulers.cpp
optim::SequentialLR::SequentialLR(Optimizer& optimizer, std::vector<std::shared_ptr<LRScheduler>> schedulers, std::vector<unsigned> milestones)
    : LRScheduler(optimizer, true), schedulers_(std::move(schedulers)), milestones_(std::move(milestones)) {
  TORCH_CHECK_VALUE(!schedulers_.empty(), "SequentialLR expects at least one scheduler, but got no scheduler.");
  TORCH_CHECK_VALUE(milestones_.size() + 1 == schedulers_.size(),
                    "Sequential Schedulers expects number of schedulers provided to be one more than the number of milestone points, but got number of schedulers ",
                    schedulers_.size(), " and the number of milestones to be equal to ", milestones_.size());
  TORCH_CHECK_VALUE(std::is_sorted(milestones_.begin(), milestones_.end()), "SequentialLR expects milestones in ascending order");
  schedulers_[running_at(0).first]->start();
}

std::pair<std::size_t, unsigned> optim::SequentialLR::running_at(unsigned step) const {
  const auto next = std::upper_bound(milestones_.begin(), milestones_.end(), step);
  const auto index = static_cast<std::size_t>(next - milestones_.begin());
  return {index, index == 0 ? 0 : milestones_[index - 1]};
}

// The one that runs sets the rates itself.
std::vector<double> optim::SequentialLR::get_lrs() {
  const auto [index, begin] = running_at(step_count_);
  if (step_count_ == begin) {
    schedulers_[index]->start();
  } else {
    schedulers_[index]->step();
  }
  return get_current_lrs();
}

void optim::SequentialLR::set_step_count(unsigned count) {
  LRScheduler::set_step_count(count);
  const auto [index, begin] = running_at(count);
  schedulers_[index]->set_step_count(count - begin + schedulers_[index]->first_count());
}

// %%
TEST_CASE("schedules: warm-up, then restarting cosines; one number is enough to resume") {
  const Tensor p = ones({1});
  const auto rate = [](const optim::Optimizer& optimizer) { return optimizer.param_groups()[0].options().get_lr(); };
  const auto make = [](optim::Optimizer& optimizer) {
    return optim::SequentialLR(optimizer,
                               {std::make_shared<optim::LinearLR>(optimizer, 0.25, 1.0, 3), std::make_shared<optim::CosineAnnealingWarmRestarts>(optimizer, 2, 2, 0.1)}, {3});
  };
  optim::SGD optimizer({p}, 0.8);
  optim::SequentialLR schedule = make(optimizer);
  std::vector<double> rates = {rate(optimizer)};
  for (int i = 0; i < 9; ++i) {
    schedule.step();
    rates.push_back(rate(optimizer));
  }
  const double a = 0.45 + 0.35 * std::sqrt(0.5), b = 0.45 - 0.35 * std::sqrt(0.5);
  CHECK_CLOSE(tensor(rates, kDouble), tensor({0.2, 0.4, 0.6, 0.8, 0.45, 0.8, a, 0.45, b, 0.8}, kDouble), 1e-12, 1e-12);

  optim::SGD again({p}, 0.8);
  optim::SequentialLR resumed = make(again);
  resumed.set_step_count(5);
  for (int i = 6; i < 10; ++i) {
    resumed.step();
    CHECK_CLOSE(rate(again), rates[static_cast<std::size_t>(i)], 1e-12, 0.0);
  }
  CHECK_ERROR(optim::SequentialLR(again, {}, {}), "expects at least one scheduler");
  CHECK_ERROR(optim::LinearLR(again, 0.0), "Starting multiplicative factor expected");
}

// %%
TEST_CASE("OneCycleLR: the rate rises while momentum falls, for momentum and for beta1") {
  const Tensor p = ones({1}), q = ones({1});
  optim::SGD sgd({p}, optim::SGDOptions(0.1).momentum(0.9));
  optim::OneCycleLR cycle(sgd, optim::OneCycleLROptions(1.0, 10));
  const auto& options = static_cast<const optim::SGDOptions&>(sgd.param_groups()[0].options());
  CHECK_CLOSE(options.lr(), 0.04, 1e-12, 0.0);
  CHECK_CLOSE(options.momentum(), 0.95, 1e-12, 0.0);
  cycle.step();
  cycle.step();
  CHECK_CLOSE(options.lr(), 1.0, 1e-12, 0.0);
  CHECK_CLOSE(options.momentum(), 0.85, 1e-12, 0.0);
  for (int i = 2; i < 9; ++i) cycle.step();
  CHECK_CLOSE(options.lr(), 4e-6, 1e-12, 0.0);
  cycle.step();
  CHECK_ERROR(cycle.step(), "Tried to step 11 times. The specified number of total steps is 10");
  optim::AdamW adam({q});
  optim::OneCycleLR with_betas(adam, optim::OneCycleLROptions(1.0, 10).linear(true));
  CHECK_CLOSE(std::get<0>(static_cast<const optim::AdamWOptions&>(adam.param_groups()[0].options()).betas()), 0.95, 1e-12, 0.0);
}

// %% [markdown]
// ## A schedule by result
//
// `ReduceLROnPlateauScheduler` looks at a metric instead of the step number: after `patience` steps without a better one, the rate is multiplied by `factor`, and for `cooldown` steps nothing counts. It is the only schedule with a memory of its own (the best metric
// and two counters), so `fields()` lists it for a checkpoint.
//
//     metric   5   4   4   4   4   |   4   4         patience 2
//     bad      0   0   1   2   3 --+   1   2         the third bad step reduces the rate and starts to count again

// %%
//| export optim/reduce_on_plateau.h
namespace optim {

// libtorch's class. Two things are as in Python instead, where libtorch has them wrong: with `max` and `abs` a metric is better above best + threshold, and negative
// metrics can be a best for `max`; and the rate is computed in double, not with a float factor.
// Source: torch/csrc/api/include/torch/optim/schedulers/reduce_on_plateau_scheduler.h; torch/optim/lr_scheduler.py.
class ReduceLROnPlateauScheduler {
 public:
  enum SchedulerMode { min, max };
  enum ThresholdMode { rel, abs };
  // `min_lr` has one entry for each group, or none for 0.
  ReduceLROnPlateauScheduler(Optimizer& optimizer, SchedulerMode mode = min, double factor = 0.1, int patience = 10, double threshold = 1e-4,
                             ThresholdMode threshold_mode = rel, int cooldown = 0, const std::vector<float>& min_lr = {}, double eps = 1e-8,
                             bool verbose = false);
  void step(double metric);
  // What a checkpoint must hold; the rates are in the optimizer's groups.
  Fields fields();

 private:
  bool is_better(double metric) const;
  void reduce_lr();

  Optimizer& optimizer_;
  SchedulerMode mode_;
  double factor_;
  int patience_;
  double threshold_;
  ThresholdMode threshold_mode_;
  int cooldown_;
  std::vector<float> min_lrs_;
  double eps_;
  bool verbose_;
  double best_;
  std::int64_t last_epoch_ = 0;
  std::int64_t num_bad_epochs_ = 0;
  std::int64_t cooldown_counter_ = 0;
};

}  // namespace optim

// %%
//| export optim/reduce_on_plateau.cpp
optim::ReduceLROnPlateauScheduler::ReduceLROnPlateauScheduler(Optimizer& optimizer, SchedulerMode mode, double factor, int patience, double threshold,
                                                              ThresholdMode threshold_mode, int cooldown, const std::vector<float>& min_lr, double eps,
                                                              bool verbose)
    : optimizer_(optimizer), mode_(mode), factor_(factor), patience_(patience), threshold_(threshold), threshold_mode_(threshold_mode), cooldown_(cooldown),
      min_lrs_(min_lr.empty() ? std::vector<float>(optimizer.param_groups().size()) : min_lr), eps_(eps), verbose_(verbose),
      best_(mode == min ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity()) {
  TORCH_CHECK(min_lrs_.size() == optimizer.param_groups().size(), "Number of learning rates not equal to the number of param groups\nNumber of learning rates given: ",
              min_lrs_.size(), "\nNumber of param groups: ", optimizer.param_groups().size());
  TORCH_CHECK(factor < 1.0, "Factor should be < 1.0.");
}

void optim::ReduceLROnPlateauScheduler::step(double metric) {
  ++last_epoch_;
  if (is_better(metric)) {
    best_ = metric;
    num_bad_epochs_ = 0;
  } else {
    ++num_bad_epochs_;
  }
  if (cooldown_counter_ > 0) {
    --cooldown_counter_;
    num_bad_epochs_ = 0;
  }
  if (num_bad_epochs_ > patience_) {
    reduce_lr();
    cooldown_counter_ = cooldown_;
    num_bad_epochs_ = 0;
  }
}

optim::Fields optim::ReduceLROnPlateauScheduler::fields() {
  return {{"best", &best_}, {"last_epoch", &last_epoch_}, {"num_bad_epochs", &num_bad_epochs_}, {"cooldown_counter", &cooldown_counter_}};
}

bool optim::ReduceLROnPlateauScheduler::is_better(double metric) const {
  if (mode_ == min) return metric < (threshold_mode_ == rel ? best_ * (1 - threshold_) : best_ - threshold_);
  return metric > (threshold_mode_ == rel ? best_ * (1 + threshold_) : best_ + threshold_);
}

void optim::ReduceLROnPlateauScheduler::reduce_lr() {
  TORCH_CHECK(min_lrs_.size() == optimizer_.param_groups().size(), "The number of param groups in the `optimizer` (", optimizer_.param_groups().size(),
              ") differs from when `ReduceLROnPlateau` was initialized (", min_lrs_.size(), ")");
  for (std::size_t i = 0; i < min_lrs_.size(); ++i) {
    OptimizerOptions& options = optimizer_.param_groups()[i].options();
    const double reduced = std::max(options.get_lr() * factor_, static_cast<double>(min_lrs_[i]));
    if (options.get_lr() - reduced <= eps_) continue;
    options.set_lr(reduced);
    if (verbose_) std::cout << std::setprecision(4) << "Epoch " << last_epoch_ << ": reducing learning rate of group " << i << " to " << reduced << std::endl;
  }
}

// %%
TEST_CASE("ReduceLROnPlateauScheduler: patience, cooldown, the least rate, and both modes") {
  using optim::ReduceLROnPlateauScheduler;
  const Tensor p = ones({1});
  optim::SGD optimizer({p}, 0.8);
  ReduceLROnPlateauScheduler plateau(optimizer, ReduceLROnPlateauScheduler::min, 0.5, 1, 1e-4, ReduceLROnPlateauScheduler::rel, 1, {0.3f});
  std::vector<double> rates;
  for (const double metric : {5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 3.0}) {
    plateau.step(metric);
    rates.push_back(optimizer.param_groups()[0].options().get_lr());
  }
  CHECK_CLOSE(tensor(rates, kDouble), tensor({0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.3, 0.3, 0.3, 0.3}, kDouble), 1e-7, 0.0);

  optim::SGD rising({p}, 0.8);
  ReduceLROnPlateauScheduler accuracy(rising, ReduceLROnPlateauScheduler::max, 0.5, 0, 0.1, ReduceLROnPlateauScheduler::abs);
  for (const double metric : {-2.0, -1.0, -0.5}) accuracy.step(metric);  // each better by more than 0.1
  CHECK_EQ(rising.param_groups()[0].options().get_lr(), 0.8);
  accuracy.step(-0.45);
  CHECK_EQ(rising.param_groups()[0].options().get_lr(), 0.4);
  accuracy.step(std::numeric_limits<double>::quiet_NaN());  // never better
  CHECK_EQ(rising.param_groups()[0].options().get_lr(), 0.2);
  CHECK_ERROR(ReduceLROnPlateauScheduler(optimizer, ReduceLROnPlateauScheduler::min, 1.5), "Factor should be < 1.0.");
  CHECK_ERROR(ReduceLROnPlateauScheduler(optimizer, ReduceLROnPlateauScheduler::min, 0.5, 1, 0.1, ReduceLROnPlateauScheduler::rel, 0, {0.1f, 0.2f}),
              "Number of learning rates not equal to the number of param groups");
}

// %%
}  // namespace tinytorch
