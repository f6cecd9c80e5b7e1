"""Bad input to chapter 5's public names: (id, call, error, words that its message must hold)."""

from dataclasses import dataclass

import torch

from gptbook.attention import CausalSelfAttention
from gptbook.gpt import GPT_CONFIG_124M, GPTModel, TransformerBlock
from gptbook.kv_cache import MultiHeadAttention
from gptbook.layers import GPTConfig

CFG = {"vocab_size": 10, "context_length": 8, "emb_dim": 12, "n_heads": 3, "n_layers": 2}


@dataclass(frozen=True)
class WindowConfig(GPTConfig):
    window: int = 4


def model():
    return GPTModel(CFG).eval()


def ids(*shape, value=1, dtype=torch.int64):
    return torch.full(shape, value, dtype=dtype)


def cached(B=1, T=5, **sizes):
    m = model()
    m.reset_kv_cache(**sizes)
    with torch.no_grad():
        m(ids(B, T), use_cache=True)
    return m


CASES = [
    ("config is a list", lambda: GPTModel([10, 8]), TypeError, ["cfg", "list"]),
    ("config lacks a key", lambda: GPTModel({k: v for k, v in CFG.items() if k != "emb_dim"}), ValueError, ["emb_dim"]),
    ("config has a key too many", lambda: GPTModel({**CFG, "num_kv_groups": 1}), ValueError, ["num_kv_groups"]),
    ("a variant's key and plain attention", lambda: GPTModel({**CFG, "sliding_window_size": 4}), ValueError,
     ["sliding_window_size"]),
    ("a variant's config and plain attention", lambda: GPTModel(WindowConfig(**CFG)), TypeError,
     ["MultiHeadAttention", "GPTConfig", "WindowConfig"]),
    ("heads that do not divide", lambda: GPTModel({**CFG, "n_heads": 5}), ValueError, ["n_heads", "12", "5"]),
    ("no layers", lambda: GPTModel({**CFG, "n_layers": 0}), ValueError, ["n_layers", "0"]),
    ("negative vocabulary", lambda: GPTModel({**CFG, "vocab_size": -1}), ValueError, ["vocab_size", "-1"]),
    ("width is a float", lambda: GPTModel({**CFG, "emb_dim": 12.0}), TypeError, ["emb_dim", "12.0"]),
    ("dropout of one", lambda: GPTModel({**CFG, "drop_rate": 1.0}), ValueError, ["drop_rate", "1.0"]),
    ("qkv_bias is a word", lambda: GPTModel({**GPT_CONFIG_124M, "qkv_bias": "yes"}), TypeError, ["qkv_bias", "yes"]),
    ("attention is a word", lambda: GPTModel(CFG, attention="mha"), TypeError, ["attention", "'mha'"]),
    ("attention is an object", lambda: GPTModel(CFG, attention=MultiHeadAttention(CFG)), TypeError, ["attention", "class"]),
    ("attention without cache", lambda: GPTModel(CFG, attention=CausalSelfAttention), TypeError, ["new_cache"]),
    ("attention is any module", lambda: GPTModel(CFG, attention=torch.nn.Linear), TypeError, ["config_class"]),
    ("block: config lacks keys", lambda: TransformerBlock({"emb_dim": 12}), ValueError, ["n_heads"]),
    ("block: attention is None", lambda: TransformerBlock(CFG, attention=None), TypeError, ["attention", "None"]),
    ("ids are a list", lambda: model()([[1, 2]]), TypeError, ["input_ids", "list"]),
    ("ids are None", lambda: model()(None), TypeError, ["input_ids", "NoneType"]),
    ("ids of int32", lambda: model()(ids(1, 2, dtype=torch.int32)), ValueError, ["int64", "int32"]),
    ("ids of float", lambda: model()(torch.ones(1, 2)), ValueError, ["int64", "float32"]),
    ("ids of bool", lambda: model()(torch.ones(1, 2, dtype=torch.bool)), ValueError, ["int64", "bool"]),
    ("ids of rank 1", lambda: model()(ids(4)), ValueError, ["(batch, seq)", "(4,)"]),
    ("ids of rank 3", lambda: model()(ids(1, 2, 3)), ValueError, ["(batch, seq)", "(1, 2, 3)"]),
    ("a single number", lambda: model()(torch.tensor(3)), ValueError, ["(batch, seq)", "()"]),
    ("no position", lambda: model()(ids(1, 0)), ValueError, ["(1, 0)"]),
    ("no row", lambda: model()(ids(0, 3)), ValueError, ["(0, 3)"]),
    ("an id of V", lambda: model()(ids(1, 3, value=10)), ValueError, ["[0, 10)", "10"]),
    ("a negative id", lambda: model()(ids(1, 3, value=-1)), ValueError, ["[0, 10)", "-1"]),
    ("longer than the context", lambda: model()(ids(1, 9)), ValueError, ["9", "context_length 8"]),
    ("longer than the context, cached", lambda: model()(ids(1, 9), use_cache=True), ValueError, ["9", "context_length 8"]),
    ("cache is full", lambda: cached()(ids(1, 4), use_cache=True), ValueError, ["5 cached", "4 new", "room for 8"]),
    ("a shorter cache is full", lambda: cached(max_length=6)(ids(1, 2), use_cache=True), ValueError,
     ["5 cached", "2 new", "room for 6"]),
    ("another batch than the cache's", lambda: cached(B=2)(ids(3, 1), use_cache=True), ValueError, ["batch of 2", "got 3"]),
    ("another batch than reset gave", lambda: cached(B=2, batch_size=3), ValueError, ["batch of 3", "got 2"]),
    ("reset: batch 0", lambda: model().reset_kv_cache(batch_size=0), ValueError, ["batch_size", "0"]),
    ("reset: batch is a float", lambda: model().reset_kv_cache(batch_size=1.5), TypeError, ["batch_size", "1.5"]),
    ("reset: batch is True", lambda: model().reset_kv_cache(batch_size=True), TypeError, ["batch_size", "True"]),
    ("reset: length 0", lambda: model().reset_kv_cache(max_length=0), ValueError, ["max_length", "0"]),
    ("reset: negative length", lambda: model().reset_kv_cache(max_length=-3), ValueError, ["max_length", "-3"]),
    ("reset: length above the context", lambda: model().reset_kv_cache(max_length=9), ValueError,
     ["max_length", "context_length 8", "9"]),
    ("reset: length is a word", lambda: model().reset_kv_cache(max_length="all"), TypeError, ["max_length", "'all'"]),
    ("reset: both, one bad", lambda: model().reset_kv_cache(0, 4), ValueError, ["batch_size", "0"]),
]
