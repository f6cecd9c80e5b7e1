"""Plausible wrong answers to chapter 9's exercises, each with a piece of the hint meant for it."""

import math

import torch


def keys_and_values(n_layers, latent_dim, rope_dim, batch_size, positions, bits):
    return -(-2 * n_layers * (latent_dim + rope_dim) * batch_size * positions * bits // 8)


def in_bits(n_layers, latent_dim, rope_dim, batch_size, positions, bits):
    return n_layers * (latent_dim + rope_dim) * batch_size * positions * bits


def without_rotary(n_layers, latent_dim, rope_dim, batch_size, positions, bits):
    return -(-n_layers * latent_dim * batch_size * positions * bits // 8)


def one_layer(n_layers, latent_dim, rope_dim, batch_size, positions, bits):
    return -(-(latent_dim + rope_dim) * batch_size * positions * bits // 8)


def one_text(n_layers, latent_dim, rope_dim, batch_size, positions, bits):
    return -(-n_layers * (latent_dim + rope_dim) * positions * bits // 8)


def rounded_down(n_layers, latent_dim, rope_dim, batch_size, positions, bits):
    return n_layers * (latent_dim + rope_dim) * batch_size * positions * bits // 8


def a_float(n_layers, latent_dim, rope_dim, batch_size, positions, bits):
    return n_layers * (latent_dim + rope_dim) * batch_size * positions * bits / 8


def cloned(state):
    new = {name: t.clone() for name, t in state.items()}
    return new, len(new["out_proj.bias"])


def thrown_away(state):
    new, n = cloned(state)
    new["qkv.bias"][n:] = 0
    return new


def as_it_is(state):
    new, n = cloned(state)
    new["out_proj.bias"] += new["qkv.bias"][2 * n:]
    new["qkv.bias"][n:] = 0
    return new


def transposed(state):
    new, n = cloned(state)
    new["out_proj.bias"] += new["out_proj.weight"].T @ new["qkv.bias"][2 * n:]
    new["qkv.bias"][n:] = 0
    return new


def all_three(state):
    new, n = cloned(state)
    new["out_proj.bias"] += new["out_proj.weight"] @ new["qkv.bias"][2 * n:]
    new["qkv.bias"][:] = 0
    return new


def only_keys(state):
    new, n = cloned(state)
    new["qkv.bias"][n:2 * n] = 0
    return new


def in_place(state):
    n = len(state["out_proj.bias"])
    state["out_proj.bias"] += state["out_proj.weight"] @ state["qkv.bias"][2 * n:]
    state["qkv.bias"][n:] = 0
    return state


def root_of_r(q, c, k_up, v_up):
    return v_up @ ((c @ (k_up.T @ q) / math.sqrt(c.shape[1])).softmax(dim=0) @ c)


def no_root(q, c, k_up, v_up):
    return v_up @ ((c @ (k_up.T @ q)).softmax(dim=0) @ c)


def no_softmax(q, c, k_up, v_up):
    return v_up @ (c @ (k_up.T @ q) / math.sqrt(len(q)) @ c)


def expanded(q, c, k_up, v_up):
    return (c @ k_up.T @ q / math.sqrt(len(q))).softmax(dim=0) @ (c @ v_up.T)


def without_v_up(q, c, k_up, v_up):
    return (c @ (k_up.T @ q) / math.sqrt(len(q))).softmax(dim=0) @ c


def for_large_s(S, r, D):
    return S if r <= D else min(S, r * D // (r - D))


def not_capped(S, r, D):
    factor = r * D + S * (r - D)
    return S * r * D // factor if factor > 0 else 10**9


def narrow_latents_forgotten(S, r, D):
    factor = r * D + S * (r - D)
    return 1 if factor <= 0 else min(S, S * r * D // factor)


def fraction(S, r, D):
    factor = r * D + S * (r - D)
    return S if factor <= 0 else min(float(S), S * r * D / factor)


def one_less(S, r, D):
    factor = r * D + S * (r - D)
    return S if factor <= 0 else min(S, (S * r * D - 1) // factor)


def rank_from(kv, error):
    return max(1, kv.shape[1] - int((torch.linalg.eigvalsh(kv.T @ kv / len(kv)).cumsum(0) <= error).sum()))


def not_centred(kv, error):
    return rank_from(kv, error)


def sum_over_rows(kv, error):
    return rank_from((kv - kv.mean(dim=0)) * len(kv)**0.5, error)


def roots(kv, error):
    centred = kv - kv.mean(dim=0)
    left_out = torch.linalg.eigvalsh(centred.T @ centred / len(kv)).clamp_min(0).sqrt().cumsum(0)
    return max(1, kv.shape[1] - int((left_out <= error).sum()))


def left_out(kv, error):
    centred = kv - kv.mean(dim=0)
    return int((torch.linalg.eigvalsh(centred.T @ centred / len(kv)).cumsum(0) <= error).sum())


def zero_allowed(kv, error):
    centred = kv - kv.mean(dim=0)
    return kv.shape[1] - int((torch.linalg.eigvalsh(centred.T @ centred / len(kv)).cumsum(0) <= error).sum())


def one_more(kv, error):
    return rank_from(kv - kv.mean(dim=0), error) + 1


WRONG = {
    "9.1": [(keys_and_values, "kept once, not twice"), (in_bits, "number of bits"), (without_rotary, "rotary numbers"),
            (one_layer, "layers has a cache of its own"), (one_text, "texts of the batch"), (rounded_down, "round up"),
            (a_float, "is an integer")],
    "9.2": [(thrown_away, "was thrown away"), (as_it_is, "passes through out_proj.weight"), (transposed, "the transpose"),
            (all_three, "They do matter"), (only_keys, "biases of values should be zero"), (in_place, "Clone the tensors")],
    "9.3": [(root_of_r, "divided by the root of r"), (no_root, "not divided by the root of D"), (no_softmax, "without a softmax"),
            (expanded, "the keys or the values"), (without_v_up, "forget v_up")],
    "9.4": [(for_large_s, "rule for large S"), (not_capped, "cheaper for every T"), (narrow_latents_forgotten, "cheaper for every T"),
            (fraction, "is an integer"), (one_less, "still counts")],
    "9.5": [(not_centred, "subtract it first"), (sum_over_rows, "mean over rows"), (roots, "not of their roots"),
            (left_out, "may be left out"), (zero_allowed, "at least 1"), (one_more, "One direction fewer")],
}
