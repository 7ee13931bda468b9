// From the lesson modules/53_weights/weights_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/core/ivalue.h"
#include "tinytorch/core/ordered_dict.h"

namespace tinytorch {

// The bytes of a file as Python's torch.save makes it; torch.load opens it, also with weights_only=True. `value` holds tensors, numbers, texts, None, and lists, tuples and dictionaries of these; tensors that share
// storage share it in the file. Throws for an undefined tensor, a text that is not UTF-8, and values nested more than 100 deep. O(bytes).
// Source: torch/csrc/jit/serialization/pickle.h.
std::vector<char> pickle_save(const IValue& value);

// What Python's torch.save or libtorch's pickle_save and save wrote. Only data is read: a function beyond those that build tensors and dictionaries is refused by name, and nothing is executed. Tensors of
// other devices come to the CPU. Throws Error if the file is damaged, hostile, or older than PyTorch 1.6.
IValue pickle_load(const std::vector<char>& data);

namespace serialize {

// The same from and to a file; it is written atomically.
IValue load_checkpoint(const std::string& path);
void save_checkpoint(const IValue& value, const std::string& path);
// From bytes in memory; `name` stands in error sentences.
IValue parse_checkpoint(std::string_view bytes, const std::string& name);

// Every tensor in nested dictionaries and lists, by the path to it: {"model": {"fc.weight": W}} has "model.fc.weight". What is no tensor is left out.
OrderedDict<std::string, Tensor> named_tensors(const IValue& value);
// A state_dict as a value to save.
IValue to_value(const OrderedDict<std::string, Tensor>& state);

}  // namespace serialize

}  // namespace tinytorch
