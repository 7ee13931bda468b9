// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tinytorch {

// The integers of [begin, end), for a range-based for loop; empty when end <= begin.
template <class Integer>
class IntegerRange {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Integer;
    using difference_type = std::ptrdiff_t;
    using pointer = const Integer*;
    using reference = Integer;

    explicit iterator(Integer value) : value_(value) {}
    Integer operator*() const { return value_; }
    iterator& operator++() {
      ++value_;
      return *this;
    }
    iterator operator++(int) { return iterator(value_++); }
    bool operator==(const iterator&) const = default;

   private:
    Integer value_;
  };

  IntegerRange(Integer begin, Integer end) : begin_(begin), end_(end < begin ? begin : end) {}
  iterator begin() const { return iterator(begin_); }
  iterator end() const { return iterator(end_); }

 private:
  Integer begin_;
  Integer end_;
};

// irange(begin, end) counts from begin to end - 1 in the type of end, irange(end) from 0.
template <class Begin, class End>
requires std::is_integral_v<Begin> && std::is_integral_v<End> IntegerRange<End> irange(Begin begin, End end) {
  return {static_cast<End>(begin), end};
}

template <class End>
requires std::is_integral_v<End> IntegerRange<End> irange(End end) { return {End{0}, end}; }

struct CacheInfo {
  int level = 0;
  int64_t bytes = 0;
};

// What a result was measured on. Unknown strings are empty, unknown numbers 0.
struct SystemInfo {
  std::string os;
  std::string compiler;
  std::string standard;
  bool optimized = false;  // the library was compiled with optimization
  std::string cpu_model;
  int cores = 0;  // logical
  int64_t memory_bytes = 0;
  int64_t cache_line_bytes = 0;
  std::vector<CacheInfo> caches;  // data and unified caches, nearest first
  std::vector<std::string> simd;  // what the CPU supports, not what the code was compiled for
};

SystemInfo system_info();
std::ostream& operator<<(std::ostream& out, const SystemInfo& info);

// The value after "key :" on the first line of `text` with this key; empty if there is none.
// This is how /proc/cpuinfo, /proc/meminfo and /proc/self/status are written.
std::string_view value_of_key(std::string_view text, std::string_view key);

// "32K", "8192 kB", "16M" or "123" as a number of bytes. Throws ValueError for anything else.
int64_t parse_bytes(std::string_view text);

// 1536 as "1.5 KiB".
std::string format_bytes(int64_t bytes);

// Memory of this process that is in RAM now, and the most there ever was. 0 where the system does not tell.
int64_t resident_bytes();
int64_t peak_resident_bytes();

// Seconds since it was made or last reset, from a clock that never runs backward.
class Timer {
 public:
  void reset() { start_ = std::chrono::steady_clock::now(); }
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Makes the optimizer believe that `value` is read, so that computing it is not removed.
template <class T>
inline void do_not_optimize(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

// The value in the middle; of an even number of values the mean of the two in the middle. Throws ValueError
// if there are none.
double median_of(std::vector<double> values);

struct MeasureOptions {
  int samples = 7;               // of which the median counts
  double sample_seconds = 1e-3;  // a sample is so many calls that it takes at least this long
};

// Seconds per call.
struct Measurement {
  double median = 0;
  double minimum = 0;
  double maximum = 0;
  int samples = 0;
  int64_t calls_per_sample = 0;
};

// How long one call of `function` takes. `clock` returns seconds; without one it is a steady clock.
Measurement measure(const std::function<void()>& function, MeasureOptions options = {},
                    const std::function<double()>& clock = {});

// 0.00000153 as "1.53 us".
std::string format_seconds(double seconds);

// Numbers with sizes, in row-major order: values.size() is the product of sizes.
struct NumericArray {
  std::vector<int64_t> sizes;
  std::vector<double> values;
};

// Where a data file of the course lies: in the folder that the variable TINYTORCH_DATA names, or in `data/`
// here or in a folder above. Throws Error with the places where it looked.
std::string find_data(std::string_view name);

// Reads lines of numbers between commas, spaces or tabs as an array {rows, columns}. Empty lines and lines
// that begin with '#' do not count. Throws Error, naming file and line, for anything but the same number of
// numbers in each line.
NumericArray read_numeric_text(const std::string& path);

// Reads the arrays of a NumPy file, one after the other, as repeated np.save(file, array) writes them. Takes
// f4, f8, i4, i8, u1 and b1 in row-major order. Throws Error, naming the file, if it is anything else, is cut
// off, or does not have `expected_arrays` arrays (-1: any number).
std::vector<NumericArray> read_npy(const std::string& path, int64_t expected_arrays = -1);

}  // namespace tinytorch
