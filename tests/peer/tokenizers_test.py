#!/usr/bin/env python3
"""tokenizers_test.py [--report] PROGRAM: 500 drawn tokenizer folders, read by transformers and by PROGRAM (tokenizer_batch).

Ids with and without special tokens, decoding with and without skipping them, the named special tokens (what chat templates
see) and the eos id must be equal. A folder that transformers refuses to read is counted and not compared.
--report prints differences without failing.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
warnings.filterwarnings("ignore")

from transformers import AutoTokenizer  # noqa: E402

SEED, FOLDERS = 20261201, 500
CLASSES = ["PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer", "Qwen2Tokenizer", "Qwen2TokenizerFast",
           "GPTNeoXTokenizerFast", "GPTNeoXTokenizer", "GPT2Tokenizer", "GPT2TokenizerFast", "LlamaTokenizer", "LlamaTokenizerFast",
           "GemmaTokenizer", "CohereTokenizerFast", "SomeoneElsesTokenizer", None]
TYPES = ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe"]
# No two of them are equal in lower case: tokenizers 0.23 then finds one or the other, by chance.
CONTENTS = ["<x>", "<y>", "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<s>", "</s>", "<unk>", "<pad>", "tool", "he", "a", "Ärger",
            "<im g>", "  ", "[MASK]", "é"]
WORDS = ["hello", "the", "Help", "a", "b", " ", "  ", "\n", "\t", "tool", "toolbox", "Ärger", "ä", "e\u0301", "漢字", "🙂", "12", "3 4", "it's",
         "we'LL", "...", "<", ">", ".", "\u00a0", "\u2581", "ﬁ", "X", "hehe"] + CONTENTS
MERGES = ["h e", "l l", "he ll", "hell o", "t h", "th e", "i t", "e r"]


def alphabet():
    """The 256 characters of byte-level vocabularies."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]


def model_part(r, first, merges, extra, **options):
    vocab = {token: i for i, token in enumerate(dict.fromkeys(first))}
    for merge in merges:
        vocab.setdefault(merge.replace(" ", ""), len(vocab))
    for token in extra:
        vocab.setdefault(token, len(vocab))
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab,
            "merges": [m.split(" ") for m in merges], **options}


def byte_level(prefix, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def bytes_file(r):
    wanted, merges, words = r.sample(MERGES, r.randint(0, len(MERGES))), [], set()
    for merge in MERGES:
        if merge in wanted and all(len(part) == 1 or part in words for part in merge.split(" ")):
            merges.append(merge)
            words.add(merge.replace(" ", ""))
    split = {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}|\s+|[^\s\p{N}]+"}, "behavior": "Isolated", "invert": False}
    pre = r.choice([byte_level(False), byte_level(True), {"type": "Sequence", "pretokenizers": [split, byte_level(False, False)]}])
    return {"model": model_part(r, alphabet(), merges, r.sample(CONTENTS, r.randint(0, 3)), ignore_merges=r.random() < 0.1),
            "normalizer": r.choice([None, None, {"type": "NFC"}, {"type": "Lowercase"}]), "pre_tokenizer": pre,
            "decoder": byte_level(True)}


def pieces_file(r):
    chars = [chr(c) for c in range(0x20, 0x7F)] + ["▁", "Ä", "ä", "é"]
    first = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + chars
    merges = [*MERGES[:r.randint(0, len(MERGES))], *r.choice([[], ["▁ a", "▁ t"]])]
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    mark = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": r.choice(["always", "first", "never"]), "split": r.random() < 0.5}
    normalizer, pre = r.choice([({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]}, None), (None, mark), (space, None)])
    steps = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
             {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    return {"model": model_part(r, first, merges, r.sample(CONTENTS, r.randint(0, 3)), unk_token="<unk>", fuse_unk=r.random() < 0.8,
                                byte_fallback=r.random() < 0.8),
            "normalizer": normalizer, "pre_tokenizer": pre, "decoder": {"type": "Sequence", "decoders": steps[:r.choice([3, 4])]}}


def flags(r, full=True):
    drawn = {"single_word": r.random() < 0.2, "lstrip": r.random() < 0.25, "rstrip": r.random() < 0.25, "normalized": r.random() < 0.3,
             "special": r.random() < 0.7}
    return drawn if full else {k: v for k, v in drawn.items() if r.random() < 0.6}


def template(r, file, ids):
    content = r.choice(sorted(ids))
    part = {"SpecialToken": {"id": content, "type_id": 0}}
    single = [{"Sequence": {"id": "A", "type_id": 0}}]
    single.insert(r.choice([0, 1]), part)
    return {"type": "TemplateProcessing", "single": single, "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {content: {"id": content, "ids": [ids[content]], "tokens": [content]}}}


def tokenizer_file(r):
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], **r.choice([bytes_file, bytes_file, pieces_file])(r)}
    vocab, ids = file["model"]["vocab"], {}
    for content in r.sample(CONTENTS, r.randint(0, 5)):
        ids[content] = vocab.get(content, max(len(vocab) - 1, *ids.values(), 0) + 1 if ids else len(vocab))
        file["added_tokens"].append({"id": ids[content], "content": content, **flags(r)})
    file["added_tokens"].sort(key=lambda token: token["id"])
    if ids and r.random() < 0.5:
        file["post_processor"] = template(r, file, ids)
    else:
        file["post_processor"] = r.choice([None, byte_level(True)])
    if r.random() < 0.05:
        file["padding"] = {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}
    return file


