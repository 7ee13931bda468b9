// One side of a benchmark: a process that lives as long as the run and does what it is told in lines of text.
//
//     prepare WORK ARGUMENT...   ->  ready VALUE        VALUE: a number that the other side must get as well, or nan
//                                    cannot REASON
//     run CALLS                  ->  SECONDS CHECKSUM   of so many calls together
//
// It knows nothing of TinyTorch: benchmarks/peers/libtorch_worker.cpp uses it too. The Python peers speak the same lines.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

struct Prepared {
  std::function<double()> call;  // returns a number, so that nobody can leave the work out
  double value = NAN;
};

// Makes `calls` calls and prints the most bytes that the process has held at one time (Linux).
inline int print_peak_bytes(const Prepared& prepared, int calls) {
  for (int i = 0; i < calls; ++i) prepared.call();
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) std::printf("%ld\n", 1024 * std::stol(line.substr(6)));
  return 0;
}

using Prepare = std::function<Prepared(const std::string& work, const std::vector<long>& arguments)>;

inline int serve(const Prepare& prepare) {
  Prepared prepared;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "prepare") {
      std::string work;
      words >> work;
      std::vector<long> arguments;
      for (long number = 0; words >> number;) arguments.push_back(number);
      try {
        prepared = Prepared();  // gives the memory of the last one back first
        prepared = prepare(work, arguments);
        if (prepared.call) {
          std::printf("ready %.9g\n", prepared.value);
        } else {
          std::printf("cannot there is no such work here\n");
        }
      } catch (const std::exception& error) {
        std::printf("cannot %s\n", std::string(error.what()).substr(0, std::string(error.what()).find('\n')).c_str());
      }
    } else if (verb == "run") {
      long calls = 0;
      words >> calls;
      double checksum = 0;
      const auto start = std::chrono::steady_clock::now();
      for (long i = 0; i < calls; ++i) checksum += prepared.call();
      const auto stop = std::chrono::steady_clock::now();
      std::printf("%.9g %.9g\n", std::chrono::duration<double>(stop - start).count(), checksum);
    }
    std::fflush(stdout);
  }
  return 0;
}
