"""Chapter 10: a window, blocks, a ring and patterns; what tests/test_attention_equivalence.py does not cover."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from gptbook import (
    GPTModel, KVCache, MultiHeadAttention, RingCache, SlidingWindowAttention, SWAConfig, generate, load_checkpoint,
    save_checkpoint, swa_from_mha, windowed_attention)


def config(L=1, W=4, E=8, H=2, **more):
    return {"vocab_size": 11, "context_length": 96, "emb_dim": E, "n_heads": H, "n_layers": L,
            "sliding_window_size": W, **more}


def gpt(seed=0, **more):
    """A float64 model with large random weights everywhere."""
    torch.manual_seed(seed)
    model = GPTModel(config(**more), attention=SlidingWindowAttention).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    return model


def layer(seed=0, **more):
    torch.manual_seed(seed)
    return SlidingWindowAttention(config(**more)).double().eval()


def dense(q, k, v, W):
    """The definition with a mask of the whole rectangle and repeated heads."""
    T, S, G = q.shape[2], k.shape[2], q.shape[1] // k.shape[1]
    i, j = torch.arange(S - T, S)[:, None], torch.arange(S)
    scores = q @ k.repeat_interleave(G, dim=1).mT / q.shape[3]**0.5
    weights = scores.masked_fill(~((j <= i) & (i - j < W)), -torch.inf).softmax(dim=-1)
    return weights @ v.repeat_interleave(G, dim=1)


# --- how far a model sees -------------------------------------------------------------------------------------------

PATTERNS = [("L", 1, 1), ("L", 1, 4), ("L", 3, 4), ("L", 4, 2), ("L", 3, 8), ("L", 5, 1), ("LLG", 3, 4), ("GLL", 3, 4),
            ("LGL", 6, 2), ("G", 2, 3)]


@pytest.mark.parametrize("pattern, L, W", PATTERNS)
def test_a_whole_model_sees_exactly_as_far_as_its_layers_say(pattern, L, W):
    model = gpt(L=L, W=W, window_pattern=pattern)
    n = 40
    x = torch.randn(1, n, 8, dtype=torch.float64, requires_grad=True)
    y = x
    for block in model.blocks:
        y = block(y)
    (y[0, -1] * torch.randn(8, dtype=torch.float64)).sum().backward()
    size = x.grad[0].norm(dim=1).flip(0)  # by the distance from the last position
    reach = n - 1 if "G" in pattern else L * (W - 1)
    assert (size[reach + 1:] == 0).all()
    assert (size[:reach + 1] > 0).all()


def test_ids_beyond_the_reach_change_no_bit_and_one_within_does():
    model = gpt(L=3, W=5)
    ids = torch.randint(11, (1, 40))
    with torch.no_grad():
        want = model(ids)[0, -1]
        for distance in (12, 13):
            other = ids.clone()
            other[0, 39 - distance] = (other[0, 39 - distance] + 1) % 11
            assert torch.equal(model(other)[0, -1], want) == (distance == 13)


def test_one_letter_for_each_layer():
    model = gpt(L=6, W=4, window_pattern="LLG", num_kv_groups=1)
    assert [block.att.cfg.window_pattern for block in model.blocks] == list("LLGLLG")
    assert [block.att.window for block in model.blocks] == [4, 4, None, 4, 4, None]
    model.reset_kv_cache(batch_size=2, max_length=50)
    assert [type(cache) for cache in model.kv_cache] == [RingCache, RingCache, KVCache] * 2
    assert model.kv_cache_nbytes == 2 * (2 * 1 * 4 * 8) * (4 * 4 + 2 * 50)
    assert model.cfg.window_pattern == "LLG" and model.cfg.num_kv_groups == 1


def test_for_layer_changes_the_letter_and_nothing_else():
    cfg = SWAConfig(**config(L=4, num_kv_groups=2, drop_rate=0.1), window_pattern="LG")
    one = cfg.for_layer(3)
    assert type(one) is SWAConfig and one.window_pattern == "G" and cfg.for_layer(2).window_pattern == "L"
    assert {**vars(one), "window_pattern": "LG"} == vars(cfg)
    assert SWAConfig(**config(H=4)).num_kv_groups == 4
    assert [one.for_layer(i).window_pattern for i in range(4)] == list("GGGG")
    for layer in (4, 7):
        with pytest.raises(ValueError, match=f"layer must be below n_layers 4, got {layer}"):
            cfg.for_layer(layer)


# --- blocks ---------------------------------------------------------------------------------------------------------

@settings(deadline=None, max_examples=120)
@given(T=st.one_of(st.integers(1, 12), st.sampled_from([63, 64, 65, 127, 128, 129, 150])), more=st.integers(0, 80),
       W=st.one_of(st.integers(1, 12), st.sampled_from([63, 64, 65, 100, 1000])), B=st.integers(1, 2),
       K=st.integers(1, 3), G=st.integers(1, 3), Dv=st.sampled_from([4, 6]))
def test_blocks_are_the_dense_mask(T, more, W, B, K, G, Dv):
    S = T + more
    generator = torch.Generator().manual_seed(T + 1000 * S)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    q, k, v = random(B, K * G, T, 4), random(B, K, S, 4), random(B, K, S, Dv)
    assert_close(windowed_attention(q, k, v, W), dense(q, k, v, W), atol=1e-12, rtol=0)


def test_a_block_reads_nothing_outside_its_window():
    q, k, v = torch.randn(3, 1, 2, 200, 4)
    k[:, :, :50], v[:, :, :50] = torch.nan, torch.nan
    rows = windowed_attention(q, k, v, 10)
    assert rows[:, :, :50].isnan().all() and not rows[:, :, 128:].isnan().any()  # blocks that begin beyond 59 are clean


class Watch(TorchDispatchMode):
    """The most numbers in a result with memory of its own, and the bytes of all of them together."""

    largest = total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() not in known:
                self.largest = max(self.largest, t.numel())
                self.total += t.nbytes
        return out


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("K", [1, 2])
def test_a_prefill_makes_nothing_of_size_t_times_t(cached, K):
    totals = []
    for T in (2048, 4096):
        att = SlidingWindowAttention({**config(W=32, num_kv_groups=K), "context_length": T}).eval()
        cache = att.new_cache(1, T) if cached else None
        with torch.inference_mode(), Watch() as watch:
            att(torch.randn(1, T, 8), cache)
        assert watch.largest <= T * 3 * 8 < T * T / 80
        totals.append(watch.total)
    assert totals[1] < 2.1 * totals[0]


def test_the_work_is_linear_in_the_prompt():
    def flops(T):
        q = k = v = torch.empty(1, 2, T, 8, device="meta")
        with FlopCounterMode(display=False) as counter:
            windowed_attention(q, k, v, 64)
        return counter.get_total_flops()

    a, b, c = flops(1024), flops(2048), flops(4096)
    assert c - b == 2 * (b - a) > 0  # beyond the beginning, each block costs the same
    assert c == 4 * 2 * 8 * (64 * 64 + 63 * 64 * 127)  # the first block has 64 keys, the others 127


def test_a_window_as_large_as_you_like_costs_no_more_than_the_text():
    q, k, v = torch.randn(3, 1, 2, 70, 4)
    with Watch() as watch:
        rows = windowed_attention(q, k, v, 10**12)
    assert watch.largest <= 64 * (64 + 70)
    assert_close(rows, F.scaled_dot_product_attention(q, k, v, is_causal=True))


def test_gradients_are_those_of_the_dense_mask():
    inputs = [torch.randn(1, H, 70, 4, dtype=torch.float64, requires_grad=True) for H in (4, 2, 2)]
    out = torch.randn(1, 4, 70, 4, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(call(*inputs, 9), inputs, out) for call in (windowed_attention, dense))
    for a, b in zip(ours, theirs):
        assert_close(a, b, atol=1e-12, rtol=0)


def test_dropout_in_training_only():
    att, x = layer(drop_rate=0.5, W=5), torch.randn(1, 70, 8, dtype=torch.float64)
    with torch.no_grad():
        att.train()
        assert not torch.allclose(att(x), att(x))
        att.eval()
        assert torch.equal(att(x), att(x))
        assert_close(att(x), layer(W=5)(x), atol=1e-12, rtol=0)
        q = k = v = torch.ones(1, 1, 5000, 1, dtype=torch.float64)
        rows = windowed_attention(q, k, v, 64, dropout_p=0.25)
    assert 0.98 < rows.mean() < 1.02 and rows.std() > 0.01  # what is left is scaled up


# --- the ring -------------------------------------------------------------------------------------------------------

def numbered(start, T, B=1, K=1, D=1):
    """Keys that hold the number of their position, and values that hold it negative."""
    k = torch.arange(start, start + T).double().view(1, 1, T, 1).expand(B, K, T, D).clone()
    return k, -k


def ring(W, max_length=200, **more):
    return RingCache(1, 1, max_length, 1, W, dtype=torch.float64, **more)


def listed(t):
    return [int(x) for x in t.flatten().tolist()]


def contents(cache):
    return cache.length, cache._oldest, cache.keys.clone(), cache.values.clone()


def same(a, b):
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(a, b))


@settings(deadline=None, max_examples=150)
@given(sizes=st.lists(st.integers(0, 13), min_size=1, max_size=9), W=st.integers(1, 9), spare=st.integers(0, 3))
def test_after_any_chunking_the_last_positions_lie_in_their_slots(sizes, W, spare):
    cache, room = ring(W, max_length=max(1, sum(sizes) + spare)), min(W, max(1, sum(sizes) + spare))
    nbytes, address = cache.nbytes, cache.keys.data_ptr()
    n = 0
    for T in sizes:
        keys, values = cache.update(*numbered(n, T))
        returned = listed(keys)
        assert listed(-values) == returned
        past = min(n, W - 1)
        n += T
        if T == 1:
            assert sorted(returned) == list(range(max(0, n - W), n))
        else:
            assert returned == list(range(n - T - past, n))
        assert cache.length == n
        for p in range(max(0, n - room), n):
            assert cache.keys[0, 0, p % room] == p and cache.values[0, 0, p % room] == -p
    assert cache.nbytes == nbytes == 2 * room * 8 and cache.keys.data_ptr() == address


def test_bytes_do_not_depend_on_the_length():
    for n in (256, 4096, 16_384):
        assert RingCache(1, 12, n, 64, 256, device="meta").nbytes == 2 * 12 * 256 * 64 * 4
    assert KVCache(1, 12, 4096, 64, device="meta").nbytes == 16 * RingCache(1, 12, 4096, 64, 256, device="meta").nbytes
    short = RingCache(1, 12, 100, 64, 256, device="meta")
    assert short.keys.shape[2] == short.max_length == 100


def test_a_step_copies_neither_ring_nor_past():
    cache = RingCache(1, 4, 5000, 16, 1000)
    cache.update(*torch.randn(2, 1, 4, 1500, 16))
    with torch.inference_mode(), Watch() as watch:
        keys, values = cache.update(*torch.randn(2, 1, 4, 1, 16))
    assert watch.largest <= 2 * 4 * 16
    assert keys.data_ptr() == cache.keys.data_ptr() and values.data_ptr() == cache.values.data_ptr()


def test_what_a_chunk_returns_is_a_copy_that_later_steps_leave_alone():
    cache = ring(4)
    cache.update(*numbered(0, 4))
    keys, _ = cache.update(*numbered(4, 3))
    cache.update(*numbered(7, 1))
    assert listed(keys) == [1, 2, 3, 4, 5, 6]


def test_born_in_inference_mode_and_written_outside():
    with torch.inference_mode():
        cache = ring(3)
        cache.update(*numbered(0, 5))
    cache.update(*numbered(5, 1))
    assert listed(cache.keys) == [3, 4, 5] and not cache.keys.is_inference()


def test_no_gradient_flows_into_the_ring():
    cache, (k, v) = ring(3), numbered(0, 5)
    for T in (5, 1):
        keys, values = cache.update(k[:, :, :T].requires_grad_(), v[:, :, :T].requires_grad_())
        assert not keys.requires_grad and not values.requires_grad and not cache.keys.requires_grad


BAD = {"another batch": lambda k: k.expand(2, -1, -1, -1), "another dtype": lambda k: k.float(),
       "another head size": lambda k: k.expand(-1, -1, -1, 2), "a list": lambda k: k.tolist()}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("T", [1, 3])
def test_what_is_refused_changes_nothing(kind, T):
    cache = ring(4, max_length=12)
    cache.update(*numbered(0, 6))
    before = contents(cache)
    k, v = numbered(6, T)
    for wrong in ((BAD[kind](k), v), (k, BAD[kind](v))):
        with pytest.raises((TypeError, ValueError), match="k and v must be"):
            cache.update(*wrong)
        assert same(contents(cache), before)
    with pytest.raises(ValueError, match="no room for 7 more: 6 of max_length 12"):
        cache.update(*numbered(6, 7))
    assert same(contents(cache), before)


@settings(deadline=None, max_examples=200)
@given(steps=st.lists(st.tuples(st.sampled_from(["read", "read", "back", "reset"]), st.integers(0, 7)), max_size=14),
       W=st.integers(1, 5))
def test_a_ring_gives_the_right_positions_or_refuses(steps, W):
    """Any order of reading, setting back and resetting, against a list that knows what was read."""
    cache, text, slots, mark = ring(W, max_length=100), [], [None] * W, 0
    for what, n in steps:
        if what == "reset":
            cache.reset()
            text = []
        elif what == "back":
            text = text[:max(0, len(text) - n)]
            cache.length = len(text)
        else:
            start, new = len(text), list(range(mark, mark + n))  # a token read again is another one
            mark += n
            past = range(max(0, start - W + 1), start)
            there = all(slots[p % W] == text[p] for p in past)
            k = torch.tensor(new, dtype=torch.float64).view(1, 1, n, 1)
            if not there:
                with pytest.raises(ValueError, match="set back"):
                    cache.update(k, -k)
                continue
            keys, values = cache.update(k, -k)
            for i, token in enumerate(new):
                slots[(start + i) % W] = token
            text += new
            want = text[max(0, len(text) - W):] if n == 1 else [text[p] for p in past] + new
            assert sorted(listed(keys)) == sorted(want) and listed(keys) == listed(-values)
            assert n == 1 or listed(keys) == want


def test_the_last_step_can_be_taken_back_and_a_chunk_cannot():
    cache = ring(4)
    cache.update(*numbered(0, 9))
    for _ in range(3):
        cache.update(*numbered(9, 1))
        cache.length = 9
    assert sorted(listed(cache.update(*numbered(9, 1))[0])) == [6, 7, 8, 9]
    cache.update(*numbered(10, 2))
    cache.length = 10
    before = contents(cache)
    with pytest.raises(ValueError, match="set back to 10, whose window begins at position 7, and what lay before 8 is"):
        cache.update(*numbered(10, 1))
    assert same(contents(cache), before)
    cache.length = 0  # nothing is before it, so nothing is missing
    assert listed(cache.update(*numbered(0, 2))[0]) == [0, 1]
    assert listed(cache.update(*numbered(2, 2))[0]) == [0, 1, 2, 3]


def test_a_read_of_nothing_hides_no_overwritten_position():
    cache = ring(4)
    cache.update(*numbered(0, 10))
    cache.length = 9
    cache.update(*numbered(9, 0))
    cache.length = 8
    with pytest.raises(ValueError, match="set back"):
        cache.update(*numbered(8, 1))


def test_set_back_before_the_ring_was_full_takes_back_any_number():
    cache = ring(8)
    cache.update(*numbered(0, 7))
    cache.length = 2
    assert listed(cache.update(*numbered(2, 3))[0]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("T", [1, 2, 5])
@pytest.mark.parametrize("stop", [1, 2])
def test_interrupted_while_it_writes_it_is_right_or_refuses(T, stop):
    """A key press before the writing of the keys, or between keys and values."""

    class Interrupt(TorchDispatchMode):
        writes = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.writes += func is torch.ops.aten.index_copy_.default
            if self.writes == stop:
                raise KeyboardInterrupt
            return func(*args, **(kwargs or {}))

    for read in (0, 2, 6):
        cache = ring(4)
        cache.update(*numbered(0, read))
        with pytest.raises(KeyboardInterrupt), Interrupt():
            cache.update(*numbered(50, T))
        assert cache.length == read
        if T > 1 and read + T > 4 and read:
            with pytest.raises(ValueError, match="overwritten"):
                cache.update(*numbered(read, 1))
            cache.reset()
            assert listed(cache.update(*numbered(0, 1))[0]) == [0]
        else:
            keys, values = cache.update(*numbered(read, 1))
            assert sorted(listed(keys)) == sorted(listed(-values)) == list(range(max(0, read - 3), read + 1))


def test_an_interrupted_prefill_of_a_sized_cache_can_be_read_again():
    model = gpt(L=3, W=4, window_pattern="LLG")
    ids = torch.randint(11, (2, 20))

    def interrupt(*_):
        raise KeyboardInterrupt

    with torch.inference_mode():
        want = model(ids)
        model.reset_kv_cache(batch_size=2)
        hook = model.blocks[1].att.register_forward_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            model(ids.flip(0), use_cache=True)
        hook.remove()
        assert_close(model(ids, use_cache=True), want, atol=1e-11, rtol=0)


def test_a_ring_says_what_it_is():
    cache = ring(4, max_length=50)
    cache.update(*numbered(0, 9))
    assert repr(cache) == "RingCache(9 of 50 positions, in 4 slots, B=1, K=1, D=1, torch.float64)"
    cache.reset()
    assert cache.length == 0 and listed(cache.update(*numbered(0, 1))[0]) == [0]


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=8), W=st.integers(1, 30), K=st.sampled_from([1, 2]))
def test_a_layer_in_any_chunks_is_the_dense_mask(sizes, W, K):
    att, x = layer(W=W, num_kv_groups=K), torch.randn(2, sum(sizes), 8, dtype=torch.float64)
    with torch.no_grad():
        q, k, v = att.project(x)
        want = att.out_proj(dense(q, k, v, W).transpose(1, 2).flatten(2))
        cache = att.new_cache(2, sum(sizes))
        rows = torch.cat([att(part, cache) for part in x.split(sizes, dim=1)], dim=1)
    assert_close(rows, want, atol=1e-12, rtol=0)


# --- against other programs -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("W", [1, 2, 5, 23, 24, 40])
def test_mistrals_attention_with_our_weights(W):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import DynamicCache, MistralConfig
        from transformers.masking_utils import create_sliding_window_causal_mask
        from transformers.models.mistral.modeling_mistral import MistralAttention

    cfg = MistralConfig(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, sliding_window=W, num_hidden_layers=1,
                        attn_implementation="sdpa")
    theirs, ours = MistralAttention(cfg, 0).double().eval(), layer(W=W, E=32, H=4, num_kv_groups=2)
    x = torch.randn(2, 24, 32, dtype=torch.float64)

    def call(x, start, cache=None):
        T = x.shape[1]
        mask = create_sliding_window_causal_mask(config=cfg, inputs_embeds=x, attention_mask=None, past_key_values=cache,
                                                 position_ids=torch.arange(start, start + T)[None])
        unturned = torch.ones(1, T, 8, dtype=x.dtype), torch.zeros(1, T, 8, dtype=x.dtype)
        return theirs(x, position_embeddings=unturned, attention_mask=mask, past_key_values=cache)[0]

    with torch.no_grad():
        for projection, weight in zip((theirs.q_proj, theirs.k_proj, theirs.v_proj), ours.qkv.weight.split([32, 16, 16])):
            projection.weight.copy_(weight)
        theirs.o_proj.weight.copy_(ours.out_proj.weight)
        ours.out_proj.bias.zero_()
        assert_close(ours(x), call(x, 0), atol=1e-12, rtol=0)
        if W == 1:
            return  # their cache keeps W - 1 = 0 positions by a slice [-0:], which is all of them
        caches, start = (DynamicCache(config=cfg), ours.new_cache(2, 24)), 0
        for part in x.split([7, *[1] * 9, 6, 2], dim=1):
            assert_close(ours(part, caches[1]), call(part, start, caches[0]), atol=1e-12, rtol=0)
            start += part.shape[1]


# --- a model made from another, kept, and used ----------------------------------------------------------------------

@pytest.mark.parametrize("training", [True, False])
def test_swa_from_mha_copies_weights_and_mode(training):
    torch.manual_seed(0)
    plain = {k: v for k, v in config(L=3, qkv_bias=True).items() if k != "sliding_window_size"}
    mha = GPTModel(plain).double().train(training)
    random_state = torch.get_rng_state()
    new = swa_from_mha(mha, 6, "LLG")
    assert torch.equal(torch.get_rng_state(), random_state)
    assert new.training is training and all(m.training is training for m in new.modules())
    assert new.cfg.sliding_window_size == 6 and new.cfg.window_pattern == "LLG" and new.cfg.num_kv_groups == 2
    ours, theirs = dict(new.named_parameters()), dict(mha.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, p in ours.items():
        assert torch.equal(p, theirs[name]) and p.data_ptr() != theirs[name].data_ptr() and p.requires_grad, name
    with torch.no_grad():
        ours["blocks.0.att.qkv.weight"].add_(1)
    assert not torch.equal(ours["blocks.0.att.qkv.weight"], theirs["blocks.0.att.qkv.weight"])
    assert {type(block.att) for block in mha.blocks} == {MultiHeadAttention}


def test_a_checkpoint_keeps_window_and_pattern(tmp_path):
    model = gpt(L=3, W=5, window_pattern="LLG", num_kv_groups=1)
    save_checkpoint(tmp_path / "llg.safetensors", model)
    again = load_checkpoint(tmp_path / "llg.safetensors", attention=SlidingWindowAttention).model
    assert again.cfg == model.cfg and type(again.cfg) is SWAConfig
    ids = torch.randint(11, (2, 30))
    with torch.no_grad():
        assert torch.equal(again(ids), model(ids))
    with pytest.raises(ValueError, match="SlidingWindowAttention"):
        load_checkpoint(tmp_path / "llg.safetensors")


@pytest.mark.parametrize("pattern, prompt", [("L", 1), ("L", 30), ("LLG", 2), ("LLG", 30)])
def test_generation_goes_on_beyond_the_window(pattern, prompt):
    model = gpt(L=3, W=4, window_pattern=pattern)
    ids = torch.randint(11, (2, prompt))
    cached = generate(model, ids, 40)
    assert torch.equal(cached, generate(model, ids, 40, use_cache=False)) and cached.shape == (2, prompt + 40)
    model.reset_kv_cache(batch_size=2)
    with torch.inference_mode():  # logits, too: equal tokens are weak evidence
        want = model(cached)
        model(cached[:, :prompt], use_cache=True)
        nbytes = model.kv_cache_nbytes
        rows = [model(cached[:, n:n + 1], use_cache=True) for n in range(prompt, prompt + 40)]
    assert_close(torch.cat(rows, dim=1), want[:, prompt:], atol=1e-11, rtol=0)
    assert model.kv_cache_nbytes == nbytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_new_cache_follows_the_weights_and_autocast(dtype):
    att = layer(W=4, num_kv_groups=1).to(dtype)
    cache = att.new_cache(3, 9)
    assert type(cache) is RingCache and cache.keys.shape == (3, 1, 4, 4) and cache.keys.dtype == dtype
    assert cache.max_length == 9 and cache.window == 4
    assert att.new_cache(1, 9, dtype=torch.float16).keys.dtype == torch.float16
    assert att.new_cache(1, 9, device="meta").values.device.type == "meta"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert att.new_cache(1, 9).keys.dtype == (torch.float64 if dtype == torch.float64 else torch.bfloat16)


def test_dropout_of_a_single_query():
    q, k, v = (torch.ones(1, 2, T, 4) for T in (1, 9, 9))
    torch.manual_seed(0)
    assert not torch.allclose(windowed_attention(q, k, v, 5, dropout_p=0.5), torch.ones(1, 2, 1, 4))
