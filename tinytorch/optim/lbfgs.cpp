// From the lesson modules/98_optim_extras/optim_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/lbfgs.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

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

}  // namespace tinytorch
