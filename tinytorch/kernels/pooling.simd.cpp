// From the lesson modules/55_pooling_kernels/pooling_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <algorithm>
#include "tinytorch/kernels/pooling_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The largest numbers of a vector of windows so far, and their distances from their windows' corners.
template <class T>
class Largest {
 public:
  using Tag = hn::ScalableTag<T>;
  using Places = hn::RebindToSigned<Tag>;
  using Place = hn::TFromD<Places>;
  static constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(Tag()));

  explicit Largest(const PoolingRows<T>& rows)
      : row_(rows), corners_(hn::Mul(hn::Iota(Places(), 0), places_at(rows.stride == 2 ? 2 : 1))), right_(places_at(1)), below_(places_at(rows.row)), below_right_(places_at(rows.row + 1)) {
    // With pairs the last load begins at an even column.
    const std::int64_t last_column = rows.stride == 2 && rows.column == 1 ? (rows.columns - 1) / 2 * 2 : (rows.columns - 1) * rows.column;
    reach_ = (rows.rows - 1) * rows.row + last_column + kLanes * rows.stride;
  }

  const PoolingRows<T>& row() const { return row_; }
  // To the next row of windows.
  void go_on() {
    row_.corner += row_.corner_step;
    row_.readable -= row_.corner_step;
    row_.first = next_first();
    row_.winners += row_.result_step;
    row_.values += row_.result_step;
  }

  // Windows x to x + count. REQUIRES: count <= kLanes; fits(x).
  void find(std::int64_t x, std::int64_t count) {
    const T* const corner = row_.corner + x * row_.stride;
    if (side_by_side()) {
      hn::Vec<Tag> even, odd, even_below, odd_below;
      hn::LoadInterleaved2(Tag(), corner, even, odd);
      hn::LoadInterleaved2(Tag(), corner + row_.row, even_below, odd_below);
      meet_four(even, odd, even_below, odd_below);
    } else {
      meet_all(corner);
    }
    write(hn::Add(places_, hn::Add(corners_, places_at(row_.first + x * row_.stride))), values_, row_.winners + x, row_.values + x, count);
  }

  // Whether half a vector holds all windows of a row, and a vector those of two rows.
  bool two_rows_fit() const { return kLanes >= 4 && side_by_side() && row_.count <= kLanes / 2 && row_.corner_step + row_.row + kLanes <= row_.readable; }

  // All windows of this row and the next. REQUIRES: two_rows_fit().
  void find_two_rows() {
#if HWY_TARGET != HWY_SCALAR
    const auto load = [&](std::int64_t at, hn::Vec<Tag>& even, hn::Vec<Tag>& odd) {
      const auto first = hn::LoadU(Tag(), row_.corner + at), second = hn::LoadU(Tag(), row_.corner + row_.corner_step + at);
      even = hn::ConcatEven(Tag(), second, first);
      odd = hn::ConcatOdd(Tag(), second, first);
    };
    hn::Vec<Tag> even, odd, even_below, odd_below;
    load(0, even, odd);
    load(row_.row, even_below, odd_below);
    meet_four(even, odd, even_below, odd_below);
    write(hn::Add(places_, hn::Add(corners_, places_at(row_.first))), values_, row_.winners, row_.values, row_.count);
    const auto second = hn::Add(hn::ConcatUpperUpper(Places(), places_, places_), hn::Add(corners_, places_at(next_first())));
    write(second, hn::ConcatUpperUpper(Tag(), values_, values_), row_.winners + row_.result_step, row_.values + row_.result_step, row_.count);
#endif
  }

  // Whether vectors for kLanes windows from x on stay inside of what may be read.
  bool fits(std::int64_t x) const { return x * row_.stride + reach_ <= row_.readable; }

 private:
  std::int64_t next_first() const {
    const std::int64_t next = row_.first + row_.corner_step;
    return next < row_.plane ? next : next - row_.plane;
  }
  static hn::Vec<Places> places_at(std::int64_t place) { return hn::Set(Places(), static_cast<Place>(place)); }

  // Windows of 2 x 2 beside each other, which most networks have: without loops they take a quarter less time.
  bool side_by_side() const { return row_.stride == 2 && row_.rows == 2 && row_.columns == 2 && row_.column == 1; }

  HWY_INLINE void meet_all(const T* corner) {
    bool empty = true;
    const auto meet_next = [&](hn::Vec<Tag> value, std::int64_t at) {
      if (empty) values_ = value, places_ = places_at(at);
      else meet(value, places_at(at));
      empty = false;
    };
    for (std::int64_t i = 0; i < row_.rows; ++i) {
      for (std::int64_t j = 0; j < row_.columns; ++j) {
        const std::int64_t at = i * row_.row + j * row_.column;
        if (row_.stride == 1) {
          meet_next(hn::LoadU(Tag(), corner + at), at);
          continue;
        }
        hn::Vec<Tag> even, odd;
        hn::LoadInterleaved2(Tag(), corner + at, even, odd);
        meet_next(even, at);
        if (row_.column == 1 && j + 1 < row_.columns) meet_next(odd, at + 1), ++j;
      }
    }
  }

  HWY_INLINE void meet_four(hn::Vec<Tag> even, hn::Vec<Tag> odd, hn::Vec<Tag> even_below, hn::Vec<Tag> odd_below) {
    values_ = even;
    places_ = hn::Zero(Places());
    // A sum with a NaN is NaN. Hardly any has one, and a sum costs less than asking for each number.
    if (hn::AllFalse(Tag(), hn::IsNaN(hn::Add(hn::Add(even, odd), hn::Add(even_below, odd_below))))) {
      meet<false>(odd, right_);
      meet<false>(even_below, below_);
      meet<false>(odd_below, below_right_);
    } else {
      meet(odd, right_);
      meet(even_below, below_);
      meet(odd_below, below_right_);
    }
  }

  template <bool MayBeNaN = true>
  HWY_INLINE void meet(hn::Vec<Tag> value, hn::Vec<Places> place) {
    auto wins = hn::Gt(value, values_);
    if constexpr (MayBeNaN) wins = hn::Or(wins, hn::IsNaN(value));
    values_ = hn::IfThenElse(wins, value, values_);
    places_ = hn::IfThenElse(hn::RebindMask(Places(), wins), place, places_);
  }

  // The first `count` of places and values.
  static HWY_INLINE void write(hn::Vec<Places> places, hn::Vec<Tag> values, std::int64_t* winners, T* to, std::int64_t count) {
    if (HWY_TARGET != HWY_AVX3 && count < kLanes) {
      HWY_ALIGN Place found[kLanes];
      HWY_ALIGN T largest[kLanes];
      hn::Store(places, Places(), found);
      hn::Store(values, Tag(), largest);
      std::copy_n(found, count, winners);
      std::copy_n(largest, count, to);
      return;
    }
    write_first(values, Tag(), to, count);
#if HWY_TARGET == HWY_SCALAR
    *winners = hn::GetLane(places);
#else
    const hn::ScalableTag<std::int64_t> wide;
    if constexpr (sizeof(T) == 8) {
      write_first(places, wide, winners, count);
    } else {
      const hn::Half<Places> half;
      write_first(hn::PromoteTo(wide, hn::LowerHalf(half, places)), wide, winners, std::min(count, kLanes / 2));
      if (count > kLanes / 2) write_first(hn::PromoteTo(wide, hn::UpperHalf(half, places)), wide, winners + kLanes / 2, count - kLanes / 2);
    }
#endif
  }

  template <class D>
  static HWY_INLINE void write_first(hn::Vec<D> v, D d, hn::TFromD<D>* to, std::int64_t count) {
    if (count == static_cast<std::int64_t>(hn::MaxLanes(d))) hn::StoreU(v, d, to);
    else hn::BlendedStore(v, hn::FirstN(d, static_cast<std::size_t>(count)), d, to);
  }

  PoolingRows<T> row_;
  std::int64_t reach_;  // how many numbers from its first corner on the vectors of kLanes windows read
  hn::Vec<Places> corners_, right_, below_, below_right_;
  hn::Vec<Tag> values_ = hn::Zero(Tag());
  hn::Vec<Places> places_ = hn::Zero(Places());
};

