// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Module 08: Training
//
// Everything is there: parameters, losses, gradients, optimizers, batches. This module makes a *run* of it: the loop that puts them in order, and what a run needs because it takes hours or weeks and machines fail. The loop is twenty lines. What makes it a system is that it can be cut off at any moment and go on later **as if nothing had happened**, to the last bit.
//
// For that one has to know what the state of a run *is*. Parameters, of course. The optimizer's moments and step counts. The schedule. The order of the examples and the place in it. The random generator, which dropout draws from. Leave one of them out and the run goes on, looks fine, and is another run.
//
// **Objectives.** After this module you can
//
// - write the loop of forward, backward, clip, update and say why the steps stand in this order;
// - train with batches that do not fit, by accumulating gradients, and say when that is exact;
// - write a file so that a crash or a full disk leaves the old one or the new one, and never half of one;
// - read a file that may be damaged without believing it; and name everything that a checkpoint must hold;
// - see in the gradients, layer by layer, why a deep network does not learn or blows up.
//
// **Where it sits.** It joins modules 03 to 07. Module 13 describes runs in files, module 19 runs the same loop on several machines, where the checkpoint is what a failed machine comes back to.
//
// **Prerequisites.** Modules 01 to 07, the digits of library chapter 94 and the archives of 63; files and errors of the operating system as far as the lesson introduces them.

// %%
//| export nn/module_serialization.h
//| extends Module
namespace tinytorch::serialize {
class OutputArchive;
class InputArchive;
}  // namespace tinytorch::serialize

namespace tinytorch::nn {
class Module;

// What serialization adds to Module: parameters and buffers, by their dotted names, to and from an archive. A module that keeps more than these overrides both and
// calls nn::Module::save and load in them; one that is not serializable is left out by its parent.
class ModuleSerialization {
 public:
  virtual void save(serialize::OutputArchive& archive) const;
  // Checks every name, shape and dtype first: a checkpoint that does not fit changes nothing.
  virtual void load(serialize::InputArchive& archive);
  virtual bool is_serializable() const { return true; }

 protected:
  ModuleSerialization() = default;
  ModuleSerialization(const ModuleSerialization&) = default;
  ModuleSerialization& operator=(const ModuleSerialization&) = default;
  ~ModuleSerialization() = default;
};
}  // namespace tinytorch::nn

// %%
//| export serialize/file.h
#include <string>
#include <string_view>
//| export serialize/file.cpp
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>
#include "tinytorch/core/error.h"
//| export serialize/save.h
#include <functional>
#include <memory>
#include "tinytorch/nn/module.h"
#include "tinytorch/optim/optimizer.h"
#include "tinytorch/serialize/archive.h"
//| export serialize/save.cpp
#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <variant>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/samplers.h"
#include "tinytorch/serialize/file.h"
//| export nn/clip_grad.h
#include "tinytorch/core/autograd.h"
//| export nn/clip_grad.cpp
#include <algorithm>
#include <cmath>
#include "tinytorch/core/more_ops.h"
//| export optim/trainer.h
#include <functional>
#include <optional>
#include <string>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/generator.h"
#include "tinytorch/data/dataloader.h"
#include "tinytorch/nn/module.h"
#include "tinytorch/optim/lr_scheduler.h"
#include "tinytorch/optim/optimizer.h"
//| export optim/trainer.cpp
#include <filesystem>
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/clip_grad.h"
#include "tinytorch/serialize/save.h"

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/resource.h>
#include <unistd.h>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/data/vision.h"
#include "tinytorch/nn/clip_grad.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/init.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/mlp.h"
#include "tinytorch/nn/modules.h"
#include "tinytorch/nn/more_init.h"
#include "tinytorch/nn/sequential.h"
#include "tinytorch/optim/adam.h"
#include "tinytorch/optim/sgd.h"
#include "tinytorch/optim/trainer.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/serialize/save.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// One step of training costs about three forward passes: one forward, and two products per layer on the way back (for the input and for the weight). With P parameters, B examples and an activation memory of A per example, a step holds
//
//       parameters + gradients + optimizer state + activations   =   P (1 + 1 + 2 for Adam)  +  A B         elements
//
// and a checkpoint P (1 + 2). Everything here costs O(P) per step or per checkpoint; only forward and backward grow with B.
//
// ### A file that is whole or not there
//
// The obvious way to save is to open the file and write. Opening for writing *empties* the file. If the program dies then, or the disk fills up, both the old checkpoint and the new one are gone. The way out is as old as Unix: write beside it, and then let the *name* change hands, which the file system does in one step.
//
//       1. write   run.ckpt.tmp     [new bytes ......]        run.ckpt --> [old bytes]     a crash here: the old file
//       2. fsync   run.ckpt.tmp     bytes are on the disk     run.ckpt --> [old bytes]
//       3. rename  run.ckpt.tmp --> run.ckpt                  run.ckpt --> [new bytes]     one step, never half
//       4. fsync   the folder       the name is on the disk
//
// Without step 2 a power cut after step 3 may leave the new *name* with bytes that never reached the disk: an empty checkpoint.
//
// The calls are the operating system's. `open` gives a *file descriptor*, the number of the open file; `write` hands bytes to the kernel, which writes them to the disk when it likes; `fsync(descriptor)` returns when they are there; `rename` moves the name. A call that fails gives -1 and leaves the reason as a number in `errno`.

// %%
//| export serialize/file.h
namespace serialize {

// Writes `bytes` to `path` so that at every moment, also after a crash or a power cut, the path names either the old file or the whole new one:
// beside it, fsync, rename, fsync of the folder. Throws, and leaves the old file, if any step fails (a full disk, no permission).
// A symbolic link is followed; a device or a pipe is written to directly.
void write_file_atomically(const std::string& path, std::string_view bytes);

// The bytes of a file. Throws a sentence with the path if it cannot be read.
std::string read_file(const std::string& path);

}  // namespace serialize

// %%
//| export serialize/file.cpp
namespace {
// A file descriptor that is closed at the end of its scope.
struct Descriptor {
  explicit Descriptor(int number) : fd(number) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

// Writes all bytes. Returns 0, or the errno of the write that failed.
int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

void sync_folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Descriptor folder(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd >= 0) ::fsync(folder.fd);
}

// Throws the sentence for a save that failed with `error`, after removing what is unfinished.
[[noreturn]] void fail_to_write(const std::string& path, const std::string& unfinished, int error) {
  if (!unfinished.empty()) ::unlink(unfinished.c_str());
  throw Error("cannot write " + path + ": " + std::strerror(error) + "\n[save] " +
              (error == ENOSPC || error == EDQUOT || error == EFBIG ? "there is no room for it; free some space and save again. "
                                                                    : "check the folder and its permissions. ") +
              "What was saved there before is untouched.");
}

// A name beside `path` that no other save uses.
std::string unfinished_name(const std::string& path) {
  static std::atomic<unsigned> count{0};
  return path + ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(count.fetch_add(1));
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "08-replace-file", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export serialize/file.cpp
// Makes `path` (a file, or nothing yet) name a file of `bytes`, by the four steps above. If any of the first three fails, throws by
// fail_to_write() with the errno, with nothing left beside `path`, which still names what it named. O(bytes).
//
// TODO: Write beside it, sync, rename, sync the folder.
// APPROACH: 1. ::open(unfinished_name(path).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) in a Descriptor; below 0: fail. 2. write_all().
//           3. ::fsync(). 4. ::rename(). 5. sync_folder_of(path). All but write_all give -1 and set errno.
// EXAMPLE: fail_to_write(path, unfinished, errno) where something went wrong; "" for unfinished if there is nothing to remove.
// HINT: the descriptor closes at the end of its scope; the rename does not need it.
namespace {
void replace_file(const std::string& path, std::string_view bytes) {
  // BEGIN SOLUTION
  const std::string unfinished = unfinished_name(path);
  const Descriptor file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.fd < 0) fail_to_write(path, "", errno);
  if (const int error = write_all(file.fd, bytes)) fail_to_write(path, unfinished, error);
  if (::fsync(file.fd) != 0) fail_to_write(path, unfinished, errno);
  if (::rename(unfinished.c_str(), path.c_str()) != 0) fail_to_write(path, unfinished, errno);
  sync_folder_of(path);
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 08-replace-file empties-the-old-file
//| says The old file was opened for writing, which empties it: when the disk is full, both checkpoints are lost. Write beside it and rename.
#if 0
void replace_file(const std::string& path, std::string_view bytes) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.fd < 0) fail_to_write(path, "", errno);
  if (const int error = write_all(file.fd, bytes)) fail_to_write(path, "", error);
  if (::fsync(file.fd) != 0) fail_to_write(path, "", errno);
  sync_folder_of(path);
}
#endif

// %%
//| mistake 08-replace-file ignores-failed-writes
//| says A write that failed went unnoticed, and half a checkpoint took the place of the whole one. Look at what write_all returns.
#if 0
void replace_file(const std::string& path, std::string_view bytes) {
  const std::string unfinished = unfinished_name(path);
  const Descriptor file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.fd < 0) fail_to_write(path, "", errno);
  write_all(file.fd, bytes);
  ::fsync(file.fd);
  if (::rename(unfinished.c_str(), path.c_str()) != 0) fail_to_write(path, unfinished, errno);
  sync_folder_of(path);
}
#endif

// %%
//| mistake 08-replace-file leaves-the-unfinished
//| says The unfinished file stays behind when the save fails: on a full disk every attempt would take more of it. Name it to fail_to_write.
#if 0
void replace_file(const std::string& path, std::string_view bytes) {
  const std::string unfinished = unfinished_name(path);
  const Descriptor file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.fd < 0) fail_to_write(path, "", errno);
  if (const int error = write_all(file.fd, bytes)) fail_to_write(path, "", error);
  if (::fsync(file.fd) != 0) fail_to_write(path, "", errno);
  if (::rename(unfinished.c_str(), path.c_str()) != 0) fail_to_write(path, "", errno);
  sync_folder_of(path);
}
#endif

// %%
//| export serialize/file.cpp
void serialize::write_file_atomically(const std::string& path, std::string_view bytes) {
  // What a link points to is replaced, not the link.
  std::error_code missing;
  const std::filesystem::path resolved = std::filesystem::canonical(path, missing);
  const std::string target = missing ? path : resolved.string();
  struct stat status {};
  if (::stat(target.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return replace_file(target, bytes);
  if (S_ISDIR(status.st_mode)) fail_to_write(path, "", EISDIR);
  const Descriptor device(::open(target.c_str(), O_WRONLY | O_CLOEXEC));
  if (device.fd < 0) fail_to_write(path, "", errno);
  if (const int error = write_all(device.fd, bytes)) fail_to_write(path, "", error);
}

// %%
//| export serialize/file.cpp
std::string serialize::read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0 || S_ISDIR(status.st_mode)) {
    const int error = file.fd >= 0 && S_ISDIR(status.st_mode) ? EISDIR : errno;
    throw Error("open file failed because of errno " + std::to_string(error) + " on fopen: " + std::strerror(error) + ", file path: " + path +
                "\n[load] check the path; relative paths begin at the current folder.");
  }
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(file.fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    TORCH_CHECK(count >= 0, "cannot read ", path, ": ", std::strerror(errno));
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

// %%
//| lesson
// As if the disk were full: files cannot grow beyond `bytes` for a scope.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::size_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &saved_);
    rlimit lower = saved_;
    lower.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &lower);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &saved_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit saved_{};
  void (*handler_)(int);
};

