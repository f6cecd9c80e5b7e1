"""Wrong arguments for chapter 12: (name, call, exception, words that the message must contain)."""

import torch
from torch import nn

from gptbook.gpt import GPTModel
from gptbook.gpt_gqa import GroupedQueryAttention
from gptbook.perf_analysis import (FastDecode, MachineLimits, benchmark_decode, benchmark_training, estimate, find_max_batch,
                                   machine_limits)

CONFIG = {"vocab_size": 9, "context_length": 8, "emb_dim": 12, "n_heads": 3, "n_layers": 1}


def model():
    return GPTModel(CONFIG)


CASES = [
    ("a machine without memory", lambda: MachineLimits("cpu", torch.float32, 1, 0, 1e9), ValueError, ["bytes_per_s", "above 0"]),
    ("a machine whose speed is a text", lambda: MachineLimits("cpu", torch.float32, 1, 1e9, "fast"), TypeError, ["flops_per_s", "fast"]),
    ("limits: dtype of integers", lambda: machine_limits(torch.int8), TypeError, ["dtype", "floats", "int8"]),
    ("limits: dtype a text", lambda: machine_limits("float32"), TypeError, ["dtype", "float32"]),
    ("limits: no thread", lambda: machine_limits(threads=0), ValueError, ["threads", "1", "0"]),
    ("limits: half a thread", lambda: machine_limits(threads=1.5), TypeError, ["threads", "int", "1.5"]),
    ("limits: no such device", lambda: machine_limits(device="abacus"), ValueError, ["device", "abacus"]),
    ("estimate: no sequence", lambda: estimate(CONFIG, batch_size=0), ValueError, ["batch_size", "1", "0"]),
    ("estimate: no position", lambda: estimate(CONFIG, seq_len=0), ValueError, ["seq_len", "1", "0"]),
    ("estimate: length a float", lambda: estimate(CONFIG, seq_len=4.0), TypeError, ["seq_len", "int", "4.0"]),
    ("estimate: cached below 0", lambda: estimate(CONFIG, cached=-1), ValueError, ["cached", "0", "-1"]),
    ("estimate: beyond the context", lambda: estimate(CONFIG, cached=6, seq_len=3), ValueError, ["context_length 8", "6", "3"]),
    ("estimate: dtype of integers", lambda: estimate(CONFIG, dtype=torch.int64), TypeError, ["dtype", "floats", "int64"]),
    ("estimate: heads that do not fit", lambda: estimate({**CONFIG, "n_heads": 5}), ValueError, ["n_heads", "5"]),
    ("estimate: a key unknown here", lambda: estimate({**CONFIG, "num_kv_groups": 3}), ValueError, ["num_kv_groups"]),
    ("estimate: no attention", lambda: estimate(CONFIG, attention=nn.Linear), TypeError, ["attention", "Linear"]),
    ("batch: no memory", lambda: find_max_batch(CONFIG, 0, seq_len=4), ValueError, ["memory_bytes", "1", "0"]),
    ("batch: memory a float", lambda: find_max_batch(CONFIG, 8e9, seq_len=4), TypeError, ["memory_bytes", "int"]),
    ("batch: training a text", lambda: find_max_batch(CONFIG, 10**9, seq_len=4, training="no"), TypeError, ["training", "bool"]),
    ("batch: too long", lambda: find_max_batch(CONFIG, 10**9, seq_len=9), ValueError, ["context_length 8", "9"]),
    ("batch: groups missing", lambda: find_max_batch(CONFIG, 10**9, seq_len=4, attention=GroupedQueryAttention), ValueError,
     ["num_kv_groups"]),
    ("decode: no model", lambda: benchmark_decode(nn.Linear(2, 2)), TypeError, ["model", "GPTModel", "Linear"]),
    ("decode: one new token", lambda: benchmark_decode(model(), prompt_length=2, new_tokens=1), ValueError, ["new_tokens", "2", "1"]),
    ("decode: beyond the context", lambda: benchmark_decode(model(), prompt_length=5, new_tokens=4), ValueError,
     ["context_length 8", "5", "4"]),
    ("decode: no round", lambda: benchmark_decode(model(), prompt_length=2, new_tokens=2, rounds=0), ValueError, ["rounds", "1", "0"]),
    ("decode: no sequence", lambda: benchmark_decode(model(), prompt_length=2, new_tokens=2, batch_size=0), ValueError,
     ["batch_size", "1", "0"]),
    ("training: no model", lambda: benchmark_training({}), TypeError, ["model", "GPTModel", "dict"]),
    ("training: beyond the context", lambda: benchmark_training(model(), seq_len=9), ValueError, ["seq_len", "context_length 8", "9"]),
    ("training: no batch", lambda: benchmark_training(model(), seq_len=4, batch_size=0), ValueError, ["batch_size", "1", "0"]),
    ("training: no step", lambda: benchmark_training(model(), seq_len=4, steps=0), ValueError, ["steps", "1", "0"]),
    ("training: bf16 a number", lambda: benchmark_training(model(), seq_len=4, bf16=1), TypeError, ["bf16", "1"]),
    ("fast: no model", lambda: FastDecode(nn.Linear(2, 2)), TypeError, ["model", "GPTModel", "Linear"]),
    ("fast: int8 a number", lambda: FastDecode(model(), int8=8), TypeError, ["int8", "bool"]),
    ("fast: 64 bits", lambda: FastDecode(model().double()), TypeError, ["model", "float32", "bfloat16", "float64"]),
    ("fast: integers from 16 bits", lambda: FastDecode(model().bfloat16(), int8=True), TypeError, ["model", "float32", "int8", "bfloat16"]),
    ("fast: no memory behind it", lambda: FastDecode(model().to("meta")), ValueError, ["model", "CPU", "meta"]),
]
