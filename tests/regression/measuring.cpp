// What profiles, benchmarks and their files got wrong.
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../../benchmarks/comparison.h"
#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"
#include "tito/scratch.h"

namespace tinytorch {
void kernels_join_birth_layers();  // what runs before main
}

namespace tinytorch::testing {
namespace {

using namespace autograd::profiler;

// As if the disk were full: files cannot grow beyond `bytes` for a scope.
class LittleRoom {
 public:
  explicit LittleRoom(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &saved_);
    rlimit lower = saved_;
    lower.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &lower);
  }
  ~LittleRoom() {
    ::setrlimit(RLIMIT_FSIZE, &saved_);
    std::signal(SIGXFSZ, handler_);
  }
  LittleRoom(const LittleRoom&) = delete;
  LittleRoom& operator=(const LittleRoom&) = delete;

 private:
  rlimit saved_{};
  void (*handler_)(int);
};

// A variable of the environment for a scope.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)), was_there_(std::getenv(name_.c_str()) != nullptr), before_(was_there_ ? std::getenv(name_.c_str()) : "") {
    ::setenv(name_.c_str(), value.c_str(), 1);
  }
  ~Variable() {
    if (was_there_) ::setenv(name_.c_str(), before_.c_str(), 1);
    else ::unsetenv(name_.c_str());
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  std::string name_;
  bool was_there_;
  std::string before_;
};

// The warnings of a call, one in a line.
template <class F>
std::string warnings_of(F f) {
  struct Collected : WarningHandler {
    void process(const Warning& warning) override { messages += warning.msg() + "\n"; }
    std::string messages;
  } collected;
  const WarningUtils::WarningHandlerGuard guard(&collected);
  f();
  return collected.messages;
}

std::string bytes_in(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

benchmarking::ResultFile results_with(const std::string& name, double seconds) {
  benchmarking::ResultFile file;
  file.results.push_back({"gemm", name, "tinytorch", std::vector<double>(8, seconds), 1, 0, 0, ""});
  return file;
}

TEST_CASE("result files: a full disk leaves the earlier file, and nothing beside it") {
  const tito::Scratch scratch;
  const std::string path = scratch.path("results.json");
  benchmarking::ResultFile file = results_with("a", 1);
  benchmarking::write_results(path, file);
  const std::string before = bytes_in(path);
  for (int i = 0; i < 100; ++i) file.results.push_back(file.results[0]);
  {
    const LittleRoom room(2000);
    CHECK_ERROR(benchmarking::write_results(path, file), "cannot write " + path + ": File too large");
  }
  CHECK_EQ(bytes_in(path), before);
  CHECK_EQ(scratch.files(), 1);
}

TEST_CASE("result files: a time that cannot be is refused, with its case") {
  const tito::Scratch scratch;
  const std::string path = scratch.path("results.json");
  for (const char* wrong : {"-1.0", "0.0"}) {
    std::string text;
    {
      benchmarking::write_results(path, results_with("a", 0.25));
      text = bytes_in(path);
    }
    text.replace(text.find("0.25"), 4, wrong);
    std::ofstream(path) << text;
    CHECK_ERROR(benchmarking::read_results(path), "(gemm: a, tinytorch)");
  }
}

TEST_CASE("bench --compare: 0, 1 and 2, and other kernels are not slower ones") {
  std::ostringstream said;
  const benchmarking::ResultFile before = results_with("a", 1);
  CHECK(compare(before, before, said) == Compared::NothingSlower);
  CHECK(compare(before, results_with("a", 2), said) == Compared::Slower);
  said.str("");
  CHECK(compare(before, results_with("b", 1), said) == Compared::Not);
  CHECK_NE(said.str().find("gemm: a, tinytorch is not in the second file"), std::string::npos);
  CHECK_NE(said.str().find("no case has times in both"), std::string::npos);
  CHECK(compare(before, benchmarking::ResultFile(), said) == Compared::Not);
  // A run with other kernels.
  benchmarking::ResultFile vectors = results_with("a", 1), plain = results_with("a", 3);
  vectors.settings = settings_of_kernels();
  plain.settings = vectors.settings;
  plain.settings["capability"] = "SOMETHING ELSE";
  said.str("");
  CHECK(compare(vectors, plain, said) == Compared::Not);
  CHECK_NE(said.str().find("should not be compared: capability '"), std::string::npos);
  plain.settings = vectors.settings;
  plain.settings["kernels"] = "SOMETHING ELSE";
  CHECK(compare(vectors, plain, said) == Compared::Not);
  CHECK(compare(before, vectors, said) == Compared::NothingSlower);  // a file from before this was recorded
}

TEST_CASE("bench: the first of the processors that it may run on, and not more") {
  CHECK(processors_for(1, {1, 3}) == std::vector<int>{1});
  CHECK(processors_for(2, {1, 3}) == std::vector<int>{1, 3});
  CHECK(processors_for(2, {}) == std::vector<int>{0, 1});  // the system does not tell
  CHECK_ERROR(processors_for(3, {1, 3}), "--threads 3 needs as many processors, but this process may run on 2 only");
}

TEST_CASE("Pareto pictures: what has no place is refused") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK_ERROR(benchmarking::pareto_text({{"a", 1, 0.5}, {"b", inf, 0.5}}), "positive times, but 'b' has inf");
  CHECK_ERROR(benchmarking::pareto_text({{"a", 1, 0.5}, {"b", 2, std::nan("")}}), "accuracies that are numbers, but 'b' has nan");
  CHECK_ERROR(benchmarking::pareto_text({{"a", 1, 0.5}}, 0, 0), "got 0 columns and 0 rows");
  // Finite, but their quotient and their difference are not.
  CHECK_NE(benchmarking::pareto_text({{"a", 1e-300, -1e308}, {"b", 1e300, 1e308}}).find("* a"), std::string::npos);
  CHECK_NE(benchmarking::pareto_svg({{"a\x02", 1, 0.5}}).find(">a\xEF\xBF\xBD</text>"), std::string::npos);
}

