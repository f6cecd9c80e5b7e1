"""Checks of chapter 14, exploring a trained model."""

import math

import torch
from torch import nn

from gptbook.exercises import Hint, call, exercise
from gptbook.gpt import GPTModel


def _model():
    """A small model with weights in all places, biases too, in float64; the random generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(14)
        model = GPTModel({"vocab_size": 11, "context_length": 8, "emb_dim": 12, "n_heads": 2, "n_layers": 3, "qkv_bias": True})
        model.double().eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.3)
    return model


def _touched(model, before, ids, plain):
    """Raise unless the model has the weights that it had and no hook, and gives these logits for ids."""
    if any(not torch.equal(a, b) for a, b in zip(before, model.parameters())):
        raise Hint("Afterwards the model has other weights than before. Look at it, or change what flows through it, and leave "
                   "its weights alone.")
    if any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()):
        raise Hint("A hook still hangs on the model. Keep what register_forward_hook returns and call its remove(), in a finally.")
    with torch.no_grad():
        if not torch.allclose(model(ids), plain):
            raise Hint("Afterwards the model gives other logits than before, though no hook is left and its weights are the same. "
                       "If you put something in the place of a method or a layer, it is still there; a hook can be removed.")


@exercise("14.1")
def _(answer):
    even, sure = torch.full((1, 4), 0.25), torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    got = call(answer, even)
    if got.shape != (1,):
        raise Hint(f"For weights of shape (1, 4) return one number a row, shape (1,); yours has {tuple(got.shape)}.")
    if math.isclose(got.item(), math.log(4), rel_tol=1e-4) or math.isclose(got.item(), 2, rel_tol=1e-4):
        raise Hint("Four even weights gave their entropy, log 4. The number of tokens is e to the power of it: 4.")
    if not math.isclose(got.item(), 4, rel_tol=1e-4):
        raise Hint(f"Four even weights are attention to 4 tokens, yours says {got.item():.3f}.")
    one = call(answer, sure).item()
    if math.isnan(one):
        raise Hint("A row with weights of 0 gives NaN: 0 times log 0. What has no weight adds nothing; torch.xlogy(w, w) knows that.")
    if not math.isclose(one, 1, rel_tol=1e-4):
        raise Hint(f"All weight on one token is attention to 1 token, yours says {one:.3f}.")
    mixed = torch.tensor([[[0.5, 0.25, 0.25, 0.0]], [[0.7, 0.1, 0.1, 0.1]]])
    got, right = call(answer, mixed), torch.exp(-torch.xlogy(mixed, mixed).sum(-1))
    if got.shape == right.shape and torch.allclose(got, 1 / mixed.square().sum(-1), rtol=1e-4):
        raise Hint("You took 1 over the sum of squares, another measure of the same thing. Here it is e to the entropy.")
    if got.shape != right.shape or not torch.allclose(got, right, rtol=1e-4):
        raise Hint(f"Weights 0.5, 0.25, 0.25, 0 count as {right[0, 0]:.3f} tokens; yours gives {got.flatten()[0].item():.3f} "
                   f"of shape {tuple(got.shape)}, expected {tuple(right.shape)}.")


@exercise("14.2")
def _(answer):
    ids = torch.tensor([3, 5, 4, 3, 5, 5])
    right = torch.zeros(6, 6, dtype=torch.bool)
    for i in range(6):
        for j in range(1, i + 1):
            right[i, j] = ids[j - 1] == ids[i]
    got = call(answer, ids)
    if got.shape != (6, 6) or got.dtype != torch.bool:
        raise Hint(f"For 6 tokens return a bool tensor of (6, 6), got {got.dtype} of {tuple(got.shape)}.")
    if torch.equal(got, right):
        return
    if torch.equal(got, right.T):
        raise Hint("Rows and columns have changed places: row i asks, column j is asked.")
    same = (ids[:, None] == ids) & torch.ones(6, 6).bool().tril(-1)
    if torch.equal(got, same) or torch.equal(got, same | torch.eye(6).bool()):
        raise Hint("Your mask marks the earlier token that is the same. An induction head looks at the one after it.")
    if (got & ~torch.ones(6, 6).bool().tril()).any():
        i, j = (got & ~torch.ones(6, 6).bool().tril()).nonzero()[0].tolist()
        raise Hint(f"Row {i} marks position {j}, which lies in its future.")
    if got[:, 0].any():
        raise Hint("Position 0 is marked, but no token stands before it. Does torch.roll bring the last token round to the front?")
    if torch.equal(got, right & ~torch.eye(6).bool()):
        raise Hint("Row 5 asks with token 5, which also stands at position 4: what came after that is position 5 itself.")
    i, j = (got != right).nonzero()[0].tolist()
    raise Hint(f"For ids {ids.tolist()}: the token before position {j} is {'not ' if got[i, j] else ''}the token at {i}, so ({i}, {j}) "
               f"is {bool(right[i, j])}.")


@exercise("14.3")
def _(answer):
    model, ids = _model(), torch.tensor([[1, 7, 3, 3]])
    before = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        plain = model(ids)
        handle = model.blocks[1].ff.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
        right = model(ids)
        handle.remove()
        handle = model.blocks[1].register_forward_hook(lambda module, args, out: args[0])
        no_block = model(ids)
        handle.remove()
        handle = model.blocks[1].att.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
        no_attention = model(ids)
        handle.remove()
    got = call(answer, model, 1, ids).detach()
    _touched(model, before, ids, plain)
    if got.shape == right.shape and not torch.allclose(got, right):
        if torch.allclose(got, plain):
            raise Hint("The logits are those of the whole model. A forward hook changes the output by returning another.")
        if torch.allclose(got, no_block):
            raise Hint("You left out the whole block, attention too. Hang the hook on model.blocks[layer].ff.")
        if torch.allclose(got, no_attention):
            raise Hint("You silenced the attention. The feed-forward layer is model.blocks[layer].ff.")
    if got.shape != right.shape or not torch.allclose(got, right):
        raise Hint("These are not the logits of the model whose feed-forward layer 1 writes zeros to the stream.")
    try:
        answer(model, 1, torch.tensor([[99]]))
    except Exception:
        pass
    else:
        raise Hint("With a token that the model refuses, your function returned as if nothing had happened. Let the exception "
                   "pass: a finally without an except does its work and lets it.")
    try:
        _touched(model, before, ids, plain)
    except Hint as hint:
        raise Hint("With a token that the model refuses, the call raises, as it should, and something is left behind. "
                   + str(hint)) from None


@exercise("14.4")
def _(answer):
    model, ids, token = _model(), torch.tensor([[1, 7, 3, 4]]), 5
    before = [p.detach().clone() for p in model.parameters()]
    parts = []
    handles = [part.register_forward_hook(lambda module, args, out: parts.append(out[0, -1]))
               for block in model.blocks for part in (block.att, block.ff)]
    with torch.no_grad():
        plain = model(ids)
        for handle in handles:
            handle.remove()
        parts = torch.stack([model.tok_emb(ids)[0, -1] + model.pos_emb.weight[3], *parts])
        stream = parts.sum(0)
        direction = model.final_norm.scale * model.tok_emb.weight[token] / (stream.var(unbiased=False) + model.final_norm.eps).sqrt()
        right = (parts - parts.mean(-1, keepdim=True)) @ direction
        rest = model.final_norm.shift @ model.tok_emb.weight[token]
        alone = model.final_norm(parts) @ model.tok_emb.weight[token]
        unscaled = parts @ model.tok_emb.weight[token]
    got, logit = call(answer, model, ids, token).detach(), plain[0, -1, token]
    _touched(model, before, ids, plain)
    if got.shape != right.shape:
        raise Hint(f"Return one number for each writer: the embeddings, then attention and feed-forward of each of the 3 layers, "
                   f"shape (7,); yours has {tuple(got.shape)}.")
    if torch.allclose(got, right):
        return
    if torch.allclose(got, alone):
        raise Hint("You normalised each part by itself, so they no longer add up. All parts are divided by the deviation of their sum.")
    if torch.allclose(got, unscaled):
        raise Hint("You left out the last LayerNorm. It takes the mean away, divides by the deviation of the whole stream, and scales.")
    if torch.allclose(got.sum() + rest, logit) or torch.allclose(got.sum(), logit):
        raise Hint("The sum is right and the shares are not. Is each part's own mean taken away, and are they in the order embeddings, "
                   "attention 0, feed-forward 0, attention 1 ...?")
    raise Hint(f"With the last LayerNorm's shift, which gives {rest.item():.4f}, the parts must add up to the logit {logit.item():.4f}; "
               f"yours add up to {(got.sum() + rest).item():.4f}.")
