"""Checks of chapter 9's exercises."""

import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..kv_cache import MultiHeadAttention
from . import Hint, call, exercise


@exercise("9.1")
def _(answer):
    for L, r, R, B, S, bits in [(60, 512, 64, 1, 1024, 16), (12, 96, 0, 3, 100, 32), (3, 5, 2, 1, 7, 6), (60, 512, 64, 2, 4096, 6)]:
        numbers = L * (r + R) * B * S
        right, got = -(-numbers * bits // 8), call(answer, L, r, R, B, S, bits)
        if got == right and not isinstance(got, float):
            continue
        shown = f"latent_cache_bytes({L}, {r}, {R}, {B}, {S}, {bits}) should be {right}, yours says {got}. "
        if got == numbers * bits:
            raise Hint(shown + "That is the number of bits. Eight of them are a byte.")
        if got in (2 * right, -(-2 * numbers * bits // 8)):
            raise Hint(shown + "Keys and values are made of the same latent: it is kept once, not twice.")
        if R and got == -(-L * r * B * S * bits // 8):
            raise Hint(shown + f"Besides the latent, the {R} rotary numbers of each token are kept.")
        if L > 1 and got == -(-(r + R) * B * S * bits // 8):
            raise Hint(shown + f"Each of the {L} layers has a cache of its own.")
        if B > 1 and got == -(-L * (r + R) * S * bits // 8):
            raise Hint(shown + f"Each of the {B} texts of the batch has its own rows.")
        if got in (right, numbers * bits / 8):
            raise Hint(shown + "The result is an integer: a byte that is begun counts as a whole one.")
        if got == right - 1:
            raise Hint(shown + "A byte that is begun counts as a whole one: round up.")
        raise Hint(shown + f"One layer keeps {r + R} numbers of one token.")


@exercise("9.2")
def _(answer):
    torch.manual_seed(0)
    E = 8
    cfg = {"vocab_size": 9, "context_length": 16, "emb_dim": E, "n_heads": 2, "n_layers": 1, "qkv_bias": True}
    layer = MultiHeadAttention(cfg).double().eval()
    x = torch.randn(2, 5, E, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
        before = {name: t.clone() for name, t in layer.state_dict().items()}
        given = {name: t.clone() for name, t in before.items()}
        new = call(answer, given)
        if any(not torch.equal(given[name], before[name]) for name in before):
            raise Hint("The old state dict has changed. Clone the tensors before you write to them.")
        if set(new) != set(before):
            raise Hint(f"The new state dict should have the names {sorted(before)}, yours has {sorted(new)}.")
        if new["qkv.bias"].shape != before["qkv.bias"].shape:
            raise Hint(f"qkv.bias should keep its shape ({3 * E},), yours has {tuple(new['qkv.bias'].shape)}.")
        q, k, v = new["qkv.bias"].split(E)
        if k.any() or v.any():
            raise Hint(f"The biases of {'keys' if k.any() else 'values'} should be zero; they are the "
                       f"{'second' if k.any() else 'third'} part of qkv.bias.")
        if not torch.equal(q, before["qkv.bias"][:E]):
            raise Hint("The biases of the queries have changed. They do matter: a query's bias gives each key another "
                       "addition to its score.")
        expected = layer(x)
        layer.load_state_dict(new)
        rows = layer(x)
        if torch.allclose(rows, expected, atol=1e-9):
            return
        old, weight, b_v = before["out_proj.bias"], before["out_proj.weight"], before["qkv.bias"][2 * E:]
        if torch.equal(new["out_proj.bias"], old):
            raise Hint("The output has changed: the value bias was thrown away. It belongs into out_proj.bias.")
        if torch.allclose(new["out_proj.bias"], old + b_v):
            raise Hint("The output has changed: the value bias went into out_proj.bias as it is. On its way it passes "
                       "through out_proj.weight.")
        if torch.allclose(new["out_proj.bias"], old + weight.T @ b_v):
            raise Hint("The output has changed: PyTorch's linear layer computes weight @ x, yours used the transpose.")
        raise Hint(f"The output has changed by up to {(rows - expected).abs().max():.2g}.")


class _Sizes(TorchDispatchMode):
    """The numbers of elements of all results."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(t, torch.Tensor):
                self.seen.add(t.numel())
        return out


@exercise("9.3")
def _(answer):
    torch.manual_seed(0)
    for D, r, S in [(4, 3, 7), (5, 11, 13)]:
        q, c = torch.randn(D, dtype=torch.float64), torch.randn(S, r, dtype=torch.float64)
        k_up, v_up = torch.randn(2, D, r, dtype=torch.float64).unbind(0)
        with _Sizes() as sizes:
            got = call(answer, q, c, k_up, v_up)
        state = f"With D = {D}, r = {r} and S = {S}, "
        scores = c @ k_up.T @ q
        if tuple(got.shape) != (D,):
            raise Hint(state + f"the result should have the shape ({D},), yours has {tuple(got.shape)}."
                       + (" Did you forget v_up?" if tuple(got.shape) == (r,) else ""))
        if torch.allclose(got, v_up @ ((scores / math.sqrt(D)).softmax(0) @ c)):
            if S * D in sizes.seen:
                raise Hint(state + f"the result is right, but on the way a tensor of {S} times {D} numbers was made: the "
                           "keys or the values. Take the matrices to the query and to the result.")
            continue
        slips = [(math.sqrt(r), f"the scores were divided by the root of r = {r}. Absorption changes how they are "
                                f"computed and not what they are: products of {D} numbers, divided by the root of {D}."),
                 (1.0, "the scores were not divided by the root of D.")]
        for root, words in slips:
            if torch.allclose(got, v_up @ ((scores / root).softmax(0) @ c)):
                raise Hint(state + words)
        if torch.allclose(got, v_up @ (scores / math.sqrt(D) @ c)):
            raise Hint(state + "the scores went into the sum without a softmax.")
        raise Hint(state + f"the result should begin with {(v_up @ ((scores / math.sqrt(D)).softmax(0) @ c))[0]:.3f}, yours "
                   f"with {got[0]:.3f}.")


@exercise("9.4")
def _(answer):
    def costs(T, S, r, D):
        return T * r * D + T * S * r, S * r * D + T * S * D

    for S, r, D in [(4096, 96, 64), (100, 96, 64), (512, 32, 64), (1000, 64, 64), (16384, 768, 64), (3, 768, 64)]:
        right = max(T for T in range(1, S + 1) if costs(T, S, r, D)[0] <= costs(T, S, r, D)[1])
        got = call(answer, S, r, D)
        if got == right and not isinstance(got, float):
            continue
        shown = f"longest_absorbed({S}, {r}, {D}) should be {right}, yours says {got}. "
        if r > D and got in (r * D // (r - D), min(S, r * D // (r - D))):
            raise Hint(shown + "That is the rule for large S. Keep the term in which S does not cancel.")
        if isinstance(got, float):
            raise Hint(shown + "A number of queries is an integer: use //, and min with integers.")
        if got == right - 1:
            raise Hint(shown + "No more often: where both ways cost the same, absorbing still counts.")
        if r <= D and got != S:
            raise Hint(shown + f"With r = {r} at most D = {D}, absorbing is cheaper for every T up to S.")
        if got > S:
            raise Hint(shown + f"The T queries are the last of S = {S} positions, so there are no more than S.")
        absorbing, expanding = costs(got, S, r, D)
        raise Hint(shown + f"At T = {got} absorbing multiplies {absorbing} times a head, half of it counted, and re-expanding "
                   f"{expanding}.")


@exercise("9.5")
def _(answer):
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2, 0.1], dtype=torch.float64)
    mix = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    rows = 1000
    for shift in (0.0, 50.0):
        kv = torch.randn(rows, 6, generator=generator, dtype=torch.float64) * scale @ mix
        kv = kv - kv.mean(dim=0) + shift

        def rank(kv, error, divide=True, square=True):
            values = torch.linalg.eigvalsh(kv.T @ kv / (len(kv) if divide else 1)).clamp_min(0)
            return max(1, 6 - int(((values if square else values.sqrt()).cumsum(0) <= error).sum()))

        centred = kv - kv.mean(dim=0)
        values = torch.linalg.eigvalsh(centred.T @ centred / rows)
        for error in (*(values.cumsum(0)[:5] * 1.001).flip(0).tolist(), 1e-9, 1e9):
            got, right = call(answer, kv, error), rank(centred, error)
            if got == right:
                continue
            shown = (f"For {rows} rows of 6 numbers with eigenvalues {[round(v, 2) for v in values.tolist()]} and an error of "
                     f"{error:.3g} the rank should be {right}, yours says {got}. ")
            if got < 1:
                raise Hint(shown + "The rank is at least 1.")
            if got == rank(kv, error):
                raise Hint(shown + "The mean of the rows is not zero: subtract it first, for the constant costs nothing.")
            if got == rank(centred, error, divide=False):
                raise Hint(shown + "The error is a mean over rows: divide the covariance by their number.")
            if got == rank(centred, error, square=False):
                raise Hint(shown + "The squared error is a sum of eigenvalues, and not of their roots.")
            if got == right + 1:
                raise Hint(shown + "One direction fewer would do.")
            if got == 6 - right or got == int((values.cumsum(0) <= error).sum()):
                raise Hint(shown + "That is how many directions may be left out.")
            raise Hint(shown + "Add up the smallest eigenvalues as long as the sum stays within the error.")
