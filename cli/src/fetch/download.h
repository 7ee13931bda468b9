// Downloads that can be interrupted at any moment: what has arrived waits in FILE.part and is gone on with, and FILE itself only
// ever appears whole, with the published checksum.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "fetch/sets.h"

namespace tito {

struct DownloadOptions {
  std::string mirror;  // another folder of the same files, as a URL; empty: where they are published
  std::function<void(std::int64_t done, std::int64_t all)> on_progress;
  double stall_seconds = 60;  // gives up when nothing arrives for so long
};

enum class Fetched { AlreadyThere, Downloaded, Resumed };

// Brings the file to folder/file.name. Throws std::runtime_error, one sentence, when the server cannot be reached or does not have the
// file, when the connection breaks (what has arrived stays for the next call), when the checksum is wrong (what has arrived is
// discarded), or when another file of that name is there, which stays as it is.
Fetched fetch_file(const PublicFile& file, const fs::path& folder, const DownloadOptions& options = {});

// Brings a whole set below `data`, unpacked. `on_file` is told what became of each file.
void fetch_set(const PublicSet& set, const fs::path& data, const DownloadOptions& options,
               const std::function<void(const PublicFile&, Fetched)>& on_file);

// The MD5 of a file, in small hexadecimal digits. Throws std::runtime_error if it cannot be read.
std::string md5_of(const fs::path& file);

}  // namespace tito
