#!/bin/bash
# transformers 5.24.0: a message's `reasoning` also reaches the template as `thinking` and `reasoning_content`, and these two as one
# another, but never as `reasoning`: a template that reads `reasoning` sees nothing of `reasoning_content`.
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


template = "{% for m in messages %}{{ m.keys() | list | sort | join(',') }}{% endfor %}"
tokenizer = AutoTokenizer.from_pretrained(folder({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}))
seen = {}
for name in ("reasoning", "thinking", "reasoning_content"):
    seen[name] = tokenizer.apply_chat_template([{"role": "assistant", "content": "x", name: "why"}], tokenize=False)
    print(name, "->", seen[name])
two = "content,reasoning_content,role,thinking"
judge(seen == {"reasoning": "content,reasoning,reasoning_content,role,thinking", "thinking": two, "reasoning_content": two},
      "reasoning has three names, the other two have two")
EOF