// The first row of windows.
template <class T>
HWY_INLINE void find_in_line(Largest<T>& largest, const PoolingRows<T>& row, bool by_vectors) {
  std::int64_t x = 0;
  constexpr std::int64_t lanes = Largest<T>::kLanes;
  if (by_vectors) {
    for (; x + lanes <= row.count && largest.fits(x); x += lanes) largest.find(x, lanes);
    if (x < row.count && largest.fits(x)) largest.find(x, row.count - x), x = row.count;
  }
  for (; x < row.count; ++x) {
    const T* const corner = row.corner + x * row.stride;
    std::int64_t place = 0;
    for (std::int64_t i = 0; i < row.rows; ++i) {
      for (std::int64_t j = i == 0 ? 1 : 0; j < row.columns; ++j) {
        const std::int64_t at = i * row.row + j * row.column;
        const T value = corner[at];
        // A selection, not a jump.
        const bool wins = static_cast<bool>(static_cast<int>(value > corner[place]) | static_cast<int>(value != value));
        place = wins ? at : place;
      }
    }
    row.winners[x] = row.first + x * row.stride + place;
    row.values[x] = corner[place];
  }
}

template <class T>
void find_largest(const PoolingRows<T>& rows) {
  const bool by_vectors = (rows.stride == 1 || rows.stride == 2) && rows.plane < (std::int64_t{1} << 30);
  Largest<T> largest(rows);
  for (std::int64_t line = 0; line < rows.lines; ++line) {
    if (by_vectors && line + 1 < rows.lines && largest.two_rows_fit()) {
      largest.find_two_rows();
      largest.go_on();
      ++line;
    } else {
      find_in_line(largest, largest.row(), by_vectors);
    }
    largest.go_on();
  }
}

