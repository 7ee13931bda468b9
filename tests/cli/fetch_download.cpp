// Downloads from a server of our own, which breaks off, ignores ranges, and sends what nobody asked for.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "build/process.h"
#include "fetch/download.h"
#include "format/source.h"

namespace tito {
namespace {

// Serves `files` on 127.0.0.1 until it is destroyed; one request at a time.
class Server {
 public:
  struct Behaviour {
    bool ranges = true;
    std::size_t cut_after = std::string::npos;  // closes the connection after so many bytes of a body
  };

  explicit Server(std::map<std::string, std::string> files, Behaviour behaviour) : files_(std::move(files)), behaviour_(behaviour) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    REQUIRE_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    REQUIRE_EQ(listen(listener_, 8), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/"; }
  // The Range headers of the requests so far; "" for one without.
  std::vector<std::string> ranges() const {
    const std::lock_guard lock(mutex_);
    return ranges_;
  }

 private:
  void serve() {
    while (true) {
      const int connection = accept(listener_, nullptr, nullptr);
      if (connection < 0) return;
      answer(connection);
      close(connection);
    }
  }

  void answer(int connection) {
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = read(connection, buffer, sizeof(buffer));
      if (got <= 0) return;
      request.append(buffer, static_cast<std::size_t>(got));
    }
    const std::string name = request.substr(5, request.find(' ', 5) - 5);
    const std::size_t at = request.find("Range: bytes=");
    const std::string range = at == std::string::npos ? "" : request.substr(at + 13, request.find("\r\n", at) - at - 13);
    {
      const std::lock_guard lock(mutex_);
      ranges_.push_back(range);
    }
    const auto file = files_.find(name);
    if (file == files_.end()) return send_all(connection, "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot here\n");
    const std::size_t start = behaviour_.ranges && !range.empty() ? std::stoul(range) : 0;
    if (start > 0 && start >= file->second.size()) {
      return send_all(connection, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n");
    }
    const std::string body = file->second.substr(start);
    std::string head = start > 0 ? "HTTP/1.1 206 Partial Content\r\n" : "HTTP/1.1 200 OK\r\n";
    head += "Content-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n";
    send_all(connection, head + body.substr(0, behaviour_.cut_after));
  }

  static void send_all(int connection, const std::string& bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t now = send(connection, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (now <= 0) return;
      sent += static_cast<std::size_t>(now);
    }
  }

  std::map<std::string, std::string> files_;
  Behaviour behaviour_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> ranges_;
  std::thread thread_;
};

// A folder that is removed at the end.
struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "tito-fetch-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  void write(const std::string& name, const std::string& bytes) const { std::ofstream(path / name, std::ios::binary) << bytes; }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const fs::directory_entry& entry : fs::directory_iterator(path)) all.push_back(entry.path().filename().string());
    std::sort(all.begin(), all.end());
    return all;
  }
  fs::path path;
};

// 300 KB that do not repeat, and how their publisher would describe them.
std::string sample_bytes() {
  std::string bytes;
  for (std::uint32_t i = 0; i < 100'000; ++i) bytes += std::to_string(i * 2654435761U).substr(0, 3);
  return bytes;
}

PublicFile described(const std::string& name, const std::string& bytes) {
  const Folder folder;
  folder.write("x", bytes);
  return {name, "http://127.0.0.1:9/" + name, static_cast<std::int64_t>(bytes.size()), md5_of(folder.path / "x")};
}

// What fetch_file says when it fails; empty when it does not.
std::string complaint(const PublicFile& file, const fs::path& folder, const std::string& mirror) {
  DownloadOptions options;
  options.mirror = mirror;
  try {
    fetch_file(file, folder, options);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

bool contains(const std::string& text, const std::string& part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("fetch: MD5 of a file") {
  const Folder folder;
  folder.write("abc", "abc");
  CHECK_EQ(md5_of(folder.path / "abc"), "900150983cd24fb0d6963f7d28e17f72");
  CHECK_THROWS_WITH(md5_of(folder.path / "none"), (folder.path / "none cannot be read").string().c_str());
}

TEST_CASE("fetch: a whole file arrives once") {
  const std::string bytes = sample_bytes();
  const PublicFile file = described("values.gz", bytes);
  const Server server({{"values.gz", bytes}}, {});
  const Folder folder;
  DownloadOptions options;
  options.mirror = server.url();
  std::int64_t shown = 0;
  options.on_progress = [&](std::int64_t done, std::int64_t all) {
    CHECK(done > shown);
    CHECK_EQ(all, file.bytes);
    shown = done;
  };
  CHECK(fetch_file(file, folder.path, options) == Fetched::Downloaded);
  CHECK_EQ(shown, file.bytes);
  CHECK_EQ(read_text(folder.path / "values.gz"), bytes);
  CHECK_EQ(folder.names(), std::vector<std::string>{"values.gz"});
  CHECK(fetch_file(file, folder.path, options) == Fetched::AlreadyThere);
  CHECK_EQ(server.ranges().size(), 1);
}

TEST_CASE("fetch: a broken connection leaves a part, and the next call goes on from there") {
  const std::string bytes = sample_bytes();
  const PublicFile file = described("values.gz", bytes);
  const Folder folder;
  {
    Server::Behaviour breaks_off;
    breaks_off.cut_after = 100'000;
    const Server server({{"values.gz", bytes}}, breaks_off);
    const std::string said = complaint(file, folder.path, server.url());
    CHECK(contains(said, "100000 of " + std::to_string(bytes.size()) + " bytes have arrived: run the same command again to go on from there"));
    CHECK_EQ(folder.names(), std::vector<std::string>{"values.gz.part"});
  }
  const Server server({{"values.gz", bytes}}, {});
  DownloadOptions options;
  options.mirror = server.url();
  CHECK(fetch_file(file, folder.path, options) == Fetched::Resumed);
  CHECK_EQ(server.ranges(), std::vector<std::string>{"100000-"});
  CHECK_EQ(read_text(folder.path / "values.gz"), bytes);
}

TEST_CASE("fetch: a server that knows no ranges sends everything again") {
  const std::string bytes = sample_bytes();
  const PublicFile file = described("values.gz", bytes);
  const Folder folder;
  folder.write("values.gz.part", bytes.substr(0, 5000));
  Server::Behaviour no_ranges;
  no_ranges.ranges = false;
  const Server server({{"values.gz", bytes}}, no_ranges);
  CHECK_EQ(complaint(file, folder.path, server.url()), "");
  CHECK_EQ(read_text(folder.path / "values.gz"), bytes);
}

TEST_CASE("fetch: a wrong checksum is refused, and nothing of it stays") {
  const std::string bytes = sample_bytes();
  const PublicFile file = described("values.gz", bytes);
  std::string other = bytes;
  other[70'000] ^= 1;
  const Folder folder;
  {
    const Server server({{"values.gz", other}}, {});
    CHECK(contains(complaint(file, folder.path, server.url()), "but " + file.md5 + " is published; the download was discarded"));
    CHECK_EQ(folder.names(), std::vector<std::string>{});
  }
  // A part of something else: the rest is fetched, the whole is refused, and the next call begins anew.
  folder.write("values.gz.part", std::string(1000, 'x'));
  const Server server({{"values.gz", bytes}}, {});
  CHECK(contains(complaint(file, folder.path, server.url()), "the download was discarded"));
  CHECK_EQ(complaint(file, folder.path, server.url()), "");
  CHECK_EQ(read_text(folder.path / "values.gz"), bytes);
}

TEST_CASE("fetch: what a server may answer instead") {
  const std::string bytes = sample_bytes();
  const PublicFile file = described("values.gz", bytes);
  const Folder folder;
  {
    const Server server({}, {});
    CHECK(contains(complaint(file, folder.path, server.url()), "answered with status 404"));
    CHECK_EQ(folder.names(), std::vector<std::string>{});
  }
  {
    const Server server({{"values.gz", bytes + "more"}}, {});
    CHECK(contains(complaint(file, folder.path, server.url()), "sends more than the " + std::to_string(bytes.size()) + " bytes of values.gz; the download was discarded"));
    CHECK_EQ(folder.names(), std::vector<std::string>{});
  }
  {
    const Server server({{"values.gz", bytes.substr(0, 900)}}, {});
    folder.write("values.gz.part", bytes.substr(0, 1000));
    CHECK(contains(complaint(file, folder.path, server.url()), "cannot go on at byte 1000"));
    CHECK_EQ(folder.names(), std::vector<std::string>{});
  }
  CHECK(contains(complaint(file, folder.path, ""), "http://127.0.0.1:9/values.gz: "));  // nobody listens there
  CHECK(contains(complaint(file, folder.path, "file:///etc"), "file:///etc/values.gz: Unsupported protocol"));
}

TEST_CASE("fetch: somebody's file stays, and two downloads do not write into one") {
  const std::string bytes = sample_bytes();
  const PublicFile file = described("values.gz", bytes);
  const Server server({{"values.gz", bytes}}, {});
  const Folder folder;
  folder.write("values.gz", "mine");
  CHECK(contains(complaint(file, folder.path, server.url()), "it may be somebody's work, so it stays"));
  CHECK_EQ(read_text(folder.path / "values.gz"), "mine");
  fs::remove(folder.path / "values.gz");

  const int other = open((folder.path / "values.gz.part").c_str(), O_RDWR | O_CREAT, 0644);
  REQUIRE_EQ(flock(other, LOCK_EX), 0);
  CHECK(contains(complaint(file, folder.path, server.url()), "is being downloaded by another tito"));
  close(other);
}

TEST_CASE("fetch: an archive is unpacked, as a whole or not at all") {
  const Folder made;
  fs::create_directories(made.path / "batches");
  made.write("batches/one.bin", sample_bytes());
  REQUIRE(run_process({"tar", "-czf", (made.path / "set.tar.gz").string(), "-C", made.path.string(), "batches"}).ok());
  const std::string archive = read_text(made.path / "set.tar.gz");
  PublicSet set{"test", "", "", "", ".", "batches", {described("set.tar.gz", archive)}};
  const Server server({{"set.tar.gz", archive}, {"bad.tar.gz", "no archive"}}, {});
  DownloadOptions options;
  options.mirror = server.url();
  std::vector<Fetched> seen;
  const auto note = [&](const PublicFile&, Fetched how) { seen.push_back(how); };

  const Folder folder;
  fetch_set(set, folder.path, options, note);
  CHECK_EQ(read_text(folder.path / "batches/one.bin"), sample_bytes());
  CHECK_EQ(folder.names(), std::vector<std::string>{"batches"});
  fetch_set(set, folder.path, options, note);
  CHECK(seen == std::vector<Fetched>{Fetched::Downloaded, Fetched::AlreadyThere});
  CHECK_EQ(server.ranges().size(), 1);

  const Folder empty;
  set.files = {described("bad.tar.gz", "no archive")};
  CHECK_THROWS(fetch_set(set, empty.path, options, note));
  CHECK_FALSE(fs::exists(empty.path / "batches"));
  CHECK_FALSE(fs::exists(empty.path / "batches.unpacking"));
}

namespace {

// A project whose table has one set of these files, published where nobody listens.
struct Project : Folder {
  explicit Project(const std::map<std::string, std::string>& files) {
    fs::create_directory(path / "data");
    fs::create_directory(path / "modules");  // by these two a course is known
    write("tito", "");
    std::string listed;
    for (const auto& [name, bytes] : files) {
      const PublicFile file = described(name, bytes);
      listed += "{ name = '" + name + "', bytes = " + std::to_string(file.bytes) + ", md5 = '" + file.md5 + "' }, ";
    }
    write("data/sets.toml", "[letters]\ntitle = 'Some letters'\nsource = 'A. Uthor, 1998'\nlicence = 'CC0'\nfolder = 'letters'\nfrom = 'http://127.0.0.1:9/'\nfiles = [" + listed + "]\n");
  }

  // `tito data ...` in this project; with `wrapper` in front.
  ProcessResult data(const Command& arguments, const std::string& folder = "", Command wrapper = {}) const {
    Command command = std::move(wrapper);
    command.push_back(fs::read_symlink("/proc/self/exe").parent_path() / "tito");
    command.emplace_back("data");
    command.insert(command.end(), arguments.begin(), arguments.end());
    ProcessOptions running;
    running.directory = path;
    running.seconds = 60;
    running.environment = {{"TITO_ROOT", path.string()}, {"TINYTORCH_DATA", folder}};
    return run_process(command, running);
  }
};

}  // namespace

TEST_CASE("tito data list: each set with its size, source and licence") {
  const Project project({{"a.txt", std::string(1'000'000, 'a')}, {"b.txt", std::string(550'000, 'b')}});
  const ProcessResult listed = project.data({"list"});
  CHECK_EQ(listed.status, 0);
  CHECK_EQ(listed.output, "letters             1.6 MB  Some letters\n" + std::string(28, ' ') + "A. Uthor, 1998\n" + std::string(28, ' ') + "licence: CC0\n");
}

TEST_CASE("tito data get: a set is fetched once, gone on with, and refused by name or checksum") {
  const std::map<std::string, std::string> files{{"a.txt", sample_bytes()}, {"b.txt", "bbb"}};
  const Project project(files);
  const std::string head = "Some letters\nfrom A. Uthor, 1998\nlicence: CC0\n";
  const auto line = [](const std::string& name, const std::string& how) { return name + std::string(31 - name.size(), ' ') + how + "\n"; };
  const std::string where = "in " + (project.path / "data/letters").string() + "\n";
  {
    Server::Behaviour breaks_off;
    breaks_off.cut_after = 100'000;
    const Server server(files, breaks_off);
    const ProcessResult broken = project.data({"get", "letters", "--mirror", server.url()});
    CHECK_EQ(broken.status, 1);
    CHECK(contains(broken.output, "100000 of " + std::to_string(sample_bytes().size()) + " bytes have arrived: run the same command again to go on from there"));
  }
  const Server server(files, {});
  const ProcessResult rest = project.data({"get", "letters", "--mirror", server.url()});
  CHECK_EQ(rest.status, 0);
  CHECK_EQ(rest.output, head + line("a.txt", "downloaded the rest, checksum right") + line("b.txt", "downloaded, checksum right") + where);
  CHECK_EQ(server.ranges(), std::vector<std::string>{"100000-", ""});
  CHECK_EQ(read_text(project.path / "data/letters/a.txt"), files.at("a.txt"));
  CHECK_EQ(project.data({"get", "letters"}).output, head + line("a.txt", "already there") + line("b.txt", "already there") + where);

  // Into another folder: the environment's, or the one of --to, which counts more.
  const Folder named;
  const Folder asked;
  CHECK(contains(project.data({"get", "letters", "--mirror", server.url()}, named.path.string()).output, "in " + (named.path / "letters").string()));
  CHECK_EQ(read_text(named.path / "letters/b.txt"), "bbb");
  CHECK(project.data({"get", "letters", "--to", asked.path.string(), "--mirror", server.url()}, named.path.string()).ok());
  CHECK_EQ(read_text(asked.path / "letters/b.txt"), "bbb");

  const ProcessResult unknown = project.data({"get", "numbers"});
  CHECK_EQ(unknown.status, 1);
  CHECK_EQ(unknown.output, "no data set is named 'numbers'; there are: letters\n");
  const Server lies({{"a.txt", files.at("a.txt")}, {"b.txt", "BBB"}}, {});
  const Folder empty;
  const ProcessResult wrong = project.data({"get", "letters", "--to", empty.path.string(), "--mirror", lies.url()});
  CHECK_EQ(wrong.status, 1);
  CHECK(contains(wrong.output, "is published; the download was discarded"));
}

TEST_CASE("tito data get: in a terminal, one line is written over until the file is there") {
  if (find_program("script").empty()) {
    MESSAGE("skipped: script is not installed (apt-get install bsdutils)");
    return;
  }
  const std::map<std::string, std::string> files{{"a.txt", sample_bytes()}};
  const Project project(files);
  const Server server(files, {});
  const Folder log;
  // A program whose whole command line is one argument.
  log.write("get", "#!/bin/sh\nexec script -qec \"$*\" /dev/null\n");
  fs::permissions(log.path / "get", fs::perms::owner_all);
  const ProcessResult shown = project.data({"get", "letters", "--mirror", server.url()}, "", {(log.path / "get").string()});
  CHECK_EQ(shown.status, 0);
  const std::string name = "a.txt" + std::string(26, ' ');
  CHECK(contains(shown.output, "\r" + name + "  0.3 of 0.3 MB, 100%\r\n" + name + "downloaded, checksum right\r\n"));
  CHECK_EQ(shown.output.find("100%"), shown.output.rfind("100%"));
}

TEST_CASE("sets: the table of the course") {
  const std::vector<PublicSet> sets = read_sets(fs::path(TITO_SOURCE_ROOT) / "data/sets.toml");
  for (const char* name : {"mnist", "fashion-mnist", "cifar10", "tinyshakespeare"}) {
    const PublicSet& set = find_set(sets, name);
    CHECK_FALSE(set.source.empty());
    CHECK_FALSE(set.licence.empty());
    for (const PublicFile& file : set.files) CHECK(file.url.starts_with("https://"));
  }
  CHECK_EQ(find_set(sets, "mnist").files.at(3).url, "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz");
  CHECK_THROWS_WITH(find_set(sets, "imagenet"), "no data set is named 'imagenet'; there are: cifar10, fashion-mnist, mnist, tinyshakespeare");

  // Files of these sets that are here are the published ones.
  const char* const folder = std::getenv("TINYTORCH_DATA");
  if (folder == nullptr) return;
  for (const PublicSet& set : sets) {
    for (const PublicFile& file : set.files) {
      const fs::path path = fs::path(folder) / set.folder / file.name;
      if (!fs::exists(path)) continue;
      CHECK_EQ(static_cast<std::int64_t>(fs::file_size(path)), file.bytes);
      CHECK_EQ(md5_of(path), file.md5);
    }
  }
}

TEST_CASE("sets: a table that cannot be used says where") {
  const Folder folder;
  const auto refused = [&](const std::string& text) {
    folder.write("sets.toml", text);
    try {
      read_sets(folder.path / "sets.toml");
      return std::string();
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
  };
  const std::string begin = "[a]\ntitle = 't'\nsource = 's'\nlicence = 'l'\nfolder = 'f'\nfrom = 'https://x/'\n";
  CHECK_EQ(refused(begin + "files = [{ name = 'n', bytes = 1, md5 = '900150983cd24fb0d6963f7d28e17f72' }]\n"), "");
  CHECK(contains(refused("[a\n"), "sets.toml:1: "));
  CHECK(contains(refused(begin), "[a]: 'files' is missing or empty"));
  CHECK(contains(refused(begin + "files = [{ name = '../n', bytes = 1, md5 = '900150983cd24fb0d6963f7d28e17f72' }]\n"), "'../n' is not the name of a file"));
  CHECK(contains(refused(begin + "files = [{ name = 'n', bytes = 1, md5 = 'abc' }]\n"), "needs its size in bytes and an md5"));
  CHECK(contains(refused("[a]\ntitle = 1\n"), "[a]: 'title' is missing or of another type"));
}

}  // namespace tito
