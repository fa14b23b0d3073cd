#!/usr/bin/env python3
"""Trains a small mixture-of-experts language model in the Qwen3-MoE layout on one GPU, for a given time.

Usage: train.py --data PREPARED --out MODEL [--arch standard|ladder|pregated] [--seconds 440]
"""
import argparse
import json
import math
import pathlib
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

GROUPED_MM = getattr(F, "grouped_mm", None) or torch._grouped_mm
CHAT_TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
                 "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--arch", choices=["standard", "ladder", "pregated"], default="standard")
    for name, default in dict(vocab=8192, layers=8, hidden=192, heads=6, kv_heads=2, head_dim=32, experts=32, top_k=4, width=64,
                              seconds=440.0, batch=256, sequence=512, aux=0.01, lr=3e-3).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    return parser.parse_args()


def rms_norm(x, weight, eps=1e-6):
    xf = x.float()
    return (xf * torch.rsqrt(xf.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype) * weight.to(x.dtype)


def rope_table(length, head_dim, device, theta=10000.0):
    frequency = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    angle = torch.arange(length, device=device).float()[:, None] * frequency
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos.to(x.dtype) + torch.cat([-x[..., half:], x[..., :half]], -1) * sin.to(x.dtype)


class Attention(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.o = o
        self.q = nn.Linear(o.hidden, o.heads * o.head_dim, bias=False)
        self.k = nn.Linear(o.hidden, o.kv_heads * o.head_dim, bias=False)
        self.v = nn.Linear(o.hidden, o.kv_heads * o.head_dim, bias=False)
        self.out = nn.Linear(o.heads * o.head_dim, o.hidden, bias=False)
        self.q_norm, self.k_norm = nn.Parameter(torch.ones(o.head_dim)), nn.Parameter(torch.ones(o.head_dim))
        self.norm = nn.Parameter(torch.ones(o.hidden))

    def forward(self, x, cos, sin):
        o, (batch, length, _) = self.o, x.shape
        x = rms_norm(x, self.norm)
        heads = lambda t, n: t.view(batch, length, n, o.head_dim)
        q = rotate(rms_norm(heads(self.q(x), o.heads), self.q_norm).transpose(1, 2), cos, sin)
        k = rotate(rms_norm(heads(self.k(x), o.kv_heads), self.k_norm).transpose(1, 2), cos, sin)
        v = heads(self.v(x), o.kv_heads).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, -1))


