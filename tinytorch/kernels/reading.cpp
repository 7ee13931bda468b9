// From the lesson modules/85_resampling_kernels/resampling_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstdint>
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
constexpr std::int64_t kChannelsTogether = 16;  // whose pixels around neighbouring places stay in the first cache

// Calls f(places, where their results begin, their first plane) for parts of the places of `images` (N, C, H W), on the threads of the pool: each time for a few channels, one after the other. A part is places of one image.
template <class T, class F>
void for_places(const Tensor& y, const Tensor& x, const Tensor& images, std::int64_t height, F f) {
  constexpr std::int64_t kPart = 256;
  const std::int64_t N = images.size(0), C = images.size(1), width = images.size(2) / height, out = y.size(1), parts = (out + kPart - 1) / kPart;
  parallel_for(0, N * parts, std::max<std::int64_t>(1, kReadingWork / (std::min(kPart, out) * C)), [&, ys = y.data<T>(), xs = x.data<T>()](std::int64_t first, std::int64_t stop) {
    for (std::int64_t part = first; part < stop; ++part) {
      const std::int64_t n = part / parts, o = part % parts * kPart;
      for (std::int64_t c = 0; c < C; c += kChannelsTogether)
        f(kernels::Reading<T>{ys + n * out + o, xs + n * out + o, std::min(kPart, out - o), height, width, std::min(kChannelsTogether, C - c), out}, (n * C + c) * out + o, n * C + c);
    }
  });
}

// Pictures only, whose grid is float or double.
std::vector<Tensor> grid_places_tuned(const Tensor& grid_, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners) {
  const ScalarType type = grid_.scalar_type();
  if ((type != kFloat && type != kDouble) || spatial.size() != 2 || grid_.numel() == 0) return op::grid_places.function(Layer::CPU)(grid_, spatial, padding_mode, align_corners);
  const Tensor grid = grid_.contiguous();
  const std::int64_t N = grid.size(0), count = grid.numel() / 2;
  const Tensor y = empty({N, count / N}, type), x = empty({N, count / N}, type);
  in_read_type(type, [&]<class T>() {
    const auto axis = [&](std::int64_t size) {
      const T last = static_cast<T>(size - 1);
      if (align_corners) return kernels::GridAxis<T>{last / 2, 0, padding_mode, 0, last, last, nullptr};
      return kernels::GridAxis<T>{static_cast<T>(size) / 2, T{0.5}, padding_mode, T{-0.5}, static_cast<T>(size), last, nullptr};
    };
    parallel_for(0, count, kReadingWork, [&, from = grid.data<T>(), ys = y.data<T>(), xs = x.data<T>()](std::int64_t first, std::int64_t stop) {
      kernels::GridAxis<T> rows = axis(spatial[0]), columns = axis(spatial[1]);
      rows.places = ys + first;
      columns.places = xs + first;
      reading_table<T>().place(from + 2 * first, stop - first, rows, columns);
    });
  });
  return {y, x};
}

// What `kernel`, a member of the table, reads. REQUIRES: can_read(images_, y, x, height).
template <class T>
Tensor read_places(void (*kernels::ReadingTable<T>::*kernel)(const kernels::Reading<T>&, const T*, T*), const Tensor& images_, const Tensor& y, const Tensor& x, std::int64_t height) {
  const Tensor images = images_.contiguous();
  const std::int64_t plane = images.size(2);
  const Tensor result = empty({images.size(0), images.size(1), y.size(1)}, images.scalar_type());
  for_places<T>(y.contiguous(), x.contiguous(), images, height, [&](const kernels::Reading<T>& places, std::int64_t at, std::int64_t first_plane) {
    (reading_table<T>().*kernel)(places, images.data<T>() + first_plane * plane, result.data<T>() + at);
  });
  return result;
}

Tensor read_bilinear_tuned(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  if (!can_read(images, y, x, height)) return op::read_bilinear.function(Layer::CPU)(images, y, x, height);
  if (images.scalar_type() == kFloat) return read_places(&kernels::ReadingTable<float>::read, images, y, x, height);
  return read_places(&kernels::ReadingTable<double>::read, images, y, x, height);
}

Tensor read_nearest_tuned(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  if (!can_read(images, y, x, height)) return op::read_nearest.function(Layer::CPU)(images, y, x, height);
  if (images.scalar_type() == kFloat) return read_places(&kernels::ReadingTable<float>::read_nearest, images, y, x, height);
  return read_places(&kernels::ReadingTable<double>::read_nearest, images, y, x, height);
}

