#include "systolic/kernels.h"

#include <tinytorch/core/device_kernels.h>
#include <tinytorch/core/loops.h>
#include <tinytorch/tinytorch.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "systolic/device.h"

using namespace tinytorch;

namespace systolic {

namespace {
// Floats in one tile of an elementwise program; two sets of four such tiles fill half of the scratchpad.
constexpr std::int64_t kChunk = 4096;

bool is_float(const Tensor& x) { return x.scalar_type() == kFloat; }

std::optional<Type> type_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case kFloat: return Type::F32;
    case kLong: return Type::I64;
    case kBool:
    case kByte: return Type::U8;
    default: return std::nullopt;
  }
}

Tensor result_beside(const Tensor& self, IntArrayRef sizes, ScalarType type) { return empty_on_device(sizes, type, self.device()); }

// A tensor as the machine sees it: an address and strides, in the shape of the result.
struct View {
  View(const Tensor& x, IntArrayRef sizes) : address(reinterpret_cast<Address>(device_address(x))), type(*type_of(x)), strides(broadcast_strides(x, sizes)) {}
  Region at(std::int64_t offset, std::int64_t row_stride, std::int64_t column_stride) const {
    return {address + static_cast<Address>(offset * size_of(type)), type, row_stride, column_stride};
  }
  Address address;
  Type type;
  DimVector strides;
};

// Dimensions of several views, those of size 1 dropped and those joined that follow each other in all. At least `least` remain.
struct Walk {
  Walk(IntArrayRef all, std::vector<DimVector> of, std::size_t least) : strides(of.size()) {
    for (std::size_t d = 0; d < all.size(); ++d) {
      if (all[d] == 1) continue;
      bool follows = !sizes.empty();
      for (std::size_t k = 0; follows && k < of.size(); ++k) follows = strides[k].back() == of[k][d] * all[d];
      if (follows) sizes.back() *= all[d];
      else sizes.push_back(all[d]);
      for (std::size_t k = 0; k < of.size(); ++k) {
        if (follows) strides[k].back() = of[k][d];
        else strides[k].push_back(of[k][d]);
      }
    }
    while (sizes.size() < least) {
      sizes.insert(sizes.begin(), 1);
      for (std::vector<std::int64_t>& steps : strides) steps.insert(steps.begin(), 0);
    }
  }
  // Calls f(offsets) for each index of all dimensions but the last `inner`.
  template <class F>
  void outer(std::size_t inner, F f) const {
    const std::size_t count = sizes.size() - inner;
    std::vector<std::int64_t> index(count), offsets(strides.size());
    while (true) {
      f(offsets);
      std::size_t d = count;
      while (d-- > 0) {
        for (std::size_t k = 0; k < strides.size(); ++k) offsets[k] += strides[k][d];
        if (++index[d] < sizes[d]) break;
        for (std::size_t k = 0; k < strides.size(); ++k) offsets[k] -= strides[k][d] * sizes[d];
        index[d] = 0;
      }
      if (d == static_cast<std::size_t>(-1)) return;
    }
  }
  std::vector<std::int64_t> sizes;
  std::vector<std::vector<std::int64_t>> strides;
};

Tile part(const Tile& whole, std::int64_t rows, std::int64_t columns) { return {whole.offset, static_cast<int>(rows), static_cast<int>(columns)}; }

// ---- Element by element. compute(program, out, in) writes the instructions for one chunk; two sets of tiles take turns, so that loads run beside the vector unit.
template <class F>
void elementwise(const char* name, const Tensor& out, const std::vector<Tensor>& inputs, F compute) {
  if (out.numel() == 0) return;
  std::vector<View> views{View(out, out.sizes())};
  for (const Tensor& input : inputs) views.emplace_back(input, out.sizes());
  std::vector<DimVector> strides;
  for (const View& view : views) strides.push_back(view.strides);
  const Walk walk(out.sizes(), strides, 2);

  Program program(name);
  std::array<std::vector<Tile>, 2> sets;
  for (std::vector<Tile>& set : sets)
    for (std::size_t k = 0; k < views.size(); ++k) set.push_back(program.tile(1, std::min(kChunk, out.numel())));
  const std::int64_t rows = walk.sizes[walk.sizes.size() - 2], columns = walk.sizes.back();
  const std::int64_t C = std::min(columns, kChunk), R = std::min(rows, kChunk / C);
  std::size_t turn = 0;
  walk.outer(2, [&](const std::vector<std::int64_t>& offsets) {
    for (std::int64_t r = 0; r < rows; r += R) {
      for (std::int64_t c = 0; c < columns; c += C) {
        std::vector<Tile> tiles;
        std::vector<Region> regions;
        for (std::size_t k = 0; k < views.size(); ++k) {
          const std::int64_t row_stride = walk.strides[k][walk.sizes.size() - 2], column_stride = walk.strides[k].back();
          tiles.push_back(part(sets[turn][k], std::min(R, rows - r), std::min(C, columns - c)));
          regions.push_back(views[k].at(offsets[k] + r * row_stride + c * column_stride, row_stride, column_stride));
        }
        turn = 1 - turn;
        for (std::size_t k = 1; k < views.size(); ++k) program.load(tiles[k], regions[k]);
        compute(program, tiles[0], std::vector<Tile>(tiles.begin() + 1, tiles.end()));
        program.store(regions[0], tiles[0]);
      }
    }
  });
  machine().submit(std::move(program));
}

