"""Plausible wrong answers to chapter 3's exercises, each with a piece of the hint meant for it."""

import math

import torch


def _no_scaling(q, k, v):
    return (k @ q).softmax(0) @ v


def _divided_by_d(q, k, v):
    return (k @ q / len(q)).softmax(0) @ v


def _root_of_s(q, k, v):
    return (k @ q / math.sqrt(len(k))).softmax(0) @ v


def _no_softmax(q, k, v):
    return (k @ q / math.sqrt(len(q))) @ v


def _values_not_averaged(q, k, v):
    return (k @ q / math.sqrt(len(q))).softmax(0)[:, None] * v


def _top_left(T, S):
    return torch.ones(T, S, dtype=torch.bool).tril()


def _strictly_before(T, S):
    return torch.arange(S)[None, :] < torch.arange(S - T, S)[:, None]


def _forbidden(T, S):
    return torch.arange(S)[None, :] > torch.arange(S - T, S)[:, None]


def _one_too_far(T, S):
    return torch.ones(T, S, dtype=torch.bool).tril(S - T + 1)


def _floats(T, S):
    return torch.ones(T, S).tril(S - T)


def _top_left_but_one_row(T, S):
    return torch.ones(T, S, dtype=torch.bool) if T == 1 else _top_left(T, S)


def _view_cuts_rows(x, H, a, b):
    B, T, E = x.shape
    order = list(range(H))
    order[a], order[b] = order[b], order[a]
    return x.view(B, H, T, E // H)[:, order].reshape(B, T, E)


def _every_hth(x, H, a, b):
    B, T, E = x.shape
    order = list(range(H))
    order[a], order[b] = order[b], order[a]
    return x.view(B, T, E // H, H)[..., order].flatten(2)


def _in_place(x, H, a, b):
    heads = x.view(*x.shape[:2], H, -1)
    heads[:, :, [a, b]] = heads[:, :, [b, a]]
    return x


def _overwritten(x, H, a, b):
    heads = x.clone().view(*x.shape[:2], H, -1)
    heads[:, :, b] = heads[:, :, a]
    heads[:, :, a] = heads[:, :, b]
    return heads.flatten(2)


def _unchanged(x, H, a, b):
    return x.clone()


def _only_last_row_changed(f, T, E):
    x = torch.randn(T, E)
    changed = x.clone()
    changed[-1] += torch.randn(E)
    return bool((f(changed)[:-1] - f(x)[:-1]).abs().gt(1e-6).any())


def _only_first_row_watched(f, T, E):
    x = torch.randn(T, E)
    changed = x.clone()
    changed[1:] += torch.randn(T - 1, E)
    return bool((f(changed)[0] - f(x)[0]).abs().gt(1e-6).any())


def _past_counts_too(f, T, E):
    x = torch.randn(T, E)
    for j in range(T):
        changed = x.clone()
        changed[j] += torch.randn(E)
        moved = (f(changed) - f(x)).abs().amax(-1) > 1e-6
        moved[j] = False
        if moved.any():
            return True
    return False


def _own_row_counts(f, T, E):
    x = torch.randn(T, E)
    for j in range(T):
        changed = x.clone()
        changed[j] += torch.randn(E)
        if (f(changed)[:j + 1] - f(x)[:j + 1]).abs().gt(1e-6).any():
            return True
    return False


def _mean_of_blocks(q, blocks):
    return torch.stack([(k @ q / math.sqrt(len(q))).softmax(0) @ v for k, v in blocks]).mean(0)


def _first_block_only(q, blocks):
    k, v = next(blocks)
    return (k @ q / math.sqrt(len(q))).softmax(0) @ v


def _no_largest(q, blocks):
    total, average = 0.0, 0.0
    for k, v in blocks:
        e = (k @ q / math.sqrt(len(q))).exp()
        total, average = total + e.sum(), average + e @ v
    return average / total


def _no_rescaling(q, blocks):
    largest, total, average = torch.tensor(-math.inf), 0.0, 0.0
    for k, v in blocks:
        scores = k @ q / math.sqrt(len(q))
        largest = torch.maximum(largest, scores.max())
        e = (scores - largest).exp()
        total, average = total + e.sum(), average + e @ v
    return average / total


def _unscaled_blocks(q, blocks):
    pairs = list(blocks)
    k, v = (torch.cat(parts) for parts in zip(*pairs))
    return (k @ q).softmax(0) @ v


WRONG = {
    "3.1": [(_no_scaling, "without the scaling"), (_divided_by_d, "divided the scores by D"),
            (_root_of_s, "root of S"), (_no_softmax, "softmax is missing"), (_values_not_averaged, "shape (3,)")],
    "3.2": [(_top_left, "only position 0"), (_strictly_before, "its own"), (_forbidden, "True allows"),
            (_one_too_far, "which is in its future"), (_floats, "torch.float32"),
            (_top_left_but_one_row, "which is in its past")],
    "3.3": [(_view_cuts_rows, "cuts the rows"), (_every_hth, "every H-th number"), (_in_place, "changed x itself"),
            (_overwritten, "overwrote"), (_unchanged, "Nothing moved")],
    "3.4": [(_only_last_row_changed, "only row 2 reads row 3"), (_only_first_row_watched, "only row 2 reads row 3"),
            (_past_counts_too, "you accused it"), (_own_row_counts, "f(x) = x")],
    "3.5": [(_mean_of_blocks, "mean of the blocks' own outputs"), (_first_block_only, "You took 3 of 10 keys"),
            (_no_largest, "overflowed"), (_no_rescaling, "rescale both"), (_unscaled_blocks, "root of D is missing")],
}
