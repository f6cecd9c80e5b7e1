"""Plausible wrong answers to chapter 2's exercises, each with a piece of the hint that is meant for it."""

import math

import torch
from torch.nn import functional as F


def _probability(x):
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _bell(x):
    return torch.exp(-x**2 / 2) / math.sqrt(2 * math.pi)


def _parts(x, scale, grad, eps=1e-5):
    sigma = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + eps)
    return (x - x.mean(-1, keepdim=True)) / sigma, grad * scale, sigma


def _no_means(x, scale, grad, eps=1e-5):
    _, g, sigma = _parts(x, scale, grad, eps)
    return g / sigma


def _no_sigma_term(x, scale, grad, eps=1e-5):
    _, g, sigma = _parts(x, scale, grad, eps)
    return (g - g.mean(-1, keepdim=True)) / sigma


def _no_mean_term(x, scale, grad, eps=1e-5):
    x_hat, g, sigma = _parts(x, scale, grad, eps)
    return (g - x_hat * (g * x_hat).mean(-1, keepdim=True)) / sigma


def _undivided(x, scale, grad, eps=1e-5):
    x_hat, g, _ = _parts(x, scale, grad, eps)
    return g - g.mean(-1, keepdim=True) - x_hat * (g * x_hat).mean(-1, keepdim=True)


def _scale_late(x, scale, grad, eps=1e-5):
    x_hat, _, sigma = _parts(x, scale, grad, eps)
    without = grad - grad.mean(-1, keepdim=True) - x_hat * (grad * x_hat).mean(-1, keepdim=True)
    return scale * without / sigma


def _unbiased(x, scale, grad, eps=1e-5):
    sigma = torch.sqrt(x.var(-1, keepdim=True) + eps)
    x_hat, g = (x - x.mean(-1, keepdim=True)) / sigma, grad * scale
    return (g - g.mean(-1, keepdim=True) - x_hat * (g * x_hat).mean(-1, keepdim=True)) / sigma


WRONG = {
    "2.1": [
        (lambda x: _probability(x), "two terms"),
        (lambda x: x * _bell(x), "at x = 0 your slope is not 0.5"),
        (lambda x: _probability(x) + _bell(x), "that factor is missing"),
        (lambda x: _probability(x) + x * torch.exp(-x**2 / 2), "not divided by sqrt(2 pi)"),
        (lambda x: (x > 0).double(), "the slope is"),
        (lambda x: 0.5, "tensor of shape (5,)"),
    ],
    "2.2": [
        (lambda x, scale, eps=1e-5: F.layer_norm(x, (4,), scale, None, eps), "That is LayerNorm"),
        (lambda x, scale, eps=1e-5: scale * x / x.pow(2).mean(-1, keepdim=True).sqrt(), "0 / 0"),
        (lambda x, scale, eps=1e-5: scale * x / (x.pow(2).sum(-1, keepdim=True) + eps).sqrt(),
         "sum of squares"),
        (lambda x, scale, eps=1e-5: x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt(), "scale is not used"),
        (lambda x, scale, eps=1e-5: scale * x / (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt(),
         "distance from the mean"),
        (lambda x, scale, eps=1e-5: scale * x / (x.pow(2).mean(0, keepdim=True) + eps).sqrt(), "Row"),
        (lambda x, scale, eps=1e-5: scale * x / (x.pow(2).mean(-1, keepdim=True).sqrt() + eps),
         "before the root"),
        (lambda x, scale, eps=1e-5: scale * x / (x.pow(2).mean() + eps).sqrt(), "Row"),
    ],
    "2.3": [
        (lambda s, t, w, b: (w * s, b), "shift is lost"),
        (lambda s, t, w, b: (w, b + w @ t), "scale has no effect"),
        (lambda s, t, w, b: (w * s, b + (w * s) @ t), "use the old one"),
        (lambda s, t, w, b: (w * s, w @ t), "has lost the old bias"),
        (lambda s, t, w, b: (w * s[:, None], b + w @ t), "you multiplied row j"),
        (lambda s, t, w, b: (w / s, b + w @ t), "column j"),
        (lambda s, t, w, b: w * s, "two tensors"),
        (lambda s, t, w, b: (w * s, b - w @ t), "`normalised` is zero"),
    ],
    "2.4": [
        (_no_means, "as constants"),
        (_no_sigma_term, "Sigma's is missing"),
        (_no_mean_term, "The mean's is missing"),
        (_undivided, "forgot to divide by sigma"),
        (_scale_late, "comes too late"),
        (_unbiased, "divide the variance by E"),
    ],
}
