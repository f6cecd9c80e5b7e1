"""Plausible wrong answers to chapter 8's exercises, each with a piece of the hint meant for it."""

import copy
from dataclasses import asdict

import torch

from gptbook.kv_cache import MultiHeadAttention


def dealt_out(g, H, K):
    return list(range(g, H, K))


def groups_of_K(g, H, K):
    return list(range(g * K, min((g + 1) * K, H)))


def the_group(g, H, K):
    return [g // (H // K)]


def one_too_many(g, H, K):
    G = H // K
    return list(range(g * G, (g + 1) * G + 1))


def one_off(g, H, K):
    G = H // K
    return list(range(g * G + 1, (g + 1) * G + 1))


def fitting(nbytes, n_heads, one_head):
    return max([K for K in range(1, n_heads + 1) if n_heads % K == 0 and K * one_head <= nbytes], default=0)


def any_number(nbytes, batch_size, positions, n_layers, n_heads, head_dim, bytes_per_number):
    return nbytes // (2 * n_layers * batch_size * positions * head_dim * bytes_per_number)


def up_to_H(nbytes, batch_size, positions, n_layers, n_heads, head_dim, bytes_per_number):
    return min(n_heads, nbytes // (2 * n_layers * batch_size * positions * head_dim * bytes_per_number))


def keys_only(nbytes, batch_size, positions, n_layers, n_heads, head_dim, bytes_per_number):
    return fitting(nbytes, n_heads, n_layers * batch_size * positions * head_dim * bytes_per_number)


def one_layer(nbytes, batch_size, positions, n_layers, n_heads, head_dim, bytes_per_number):
    return fitting(nbytes, n_heads, 2 * batch_size * positions * head_dim * bytes_per_number)


def one_text(nbytes, batch_size, positions, n_layers, n_heads, head_dim, bytes_per_number):
    return fitting(nbytes, n_heads, 2 * n_layers * positions * head_dim * bytes_per_number)


def the_size(nbytes, batch_size, positions, n_layers, n_heads, head_dim, bytes_per_number):
    K = fitting(nbytes, n_heads, 2 * n_layers * batch_size * positions * head_dim * bytes_per_number)
    return n_heads // K if K else 0


def every_Kth(weight, K, D):
    return weight.unflatten(0, (-1, K, D)).mean(dim=0).flatten(0, 1)


def neighbouring_rows(weight, K, D):
    return weight.unflatten(0, (K * D, -1)).mean(dim=1)


def sums(weight, K, D):
    return weight.unflatten(0, (K, -1, D)).sum(dim=1).flatten(0, 1)


def firsts(weight, K, D):
    return weight.unflatten(0, (K, -1, D))[:, 0].flatten(0, 1)


def unflattened(weight, K, D):
    return weight.unflatten(0, (K, -1, D)).mean(dim=1)


def moved(layer, order, parts=(0, 1, 2), bias=True, axis=1):
    """A copy of the layer with the heads of these parts of its projection, and out_proj's axis (or None), in the order."""
    new = copy.deepcopy(layer)
    H, D = layer.n_heads, layer.head_dim
    with torch.no_grad():
        for t in [new.qkv.weight] + [new.qkv.bias] * (bias and layer.cfg.qkv_bias):
            heads = t.view(3, H, D, *t.shape[1:])
            for part in parts:
                heads[part] = heads[part, order].clone()
        if axis is not None:
            weight = new.out_proj.weight
            weight.copy_(weight.unflatten(axis, (H, D)).index_select(axis, torch.tensor(order)).flatten(axis, axis + 1))
    return new


def out_proj_forgotten(layer, order):
    return moved(layer, order, axis=None)


def out_proj_by_rows(layer, order):
    return moved(layer, order, axis=0)


def to_place_order(layer, order):
    return moved(layer, [order.index(h) for h in range(len(order))])


def queries_only(layer, order):
    return moved(layer, order, parts=[0])


def bias_forgotten(layer, order):
    return moved(layer, order, bias=False)


def the_same_layer(layer, order):
    return layer.load_state_dict(moved(layer, order).state_dict()) and layer


def a_list_of_heads(layer, order):
    return [layer.qkv.weight.unflatten(0, (3, len(order), -1))[:, h] for h in order]


def rebuilt(layer, spread, bias=True, dtype=True):
    """A MultiHeadAttention whose keys and values are spread(rows, K, D, G) of the layer's."""
    H, K, D = layer.n_heads, layer.n_kv_heads, layer.head_dim
    mha = MultiHeadAttention({name: value for name, value in asdict(layer.cfg).items() if name != "num_kv_groups"})
    mha = mha.to(layer.qkv.weight) if dtype else mha
    state = {name: t.clone() for name, t in mha.state_dict().items()} | {
        name: t for name, t in layer.state_dict().items() if not name.startswith("qkv.")}
    for name, t in layer.state_dict().items():
        if name == "qkv.weight" or (name == "qkv.bias" and bias):
            q, k, v = t.split([H * D, K * D, K * D])
            state[name] = torch.cat([q, spread(k, K, D, H // K), spread(v, K, D, H // K)])
    mha.load_state_dict(state)
    return mha.eval()


def by_heads(t, K, D, G):
    return t.unflatten(0, (K, D)).repeat_interleave(G, dim=0).flatten(0, 1)


def with_tiled_heads(layer):
    return rebuilt(layer, lambda t, K, D, G: torch.cat([t] * G))


def with_repeated_rows(layer):
    return rebuilt(layer, lambda t, K, D, G: t.repeat_interleave(G, dim=0))


def without_the_bias(layer):
    return rebuilt(layer, by_heads, bias=False)


def of_float32(layer):
    return rebuilt(layer, by_heads, dtype=False)


def the_layer_itself(layer):
    return layer


def untrained(layer):
    return MultiHeadAttention({n: x for n, x in asdict(layer.cfg).items() if n != "num_kv_groups"}).to(layer.qkv.weight)


WRONG = {
    "8.1": [(dealt_out, "deal the heads out"), (groups_of_K, "not the size of one"), (the_group, "names its group"),
            (one_too_many, "has 4"), (one_off, "1 groups of 3 heads before it")],
    "8.2": [(any_number, "So many heads would fit"), (up_to_H, "cannot be cut into"), (keys_only, "Keys and values"),
            (one_layer, "layers has a cache"), (one_text, "texts has a cache"), (the_size, "size of a group")],
    "8.3": [(every_Kth, "every K-th head"), (neighbouring_rows, "averaged neighbouring rows"), (sums, "Divide by G"),
            (firsts, "first head of each group"), (unflattened, "Flatten the first two axes")],
    "8.4": [(out_proj_forgotten, "reads them in the old one"), (out_proj_by_rows, "moved the rows of out_proj"),
            (to_place_order, "other way round"), (queries_only, "keys are in their old order"),
            (bias_forgotten, "of the bias"), (the_same_layer, "changed the layer"), (a_list_of_heads, "not a list")],
    "8.5": [(with_tiled_heads, "repeat_interleave, not repeat"), (with_repeated_rows, "repeated single rows"),
            (without_the_bias, "biases"), (of_float32, "torch.float32"), (the_layer_itself, "not a GroupedQueryAttention"),
            (untrained, "queries are not the old ones")],
}
