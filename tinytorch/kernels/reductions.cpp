// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include "tinytorch/core/ops.h"
#include "tinytorch/core/reduction_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/moments.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/reduction_kernels.h"

namespace tinytorch {

namespace {
template <class T>
const kernels::ReductionTable<T>& reduction_table() {
  using namespace kernels;
  static constexpr const ReductionKernels* tables[] = TINYTORCH_PER_CAPABILITY(reduction_kernels);
  const ReductionKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

constexpr std::size_t kMostAxes = 8;

// A dimension to walk along: `step` numbers further in the tensor, `result_step` in the result.
struct Axis {
  std::int64_t size, step, result_step;
};

struct Axes {
  std::array<Axis, kMostAxes> axes;
  std::size_t count = 0;

  Axis& back() { return axes[count - 1]; }
  const Axis& back() const { return axes[count - 1]; }
  void add(Axis axis) { axes[count++] = axis; }
  std::int64_t numel() const {
    std::int64_t product = 1;
    for (std::size_t i = 0; i < count; ++i) product *= axes[i].size;
    return product;
  }
  Axes without_last() const {
    Axes rest = *this;
    if (rest.count > 0) --rest.count;
    return rest;
  }
};

struct Place {
  std::int64_t offset = 0, result = 0;
};

// Where place `i` is, counted with the last axis running fastest.
Place place_of(const Axes& axes, std::int64_t i) {
  Place place;
  for (std::size_t a = axes.count; a-- > 0;) {
    const Axis& axis = axes.axes[a];
    const std::int64_t at = a == 0 ? i : i % axis.size;
    if (a > 0) i /= axis.size;
    place.offset += at * axis.step;
    place.result += at * axis.result_step;
  }
  return place;
}

// The reduction of a tensor as loops, from the outermost in memory to the innermost.
struct ReductionPlan {
  Axes kept, reduced;
  bool rows = false;        // whether the innermost axis is a reduced one: runs; else it is kept: columns
  std::int64_t results = 1;  // how many numbers the result has
  std::int64_t count = 1;    // how many numbers make one of them
};

// None unless self is float or double, of this form and not empty. `dim` as in reductions: none is all.
std::optional<ReductionPlan> plan_reduction(const Tensor& self, IntArrayRef dim) {
  const ScalarType type = self.scalar_type();
  const std::size_t dims = self.sizes().size();
  if ((type != kFloat && type != kDouble) || dims == 0 || dims > kMostAxes || self.numel() == 0) return std::nullopt;
  std::array<bool, kMostAxes> is_reduced{};
  for (const std::int64_t d : dim) {
    const std::int64_t at = d < 0 ? d + self.dim() : d;
    if (at < 0 || at >= self.dim() || is_reduced[static_cast<std::size_t>(at)]) return std::nullopt;  // the reference says what is wrong
    is_reduced[static_cast<std::size_t>(at)] = true;
  }
  if (dim.empty()) is_reduced.fill(true);

  // Sort what is longer than 1 by strides, the largest first.
  struct Dimension {
    Axis axis;
    bool reduced;
  };
  std::array<Dimension, kMostAxes> sorted{};
  std::size_t count = 0;
  std::int64_t result_step = 1;
  for (std::size_t d = dims; d-- > 0;) {
    const std::int64_t size = self.sizes()[d], step = self.strides()[d];
    const bool reduced = is_reduced[d];
    if (size > 1) {
      if (step <= 0) return std::nullopt;
      std::size_t at = count++;
      for (; at > 0 && sorted[at - 1].axis.step <= step; --at) sorted[at] = sorted[at - 1];
      sorted[at] = {{size, step, reduced ? 0 : result_step}, reduced};
    }
    if (!reduced) result_step *= size;
  }

  ReductionPlan plan;
  for (std::size_t i = 0; i < count; ++i) {
    const Axis& axis = sorted[i].axis;
    Axes& axes = sorted[i].reduced ? plan.reduced : plan.kept;
    const bool follows = i > 0 && sorted[i - 1].reduced == sorted[i].reduced && axes.back().step == axis.step * axis.size && axes.back().result_step == axis.result_step * axis.size;
    if (follows) axes.back() = {axes.back().size * axis.size, axis.step, axis.result_step};
    else axes.add(axis);
    (sorted[i].reduced ? plan.count : plan.results) *= axis.size;
  }
  plan.rows = count == 0 || sorted[count - 1].reduced;
  if (count > 0 && sorted[count - 1].axis.step != 1) return std::nullopt;
  if (plan.reduced.count == 0) plan.reduced.add({1, 1, 0});  // only dimensions of size 1 are reduced
  return plan;
}

// The sizes of the result.
DimVector sizes_after(const Tensor& self, IntArrayRef dim, bool keepdim) {
  DimVector sizes;
  const std::int64_t dims = self.dim();
  for (std::int64_t d = 0; d < dims; ++d) {
    bool reduced = dim.empty();
    for (const std::int64_t r : dim) reduced = reduced || r == d || r + dims == d;
    if (!reduced) sizes.push_back(self.size(d));
    else if (keepdim) sizes.push_back(1);
  }
  return sizes;
}

template <class F>
void in_reduced_type(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}
}  // namespace

namespace {
constexpr std::int64_t kPiece = 4096;        // numbers that stay in the first cache
constexpr std::int64_t kTaskWork = 1 << 16;  // numbers that are worth a task
constexpr std::int64_t kEnoughTasks = 32;    // for any number of threads

// In how many segments the `units` of one result are cut, of `unit` numbers each, when there are `tasks` tasks without that.
std::int64_t segments_of(std::int64_t tasks, std::int64_t units, std::int64_t unit) {
  if (tasks >= kEnoughTasks || tasks * units * unit <= kTaskWork) return 1;
  const std::int64_t per_segment = std::max<std::int64_t>(1, kTaskWork / unit);
  return std::max<std::int64_t>(1, std::min(kEnoughTasks * 2, (units + per_segment - 1) / per_segment));
}

// How many tasks of so much work are done together.
std::int64_t grain_of(std::int64_t work) { return std::max<std::int64_t>(1, kTaskWork / std::max<std::int64_t>(1, work)); }

// Calls f(task) for all tasks, some of them together if one has little work.
template <class F>
void for_tasks(std::int64_t tasks, std::int64_t work, F f) {
  parallel_for(0, tasks, grain_of(work), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) f(task);
  });
}

// For each result: join(partial, x, count, position) for each of its pieces in order, beginning with Partial(), then finish(place, partial). Partials of segments are joined by join(partial, other). If there is a
// join.four(runs, count), it makes the partials of four pieces at a time, each from Partial(): four streams keep memory busier than one.
template <class T, class Partial, class Join, class Finish>
void reduce_rows(const ReductionPlan& plan, const T* x, Join join, Finish finish) {
  const std::int64_t length = plan.reduced.back().size, pieces = (length + kPiece - 1) / kPiece;
  const Axes outer = plan.reduced.without_last();
  const std::int64_t units = outer.numel() * pieces;
  constexpr bool reads_four = requires(std::array<const T*, 4> runs) { join.four(runs, length); };
  const auto absorb = [&](Partial& partial, const T* from, std::int64_t first, std::int64_t stop) {
    for (std::int64_t unit = first; unit < stop;) {
      const std::int64_t begin = unit % pieces * kPiece;
      const std::int64_t run = pieces == units ? 0 : unit / pieces;
      const T* const at = from + (run == 0 ? 0 : place_of(outer, run).offset) + begin;
      if constexpr (reads_four) {
        // Of up to sixteen pieces, one of each quarter at a time; joined in their order.
        const std::int64_t quarter = std::min<std::int64_t>({4, (stop - unit) / 4, (length - begin) / kPiece / 4});
        if (quarter > 0) {
          std::array<Partial, 16> partials;
          for (std::int64_t p = 0; p < quarter; ++p) {
            std::array<const T*, 4> runs;
            for (std::size_t r = 0; r < 4; ++r) runs[r] = at + (static_cast<std::int64_t>(r) * quarter + p) * kPiece;
            const std::array<Partial, 4> four = join.four(runs, kPiece);
            for (std::size_t r = 0; r < 4; ++r) partials[r * static_cast<std::size_t>(quarter) + static_cast<std::size_t>(p)] = four[r];
          }
          for (std::int64_t p = 0; p < 4 * quarter; ++p) join(partial, partials[static_cast<std::size_t>(p)]);
          unit += 4 * quarter;
          continue;
        }
      }
      join(partial, at, std::min(kPiece, length - begin), run * length + begin);
      ++unit;
    }
  };
  const std::int64_t segments = segments_of(plan.results, units, std::min(length, kPiece));
  if (segments == 1) {
    const auto reduce = [&](std::int64_t i) {
      const Place place = place_of(plan.kept, i);
      Partial partial;
      absorb(partial, x + place.offset, 0, units);
      finish(place.result, partial);
    };
    parallel_for(0, plan.results, grain_of(plan.count), [&](std::int64_t first, std::int64_t stop) {
      std::int64_t i = first;
      if constexpr (reads_four) {
        // Where a row is a piece, one row of each quarter of the task's at a time.
        const std::int64_t quarter = units == 1 ? (stop - first) / 4 : 0;
        for (; i < first + quarter; ++i) {
          std::array<std::int64_t, 4> results;
          std::array<const T*, 4> runs;
          for (std::size_t r = 0; r < 4; ++r) {
            const Place place = place_of(plan.kept, i + static_cast<std::int64_t>(r) * quarter);
            results[r] = place.result;
            runs[r] = x + place.offset;
          }
          const std::array<Partial, 4> partials = join.four(runs, length);
          for (std::size_t r = 0; r < 4; ++r) finish(results[r], partials[r]);
        }
        i = first + 4 * quarter;
      }
      for (; i < stop; ++i) reduce(i);
    });
    return;
  }
  std::vector<Partial> partials(static_cast<std::size_t>(plan.results * segments));
  for_tasks(plan.results * segments, plan.count / segments, [&](std::int64_t task) {
    const std::int64_t s = task % segments;
    Partial partial;  // on this thread's stack, away from the others' cache lines
    absorb(partial, x + place_of(plan.kept, task / segments).offset, units * s / segments, units * (s + 1) / segments);
    partials[static_cast<std::size_t>(task)] = partial;
  });
  for (std::int64_t i = 0; i < plan.results; ++i) {
    Partial& partial = partials[static_cast<std::size_t>(i * segments)];
    for (std::int64_t s = 1; s < segments; ++s) join(partial, partials[static_cast<std::size_t>(i * segments + s)]);
    finish(place_of(plan.kept, i).result, partial);
  }
}

constexpr std::int64_t kColumns = 1024;  // whose totals stay in the first cache
constexpr std::int64_t kRowGroup = 64;   // rows of one call

// The same for columns. begin(columns) makes a partial result for up to kColumns columns, which has absorb(x, step, rows, columns, position) and join(other, columns); then finish(place, partial, column).
template <class T, class Begin, class Finish>
void reduce_columns(const ReductionPlan& plan, const T* x, Begin begin, Finish finish) {
  using Partial = decltype(begin(0));
  const Axis columns = plan.kept.back(), rows = plan.reduced.back();
  const Axes outer_kept = plan.kept.without_last(), outer_reduced = plan.reduced.without_last();
  const std::int64_t chunks = (columns.size + kColumns - 1) / kColumns, groups = (rows.size + kRowGroup - 1) / kRowGroup;
  const std::int64_t units = outer_reduced.numel() * groups, blocks = outer_kept.numel() * chunks;
  const std::int64_t width = std::min(columns.size, kColumns);
  const std::int64_t segments = segments_of(blocks, units, std::min(rows.size, kRowGroup) * width);
  // Columns `width * block` and on: units [first, stop) into `partial`.
  const auto absorb = [&](Partial& partial, std::int64_t block, std::int64_t first, std::int64_t stop) {
    const std::int64_t j = block % chunks * kColumns, count = std::min(kColumns, columns.size - j);
    const T* const from = x + place_of(outer_kept, block / chunks).offset + j;
    for (std::int64_t unit = first; unit < stop; ++unit) {
      const std::int64_t row = unit % groups * kRowGroup, outer = unit / groups;
      partial.absorb(from + place_of(outer_reduced, outer).offset + row * rows.step, rows.step, std::min(kRowGroup, rows.size - row), count, outer * rows.size + row);
    }
  };
  const auto write = [&](const Partial& partial, std::int64_t block) {
    const std::int64_t j = block % chunks * kColumns, count = std::min(kColumns, columns.size - j);
    const std::int64_t place = place_of(outer_kept, block / chunks).result + j * columns.result_step;
    for (std::int64_t k = 0; k < count; ++k) finish(place + k * columns.result_step, partial, static_cast<std::size_t>(k));
  };
  if (segments == 1) {
    for_tasks(blocks, plan.count * width, [&](std::int64_t block) {
      Partial partial = begin(width);
      absorb(partial, block, 0, units);
      write(partial, block);
    });
    return;
  }
  std::vector<Partial> partials(static_cast<std::size_t>(blocks * segments), begin(width));
  for_tasks(blocks * segments, plan.count * width / segments, [&](std::int64_t task) {
    const std::int64_t s = task % segments;
    absorb(partials[static_cast<std::size_t>(task)], task / segments, units * s / segments, units * (s + 1) / segments);
  });
  for (std::int64_t block = 0; block < blocks; ++block) {
    Partial& partial = partials[static_cast<std::size_t>(block * segments)];
    for (std::int64_t s = 1; s < segments; ++s) partial.join(partials[static_cast<std::size_t>(block * segments + s)], width);
    write(partial, block);
  }
}
}  // namespace

