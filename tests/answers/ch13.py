"""Wrong answers to the exercises of chapter 13, each with a piece of the hint meant for it."""


def _cut(allowed, order=reversed):
    def last_cut(text):
        return next((i for i in order(range(1, len(text))) if allowed(text[i - 1], text[i])), 0)
    return last_cut


SIGNS = "。，！？"


def _rest_left(n, rank, world_size):
    return rank * (n // world_size), (rank + 1) * (n // world_size)


def _rest_to_the_last(n, rank, world_size):
    size = n // world_size
    return rank * size, n if rank == world_size - 1 else (rank + 1) * size


def _rounded_up(n, rank, world_size):
    size = -(-n // world_size)
    return rank * size, (rank + 1) * size


def _ring(held, turns, add=None, all_together=False, in_place=False, mean=False):
    N = len(held)
    held = held if in_place else [list(chunks) for chunks in held]
    add = N - 1 if add is None else add
    for turn in range(turns(N)):
        messages = [((rank + 1) % N, (rank - turn) % N, held[rank][(rank - turn) % N]) for rank in range(N)]
        for to, chunk, number in messages:
            held[to][chunk] = held[to][chunk] + number if turn < add else number
    if mean:
        held = [[number / N for number in row] for row in held]
    return held, turns(N) * (N if all_together else 1)


def _both_ways(N):
    return 2 * (N - 1)


def _bytes(weight, gradient, moments):
    def bytes_per_rank(n_parameters, world_size, stage):
        shared = {0: 0, 1: moments, 2: moments + gradient, 3: moments + gradient + weight}[stage]
        return n_parameters * (weight + gradient + moments - shared + shared / world_size)
    return bytes_per_rank


WRONG = {
    "13.1": [
        (_rest_left, "have no reader"),
        (_rest_to_the_last, "Spread the rest"),
        (_rounded_up, "there is no line"),
        (lambda n, rank, world_size: (n * rank // world_size, n * (rank + 1) // world_size - 1), "nobody has line"),
        (lambda n, rank, world_size: [0, n], "two ints"),
    ],
    "13.2": [
        (lambda own, total, world_size: own / total, "yours is 1/4"),
        (lambda own, total, world_size: 1.0, "the mean of means"),
        (lambda own, total, world_size: total / own / world_size, "divided by the share"),
        (lambda own, total, world_size: own, "the factor must be 1"),
    ],
    "13.3": [
        (lambda n, world_size, stage: n * 16 / world_size, "only stage 3 does"),
        (_bytes(1, 1, 2), "4 bytes"),
        (_bytes(4, 4, 4), "two moments"),
        (lambda n, world_size, stage: n * (16 - 4 * stage + 4 * stage / world_size), "stage 1 divides the moments"),
    ],
    "13.4": [
        (_cut(lambda a, b: a.isspace() and not b.isspace() or b in SIGNS and a.isalpha()), "A word owns the space before it"),
        (_cut(lambda a, b: b.isspace() or b in SIGNS and a.isalpha()), "inside white space"),
        (_cut(lambda a, b: b.isspace() and not a.isspace() or b in SIGNS and a not in SIGNS), "the space belongs to the sign"),
        (_cut(lambda a, b: b.isspace() and not a.isspace() or b in SIGNS and not a.isspace()), "signs in a row are one piece"),
        (_cut(lambda a, b: b.isspace() and not a.isspace() or b in SIGNS and a.isalpha(), iter), "a later place"),
        (_cut(lambda a, b: b.isspace() and not a.isspace()), "a later place"),
        (_cut(lambda a, b: b.isspace() and not a.isspace() or b in "。？" and a.isalpha()), "a later place"),
        (_cut(lambda a, b: b == " " and a != " " or b in SIGNS and a.isalpha()), "a later place"),
        (_cut(lambda a, b: b in " \n" and a not in " \n" or b in SIGNS and a.isalpha()), "a later place"),
    ],
    "13.5": [
        (lambda held: _ring(held, lambda N: N - 1), "the reduce-scatter is done"),
        (lambda held: _ring(held, _both_ways, add=99), "must end with"),
        (lambda held: _ring(held, _both_ways, all_together=True), "of all ranks together"),
        (lambda held: _ring(held, _both_ways, in_place=True), "has changed"),
        (lambda held: _ring(held, _both_ways, mean=True), "That is the mean"),
    ],
}