class Experts(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.o = o
        self.gate = nn.Linear(o.hidden, o.experts, bias=False)
        self.gate_up = nn.Parameter(torch.randn(o.experts, 2 * o.width, o.hidden) * 0.02)
        self.down = nn.Parameter(torch.randn(o.experts, o.hidden, o.width) * 0.02 / math.sqrt(2 * o.layers))
        self.norm = nn.Parameter(torch.ones(o.hidden))

    def route(self, x):
        probabilities = F.linear(x.float(), self.gate.weight.float()).softmax(-1)
        weights, ids = probabilities.topk(self.o.top_k, -1)
        return probabilities, weights / weights.sum(-1, keepdim=True), ids

    def forward(self, x, weights, ids):
        """x [n, hidden] normalised. Rows are sorted by expert into segments padded to 16, as the grouped product wants."""
        o, n = self.o, x.shape[0]
        flat = ids.reshape(-1)
        order = torch.argsort(flat, stable=True)
        counts = torch.zeros(o.experts, device=x.device, dtype=torch.int64).scatter_add_(0, flat, torch.ones_like(flat))
        padded = (counts + 15) // 16 * 16
        ends = padded.cumsum(0)
        first = counts.cumsum(0) - counts
        expert = flat[order]
        place = (ends - padded)[expert] + torch.arange(n * o.top_k, device=x.device) - first[expert]
        rows = n * o.top_k + o.experts * 16
        offsets = ends.to(torch.int32).clone()
        offsets[-1] = rows
        token = order // o.top_k
        gathered = torch.zeros(rows, o.hidden, device=x.device, dtype=torch.bfloat16).index_copy(0, place, x.to(torch.bfloat16)[token])
        hidden = GROUPED_MM(gathered, self.gate_up.to(torch.bfloat16).transpose(-2, -1), offs=offsets)
        active = F.silu(hidden[:, :o.width]) * hidden[:, o.width:]
        y = GROUPED_MM(active.contiguous(), self.down.to(torch.bfloat16).transpose(-2, -1), offs=offsets)
        weighted = y[place] * weights.reshape(-1)[order][:, None].to(torch.bfloat16)
        return torch.zeros(n, o.hidden, device=x.device).index_add(0, token, weighted.float())


def balance_loss(o, probabilities, ids):
    share = torch.zeros(o.experts, device=probabilities.device).scatter_add_(
        0, ids.reshape(-1), torch.ones(ids.numel(), device=probabilities.device)) / ids.shape[0]
    return o.experts * (share * probabilities.mean(0)).sum() / o.top_k


class Model(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.o = o
        self.embedding = nn.Embedding(o.vocab, o.hidden)
        self.attention = nn.ModuleList(Attention(o) for _ in range(o.layers))
        self.moe = nn.ModuleList(Experts(o) for _ in range(o.layers))
        self.norm = nn.Parameter(torch.ones(o.hidden))
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * o.layers) if name.endswith("out.weight") else 1))
        nn.init.normal_(self.embedding.weight, std=0.02)

    def run_moe(self, layer, stream, state):
        block = self.moe[layer]
        x = rms_norm(stream, block.norm).reshape(-1, self.o.hidden)
        if self.o.arch == "pregated":  # the gate of layer l picks the experts of layer l + 1; layer 0 also has its own
            chosen = block.route(x) if layer == 0 else state["next"]
            if layer + 1 < self.o.layers:
                state["next"] = self.moe[layer + 1].route(x)
        else:
            chosen = block.route(x)
        probabilities, weights, ids = chosen
        state["aux"] = state["aux"] + balance_loss(self.o, probabilities, ids)
        return block(x, weights, ids).view_as(stream).to(torch.bfloat16)

    def forward(self, tokens):
        o, state = self.o, {"aux": 0.0}
        cos, sin = rope_table(tokens.shape[1], o.head_dim, tokens.device)
        x = self.embedding(tokens).to(torch.bfloat16)
        pending = None  # ladder: the previous module's output, not yet in the stream that the next one reads
        for layer in range(o.layers):
            for module in (lambda s: self.attention[layer](s, cos, sin), lambda s: self.run_moe(layer, s, state)):
                output = module(x)
                if o.arch != "ladder":
                    x = x + output
                    continue
                if pending is not None:
                    x = x + pending
                pending = output
        if pending is not None:
            x = x + pending
        return F.linear(rms_norm(x, self.norm), self.embedding.weight.to(torch.bfloat16)), state["aux"] / o.layers


def train(model, o, device):
    data = torch.from_numpy(np.load(o.data / "train.npy").astype(np.int32)).to(device)
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=o.lr, betas=(0.9, 0.95), fused=True)
    generator = torch.Generator(device=device)
    generator.manual_seed(1)
    start, step = time.time(), 0
    while (progress := (time.time() - start) / o.seconds) < 1:
        rate = o.lr * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * progress)) * 0.97 + 0.03)
        for group in optimizer.param_groups:
            group["lr"] = rate
        begin = torch.randint(0, len(data) - o.sequence - 1, (o.batch,), device=device, generator=generator)
        tokens = data[begin[:, None] + torch.arange(o.sequence + 1, device=device)]
        with torch.autocast("cuda", dtype=torch.bfloat16):
            logits, aux = model(tokens[:, :-1].long())
        loss = F.cross_entropy(logits.reshape(-1, o.vocab).float(), tokens[:, 1:].reshape(-1).long())
        (loss + o.aux * aux).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 200 == 0:
            print(f"step {step}, {time.time() - start:.0f} s, loss {loss.item():.3f}", flush=True)
    return step


