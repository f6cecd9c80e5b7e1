"""Wrong arguments for chapter 10: (name, call, exception, words that the message must contain)."""

import torch

from gptbook.gpt import GPTModel
from gptbook.gpt_gqa import GroupedQueryAttention
from gptbook.gpt_swa import RingCache, SlidingWindowAttention, SWAConfig, swa_from_mha, windowed_attention
from gptbook.kv_cache import KVCache

PLAIN = {"vocab_size": 9, "context_length": 16, "emb_dim": 8, "n_heads": 2, "n_layers": 3}
CFG = {**PLAIN, "sliding_window_size": 4}


def heads(B=2, H=2, T=3, D=4, **kind):
    return torch.zeros(B, H, T, D, **kind)


def attend(q=None, k=None, v=None, window=4, **more):
    q, k = heads() if q is None else q, heads() if k is None else k
    return windowed_attention(q, k, k if v is None else v, window, **more)


def ring(**changes):
    return RingCache(**{"batch_size": 2, "n_heads": 2, "max_length": 8, "head_dim": 4, "window": 4, **changes})


def update(k, v=None, read=0, back_to=None):
    """An update of a ring (2, 2, 4 slots, 4) of 8 positions, behind `read` of them and set back to `back_to`."""
    cache = ring()
    if read:
        cache.update(heads(T=read), heads(T=read))
    if back_to is not None:
        cache.length = back_to
    return cache.update(k, k if v is None else v)


def layer(x, cache="new", **changes):
    att = SlidingWindowAttention({**CFG, **changes})
    return att(x, att.new_cache(2, 8) if cache == "new" else cache)


def mha():
    return GPTModel(PLAIN)


