"""Chapter 8: grouped-query attention, and models that are converted to it. Its rows are tested against their definition
in test_attention_equivalence.py."""

import copy

import pytest
import torch
from conftest import Watch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from gptbook import (
    GPT_CONFIG_124M, CausalSelfAttention, GPTModel, GQAConfig, GroupedQueryAttention, MultiHeadAttention, gqa_from_mha,
    grouped_attention)

H, D, E = 6, 4, 24
MHA = {"vocab_size": 11, "context_length": 40, "emb_dim": E, "n_heads": H, "n_layers": 2}


def config(K=2, **more):
    return {**MHA, "num_kv_groups": K, **more}


def layer(K=2, dtype=torch.float64, **more):
    torch.manual_seed(0)
    return GroupedQueryAttention(config(K, **more)).to(dtype).eval()


def mha_model(dtype=torch.float64, **more):
    """A model whose weights, biases and norms are all random."""
    torch.manual_seed(0)
    model = GPTModel({**MHA, **more}).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def random_heads(K, T, S, B=2, dtype=torch.float64, value_size=D):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(B, heads, n, size, generator=generator).to(dtype)
            for heads, n, size in ((H, T, D), (K, S, D), (K, S, value_size))]


# --- the function ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T, S", [(1, 1), (1, 9), (2, 9), (9, 9)])
@pytest.mark.parametrize("K", [1, 2, 3, 6])
def test_each_query_head_asks_the_head_of_its_own_group(K, T, S):
    q, k, v = random_heads(K, T, S)
    rows = grouped_attention(q, k, v)
    for g in range(K):  # only the heads of group g notice another value there
        other = v.clone()
        other[:, g] += 1
        moved = [h for h in range(H) if not torch.equal(grouped_attention(q, k, other)[:, h], rows[:, h])]
        assert moved == list(range(g * H // K, (g + 1) * H // K))
    for h in range(H):  # and only row h notices another query there
        other = q.clone()
        other[:, h] += 1
        moved = [i for i in range(H) if not torch.equal(grouped_attention(other, k, v)[:, i], rows[:, i])]
        assert moved == ([h] if S > 1 else [])


def test_values_may_have_a_size_of_their_own():
    for T in (1, 3, 8):
        q, k, v = random_heads(2, T, 8, value_size=5)
        rows = grouped_attention(q, k, v)
        assert rows.shape == (2, H, T, 5)
        weights = (q @ k.repeat_interleave(3, dim=1).mT / 2).masked_fill(
            torch.ones(T, 8, dtype=torch.bool).triu(8 - T + 1), -torch.inf).softmax(dim=-1)
        assert_close(rows, weights @ v.repeat_interleave(3, dim=1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("T, S", [(1, 7), (3, 7), (7, 7)])
@pytest.mark.parametrize("K", [1, 2, 6])
def test_dropout_reaches_every_way_of_computing(K, T, S):
    q, k, v = random_heads(K, T, S)
    torch.manual_seed(0)
    once, again = (grouped_attention(q, k, v, dropout_p=0.5) for _ in range(2))
    assert not torch.allclose(once, again) and not torch.allclose(once, grouped_attention(q, k, v))
    assert torch.equal(grouped_attention(q, k, v), grouped_attention(q, k, v))


# --- the layer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("K", [1, 2, 3, 6])
def test_parameters(K, bias):
    attention = layer(K, qkv_bias=bias)
    rows = E + 2 * K * D
    assert attention.qkv.weight.shape == (rows, E)
    assert sum(p.numel() for p in attention.parameters()) == rows * E + bias * rows + E * E + E


def test_parameters_of_the_124M_shape():
    for K, parameters in ((12, 124_412_160), (4, 114_974_976), (1, 111_436_032)):
        with torch.device("meta"):
            model = GPTModel({**GPT_CONFIG_124M, "num_kv_groups": K}, attention=GroupedQueryAttention)
        assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_as_many_groups_as_heads_is_multi_head_attention_bit_for_bit(dtype):
    grouped = layer(H, dtype, qkv_bias=True)
    whole = MultiHeadAttention({**MHA, "qkv_bias": True}).to(dtype).eval()
    whole.load_state_dict(grouped.state_dict())
    x = torch.randn(3, 17, E).to(dtype)
    with torch.no_grad():
        assert torch.equal(grouped(x), whole(x))
        caches = grouped.new_cache(3, 17), whole.new_cache(3, 17)
        for chunk in x.split([9, 1, 4, 1, 2], dim=1):
            assert torch.equal(grouped(chunk, caches[0]), whole(chunk, caches[1]))


def test_four_groups_are_four_key_heads_and_not_groups_of_four():
    torch.manual_seed(0)
    attention = GroupedQueryAttention({**config(4), "n_heads": 12, "emb_dim": 48})
    q, k, v = attention.project(torch.randn(2, 5, 48))
    assert q.shape == (2, 12, 5, 4) and k.shape == v.shape == (2, 4, 5, 4)
    assert attention.new_cache(2, 5).keys.shape == (2, 4, 5, 4)


def test_the_projection_is_ordered_queries_keys_values():
    attention, x = layer(2, qkv_bias=True), torch.randn(1, 3, E, dtype=torch.float64)
    rows = x @ attention.qkv.weight.T + attention.qkv.bias
    parts = [part.view(1, 3, -1, D).transpose(1, 2) for part in rows.split([E, 2 * D, 2 * D], dim=-1)]
    for got, expected in zip(attention.project(x), parts, strict=True):
        assert_close(got, expected, atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=30)
@given(B=st.integers(1, 4), S=st.integers(1, 3000), K=st.sampled_from([1, 2, 3, 4, 6, 12]),
       dtype=st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))
def test_cache_bytes_are_the_formula(B, S, K, dtype):
    with torch.device("meta"):
        attention = GroupedQueryAttention({**GPT_CONFIG_124M, "num_kv_groups": K}).to(dtype)
    assert attention.new_cache(B, S).nbytes == 2 * B * K * S * 64 * dtype.itemsize
    assert attention.new_cache(B, S, dtype=torch.float16).nbytes == 2 * B * K * S * 64 * 2


def test_new_cache_follows_the_weights_and_autocast():
    assert layer(dtype=torch.bfloat16).new_cache(1, 3).keys.dtype == torch.bfloat16
    attention = layer(dtype=torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        cache = attention.new_cache(1, 4)
        assert cache.keys.dtype == torch.bfloat16
        attention(torch.randn(1, 3, E), cache)
        attention(torch.randn(1, 1, E), cache)
    assert attention.new_cache(1, 3, device="meta").keys.device.type == "meta"
    assert attention.new_cache(1, 3, dtype=torch.float64).values.dtype == torch.float64


def test_dropout_in_training_only():
    attention, x = layer(drop_rate=0.5), torch.randn(2, 9, E, dtype=torch.float64)
    assert torch.equal(attention(x), attention(x))
    attention.train()
    assert not torch.equal(attention(x), attention(x))
    cache = attention.new_cache(2, 20)
    attention(x, cache)
    steps = []
    for _ in range(2):
        steps.append(attention(x[:, :1], cache))
        cache.length -= 1
    assert not torch.equal(*steps)  # a single folded token too


@pytest.mark.parametrize("K", [1, 2, 6])
def test_gradients_of_shared_heads_are_the_sum_over_their_group(K):
    attention = layer(K, qkv_bias=True).train()
    whole = CausalSelfAttention({**MHA, "qkv_bias": True}).double()
    G = H // K

    def spread(t):
        q, k, v = t.detach().split([E, K * D, K * D])
        return torch.cat([q, *(part.unflatten(0, (K, D)).repeat_interleave(G, dim=0).flatten(0, 1) for part in (k, v))])

    whole.load_state_dict({name: spread(t) if name.startswith("qkv") else t for name, t in attention.state_dict().items()})
    x = torch.randn(2, 7, E, dtype=torch.float64)
    rows, expected = attention(x), whole(x)
    assert_close(rows, expected, atol=1e-12, rtol=0)
    rows.square().sum().backward(), expected.square().sum().backward()
    for name in ("weight", "bias"):
        ours = getattr(attention.qkv, name).grad.split([E, K * D, K * D])
        theirs = getattr(whole.qkv, name).grad.split([E, E, E])
        assert_close(ours[0], theirs[0], atol=1e-10, rtol=0)
        for own, other in zip(ours[1:], theirs[1:], strict=True):
            assert_close(own, other.unflatten(0, (K, G, D)).sum(dim=1).flatten(0, 1), atol=1e-10, rtol=0)


# --- independent code -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "mistral"])
@pytest.mark.parametrize("K", [1, 2, 6])
def test_equal_to_transformers_with_copied_weights(family, K):
    from transformers import LlamaConfig, MistralConfig
    from transformers.cache_utils import DynamicCache
    from transformers.models.llama.modeling_llama import LlamaAttention
    from transformers.models.mistral.modeling_mistral import MistralAttention

    settings_of = {"llama": (LlamaConfig, LlamaAttention, {"attention_bias": True}),
                   "mistral": (MistralConfig, MistralAttention, {"sliding_window": None, "head_dim": D})}
    config_class, attention_class, more = settings_of[family]
    bias = family == "llama"
    ours = layer(K, qkv_bias=bias)
    theirs = attention_class(config_class(hidden_size=E, num_attention_heads=H, num_key_value_heads=K,
                                          attn_implementation="sdpa", **more), layer_idx=0).double().eval()
    x = torch.randn(2, 13, E, dtype=torch.float64)
    with torch.no_grad():
        if not bias:
            ours.out_proj.bias.zero_()
        sizes = [E, K * D, K * D]
        for part, weight in zip((theirs.q_proj, theirs.k_proj, theirs.v_proj), ours.qkv.weight.split(sizes), strict=True):
            part.weight.copy_(weight)
        if bias:
            for part, values in zip((theirs.q_proj, theirs.k_proj, theirs.v_proj), ours.qkv.bias.split(sizes), strict=True):
                part.bias.copy_(values)
            theirs.o_proj.bias.copy_(ours.out_proj.bias)
        theirs.o_proj.weight.copy_(ours.out_proj.weight)

        def call(chunk, mask=None, past=None):  # cosine 1 and sine 0: turned by nothing
            T = chunk.shape[1]
            unturned = torch.ones(1, T, D, dtype=torch.float64), torch.zeros(1, T, D, dtype=torch.float64)
            return theirs(chunk, position_embeddings=unturned, attention_mask=mask, past_key_values=past)[0]

        assert_close(ours(x), call(x), atol=1e-12, rtol=0)
        cache, past = ours.new_cache(2, 13), DynamicCache()
        start = 0
        for chunk in x.split([5, 1, 1, 4, 1, 1], dim=1):
            T, S = chunk.shape[1], start + chunk.shape[1]
            mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)[None, None] if T > 1 else None
            assert_close(ours(chunk, cache), call(chunk, mask, past), atol=1e-12, rtol=0)
            start = S
        assert_close(past.layers[0].keys, cache.keys, atol=1e-12, rtol=0)


# --- memory and operations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("K", [1, 2, 3])
@pytest.mark.parametrize("T", [1, 3])
def test_a_step_makes_nothing_of_the_caches_size(mode, K, T):
    attention = layer(K, torch.float32, emb_dim=16 * H)
    with mode():
        cache = attention.new_cache(1, 4000)
        cache.length = 3990  # filled with zeros
        address = cache.keys.data_ptr()
        with Watch() as watch:
            attention(torch.randn(1, T, 16 * H), cache)
    assert cache.length == 3990 + T and cache.keys.data_ptr() == address
    # The widest of a chunk is its mask (T, S), which SDPA may turn into numbers; one query has none.
    assert watch.largest <= max((16 * H + 2 * K * 16) * 4 * T, 0 if T == 1 else 4 * T * 4000) < cache.nbytes / 4


@pytest.mark.parametrize("K", [1, 2, 3, 6])
@pytest.mark.parametrize("T, S", [(1, 30), (5, 30), (12, 12)])
def test_flops(K, T, S):
    """A cached call of the layer: the projections shrink with K, the products of attention do not."""
    with torch.device("meta"):
        attention = GroupedQueryAttention(config(K))
        x, cache = torch.empty(2, T, E), attention.new_cache(2, S)
    cache.length = S - T
    # SDPA's plain form: the counter does not know every fused kernel, but it knows matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        attention(x, cache)
    projections = 2 * 2 * T * E * (2 * E + 2 * K * D)
    assert counter.get_total_flops() == projections + 2 * 4 * T * S * E


# --- conversion -----------------------------------------------------------------------------------------------------


def parts_of(att, K):
    """The projection's weight as heads: queries (H, D, E), keys and values (K, D, E)."""
    return [part.unflatten(0, (-1, D)) for part in att.qkv.weight.detach().split([E, K * D, K * D])]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("K", [1, 2, 3, 6])
@pytest.mark.parametrize("pool", ["mean", "first"])
def test_pooled_weights_by_hand(pool, K, bias):
    model = mha_model(qkv_bias=bias)
    new = gqa_from_mha(model, K, pool)
    G = H // K
    assert new.cfg == GQAConfig(**config(K, qkv_bias=bias)) and type(new.blocks[1].att) is GroupedQueryAttention
    for old_block, new_block in zip(model.blocks, new.blocks, strict=True):
        old, got = parts_of(old_block.att, H), parts_of(new_block.att, K)
        assert torch.equal(got[0], old[0])
        pairs = list(zip(old[1:], got[1:], strict=True))
        if bias:
            olds = old_block.att.qkv.bias.detach().split([E, E, E])
            news = new_block.att.qkv.bias.detach().split([E, K * D, K * D])
            assert torch.equal(news[0], olds[0])
            pairs += [(o.unflatten(0, (H, D)), n.unflatten(0, (K, D))) for o, n in zip(olds[1:], news[1:], strict=True)]
        for before, after in pairs:
            for g in range(K):
                group = [before[g * G + i] for i in range(G)]
                assert_close(after[g], sum(group) / G if pool == "mean" else group[0], atol=1e-12, rtol=0)
    others = {name: t for name, t in model.state_dict().items() if ".qkv." not in name}
    assert all(torch.equal(new.state_dict()[name], t) for name, t in others.items())
    assert set(new.state_dict()) == set(model.state_dict())


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_a_model_whose_heads_agree_in_their_group_loses_nothing(pool):
    model = mha_model(qkv_bias=True)
    with torch.no_grad():
        for block in model.blocks:
            for t in (block.att.qkv.weight, block.att.qkv.bias):
                heads = t.view(3, 2, 3, D, *t.shape[1:])  # q, k and v; K = 2, G = 3
                heads[1:] = heads[1:, :, :1].clone()
        ids = torch.randint(11, (2, 30))
        new = gqa_from_mha(model, 2, pool)
        assert_close(new(ids), model(ids), atol=1e-12, rtol=0)
        cached = torch.cat([new(part, use_cache=True) for part in ids.split([20, 1, 9], dim=1)], dim=1)
        assert_close(cached, model(ids), atol=1e-12, rtol=0)


def test_as_many_groups_as_heads_is_the_same_model():
    model, ids = mha_model(torch.float32, qkv_bias=True), torch.randint(11, (2, 30))
    for pool in ("mean", "first"):
        new = gqa_from_mha(model, H, pool)
        assert all(torch.equal(new.state_dict()[name], t) for name, t in model.state_dict().items())
        assert torch.equal(new(ids), model(ids))


def test_random_heads_are_new_and_small_and_their_biases_zero():
    model = mha_model(emb_dim=120, qkv_bias=True)  # D = 20: enough weights to measure their spread
    torch.manual_seed(3)
    new = gqa_from_mha(model, 2, "random")
    kinds = []
    for old_block, block in zip(model.blocks, new.blocks, strict=True):
        q, k, v = block.att.qkv.weight.detach().split([120, 40, 40])
        assert torch.equal(q, old_block.att.qkv.weight[:120])
        for part in (k, v):
            assert abs(part.mean()) < 0.002 and abs(part.std() - 0.02) < 0.001
        kinds += [k, v]
        old_q, new_kv = block.att.qkv.bias.detach().split([120, 80])
        assert torch.equal(old_q, old_block.att.qkv.bias[:120]) and not new_kv.any()
    assert len({part.sum().item() for part in kinds}) == 4  # none is a copy of another
    torch.manual_seed(3)
    again = gqa_from_mha(model, 2, "random")
    assert all(torch.equal(t, again.state_dict()[name]) for name, t in new.state_dict().items())


def test_mean_and_first_leave_the_random_generator_alone():
    model = mha_model(qkv_bias=True)
    for pool in ("mean", "first"):
        torch.manual_seed(7)
        state = torch.get_rng_state()
        gqa_from_mha(model, 2, pool)
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("K", [1, 2, 6])
@pytest.mark.parametrize("pool", ["mean", "first", "random"])
def test_the_copy_shares_no_memory_with_the_model_and_leaves_it(pool, K):
    model = mha_model(qkv_bias=True)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    new = gqa_from_mha(model, K, pool)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    theirs = [p.untyped_storage().data_ptr() for p in new.parameters()]
    assert not own & set(theirs) and len(set(theirs)) == len(theirs)
    assert all(p.requires_grad and p.is_leaf and p.device.type == "cpu" for p in new.parameters())
    with torch.no_grad():
        for p in new.parameters():
            p.fill_(1.0)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_mode_and_dtype_are_kept(training, dtype):
    model = mha_model(dtype, drop_rate=0.1).train(training)
    for pool in ("mean", "first", "random"):
        new = gqa_from_mha(model, 2, pool)
        assert all(module.training == training for module in new.modules())
        assert {p.dtype for p in new.parameters()} == {dtype}
        assert new.cfg.drop_rate == 0.1
    assert model.training == training


def test_a_cached_model_is_converted_without_its_cache():
    model = mha_model()
    with torch.no_grad():
        model(torch.randint(11, (2, 5)), use_cache=True)
        new = gqa_from_mha(model, 2)
        assert new.kv_cache is None and model.kv_cache[0].length == 5
        new(torch.randint(11, (3, 5)), use_cache=True)
    assert new.kv_cache[0].keys.shape == (3, 2, 40, D)


def test_a_converted_model_can_be_trained():
    new = gqa_from_mha(mha_model(torch.float32), 2).train()
    ids = torch.randint(11, (4, 20))
    optimizer = torch.optim.AdamW(new.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(new(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in new.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_refusals_change_nothing():
    model = mha_model()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for K, pool, error in ((4, "mean", ValueError), (0, "mean", ValueError), (2, "max", ValueError),
                           (2.0, "mean", TypeError), (4, "random", ValueError)):
        with pytest.raises(error):
            gqa_from_mha(model, K, pool)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
