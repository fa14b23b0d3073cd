#!/bin/bash
# transformers 5.24.0: `add_bos_token` and `add_eos_token` of tokenizer_config.json change nothing where tokenizer.json is there and the
# class is Qwen2Tokenizer or PreTrainedTokenizerFast: neither token is added, and nobody is told.
# Run it by hand: it needs python3 and a package registry. Exits 1 when the behaviour is another one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3 jinja2==3.1.6
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error TMPDIR="$work"
"$work/venv/bin/python" - <<'EOF'
import json
import sys
import tempfile

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer

print("transformers", transformers.__version__, "tokenizers", tokenizers.__version__)


def judge(holds, sentence):
    print(("as found: " if holds else "CHANGED, no longer so: ") + sentence)
    sys.exit(0 if holds else 1)


def folder(config, pre_tokenizer=None, merges=()):
    """A byte-level tokenizer of 256 tokens and what `merges` joins, as a folder."""
    path = tempfile.mkdtemp()
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(path + "/tokenizer.json")
    with open(path + "/tokenizer_config.json", "w") as file:
        json.dump({"bos_token": "<s>", "eos_token": "</s>", **config}, file)
    return path


plain = {}
for name in ("PreTrainedTokenizerFast", "Qwen2Tokenizer"):
    plain[name] = []
    for flags in ({}, {"add_bos_token": True, "add_eos_token": True}):
        ids = AutoTokenizer.from_pretrained(folder({"tokenizer_class": name, **flags}))("ab").input_ids
        print(name, flags, "->", ids)
        plain[name].append(ids)
judge(all(len(ids) == 2 for pair in plain.values() for ids in pair),
      "two tokens for two letters, with the flags and without")
EOF
