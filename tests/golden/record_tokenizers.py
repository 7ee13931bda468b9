#!/usr/bin/env python3
"""Records what Hugging Face's tokenizers make of a text in tests/golden/tokenizers.json, which tests/integration/tokenizers.cpp repeats.

    python tests/golden/record_tokenizers.py             # writes the file
    python tests/golden/record_tokenizers.py --check     # fails when the package gives something else than the file says

A byte-level byte-pair encoding and a WordPiece vocabulary are trained on tests/golden/tokenizer_text.txt: the beginning of Shakespeare's plays (the
"tiny Shakespeare" excerpt, public domain) and some lines in other scripts. The file has the merges, the pieces, and the words and
ids of samples that are hard to cut. Needs PyPI's tokenizers.
"""
import json
import pathlib

import recording

recording.needs("tokenizers")

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
FILE = HERE / "tokenizers.json"
TEXT = (HERE / "tokenizer_text.txt").read_bytes().decode()
SAMPLES = [
    "", " ", "  ", "a", " a", "a ", "  a  b   c    ", "Hello, world!", "First Citizen:\nBefore we proceed any further, hear me speak.",
    "I've they'll don't we're he'd I'm it's 'tis 's ''s I'M DON'T '", "\n\n\n", "\n\nAll:\n \n  x", "\t\ttabs\tand\r\nlines\r\n",
    "3.14159e-10 1,000,000 2nd x2y ½²Ⅻ①٣", "def f(x):\n    return x**2  # square\n", "snake_case camelCase UPPER__CASE a.b.c http://x.y/z?q=1&r=2",
    "Ünïcödé straße Ångström e\u0301 x̂ \u0301 ñ n\u0303", "Ёлка — «кавычки»", "Ἀχιλλεύς", "東京都は日本の首都です。", "北京 是中国", "한국어 텍스트", "مرحبا بالعالم ١٢٣",
    "नमस्ते दुनिया", "ภาษาไทย", "🙂🙂🏽👩‍👩‍👧🇩🇪", "a\u00a0b\u2003c\u3000d\u2028e\u0085f", "\u200b\u200d\ufeff\u00ad", "\u0000\u0001\u001f\u007f", "\ufffd \U0010ffff \ue000",
    "-" * 70, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "speakspeakspeak unspeakable SPEAK", "[MASK] [CLS]x[SEP]", "$5 + 3 < 9 ^ ` | ~ = >", "İstanbul ſ ẞ K Å",
]
# Words that Unicode's classes decide; no code points that were assigned lately.
TRAINED = {"vocab_size": 1200, "special": "<|endoftext|>"}


def byte_pairs():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=TRAINED["vocab_size"], special_tokens=[TRAINED["special"]], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([TEXT], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    words = [[word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(sample)] for sample in SAMPLES]
    ids = [tokenizer.encode(sample).ids for sample in SAMPLES]
    for sample, sample_ids in zip(SAMPLES, ids):
        assert tokenizer.decode(sample_ids) == sample, sample
    whole = tokenizer.encode(TEXT).ids
    return {**TRAINED, "vocabulary": [t for t, _ in sorted(model["vocab"].items(), key=lambda e: e[1])], "merges": merges, "words": words, "ids": ids,
            "text_tokens": len(whole), "text_weighted": sum((i % 1009 + 1) * x for i, x in enumerate(whole)) % 1000000007}


def word_pieces():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator([TEXT], trainers.WordPieceTrainer(vocab_size=700, special_tokens=special, show_progress=False))
    model = json.loads(tokenizer.to_str())["model"]
    result = {"vocabulary": [t for t, _ in sorted(model["vocab"].items(), key=lambda e: e[1])]}
    for name, lower in (("lower", True), ("cased", False)):
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
        result[name] = [tokenizer.encode(sample).ids for sample in SAMPLES]
        result[name + "_words"] = [[w for w, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(s))] for s in SAMPLES]
    return result


def record():
    return {"samples": SAMPLES, "byte_pairs": byte_pairs(), "word_pieces": word_pieces()}


def other_results(stored, recorded):
    """The trainer of word pieces numbers them in another order each time, and breaks ties in another way: ids are compared as pieces."""
    def as_pieces(document):
        found = dict(document["word_pieces"])
        names = found["vocabulary"]
        for key in ("lower", "cased"):
            found[key] = [[names[i] for i in ids] for ids in found[key]]
        return {**document, "word_pieces": {**found, "vocabulary": len(names)}}
    return recording.differences(as_pieces(stored), as_pieces({**stored, **recorded}))


def one_line_each(document):
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}" for key, value in document.items()]
    return "{" + ",\n".join(lines) + "}"


if __name__ == "__main__":
    recording.main(FILE, record, one_line_each, other_results)