// What `save` throws under the limit; "" if nothing.
template <class F>
std::string error_with_little_room(std::size_t bytes, F save) {
  const FileSizeLimit limit(bytes);
  try {
    save();
  } catch (const Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

// %% {"nbgrader": {"grade": true, "grade_id": "08-replace-file-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("write_file_atomically: the whole new file, or the old one and a sentence") {
  const tito::Scratch scratch;
  const std::string path = scratch.path("model");
  const std::string old = "what was saved before";
  serialize::write_file_atomically(path, old);
  CHECK_EQ(serialize::read_file(path), old);
  CHECK_EQ(scratch.files(), 1);

  const std::string message = error_with_little_room(1000, [&] { serialize::write_file_atomically(path, std::string(5000, 'x')); });
  CHECK_NE(message.find("cannot write " + path), std::string::npos);
  CHECK_NE(message.find("What was saved there before is untouched"), std::string::npos);
  CHECK_EQ(serialize::read_file(path), old);
  CHECK_EQ(scratch.files(), 1);

  serialize::write_file_atomically(path, std::string(5000, 'x'));
  CHECK_EQ(serialize::read_file(path), std::string(5000, 'x'));
  CHECK_EQ(scratch.files(), 1);
  // BEGIN HIDDEN TESTS
  CHECK_ERROR(serialize::write_file_atomically(scratch.path("no/such/folder"), "x"), "No such file or directory");
  CHECK_ERROR(serialize::write_file_atomically(scratch.path(""), "x"), "Is a directory");
  CHECK_ERROR(serialize::write_file_atomically("/dev/full", "x"), "No space left on device");
  CHECK(std::filesystem::is_character_file("/dev/full"));
  std::filesystem::create_symlink(path, scratch.path("link"));
  serialize::write_file_atomically(scratch.path("link"), "through the link");
  CHECK(std::filesystem::is_symlink(scratch.path("link")));
  CHECK_EQ(serialize::read_file(path), "through the link");
  CHECK_ERROR(serialize::read_file(scratch.path("missing")), "No such file or directory, file path: " + scratch.path("missing"));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Archives: bytes that describe themselves
//
// A checkpoint is named tensors and a few numbers. The file format is *safetensors*: simple enough to read in a page, and read by Python's tools as well. It holds data only. (Python's pickle, PyTorch's older format, is a program that the loader executes: loading a stranger's checkpoint runs a stranger's code.)
//
//       byte 0        8                              8 + n
//       ┌────────────┬──────────────────────────────┬───────────────────────────────────────────────┐
//       │ n (uint64) │ JSON, n bytes                │ bytes of all tensors, one after the other     │
//       └────────────┴──────────────────────────────┴───────────────────────────────────────────────┘
//                      {"fc1.weight": {"dtype": "F32", "shape": [32, 64], "data_offsets": [0, 8192]}, ...
//                       "__metadata__": {"crc32": "...", "step": "i:7"}}
//
// The reader believes nothing: `n` against the size of the file, each range against the data, the product of each shape against its range (with care: the product may overflow), that the ranges follow each other without a gap or an overlap to the end of the file, and last a checksum of the data, which finds the flipped bit that all other checks let pass. Archives nest: `write("optimizer", archive)` puts a name and a dot before everything in it.
//
// The archives are given, in library chapter 63: `OutputArchive` writes the picture above and `InputArchive` believes nothing of it. What you need of them is `write(name, value)` and `read(name, value)` for tensors, numbers, texts and other archives, `save_to` and `load_from`. Read `OutputArchive::bytes()` and
// `InputArchive::load_bytes()` there when you want to see each check. With the path of a file they stand on the function that you have just written:

// %%
//| export serialize/save.cpp
void serialize::OutputArchive::save_to(const std::string& path) const { write_file_atomically(path, bytes()); }
void serialize::InputArchive::load_from(const std::string& path, std::optional<Device> device) { load_bytes(read_file(path), path), move_to(device); }

// %%
//| export serialize/save.cpp
//| registers
// Module 07's samplers write their state into an archive, and knew none yet.
void register_archive_access() {
  serialize::archive_access.write = [](serialize::OutputArchive& archive, const std::string& key, const Tensor& value) { archive.write(key, value); };
  serialize::archive_access.read = [](serialize::InputArchive& archive, const std::string& key) {
    Tensor value;
    archive.read(key, value);
    return value;
  };
}

// %%
TEST_CASE("an archive in a file: what went in comes out, and a damaged file is one sentence") {
  const tito::Scratch scratch;
  const std::string path = scratch.path("run.ckpt");
  serialize::OutputArchive archive;
  archive.write("weight", tensor({{1.5, -2.0}, {0.25, 4.0}}));
  archive.write("step", std::int64_t{7});
  archive.save_to(path);
  serialize::InputArchive read;
  read.load_from(path);
  Tensor weight;
  std::int64_t step = 0;
  read.read("weight", weight);
  read.read("step", step);
  CHECK_EQ(weight, tensor({{1.5, -2.0}, {0.25, 4.0}}));
  CHECK_EQ(step, 7);
  CHECK_EQ(read.name(), path);
  const std::string whole = serialize::read_file(path);
  serialize::write_file_atomically(path, whole.substr(0, whole.size() - 1));
  CHECK_ERROR(read.load_from(path), "cannot load " + path + ": ");
  CHECK_ERROR(read.load_from(scratch.path("none")), "No such file or directory");
}

// %% [markdown]
// ### Loading a module: check everything, then change
//
// A module writes its parameters and buffers under their dotted names. Loading must not stop halfway: a checkpoint whose third layer does not fit must not have overwritten the first two. So it has two phases, and only the first may throw.
//
//       phase 1: read, compare name, shape, dtype      fc1.weight ok   fc1.bias ok   fc2.weight (10, 16) != (10, 32): throw, nothing changed
//                                                                                    |
//       phase 2: copy, cannot fail                     only if every line of phase 1 was ok
//
// You write phase 1 so that it *returns* phase 2, as a function to call. A trainer can then check module, optimizer, loader and generator first and change them all afterwards, or none. What follows your function is given: modules whose children write more than their parameters, lists, and the optimizer, in the same two phases.

// %%
//| export serialize/save.cpp
namespace {
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

NamedTensors state_of_module(const nn::Module& module, bool recurse = true) {
  NamedTensors state;
  for (const auto& entry : module.named_parameters(recurse)) state.emplace_back(entry.key(), entry.value());
  for (const auto& entry : module.named_buffers(recurse)) state.emplace_back(entry.key(), entry.value());
  return state;
}
}  // namespace

void nn::ModuleSerialization::save(serialize::OutputArchive& archive) const {
  const auto& module = static_cast<const nn::Module&>(*this);
  for (const auto& [name, tensor] : state_of_module(module, /*recurse=*/false)) archive.write(name, tensor);
  for (const auto& child : module.named_children()) {
    if (!child.value()->is_serializable()) continue;
    serialize::OutputArchive part;
    child.value()->save(part);
    archive.write(child.key(), part);
  }
}

// %%
//| export serialize/save.h
namespace serialize {

// Loading in two steps: each checks the whole state against the module or the optimizer, throws if it does not fit, and returns the change
// to make. Several things can so be loaded together, or not at all.
std::function<void()> prepare_load(const InputArchive& archive, nn::Module& module);
std::function<void()> prepare_load(const InputArchive& archive, optim::Optimizer& optimizer);

// Named values of an optimizer or of a callback, to and from `prefix`.<name>. An undefined tensor or an empty optional is not written, and stays as it is
// when there is nothing to read; everything else must be there.
void write_fields(OutputArchive& archive, const std::string& prefix, const optim::Fields& fields);
void read_fields(const InputArchive& archive, const std::string& prefix, const optim::Fields& fields);

// The path of the newest file step-<digits>.ckpt in `folder` that loads; "" if there is none.
std::string newest_sound_checkpoint(const std::string& folder);

// The options of each group, and the state of an optimizer, parameter by parameter in the order of its groups.
OutputArchive& operator<<(OutputArchive& archive, const optim::Optimizer& optimizer);
InputArchive& operator>>(InputArchive& archive, optim::Optimizer& optimizer);
OutputArchive& operator<<(OutputArchive& archive, const nn::Module& module);
InputArchive& operator>>(InputArchive& archive, nn::Module& module);
OutputArchive& operator<<(OutputArchive& archive, const Tensor& tensor);
InputArchive& operator>>(InputArchive& archive, Tensor& tensor);
OutputArchive& operator<<(OutputArchive& archive, const std::vector<Tensor>& tensors);
InputArchive& operator>>(InputArchive& archive, std::vector<Tensor>& tensors);

template <class T>
OutputArchive& operator<<(OutputArchive& archive, const std::shared_ptr<T>& module) {
  return archive << static_cast<const nn::Module&>(*module);
}
template <class T>
InputArchive& operator>>(InputArchive& archive, std::shared_ptr<T>& module) {
  return archive >> static_cast<nn::Module&>(*module);
}
template <class T>
OutputArchive& operator<<(OutputArchive& archive, const nn::ModuleHolder<T>& module) {
  return archive << static_cast<const nn::Module&>(*module);
}
template <class T>
InputArchive& operator>>(InputArchive& archive, nn::ModuleHolder<T>& module) {
  return archive >> static_cast<nn::Module&>(*module);
}

}  // namespace serialize

// Writes a tensor, a list of tensors, a module or an optimizer to a file (atomically), a stream or a writer: see OutputArchive::save_to.
template <class Value, class... SaveToArgs>
void save(const Value& value, SaveToArgs&&... arguments) {
  serialize::OutputArchive archive;
  archive << value;
  archive.save_to(std::forward<SaveToArgs>(arguments)...);
}

// A list in braces: save({a, b}, "two.pt").
template <class... SaveToArgs>
void save(const std::vector<Tensor>& tensors, SaveToArgs&&... arguments) {
  serialize::OutputArchive archive;
  archive << tensors;
  archive.save_to(std::forward<SaveToArgs>(arguments)...);
}

// Reads what save() wrote, from a file, a stream or a buffer. What is damaged or does not fit throws and changes nothing. A list is appended to, as in libtorch.
template <class Value, class... LoadFromArgs>
void load(Value& value, LoadFromArgs&&... arguments) {
  serialize::InputArchive archive;
  archive.load_from(std::forward<LoadFromArgs>(arguments)...);
  archive >> value;
}

// %% {"nbgrader": {"grade": false, "grade_id": "08-prepare-load", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export serialize/save.cpp
// Checks that `archive` has every parameter and buffer of `module` with its sizes and dtype; throws, and has changed nothing, if not. Returns the change:
// a function that copies them in (in place, so that handles on the parameters see it). What else the archive holds is ignored.
//
// TODO: Read and check all tensors, then return the function that copies them.
// APPROACH: 1. state_of_module(module) lists names and tensors. 2. For each: archive.read(name, saved) (it throws for a missing name), then compare sizes ("size
//           mismatch for <name>: copying a param with shape <saved> from checkpoint, the shape in current model is <own>.") and scalar_type ("dtype mismatch for <name>").
//           3. Return [state, saved] { const AutoDispatchBelowAutograd below_autograd; ...copy_... }.
// EXAMPLE: prepare_load(archive, *model)(); loads at once.
// HINT: the guard makes the copies unrecorded, since parameters require gradients; their versions still rise.
std::function<void()> serialize::prepare_load(const InputArchive& archive, nn::Module& module) {
  // BEGIN SOLUTION
  const NamedTensors state = state_of_module(module);
  std::vector<Tensor> saved(state.size());
  for (std::size_t i = 0; i < state.size(); ++i) {
    const auto& [name, own] = state[i];
    archive.read(name, saved[i]);
    TORCH_CHECK(saved[i].sizes() == own.sizes(), "size mismatch for ", name, ": copying a param with shape ", saved[i].sizes(),
                " from checkpoint, the shape in current model is ", own.sizes(), ".\n[load] ", archive.name(), " was saved from another architecture.");
    TORCH_CHECK(saved[i].scalar_type() == own.scalar_type(), "dtype mismatch for ", name, ": ", archive.name(), " has ", saved[i].scalar_type(),
                ", the current model ", own.scalar_type(), "\n[load] convert the model with to() first.");
  }
  return [state, saved] {
    const AutoDispatchBelowAutograd below_autograd;
    for (std::size_t i = 0; i < state.size(); ++i) state[i].second.copy_(saved[i]);
  };
  // END SOLUTION
}

// %%
//| mistake 08-prepare-load copies-while-checking
//| says The first layers were overwritten before a later one turned out not to fit. Check all of them first; only the returned function may change anything.
#if 0
std::function<void()> serialize::prepare_load(const InputArchive& archive, nn::Module& module) {
  const AutoDispatchBelowAutograd below_autograd;
  for (const auto& [name, own] : state_of_module(module)) {
    Tensor saved;
    archive.read(name, saved);
    TORCH_CHECK(saved.sizes() == own.sizes(), "size mismatch for ", name, ": copying a param with shape ", saved.sizes(),
                " from checkpoint, the shape in current model is ", own.sizes(), ".");
    TORCH_CHECK(saved.scalar_type() == own.scalar_type(), "dtype mismatch for ", name);
    own.copy_(saved);
  }
  return [] {};
}
#endif

// %%
//| mistake 08-prepare-load believes-the-shape
//| says copy_ broadcasts: a saved (1) fits into any parameter, silently. Compare the sizes before anything is copied.
#if 0
std::function<void()> serialize::prepare_load(const InputArchive& archive, nn::Module& module) {
  const NamedTensors state = state_of_module(module);
  std::vector<Tensor> saved(state.size());
  for (std::size_t i = 0; i < state.size(); ++i) archive.read(state[i].first, saved[i]);
  return [state, saved] {
    const AutoDispatchBelowAutograd below_autograd;
    for (std::size_t i = 0; i < state.size(); ++i) state[i].second.copy_(saved[i]);
  };
}
#endif

// %%
//| export serialize/save.cpp
namespace {
// Lets each child read its part of the archive.
void load_children(const serialize::InputArchive& archive, nn::Module& module, bool restored) {
  for (const auto& child : module.named_children()) {
    if (!child.value()->is_serializable()) continue;
    serialize::InputArchive part;
    archive.try_read(child.key(), part);
    part.set_restored(restored);
    child.value()->load(part);
  }
}

// For a module one of whose children writes something else than its parameters: each reads its own. Puts everything back if one throws.
void load_piece_by_piece(const serialize::InputArchive& archive, nn::Module& module) {
  const AutoDispatchBelowAutograd below_autograd;
  NamedTensors before;
  for (const auto& [name, tensor] : state_of_module(module)) before.emplace_back(name, tensor.clone());
  try {
    for (const auto& [name, own] : state_of_module(module, /*recurse=*/false)) {
      Tensor saved;
      archive.read(name, saved);
      TORCH_CHECK(saved.sizes() == own.sizes() && saved.scalar_type() == own.scalar_type(), "size or dtype mismatch for ", name);
      own.copy_(saved);
    }
    load_children(archive, module, /*restored=*/false);
  } catch (...) {
    const NamedTensors state = state_of_module(module);
    for (std::size_t i = 0; i < state.size(); ++i) state[i].second.copy_(before[i].second);
    throw;
  }
}
}  // namespace

void nn::ModuleSerialization::load(serialize::InputArchive& archive) {
  auto& module = static_cast<nn::Module&>(*this);
  if (archive.restored()) return load_children(archive, module, true);
  std::function<void()> change;
  std::exception_ptr misfit;
  try {
    change = serialize::prepare_load(archive, module);
  } catch (const Error&) {
    misfit = std::current_exception();
  }
  if (!misfit) {
    change();
    return load_children(archive, module, true);
  }
  try {
    load_piece_by_piece(archive, module);
  } catch (const Error&) {
    std::rethrow_exception(misfit);  // it names the tensor from the root
  }
}

// %%
//| export serialize/save.cpp
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const nn::Module& module) {
  module.save(archive);
  return archive;
}
serialize::InputArchive& serialize::operator>>(InputArchive& archive, nn::Module& module) {
  module.load(archive);
  return archive;
}
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const Tensor& tensor) {
  archive.write("0", tensor);
  return archive;
}
serialize::InputArchive& serialize::operator>>(InputArchive& archive, Tensor& tensor) {
  archive.read("0", tensor);
  return archive;
}
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const std::vector<Tensor>& tensors) {
  archive.write("size", static_cast<std::int64_t>(tensors.size()));
  for (std::size_t i = 0; i < tensors.size(); ++i) archive.write(std::to_string(i), tensors[i]);
  return archive;
}
serialize::InputArchive& serialize::operator>>(InputArchive& archive, std::vector<Tensor>& tensors) {
  std::int64_t size = 0;
  archive.read("size", size);
  TORCH_CHECK(size >= 0 && static_cast<std::size_t>(size) < archive.keys().size(), archive.name(), " claims to hold ", size, " tensors");
  std::vector<Tensor> loaded(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < loaded.size(); ++i) archive.read(std::to_string(i), loaded[i]);
  tensors.insert(tensors.end(), loaded.begin(), loaded.end());
  return archive;
}

