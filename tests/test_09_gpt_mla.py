"""Chapter 9: latents, two equal ways to use them, and what becomes of a model that is given them."""

import copy
import math
import warnings

import pytest
import torch
from conftest import Watch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

import gptbook.gpt_mla as gpt_mla
from gptbook import (
    GPTModel, HalfCacheAttention, LatentCache, MLAConfig, MultiHeadAttention, MultiHeadLatentAttention, absorbed_attention,
    expanded_attention, latent_attention, mla_from_mha, rotate)

KINDS = {"half": HalfCacheAttention, "latent": MultiHeadLatentAttention}
each_kind = pytest.mark.parametrize("kind", KINDS)


def config(kind="mha", H=2, D=4, **more):
    latent = {"latent_dim": 3, "rope_dim": 2, "latent_norm": True} if kind == "latent" else {}
    return {"vocab_size": 19, "context_length": 64, "emb_dim": H * D, "n_heads": H, "n_layers": 2, **latent, **more}


def layer(kind, dtype=torch.float64, seed=0, **more):
    torch.manual_seed(seed)
    return KINDS[kind](config(kind, **more)).to(dtype).eval()


def trained(dtype=torch.float64, bias=True, **more):
    """A model with large random weights everywhere, biases and norms too."""
    torch.manual_seed(0)
    model = GPTModel(config(qkv_bias=bias, **more)).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


IDS = torch.randint(19, (6, 20), generator=torch.Generator().manual_seed(0))


# --- against other people's code -------------------------------------------------------------------------------------


