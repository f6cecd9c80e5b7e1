"""Every attention variant against one slow definition in float64: alone and in whole models, cached in every way.

    pytest -qs tests/test_attention_equivalence.py     also prints the largest errors
"""

import copy
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gptbook import (
    GPTModel, GroupedQueryAttention, HalfCacheAttention, MultiHeadAttention, MultiHeadLatentAttention,
    SlidingWindowAttention, generate, gqa_from_mha, mla_from_mha, swa_from_mha)

B_MAX, N = 3, 40
H, D, L, V = 4, 6, 3, 23
BASE = {"vocab_size": V, "context_length": N, "emb_dim": H * D, "n_heads": H, "n_layers": L, "qkv_bias": True}

# name -> (attention, more settings, attributes set on each layer)
VARIANTS = {
    "MHA": (MultiHeadAttention, {}, {}),
    **{f"GQA-{K}": (GroupedQueryAttention, {"num_kv_groups": K}, {}) for K in (1, 2, 4)},
    **{f"half cache, {name}": (HalfCacheAttention, {}, {"absorb": absorb})
       for name, absorb in (("absorbed", True), ("re-expanded", False), ("chosen", None))},
    **{f"MLA, {name}{more}": (MultiHeadLatentAttention, {"latent_dim": 8, **settings}, {"absorb": absorb})
       for name, absorb in (("absorbed", True), ("re-expanded", False), ("chosen", None))
       for more, settings in (("", {}), (" rotary", {"rope_dim": 4, "latent_norm": True}))},
    "MLA, full rank": (MultiHeadLatentAttention, {"latent_dim": H * D}, {}),
    **{f"SWA-{W}": (SlidingWindowAttention, {"sliding_window_size": W}, {}) for W in (1, 3, 8, 64)},
    **{f"SWA-5 GQA-{K}": (SlidingWindowAttention, {"sliding_window_size": 5, "num_kv_groups": K}, {}) for K in (1, 2)},
    "SWA-5 LLG": (SlidingWindowAttention, {"sliding_window_size": 5, "window_pattern": "LLG"}, {}),
    "SWA-5 GLL GQA-2": (SlidingWindowAttention, {"sliding_window_size": 5, "window_pattern": "GLL",
                                                 "num_kv_groups": 2}, {}),
}
CHUNKS = {"no cache": None, "prefill": [N], "token by token": [1] * N, "chunks above the window": [11, 1, 1, 9, 12, 6],
          "prefill, then tokens": [N - 7] + [1] * 7}
# Relative to the largest logit or row. float64: rounding of some hundred additions. float32: the same, 2^29 times as
# large. bfloat16 keeps 8 bits; every layer rounds about ten results on the way, and the errors of three layers add up.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.08}
LARGEST: dict = defaultdict(float)


def make(name, seed=0):
    """A model of the variant with large random weights everywhere, biases and norms too, in float64."""
    attention, more, attributes = VARIANTS[name]
    torch.manual_seed(seed)
    model = GPTModel({**BASE, **more}, attention=attention).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    for block in model.blocks:
        for attribute, value in attributes.items():
            setattr(block.att, attribute, value)
    return model


# --- the definition: loops, float64, no cache, no import of the package's arithmetic --------------------------------

