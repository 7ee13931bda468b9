#include "grade/sandbox.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <fmt/core.h>

#include "learn/text_files.h"

namespace tito {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t native = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t native = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t native = 0;
#endif

// Calls that a test has no use for: other processes, other namespaces, the kernel's larger doors.
constexpr long refused_calls[] = {
#ifdef SYS_fork
    SYS_fork, SYS_vfork,
#endif
    SYS_execveat, SYS_ptrace, SYS_process_vm_writev, SYS_unshare, SYS_setns, SYS_mount, SYS_umount2, SYS_bpf, SYS_perf_event_open,
    SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key};

class Filter {
 public:
  std::string bytes() {
    load(offsetof(seccomp_data, arch));
    add({BPF_JMP | BPF_JEQ | BPF_K, 1, 0, native});
    leave(SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
#if defined(__x86_64__)
    constexpr std::uint32_t x32_calls = 0x40000000;
    add({BPF_JMP | BPF_JGE | BPF_K, 0, 1, x32_calls});
    leave(SECCOMP_RET_KILL_PROCESS);
#endif
    for (const long call : refused_calls) refuse(call, EPERM);
    // The C library then uses clone, whose flags can be looked at here.
    refuse(SYS_clone3, ENOSYS);
    add({BPF_JMP | BPF_JEQ | BPF_K, 0, 3, static_cast<std::uint32_t>(SYS_clone)});
    load(offsetof(seccomp_data, args));
    add({BPF_JMP | BPF_JSET | BPF_K, 1, 0, CLONE_THREAD});
    leave(SECCOMP_RET_ERRNO | EPERM);
    leave(SECCOMP_RET_ALLOW);
    return out_;
  }

 private:
  void add(const sock_filter& step) { out_.append(reinterpret_cast<const char*>(&step), sizeof step); }
  void load(std::size_t offset) { add({BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset)}); }
  void leave(std::uint32_t verdict) { add({BPF_RET | BPF_K, 0, 0, verdict}); }
  void refuse(long call, std::uint32_t error) {
    add({BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<std::uint32_t>(call)});
    leave(SECCOMP_RET_ERRNO | error);
  }

  std::string out_;
};

constexpr std::string_view temporary_bytes = "268435456";

}  // namespace

Sandbox Sandbox::isolated(const fs::path& folder) {
  constexpr std::string_view way_out = "or give --no-isolation if you trust every submission";
  if (find_program("bwrap").empty()) {
    throw std::runtime_error(
        fmt::format("submissions are other people's programs, and bubblewrap, which keeps them apart from your files, is not "
                    "installed: apt-get install bubblewrap, {}", way_out));
  }
  if (native == 0) throw std::runtime_error(fmt::format("isolation knows x86-64 and aarch64 processors, not this one: use one of these, {}", way_out));
  Sandbox sandbox;
  sandbox.filter_ = folder / "refused_calls.bpf";
  write_atomically(sandbox.filter_, Filter().bytes());
  Command command = sandbox.wrapper(Reach{"/", {}, {}, {}, false});
  command.emplace_back("/bin/true");
  ProcessOptions options;
  options.seconds = 20;
  const ProcessResult result = run_process(command, options);
  if (!result.ok()) {
    throw std::runtime_error(fmt::format("bubblewrap cannot isolate submissions on this machine ({}{}): allow user namespaces, {}",
                                         how_it_ended(result), result.output.empty() ? "" : ", " + result.output.substr(0, result.output.find('\n')),
                                         way_out));
  }
  return sandbox;
}

Command Sandbox::wrapper(const Reach& reach) const {
  if (!isolates()) return {};
  Command command{"bwrap"};
  // The shell opens the filter as file 9 and becomes bubblewrap.
  if (!reach.starts_programs) command = {"sh", "-c", "exec 9<\"$0\" bwrap \"$@\"", filter_.string(), "--seccomp", "9"};
  const auto add = [&](std::initializer_list<std::string_view> words) { command.insert(command.end(), words.begin(), words.end()); };
  add({"--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"});
  add({"--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LC_ALL", "C"});
  if (const char* data = std::getenv("TINYTORCH_DATA")) add({"--setenv", "TINYTORCH_DATA", data, "--ro-bind-try", data, data});
  for (const auto& [name, value] : reach.environment) add({"--setenv", name, value});
  for (const char* system : {"/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/sys/devices/system/cpu"}) {
    add({"--ro-bind-try", system, system});
  }
  add({"--proc", "/proc", "--dev", "/dev", "--size", temporary_bytes, "--tmpfs", "/tmp"});
  for (const fs::path& path : reach.readable) add({"--ro-bind", path.string(), path.string()});
  for (const fs::path& path : reach.writable) add({"--bind", path.string(), path.string()});
  add({"--chdir", reach.directory.string()});
  return command;
}

}  // namespace tito
