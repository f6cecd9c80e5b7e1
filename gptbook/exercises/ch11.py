"""Checks of chapter 11's exercises."""

import torch
from safetensors.torch import save
from torch.nn import functional as F

from . import Hint, call, exercise


def _pair(got, names):
    """The two tensors of an answer that returns two."""
    if not (isinstance(got, (tuple, list)) and len(got) == 2 and all(isinstance(t, torch.Tensor) for t in got)):
        raise Hint(f"Return two tensors, {names}.")
    return got


@exercise("11.1")
def _(answer):
    two = {"wte.weight": torch.zeros(5, 4), "h.0.attn.bias": torch.zeros(1, 1, 3, 3)}
    long = {f"h.{i}.ln_1.bias": torch.ones(4 + i) for i in range(12)}
    cases = [(two, None), (two, {"format": "pt"}), ({"one": torch.tensor(1.0)}, None), (long, {"format": "pt"})]
    for tensors, metadata in cases:
        data = save(tensors, metadata)
        length = int.from_bytes(data[:8], "little")
        right = {name: tuple(t.shape) for name, t in tensors.items()}
        for part, where in ((data, ""), (data[:8 + length], "In a file that is cut off behind its header, ")):
            try:
                got = call(answer, part)
            except Hint as hint:
                if where:
                    raise Hint(f"{where}{hint}. The shapes stand in the header: the numbers are not needed.") from hint
                if isinstance(hint.__cause__, (ValueError, OverflowError)):  # of json, or of bytes that are no UTF-8
                    raise Hint(f"{hint}. The first 8 bytes say, the lowest of them first, that the header has {length} bytes, "
                               f"and it lies behind them: bytes 8 to {8 + length}.") from hint
                raise
            if got == right:
                continue
            if not isinstance(got, dict):
                raise Hint(f"Return a dict of names and shapes, not {type(got).__name__}.")
            if "__metadata__" in got:
                raise Hint("'__metadata__' is no tensor: it says something about the file. Leave it out.")
            if set(got) != set(right):
                raise Hint(f"{where or 'You return '}{sorted(got)[:4]} as names; the file holds {sorted(right)[:4]}"
                           f"{' and more' if len(right) > 4 else ''}.")
            name = next(name for name in right if got[name] != right[name])
            if isinstance(got[name], dict):
                raise Hint(f"For {name} you return the whole entry, {got[name]}. Only the shape is asked for.")
            if got[name] == list(right[name]):
                raise Hint(f"The shape of {name} is a list in the JSON text. Make a tuple of it: {right[name]}.")
            raise Hint(f"The shape of {name} is {right[name]}, yours says {got[name]}.")


@exercise("11.2")
def _(answer):
    def shapes(V, C, E, L, masks):
        """{name: shape} of a GPT-2's file."""
        found = {"wte.weight": (V, E), "wpe.weight": (C, E), "ln_f.weight": (E,), "ln_f.bias": (E,)}
        for i in range(L):
            for norm in ("ln_1", "ln_2"):
                found |= {f"h.{i}.{norm}.weight": (E,), f"h.{i}.{norm}.bias": (E,)}
            for layer, inputs, outputs in (("attn.c_attn", E, 3 * E), ("attn.c_proj", E, E), ("mlp.c_fc", E, 4 * E),
                                           ("mlp.c_proj", 4 * E, E)):
                found |= {f"h.{i}.{layer}.weight": (inputs, outputs), f"h.{i}.{layer}.bias": (outputs,)}
            if masks:
                found[f"h.{i}.attn.bias"] = (1, 1, C, C)
        return found

    for size in [(50, 8, 6, 2, False), (50, 8, 6, 2, True), (50, 8, 8, 1, True), (50, 8, 6, 12, False)]:
        given = shapes(*size)
        right = sorted(name for name, shape in given.items() if len(shape) == 2 and shape[0] == shape[1])
        got = list(call(answer, dict(given)))
        if got == right:
            continue
        where = f"With V = {size[0]}, a context of {size[1]}, E = {size[2]} and L = {size[3]}, "
        if [name for name in got if name not in given]:
            raise Hint(where + f"you return {got[:3]}. Return names that were given.")
        if set(got) == set(right):
            if len(got) > len(right):
                raise Hint(where + "you return a name more than once.")
            raise Hint(where + "these are the right names in another order. Return them as `sorted` puts them, "
                       "where 'h.0.' comes before 'wpe.' and 'h.10.' before 'h.2.'.")
        extra, absent = [name for name in got if name not in right], [name for name in right if name not in got]
        if extra:
            name = extra[0]
            shape = given[name]
            says = f"{where}you return {name}, of shape {shape}. "
            if len(shape) == 1:
                raise Hint(says + "It has one axis, and nothing to transpose.")
            if len(shape) > 2:
                raise Hint(says + "It is a causal mask with four axes, and no matrix.")
            raise Hint(says + f"Its transpose has the shape {shape[::-1]}, which shows.")
        if absent[0] == "wpe.weight":
            raise Hint(where + "wpe.weight is square as well. It is not transposed on the way, but no shape would show it if it "
                       "were: look at the shapes, not at the names.")
        raise Hint(where + f"you leave out {absent[0]}, of shape {given[absent[0]]}. Its transpose has the same shape.")


