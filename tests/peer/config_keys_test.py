#!/usr/bin/env python3
"""config_keys_test.py [--report] CONFIG_DUMP: the parser of config.json beside transformers' classes.

1. Every key that a family's class (or the code that runs it) knows is in model/config_keys.cc: read, refused or without
   effect; every key of GenerationConfig is in model/generation_keys.cc.
2. Drawn configurations, each key absent, null or with other values, in both spellings: what both sides accept they
   understand alike; what the class refuses we refuse, but for the reasons in ACCEPTED_HERE.
3. Spellings that the class accepts and we must as well.
"""
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent))
warnings.filterwarnings("ignore")
import transformers  # noqa: E402
from config_rules import meaning  # noqa: E402

transformers.logging.set_verbosity(transformers.logging.CRITICAL)
CLASSES = {"mixtral": transformers.MixtralConfig, "qwen2_moe": transformers.Qwen2MoeConfig,
           "qwen3_moe": transformers.Qwen3MoeConfig, "olmoe": transformers.OlmoeConfig}
DRAWS = 16000
SMALL = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "num_experts_per_tok": 2, "max_position_embeddings": 1280}
OWN = {"mixtral": {"num_local_experts": 8, "head_dim": 16}, "qwen2_moe": {"num_experts": 12}, "qwen3_moe": {"num_experts": 16, "head_dim": 32},
       "olmoe": {"num_experts": 16}}
FULL, SLIDING = "full_attention", "sliding_attention"
ABSENT = object()

# Values beside "absent" and null. A key that is not here gets OTHERS.
VALUES = {
    "vocab_size": [1, 512, 0, "x", 3.5], "hidden_size": [128, 0, -64], "intermediate_size": [32, 0], "num_hidden_layers": [4, 1, 0],
    "num_attention_heads": [2, 4, 3], "num_key_value_heads": [1, 2, 4, 3, 0], "head_dim": [8, 16, 0, 6], "hidden_act": ["silu", "swish", "gelu", 3],
    "max_position_embeddings": [64, 4096, 0], "rms_norm_eps": [1e-6, 0.5, -1.0], "tie_word_embeddings": [True, False, "no", 1],
    "num_experts_per_tok": [1, 2, 0, 99], "num_local_experts": [4, 16, 0], "num_experts": [4, 16, 0], "moe_intermediate_size": [16, 0],
    "shared_expert_intermediate_size": [0, 24], "norm_topk_prob": [True, False, 1], "decoder_sparse_step": [1, 2, 0, 9],
    "mlp_only_layers": [[], [0], [1, 3], [77], ["a"], 3], "qkv_bias": [True, False], "attention_bias": [True, False],
    "clip_qkv": [1.25, {"__float__": "Infinity"}, "x"], "sliding_window": [16, 0, "x"], "use_sliding_window": [True, False],
    "max_window_layers": [0, 2, 28], "layer_types": [[FULL] * 4, [SLIDING] * 4, [SLIDING, FULL, FULL, SLIDING], ["attention"] * 4, [FULL], ["conv"] * 4],
    "bos_token_id": [1, 299], "eos_token_id": [2, [2, 3], [], "x"], "dtype": ["bfloat16", "torch.float16", 16], "torch_dtype": ["float32"],
    "rope_theta": [1e6, 5e5, 10000, "x"], "partial_rotary_factor": [1.0, 0.5], "original_max_position_embeddings": [1024, 256, "x"],
}
OTHERS = [True, False, 0, 3, "x"]
ROPE_VALUES = {
    "rope_theta": [1e6, 5e5, 1000], "factor": [1.0, 2.0, 4, 2.5, "x"], "original_max_position_embeddings": [1024, 256, 640],
    "attention_factor": [0.5, 1.2], "beta_fast": [32, 16.0, 0], "beta_slow": [1, 2.0, 0], "mscale": [0.707, 1.0], "mscale_all_dim": [1.0, 0.5],
    "truncate": [True, False], "low_freq_factor": [1.0, 2], "high_freq_factor": [4.0, 8], "partial_rotary_factor": [1.0, 0.5],
    "short_factor": [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1, 1]], "long_factor": [[8.0] * 8, [1]], "unheard_of": [3],
}
NEEDED = {"linear": ["factor"], "dynamic": ["factor"], "yarn": ["factor"], "llama3": ["factor", "low_freq_factor", "high_freq_factor"],
          "longrope": ["short_factor", "long_factor"], "default": []}