// %%
//| export serialize/save.cpp
namespace {
// Each kind of field, to an archive and back.
struct WriteField {
  serialize::OutputArchive& archive;
  const std::string& key;
  void operator()(const Tensor* value) const {
    if (value->defined()) archive.write(key, *value);
  }
  void operator()(const std::deque<Tensor>* value) const {
    archive.write(key + ".size", value->size());
    for (std::size_t i = 0; i < value->size(); ++i) archive.write(key + "." + std::to_string(i), (*value)[i]);
  }
  template <class T>
  void operator()(const std::optional<T>* value) const {
    if (*value) archive.write(key, **value);
  }
  template <class T>
  void operator()(const T* value) const {
    archive.write(key, *value);
  }
};

struct ReadField {
  const serialize::InputArchive& archive;
  const std::string& key;
  void operator()(Tensor* value) const { archive.try_read(key, *value); }
  void operator()(std::deque<Tensor>* value) const {
    std::uint32_t size = 0;
    archive.read(key + ".size", size);
    value->clear();
    for (std::uint32_t i = 0; i < size; ++i) archive.read(key + "." + std::to_string(i), value->emplace_back());
  }
  template <class T>
  void operator()(std::optional<T>* value) const {
    value->reset();
    if (archive.has_value(key)) archive.read(key, value->emplace());
  }
  template <class T>
  void operator()(T* value) const {
    archive.read(key, *value);
  }
};
}  // namespace

void serialize::write_fields(OutputArchive& archive, const std::string& prefix, const optim::Fields& fields) {
  for (const auto& [name, field] : fields) {
    const std::string key = prefix + "." + name;
    std::visit(WriteField{archive, key}, field);
  }
}

void serialize::read_fields(const InputArchive& archive, const std::string& prefix, const optim::Fields& fields) {
  for (const auto& [name, field] : fields) {
    const std::string key = prefix + "." + name;
    std::visit(ReadField{archive, key}, field);
  }
}

// %% [markdown]
// An optimizer is saved by position: addresses mean nothing to another process, and names are the module's business. So parameters must be given to the optimizer in the same order in both runs, which `parameters()` of the same module does.
//
//       group.0.lr  group.0.momentum ...  group.0.parameters 2         state.0.momentum_buffer   state.1.momentum_buffer
//       group.1.lr  group.1.momentum ...  group.1.parameters 1         (state.2: had no gradient yet)

// %%
//| export serialize/save.cpp
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const optim::Optimizer& optimizer) {
  archive.write("optimizer", optimizer.name());
  archive.write("groups", optimizer.param_groups().size());
  std::size_t position = 0;
  for (std::size_t g = 0; g < optimizer.param_groups().size(); ++g) {
    optim::OptimizerParamGroup group = optimizer.param_groups()[g];  // a copy: fields() also allows writing
    const std::string prefix = "group." + std::to_string(g);
    write_fields(archive, prefix, group.options().fields());
    write_fields(archive, prefix, {{"initial_lr", &group.initial_lr()}});
    archive.write(prefix + ".parameters", group.params().size());
    for (const Tensor& parameter : group.params()) {
      const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (found != optimizer.state().end()) write_fields(archive, "state." + std::to_string(position), found->second->fields());
      ++position;
    }
  }
  return archive;
}

// %%
//| export serialize/save.cpp
namespace {
// Throws unless the state's tensors have the sizes and the dtype of the parameter (or of all in one vector, where the state is about all).
void check_state(const serialize::InputArchive& archive, optim::OptimizerParamState& state, const Tensor& parameter, std::size_t position, std::int64_t total) {
  const auto check = [&](const std::string& name, const Tensor& tensor) {
    const bool fits = state.spans_all_parameters() ? tensor.dim() == 0 || tensor.sizes() == IntArrayRef({total}) : tensor.sizes() == parameter.sizes();
    TORCH_CHECK(fits && tensor.scalar_type() == parameter.scalar_type(), "cannot load ", archive.name(), ": ", name, " of parameter ", position, " has sizes ", tensor.sizes(),
                " and dtype ", tensor.scalar_type(), ", the parameter has ", parameter.sizes(), " and ", parameter.scalar_type());
  };
  for (const auto& [name, field] : state.fields()) {
    if (const auto* tensor = std::get_if<Tensor*>(&field); tensor != nullptr && (*tensor)->defined()) check(name, **tensor);
    if (const auto* list = std::get_if<std::deque<Tensor>*>(&field))
      for (const Tensor& tensor : **list) check(name, tensor);
  }
}
}  // namespace

std::function<void()> serialize::prepare_load(const InputArchive& archive, optim::Optimizer& optimizer) {
  std::string name;
  archive.read("optimizer", name);
  TORCH_CHECK(name == optimizer.name(), "cannot load ", archive.name(), ": it holds the state of ", name, ", this optimizer is ", optimizer.name());
  std::size_t groups = 0;
  archive.read("groups", groups);
  TORCH_CHECK(groups == optimizer.param_groups().size(), "loaded state dict has a different number of parameter groups\n[load] ", archive.name(), " has ", groups,
              ", this optimizer has ", optimizer.param_groups().size());
  std::int64_t total = 0;
  for (const optim::OptimizerParamGroup& group : optimizer.param_groups())
    for (const Tensor& parameter : group.params()) total += parameter.numel();

  const auto loaded = std::make_shared<optim::Optimizer::State>();
  std::size_t position = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    optim::OptimizerParamGroup trial = optimizer.param_groups()[g];
    const std::string prefix = "group." + std::to_string(g);
    read_fields(archive, prefix, trial.options().fields());
    std::size_t count = 0;
    archive.read(prefix + ".parameters", count);
    TORCH_CHECK(count == trial.params().size(), "loaded state dict contains a parameter group that has a different size than the optimizer's parameter group\n[load] group ", g,
                " of ", archive.name(), " has ", count, " parameters, the optimizer's has ", trial.params().size());
    for (const Tensor& parameter : trial.params()) {
      const std::string key = "state." + std::to_string(position);
      if (InputArchive entry; archive.try_read(key, entry)) {
        std::unique_ptr<optim::OptimizerParamState> state = optimizer.make_state();
        read_fields(archive, key, state->fields());
        check_state(archive, *state, parameter, position, total);
        (*loaded)[parameter.unsafeGetTensorImpl()] = std::move(state);
      }
      ++position;
    }
  }
  return [&optimizer, archive, loaded] {
    optimizer.state() = std::move(*loaded);
    for (std::size_t g = 0; g < optimizer.param_groups().size(); ++g) {
      optim::OptimizerParamGroup& group = optimizer.param_groups()[g];
      const std::string prefix = "group." + std::to_string(g);
      read_fields(archive, prefix, group.options().fields());
      read_fields(archive, prefix, {{"initial_lr", &group.initial_lr()}});
    }
  };
}

serialize::InputArchive& serialize::operator>>(InputArchive& archive, optim::Optimizer& optimizer) {
  prepare_load(archive, optimizer)();
  return archive;
}

void optim::Optimizer::save(serialize::OutputArchive& archive) const { archive << *this; }
void optim::Optimizer::load(serialize::InputArchive& archive) { archive >> *this; }

// %% {"nbgrader": {"grade": true, "grade_id": "08-prepare-load-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("load: a module comes back, and one that does not fit is not touched") {
  const tito::Scratch scratch;
  const std::string path = scratch.path("model.safetensors");
  manual_seed(1);
  nn::MLP model(std::vector<std::int64_t>{4, 5, 3});
  save(model, path);
  nn::MLP same(std::vector<std::int64_t>{4, 5, 3});
  const Tensor handle = same->parameters()[0];
  CHECK(!handle.detach().equal(model->parameters()[0].detach()));
  serialize::InputArchive archive;
  archive.load_from(path);
  serialize::prepare_load(archive, *same)();
  CHECK_EQ(handle.detach(), model->parameters()[0].detach());
  CHECK_EQ(same->parameters()[3].detach(), model->parameters()[3].detach());
  CHECK(handle.requires_grad());
  CHECK(handle.is_leaf());

  nn::MLP other(std::vector<std::int64_t>{4, 5, 2});
  const Tensor before = other->parameters()[0].detach().clone();
  CHECK_ERROR(load(other, path), "size mismatch for fc2.weight: copying a param with shape [3, 5] from checkpoint, the shape in current model is [2, 5].");
  CHECK_EQ(other->parameters()[0].detach(), before);
  // BEGIN HIDDEN TESTS
  nn::MLP wide(std::vector<std::int64_t>{4, 5, 3});
  wide->to(kDouble);
  CHECK_ERROR(load(wide, path), "dtype mismatch for fc1.weight");
  nn::MLP deep(std::vector<std::int64_t>{4, 5, 3, 2});
  CHECK_ERROR(load(deep, path), "No such serialized tensor 'fc3.");
  // END HIDDEN TESTS
}

// %%
TEST_CASE("save and load: tensors, lists and an optimizer with its moments") {
  const tito::Scratch scratch;
  const std::string path = scratch.path("state");
  std::vector<Tensor> list = {tensor({1, 2}), tensor({0.5})}, back;
  save(list, path);
  load(back, path);
  REQUIRE_EQ(back.size(), 2);
  CHECK_EQ(back[1], list[1]);

  const Tensor p = tensor({1.0, 2.0});
  p.requires_grad_();
  const auto advance = [](optim::Optimizer& optimizer, const Tensor& parameter) {
    parameter.mutable_grad() = tensor({0.3, -0.1});
    optimizer.step();
  };
  optim::Adam adam({p}, 0.1);
  advance(adam, p);
  adam.param_groups()[0].options().set_lr(0.05);
  save(adam, path);
  const Tensor q = p.detach().clone();
  q.requires_grad_();
  optim::Adam resumed({q}, 0.1);
  load(resumed, path);
  CHECK_EQ(resumed.param_groups()[0].options().get_lr(), 0.05);
  advance(adam, p);
  advance(resumed, q);
  CHECK_EQ(p.detach(), q.detach());

  optim::SGD sgd({q}, 0.1);
  CHECK_ERROR(load(sgd, path), "it holds the state of Adam, this optimizer is SGD");
  optim::Adam two({q, ones({1})}, 0.1);
  CHECK_ERROR(load(two, path), "a parameter group that has a different size than the optimizer's parameter group");
  optim::Adam groups({optim::OptimizerParamGroup({q}), optim::OptimizerParamGroup({ones({1})})}, 0.1);
  CHECK_ERROR(load(groups, path), "loaded state dict has a different number of parameter groups");
  const Tensor wide = ones({3});
  optim::Adam other({wide}, 0.1);
  CHECK_ERROR(load(other, path), "exp_avg of parameter 0 has sizes [2] and dtype Float, the parameter has [3] and Float");
  CHECK(other.state().empty());
}

// %% [markdown]
// ### Clipping
//
// One bad batch can have a gradient a hundred times as long as usual, and one step along it undoes an hour. Clipping limits the *common* length of all gradients: they are scaled together, so the direction stays.
//
//       all gradients as one vector g:      |g| = 13                    scaled by 2 / 13: |g| = 2, the same direction
//
//       weight.grad  [3 4]  ---+                            * 2 / 13 --> [0.46 0.62]
//                              +--> one norm, 13 --> factor
//       bias.grad    [12]   ---+                            * 2 / 13 --> [1.85]
//
// Clipping each tensor by itself, or each element (`clip_grad_value_`), turns the direction. A norm that is infinite or NaN cannot be mended: it can be reported, or spoils everything. That it spoils is wanted, so that nobody overlooks it; but `std::min(1.0, NaN)` is 1 in C++, so a NaN must be passed on by hand.

