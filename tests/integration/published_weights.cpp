// Files of weights: those that PyTorch and safetensors write are opened here, those written here are opened by them, and damaged or hostile ones end in one sentence.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "golden/damage.h"
#include "golden/reader.h"
#include "integration/output_of.h"
#include "tito/lesson.h"
#include "tito/scratch.h"

namespace tinytorch::testing {
namespace {

std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) bytes.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  return bytes;
}

OrderedDict<std::string, Tensor> tensors_of(const std::string& kind, const std::string& bytes, const std::string& name) {
  return kind == "pt" ? serialize::named_tensors(serialize::parse_checkpoint(bytes, name)) : safetensors::load(bytes);
}

}  // namespace

TEST_CASE("files that PyTorch, TorchScript and safetensors wrote: every tensor, bit for bit") {
  const nlohmann::json golden = read_golden("checkpoints.json");
  for (const auto& [key, file] : golden.at("files").items()) {
    const std::string name = key;
    CAPTURE(name);
    const auto tensors = tensors_of(file.at("kind").get<std::string>(), from_hex(file.at("bytes").get<std::string>()), name);
    CHECK_EQ(tensors.size(), file.at("tensors").size());
    for (const auto& [place, expected] : file.at("tensors").items()) {
      const std::string path = place;
      CAPTURE(path);
      REQUIRE(tensors.contains(path));
      CHECK_EQ(tensors[path].detach(), tensor_from(expected));
    }
  }
}

TEST_CASE("a checkpoint of Python: numbers, texts, shared storages and what requires gradients") {
  const nlohmann::json golden = read_golden("checkpoints.json").at("files");
  const auto checkpoint = serialize::parse_checkpoint(from_hex(golden.at("checkpoint").at("bytes").get<std::string>()), "checkpoint").toGenericDict();
  CHECK_EQ(checkpoint.at("epoch").toInt(), 3);
  CHECK_EQ(checkpoint.at("loss").toDouble(), 0.125);
  CHECK_EQ(checkpoint.at("name").toStringRef(), "M\u00fcller");
  CHECK(checkpoint.at("steps").toIntVector() == std::vector<std::int64_t>{1, 300, -70000, std::int64_t{1} << 40});
  CHECK(checkpoint.at("nothing").isNone());
  CHECK(!checkpoint.at("done").toBool());
  CHECK_EQ(checkpoint.at("size").toTupleRef().elements()[1].toInt(), 3);
  CHECK_EQ(checkpoint.at("ordered").toGenericDict().at("a").toInt(), 1);
  CHECK_EQ(checkpoint.at(7).toStringRef(), "seven");
  CHECK_EQ(checkpoint.at("optimizer").toGenericDict().at("param_groups").toList().get(0).toGenericDict().at("lr").toDouble(), 0.01);

  const auto shared = serialize::parse_checkpoint(from_hex(golden.at("shared").at("bytes").get<std::string>()), "shared").toGenericDict();
  const auto at = [&](const char* name) { return shared.at(name).toTensor(); };
  CHECK(at("columns").strides() == IntArrayRef({1, 4}));
  CHECK(at("every_third").strides() == IntArrayRef({3}));
  CHECK(at("expanded").strides() == IntArrayRef({0}));
  CHECK_EQ(at("row").storage_offset(), 4);
  for (const char* name : {"columns", "row", "every_third", "scalar", "expanded"}) CHECK(at(name).is_alias_of(at("base")));
  CHECK(!at("parameter").is_alias_of(at("base")));
  CHECK(at("parameter").requires_grad());
  CHECK(!at("base").requires_grad());

  // libtorch's way of putting Python's weights into a model.
  const auto state = serialize::parse_checkpoint(from_hex(golden.at("state_dict").at("bytes").get<std::string>()), "state_dict").toGenericDict();
  nn::Linear layer(3, 4);
  {
    const NoGradGuard no_grad;
    for (const auto& entry : state)
      if (entry.key().toStringRef().starts_with("0.")) layer->named_parameters()[entry.key().toStringRef().substr(2)].copy_(entry.value().toTensor());
  }
  CHECK_EQ(layer->weight.detach(), tensor_from(golden.at("state_dict").at("tensors").at("0.weight")));
}