# Where we read what the class refuses: (reason, what the drawn configuration must look like).
ACCEPTED_HERE = [
    ("null for num_key_value_heads: the class's own code puts the number of heads there, its type check comes first",
     lambda family, config, error: family in ("mixtral", "qwen3_moe") and config.get("num_key_value_heads", 0) is None),
    ("mixtral without head_dim and rope type yarn, dynamic or longrope: the rope functions fail on the default None",
     lambda family, config, error: family == "mixtral" and config.get("head_dim") is None and "NoneType" in error),
]


class Differences:
    def __init__(self, report):
        self.report, self.count = report, 0

    def add(self, *words):
        self.count += 1
        if self.count <= 40:
            print("DIFFERENCE:", *words)

    def exit(self):
        print(f"{self.count} differences")
        return 0 if self.report or self.count == 0 else 1


def known_keys(name, cls):
    """What the class holds, its other names and properties, and what the code around it reads by name."""
    import dataclasses
    keys = {field.name for field in dataclasses.fields(cls)} | set(cls().to_dict()) | set(cls.attribute_map)
    keys |= {key for key in ("rope_scaling", "rope_theta", "torch_dtype", "num_labels", "name_or_path", "use_return_dict", "per_layer_config",
                             "attn_implementation", "experts_implementation", "quantization_config", "original_max_position_embeddings",
                             "partial_rotary_factor")}
    root = pathlib.Path(transformers.__file__).parent
    for path in (root / f"models/{name}/modeling_{name}.py", root / "cache_utils.py", root / "masking_utils.py"):
        keys |= set(re.findall(r'getattr\((?:\w+\.)*\w*config, "([a-z]\w*)"', path.read_text()))
    return keys - {"number_of_conv_states"}  # of layer type conv, which is refused


def check_keys(dump, differences):
    tables = json.loads(subprocess.run([dump, "--keys"], capture_output=True, text=True, check=True).stdout)
    for name, cls in CLASSES.items():
        missing = known_keys(name, cls) - set(tables["config"][name])
        if missing:
            differences.add(name, "keys of the class on none of the three lists:", sorted(missing))
    generation = set(transformers.GenerationConfig().to_dict()) | set(vars(transformers.GenerationConfig()))
    missing = {key for key in generation if not key.startswith("_")} - set(tables["generation"])
    if missing:
        differences.add("GenerationConfig keys on none of the three lists:", sorted(missing))
    return tables


def drawn_rope(random):
    kind = random.choice(list(NEEDED) + ["yarn", "linear"])
    out = {random.choice(["rope_type", "rope_type", "type"]): kind}
    for key in ROPE_VALUES:
        needed = key in NEEDED[kind]
        if random.random() < (0.95 if needed else 0.12):
            usual = random.random() < 0.9
            out[key] = random.choice(ROPE_VALUES[key]) if usual else None
    return out


def draw(random, family, read, refused):
    config = {"model_type": family, **SMALL, **OWN[family]}
    keys = random.sample(read, random.choice([0, 1, 1, 2, 3])) + random.sample(refused, random.random() < 0.05)
    for key in keys:
        value = random.choice([ABSENT, None] + VALUES.get(key, OTHERS) * 2)
        if value is ABSENT:
            config.pop(key, None)
        else:
            config[key] = value
    if random.random() < 0.1:
        config.pop("head_dim", None)
    for key in ("rope_scaling", "rope_parameters"):
        if random.random() < 0.4:
            config[key] = random.choice([None, {}] + [drawn_rope(random) for _ in range(6)])
    if random.random() < 0.3:
        config["rope_theta"] = random.choice(VALUES["rope_theta"][:3])
    if random.random() < 0.15:
        config["original_max_position_embeddings"] = random.choice([1024, 256])
    return config


def loaded(cls, family, config, folder):
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return meaning(cls.from_json_file(path), family)


def alike(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b))
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(a, b, rel_tol=2e-6)
    return a == b


def within(ids, vocab):
    return [i for i in ids if 0 <= i < vocab]


