"""Plausible wrong answers to chapter 10's exercises, each with a piece of the hint meant for it."""

import torch


def top_left(T, S, W):
    i, j = torch.arange(T)[:, None], torch.arange(S)
    return (j <= i) & (i - j < W)


def one_too_many(T, S, W):
    i, j = S - T + torch.arange(T)[:, None], torch.arange(S)
    return (j <= i) & (i - j <= W)


def without_itself(T, S, W):
    i, j = S - T + torch.arange(T)[:, None], torch.arange(S)
    return (j < i) & (i - j <= W)


def causal_only(T, S, W):
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def both_sides(T, S, W):
    i, j = S - T + torch.arange(T)[:, None], torch.arange(S)
    return (i - j).abs() < W


def as_numbers(T, S, W):
    i, j = S - T + torch.arange(T)[:, None], torch.arange(S)
    return ((j <= i) & (i - j < W)).float()


def square(T, S, W):
    i, j = torch.arange(S)[:, None], torch.arange(S)
    return torch.cat([(j <= i) & (i - j < W)] * 2)


def in_order(n, W):
    return list(range(n - W, n))


def only_filled(n, W):
    return [p for p in range(max(0, n - W), n)]


def from_one(n, W):
    slots = [None] * W
    for p in range(max(1, n - W + 1), n + 1):
        slots[p % W] = p
    return slots


def first_come(n, W):
    return [p if p < n else None for p in range(W)]


def reversed_ring(n, W):
    slots = [None] * W
    for p in range(max(0, n - W), n):
        slots[W - 1 - p % W] = p
    return slots


def l_times_w(pattern, n_layers, W, n):
    return n - 1 if "G" in pattern else min(n_layers * W, n - 1)


def beyond_the_text(pattern, n_layers, W, n):
    return n - 1 if "G" in pattern else n_layers * (W - 1)


def one_layer(pattern, n_layers, W, n):
    return n - 1 if "G" in pattern else min(W - 1, n - 1)


def local_layers_only(pattern, n_layers, W, n):
    return min(sum(W - 1 for i in range(n_layers) if pattern[i % len(pattern)] == "L"), n - 1)


def with_itself(pattern, n_layers, W, n):
    return n if "G" in pattern else min(n_layers * (W - 1), n - 1)


def any_g(pattern, n_layers, W, n):
    return n - 1 if "G" in pattern else min(n_layers * (W - 1), n - 1)


def room(letter, W, max_length):
    return max_length if letter == "G" else min(W, max_length)


def repeated(pattern, n_layers):
    return [pattern[i % len(pattern)] for i in range(n_layers)]


def keys_only(pattern, n_layers, W, max_length, K, D, bytes_per_number):
    return K * D * bytes_per_number * sum(room(letter, W, max_length) for letter in repeated(pattern, n_layers))


def in_numbers(pattern, n_layers, W, max_length, K, D, bytes_per_number):
    return 2 * K * D * sum(room(letter, W, max_length) for letter in repeated(pattern, n_layers))


def a_long_ring(pattern, n_layers, W, max_length, K, D, bytes_per_number):
    return 2 * K * D * bytes_per_number * sum(max_length if letter == "G" else W for letter in repeated(pattern, n_layers))


def all_local(pattern, n_layers, W, max_length, K, D, bytes_per_number):
    return 2 * K * D * bytes_per_number * n_layers * min(W, max_length)


def pattern_once(pattern, n_layers, W, max_length, K, D, bytes_per_number):
    return 2 * K * D * bytes_per_number * sum(room(letter, W, max_length) for letter in pattern)


def step(keys, values, n, q, k, v, scale=None, filled=None, slot=None, before=False):
    W, D = keys.shape
    if not before:
        keys[n % W if slot is None else slot], values[n % W if slot is None else slot] = k, v
    filled = min(n + 1, W) if filled is None else filled
    weights = (keys[:filled] @ q / (D**0.5 if scale is None else scale)).softmax(dim=0)
    out = weights @ values[:filled]
    if before:
        keys[n % W], values[n % W] = k, v
    return out


def unscaled(keys, values, n, q, k, v):
    return step(keys, values, n, q, k, v, scale=1)


def empty_slots_too(keys, values, n, q, k, v):
    return step(keys, values, n, q, k, v, filled=len(keys))


def looked_first(keys, values, n, q, k, v):
    return step(keys, values, n, q, k, v, filled=max(1, min(n, len(keys))), before=True) if n else step(
        keys, values, n, q, k, v)


def always_the_last_slot(keys, values, n, q, k, v):
    return step(keys, values, n, q, k, v, slot=min(n, len(keys) - 1))


def not_in_place(keys, values, n, q, k, v):
    return step(keys.clone(), values.clone(), n, q, k, v)


def shifted(keys, values, n, q, k, v):
    if n >= len(keys):
        keys[:-1], values[:-1] = keys[1:].clone(), values[1:].clone()
        keys[n % len(keys)], values[n % len(keys)] = k, v
        return v
    return step(keys, values, n, q, k, v)


def only_itself(keys, values, n, q, k, v):
    step(keys, values, n, q, k, v)
    return v.clone()


WRONG = {
    "10.1": [(top_left, "query 0 stands at"), (one_too_many, "counts the token itself"), (without_itself, "its own position"),
             (causal_only, "Nothing is hidden on the left"), (both_sides, "in its future"), (as_numbers, "torch.bool"),
             (square, "one row for each query")],
    "10.2": [(in_order, "slot p mod W"), (only_filled, "slots, filled or not"), (from_one, "count from 0"),
             (first_come, "takes the slot of an earlier one"), (reversed_ring, "one by one")],
    "10.3": [(l_times_w, "before the token"), (beyond_the_text, "only 9 positions"), (one_layer, "That is one layer"),
             (local_layers_only, "wherever it stands"), (with_itself, "there are 99 others"), (any_g, "cut off before its G")],
    "10.4": [(keys_only, "as a key and as a value"), (in_numbers, "each takes 4 bytes"), (a_long_ring, "longer than the text"),
             (all_local, "room for all"), (pattern_once, "The pattern is repeated")],
    "10.5": [(unscaled, "root of D"), (empty_slots_too, "share of the weight"), (looked_first, "before the new key"),
             (always_the_last_slot, "belongs into slot"), (not_in_place, "as it was"), (shifted, "only slot"),
             (only_itself, "weighted mean")],
}