// The gradients of images, y and x; of the images, and of the places, only if they are wanted.
using ReadGradients = std::tuple<Tensor, Tensor, Tensor>;
ReadGradients read_bilinear_backward_composed(const Tensor& grad, const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height, bool, bool) {
  const bool record = is_recording();
  const AutoGradMode on(true);
  const auto watched = [&](const Tensor& t) { return t.requires_grad() ? t : t.detach().requires_grad_(); };
  const Tensor a = watched(images), b = watched(y), c = watched(x);
  const variable_list grads = autograd::grad({op::read_bilinear.function(Layer::CPU)(a, b, c, height)}, {a, b, c}, {grad}, true, record);
  return {grads[0], grads[1], grads[2]};
}
constinit Operator<ReadGradients(const Tensor&, const Tensor&, const Tensor&, const Tensor&, std::int64_t, bool, bool)> read_bilinear_backward_op("read_bilinear_backward", {.cpu = read_bilinear_backward_composed});

ReadGradients read_bilinear_backward_tuned(const Tensor& grad, const Tensor& images_, const Tensor& y_, const Tensor& x_, std::int64_t height, bool of_images, bool of_places) {
  if (!can_read(images_, y_, x_, height) || grad.scalar_type() != images_.scalar_type()) return read_bilinear_backward_op.function(Layer::CPU)(grad, images_, y_, x_, height, of_images, of_places);
  const Tensor images = images_.contiguous(), g = grad.contiguous(), y = y_.contiguous(), x = x_.contiguous();
  const std::int64_t N = images.size(0), C = images.size(1), plane = images.size(2), out = y.size(1);
  ReadGradients result;
  in_read_type(images.scalar_type(), [&]<class T>() {
    const T* const from = g.data<T>();
    if (of_images) {
      const Tensor sums = zeros(images.sizes(), images.options());
      // A task has planes of its own, and goes through the places of their image for a few of them at a time.
      parallel_for(0, N * C, std::max<std::int64_t>(1, kReadingWork / out), [&, to = sums.data<T>()](std::int64_t first, std::int64_t stop) {
        for (std::int64_t p = first, count = 0; p < stop; p += count) {
          const std::int64_t n = p / C;
          count = std::min({kChannelsTogether, stop - p, (n + 1) * C - p});
          reading_table<T>().give_back({y.data<T>() + n * out, x.data<T>() + n * out, out, height, plane / height, count, out}, from + p * out, to + p * plane);
        }
      });
      std::get<0>(result) = sums;
    }
    if (of_places) {
      const Tensor of_y = zeros(y.sizes(), y.options()), of_x = zeros(x.sizes(), x.options());
      for_places<T>(y, x, images, height, [&](const kernels::Reading<T>& places, std::int64_t at, std::int64_t first_plane) {
        const std::int64_t o = at / out / C * out + at % out;
        reading_table<T>().slopes(places, images.data<T>() + first_plane * plane, from + at, of_y.data<T>() + o, of_x.data<T>() + o);
      });
      std::get<1>(result) = of_y;
      std::get<2>(result) = of_x;
    }
  });
  return result;
}

class ReadBilinearNode : public Node {
 public:
  ReadBilinearNode(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) : images_(images, false), y_(y, false), x_(x, false), height_(height) {}
  std::string name() const override { return detail::node_name(op::read_bilinear.name()); }

  variable_list apply(variable_list&& grads) override {
    variable_list result(3);
    if (!grads[0].defined()) return result;
    const Tensor images = images_.unpack(*this), y = y_.unpack(*this), x = x_.unpack(*this);
    const bool of_images = next_edge(0).is_valid(), of_places = next_edge(1).is_valid() || next_edge(2).is_valid();
    std::tie(result[0], result[1], result[2]) = is_recording() ? read_bilinear_backward_composed(grads[0], images, y, x, height_, of_images, of_places) : read_bilinear_backward_op(grads[0], images, y, x, height_, of_images, of_places);
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
  op::grid_places.set(Layer::TunedCPU, grid_places_tuned);
  op::read_bilinear.set(Layer::TunedCPU, read_bilinear_tuned);
  op::read_nearest.set(Layer::TunedCPU, read_nearest_tuned);
  read_bilinear_backward_op.set(Layer::TunedCPU, read_bilinear_backward_tuned);
  kernels::fused_recording<op::read_bilinear>(read_bilinear_recorded);
}

}  // namespace tinytorch