// An operand: a tensor of the device, or a number that the host holds.
bool is_number(const Tensor& x) { return !x.is_elsewhere(); }
bool both_fit(const Tensor& a, const Tensor& b) {
  return result_type(a, b) == kFloat && (is_number(a) || type_of(a)) && (is_number(b) || type_of(b));
}

// out = function(a, scale * b).
void two_operands(const char* name, Function function, const Tensor& out, const Tensor& a, const Tensor& b, float scale = 1) {
  if (is_number(b)) {
    const float value = function == Function::Add || function == Function::Subtract ? scale * b.item<float>() : b.item<float>();
    elementwise(name, out, {a}, [&](Program& p, const Tile& o, const std::vector<Tile>& in) { p.vector(function, o, in[0], value); });
  } else if (is_number(a)) {
    const float value = a.item<float>();
    elementwise(name, out, {b}, [&](Program& p, const Tile& o, const std::vector<Tile>& in) {
      p.vector(Function::Fill, o, o, value);
      p.vector(function, o, o, in[0], scale);
    });
  } else {
    elementwise(name, out, {a, b}, [&](Program& p, const Tile& o, const std::vector<Tile>& in) { p.vector(function, o, in[0], in[1], scale); });
  }
}

Tensor two_operands(const char* name, Function function, const Tensor& a, const Tensor& b, float scale = 1) {
  const Tensor out = result_beside(is_number(a) ? b : a, infer_size(a.sizes(), b.sizes()), kFloat);
  two_operands(name, function, out, a, b, scale);
  return out;
}

// Whether self may be written while other is read, both of them floats that broadcast to self's sizes.
bool fits_in_place(const Tensor& self, const Tensor& other) {
  if (!self.is_elsewhere() || !is_float(self) || !both_fit(self, other) || IntArrayRef(infer_size(self.sizes(), other.sizes())) != self.sizes()) return false;
  check_no_internal_overlap(self);
  return same_elements(self, other) || !ranges_overlap(self, other);
}

Tensor add_kernel(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  return both_fit(self, other) ? two_operands("add", Function::Add, self, other, alpha.to<float>()) : call_on_cpu<op::add>(self, other, alpha);
}
const Tensor& add_in_place(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (!fits_in_place(self, other)) return call_on_cpu<op::add_>(self, other, alpha);
  two_operands("add_", Function::Add, self, self, other, alpha.to<float>());
  return self;
}
Tensor sub_kernel(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  return both_fit(self, other) ? two_operands("sub", Function::Add, self, other, -alpha.to<float>()) : call_on_cpu<op::sub>(self, other, alpha);
}
const Tensor& sub_in_place(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (!fits_in_place(self, other)) return call_on_cpu<op::sub_>(self, other, alpha);
  two_operands("sub_", Function::Add, self, self, other, -alpha.to<float>());
  return self;
}
Tensor mul_kernel(const Tensor& self, const Tensor& other) {
  return both_fit(self, other) ? two_operands("mul", Function::Multiply, self, other) : call_on_cpu<op::mul>(self, other);
}
const Tensor& mul_in_place(const Tensor& self, const Tensor& other) {
  if (!fits_in_place(self, other)) return call_on_cpu<op::mul_>(self, other);
  two_operands("mul_", Function::Multiply, self, self, other);
  return self;
}
Tensor div_kernel(const Tensor& self, const Tensor& other) {
  return both_fit(self, other) ? two_operands("div", Function::Divide, self, other) : call_on_cpu<op::div>(self, other);
}

