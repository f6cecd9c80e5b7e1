"""Checks of chapter 3's exercises."""

import math

import torch

from gptbook.exercises import Hint, call, exercise


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _same(a, b, tolerance=1e-4):
    return bool((a - b).abs().max() < tolerance)


def _tensor(result, shape, what):
    """`result` where it is a tensor of this shape, else a hint."""
    if not isinstance(result, torch.Tensor):
        raise Hint(f"{what} should be a tensor, and yours is a {type(result).__name__}.")
    if tuple(result.shape) != shape:
        raise Hint(f"{what} should have the shape {shape}, and yours has {tuple(result.shape)}.")
    return result


@exercise("3.1")
def _(answer):
    q, k, v = _random(8) * 3, _random(5, 8, seed=1), _random(5, 3, seed=2)
    scores = k @ q
    want = (scores / math.sqrt(8)).softmax(0) @ v
    got = _tensor(call(answer, q, k, v), (3,), "For q (8,), k (5, 8) and v (5, 3) the output")
    if _same(got, want):
        return
    if _same(got, scores.softmax(0) @ v):
        raise Hint("This is attention without the scaling: divide the scores by the root of D before the softmax.")
    if _same(got, (scores / 8).softmax(0) @ v):
        raise Hint("You divided the scores by D. Their spread grows like the root of D, so divide by that.")
    if _same(got, (scores / math.sqrt(5)).softmax(0) @ v):
        raise Hint("You divided by the root of S, the number of keys. It is the size of q, D, that counts.")
    if _same(got, (scores / math.sqrt(8)) @ v):
        raise Hint("The scores themselves are no weights: they may be negative and don't sum to one. "
                   "The softmax is missing.")
    raise Hint("The output is not the weighted average of the values. The weights are the softmax, over the S keys, "
               "of the S dot products k @ q divided by the root of D.")


@exercise("3.2")
def _(answer):
    for T, S in ((4, 4), (1, 4), (2, 5), (3, 4), (1, 1)):
        mask = _tensor(call(answer, T, S), (T, S), f"With T = {T} and S = {S} the mask")
        if mask.dtype != torch.bool:
            raise Hint(f"The mask should hold True and False (torch.bool); yours holds {mask.dtype}.")
        allowed = [[j <= S - T + i for j in range(S)] for i in range(T)]
        if (~mask).tolist() == allowed:
            raise Hint(f"With T = {T} and S = {S} your mask is True exactly where a query may not look. "
                       "Turn it round: True allows.")
        if mask.all() and T > 1:
            raise Hint(f"With T = {T} and S = {S} your mask hides nothing: query 0 stands at position {S - T} and may "
                       "not see what comes after it.")
        if T == 1 and S > 1 and mask.tolist() == [[True] + (S - 1) * [False]]:
            raise Hint(f"With T = {T} and S = {S} your mask lets the new token see only position 0. It is the newest "
                       "token: it may see all of them.")
        for i in range(T):
            position = S - T + i
            for j in range(S):
                where = f"T = {T}, S = {S}: query {i} stands at position {position}"
                if mask[i, j] and j > position:
                    raise Hint(f"{where}, and your mask lets it see position {j}, which is in its future.")
                if not mask[i, j] and j == position:
                    raise Hint(f"{where}, and your mask hides that position, its own, from it.")
                if not mask[i, j] and j < position:
                    raise Hint(f"{where}, and your mask hides position {j}, which is in its past.")


@exercise("3.3")
def _(answer):
    B, T, H, D = 2, 5, 3, 4
    x = torch.arange(B * T * H * D, dtype=torch.float32).view(B, T, H * D)
    given = x.clone()
    for a, b in ((0, 2), (1, 0), (1, 1)):
        parts = list(given.split(D, dim=-1))
        parts[a], parts[b] = parts[b], parts[a]
        want = torch.cat(parts, dim=-1)
        got = _tensor(call(answer, x, H, a, b), (B, T, H * D), f"For x {tuple(x.shape)} the result")
        if not torch.equal(x, given):
            raise Hint("Your function changed x itself. Write the exchanged slices into a new tensor.")
        if torch.equal(got, want):
            continue
        if torch.equal(got, given):
            raise Hint(f"Nothing moved: with a = {a} and b = {b} you returned x as it was.")
        order = list(range(H))
        order[a], order[b] = order[b], order[a]
        if torch.equal(got, given.view(B, H, T, D)[:, order].reshape(B, T, H * D)):
            raise Hint("view(B, H, T, D) cuts the rows: it gives each head all numbers of a few tokens. "
                       "Cut only the last axis, view(B, T, H, D).")
        if torch.equal(got, given.view(B, T, D, H)[..., order].flatten(2)):
            raise Hint("view(B, T, D, H) gives head h every H-th number of a token. A head's D numbers lie side by "
                       "side: view(B, T, H, D).")
        if any(torch.equal(got[..., h * D:(h + 1) * D], given[..., a * D:(a + 1) * D]) for h in (b,)):
            raise Hint(f"Head {a}'s numbers arrived at head {b}'s place, but not the other way round: the first "
                       "assignment overwrote what the second one needed.")
        row, column = [int(i) for i in (got != want)[0].nonzero()[0]]
        raise Hint(f"With H = {H}, a = {a}, b = {b}: token {row} should have {want[0, row].int().tolist()}, and yours "
                   f"has {got[0, row].int().tolist()}; they differ first at column {column}.")