// %%
//| export nn/clip_grad.h
namespace nn::utils {

// Scales all gradients together so that their common norm is at most max_norm; returns the norm before.
// norm_type: 2, 1, ... or infinity; 0 counts the gradients, as in PyTorch. Source: Pascanu et al. 2013; torch/csrc/api/include/torch/nn/utils/clip_grad.h.
double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type = 2.0, bool error_if_nonfinite = false);
inline double clip_grad_norm_(const Tensor& parameter, double max_norm, double norm_type = 2.0, bool error_if_nonfinite = false) {
  return clip_grad_norm_(std::vector<Tensor>{parameter}, max_norm, norm_type, error_if_nonfinite);
}

// Limits each element of each gradient to [-clip_value, clip_value].
void clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value);
inline void clip_grad_value_(const Tensor& parameter, double clip_value) { clip_grad_value_(std::vector<Tensor>{parameter}, clip_value); }

}  // namespace nn::utils

// %%
//| export nn/clip_grad.cpp
namespace {
// The norm of all gradients as one vector, summed in double.
double common_norm(const std::vector<Tensor>& parameters, double norm_type) {
  double total = 0;
  for (const Tensor& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    if (norm_type == 0) ++total;
    if (norm_type == 0 || parameter.grad().numel() == 0) continue;
    const Tensor magnitude = parameter.grad().detach().abs().to(kDouble);
    if (std::isinf(norm_type)) {
      const double largest = magnitude.max().item<double>();
      total = std::isnan(largest) ? largest : std::max(total, largest);
    } else {
      total += magnitude.pow(norm_type).sum().item<double>();
    }
  }
  return std::isinf(norm_type) || norm_type == 0 ? total : std::pow(total, 1.0 / norm_type);
}
}  // namespace

void nn::utils::clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value) {
  const NoGradGuard no_grad;
  for (const Tensor& parameter : parameters)
    if (parameter.grad().defined()) clamp_(parameter.mutable_grad(), -clip_value, clip_value);
}

// %% {"nbgrader": {"grade": false, "grade_id": "08-clip-norm", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/clip_grad.cpp
// Multiplies all gradients, in place, by one factor: max_norm / (norm + 1e-6), but at most 1. Returns the norm before. With
// error_if_nonfinite, a norm that is infinite or NaN throws, and nothing has changed. O(elements).
//
// TODO: Compute the common norm and scale every gradient by the same factor.
// APPROACH: 1. NoGradGuard, common_norm(). 2. The check: "The total norm of order <norm_type> for gradients from `parameters` is non-finite". 3. The factor, and
//           mul_ for each gradient there is.
// EXAMPLE: gradients [3, 4] and [12] with max_norm 2: returns 13, and leaves them scaled by 2 / 13.
// HINT: a parameter that took no part has no gradient.
double nn::utils::clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type, bool error_if_nonfinite) {
  // BEGIN SOLUTION
  const NoGradGuard no_grad;
  const double norm = common_norm(parameters, norm_type);
  TORCH_CHECK(!error_if_nonfinite || std::isfinite(norm), "The total norm of order ", norm_type,
              " for gradients from `parameters` is non-finite, so it cannot be clipped. To disable this error and scale the gradients with the "
              "non-finite norm anyway, set `error_if_nonfinite=false`");
  const double scale = std::isnan(norm) ? norm : std::min(1.0, max_norm / (norm + 1e-6));
  for (const Tensor& parameter : parameters)
    if (parameter.grad().defined()) parameter.mutable_grad().mul_(scale);
  return norm;
  // END SOLUTION
}

// %%
//| mistake 08-clip-norm each-by-itself
//| says Each gradient was clipped by its own norm, which turns the direction of the step. The norm is that of all gradients together.
#if 0
double nn::utils::clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type, bool error_if_nonfinite) {
  static_cast<void>(error_if_nonfinite);
  const NoGradGuard no_grad;
  for (const Tensor& parameter : parameters)
    if (parameter.grad().defined()) parameter.mutable_grad().mul_(std::min(1.0, max_norm / (common_norm({parameter}, norm_type) + 1e-6)));
  return common_norm(parameters, norm_type);
}
#endif