Tensor le_kernel(const Tensor& self, const Tensor& other) {
  if (!both_fit(self, other) || is_number(self)) return call_on_cpu<op::le>(self, other);
  const Tensor out = result_beside(self, infer_size(self.sizes(), other.sizes()), kBool);
  two_operands("le", Function::LessEqual, out, self, other);
  return out;
}

// One operand.
template <auto& Op, Function kFunction>
Tensor one_operand(const Tensor& self) {
  if (!is_float(self)) return call_on_cpu<Op>(self);
  const Tensor out = result_beside(self, self.sizes(), kFloat);
  elementwise(Op.name(), out, {self}, [&](Program& p, const Tile& o, const std::vector<Tile>& in) { p.vector(kFunction, o, in[0]); });
  return out;
}
Tensor neg_kernel(const Tensor& self) {
  if (!is_float(self)) return call_on_cpu<op::neg>(self);
  const Tensor out = result_beside(self, self.sizes(), kFloat);
  elementwise("neg", out, {self}, [&](Program& p, const Tile& o, const std::vector<Tile>& in) { p.vector(Function::Multiply, o, in[0], -1); });
  return out;
}

Tensor where_kernel(const Tensor& condition, const Tensor& self, const Tensor& other) {
  if (is_number(condition) || !both_fit(self, other)) return call_on_cpu<op::where>(condition, self, other);
  const Tensor out = result_beside(condition, infer_size(condition.sizes(), infer_size(self.sizes(), other.sizes())), kFloat);
  std::vector<Tensor> inputs{condition};
  for (const Tensor* x : {&self, &other})
    if (!is_number(*x)) inputs.push_back(*x);
  const float yes = is_number(self) ? self.item<float>() : 0, no = is_number(other) ? other.item<float>() : 0;
  std::array<std::optional<Tile>, 2> filled;  // a number as a tile, made once
  elementwise("where", out, inputs, [&](Program& p, const Tile& o, const std::vector<Tile>& in) {
    std::size_t next = 1;
    const auto operand = [&](const Tensor& x, float value, std::optional<Tile>& tile) {
      if (!is_number(x)) return in[next++];
      if (!tile) {
        tile = p.tile(o.rows, o.columns);  // no later chunk is larger
        p.vector(Function::Fill, *tile, *tile, value);
      }
      return part(*tile, o.rows, o.columns);
    };
    const Tile a = operand(self, yes, filled[0]), b = operand(other, no, filled[1]);
    p.select(o, in[0], a, b);
  });
  return out;
}

// ---- Copies within the device's memory.
Tensor clone_kernel(const Tensor& self, bool keeps_order) {
  if (!is_float(self)) return call_on_cpu<op::clone>(self, keeps_order);
  const Tensor out = result_beside(self, self.sizes(), kFloat);
  elementwise("clone", out, {self}, [&](Program& p, const Tile& o, const std::vector<Tile>& in) { p.vector(Function::Copy, o, in[0]); });
  return out;
}

const Tensor& (*copy_over_the_link)(const Tensor&, const Tensor&) = nullptr;  // what the library does for any device
const Tensor& copy_kernel(const Tensor& self, const Tensor& src) {
  const bool within = self.is_elsewhere() && src.is_elsewhere() && is_float(self) && is_float(src) && fits_in_place(self, src);
  if (!within) return copy_over_the_link(self, src);
  elementwise("copy_", self, {src}, [&](Program& p, const Tile& o, const std::vector<Tile>& in) { p.vector(Function::Copy, o, in[0]); });
  return self;
}

const Tensor& fill_kernel(const Tensor& self, const Scalar& value) {
  if (!is_float(self)) return call_on_cpu<op::fill_>(self, value);
  elementwise("fill_", self, {}, [&](Program& p, const Tile& o, const std::vector<Tile>&) { p.vector(Function::Fill, o, o, value.to<float>()); });
  return self;
}

// ---- Products. out (M, N) = alpha * a (M, K) x b (K, N) + beta * bias.
//
// The weights of a 16 x 16 part of b stay in the array while up to 512 rows of a stream through; the sums of all parts along K meet in the scratchpad. Parts of a stay there as well, if all of them fit, for the next 16 columns of b.
struct Epilogue {
  const Tensor* bias = nullptr;
  float alpha = 1;
  float beta = 1;
};