namespace {
using ColumnTotals = std::array<double, kColumns + kernels::kColumnPadding>;

void begin_totals(ColumnTotals& totals, std::int64_t columns) { std::fill_n(totals.begin(), columns + kernels::kColumnPadding, 0.0); }

template <class T>
struct ColumnSums {
  ColumnSums(const kernels::ReductionTable<T>& its_table, std::int64_t columns) : table(&its_table) { begin_totals(totals, columns); }
  const kernels::ReductionTable<T>* table;
  ColumnTotals totals;  // only as many as there are columns have values

  void absorb(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, std::int64_t) { table->add_rows(x, step, rows, columns, totals.data()); }
  void join(const ColumnSums& other, std::int64_t columns) {
    for (std::size_t k = 0; k < static_cast<std::size_t>(columns); ++k) totals[k] += other.totals[k];
  }
};

struct RunSum {
  double value = 0;
};

// Joins sums of kernel(x).
template <class T>
struct SumJoin {
  double (*kernel)(const T* x, std::int64_t count);
  void operator()(RunSum& sum, const T* x, std::int64_t count, std::int64_t) const { sum.value += kernel(x, count); }
  void operator()(RunSum& sum, const RunSum& other) const { sum.value += other.value; }
};

// Joins sums.
template <class T>
struct PlainSumJoin : SumJoin<T> {
  void (*four_sums)(const T* const* runs, std::int64_t count, double* sums);
  std::array<RunSum, 4> four(const std::array<const T*, 4>& runs, std::int64_t count) const {
    double sums[4];
    four_sums(runs.data(), count, sums);
    return {RunSum{sums[0]}, RunSum{sums[1]}, RunSum{sums[2]}, RunSum{sums[3]}};
  }
};

// Writes f(the joined sum of each row).
template <class T, class Join, class F>
void sum_rows(const ReductionPlan& plan, const Tensor& self, const Tensor& result, Join join, F f) {
  T* const out = result.data<T>();
  reduce_rows<T, RunSum>(plan, self.data<T>(), join, [=](std::int64_t place, const RunSum& sum) { out[place] = static_cast<T>(f(sum.value)); });
}

Tensor sum_tuned(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  if (!plan) return op::sum.function(Layer::CPU)(self, dim, keepdim);
  const Tensor result = empty(sizes_after(self, dim, keepdim), self.scalar_type());
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    const kernels::ReductionTable<T>& table = reduction_table<T>();
    if (plan->rows) return sum_rows<T>(*plan, self, result, PlainSumJoin<T>{{table.sum}, table.four_sums}, [](double sum) { return sum; });
    T* const out = result.data<T>();
    reduce_columns<T>(*plan, self.data<T>(), [&](std::int64_t columns) { return ColumnSums<T>(table, columns); },
                      [=](std::int64_t place, const ColumnSums<T>& sums, std::size_t k) { out[place] = static_cast<T>(sums.totals[k]); });
  });
  return result;
}

