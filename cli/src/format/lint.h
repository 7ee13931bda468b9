// Whether a module has the shape that the course asks for.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "format/module.h"

namespace tito {

struct Finding {
  enum class Level { Error, Note };

  Level level = Level::Error;
  fs::path file;
  int line = 0;
  std::string rule;  // a short name: "section-order"
  std::string message;
};

// Findings about one module, in the order of its lines. `course` is all modules in order, for what concerns two of them.
std::vector<Finding> lint_module(const Module& module, std::span<const Module> course);

}  // namespace tito
