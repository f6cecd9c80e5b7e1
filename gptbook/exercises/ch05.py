"""Checks of chapter 5, the GPT model."""

import torch
from torch import nn

from . import Hint, call, exercise


class _Named:
    """A function that shows as its name in a hint."""

    def __init__(self, name, function):
        self.name, self.function = name, function

    def __repr__(self):
        return self.name

    def __call__(self, x):
        return self.function(x)


@exercise("5.1")
def _(answer):
    cases = [({"vocab_size": 50, "context_length": 16, "emb_dim": 8, "n_heads": 2, "n_layers": 1, "qkv_bias": bias}, n)
             for bias in (False, True) for n in (1, 2, 7)]
    for cfg, n in cases:
        E = cfg["emb_dim"]
        base, block = (cfg["vocab_size"] + cfg["context_length"]) * E, 12 * E * E + (10 + 3 * cfg["qkv_bias"]) * E
        for spare in (0, block - 1):
            budget = base + 2 * E + n * block + spare
            got = call(answer, cfg, budget)
            if got == n:
                continue
            start = f"With emb_dim {E}, vocabulary 50, context 16 and a budget of {budget:,} you found {got} blocks. "
            if got != int(got):
                raise Hint(start + "There are no parts of blocks: divide with // and round down.")
            if got > n and got == (budget - 2 * E) // block and got != (budget - base - 2 * E) // (block - 3 * E * cfg["qkv_bias"]):
                raise Hint(start + "That spends everything on blocks: the token and position tables have to be paid first.")
            if got > n:
                used = base + 2 * E + int(got) * block
                raise Hint(start + f"A model of that depth has {used:,} parameters, more than the budget. "
                                   "Is a bias, a norm, the final norm or qkv_bias missing from your sum, or is a division rounded up?")
            raise Hint(start + f"One of {n} blocks has {base + 2 * E + n * block:,} and fits. "
                               "Is something counted twice, such as the head, which is the token table?")


@exercise("5.2")
def _(answer):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, generator=g, dtype=torch.float64)
    A, B = torch.randn(2, 4, 4, generator=g, dtype=torch.float64)

    def standard(t):
        return (t - t.mean(-1, keepdim=True)) / t.std(-1, keepdim=True)

    norm1, norm2 = _Named("norm1", lambda t: 2 * standard(t)), _Named("norm2", lambda t: 3 * standard(t))
    att, ff = _Named("att", lambda t: t @ A), _Named("ff", lambda t: t @ B)
    got = call(answer, x, norm1, att, norm2, ff)
    h = norm1(x + att(x))
    pre = x + att(norm1(x))
    branch = x + norm1(att(x))
    wrong = [(pre + ff(norm2(pre)), "That is GPT-2's order: the norm on the way into each branch. Here it comes after each sum."),
             (norm2(norm1(att(x)) + ff(norm1(att(x)))), "The attention has replaced the stream. Add x before you normalise."),
             (norm2(ff(norm1(att(x)))), "Both branches have replaced the stream. Each is added to it before the norm."),
             (branch + norm2(ff(branch)), "You normalise what each branch writes, and add it to a stream that is not normalised. "
                                          "Add first, then normalise the sum."),
             (h + ff(h), "The first half is right. The second sum has to be normalised too, by norm2."),
             (norm2(x + att(x) + ff(h)), "The feed-forward network's result must be added to what norm1 returned."),
             (norm2(h + ff(x)), "The feed-forward network must read what norm1 returned, not the old x.")]
    for numbers, words in wrong:
        if got.shape == numbers.shape and torch.allclose(got, numbers):
            raise Hint(words)
    right = norm2(h + ff(h))
    if got.shape != right.shape:
        raise Hint(f"x has the shape {tuple(x.shape)} and so must the result; yours has {tuple(got.shape)}.")
    if not torch.allclose(got, right):
        raise Hint("The numbers differ from norm2(h + ff(h)) with h = norm1(x + att(x)).")