TEST_CASE("pictures of a profile: what has no place, and names that XML does not know") {
  const Peaks peaks{.flops_per_second = 1e11, .bytes_per_second = 1e10};
  CHECK_NE(roofline_text({{.name = "odd", .intensity = std::nan(""), .flops_per_second = 1e9}}, peaks).find("1 operator has no place"), std::string::npos);
  CHECK_ERROR(roofline_text({}, {.flops_per_second = std::nan(""), .bytes_per_second = 1e10}), "peaks that are positive numbers");
  CHECK_ERROR(memory_text({{0, 4}, {10, 8}}, 0), "a column and a row at least");
  FlameNode root;
  root.total_ns = 100;
  root.children["load\x1b batch"] = {.total_ns = 100, .self_ns = 100, .count = 1};
  const std::string svg = flame_svg(root, 700);
  CHECK_EQ(svg.find('\x1b'), std::string::npos);
  CHECK_NE(svg.find("load\xEF\xBF\xBD batch"), std::string::npos);
}

TEST_CASE("traces: a full disk leaves the earlier one, and RecordProfile says that there is none") {
  const tito::Scratch scratch;
  const std::string path = scratch.path("trace.json");
  { const RecordProfile profile(path); }
  const std::string before = bytes_in(path);
  std::string warnings;
  {
    const LittleRoom room(600);
    warnings = warnings_of([&] {
      const RecordProfile profile(path);
      for (int i = 0; i < 20; ++i) ones({2}).add(1);
    });
  }
  CHECK_EQ(warnings.find("there is no trace in " + path + ": cannot write " + path + ": File too large"), 0);
  CHECK_EQ(bytes_in(path), before);
  CHECK_EQ(scratch.files(), 1);
}

// The only event of this name.
FunctionEvent event_of(const std::string& name, const std::function<void()>& f) {
  profile run;
  f();
  run.stop();
  std::vector<FunctionEvent> found;
  for (const FunctionEvent& event : run.result().events())
    if (event.name == name) found.push_back(event);
  REQUIRE_EQ(found.size(), 1);
  return found[0];
}