def token(r, typed):
    content = r.choice(CONTENTS)
    if r.random() < 0.6:
        return content
    return {"content": content, **flags(r, False), **({"__type": "AddedToken"} if typed else {})}


def special_fields(r, typed):
    out = {}
    for key in ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"):
        if r.random() < (0.5 if key in ("bos_token", "eos_token") else 0.15):
            out[key] = token(r, typed) if r.random() < 0.9 or not typed else None
    return out


def config_file(r, file):
    config = special_fields(r, True)
    if r.random() < 0.85:
        config["tokenizer_class"] = r.choice(CLASSES)
    if r.random() < 0.3:
        config["additional_special_tokens"] = [token(r, True) for _ in range(r.randint(0, 3))]
    if r.random() < 0.25:
        config["extra_special_tokens"] = r.choice([[token(r, True) for _ in range(r.randint(0, 3))],
                                                   {f"{name}_token": r.choice(CONTENTS) for name in r.sample(["image", "video", "boi"], 2)},
                                                   {"think": r.choice(CONTENTS)}])
    if r.random() < 0.2:
        config["image_token"] = token(r, True)
    if r.random() < 0.4:
        known = {t["id"]: t["content"] for t in file["added_tokens"]} if r.random() < 0.7 else {}
        at = len(file["model"]["vocab"]) + len(file["added_tokens"])
        for _ in range(r.randint(0, 3)):
            known[at] = r.choice(CONTENTS)
            at += r.randint(1, 3)
        config["added_tokens_decoder"] = {str(i): {"content": c, **flags(r, r.random() < 0.7)} for i, c in known.items()}
    for key, values in (("add_bos_token", [True, False]), ("add_eos_token", [True, False]), ("split_special_tokens", [True, False]),
                        ("clean_up_tokenization_spaces", [True, False]), ("add_prefix_space", [True, False]), ("legacy", [True, False])):
        if r.random() < 0.15:
            config[key] = r.choice(values)
    return shuffled(r, config)


def shuffled(r, fields):
    keys = list(fields)
    r.shuffle(keys)
    return {key: fields[key] for key in keys}


def map_file(r):
    fields = special_fields(r, False)
    if r.random() < 0.3:
        fields["additional_special_tokens"] = r.sample(CONTENTS, 2)
    if r.random() < 0.2:
        fields["extra_special_tokens"] = r.choice([[token(r, False), "<y>"], {"think": "<x>"}])
    return shuffled(r, fields)