void multiply(const char* name, const Tensor& a, const Tensor& b, const Tensor& out, const Epilogue& then) {
  const std::int64_t M = a.size(0), K = a.size(1), N = b.size(1);
  if (M == 0 || N == 0) return;
  constexpr std::int64_t A = kArray, kRoomForA = 32 << 10;
  const std::int64_t parts = (K + A - 1) / A;
  const std::int64_t block = std::min({M, std::int64_t{512}, std::max<std::int64_t>(64, kRoomForA / std::max<std::int64_t>(1, parts * A))});
  const bool keeps_a = parts * A * block <= kRoomForA;
  const View va(a, a.sizes()), vb(b, b.sizes()), vo(out, out.sizes());
  std::optional<View> bias;
  if (then.bias != nullptr) bias.emplace(*then.bias, out.sizes());

  Program program(name);
  std::vector<Tile> a_tiles;
  for (std::int64_t k = 0; k < (keeps_a ? parts : 2); ++k) a_tiles.push_back(program.tile(block, A));
  const std::array<Tile, 2> weights{program.tile(A, A), program.tile(A, A)}, sums{program.tile(block, A), program.tile(block, A)};
  const Tile added = bias ? program.tile(block, A) : Tile();
  std::size_t product = 0, result = 0;
  for (std::int64_t m = 0; m < M; m += block) {
    const std::int64_t rows = std::min(block, M - m);
    for (std::int64_t n = 0; n < N; n += A, ++result) {
      const std::int64_t columns = std::min(A, N - n);
      const Tile sum = part(sums[result % 2], rows, columns);
      if (K == 0) program.vector(Function::Fill, sum, sum, 0);
      for (std::int64_t k = 0; k < parts; ++k, ++product) {
        const std::int64_t depth = std::min(A, K - k * A);
        const Tile w = part(weights[product % 2], depth, columns);
        program.load(w, vb.at(k * A * vb.strides[0] + n * vb.strides[1], vb.strides[0], vb.strides[1]));
        program.weights(w);
        const Tile x = part(a_tiles[keeps_a ? static_cast<std::size_t>(k) : product % 2], rows, depth);
        if (!keeps_a || n == 0) program.load(x, va.at(m * va.strides[0] + k * A * va.strides[1], va.strides[0], va.strides[1]));
        program.matmul(sum, x, k > 0);
      }
      if (then.alpha != 1) program.vector(Function::Multiply, sum, sum, then.alpha);
      if (bias) {
        const Tile more = part(added, rows, columns);
        program.load(more, bias->at(m * bias->strides[0] + n * bias->strides[1], bias->strides[0], bias->strides[1]));
        program.vector(Function::Add, sum, sum, more, then.beta);
      }
      program.store(vo.at(m * N + n, N, 1), sum);
    }
  }
  machine().submit(std::move(program));
}

Tensor mm_kernel(const Tensor& self, const Tensor& mat2) {
  if (!is_float(self) || !is_float(mat2)) return call_on_cpu<op::mm>(self, mat2);
  const Tensor out = result_beside(self, {self.size(0), mat2.size(1)}, kFloat);
  multiply("mm", self, mat2, out, {});
  return out;
}

Tensor addmm_kernel(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha) {
  if (!is_float(self) || !is_float(mat1) || !is_float(mat2) || is_number(self)) return call_on_cpu<op::addmm>(self, mat1, mat2, beta, alpha);
  const Tensor out = result_beside(mat1, {mat1.size(0), mat2.size(1)}, kFloat);
  const Tensor bias = expand(self, out.sizes());  // throws if it does not fit
  // With beta = 0 the NaNs of the bias do not count.
  multiply("addmm", mat1, mat2, out, {.bias = beta.to<float>() == 0 ? nullptr : &bias, .alpha = alpha.to<float>(), .beta = beta.to<float>()});
  return out;
}

