// From the lesson modules/88_pretrained/pretrained_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>

#include "tinytorch/core/ordered_dict.h"
#include "tinytorch/models/bert.h"
#include "tinytorch/models/gpt.h"

namespace tinytorch {

namespace models {

// The weights in `folder`: model.safetensors (in one file, or several with an index), or else pytorch_model.bin, a checkpoint of PyTorch. Throws Error if there is none, or a damaged one.
OrderedDict<std::string, Tensor> published_weights(const std::string& folder);

// GPT-2 as it is published: config.json and weights under Hugging Face's names, with or without "transformer.", with Conv1D's (in, out) matrices; lm_head.weight may be left out where it is tied. In evaluation mode.
// Nothing is drawn, and what safetensors hold as float32 is not copied: the parameters lie in the mapped file (Conv1D's as transposed views of it), which they never change.
// Throws Error if a file is missing or damaged, if sizes do not fit, or if the config asks for something that GPT (models/gpt.h) does not do. Source: modeling_gpt2.py of Hugging Face's transformers.
GPT load_gpt2(const std::string& folder);
// The same files of a GPT of ours: model.safetensors and config.json, which transformers opens. `folder` is created if it is not there.
void save_gpt2(const GPT& model, const std::string& folder);

// BERT as it is published: with or without "bert."; gamma and beta are names of old files; what was trained on top (cls.) is left out, and the pooler may be missing. In evaluation mode.
// Throws as load_gpt2 does. Source: modeling_bert.py of Hugging Face's transformers.
Bert load_bert(const std::string& folder);

}  // namespace models

}  // namespace tinytorch
