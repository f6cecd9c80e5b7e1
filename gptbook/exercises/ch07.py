"""Checks of chapter 7, training."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from gptbook.exercises import Hint, call, exercise


def _close(a, b):
    return math.isclose(float(a), float(b), rel_tol=1e-6, abs_tol=1e-9)


@exercise("7.1")
def _(answer):
    loss, tokens, size = 3.0, 20, 60
    got, right = call(answer, loss, tokens, size), loss * tokens / math.log(2) / size
    if _close(got, right):
        if not _close(call(answer, math.log(2), 7, 7), 1):
            raise Hint("Tokens of one byte each at log 2 nats must give exactly 1 bit a byte.")
        return
    if _close(got, loss * tokens / size):
        raise Hint(f"{got:.4f} is in nats a byte. One bit is log 2 nats: divide by log 2.")
    if _close(got, loss * tokens * math.log(2) / size):
        raise Hint("You multiplied by log 2. A bit is worth fewer than one nat, so there must be more bits than nats: "
                   "divide.")
    if _close(got, loss / math.log(2)):
        raise Hint(f"{got:.4f} is in bits a token. Spread all tokens' bits over the bytes of the text.")
    if _close(got, loss / math.log(2) * size / tokens):
        raise Hint("You multiplied by the bytes a token. The total surprise is divided by the bytes.")
    raise Hint(f"A loss of 3 nats on 20 tokens of 60 bytes is {right:.4f} bits a byte, yours is {float(got):.4f}.")


@exercise("7.2")
def _(answer):
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[0.0, 4.0]])]
    before = [g.clone() for g in gradients]
    got = call(answer, gradients, 1.0)
    if not all(torch.equal(a, b) for a, b in zip(gradients, before)):
        raise Hint("Your function changed the tensors that it was given. Return new ones: g * factor.")
    if len(got) != 2 or any(a.shape != b.shape for a, b in zip(got, gradients)):
        raise Hint("Return a list of as many tensors, with the shapes that they had.")
    if torch.allclose(got[0], torch.tensor([1.0, 0.0])) and torch.allclose(got[1], torch.tensor([[0.0, 1.0]])):
        raise Hint("The gradients [3, 0] and [[0, 4]] both came back with length 1: each tensor or each number was "
                   "limited by itself, which turns the direction. Their common norm is 5: scale both by 1 / 5.")
    if any(not torch.allclose(a, b / 5, atol=1e-4) for a, b in zip(got, gradients)):
        raise Hint(f"[3, 0] and [[0, 4]] have the common norm 5, so limit 1 gives [0.6, 0] and [[0, 0.8]], not "
                   f"{[g.tolist() for g in got]}.")
    short = call(answer, gradients, 10.0)
    if any(not torch.allclose(a, b) for a, b in zip(short, gradients)):
        raise Hint("A norm of 5 is within the limit 10, but your function made the gradients longer. The factor is "
                   "never more than 1.")
    if not all(torch.isfinite(g).all() for g in call(answer, [torch.zeros(2)], 1.0)):
        raise Hint("For gradients that are all zero you divide by a norm of 0.")


@exercise("7.3")
def _(answer):
    max_steps, warmup, cooldown = 20, 4, 5
    got = [float(call(answer, step, max_steps, warmup, cooldown)) for step in range(max_steps)]
    right = [min(1.0, (s + 1) / warmup, (max_steps - s) / cooldown) for s in range(max_steps)]
    if all(_close(a, b) for a, b in zip(got, right)):
        return
    if _close(got[0], 0):
        raise Hint("Step 0 has rate 0, so the first batch teaches nothing. The first of 4 steps of warm-up is 1 / 4.")
    if _close(got[-1], 0):
        raise Hint(f"The last step, {max_steps - 1}, has rate 0, so its batch teaches nothing. It is the last of 5 "
                   "steps of cool-down: 1 / 5. At step s there are max_steps - s steps left.")
    if max(got) > 1 + 1e-9:
        raise Hint(f"At step {got.index(max(got))} the factor is {max(got):g}. It is flat at 1 between the two slopes.")
    for step, (mine, theirs) in enumerate(zip(right, got)):
        if not _close(mine, theirs):
            part = "warm-up" if step < warmup else "cool-down" if step >= max_steps - cooldown else "plateau"
            raise Hint(f"In the {part}, at step {step} of {max_steps} with warmup {warmup} and cooldown {cooldown}, the "
                       f"factor is {mine:g}, yours {theirs:g}.")


@exercise("7.4")
def _(answer):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 7)).double()
        inputs, targets = torch.randint(7, (3, 4)), torch.randint(7, (3, 4))
    targets[2, 1:] = -100  # nine targets count, in pieces of eight and one
    pieces = [(inputs[:2], targets[:2]), (inputs[2:], targets[2:])]

    def gradients():
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    model.zero_grad()
    loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    loss.backward()
    right, mean = gradients(), loss.item()
    losses = [F.cross_entropy(model(x).flatten(0, 1), y.flatten()) for x, y in pieces]
    model.zero_grad()
    (sum(losses) / 2).backward()
    mean_of_means = gradients()

    model.zero_grad()
    got = call(answer, model, pieces)
    if any(p.grad is None for p in model.parameters()):
        raise Hint("The model's parameters have no gradients afterwards: call backward for every piece, and zero_grad "
                   "only before the first.")
    mine = gradients()
    if torch.allclose(mine, mean_of_means):
        raise Hint("You took the mean of the pieces' means. One piece has eight targets that count, the other one, and "
                   "that one got half of the weight. Weight each piece by its targets.")
    if torch.allclose(mine, right * 9 / 12):
        raise Hint("You divided by all 12 targets. Three are -100, padding: only 9 count.")
    if torch.allclose(mine, right * 9):
        raise Hint("Your gradients are 9 times too long, those of a sum. Divide by the number of targets that count.")
    if not torch.allclose(mine, right):
        raise Hint("The gradients are not those of one big batch. Add the surprises of each piece up "
                   "(reduction=\"sum\") and divide each sum by the count of all pieces together.")
    if not _close(got, mean):
        raise Hint(f"The gradients are right; the mean over the targets that count is {mean:.4f}, and you returned "
                   f"{float(got):.4f}.")
    call(answer, model, pieces)  # a second time, with gradients there already
    if not torch.allclose(gradients(), right):
        raise Hint("Called a second time, the gradients of the first call are still in there. Begin with "
                   "model.zero_grad().")
