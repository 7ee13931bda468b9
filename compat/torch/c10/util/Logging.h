#pragma once

#include <map>
#include <ostream>
#include <set>
#include <utility>
#include <vector>

#include <c10/util/Exception.h>

// Standard containers print as with libtorch, which puts these operators into `std` as well: [1 2 3] as "1 2 3", at most 100 elements.
namespace std {
template <class First, class Second>
ostream& operator<<(ostream& out, const pair<First, Second>& value);
template <class... Types>
ostream& operator<<(ostream& out, const vector<Types...>& values);
template <class... Types>
ostream& operator<<(ostream& out, const map<Types...>& values);
template <class... Types>
ostream& operator<<(ostream& out, const set<Types...>& values);
}  // namespace std

namespace tinytorch::detail {
template <class Sequence>
std::ostream& print_sequence(std::ostream& out, const Sequence& values) {
  int printed = 0;
  for (const auto& value : values) {
    if (printed == 100) return out << " ...";
    out << (printed++ == 0 ? "" : " ") << value;
  }
  return out;
}
}  // namespace tinytorch::detail

namespace std {
template <class First, class Second>
ostream& operator<<(ostream& out, const pair<First, Second>& value) {
  return out << '(' << value.first << ", " << value.second << ')';
}
template <class... Types>
ostream& operator<<(ostream& out, const vector<Types...>& values) {
  return tinytorch::detail::print_sequence(out, values);
}
template <class... Types>
ostream& operator<<(ostream& out, const map<Types...>& values) {
  return tinytorch::detail::print_sequence(out, values);
}
template <class... Types>
ostream& operator<<(ostream& out, const set<Types...>& values) {
  return tinytorch::detail::print_sequence(out, values);
}
}  // namespace std
