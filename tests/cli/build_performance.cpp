// docs/performance.md from files of results: what a line says when it is met, missed, undecided, or was not measured, and that someone must say why.
#include <unistd.h>

#include <fstream>

#include "build/performance.h"
#include "tito/lesson.h"

namespace tito {
namespace {

struct PerformanceFixture {
  PerformanceFixture() : root(fs::temp_directory_path() / ("tito_performance_" + std::to_string(getpid()))) {
    fs::remove_all(root);
    fs::create_directories(root / "benchmarks/results");
    fs::create_directories(root / "docs");
    std::ofstream(root / "benchmarks/cases.json") << R"([
      {"suite": "gemm", "name": "a", "work": "mm 2 2 2", "peers": ["torch"], "flops": 16, "bytes": 0, "line": "small", "at_least": 1.2, "aim": 1.5},
      {"suite": "gemm", "name": "b", "work": "mm 2 2 2", "peers": ["torch"], "flops": 0, "bytes": 0, "line": "small", "at_least": 1.2, "aim": 1.5}])";
  }
  ~PerformanceFixture() { fs::remove_all(root); }
  PerformanceFixture(const PerformanceFixture&) = delete;
  PerformanceFixture& operator=(const PerformanceFixture&) = delete;

  void results(const std::string& ratio, const std::string& load = "0.5", const std::string& more_settings = "") const {
    std::ofstream(root / "benchmarks/results/run.json") << R"({"machine": {"cpu": "C", "os": "O", "compiler": "G", "cores": 2, "memory_bytes": 1, "simd": ["sse2", "avx2"], "load": )" << load
        << R"(, "date": "2026-01-01T00:00:00Z"}, "versions": {"torch": "2"}, "settings": {"threads": "1")" << more_settings << R"(}, "results": [
          {"suite": "gemm", "name": "a", "subject": "tinytorch", "seconds": [3e-9, 1e-9, 2e-9, 2e-9], "calls": 1, "flops": 16, "bytes": 0, "note": ""},
          {"suite": "gemm", "name": "a", "subject": "torch", "seconds": [], "calls": 1, "flops": 16, "bytes": 0, "note": "it ended"}],
         "ratios": [{"suite": "gemm", "name": "a", "against": "torch", "rounds": 6, )" << ratio << "}]}";
  }
  bool page_has(const std::string& text) const { return performance_page(root).find(text) != std::string::npos; }

  fs::path root;
};

}  // namespace

TEST_CASE("performance page: met, not met, undecided, not measured") {
  const PerformanceFixture fixture;
  CHECK(fixture.page_has("Nothing was measured yet."));
  CHECK(fixture.page_has("| small | b |  | torch |  | 1.2 | 1.5 | not measured |"));
  fixture.results(R"("ratio": 1.3, "low": 1.25, "high": 1.4)");
  CHECK(fixture.page_has("| small | a | run | torch | 1.30 [1.25, 1.40] | 1.2 | 1.5 | met |"));
  CHECK(fixture.page_has("**run**\n\n- `run.json`: C with AVX2, 2 cores, O, G; 1 threads; torch 2, 2026-01-01T00:00:00Z; load average 0.5\n"));
  fixture.results(R"("ratio": 1.1, "low": 1.0, "high": 1.19)");
  CHECK(fixture.page_has("1.10 [1.00, 1.19] | 1.2 | 1.5 | **not met** |"));
  fixture.results(R"("ratio": 1.2, "low": 1.1, "high": 1.3)");
  CHECK(fixture.page_has("| undecided |"));
  fixture.results(R"("ratio": 2, "low": null, "high": null)");
  CHECK(fixture.page_has("| 2.00 (no interval) | 1.2 | 1.5 | met |"));
  const std::string times = performance_times_page(fixture.root);
  CHECK_NE(times.find("| gemm | a | tinytorch | 2 ns | 8 GFLOP/s |"), std::string::npos);  // 16 in 2 ns
  CHECK_NE(times.find("| gemm | a | torch |  |  | 2.00 (no interval) | it ended |"), std::string::npos);
  CHECK(!fixture.page_has("quiet machine"));
  CHECK(!fixture.page_has("busy beside them"));
  fixture.results(R"("ratio": 2, "low": null, "high": null)", "0.5", R"(, "busy processes": "3")");
  CHECK(fixture.page_has("1 threads, 3 busy beside them; "));
  fixture.results(R"("ratio": 2, "low": null, "high": null)", "7.5");
  CHECK(fixture.page_has("load average 7.5 (**other programs wanted the processors as well"));
}