// %%
//| mistake 08-clip-norm stretches-small-gradients
//| says A gradient that is short enough must stay as it is: the factor is at most 1. Stretched, the step would never get smaller near the minimum.
#if 0
double nn::utils::clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type, bool error_if_nonfinite) {
  static_cast<void>(error_if_nonfinite);
  const NoGradGuard no_grad;
  const double norm = common_norm(parameters, norm_type);
  for (const Tensor& parameter : parameters)
    if (parameter.grad().defined()) parameter.mutable_grad().mul_(max_norm / (norm + 1e-6));
  return norm;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "08-clip-norm-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("clip_grad_norm_: one factor for all gradients, at most 1") {
  const Tensor a = zeros({2}), b = zeros({1, 1}), idle = zeros({3});
  const std::vector<Tensor> parameters = {a, b, idle};
  for (const Tensor& parameter : parameters) parameter.requires_grad_();
  const auto set = [&] {
    a.mutable_grad() = tensor({3.0, 4.0});
    b.mutable_grad() = tensor({{12.0}});
  };
  set();
  CHECK_CLOSE(nn::utils::clip_grad_norm_(parameters, 2.0), 13.0, 1e-9, 0.0);
  CHECK_CLOSE(a.grad(), tensor({6.0 / 13, 8.0 / 13}), 1e-6, 0.0);
  CHECK_CLOSE(b.grad(), tensor({{24.0 / 13}}), 1e-6, 0.0);
  set();
  CHECK_CLOSE(nn::utils::clip_grad_norm_(parameters, 100.0), 13.0, 1e-9, 0.0);
  CHECK_EQ(a.grad(), tensor({3.0, 4.0}));
  // BEGIN HIDDEN TESTS
  CHECK_CLOSE(nn::utils::clip_grad_norm_(parameters, 100.0, INFINITY), 12.0, 1e-9, 0.0);
  CHECK_CLOSE(nn::utils::clip_grad_norm_(parameters, 100.0, 1.0), 19.0, 1e-9, 0.0);
  CHECK_EQ(nn::utils::clip_grad_norm_(parameters, 100.0, 0.0), 2.0);
  CHECK_CLOSE(nn::utils::clip_grad_norm_(a, 100.0), 5.0, 1e-9, 0.0);
  b.mutable_grad() = tensor({{INFINITY}});
  CHECK_ERROR(nn::utils::clip_grad_norm_(parameters, 1.0, 2.0, true), "The total norm of order 2 for gradients from `parameters` is non-finite");
  CHECK_EQ(a.grad(), tensor({3.0, 4.0}));
  nn::utils::clip_grad_value_({a}, 3.5);
  CHECK_EQ(a.grad(), tensor({3.0, 3.5}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The loop
//
//       for each epoch:                                        mode: train()
//         for each batch:
//           forward ──> loss ──> / accumulate ──> backward     gradients are added up
//           every `accumulate` batches:
//             clip ──> optimizer.step ──> zero_grad            in this order
//             callbacks;  checkpoint if due
//         scheduler.step;  callbacks;  checkpoint
//
// *Accumulation.* A batch of 64 that does not fit in memory can be done as 4 of 16: gradients add up. The loss is a mean, so each part must be divided by 4, or the step is four times as long. It is exact for losses that are means over equal parts; it is not for BatchNorm (module 09, a layer that normalizes by the mean and variance of the batch that it sees), which
// sees 16 examples. At the end of an epoch fewer batches may be left: the sum is then brought to the scale of a whole one.
//
// *Callbacks* get the `Progress` and decide nothing but whether to go on: a progress bar, a log, early stopping. A callback with a memory (how long has the metric not fallen?) hands the trainer its `fields()` (names and addresses, as an optimizer's state in module 06), or that memory would begin anew after a restart.

// %%
//| export optim/trainer.h
namespace optim {

struct TrainerOptions {
  TORCH_ARG(std::int64_t, epochs) = 1;
  TORCH_ARG(std::int64_t, accumulate) = 1;         // batches whose gradients are added up before one step
  TORCH_ARG(double, clip_norm) = 0;                // 0: do not clip
  TORCH_ARG(std::string, checkpoint);              // where to save; empty: nowhere
  TORCH_ARG(std::int64_t, checkpoint_every) = 0;   // steps between checkpoints; 0: at the end of each epoch
};

// How far a run is, and what its last step gave.
struct Progress {
  std::int64_t epoch = 0;    // finished epochs
  std::int64_t batch = 0;    // batches done in this epoch
  std::int64_t step = 0;     // updates of the parameters so far
  double loss = 0;           // of the last batch
  double loss_sum = 0;       // of the batches of this epoch
  double grad_norm = 0;      // before clipping, if clip_norm is set
  bool stopped = false;      // a callback has ended the run
  double mean_loss() const { return batch == 0 ? 0 : loss_sum / static_cast<double>(batch); }
};

// The training loop: forward, backward, clip, update, checkpoint. A run that was cut off and resumed gives the numbers of one that was not,
// bit for bit: the checkpoint holds parameters, optimizer, schedule, the place in the epoch and the default generator. (A transform that draws random
// numbers in the loader's workers is outside of this.) Module, optimizer, loader and scheduler must outlive the trainer.
class Trainer {
 public:
  using Forward = std::function<Tensor(const Tensor& input)>;
  using Loss = std::function<Tensor(const Tensor& output, const Tensor& target)>;

  Trainer(nn::Module& module, Forward forward, Optimizer& optimizer, Loss loss, TrainerOptions options = {});

  // Trains until options.epochs are done, from where resume() left off if it was called. The batches have `data` and `target`.
  template <class Loader>
  void fit(Loader& loader);

  // Takes up the checkpoint if there is one; says whether there was. Throws, and changes nothing, if it is damaged or does not fit.
  template <class Loader>
  bool resume(Loader& loader);

  void set_scheduler(LRScheduler& scheduler) { scheduler_ = &scheduler; }  // stepped after each epoch
  void on_step(std::function<void(const Progress&)> callback);
  // A callback that returns false ends the run after this epoch; it stays ended when it is resumed.
  void on_epoch(std::function<bool(const Progress&)> callback);
  // Values of a callback that belong to the run: kept in the checkpoint, and put back by resume(). They must outlive the trainer.
  void remember(const std::string& name, Fields fields);
  const Progress& progress() const { return progress_; }

 private:
  // What a checkpoint holds, checked, and the changes that take it up.
  struct Checkpoint {
    Progress progress;
    unsigned schedule = 0;
    std::string generator;
    std::vector<std::function<void()>> changes;  // of module, optimizer, and what callbacks remember
    data::State loader;
  };

  void train_batch(const Tensor& input, const Tensor& target);
  void update();
  void finish_epoch();
  void save_checkpoint(const data::State& loader_state) const;
  std::optional<Checkpoint> read_checkpoint();
  void take_up(const Checkpoint& checkpoint);

  nn::Module& module_;
  Forward forward_;
  Optimizer& optimizer_;
  Loss loss_;
  TrainerOptions options_;
  LRScheduler* scheduler_ = nullptr;
  Progress progress_;
  std::int64_t pending_ = 0;  // batches whose gradients wait for the update
  std::vector<std::function<void(const Progress&)>> step_callbacks_;
  std::vector<std::function<bool(const Progress&)>> epoch_callbacks_;
  std::vector<std::pair<std::string, Fields>> remembered_;
};

}  // namespace optim

// %%
//| export optim/trainer.h
template <class Loader>
void optim::Trainer::fit(Loader& loader) {
  optimizer_.zero_grad();
  pending_ = 0;
  while (!progress_.stopped && progress_.epoch < options_.epochs()) {
    module_.train();
    std::int64_t last_saved = progress_.step;
    for (auto& batch : loader) {
      train_batch(batch.data, batch.target);
      const bool due = options_.checkpoint_every() > 0 && pending_ == 0 && progress_.step - last_saved >= options_.checkpoint_every();
      if (!due || options_.checkpoint().empty()) continue;
      save_checkpoint(loader.state());
      last_saved = progress_.step;
    }
    if (pending_ > 0) update();
    finish_epoch();
    if (!options_.checkpoint().empty()) save_checkpoint({});
  }
}

// %%
//| export optim/trainer.cpp
void optim::Trainer::on_step(std::function<void(const Progress&)> callback) { step_callbacks_.push_back(std::move(callback)); }
void optim::Trainer::on_epoch(std::function<bool(const Progress&)> callback) { epoch_callbacks_.push_back(std::move(callback)); }
void optim::Trainer::remember(const std::string& name, Fields fields) { remembered_.emplace_back(name, std::move(fields)); }

optim::Trainer::Trainer(nn::Module& module, Forward forward, Optimizer& optimizer, Loss loss, TrainerOptions options)
    : module_(module), forward_(std::move(forward)), optimizer_(optimizer), loss_(std::move(loss)), options_(std::move(options)) {
  TORCH_CHECK_VALUE(options_.accumulate() >= 1, "Trainer needs accumulate of at least 1, but got ", options_.accumulate());
}

// %% {"nbgrader": {"grade": false, "grade_id": "08-train-batch", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/trainer.cpp
// Forward and backward for one batch: its share of the gradient of the mean over `accumulate` batches is added to the gradients, progress_ gets the loss
// and counts the batch, and when `accumulate` batches are pending, update() is called.
//
// TODO: One batch, from its data to its gradients.
// APPROACH: 1. loss_(forward_(input), target). 2. Divide by accumulate, backward. 3. progress_.loss, progress_.loss_sum, progress_.batch, pending_. 4. update() when
//           pending_ reaches accumulate.
// HINT: the loss to report is the one before the division.
void optim::Trainer::train_batch(const Tensor& input, const Tensor& target) {
  // BEGIN SOLUTION
  const Tensor loss = loss_(forward_(input), target);
  (loss / options_.accumulate()).backward();
  progress_.loss = loss.item<double>();
  progress_.loss_sum += progress_.loss;
  ++progress_.batch;
  if (++pending_ == options_.accumulate()) update();
  // END SOLUTION
}

// %%
//| mistake 08-train-batch sums-instead-of-mean
//| says With accumulation the gradients of several means add up to a step that is as many times too long. Divide each loss by accumulate before backward.
#if 0
void optim::Trainer::train_batch(const Tensor& input, const Tensor& target) {
  const Tensor loss = loss_(forward_(input), target);
  loss.backward();
  progress_.loss = loss.item<double>();
  progress_.loss_sum += progress_.loss;
  ++progress_.batch;
  if (++pending_ == options_.accumulate()) update();
}
#endif

// %%
//| mistake 08-train-batch updates-every-batch
//| says The parameters were updated after every batch. With accumulate = 4 four batches share one update.
#if 0
void optim::Trainer::train_batch(const Tensor& input, const Tensor& target) {
  const Tensor loss = loss_(forward_(input), target);
  (loss / options_.accumulate()).backward();
  progress_.loss = loss.item<double>();
  progress_.loss_sum += progress_.loss;
  ++progress_.batch;
  ++pending_;
  update();
}
#endif

// %% {"nbgrader": {"grade": false, "grade_id": "08-update", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/trainer.cpp
// One update from the gradients that are there: if fewer than `accumulate` batches are pending they are scaled to the mean of those; then clipping, if clip_norm is
// set (progress_.grad_norm gets the norm before), the optimizer's step, and zero_grad. Counts the step and calls the step callbacks.
//
// TODO: Scale, clip, step, clear, count, call.
// APPROACH: in this order. Scaling is mul_ of each parameter's mutable_grad() by accumulate / pending_, under NoGradGuard. Last pending_ = 0, ++progress_.step, and
//           each of step_callbacks_ with progress_.
// HINT: nn::utils::clip_grad_norm_(module_.parameters(), options_.clip_norm()) returns the norm.
void optim::Trainer::update() {
  // BEGIN SOLUTION
  if (pending_ < options_.accumulate()) {
    const NoGradGuard no_grad;
    const double scale = static_cast<double>(options_.accumulate()) / static_cast<double>(pending_);
    for (const Tensor& parameter : module_.parameters())
      if (parameter.grad().defined()) parameter.mutable_grad().mul_(scale);
  }
  if (options_.clip_norm() > 0) progress_.grad_norm = nn::utils::clip_grad_norm_(module_.parameters(), options_.clip_norm());
  optimizer_.step();
  optimizer_.zero_grad();
  pending_ = 0;
  ++progress_.step;
  for (const auto& callback : step_callbacks_) callback(progress_);
  // END SOLUTION
}

// %%
//| mistake 08-update never-clears
//| says The gradients were not cleared after the step, so each step goes along the sum of all gradients so far.
#if 0
void optim::Trainer::update() {
  if (options_.clip_norm() > 0) progress_.grad_norm = nn::utils::clip_grad_norm_(module_.parameters(), options_.clip_norm());
  optimizer_.step();
  pending_ = 0;
  ++progress_.step;
  for (const auto& callback : step_callbacks_) callback(progress_);
}
#endif

// %%
//| mistake 08-update clips-after-the-step
//| says Clipping came after the step, when the long step was already taken.
#if 0
void optim::Trainer::update() {
  optimizer_.step();
  if (options_.clip_norm() > 0) progress_.grad_norm = nn::utils::clip_grad_norm_(module_.parameters(), options_.clip_norm());
  optimizer_.zero_grad();
  pending_ = 0;
  ++progress_.step;
  for (const auto& callback : step_callbacks_) callback(progress_);
}
#endif

// %%
//| export optim/trainer.cpp
void optim::Trainer::finish_epoch() {
  ++progress_.epoch;
  if (scheduler_ != nullptr) scheduler_->step();
  for (const auto& callback : epoch_callbacks_)
    if (!callback(progress_)) progress_.stopped = true;
  progress_.batch = 0;
  progress_.loss_sum = 0;
}

// %%
//| lesson
// y = 2 x0 - x1, eight samples, and a Linear that starts from zero.
struct Line {
  Line() : layer(nn::LinearOptions(2, 1).bias(false)) {
    const NoGradGuard no_grad;
    layer->weight.zero_();
  }
  auto loader(std::size_t batch_size) const {
    return data::make_data_loader<data::samplers::SequentialSampler>(data::datasets::TensorBatchDataset(x, y), data::DataLoaderOptions(batch_size));
  }
  // The weight after one epoch with these options, and the trainer's progress.
  std::pair<Tensor, optim::Progress> train(std::size_t batch_size, optim::TrainerOptions options) {
    optim::SGD optimizer(layer->parameters(), 0.1);
    optim::Trainer trainer(*layer, [&](const Tensor& input) { return layer->forward(input); }, optimizer,
                           [](const Tensor& output, const Tensor& target) { return mse_loss(output, target); }, std::move(options));
    const auto batches = loader(batch_size);
    trainer.fit(*batches);
    return {layer->weight.detach().clone(), trainer.progress()};
  }
  nn::Linear layer;
  Tensor x = tensor({{1.0, 0.0}, {0.0, 1.0}, {1.0, 1.0}, {2.0, -1.0}, {-1.0, 0.5}, {0.5, 2.0}, {-2.0, 1.0}, {1.5, 1.0}});
  Tensor y = x.mm(tensor({{2.0}, {-1.0}}));
};

// %% {"nbgrader": {"grade": true, "grade_id": "08-train-batch-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("accumulation: four batches of two make the step of one batch of eight") {
  const auto [whole, one] = Line().train(8, {});
  const auto [parts, four] = Line().train(2, optim::TrainerOptions().accumulate(4));
  CHECK_CLOSE(parts, whole, 1e-6, 1e-7);
  CHECK_EQ(one.step, 1);
  CHECK_EQ(four.step, 1);
  CHECK_CLOSE(four.loss, mse_loss(zeros({2, 1}), Line().y.slice(0, 6, 8)).item<double>(), 1e-6, 0.0);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(Line().train(2, {}).second.step, 4);
  CHECK_ERROR(Line().train(2, optim::TrainerOptions().accumulate(0)), "accumulate of at least 1");
  // END HIDDEN TESTS
}

// %% {"nbgrader": {"grade": true, "grade_id": "08-update-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("update: the rest of an epoch counts as a mean, clipping comes first, gradients are cleared") {
  // Four batches, three at a time: the second update is of one batch alone, as if trained without accumulation.
  Line line;
  const auto [weight, progress] = line.train(2, optim::TrainerOptions().accumulate(3));
  CHECK_EQ(progress.step, 2);
  Line by_hand;
  const auto gradient = [&](std::int64_t first, std::int64_t last) {
    const Tensor x = by_hand.x.slice(0, first, last), y = by_hand.y.slice(0, first, last);
    return (x.mm(by_hand.layer->weight.detach().t()) - y).t().mm(x) * (2.0 / static_cast<double>(last - first));
  };
  {
    const NoGradGuard no_grad;
    by_hand.layer->weight.sub_(gradient(0, 6), 0.1);
    by_hand.layer->weight.sub_(gradient(6, 8), 0.1);
  }
  CHECK_CLOSE(weight, by_hand.layer->weight.detach(), 1e-5, 1e-6);
  CHECK(!line.layer->weight.grad().defined());

  const auto [clipped, clipping] = Line().train(8, optim::TrainerOptions().clip_norm(0.5));
  CHECK_CLOSE(clipped.norm().item<double>(), 0.05, 1e-4, 0.0);
  CHECK_GT(clipping.grad_norm, 0.5);
  // BEGIN HIDDEN TESTS
  // Eight batches of one, three at a time: 3, 3 and 2, and each mean is clipped.
  const auto [weight_of_three, three] = Line().train(1, optim::TrainerOptions().accumulate(3).clip_norm(2.0));
  double norm = 0;
  {
    const NoGradGuard no_grad;
    by_hand.layer->weight.zero_();
    for (const std::int64_t first : {0, 3, 6}) {
      const Tensor mean = gradient(first, std::min<std::int64_t>(first + 3, 8));
      norm = mean.norm().item<double>();
      by_hand.layer->weight.sub_(mean * std::min(1.0, 2.0 / norm), 0.1);
    }
  }
  CHECK_EQ(three.step, 3);
  CHECK_CLOSE(weight_of_three, by_hand.layer->weight.detach(), 1e-5, 1e-6);
  CHECK_CLOSE(three.grad_norm, norm, 1e-5, 0.0);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The checkpoint
//
// What is the state of a run? Everything that the next step reads and that is not made anew:
//
//       reads                               where it lives                          if it is left out
//       parameters, buffers                 module                                  the run begins again
//       moments, step counts, rates         optimizer                               Adam's first steps again: the loss jumps
//       place in the schedule               scheduler: one number                   the wrong rate, for the rest of the run
//       which examples come next            loader: the epoch's permutation, count  some examples twice, others never
//       what dropout will draw              default generator (module 00)           other numbers; an equal run, not the same
//
// It is taken between two updates, so no gradients need to be saved. In the middle of an epoch the loader's state is that of the *epoch's beginning* and the number of batches delivered (module 07): what workers have already loaded ahead is not lost, since it is loaded again.

// %% {"nbgrader": {"grade": false, "grade_id": "08-save-checkpoint", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/trainer.cpp
// Writes all that the run needs to go on, atomically, to options_.checkpoint(). Throws, and leaves the old checkpoint, if it cannot be
// written. Keys: module, optimizer, epoch, batch, step, loss_sum, stopped, schedule, generator, remembered.<name> for what callbacks remember, and
// loader.<key> for each entry of loader_state.
//
// TODO: Put every part of the run's state into one archive and save it.
// APPROACH: 1. Nested archives: `module << module_`, then archive.write("module", module); the same for the optimizer. 2. The numbers of progress_.
//           3. schedule: scheduler_->step_count(), or 0 without one. 4. generator: default_generator().state(). 5. The loader's tensors. 6. Each name and fields of
//           remembered_, by write_fields(). 7. save_to.
// HINT: OutputArchive::write takes tensors, integers, bools, doubles, strings and archives.
void optim::Trainer::save_checkpoint(const data::State& loader_state) const {
  // BEGIN SOLUTION
  serialize::OutputArchive archive;
  serialize::OutputArchive module;
  serialize::OutputArchive optimizer;
  module << module_;
  optimizer << optimizer_;
  archive.write("module", module);
  archive.write("optimizer", optimizer);
  archive.write("epoch", progress_.epoch);
  archive.write("batch", progress_.batch);
  archive.write("step", progress_.step);
  archive.write("loss_sum", progress_.loss_sum);
  archive.write("stopped", progress_.stopped);
  archive.write("schedule", scheduler_ == nullptr ? 0u : scheduler_->step_count());
  archive.write("generator", default_generator().state());
  for (const auto& [key, tensor] : loader_state) archive.write("loader." + key, tensor);
  for (const auto& [name, fields] : remembered_) serialize::write_fields(archive, "remembered." + name, fields);
  archive.save_to(options_.checkpoint());
  // END SOLUTION
}

// %%
//| mistake 08-save-checkpoint another-generator
//| says The generator's state is missing (a new one was saved), so dropout draws other numbers after resuming: an equal run, but not the same one.
#if 0
void optim::Trainer::save_checkpoint(const data::State& loader_state) const {
  serialize::OutputArchive archive;
  serialize::OutputArchive module;
  serialize::OutputArchive optimizer;
  module << module_;
  optimizer << optimizer_;
  archive.write("module", module);
  archive.write("optimizer", optimizer);
  archive.write("epoch", progress_.epoch);
  archive.write("batch", progress_.batch);
  archive.write("step", progress_.step);
  archive.write("loss_sum", progress_.loss_sum);
  archive.write("stopped", progress_.stopped);
  archive.write("schedule", scheduler_ == nullptr ? 0u : scheduler_->step_count());
  archive.write("generator", Generator().state());
  for (const auto& [key, tensor] : loader_state) archive.write("loader." + key, tensor);
  for (const auto& [name, fields] : remembered_) serialize::write_fields(archive, "remembered." + name, fields);
  archive.save_to(options_.checkpoint());
}
#endif

// %%
//| mistake 08-save-checkpoint forgets-the-loader
//| says The place in the epoch is missing: after resuming, the epoch begins again with other examples.
#if 0
void optim::Trainer::save_checkpoint(const data::State& loader_state) const {
  static_cast<void>(loader_state);
  serialize::OutputArchive archive;
  serialize::OutputArchive module;
  serialize::OutputArchive optimizer;
  module << module_;
  optimizer << optimizer_;
  archive.write("module", module);
  archive.write("optimizer", optimizer);
  archive.write("epoch", progress_.epoch);
  archive.write("batch", progress_.batch);
  archive.write("step", progress_.step);
  archive.write("loss_sum", progress_.loss_sum);
  archive.write("stopped", progress_.stopped);
  archive.write("schedule", scheduler_ == nullptr ? 0u : scheduler_->step_count());
  archive.write("generator", default_generator().state());
  for (const auto& [name, fields] : remembered_) serialize::write_fields(archive, "remembered." + name, fields);
  archive.save_to(options_.checkpoint());
}
#endif

// %%
//| export optim/trainer.cpp
namespace {
// Reads each field into a value of its own, so that an archive that does not fit throws here. Returns the change.
std::function<void()> prepare_fields(const serialize::InputArchive& archive, const std::string& prefix, const optim::Fields& fields) {
  for (const auto& [name, field] : fields)
    std::visit([&, key = name](auto* value) { auto trial = *value; serialize::read_fields(archive, prefix, {{key, &trial}}); }, field);
  return [archive, prefix, fields] { serialize::read_fields(archive, prefix, fields); };
}
}  // namespace

std::optional<optim::Trainer::Checkpoint> optim::Trainer::read_checkpoint() {
  if (options_.checkpoint().empty() || !std::filesystem::exists(options_.checkpoint())) return std::nullopt;
  serialize::InputArchive archive;
  archive.load_from(options_.checkpoint());
  Checkpoint checkpoint;
  archive.read("epoch", checkpoint.progress.epoch);
  archive.read("batch", checkpoint.progress.batch);
  archive.read("step", checkpoint.progress.step);
  archive.read("loss_sum", checkpoint.progress.loss_sum);
  archive.read("stopped", checkpoint.progress.stopped);
  archive.read("schedule", checkpoint.schedule);
  archive.read("generator", checkpoint.generator);
  Generator().set_state(checkpoint.generator);  // throws here if it is damaged
  serialize::InputArchive part;
  archive.read("module", part);
  checkpoint.changes.push_back([this, part, change = serialize::prepare_load(part, module_)]() mutable {
    change();
    part.set_restored(true);
    module_.load(part);  // what an overriding load() reads besides
  });
  archive.read("optimizer", part);
  checkpoint.changes.push_back(serialize::prepare_load(part, optimizer_));
  for (const auto& [name, fields] : remembered_) checkpoint.changes.push_back(prepare_fields(archive, "remembered." + name, fields));
  if (archive.try_read("loader", part)) checkpoint.loader = part.tensors();
  return checkpoint;
}

void optim::Trainer::take_up(const Checkpoint& checkpoint) {
  for (const auto& change : checkpoint.changes) change();
  default_generator().set_state(checkpoint.generator);
  if (scheduler_ != nullptr) scheduler_->set_step_count(checkpoint.schedule);
  progress_ = checkpoint.progress;
}

// %%
//| export optim/trainer.h
template <class Loader>
bool optim::Trainer::resume(Loader& loader) {
  const std::optional<Checkpoint> checkpoint = read_checkpoint();
  if (!checkpoint) return false;
  loader.set_state(checkpoint->loader);  // the last check: throws, and changes nothing, if it does not fit
  take_up(*checkpoint);
  return true;
}

// %%
//| lesson
// A run with everything that has state: dropout, Adam, a schedule, shuffling, accumulation, clipping, checkpoints in mid-epoch.
struct SmallRun {
  SmallRun(std::uint64_t seed, const std::string& path, std::size_t batch_size = 4)
      : model(seeded(seed)), optimizer(model->parameters(), 0.02), schedule(optimizer, 4),
        trainer(*model, [this](const Tensor& input) { return model->forward(input); }, optimizer,
                [](const Tensor& output, const Tensor& target) { return cross_entropy_loss(output, target); },
                optim::TrainerOptions().epochs(3).accumulate(2).clip_norm(1.0).checkpoint(path).checkpoint_every(3)) {
    const Tensor x = arange(128).to(kFloat).view({32, 4}) * 0.37;
    const Tensor inputs = sin(x);
    loader = data::make_data_loader(data::datasets::TensorBatchDataset(inputs, (inputs.sum({1}) > 0).to(kLong)), data::DataLoaderOptions(batch_size));
    trainer.set_scheduler(schedule);
  }
  static nn::Sequential seeded(std::uint64_t seed) {
    manual_seed(seed);
    return nn::Sequential(nn::Linear(4, 8), nn::ReLU(), nn::Dropout(0.3), nn::Linear(8, 2));
  }
  std::vector<Tensor> weights() const {
    std::vector<Tensor> all;
    for (const Tensor& parameter : model->parameters()) all.push_back(parameter.detach().clone());
    return all;
  }
  nn::Sequential model;
  optim::Adam optimizer;
  optim::CosineAnnealingLR schedule;
  optim::Trainer trainer;
  std::unique_ptr<data::StatelessDataLoader<data::datasets::TensorBatchDataset, data::samplers::RandomSampler>> loader;
};

struct PowerCut {};

// Runs until the step `last`, where the power fails.
void run_until(SmallRun& run, std::int64_t last) {
  run.trainer.on_step([last](const optim::Progress& progress) {
    if (progress.step == last) throw PowerCut();
  });
  CHECK_THROWS_AS(run.trainer.fit(*run.loader), PowerCut);
}

// %% {"nbgrader": {"grade": true, "grade_id": "08-save-checkpoint-test", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("resume: a run that was cut off in the middle of an epoch ends with the same bits") {
  const tito::Scratch scratch;
  SmallRun whole(5, scratch.path("whole"));
  CHECK(!whole.trainer.resume(*whole.loader));
  whole.trainer.fit(*whole.loader);
  CHECK_EQ(whole.trainer.progress().step, 12);

  const std::string path = scratch.path("cut");
  for (const std::int64_t last : {5, 8, 12}) {
    CAPTURE(last);
    std::filesystem::remove(path);
    SmallRun cut(5, path);
    run_until(cut, last);
    SmallRun resumed(99, path);
    REQUIRE(resumed.trainer.resume(*resumed.loader));
    CHECK_LT(resumed.trainer.progress().step, last);
    resumed.trainer.fit(*resumed.loader);
    CHECK_EQ(resumed.trainer.progress().step, 12);
    CHECK_EQ(resumed.optimizer.param_groups()[0].options().get_lr(), whole.optimizer.param_groups()[0].options().get_lr());
    for (std::size_t i = 0; i < whole.weights().size(); ++i) CHECK_EQ(resumed.weights()[i], whole.weights()[i]);
  }
  // BEGIN HIDDEN TESTS
  SmallRun longer(1, scratch.path("whole"));
  REQUIRE(longer.trainer.resume(*longer.loader));
  CHECK_EQ(longer.trainer.progress().epoch, 3);
  longer.trainer.fit(*longer.loader);  // nothing is left to do
  CHECK_EQ(longer.weights()[0], whole.weights()[0]);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Design: which checkpoint to take up?
//
// Careful runs keep several checkpoints: `step-100.ckpt`, `step-200.ckpt`, ... The newest may be damaged all the same (a disk that lies about fsync, a copy that was cut off). After a crash at night nobody is there to choose.
//
//       step-100.ckpt  sound                     folder may also hold:  notes.txt, step-9.ckpt.tmp77-0, step-.ckpt
//       step-200.ckpt  sound     <-- take this
//       step-1000.ckpt damaged                   1000 is newer than 200, though "step-1000" < "step-200" as text
//
// Checkpoints are large: the test looks at the memory that is held. `InputArchive().load_from(path)` throws Error for a file that is damaged.

// %% {"nbgrader": {"grade": false, "grade_id": "08-newest-sound", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export serialize/save.cpp
//| exercise design
// The path of the newest sound checkpoint in `folder`: of the files named step-<digits>.ckpt the one with the highest number that an InputArchive loads; "" if there is
// none. At no time more than one checkpoint is held in memory, and none that is older than the answer is read. Throws only if the folder cannot be read.
//
// TODO: Find the newest file that can be loaded.
// APPROACH: yours. In which order do you look at the files, and what do you keep of each?
// EXAMPLE: with the folder of the picture: ".../step-200.ckpt".
// HINT: std::filesystem::directory_iterator gives no order. Loading is the only proof that a file is sound.
std::string serialize::newest_sound_checkpoint(const std::string& folder) {
  // BEGIN SOLUTION
  std::map<std::uint64_t, std::string, std::greater<>> candidates;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || !name.starts_with("step-") || !name.ends_with(".ckpt") || name.size() < 11) continue;
    const std::string digits = name.substr(5, name.size() - 10);
    if (digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    candidates[std::stoull(digits)] = entry.path().string();
  }
  for (const auto& [step, path] : candidates) {
    try {
      InputArchive().load_from(path);
      return path;
    } catch (const Error&) {
      continue;  // damaged: the one before it
    }
  }
  return "";
  // END SOLUTION
}

// %%
//| mistake 08-newest-sound sorts-as-text
//| says As text "step-1000" comes before "step-200". Compare the numbers.
#if 0
std::string serialize::newest_sound_checkpoint(const std::string& folder) {
  std::string newest;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string path = entry.path().string();
    if (!path.ends_with(".ckpt") || path < newest) continue;
    try {
      InputArchive().load_from(path);
      newest = path;
    } catch (const Error&) {
      continue;
    }
  }
  return newest;
}
#endif

