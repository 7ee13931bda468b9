#include "tito/seal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace tito {
namespace {

SealKey key = {};
bool sealed = false;
std::uint64_t next_line = 0;

int digit_of(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

[[noreturn]] void stop_without_key() {
  std::fputs("--sealed: no key on standard input\n", stderr);
  _exit(2);
}

// The key as 32 hexadecimal digits on standard input, which nobody can read again afterwards.
void read_key(int argc, char** argv, char**) {
  for (int i = 1; i < argc; ++i) sealed = sealed || std::strcmp(argv[i], "--sealed") == 0;
  if (!sealed) return;
  std::array<char, 2 * seal_digits> digits;
  for (std::size_t have = 0; have < digits.size();) {
    const ssize_t count = read(STDIN_FILENO, digits.data() + have, digits.size() - have);
    if (count <= 0) stop_without_key();
    have += static_cast<std::size_t>(count);
  }
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (digit_of(digits[i]) < 0) stop_without_key();
    std::uint64_t& word = key[i / seal_digits];
    word = word << 4 | static_cast<std::uint64_t>(digit_of(digits[i]));
  }
  digits.fill('\0');
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  if (nothing != STDIN_FILENO) close(nothing);
}

#if defined(__ELF__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Runs before all constructors of static objects: those may be an answer's.
[[gnu::section(".preinit_array"), gnu::used]] void (*const before_everything)(int, char**, char**) = read_key;
#else
// Sanitizers are not ready then, and grading does not use them: a sealed report is refused, as it has no key.
[[maybe_unused]] void (*const not_called)(int, char**, char**) = read_key;
#endif

}  // namespace

std::size_t put_seal(std::array<char, seal_digits + 1>& out, std::string_view line) noexcept {
  if (!sealed) return 0;
  std::uint64_t seal = seal_of_line(key, next_line++, line);
  for (std::size_t i = seal_digits; i-- > 0; seal >>= 4) out[i] = "0123456789abcdef"[seal & 15];
  out[seal_digits] = ' ';
  return out.size();
}

}  // namespace tito