// The winners of a vector of channels from c on.
template <class T>
HWY_INLINE void find_of_channels(const ChannelWindow<T>& window, std::int64_t c) {
  using Tag = hn::ScalableTag<T>;
  using Places = hn::RebindToSigned<Tag>;
  using Place = hn::TFromD<Places>;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(Tag()));
  const T* const corner = window.corner + c;
  auto values = hn::LoadU(Tag(), corner);
  auto places = hn::Set(Places(), static_cast<Place>(window.first));
  for (std::int64_t i = 0; i < window.rows; ++i)
    for (std::int64_t j = i == 0 ? 1 : 0; j < window.columns; ++j) {
      const auto value = hn::LoadU(Tag(), corner + i * window.row + j * window.column);
      const auto wins = hn::Or(hn::Gt(value, values), hn::IsNaN(value));
      values = hn::IfThenElse(wins, value, values);
      places = hn::IfThenElse(hn::RebindMask(Places(), wins), hn::Set(Places(), static_cast<Place>(window.first + i * window.place_row + j * window.place_column)), places);
    }
  hn::StoreU(values, Tag(), window.values + c);
  const hn::ScalableTag<std::int64_t> wide;
  if constexpr (sizeof(T) == 8) {
    hn::StoreU(places, wide, window.winners + c);
  } else {
    constexpr std::int64_t kWide = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<std::int64_t>()));
    HWY_ALIGN Place found[lanes];
    hn::Store(places, Places(), found);
    for (std::int64_t lane = 0; lane < lanes; lane += kWide) hn::StoreU(hn::PromoteTo(wide, hn::LoadU(hn::Rebind<Place, decltype(wide)>(), found + lane)), wide, window.winners + c + lane);
  }
}

template <class T>
void find_in_channels(const ChannelWindow<T>& window) {
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  std::int64_t c = 0;
  for (; c + lanes <= window.channels; c += lanes) find_of_channels(window, c);
  if (c < window.channels && window.channels >= lanes) return find_of_channels(window, window.channels - lanes);  // some a second time
  for (; c < window.channels; ++c) {
    const T* best = window.corner + c;
    std::int64_t place = window.first;
    for (std::int64_t i = 0; i < window.rows; ++i)
      for (std::int64_t j = i == 0 ? 1 : 0; j < window.columns; ++j) {
        const T* const at = window.corner + c + i * window.row + j * window.column;
        if (!(*at > *best) && *at == *at) continue;
        best = at;
        place = window.first + i * window.place_row + j * window.place_column;
      }
    window.winners[c] = place;
    window.values[c] = *best;
  }
}

}  // namespace

