"""Checks for the exercises of chapter 6."""

import torch

from . import Hint, call, exercise


def _shaped(result, like, name):
    """The answer as a tensor of the right shape, or a hint."""
    if not isinstance(result, torch.Tensor):
        raise Hint(f"Return a tensor; yours is a {type(result).__name__}.")
    if result.shape != like.shape:
        raise Hint(f"{name} should have shape {tuple(like.shape)}, as the input has; yours has "
                   f"{tuple(result.shape)}.")
    return result


def _row(values):
    return "[" + ", ".join(f"{v:.3g}" for v in values.tolist()) + "]"


@exercise("6.1")
def _(sharpen):
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.5, -1.0, 3.0]])
    probs = logits.softmax(-1)
    for temperature in (0.5, 2.0, 1.0):
        want = (logits / temperature).softmax(-1)
        got = _shaped(call(sharpen, probs.clone(), temperature), probs, "The result")
        if torch.allclose(got, want, atol=1e-5):
            continue
        sums = got.sum(-1)
        if torch.allclose(got, (probs / temperature).softmax(-1), atol=1e-5):
            raise Hint("You treat the probabilities as if they were logits. Take their logarithm before you "
                       "divide by the temperature.")
        if not torch.allclose(sums, torch.ones(2), atol=1e-4):
            raise Hint(f"At temperature {temperature} your row 0 adds up to {sums[0]:.3f}. Probabilities add "
                       "up to 1: divide each row by its sum.")
        if torch.allclose(got, (logits * temperature).softmax(-1), atol=1e-5):
            raise Hint(f"At temperature {temperature} the likeliest token of row 0 gets {got[0, 0]:.3f}, and "
                       f"{want[0, 0]:.3f} is right: you have sharpened where you should flatten. The "
                       "exponent is 1 / temperature.")
        if torch.allclose(got, probs, atol=1e-5):
            raise Hint(f"Temperature {temperature} changes nothing in your version. A factor that is the "
                       "same for the whole row is cancelled when the row is made to add up to 1; a power is "
                       "not.")
        raise Hint(f"From {_row(probs[0])} temperature {temperature} should make {_row(want[0])}; you return "
                   f"{_row(got[0])}.")


@exercise("6.2")
def _(draw):
    probs = torch.tensor([[0.25, 0.5, 0.25], [0.0, 0.5, 0.5], [0.5, 0.5, 0.0]])
    cases = [([0.1, 0.1, 0.1], [0, 1, 0]), ([0.3, 0.6, 0.6], [1, 2, 1]), ([0.9, 0.9, 0.9], [2, 2, 1]),
             ([0.0, 0.0, 0.0], [0, 1, 0]), ([0.25, 0.5, 0.5], [1, 2, 1])]
    for numbers, want in cases:
        u = torch.tensor(numbers)
        got = _shaped(call(draw, probs.clone(), u), u, "The ids")
        for i, (mine, right) in enumerate(zip(got.tolist(), want)):
            if mine == right:
                continue
            given = f"u = {numbers[i]:g} in the row {_row(probs[i])}"
            if not 0 <= mine < 3:
                raise Hint(f"For {given} you return token {mine:g}, and the row's tokens are 0, 1 and 2.")
            if numbers[i] > 0 and torch.equal(got, (probs[:1].cumsum(-1) <= u[:, None]).sum(-1)):
                raise Hint(f"For {given} you return token {mine:g}, which is right for row 0. Each row has "
                           "its own probabilities.")
            if probs[i, int(mine)] == 0:
                raise Hint(f"For {given} you draw token {mine:g}, whose probability is zero. A piece that "
                           "ends exactly at u lies before it: count it as passed.")
            raise Hint(f"For {given} you return token {mine:g}; it falls on token {right}. Token k lies from "
                       "the sum of the probabilities before it, inclusive, to that sum plus its own.")
    if got.dtype != torch.int64:
        raise Hint(f"Token ids are int64; yours are {got.dtype}.")
    short = torch.tensor([[0.5, 0.4999, 0.0]])
    got = call(draw, short, torch.tensor([0.99995]))
    if got.tolist() != [1]:
        raise Hint(f"A row such as {_row(short[0])} may add up to a little less than 1 by rounding, and u = 0.99995 "
                   f"lies beyond its end. You return token {got.tolist()[0]:g}; the last token that has a piece is 1.")