class _Named:
    """A function with a short repr that is the same on every run."""

    def __init__(self, f):
        self.f = f

    def __call__(self, x):
        return self.f(x)

    def __repr__(self):
        return "f"


def _leaky(reader, written):
    """The identity, but row `reader` of the output also holds a bit of row `written` of the input."""

    def f(x):
        out = x.clone()
        out[reader] = out[reader] + 0.1 * x[written]
        return out

    return f


def _masked_late(x):
    """Weights zeroed after the softmax: the future leaks through the sum."""
    return (x @ x.T).softmax(dim=-1).tril() @ x


def _masked_early(x):
    future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    return (x @ x.T).masked_fill(future, -math.inf).softmax(dim=-1) @ x


@exercise("3.4")
def _(answer):
    T, E = 6, 4
    clean = ((lambda x: x, "f(x) = x"), (_masked_early, "attention masked before the softmax"),
             (lambda x: x.cumsum(0), "a running sum"), (_leaky(4, 1), "row 4 reads row 1, which is in its past"))
    leaky = ((lambda x: x.flip(0), "f turns the rows round"),
             (_masked_late, "weights zeroed after the softmax: rows depend on the future through the softmax's sum"),
             (_leaky(0, 5), "only row 0 reads row 5"), (_leaky(2, 3), "only row 2 reads row 3"),
             (_leaky(0, 1), "only row 0 reads row 1"), (_leaky(4, 5), "only row 4 reads row 5"))
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(0)
        for functions, expected in ((clean, False), (leaky, True)):
            for f, description in functions:
                got = call(answer, _Named(f), T, E)
                if bool(got) != expected:
                    verdict = "leaks the future, and you missed it" if expected else "leaks nothing, and you accused it"
                    raise Hint(f"This function {verdict}: {description}.")
    finally:
        torch.random.set_rng_state(state)


class _Blocks:
    """An iterator of (keys, values), `size` positions at a time; `start` counts those already taken."""

    def __init__(self, k, v, size):
        self.k, self.v, self.size, self.start = k, v, size, 0

    def __repr__(self):
        return f"<{len(self.k)} keys and values in blocks of {self.size}>"

    def __iter__(self):
        return self

    def __next__(self):
        if self.start >= len(self.k):
            raise StopIteration
        part = slice(self.start, self.start + self.size)
        self.start += self.size
        return self.k[part].clone(), self.v[part].clone()


@exercise("3.5")
def _(answer):
    D = 8
    for loudness, size, S in ((1.0, 100, 10), (1.0, 3, 10), (3000.0, 3, 10), (-3000.0, 4, 12)):
        q, k, v = loudness * _random(D), _random(S, D, seed=1), _random(S, 3, seed=2)
        scores = k @ q / math.sqrt(D)
        want = scores.softmax(0) @ v
        blocks = _Blocks(k, v, size)
        got = _tensor(call(answer, q, blocks), (3,), f"For {S} keys in blocks of {size} the output")
        if _same(got, want):
            continue
        if not got.isfinite().all():
            raise Hint(f"With scores up to {scores.abs().max():.0f} your output is {got.tolist()[0]}: an exponential "
                       "overflowed, or all of them became 0. Subtract the largest score so far inside exp.")
        if blocks.start < S:
            raise Hint(f"You took {blocks.start} of {S} keys. Go on until the iterator is empty.")
        parts = [slice(i, i + size) for i in range(0, S, size)]
        if _same(got, torch.stack([scores[p].softmax(0) @ v[p] for p in parts]).mean(0)):
            raise Hint("This is the mean of the blocks' own outputs. Blocks with higher scores must count more: add up "
                       "exponentials, and divide once at the end.")
        if _same(got, (k @ q).softmax(0) @ v):
            raise Hint("The scaling by the root of D is missing.")
        if size >= S:
            raise Hint("Even a single block with all keys gives other numbers than softmax(k @ q / sqrt(D)) @ v.")
        raise Hint(f"One block is right, but {S} keys in blocks of {size} are not. When a block raises the largest "
                   "score, the sums made before it were too large by exp(new - old): rescale both of them.")