constinit const PoolingKernels pooling_kernels = {{find_largest<float>, find_in_channels<float>}, {find_largest<double>, find_in_channels<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// `Vectors` vectors of channels of a window from c on, whose sums stay in registers; with Part only the first `count` channels of a vector. Pixel (i, j) is at pixels + i * row + j * channels.
template <bool Weighted, int Vectors, bool Part, class T>
HWY_INLINE void sum_vectors(const LineOfWindows<T>& line, std::int64_t x, std::int64_t c, std::int64_t count) {
  using Tag = hn::ScalableTag<T>;
  const Tag d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(Tag()));
  const std::int64_t first = line.firsts[x], columns = line.lengths[x];
  hn::Vec<Tag> sums[Vectors];
  for (int v = 0; v < Vectors; ++v) sums[v] = hn::Zero(d);
  for (std::int64_t i = 0; i < line.rows; ++i)
    for (std::int64_t j = first; j < first + columns; ++j) {
      const T* const pixel = line.from + i * line.row + j * line.channels + c;
      const auto weight = hn::Set(d, Weighted ? line.weights[i * line.weight_row + j] : T{1});
      for (int v = 0; v < Vectors; ++v) {
        const auto numbers = Part ? LoadPart(d, pixel, count) : hn::LoadU(d, pixel + v * lanes);
        sums[v] = Weighted ? hn::MulAdd(numbers, weight, sums[v]) : hn::Add(sums[v], numbers);
      }
    }
  const auto divisor = hn::Set(d, Weighted ? T{1} : static_cast<T>(line.divisor * line.divisors[x]));
  T* const out = line.out + x * line.channels + c;
  for (int v = 0; v < Vectors; ++v) {
    const auto result = Weighted ? sums[v] : hn::Div(sums[v], divisor);
    if constexpr (Part) StorePart(result, d, out, count);
    else hn::StoreU(result, d, out + v * lanes);
  }
}

template <bool Weighted, class T>
void sum_line(const LineOfWindows<T>& line) {
  constexpr int kVectors = 4;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  for (std::int64_t x = 0; x < line.count; ++x) {
    std::int64_t c = 0;
    for (; c + kVectors * lanes <= line.channels; c += kVectors * lanes) sum_vectors<Weighted, kVectors, false>(line, x, c, lanes);
    for (; c + lanes <= line.channels; c += lanes) sum_vectors<Weighted, 1, false>(line, x, c, lanes);
    if (c < line.channels) sum_vectors<Weighted, 1, true>(line, x, c, line.channels - c);
  }
}

// sums[padding + x] = the sum of column x over `rows` rows of a plane.
template <class T>
HWY_INLINE void sum_columns_of_rows(const T* from, std::int64_t width, std::int64_t rows, T* sums) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  std::int64_t x = 0;
  for (; x + lanes <= width; x += lanes) {
    auto sum = hn::Zero(d);
    for (std::int64_t i = 0; i < rows; ++i) sum = hn::Add(sum, hn::LoadU(d, from + i * width + x));
    hn::StoreU(sum, d, sums + x);
  }
  if (x == width) return;
  auto sum = hn::Zero(d);
  for (std::int64_t i = 0; i < rows; ++i) sum = hn::Add(sum, LoadPart(d, from + i * width + x, width - x));
  hn::StoreU(sum, d, sums + x);  // with zeros behind the line
}

// The columns j of neighbouring windows, the first of which begins at `line`: every number, or every second one. What lies behind the windows' columns is not used.
template <std::int64_t Stride, class T>
HWY_INLINE hn::Vec<hn::ScalableTag<T>> column_of_windows(const T* line) {
  const hn::ScalableTag<T> d;
  if constexpr (Stride == 1) return hn::LoadU(d, line);
#if HWY_TARGET != HWY_SCALAR
  else return hn::ConcatEven(d, hn::LoadU(d, line + hn::MaxLanes(d)), hn::LoadU(d, line));
#else
  else return hn::LoadU(d, line);  // one window
#endif
}

template <std::int64_t Stride, class T>
HWY_INLINE void means_of_line(const PlanesOfWindows<T>& planes, std::int64_t y, T* out) {
  const hn::ScalableTag<T> d;
  const auto row_divisor = hn::Set(d, static_cast<T>(planes.row_divisors[y]));
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  for (std::int64_t x = 0; x < planes.count; x += lanes) {
    const std::int64_t count = planes.count - x < lanes ? planes.count - x : lanes;
    auto sum = hn::Zero(d);
    for (std::int64_t j = 0; j < planes.kernel; ++j) sum = hn::Add(sum, column_of_windows<Stride>(planes.sums + x * Stride + j));
    const auto result = hn::Div(sum, hn::Mul(row_divisor, hn::LoadU(d, planes.divisors + x)));
    if (count == lanes) hn::StoreU(result, d, out + x);
    else StorePart(result, d, out + x, count);
  }
}

template <class T>
void means_in_rows(const PlanesOfWindows<T>& planes) {
  T* out = planes.out;
  for (std::int64_t p = 0; p < planes.planes; ++p) {
    const T* const plane = planes.from + p * planes.height * planes.width;
    for (std::int64_t y = 0; y < planes.lines; ++y, out += planes.count) {
      sum_columns_of_rows(plane + planes.firsts[y] * planes.width, planes.width, planes.lengths[y], planes.sums + planes.padding);
      if (planes.stride == 1) means_of_line<1>(planes, y, out);
      else if (planes.stride == 2) means_of_line<2>(planes, y, out);
      else
        for (std::int64_t x = 0; x < planes.count; ++x) {
          T sum = 0;
          for (std::int64_t j = 0; j < planes.kernel; ++j) sum += planes.sums[x * planes.stride + j];
          out[x] = sum / (static_cast<T>(planes.row_divisors[y]) * planes.divisors[x]);
        }
    }
  }
}
}  // namespace

constinit const WindowMeansKernels window_means_kernels = {{sum_line<false, float>, sum_line<true, float>, means_in_rows<float>}, {sum_line<false, double>, sum_line<true, double>, means_in_rows<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
