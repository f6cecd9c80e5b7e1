"""Plausible wrong answers to chapter 5's exercises, and a piece of the hint meant for each."""

import torch


def _block(cfg):
    E = cfg["emb_dim"]
    return 12 * E * E + 10 * E + 3 * E * cfg["qkv_bias"]


def deepest_without_tables(cfg, budget):
    return (budget - 2 * cfg["emb_dim"]) // _block(cfg)


def deepest_with_two_tables(cfg, budget):
    E = cfg["emb_dim"]
    return (budget - (2 * cfg["vocab_size"] + cfg["context_length"] + 2) * E) // _block(cfg)


def deepest_without_qkv_bias(cfg, budget):
    E = cfg["emb_dim"]
    return (budget - (cfg["vocab_size"] + cfg["context_length"] + 2) * E) // (12 * E * E + 10 * E)


def deepest_in_parts(cfg, budget):
    E = cfg["emb_dim"]
    return (budget - (cfg["vocab_size"] + cfg["context_length"] + 2) * E) / _block(cfg)


def pre_norm(x, norm1, att, norm2, ff):
    x = x + att(norm1(x))
    return x + ff(norm2(x))


def norm_on_the_branch(x, norm1, att, norm2, ff):
    x = x + norm1(att(x))
    return x + norm2(ff(x))


def no_residual(x, norm1, att, norm2, ff):
    x = norm1(att(x))
    return norm2(x + ff(x))


def second_norm_forgotten(x, norm1, att, norm2, ff):
    x = norm1(x + att(x))
    return x + ff(x)


def _flops(cfg, T, attention):
    V, E, L = cfg["vocab_size"], cfg["emb_dim"], cfg["n_layers"]
    return T * 2 * (12 * L * E * E + V * E) + L * attention * E


def flops_of_the_square(cfg, T):
    return _flops(cfg, T, 4 * T * T)


def flops_without_the_diagonal(cfg, T):
    return _flops(cfg, T, 4 * (T * (T - 1) // 2))


def flops_of_one_product(cfg, T):
    return _flops(cfg, T, 2 * (T * (T + 1) // 2))


def flops_of_half_the_square(cfg, T):
    return _flops(cfg, T, 2 * T * T)


def b_after_a(model, prefix, a, b):
    model.reset_kv_cache()
    with torch.no_grad():
        model(prefix, use_cache=True)
        return model(a, use_cache=True), model(b, use_cache=True)


def b_without_prefix(model, prefix, a, b):
    model.reset_kv_cache()
    with torch.no_grad():
        model(prefix, use_cache=True)
        after_a = model(a, use_cache=True)
        model.reset_kv_cache()
        return after_a, model(b, use_cache=True)


def prefix_twice(model, prefix, a, b):
    with torch.no_grad():
        return tuple(model(torch.cat([prefix, end], 1))[:, prefix.shape[1]:] for end in (a, b))


def no_reset(model, prefix, a, b):
    with torch.no_grad():
        model(prefix, use_cache=True)
        after_a = model(a, use_cache=True)
        for cache in model.kv_cache:
            cache.length = prefix.shape[1]
        return after_a, model(b, use_cache=True)


def first_layer_only(model, prefix, a, b):
    model.reset_kv_cache()
    with torch.no_grad():
        model(prefix, use_cache=True)
        after_a = model(a, use_cache=True)
        model.kv_cache[0].length = prefix.shape[1]
        return after_a, model(b, use_cache=True)


WRONG = {
    "5.1": [(deepest_without_tables, "tables have to be paid first"), (deepest_with_two_tables, "counted twice"),
            (deepest_without_qkv_bias, "more than the budget"), (deepest_in_parts, "no parts of blocks")],
    "5.2": [(pre_norm, "GPT-2's order"), (norm_on_the_branch, "Add first, then normalise"),
            (no_residual, "has replaced the stream"), (second_norm_forgotten, "second sum has to be normalised")],
    "5.3": [(flops_of_the_square, "query 0 sees one key"), (flops_without_the_diagonal, "diagonal is missing"),
            (flops_of_one_product, "you counted one"), (flops_of_half_the_square, "belongs to it whole")],
    "5.4": [(b_after_a, "b was read after a"), (b_without_prefix, "without its prefix"), (prefix_twice, "prefix was read twice"),
            (no_reset, "begin with reset_kv_cache"), (first_layer_only, "all layers")],
}
