// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <algorithm>
#include "tinytorch/kernels/pooling_kernels.h"

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
  static constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(Tag()));

  explicit Largest(const PoolingRows<T>& rows) : row_(rows) {}

  const PoolingRows<T>& row() const { return row_; }
  // To the next row of windows.
  void go_on() {
    row_.corner += row_.corner_step;
    row_.readable -= row_.corner_step;
    row_.first += row_.corner_step;
    row_.winners += row_.winners_step;
  }

  // Windows x to x + count. REQUIRES: count <= kLanes; fits(x).
  void find(std::int64_t x, std::int64_t count) {
    const T* const corner = row_.corner + x * row_.stride;
    if (row_.stride == 2 && row_.rows == 2 && row_.columns == 2 && row_.column == 1) meet_four(corner);
    else meet_all(corner);
    hn::TFromD<Places> places[kLanes];
    hn::StoreU(places_, Places(), places);
    const std::int64_t first = row_.first + x * row_.stride;
    if constexpr (HWY_TARGET == HWY_AVX3) return write_whole(places, first, row_.winners + x, count);
    for (std::int64_t lane = 0; lane < count; ++lane) row_.winners[x + lane] = first + lane * row_.stride + places[lane];
  }

  // Whether vectors for kLanes windows from x on stay inside of what may be read.
  bool fits(std::int64_t x) const {
    // With pairs the last load begins at an even column.
    const std::int64_t last_column = row_.stride == 2 && row_.column == 1 ? (row_.columns - 1) / 2 * 2 : (row_.columns - 1) * row_.column;
    return x * row_.stride + (row_.rows - 1) * row_.row + last_column + kLanes * row_.stride <= row_.readable;
  }

 private:
  HWY_INLINE void meet_all(const T* corner) {
    empty_ = true;
    for (std::int64_t i = 0; i < row_.rows; ++i) {
      for (std::int64_t j = 0; j < row_.columns; ++j) {
        const std::int64_t at = i * row_.row + j * row_.column;
        if (row_.stride == 1) {
          meet(hn::LoadU(Tag(), corner + at), at);
          continue;
        }
        hn::Vec<Tag> even, odd;
        hn::LoadInterleaved2(Tag(), corner + at, even, odd);
        meet(even, at);
        if (row_.column == 1 && j + 1 < row_.columns) meet(odd, at + 1), ++j;
      }
    }
  }

  // The same for windows of 2 x 2 side by side, which most networks have: without loops it takes a quarter less time.
  HWY_INLINE void meet_four(const T* corner) {
    hn::Vec<Tag> even, odd;
    hn::LoadInterleaved2(Tag(), corner, even, odd);
    values_ = even;
    places_ = hn::Zero(Places());
    empty_ = false;
    meet(odd, 1);
    hn::LoadInterleaved2(Tag(), corner + row_.row, even, odd);
    meet(even, row_.row);
    meet(odd, row_.row + 1);
  }

  HWY_INLINE void meet(hn::Vec<Tag> value, std::int64_t at) {
    const auto place = hn::Set(Places(), static_cast<hn::TFromD<Places>>(at));
    if (empty_) {
      empty_ = false;
      values_ = value;
      places_ = place;
      return;
    }
    const auto wins = hn::Or(hn::Gt(value, values_), hn::IsNaN(value));
    values_ = hn::IfThenElse(wins, value, values_);
    places_ = hn::IfThenElse(hn::RebindMask(Places(), wins), place, places_);
  }

  // Vectors of places, of which a mask stores the first `count`.
  HWY_INLINE void write_whole(const hn::TFromD<Places>* places, std::int64_t first, std::int64_t* to, std::int64_t count) {
    const hn::ScalableTag<std::int64_t> d;
    const hn::Rebind<hn::TFromD<Places>, hn::ScalableTag<std::int64_t>> as_places;
    constexpr std::int64_t kWide = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<std::int64_t>()));
    const auto lanes = hn::Iota(d, 0), corners = row_.stride == 2 ? hn::Add(lanes, lanes) : lanes;
    for (std::int64_t lane = 0; lane < count; lane += kWide) {
      const auto corner = hn::Add(corners, hn::Set(d, first + lane * row_.stride));
      const auto distance = hn::LoadU(as_places, places + lane);
      hn::Vec<decltype(d)> place;
      if constexpr (sizeof(T) == 4) place = hn::Add(corner, hn::PromoteTo(d, distance));
      else place = hn::Add(corner, distance);
      hn::BlendedStore(place, hn::FirstN(d, static_cast<std::size_t>(std::min(kWide, count - lane))), d, to + lane);
    }
  }

  PoolingRows<T> row_;
  bool empty_ = true;
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
  }
}

template <class T>
void find_largest(const PoolingRows<T>& rows) {
  const bool by_vectors = (rows.stride == 1 || rows.stride == 2) && rows.rows * rows.row < (std::int64_t{1} << 30);
  Largest<T> largest(rows);
  for (std::int64_t line = 0; line < rows.lines; ++line) {
    find_in_line(largest, largest.row(), by_vectors);
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
  }
}

template <class T>
void sum_window(const T* corner, std::int64_t channels, std::int64_t rows, std::int64_t columns, std::int64_t row, std::int64_t column, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  std::int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    auto sum = hn::Zero(d);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) sum = hn::Add(sum, hn::LoadU(d, corner + i * row + j * column + c));
    hn::StoreU(sum, d, out + c);
  }
  for (; c < channels; ++c) {
    T sum{0};
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) sum += corner[i * row + j * column + c];
    out[c] = sum;
  }
}

template <class T>
void spread_window(const T* grad, std::int64_t channels, std::int64_t rows, std::int64_t columns, std::int64_t row, std::int64_t column, bool adds, T* corner) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) {
      T* const to = corner + i * row + j * column;
      std::int64_t c = 0;
      for (; c + lanes <= channels; c += lanes) {
        const auto g = hn::LoadU(d, grad + c);
        hn::StoreU(adds ? hn::Add(hn::LoadU(d, to + c), g) : g, d, to + c);
      }
      for (; c < channels; ++c) to[c] = adds ? to[c] + grad[c] : grad[c];
    }
}
}  // namespace

constinit const PoolingKernels pooling_kernels = {{sum_window<float>, spread_window<float>}, {sum_window<double>, spread_window<double>}, {find_largest<float>, find_in_channels<float>}, {find_largest<double>, find_in_channels<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
