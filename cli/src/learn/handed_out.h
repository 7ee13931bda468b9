// What a workspace was handed out: .tito/course has each file of the course as it came, and checksums.txt says so of each. A
// damaged one is never trusted: it is written anew from the course, where that has the same version still, or named.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "build/known_mistakes.h"
#include "learn/workspace.h"

namespace tito {

// "modules/00_setup/README.md" -> ".tito/course/00_setup/README.md", "data/xor.csv" -> ".tito/course/data/xor.csv".
std::string handed_out_path(const std::string& path);

// Path in the workspace -> checksum.
using Checksums = std::map<std::string, std::string>;

void write_checksums(const fs::path& root, const Checksums& checksums);
// Of the files below .tito/course. When they are damaged, those that the course has alike are trusted again, and the others named.
Checksums read_checksums(const Workspace& workspace);

struct HandedOut {
  std::string text;       // empty: there was no such file
  std::string complaint;  // what is wrong, and what to do; empty when the text can be trusted
};

// A file below .tito/course.
HandedOut read_handed_out(const Workspace& workspace, const std::string& path);

// The lesson. Throws std::runtime_error with the complaint.
std::string handed_out_lesson(const Workspace& workspace, const std::string& folder);

// What the course knows of others' mistakes in it; nothing, and the complaint on standard error, when that is damaged.
std::vector<KnownMistake> handed_out_mistakes(const Workspace& workspace, const std::string& folder);

}  // namespace tito
