"""gptbook.gpt: the block and the model, against transformers and PyTorch, with and without cache."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from gptbook import gpt
from gptbook.gpt import GPTModel, TransformerBlock
from gptbook.kv_cache import MultiHeadAttention
from gptbook.layers import GPTConfig

CFG = {"vocab_size": 31, "context_length": 16, "emb_dim": 24, "n_heads": 3, "n_layers": 3, "qkv_bias": True}
SIZES = {"124M": 124_439_808, "355M": 354_823_168, "774M": 774_030_080, "1558M": 1_557_611_200}


def make(dtype=torch.float64, attention=MultiHeadAttention, std=0.2, **changes):
    """A model in eval mode, its weights large, so that a slip shows; std=None keeps its own start."""
    torch.manual_seed(0)
    model = GPTModel({**CFG, **changes}, attention=attention).to(dtype).eval()
    if std is not None:
        for p in model.parameters():
            nn.init.normal_(p, std=std)
    return model


def draw(B, T, seed=0):
    return torch.randint(CFG["vocab_size"], (B, T), generator=torch.Generator().manual_seed(seed))


def state(model):
    """Everything a failed call must leave alone."""
    caches = model.kv_cache
    return (caches if caches is None else [(id(c), c.length, c.keys.clone(), c.values.clone()) for c in caches],
            model._cache_batch_size, model._cache_max_length)


def same_state(a, b):
    if a[1:] != b[1:] or (a[0] is None) != (b[0] is None):
        return False
    return a[0] is None or all(x[:2] == y[:2] and torch.equal(x[2][:, :, :x[1]], y[2][:, :, :x[1]])
                               and torch.equal(x[3][:, :, :x[1]], y[3][:, :, :x[1]]) for x, y in zip(a[0], b[0]))


# --- sizes -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", SIZES)
def test_parameter_counts_of_the_four_sizes(size):
    config = getattr(gpt, f"GPT_CONFIG_{size}")
    # Radford et al. 2019: heads of 64 numbers in all four sizes, which parameters cannot tell.
    assert config["n_heads"] == config["emb_dim"] // 64 and config["drop_rate"] == 0.1
    assert config["vocab_size"] == 50257 and config["context_length"] == 1024 and config["qkv_bias"] is False
    with torch.device("meta"):
        model = GPTModel({**config, "qkv_bias": True})
    assert sum(p.numel() for p in model.parameters()) == SIZES[size]


def test_state_dict_keys_are_those_of_shipped_checkpoints():
    layer = ["norm1.scale", "norm1.shift", "att.qkv.weight", "att.qkv.bias", "att.out_proj.weight", "att.out_proj.bias",
             "norm2.scale", "norm2.shift", "ff.expand.weight", "ff.expand.bias", "ff.out_proj.weight", "ff.out_proj.bias"]
    names = ["tok_emb.weight", "pos_emb.weight", *(f"blocks.{i}.{n}" for i in range(3) for n in layer),
             "final_norm.scale", "final_norm.shift"]
    assert sorted(make().state_dict()) == sorted(names)


def test_a_cache_is_no_part_of_the_state_dict():
    model = make()
    before = list(model.state_dict())
    model.reset_kv_cache(batch_size=2)
    assert list(model.state_dict()) == before


def test_head_is_the_token_embedding():
    model = make()
    seen = []
    model.final_norm.register_forward_hook(lambda module, args, out: seen.append(out))
    logits = model(draw(2, 5))
    torch.testing.assert_close(logits, seen[0] @ model.tok_emb.weight.T, atol=1e-12, rtol=0)
    logits.sum().backward()
    assert model.tok_emb.weight.grad.abs().sum(1).min() > 0  # every row learns as an output


def test_head_takes_the_stream_of_any_block():
    model, streams = make(), []
    for block in model.blocks:
        block.register_forward_hook(lambda module, args, out: streams.append(out))
    logits = model(draw(2, 5))
    assert torch.equal(model.head(streams[-1]), logits)
    for stream in streams:
        expected = model.final_norm(stream) @ model.tok_emb.weight.T
        torch.testing.assert_close(model.head(stream), expected, atol=1e-12, rtol=0)


# --- against others --------------------------------------------------------------------------------------------

def as_transformers(model):
    transformers = pytest.importorskip("transformers")
    cfg = model.cfg
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=cfg.vocab_size, n_positions=cfg.context_length, n_embd=cfg.emb_dim, n_head=cfg.n_heads,
        n_layer=cfg.n_layers, bos_token_id=None, eos_token_id=None)).to(model.tok_emb.weight.dtype).eval()
    body = theirs.transformer
    own = {"wte.weight": model.tok_emb.weight, "wpe.weight": model.pos_emb.weight,
           "ln_f.weight": model.final_norm.scale, "ln_f.bias": model.final_norm.shift}
    for i, b in enumerate(model.blocks):
        for name, norm in (("ln_1", b.norm1), ("ln_2", b.norm2)):
            own[f"h.{i}.{name}.weight"], own[f"h.{i}.{name}.bias"] = norm.scale, norm.shift
        for name, linear in (("attn.c_attn", b.att.qkv), ("attn.c_proj", b.att.out_proj),
                             ("mlp.c_fc", b.ff.expand), ("mlp.c_proj", b.ff.out_proj)):
            own[f"h.{i}.{name}.weight"], own[f"h.{i}.{name}.bias"] = linear.weight.T, linear.bias
    body.load_state_dict({k: v.detach() for k, v in own.items()})
    return theirs


@pytest.mark.parametrize("shape", [{}, {"n_heads": 1, "n_layers": 1}, {"emb_dim": 48, "n_heads": 8, "n_layers": 5}])
def test_logits_equal_those_of_transformers(shape):
    model = make(**shape)
    theirs = as_transformers(model)
    with torch.no_grad():
        for B, T in ((1, 1), (2, 7), (3, 16)):
            torch.testing.assert_close(model(draw(B, T)), theirs(draw(B, T)).logits, atol=1e-10, rtol=0)


def test_gradients_equal_those_of_transformers():
    model = make(n_layers=2)
    theirs, ids = as_transformers(model), draw(2, 9)
    F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    F.cross_entropy(theirs(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    t, b, h = theirs.transformer, model.blocks[1], theirs.transformer.h[1]
    for own, other in ((model.tok_emb.weight, t.wte.weight), (model.pos_emb.weight, t.wpe.weight),
                       (b.norm2.scale, h.ln_2.weight)):
        torch.testing.assert_close(own.grad, other.grad, atol=1e-10, rtol=0)
    torch.testing.assert_close(b.ff.expand.weight.grad, h.mlp.c_fc.weight.grad.T, atol=1e-10, rtol=0)
    torch.testing.assert_close(b.att.qkv.weight.grad, h.attn.c_attn.weight.grad.T, atol=1e-10, rtol=0)


def test_block_equals_pytorchs_own():
    torch.manual_seed(0)
    block = TransformerBlock(CFG).double()
    for p in block.parameters():
        nn.init.normal_(p, std=0.3)
    theirs = nn.TransformerEncoderLayer(24, 3, 96, dropout=0.0, norm_first=True, batch_first=True,
                                        activation=lambda x: F.gelu(x, approximate="tanh")).double()
    b = block
    theirs.load_state_dict({
        "self_attn.in_proj_weight": b.att.qkv.weight, "self_attn.in_proj_bias": b.att.qkv.bias,
        "self_attn.out_proj.weight": b.att.out_proj.weight, "self_attn.out_proj.bias": b.att.out_proj.bias,
        "linear1.weight": b.ff.expand.weight, "linear1.bias": b.ff.expand.bias,
        "linear2.weight": b.ff.out_proj.weight, "linear2.bias": b.ff.out_proj.bias,
        "norm1.weight": b.norm1.scale, "norm1.bias": b.norm1.shift,
        "norm2.weight": b.norm2.scale, "norm2.bias": b.norm2.shift})
    x = torch.randn(2, 6, 24, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    torch.testing.assert_close(block(x), theirs(x, src_mask=mask), atol=1e-12, rtol=0)


# --- the start -------------------------------------------------------------------------------------------------

def test_first_weights_have_gpt2s_spread():
    model = make(torch.float32, std=None, emb_dim=192, vocab_size=500, context_length=256, n_layers=4)
    residual = 0.02 / math.sqrt(8)
    spreads = {"tok_emb": 0.02, "pos_emb": 0.02, "att.qkv": 0.02, "ff.expand": 0.02, "att.out_proj": residual,
               "ff.out_proj": residual}
    seen = set()
    for name, p in model.named_parameters():
        if p.dim() == 2:
            part = name.removesuffix(".weight").split(".", 2)[-1] if name.startswith("blocks") else name.split(".")[0]
            seen.add(part)
            assert p.std().item() == pytest.approx(spreads[part], rel=0.03) and abs(p.mean().item()) < 4e-4
        elif name.endswith("scale"):
            assert (p == 1).all()
        else:
            assert (p == 0).all()
    assert seen == set(spreads)


def test_first_loss_is_about_ln_v_and_the_stream_stays_small():
    model = make(torch.float32, std=None, vocab_size=997, emb_dim=192, n_layers=8, context_length=64)
    out, entered = [], []
    model.blocks[0].register_forward_pre_hook(lambda module, args: entered.append(args[0].std()))
    model.blocks[-1].register_forward_hook(lambda module, args, x: out.append(x.std()))
    ids = torch.randint(997, (4, 64))
    with torch.no_grad():
        loss = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert abs(loss.item() - math.log(997)) < 0.15
    assert out[0] / entered[0] < 3


def test_same_seed_same_weights():
    a, b = make(std=None), make(std=None)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


# --- forward ---------------------------------------------------------------------------------------------------

@settings(deadline=None, max_examples=25)
@given(B=st.integers(1, 4), T=st.integers(1, 16), H=st.sampled_from([1, 2, 3, 6]), L=st.integers(1, 3), bias=st.booleans())
def test_shapes(B, T, H, L, bias):
    model = make(torch.float32, n_heads=H, n_layers=L, qkv_bias=bias)
    with torch.no_grad():
        logits = model(draw(B, T))
        assert logits.shape == (B, T, 31) and logits.dtype == torch.float32
        last = model(draw(B, T), last_only=True)
    assert last.shape == (B, 1, 31)
    torch.testing.assert_close(last, logits[:, -1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_logits_and_cache_have_the_models_dtype(dtype):
    model = make(dtype)
    with torch.inference_mode():
        assert model(draw(2, 5)).dtype == dtype
        assert model(draw(2, 5), use_cache=True).dtype == dtype
    assert model.kv_cache[0].keys.dtype == dtype


def test_no_position_sees_its_future():
    model, ids = make(), draw(1, 16)
    with torch.no_grad():
        before = model(ids)
        for t in (1, 8, 15):
            changed = ids.clone()
            changed[0, t] = (changed[0, t] + 1) % 31
            after = model(changed)
            torch.testing.assert_close(after[:, :t], before[:, :t], atol=1e-12, rtol=0)
            assert (after[:, t:] - before[:, t:]).abs().amax(-1).min() > 1e-4


def test_rows_of_a_batch_do_not_meet():
    model, ids = make(), draw(4, 9)
    with torch.no_grad():
        torch.testing.assert_close(model(ids), torch.cat([model(row[None]) for row in ids]), atol=1e-12, rtol=0)


def test_dropout_sits_where_gpt2_has_it():
    model = make(drop_rate=0.1, n_layers=2)
    dropped = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda module, args, out, name=name: dropped.append((name, out)))
    model.train()
    streams = []
    for b in model.blocks:
        b.register_forward_hook(lambda module, args, out: streams.append((args[0], out)))
    model(draw(2, 8))
    assert [name for name, _ in dropped] == ["drop", "blocks.0.drop", "blocks.0.drop", "blocks.1.drop", "blocks.1.drop"]
    for name, out in dropped:
        assert 0.02 < (out == 0).double().mean() < 0.25, name
    for i, (before, after) in enumerate(streams):  # a branch's end is dropped, the stream itself never
        branches = dropped[1 + 2 * i][1] + dropped[2 + 2 * i][1]
        torch.testing.assert_close(after, before + branches, atol=1e-12, rtol=0)
    assert torch.equal(model.eval()(draw(2, 8)), model(draw(2, 8)))


def test_the_model_learns():
    model = make(torch.float32, std=None).train()
    ids, optimizer = draw(2, 16), None
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 < 3 < losses[0]


# --- the cache -------------------------------------------------------------------------------------------------

@st.composite
def splits(draw_from):
    """Lengths of pieces that make up at most 16 positions."""
    lengths, left = [], 16
    while left and (not lengths or draw_from(st.booleans())):
        lengths.append(draw_from(st.integers(1, left)))
        left -= lengths[-1]
    return lengths


def check_cached(model, lengths, B, tolerance, seed=0, **reset):
    ids = draw(B, sum(lengths), seed)
    model.reset_kv_cache(**reset)
    with torch.inference_mode():
        whole = model(ids)
        for piece, expected in zip(ids.split(lengths, 1), whole.split(lengths, 1)):
            torch.testing.assert_close(model(piece, use_cache=True), expected, atol=tolerance, rtol=0)
    assert [cache.length for cache in model.kv_cache] == [sum(lengths)] * len(model.blocks)


@settings(deadline=None, max_examples=25)
@given(lengths=splits(), B=st.integers(1, 4), seed=st.integers(0, 99))
def test_cached_logits_equal_uncached_float64(lengths, B, seed):
    check_cached(make(), lengths, B, 1e-12, seed)


@settings(deadline=None, max_examples=25)
@given(lengths=splits(), B=st.integers(1, 4), seed=st.integers(0, 99))
def test_cached_logits_equal_uncached_float32(lengths, B, seed):
    check_cached(make(torch.float32, std=None), lengths, B, 1e-5, seed)


@settings(deadline=None, max_examples=25)
@given(lengths=splits(), B=st.integers(1, 3), spare=st.integers(0, 16), sized=st.booleans(), limited=st.booleans())
def test_reset_takes_either_size_or_both_or_none(lengths, B, spare, sized, limited):
    model, T = make(), sum(lengths)
    room = min(T + spare, 16) if limited else 16
    sizes = {**({"batch_size": B} if sized else {}), **({"max_length": room} if limited else {})}
    model.reset_kv_cache(**sizes)
    per_row = 2 * 3 * room * 24 * 8
    assert model.kv_cache_nbytes == (B * per_row if sized else 0)
    check_cached(model, lengths, B, 1e-12, **sizes)
    assert model.kv_cache_nbytes == B * per_row
    assert [cache.max_length for cache in model.kv_cache] == [room] * 3


def test_reset_forgets_and_a_plain_reset_forgets_the_sizes_too():
    model = make()
    model.reset_kv_cache(2, 5)
    with torch.no_grad():
        model(draw(2, 5), use_cache=True)
    model.reset_kv_cache()
    assert model.kv_cache is None and model.kv_cache_nbytes == 0
    check_cached(model, [16], 3, 1e-12)


def test_last_only_computes_the_logits_of_one_position():
    model = make().eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as every:
        model(draw(2, 7))
    with torch.inference_mode(), FlopCounterMode(display=False) as last:
        model(draw(2, 7), last_only=True)
    head = 2 * 2 * model.cfg.emb_dim * model.cfg.vocab_size  # FLOPs of one position, in a batch of 2
    assert every.get_total_flops() - last.get_total_flops() == 6 * head


def test_last_only_works_on_the_cache_as_well():
    model, ids = make(), draw(2, 12)
    with torch.no_grad():
        whole = model(ids)
        for start, end in ((0, 7), (7, 8), (8, 12)):
            last = model(ids[:, start:end], use_cache=True, last_only=True)
            torch.testing.assert_close(last, whole[:, end - 1:end], atol=1e-12, rtol=0)


def test_an_uncached_call_between_two_cached_ones_changes_nothing():
    model, ids = make(), draw(2, 10)
    with torch.no_grad():
        whole = model(ids)
        model(ids[:, :6], use_cache=True)
        before = state(model)
        model(draw(5, 16, seed=1))
        assert same_state(before, state(model))
        torch.testing.assert_close(model(ids[:, 6:], use_cache=True), whole[:, 6:], atol=1e-12, rtol=0)


def test_a_cache_made_in_inference_mode_can_be_used_outside_and_vice_versa():
    model, ids = make(), draw(1, 9)
    with torch.inference_mode():
        model(ids[:, :4], use_cache=True)
    with torch.no_grad():
        model(ids[:, 4:6], use_cache=True)
    after = model(ids[:, 6:], use_cache=True)
    torch.testing.assert_close(after, model(ids)[:, 6:], atol=1e-12, rtol=0)


BAD_STEPS = {
    "too long": lambda: draw(2, 11), "another batch": lambda: draw(3, 1), "one row": lambda: draw(1, 1),
    "id V": lambda: torch.full((2, 1), 31), "id -1": lambda: torch.full((2, 1), -1), "empty": lambda: draw(2, 0),
    "rank 1": lambda: torch.tensor([1]), "int32": lambda: draw(2, 1).int(), "list": lambda: [[1], [2]],
}


@pytest.mark.parametrize("name", BAD_STEPS)
@pytest.mark.parametrize("filled", [False, True])
def test_a_bad_step_leaves_the_cache_as_it_was(name, filled):
    model, ids = make(), draw(2, 9)
    model.reset_kv_cache(max_length=9)
    with torch.no_grad():
        if filled:
            model(ids[:, :6], use_cache=True)
        elif name in ("another batch", "one row"):
            return  # any batch is right for a cache that has none yet
        before = state(model)
        with pytest.raises((ValueError, TypeError)):
            model(BAD_STEPS[name](), use_cache=True)
        assert same_state(before, state(model))
        rest = ids[:, 6:] if filled else ids
        torch.testing.assert_close(model(rest, use_cache=True), model(ids)[:, -rest.shape[1]:], atol=1e-12, rtol=0)


def test_a_bad_reset_leaves_the_cache_as_it_was():
    model = make()
    model.reset_kv_cache(2, 9)
    with torch.no_grad():
        model(draw(2, 4), use_cache=True)
    before = state(model)
    for sizes in ({"batch_size": 0}, {"max_length": 17}, {"batch_size": 3, "max_length": 0}, {"batch_size": -1, "max_length": 5},
                  {"batch_size": "2"}, {"max_length": 3.0}):
        with pytest.raises((ValueError, TypeError)):
            model.reset_kv_cache(**sizes)
        assert same_state(before, state(model))


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
@pytest.mark.parametrize("place", ["blocks.0", "blocks.1", "blocks.2.ff", "final_norm"])
@pytest.mark.parametrize("filled", [False, True])
def test_an_interrupted_step_is_undone_in_every_layer(error, place, filled):
    model, ids = make(), draw(2, 9)
    start = 5 if filled else 0
    with torch.no_grad():
        if filled:
            model(ids[:, :5], use_cache=True)
        before = state(model)

        def stop(module, args):
            raise error

        hook = model.get_submodule(place).register_forward_pre_hook(stop)
        with pytest.raises(error):
            model(ids[:, start:], use_cache=True)
        hook.remove()
        assert same_state(before, state(model))
        if not filled:  # the interrupted batch has left no trace: another one may come
            model(draw(3, 2), use_cache=True)
            model.reset_kv_cache()
        torch.testing.assert_close(model(ids[:, start:], use_cache=True), model(ids)[:, start:], atol=1e-12, rtol=0)


# --- attention as an argument ----------------------------------------------------------------------------------

@dataclass(frozen=True)
class FadingConfig(GPTConfig):
    fade: float = 0.5


class FadingCache:
    """One running sum for each row in place of keys and values; `length` can be set back by one step, as the contract asks."""

    def __init__(self, batch_size, emb_dim, max_length, dtype):
        self.max_length, self._length = max_length, 0
        self.sum = self.old_sum = torch.zeros(batch_size, emb_dim, dtype=dtype)

    @property
    def length(self):
        return self._length

    @length.setter
    def length(self, value):
        if value < self._length:
            self.sum = self.old_sum
        self._length = value

    @property
    def nbytes(self):
        return self.sum.nbytes

    def reset(self):
        self.sum, self._length = torch.zeros_like(self.sum), 0


class FadingAttention(nn.Module):
    """No queries, no keys: each position reads a sum of those before it that fades by `fade` a step."""

    config_class = FadingConfig

    def __init__(self, cfg):
        super().__init__()
        self.cfg = self.config_class.make(cfg)
        self.out_proj = nn.Linear(self.cfg.emb_dim, self.cfg.emb_dim)

    def forward(self, x, cache=None):
        total = cache.sum if cache is not None else torch.zeros_like(x[:, 0])
        rows = []
        for t in range(x.shape[1]):
            total = self.cfg.fade * total + x[:, t]
            rows.append(total)
        if cache is not None:
            cache.old_sum, cache.sum, cache._length = cache.sum, total, cache.length + x.shape[1]
        return self.out_proj(torch.stack(rows, 1))

    def new_cache(self, batch_size, max_length, dtype=None, device=None):
        return FadingCache(batch_size, self.cfg.emb_dim, max_length, dtype or self.out_proj.weight.dtype)


NO_QKV = {"qkv_bias": False, "fade": 0.8}


@settings(deadline=None, max_examples=15)
@given(lengths=splits(), B=st.integers(1, 3))
def test_a_foreign_attention_works_with_and_without_cache(lengths, B):
    model = make(attention=FadingAttention, **NO_QKV)
    check_cached(model, lengths, B, 1e-12)
    assert model.kv_cache_nbytes == 3 * B * 24 * 8
    assert type(model.cfg) is FadingConfig and model.cfg.fade == 0.8


def test_a_foreign_attention_is_rolled_back_by_its_own_cache():
    model, ids = make(attention=FadingAttention, **NO_QKV), draw(2, 9)
    with torch.no_grad():
        model(ids[:, :5], use_cache=True)

        def stop(module, args):
            raise KeyboardInterrupt

        hook = model.blocks[2].register_forward_pre_hook(stop)
        with pytest.raises(KeyboardInterrupt):
            model(ids[:, 5:], use_cache=True)
        hook.remove()
        assert [cache.length for cache in model.kv_cache] == [5, 5, 5]
        torch.testing.assert_close(model(ids[:, 5:], use_cache=True), model(ids)[:, 5:], atol=1e-12, rtol=0)


def test_the_model_refuses_what_a_foreign_cache_would_take():
    model = make(attention=FadingAttention, **NO_QKV)  # its cache checks neither length nor batch
    model.reset_kv_cache(max_length=6)
    with torch.no_grad():
        with pytest.raises(ValueError, match="room for 6"):
            model(draw(2, 7), use_cache=True)
        assert model.kv_cache is None
        model(draw(2, 5), use_cache=True)
        for ids in (draw(2, 2), draw(1, 1), draw(3, 1)):
            with pytest.raises(ValueError, match="room for 6|batch of 2"):
                model(ids, use_cache=True)
            assert [cache.length for cache in model.kv_cache] == [5, 5, 5]


def test_a_foreign_out_proj_gets_the_smaller_start():
    model = make(torch.float32, attention=FadingAttention, std=None, emb_dim=192, **NO_QKV)
    assert model.blocks[0].att.out_proj.weight.std().item() == pytest.approx(0.02 / math.sqrt(6), rel=0.05)


def test_a_variants_key_without_its_attention_is_named():
    with pytest.raises(ValueError, match="fade"):
        GPTModel({**CFG, "fade": 0.8})
    with pytest.raises(TypeError, match="FadingConfig"):
        GPTModel(FadingConfig(**CFG), attention=MultiHeadAttention)
    with pytest.raises(TypeError, match="FadingConfig"):
        GPTModel(GPTConfig(**CFG), attention=FadingAttention)


def test_dict_and_config_make_the_same_model():
    torch.manual_seed(0)
    a = GPTModel(CFG)
    torch.manual_seed(0)
    b = GPTModel(GPTConfig(**CFG))
    assert a.cfg == b.cfg and a.cfg.drop_rate == 0.0
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_the_model_runs_on_the_meta_device():
    with torch.device("meta"):
        model, ids = GPTModel(CFG), torch.zeros(2, 5, dtype=torch.int64)
        assert model(ids).shape == (2, 5, 31)
        assert model(ids, use_cache=True, last_only=True).shape == (2, 1, 31)
    assert model.kv_cache_nbytes == 2 * 3 * 2 * 16 * 24 * 4
