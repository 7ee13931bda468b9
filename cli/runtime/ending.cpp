#include "tito/ending.h"

#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tito/seal.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TITO_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TITO_SANITIZED 1
#endif
#endif

namespace tito {
namespace {

constexpr int max_frames = 24;

struct Trace {
  std::array<void*, max_frames> frames;
  int count = 0;
};

int report = -1;
const char* running_test = "\"\"";
volatile bool ended = false;
std::uintptr_t program_begin = 0;  // where the program itself is loaded, which differs from run to run

std::array<char, 1 << 16> alternate_stack;  // a signal handler needs one when the stack is full

int note_program(dl_phdr_info* info, std::size_t, void*) {
  program_begin = info->dlpi_addr;
  return 1;  // the program comes first
}

// Writes "[12,34]"; no allocation, so that a signal handler may call it.
int print_addresses(char* out, std::size_t size, const Trace& trace, int skip) {
  int length = std::snprintf(out, size, "[");
  for (int i = skip; i < trace.count; ++i) {
    const auto address = reinterpret_cast<std::uintptr_t>(trace.frames[static_cast<std::size_t>(i)]) - program_begin;
    length += std::snprintf(out + length, size - static_cast<std::size_t>(length), "%s%zu", i == skip ? "" : ",", address);
  }
  length += std::snprintf(out + length, size - static_cast<std::size_t>(length), "]");
  return length;
}

std::string to_string(const Trace& trace, int skip) {
  char text[max_frames * 24];
  return {text, static_cast<std::size_t>(print_addresses(text, sizeof text, trace, skip))};
}

void write_ending(const char* kind, const char* values, const char* cause, const Trace& trace, int skip) {
  char addresses[max_frames * 24];
  print_addresses(addresses, sizeof addresses, trace, skip);
  char line[4096];
  const int length = std::snprintf(line, sizeof line,
                                   "{\"event\":\"failure\",\"test\":%s,\"kind\":\"%s\",\"values\":\"%s\",\"cause\":\"%s\",\"trace\":%s}\n",
                                   running_test, kind, values, cause, addresses);
  if (length <= 0 || static_cast<std::size_t>(length) >= sizeof line) return;
  std::array<char, seal_digits + 1> seal;
  const std::string_view text(line, static_cast<std::size_t>(length));
  const std::size_t sealed = put_seal(seal, text.substr(0, text.size() - 1));
  if (write(report, seal.data(), sealed) < 0 || write(report, text.data(), text.size()) < 0) return;
}

struct FatalSignal {
  int number;
  const char* name;
};
constexpr std::array<FatalSignal, 5> fatal_signals = {{{SIGSEGV, "SIGSEGV - Segmentation violation signal"},
                                                        {SIGBUS, "SIGBUS - Bus error"},
                                                        {SIGFPE, "SIGFPE - Floating point error signal"},
                                                        {SIGILL, "SIGILL - Illegal instruction signal"},
                                                        {SIGABRT, "SIGABRT - Abort (abnormal termination) signal"}}};

std::uintptr_t stack_pointer(const void* context) {
#if defined(__x86_64__)
  return static_cast<std::uintptr_t>(static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RSP]);
#elif defined(__aarch64__)
  return static_cast<const ucontext_t*>(context)->uc_mcontext.sp;
#else
  static_cast<void>(context);
  return 0;
#endif
}

// What is behind a fault at this address.
const char* cause_of_fault(const siginfo_t& info, const void* context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  const std::uintptr_t stack = stack_pointer(context);
  constexpr std::uintptr_t near = 1 << 16;
  if (stack != 0 && address + near > stack && address < stack + near) return "stack overflow";
  return address < 4096 ? "null pointer" : "";
}

[[maybe_unused]] void on_fatal_signal(int number, siginfo_t* info, void* context) {
  Trace trace;
  trace.count = backtrace(trace.frames.data(), max_frames);
  const bool fault = number == SIGSEGV || number == SIGBUS;
  for (const FatalSignal& signal : fatal_signals) {
    if (signal.number == number) write_ending("crashed", signal.name, fault ? cause_of_fault(*info, context) : "", trace, 2);
  }
  ended = true;
  std::signal(number, SIG_DFL);
  raise(number);
}

// tito asks a program to end when a test takes too long.
void on_stop(int) {
  Trace trace;
  trace.count = backtrace(trace.frames.data(), max_frames);
  write_ending("hung", "", "", trace, 2);
  _exit(124);
}

void on_exit_in_the_middle() {
  if (ended) return;
  Trace trace;
  trace.count = backtrace(trace.frames.data(), max_frames);
  write_ending("exited", "", "", trace, 1);
}

void handle_signals() {
  stack_t stack = {};
  stack.ss_sp = alternate_stack.data();
  stack.ss_size = alternate_stack.size();
  sigaltstack(&stack, nullptr);
  struct sigaction action = {};
#ifndef TITO_SANITIZED
  action.sa_flags = SA_ONSTACK | SA_SIGINFO;
  action.sa_sigaction = on_fatal_signal;
  for (const FatalSignal& signal : fatal_signals) sigaction(signal.number, &action, nullptr);
#endif
  action.sa_flags = SA_ONSTACK;
  action.sa_handler = on_stop;
  sigaction(SIGTERM, &action, nullptr);
}

thread_local Trace last_throw;

}  // namespace

std::string stack_addresses(int skip) {
  Trace trace;
  trace.count = backtrace(trace.frames.data(), max_frames);
  return to_string(trace, skip + 1);
}

std::string last_throw_addresses() { return to_string(last_throw, 1); }

void report_unexpected_end(int file, const char* test) {
  report = file;
  running_test = test;
  stack_addresses(0);  // the first call loads a library, which a signal handler must not
  std::atexit(on_exit_in_the_middle);
  handle_signals();
}

void expect_end() { ended = true; }

}  // namespace tito

#if defined(__GNUC__) && !defined(__clang__) && !defined(TITO_SANITIZED)
#include <dlfcn.h>

// Stands before the C++ library's: notes who threw.
extern "C" __attribute__((noreturn)) void __cxa_throw(void* object, void* type, void (*destructor)(void*)) {
  using Throw = void (*)(void*, void*, void (*)(void*));
  static const Throw next = reinterpret_cast<Throw>(dlsym(RTLD_NEXT, "__cxa_throw"));
  tito::last_throw.count = backtrace(tito::last_throw.frames.data(), tito::max_frames);
  next(object, type, destructor);
  __builtin_unreachable();
}
#endif

namespace tito {
namespace {
// The program's place is needed from the first exception on.
const int noted = dl_iterate_phdr(note_program, nullptr);
}  // namespace
}  // namespace tito