// %%
//| mistake 08-newest-sound believes-the-newest
//| says The newest file was taken although it is damaged. Load it to find out, and go back to the one before it if it fails.
#if 0
std::string serialize::newest_sound_checkpoint(const std::string& folder) {
  std::uint64_t highest = 0;
  std::string newest;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step-") || !name.ends_with(".ckpt") || name.size() < 11) continue;
    const std::uint64_t step = std::stoull(name.substr(5));
    if (newest.empty() || step > highest) newest = entry.path().string();
    highest = std::max(highest, step);
  }
  return newest;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "08-newest-sound-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("newest_sound_checkpoint: by number, skipping what is damaged, one in memory at a time") {
  const tito::Scratch scratch;
  const std::string folder = scratch.path("");
  CHECK_EQ(serialize::newest_sound_checkpoint(folder), "");
  const Tensor large = ones({1 << 16});
  for (const int step : {100, 200, 1000, 1050, 1100}) {
    serialize::OutputArchive archive;
    archive.write("weight", large);
    archive.save_to(scratch.path("step-" + std::to_string(step) + ".ckpt"));
  }
  std::ofstream(scratch.path("notes.txt")) << "step 2000 would be nice";
  std::ofstream(scratch.path("step-.ckpt")) << "";
  std::ofstream(scratch.path("step-3000.ckpt.tmp77-0")) << "unfinished";
  std::filesystem::resize_file(scratch.path("step-1100.ckpt"), 1000);
  std::filesystem::resize_file(scratch.path("step-1050.ckpt"), 70000);
  const std::size_t before = memory::stats().live;
  memory::reset_peak();
  const std::string found = serialize::newest_sound_checkpoint(folder);
  CHECK_EQ(std::filesystem::path(found).filename().string(), "step-1000.ckpt");
  CHECK_LE(memory::stats().peak - before, large.nbytes() + 4096);
  CHECK_EQ(memory::stats().live, before);
  // BEGIN HIDDEN TESTS
  for (const int step : {100, 200, 1000}) std::filesystem::remove(scratch.path("step-" + std::to_string(step) + ".ckpt"));
  CHECK_EQ(serialize::newest_sound_checkpoint(folder), "");
  CHECK_THROWS(serialize::newest_sound_checkpoint(scratch.path("missing")));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Debug: an evaluation that disturbs
//
// This function computes the mean loss over a test set, and is called after each epoch. Since it is, the process grows by some megabytes per epoch, the reported losses differ from call to call for the same parameters, and on the colleague's machine it is slower than training.
//
//       Tensor total ──> (+) ──> (+) ──> (+) ── ...      each sum keeps the graph of its batch alive
//                         |       |       |
//                       graph   graph   graph            and dropout still drops
//
// It has two faults, and its first mend had a third: afterwards the *training* went on without dropout.

// %%
//| lesson
// As found.
template <class Loader>
Tensor evaluate_as_found(nn::Sequential& model, Loader& loader) {
  Tensor total = zeros({});
  std::int64_t batches = 0;
  for (auto& batch : loader) {
    total = total + cross_entropy_loss(model->forward(batch.data), batch.target);
    ++batches;
  }
  return total / batches;
}

// %% {"nbgrader": {"grade": false, "grade_id": "08-debug-evaluate", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// The mean over the batches of the cross-entropy, without dropout and without a graph. Leaves the module in the mode in which it was, and keeps no memory.
//
// TODO: Write the evaluation so that it disturbs nothing.
// APPROACH: which guard keeps operators from being recorded? Which mode of the module switches dropout off, and who switches it on again?
// HINT: is_training() and train(bool) of module 03; a sum of doubles has no graph. In a template C++ wants item<double>() of what depends on the batch to be called as
//       `.template item<double>()`; a `const Tensor loss = ...` before it does as well.
template <class Loader>
double evaluate(nn::Sequential& model, Loader& loader) {
  // BEGIN SOLUTION
  const NoGradGuard no_grad;
  const bool was_training = model->is_training();
  model->eval();
  double total = 0;
  std::int64_t batches = 0;
  for (auto& batch : loader) {
    total += cross_entropy_loss(model->forward(batch.data), batch.target).template item<double>();
    ++batches;
  }
  model->train(was_training);
  return total / static_cast<double>(batches);
  // END SOLUTION
}

