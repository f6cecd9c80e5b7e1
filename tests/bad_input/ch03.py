"""What chapter 3's functions and classes refuse: (id, call, exception, words of its message)."""

import torch

from gptbook.attention import CausalSelfAttention, causal_attention

CONFIG = {"vocab_size": 16, "context_length": 8, "emb_dim": 12, "n_heads": 3, "n_layers": 1}


def _qkv(T=4, S=4, dtype=torch.float32):
    return torch.zeros(2, 3, T, 4, dtype=dtype), torch.zeros(2, 3, S, 4, dtype=dtype), torch.zeros(2, 3, S, 4, dtype=dtype)


def _attend(**changed):
    q, k, v = _qkv()
    return causal_attention(**{"q": q, "k": k, "v": v, **changed})


def _layer(x):
    return CausalSelfAttention(CONFIG)(x)


def _attend_in_layer(H=3, D=4, Dv=4, dtype=torch.float32):
    q, v = torch.zeros(2, H, 4, D, dtype=dtype), torch.zeros(2, H, 4, Dv, dtype=dtype)
    return CausalSelfAttention(CONFIG).attend(q, q, v)


CASES = [
    ("causal_attention: a list for q", lambda: _attend(q=[[1.0]]), TypeError, ["q", "float tensor", "list"]),
    ("causal_attention: ints", lambda: causal_attention(*_qkv(dtype=torch.int64)), TypeError, ["q", "float", "int64"]),
    ("causal_attention: bool values", lambda: _attend(v=torch.ones(2, 3, 4, 4, dtype=torch.bool)), TypeError,
     ["v", "float", "bool"]),
    ("causal_attention: two dtypes", lambda: _attend(k=torch.zeros(2, 3, 4, 4, dtype=torch.float64)), TypeError,
     ["one dtype", "float32", "float64"]),
    ("causal_attention: two devices", lambda: _attend(v=torch.zeros(2, 3, 4, 4, device="meta")), ValueError,
     ["one device", "cpu, cpu and meta"]),
    ("causal_attention: rank 3", lambda: _attend(q=torch.zeros(3, 4, 4)), ValueError,
     ["q", "(batch, heads, positions, head size)", "(3, 4, 4)"]),
    ("causal_attention: rank 5 values", lambda: _attend(v=torch.zeros(1, 2, 3, 4, 4)), ValueError,
     ["v", "(1, 2, 3, 4, 4)"]),
    ("causal_attention: batches differ", lambda: _attend(q=torch.zeros(1, 3, 4, 4)), ValueError,
     ["do not fit", "(1, 3, 4, 4)"]),
    ("causal_attention: heads differ", lambda: _attend(q=torch.zeros(2, 6, 4, 4)), ValueError,
     ["do not fit", "(2, 6, 4, 4)"]),
    ("causal_attention: head sizes differ", lambda: _attend(q=torch.zeros(2, 3, 4, 5)), ValueError,
     ["do not fit", "(2, 3, 4, 5)"]),
    ("causal_attention: fewer values than keys", lambda: _attend(v=torch.zeros(2, 3, 3, 4)), ValueError,
     ["do not fit", "(2, 3, 3, 4)"]),
    ("causal_attention: more queries than positions", lambda: causal_attention(*_qkv(T=5)), ValueError,
     ["last T of S", "T = 5", "S = 4"]),
    ("causal_attention: no query", lambda: causal_attention(*_qkv(T=0)), ValueError, ["0 < T <= S", "T = 0"]),
    ("causal_attention: nothing at all", lambda: causal_attention(*_qkv(T=0, S=0)), ValueError, ["T = 0", "S = 0"]),
    ("causal_attention: dropout of 1", lambda: _attend(dropout_p=1.0), ValueError, ["dropout_p", "[0, 1)", "1.0"]),
    ("causal_attention: negative dropout", lambda: _attend(dropout_p=-0.1), ValueError, ["dropout_p", "-0.1"]),
    ("causal_attention: dropout not a number", lambda: _attend(dropout_p=float("nan")), ValueError,
     ["dropout_p", "nan"]),
    ("causal_attention: dropout a str", lambda: _attend(dropout_p="0.1"), TypeError, ["dropout_p", "number", "'0.1'"]),
    ("causal_attention: dropout True", lambda: _attend(dropout_p=True), TypeError, ["dropout_p", "number", "True"]),
    ("causal_attention: dropout None", lambda: _attend(dropout_p=None), TypeError, ["dropout_p", "number", "None"]),
    ("CausalSelfAttention: cfg is a list", lambda: CausalSelfAttention([12, 3]), TypeError, ["GPTConfig", "list"]),
    ("CausalSelfAttention: heads do not divide", lambda: CausalSelfAttention({**CONFIG, "n_heads": 5}), ValueError,
     ["emb_dim", "n_heads", "12", "5"]),
    ("CausalSelfAttention: missing key", lambda: CausalSelfAttention({"emb_dim": 12}), ValueError, ["n_heads"]),
    ("CausalSelfAttention: unknown key", lambda: CausalSelfAttention({**CONFIG, "n_head": 3}), ValueError, ["n_head"]),
    ("CausalSelfAttention: x is a list", lambda: _layer([[[0.0] * 12]]), TypeError, ["x", "tensor", "list"]),
    ("CausalSelfAttention: token ids", lambda: _layer(torch.zeros(2, 4, 12, dtype=torch.int64)), TypeError,
     ["x", "floats", "int64"]),
    ("CausalSelfAttention: float64", lambda: _layer(torch.zeros(2, 4, 12, dtype=torch.float64)), TypeError,
     ["dtype", "float32", "float64"]),
    ("attend: other heads", lambda: _attend_in_layer(H=6), ValueError, ["3 heads of size 4", "(2, 6, 4, 4)"]),
    ("attend: heads and sizes swapped", lambda: _attend_in_layer(H=4, D=3, Dv=3), ValueError,
     ["3 heads of size 4", "(2, 4, 4, 3)"]),
    ("attend: another size of values", lambda: _attend_in_layer(Dv=5), ValueError,
     ["3 heads of size 4", "(2, 3, 4, 5)"]),
    ("attend: float64", lambda: _attend_in_layer(dtype=torch.float64), TypeError,
     ["q", "layer's dtype torch.float32", "torch.float64"]),
    ("attend: rank 3", lambda: CausalSelfAttention(CONFIG).attend(*[torch.zeros(3, 4, 4)] * 3), ValueError,
     ["q", "(batch, heads, positions, head size)", "(3, 4, 4)"]),
    ("CausalSelfAttention: rank 2", lambda: _layer(torch.zeros(4, 12)), ValueError,
     ["(batch, positions, 12)", "(4, 12)"]),
    ("CausalSelfAttention: another width", lambda: _layer(torch.zeros(2, 4, 13)), ValueError, ["12", "(2, 4, 13)"]),
    ("CausalSelfAttention: no positions", lambda: _layer(torch.zeros(2, 0, 12)), ValueError,
     ["at least one position", "(2, 0, 12)"]),
]