TEST_CASE("safetensors written here are those that Python's package writes, byte by byte") {
  const nlohmann::json file = read_golden("checkpoints.json").at("files").at("safetensors dtypes");
  const std::string expected = from_hex(file.at("bytes").get<std::string>());
  CHECK_EQ(safetensors::save(safetensors::load(expected), {{"format", "pt"}}), expected);
}

TEST_CASE("files of Python that would run code, or hold what is not supported: refused by name") {
  const nlohmann::json refused = read_golden("checkpoints.json").at("refused");
  for (const auto& [key, digits] : refused.items()) {
    const std::string name = key;
    const std::string bytes = from_hex(digits.get<std::string>());
    CAPTURE(name);
    CHECK_ERROR(serialize::parse_checkpoint(bytes, "hostile.pt"), "Unsupported global: GLOBAL " + name + " was not an allowed global by default.");
  }
}

TEST_CASE("damaged files of weights: each is read, or refused with an Error") {
  const nlohmann::json files = read_golden("checkpoints.json").at("files");
  Damage damage(20'260'724);
  for (const auto& [key, file] : files.items()) {
    const std::string name = key;
    CAPTURE(name);
    const std::string bytes = from_hex(file.at("bytes").get<std::string>());
    const std::string kind = file.at("kind").get<std::string>();
    for (int i = 0; i < 300; ++i) {
      const std::string damaged = damage.apply(bytes);
      CAPTURE(damage.what());
      CHECK_EQ(complaint_of([&] { tensors_of(kind, damaged, name); }), "");
    }
  }
}

TEST_CASE("damaged pickles: each is read, or refused with an Error") {
  // Within a sound archive, or the checksum would catch nearly all of them.
  const nlohmann::json files = read_golden("checkpoints.json").at("files");
  Damage damage(85);
  int read = 0;
  for (const char* name : {"state_dict", "checkpoint", "shared", "torchscript", "protocol 4"}) {
    CAPTURE(name);
    const std::string bytes = from_hex(files.at(name).at("bytes").get<std::string>());
    const serialize::ZipReader archive(bytes, name);
    for (int i = 0; i < 500; ++i) {
      serialize::ZipWriter damaged;
      for (const std::string& record : archive.names()) damaged.add(record, record.ends_with("/data.pkl") ? damage.apply(archive.read(record)) : archive.read(record));
      CAPTURE(damage.what());
      const std::string file = damaged.finish();
      CHECK_EQ(complaint_of([&] {
                 serialize::named_tensors(serialize::parse_checkpoint(file, name));
                 ++read;
               }),
               "");
    }
  }
  CHECK_GT(read, 20);  // changed texts and numbers, for instance
}

TEST_CASE("damaged archives of a run: each is read, or refused with an Error") {
  serialize::OutputArchive archive;
  archive.write("weight", arange(6, kFloat).view({2, 3}));
  archive.write("mask", tensor({true, false}));
  archive.write("epoch", 3);
  archive.write("lr", 0.1);
  archive.write("name", std::string("adam"));
  const std::string bytes = archive.bytes();
  Damage damage(8);
  for (int i = 0; i < 1500; ++i) {
    const std::string damaged = damage.apply(bytes);
    CAPTURE(damage.what());
    CHECK_EQ(complaint_of([&] { serialize::InputArchive().load_from(damaged.data(), damaged.size()); }), "");
  }
}

TEST_CASE("thorough: damaged files of weights, at length" * doctest::skip()) {
  const nlohmann::json files = read_golden("checkpoints.json").at("files");
  const std::uint64_t seed = std::random_device{}();
  MESSAGE("seed " << seed);
  Damage damage(seed);
  for (const auto& [key, file] : files.items()) {
    const std::string name = key;
    CAPTURE(name);
    const std::string bytes = from_hex(file.at("bytes").get<std::string>());
    const std::string kind = file.at("kind").get<std::string>();
    for (int i = 0; i < 20'000; ++i) {
      const std::string damaged = damage.apply(bytes);
      CAPTURE(damage.what());
      CHECK_EQ(complaint_of([&] { tensors_of(kind, damaged, name); }), "");
    }
  }
}