// By the kernels of powers and of sums. Nothing if a sum comes near to the ends of the dtype, where numbers may have left it on the way; the reference has double.
std::optional<Tensor> norm_by_powers(const Tensor& self, double p, IntArrayRef dim, bool keepdim) {
  const Tensor magnitudes = abs(self);
  const Tensor powers = p == 1 ? magnitudes : p == 2 ? magnitudes * magnitudes : p == 3 ? magnitudes * magnitudes * magnitudes : pow(magnitudes, p);
  const Tensor sums = op::sum(powers, dim, keepdim);
  bool inside = true;
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    using Limits = std::numeric_limits<T>;
    const T least = Limits::min() / (Limits::epsilon() * Limits::epsilon()), most = Limits::max();
    const T* const sum = sums.data<T>();
    inside = std::all_of(sum, sum + sums.numel(), [=](T s) { return s >= least && s <= most; });
  });
  if (!inside) return std::nullopt;
  return p == 1 ? sums : p == 2 ? sqrt(sums) : pow(sums, 1 / p);
}

// p = 1 and 2 over runs have kernels of their own.
Tensor norm_tuned(const Tensor& self, double p, IntArrayRef dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = p != 0 && std::isfinite(p) ? plan_reduction(self, dim) : std::nullopt;
  if (!plan) return op::norm.function(Layer::CPU)(self, p, dim, keepdim);
  if (!plan->rows || (p != 1 && p != 2)) {
    const std::optional<Tensor> norm = norm_by_powers(self, p, dim, keepdim);
    return norm ? *norm : op::norm.function(Layer::CPU)(self, p, dim, keepdim);
  }
  const Tensor result = empty(sizes_after(self, dim, keepdim), self.scalar_type());
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    const kernels::ReductionTable<T>& table = reduction_table<T>();
    if (p == 1) sum_rows<T>(*plan, self, result, SumJoin<T>{table.sum_of_magnitudes}, [](double sum) { return sum; });
    else sum_rows<T>(*plan, self, result, SumJoin<T>{table.sum_of_squares}, [](double sum) { return std::sqrt(sum); });
  });
  return result;
}
}  // namespace

