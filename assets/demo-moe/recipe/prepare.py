#!/usr/bin/env python3
"""Trains the tokenizer and writes token streams.

Usage: prepare.py CORPUS.jsonl PREPARED

PREPARED gets tokenizer.json, domains.json, train.npy (uint16) and held.npz (one stream a domain).
"""
import argparse
import json
import pathlib
import random

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 8192
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SAMPLE_CHARACTERS = 3_500_000  # a domain, for the tokenizer
HELD_OUT = 0.03


def sample(documents):
    for texts in documents.values():
        seen = 0
        for text in texts:
            if seen > SAMPLE_CHARACTERS:
                break
            seen += len(text)
            yield text


def train_tokenizer(documents):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(sample(documents), trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return tokenizer


def encode(tokenizer, texts, end):
    for i in range(0, len(texts), 2000):
        for encoding in tokenizer.encode_batch(texts[i:i + 2000], add_special_tokens=False):
            yield np.array(encoding.ids + [end], dtype=np.uint16)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("corpus", type=pathlib.Path)
    arguments.add_argument("prepared", type=pathlib.Path)
    options = arguments.parse_args()
    options.prepared.mkdir(parents=True, exist_ok=True)
    documents = {}
    with open(options.corpus, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            documents.setdefault(record["d"], []).append(record["t"])
    rng = random.Random(1)
    tokenizer = train_tokenizer(documents)
    tokenizer.save(str(options.prepared / "tokenizer.json"))
    names = sorted(documents)
    (options.prepared / "domains.json").write_text(json.dumps(names))
    end = tokenizer.token_to_id(SPECIAL_TOKENS[0])
    train, held = [], {}
    for name in names:
        texts = documents[name]
        rng.shuffle(texts)
        kept_back = max(1, int(len(texts) * HELD_OUT))
        held[name] = np.concatenate(list(encode(tokenizer, texts[:kept_back], end)))
        train += encode(tokenizer, texts[kept_back:], end)
    rng.shuffle(train)
    stream = np.concatenate(train)
    np.save(options.prepared / "train.npy", stream)
    np.savez(options.prepared / "held.npz", **held)
    print(f"{len(stream)} training tokens, {sum(map(len, held.values()))} held out")


if __name__ == "__main__":
    main()
