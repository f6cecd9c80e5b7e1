"""Chapter 12: counts against models and counters, peaks against the system, and what the benchmarks leave behind."""

import gc
import json
import os
import subprocess
import sys
import weakref
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gptbook import perf_analysis
from gptbook.generate import generate
from gptbook.gpt import GPT_CONFIG_124M, GPT_CONFIG_355M, GPT_CONFIG_774M, GPT_CONFIG_1558M, GPTModel
from gptbook.gpt_gqa import GroupedQueryAttention
from gptbook.gpt_mla import HalfCacheAttention, MultiHeadLatentAttention
from gptbook.gpt_swa import SlidingWindowAttention
from gptbook.kv_cache import MultiHeadAttention
from gptbook.perf_analysis import (FastDecode, MachineLimits, benchmark_decode, benchmark_training, estimate,
                                   find_max_batch, machine_limits)

TINY = {"vocab_size": 50, "context_length": 256, "emb_dim": 24, "n_heads": 4, "n_layers": 3, "drop_rate": 0.0}
VARIANTS = {
    "mha": (MultiHeadAttention, {}), "bias": (MultiHeadAttention, {"qkv_bias": True}), "half": (HalfCacheAttention, {}),
    "gqa": (GroupedQueryAttention, {"num_kv_groups": 2}), "mqa": (GroupedQueryAttention, {"num_kv_groups": 1, "qkv_bias": True}),
    "mla": (MultiHeadLatentAttention, {"latent_dim": 10}), "mla narrow": (MultiHeadLatentAttention, {"latent_dim": 4, "latent_norm": True}),
    "mla rotary": (MultiHeadLatentAttention, {"latent_dim": 10, "rope_dim": 4}),
    "mla both": (MultiHeadLatentAttention, {"latent_dim": 10, "rope_dim": 4, "latent_norm": True}),
    "swa": (SlidingWindowAttention, {"num_kv_groups": 4, "sliding_window_size": 5}),
    "swa gqa": (SlidingWindowAttention, {"num_kv_groups": 2, "sliding_window_size": 70}),
    "swa llg": (SlidingWindowAttention, {"num_kv_groups": 2, "sliding_window_size": 5, "window_pattern": "LLG"}),
}
SHAPES = [(1, 1, 0), (2, 7, 0), (1, 1, 100), (3, 130, 0), (2, 66, 100)]  # B, T new positions after so many cached
each_variant = pytest.mark.parametrize("kind", VARIANTS)
LIMITS = MachineLimits("cpu", torch.float32, 2, bytes_per_s=10.0, flops_per_s=40.0)


def build(kind, **changes):
    attention, more = VARIANTS[kind]
    torch.manual_seed(0)
    return GPTModel({**TINY, **more, **changes}, attention=attention)


def estimated(kind, **call):
    attention, more = VARIANTS[kind]
    return estimate({**TINY, **more}, attention=attention, **call)


def flops(work):
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # it does not know a CPU's fused attention
        work()
    return counter.get_total_flops()


@each_variant
def test_parameters_and_bytes_of_weights(kind):
    model = build(kind)
    for dtype in (torch.float32, torch.bfloat16):
        e = estimated(kind, dtype=dtype)
        assert e.parameters == sum(p.numel() for p in model.parameters())
        assert e.weight_bytes == sum(p.nbytes for p in model.to(dtype).parameters())


@pytest.mark.parametrize("cfg, millions", [(GPT_CONFIG_124M, 124.4), (GPT_CONFIG_355M, 354.8), (GPT_CONFIG_774M, 774.0),
                                           (GPT_CONFIG_1558M, 1557.6)])
def test_the_four_sizes(cfg, millions):
    with torch.device("meta"):
        own = sum(p.numel() for p in GPTModel({**cfg, "qkv_bias": True}).parameters())
    assert estimate({**cfg, "qkv_bias": True}).parameters == own
    assert round(own / 1e6, 1) == pytest.approx(millions, abs=0.06)  # the public checkpoints


