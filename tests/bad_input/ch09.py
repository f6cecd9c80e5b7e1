"""Wrong arguments for chapter 9: (name, call, exception, words that the message must contain)."""

import torch

from gptbook.gpt import GPTModel
from gptbook.gpt_mla import (HalfCacheAttention, LatentCache, MLAConfig, MultiHeadLatentAttention, absorbed_attention,
                             expanded_attention, latent_attention, mla_from_mha, rotate)

CONFIG = {"vocab_size": 9, "context_length": 16, "emb_dim": 8, "n_heads": 2, "n_layers": 1}
LATENT = {**CONFIG, "latent_dim": 3}


def update(rows, length=0):
    """An update of a cache (2, 4, 3) of float32."""
    cache = LatentCache(2, 4, 3)
    cache.length = length
    return cache.update(rows)


def attend(x, cache="new", kind=MultiHeadLatentAttention, **cache_options):
    """A cached call of a layer with E = 8, H = 2 and r = 3, for a batch of 2 and 4 positions."""
    attention = kind(LATENT if kind is MultiHeadLatentAttention else CONFIG)
    return attention(x, attention.new_cache(2, 4, **cache_options) if cache == "new" else cache)


def parts(**changes):
    """q, c, k_up and v_up for B = 1, H = 2, T = 1, S = 3, D = 4, r = 5, some of them replaced."""
    made = {"q": torch.zeros(1, 2, 1, 4), "c": torch.zeros(1, 3, 5), "k_up": torch.zeros(2, 4, 5), "v_up": torch.zeros(2, 4, 5)}
    return {**made, **changes}


def rows(B=2, T=1, width=3, **kind):
    return torch.zeros(B, T, width, **kind)


def convert(latent_dim=3, input_ids=torch.zeros(1, 4, dtype=torch.int64), model=None):
    return mla_from_mha(GPTModel(CONFIG) if model is None else model, latent_dim, input_ids)


def with_nan():
    """A model whose first attention has a NaN among its weights."""
    model = GPTModel(CONFIG)
    model.blocks[0].att.qkv.weight.data[0, 0] = float("nan")
    return model


