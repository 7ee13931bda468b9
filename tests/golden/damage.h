// Damages files, the same way for the same seed: for tests which ask that every file is either read or refused with a sentence.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <random>
#include <string>

#include "tinytorch/core/error.h"

namespace tinytorch::testing {

class Damage {
 public:
  explicit Damage(std::uint64_t seed) : random_(seed) {}

  // A copy of `bytes` with one to three of: a cut, flipped bits, an extreme number, a piece moved, doubled or taken out, noise.
  std::string apply(std::string bytes) {
    what_.clear();
    for (std::size_t times = 1 + below(3); times > 0 && !bytes.empty(); --times) once(bytes);
    return bytes;
  }
  // What was done last, to repeat it by hand.
  const std::string& what() const { return what_; }

 private:
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(random_() % count); }
  void note(const char* action, std::size_t place) { what_ += std::string(action) + " at " + std::to_string(place) + "; "; }

  void once(std::string& bytes) {
    const std::size_t place = below(bytes.size());
    const std::size_t length = 1 + below(std::min<std::size_t>(bytes.size() - place, 64));
    switch (below(8)) {
      case 0: note("cut", place); bytes.resize(place); break;
      case 1: note("bit", place); bytes[place] = static_cast<char>(bytes[place] ^ (1 << below(8))); break;
      case 2: note("byte", place); bytes[place] = static_cast<char>(below(256)); break;
      case 3: {  // numbers that overflow, or are just beyond something
        static constexpr std::array<std::uint64_t, 8> kNumbers{0, 1, 0x7f, 0x80, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff};
        const std::uint64_t number = below(3) == 0 ? ~std::uint64_t{0} : kNumbers[below(kNumbers.size())];
        note("number", place);
        const std::size_t width = std::size_t{1} << below(4);
        for (std::size_t i = 0; i < width && place + i < bytes.size(); ++i) bytes[place + i] = static_cast<char>(number >> (8 * i) & 0xff);
        break;
      }
      case 4: note("doubled", place); bytes.insert(place, bytes.substr(place, length)); break;
      case 5: note("taken out", place); bytes.erase(place, length); break;
      case 6: note("moved", place); bytes.insert(below(bytes.size()), bytes.substr(place, length)); break;
      default:
        note("noise", place);
        for (std::size_t i = 0; i < length; ++i) bytes[place + i] = static_cast<char>(below(256));
    }
  }

  std::mt19937_64 random_;
  std::string what_;
};

// Runs `action`, which may succeed or throw an Error with a sentence. Returns "" for these, else what was wrong.
template <class Action>
std::string complaint_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string text = error.what_without_backtrace();
    if (text.find(' ') == std::string::npos) return "no sentence: '" + text + "'";
    if (text.size() > 2000) return "a sentence of " + std::to_string(text.size()) + " characters";
  } catch (const std::exception& error) {
    return std::string("not an Error: ") + error.what();
  }
  return "";
}

}  // namespace tinytorch::testing