@exercise("11.3")
def _(answer):
    generator = torch.Generator().manual_seed(0)
    for H, D in [(3, 4), (4, 2), (3, 3), (1, 5)]:
        E = H * D
        weight, bias = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((E, 3 * E), (3 * E,)))
        saved = weight.clone(), bias.clone()
        got = _pair(call(answer, weight, bias, H), "the keys' weight (H, D, E) and bias (H, D)")
        if not (torch.equal(weight, saved[0]) and torch.equal(bias, saved[1])):
            raise Hint("You changed the tensors that were given to you. Make new ones.")
        where = f"With H = {H}, D = {D} and E = {E}, "
        for t, name, shape in zip(got, ("weight", "bias"), ((H, D, E), (H, D)), strict=True):
            if tuple(t.shape) != shape:
                raise Hint(where + f"the {name} should have the shape {shape}, yours has {tuple(t.shape)}.")
        for t, name, rows in zip(got, ("weight", "bias"), (weight.T, bias), strict=True):
            q, k, v = rows.unflatten(0, (3, H, D))
            if torch.equal(t, k):
                continue
            shown = where + f"the {name} is not that of the keys. "
            wrong = [(q, "You took the first third, which makes the queries."),
                     (v, "You took the last third, which makes the values."),
                     (rows.unflatten(0, (H, 3, D))[:, 1], "You cut the outputs into heads first, as if each head had its query, "
                      "key and value side by side. First come the queries of all heads, then the keys of all heads."),
                     (rows.unflatten(0, (3, D, H))[1].transpose(0, 1),
                      f"The D numbers of a head are neighbours; yours lie {H} apart."),
                     (weight[:, E:2 * E].unflatten(0, (H, D)), "These are the right columns, but not transposed: here a column "
                      "of the file's matrix is an output. In nn.Linear an output is a row, and only outputs belong to heads."),
                     (weight.reshape(3, H, D, E)[1], "`view` and `reshape` only count the numbers anew and turn no matrix round. "
                      "Transpose it first.")]
            for numbers, words in wrong:
                if numbers.shape == t.shape and torch.equal(t, numbers):
                    raise Hint(shown + words)
            raise Hint(shown + f"Head 0 is made by the file's columns {E} to {E + D - 1}." if name == "weight" else
                       shown + f"Head 0 has the numbers {E} to {E + D - 1}.")


@exercise("11.4")
def _(answer):
    generator = torch.Generator().manual_seed(0)
    for E, outputs in [(6, 4), (5, 5), (4, 12)]:
        scale, shift, weight, bias, x = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in
                                         ((E,), (E,), (outputs, E), (outputs,), (7, E)))
        given = scale, shift, weight, bias
        saved = [t.clone() for t in given]
        got, added = _pair(call(answer, *given), "(weight, bias)")
        if any(not torch.equal(t, before) for t, before in zip(given, saved, strict=True)):
            raise Hint("You changed a tensor that was given to you. Make new ones.")
        where = f"With E = {E} and {outputs} outputs, "
        for t, name, shape in ((got, "weight", (outputs, E)), (added, "bias", (outputs,))):
            if tuple(t.shape) != shape:
                raise Hint(where + f"the {name} should have the shape {shape}, yours has {tuple(t.shape)}.")
        normalised = F.layer_norm(x, (E,))
        if torch.allclose(F.linear(normalised, got, added), F.linear(normalised * scale + shift, weight, bias)):
            continue
        if not torch.allclose(F.linear(normalised, got), F.linear(normalised * scale, weight)):
            shown = where + "the weight does not do what scale and weight did. "
            if torch.allclose(got, weight):
                raise Hint(shown + "It is the old one. Where does scale come in?")
            if outputs == E and torch.allclose(got, weight * scale[:, None]):
                raise Hint(shown + "You multiplied its rows by scale. A row makes an output; what scale multiplies are the inputs.")
            if torch.allclose(got, weight / scale):
                raise Hint(shown + "You divided by scale. The new layer has to do what LayerNorm did, not undo it.")
            if torch.allclose(got, weight * scale + shift):
                raise Hint(shown + "You added shift to the weight, where it would be multiplied by x. What does not depend on x "
                           "belongs in the bias.")
            raise Hint(shown + "Every input i is multiplied by scale[i] before it meets column i of the weight.")
        shown = where + "the weight is right and the bias is not. "
        wrong = [(bias, "It is the old one. Where does shift come in?"), (weight @ shift, "The old bias is missing."),
                 (bias + (weight * scale) @ shift, "You sent shift through the new weight. It is added after scale, so that it "
                  "meets the old weight alone."),
                 (bias - weight @ shift, "The sign of shift is the other way round.")]
        if outputs == E:
            wrong += [(bias + shift, "You added shift as it is. It stands before the layer and goes through its weight."),
                      (bias + weight.T @ shift, "The weight is transposed: shift has to meet its columns, as x does.")]
        for numbers, words in wrong:
            if torch.allclose(added, numbers):
                raise Hint(shown + words)
        raise Hint(shown + "What does the old layer return where the normalised x is 0?")
