"""Chapter 4: the cache changes the time and the memory, and no number."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import Watch
from gptbook import KVCache, MultiHeadAttention

DTYPES = {torch.float32: 1e-5, torch.float64: 1e-12}


def config(H=2, D=4, **more):
    return {"vocab_size": 9, "context_length": 64, "emb_dim": H * D, "n_heads": H, "n_layers": 1, **more}


def layer(dtype=torch.float64, seed=0, **sizes):
    torch.manual_seed(seed)
    return MultiHeadAttention(config(**sizes)).to(dtype).eval()


def new_keys(cache, T, seed=0):
    """Keys and values that fit the cache, T positions."""
    B, H, _, D = cache.keys.shape
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, B, H, T, D, generator=generator).to(cache.keys.dtype).unbind(0)


def contents(cache):
    return cache.length, cache.keys.clone(), cache.values.clone()


def assert_unchanged(cache, before):
    assert cache.length == before[0]
    assert torch.equal(cache.keys, before[1]) and torch.equal(cache.values, before[2])


def stack(layers, x, caches=None):
    for attention, cache in zip(layers, caches or [None] * len(layers), strict=True):
        x = x + attention(x, cache)
    return x


# --- the same numbers as without a cache -------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=7), B=st.integers(1, 4), H=st.integers(1, 3),
       D=st.sampled_from([1, 4, 5, 16]), L=st.integers(1, 3), spare=st.integers(0, 5), bias=st.booleans(),
       dtype=st.sampled_from(list(DTYPES)), mode=st.sampled_from([torch.no_grad, torch.inference_mode]))
def test_any_split_of_any_batch_gives_the_rows_of_the_whole(sizes, B, H, D, L, spare, bias, dtype, mode):
    layers = [layer(dtype, i, H=H, D=D, qkv_bias=bias) for i in range(L)]
    x = torch.randn(B, sum(sizes), H * D, dtype=dtype)
    with mode():
        caches = [attention.new_cache(B, sum(sizes) + spare) for attention in layers]
        rows = torch.cat([stack(layers, chunk, caches) for chunk in x.split(sizes, dim=1)], dim=1)
        assert_close(rows, stack(layers, x), atol=DTYPES[dtype], rtol=0)
    assert [cache.length for cache in caches] == [sum(sizes)] * L


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), B=st.integers(1, 3))
def test_bfloat16_is_as_near_to_float64_with_the_cache_as_without(sizes, B):
    low = layer(torch.bfloat16, D=16)
    high = copy.deepcopy(low).double()
    x = torch.randn(B, sum(sizes), 32).bfloat16()
    with torch.no_grad():
        cache = low.new_cache(B, sum(sizes))
        cached = torch.cat([low(chunk, cache) for chunk in x.split(sizes, dim=1)], dim=1)
        exact = high(x.double())
    assert cache.keys.dtype == torch.bfloat16
    # Four results are rounded on the way (projection, weights, heads, output), each by at most 2^-8 of its size,
    # and the largest row sets the size of what is added up.
    scale = exact.abs().max().item()
    for rows in (cached, low(x).detach()):
        assert (rows.double() - exact).abs().max() <= 4 * 2**-8 * scale


def test_equal_to_pytorchs_own_attention():
    ours, x = layer(H=3, D=4, qkv_bias=True), torch.randn(2, 13, 12, dtype=torch.float64)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
        future = torch.ones(13, 13, dtype=torch.bool).triu(1)
        expected, _ = theirs(x, x, x, attn_mask=future, need_weights=False)
        cache = ours.new_cache(2, 13)
        rows = torch.cat([ours(chunk, cache) for chunk in x.split([6, 1, 4, 2], dim=1)], dim=1)
    assert_close(rows, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("start", [0, 1, 4])
def test_a_row_of_a_chunk_depends_on_itself_and_the_past_only(start):
    attention, x = layer(), torch.randn(1, 6, 8, dtype=torch.float64)

    def chunk(x):
        cache = attention.new_cache(1, 6)
        with torch.no_grad():
            if start:
                attention(x[:, :start], cache)
            return attention(x[:, start:], cache)[0]

    rows = chunk(x)
    for j in range(6):
        other = x.clone()
        other[:, j] += 1
        changed = (chunk(other) != rows).any(dim=1).nonzero().flatten() + start
        assert changed.tolist() == list(range(max(j, start), 6))


def test_same_parameters_and_outputs_as_without_the_subclass():
    from gptbook import CausalSelfAttention

    torch.manual_seed(0)
    plain = CausalSelfAttention(config()).eval()
    remembering = MultiHeadAttention(config()).eval()
    remembering.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 8)
    assert torch.equal(plain(x), remembering(x))


def test_autocast_gives_the_cache_its_dtype():
    attention, x = layer(torch.float32), torch.randn(1, 4, 8)
    before = attention.new_cache(1, 4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(ValueError, match="bfloat16"):
            attention(x, before)
        cache = attention.new_cache(1, 4)
        assert cache.keys.dtype == torch.bfloat16
        rows = torch.cat([attention(chunk, cache) for chunk in x.split([3, 1], dim=1)], dim=1)
        assert_close(rows, attention(x), atol=0.05, rtol=0)
        assert layer(torch.float64).new_cache(1, 4).keys.dtype == torch.float64  # which autocast leaves alone


# --- memory --------------------------------------------------------------------------------------------------------


def test_update_returns_views_and_writes_only_the_new_positions():
    cache = KVCache(2, 3, 10, 4)
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("nan"))
    addresses = cache.keys.data_ptr(), cache.values.data_ptr()
    for step, T in enumerate((4, 1, 3)):
        k, v = new_keys(cache, T, step)
        _, keys_before, values_before = contents(cache)
        start = cache.length
        with Watch() as watch:
            keys, values = cache.update(k, v)
        assert watch.written == k.nbytes + v.nbytes and watch.largest == 0
        assert (keys.data_ptr(), values.data_ptr()) == addresses == (cache.keys.data_ptr(), cache.values.data_ptr())
        assert keys.shape == values.shape == (2, 3, start + T, 4)
        for block, before, new in ((cache.keys, keys_before, k), (cache.values, values_before, v)):
            assert_close(block[:, :, :start], before[:, :, :start], atol=0, rtol=0)
            assert torch.equal(block[:, :, start:start + T], new)
            assert block[:, :, start + T:].isnan().all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("T", [1, 3])
def test_a_step_makes_nothing_of_the_caches_size(mode, T):
    attention = layer(torch.float32, H=4, D=16)
    with mode():
        cache = attention.new_cache(1, 2000)
        cache.length = 1990  # filled with zeros
        address = cache.keys.data_ptr()
        with Watch() as watch:
            attention(torch.randn(1, T, 64), cache)
    assert cache.length == 1990 + T and cache.keys.data_ptr() == address
    # The widest is the mask of a chunk (T, S), which SDPA may turn into numbers; one query has none.
    assert watch.largest <= max(3 * 64 * 4 * T, 0 if T == 1 else 4 * T * 2000) < cache.nbytes / 10


@settings(deadline=None, max_examples=40)
@given(B=st.integers(1, 5), H=st.integers(1, 20), S=st.integers(1, 2048), D=st.integers(1, 128),
       dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
def test_nbytes_is_the_formula(B, H, S, D, dtype):
    cache = KVCache(B, H, S, D, dtype=dtype, device="meta")
    assert cache.nbytes == 2 * B * H * S * D * dtype.itemsize
    storage = cache.keys.untyped_storage().nbytes() + cache.values.untyped_storage().nbytes()
    assert storage == cache.nbytes and cache.max_length == S


def test_the_default_dtype_is_pytorchs():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert KVCache(1, 1, 1, 1).keys.dtype == torch.float64
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_new_cache_follows_the_weights_unless_told(dtype):
    attention = layer(dtype)
    cache = attention.new_cache(3, 7)
    assert cache.keys.shape == (3, 2, 7, 4) and cache.keys.dtype == dtype and cache.length == 0
    assert attention.new_cache(3, 7, dtype=torch.float16).values.dtype == torch.float16
    assert attention.to("meta").new_cache(3, 7).keys.device.type == "meta"
    assert attention.new_cache(3, 7, device="cpu").keys.device.type == "cpu"


# --- refusals change nothing ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(filled=st.integers(0, 6), more=st.integers(0, 9))
def test_to_the_last_position_and_not_one_more(filled, more):
    cache = KVCache(2, 2, 6, 4)
    cache.update(*new_keys(cache, filled))
    before = contents(cache)
    k, v = new_keys(cache, more, 1)
    if filled + more <= 6:
        keys, values = cache.update(k, v)
        assert cache.length == filled + more == keys.shape[2] == values.shape[2]
    else:
        with pytest.raises(ValueError, match=f"no room for {more} more: {filled} of max_length 6"):
            cache.update(k, v)
        assert_unchanged(cache, before)


BAD = {"batch": lambda t: t[:1], "heads": lambda t: t[:, :1], "T": lambda t: t[:, :, :1],
       "head size": lambda t: t[..., :2], "dtype": lambda t: t.double(), "narrow": lambda t: t.bfloat16(), "device": lambda t: t.to("meta"),
       "rank": lambda t: t[0], "list": lambda t: t.tolist()}


@pytest.mark.parametrize("which", ["k", "v"])
@pytest.mark.parametrize("kind", BAD)
def test_every_check_comes_before_anything_is_written(which, kind):
    cache = KVCache(2, 2, 6, 4)
    cache.update(*new_keys(cache, 2))
    before = contents(cache)
    k, v = new_keys(cache, 2, 1)
    k, v = (BAD[kind](k), v) if which == "k" else (k, BAD[kind](v))
    with pytest.raises(TypeError if kind == "list" else ValueError, match="k and v must be"):
        cache.update(k, v)
    assert_unchanged(cache, before)


def test_a_layer_refuses_and_leaves_the_cache():
    attention = layer()
    cache = attention.new_cache(2, 4)
    attention(torch.randn(2, 3, 8, dtype=torch.float64), cache)
    before = contents(cache)
    for x in (torch.randn(2, 2, 8), torch.randn(2, 0, 8), torch.randn(1, 1, 8), torch.randn(2, 1, 7)):
        with pytest.raises(ValueError):
            attention(x.double(), cache)
        assert_unchanged(cache, before)
    with pytest.raises(TypeError, match="new_cache"):
        attention(torch.randn(2, 1, 8).double(), True)
    attention(torch.randn(2, 1, 8).double(), cache)
    assert cache.length == 4


def test_no_position_reads_what_is_filled():
    cache = KVCache(1, 2, 4, 4)
    for filled in (0, 3):
        cache.update(*new_keys(cache, filled))
        before = contents(cache)
        keys, values = cache.update(*new_keys(cache, 0))
        assert keys.shape == values.shape == (1, 2, filled, 4)
        assert_unchanged(cache, before)


# --- what else happens to a cache ----------------------------------------------------------------------------------


def test_a_cache_made_in_inference_mode_is_written_outside_and_the_other_way_round():
    attention, x = layer(), torch.randn(1, 4, 8, dtype=torch.float64)
    with torch.inference_mode():
        cache = attention.new_cache(1, 4)
        first = attention(x[:, :2], cache)
    with torch.no_grad():
        second = attention(x[:, 2:3], cache)
    with torch.inference_mode():
        third = attention(x[:, 3:], cache)
        assert_close(torch.cat([first, second, third], dim=1), attention(x), atol=1e-12, rtol=0)
    cache.keys.zero_()


def test_no_gradient_flows_into_what_is_cached():
    attention, x = layer(), torch.randn(1, 4, 8, dtype=torch.float64, requires_grad=True)
    cache = attention.new_cache(1, 4)
    attention(x, cache).sum().backward()
    q, k, v = attention.qkv.weight.grad.chunk(3)
    assert q.abs().sum() > 0 and not k.any() and not v.any()
    assert not cache.keys.requires_grad and cache.keys.grad_fn is None


def test_reset_forgets_everything():
    attention, x = layer(), torch.randn(2, 5, 8, dtype=torch.float64)
    cache = attention.new_cache(2, 5)
    with torch.no_grad():
        attention(torch.full_like(x, 7.0), cache)
        address = cache.keys.data_ptr()
        cache.reset()
        assert cache.length == 0 and cache.keys.data_ptr() == address
        assert_close(torch.cat([attention(x[:, :2], cache), attention(x[:, 2:], cache)], dim=1), attention(x),
                     atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=30)
@given(back_to=st.integers(0, 5), rest=st.integers(1, 3))
def test_setting_length_back_takes_positions_back(back_to, rest):
    layers = [layer(seed=i) for i in range(2)]
    x, other = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    caches = [attention.new_cache(1, 8) for attention in layers]
    with torch.no_grad():
        stack(layers, torch.cat([x[:, :back_to], other[:, back_to:5]], dim=1), caches)
        layers[0](other[:, :2], caches[0])  # interrupted between two layers
        for cache in caches:
            cache.length = back_to
        end = back_to + rest
        rows = stack(layers, x[:, back_to:end], caches)
        assert_close(rows, stack(layers, x[:, :end])[:, back_to:], atol=1e-12, rtol=0)


def test_an_error_between_keys_and_values_leaves_the_length():
    cache = KVCache(1, 2, 4, 4)
    cache.update(*new_keys(cache, 1))
    kept = cache.keys[:, :, :1].clone(), cache.values[:, :, :1].clone()

    class Interrupt(TorchDispatchMode):
        copies = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.copies += func is torch.ops.aten.copy_.default
            if self.copies == 2:
                raise KeyboardInterrupt
            return func(*args, **(kwargs or {}))

    with pytest.raises(KeyboardInterrupt), Interrupt():
        cache.update(*new_keys(cache, 2, 1))
    assert cache.length == 1
    keys, values = cache.update(*new_keys(cache, 0))
    assert torch.equal(keys, kept[0]) and torch.equal(values, kept[1])


def test_two_sequences_in_turns_and_uncached_calls_between():
    attention, texts = layer(), torch.randn(2, 3, 6, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = [attention(text) for text in texts]
        caches = [attention.new_cache(3, 6) for _ in texts]
        for n in range(6):
            for text, cache, rows in zip(texts, caches, expected, strict=True):
                before = contents(cache)
                attention(torch.randn(5, 2, 8, dtype=torch.float64))
                assert_unchanged(cache, before)
                assert_close(attention(text[:, n:n + 1], cache), rows[:, n:n + 1], atol=1e-12, rtol=0)
    assert not [name for name in vars(attention) if "cache" in name] and set(attention.state_dict()) == {
        "qkv.weight", "out_proj.weight", "out_proj.bias"}


def test_what_lies_behind_length_is_ignored():
    attention, x = layer(), torch.randn(1, 4, 8, dtype=torch.float64)
    cache = attention.new_cache(1, 9)
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("nan"))
    with torch.no_grad():
        rows = torch.cat([attention(chunk, cache) for chunk in x.split([2, 1, 1], dim=1)], dim=1)
        assert_close(rows, attention(x), atol=1e-12, rtol=0)


def test_keys_and_values_are_not_mixed_up():
    cache = KVCache(1, 1, 2, 2)
    keys, values = cache.update(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 4.0]]]]))
    assert keys.flatten().tolist() == [1, 2] and values.flatten().tolist() == [3, 4]
    assert repr(cache) == "KVCache(1 of 2 positions, B=1, H=1, D=2, torch.float32)"


def test_training_mode_drops_weights_and_evaluation_does_not():
    attention, x = layer(drop_rate=0.5), torch.randn(1, 6, 8, dtype=torch.float64)
    with torch.no_grad():
        a, b = (attention.train()(x, attention.new_cache(1, 6)) for _ in range(2))
        assert not torch.allclose(a, b)
        assert torch.equal(attention.eval()(x, attention.new_cache(1, 6)), attention(x))