TEST_CASE("profile: of a table the rows that are read") {
  const Tensor table = zeros({5000, 16});
  const Tensor rows = tensor({3, 1, 4, 1}).to(kLong);
  CHECK_EQ(event_of("index_select", [&] { table.index_select(0, rows); }).bytes, 2 * 4 * 16 * 4 + 4 * 8);
  CHECK_EQ(event_of("embedding", [&] { embedding(table, rows); }).bytes, 2 * 4 * 16 * 4 + 4 * 8);
}

TEST_CASE("profile: normalizations, gradients and optimizers have FLOPs") {
  const Tensor x = randn({8, 32}, requires_grad());
  const Tensor w = ones({32}, requires_grad()), b = zeros({32}, requires_grad());
  const bool tuned = birth_layers.has(Layer::TunedCPU);  // not with TINYTORCH_KERNELS=reference
  const auto flops_of_all = [](const std::function<void()>& f) {
    profile run;
    f();
    run.stop();
    std::int64_t sum = 0;
    for (const FunctionEvent& event : run.result().events()) sum += event.flops;
    return sum;
  };
  const std::int64_t forward = flops_of_all([&] { layer_norm(x, {32}, w, b); });
  CHECK_GT(forward, 4 * 8 * 32);
  if (tuned) CHECK_EQ(forward, 8 * 8 * 32);
  if (tuned) CHECK_EQ(event_of("layer_norm_backward", [&] { layer_norm(x, {32}, w, b).sum().backward(); }).flops, 16 * 8 * 32);
  if (tuned) CHECK_EQ(event_of("relu_backward", [&] { x.relu().sum().backward(); }).flops, 2 * 8 * 32);
  layer_norm(x, {32}, w, b).sum().backward();
  optim::Adam adam({x, w}, optim::AdamOptions(1e-3));
  CHECK_GT(flops_of_all([&] { adam.step(); }), 5 * (8 * 32 + 32));
  if (!tuned) return;
  const FunctionEvent step = event_of("fused_adam", [&] { adam.step(); });
  CHECK_EQ(step.flops, 13 * (8 * 32 + 32));
  CHECK_EQ(step.bytes, 7 * 4 * (8 * 32 + 32));
}

TEST_CASE("blocks of a product: a folder or a pipe in the place of the file is left out") {
  const tito::Scratch scratch;
  const Variable cache("XDG_CACHE_HOME", scratch.path());
  const std::string path = kernels::block_file();
  std::filesystem::create_directories(path);
  CHECK_NE(warnings_of([] { kernels::read_block_file(); }).find("is not used: it is no regular file"), std::string::npos);
  std::filesystem::remove(path);
  REQUIRE_EQ(::mkfifo(path.c_str(), 0600), 0);
  CHECK_NE(warnings_of([] { kernels::read_block_file(); }).find("is not used: it is no regular file"), std::string::npos);
}

TEST_CASE("threads and kernels that nobody can have are left out with a warning") {
  const int allowed = std::max(1, kernels::allowed_processors());
  int threads = 0;
  const auto warning = [&](const std::string& asked) {
    const Variable variable("OMP_NUM_THREADS", asked);
    return warnings_of([&] { threads = kernels::default_num_threads(); });
  };
  for (const char* wrong : {"999999999", "99999999999999999999", "abc", "0", "-2", "2x", " "}) {
    CHECK_EQ(warning(wrong).find("OMP_NUM_THREADS is '" + std::string(wrong) + "'; it may be 1 to 4096, and is ignored"), 0);
    CHECK_EQ(threads, allowed);
  }
  CHECK_EQ(warning("3"), "");
  CHECK_EQ(threads, 3);
  CHECK_EQ(warning("5,2"), "");  // a number for each level of nesting
  CHECK_EQ(threads, 5);
  CHECK_EQ(warning(""), "");
  CHECK_EQ(threads, allowed);
  const auto layers = birth_layers;
  {
    const Variable variable("TINYTORCH_KERNELS", "nonsense");
    CHECK_EQ(warnings_of([] { kernels_join_birth_layers(); }), "TINYTORCH_KERNELS is 'nonsense'; it may be reference, and is ignored.\n");
  }
  birth_layers = layers;
}

}  // namespace
}  // namespace tinytorch::testing