def compare(family, config, ours, theirs, error, counts, differences):
    text = json.dumps(config)
    if theirs is None:
        if "error" in ours:
            counts["both refuse"] += 1
        elif (reason := next((r for r, fits in ACCEPTED_HERE if fits(family, config, error)), None)):
            counts["read here alone: " + reason] += 1
        else:
            differences.add(f"{family}: the class refuses ({error}), we read {text}")
        return
    if "error" in ours:
        counts["refused here alone"] += 1
        return
    counts["both read"] += 1
    theirs["bos"] = within(theirs["bos"], theirs["vocab"])[:1]
    theirs["eos"] = within(theirs["eos"], theirs["vocab"])
    for key, value in theirs.items():
        if not alike(ours[key], value):
            differences.add(f"{family}: {key} is {ours[key]} here, {value} there, of {text}")


def answers(dump, configs):
    done = subprocess.run([dump], input="".join(json.dumps(c) + "\n" for c in configs), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_draws(dump, tables, differences):
    rng = random.Random(20261201)
    with tempfile.TemporaryDirectory() as folder:
        for family, cls in CLASSES.items():
            # Keys without effect may hold anything here, and their types are not looked at.
            roles = tables["config"][family].items()
            read = [k for k, role in roles if role == "read" and k not in ("model_type", "ladder_residual", "pre_gate")]
            refused = [k for k, role in roles if role == "refused"]
            counts = dict.fromkeys(["both read", "both refuse", "refused here alone"] + ["read here alone: " + r for r, _ in ACCEPTED_HERE], 0)
            configs = [draw(rng, family, read, refused) for _ in range(DRAWS // len(CLASSES))]
            for config, ours in zip(configs, answers(dump, configs)):
                try:
                    theirs, error = loaded(cls, family, config, pathlib.Path(folder)), ""
                except Exception as problem:  # whatever the class raises is a refusal
                    theirs, error = None, " ".join(f"{type(problem).__name__}: {problem}".split())[:400]
                compare(family, config, ours, theirs, error, counts, differences)
            print(f"{family}:", ", ".join(f"{what} {n}" for what, n in counts.items() if n))
            if counts["both read"] < DRAWS // len(CLASSES) // 3:
                differences.add(family, "too few configurations that both sides read")


def must_read():
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
    yield "swish", {"hidden_act": "swish"}
    yield "torch.", {"dtype": "torch.bfloat16"}
    yield "legacy layer types", {"layer_types": ["attention"] * 4}
    yield "yarn, v4", {"rope_scaling": yarn, "rope_theta": 1e6}
    yield "yarn, v5", {"rope_parameters": {**yarn, "rope_theta": 1e6}}
    yield "yarn, factor null", {"rope_scaling": {**yarn, "factor": None}}
    yield "yarn, beta_slow 0", {"rope_scaling": {**yarn, "beta_slow": 0}}
    yield "yarn, top-level original", {"rope_scaling": yarn, "original_max_position_embeddings": 512}
    yield "linear", {"rope_scaling": {"type": "linear", "factor": 2.0}}
    yield "dynamic", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}
    yield "llama3 beside default", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rope_theta": 5e5,
                                    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                                     "original_max_position_embeddings": 256}}
    yield "partial_rotary_factor", {"partial_rotary_factor": 0.5}
    yield "infinite coefficient", {"router_aux_loss_coef": {"__float__": "Infinity"}}
    yield "generation settings", {"temperature": 0.5, "num_beams": 4, "max_length": 20}
    yield "unknown keys", {"logit_scale": 3, "auto_map": {"AutoConfig": "x.Y"}, "_my": None}


def check_must_read(dump, differences):
    with tempfile.TemporaryDirectory() as folder:
        for family, cls in CLASSES.items():
            for what, change in must_read():
                config = {"model_type": family, **SMALL, **OWN[family], **change}
                ours = answers(dump, [config])[0]
                theirs = loaded(cls, family, config, pathlib.Path(folder))
                if "error" in ours:
                    differences.add(f"{family}: {what} must be read: {ours['error']}")
                else:
                    compare(family, config, ours, theirs, "", {"both read": 0}, differences)
        saved = {"sliding_window": 0, "use_sliding_window": False}
        ours = answers(dump, [{"model_type": "qwen2_moe", **SMALL, **OWN["qwen2_moe"], **saved}])[0]
        if ours.get("windows") != [0] * 4:
            differences.add("qwen2_moe as transformers saves it:", ours)


def main():
    report, dump = "--report" in sys.argv, sys.argv[-1]
    differences = Differences(report)
    tables = check_keys(dump, differences)
    check_draws(dump, tables, differences)
    check_must_read(dump, differences)
    return differences.exit()


if __name__ == "__main__":
    sys.exit(main())
