#!/usr/bin/env python3
"""Records small random models, as Hugging Face's transformers saves them, in tests/golden/pretrained.json; tests/integration/published_models.cpp loads and runs them.

    python tests/golden/record_pretrained.py             # writes the file
    python tests/golden/record_pretrained.py --check     # fails when transformers computes something else than the file says

The file has folders (each file in it as text or hexadecimal), inputs, and what transformers computes for them: logits and greedy text of GPT-2, vectors of BERT. The layouts
differ as the published ones do: safetensors and pickles, with and without prefixes, in one and in several files, with old names. Needs torch, safetensors, tokenizers and transformers.
"""
import json
import pathlib
import tempfile

import recording

recording.needs("torch", "transformers", "tokenizers")

import safetensors.torch
import tokenizers
import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, BertModel, GPT2Config, GPT2LMHeadModel

FILE = pathlib.Path(__file__).with_name("pretrained.json")
TEXT = "the cat sat on the mat and the dog sat on the cat. the rain in spain stays mainly in the plain. " * 3
IDS = [[5, 260, 17, 3, 258, 71], [264, 9, 9, 101, 0, 40]]


def folder_of(path):
    files = {}
    for file in sorted(pathlib.Path(path).iterdir()):
        if file.name == "generation_config.json":
            continue
        text = file.suffix in (".json", ".txt")
        files[file.name] = {"text": file.read_text()} if text else {"hex": file.read_bytes().hex()}
    return files


def rounded(tensor):
    return ["Float", list(tensor.shape), [float(f"{v:.9g}") for v in tensor.detach().reshape(-1).tolist()]]


def record_gpt2(root):
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([TEXT], vocab_size=270, min_frequency=2, special_tokens=["<|endoftext|>"])
    torch.manual_seed(16)
    config = GPT2Config(vocab_size=tokenizer.get_vocab_size(), n_positions=24, n_embd=8, n_layer=2, n_head=2, initializer_range=0.4, bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():  # biases and normalizations are born as 0 and 1
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(root / "language model")
    tokenizer.save_model(str(root / "language model"))

    # As OpenAI's weights were converted: no prefix, the causal mask saved with them, a pickle.
    old = root / "old"
    old.mkdir()
    state = {name.removeprefix("transformer."): value for name, value in model.state_dict().items()}
    for layer in range(config.n_layer):
        state[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(24, 24)).view(1, 1, 24, 24)
    torch.save(state, old / "pytorch_model.bin")
    (old / "config.json").write_text((root / "language model/config.json").read_text())
    model.save_pretrained(root / "sharded", max_shard_size="8KB")
    half = root / "half"
    half.mkdir()
    safetensors.torch.save_file({name: value.to(torch.bfloat16) for name, value in model.transformer.state_dict().items()}, half / "model.safetensors", {"format": "pt"})
    (half / "config.json").write_text((root / "language model/config.json").read_text())

    ids = torch.tensor(IDS)
    with torch.no_grad():
        logits = model(ids).logits
        rounded_model = GPT2LMHeadModel(config).eval()
        rounded_model.load_state_dict({name: value.to(torch.bfloat16).float() for name, value in model.state_dict().items()})
        half_logits = rounded_model(ids).logits
        prompt = "the cat"
        start = tokenizer.encode(prompt).ids
        out = model.generate(torch.tensor([start]), max_new_tokens=12, do_sample=False, pad_token_id=0)[0].tolist()
    return {
        "folders": {name: folder_of(root / name) for name in ("language model", "old", "sharded", "half")},
        "ids": IDS, "logits": rounded(logits[:, :, ::9]), "half_logits": rounded(half_logits[:, :, ::9]),
        "prompt": prompt, "prompt_ids": start, "continuation": out[len(start):],
    }


def record_bert(root):
    torch.manual_seed(12)
    config = BertConfig(vocab_size=40, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, max_position_embeddings=12, initializer_range=0.4)
    model = BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(root / "encoder")

    # With a prefix and a head, without a pooler, by the names of the first files.
    masked = BertForMaskedLM(config)
    masked.bert.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("pooler.")}, strict=False)
    state = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value for name, value in masked.state_dict().items()}
    state["bert.embeddings.position_ids"] = torch.arange(12).view(1, 12)
    first = root / "first"
    first.mkdir()
    torch.save(state, first / "pytorch_model.bin")
    (first / "config.json").write_text((root / "encoder/config.json").read_text())

    ids = torch.tensor([[2, 7, 1, 8, 2, 8, 3], [2, 31, 4, 3, 0, 0, 0]])
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0]])
    with torch.no_grad():
        output = model(ids, attention_mask=mask, token_type_ids=types)
        hidden = output.last_hidden_state
        mean = (hidden * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        embedding = torch.nn.functional.normalize(mean, dim=1)
    return {
        "folders": {name: folder_of(root / name) for name in ("encoder", "first")},
        "ids": ids.tolist(), "mask": mask.tolist(), "types": types.tolist(),
        "hidden": [rounded(hidden[0]), rounded(hidden[1, :4])], "pooled": rounded(output.pooler_output), "embedding": rounded(embedding),
    }


def record():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        return {"gpt2": record_gpt2(root), "bert": record_bert(root)}


def other_values(stored, recorded):
    """Folders aside, which hold dates and versions."""
    computed = ("logits", "half_logits", "continuation", "hidden", "pooled", "embedding")
    return [f"{kind}: {key}" for kind in recorded for key in computed if key in recorded[kind] and not recording.same(recorded[kind][key], stored[kind][key], 1e-5)]


if __name__ == "__main__":
    recording.main(FILE, record, json.dumps, other_values)
