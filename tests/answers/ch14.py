"""Wrong answers to the exercises of chapter 14, each with a piece of the hint meant for it."""

import torch


def _silenced(model, ids, part, remove=True, careful=True):
    handle = part.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    try:
        with torch.no_grad():
            return model(ids)
    except Exception:
        if not careful:
            remove = False
        raise
    finally:
        if remove:
            handle.remove()


def _zero_weights(model, layer, ids):
    torch.nn.init.zeros_(model.blocks[layer].ff.out_proj.weight)
    torch.nn.init.zeros_(model.blocks[layer].ff.out_proj.bias)
    return model(ids)


def _no_block(model, layer, ids):
    handle = model.blocks[layer].register_forward_hook(lambda module, args, out: args[0])
    try:
        return model(ids)
    finally:
        handle.remove()


def _left_behind(model, layer, ids):
    handle = model.blocks[layer].ff.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    logits = model(ids)
    handle.remove()
    return logits


def _replaced(model, layer, ids):
    model.blocks[layer].ff.forward = torch.zeros_like
    return model(ids)


def _swallowed(model, layer, ids):
    handle = model.blocks[layer].ff.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    try:
        return model(ids)
    except ValueError:
        return None
    finally:
        handle.remove()


def _same(ids):
    return (ids[:, None] == ids) & torch.ones(len(ids), len(ids)).bool().tril(-1)


def _after(ids):
    mask = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    for i in range(len(ids)):
        for j in range(1, i + 1):
            mask[i, j] = ids[j - 1] == ids[i]
    return mask


def _rolled(ids):
    return (ids[:, None] == ids.roll(1)) & torch.ones(len(ids), len(ids)).bool().tril()


def _future(ids):
    mask = ids[:, None] == ids.roll(1)
    mask[:, 0] = False
    return mask


def _parts(model, ids):
    parts = []
    handles = [part.register_forward_hook(lambda module, args, out: parts.append(out[0, -1]))
               for block in model.blocks for part in (block.att, block.ff)]
    with torch.no_grad():
        model(ids)
        for handle in handles:
            handle.remove()
        return torch.stack([model.tok_emb(ids)[0, -1] + model.pos_emb.weight[ids.shape[1] - 1], *parts])


def _each_alone(model, ids, token):
    return model.final_norm(_parts(model, ids)) @ model.tok_emb.weight[token]


def _no_norm(model, ids, token):
    return _parts(model, ids) @ model.tok_emb.weight[token]


def _direct(model, ids, token, mean=True, order=False):
    parts = _parts(model, ids)
    stream = parts.sum(0)
    direction = model.final_norm.scale * model.tok_emb.weight[token] / (stream.var(unbiased=False) + model.final_norm.eps).sqrt()
    shares = (parts - parts.mean(-1, keepdim=True) if mean else parts) @ direction
    return shares.flip(0) if order else shares


WRONG = {
    "14.1": [
        (lambda maps: -torch.xlogy(maps, maps).sum(-1), "e to the power"),
        (lambda maps: torch.exp(-(maps * maps.log()).sum(-1)), "0 times log 0"),
        (lambda maps: 1 / maps.square().sum(-1), "sum of squares"),
        (lambda maps: torch.exp(-torch.xlogy(maps, maps).sum()), "one number a row"),
        (lambda maps: (maps > 0).sum(-1).float(), "count as 2.828"),
    ],
    "14.2": [
        (_same, "the one after it"),
        (lambda ids: _after(ids).T, "changed places"),
        (_rolled, "no token stands before it"),
        (_future, "in its future"),
        (lambda ids: _after(ids) & ~torch.eye(len(ids)).bool(), "position 5 itself"),
        (lambda ids: _after(ids).float(), "bool tensor"),
    ],
    "14.3": [
        (lambda model, layer, ids: model(ids), "those of the whole model"),
        (_zero_weights, "other weights than before"),
        (_no_block, "the whole block"),
        (lambda model, layer, ids: _silenced(model, ids, model.blocks[layer].att), "silenced the attention"),
        (lambda model, layer, ids: _silenced(model, ids, model.blocks[layer].ff, remove=False), "A hook still hangs"),
        (_replaced, "put something in the place of a method"),
        (_left_behind, "something is left behind"),
        (_swallowed, "Let the exception pass"),
    ],
    "14.4": [
        (_each_alone, "normalised each part by itself"),
        (_no_norm, "left out the last LayerNorm"),
        (lambda model, ids, token: _direct(model, ids, token, order=True), "the shares are not"),
        (lambda model, ids, token: _direct(model, ids, token, mean=False), "must add up to the logit"),
        (lambda model, ids, token: _direct(model, ids, token).sum(), "one number for each writer"),
    ],
}
