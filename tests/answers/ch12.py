"""Plausible wrong answers to chapter 12's exercises, each with a piece of the hint meant for it."""

import itertools
import math

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def moved(rows, inputs, outputs):
    return inputs * outputs + rows * (inputs + outputs)


def one_flop(rows, inputs, outputs, bytes_per_number):
    return rows * inputs * outputs / (bytes_per_number * moved(rows, inputs, outputs))


def weights_alone(rows, inputs, outputs, bytes_per_number):
    return 2 * rows / bytes_per_number


def no_weights(rows, inputs, outputs, bytes_per_number):
    return 2 * inputs * outputs / (bytes_per_number * (inputs + outputs))


def no_outputs(rows, inputs, outputs, bytes_per_number):
    return 2 * rows * inputs * outputs / (bytes_per_number * (inputs * outputs + rows * inputs))


def no_inputs(rows, inputs, outputs, bytes_per_number):
    return 2 * rows * inputs * outputs / (bytes_per_number * (inputs * outputs + rows * outputs))


def bytes_for_each_flop(rows, inputs, outputs, bytes_per_number):
    return bytes_per_number * moved(rows, inputs, outputs) / (2 * rows * inputs * outputs)


def for_each_bit(rows, inputs, outputs, bytes_per_number):
    return 2 * rows * inputs * outputs / (8 * bytes_per_number * moved(rows, inputs, outputs))


def for_each_number(rows, inputs, outputs, bytes_per_number):
    return 2 * rows * inputs * outputs / moved(rows, inputs, outputs)


def weights_for_each_row(rows, inputs, outputs, bytes_per_number):
    return 2 * inputs * outputs / (bytes_per_number * moved(1, inputs, outputs))


def rounded_down(rows, inputs, outputs, bytes_per_number):
    return 2 * rows * inputs * outputs // (bytes_per_number * moved(rows, inputs, outputs))


def flops_alone(rows, inputs, outputs, bytes_per_number):
    return 2 * rows * inputs * outputs


def with_a_bias(rows, inputs, outputs, bytes_per_number):
    return 2 * rows * inputs * outputs / (bytes_per_number * (moved(rows, inputs, outputs) + outputs))


def exact_rows(inputs, outputs, bytes_per_number, flops_per_s, bytes_per_s, flops=2):
    weights = bytes_per_number * inputs * outputs * flops_per_s
    return weights / (flops * inputs * outputs * bytes_per_s - bytes_per_number * (inputs + outputs) * flops_per_s)


def never(inputs, outputs, bytes_per_number, flops_per_s, bytes_per_s):
    return 2 * inputs * outputs * bytes_per_s <= bytes_per_number * (inputs + outputs) * flops_per_s


def shared_weights_alone(inputs, outputs, bytes_per_number, flops_per_s, bytes_per_s):
    return math.ceil(bytes_per_number * flops_per_s / bytes_per_s / 2)


def half_the_flops(*args):
    return None if never(*args) else math.ceil(exact_rows(*args, flops=1))


def down(*args):
    return None if never(*args) else math.floor(exact_rows(*args))


def one_more(*args):
    return None if never(*args) else math.floor(exact_rows(*args)) + 1


def not_rounded(*args):
    return None if never(*args) else exact_rows(*args)


def as_a_float(*args):
    return None if never(*args) else float(math.ceil(exact_rows(*args)))


def from_no_row(inputs, outputs, bytes_per_number, flops_per_s, bytes_per_s):
    args = inputs, outputs, bytes_per_number, flops_per_s, bytes_per_s
    if flops_per_s < bytes_per_s:  # "the arithmetic is the slower one anyway"
        return 0
    return None if never(*args) else math.ceil(exact_rows(*args))


def below_nothing(*args):
    return math.ceil(exact_rows(*args))


def divided_by_nothing(*args):
    try:
        rows = math.ceil(exact_rows(*args))
    except OverflowError:
        return None
    return rows if rows > 0 else None


def enough(rows, inputs, outputs, bytes_per_number, flops_per_s, bytes_per_s):
    return 2 * rows * inputs * outputs / flops_per_s >= bytes_per_number * moved(rows, inputs, outputs) / bytes_per_s


def counted_for_ever(*args):
    rows = 1
    while not enough(rows, *args):
        rows += 1
    return rows


def next_of_all(*args):
    return next(rows for rows in itertools.count(1) if enough(rows, *args))


