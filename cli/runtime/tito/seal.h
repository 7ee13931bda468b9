// The seal on a line of a report: only who knows the key can make it, and it fits no other place in the report.
//
// `tito grade` gives a test program a key of its own (--sealed), because answers run in the same process as the tests and could
// write to the report what the tests would write. The key comes through standard input, is read before anything of an answer
// runs, and stands neither in the arguments nor in the environment.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace tito {

using SealKey = std::array<std::uint64_t, 2>;

constexpr std::size_t seal_digits = 16;  // hexadecimal, in front of a line; a blank follows

// SipHash-2-4 (Aumasson and Bernstein, 2012) of the line's number, from 0, and its text. O(text.size()).
inline std::uint64_t seal_of_line(const SealKey& key, std::uint64_t number, std::string_view text) noexcept {
  std::uint64_t v0 = key[0] ^ 0x736f6d6570736575U, v1 = key[1] ^ 0x646f72616e646f6dU;
  std::uint64_t v2 = key[0] ^ 0x6c7967656e657261U, v3 = key[1] ^ 0x7465646279746573U;
  const auto round = [&] {
    v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
  };
  const auto add = [&](std::uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  };
  add(number);
  std::uint64_t last = static_cast<std::uint64_t>(text.size() + sizeof number) << 56;
  for (; text.size() >= sizeof last; text.remove_prefix(sizeof last)) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), sizeof word);
    add(word);
  }
  for (std::size_t i = 0; i < text.size(); ++i) last |= std::uint64_t{static_cast<unsigned char>(text[i])} << (8 * i);
  add(last);
  v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

// In a test program: what stands in front of the next line of its report, the seal and a blank, written to `out`; its length,
// which is 0 when reports are not sealed. Allocates nothing, so that a signal handler may call it. Counts the lines.
std::size_t put_seal(std::array<char, seal_digits + 1>& out, std::string_view line) noexcept;

}  // namespace tito