@each_variant
@pytest.mark.parametrize("B, T, cached", SHAPES)
def test_cache_and_flops_of_a_cached_call(kind, B, T, cached):
    model, ids, e = build(kind).eval(), torch.randint(0, 50, (B, cached + T)), estimated(kind, batch_size=B, seq_len=T, cached=cached)
    model.reset_kv_cache(B, cached + T)
    assert model.kv_cache_nbytes == e.cache_bytes
    with torch.inference_mode():
        if cached:
            model(ids[:, :cached], use_cache=True)
        assert flops(lambda: model(ids[:, cached:], use_cache=True, last_only=True)) == e.forward_flops
    assert e.forward_bytes == e.weight_bytes - model.pos_emb.weight.nbytes + e.cache_bytes


@each_variant
@pytest.mark.parametrize("B, T", [(1, 1), (2, 7), (3, 130)])
def test_flops_and_bytes_kept_in_training(kind, B, T):
    model, ids, e = build(kind), torch.randint(0, 50, (B, T)), estimated(kind, batch_size=B, seq_len=T)

    def loss():
        return F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())

    assert flops(lambda: loss().backward()) == e.training_flops
    own, kept = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def note(t):
        if t.is_floating_point() and t.untyped_storage().data_ptr() not in own:
            kept[t.untyped_storage().data_ptr()] = t  # held, so that its memory is not given to another
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        loss()
    exact = kind != "mla narrow"  # latents no wider than a head are absorbed in training too, and keep a little else
    nbytes = sum(t.untyped_storage().nbytes() for t in kept.values())
    assert nbytes == (e.activation_bytes if exact else pytest.approx(e.activation_bytes, rel=0.1))


@given(B=st.integers(1, 3), T=st.integers(1, 40), cached=st.integers(0, 40), H=st.integers(1, 4), D=st.integers(1, 6),
       V=st.integers(1, 60), L=st.integers(1, 3), C=st.integers(80, 90))
@settings(max_examples=40, deadline=None)
def test_drawn_shapes(B, T, cached, H, D, V, L, C):
    cfg = {"vocab_size": V, "context_length": C, "emb_dim": H * D, "n_heads": H, "n_layers": L, "drop_rate": 0.0}
    model, e = GPTModel(cfg).eval(), estimate(cfg, batch_size=B, seq_len=T, cached=cached)
    ids = torch.zeros(B, cached + T, dtype=torch.int64)
    model.reset_kv_cache(B, cached + T)
    assert (e.parameters, e.cache_bytes) == (sum(p.numel() for p in model.parameters()), model.kv_cache_nbytes)
    with torch.inference_mode():
        if cached:
            model(ids[:, :cached], use_cache=True)
        assert flops(lambda: model(ids[:, cached:], use_cache=True, last_only=True)) == e.forward_flops


