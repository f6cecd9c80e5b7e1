"""Wrong arguments for chapter 4: (name, call, exception, words that the message must contain)."""

import torch

from gptbook.kv_cache import KVCache, MultiHeadAttention

CONFIG = {"vocab_size": 9, "context_length": 16, "emb_dim": 8, "n_heads": 2, "n_layers": 1}


def update(k, v=None, length=0):
    """An update of a cache (2, 2, 4, 4) of float32."""
    cache = KVCache(2, 2, 4, 4)
    cache.length = length
    return cache.update(k, k if v is None else v)


def attend(x, cache="new", **cache_options):
    """A cached call of a layer with E = 8 and H = 2, for a batch of 2 and 4 positions."""
    attention = MultiHeadAttention(CONFIG)
    return attention(x, attention.new_cache(2, 4, **cache_options) if cache == "new" else cache)


def keys(B=2, H=2, T=1, D=4, **kind):
    return torch.zeros(B, H, T, D, **kind)


CASES = [
    ("batch size 0", lambda: KVCache(0, 2, 4, 4), ValueError, ["batch_size", "at least 1", "0"]),
    ("heads -1", lambda: KVCache(1, -1, 4, 4), ValueError, ["n_heads", "at least 1", "-1"]),
    ("max_length 0", lambda: KVCache(1, 2, 0, 4), ValueError, ["max_length", "at least 1", "0"]),
    ("head size 0", lambda: KVCache(1, 2, 4, 0), ValueError, ["head_dim", "at least 1", "0"]),
    ("max_length a float", lambda: KVCache(1, 2, 4.0, 4), TypeError, ["max_length", "int", "4.0"]),
    ("batch size True", lambda: KVCache(True, 2, 4, 4), TypeError, ["batch_size", "int", "True"]),
    ("batch size None", lambda: KVCache(None, 2, 4, 4), TypeError, ["batch_size", "int", "None"]),
    ("dtype int64", lambda: KVCache(1, 2, 4, 4, dtype=torch.int64), TypeError, ["dtype", "floating-point", "int64"]),
    ("dtype a string", lambda: KVCache(1, 2, 4, 4, dtype="float32"), TypeError, ["dtype", "torch.dtype", "'float32'"]),
    ("unknown device", lambda: KVCache(1, 2, 4, 4, device="nope"), ValueError, ["device", "'cpu'", "'nope'"]),
    ("absent device", lambda: KVCache(1, 2, 4, 4, device="cuda:99"), ValueError, ["device", "'cpu'", "'cuda:99'"]),
    ("k a list", lambda: update([1.0]), TypeError, ["k and v", "tensors", "list"]),
    ("v a number", lambda: update(keys(), 1.0), TypeError, ["k and v", "tensors", "float"]),
    ("another batch", lambda: update(keys(B=3)), ValueError, ["(2, 2, T, 4)", "(3, 2, 1, 4)"]),
    ("one row for two", lambda: update(keys(B=1)), ValueError, ["(2, 2, T, 4)", "(1, 2, 1, 4)"]),
    ("other heads", lambda: update(keys(H=4)), ValueError, ["(2, 2, T, 4)", "(2, 4, 1, 4)"]),
    ("another head size", lambda: update(keys(D=8)), ValueError, ["(2, 2, T, 4)", "(2, 2, 1, 8)"]),
    ("rank 3", lambda: update(keys()[0]), ValueError, ["(2, 2, T, 4)", "(2, 1, 4)"]),
    ("rank 5", lambda: update(keys()[..., None]), ValueError, ["(2, 2, T, 4)", "(2, 2, 1, 4, 1)"]),
    ("rank 0", lambda: update(torch.tensor(1.0)), ValueError, ["(2, 2, T, 4)", "k ()"]),
    ("float64 keys", lambda: update(keys().double()), ValueError, ["torch.float32", "torch.float64"]),
    ("bfloat16 values", lambda: update(keys(), keys().bfloat16()), ValueError, ["torch.float32", "torch.bfloat16"]),
    ("values on another device", lambda: update(keys(), keys(device="meta")), ValueError, ["cpu", "meta"]),
    ("v longer than k", lambda: update(keys(), keys(T=2)), ValueError, ["k (2, 2, 1, 4)", "v (2, 2, 2, 4)"]),
    ("full", lambda: update(keys(), length=4), ValueError, ["no room for 1", "4 of max_length 4"]),
    ("chunk too long", lambda: update(keys(T=3), length=2), ValueError, ["no room for 3", "2 of max_length 4"]),
    ("layer: chunk too long", lambda: attend(torch.zeros(2, 5, 8)), ValueError, ["no room for 5", "max_length 4"]),
    ("layer: another batch", lambda: attend(torch.zeros(3, 1, 8)), ValueError, ["(2, 2, T, 4)", "(3, 2, 1, 4)"]),
    ("layer: no new position", lambda: attend(torch.zeros(2, 0, 8)), ValueError,
     ["at least one position", "(2, 0, 8)"]),
    ("layer: rank 2", lambda: attend(torch.zeros(2, 8)), ValueError, ["(batch, positions, 8)", "(2, 8)"]),
    ("layer: x of float64", lambda: attend(torch.zeros(2, 1, 8).double()), TypeError, ["float32", "float64"]),
    ("layer: token ids", lambda: attend(torch.zeros(2, 1, dtype=torch.int64)), TypeError, ["floats", "int64"]),
    ("layer: x a list", lambda: attend([[[0.0]]]), TypeError, ["tensor", "list"]),
    ("layer: cache of bfloat16", lambda: attend(torch.zeros(2, 1, 8), dtype=torch.bfloat16), ValueError,
     ["torch.bfloat16", "torch.float32"]),
    ("layer: cache True", lambda: attend(torch.zeros(2, 1, 8), cache=True), TypeError, ["cache", "new_cache", "True"]),
    ("layer: cache a dict", lambda: attend(torch.zeros(2, 1, 8), cache={}), TypeError, ["cache", "new_cache", "{}"]),
    ("layer: heads that do not divide", lambda: MultiHeadAttention({**CONFIG, "n_heads": 3}), ValueError,
     ["n_heads", "8", "3"]),
    ("layer: unknown key", lambda: MultiHeadAttention({**CONFIG, "heads": 3}), ValueError, ["heads"]),
    ("new_cache: batch size 0", lambda: MultiHeadAttention(CONFIG).new_cache(0, 4), ValueError, ["batch_size", "0"]),
    ("new_cache: max_length a string", lambda: MultiHeadAttention(CONFIG).new_cache(1, "4"), TypeError,
     ["max_length", "'4'"]),
]
