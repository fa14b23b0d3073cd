"""What a transformers config object means for the arithmetic, worked out from its class's values.

The frequencies are our own float64 formulas over what the class holds after loading (its functions need torch).
A value that makes the model class fail there raises here.
"""
import math


def rope(config, head_dim):
    """(type, theta, inverse frequencies, attention factor, window) of a loaded configuration."""
    config.standardize_rope_params()  # as each of the class's own rope functions does first
    values = config.rope_parameters
    kind, theta = values["rope_type"], values["rope_theta"]
    if kind == "default":  # the classes' own function: it reads theta and the head's size alone
        return kind, theta, plain(theta, head_dim), 1.0, config.max_position_embeddings
    if int(head_dim * values.get("partial_rotary_factor", 1.0)) != head_dim:
        raise ValueError("cos and sin are narrower than the head they multiply")
    trained = config.max_position_embeddings
    if kind in ("dynamic", "yarn", "longrope") and getattr(config, "head_dim", 0) is None:
        raise TypeError("these functions multiply the head_dim that the class holds, here NoneType")
    if kind == "linear":
        factor = values["factor"]
        return kind, theta, [f / factor for f in plain(theta, head_dim)], 1.0, int(trained * factor)
    if kind == "dynamic":
        values["factor"] / 1
        return kind, theta, plain(theta, head_dim), 1.0, trained  # beyond, frequencies change with the length
    if kind == "yarn":
        return kind, theta, *yarn(values, theta, head_dim, trained)
    if kind == "llama3":
        return kind, theta, llama3(values, theta, head_dim), 1.0, trained
    if kind == "longrope":
        return kind, theta, *longrope(values, theta, head_dim, trained)
    raise KeyError(kind)


def plain(theta, dim):
    return [1.0 / theta ** (i / dim) for i in range(0, dim, 2)]


def magnitude(factor, scale=1.0):
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def yarn(values, theta, dim, trained):
    factor, original = values["factor"], values["original_max_position_embeddings"]
    if factor is None:
        factor = trained / original
    attention = values.get("attention_factor")
    if attention is None:
        scale, everywhere = values.get("mscale"), values.get("mscale_all_dim")
        attention = magnitude(factor, scale) / magnitude(factor, everywhere) if scale and everywhere else magnitude(factor)

    def dimension(rotations):
        return dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(values.get("beta_fast") or 32), dimension(values.get("beta_slow") or 1)
    if values.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001
    out = []
    for i, f in enumerate(plain(theta, dim)):
        ramp = min(max((i - low) / (high - low), 0), 1)
        out.append(f / factor * ramp + f * (1 - ramp))
    return out, attention, int(original * factor)


def llama3(values, theta, dim):
    factor, low, high = values["factor"], values["low_freq_factor"], values["high_freq_factor"]
    original, out = values["original_max_position_embeddings"], []
    for f in plain(theta, dim):
        wave = 2 * math.pi / f
        if wave > original / low:
            out.append(f / factor)
        elif wave < original / high:
            out.append(f)
        else:
            smooth = (original / wave - low) / (high - low)
            out.append((1 - smooth) * f / factor + smooth * f)
    return out


def longrope(values, theta, dim, trained):
    original, short = values["original_max_position_embeddings"], values["short_factor"]
    factor = values.get("factor")
    if factor is None:
        factor = trained / original
    attention = values.get("attention_factor")
    if attention is None:
        attention = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    if len(short) != dim // 2 or len(values["long_factor"]) != dim // 2:
        raise ValueError("lists of the wrong length")
    # Up to the original length; longer sequences have the long factors throughout.
    return [f / s for f, s in zip(plain(theta, dim), short)], attention, min(original, trained)


def sliding_windows(config, family):
    layers = config.num_hidden_layers
    types = getattr(config, "layer_types", None)
    if family == "qwen2_moe":
        windows = [config.sliding_window if t == "sliding_attention" else 0 for t in types]
        if any(t == "sliding_attention" and not config.sliding_window for t in types):
            raise ValueError("a sliding layer without a window")
        return windows
    window = getattr(config, "sliding_window", None)
    if window == 0:
        raise ValueError("a window of 0 masks everything")
    if types and "sliding_attention" in types and window is None:
        raise ValueError("a sliding cache without a window")
    return [window or 0] * layers


def meaning(config, family):
    """The same names as config_dump prints."""
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    head_dim = config.hidden_size // heads
    if family == "mixtral":
        head_dim = config.head_dim or head_dim
    else:
        head_dim = getattr(config, "head_dim", head_dim)
    heads // kv_heads * head_dim  # a null fails in the class as well
    kind, theta, frequencies, attention, window = rope(config, head_dim)
    qwen = family.startswith("qwen")
    layers = range(config.num_hidden_layers)
    moe = [l for l in layers if not qwen or (l not in config.mlp_only_layers and (l + 1) % config.decoder_sparse_step == 0)]
    bias = config.attention_bias if family in ("qwen3_moe", "olmoe") else False
    clip = getattr(config, "clip_qkv", None) if family == "olmoe" else None
    ids = lambda value: [] if value is None else value if isinstance(value, list) else [value]
    return {
        "vocab": config.vocab_size, "hidden": config.hidden_size, "layers": config.num_hidden_layers, "heads": heads,
        "kv_heads": kv_heads, "head_dim": head_dim, "window": window, "norm_eps": config.rms_norm_eps,
        "qkv_bias": config.qkv_bias if family == "qwen2_moe" else bias, "o_bias": bias,
        "clip_qkv": 0 if clip in (None, math.inf) else clip, "tied": config.tie_word_embeddings,
        "experts": config.num_local_experts if family == "mixtral" else config.num_experts, "top_k": config.num_experts_per_tok,
        "normalize_top_k": True if family == "mixtral" else config.norm_topk_prob,
        "expert_width": config.moe_intermediate_size if qwen else config.intermediate_size,
        "shared_width": config.shared_expert_intermediate_size if family == "qwen2_moe" else 0, "moe_layers": moe,
        "dense_width": config.intermediate_size if qwen and len(moe) < len(layers) else 0,
        "rope_type": kind, "theta": theta, "inverse_freq": frequencies, "attention_factor": attention,
        "windows": sliding_windows(config, family),
        "bos": ids(config.bos_token_id), "eos": ids(config.eos_token_id),
    }
