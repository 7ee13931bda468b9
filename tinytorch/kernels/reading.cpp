// From the lesson modules/85_resampling_kernels/resampling_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/resampling_kernels.h"
#include "tinytorch/nn/grid_sample.h"

namespace tinytorch {

namespace {
template <class T>
const kernels::ReadingTable<T>& reading_table() {
  using namespace kernels;
  static constexpr const ReadingKernels* tables[] = TINYTORCH_PER_CAPABILITY(reading_kernels);
  const ReadingKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// The places of all images.
template <class T>
class Places {
 public:
  Places(const Tensor& y, const Tensor& x, std::int64_t height, std::int64_t width) : out_(y.size(1)), count_((out_ + 15) / 16 * 16) {
    const std::int64_t all = y.size(0) * count_;
    index_ = memory<std::int32_t>(4 * all);
    weights_ = memory<T>(4 * all);
    fy_ = memory<T>(all);
    fx_ = memory<T>(all);
    parallel_for(0, y.size(0), std::max<std::int64_t>(1, 4096 / count_), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t n = first; n < stop; ++n) {
        const std::int64_t at = n * count_;
        reading_table<T>().find(y.data<T>() + n * out_, x.data<T>() + n * out_, out_, height, width, count_, index_.get() + 4 * at, weights_.get() + 4 * at, fy_.get() + at, fx_.get() + at);
      }
    });
  }
  // Those of image n.
  kernels::PlaceTable<T> of(std::int64_t n) const { return {count_, index_.get() + 4 * n * count_, weights_.get() + 4 * n * count_, fy_.get() + n * count_, fx_.get() + n * count_}; }
  std::int64_t count() const { return count_; }

 private:
  // Room for numbers that are all going to be written.
  template <class U>
  static std::unique_ptr<U[]> memory(std::int64_t count) { return std::make_unique_for_overwrite<U[]>(static_cast<std::size_t>(count)); }

  std::int64_t out_, count_;
  std::unique_ptr<std::int32_t[]> index_;
  std::unique_ptr<T[]> weights_, fy_, fx_;
};

bool can_read(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  const ScalarType type = images.scalar_type();
  return (type == kFloat || type == kDouble) && y.scalar_type() == type && x.scalar_type() == type && images.dim() == 3 && y.dim() == 2 && y.sizes() == x.sizes() && y.size(0) == images.size(0) && images.numel() > 0 &&
         y.numel() > 0 && height > 0 && images.size(2) % height == 0 && images.size(2) < std::int64_t{1} << 31;
}

template <class F>
void in_read_type(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}

constexpr std::int64_t kReadingWork = 1 << 13;

Tensor read_bilinear_tuned(const Tensor& images_, const Tensor& y, const Tensor& x, std::int64_t height) {
  if (!can_read(images_, y, x, height)) return op::read_bilinear.function(Layer::CPU)(images_, y, x, height);
  const Tensor images = images_.contiguous();
  const std::int64_t N = images.size(0), C = images.size(1), plane = images.size(2), out = y.size(1);
  const Tensor result = empty({N, C, out}, images.scalar_type());
  in_read_type(images.scalar_type(), [&]<class T>() {
    const Places<T> places(y.contiguous(), x.contiguous(), height, plane / height);
    parallel_for(0, N * C, std::max<std::int64_t>(1, kReadingWork / out), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t p = first; p < stop; ++p) reading_table<T>().read(images.data<T>() + p * plane, places.of(p / C), out, result.data<T>() + p * out);
    });
  });
  return result;
}

// The gradients of images, y and x.
using ReadGradients = std::tuple<Tensor, Tensor, Tensor>;
ReadGradients read_bilinear_backward_composed(const Tensor& grad, const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  const bool record = is_recording();
  const AutoGradMode on(true);
  const auto watched = [&](const Tensor& t) { return t.requires_grad() ? t : t.detach().requires_grad_(); };
  const Tensor a = watched(images), b = watched(y), c = watched(x);
  const variable_list grads = autograd::grad({op::read_bilinear.function(Layer::CPU)(a, b, c, height)}, {a, b, c}, {grad}, true, record);
  return {grads[0], grads[1], grads[2]};
}
constinit Operator<ReadGradients(const Tensor&, const Tensor&, const Tensor&, const Tensor&, std::int64_t)> read_bilinear_backward_op("read_bilinear_backward", {.cpu = read_bilinear_backward_composed});