// %%
//| mistake 08-debug-evaluate stays-in-eval
//| says The module was left in eval mode: from the first evaluation on, training goes on without dropout. Put back the mode in which it was.
#if 0
template <class Loader>
double evaluate(nn::Sequential& model, Loader& loader) {
  const NoGradGuard no_grad;
  model->eval();
  double total = 0;
  std::int64_t batches = 0;
  for (auto& batch : loader) {
    total += cross_entropy_loss(model->forward(batch.data), batch.target).template item<double>();
    ++batches;
  }
  return total / static_cast<double>(batches);
}
#endif

// %%
//| mistake 08-debug-evaluate still-drops
//| says Dropout is still active: the same parameters give another loss each time. Switch the module to eval mode for the evaluation.
#if 0
template <class Loader>
double evaluate(nn::Sequential& model, Loader& loader) {
  const NoGradGuard no_grad;
  double total = 0;
  std::int64_t batches = 0;
  for (auto& batch : loader) {
    total += cross_entropy_loss(model->forward(batch.data), batch.target).template item<double>();
    ++batches;
  }
  return total / static_cast<double>(batches);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "08-debug-evaluate-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: evaluation gives the same number twice, keeps no memory, and leaves the mode") {
  const tito::Scratch scratch;
  SmallRun run(3, scratch.path("unused"));
  const auto batches = data::make_data_loader<data::samplers::SequentialSampler>(
      data::datasets::TensorBatchDataset(randn({64, 4}), randint(0, 2, {64})), data::DataLoaderOptions(8));
  const Tensor found = evaluate_as_found(run.model, *batches);
  CHECK(found.requires_grad());  // it drags all graphs along
  CHECK_NE(evaluate_as_found(run.model, *batches).item<double>(), found.item<double>());

  const double first = evaluate(run.model, *batches);
  CHECK(run.model->is_training());
  const std::size_t live = memory::stats().live;
  memory::reset_peak();
  CHECK_EQ(evaluate(run.model, *batches), first);
  CHECK_EQ(memory::stats().live, live);
  run.model->eval();
  CHECK_EQ(evaluate(run.model, *batches), first);
  CHECK(!run.model->is_training());
  // BEGIN HIDDEN TESTS
  // The mean over batches, the last of which is smaller.
  manual_seed(2);
  const Tensor images = randn({11, 4}), labels = randint(0, 2, {11}, kLong);
  const auto uneven = data::make_data_loader<data::samplers::SequentialSampler>(data::datasets::TensorBatchDataset(images, labels), data::DataLoaderOptions(4));
  const auto part = [&](std::int64_t from, std::int64_t to) {
    return cross_entropy_loss(run.model->forward(images.slice(0, from, to)), labels.slice(0, from, to)).detach().item<double>();
  };
  CHECK_CLOSE(evaluate(run.model, *uneven), (part(0, 4) + part(4, 8) + part(8, 11)) / 3, 1e-6, 0.0);
  run.model->train();
  evaluate(run.model, *uneven);
  CHECK(run.model->is_training());
  CHECK(run.model->forward(images).requires_grad());  // recording goes on
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Debug: a loss that jumps after each restart
//
// A run on a shared machine is stopped and restarted often. After each restart the loss jumps up, and then needs some hundred steps to come down again.
//
//       loss  \                 restart
//              \__              |      \__   it comes down again
//                 \____     ____|/\____   \____
//                      \___/    |
//
// Below is what it saves. Find what is missing, and write the two functions so that a restarted run gives the numbers of one that went through.

// %%
//| lesson
// As found.
std::string pack_as_found(const nn::Module& model, const optim::Optimizer&) {
  serialize::OutputArchive archive;
  archive << model;
  return archive.bytes();
}

// Given: puts back what is there.
void unpack(const std::string& bytes, nn::Module& model, optim::Optimizer& optimizer) {
  serialize::InputArchive archive, part;
  archive.load_from(bytes.data(), bytes.size());
  if (archive.try_read("model", part)) {
    part >> model;
  } else {
    archive >> model;
  }
  if (archive.try_read("optimizer", part)) part >> optimizer;
}

// %% {"nbgrader": {"grade": false, "grade_id": "08-debug-restart", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// The bytes from which unpack() puts a run back: model and optimizer, under the names "model" and "optimizer".
//
// TODO: Pack everything that the next step needs.
// APPROACH: which state of Adam is new after a restart, and what does module 06 say about its first steps?
// HINT: one nested archive for each of the two.
std::string pack(const nn::Module& model, const optim::Optimizer& optimizer) {
  // BEGIN SOLUTION
  serialize::OutputArchive archive, model_part, optimizer_part;
  model_part << model;
  optimizer_part << optimizer;
  archive.write("model", model_part);
  archive.write("optimizer", optimizer_part);
  return archive.bytes();
  // END SOLUTION
}

// %%
//| mistake 08-debug-restart parameters-only
//| says The optimizer's state is still missing: after the restart Adam's means are zeros and its count is 1, so its first steps are lr long whatever the gradient.
#if 0
std::string pack(const nn::Module& model, const optim::Optimizer& optimizer) {
  static_cast<void>(optimizer);
  serialize::OutputArchive archive, model_part;
  model_part << model;
  archive.write("model", model_part);
  return archive.bytes();
}
#endif

// %%
//| lesson
// The weight after five steps, a restart by way of `packer`, and five more.
template <class Packer>
Tensor train_with_restart(Packer packer) {
  const Line line;
  const auto steps = [&](nn::Linear& layer, optim::Optimizer& optimizer) {
    for (int i = 0; i < 5; ++i) {
      optimizer.zero_grad();
      mse_loss(layer->forward(line.x), line.y).backward();
      optimizer.step();
    }
  };
  Line first, second;
  optim::Adam before(first.layer->parameters(), 0.1);
  steps(first.layer, before);
  const std::string bytes = packer(*first.layer, before);
  optim::Adam after(second.layer->parameters(), 0.1);
  unpack(bytes, *second.layer, after);
  steps(second.layer, after);
  return second.layer->weight.detach().clone();
}

// %% {"nbgrader": {"grade": true, "grade_id": "08-debug-restart-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: a restarted run has the numbers of one that went through") {
  Line line;
  optim::Adam optimizer(line.layer->parameters(), 0.1);
  for (int i = 0; i < 10; ++i) {
    optimizer.zero_grad();
    mse_loss(line.layer->forward(line.x), line.y).backward();
    optimizer.step();
  }
  CHECK(!train_with_restart(pack_as_found).equal(line.layer->weight.detach()));
  CHECK_EQ(train_with_restart(pack), line.layer->weight.detach());
  // BEGIN HIDDEN TESTS
  const auto network = [] { return nn::Sequential(nn::Linear(2, 3), nn::Tanh(), nn::Linear(3, 1)); };
  nn::Sequential model = network(), restored = network();
  const optim::SGDOptions options = optim::SGDOptions(0.05).momentum(0.9);
  optim::SGD momentum(model->parameters(), options), again(restored->parameters(), options);
  const auto step = [&](nn::Sequential& net, optim::Optimizer& by) {
    by.zero_grad();
    mse_loss(net->forward(line.x), line.y).backward();
    by.step();
  };
  for (int i = 0; i < 3; ++i) step(model, momentum);
  unpack(pack(*model, momentum), *restored, again);
  step(model, momentum);
  step(restored, again);
  for (std::size_t i = 0; i < model->parameters().size(); ++i) CHECK_EQ(restored->parameters()[i].detach(), model->parameters()[i].detach());
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Debug: a run that blows up
//
// A gradient on its way back passes every layer's weights. Where a layer has n inputs, weights of standard deviation s, and relu behind it, the gradient changes its size by about r = s * sqrt(n / 2), so over L layers by r to the power L:
//
//       what arrives at layer     10      9      8     ...      2         1
//
//       r = 1   healthy          ####   ####   ####           ####      ####       all layers learn
//       r < 1   it vanishes      ####   ###    ##             .         .          the first ones stand still
//       r > 1   it explodes      #      ##     ####           ........  ........   until a float holds it no longer
//
// The loss does not show which of these it is; the norms of the gradients do, layer by layer. The gradient of a bias is that of the layer's output, summed over the batch, so its norm says what arrived there.

// %%
//| lesson
// Ten layers of `width` units with relu between them, and one unit behind them.
nn::MLP deep_network(std::int64_t width) {
  std::vector<std::int64_t> sizes(11, width);
  sizes.push_back(1);
  return nn::MLP(sizes);
}

// What arrives at each layer, the first one first: the norm of its bias's gradient for one batch of random numbers.
std::vector<double> gradient_flow(nn::MLP& model) {
  model->zero_grad();
  mse_loss(model->forward(randn({64, model->sizes.front()})), randn({64, 1})).backward();
  std::vector<double> norms;
  for (const nn::Linear& layer : model->layers) norms.push_back(layer->bias.grad().norm().item<double>());
  return norms;
}

// As found: weights that suited a network of three layers of 50 units.
void draw_as_found(nn::MLP& model) {
  for (nn::Linear& layer : model->layers) {
    nn::init::normal_(layer->weight, 0, 0.2);
    nn::init::constant_(layer->bias, 0);
  }
}

// %%
DEMO("gradient flow: what arrives at each of eleven layers, for three ways to draw the weights") {
  const auto show = [](const char* name, const std::function<void(nn::MLP&)>& draw) {
    manual_seed(3);
    nn::MLP model = deep_network(256);
    draw(model);
    const std::vector<double> norms = gradient_flow(model);
    std::printf("  %s\n", name);
    for (std::size_t i = 0; i < norms.size(); ++i)  // a bar twice as long is a norm squared
      std::printf("    layer %2zu %12.3g  %s\n", i + 1, norms[i], std::string(static_cast<std::size_t>(std::clamp(20 + 3 * std::log10(norms[i]), 0.0, 60.0)), '#').c_str());
  };
  show("as Linear draws them (module 03)", [](nn::MLP&) {});
  show("for relu (Kaiming)", [](nn::MLP& model) {
    for (nn::Linear& layer : model->layers) nn::init::kaiming_normal_(layer->weight, 0, kFanIn, kReLU);
  });
  show("as found, standard deviation 0.2", draw_as_found);
  std::fflush(stdout);
}

// %% [markdown]
// A run took its weights from a smaller network, where it trained well. Since the network is wider and deeper its loss is NaN after some steps. Clipping would bound each step, and the first layers would still get nearly all of it. Mend the cause.

// %% {"nbgrader": {"grade": false, "grade_id": "08-debug-explodes", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// Draws the weights of a network with relu between its layers so that what arrives at the first layer is about as large as what arrives at the last, for
// any width and depth; the biases are 0.
//
// TODO: Draw the weights so that r is 1 in every layer.
// APPROACH: r = s * sqrt(n / 2) must be 1: on what does the standard deviation s depend, layer by layer?
// HINT: module 03's kaiming_normal_(weight, 0, kFanIn, kReLU) knows n and relu.
void draw_weights(nn::MLP& model) {
  // BEGIN SOLUTION
  for (nn::Linear& layer : model->layers) {
    nn::init::kaiming_normal_(layer->weight, 0, kFanIn, kReLU);
    nn::init::constant_(layer->bias, 0);
  }
  // END SOLUTION
}

// %%
//| mistake 08-debug-explodes another-constant
//| says This standard deviation is right for one width only: s = sqrt(2 / n) depends on the number of inputs of each layer.
#if 0
void draw_weights(nn::MLP& model) {
  for (nn::Linear& layer : model->layers) {
    nn::init::normal_(layer->weight, 0, 0.088);
    nn::init::constant_(layer->bias, 0);
  }
}
#endif

// %%
//| mistake 08-debug-explodes forgets-relu
//| says Relu lets half of the gradient through: without the 2 in s = sqrt(2 / n) each layer takes 0.7 of it, and ten layers nearly all.
#if 0
void draw_weights(nn::MLP& model) {
  for (nn::Linear& layer : model->layers) {
    nn::init::kaiming_normal_(layer->weight, 0, kFanIn, kLinear);
    nn::init::constant_(layer->bias, 0);
  }
}
#endif

// %%
//| lesson
// How many times as much arrives at the first layer as at the last hidden one.
double first_to_last(nn::MLP& model) {
  const std::vector<double> norms = gradient_flow(model);
  return norms.front() / norms[norms.size() - 2];
}

// %% {"nbgrader": {"grade": true, "grade_id": "08-debug-explodes-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: the gradient keeps its size in wide and narrow networks, and the loss falls") {
  manual_seed(3);
  for (const std::int64_t width : {32, 256}) {
    CAPTURE(width);
    nn::MLP model = deep_network(width);
    draw_weights(model);
    const double ratio = first_to_last(model);
    CHECK_GT(ratio, 0.1);
    CHECK_LT(ratio, 10);
  }
  const auto last_loss = [](void (*draw)(nn::MLP&)) {
    manual_seed(4);
    nn::MLP model = deep_network(64);
    draw(model);
    const Tensor x = randn({32, 64}), y = x.narrow(1, 0, 1);
    optim::SGD optimizer(model->parameters(), 0.02);
    double last = 0;
    for (int i = 0; i < 40; ++i) {
      optimizer.zero_grad();
      const Tensor loss = mse_loss(model->forward(x), y);
      loss.backward();
      optimizer.step();
      last = loss.item<double>();
    }
    return last;
  };
  CHECK(!(last_loss(draw_as_found) < 1e6));  // also when it is NaN
  CHECK_LT(last_loss(draw_weights), 0.5);
  // BEGIN HIDDEN TESTS
  nn::MLP narrowing(std::vector<std::int64_t>{300, 200, 150, 100, 70, 50, 30, 1});
  draw_weights(narrowing);
  for (const nn::Linear& layer : narrowing->layers) {
    CHECK_EQ(layer->bias.abs().sum().item<double>(), 0.0);
    CHECK_CLOSE(layer->weight.detach().pow(2).mean().item<double>() * static_cast<double>(layer->weight.size(1)), 2.0, 0.5, 0.0);
  }
  // END HIDDEN TESTS
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// Measured when the file runs (`tito run 08`): a real run on the digits, what a step spends its time on, what accumulation saves in memory, and what a safe save costs.

// %%
//| lesson
// A classifier for the 8 x 8 digits and its data.
struct DigitsRun {
  explicit DigitsRun(optim::TrainerOptions options)
      : model(seeded()), optimizer(model->parameters(), 5e-3),
        trainer(*model, [this](const Tensor& input) { return model->forward(input); }, optimizer,
                [](const Tensor& output, const Tensor& target) { return cross_entropy_loss(output, target); }, std::move(options)) {
    data::datasets::Digits train(data::datasets::Digits::Mode::kTrain), test(data::datasets::Digits::Mode::kTest);
    loader = data::make_data_loader(data::datasets::TensorBatchDataset(train.images().clone(), train.targets().clone()), data::DataLoaderOptions(32));
    images = test.images();
    targets = test.targets();
  }
  static nn::MLP seeded() {
    manual_seed(7);
    return nn::MLP(std::vector<std::int64_t>{64, 32, 10});
  }
  double accuracy() {
    const NoGradGuard no_grad;
    return model->forward(images).argmax(1).eq(targets).to(kDouble).mean().item<double>();
  }
  nn::MLP model;
  optim::Adam optimizer;
  optim::Trainer trainer;
  std::unique_ptr<data::StatelessDataLoader<data::datasets::TensorBatchDataset, data::samplers::RandomSampler>> loader;
  Tensor images, targets;
};

std::string bar_of(double value, double most, double length = 40) {
  return std::string(static_cast<std::size_t>(std::clamp(value / most * length, 0.0, length)), '#');
}

// %%
DEMO("ten epochs of handwritten digits") {
  DigitsRun run(optim::TrainerOptions().epochs(10));
  const Timer timer;
  double first = 0;
  std::printf("  epoch  mean loss  test accuracy  seconds\n");
  run.trainer.on_epoch([&](const optim::Progress& progress) {
    if (first == 0) first = progress.mean_loss();
    std::printf("  %5lld  %9.4f  %12.1f%%  %7.2f  %s\n", static_cast<long long>(progress.epoch), progress.mean_loss(), 100 * run.accuracy(), timer.seconds(),
                bar_of(progress.mean_loss(), first).c_str());
    return true;
  });
  run.trainer.fit(*run.loader);
  std::fflush(stdout);
}

// %%
DEMO("where a step spends its time") {
  DigitsRun run({});
  const Tensor x = run.images.narrow(0, 0, 32), y = run.targets.narrow(0, 0, 32);
  const auto forward = [&] { return cross_entropy_loss(run.model->forward(x), y); };
  const double t_forward = measure([&] { do_not_optimize(forward()); }, {.samples = 5}).median;
  const double t_both = measure([&] { forward().backward(); }, {.samples = 5}).median;
  const double t_clip = measure([&] { nn::utils::clip_grad_norm_(run.model->parameters(), 1.0); }, {.samples = 5}).median;
  const double t_step = measure([&] { run.optimizer.step(); }, {.samples = 5}).median;
  const auto line = [&](const char* name, double seconds) {
    std::printf("  %-10s %12s  %s\n", name, format_seconds(seconds).c_str(), bar_of(seconds, t_both + t_clip + t_step).c_str());
  };
  line("forward", t_forward);
  line("backward", std::max(0.0, t_both - t_forward));
  line("clip", t_clip);
  line("Adam step", t_step);
  std::fflush(stdout);
}

// %%
DEMO("what accumulation saves: the peak memory of one step over 512 examples") {
  manual_seed(1);
  nn::MLP model(std::vector<std::int64_t>{64, 256, 256, 10});
  const Tensor x = randn({512, 64}), y = randint(0, 10, {512});
  double most = 0;
  std::printf("  parts  examples each       time  peak KiB\n");
  for (const std::int64_t parts : {1, 2, 4, 8, 16}) {
    model->zero_grad();
    const std::size_t before = memory::stats().live;
    memory::reset_peak();
    const std::int64_t each = 512 / parts;
    const Timer timer;
    for (std::int64_t i = 0; i < parts; ++i)
      (cross_entropy_loss(model->forward(x.narrow(0, i * each, each)), y.narrow(0, i * each, each)) / parts).backward();
    const std::string time = format_seconds(timer.seconds());
    const auto peak = static_cast<double>(memory::stats().peak - before) / 1024;
    most = std::max(most, peak);
    std::printf("  %5lld  %13lld  %9s  %8.0f  %s\n", static_cast<long long>(parts), static_cast<long long>(each), time.c_str(), peak, bar_of(peak, most).c_str());
  }
  std::fflush(stdout);
}

// %%
//| lesson
// Writes in place: a crash in between leaves neither the old file nor the new one.
void save_v1(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// Writes beside and renames: safe from a crash of the program. Not from one of the machine, whose disk may not have the bytes when it has the name.
void save_v2(const std::string& path, const std::string& bytes) {
  save_v1(path + ".new", bytes);
  std::filesystem::rename(path + ".new", path);
}

// %%
DEMO("what a safe save costs: in place (v1), beside and renamed (v2), and waiting for the disk (v3)") {
  const tito::Scratch scratch;
  std::printf("  %-10s %14s %14s %14s %14s\n", "bytes", "v1", "v2", "v3", "load, checked");
  for (const std::int64_t n : {1 << 10, 1 << 16, 1 << 20}) {
    serialize::OutputArchive archive;
    archive.write("weight", ones({n}));
    const std::string bytes = archive.bytes();
    const std::string path = scratch.path("save");
    const double v1 = measure([&] { save_v1(path, bytes); }, {.samples = 3}).median;
    const double v2 = measure([&] { save_v2(path, bytes); }, {.samples = 3}).median;
    const double v3 = measure([&] { serialize::write_file_atomically(path, bytes); }, {.samples = 3}).median;
    const double loading = measure([&] { serialize::InputArchive().load_from(path); }, {.samples = 3}).median;
    std::printf("  %-10zu %14s %14s %14s %14s\n", bytes.size(), format_seconds(v1).c_str(), format_seconds(v2).c_str(), format_seconds(v3).c_str(),
                format_seconds(loading).c_str());
  }
  std::fflush(stdout);
}

// %% [markdown]
// Things to look for: how does backward compare with forward, and why? When does the peak stop falling as parts get smaller, and what is left then? Renaming (v2) costs next to nothing; for small files v3 costs a fixed time, since it waits for the disk twice. It is what your `write_file_atomically` does.
//
//       how often to save?    lost per failure: half an interval, on average        cost: t_save per interval
//
//       too often  |###### saving ######|         too rarely  |################ lost work ################|
//       best near  interval = sqrt(2 * t_save * mean time between failures)         (Young 1974)

// %% [markdown]
// ## Part 3: Production context
//
//       PyTorch                          Keras                              JAX
//       you write the loop;              model.fit(callbacks=[...])         you write the loop around
//       torch.save(state dicts)          BackupAndRestore                   step(state, batch) -> state
//              |                                |                                  |
//       torch.distributed.checkpoint     TF checkpoint: sharded tables      Orbax: a tree of arrays, written
//       one file per process, resharded  of named variables                 in the background, renamed at the end
//
// - **PyTorch.** The loop is the user's; Lightning's and Hugging Face's trainers are this module's `Trainer` with more callbacks. `torch/csrc/api/src/serialize.cpp` and `torch/csrc/api/include/torch/serialize/archive.h` have the archives, `torch/csrc/api/include/torch/nn/utils/clip_grad.h` the clipping, `caffe2/serialize/inline_container.cc` the zip
//   container with a checksum per record. `torch.save` writes in place: who wants an atomic save writes beside it and renames, as you did. `torch/distributed/checkpoint/filesystem.py` does.
// - **TensorFlow.** `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`: an index of names, shapes and offsets, data in shards, a CRC32C per tensor, written to temporary names and renamed. `BackupAndRestore` (`keras/src/callbacks/backup_and_restore.py`) takes up a run that was cut off.
// - **JAX.** The state is one tree that the caller holds, so a checkpoint is "save this tree", the random key included: reproducible resuming falls out of the design (`jax/_src/random.py`). Orbax writes in a background thread, after a copy to host memory (`checkpoint/orbax/checkpoint/_src/checkpointers/async_checkpointer.py` in its repository).
// - **safetensors** was made because pickle executes what it loads. Its reader checks what yours checks: `safetensors/src/tensor.rs`.
//
// What they have and this module leaves out: mixed precision with loss scaling, several machines (module 19), asynchronous saving, and sharded files.

// %% [markdown]
// ## Integration test
//
// The whole way: files of digits, loader, model, loop, checkpoint, another process's worth of new objects, and the same answers.

// %%
TEST_CASE("training: digits are learned, saved, loaded and classified alike") {
  const tito::Scratch scratch;
  const std::string path = scratch.path("digits.safetensors");
  DigitsRun run(optim::TrainerOptions().epochs(4).checkpoint(path));
  std::vector<double> losses;
  run.trainer.on_epoch([&](const optim::Progress& progress) {
    losses.push_back(progress.mean_loss());
    return true;
  });
  run.trainer.fit(*run.loader);
  CHECK_LT(losses.back(), 0.5 * losses.front());
  CHECK_GT(run.accuracy(), 0.9);

  DigitsRun again(optim::TrainerOptions().epochs(4).checkpoint(path));
  CHECK_LT(again.accuracy(), 0.5);
  REQUIRE(again.trainer.resume(*again.loader));
  const NoGradGuard no_grad;
  CHECK_EQ(again.model->forward(again.images), run.model->forward(run.images));
}

// %% [markdown]
// ## ML systems thinking
//
// This module's pattern is Build -> Use -> **Analyze**. Answer from the output of `tito run 08`.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "08-explain-step", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. Where does a step go?** From the second and third demonstrations: what share of a step is forward, backward, optimizer? Why is backward longer than forward? From the accumulation table: which part of the peak falls with the number of parts, which does not, and what does
// accumulation cost in time? For which layer does it change the result?
// BEGIN SOLUTION
// Backward does two products where forward does one (for the input's gradient and the weight's), so up to twice forward; the first layer's input needs no gradient, which saves one (measured: 43 us and 72 us, and 36 us for Adam). Activations fall with the size of the parts; gradients of the parameters do not, so the peak levels off at
// them plus one part's temporaries. Time: the same products in smaller pieces, so more calls and less reuse of the weights in cache. BatchNorm computes its statistics over a part, so its results change; dropout draws other numbers.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "08-explain-checkpoint", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. How often, and what?** From the last demonstration: what does a safe save cost for each size, and which part of it does not depend on the size? A run takes t_save = 20 s per checkpoint and its machine fails once in 24 hours: how often should it save, by Young's formula? Name the five parts of the checkpoint and
// what would be seen in the loss curve if each were missing.
// BEGIN SOLUTION
// The two fsyncs cost a time of their own that does not depend on the size; the rest grows with the bytes. sqrt(2 * 20 * 86400) s is about 1860 s, so every half hour. Parameters: the curve begins again. Optimizer: a jump up and some hundred steps of recovery. Schedule: a wrong
// rate, so a level that is too high or a descent that stops. Loader: nothing to be seen at once; some examples count twice in this epoch. Generator: nothing to be seen, but the run can never be repeated.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "08-explain-atomic", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. Which step guards against what?** For each of the four steps of an atomic save: what can be lost if it is left out, by a crash of the program, and by a power cut? Why is the temporary file written into the *same folder*? Why is a checksum needed when the file system already promises
// whole files?
// BEGIN SOLUTION
// Writing beside: without it a crash during writing loses both versions. fsync of the file: a power cut after the rename may leave an empty or partial file under the good name; a crash of the program alone does no harm, since the kernel
// still has the bytes. rename: the one step that is atomic. fsync of the folder: after a power cut the name may still point to the old file, which is whole. Rename is atomic within one file system only; elsewhere it becomes a copy. The checksum finds what happens to bytes later: bad
// disks, cut-off copies over a network, edits.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - The loop is forward, backward, clip, step, clear. Its order matters, and so does the scale of what is added up.
// - A checkpoint is everything that the next step reads: parameters, optimizer, schedule, place in the epoch, generator. With all five, a run that was cut off ends with the same bits.
// - Saving: write beside, sync, rename, sync the folder. Loading: believe nothing, check everything, then change everything or nothing.
// - Evaluation must not disturb: no graph, no dropout, and the mode put back.
//
// The framework can now train. Module 09 gives it convolutions, and module 13 puts runs into files.

// %%
}  // namespace tinytorch