def texts(r):
    return ["", *("".join(r.choice(WORDS) for _ in range(r.randint(1, 8))) for _ in range(6))]


def draw(r, folder):
    file = tokenizer_file(r)
    out = {"tokenizer.json": file, "config.json": {"model_type": r.choice(TYPES)}}
    if r.random() < 0.9:
        out["tokenizer_config.json"] = config_file(r, file)
    if r.random() < 0.4:
        out["special_tokens_map.json"] = map_file(r)
    if r.random() < 0.25:
        at = len(file["model"]["vocab"]) + r.randint(0, 4)
        out["added_tokens.json"] = {content: at + i for i, content in enumerate(r.sample(CONTENTS, r.randint(1, 3)))}
    folder.mkdir()
    for name, value in out.items():
        (folder / name).write_text(json.dumps(value, ensure_ascii=r.random() < 0.5))
    size = len(file["model"]["vocab"]) + 12
    ids = [[r.randrange(size) if r.random() < 0.4 else r.randrange(size - 20, size) for _ in range(r.randint(0, 12))] for _ in range(3)]
    return {"folder": str(folder), "texts": texts(r), "ids": ids}


def expected(job):
    try:
        tokenizer = AutoTokenizer.from_pretrained(job["folder"])
        return {"with": [tokenizer(text)["input_ids"] for text in job["texts"]],
                "without": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in job["texts"]],
                "shown": [tokenizer.decode(ids) for ids in job["ids"]],
                "skipped": [tokenizer.decode(ids, skip_special_tokens=True) for ids in job["ids"]],
                "named": tokenizer.special_tokens_map, "eos": tokenizer.eos_token_id}
    except Exception as error:  # whatever the package raises on a folder it does not like
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def difference(job, theirs, ours):
    if "error" in ours:
        return f"refused here: {ours['error']}"
    for key in ("named", "eos", "with", "without", "shown", "skipped"):
        if theirs[key] == ours[key]:
            continue
        if key in ("named", "eos"):
            return f"{key}: expected {theirs[key]}, got {ours[key]}"
        at = next(i for i, pair in enumerate(zip(theirs[key], ours[key])) if pair[0] != pair[1])
        asked = job["texts" if key in ("with", "without") else "ids"][at]
        return f"{key} of {asked!r}: expected {theirs[key][at]!r}, got {ours[key][at]!r}"
    return None


def main():
    report, program = "--report" in sys.argv, sys.argv[-1]
    r = random.Random(SEED)
    folders, keep = int(os.environ.get("PEER_FOLDERS", FOLDERS)), os.environ.get("PEER_KEEP")
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(keep or root)
        jobs = [draw(r, root / str(i)) for i in range(folders)]
        done = subprocess.run([program], input=json.dumps(jobs), capture_output=True, text=True, timeout=240)
        if done.returncode != 0:
            print(f"the program ended with {done.returncode}: {done.stderr[-2000:]}")
            return 1
        ours = [json.loads(line) for line in done.stdout.rstrip("\n").split("\n")]
        theirs = [expected(job) for job in jobs]
    if len(ours) != len(jobs):
        print(f"{len(ours)} answers for {len(jobs)} folders")
        return 1
    refused = [i for i, answer in enumerate(theirs) if "error" in answer]
    found = [(i, text) for i, (job, a, b) in enumerate(zip(jobs, theirs, ours)) if "error" not in a and (text := difference(job, a, b))]
    print(f"{len(jobs)} folders; transformers refuses {len(refused)}; of the others {len(found)} differ")
    for i, text in found[:20]:
        print(f"folder {i}: {text}")
    enough = len(refused) < len(jobs) // 3
    if not enough:
        print("transformers refuses so many folders that the comparison says little:", theirs[refused[0]]["error"])
    return 0 if report else int(bool(found) or not enough)


if __name__ == "__main__":
    sys.exit(main())