ReadGradients read_bilinear_backward_tuned(const Tensor& grad, const Tensor& images_, const Tensor& y, const Tensor& x, std::int64_t height) {
  if (!can_read(images_, y, x, height) || grad.scalar_type() != images_.scalar_type()) return read_bilinear_backward_op.function(Layer::CPU)(grad, images_, y, x, height);
  const Tensor images = images_.contiguous(), g = grad.contiguous();
  const std::int64_t N = images.size(0), C = images.size(1), plane = images.size(2), out = y.size(1);
  const Tensor of_images = empty(images.sizes(), images.options()), of_y = empty(y.sizes(), images.options()), of_x = empty(y.sizes(), images.options());
  in_read_type(images.scalar_type(), [&]<class T>() {
    const Places<T> places(y.contiguous(), x.contiguous(), height, plane / height);
    parallel_for(0, N * C, std::max<std::int64_t>(1, kReadingWork / out), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t p = first; p < stop; ++p) {
        const kernels::PlaceTable<T> table = places.of(p / C);
        T* const to = of_images.data<T>() + p * plane;
        const T* const from = g.data<T>() + p * out;
        std::fill_n(to, plane, T{0});
        for (std::int64_t k = 0; k < 4; ++k)
          for (std::int64_t o = 0; o < out; ++o)
            if (const std::int32_t at = table.index[k * table.count + o]; at >= 0) to[at] += from[o] * table.weights[k * table.count + o];
      }
    });
    // Sixteen places and more are a task, which goes through all channels.
    const std::int64_t blocks = places.count() / 16;
    parallel_for(0, N * blocks, std::max<std::int64_t>(1, kReadingWork / (16 * C)), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t task = first; task < stop;) {
        const std::int64_t n = task / blocks, begin = task % blocks * 16, end = std::min(places.count(), begin + (stop - task) * 16);
        std::vector<T> dy(static_cast<std::size_t>(end - begin)), dx(dy.size());
        for (std::int64_t c = 0; c < C; ++c) reading_table<T>().slopes(images.data<T>() + (n * C + c) * plane, places.of(n), g.data<T>() + (n * C + c) * out, begin, end, out, dy.data(), dx.data());
        const std::int64_t written = std::min(end, out) - begin;
        std::copy_n(dy.data(), written, of_y.data<T>() + n * out + begin);
        std::copy_n(dx.data(), written, of_x.data<T>() + n * out + begin);
        task += (end - begin) / 16;
      }
    });
  });
  return {of_images, of_y, of_x};
}

class ReadBilinearNode : public Node {
 public:
  ReadBilinearNode(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) : images_(images, false), y_(y, false), x_(x, false), height_(height) {}
  std::string name() const override { return detail::node_name(op::read_bilinear.name()); }

  variable_list apply(variable_list&& grads) override {
    variable_list result(3);
    if (!grads[0].defined()) return result;
    const Tensor images = images_.unpack(*this), y = y_.unpack(*this), x = x_.unpack(*this);
    std::tie(result[0], result[1], result[2]) = is_recording() ? read_bilinear_backward_composed(grads[0], images, y, x, height_) : read_bilinear_backward_op(grads[0], images, y, x, height_);
    for (std::size_t i = 0; i < 3; ++i)
      if (!next_edge(i).is_valid()) result[i] = Tensor();
    return result;
  }
  void release_variables() override {
    for (SavedVariable* saved : {&images_, &y_, &x_}) saved->reset();
  }

 private:
  SavedVariable images_, y_, x_;
  std::int64_t height_;
};

Tensor read_bilinear_recorded(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  const bool records = is_recording() && (detail::needs_grad(images) || detail::needs_grad(y) || detail::needs_grad(x));
  const auto node = records ? make_node<ReadBilinearNode>(images, y, x, height) : nullptr;
  if (records)
    for (const Tensor& input : {images, y, x}) detail::append_edges(*node, input);
  const ExcludeLayersGuard guard(Layer::Autograd);
  const Tensor result = op::read_bilinear(images, y, x, height);
  if (records) set_history(result, node);
  return result;
}
}  // namespace

void register_tuned_reading() {
  op::read_bilinear.set(Layer::TunedCPU, read_bilinear_tuned);
  read_bilinear_backward_op.set(Layer::TunedCPU, read_bilinear_backward_tuned);
  kernels::fused_recording<op::read_bilinear>(read_bilinear_recorded);
}

}  // namespace tinytorch
