"""Bad input to chapter 2's public names: (id, call, exception, words that the message must contain)."""

from dataclasses import FrozenInstanceError, dataclass, replace

import numpy as np
import torch

from gptbook.layers import GELU, FeedForward, GPTConfig, LayerNorm

GOOD = {"vocab_size": 50, "context_length": 8, "emb_dim": 12, "n_heads": 3, "n_layers": 2}


@dataclass(frozen=True, kw_only=True)
class _Variant(GPTConfig):
    num_kv_groups: int


def _without(name):
    return {key: value for key, value in GOOD.items() if key != name}


def _change_a_setting():
    GPTConfig(**GOOD).emb_dim = 24


def _autocast(layer):
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.ones(2, 12, dtype=torch.float64))


CASES = [
    *[(f"config without {name}", lambda name=name: GPTConfig.make(_without(name)), ValueError,
       ["missing", name, "it reads", "n_layers"]) for name in GOOD],
    *[(f"config {name} zero", lambda name=name: GPTConfig.make({**GOOD, name: 0}), ValueError,
       [name, "at least 1", "0"]) for name in GOOD],
    *[(f"config {name} negative", lambda name=name: GPTConfig.make({**GOOD, name: -12}), ValueError,
       [name, "at least 1", "-12"]) for name in GOOD],
    *[(f"config {name} {type(value).__name__}", lambda name=name, value=value:
       GPTConfig(**{**GOOD, name: value}),
       TypeError, [name, "int", repr(value)])
      for name in GOOD for value in (12.0, "12", None, True, np.int64(12))],
    ("config heads do not divide", lambda: GPTConfig.make({**GOOD, "n_heads": 5}), ValueError,
     ["emb_dim", "multiple of n_heads", "12", "5"]),
    ("config more heads than numbers", lambda: GPTConfig.make({**GOOD, "n_heads": 24}),
     ValueError, ["n_heads", "24"]),
    *[(f"config drop_rate {value!r}", lambda value=value:
       GPTConfig.make({**GOOD, "drop_rate": value}), ValueError,
       ["drop_rate", "[0, 1)", repr(value)])
      for value in (-0.1, 1, 1.5, float("nan"), float("inf"), "0.1", None, True)],
    *[(f"config qkv_bias {value!r}", lambda value=value:
       GPTConfig.make({**GOOD, "qkv_bias": value}), TypeError,
       ["qkv_bias", "True or False", repr(value)]) for value in (0, 1, "yes", None)],
    ("config unknown key", lambda: GPTConfig.make({**GOOD, "num_kv_groups": 1}), ValueError,
     ["unknown", "num_kv_groups", "it reads", "qkv_bias"]),
    ("config misspelt key", lambda: GPTConfig.make({**_without("n_heads"), "n_head": 3}), ValueError,
     ["missing keys ['n_heads']", "unknown keys ['n_head']"]),
    ("config key that is no string", lambda: GPTConfig.make({**GOOD, 7: 1}), ValueError, ["unknown", "7"]),
    ("config empty dict", lambda: GPTConfig.make({}), ValueError, ["missing", "vocab_size", "n_layers"]),
    *[(f"config from {type(value).__name__}", lambda value=value: GPTConfig.make(value), TypeError,
       ["cfg", "dict", "GPTConfig", type(value).__name__])
       for value in (None, "124M", [("emb_dim", 12)], GPTConfig)],
    ("config by position", lambda: GPTConfig(50, 8, 12, 3, 2), TypeError, ["positional"]),
    ("config changed later", _change_a_setting, FrozenInstanceError, ["emb_dim"]),
    ("config replaced by a bad one", lambda: replace(GPTConfig(**GOOD), n_heads=5),
     ValueError, ["n_heads", "5"]),
    ("subclass missing its own key", lambda: _Variant.make(GOOD),
     ValueError, ["_Variant", "missing", "num_kv_groups"]),
    ("subclass from its parent", lambda: _Variant.make(GPTConfig(**GOOD)),
     TypeError, ["_Variant", "GPTConfig"]),
    ("gelu of integers", lambda: GELU()(torch.tensor([1, 2])), TypeError, ["floats", "int64"]),
    ("gelu of booleans", lambda: GELU()(torch.tensor([True])), TypeError, ["floats", "bool"]),
    ("gelu of a number", lambda: GELU()(1.0), TypeError, ["floats", "float"]),
    *[(f"layer norm emb_dim {value}", lambda value=value: LayerNorm(value), ValueError,
       ["emb_dim", "at least 1", str(value)]) for value in (0, -4)],
    *[(f"layer norm emb_dim {value!r}", lambda value=value: LayerNorm(value),
       TypeError, ["emb_dim", "int", repr(value)])
      for value in (4.0, "4", None, (4,))],
    *[(f"layer norm eps {value!r}", lambda value=value: LayerNorm(4, eps=value),
       ValueError, ["eps", repr(value)])
      for value in (0.0, -1e-5, 1.0, float("nan"), "1e-5", None)],
    ("layer norm of another width", lambda: LayerNorm(4)(torch.ones(2, 5)),
     ValueError, ["(..., 4)", "(2, 5)"]),
    ("layer norm of a single number", lambda: LayerNorm(4)(torch.tensor(1.0)),
     ValueError, ["(..., 4)", "()"]),
    ("layer norm of integers", lambda: LayerNorm(4)(torch.ones(2, 4, dtype=torch.long)),
     TypeError, ["floats", "int64"]),
    *[(f"layer norm of {dtype}", lambda dtype=dtype: LayerNorm(4)(torch.ones(2, 4, dtype=dtype)), TypeError,
       ["x", "layer's dtype torch.float32", str(dtype)]) for dtype in (torch.float64, torch.bfloat16)],
    ("layer norm of bfloat16 weights", lambda: LayerNorm(4).bfloat16()(torch.ones(2, 4)), TypeError,
     ["x", "layer's dtype torch.bfloat16", "torch.float32"]),
    ("layer norm under autocast of float64", lambda: _autocast(LayerNorm(12)), TypeError,
     ["x", "float32", "float64"]),
    ("layer norm of a list", lambda: LayerNorm(4)([1.0, 2.0, 3.0, 4.0]), TypeError, ["floats", "list"]),
    ("layer norm of an array", lambda: LayerNorm(4)(np.ones((2, 4))), TypeError, ["floats", "float64"]),
    ("feed forward of another width", lambda: FeedForward(GOOD)(torch.ones(2, 7, 5)), ValueError,
     ["(..., 12)", "(2, 7, 5)"]),
    ("feed forward of a single number", lambda: FeedForward(GOOD)(torch.tensor(1.0)),
     ValueError, ["(..., 12)", "()"]),
    *[(f"feed forward of {dtype}", lambda dtype=dtype: FeedForward(GOOD)(torch.ones(2, 12, dtype=dtype)), TypeError,
       ["x", "layer's dtype torch.float32", str(dtype)]) for dtype in (torch.float64, torch.bfloat16)],
    ("feed forward under autocast of float64", lambda: _autocast(FeedForward(GOOD)), TypeError,
     ["x", "float32", "float64"]),
    ("feed forward of token ids", lambda: FeedForward(GOOD)(torch.ones(2, 12, dtype=torch.long)), TypeError,
     ["floats", "int64"]),
    ("feed forward from a number", lambda: FeedForward(768), TypeError, ["cfg", "dict", "int"]),
    ("feed forward from a bad dict", lambda: FeedForward({"emb_dim": 12}),
     ValueError, ["missing", "n_heads"]),
]