@exercise("6.3")
def _(min_p_filter):
    logits = torch.tensor([[0.6, 0.25, 0.1, 0.05], [0.28, 0.26, 0.24, 0.22]]).log()
    logits = logits + torch.tensor([[3.0], [-2.0]])
    probs = logits.softmax(-1)
    for min_p in (0.3, 0.1, 0.42, 1.0):
        given = logits.clone()
        got = _shaped(call(min_p_filter, given, min_p), logits, "The result")
        if not torch.equal(given, logits):
            raise Hint("Your function has changed the tensor that it was given. masked_fill, without an "
                       "underscore at its end, returns a new one.")
        stay = probs >= min_p * probs.max(-1, keepdim=True).values - 1e-6
        mine = torch.isfinite(got)
        if mine.all() and (got[~stay] == 0).any():
            raise Hint("A logit of 0 is no small logit: its token can still be drawn. Use float('-inf').")
        if torch.equal(mine, stay):
            if not torch.allclose(got[stay], logits[stay]):
                raise Hint("The right tokens stay, but their logits have changed. Return the logits that you "
                           "were given, not probabilities.")
            continue
        if torch.equal(mine, probs >= min_p):
            raise Hint(f"With min_p = {min_p:g} you compare the probabilities with min_p itself. In a row "
                       f"such as {_row(probs[1])} that is no measure: the bound is min_p times the row's "
                       "largest probability.")
        if torch.equal(mine, probs >= min_p * probs.max()):
            raise Hint("You take the largest probability of the whole batch as the measure for every row. "
                       "Each row has its own.")
        i = (mine != stay).any(-1).nonzero()[0].item()
        raise Hint(f"With min_p = {min_p:g}, of the probabilities {_row(probs[i])} the tokens "
                   f"{stay[i].nonzero().flatten().tolist()} should stay; yours are "
                   f"{mine[i].nonzero().flatten().tolist()}.")


@exercise("6.4")
def _(penalise):
    logits = torch.tensor([[2.0, -1.0, 0.5, 3.0], [-4.0, 1.0, 2.0, -0.5]])
    ids = torch.tensor([[0, 1, 0], [2, 0, 2]])
    want = torch.tensor([[1.0, -2.0, 0.5, 3.0], [-8.0, 1.0, 1.0, -0.5]])
    given = logits.clone()
    got = _shaped(call(penalise, given, ids.clone(), 2.0), logits, "The result")
    if not torch.equal(given, logits):
        raise Hint("Your function has changed the tensor that it was given. scatter, without an underscore "
                   "at its end, returns a new one.")
    if torch.allclose(got, want):
        return
    everywhere = torch.where(logits > 0, logits / 2, logits * 2)
    if torch.allclose(got, everywhere):
        raise Hint("You penalise every token. Only those that occur in the text of their own row are meant.")
    row, token = (got - want).abs().gt(1e-6).nonzero()[0].tolist()
    mine, before = got[row, token].item(), logits[row, token].item()
    occurs = (ids[row] == token).sum().item()
    if not occurs:
        raise Hint(f"Token {token} doesn't occur in row {row}'s text {ids[row].tolist()}, and yet its logit "
                   f"goes from {before:g} to {mine:g}. Another row's text must not matter.")
    if before < 0 and mine > before:
        raise Hint(f"Token {token} of row {row} has a negative logit, {before:g}, and you make it {mine:g}: "
                   "that is more likely than before. Multiply where the logit is negative.")
    if occurs > 1 and mine < want[row, token]:
        raise Hint(f"Token {token} occurs {occurs} times in row {row}'s text, and you penalise it more than "
                   f"once: {before:g} becomes {mine:g}. Once is enough.")
    raise Hint(f"The logit {before:g} of token {token} in row {row} should become {want[row, token]:g} with "
               f"penalty 2; yours becomes {mine:g}.")


@exercise("6.5")
def _(positions_computed):
    def right(T, new, C):
        total = held = 0
        for step in range(new):
            unread = T if step == 0 else 1
            if step and held == C:
                unread, held = (C + 1) // 2, 0
            total, held = total + unread, held + unread
        return total

    for T, new, C in ((6, 5, 100), (6, 0, 100), (8, 1, 8), (6, 3, 8), (8, 2, 8), (6, 12, 8), (1, 40, 7),
                      (3, 50, 4)):
        mine, want = call(positions_computed, T, new, C), right(T, new, C)
        if mine == want:
            continue
        case = f"For a prompt of {T}, {new} new tokens and a context of {C}"
        if new == 0:
            raise Hint(f"{case} you count {mine} positions. With nothing to write, the model isn't called at "
                       "all.")
        if T + new - 1 <= C:
            if mine == want + 1:
                raise Hint(f"{case} you count {mine} positions, one too many: the last token is never read, "
                           "since nobody asks what follows it.")
            if mine == sum(range(T, T + new)):
                raise Hint(f"{case} you count {mine} positions, which is the bill without a cache. With it, "
                           "each call after the first computes one position.")
            raise Hint(f"{case} you count {mine} positions; it is the prompt's {T} and then one for each new "
                       f"token but the last, {want}.")
        if mine == T + new - 1:
            raise Hint(f"{case} you count {mine} positions and never read the newer half again. When all {C} "
                       "positions are full, the next call has to.")
        raise Hint(f"{case} the calls compute {want} positions, and you count {mine}. Each time that {C} "
                   f"positions are in the cache, the next call empties it and computes {(C + 1) // 2} "
                   "positions in place of one; that call chooses a token, too.")
