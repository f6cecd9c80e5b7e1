"""Checks of chapter 12's exercises."""

import functools
import math
import sys
from fractions import Fraction

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from . import Hint, call, exercise

MOST_STEPS = 3_000_000  # lines that an answer to 12.2 may run; one that counts up to the right row runs a few thousand
NOTHING = object()  # stands for None where None can be the right answer


def _close(a, b):
    return math.isclose(float(a), float(b), rel_tol=1e-9)


def _number(got):
    """What an answer returned, which has to be a number."""
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        raise Hint(f"Return a number, not {type(got).__name__}.")
    return got


def _count(n):
    return f"{n} row{'s' if n != 1 else ''}"


@exercise("12.1")
def _(answer):
    for R, I, O, size in [(5, 10, 24, 2), (1, 768, 2304, 4), (512, 3072, 768, 2), (3, 5, 7, 1)]:
        flops, weights, inputs, outputs = 2 * R * I * O, I * O, R * I, R * O
        moved = size * (weights + inputs + outputs)
        got, right = _number(call(answer, R, I, O, size)), flops / moved
        if _close(got, right):
            continue
        shown = f"intensity({R}, {I}, {O}, {size}) should be {right:.6g}, yours says {got:.6g}. "
        wrong = [(right / 2, "You count one FLOP where there are two: a product is multiplied, and then added."),
                 (1 / right, "That is the inverse, bytes for each FLOP."),
                 (2 / right, "That is the inverse, bytes for each multiplication."),
                 (right / 8, "That is for each bit. `bytes_per_number` counts bytes already."),
                 (right * size, f"You divided by the numbers that move. Each of them has {size} bytes."),
                 (flops, "These are the FLOPs. Divide them by the bytes."),
                 (moved, "These are the bytes. Divide the FLOPs by them."),
                 (flops / (size * weights), "Only the weights move in yours. The rows come in and the outputs go out as well."),
                 (flops / (size * (inputs + outputs)), "In yours the weights do not move. They have to come from memory too."),
                 (flops / (size * (weights + inputs)), "The outputs are missing: they are written back to memory."),
                 (flops / (size * (weights + outputs)), "The inputs are missing: they are read from memory."),
                 (flops / (size * (R * weights + inputs + outputs)), "You read the weights again for every row. They move "
                  "once, and all rows share them: that is what makes more rows worth while."),
                 (flops / (size * (weights + I + O)), f"You moved the inputs and outputs of one row. There are {R}."),
                 (flops / R / moved, f"You count the FLOPs of one row. There are {R}."),
                 (flops / (size * (weights + inputs + outputs + O)), "You count a bias. This layer has none."),
                 (flops // moved, "You rounded it down with `//`. It need not be whole.")]
        for value, words in wrong:
            if _close(got, value):
                raise Hint(shown + words)
        raise Hint(shown + f"The layer does {flops:,} FLOPs, and moves {weights:,} weights, {inputs:,} inputs and {outputs:,} "
                   "outputs.")


def _rows(I, O, size, flops_per_s, bytes_per_s, flops=2, inputs=1, outputs=1):
    """The rows, a Fraction, with which the arithmetic takes as long as the traffic; None if there are none."""
    weights = Fraction(size * I * O) / Fraction(bytes_per_s)
    row = Fraction(size * (inputs * I + outputs * O)) / Fraction(bytes_per_s)
    gain = Fraction(flops * I * O) / Fraction(flops_per_s) - row
    return weights / gain if gain > 0 else None


def _ending(answer, words):
    """`answer`, stopped with the hint `words` when it has run MOST_STEPS lines; NOTHING where it returns None."""

    @functools.wraps(answer)
    def limited(*args):
        steps = 0

        def trace(frame, event, arg):
            nonlocal steps
            steps += 1
            if steps > MOST_STEPS:
                raise Hint(words)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            result = answer(*args)
        finally:
            sys.settrace(before)
        return NOTHING if result is None else result

    return limited


@exercise("12.2")
def _(answer):
    cases = [(768, 3072, 2, 989e12, 3.35e12), (768, 3072, 4, 100e9, 20e9), (64, 64, 2, 16384, 1024), (100, 50, 4, 1e9, 4e9),
             (768, 64, 2, 989e12, 3.35e12), (32, 32, 2, 16384, 1024)]
    for case in cases:
        I, O, size, flops_per_s, bytes_per_s = case
        exact = _rows(*case)
        where = (f"With {I} inputs, {O} outputs and {size} bytes a number, at {flops_per_s:g} FLOP/s and {bytes_per_s:g} "
                 "byte/s, ")
        if exact is None:
            why = ("Here the traffic of each further row takes at least as long as its arithmetic, so no number of rows is "
                   "enough. ")
            endless = f"{where}your function does not come to an end. {why}Find that out first, and return None."
            try:
                got = call(_ending(answer, endless), *case)
            except Hint as hint:
                if isinstance(hint.__cause__, (ZeroDivisionError, OverflowError)):
                    raise Hint(f"{hint}. {why}Return None.") from hint
                raise
            if got is not NOTHING:
                raise Hint(f"{where}you return {got}. {why}Return None.")
            continue
        right = math.ceil(exact)
        endless = f"{where}your function does not come to an end. It should return {right}."
        got = call(_ending(answer, endless), *case)
        if got is NOTHING:
            raise Hint(f"{where}your function returned None, but {right} rows are enough. If its body is still empty, write "
                       "it.")
        if got == right and isinstance(got, int):
            continue
        shown = where + f"it should be {right}, yours says {got}. "
        if got == right:
            raise Hint(shown + "That is the right number, but not as an int.")
        if got != int(got) and abs(got - exact) < 1e-6 * exact:
            raise Hint(shown + "Rows come whole. Round it up.")
        if got == math.floor(exact) and got < 1:
            raise Hint(shown + "It is one row at least.")
        if got == math.floor(exact):
            raise Hint(shown + f"With {_count(got)} the arithmetic is still shorter than the traffic. Round up, not down.")
        if got == math.floor(exact) + 1:
            raise Hint(shown + f"With {right} rows both take equally long, and that counts.")
        wrong = [(dict(inputs=0, outputs=0), "You moved the weights alone. Each row brings its inputs and takes its outputs "
                  "away."),
                 (dict(outputs=0), "You left out the outputs, which are written back to memory."),
                 (dict(inputs=0), "You left out the inputs, which are read from memory."),
                 (dict(flops=1), "You count one FLOP for each weight and row. It is a multiplication and an addition."),
                 (dict(flops=1, inputs=0, outputs=0), "You moved the weights alone, and counted one FLOP where there are two, "
                  "a multiplication and an addition.")]
        for slip, words in wrong:
            value = _rows(*case, **slip)
            if value is not None and got in (math.floor(value), math.ceil(value), math.floor(value) + 1):
                raise Hint(shown + words)
        arithmetic = 2 * got * I * O / flops_per_s
        traffic = size * (I * O + got * (I + O)) / bytes_per_s
        raise Hint(shown + f"With {_count(got)} the arithmetic takes {arithmetic * 1e6:.4g} microseconds and the traffic "
                   f"{traffic * 1e6:.4g}" + (", and fewer rows do as well." if arithmetic >= traffic else "."))


@exercise("12.3")
def _(answer):
    for speed, N, L, E, T, peak in [(1000, 1000, 5, 6, 16, 20e6), (150_000, 123_532_032, 12, 768, 1024, 312e12),
                                    (2.5, 300, 3, 4, 10, 1e4)]:
        weights, attention = 2 * N, 4 * L * T * E
        part = speed / peak
        got, right = _number(call(answer, speed, N, L, E, T, peak)), 3 * (weights + attention) * part
        if _close(got, right):
            continue
        shown = f"mfu({speed}, {N}, {L}, {E}, {T}, {peak:g}) should be {right:.4g}, yours says {got:.4g}. "
        wrong = [(right / 3, "That is the forward pass alone. The backward pass costs twice as much again."),
                 (right * 2 / 3, "You let the backward pass cost as much as the forward pass. It costs twice as much."),
                 (3 * weights * part, "Attention's products are missing. They have no parameters, so N does not know of them."),
                 (weights * part, "That is the forward pass alone, and attention's products are missing in it."),
                 ((3 * weights + attention) * part, "The backward pass goes through attention as well: three times its part "
                  "too."),
                 ((weights + 3 * attention) * part, "The backward pass goes through the products with parameters as well: three "
                  "times their part too."),
                 ((3 * weights + 2 * attention) * part, "In attention too the backward pass costs twice the forward pass: three "
                  "times its part in all."),
                 (right * 100, "That is in percent. Return the fraction itself."),
                 (right / 2, "You count one FLOP where there are two, a multiplication and an addition."),
                 (3 * (N + attention) * part, "A parameter costs two FLOPs a token, a multiplication and an addition."),
                 (3 * (weights + attention / 2) * part, "That is half of attention. In each layer it has two products, queries "
                  "with keys and weights with values, of 2TE FLOPs a token each, when every query meets all T keys."),
                 (3 * (weights + attention / 4) * part, "That is a quarter of attention. In each layer it has two products, and "
                  "each of them multiplies and adds."),
                 (3 * (weights + attention / L) * part, f"That is the attention of one layer. There are {L}."),
                 (3 * (weights + attention * T) * part, f"You count attention for all {T} tokens of the text at once. One "
                  f"token's query meets {T} keys."),
                 (3 * (weights + attention / T * E) * part, "You took E times E for attention. A token's query meets T keys, "
                  "with E numbers each."),
                 (right * T, f"You multiplied by the {T} tokens of a text. `tokens_per_s` counts them all already."),
                 (right * peak, "These are the FLOPs a second. Divide them by the peak."),
                 (right / part, "These are the FLOPs of one token."),
                 (1 / right, "That is the inverse: how many times as fast the machine could be.")]
        for value, words in wrong:
            if _close(got, value):
                raise Hint(shown + words)
        raise Hint(shown + f"Forward, a token costs {weights:,} FLOPs in the products with parameters and {attention:,} in "
                   "attention.")


class _Watch(TorchDispatchMode):
    """Notes the rows of logits, V numbers each, that operations make: the most in one tensor, and those that are in memory."""

    def __init__(self, V, E):
        super().__init__()
        self.V, self.E, self.largest, self.shape, self.most, self.alive = V, E, 0, (), 0, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for t in tree_leaves(made):
            if not isinstance(t, torch.Tensor) or self.V not in t.shape or t.numel() == self.V * self.E:
                continue  # of E rows are the weight and its gradient
            rows, storage = t.numel() // self.V, t.untyped_storage()
            if rows > self.largest:
                self.largest, self.shape = rows, tuple(t.shape)
            self.alive.setdefault(storage._cdata, (StorageWeakRef(storage), rows, str(func)))
        self.most = max(self.most, self.held())
        return made

    def held(self):
        """The rows whose memory somebody still holds, be it only autograd."""
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        return sum(rows for _, rows, _ in self.alive.values())


def _wrong_loss(got, losses, rows):
    """What is wrong with a loss, from the cross-entropy (N,) of each row."""
    N = len(losses)
    parts = losses.split(rows)
    means, sums = ([float(f(part)) for part in parts] for f in (torch.mean, torch.sum))
    wrong = [(sum(means) / len(parts), f"You took the mean of the chunks' means. The last chunk has {len(parts[-1])} of the {N} "
              f"rows and counts as much as one of {rows}. Add up sums, and divide once by N."),
             (sum(means), "You added up the chunks' means. Add up sums, and divide by N."),
             (sum(sums), "That is the sum over all rows. Divide it by N."),
             (sum(sums) / len(parts), f"You divided the sum by the number of chunks. Divide it by the {N} rows."),
             (sum(sums) / rows, f"You divided the sum by the rows of a chunk. Divide it by all {N} rows."),
             (sum(sums) / (len(parts) * rows), f"You divided the sum by {len(parts)} times {rows}. The last chunk is smaller: "
              f"there are {N} rows."),
             (means[-1], "That is the mean of the last chunk. Add up the chunks."),
             (sums[-1] / N, "That is the last chunk's sum, divided by N. Add up the chunks."),
             (means[0], "That is the mean of the first chunk. Return behind the loop, not in it."),
             (sums[0] / N, "That is the first chunk's sum, divided by N. Return behind the loop, not in it.")]
    whole = N // rows * rows
    if 0 < whole < N:
        wrong += [(float(losses[:whole].sum()) / n, f"The last {_count(N - whole)} left no trace. The last chunk may be smaller, "
                   "but it counts.") for n in (N, whole)]
    for value, words in wrong:
        if math.isclose(got, value, rel_tol=1e-6):
            return words
    return "Add up the cross-entropies of all rows, and divide by N."


@exercise("12.4")
def _(answer):
    late = ("In the backward pass the function runs again, and a loop variable that it only reads holds the last chunk by now. "
            "Hand the chunk of x and that of targets to checkpoint as arguments.")
    generator = torch.Generator().manual_seed(0)
    V, E = 61, 50  # no N is E, so that a tensor (V, E) holds no logits
    for N, rows in [(10, 4), (8, 4), (48, 2), (7, 3), (6, 1), (6, 6), (5, 16)]:
        x, weight = (torch.randn(n, E, generator=generator, dtype=torch.float64) for n in (N, V))
        targets = torch.randint(V, (N,), generator=generator)
        theirs, mine = ([t.clone().requires_grad_() for t in (x, weight)] for _ in range(2))
        losses = F.cross_entropy(theirs[0] @ theirs[1].T, targets, reduction="none")
        losses.mean().backward()
        right = float(losses.detach().mean())
        where = f"With N = {N} and rows = {rows}, "

        watch = _Watch(V, E)
        with watch:
            got = call(answer, *mine, targets, rows)
            held, makers = watch.held(), [func for _, _, func in watch.alive.values()]
        if not isinstance(got, torch.Tensor):
            raise Hint(f"Return the loss as a tensor of shape (), not {type(got).__name__}: gradients have to flow back from it "
                       "to x and weight.")
        if got.shape != ():
            raise Hint(where + f"the loss should be one number, a tensor of shape (). Yours has the shape {tuple(got.shape)}.")
        value = float(got.detach())
        if not math.isclose(value, right, rel_tol=1e-6):
            raise Hint(where + f"the loss should be {right:.6f}, yours is {value:.6f}. "
                       + _wrong_loss(value, losses.detach(), rows))
        if not _close(value, right):
            raise Hint(where + f"the loss is only nearly right, {value:.12f} where {right:.12f} is. Compute in the dtype of x, "
                       f"{x.dtype}.")
        if watch.largest > rows:
            says = where + f"you make a tensor of shape {watch.shape}, which is {_count(watch.largest)} of logits at once. "
            if watch.largest >= N:
                raise Hint(says + "Make those of one chunk, and its loss, before those of the next.")
            if watch.largest == math.ceil(N / rows):
                raise Hint(says + f"`chunk({rows})` cuts into {rows} chunks; `split({rows})` cuts into chunks of {rows} rows.")
            raise Hint(says + f"A chunk has at most {_count(rows)}.")
        if not got.requires_grad:
            raise Hint(where + "the loss is right, but no gradient flows back from it. Was it detached, or made under "
                       "no_grad? Was checkpoint called without use_reentrant=False?")

        watch.most = 0
        try:
            with watch:
                got.backward()
        except Exception as error:
            if type(error).__name__ == "CheckpointError":
                raise Hint(where + "the loss is right, but in the backward pass a chunk comes out in another shape than before. "
                           + late) from error
            raise Hint(where + f"the loss is right, but its backward() stopped with {type(error).__name__}: {error}") from error
        last = len(losses.split(rows)[-1])
        for name, t, true in zip(("x", "weight"), mine, theirs, strict=True):
            if t.grad is None:
                raise Hint(where + f"the loss is right, but no gradient reaches {name}.")
            if torch.allclose(t.grad, true.grad, rtol=1e-8, atol=1e-12):
                continue
            says = where + f"the loss is right, but the gradient of {name} is not. "
            if rows < N and not t.grad[:-last].any():
                raise Hint(says + "Only the rows of the last chunk get one. " + late)
            raise Hint(says + "Everything between x, weight and the loss has to happen in operations that autograd follows.")

        if watch.largest > rows:
            raise Hint(where + f"the forward pass is right, but the backward pass makes a tensor of shape {watch.shape}, which "
                       f"is {_count(watch.largest)} of logits at once.")
        if held > rows:
            says = where + f"you make the logits in chunks, but {_count(held)} of them are still in memory after the forward pass. "
            if any("mm" in func for func in makers):
                raise Hint(says + "They are what the products returned, and something holds on to them. What is handed to "
                           "checkpoint is kept, too: its function has to make the product itself, not only the cross-entropy.")
            raise Hint(says + "Of every chunk autograd keeps what cross-entropy needs on the way back. Call the function that "
                       "makes a chunk's logits and its loss through checkpoint, which keeps only the arguments.")
        if watch.most >= N > 20 * rows:  # one chunk at a time has some tensors of its rows in memory, not as many
            raise Hint(where + f"nothing is kept after the forward pass, but in the backward pass {_count(watch.most)} of logits, "
                       "or of what is made from them, are in memory at once. One checkpoint around all chunks makes them all "
                       "again before the first is used. Give each chunk its own.")
