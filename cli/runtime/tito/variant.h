// Which holes are empty and which mistakes are made, in a package built with instrumented bodies.
//
// TITO_VARIANT names them, separated by commas: `05-*` empties every hole of module 05, `05-reduce-to` that
// one, and `05-reduce-to/drops-kept-dims` puts that mistake in its place.
#pragma once

namespace tito {
namespace detail {

enum class Variants { Unknown, None, Some };
extern Variants variants;
bool read_variants();
bool is_selected(const char* id);

}  // namespace detail

// True when TITO_VARIANT selects the hole or the mistake `id`.
inline bool variant(const char* id) {
  if (detail::variants == detail::Variants::None) return false;
  if (detail::variants == detail::Variants::Unknown && !detail::read_variants()) return false;
  return detail::is_selected(id);
}

}  // namespace tito