namespace {
struct CountedMoments {
  kernels::Moments moments;
  double count = 0;
};

// Joins b's numbers to a's.
void join_moments(CountedMoments& a, const kernels::Moments& b, double b_count) {
  const double total = a.count + b_count, delta = b.mean - a.moments.mean;
  a.moments.squares += b.squares + delta * delta * (a.count * b_count / total);
  a.moments.mean = a.count == 0 ? b.mean : a.moments.mean + delta * (b_count / total);
  a.count = total;
}

template <class T>
struct ColumnMoments {
  ColumnMoments(const kernels::ReductionTable<T>& its_table, std::int64_t columns) : table(&its_table) {
    begin_totals(mean, columns);
    begin_totals(squares, columns);
  }
  const kernels::ReductionTable<T>* table;
  std::int64_t count = 0;
  ColumnTotals mean, squares;

  void absorb(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, std::int64_t) {
    table->moments_of_rows(x, step, rows, columns, mean.data(), squares.data(), count);
    count += rows;
  }
  void join(const ColumnMoments& other, std::int64_t columns) {
    for (std::size_t k = 0; k < static_cast<std::size_t>(columns); ++k) {
      CountedMoments joined{{mean[k], squares[k]}, static_cast<double>(count)};
      join_moments(joined, {other.mean[k], other.squares[k]}, static_cast<double>(other.count));
      mean[k] = joined.moments.mean;
      squares[k] = joined.moments.squares;
    }
    count += other.count;
  }
};

// write(place, mean, squares) for each result.
template <class T, class Write>
void walk_moments(const ReductionPlan& plan, const Tensor& self, Write write) {
  const kernels::ReductionTable<T>& table = reduction_table<T>();
  if (plan.rows) {
    struct Joining {
      const kernels::ReductionTable<T>& kernels;
      void operator()(CountedMoments& so_far, const T* x, std::int64_t count, std::int64_t) const { join_moments(so_far, kernels.moments(x, count), static_cast<double>(count)); }
      void operator()(CountedMoments& so_far, const CountedMoments& other) const { join_moments(so_far, other.moments, other.count); }
    };
    reduce_rows<T, CountedMoments>(plan, self.data<T>(), Joining{table}, [=](std::int64_t place, const CountedMoments& all) { write(place, all.moments.mean, all.moments.squares); });
  } else {
    reduce_columns<T>(
        plan, self.data<T>(), [&](std::int64_t columns) { return ColumnMoments<T>(table, columns); },
        [=](std::int64_t place, const ColumnMoments<T>& all, std::size_t k) { write(place, all.mean[k], all.squares[k]); });
  }
}

// f(variance) for each result.
template <class F>
Tensor variances(const ReductionPlan& plan, const Tensor& self, IntArrayRef dim, double correction, bool keepdim, F f) {
  const Tensor result = empty(sizes_after(self, dim, keepdim), self.scalar_type());
  const double divisor = std::max(0.0, static_cast<double>(plan.count) - correction);
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    walk_moments<T>(plan, self, [=, out = result.data<T>()](std::int64_t place, double, double squares) { out[place] = static_cast<T>(f(squares / divisor)); });
  });
  return result;
}
}  // namespace

