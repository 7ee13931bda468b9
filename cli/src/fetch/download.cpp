#include "fetch/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string_view>

#include "build/process.h"

namespace tito {
namespace {

// The file that grows: locked, so that two downloads never write into one.
class PartFile {
 public:
  explicit PartFile(fs::path path) : path_(std::move(path)), file_(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (file_ < 0) throw std::runtime_error(fmt::format("{} cannot be written: {}", path_.string(), std::strerror(errno)));
    if (flock(file_, LOCK_EX | LOCK_NB) != 0) {
      close(file_);
      throw std::runtime_error(fmt::format("{} is being downloaded by another tito", path_.string()));
    }
  }
  ~PartFile() {
    if (size() == 0) unlink(path_.c_str());
    close(file_);
  }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  std::int64_t size() const { return lseek(file_, 0, SEEK_END); }
  void clear() { check(ftruncate(file_, 0) == 0); }
  void append(const char* bytes, std::size_t count) {
    lseek(file_, 0, SEEK_END);
    while (count > 0) {
      const ssize_t written = write(file_, bytes, count);
      if (written < 0 && errno == EINTR) continue;
      check(written >= 0);
      bytes += written;
      count -= static_cast<std::size_t>(written);
    }
  }
  // Gives it its name, whole: on the disk before the name is.
  void publish(const fs::path& target) {
    check(fsync(file_) == 0);
    check(rename(path_.c_str(), target.c_str()) == 0);
    const int folder = open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
      fsync(folder);
      close(folder);
    }
  }
  const fs::path& path() const { return path_; }

 private:
  void check(bool ok) const {
    if (!ok) throw std::runtime_error(fmt::format("{} cannot be written: {}", path_.string(), std::strerror(errno)));
  }
  fs::path path_;
  int file_;
};

// One transfer, from the size that the part file has on.
class Transfer {
 public:
  Transfer(const PublicFile& file, std::string url, PartFile& part, const DownloadOptions& options)
      : file_(file), url_(std::move(url)), part_(part), options_(options), start_(part.size()), curl_(curl_easy_init(), curl_easy_cleanup) {
    if (curl_ == nullptr) throw std::runtime_error("libcurl cannot be started");
  }

  void run() {
    set_options();
    const CURLcode code = curl_easy_perform(curl_.get());
    if (!complaint_.empty()) throw std::runtime_error(complaint_);
    if (code != CURLE_OK) throw std::runtime_error(what_broke(code));
    if (part_.size() < file_.bytes) throw std::runtime_error(what_broke(CURLE_PARTIAL_FILE));
  }

 private:
  void set_options() {
    CURL* const curl = curl_.get();
    curl_easy_setopt(curl, CURLOPT_URL, url_.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http");
    // From https never to something less.
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, url_.starts_with("https:") ? "https" : "https,http");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "tito (TinyTorch)");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.stall_seconds));
    if (start_ > 0) curl_easy_setopt(curl, CURLOPT_RANGE, (std::to_string(start_) + "-").c_str());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Transfer::on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  }

  static std::size_t on_bytes(char* bytes, std::size_t, std::size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    try {
      transfer.take(bytes, count);
      return count;
    } catch (const std::exception& error) {
      transfer.complaint_ = error.what();
      return 0;  // ends the transfer
    }
  }

  void take(const char* bytes, std::size_t count) {
    if (!begun_) begin();
    const std::int64_t done = part_.size();
    if (done + static_cast<std::int64_t>(count) > file_.bytes) {
      part_.clear();
      throw std::runtime_error(fmt::format("{} sends more than the {} bytes of {}; the download was discarded", url_, file_.bytes, file_.name));
    }
    part_.append(bytes, count);
    if (options_.on_progress) options_.on_progress(done + static_cast<std::int64_t>(count), file_.bytes);
  }

  // The answer's first bytes: is it what was asked for?
  void begin() {
    begun_ = true;
    long status = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status == 206 && start_ > 0) return;
    if (status == 416) {
      part_.clear();
      throw std::runtime_error(fmt::format("{} cannot go on at byte {}; what had arrived was discarded: run the same command again", url_, start_));
    }
    if (status != 200) throw std::runtime_error(fmt::format("{} answered with status {}", url_, status));
    part_.clear();  // the whole file comes, from its beginning
  }

  std::string what_broke(CURLcode code) {
    if (!begun_) {
      long status = 0;
      curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
      if (status >= 400) return fmt::format("{} answered with status {}", url_, status);
    }
    return fmt::format("{}: {}; {} of {} bytes have arrived: run the same command again to go on from there", url_, curl_easy_strerror(code), part_.size(), file_.bytes);
  }

  const PublicFile& file_;
  std::string url_;
  PartFile& part_;
  const DownloadOptions& options_;
  std::int64_t start_;
  bool begun_ = false;
  std::string complaint_;
  std::unique_ptr<CURL, void (*)(CURL*)> curl_;
};