def turned(vector, position):
    """Rotary embedding of one vector: its pairs as complex numbers, times e^(i angle)."""
    R = len(vector)
    pairs = torch.view_as_complex(vector.view(-1, 2).contiguous())
    angles = torch.tensor([position / 10_000 ** (2 * i / R) for i in range(R // 2)], dtype=torch.float64)
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten()


def keys_of(att, x):
    """Per head and position, by the definition of each variant: q, k, v as lists [head][position] of vectors."""
    cfg, E = att.cfg, att.cfg.emb_dim
    joint = x @ att.qkv.weight.T + att.qkv.bias
    if isinstance(att, MultiHeadLatentAttention):
        r, R = cfg.latent_dim, cfg.rope_dim
        q = joint[:, :H * (D + R)].view(-1, H, D + R)
        c, k_rope = joint[:, H * (D + R):H * (D + R) + r], joint[:, H * (D + R) + r:]
        if cfg.latent_norm:
            c = c / torch.sqrt((c * c).mean(dim=1, keepdim=True) + 1e-6) * att.latent_norm.weight
        k = (c @ att.kv_up.weight[:E].T).view(-1, H, D)
        v = (c @ att.kv_up.weight[E:].T).view(-1, H, D)
        if R:
            q = torch.stack([torch.stack([torch.cat([row[:D], turned(row[D:], t)]) for row in q[t]])
                             for t in range(len(x))])
            k = torch.stack([torch.stack([torch.cat([row, turned(k_rope[t], t)]) for row in k[t]])
                             for t in range(len(x))])
        return q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
    K = getattr(cfg, "num_kv_groups", H)
    q, k, v = joint.split([E, K * D, K * D], dim=1)
    q, k, v = (part.view(len(x), -1, D).transpose(0, 1) for part in (q, k, v))
    group = [h // (H // K) for h in range(H)]  # whose keys head h asks
    return q, k[group], v[group]


def slow_attention(att, x):
    """One sequence x (N, E): every head, every query, every key that it may see, one after the other."""
    q, k, v = keys_of(att, x)
    window = getattr(att.cfg, "sliding_window_size", len(x))
    if getattr(att.cfg, "window_pattern", "L") == "G":
        window = len(x)
    rows = torch.zeros(len(x), H, D, dtype=torch.float64)
    for h in range(H):
        for i in range(len(x)):
            seen = [j for j in range(len(x)) if j <= i and i - j < window]
            scores = torch.stack([q[h, i] @ k[h, j] for j in seen]) / math.sqrt(q.shape[-1])
            weights = scores.exp() / scores.exp().sum()
            for weight, j in zip(weights, seen):
                rows[i, h] += weight * v[h, j]
    return rows.flatten(1) @ att.out_proj.weight.T + att.out_proj.bias


def slow_model(model, ids):
    """The logits (N, V) of one text, from the GPT-2 paper's description."""
    def norm(x, layer):
        return F.layer_norm(x, (x.shape[-1],), layer.scale, layer.shift)

    x = model.tok_emb.weight[ids] + model.pos_emb.weight[:len(ids)]
    for block in model.blocks:
        x = x + slow_attention(block.att, norm(x, block.norm1))
        y = norm(x, block.norm2) @ block.ff.expand.weight.T + block.ff.expand.bias
        y = 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
        x = x + y @ block.ff.out_proj.weight.T + block.ff.out_proj.bias
    return norm(x, model.final_norm) @ model.tok_emb.weight.T


@pytest.fixture(scope="module", autouse=True)
def print_largest_errors():
    yield
    for what in sorted({key[0] for key in LARGEST}):
        print(f"{what:34}", *(f"{str(dtype)[6:]} {LARGEST[what, dtype]:.1e} " for dtype in TOLERANCES))


@pytest.fixture(scope="module")
def case():
    """For each variant, made once: the model, rows and logits of its first layer and of the whole by the definition."""
    made = {}

    def get(name):
        if name not in made:
            model = make(name)
            generator = torch.Generator().manual_seed(1)
            x = torch.randn(B_MAX, N, H * D, generator=generator, dtype=torch.float64)
            ids = torch.randint(V, (B_MAX, N), generator=generator)
            with torch.no_grad():
                layers = [torch.stack([slow_attention(block.att, row) for row in x]) for block in model.blocks]
                made[name] = model, x, layers, ids, torch.stack([slow_model(model, row) for row in ids])
        return made[name]

    return get


def in_chunks(call, whole, sizes, dim=1):
    """call(chunk) for each chunk of those sizes, put together again."""
    return torch.cat([call(chunk) for chunk in whole.split(sizes, dim=dim)], dim=dim)


def compare(name, dtype, ours, exact):
    error = ((ours.double() - exact).abs().max() / exact.abs().max()).item()
    LARGEST[name, dtype] = max(LARGEST[name, dtype], error)
    assert error <= TOLERANCES[dtype], f"{name}: off by {error:.1e} of the largest"


def each_of(*names):
    tables = {"name": list(VARIANTS), "chunks": list(CHUNKS), "B": [1, B_MAX], "dtype": list(TOLERANCES)}

    def decorate(test):
        for name in names:
            test = pytest.mark.parametrize(name, tables[name], ids=str)(test)
        return test
    return decorate


@each_of("dtype", "B", "chunks", "name")
def test_layers_are_their_definition(case, name, chunks, B, dtype):
    model, x, exact, _, _ = case(name)
    x = x[:B].to(dtype)
    for block, want in zip(model.blocks, exact):
        att = copy.deepcopy(block.att).to(dtype)
        with torch.inference_mode():
            cache = None if CHUNKS[chunks] is None else att.new_cache(B, N)
            rows = in_chunks(lambda chunk: att(chunk, cache), x, CHUNKS[chunks] or [N])
        assert rows.dtype == dtype
        compare(f"layer {name}", dtype, rows, want[:B])


@each_of("dtype", "B", "chunks", "name")
def test_models_are_their_definition(case, name, chunks, B, dtype):
    model, _, _, ids, exact = case(name)
    model = copy.deepcopy(model).to(dtype)
    with torch.inference_mode():
        logits = in_chunks(lambda chunk: model(chunk, use_cache=CHUNKS[chunks] is not None), ids[:B],
                           CHUNKS[chunks] or [N])
    compare(f"model {name}", dtype, logits, exact[:B])


@pytest.mark.parametrize("name", VARIANTS)
@settings(deadline=None, max_examples=15)
@given(sizes=st.lists(st.integers(1, 13), min_size=1, max_size=9), B=st.sampled_from([1, B_MAX]),
       dtype=st.sampled_from(list(TOLERANCES)))
def test_any_chunking(case, name, sizes, B, dtype):
    model, _, _, ids, exact = case(name)
    sizes = [n for i, n in enumerate(sizes) if sum(sizes[:i + 1]) <= N] or [1]
    n = sum(sizes)
    model = copy.deepcopy(model).to(dtype)
    with torch.no_grad():
        logits = in_chunks(lambda chunk: model(chunk, use_cache=True), ids[:B, :n], sizes)
    compare(f"model {name}", dtype, logits, exact[:B, :n])


# --- one variant is another -----------------------------------------------------------------------------------------

def same(ours, theirs, ids, tolerance=1e-12):
    with torch.no_grad():
        want = theirs(ids)
        assert (ours(ids) - want).abs().max() <= tolerance * want.abs().max()
        ours.reset_kv_cache()
        cached = in_chunks(lambda chunk: ours(chunk, use_cache=True), ids, [11, 1, 1, N - 13])
        assert (cached - want).abs().max() <= tolerance * want.abs().max()


def test_grouped_with_all_heads_and_wide_windows_are_multi_head_attention(case):
    model, _, _, ids, _ = case("MHA")
    same(gqa_from_mha(model, H), model, ids)
    same(swa_from_mha(model, N), model, ids)
    same(swa_from_mha(model, 2, "G"), model, ids)
    assert not torch.allclose(swa_from_mha(model, N - 1)(ids), model(ids))


def test_latent_of_full_rank_is_the_multi_head_attention_it_came_from(case):
    model, _, _, ids, _ = case("MHA")
    # The factor inverts nothing, but directions that the text hardly uses are told apart by 1e-6 of the variance only.
    same(mla_from_mha(model, H * D, ids), model, ids, tolerance=1e-9)
    half = GPTModel(model.cfg, attention=HalfCacheAttention).double().eval()
    half.load_state_dict(model.state_dict())
    same(half, model, ids)


# --- caches in use --------------------------------------------------------------------------------------------------

each_variant = pytest.mark.parametrize("name", VARIANTS)


@each_variant
def test_two_models_in_turns_an_uncached_call_between_and_a_reset(case, name):
    model, _, _, ids, exact = case(name)
    other = make(name, seed=5)
    model.reset_kv_cache(), other.reset_kv_cache()
    with torch.inference_mode():
        turns = []
        for chunk in ids.split([7, 1, 1, N - 9], dim=1):
            turns.append(model(chunk, use_cache=True))
            other(chunk.flip(1), use_cache=True)
            model(ids[:, :3])
        compare(f"model {name}", torch.float64, torch.cat(turns, dim=1), exact)
        model.reset_kv_cache()
        compare(f"model {name}", torch.float64, model(ids[:, :9], use_cache=True), exact[:, :9])
        model.reset_kv_cache()


@each_variant
def test_a_full_cache_refuses_one_more_and_stays_as_it_was(case, name):
    model, _, _, ids, exact = case(name)
    model.reset_kv_cache(max_length=9)
    with torch.inference_mode():
        in_chunks(lambda chunk: model(chunk, use_cache=True), ids[:, :8], [6, 1, 1])
        with pytest.raises(ValueError, match="room for 9"):
            model(ids[:, 8:10], use_cache=True)
        compare(f"model {name}", torch.float64, model(ids[:, 8:9], use_cache=True), exact[:, 8:9])
        with pytest.raises(ValueError, match="room for 9"):
            model(ids[:, :1], use_cache=True)
        layer = model.blocks[0].att
        cache = layer.new_cache(1, 5)
        layer(torch.randn(1, 5, H * D, dtype=torch.float64), cache)
        before = {key: value.clone() for key, value in vars(cache).items() if isinstance(value, torch.Tensor)}
        with pytest.raises(ValueError, match="no room for 1 more: 5 of max_length 5"):
            layer(torch.randn(1, 1, H * D, dtype=torch.float64), cache)
        assert cache.length == 5 and all(torch.equal(vars(cache)[key], value) for key, value in before.items())
    model.reset_kv_cache()


@each_variant
def test_the_last_token_can_be_taken_back(case, name):
    model, _, _, ids, exact = case(name)
    with torch.inference_mode():
        model(ids[:, :20], use_cache=True)
        for wrong in (3, 4):
            model(torch.full((B_MAX, 1), wrong), use_cache=True)
            for cache in model.kv_cache:
                cache.length = 20
        compare(f"model {name}", torch.float64, model(ids[:, 20:], use_cache=True), exact[:, 20:])
    model.reset_kv_cache()


@each_variant
def test_an_interrupted_step_leaves_a_cache_that_is_right_or_refuses(case, name):
    model, _, _, ids, exact = case(name)

    def interrupt(*_):
        raise KeyboardInterrupt

    for n in (1, 12):
        with torch.inference_mode():
            model(ids[:, :20], use_cache=True)
            hook = model.blocks[1].att.register_forward_hook(interrupt)
            with pytest.raises(KeyboardInterrupt):
                model(ids[:, 20:20 + n].flip(0), use_cache=True)
            hook.remove()
            try:
                logits = model(ids[:, 20:], use_cache=True)
            except ValueError as error:
                assert n > 1 and "SWA" in name and "reset" in str(error)
            else:
                compare(f"model {name}", torch.float64, logits, exact[:, 20:])
        model.reset_kv_cache()


@each_variant
def test_generation_with_and_without_the_cache(case, name):
    model, _, _, ids, _ = case(name)
    assert torch.equal(generate(model, ids[:, :6], 20), generate(model, ids[:, :6], 20, use_cache=False))


@each_variant
def test_gradients_flow_and_reach_no_future(case, name):
    model, x, _, _, _ = case(name)
    for block in model.blocks:
        x = x[:1].detach().requires_grad_()
        rows = block.att(x)
        rows[0, 17].sum().backward()
        reached = x.grad[0].abs().sum(dim=1).nonzero().flatten().tolist()
        window = getattr(block.att, "window", None) or N
        assert reached == list(range(max(0, 17 - window + 1), 18))


def test_caches_hold_what_they_say(case):
    for name, numbers in {"MHA": 2 * H * D, "GQA-1": 2 * D, "GQA-2": 4 * D, "half cache, chosen": H * D, "MLA, chosen": 8,
                          "MLA, chosen rotary": 12}.items():
        model = case(name)[0]
        cache = model.blocks[0].att.new_cache(2, 30)
        assert cache.nbytes == 2 * 30 * numbers * 8, name
    window = case("SWA-5 GQA-2")[0].blocks[0].att.new_cache(2, 30)
    assert window.nbytes == 2 * 5 * 4 * D * 8