bool kernels::moments_over(const Tensor& self, IntArrayRef dim, double* means, double* variances) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  if (!plan) return false;
  const auto count = static_cast<double>(plan->count);
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    walk_moments<T>(*plan, self, [=](std::int64_t place, double mean, double squares) {
      means[place] = mean;
      variances[place] = squares / count;
    });
  });
  return true;
}

namespace {
Tensor var_tuned(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  if (!plan) return op::var.function(Layer::CPU)(self, dim, correction, keepdim);
  return variances(*plan, self, dim, correction, keepdim, [](double variance) { return variance; });
}
Tensor std_tuned(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  if (!plan) return op::std.function(Layer::CPU)(self, dim, correction, keepdim);
  return variances(*plan, self, dim, correction, keepdim, [](double variance) { return std::sqrt(variance); });
}
}  // namespace

namespace {
template <class T>
struct Extreme {
  T value{};
  std::int64_t position = -1;  // none yet
};

// Whether x takes the place of the best: NaN beats all, and the first of equals stays.
template <class T>
bool beats(T x, T best, bool largest) {
  return x != x ? best == best : largest ? x > best : x < best;
}

template <class T>
struct ExtremeOfRuns {
  const kernels::ReductionTable<T>& table;
  bool largest;
  void operator()(Extreme<T>& so_far, const T* x, std::int64_t count, std::int64_t position) const {
    const std::int64_t at = table.extreme(x, count, largest);
    (*this)(so_far, Extreme<T>{x[at], position + at});
  }
  void operator()(Extreme<T>& so_far, const Extreme<T>& other) const {
    if (so_far.position < 0 || beats(other.value, so_far.value, largest)) so_far = other;
  }
};

template <class T>
struct ColumnExtremes {
  ColumnExtremes(const kernels::ReductionTable<T>& its_table, std::int64_t columns, bool the_largest, bool with_positions) : table(&its_table), largest(the_largest), has_positions(with_positions) {
    std::fill_n(best.begin(), columns + kernels::kColumnPadding, T{0});
    std::fill_n(positions.begin(), columns + kernels::kColumnPadding, 0);
  }
  const kernels::ReductionTable<T>* table;
  bool largest, has_positions;
  bool empty = true;
  std::array<T, kColumns + kernels::kColumnPadding> best;
  std::array<kernels::Position<T>, kColumns + kernels::kColumnPadding> positions;

