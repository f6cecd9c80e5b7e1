"""Plausible wrong answers to chapter 11's exercises, each with a piece of the hint meant for it."""

import json

from safetensors.torch import load


def header(data):
    return json.loads(data[8:8 + int.from_bytes(data[:8], "little")])


def with_metadata(data):
    return {name: tuple(entry.get("shape", ())) for name, entry in header(data).items()}


def of_lists(data):
    return {name: entry["shape"] for name, entry in header(data).items() if name != "__metadata__"}


def whole_entries(data):
    return {name: entry for name, entry in header(data).items() if name != "__metadata__"}


def eight_short(data):
    length = int.from_bytes(data[:8], "little")
    return {name: tuple(entry["shape"]) for name, entry in json.loads(data[8:length]).items() if name != "__metadata__"}


def big_end_first(data):
    length = int.from_bytes(data[:8], "big")
    return {name: tuple(entry["shape"]) for name, entry in json.loads(data[8:8 + length]).items() if name != "__metadata__"}


def by_the_library(data):
    return {name: tuple(t.shape) for name, t in load(data).items()}


def names_alone(data):
    return list(header(data))


def all_matrices(shapes):
    return sorted(name for name, shape in shapes.items() if len(shape) == 2)


def same_at_both_ends(shapes):
    return sorted(name for name, shape in shapes.items() if shape[0] == shape[-1])


def last_two_axes(shapes):
    return sorted(name for name, shape in shapes.items() if len(shape) > 1 and shape[-1] == shape[-2])


def by_name(shapes):
    return sorted(name for name in shapes if name.endswith("attn.c_proj.weight"))


def as_they_come(shapes):
    return [name for name, shape in shapes.items() if len(shape) == 2 and shape[0] == shape[1]]


def first_layer(shapes):
    return sorted(name for name, shape in shapes.items() if len(shape) == 2 and shape[0] == shape[1])[:1]


def third(weight, bias, n_heads, which):
    """A third of the outputs, per head."""
    rows = weight.T.chunk(3)[which], bias.chunk(3)[which]
    return tuple(t.unflatten(0, (n_heads, -1)) for t in rows)


def queries(weight, bias, n_heads):
    return third(weight, bias, n_heads, 0)


def values(weight, bias, n_heads):
    return third(weight, bias, n_heads, 2)


def not_transposed(weight, bias, n_heads):
    return weight.chunk(3, dim=1)[1].unflatten(0, (n_heads, -1)), third(weight, bias, n_heads, 1)[1]


def reshaped(weight, bias, n_heads):
    E = len(weight)
    return weight.reshape(3, n_heads, -1, E)[1], bias.reshape(3, n_heads, -1)[1]


def heads_first(weight, bias, n_heads):
    return tuple(t.unflatten(0, (n_heads, 3, -1))[:, 1] for t in (weight.T, bias))


def every_Hth(weight, bias, n_heads):
    return tuple(t.chunk(3)[1].unflatten(0, (-1, n_heads)).transpose(0, 1) for t in (weight.T, bias))


def bias_of_the_queries(weight, bias, n_heads):
    return third(weight, bias, n_heads, 1)[0], third(weight, bias, n_heads, 0)[1]


def outputs_last(weight, bias, n_heads):
    k, b = third(weight, bias, n_heads, 1)
    return k.transpose(1, 2), b


def weight_alone(weight, bias, n_heads):
    return third(weight, bias, n_heads, 1)[0]


def shift_as_it_is(scale, shift, weight, bias):
    return weight * scale, bias + shift if len(bias) == len(shift) else bias + weight @ shift


def bias_as_it_was(scale, shift, weight, bias):
    return weight * scale, bias


def without_the_bias(scale, shift, weight, bias):
    return weight * scale, weight @ shift


def through_the_new_weight(scale, shift, weight, bias):
    return weight * scale, bias + weight * scale @ shift


def weight_as_it_was(scale, shift, weight, bias):
    return weight, bias + weight @ shift


def shift_in_the_weight(scale, shift, weight, bias):
    return weight * scale + shift, bias


def rows_scaled(scale, shift, weight, bias):
    return weight * (scale[:, None] if len(bias) == len(scale) else scale), bias + weight @ shift


def in_place(scale, shift, weight, bias):
    new = bias + weight @ shift
    return weight.mul_(scale), new


WRONG = {
    "11.1": [(with_metadata, "is no tensor"), (of_lists, "Make a tuple"), (whole_entries, "Only the shape"),
             (eight_short, "it lies behind them"), (big_end_first, "lowest of them first"),
             (by_the_library, "the numbers are not needed"), (names_alone, "a dict of names")],
    "11.2": [(all_matrices, "which shows"), (same_at_both_ends, "one axis"), (last_two_axes, "causal mask"),
             (by_name, "look at the shapes"), (as_they_come, "another order"), (first_layer, "you leave out h.1.")],
    "11.3": [(queries, "the queries"), (values, "the values"), (not_transposed, "not transposed"), (reshaped, "count the numbers"),
             (heads_first, "into heads first"), (every_Hth, "yours lie 3 apart"),
             (bias_of_the_queries, "the bias is not that of the keys"), (outputs_last, "should have the shape"),
             (weight_alone, "Return two tensors")],
    "11.4": [(shift_as_it_is, "added shift as it is"), (bias_as_it_was, "Where does shift come in"),
             (without_the_bias, "old bias is missing"), (through_the_new_weight, "the old weight alone"),
             (weight_as_it_was, "Where does scale come in"), (shift_in_the_weight, "belongs in the bias"),
             (rows_scaled, "A row makes an output"), (in_place, "You changed")],
}