CASES = [
    ("cache: batch size 0", lambda: LatentCache(0, 4, 3), ValueError, ["batch_size", "at least 1", "0"]),
    ("cache: max_length 0", lambda: LatentCache(1, 0, 3), ValueError, ["max_length", "at least 1", "0"]),
    ("cache: width -1", lambda: LatentCache(1, 4, -1), ValueError, ["width", "at least 1", "-1"]),
    ("cache: width a float", lambda: LatentCache(1, 4, 3.0), TypeError, ["width", "int", "3.0"]),
    ("cache: dtype int64", lambda: LatentCache(1, 4, 3, dtype=torch.int64), TypeError, ["dtype", "floating-point", "int64"]),
    ("cache: dtype a string", lambda: LatentCache(1, 4, 3, dtype="float32"), TypeError, ["dtype", "'float32'"]),
    ("cache: absent device", lambda: LatentCache(1, 4, 3, device="cuda:99"), ValueError, ["device", "'cpu'", "'cuda:99'"]),
    ("update: a list", lambda: update([1.0]), TypeError, ["rows", "tensor", "list"]),
    ("update: another batch", lambda: update(rows(B=1)), ValueError, ["(2, T, 3)", "(1, 1, 3)"]),
    ("update: another width", lambda: update(rows(width=4)), ValueError, ["(2, T, 3)", "(2, 1, 4)"]),
    ("update: rank 2", lambda: update(rows()[0]), ValueError, ["(2, T, 3)", "(1, 3)"]),
    ("update: rank 0", lambda: update(torch.tensor(1.0)), ValueError, ["(2, T, 3)", "()"]),
    ("update: rank 4", lambda: update(rows()[..., None]), ValueError, ["(2, T, 3)", "(2, 1, 3, 1)"]),
    ("update: float64", lambda: update(rows().double()), ValueError, ["torch.float32", "torch.float64"]),
    ("update: another device", lambda: update(rows(device="meta")), ValueError, ["cpu", "meta"]),
    ("update: full", lambda: update(rows(), length=4), ValueError, ["no room for 1", "4 of max_length 4"]),
    ("update: chunk too long", lambda: update(rows(T=3), length=2), ValueError, ["no room for 3", "2 of max_length 4"]),
    *[(f"{f.__name__}: {name}", lambda f=f, changes=changes: f(**parts(**changes)), error, words)
      for f in (expanded_attention, absorbed_attention, latent_attention) for name, changes, error, words in [
          ("q a list", {"q": [1.0]}, TypeError, ["q", "float tensor", "list"]),
          ("c of integers", {"c": torch.zeros(1, 3, 5, dtype=torch.int64)}, TypeError, ["c", "float tensor", "int64"]),
          ("q of rank 3", {"q": torch.zeros(2, 1, 4)}, ValueError, ["q", "(B, H, T, D + R)", "(2, 1, 4)"]),
          ("k_up of rank 2", {"k_up": torch.zeros(8, 5)}, ValueError, ["k_up", "(H, D, r)", "(8, 5)"]),
          ("c of another width", {"c": torch.zeros(1, 3, 6)}, ValueError, ["do not fit", "(1, 3, 6)"]),
          ("c of another batch", {"c": torch.zeros(2, 3, 5)}, ValueError, ["do not fit", "(2, 3, 5)"]),
          ("q narrower than a head", {"q": torch.zeros(1, 2, 1, 3)}, ValueError, ["do not fit", "(1, 2, 1, 3)"]),
          ("other heads", {"q": torch.zeros(1, 3, 1, 4)}, ValueError, ["do not fit", "(1, 3, 1, 4)"]),
          ("v_up of another width", {"v_up": torch.zeros(2, 4, 6)}, ValueError, ["do not fit", "(2, 4, 6)"]),
          ("one of float64", {"c": torch.zeros(1, 3, 5).double()}, TypeError, ["one dtype", "float64"]),
          ("c on another device", {"c": torch.zeros(1, 3, 5, device="meta")}, ValueError, ["one device", "cpu", "meta"]),
          ("more queries than positions", {"q": torch.zeros(1, 2, 4, 4)}, ValueError, ["T = 4", "S = 3"]),
          ("no query", {"q": torch.zeros(1, 2, 0, 4)}, ValueError, ["T = 0"]),
          ("dropout of 1", {"dropout_p": 1.0}, ValueError, ["dropout_p", "1.0"]),
      ]],
    ("latent_attention: absorb a word", lambda: latent_attention(**parts(), absorb="yes"), TypeError, ["absorb", "'yes'"]),
    ("rotate: a list", lambda: rotate([1.0], 0), TypeError, ["x", "list"]),
    ("rotate: integers", lambda: rotate(torch.zeros(3, 2, dtype=torch.int64), 0), TypeError, ["x", "int64"]),
    ("rotate: odd width", lambda: rotate(torch.zeros(3, 5), 0), ValueError, ["even", "(3, 5)"]),
    ("rotate: rank 1", lambda: rotate(torch.zeros(4), 0), ValueError, ["(..., T, R)", "(4,)"]),
    ("rotate: start -1", lambda: rotate(torch.zeros(3, 4), -1), ValueError, ["start", "at least 0", "-1"]),
    ("rotate: start a float", lambda: rotate(torch.zeros(3, 4), 1.0), TypeError, ["start", "int", "1.0"]),
    ("rotate: base 0", lambda: rotate(torch.zeros(3, 4), 0, 0.0), ValueError, ["base", "above 0", "0.0"]),
    ("rotate: base a string", lambda: rotate(torch.zeros(3, 4), 0, "big"), ValueError, ["base", "'big'"]),
    ("config: latent_dim missing", lambda: MLAConfig.make(CONFIG), ValueError, ["missing", "latent_dim"]),
    ("config: latent_dim 0", lambda: MLAConfig(**CONFIG, latent_dim=0), ValueError, ["latent_dim", "at least 1", "0"]),
    ("config: latent_dim too wide", lambda: MLAConfig(**CONFIG, latent_dim=9), ValueError, ["latent_dim", "at most emb_dim 8", "9"]),
    ("config: latent_dim a string", lambda: MLAConfig(**CONFIG, latent_dim="3"), TypeError, ["latent_dim", "'3'"]),
    ("config: rope_dim odd", lambda: MLAConfig(**LATENT, rope_dim=3), ValueError, ["rope_dim", "even", "3"]),
    ("config: rope_dim -2", lambda: MLAConfig(**LATENT, rope_dim=-2), ValueError, ["rope_dim", "at least 0", "-2"]),
    ("config: latent_norm 1", lambda: MLAConfig(**LATENT, latent_norm=1), TypeError, ["latent_norm", "True or False", "1"]),
    ("layer: num_kv_groups", lambda: MultiHeadLatentAttention({**LATENT, "num_kv_groups": 2}), ValueError, ["num_kv_groups"]),
    ("layer: no latent_dim", lambda: MultiHeadLatentAttention(CONFIG), ValueError, ["latent_dim"]),
    ("half cache: latent_dim", lambda: HalfCacheAttention(LATENT), ValueError, ["latent_dim"]),
    *[(f"{kind.__name__}: {name}", lambda kind=kind, call=call: call(kind), error, words)
      for kind in (MultiHeadLatentAttention, HalfCacheAttention) for name, call, error, words in [
          ("chunk too long", lambda kind: attend(torch.zeros(2, 5, 8), kind=kind), ValueError, ["no room for 5", "max_length 4"]),
          ("another batch", lambda kind: attend(torch.zeros(3, 1, 8), kind=kind), ValueError, ["rows", "(3, 1,"]),
          ("no new position", lambda kind: attend(torch.zeros(2, 0, 8), kind=kind), ValueError, ["at least one position", "(2, 0, 8)"]),
          ("another width", lambda kind: attend(torch.zeros(2, 1, 7), kind=kind), ValueError, ["x", "8", "(2, 1, 7)"]),
          ("x of float64", lambda kind: attend(torch.zeros(2, 1, 8).double(), kind=kind), TypeError, ["float32", "float64"]),
          ("cache of bfloat16", lambda kind: attend(torch.zeros(2, 1, 8), kind=kind, dtype=torch.bfloat16), ValueError,
           ["torch.bfloat16", "torch.float32"]),
          ("cache True", lambda kind: attend(torch.zeros(2, 1, 8), True, kind), TypeError, ["cache", "new_cache", "True"]),
          ("cache of another width", lambda kind: attend(torch.zeros(2, 1, 8), LatentCache(2, 4, 5), kind), ValueError,
           ["rows", "(2, T, 5)"]),
          ("new_cache of 0", lambda kind: kind(LATENT if "Latent" in kind.__name__ else CONFIG).new_cache(0, 4), ValueError,
           ["batch_size", "0"]),
      ]],
    ("conversion: a layer for a model", lambda: convert(model=HalfCacheAttention(CONFIG)), TypeError, ["model", "MultiHeadAttention"]),
    ("conversion: another attention", lambda: convert(model=GPTModel(CONFIG, attention=HalfCacheAttention)), TypeError,
     ["model", "MultiHeadAttention", "HalfCacheAttention"]),
    ("conversion: latent_dim 0", lambda: convert(0), ValueError, ["latent_dim", "at least 1", "0"]),
    ("conversion: latent_dim too wide", lambda: convert(9), ValueError, ["latent_dim", "at most emb_dim 8", "9"]),
    ("conversion: a model with NaN", lambda: convert(model=with_nan()), ValueError, ["blocks[0]", "qkv.weight", "NaN"]),
    ("conversion: latent_dim a float", lambda: convert(3.0), TypeError, ["latent_dim", "3.0"]),
    ("conversion: ids a list", lambda: convert(input_ids=[[1]]), TypeError, ["input_ids", "list"]),
    ("conversion: ids of rank 1", lambda: convert(input_ids=torch.zeros(4, dtype=torch.int64)), ValueError, ["input_ids", "(4,)"]),
    ("conversion: ids of float32", lambda: convert(input_ids=torch.zeros(1, 4)), ValueError, ["input_ids", "float32"]),
    ("conversion: ids too long", lambda: convert(input_ids=torch.zeros(1, 17, dtype=torch.int64)), ValueError,
     ["17", "context_length 16"]),
    ("conversion: ids outside", lambda: convert(input_ids=torch.full((1, 4), 9)), ValueError, ["input_ids", "[0, 9)"]),
]
