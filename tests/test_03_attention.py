"""Chapter 3: causal attention against loops in float64, nn.MultiheadAttention and its own definition."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from gptbook.attention import CausalSelfAttention, causal_attention
from gptbook.layers import GPTConfig

CONFIG = {"vocab_size": 16, "context_length": 32, "emb_dim": 24, "n_heads": 3, "n_layers": 1}
sizes = st.integers(1, 4)
few = settings(deadline=None, max_examples=40)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def loops(q, k, v):
    """The definition, with Python floats: q (T, D), k (S, D), v (S, Dv) -> lists (T, Dv)."""
    T, S, D = len(q), len(k), len(q[0])
    rows = []
    for i in range(T):
        scores = [sum(a * b for a, b in zip(q[i], k[j])) / math.sqrt(D) for j in range(S - T + i + 1)]
        top = max(scores)
        exponentials = [math.exp(s - top) for s in scores]
        rows.append([sum(e * v[j][d] for j, e in enumerate(exponentials)) / sum(exponentials)
                     for d in range(len(v[0]))])
    return rows


def oracle(q, k, v):
    return torch.tensor([[loops(q[b, h].tolist(), k[b, h].tolist(), v[b, h].tolist()) for h in range(q.shape[1])]
                         for b in range(q.shape[0])], dtype=torch.float64)


@few
@given(B=sizes, H=sizes, T=st.integers(1, 7), old=st.integers(0, 6), D=st.integers(1, 9), Dv=st.integers(1, 9),
       seed=st.integers(0, 99))
def test_equals_loops_in_float64_for_any_shape(B, H, T, old, D, Dv, seed):
    S = T + old
    q, k, v = draw(B, H, T, D, seed=seed), draw(B, H, S, D, seed=seed + 1), draw(B, H, S, Dv, seed=seed + 2)
    out = causal_attention(q, k, v)
    assert out.shape == (B, H, T, Dv) and out.dtype == torch.float64
    assert_close(out, oracle(q, k, v), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)])
@pytest.mark.parametrize("T", [1, 3, 9])
def test_narrow_dtypes_stay_narrow_and_near(dtype, tolerance, T):
    q, k, v = (draw(2, 3, n, 8, seed=n, dtype=dtype) for n in (T, 9, 9))
    out = causal_attention(q, k, v)
    assert out.dtype == dtype
    assert_close(out.double(), oracle(q.double(), k.double(), v.double()), rtol=0, atol=tolerance)


@few
@given(S=st.integers(1, 40), data=st.data())
def test_the_last_queries_alone_give_the_last_rows(S, data):
    T = data.draw(st.integers(1, S))
    q, k, v = (draw(2, 2, S, 4, seed=s) for s in range(3))
    assert_close(causal_attention(q[:, :, -T:], k, v), causal_attention(q, k, v)[:, :, -T:], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("T", "S"), [(1, 1), (6, 6), (1, 6), (4, 6)])
def test_depends_on_the_whole_past_and_on_no_future(T, S):
    q, k, v = draw(1, 1, T, 3), draw(1, 1, S, 3, seed=1), draw(1, 1, S, 3, seed=2)
    expected = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    for which in ("k", "v"):
        def f(t):
            return causal_attention(q, **{"k": k, "v": v, which: t})[0, 0]

        jacobian = torch.autograd.functional.jacobian(f, {"k": k, "v": v}[which])[:, :, 0, 0]      # (T, 3, S, 3)
        moved = jacobian.abs().amax(dim=(1, 3)) > 0
        if which == "k" and T == S:
            expected_k = expected.clone()
            expected_k[0, 0] = False        # the only key of row 0 has weight 1, whatever it is
            assert torch.equal(moved, expected_k)
        else:
            assert torch.equal(moved, expected)


def test_weights_sum_to_one_however_large_the_scores():
    for loudness in (1.0, 1e4, 1e8):
        q, k = loudness * draw(1, 2, 8, 4, dtype=torch.float32), draw(1, 2, 8, 4, seed=1, dtype=torch.float32)
        for T in (8, 5, 1):
            assert_close(causal_attention(q[:, :, -T:], k, torch.ones(1, 2, 8, 1)), torch.ones(1, 2, T, 1))


def test_scores_are_divided_by_the_root_of_d():
    q, k = torch.full((1, 1, 1, 16), 1.0), torch.zeros(1, 1, 2, 16)
    k[0, 0, 1] = math.log(3) / 4                         # score log 3 * 16 / 4 / sqrt(16) = log 3
    out = causal_attention(q, k, torch.tensor([0.0, 1.0]).view(1, 1, 2, 1))
    assert_close(out.item(), 0.75)


@pytest.mark.parametrize(("T", "S"), [(4, 4), (2, 4), (1, 4)])
def test_gradients(T, S):
    q, k, v = (draw(1, 2, n, 3, seed=n).requires_grad_() for n in (T, S, S))
    assert torch.autograd.gradcheck(causal_attention, (q, k, v))


def test_takes_views_that_are_not_contiguous_and_changes_nothing():
    k, v = (draw(2, 12, 3, 4, seed=s).transpose(1, 2)[:, :, 1:10] for s in (1, 2))
    q = draw(2, 9, 3, 4).transpose(1, 2)
    before = [t.clone() for t in (q, k, v)]
    assert_close(causal_attention(q, k, v), causal_attention(*(t.contiguous() for t in (q, k, v))))
    assert all(torch.equal(a, b) for a, b in zip((q, k, v), before))


@pytest.mark.parametrize(("T", "S"), [(6, 6), (3, 6)])
def test_dropout_of_weights_is_unbiased(T, S):
    torch.manual_seed(0)
    q, k, v = draw(1, 1, T, 4), draw(1, 1, S, 4, seed=1), draw(1, 1, S, 2, seed=2)
    many = causal_attention(*(t.expand(20_000, 1, -1, -1) for t in (q, k, v)), dropout_p=0.25)
    assert not torch.equal(many[0], many[1])
    assert_close(many.mean(0), causal_attention(q, k, v)[0], rtol=0, atol=0.05)


@few
@given(B=sizes, T=st.integers(1, 12), H=sizes, D=st.integers(1, 6), bias=st.booleans(), seed=st.integers(0, 99))
def test_layer_equals_multihead_attention_with_its_weights(B, T, H, D, bias, seed):
    torch.manual_seed(seed)
    E = H * D
    ours = CausalSelfAttention({**CONFIG, "emb_dim": E, "n_heads": H, "qkv_bias": bias}).double()
    theirs = nn.MultiheadAttention(E, H, bias=True, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias) if bias else theirs.in_proj_bias.zero_()
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    x = torch.randn(B, T, E, dtype=torch.float64)
    expected, _ = theirs(x, x, x, attn_mask=torch.ones(T, T, dtype=torch.bool).triu(1), need_weights=False)
    assert_close(ours(x), expected, rtol=0, atol=1e-12)


def test_layer_row_depends_on_rows_up_to_its_own():
    torch.manual_seed(0)
    layer = CausalSelfAttention(CONFIG).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x[None])[0], draw(7, 24))
    assert torch.equal(jacobian.abs().amax(dim=(1, 3)) > 0, torch.ones(7, 7, dtype=torch.bool).tril())


def test_texts_of_a_batch_do_not_meet():
    layer = CausalSelfAttention(CONFIG).double()
    x = draw(3, 5, 24)
    assert_close(layer(x), torch.cat([layer(one[None]) for one in x]))


def test_layer_is_project_then_attend():
    layer = CausalSelfAttention({**CONFIG, "drop_rate": 0.5}).double().eval()
    x = draw(2, 6, 24)
    q, k, v = layer.project(x)
    assert q.shape == k.shape == v.shape == (2, 3, 6, 8)
    assert_close(layer.attend(q, k, v), layer(x), rtol=0, atol=0)
    assert_close(layer.attend(q[:, :, -2:], k, v), layer(x)[:, -2:])     # what chapter 4 does with a cache


def test_dropout_in_training_only():
    x = draw(2, 6, 24, dtype=torch.float32)
    layer = CausalSelfAttention({**CONFIG, "drop_rate": 0.5})
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert_close(layer(x), layer(x), rtol=0, atol=0)
    plain = CausalSelfAttention(CONFIG)
    plain.load_state_dict(layer.state_dict())
    assert_close(plain(x), layer(x), rtol=0, atol=0)                     # drop_rate 0: training is no different


def test_parameters_and_their_names():
    names = {name: tuple(p.shape) for name, p in CausalSelfAttention({**CONFIG, "qkv_bias": True}).named_parameters()}
    assert names == {"qkv.weight": (72, 24), "qkv.bias": (72,), "out_proj.weight": (24, 24), "out_proj.bias": (24,)}
    assert "qkv.bias" not in dict(CausalSelfAttention(CONFIG).named_parameters())


def test_a_variant_reads_its_own_config():
    @dataclass(frozen=True)
    class Config(GPTConfig):
        window: int = 4

    class Variant(CausalSelfAttention):
        config_class = Config

    assert Variant({**CONFIG, "window": 2}).cfg.window == 2
    assert isinstance(CausalSelfAttention(GPTConfig(**CONFIG)).cfg, GPTConfig)
    with pytest.raises(ValueError, match="window"):
        CausalSelfAttention({**CONFIG, "window": 2})


def test_autocast_and_bfloat16():
    x = draw(2, 6, 24, dtype=torch.float32)
    layer = CausalSelfAttention(CONFIG)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(x)
        assert layer(x.bfloat16()).dtype == mixed.dtype == torch.bfloat16
    assert_close(mixed.float(), layer(x), rtol=0, atol=3e-2)
    assert_close(layer.bfloat16()(x.bfloat16()).float(), mixed.float(), rtol=0, atol=3e-2)


def test_meta_device_knows_the_shape():
    with torch.device("meta"):
        assert CausalSelfAttention(CONFIG)(torch.empty(2, 6, 24)).shape == (2, 6, 24)


def test_keeps_memory_linear_in_t_for_the_backward_pass():
    def kept(T):
        storages = {}

        def pack(t):
            storages[t.untyped_storage().data_ptr()] = t.untyped_storage()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            causal_attention(*(torch.randn(1, 2, T, 16, requires_grad=True) for _ in range(3)))
        return sum(s.nbytes() for s in storages.values())

    assert kept(1024) == pytest.approx(2 * kept(512), rel=0.01)