CASES = [
    ("config: window 0", lambda: SWAConfig(**{**CFG, "sliding_window_size": 0}), ValueError, ["sliding_window_size", "at least 1", "0"]),
    ("config: window -3", lambda: SWAConfig(**{**CFG, "sliding_window_size": -3}), ValueError, ["sliding_window_size", "-3"]),
    ("config: window a float", lambda: SWAConfig(**{**CFG, "sliding_window_size": 4.0}), TypeError, ["sliding_window_size", "4.0"]),
    ("config: window True", lambda: SWAConfig(**{**CFG, "sliding_window_size": True}), TypeError, ["sliding_window_size", "True"]),
    ("config: window None", lambda: SWAConfig(**{**CFG, "sliding_window_size": None}), TypeError, ["sliding_window_size", "None"]),
    ("config: no window", lambda: SWAConfig.make(PLAIN), ValueError, ["sliding_window_size", "missing"]),
    ("config: unknown letter", lambda: SWAConfig(**CFG, window_pattern="LXG"), ValueError, ["window_pattern", "'L' and 'G'", "'LXG'"]),
    ("config: small letters", lambda: SWAConfig(**CFG, window_pattern="llg"), ValueError, ["window_pattern", "'llg'"]),
    ("config: no letter", lambda: SWAConfig(**CFG, window_pattern=""), ValueError, ["window_pattern", "''"]),
    ("config: wrong length", lambda: SWAConfig(**CFG, window_pattern="LG"), ValueError, ["window_pattern", "n_layers 3", "length 2"]),
    ("config: too long", lambda: SWAConfig(**CFG, window_pattern="LLGLLG"), ValueError, ["window_pattern", "n_layers 3", "length 6"]),
    ("config: a list of letters", lambda: SWAConfig(**CFG, window_pattern=["L", "L", "G"]), TypeError, ["window_pattern", "['L', 'L', 'G']"]),
    ("config: groups that do not divide", lambda: SWAConfig(**CFG, num_kv_groups=3), ValueError, ["num_kv_groups", "2", "3"]),
    ("config: groups 0", lambda: SWAConfig(**CFG, num_kv_groups=0), ValueError, ["num_kv_groups", "0"]),
    ("config: a latent", lambda: SWAConfig.make({**CFG, "latent_dim": 4}), ValueError, ["latent_dim", "unknown"]),
    ("for_layer: -1", lambda: SWAConfig(**CFG).for_layer(-1), ValueError, ["layer", "-1"]),
    ("for_layer: a float", lambda: SWAConfig(**CFG).for_layer(1.0), TypeError, ["layer", "1.0"]),
    ("for_layer: beyond the last", lambda: SWAConfig(**CFG).for_layer(3), ValueError, ["layer", "n_layers 3", "got 3"]),
    ("window 0", lambda: attend(window=0), ValueError, ["window", "at least 1", "0"]),
    ("window a float", lambda: attend(window=2.5), TypeError, ["window", "2.5"]),
    ("window None", lambda: attend(window=None), TypeError, ["window", "None"]),
    ("window True", lambda: attend(window=True), TypeError, ["window", "True"]),
    ("window a string", lambda: attend(window="4"), TypeError, ["window", "'4'"]),
    ("window a tensor", lambda: attend(window=torch.tensor(4)), TypeError, ["window", "tensor(4)"]),
    ("q a list", lambda: attend(q=[1.0]), TypeError, ["q", "tensor", "list"]),
    ("q of int", lambda: attend(q=heads(dtype=torch.int64)), TypeError, ["q", "int64"]),
    ("k of rank 3", lambda: attend(k=heads()[0]), ValueError, ["(2, 3, 4)"]),
    ("heads that do not divide", lambda: attend(q=heads(H=3)), ValueError, ["multiple", "3", "2"]),
    ("more queries than keys", lambda: attend(q=heads(T=4)), ValueError, ["T = 4", "S = 3"]),
    ("no query", lambda: attend(q=heads(T=0)), ValueError, ["T = 0"]),
    ("other batch", lambda: attend(q=heads(B=1)), ValueError, ["(1, 2, 3, 4)", "(2, 2, 3, 4)"]),
    ("v longer than k", lambda: attend(v=heads(T=4)), ValueError, ["(2, 2, 3, 4)", "(2, 2, 4, 4)"]),
    ("two dtypes", lambda: attend(k=heads().double()), TypeError, ["float32", "float64"]),
    ("dropout of one", lambda: attend(dropout_p=1.0), ValueError, ["dropout_p", "1.0"]),
    ("dropout negative", lambda: attend(dropout_p=-0.1), ValueError, ["dropout_p", "-0.1"]),
    ("dropout not a number", lambda: attend(dropout_p=float("nan")), ValueError, ["dropout_p", "nan"]),
    ("dropout a string", lambda: attend(dropout_p="0.1"), TypeError, ["dropout_p", "number in [0, 1)", "'0.1'"]),
    ("dropout None", lambda: attend(dropout_p=None), TypeError, ["dropout_p", "None"]),
    ("dropout False", lambda: attend(dropout_p=False), TypeError, ["dropout_p", "False"]),
    ("dropout a tensor", lambda: attend(dropout_p=torch.tensor(0.5)), TypeError, ["dropout_p", "tensor(0.5"]),
    ("ring: window 0", lambda: ring(window=0), ValueError, ["window", "at least 1", "0"]),
    ("ring: window a string", lambda: ring(window="4"), TypeError, ["window", "'4'"]),
    ("ring: max_length 0", lambda: ring(max_length=0), ValueError, ["max_length", "at least 1", "0"]),
    ("ring: max_length a float", lambda: ring(max_length=8.0), TypeError, ["max_length", "8.0"]),
    ("ring: batch 0", lambda: ring(batch_size=0), ValueError, ["batch_size", "0"]),
    ("ring: head size -1", lambda: ring(head_dim=-1), ValueError, ["head_dim", "-1"]),
    ("ring: dtype int8", lambda: ring(dtype=torch.int8), TypeError, ["dtype", "int8"]),
    ("ring: unknown device", lambda: ring(device="nope"), ValueError, ["device", "'nope'"]),
    ("update: k a list", lambda: update([1.0]), TypeError, ["k and v", "list"]),
    ("update: another batch", lambda: update(heads(B=3)), ValueError, ["(2, 2, T, 4)", "(3, 2, 3, 4)"]),
    ("update: another dtype", lambda: update(heads().double()), ValueError, ["torch.float32", "torch.float64"]),
    ("update: v longer than k", lambda: update(heads(), heads(T=4)), ValueError, ["(2, 2, 3, 4)", "(2, 2, 4, 4)"]),
    ("update: full", lambda: update(heads(T=1), read=8), ValueError, ["no room for 1", "8 of max_length 8"]),
    ("update: chunk too long", lambda: update(heads(T=9)), ValueError, ["no room for 9", "0 of max_length 8"]),
    ("update: set back too far", lambda: update(heads(T=1), read=6, back_to=4), ValueError,
     ["set back to 4", "position 1", "before 2 is overwritten", "reset"]),
    ("layer: a pattern for several", lambda: layer(torch.zeros(2, 1, 8), window_pattern="LLG"), ValueError,
     ["window_pattern", "one letter", "'LLG'", "for_layer"]),
    ("layer: no window", lambda: SlidingWindowAttention(PLAIN), ValueError, ["sliding_window_size"]),
    ("layer: a KVCache", lambda: layer(torch.zeros(2, 1, 8), KVCache(2, 2, 8, 4)), ValueError, ["RingCache", "KVCache"]),
    ("layer: a global one with a ring", lambda: layer(torch.zeros(2, 1, 8), ring(), window_pattern="G"), ValueError,
     ["KVCache", "RingCache"]),
    ("layer: cache True", lambda: layer(torch.zeros(2, 1, 8), True), TypeError, ["cache", "new_cache", "True"]),
    ("layer: another batch", lambda: layer(torch.zeros(3, 1, 8)), ValueError, ["(2, 2, T, 4)", "(3, 2, 1, 4)"]),
    ("layer: no new position", lambda: layer(torch.zeros(2, 0, 8)), ValueError, ["at least one position", "(2, 0, 8)"]),
    ("layer: new_cache of length 0", lambda: SlidingWindowAttention(CFG).new_cache(1, 0), ValueError, ["max_length", "0"]),
    ("model: window for plain attention", lambda: GPTModel(CFG), ValueError, ["sliding_window_size", "unknown"]),
    ("model: window for grouped attention", lambda: GPTModel({**CFG, "num_kv_groups": 1}, attention=GroupedQueryAttention),
     ValueError, ["sliding_window_size", "unknown"]),
    ("model: pattern of the wrong length", lambda: GPTModel({**CFG, "window_pattern": "LLLG"}, attention=SlidingWindowAttention),
     ValueError, ["window_pattern", "n_layers 3"]),
    ("layer: a ring of another window", lambda: SlidingWindowAttention(CFG | {"window_pattern": "L"})(
        torch.zeros(1, 1, 8), RingCache(1, 2, 16, 4, window=2)), ValueError, ["cache", "window of 4", "for 2"]),
    ("swa_from_mha: window 0", lambda: swa_from_mha(mha(), 0), ValueError, ["sliding_window_size", "0"]),
    ("swa_from_mha: window a float", lambda: swa_from_mha(mha(), 4.5), TypeError, ["sliding_window_size", "4.5"]),
    ("swa_from_mha: unknown letter", lambda: swa_from_mha(mha(), 4, "LLX"), ValueError, ["window_pattern", "'LLX'"]),
    ("swa_from_mha: pattern of the wrong length", lambda: swa_from_mha(mha(), 4, "LG"), ValueError, ["window_pattern", "length 2"]),
    ("swa_from_mha: another attention", lambda: swa_from_mha(GPTModel(CFG, attention=SlidingWindowAttention), 4), TypeError,
     ["MultiHeadAttention", "SlidingWindowAttention"]),
    ("swa_from_mha: None", lambda: swa_from_mha(None, 4), TypeError, ["model", "GPTModel", "NoneType"]),
    ("swa_from_mha: a layer", lambda: swa_from_mha(mha().blocks[0].att, 4), TypeError, ["model", "GPTModel", "MultiHeadAttention"]),
]