@pytest.mark.parametrize("absorb", [None, True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_transformers_deepseek_v2(dtype, absorb):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import DynamicCache
        from transformers.models.deepseek_v2 import DeepseekV2Config
        from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Attention, DeepseekV2RotaryEmbedding
    H, D, r, R, N = 4, 6, 10, 8, 30
    ours = layer("latent", dtype, H=H, D=D, latent_dim=r, rope_dim=R)
    ours.absorb = absorb
    cfg = DeepseekV2Config(hidden_size=H * D, num_attention_heads=H, num_key_value_heads=H, kv_lora_rank=r, q_lora_rank=None,
                           qk_nope_head_dim=D, qk_rope_head_dim=R, v_head_dim=D, num_hidden_layers=1, attn_implementation="eager")
    theirs, rotary = DeepseekV2Attention(cfg, layer_idx=0).to(dtype).eval(), DeepseekV2RotaryEmbedding(cfg)
    x = torch.randn(2, N, H * D, dtype=dtype)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.mul_(2).add_(torch.randn_like(parameter) * 0.1)
        ours.out_proj.bias.zero_()
        q_rows, down = ours.qkv.weight.split([H * (D + R), r + R])
        for target, source in ((theirs.q_proj, q_rows), (theirs.kv_a_proj_with_mqa, down),
                               (theirs.kv_a_layernorm, ours.latent_norm.weight), (theirs.o_proj, ours.out_proj.weight),
                               (theirs.kv_b_proj, ours.kv_up.weight.view(2, H, D, r).transpose(0, 1).flatten(0, 2))):
            target.weight.copy_(source)

        def rows(chunk, start, cache):
            T, S = chunk.shape[1], start + chunk.shape[1]
            hidden = torch.zeros(T, S, dtype=dtype).masked_fill(~torch.ones(T, S, dtype=torch.bool).tril(S - T), -math.inf)
            return theirs(chunk, attention_mask=hidden[None, None], past_key_values=cache,
                          position_embeddings=rotary(chunk, torch.arange(start, S)[None]))[0]

        assert_close(ours(x), rows(x, 0, None), atol=1e-5, rtol=0)  # they turn and norm in float32
        our_cache, their_cache, start = ours.new_cache(2, N), DynamicCache(), 0
        for chunk in x.split([11, 1, 1, 12, 5], dim=1):
            assert_close(ours(chunk, our_cache), rows(chunk, start, their_cache), atol=1e-5, rtol=0)
            start += chunk.shape[1]


# --- two ways, one result ------------------------------------------------------------------------------------------


def parts(T, S, H=2, D=4, r=5, R=0, B=1, device="cpu", dtype=torch.float64):
    shapes = (B, H, T, D + R), (B, S, r + R), (H, D, r), (H, D, r)
    return [torch.randn(shape, device=device, dtype=dtype) for shape in shapes]


@settings(deadline=None, max_examples=60)
@given(T=st.integers(1, 9), before=st.integers(0, 9), H=st.integers(1, 4), D=st.integers(1, 8), r=st.integers(1, 12),
       R=st.sampled_from([0, 2, 6]), B=st.integers(1, 3))
def test_both_ways_are_attention_to_the_keys_and_values(T, before, H, D, r, R, B):
    q, c, k_up, v_up = parts(T, T + before, H, D, r, R, B)
    k = torch.stack([c[..., :r] @ up.T for up in k_up], dim=1)
    k = torch.cat([k, c[:, None, :, r:].repeat(1, H, 1, 1)], dim=-1)
    v = torch.stack([c[..., :r] @ up.T for up in v_up], dim=1)
    scores = q @ k.mT / math.sqrt(D + R)
    scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(before), -math.inf)
    expected = scores.softmax(dim=-1) @ v
    for way in (expanded_attention, absorbed_attention, latent_attention):
        assert_close(way(q, c, k_up, v_up), expected, atol=1e-12 * max(1, expected.abs().max().item()), rtol=0)


@pytest.mark.parametrize("R", [0, 8])
@pytest.mark.parametrize("D, r", [(16, 8), (16, 16), (16, 24), (16, 96), (4, 48)])
def test_the_choice_is_the_one_with_fewer_counted_operations(monkeypatch, D, r, R):
    chosen = []
    for name in ("_absorb", "_expand"):
        way = getattr(gpt_mla, name)
        monkeypatch.setattr(gpt_mla, name, lambda *args, name=name, way=way: (chosen.append(name), way(*args))[1])

    def counted(way, T, S):
        with FlopCounterMode(display=False) as counter:
            way(*parts(T, S, H=3, D=D, r=r, R=R, device="meta", dtype=torch.float32))
        return counter.get_total_flops()

    seen = set()
    for T, S in [(1, 40), (2, 40), (5, 40), (12, 40), (19, 40), (25, 40), (40, 40), (1, 1000), (30, 1000), (100, 1000), (3, 3)]:
        absorbed, expanded = counted(absorbed_attention, T, S), counted(expanded_attention, T, S)
        chosen.clear()
        latent_attention(*parts(T, S, H=3, D=D, r=r, R=R))
        assert chosen == ["_absorb" if absorbed <= expanded else "_expand"], (T, S)
        seen |= set(chosen)
        for absorb, name, way in ((True, "_absorb", absorbed_attention), (False, "_expand", expanded_attention)):
            chosen.clear()
            latent_attention(*parts(T, S, H=3, D=D, r=r, R=R), absorb=absorb)
            way(*parts(T, S, H=3, D=D, r=r, R=R))
            assert chosen == [name, name]
    assert len(seen) == 1 + (r > D)


@pytest.mark.parametrize("way", [expanded_attention, absorbed_attention, latent_attention])
def test_the_arguments_are_checked_once(monkeypatch, way):
    calls, check = [], gpt_mla._check_latents
    monkeypatch.setattr(gpt_mla, "_check_latents", lambda *args: (calls.append(1), check(*args)))
    for T in (1, 9):
        calls.clear()
        way(*parts(T, 9))
        assert calls == [1]


@pytest.mark.parametrize("way", [expanded_attention, absorbed_attention])
def test_dropout_reaches_the_weights(way):
    args = parts(3, 9)
    torch.manual_seed(0)
    dropped = [way(*args, 0.5) for _ in range(2)]
    assert not torch.allclose(*dropped) and torch.equal(way(*args, 0.0), way(*args))


# --- positions -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(T=st.integers(1, 6), pairs=st.integers(1, 8), start=st.integers(0, 5000), base=st.sampled_from([10_000.0, 100.0, 7]))
def test_rotate_is_a_product_of_complex_numbers(T, pairs, start, base):
    x = torch.randn(2, 3, T, 2 * pairs, dtype=torch.float64)
    turned = rotate(x, start, base)
    points = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    for t in range(T):
        angles = torch.tensor([(start + t) / base ** (2 * i / (2 * pairs)) for i in range(pairs)], dtype=torch.float64)
        expected = torch.view_as_real(points[:, :, t] * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
        assert_close(turned[:, :, t], expected, atol=1e-11, rtol=0)
    assert_close(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-12, rtol=0)


def test_the_product_of_turned_vectors_depends_on_their_distance_only():
    q, k = torch.randn(2, 1, 8, dtype=torch.float64).unbind(0)
    for distance in (0, 1, 17):
        products = [(rotate(q, s + distance) * rotate(k, s)).sum().item() for s in (0, 1, 5, 1000)]
        assert max(products) - min(products) < 1e-11
    assert abs((rotate(q, 3) * rotate(k, 0)).sum() - (rotate(q, 0) * rotate(k, 3)).sum()) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rotate_keeps_shape_and_dtype_and_its_angles_are_exact_far_out(dtype):
    x = torch.randn(2, 3, 4).to(dtype)
    turned = rotate(x, 1_000_000)
    assert turned.shape == x.shape and turned.dtype == dtype
    assert_close(turned.double(), rotate(x.double(), 1_000_000), atol=0.05 if dtype == torch.bfloat16 else 1e-6, rtol=0)
    assert rotate(x[..., :0], 0).shape == (2, 3, 0)


@pytest.mark.parametrize("start", [0, 1, 9])
def test_positions_go_on_behind_the_cache(start):
    attention, x = layer("latent", rope_dim=4), torch.randn(1, 12, 8, dtype=torch.float64)
    cache = attention.new_cache(1, 12)
    with torch.no_grad():
        if start:
            attention(x[:, :start], cache)
        assert_close(attention(x[:, start:], cache), attention(x)[:, start:], atol=1e-12, rtol=0)
        assert not torch.allclose(attention(x[:, 1:])[:, -1], attention(x)[:, -1])


# --- the cache -----------------------------------------------------------------------------------------------------


def test_update_returns_a_view_and_writes_only_the_new_positions():
    cache = LatentCache(2, 10, 3)
    cache.rows.fill_(float("nan"))
    address = cache.rows.data_ptr()
    for T in (4, 1, 3):
        rows, before, start = torch.randn(2, T, 3), cache.rows.clone(), cache.length
        with Watch() as watch:
            seen = cache.update(rows)
        assert watch.written == rows.nbytes and watch.largest == 0
        assert seen.data_ptr() == address == cache.rows.data_ptr() and seen.shape == (2, start + T, 3)
        assert torch.equal(cache.rows[:, :start], before[:, :start]) and torch.equal(cache.rows[:, start:start + T], rows)
        assert cache.rows[:, start + T:].isnan().all() and cache.length == start + T
    assert cache.update(torch.zeros(2, 0, 3)).shape == (2, 8, 3) and cache.length == 8
    assert repr(cache) == "LatentCache(8 of 10 positions, B=2, width=3, torch.float32)"
    cache.reset()
    assert cache.length == 0 and cache.rows.data_ptr() == address


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("T", [1, 3])
@each_kind
def test_a_step_makes_nothing_of_the_caches_size(kind, T, mode):
    attention = layer(kind, torch.float32, H=4, D=16, **({"latent_dim": 32} if kind == "latent" else {}))
    with mode():
        cache = attention.new_cache(1, 3000)
        cache.length = 2990
        address = cache.rows.data_ptr()
        with Watch() as watch:
            attention(torch.randn(1, T, 64), cache)
    assert cache.length == 2990 + T and cache.rows.data_ptr() == address
    assert watch.largest < cache.nbytes / 5


@settings(deadline=None, max_examples=40)
@given(B=st.integers(1, 5), S=st.integers(1, 2048), width=st.integers(1, 600),
       dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
def test_nbytes_is_the_formula(B, S, width, dtype):
    cache = LatentCache(B, S, width, dtype=dtype, device="meta")
    assert cache.nbytes == B * S * width * dtype.itemsize == cache.rows.untyped_storage().nbytes()
    assert cache.max_length == S


def test_the_layers_caches_are_as_wide_as_the_chapter_says():
    shape = {"vocab_size": 9, "context_length": 8, "emb_dim": 768, "n_heads": 12, "n_layers": 1}
    with torch.device("meta"):
        mha = MultiHeadAttention(shape).new_cache(1, 1024).nbytes
        half = HalfCacheAttention(shape).new_cache(1, 1024).nbytes
        latent = [MultiHeadLatentAttention({**shape, "latent_dim": 96, "rope_dim": R}).new_cache(1, 1024).nbytes for R in (0, 32)]
    assert (mha / half, mha / latent[0], mha / latent[1]) == (2, 16, 12)


def test_the_default_dtype_is_pytorchs_and_new_cache_follows_the_weights():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert LatentCache(1, 1, 1).rows.dtype == torch.float64
    finally:
        torch.set_default_dtype(before)
    for kind, width in (("half", 8), ("latent", 5)):
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            attention = layer(kind, dtype)
            assert attention.new_cache(3, 7).rows.dtype == dtype and attention.new_cache(3, 7).rows.shape == (3, 7, width)
            assert attention.new_cache(3, 7, dtype=torch.float16).rows.dtype == torch.float16
            assert attention.to("meta").new_cache(3, 7).rows.device.type == "meta"
            assert attention.new_cache(3, 7, device="cpu").rows.device.type == "cpu"


BAD = {"batch": lambda t: t[:1], "width": lambda t: t[..., :2], "dtype": lambda t: t.double(), "device": lambda t: t.to("meta"),
       "rank": lambda t: t[0], "scalar": lambda t: t.sum(), "list": lambda t: t.tolist(), "too many": lambda t: t.repeat(1, 9, 1)}


@pytest.mark.parametrize("kind", BAD)
def test_a_refused_update_changes_nothing(kind):
    cache = LatentCache(2, 6, 3)
    cache.update(torch.ones(2, 2, 3))
    before = cache.rows.clone()
    with pytest.raises(TypeError if kind == "list" else ValueError, match="no room for 9" if kind == "too many" else "rows must be"):
        cache.update(BAD[kind](torch.zeros(2, 1, 3)))
    assert cache.length == 2 and torch.equal(cache.rows, before)


@each_kind
def test_a_layer_refuses_and_leaves_the_cache(kind):
    attention = layer(kind)
    cache = attention.new_cache(2, 4)
    attention(torch.randn(2, 3, 8, dtype=torch.float64), cache)
    before = cache.rows.clone()
    for shape in ((2, 2, 8), (2, 0, 8), (1, 1, 8), (2, 1, 7)):
        with pytest.raises(ValueError):
            attention(torch.randn(shape, dtype=torch.float64), cache)
        assert cache.length == 3 and torch.equal(cache.rows, before)
    with pytest.raises(ValueError, match="KVCache"):
        attention(torch.randn(2, 1, 8).double(), MultiHeadAttention(config()).double().new_cache(2, 4))
    with pytest.raises(ValueError, match="LatentCache"):
        MultiHeadAttention(config()).double()(torch.randn(2, 1, 8).double(), cache)
    attention(torch.randn(2, 1, 8).double(), cache)
    assert cache.length == 4


@each_kind
def test_a_cache_made_in_inference_mode_is_written_outside_and_the_other_way_round(kind):
    attention, x = layer(kind), torch.randn(1, 4, 8, dtype=torch.float64)
    with torch.inference_mode():
        cache = attention.new_cache(1, 4)
        first = attention(x[:, :2], cache)
    with torch.no_grad():
        second = attention(x[:, 2:3], cache)
    with torch.inference_mode():
        third = attention(x[:, 3:], cache)
        assert_close(torch.cat([first, second, third], dim=1), attention(x), atol=1e-12, rtol=0)
    cache.rows.zero_()


def test_no_gradient_flows_into_what_is_cached():
    attention, x = layer("latent", rope_dim=0), torch.randn(1, 4, 8, dtype=torch.float64, requires_grad=True)
    cache = attention.new_cache(1, 4)
    attention(x, cache).sum().backward()
    q, c = attention.qkv.weight.grad.split([8, 3])
    assert q.abs().sum() > 0 and not c.any()
    assert not cache.rows.requires_grad and cache.rows.grad_fn is None
    attention.zero_grad()
    attention(x).sum().backward()
    assert attention.qkv.weight.grad[8:].abs().sum() > 0 and attention.kv_up.weight.grad.abs().sum() > 0


@each_kind
@pytest.mark.parametrize("absorb", [None, True, False])
def test_autocast_gives_the_cache_its_dtype(kind, absorb):
    attention, x = layer(kind, torch.float32, qkv_bias=True), torch.randn(1, 4, 8)
    attention.absorb = absorb
    exact = attention(x)
    before = attention.new_cache(1, 4)
    with warnings.catch_warnings(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="bfloat16"):
            attention(x, before)
        cache = attention.new_cache(1, 4)
        assert cache.rows.dtype == torch.bfloat16 and before.length == 0
        rows = torch.cat([attention(chunk, cache) for chunk in x.split([3, 1], dim=1)], dim=1)
        assert_close(rows.float(), exact, atol=0.05, rtol=0)
        assert_close(attention(x).float(), exact, atol=0.05, rtol=0)
        assert layer(kind, torch.float64).new_cache(1, 4).rows.dtype == torch.float64  # which autocast leaves alone


@pytest.mark.parametrize("R", [0, 4])
def test_the_norm_of_the_latent_is_taken_in_full_precision_under_autocast(R):
    attention, r = layer("latent", torch.float32, H=4, D=16, latent_dim=48, rope_dim=R), 48
    torch.nn.init.uniform_(attention.latent_norm.weight, 0.5, 2.0)
    x, cache = torch.randn(2, 9, 64), None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        latent = attention.qkv(x)[..., 4 * (16 + R):][..., :r]
        cache = attention.new_cache(2, 9)
        attention(x, cache)
    assert latent.dtype == cache.rows.dtype == torch.bfloat16
    expected = F.rms_norm(latent.float(), (r,), attention.latent_norm.weight.detach(), eps=1e-6)
    rounded = F.rms_norm(latent, (r,), attention.latent_norm.weight.detach().bfloat16(), eps=1e-6)
    assert torch.equal(cache.rows[..., :r], expected.bfloat16())
    assert not torch.equal(cache.rows[..., :r], rounded), "the case does not show the precision of the norm"


@pytest.mark.parametrize("absorb", [None, True, False])
@pytest.mark.parametrize("R", [0, 16])
@pytest.mark.parametrize("T, before", [(512, 0), (256, 256), (20, 492)])
def test_no_table_of_weights_is_stored(T, before, R, absorb):
    attention = layer("latent", torch.float32, H=8, D=16, latent_dim=24, rope_dim=R, context_length=512)
    attention.absorb = absorb
    cache = attention.new_cache(1, 512)
    with torch.inference_mode():
        if before:
            attention(torch.randn(1, before, 128), cache)
        with Watch() as watch:
            attention(torch.randn(1, T, 128), cache)
    # The widest is (B, H, S, D + R) or (B, H, T, r + R), or the mask of a chunk as numbers.
    assert watch.largest <= 4 * max(8 * 512 * (24 + R), T * 512)
    assert watch.largest < 8 * 512 * 512 * 4 / 4 or T < 256


@each_kind
def test_training_mode_drops_weights_and_evaluation_does_not(kind):
    attention, x = layer(kind, drop_rate=0.5), torch.randn(1, 6, 8, dtype=torch.float64)
    with torch.no_grad():
        for absorb in (True, False):
            attention.absorb = absorb
            for cached in (True, False):
                a, b = (attention.train()(x, attention.new_cache(1, 6) if cached else None) for _ in range(2))
                assert not torch.allclose(a, b)
            assert_close(attention.eval()(x, attention.new_cache(1, 6)), attention(x), atol=1e-12, rtol=0)
            assert torch.equal(attention(x), attention(x))


# --- the half cache ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("absorb", [None, True, False])
def test_half_cache_is_multi_head_attention_weight_for_weight(bias, absorb):
    model = trained(bias=bias)
    half = GPTModel(model.cfg, attention=HalfCacheAttention).double().eval()
    half.load_state_dict(model.state_dict())
    for block in half.blocks:
        block.att.absorb = absorb
    with torch.inference_mode():
        assert torch.equal(half(IDS), model(IDS))  # without a cache it is the same code
        cached = torch.cat([half(chunk, use_cache=True) for chunk in IDS.split([9, 1, 1, 9], dim=1)], dim=1)
        assert_close(cached, model(IDS), atol=1e-11, rtol=0)
        model(IDS, use_cache=True)
    assert 2 * half.kv_cache_nbytes == model.kv_cache_nbytes


# --- a trained model gets latents ------------------------------------------------------------------------------------


def kv_of(model, ids):
    """Per layer: centred inputs' keys and values (N, 2E) of a model of multi-head attention, by plain formulas."""
    found, E = [], model.cfg.emb_dim
    with torch.no_grad():
        x = model.tok_emb(ids) + model.pos_emb(torch.arange(ids.shape[1]))
        for block in model.blocks:
            h = F.layer_norm(x, (E,), block.norm1.scale, block.norm1.shift)
            found.append((h.flatten(0, 1), (h @ block.att.qkv.weight[E:].T).flatten(0, 1)))
            x = block(x)
    return found


@pytest.mark.parametrize("r", [1, 2, 5, 7, 8])
def test_conversion_reaches_the_optimum_of_its_rank(r):
    model = trained()
    with torch.no_grad():
        for block in model.blocks:
            block.norm1.shift.add_(torch.linspace(-2, 3, 8))  # a large mean, across the directions of large variance
    new = mla_from_mha(model, r, IDS)
    for block, (h, kv) in zip(new.blocks, kv_of(model, IDS)):
        centred = kv - kv.mean(dim=0)
        values = torch.linalg.eigvalsh(centred.T @ centred / len(kv))
        best = values[:-r].sum().item()  # what the discarded directions hold
        made = h @ block.att.qkv.weight[8:].T @ block.att.kv_up.weight.T
        error = ((made - made.mean(dim=0)) - centred).square().sum(dim=1).mean().item()
        assert abs(error - best) <= 1e-5 * values.sum().item()  # the ridge: 1e-6 of the inputs' variance
        plain = torch.linalg.svd(kv, full_matrices=False)       # without centring: the mean takes directions
        uncentred = kv @ plain.Vh[:r].T @ plain.Vh[:r]
        lost = (uncentred - uncentred.mean(dim=0) - centred).square().sum(dim=1).mean().item()
        assert error <= lost + 1e-9
        if r in (1, 2):
            assert error < 0.9 * lost, "the case does not show that centring matters"


def test_the_constant_part_of_the_values_is_kept_and_biases_go_to_the_output():
    """Where all inputs are equal, everything is constant: latents carry nothing, and the output must still be right."""
    for bias in (True, False):
        model = trained(bias=bias)
        new = mla_from_mha(model, 1, IDS)
        E = model.cfg.emb_dim
        for old, block, (h, kv) in zip(model.blocks, new.blocks, kv_of(model, IDS)):
            mean = h.mean(dim=0).expand(1, 5, -1)
            with torch.no_grad():
                assert_close(block.att(mean), old.att(mean), atol=1e-10, rtol=0)
            if bias:
                assert torch.equal(block.att.qkv.bias[:E], old.att.qkv.bias[:E]) and not block.att.qkv.bias[E:].any()
            assert block.att.kv_up.bias is None


def test_the_error_falls_with_the_rank_to_nothing():
    model = trained()
    with torch.no_grad():
        errors = [(mla_from_mha(model, r, IDS)(IDS) - model(IDS)).square().mean().item() for r in (1, 3, 5, 7, 8)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-15 < errors[-2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_conversion_leaves_everything_as_it_was(dtype, training):
    model = trained(dtype, drop_rate=0.3).train(training)
    model.reset_kv_cache(2, 10)
    state, cache, random = copy.deepcopy(model.state_dict()), model.kv_cache, torch.get_rng_state()
    new = mla_from_mha(model, 3, IDS)
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training is training is new.training and all(m.training is training for m in new.modules())
    assert model.kv_cache is cache and all(one.length == 0 for one in cache)
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in [*model.modules(), *new.modules()])
    assert all(p.dtype == dtype and p.requires_grad and p.is_contiguous() for p in new.parameters())
    assert isinstance(new.cfg, MLAConfig) and new.cfg.latent_dim == 3 and new.cfg.drop_rate == 0.3
    with torch.no_grad():  # no memory in common
        for parameter in new.parameters():
            parameter.fill_(7)
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())
    again = [mla_from_mha(model, 3, IDS) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*(m.state_dict().values() for m in again)))


BAD_IDS = {"rank 1": IDS[0], "rank 3": IDS[None], "floats": IDS.float(), "int32": IDS.int(), "empty": IDS[:, :0],
           "too long": IDS.repeat(1, 4), "outside": IDS + 19}


@pytest.mark.parametrize("which", BAD_IDS)
def test_wrong_ids_are_refused_and_no_hook_stays(which):
    model = trained().train()
    with pytest.raises(ValueError, match="context_length 64" if which == "too long" else "input_ids must"):
        mla_from_mha(model, 3, BAD_IDS[which])
    assert model.training and not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_an_error_in_the_middle_of_reading_leaves_no_hook_and_the_mode():
    model = trained().train()

    def interrupt(*_):
        raise KeyboardInterrupt

    handle = model.blocks[1].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        mla_from_mha(model, 3, IDS)
    handle.remove()
    assert model.training and not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("fails", [False, True])
def test_each_part_of_the_model_keeps_its_own_mode(fails):
    model = trained(drop_rate=0.3).train()
    model.blocks[0].att.eval()
    model.drop.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if fails:
            with pytest.raises(ValueError, match="input_ids"):
                mla_from_mha(model, 3, IDS + 19)
        else:
            converted = mla_from_mha(model, 3, IDS)
            calm = mla_from_mha(copy.deepcopy(model).eval(), 3, IDS)
            assert all(torch.equal(a, b) for a, b in zip(converted.parameters(), calm.parameters())), "dropout was on"
    assert {name: module.training for name, module in model.named_modules()} == modes


BROKEN = {"weights of the first layer": ("blocks.0.att.qkv.weight", "blocks[0] cannot be converted: its qkv.weight"),
          "weights of the second layer": ("blocks.1.att.qkv.weight", "blocks[1] cannot be converted: its qkv.weight"),
          "what the second layer reads": ("blocks.0.att.out_proj.weight", "blocks[1] cannot be converted: its input"),
          "embeddings": ("tok_emb.weight", "blocks[0] cannot be converted: its input")}


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("where", BROKEN)
def test_a_model_with_nan_is_refused_and_the_layer_named(where, number):
    model = trained().train()
    name, words = BROKEN[where]
    with torch.no_grad():
        model.get_parameter(name)[-1, -1] = number
    ids = IDS.clone()
    ids[0, 0] = 18
    with pytest.raises(ValueError) as raised:
        mla_from_mha(model, 3, ids)
    assert words in str(raised.value)
    assert model.training and not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_a_wrong_model_or_rank_is_refused_before_the_text_is_read():
    model, read = trained(), []
    model.register_forward_pre_hook(lambda *_: read.append(1))
    for latent_dim in (0, 9, 3.0, True):
        with pytest.raises((TypeError, ValueError), match="latent_dim"):
            mla_from_mha(model, latent_dim, IDS)
    with pytest.raises(TypeError, match="GPTModel of MultiHeadAttention"):
        mla_from_mha(GPTModel(config(), attention=HalfCacheAttention), 3, IDS)
    assert not read


@pytest.mark.parametrize("R", [0, 4])
def test_both_ways_take_float32_under_autocast(R):
    torch.manual_seed(0)
    q, c = torch.randn(1, 2, 3, 8 + R), torch.randn(1, 5, 6 + R)
    k_up, v_up = torch.randn(2, 2, 8, 6)
    exact = expanded_attention(q, c, k_up, v_up)
    with torch.autocast("cpu", torch.bfloat16):
        for way in (expanded_attention, absorbed_attention):
            assert (way(q, c, k_up, v_up).float() - exact).abs().max() <= 0.05 * exact.abs().max()


def test_full_rank_from_a_single_token():
    cfg = {"vocab_size": 9, "context_length": 8, "emb_dim": 8, "n_heads": 2, "n_layers": 1}
    model = GPTModel(cfg).double().eval()
    ids = torch.arange(6)[None]
    converted = mla_from_mha(model, 8, ids[:, :1])
    assert (converted(ids) - model(ids)).abs().max() <= 1e-9 * model(ids).abs().max()


def test_a_conversion_in_inference_mode_can_be_trained():
    model = GPTModel({"vocab_size": 9, "context_length": 8, "emb_dim": 8, "n_heads": 2, "n_layers": 1})
    ids = torch.arange(6)[None]
    with torch.inference_mode():
        converted = mla_from_mha(model, 4, ids)
    converted(ids).sum().backward()
