// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/anomaly_mode.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>

#include "tinytorch/core/node_watchers-inl.h"

namespace tinytorch {

StackTrace StackTrace::here() {
  StackTrace trace;
  trace.calls_.resize(64);
  trace.calls_.resize(static_cast<std::size_t>(backtrace(trace.calls_.data(), 64)));
  return trace;
}

namespace {
// Where in which file of the process a call stands.
struct CodePlace {
  std::string file;
  std::uintptr_t offset = 0;
};

CodePlace place_of_call(void* return_address) {
  Dl_info info{};
  link_map* object = nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(return_address) - 1;  // it stands behind the call
  if (dladdr1(return_address, &info, reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) == 0 || object == nullptr) return {"", address};
  std::error_code ignored;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  return {*object->l_name == '\0' ? program : std::string(object->l_name), address - object->l_addr};
}

// What addr2line says about some places in one file: "function at file:line" for each.
std::vector<std::string> look_up(const std::string& file, const std::vector<std::uintptr_t>& offsets) {
  std::vector<std::string> lines(offsets.size(), "?? at ??:0");
  if (file.empty() || file.find('\'') != std::string::npos) return lines;
  std::string command = "addr2line -C -f -e '" + file + "'";
  for (const std::uintptr_t offset : offsets) {
    char text[32];
    std::snprintf(text, sizeof text, " %#zx", static_cast<std::size_t>(offset));
    command += text;
  }
  FILE* const pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return lines;
  const auto read_line = [pipe] {
    std::string line;
    for (int c = std::fgetc(pipe); c != EOF && c != '\n'; c = std::fgetc(pipe)) line += static_cast<char>(c);
    return line;
  };
  for (std::string& line : lines) {
    const std::string function = read_line();
    const std::string where = read_line();
    if (!function.empty()) line = function + " at " + where;
  }
  pclose(pipe);
  return lines;
}

bool is_own(const std::string& line) {
  for (const char* const part : {"tinytorch/core/", "tinytorch/nn/", "tinytorch::Node::", "tinytorch::detail::", "tinytorch::Operator<", "tinytorch::make_node", "tinytorch::record_place", "tinytorch::StackTrace"})
    if (line.find(part) != std::string::npos) return true;
  return line.starts_with("??");
}
}  // namespace

std::vector<std::string> StackTrace::lines() const {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < calls_.size();) {
    const std::string file = place_of_call(calls_[i]).file;
    std::vector<std::uintptr_t> offsets;  // neighbours in the same file are looked up together
    for (CodePlace place = place_of_call(calls_[i]); place.file == file; place = place_of_call(calls_[i])) {
      offsets.push_back(place.offset);
      if (++i == calls_.size()) break;
    }
    for (std::string& line : look_up(file, offsets)) all.push_back(std::move(line));
  }
  return all;
}

std::string StackTrace::text() const {
  std::string text;
  for (const std::string& line : lines()) text += "  " + line + "\n";
  return text;
}

std::string StackTrace::caller() const {
  for (const std::string& line : lines())
    if (!is_own(line)) return line;
  return "an unknown function";
}

struct AnomalyRecord {
  StackTrace place;
  std::shared_ptr<Node> parent;  // the node in whose gradient function this one was recorded
};

namespace {
thread_local constinit Node* being_applied = nullptr;

struct BeingAppliedGuard {
  explicit BeingAppliedGuard(Node* node) : before(std::exchange(being_applied, node)) {}
  ~BeingAppliedGuard() { being_applied = before; }
  BeingAppliedGuard(const BeingAppliedGuard&) = delete;
  BeingAppliedGuard& operator=(const BeingAppliedGuard&) = delete;
  Node* before;
};

const AnomalyRecord* record_of(const Node& node) { return node.watchers() == nullptr ? nullptr : node.watchers()->anomaly_record.get(); }

void warn_with_calls(const Node& node) {
  const AnomalyRecord* record = record_of(node);
  if (record == nullptr) {
    TORCH_WARN("Error detected in ", node.name(), ". No forward pass information available. Enable detect anomaly during forward pass for more information.");
    return;
  }
  TORCH_WARN("Error detected in ", node.name(), ". Traceback of forward call that caused the error:\n", record->place.text());
  while (const std::shared_ptr<Node> parent = record->parent) {
    record = record_of(*parent);
    if (record == nullptr) return;
    TORCH_WARN("\n\nPrevious calculation was induced by ", parent->name(), ". Traceback of forward call that induced the previous calculation:\n", record->place.text());
  }
}
}  // namespace

std::shared_ptr<const AnomalyRecord> record_place() {
  return std::make_shared<AnomalyRecord>(AnomalyRecord{StackTrace::here(), being_applied == nullptr ? nullptr : being_applied->shared_from_this()});
}

// Applies `node`. A NaN among its results is an error; an error warns with the calls that were in progress when the node was recorded, and
// its message says the line.
variable_list apply_with_checks(Node& node, variable_list&& grads) {
  const BeingAppliedGuard guard(&node);
  try {
    variable_list results = node(std::move(grads));
    for (std::size_t i = 0; i < results.size() && AnomalyMode::should_check_nan(); ++i)
      TORCH_CHECK(!results[i].defined() || results[i].equal(results[i]), "Function '", node.name(), "' returned nan values in its ", i, "th output.");
    return results;
  } catch (Error& error) {
    warn_with_calls(node);
    if (const AnomalyRecord* const record = record_of(node)) error.add_context(node.name() + " was recorded by " + record->place.caller());
    throw;
  }
}

DetectAnomalyGuard::DetectAnomalyGuard(bool check_nan) {
  TORCH_WARN_ONCE("This mode should be enabled only for debugging as the different tests will slow down your program execution.");
  AnomalyMode::set_enabled(true, check_nan);
}

}  // namespace tinytorch
