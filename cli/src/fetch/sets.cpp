#include "fetch/sets.h"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>
#include <toml++/toml.h>

namespace tito {
namespace {

// The value `key` of a table, which must be there.
template <class T>
T required(const toml::table& table, std::string_view key, const std::string& where) {
  const std::optional<T> value = table[key].value<T>();
  if (!value) throw std::runtime_error(fmt::format("{}: '{}' is missing or of another type", where, key));
  return *value;
}

// A name that stays in its folder.
std::string plain_name(const std::string& name, const std::string& where) {
  if (name.empty() || name == ".." || name.find('/') != std::string::npos) {
    throw std::runtime_error(fmt::format("{}: '{}' is not the name of a file", where, name));
  }
  return name;
}

PublicFile read_file_entry(const toml::table& table, const std::string& from, const std::string& where) {
  PublicFile file;
  file.name = plain_name(required<std::string>(table, "name", where), where);
  file.url = from + table["at"].value_or(file.name);
  file.bytes = required<std::int64_t>(table, "bytes", where);
  file.md5 = required<std::string>(table, "md5", where);
  const bool digits = file.md5.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (file.bytes <= 0 || file.md5.size() != 32 || !digits) {
    throw std::runtime_error(fmt::format("{}: {} needs its size in bytes and an md5 of 32 small hexadecimal digits", where, file.name));
  }
  return file;
}

PublicSet read_set(std::string_view name, const toml::table& table, const std::string& where) {
  PublicSet set;
  set.name = name;
  set.title = required<std::string>(table, "title", where);
  set.source = required<std::string>(table, "source", where);
  set.licence = required<std::string>(table, "licence", where);
  set.folder = plain_name(required<std::string>(table, "folder", where), where);
  set.unpacks = table["unpacks"].value_or(std::string());
  if (!set.unpacks.empty()) plain_name(set.unpacks, where);
  const std::string from = required<std::string>(table, "from", where);
  const toml::array* files = table["files"].as_array();
  if (files == nullptr || files->empty()) throw std::runtime_error(where + ": 'files' is missing or empty");
  for (const toml::node& file : *files) {
    if (!file.is_table()) throw std::runtime_error(where + ": 'files' must be tables");
    set.files.push_back(read_file_entry(*file.as_table(), from, where));
  }
  if (!set.unpacks.empty() && set.files.size() != 1) throw std::runtime_error(where + ": a set that unpacks has one file");
  return set;
}

}  // namespace

std::vector<PublicSet> read_sets(const fs::path& table) {
  toml::table all;
  try {
    all = toml::parse_file(table.string());
  } catch (const toml::parse_error& error) {
    throw std::runtime_error(fmt::format("{}:{}: {}", table.string(), error.source().begin.line, error.description()));
  }
  std::vector<PublicSet> sets;
  for (const auto& [name, node] : all) {
    const std::string where = fmt::format("{}: [{}]", table.string(), name.str());
    if (!node.is_table()) throw std::runtime_error(where + " is not a table");
    sets.push_back(read_set(name.str(), *node.as_table(), where));
  }
  return sets;
}

const PublicSet& find_set(const std::vector<PublicSet>& sets, std::string_view name) {
  std::string known;
  for (const PublicSet& set : sets) {
    if (set.name == name) return set;
    known += (known.empty() ? "" : ", ") + set.name;
  }
  throw std::runtime_error(fmt::format("no data set is named '{}'; there are: {}", name, known));
}

}  // namespace tito
