"""Wrong arguments for chapter 8: (name, call, exception, words that the message must contain)."""

import torch
from torch import nn

from gptbook.gpt import GPTModel
from gptbook.gpt_gqa import GQAConfig, GroupedQueryAttention, gqa_from_mha, grouped_attention
from gptbook.kv_cache import KVCache

MHA = {"vocab_size": 9, "context_length": 16, "emb_dim": 24, "n_heads": 6, "n_layers": 1}
CONFIG = {**MHA, "num_kv_groups": 2}


def heads(n, T, D=4, B=2, **kind):
    return torch.zeros(B, n, T, D, **kind)


def attend(x, cache="new"):
    """A cached call of a layer with E = 24, H = 6 and K = 2, for a batch of 2 and 4 positions."""
    attention = GroupedQueryAttention(CONFIG)
    return attention(x, attention.new_cache(2, 4) if cache == "new" else cache)


def wide_cache():
    """A cache of as many heads as there are queries, given to a layer that fills two."""
    return attend(torch.zeros(2, 1, 24), KVCache(2, 6, 4, 4))


CASES = [
    ("groups that do not divide", lambda: GQAConfig(**{**CONFIG, "num_kv_groups": 4}), ValueError,
     ["n_heads", "num_kv_groups", "6 and 4"]),
    ("more groups than heads", lambda: GQAConfig(**{**CONFIG, "num_kv_groups": 12}), ValueError, ["6 and 12"]),
    ("no group", lambda: GQAConfig(**{**CONFIG, "num_kv_groups": 0}), ValueError, ["num_kv_groups", "at least 1", "0"]),
    ("groups -1", lambda: GQAConfig(**{**CONFIG, "num_kv_groups": -1}), ValueError, ["num_kv_groups", "-1"]),
    ("groups 2.0", lambda: GQAConfig(**{**CONFIG, "num_kv_groups": 2.0}), TypeError, ["num_kv_groups", "int", "2.0"]),
    ("groups True", lambda: GQAConfig(**{**CONFIG, "num_kv_groups": True}), TypeError, ["num_kv_groups", "True"]),
    ("layer: groups missing", lambda: GroupedQueryAttention(MHA), ValueError, ["missing", "num_kv_groups"]),
    ("layer: unknown key", lambda: GroupedQueryAttention({**CONFIG, "num_kv_heads": 2}), ValueError,
     ["unknown", "num_kv_heads"]),
    ("layer: no config", lambda: GroupedQueryAttention(None), TypeError, ["cfg", "dict", "NoneType"]),
    ("model: key of the variant without its attention", lambda: GPTModel(CONFIG), ValueError,
     ["unknown", "num_kv_groups"]),
    ("layer: token ids", lambda: attend(torch.zeros(2, 1, dtype=torch.int64)), TypeError, ["floats", "int64"]),
    ("layer: another width", lambda: attend(torch.zeros(2, 1, 12)), ValueError, ["24", "(2, 1, 12)"]),
    ("layer: no position", lambda: attend(torch.zeros(2, 0, 24)), ValueError, ["at least one position"]),
    ("layer: chunk too long", lambda: attend(torch.zeros(2, 5, 24)), ValueError, ["no room for 5", "max_length 4"]),
    ("layer: cache of all heads", wide_cache, ValueError, ["(2, 6, T, 4)", "(2, 2, 1, 4)"]),
    ("layer: cache a dict", lambda: attend(torch.zeros(2, 1, 24), {}), TypeError, ["cache", "new_cache"]),
    ("new_cache: batch size 0", lambda: GroupedQueryAttention(CONFIG).new_cache(0, 4), ValueError, ["batch_size", "0"]),
    ("attend: queries of too few heads", lambda: GroupedQueryAttention(CONFIG).attend(heads(4, 1), heads(2, 1), heads(2, 1)),
     ValueError, ["6 heads", "(2, 4, 1, 4)"]),
    ("attention: heads that do not divide", lambda: grouped_attention(heads(6, 1), heads(4, 3), heads(4, 3)), ValueError,
     ["q", "multiple", "6 and 4"]),
    ("attention: more key heads than query heads", lambda: grouped_attention(heads(2, 1), heads(4, 3), heads(4, 3)),
     ValueError, ["2 and 4"]),
    ("attention: no key head", lambda: grouped_attention(heads(2, 1), heads(0, 3), heads(0, 3)), ValueError, ["2 and 0"]),
    ("attention: no query head", lambda: grouped_attention(heads(0, 1), heads(2, 3), heads(2, 3)), ValueError, ["0 and 2"]),
    ("attention: other heads in v", lambda: grouped_attention(heads(6, 1), heads(2, 3), heads(3, 3)), ValueError,
     ["do not fit", "(2, 6, 1, 4)", "(2, 2, 3, 4)", "(2, 3, 3, 4)"]),
    ("attention: another batch", lambda: grouped_attention(heads(6, 1), heads(2, 3, B=1), heads(2, 3, B=1)), ValueError,
     ["do not fit", "(2, 6, 1, 4)", "(1, 2, 3, 4)"]),
    ("attention: another head size", lambda: grouped_attention(heads(6, 1, 8), heads(2, 3), heads(2, 3)), ValueError,
     ["do not fit", "(2, 6, 1, 8)"]),
    ("attention: v longer than k", lambda: grouped_attention(heads(6, 1), heads(2, 3), heads(2, 4)), ValueError,
     ["do not fit", "(2, 2, 4, 4)"]),
    ("attention: more queries than positions", lambda: grouped_attention(heads(6, 4), heads(2, 3), heads(2, 3)),
     ValueError, ["T = 4", "S = 3"]),
    ("attention: no query", lambda: grouped_attention(heads(6, 0), heads(2, 3), heads(2, 3)), ValueError, ["T = 0"]),
    ("attention: rank 3", lambda: grouped_attention(heads(6, 1)[0], heads(2, 3), heads(2, 3)), ValueError,
     ["q must be", "(6, 1, 4)"]),
    ("attention: values of rank 5", lambda: grouped_attention(heads(6, 1), heads(2, 3), heads(2, 3)[None]), ValueError,
     ["v must be", "(1, 2, 2, 3, 4)"]),
    ("attention: q a list", lambda: grouped_attention([1.0], heads(2, 3), heads(2, 3)), TypeError, ["q", "float tensor", "list"]),
    ("attention: k of integers", lambda: grouped_attention(heads(6, 1), heads(2, 3, dtype=torch.int64), heads(2, 3)),
     TypeError, ["k", "int64"]),
    ("attention: two dtypes", lambda: grouped_attention(heads(6, 1).double(), heads(2, 3), heads(2, 3)), TypeError,
     ["one dtype", "float64", "float32"]),
    ("attention: dropout 1", lambda: grouped_attention(heads(6, 1), heads(2, 3), heads(2, 3), 1.0), ValueError,
     ["dropout_p", "1.0"]),
    ("attention: dropout a str", lambda: grouped_attention(heads(6, 1), heads(2, 3), heads(2, 3), "0.1"), TypeError,
     ["dropout_p", "number", "'0.1'"]),
    ("attention: dropout True", lambda: grouped_attention(heads(6, 1), heads(2, 3), heads(2, 3), True), TypeError,
     ["dropout_p", "number", "True"]),
    ("attention: dropout None", lambda: grouped_attention(heads(6, 1), heads(2, 3), heads(2, 3), None), TypeError,
     ["dropout_p", "number", "None"]),
    ("attention: keys on another device", lambda: grouped_attention(heads(6, 1), heads(2, 3, device="meta"), heads(2, 3)),
     ValueError, ["one device", "cpu, meta and cpu"]),
    ("attention: queries on another device", lambda: grouped_attention(heads(6, 2, device="meta"), heads(2, 3), heads(2, 3)),
     ValueError, ["one device", "meta, cpu and cpu"]),
    ("gqa_from_mha: groups that do not divide", lambda: gqa_from_mha(GPTModel(MHA), 4), ValueError, ["n_heads", "6 and 4"]),
    ("gqa_from_mha: groups 0", lambda: gqa_from_mha(GPTModel(MHA), 0), ValueError, ["num_kv_groups", "0"]),
    ("gqa_from_mha: groups a str", lambda: gqa_from_mha(GPTModel(MHA), "2"), TypeError, ["num_kv_groups", "'2'"]),
    ("gqa_from_mha: another pool", lambda: gqa_from_mha(GPTModel(MHA), 2, "max"), ValueError,
     ["pool", "'mean'", "'first'", "'random'", "'max'"]),
    ("gqa_from_mha: pool None", lambda: gqa_from_mha(GPTModel(MHA), 2, None), ValueError, ["pool", "None"]),
    ("gqa_from_mha: a converted model", lambda: gqa_from_mha(GPTModel(CONFIG, attention=GroupedQueryAttention), 2),
     TypeError, ["model", "MultiHeadAttention", "GroupedQueryAttention"]),
    ("gqa_from_mha: a layer", lambda: gqa_from_mha(nn.Linear(2, 2), 2), TypeError, ["model", "GPTModel", "Linear"]),
    ("gqa_from_mha: a name", lambda: gqa_from_mha("124M", 2), TypeError, ["model", "GPTModel", "str"]),
]