std::string url_of(const PublicFile& file, const DownloadOptions& options) {
  if (options.mirror.empty()) return file.url;
  return options.mirror + (options.mirror.ends_with('/') ? "" : "/") + file.name;
}

// A file of the published name: is it the published one?
bool is_there(const PublicFile& file, const fs::path& target) {
  if (!fs::exists(target)) return false;
  const std::string found = md5_of(target);
  if (found == file.md5) return true;
  throw std::runtime_error(fmt::format("{} is there, but it is not the published file (MD5 {}, expected {}); it may be somebody's work, so it stays: move it away, or choose another folder with --to",
                                       target.string(), found, file.md5));
}

void unpack(const fs::path& archive, const fs::path& data, const std::string& holds) {
  // Beside its place first, so that an interrupted unpacking leaves no half folder under the final name.
  const fs::path beside = data / (holds + ".unpacking");
  fs::remove_all(beside);
  fs::create_directories(beside);
  const ProcessResult result = run_process({"tar", "--no-same-owner", "-xzf", archive.string(), "-C", beside.string()});
  if (!result.ok() || !fs::is_directory(beside / holds)) {
    fs::remove_all(beside);
    throw std::runtime_error(fmt::format("{} cannot be unpacked: {}", archive.string(), result.ok() ? "it holds no folder " + holds : result.output));
  }
  fs::rename(beside / holds, data / holds);
  fs::remove_all(beside);
  fs::remove(archive);
}

}  // namespace

std::string md5_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error(file.string() + " cannot be read");
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_md5(), nullptr) != 1) throw std::runtime_error("OpenSSL gives no MD5 on this machine");
  std::array<char, 1 << 16> buffer;
  while (in.read(buffer.data(), buffer.size()), in.gcount() > 0) {
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(in.gcount()));
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned count = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &count);
  std::string text;
  for (unsigned i = 0; i < count; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

Fetched fetch_file(const PublicFile& file, const fs::path& folder, const DownloadOptions& options) {
  const fs::path target = folder / file.name;
  if (is_there(file, target)) return Fetched::AlreadyThere;
  fs::create_directories(folder);
  PartFile part(target.string() + ".part");
  if (part.size() > file.bytes) part.clear();
  const bool resumed = part.size() > 0;
  if (part.size() < file.bytes) Transfer(file, url_of(file, options), part, options).run();
  const std::string found = md5_of(part.path());
  if (found != file.md5) {
    fs::remove(part.path());
    throw std::runtime_error(fmt::format("{} has the MD5 {}, but {} is published; the download was discarded", url_of(file, options), found, file.md5));
  }
  part.publish(target);
  return resumed ? Fetched::Resumed : Fetched::Downloaded;
}

void fetch_set(const PublicSet& set, const fs::path& data, const DownloadOptions& options, const std::function<void(const PublicFile&, Fetched)>& on_file) {
  const bool unpacked = !set.unpacks.empty() && fs::exists(data / set.unpacks);
  for (const PublicFile& file : set.files) {
    on_file(file, unpacked ? Fetched::AlreadyThere : fetch_file(file, data / set.folder, options));
  }
  if (!set.unpacks.empty() && !unpacked) unpack(data / set.folder / set.files[0].name, data, set.unpacks);
}

}  // namespace tito