@torch.no_grad()
def held_out_losses(model, o, device, tokens_per_domain=6000):
    model.eval()
    losses = {}
    held = np.load(o.data / "held.npz")
    for name in json.loads((o.data / "domains.json").read_text()):
        stream = held[name].astype(np.int64)
        count = min(len(stream) // o.sequence, max(1, tokens_per_domain // o.sequence))
        if count == 0:
            continue
        tokens = torch.from_numpy(stream[:count * o.sequence]).view(count, o.sequence).to(device)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            logits, _ = model(tokens)
        losses[name] = F.cross_entropy(logits[:, :-1].reshape(-1, o.vocab).float(), tokens[:, 1:].reshape(-1)).item()
    return losses


def tensors(model, o):
    store = lambda t: t.detach().to(torch.bfloat16).cpu().contiguous()
    out = {"model.embed_tokens.weight": store(model.embedding.weight), "model.norm.weight": store(model.norm)}
    for layer in range(o.layers):
        prefix, attention, moe = f"model.layers.{layer}.", model.attention[layer], model.moe[layer]
        out[prefix + "input_layernorm.weight"] = store(attention.norm)
        out[prefix + "post_attention_layernorm.weight"] = store(moe.norm)
        for ours, theirs in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("out", "o_proj")):
            out[prefix + f"self_attn.{theirs}.weight"] = store(getattr(attention, ours).weight)
        out[prefix + "self_attn.q_norm.weight"] = store(attention.q_norm)
        out[prefix + "self_attn.k_norm.weight"] = store(attention.k_norm)
        if o.arch != "pregated" or layer == 0:
            out[prefix + "mlp.gate.weight"] = store(moe.gate.weight)
        if o.arch == "pregated" and layer + 1 < o.layers:
            out[prefix + "mlp.pre_gate.weight"] = store(model.moe[layer + 1].gate.weight)
        for expert in range(o.experts):
            name = prefix + f"mlp.experts.{expert}."
            out[name + "gate_proj.weight"] = store(moe.gate_up[expert, :o.width])
            out[name + "up_proj.weight"] = store(moe.gate_up[expert, o.width:])
            out[name + "down_proj.weight"] = store(moe.down[expert])
    return out


def config(o):
    values = dict(architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", vocab_size=o.vocab, hidden_size=o.hidden,
                  intermediate_size=o.width * o.top_k, num_hidden_layers=o.layers, num_attention_heads=o.heads,
                  num_key_value_heads=o.kv_heads, head_dim=o.head_dim, hidden_act="silu", max_position_embeddings=2048,
                  rms_norm_eps=1e-6, rope_theta=10000.0, tie_word_embeddings=True, attention_bias=False, decoder_sparse_step=1,
                  moe_intermediate_size=o.width, num_experts_per_tok=o.top_k, num_experts=o.experts, norm_topk_prob=True,
                  mlp_only_layers=[], use_sliding_window=False, bos_token_id=0, eos_token_id=[0, 2], pad_token_id=0,
                  torch_dtype="bfloat16")
    if o.arch != "standard":
        values["model_type"] = "qwen3_moe_ext"
        values.update({"ladder_residual": True} if o.arch == "ladder" else {"pre_gate": {"distance": 1}})
    return values


def save(model, o, report):
    o.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors(model, o), o.out / "model.safetensors", metadata={"format": "pt"})
    files = {"config.json": config(o), "training.json": report,
             "generation_config.json": {"bos_token_id": 0, "eos_token_id": [0, 2], "pad_token_id": 0, "do_sample": True,
                                        "temperature": 0.7, "top_p": 0.9},
             "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "eos_token": "<|im_end|>",
                                       "pad_token": "<|endoftext|>", "add_bos_token": False, "model_max_length": 2048,
                                       "chat_template": CHAT_TEMPLATE}}
    for name, content in files.items():
        (o.out / name).write_text(json.dumps(content, indent=2))
    shutil.copy(o.data / "tokenizer.json", o.out / "tokenizer.json")


def main():
    o = parse_arguments()
    device = torch.device("cuda")
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    model = Model(o).to(device)
    steps = train(model, o, device)
    losses = held_out_losses(model, o, device)
    print(f"{steps} steps; held-out loss {sum(losses.values()) / len(losses):.4f}")
    save(model, o, {"arch": o.arch, "steps": steps, "tokens": steps * o.batch * o.sequence,
                    "params": sum(p.numel() for p in model.parameters()), "heldout": losses})


if __name__ == "__main__":
    main()