PEAK = """
import json, sys
from pathlib import Path
import torch
from gptbook import GPTModel, TrainConfig, make_optimizer, train_step
cfg, B, T = json.loads(sys.argv[1])
peak = lambda: 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
for cfg, B, T in (({**cfg, "vocab_size": 9, "emb_dim": 12, "n_heads": 1, "n_layers": 1}, 1, 2), (cfg, B, T)):
    before, run, ids = peak(), TrainConfig(max_steps=9), torch.zeros(B, T, dtype=torch.int64)
    model = GPTModel(cfg)
    optimizer = make_optimizer(model, run)
    for step in range(2):
        train_step(model, optimizer, [(ids, ids)], run, step)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("changes, B, T", [({}, 8, 256), ({"vocab_size": 50_000, "n_layers": 1}, 1, 64), ({"emb_dim": 768, "n_heads": 12}, 1, 64)])
def test_peak_of_training(changes, B, T):
    cfg = {"vocab_size": 4096, "context_length": 256, "emb_dim": 384, "n_heads": 6, "n_layers": 4, "drop_rate": 0.0, **changes}
    done = subprocess.run([sys.executable, "-c", PEAK, json.dumps([cfg, B, T])], capture_output=True, text=True, check=True,
                          env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"})  # freed memory goes back at once
    assert int(done.stdout) == pytest.approx(estimate(cfg, batch_size=B, seq_len=T).training_peak_bytes, rel=0.15)


@each_variant
@pytest.mark.parametrize("training", [True, False])
def test_max_batch_is_the_last_that_fits(kind, training):
    attention, more = VARIANTS[kind]

    def needed(B):
        e = estimated(kind, batch_size=B, seq_len=100)
        return e.training_peak_bytes if training else e.weight_bytes + e.cache_bytes

    for B in (1, 2, 3, 37, 64):
        for room, fits in ((needed(B) - 1, B - 1), (needed(B), B), (needed(B + 1) - 1, B)):
            assert find_max_batch({**TINY, **more}, room, seq_len=100, training=training, attention=attention) == fits


def test_max_batch_in_16_bits():
    room = estimate(TINY, batch_size=9, seq_len=50, dtype=torch.bfloat16).training_peak_bytes
    assert find_max_batch(TINY, room, seq_len=50, dtype=torch.bfloat16) == 9 > find_max_batch(TINY, room, seq_len=50)


def test_the_roofline():
    assert LIMITS.ridge == 4
    assert LIMITS.seconds(flops=40, nbytes=0) == 1 and LIMITS.seconds(flops=0, nbytes=10) == 1
    assert LIMITS.seconds(flops=80, nbytes=10) == 2 and LIMITS.seconds(flops=80, nbytes=100) == 10


def test_limits_are_measured_and_threads_put_back(monkeypatch):
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(perf_analysis, "_seconds", lambda work, rounds, device: [seen.append(torch.get_num_threads()), work()] and [2.0, 0.5])
    limits = machine_limits(threads=before + 1)
    assert (limits.device, limits.dtype, limits.threads) == ("cpu", torch.float32, before + 1)
    assert set(seen) == {before + 1} and torch.get_num_threads() == before
    assert limits.bytes_per_s == 4 * 2**26 / 0.5 and limits.flops_per_s == 2 * 512**3 / 0.5  # the best of them, in seconds
    monkeypatch.setattr(perf_analysis, "_seconds", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        machine_limits(threads=before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("faster", [torch.matmul, F.linear])
def test_the_better_of_two_products_counts(faster, monkeypatch):
    def seconds(work, rounds, device):
        if not hasattr(work, "args"):
            return [1.0]
        n = len(work.args[0])
        assert work.func is faster or n == 512  # the slower one is not waited for again
        return [n / 512 * 0.015, 1.0] if work.func is faster else [0.4, 0.5]

    monkeypatch.setattr(perf_analysis, "_seconds", seconds)
    assert machine_limits(torch.bfloat16).flops_per_s == 2 * 1024**3 / 0.03


def test_the_matrices_grow_until_the_clock_can_tell(monkeypatch):
    sizes = []

    def seconds(work, rounds, device):
        if hasattr(work, "args"):
            sizes.append(len(work.args[0]))
            assert work.args[0].dtype == work.args[1].dtype == torch.float64
            return [0.001 if sizes[-1] < 1024 else 0.03]
        return [1.0]

    monkeypatch.setattr(perf_analysis, "_seconds", seconds)
    assert machine_limits(torch.float64).flops_per_s == 2 * 1024**3 / 0.03 and sizes == [512] * 3 + [1024] * 2  # two ways at first, then one


def test_a_first_call_does_not_count():
    calls = []
    assert len(perf_analysis._seconds(lambda: calls.append(0), 3, torch.device("cpu"))) == 3 and len(calls) == 4


def test_decoding_is_timed_and_nothing_left_behind():
    model = build("mha").train()
    state, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    record = benchmark_decode(model, prompt_length=5, new_tokens=4, batch_size=3, rounds=2)
    assert (record.batch_size, record.prompt_length, record.new_tokens, record.dtype) == (3, 5, 4, torch.float32)
    assert record.first_token_seconds > 0 and record.tokens_per_s == 3 / record.token_seconds > 0
    assert model.training and all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert model.kv_cache is None and torch.equal(random, torch.get_rng_state())


def test_the_first_round_and_the_first_token_are_kept_apart(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(perf_analysis.time, "perf_counter", lambda: next(clock) ** 2)  # each reading later than the last
    record = benchmark_decode(build("mha"), prompt_length=1, new_tokens=3, rounds=2)
    times = [n**2 for n in range(12)]  # a beginning and three tokens, three times, the first of them not counted
    assert record.first_token_seconds == ((times[5] - times[4]) + (times[9] - times[8])) / 2
    assert record.token_seconds == sorted(times[i + 1] - times[i] for i in (5, 6, 9, 10))[1:3][0] / 2 + sorted(
        times[i + 1] - times[i] for i in (5, 6, 9, 10))[2] / 2


@pytest.mark.parametrize("bf16", [False, True])
def test_training_is_timed_and_nothing_left_behind(bf16):
    model = build("swa gqa", drop_rate=0.1).train()
    model.blocks[1].eval()
    state, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    record = benchmark_training(model, batch_size=3, seq_len=20, steps=2, bf16=bf16)
    assert (record.batch_size, record.seq_len, record.bf16) == (3, 20, bf16)
    assert record.flops == estimated("swa gqa", batch_size=3, seq_len=20).training_flops
    assert record.tokens_per_s == 60 / record.step_seconds > 0
    assert record.mfu(LIMITS) == record.flops / record.step_seconds / 40
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())  # to the bit
    assert model.training and not model.blocks[1].att.training and not model.blocks[1].training
    assert all(p.grad is None for p in model.parameters()) and torch.equal(random, torch.get_rng_state())


def test_training_really_trains(monkeypatch):
    steps = []
    monkeypatch.setattr(perf_analysis, "train_step", lambda *args: steps.append(args))
    benchmark_training(build("mha"), batch_size=2, seq_len=8, steps=3, bf16=True)
    assert len(steps) == 4
    for _, optimizer, ((inputs, targets),), cfg, step in steps:
        assert inputs.shape == targets.shape == (2, 8) and cfg.bf16 and perf_analysis.TrainConfig(max_steps=1).min_lr == 0
        assert step >= cfg.max_steps and isinstance(optimizer, torch.optim.AdamW)


@each_variant
@pytest.mark.parametrize("rows", [1, 3])
def test_fast_decoding_is_equal(kind, rows):
    model, ids = build(kind).eval(), torch.randint(0, 50, (rows, 9))
    with torch.inference_mode():
        plain = model(ids, last_only=True)
        with FastDecode(model):
            for i in range(9):
                fast = model(ids[:, i:i + 1], use_cache=True, last_only=True)
        assert (fast - plain).abs().max() < 2e-6
    prompt = ids[:, :4]
    with FastDecode(model):
        fast = generate(model, prompt, 12)
    assert torch.equal(fast, generate(model, prompt, 12))


@pytest.mark.parametrize("way", perf_analysis._WAYS, ids=["linear", "weights first", "pieces", "pieces in front"])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (2, 1), (1, 5), (3, 4), (16,), (8, 8)])
@pytest.mark.parametrize("n", [1, 3, 16, 50, 257])
def test_few_rows_are_a_linear_layer(way, shape, n):
    x, weight, bias = torch.randn(*shape, 24), torch.randn(n, 24), torch.randn(n)
    for b in (None, bias):
        got = way(x, weight, b)
        assert got.shape == (*shape, n) and got.is_contiguous()  # views of it are taken, and fused attention wants its rows whole
        assert torch.allclose(got, F.linear(x, weight, b), atol=1e-5)
    x, weight, bias = x.bfloat16(), weight.bfloat16(), bias.bfloat16()
    for b, exact in ((None, None), (bias, bias.double())):
        half, size = way(x, weight, b), F.linear(x.double().abs(), weight.double().abs(), None if b is None else exact.abs())
        assert half.dtype == torch.bfloat16
        assert ((half - F.linear(x.double(), weight.double(), exact)).abs() <= 2**-7 * size).all()  # rounded to 8 bits, twice


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("quick", range(3))
def test_the_way_that_takes_least_time_is_taken(quick, dtype, monkeypatch):
    model, calls, clock, linear = build("mha").eval().to(dtype), [], [0.0], F.linear
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    places = [model.tok_emb.weight, *(layer.weight for layer in layers)]

    def way(number):
        def multiply(x, weight, bias=None):
            first = (number, weight.data_ptr()) not in calls  # the quick way's first try is disturbed
            calls.append((number, weight.data_ptr()))
            clock[0] += 10 if number != quick else 100 if first else 1
            return linear(x, weight, bias)
        return multiply

    monkeypatch.setattr(perf_analysis, "time", SimpleNamespace(perf_counter=lambda: clock[0]))  # a clock that only the ways move
    monkeypatch.setattr(perf_analysis, "_WAYS", tuple(way(number) for number in range(3)))
    with torch.inference_mode(), FastDecode(model) as fast:
        for shape in {weight.shape for weight in places}:
            alike = [weight for weight in places if weight.shape == shape]
            x = torch.ones(16, shape[1], dtype=dtype)
            call = model.head if alike[0] is model.tok_emb.weight else next(m for m in layers if m.weight is alike[0])
            for rows, measured in ((1, True), (1, False), (2, True), (2, False), (3, True), (4, False), (9, True), (16, False), (10, False)):
                calls.clear()
                call(x[:rows])
                tries = {(number, weight.data_ptr()): 3 for number in range(3) for weight in alike if measured}
                assert Counter(calls[:-1]) == tries, (shape, rows)  # all of that shape, three times in each way
                assert calls[-1] == (quick, alike[0].data_ptr())
        calls.clear()
        model(torch.zeros(1, 1, dtype=torch.int64))
        assert len(calls) == len(places) == 4 * 3 + 1 and {number for number, _ in calls} == {quick}
        calls.clear()
        model(torch.zeros(1, 17, dtype=torch.int64))  # too many rows
        layers[0](torch.ones(0, 24, dtype=dtype))
        assert not calls and len(fast._fastest) == 5 * 4


@pytest.mark.parametrize("seconds, taken", [((100, 96, 120), 0), ((100, 120, 94), 2), ((100, 93, 94), 1), ((90, 100, 100), 0)])
def test_another_way_has_to_gain_a_twentieth(seconds, taken, monkeypatch):
    clock = [0.0]
    ways = tuple(lambda x, w, b, n=n: clock.__setitem__(0, clock[0] + n) for n in seconds)
    monkeypatch.setattr(perf_analysis, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(perf_analysis, "_WAYS", ways)
    assert perf_analysis._fastest_way(torch.ones(1, 2), [(torch.ones(3, 2), None)] * 4) is ways[taken]


@pytest.mark.parametrize("int8", [False, True])
def test_fast_decoding_ends_with_its_block(int8):
    model = build("mha").eval()
    layer, before = model.blocks[0].ff.expand, {name: vars(module).copy() for name, module in model.named_modules()}
    fast = FastDecode(model, int8)
    for error in (None, KeyError):
        with pytest.raises(error) if error else nullcontext(), fast:
            assert "head" in vars(model) and all("forward" in vars(m) for m in model.modules() if isinstance(m, torch.nn.Linear))
            for other in (fast, FastDecode(model)):
                with pytest.raises(RuntimeError, match="model is in a .* block already"):
                    other.__enter__()
            if error:
                raise error
        assert {name: vars(module) for name, module in model.named_modules()} == before
    layer.forward = other = lambda x: x  # somebody else's
    with fast:
        assert layer.forward is other and "forward" in vars(model.blocks[0].ff.out_proj)
    assert layer.forward is other and "forward" not in vars(model.blocks[0].ff.out_proj)


def test_fast_decoding_holds_no_model_that_nobody_needs():
    model = build("mha").eval()
    with torch.inference_mode(), FastDecode(model) as fast:
        model(torch.zeros(1, 1, dtype=torch.int64))
    gone = weakref.ref(model)
    gc.collect()
    gc.disable()  # what is left must go by itself
    try:
        del model, fast
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("way", perf_analysis._WAYS, ids=["linear", "weights first", "pieces", "pieces in front"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@each_variant
def test_a_model_is_the_same_in_every_way(kind, dtype, way, monkeypatch):
    model, ids = build(kind).eval().to(dtype), torch.randint(0, 50, (2, 9))
    monkeypatch.setattr(perf_analysis, "_WAYS", (way,))
    with torch.inference_mode():
        plain = torch.cat([model(ids[:, i:i + 1], use_cache=True) for i in range(9)], dim=1)
        model.reset_kv_cache()
        with FastDecode(model):
            fast = torch.cat([model(ids[:, i:i + 1], use_cache=True) for i in range(9)], dim=1)
    assert (fast - plain).abs().max() < (2e-6 if dtype == torch.float32 else 0.02)  # logits of up to 1, with 8 bits


def test_autocast_goes_its_own_way():
    model, ids = build("mha").eval(), torch.randint(0, 50, (1, 1))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        plain = model(ids)
        with FastDecode(model) as fast:
            assert torch.equal(model(ids), plain) and not fast._fastest


@pytest.mark.parametrize("rows_first", [True, False])
@pytest.mark.parametrize("rows", [1, 16])
def test_pieces_are_cut_for_the_threads(rows, rows_first):
    x, weight = torch.randn(rows, 24), torch.randn(50, 24)
    with torch.inference_mode(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True, record_shapes=True) as seen:
        perf_analysis._in_pieces(x, weight, rows_first=rows_first)
    pieces = 4 * torch.get_num_threads()
    (shapes,) = [event.input_shapes for event in seen.events() if event.name == "aten::bmm"]
    parts = [[pieces, rows, 24], [pieces, 24, 50 // pieces]] if rows_first else [[pieces, 50 // pieces, 24], [pieces, 24, rows]]
    assert shapes[:2] == parts


@pytest.mark.parametrize("int8", [False, True])
def test_fast_decoding_leaves_training_and_other_models_alone(int8):
    model, ids = build("mha"), torch.randint(0, 50, (1, 6))
    F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    expected = model.blocks[0].att.qkv.weight.grad.clone()
    model.zero_grad()
    with FastDecode(model, int8):
        F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    assert torch.equal(model.blocks[0].att.qkv.weight.grad, expected)
    with torch.no_grad():
        plain = model(ids)
        with FastDecode(build("mha"), int8):  # another model
            assert torch.equal(model(ids), plain)


@each_variant
def test_integers_are_near(kind):
    model, ids = build(kind).eval(), torch.randint(0, 50, (2, 9))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.1)  # biases too
    with torch.inference_mode():
        plain, integers = model(ids), FastDecode(model, int8=True)
        with integers:
            near = model(ids)
        assert 0 < (near - plain).abs().max() < 0.1 * plain.abs().max()
        assert torch.equal(model(ids), plain)
    assert not any("quant" in str(p.dtype) for p in model.parameters())


def test_integers_by_hand():
    weight = torch.tensor([[127.0, -64.0, 1.0, 0.0], [0.5, 0.25, -0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])  # a scale each; a row of zeros
    packed = perf_analysis._pack_int8(weight, torch.tensor([1.0, 2.0, 3.0]))
    x = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    got = torch.ops.quantized.linear_dynamic(x, packed, True)
    assert got[0].tolist() == pytest.approx([255.0, 3.0, 3.0], rel=0.02)  # the input has some 7 bits
    kept = packed.unpack()[0].dequantize() if hasattr(packed, "unpack") else torch.ops.quantized.linear_unpack(packed)[0].dequantize()
    assert torch.allclose(kept[0], weight[0]) and (kept[1] - weight[1]).abs().max() <= 0.5 / 127 / 2 and not kept[2].any()
