// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tinytorch {

// The value after "key :" on the first line of `text` with this key; empty if there is none. This is how /proc/cpuinfo, /proc/meminfo and /proc/self/status are written.
std::string_view value_of_key(std::string_view text, std::string_view key);

// The whole of a small file, or "" if it cannot be read: those in /proc and /sys may be missing.
std::string read_if_there(const std::string& path);

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
  Timer() { reset(); }
  void reset() { start_ = now(); }
  double seconds() const { return now() - start_; }

 private:
  static double now();  // in the source, so that not every file compiles <chrono>, which is a twentieth of the standard library's headers here
  double start_;
};

// Makes the optimizer believe that `value` is read, so that computing it is not removed.
template <class T>
inline void do_not_optimize(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

// The value in the middle; of an even number of values the mean of the two in the middle. Throws ValueError if there are none.
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

// The bytes of a file. Throws Error if it cannot be read; `reader` names the calling function in it.
std::string read_file(const std::string& path, const char* reader);

// Where a data file of the course lies: in the folder that the variable TINYTORCH_DATA names, or in `data/` here or in a folder above. Throws Error with the places where it
// looked.
std::string find_data(std::string_view name);

// Reads lines of numbers between commas, spaces or tabs as an array {rows, columns}. Empty lines and lines that begin with '#' do not count. Throws Error, naming file and
// line, for anything but the same number of numbers in each line.
NumericArray read_numeric_text(const std::string& path);

}  // namespace tinytorch