  void absorb(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, std::int64_t position) {
    if (empty) {
      std::copy(x, x + columns, best.begin());
      std::fill_n(positions.begin(), columns, static_cast<kernels::Position<T>>(position));
      empty = false;
    }
    if (has_positions) table->extreme_of_rows(x, step, rows, columns, best.data(), positions.data(), position, largest);
    else table->extreme_values_of_rows(x, step, rows, columns, best.data(), largest);
  }
  void join(const ColumnExtremes& other, std::int64_t columns) {
    for (std::size_t k = 0; k < static_cast<std::size_t>(columns); ++k)
      if (beats(other.best[k], best[k], largest)) {
        best[k] = other.best[k];
        positions[k] = other.positions[k];
      }
  }
};

// Writes the extremes and their positions; either may be undefined. Positions are right for one reduced dimension.
void extremes(const ReductionPlan& plan, const Tensor& self, bool largest, const Tensor& values, const Tensor& indices) {
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    const kernels::ReductionTable<T>& table = reduction_table<T>();
    T* const value = values.defined() ? values.data<T>() : nullptr;
    std::int64_t* const index = indices.defined() ? indices.data<std::int64_t>() : nullptr;
    const auto write = [=](std::int64_t place, T best, std::int64_t position) {
      if (value != nullptr) value[place] = best;
      if (index != nullptr) index[place] = position;
    };
    if (plan.rows) {
      reduce_rows<T, Extreme<T>>(plan, self.data<T>(), ExtremeOfRuns<T>{table, largest}, [=](std::int64_t place, const Extreme<T>& best) { write(place, best.value, best.position); });
    } else {
      reduce_columns<T>(plan, self.data<T>(), [&](std::int64_t columns) { return ColumnExtremes<T>(table, columns, largest, index != nullptr); },
                        [=](std::int64_t place, const ColumnExtremes<T>& best, std::size_t k) { write(place, best.best[k], best.positions[k]); });
    }
  });
}