@exercise("5.3")
def _(answer):
    for V, E, L, T in ((50, 8, 3, 4), (97, 48, 3, 32), (50, 8, 3, 1)):
        cfg = {"vocab_size": V, "context_length": 64, "emb_dim": E, "n_heads": 2, "n_layers": L, "qkv_bias": False}
        got = call(answer, cfg, T)
        matrices, head = T * 24 * L * E * E, T * 2 * V * E
        pairs = T * (T + 1) // 2
        right = matrices + head + 4 * L * E * pairs
        if got == right:
            continue
        where = f"For E = {E}, L = {L}, V = {V}, T = {T} you found {got:,}, not {right:,}. "
        guesses = {matrices + head + 4 * E * pairs: "Every one of the L blocks has an attention; you counted one.",
                   matrices + head + 2 * L * E * T * T: "Half of T * T is not the number of visible pairs: the diagonal belongs to it whole.",
                   matrices + head + 4 * L * E * T * T: "That counts the whole square: query 0 sees one key, not T.",
                   matrices + head + 4 * L * E * (T * (T - 1) // 2): "A position also sees itself: the diagonal is missing.",
                   matrices + head + 2 * L * E * pairs: "Attention has two products, scores and the weighted sum of values; you counted one.",
                   matrices + 4 * L * E * pairs: "The head is missing: 2VE for each position."}
        raise Hint(where + guesses.get(got, f"The matrices should cost {matrices:,}, the head {head:,}, attention {4 * L * E * pairs:,}."))


@exercise("5.4")
def _(answer):
    from gptbook.gpt import GPTModel  # here, since gptbook may still be loading when the checks are registered

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPTModel({"vocab_size": 30, "context_length": 16, "emb_dim": 8, "n_heads": 2, "n_layers": 2}).double().eval()
        for p in model.parameters():
            nn.init.normal_(p, std=0.5)
    prefix, a, b = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[6, 7]]), torch.tensor([[8, 9, 10]])
    P, A, N = 5, 2, 3

    def whole(*parts):
        with torch.no_grad():
            return model(torch.cat(parts, 1))[:, -parts[-1].shape[1]:]

    right_a, right_b = whole(prefix, a), whole(prefix, b)
    with torch.no_grad():  # what an earlier use may have left behind: the answer must not trip over it
        model(torch.tensor([[11, 12]]), use_cache=True)
    seen = []
    hook = model.tok_emb.register_forward_hook(lambda module, args, out: seen.append(args[0].shape[1]))
    try:
        got = call(answer, model, prefix, a, b)
    finally:
        hook.remove()
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise Hint("Return two tensors, the logits of a and the logits of b.")
    for name, logits, n in (("a", got[0], A), ("b", got[1], N)):
        if tuple(logits.shape) != (1, n, 30):
            raise Hint(f"The logits of {name} should have the shape (1, {n}, 30), yours have {tuple(logits.shape)}.")
    if not torch.allclose(got[0], right_a):
        with torch.no_grad():
            left_over = model(torch.cat([torch.tensor([[11, 12]]), prefix, a], 1))[:, -A:]
        if torch.allclose(got[0], left_over):
            raise Hint("The cache still held two tokens of an earlier text, and prefix was read after them: begin with reset_kv_cache().")
        raise Hint("The logits of a are not those of a model that reads prefix and a in one go. Does a follow the prefix in the cache?")
    if not torch.allclose(got[1], right_b):
        if torch.allclose(got[1], whole(prefix, a, b)):
            raise Hint("b was read after a: the caches still held a. Set every layer's cache back to the length of the prefix.")
        if torch.allclose(got[1], whole(b)):
            raise Hint("b was read without its prefix: a reset forgets the prefix too. Set the caches' length back instead.")
        raise Hint("The logits of b are not those of a model that reads prefix and b in one go. Were all layers' caches set back, "
                   "to the length of the prefix?")
    if sum(seen) > P + A + N:
        raise Hint(f"The logits are right, but the model computed {sum(seen)} positions where {P + A + N} are enough: "
                   "the prefix was read twice.")