def wrong_way(*args):
    rows = 1
    while enough(rows, *args) or rows < 2:
        rows += 1
    return rows


def never_enough(*args):
    return None


def forward(N, L, E, T):
    return 2 * N + 4 * L * T * E


def forward_alone(speed, N, L, E, T, peak):
    return forward(N, L, E, T) * speed / peak


def both_alike(speed, N, L, E, T, peak):
    return 2 * forward(N, L, E, T) * speed / peak


def six_n(speed, N, L, E, T, peak):
    return 6 * N * speed / peak


def two_n(speed, N, L, E, T, peak):
    return 2 * N * speed / peak


def attention_once(speed, N, L, E, T, peak):
    return (6 * N + 4 * L * T * E) * speed / peak


def attention_twice(speed, N, L, E, T, peak):
    return (6 * N + 8 * L * T * E) * speed / peak


def parameters_once(speed, N, L, E, T, peak):
    return (2 * N + 12 * L * T * E) * speed / peak


def percent(speed, N, L, E, T, peak):
    return 300 * forward(N, L, E, T) * speed / peak


def one_product(speed, N, L, E, T, peak):
    return (6 * N + 6 * L * T * E) * speed / peak


def one_layer(speed, N, L, E, T, peak):
    return 3 * forward(N, 1, E, T) * speed / peak


def whole_square(speed, N, L, E, T, peak):
    return (6 * N + 12 * L * T * T * E) * speed / peak


def whole_text(speed, N, L, E, T, peak):
    return 3 * forward(N, L, E, T) * T * speed / peak


def three_n(speed, N, L, E, T, peak):
    return 3 * (N + 4 * L * T * E) * speed / peak


def no_peak(speed, N, L, E, T, peak):
    return 3 * forward(N, L, E, T) * speed


def inverse(speed, N, L, E, T, peak):
    return peak / (3 * forward(N, L, E, T) * speed)


def total(x, weight, targets):
    return F.cross_entropy(x @ weight.T, targets, reduction="sum")


def pairs(x, targets, rows):
    return list(zip(x.split(rows), targets.split(rows), strict=True))


def by_chunk(x, weight, targets, rows, function=total):
    return [checkpoint(function, part, weight, wanted, use_reentrant=False) for part, wanted in pairs(x, targets, rows)]


def mean(x, weight, targets):
    return F.cross_entropy(x @ weight.T, targets)


def mean_of_means(x, weight, targets, rows):
    return torch.stack(by_chunk(x, weight, targets, rows, mean)).mean()


def sum_of_means(x, weight, targets, rows):
    return sum(by_chunk(x, weight, targets, rows, mean))


def sum_of_all(x, weight, targets, rows):
    return sum(by_chunk(x, weight, targets, rows))


def by_the_chunks(x, weight, targets, rows):
    return torch.stack(by_chunk(x, weight, targets, rows)).mean()


def by_full_chunks(x, weight, targets, rows):
    losses = by_chunk(x, weight, targets, rows)
    return sum(losses) / (len(losses) * rows)