// ---- Sums. Rows are what remains, columns what is summed over.
Tensor sum_kernel(const Tensor& self, IntArrayRef dim, bool keepdim) {
  if (!is_float(self)) return call_on_cpu<op::sum>(self, dim, keepdim);
  const std::vector<bool> mask = reduction_mask(self, dim);
  const Tensor out = result_beside(self, reduced_sizes(self.sizes(), mask, keepdim), kFloat);
  if (out.numel() == 0) return out;
  DimVector kept, kept_strides, summed, summed_strides;
  for (std::size_t d = 0; d < mask.size(); ++d) {
    (mask[d] ? summed : kept).push_back(self.sizes()[d]);
    (mask[d] ? summed_strides : kept_strides).push_back(self.strides()[d]);
  }
  const View from(self, self.sizes()), to(out, out.sizes());
  const Walk over_rows(kept, {kept_strides, contiguous_strides(kept)}, 1), over_columns(summed, {summed_strides}, 1);
  const std::int64_t rows = over_rows.sizes.back(), columns = over_columns.sizes.back();
  const std::int64_t C = std::clamp<std::int64_t>(columns, 1, 512), R = std::min(rows, kChunk / C);

  Program program("sum");
  const std::array<Tile, 2> tiles{program.tile(R, C), program.tile(R, C)}, partial{program.tile(R, 1), program.tile(R, 1)};
  const Tile total = program.tile(R, 1);
  std::size_t turn = 0;
  over_rows.outer(1, [&](const std::vector<std::int64_t>& row_offsets) {
    for (std::int64_t r = 0; r < rows; r += R) {
      const std::int64_t count = std::min(R, rows - r);
      program.vector(Function::Fill, part(total, count, 1), part(total, count, 1), 0);
      if (self.numel() > 0) {
        over_columns.outer(1, [&](const std::vector<std::int64_t>& column_offsets) {
          for (std::int64_t c = 0; c < columns; c += C, turn = 1 - turn) {
            const Tile tile = part(tiles[turn], count, std::min(C, columns - c)), sums = part(partial[turn], count, 1);
            const std::int64_t row_stride = over_rows.strides[0].back(), column_stride = over_columns.strides[0].back();
            program.load(tile, from.at(row_offsets[0] + r * row_stride + column_offsets[0] + c * column_stride, row_stride, column_stride));
            program.reduce(Function::Sum, sums, tile);
            program.vector(Function::Add, part(total, count, 1), part(total, count, 1), sums);
          }
        });
      }
      program.store(to.at(row_offsets[1] + r * over_rows.strides[1].back(), over_rows.strides[1].back(), 1), part(total, count, 1));
    }
  });
  machine().submit(std::move(program));
  return out;
}

// ---- Softmax and cross-entropy, row by row.

// tile := its rows minus their largest element; sum := the sum of their exponentials, exponentials := these.
void shifted_and_summed(Program& p, const Tile& tile, const Tile& exponentials, const Tile& most, const Tile& sum) {
  p.reduce(Function::Max, most, tile);
  p.by_row(Function::Subtract, tile, tile, most);
  p.vector(Function::Exp, exponentials, tile);
  p.reduce(Function::Sum, sum, exponentials);
}

template <bool kLog>
Tensor softmax_kernel(const Tensor& self, std::int64_t dim) {
  constexpr auto& op = *(kLog ? &op::log_softmax : &op::softmax);
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t columns = self.dim() == 0 ? 1 : self.size(d);
  if (!is_float(self) || self.dim() == 0 || columns > kChunk) return kLog ? call_on_cpu<op::log_softmax>(self, dim) : call_on_cpu<op::softmax>(self, dim);
  const Tensor out = result_beside(self, self.sizes(), kFloat);
  if (out.numel() == 0) return out;
  const View from(self, self.sizes()), to(out, out.sizes());
  DimVector others(self.sizes()), strides(self.strides()), out_strides(out.strides());
  for (DimVector* list : {&others, &strides, &out_strides}) list->erase(static_cast<std::size_t>(d));
  const Walk walk(others, {strides, out_strides}, 1);
  const std::int64_t rows = walk.sizes.back(), R = std::min(rows, kChunk / columns);

  Program program(op.name());
  const Tile tile = program.tile(R, columns), exponentials = program.tile(R, columns), most = program.tile(R, 1), sum = program.tile(R, 1);
  walk.outer(1, [&](const std::vector<std::int64_t>& offsets) {
    for (std::int64_t r = 0; r < rows; r += R) {
      const std::int64_t count = std::min(R, rows - r);
      const Tile x = part(tile, count, columns), e = part(exponentials, count, columns), total = part(sum, count, 1);
      program.load(x, from.at(offsets[0] + r * walk.strides[0].back(), walk.strides[0].back(), self.stride(d)));
      shifted_and_summed(program, x, e, part(most, count, 1), total);
      if (kLog) {
        program.vector(Function::Log, total, total);
        program.by_row(Function::Subtract, x, x, total);
      } else {
        program.by_row(Function::Divide, x, e, total);
      }
      program.store(to.at(offsets[1] + r * walk.strides[1].back(), walk.strides[1].back(), out.stride(d)), x);
    }
  });
  machine().submit(std::move(program));
  return out;
}