// As for other reductions; positions of columns are as wide as the numbers.
std::optional<ReductionPlan> plan_extremes(const Tensor& self, IntArrayRef dim) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  return plan && plan->count <= std::numeric_limits<std::int32_t>::max() ? plan : std::nullopt;
}

template <bool kLargest>
Tensor extreme_tuned(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_extremes(self, dim);
  if (!plan) return (kLargest ? op::amax : op::amin).function(Layer::CPU)(self, dim, keepdim);
  const Tensor result = empty(sizes_after(self, dim, keepdim), self.scalar_type());
  extremes(*plan, self, kLargest, result, Tensor());
  return result;
}

template <bool kLargest>
std::tuple<Tensor, Tensor> extreme_and_index_tuned(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_extremes(self, {dim});
  if (!plan) return (kLargest ? op::max : op::min).function(Layer::CPU)(self, dim, keepdim);
  const DimVector sizes = sizes_after(self, {dim}, keepdim);
  const Tensor values = empty(sizes, self.scalar_type()), indices = empty(sizes, kLong);
  extremes(*plan, self, kLargest, values, indices);
  return {values, indices};
}

template <bool kLargest>
Tensor extreme_index_tuned(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_extremes(self, {dim});
  if (!plan) return (kLargest ? op::argmax : op::argmin).function(Layer::CPU)(self, dim, keepdim);
  const Tensor indices = empty(sizes_after(self, {dim}, keepdim), kLong);
  extremes(*plan, self, kLargest, Tensor(), indices);
  return indices;
}
}  // namespace

void register_tuned_reductions() {
  op::sum.set(Layer::TunedCPU, sum_tuned);
  op::norm.set(Layer::TunedCPU, norm_tuned);
  op::var.set(Layer::TunedCPU, var_tuned);
  op::std.set(Layer::TunedCPU, std_tuned);
  op::amax.set(Layer::TunedCPU, extreme_tuned<true>);
  op::amin.set(Layer::TunedCPU, extreme_tuned<false>);
  op::max.set(Layer::TunedCPU, extreme_and_index_tuned<true>);
  op::min.set(Layer::TunedCPU, extreme_and_index_tuned<false>);
  op::argmax.set(Layer::TunedCPU, extreme_index_tuned<true>);
  op::argmin.set(Layer::TunedCPU, extreme_index_tuned<false>);
}

}  // namespace tinytorch