TEST_CASE("thorough: Python's own torch and safetensors open what is written here" * doctest::skip()) {
  const char* const python = std::getenv("TINYTORCH_PYTHON_WITH_TORCH");
  if (python == nullptr) {
    MESSAGE("skipped: the Python that TINYTORCH_PYTHON names, otherwise python3, has no torch, safetensors and numpy");
    return;
  }
  const tito::Scratch folder;
  std::filesystem::create_directory(folder.path("files"));
  manual_seed(3);
  nn::MLP model(std::vector<std::int64_t>{4, 5, 3});
  const Tensor base = arange(12, kDouble);
  impl::GenericDict checkpoint;
  checkpoint.insert("model", serialize::to_value(model->state_dict()));
  checkpoint.insert("epoch", 3);
  checkpoint.insert("lr", 0.1);
  checkpoint.insert("name", "M\u00fcller");
  checkpoint.insert("big", std::int64_t{1} << 40);
  checkpoint.insert("nothing", IValue());
  checkpoint.insert("list", std::vector<double>{0.5, 1.5});
  checkpoint.insert("columns", base.view({3, 4}).t());
  checkpoint.insert("row", base.slice(0, 4, 8));
  checkpoint.insert("parameter", ones({2}, requires_grad()));
  checkpoint.insert("empty", empty({0, 3}));
  for (const ScalarType type : {kBool, kByte, kChar, kShort, kInt, kLong, kHalf, kBFloat16, kFloat, kDouble}) checkpoint.insert(toString(type), tensor({0, 1, 1}).to(type));
  serialize::save_checkpoint(checkpoint, folder.path("files/checkpoint.pt"));
  safetensors::save_file(model->state_dict(), folder.path("files/model.safetensors"), {{"format", "pt"}});

  const nlohmann::json found = nlohmann::json::parse(output_of(std::string(python) + " " + (folder_with_golden() / "tests/golden/open_checkpoints.py").string() + " " + folder.path("files")));
  const auto same = [](const nlohmann::json& read, const Tensor& expected) {
    CHECK_EQ(read.at("shape").get<std::vector<std::int64_t>>(), expected.sizes().vec());
    std::size_t i = 0;
    for (const nlohmann::json& value : read.at("values")) {
      const double number = value.is_boolean() ? static_cast<double>(value.get<bool>()) : value.get<double>();
      CHECK_EQ(number, expected.detach().reshape({-1})[static_cast<std::int64_t>(i++)].to(kDouble).item<double>());
    }
    CHECK_EQ(static_cast<std::int64_t>(i), expected.numel());
  };
  for (const auto& entry : model->state_dict()) same(found.at("model.safetensors").at(entry.key()), entry.value());
  CHECK_EQ(found.at("model.safetensors").at("metadata").at("format").get<std::string>(), "pt");
  const nlohmann::json& read = found.at("checkpoint.pt");
  for (const auto& entry : model->state_dict()) same(read.at("model").at(entry.key()), entry.value());
  CHECK_EQ(read.at("epoch").get<int>(), 3);
  CHECK_EQ(read.at("lr").get<double>(), 0.1);
  CHECK_EQ(read.at("name").get<std::string>(), "M\u00fcller");
  CHECK_EQ(read.at("big").get<std::int64_t>(), std::int64_t{1} << 40);
  CHECK(read.at("nothing").is_null());
  CHECK_EQ(read.at("list")[1][1].get<double>(), 1.5);
  same(read.at("columns"), base.view({3, 4}).t());
  CHECK_EQ(read.at("columns").at("strides").get<std::vector<int>>(), std::vector<int>{1, 4});
  CHECK_EQ(read.at("columns").at("storage").get<std::uint64_t>(), read.at("row").at("storage").get<std::uint64_t>());
  CHECK(read.at("parameter").at("requires_grad").get<bool>());
  CHECK_EQ(read.at("empty").at("shape").get<std::vector<int>>(), std::vector<int>{0, 3});
  CHECK_EQ(read.at("Bool").at("dtype").get<std::string>(), "torch.bool");
  CHECK_EQ(read.at("Short").at("dtype").get<std::string>(), "torch.int16");
  for (const ScalarType type : {kBool, kByte, kChar, kShort, kInt, kLong, kHalf, kBFloat16, kFloat, kDouble}) same(read.at(toString(type)), tensor({0, 1, 1}).to(type));
}

}  // namespace tinytorch::testing
