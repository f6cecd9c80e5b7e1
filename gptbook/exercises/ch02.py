"""Checks of chapter 2's exercises: GELU's slope, RMSNorm, folding a norm, LayerNorm backwards."""

import math

import torch
from torch.nn import functional as F

from gptbook.exercises import Hint, call, exercise


def _numbers(name, result, shape):
    """The reader's result in float64; a Hint where it is no tensor of that shape."""
    if not isinstance(result, torch.Tensor) or tuple(result.shape) != tuple(shape):
        got = tuple(result.shape) if isinstance(result, torch.Tensor) else repr(result)
        raise Hint(f"{name} should be a tensor of shape {tuple(shape)}, and yours is {got}.")
    return result.double()


def _close(a, b, tolerance=1e-6):
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


@exercise("2.1")
def _(answer):
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], dtype=torch.float64)
    slope = _numbers("The slope", call(answer, x), x.shape)
    probability = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    bell = torch.exp(-x**2 / 2) / math.sqrt(2 * math.pi)
    right = probability + x * bell
    if _close(slope, right):
        return
    if _close(slope, probability):
        raise Hint("You return the probability alone. It changes with x too: the slope of a product has "
                   "two terms.")
    if _close(slope, x * bell) or _close(slope, bell):
        raise Hint("The term with the bell curve is there, but at x = 0 your slope is not 0.5. The other "
                   "term of the product's slope is missing: the probability itself.")
    if _close(slope, probability + bell):
        raise Hint("The slope of the probability is the bell curve, and in x times probability it is still "
                   "multiplied by x. At x = 0 you get more than 0.5 because that factor is missing.")
    if _close(slope, probability + x * bell * math.sqrt(2 * math.pi)):
        raise Hint("Your bell curve is not divided by sqrt(2 pi), so the area under it is about 2.5 and "
                   "not 1.")
    i = (slope - right).abs().argmax()
    raise Hint(f"At x = {x[i]:g} the slope is {right[i]:.4f}, and you return {slope[i]:.4f}.")


@exercise("2.2")
def _(answer):
    x = torch.tensor([[3, 9, 11, 17], [1, -1, 1, -1], [0, 0, 0, 0]], dtype=torch.float64)
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    y = _numbers("The result", call(answer, x, scale), x.shape)
    mean_square = x.pow(2).mean(-1, keepdim=True)
    if torch.isnan(y[2]).any():
        raise Hint("A row of zeros gives NaN, which is 0 / 0. Add eps to the mean square before you take "
                   "the root.")
    if _close(y, F.layer_norm(x, (4,), scale)):
        raise Hint("That is LayerNorm: you subtract the row's mean. RMSNorm leaves it in.")
    if _close(y, scale * x / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5)):
        raise Hint("You divide by the standard deviation, which measures the distance from the mean. "
                   "RMSNorm divides by the root of the mean square, the distance from 0.")
    if _close(y, scale * x / torch.sqrt(x.pow(2).sum(-1, keepdim=True) + 1e-5)):
        raise Hint("You divide by the root of the sum of squares. The mean of the squares is wanted: then "
                   "the numbers come out with a size of about 1, however many there are.")
    if _close(y, x / torch.sqrt(mean_square + 1e-5)):
        raise Hint("The rows have the right size, but scale is not used: place j of every row is multiplied "
                   "by scale[j].")
    right = scale * x / torch.sqrt(mean_square + 1e-5)
    if not _close(y, right, 1e-4):
        row = (y - right).abs().amax(-1).argmax()
        raise Hint(f"Row {row} should be {[round(v, 3) for v in right[row].tolist()]}, and yours is "
                   f"{[round(v, 3) for v in y[row].tolist()]}.")
    y = _numbers("The result", call(answer, x, scale, eps=100.0), x.shape)
    if not _close(y, scale * x / torch.sqrt(mean_square + 100)):
        raise Hint("With eps = 100 the result is off: eps is added to the mean square, before the root is "
                   "taken.")


@exercise("2.3")
def _(answer):
    generator = torch.Generator().manual_seed(0)
    for n_out in (4, 3):
        scale, shift, weight, bias = (torch.randn(*shape, generator=generator, dtype=torch.float64)
                                      for shape in [(4,), (4,), (n_out, 4), (n_out,)])
        result = call(answer, scale, shift, weight, bias)
        if not isinstance(result, tuple) or len(result) != 2:
            raise Hint("Return two tensors, the new weight and the new bias.")
        new_weight = _numbers("The new weight", result[0], weight.shape)
        new_bias = _numbers("The new bias", result[1], bias.shape)
        if _close(new_weight, weight):
            raise Hint("Your weight is the old one, so scale has no effect any more.")
        if not _close(new_weight, weight * scale):
            rest = "."
            if n_out == 4 and _close(new_weight, weight * scale[:, None]):
                rest = "; you multiplied row j."
            raise Hint(f"scale[j] belongs to input j, which is column j of the weight{rest}")
        if _close(new_bias, bias):
            raise Hint("The weight is right. The bias is the old one, so shift is lost: what does the "
                       "linear layer make of it?")
        if _close(new_bias, bias + new_weight @ shift):
            raise Hint("The weight is right. For the bias you sent shift through the new weight, but shift "
                       "is added after the scaling and is not scaled: use the old one.")
        if _close(new_bias, weight @ shift):
            raise Hint("The weight is right. Your bias carries shift, and has lost the old bias.")
        if not _close(new_bias, bias + weight @ shift):
            raise Hint("The weight is right, the bias is not. It should be what comes out when `normalised` "
                       "is zero.")


@exercise("2.4")
def _(answer):
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(2, 5, generator=generator, dtype=torch.float64) * 3 for _ in range(2))
    scale = torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
    result = _numbers("The gradient", call(answer, x, scale, grad), x.shape)

    sigma = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5)
    x_hat, g = (x - x.mean(-1, keepdim=True)) / sigma, grad * scale
    along = x_hat * (g * x_hat).mean(-1, keepdim=True)
    right = (g - g.mean(-1, keepdim=True) - along) / sigma
    if _close(result, right):
        return
    if _close(result, g / sigma):
        raise Hint("You treat the mean and sigma as constants. Both move when x moves, and each takes "
                   "something away: your gradient's mean over a row is not 0, as it must be.")
    if _close(result, (g - g.mean(-1, keepdim=True)) / sigma):
        raise Hint("The mean's term is there. Sigma's is missing: stretching a row does not change the "
                   "output, so nothing of the gradient may lie along x_hat.")
    if _close(result, (g - along) / sigma):
        raise Hint("Sigma's term is there. The mean's is missing: your gradient's mean over a row should be "
                   "0.")
    if _close(result, right * sigma):
        raise Hint("All terms are there, but you forgot to divide by sigma: a row ten times as large reacts "
                   "a tenth as much.")
    plain = (grad - grad.mean(-1, keepdim=True) - x_hat * (grad * x_hat).mean(-1, keepdim=True)) / sigma
    if _close(result, plain) or _close(result, plain * scale):
        raise Hint("scale is missing or comes too late: multiply grad by it first, then take the means of "
                   "the product.")
    row = (result - right).abs().amax(-1).argmax()
    raise Hint(f"Row {row} should be {[round(v, 3) for v in right[row].tolist()]}, and yours is "
               f"{[round(v, 3) for v in result[row].tolist()]}. Did you divide the variance by E?")