def rest_forgotten(x, weight, targets, rows):
    losses = [total(x[i * rows:(i + 1) * rows], weight, targets[i * rows:(i + 1) * rows]) for i in range(len(x) // rows)]
    return sum(losses) / len(x)


def last_alone(x, weight, targets, rows):
    for part, wanted in pairs(x, targets, rows):
        loss = mean(part, weight, wanted)
    return loss


def returned_in_the_loop(x, weight, targets, rows):
    for part, wanted in pairs(x, targets, rows):
        return total(part, weight, wanted) / len(x)


def all_at_once(x, weight, targets, rows):
    return F.cross_entropy(x @ weight.T, targets)


def put_together(x, weight, targets, rows):
    return F.cross_entropy(torch.cat([part @ weight.T for part in x.split(rows)]), targets)


def so_many_chunks(x, weight, targets, rows):
    parts = zip(x.chunk(rows), targets.chunk(rows), strict=True)
    return sum(checkpoint(total, part, weight, wanted, use_reentrant=False) for part, wanted in parts) / len(x)


def all_kept(x, weight, targets, rows):
    return sum(total(part, weight, wanted) for part, wanted in pairs(x, targets, rows)) / len(x)


def product_outside(x, weight, targets, rows):
    return sum(checkpoint(F.cross_entropy, part @ weight.T, wanted, reduction="sum", use_reentrant=False)
               for part, wanted in pairs(x, targets, rows)) / len(x)


def one_checkpoint(x, weight, targets, rows):
    return checkpoint(all_kept, x, weight, targets, rows, use_reentrant=False)


def reads_loop_variables(x, weight, targets, rows):
    loss = 0
    for part, wanted in pairs(x, targets, rows):
        loss = loss + checkpoint(lambda: total(part, weight, wanted), use_reentrant=False)
    return loss / len(x)


def reads_them_reentrantly(x, weight, targets, rows):
    loss = 0
    for part, wanted in pairs(x, targets, rows):
        loss = loss + checkpoint(lambda weight: total(part, weight, wanted), weight, use_reentrant=True)
    return loss / len(x)


def reentrant_without_tensors(x, weight, targets, rows):
    def part(start):
        return total(x[start:start + rows], weight, targets[start:start + rows])

    return sum(checkpoint(part, start, use_reentrant=True) for start in range(0, len(x), rows)) / len(x)


def a_python_number(x, weight, targets, rows):
    return sum(loss.item() for loss in by_chunk(x, weight, targets, rows)) / len(x)


@torch.no_grad()
def under_no_grad(x, weight, targets, rows):
    return all_kept(x, weight, targets, rows)


def weight_detached(x, weight, targets, rows):
    return sum(by_chunk(x, weight.detach(), targets, rows)) / len(x)


def in_float32(x, weight, targets, rows):
    return sum(by_chunk(x.float(), weight.float(), targets, rows)) / len(x)


def one_loss_a_row(x, weight, targets, rows):
    return torch.cat([F.cross_entropy(part @ weight.T, wanted, reduction="none") for part, wanted in pairs(x, targets, rows)])


WRONG = {
    "12.1": [(one_flop, "one FLOP where there are two"), (weights_alone, "Only the weights"),
             (no_weights, "the weights do not move"), (no_outputs, "The outputs are missing"),
             (no_inputs, "The inputs are missing"), (bytes_for_each_flop, "the inverse"), (for_each_bit, "for each bit"),
             (for_each_number, "Each of them has 2 bytes"), (weights_for_each_row, "for every row"),
             (rounded_down, "rounded it down"), (flops_alone, "Divide them by the bytes"), (with_a_bias, "count a bias")],
    "12.2": [(shared_weights_alone, "the weights alone. Each row"), (half_the_flops, "one FLOP for each weight and row"),
             (down, "Round up, not down"), (one_more, "equally long"), (not_rounded, "Rows come whole"),
             (as_a_float, "not as an int"), (from_no_row, "one row at least"), (below_nothing, "you return -"),
             (divided_by_nothing, "ZeroDivisionError"), (counted_for_ever, "Find that out first"),
             (next_of_all, "Find that out first"), (wrong_way, "microseconds"), (never_enough, "569 rows are enough")],
    "12.3": [(forward_alone, "the forward pass alone. The backward"), (both_alike, "as much as the forward pass"),
             (six_n, "products are missing. They"), (two_n, "missing in it"), (attention_once, "through attention as well"),
             (attention_twice, "In attention too"), (parameters_once, "products with parameters as well"), (percent, "percent"),
             (one_product, "half of attention"), (one_layer, "attention of one layer"), (whole_square, "text at once"),
             (whole_text, "counts them all already"), (three_n, "A parameter costs two"), (no_peak, "by the peak"),
             (inverse, "the inverse")],
    "12.4": [(mean_of_means, "mean of the chunks' means"), (sum_of_means, "added up the chunks' means"),
             (sum_of_all, "sum over all rows"), (by_the_chunks, "the number of chunks"), (by_full_chunks, "by 3 times 4"),
             (rest_forgotten, "last 2 rows left no trace"), (last_alone, "mean of the last chunk"),
             (returned_in_the_loop, "behind the loop"), (all_at_once, "before those of the next"),
             (put_together, "before those of the next"), (so_many_chunks, "cuts into 2 chunks"),
             (all_kept, "what cross-entropy needs"), (product_outside, "make the product itself"),
             (one_checkpoint, "Give each chunk its own"), (reads_loop_variables, "another shape"),
             (reads_them_reentrantly, "Only the rows of the last chunk"),
             (reentrant_without_tensors, "without use_reentrant=False"), (a_python_number, "not float"),
             (under_no_grad, "no gradient flows back"), (weight_detached, "no gradient reaches weight"),
             (in_float32, "only nearly right"), (one_loss_a_row, "should be one number")],
}