TEST_CASE("performance page: one row a line, one column a machine") {
  const PerformanceFixture fixture;
  const auto row_says = [&](const std::string& ratio_of_a, const std::string& ratio_of_b, const std::string& cell) {
    fixture.results(ratio_of_a + R"(}, {"suite": "gemm", "name": "b", "against": "torch", "rounds": 6, )" + ratio_of_b);
    fs::rename(fixture.root / "benchmarks/results/run.json", fixture.root / "benchmarks/results/machine_one_thread_gemm.json");
    CHECK_MESSAGE(fixture.page_has("| work | against | at least | aim | machine one thread |\n|---|---|---|---|---|\n| small | torch | 1.2 | 1.5 | " + cell + " |\n"), performance_page(fixture.root));
  };
  row_says(R"("ratio": 2.5, "low": 2.4, "high": 2.6)", R"("ratio": 1.3, "low": 1.25, "high": 1.4)", "1.30 to 2.50");
  row_says(R"("ratio": 2.5, "low": 2.4, "high": 2.6)", R"("ratio": 1.2, "low": 1.15, "high": 1.4)", "1.20 to 2.50 ?");
  row_says(R"("ratio": 1.1, "low": 1.0, "high": 1.15)", R"("ratio": 1.2, "low": 1.15, "high": 1.4)", "**1.10 to 1.20**");
}

TEST_CASE("performance page: who misses a line must say why, and nobody else") {
  const PerformanceFixture fixture;
  const auto complaint = [&] {
    std::ofstream(fixture.root / "docs/performance.md") << performance_page(fixture.root);
    std::ofstream(fixture.root / "docs/performance_times.md") << performance_times_page(fixture.root);
    return check_performance_page(fixture.root);
  };
  fixture.results(R"("ratio": 1.1, "low": 1.0, "high": 1.15)");
  CHECK_EQ(complaint(), "a of run is not met, and benchmarks/not_met.md does not say why; write under \"### small\" what was tried, what a profile shows and what stands in the way\n");
  std::ofstream(fixture.root / "benchmarks/not_met.md") << "Of all of them.\n\n### small\n\nThe cache is too small.\n\n";
  CHECK_EQ(complaint(), "");
  CHECK(fixture.page_has("## Where a line is not met\n\nOf all of them.\n\n### small\n\n- a, `run`, against torch: 1.10 [1.00, 1.15] of 1.2, **not met**\n\nThe cache is too small.\n"));
  fixture.results(R"("ratio": 1.2, "low": 1.1, "high": 1.3)");
  CHECK_EQ(complaint(), "");
  CHECK(fixture.page_has("1.20 [1.10, 1.30] of 1.2, undecided\n\nThe cache"));
  fixture.results(R"("ratio": 1.3, "low": 1.25, "high": 1.4)");
  CHECK_EQ(complaint(), "benchmarks/not_met.md has \"### small\", but there is no such line that a run misses; delete it\n");
  CHECK(!fixture.page_has("The cache"));
}

TEST_CASE("performance page: the check notices a number that was typed in") {
  const PerformanceFixture fixture;
  fixture.results(R"("ratio": 1.3, "low": 1.25, "high": 1.4)");
  CHECK_EQ(check_performance_page(fixture.root), "docs/performance.md is not what benchmarks/results says; run: ./tito bench --page\ndocs/performance_times.md is not what benchmarks/results says; run: ./tito bench --page\n");
  std::string page = performance_page(fixture.root);
  std::ofstream(fixture.root / "docs/performance.md") << page;
  CHECK_EQ(check_performance_page(fixture.root), "docs/performance_times.md is not what benchmarks/results says; run: ./tito bench --page\n");
  std::ofstream(fixture.root / "docs/performance_times.md") << performance_times_page(fixture.root);
  CHECK_EQ(check_performance_page(fixture.root), "");
  page.replace(page.find("1.30"), 4, "1.90");
  std::ofstream(fixture.root / "docs/performance.md") << page;
  CHECK(!check_performance_page(fixture.root).empty());
  std::ofstream(fixture.root / "benchmarks/results/broken.json") << "{";
  CHECK_THROWS_WITH_AS(static_cast<void>(performance_page(fixture.root)), doctest::Contains("broken.json cannot be read as JSON"), std::runtime_error);
  std::ofstream(fixture.root / "benchmarks/results/broken.json") << "{}";
  CHECK_THROWS_WITH_AS(static_cast<void>(performance_page(fixture.root)), doctest::Contains("is not a file of tito bench"), std::runtime_error);
}

}  // namespace tito