// The loss of self (N, C) and target (N). A target that is no class makes it NaN: the machine cannot throw in the middle, as a graphics card cannot (there it is a "device-side assert").
Tensor cross_entropy_kernel(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const bool ours = is_float(self) && target.scalar_type() == kLong && !(weight && weight->defined()) && reduction != Reduction::None && self.size(1) <= kChunk && self.numel() > 0;
  if (!ours) return call_on_cpu<op::cross_entropy>(self, target, weight, reduction, ignore_index);
  const Tensor out = result_beside(self, {}, kFloat);
  const std::int64_t N = self.size(0), C = self.size(1), R = std::min(N, kChunk / C);
  const View x(self, self.sizes()), t(target, target.sizes()), to(out, out.sizes());

  Program p("cross_entropy");
  const Tile tile = p.tile(R, C), exponentials = p.tile(R, C), most = p.tile(R, 1), sum = p.tile(R, 1), index = p.tile(R, 1), ignored = p.tile(R, 1), zero = p.tile(R, 1);
  const Tile total = p.tile(1, 1), counted = p.tile(1, 1), some = p.tile(1, 1);
  p.vector(Function::Fill, total, total, 0);
  p.vector(Function::Fill, counted, counted, 0);
  p.vector(Function::Fill, zero, zero, 0);
  for (std::int64_t n = 0; n < N; n += R) {
    const std::int64_t count = std::min(R, N - n);
    const Tile rows = part(tile, count, C), losses = part(sum, count, 1), classes = part(index, count, 1), skip = part(ignored, count, 1), picked = part(most, count, 1);
    p.load(rows, x.at(n * self.stride(0), self.stride(0), self.stride(1)));
    p.load(classes, t.at(n * target.stride(0), target.stride(0), 1));
    shifted_and_summed(p, rows, part(exponentials, count, C), picked, losses);
    p.vector(Function::Log, losses, losses);
    p.pick(picked, rows, classes);
    p.vector(Function::Subtract, losses, losses, picked);
    p.vector(Function::Equal, skip, classes, static_cast<float>(ignore_index));
    p.select(losses, skip, part(zero, count, 1), losses);
    // A column of numbers is a row of them as well.
    p.reduce(Function::Sum, some, part(losses, 1, count));
    p.vector(Function::Add, total, total, some);
    p.reduce(Function::Sum, some, part(skip, 1, count));
    p.vector(Function::Add, counted, counted, some, -1);
    p.vector(Function::Add, counted, counted, static_cast<float>(count));
  }
  if (reduction == Reduction::Mean) p.vector(Function::Divide, total, total, counted);
  p.store(to.at(0, 1, 1), total);
  machine().submit(std::move(p));
  return out;
}
}  // namespace

void register_kernels() {
  copy_over_the_link = op::copy_.function(Layer::PrivateUse1);
  op::copy_.set(Layer::PrivateUse1, copy_kernel);  // its arguments may lie in two places
  device_kernel<op::add, add_kernel>();
  device_kernel<op::add_, add_in_place>();
  device_kernel<op::sub, sub_kernel>();
  device_kernel<op::sub_, sub_in_place>();
  device_kernel<op::mul, mul_kernel>();
  device_kernel<op::mul_, mul_in_place>();
  device_kernel<op::div, div_kernel>();
  device_kernel<op::neg, neg_kernel>();
  device_kernel<op::exp, one_operand<op::exp, Function::Exp>>();
  device_kernel<op::relu, one_operand<op::relu, Function::Relu>>();
  device_kernel<op::le, le_kernel>();
  device_kernel<op::where, where_kernel>();
  device_kernel<op::clone, clone_kernel>();
  device_kernel<op::fill_, fill_kernel>();
  device_kernel<op::mm, mm_kernel>();
  device_kernel<op::addmm, addmm_kernel>();
  device_kernel<op::sum, sum_kernel>();
  device_kernel<op::softmax, softmax_kernel<false>>();
  device_kernel<op::log_softmax, softmax_kernel<true>>();
  device_kernel<op::cross_entropy, cross_entropy_kernel>();
}

}  // namespace systolic
