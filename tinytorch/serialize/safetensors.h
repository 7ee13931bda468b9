// From the lesson modules/53_weights/weights_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/core/ordered_dict.h"
#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace safetensors {

class Mapping;

// A safetensors file, opened. The constructor checks the header and everything it says about the file; the tensors are not read.
// Throws Error if the file cannot be opened or anything in it does not fit: the length of the header, its JSON, a name that is there twice, a dtype, a shape, places that overlap, leave gaps or reach beyond the file.
// Source: safetensors/src/tensor.rs of Hugging Face.
class safe_open {
 public:
  explicit safe_open(const std::string& path);

  // In the order of their bytes in the file.
  const std::vector<std::string>& keys() const { return keys_; }
  bool contains(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // The tensor `name`. O(1): it lies in the mapped file, which stays mapped while any tensor of it lives; writing into it changes this process's view and never the file. A tensor that the file does not align is
  // copied. Throws if there is none.
  // REQUIRES: the file is not cut short while the tensor lives.
  Tensor get_tensor(const std::string& name) const;

 private:
  friend OrderedDict<std::string, Tensor> load(std::string_view bytes);
  struct Entry {
    std::string dtype;
    DimVector sizes;
    std::uint64_t begin = 0;  // in the data
    std::uint64_t end = 0;
  };
  safe_open(std::string_view bytes, std::string name);
  void parse(std::string_view bytes);
  void check_ranges(std::uint64_t data_bytes) const;

  std::string name_;
  std::shared_ptr<Mapping> mapping_;
  std::string_view data_;
  std::map<std::string, Entry> entries_;
  std::vector<std::string> keys_;
  std::map<std::string, std::string> metadata_;
};

// All tensors of a file, mapped as safe_open::get_tensor does, and of bytes in memory, copied.
OrderedDict<std::string, Tensor> load_file(const std::string& path);
OrderedDict<std::string, Tensor> load(std::string_view bytes);

// The bytes of a file with these tensors, as Python's safetensors.torch.save makes them; and the file, written atomically. A tensor that is not contiguous is written as if it were; tensors that share memory are written twice.
std::string save(const OrderedDict<std::string, Tensor>& tensors, const std::map<std::string, std::string>& metadata = {});
void save_file(const OrderedDict<std::string, Tensor>& tensors, const std::string& path, const std::map<std::string, std::string>& metadata = {});

// Large models come in several files with an index. load_sharded takes the folder, the index or a single file; save_sharded writes model.safetensors, or model-00001-of-0000N.safetensors and so on with at most `max_shard_size` bytes of
// tensors each (one tensor may be larger) and the index model.safetensors.index.json, which is written last.
// Throws Error if the index names a file outside its folder, a tensor that its file does not hold, or a tensor in a file that the index does not name.
OrderedDict<std::string, Tensor> load_sharded(const std::string& path);
void save_sharded(const OrderedDict<std::string, Tensor>& tensors, const std::string& folder, std::uint64_t max_shard_size = 5'000'000'000);

}  // namespace safetensors

}  // namespace tinytorch
