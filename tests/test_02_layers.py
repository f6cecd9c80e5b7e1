"""gptbook.layers: the config, GELU, LayerNorm and FeedForward against oracles in plain Python's float64."""

import json
import math
import pickle
from dataclasses import asdict, dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gptbook.layers import GELU, FeedForward, GPTConfig, LayerNorm

SIZES = {"vocab_size": 50, "context_length": 8, "emb_dim": 12, "n_heads": 3, "n_layers": 2}
CFG = GPTConfig(**SIZES)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SHAPES = st.lists(st.integers(0, 4), max_size=3)
numbers = st.floats(-50, 50, allow_subnormal=False)


# Oracles: one number or one row at a time, Python's own floats, nothing from torch.

def gelu_tanh(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_exact(x):
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


def layer_norm(row, scale, shift, eps):
    mean = math.fsum(row) / len(row)
    sigma = math.sqrt(math.fsum((x - mean) ** 2 for x in row) / len(row) + eps)
    return [a * (x - mean) / sigma + b for x, a, b in zip(row, scale, shift)]


def linear(row, layer):
    return [math.fsum(w * x for w, x in zip(weights, row)) + b
            for weights, b in zip(layer.weight.tolist(), layer.bias.tolist())]


def randomised(module, seed=0):
    """The module with all parameters drawn at random: ones and zeros would hide a swap."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return module


# GPTConfig

def test_make_from_a_dict_has_every_setting_and_the_defaults():
    assert asdict(GPTConfig.make(SIZES)) == {**SIZES, "drop_rate": 0.0, "qkv_bias": False}
    full = {**SIZES, "drop_rate": 0.1, "qkv_bias": True}
    assert asdict(GPTConfig.make(full)) == full


def test_make_leaves_the_dict_alone_and_keeps_a_config():
    settings_given = dict(SIZES)
    GPTConfig.make(settings_given)
    assert settings_given == SIZES
    assert GPTConfig.make(CFG) is CFG


def test_a_config_goes_through_json_and_pickle_and_can_be_a_key():
    assert GPTConfig.make(json.loads(json.dumps(asdict(CFG)))) == CFG
    assert pickle.loads(pickle.dumps(CFG)) == CFG
    assert {CFG: 1}[GPTConfig(**SIZES)] == 1
    assert replace(CFG, n_layers=3) != CFG


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 64))
def test_exactly_the_heads_that_divide_are_taken(emb_dim, n_heads):
    if emb_dim % n_heads == 0:
        assert GPTConfig.make({**SIZES, "emb_dim": emb_dim, "n_heads": n_heads}).n_heads == n_heads
    else:
        with pytest.raises(ValueError, match=f"multiple of n_heads, got {emb_dim} and {n_heads}"):
            GPTConfig.make({**SIZES, "emb_dim": emb_dim, "n_heads": n_heads})


@pytest.mark.parametrize("rate", [0, 0.0, 0.1, 0.999])
def test_drop_rates_that_are_taken(rate):
    assert GPTConfig.make({**SIZES, "drop_rate": rate}).drop_rate == rate


@dataclass(frozen=True, kw_only=True)
class Variant(GPTConfig):
    num_kv_groups: int

    def __post_init__(self):
        super().__post_init__()
        if self.n_heads % self.num_kv_groups:
            raise ValueError(f"num_kv_groups must divide n_heads {self.n_heads}, got {self.num_kv_groups}")


def test_a_subclass_adds_a_setting_without_default_and_its_own_check():
    cfg = Variant.make({**SIZES, "num_kv_groups": 1})
    assert (cfg.emb_dim, cfg.num_kv_groups) == (12, 1)
    assert Variant.make(cfg) is cfg and GPTConfig.make(cfg) is cfg
    with pytest.raises(ValueError, match="num_kv_groups must divide"):
        Variant.make({**SIZES, "num_kv_groups": 2})
    with pytest.raises(ValueError, match="drop_rate"):  # the parent's checks still run
        Variant.make({**SIZES, "num_kv_groups": 1, "drop_rate": 2})
    with pytest.raises(ValueError, match=r"Variant has missing keys \['num_kv_groups'\]"):
        Variant.make(SIZES)
    assert FeedForward(cfg).expand.in_features == 12


# GELU

@settings(deadline=None)
@given(st.lists(numbers, max_size=20))
def test_gelu_in_float64_is_the_tanh_formula(values):
    ours = GELU()(torch.tensor(values, dtype=torch.float64)).tolist()
    assert ours == pytest.approx([gelu_tanh(x) for x in values], rel=1e-12, abs=1e-14)


def test_gelu_is_within_half_a_thousandth_of_the_exact_one_and_is_not_it():
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    gap = max(abs(a - gelu_exact(b)) for a, b in zip(GELU()(x).tolist(), x.tolist()))
    assert 0.0004 < gap < 0.0005


def test_gelu_at_the_extremes():
    extremes = torch.tensor([float("-inf"), -1e30, -100.0, 0.0, 100.0, 1e30, float("inf")])
    ours = GELU()(extremes).tolist()
    assert ours[1:] == [0, 0, 0, 100, pytest.approx(1e30), float("inf")]


# LayerNorm

@settings(deadline=None)
@given(st.integers(1, 9).flatmap(lambda e: st.tuples(*[st.lists(numbers, min_size=e, max_size=e)] * 3)),
       st.sampled_from([1e-5, 1e-3, 0.5]))
def test_layer_norm_in_float64_is_the_formula(lists, eps):
    row, scale, shift = lists
    norm = LayerNorm(len(row), eps=eps).double()
    with torch.no_grad():
        norm.scale.copy_(torch.tensor(scale, dtype=torch.float64))
        norm.shift.copy_(torch.tensor(shift, dtype=torch.float64))
        ours = norm(torch.tensor(row, dtype=torch.float64)).tolist()
    expected = layer_norm(row, scale, shift, eps)
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_layer_norm_equals_torchs_in_float32():
    ours, theirs = randomised(LayerNorm(64)), nn.LayerNorm(64)
    theirs.load_state_dict({"weight": ours.scale.data, "bias": ours.shift.data})
    x = 5 * torch.randn(2, 7, 64, generator=torch.Generator().manual_seed(1)) + 3
    torch.testing.assert_close(ours(x), theirs(x))


@settings(deadline=None)
@given(st.floats(0.1, 1000), st.floats(-1000, 1000), st.integers(0, 99))
def test_layer_norm_does_not_hear_scale_and_offset_of_its_input(a, b, seed):
    x = 10 * torch.randn(3, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    norm = randomised(LayerNorm(16, eps=1e-12).double())
    torch.testing.assert_close(norm(a * x + b), norm(x), atol=1e-7, rtol=1e-7)


def test_a_new_layer_norm_gives_mean_0_and_mean_square_1():
    y = LayerNorm(4).double()(torch.tensor([[3.0, 9.0, 11.0, 17.0]], dtype=torch.float64))
    assert y[0].tolist() == pytest.approx([-1.4, -0.2, 0.2, 1.4], abs=1e-6)  # an unbiased variance gives 1.21
    assert y.mean().item() == pytest.approx(0, abs=1e-12)
    assert y.pow(2).mean().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_row_becomes_the_shift(dtype):
    norm = randomised(LayerNorm(8)).to(dtype)
    x = torch.full((2, 8), 5.0, dtype=dtype, requires_grad=True)
    y = norm(x)
    assert torch.equal(y, norm.shift.expand(2, 8))
    y.sum().backward()
    assert x.grad.isfinite().all()


def test_a_row_far_from_zero_keeps_its_pattern():
    """The mean of the squares minus the squared mean would lose everything here."""
    row = torch.tensor([3.0, 9.0, 11.0, 17.0]) + 1e5
    assert LayerNorm(4)(row).tolist() == pytest.approx([-1.4, -0.2, 0.2, 1.4], abs=1e-3)


# FeedForward

@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 99))
def test_feed_forward_in_float64_is_the_formula(emb_dim, seed):
    ff = randomised(FeedForward({**SIZES, "emb_dim": emb_dim, "n_heads": 1}).double(), seed)
    row = torch.randn(emb_dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = linear([gelu_tanh(x) for x in linear(row.tolist(), ff.expand)], ff.out_proj)
    assert ff(row).tolist() == pytest.approx(expected, rel=1e-11, abs=1e-11)


def test_feed_forward_equals_torch_nn_in_float32():
    ff = FeedForward(CFG)
    theirs = nn.Sequential(nn.Linear(12, 48), nn.GELU(approximate="tanh"), nn.Linear(48, 12))
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ff.state_dict().values())))
    x = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ff(x), theirs(x))


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 99))
def test_feed_forward_works_on_each_position_by_itself(length, seed):
    generator = torch.Generator().manual_seed(seed)
    ff = randomised(FeedForward(CFG).double(), seed)
    x = torch.randn(2, length, 12, generator=generator, dtype=torch.float64)
    order = torch.randperm(length, generator=generator)
    torch.testing.assert_close(ff(x[:, order]), ff(x)[:, order])
    torch.testing.assert_close(ff(x[:, :1]), ff(x)[:, :1])


@pytest.mark.parametrize("emb_dim", [1, 12, 768, 1600])
def test_feed_forward_has_8_e_squared_and_5_e_parameters(emb_dim):
    with torch.device("meta"):
        ff = FeedForward(replace(CFG, emb_dim=emb_dim, n_heads=1))
    assert sum(p.numel() for p in ff.parameters()) == 8 * emb_dim**2 + 5 * emb_dim


def test_the_names_in_a_checkpoint():
    names = ["expand.weight", "expand.bias", "out_proj.weight", "out_proj.bias"]
    assert list(FeedForward(CFG).state_dict()) == names
    assert list(LayerNorm(12).state_dict()) == ["scale", "shift"]


# All of them

def layers():
    return [GELU(), randomised(LayerNorm(12)), randomised(FeedForward(CFG))]


@settings(deadline=None)
@given(SHAPES)
def test_any_leading_shape_even_none_or_empty(shape):
    x = torch.randn(*shape, 12, generator=torch.Generator().manual_seed(0))
    for layer in layers():
        y = layer(x)
        assert y.shape == x.shape
        # row by row gives the same
        for got, row in zip(y.reshape(-1, 12), x.reshape(-1, 12)):
            torch.testing.assert_close(got, layer(row), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtype_stays_and_low_precision_is_near_float64(dtype):
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 5e-3}[dtype]
    for layer in layers():
        y = layer.to(dtype)(x)
        assert y.dtype == dtype
        exact = layer.double()(x.double())  # the same rounded weights and input
        assert (y.double() - exact).abs().max() <= tolerance * max(1, exact.abs().max())


@pytest.mark.parametrize("layer", range(3))
def test_gradients_by_gradcheck_in_float64(layer):
    module = layers()[layer].double()
    x = torch.randn(2, 12, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    names = [name for name, _ in module.named_parameters()]

    def run(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters)), x)

    assert torch.autograd.gradcheck(run, (x, *module.parameters()))


def kept(layer, x):
    """Bytes, besides parameters, that autograd keeps for the backward pass."""
    own, storages = {p.untyped_storage().data_ptr() for p in layer.parameters()}, {}

    def note(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x)
    return sum(s.nbytes() for pointer, s in storages.items() if pointer not in own)


def test_the_fused_operations_keep_little_more_than_their_input():
    x = torch.randn(64, 256, requires_grad=True)
    assert kept(GELU(), x) == x.nbytes
    assert kept(LayerNorm(256), x) <= 1.05 * x.nbytes  # the formula by hand keeps three times its input


def test_feed_forward_under_bf16_autocast():
    ff, norm, x = FeedForward(CFG), LayerNorm(12), torch.randn(3, 12)
    with torch.autocast("cpu", torch.bfloat16):
        y = ff(norm(x))
        assert norm(x).dtype == torch.float32 and norm(y).dtype == y.dtype == torch.bfloat16  # both may go in
    torch.testing.assert_close(y.float(), ff(norm(x)), atol=0.05, rtol=0.05)
