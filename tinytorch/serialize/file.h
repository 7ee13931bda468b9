// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>
#include <string_view>

namespace tinytorch {

namespace serialize {

// Writes `bytes` to `path` so that at every moment, also after a crash or a power cut, the path names either the old file or the whole new one:
// beside it, fsync, rename, fsync of the folder. Throws, and leaves the old file, if any step fails (a full disk, no permission).
// A symbolic link is followed; a device or a pipe is written to directly.
void write_file_atomically(const std::string& path, std::string_view bytes);

// The bytes of a file. Throws a sentence with the path if it cannot be read.
std::string read_file(const std::string& path);

}  // namespace serialize

}  // namespace tinytorch
