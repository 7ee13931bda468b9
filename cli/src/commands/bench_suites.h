// tito bench SUITE: TinyTorch beside its peers, measured by the programs in benchmarks/.
#pragma once

#include <string>
#include <vector>

namespace tito {

struct SuiteArguments {
  std::vector<std::string> suites;   // empty or "all": every one
  std::vector<std::string> against;  // some of bench_peers; empty: all that are installed
  std::vector<std::string> install;  // what to install, instead of measuring
  std::string python;                // one that has the peers; empty: the environment that install makes
  std::string json;                  // where the result goes; empty: build/bench/result.json
  int threads = 1;
  double seconds = 2;                // for the rounds of one case
  int busy = 0;                      // processes that spin on the same processors meanwhile
  std::vector<std::string> compare;  // two files of results, instead of measuring
  bool page = false;                 // write docs/performance.md and docs/performance_times.md, instead of measuring
};

// The names that --against may have.
extern const std::vector<std::string> bench_peers;

// With `compare` it throws Exit: 1 where something got slower, 2 where the files cannot be compared.
void bench_suites(const SuiteArguments& arguments);

}  // namespace tito
