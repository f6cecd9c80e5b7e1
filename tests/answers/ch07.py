"""Wrong answers to the exercises of chapter 7, each with a piece of the hint meant for it."""

import math

import torch
from torch.nn import functional as F


def _each_by_itself(gradients, limit):
    return [g * min(1.0, limit / g.norm().item()) for g in gradients]


def _clamp(gradients, limit):
    return [g.clamp(-limit, limit) for g in gradients]


def _always_scale(gradients, limit):
    norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
    return [g * limit / norm for g in gradients]


def _in_place(gradients, limit):
    norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
    return [g.mul_(min(1.0, limit / norm)) for g in gradients]


def _divides_by_zero(gradients, limit):
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    return [g * torch.clamp(limit / norm, max=1.0) if norm > 0 else g / norm for g in gradients]


def _from_zero(step, max_steps, warmup, cooldown):
    return min(1.0, step / warmup, (max_steps - step) / cooldown)


def _to_zero(step, max_steps, warmup, cooldown):
    return min(1.0, (step + 1) / warmup, (max_steps - 1 - step) / cooldown)


def _no_plateau(step, max_steps, warmup, cooldown):
    return min((step + 1) / warmup, (max_steps - step) / cooldown)


def _no_cooldown(step, max_steps, warmup, cooldown):
    return min(1.0, (step + 1) / warmup)


def _loss(model, inputs, targets, reduction="mean"):
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction=reduction)


def _mean_of_means(model, pieces):
    model.zero_grad()
    losses = [_loss(model, x, y) / len(pieces) for x, y in pieces]
    for loss in losses:
        loss.backward()
    return sum(loss.item() for loss in losses)


def _padding_counts(model, pieces):
    model.zero_grad()
    total = 0.0
    for x, y in pieces:
        loss = _loss(model, x, y, "sum") / sum(t.numel() for _, t in pieces)
        loss.backward()
        total += loss.item()
    return total


def _accumulate(model, pieces, zero, divide=True, returns_sum=False):
    if zero:
        model.zero_grad()
    counted = sum((y != -100).sum().item() for _, y in pieces)
    total = 0.0
    for x, y in pieces:
        loss = _loss(model, x, y, "sum") / (counted if divide else 1)
        loss.backward()
        total += loss.item()
    return total * (counted if returns_sum else 1)


def _only_last(model, pieces):
    counted = sum((y != -100).sum().item() for _, y in pieces)
    for x, y in pieces:
        model.zero_grad()
        (_loss(model, x, y, "sum") / counted).backward()
    return 0.0


WRONG = {
    "7.1": [
        (lambda loss, n_tokens, n_bytes: loss * n_tokens / n_bytes, "nats a byte"),
        (lambda loss, n_tokens, n_bytes: loss * n_tokens * math.log(2) / n_bytes, "divide"),
        (lambda loss, n_tokens, n_bytes: loss / math.log(2), "bits a token"),
        (lambda loss, n_tokens, n_bytes: loss / math.log(2) * n_bytes / n_tokens, "multiplied by the bytes"),
    ],
    "7.2": [
        (_each_by_itself, "turns the direction"),
        (_clamp, "turns the direction"),
        (_always_scale, "never more than 1"),
        (_in_place, "Return new ones"),
        (_divides_by_zero, "norm of 0"),
    ],
    "7.3": [
        (_from_zero, "Step 0 has rate 0"),
        (_to_zero, "The last step, 19, has rate 0"),
        (_no_plateau, "flat at 1"),
        (_no_cooldown, "In the cool-down, at step 16"),
    ],
    "7.4": [
        (_mean_of_means, "mean of the pieces' means"),
        (_padding_counts, "only 9 count"),
        (lambda model, pieces: _accumulate(model, pieces, zero=False), "a second time"),
        (lambda model, pieces: _accumulate(model, pieces, zero=True, divide=False), "9 times too long"),
        (lambda model, pieces: _accumulate(model, pieces, zero=True, returns_sum=True), "you returned"),
        (_only_last, "not those of one big batch"),
    ],
}
