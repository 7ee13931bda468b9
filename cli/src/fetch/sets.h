// The public data sets of data/sets.toml.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tito {

namespace fs = std::filesystem;

struct PublicFile {
  std::string name;
  std::string url;
  std::int64_t bytes = 0;
  std::string md5;  // 32 digits
};

struct PublicSet {
  std::string name;
  std::string title;
  std::string source;
  std::string licence;
  fs::path folder;       // below the data folder; "." for the folder itself
  std::string unpacks;   // the folder that the only file, an archive, holds; empty: nothing to unpack
  std::vector<PublicFile> files;
};

// The sets of a table; throws std::runtime_error that names the file and what is wrong with it.
std::vector<PublicSet> read_sets(const fs::path& table);

// Throws std::runtime_error that names the sets there are.
const PublicSet& find_set(const std::vector<PublicSet>& sets, std::string_view name);

}  // namespace tito
