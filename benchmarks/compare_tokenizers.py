#!/usr/bin/env python3
"""Module 10's byte-pair encoding and chapter 58's WordPiece beside Hugging Face's tokenizers: training and encoding of one text, interleaved, one thread each.

    cmake -B build && cmake --build build
    g++ -std=c++20 -O2 -I. benchmarks/tokenizers.cpp build/libtinytorch.a -lz -o build/tokenizers
    python benchmarks/compare_tokenizers.py --program build/tokenizers --text FILE [--vocab-size N] [--rounds N]

Prints medians in MB/s of processor time (others may use the machine) and their ratio, and fails if the two do not give the same number of merges and tokens. Needs PyPI's tokenizers.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers  # noqa: E402 (after the settings above)


def train(text, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def bert(model):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--vocab-size", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    text = pathlib.Path(arguments.text).read_bytes().decode()
    size = len(text.encode()) / 1e6

    def ours(*call):
        output = subprocess.run([arguments.program, *map(str, call), "1"], check=True, capture_output=True, text=True).stdout.split()
        return float(output[0]), int(output[2])

    def theirs(call):
        start = time.process_time()
        result = call()
        return time.process_time() - start, result

    times = {name: ([], []) for name in ("train", "encode", "wordpiece")}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train(text, arguments.vocab_size)
        tokenizer.model.save(folder)
        files = pathlib.Path(folder, "vocab.json"), pathlib.Path(folder, "merges.txt")
        merges = len(files[1].read_text().splitlines()) - 1
        pieces = bert(models.WordPiece(unk_token="[UNK]"))
        pieces.train_from_iterator([text], trainers.WordPieceTrainer(vocab_size=arguments.vocab_size, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
        pieces.model.save(folder)
        vocabulary = pathlib.Path(folder, "vocab.txt")
        for _ in range(arguments.rounds):
            seconds, count = ours("train", arguments.text, arguments.vocab_size)
            assert count == merges, (count, merges)
            times["train"][0].append(seconds)
            times["train"][1].append(theirs(lambda: train(text, arguments.vocab_size))[0])
            seconds, count = ours("encode", arguments.text, *files)
            times["encode"][0].append(seconds)
            # A fresh one each time: it keeps a cache of words from call to call.
            fresh = Tokenizer(models.BPE.from_file(*map(str, files)))
            fresh.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            seconds, ids = theirs(lambda: fresh.encode(text).ids)
            assert len(ids) == count, (len(ids), count)
            times["encode"][1].append(seconds)
            seconds, count = ours("wordpiece", arguments.text, vocabulary)
            times["wordpiece"][0].append(seconds)
            fresh = bert(models.WordPiece.from_file(str(vocabulary), unk_token="[UNK]"))
            seconds, ids = theirs(lambda: fresh.encode(text).ids)
            assert len(ids) == count, (len(ids), count)
            times["wordpiece"][1].append(seconds)
    print(f"{size:.2f} MB, vocabulary of {arguments.vocab_size}, median of {arguments.rounds} interleaved rounds, one thread each")
    for name, (ours_seconds, theirs_seconds) in times.items():
        mine, other = statistics.median(ours_seconds), statistics.median(theirs_seconds)
        print(f"{name:8} TinyTorch {size / mine:8.2f} MB/s   tokenizers {size / other:8.2f} MB/s   ratio {other / mine:.2f}")


if __name__ == "__main__":
    main()
