#!/bin/bash
# transformers 5.24.0: `rope_scaling` beside `rope_parameters` takes its place as a whole, and a theta that stands in
# `rope_parameters` alone is lost. Both keys are legal, so a folder that was edited by hand runs with another theta.
# Run it by hand: it needs python3 and a package registry. Exits 1 when the behaviour is another one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3 jinja2==3.1.6
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error TMPDIR="$work"
"$work/venv/bin/python" - <<'EOF'
import copy
import sys

import transformers
from transformers import Qwen3MoeConfig

print("transformers", transformers.__version__)


def judge(holds, sentence):
    print(("as found: " if holds else "CHANGED, no longer so: ") + sentence)
    sys.exit(0 if holds else 1)


def rope(**keys):
    # A copy: the class writes the theta that it settles on into the dictionary that it is given.
    found = Qwen3MoeConfig.from_dict({"model_type": "qwen3_moe", **copy.deepcopy(keys)}).rope_parameters
    print(keys, "->", found)
    return found


scaling = {"rope_type": "linear", "factor": 2.0}
inner = {"rope_type": "default", "rope_theta": 5000000.0}
alone = rope(rope_parameters=inner)
both = rope(rope_parameters=inner, rope_scaling=scaling)
top = rope(rope_theta=5000000.0, rope_scaling=scaling)
judge(alone["rope_theta"] == top["rope_theta"] == 5e6 and both["rope_theta"] == 1e4 and both["factor"] == 2.0,
      "with both keys theta is the default 10000, although rope_parameters says 5000000; a theta at top level survives")
EOF
