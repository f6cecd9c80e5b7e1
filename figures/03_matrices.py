"""Attention as matrices, with the numbers of the chapter's three tokens."""

import math

from style import GREY, KEY, MASKED, QUERY, VALUE, WEIGHTS, Canvas

Q = [[1, 0], [0, 2], [2, -1]]
K = [[1, 0], [0, 1], [1, 1]]
V = [[10, 0], [0, 10], [5, 5]]
CELL = 44
SCORES = (WEIGHTS, 0.25)


def matrix(x, y, name, shape, rows, fill, show=str):
    """A matrix with its name above and its shape below; (x, y) is the top left of its cells."""
    height, width = len(rows), len(rows[0])
    c.grid(x, y, height, width, CELL, fill, lambda i, j: show(rows[i][j]).replace("-", "−"))
    c.text(x + width * CELL / 2, y - 10, name, bold=True)
    c.text(x + width * CELL / 2, y + height * CELL + 20, shape, GREY)


def number(value):
    return "-∞" if value == -math.inf else f"{value:.2f}"


scores = [[sum(a * b for a, b in zip(q, k)) for k in K] for q in Q]
masked = [[s / math.sqrt(2) if j <= i else -math.inf for j, s in enumerate(row)] for i, row in enumerate(scores)]
weights = [[math.exp(s) / sum(math.exp(t) for t in row) for s in row] for row in masked]
output = [[sum(w * v[d] for w, v in zip(row, V)) for d in range(2)] for row in weights]

c = Canvas(662, "Attention as matrices: scores from queries and keys, mask, softmax, weighted average of values")
one, two, three = 46, 268, 484  # the tops of the three lines
matrix(38, one, "q", "(T, D)", Q, lambda i, j: (QUERY, 0.35))
c.text(144, one + 72, "×")
matrix(162, one + CELL / 2, "kᵀ", "(D, S)", [list(row) for row in zip(*K)], lambda i, j: (KEY, 0.4))
c.text(308, one + 72, "=")
matrix(322, one, "scores", "(T, S)", scores, lambda i, j: SCORES)

c.arrow(388, one + 158, 388, two - 32)
c.text(376, one + 182, "÷ √D, then the mask", anchor="end")
matrix(322, two, "masked scores", "(T, S)", masked, lambda i, j: MASKED if j > i else SCORES, number)
c.text(38, two + 10, "row: who asks\ncolumn: who is asked", anchor="start")
c.legend(two + 62, (38, MASKED, 1, "the future: may not be seen"))
c.path(f"M314 {two + 106}H104V{three - 34}", arrow=True)
c.text(116, two + 130, "softmax of each row", anchor="start")
c.text(116, two + 150, "a row sums to 1", GREY, "start")

matrix(38, three, "weights", "(T, S)", weights,
       lambda i, j: MASKED if j > i else (WEIGHTS, 0.25 + 0.75 * weights[i][j]), number)
c.text(184, three + 72, "×")
matrix(200, three, "v", "(S, D)", V, lambda i, j: (VALUE, 0.4))
c.text(306, three + 72, "=")
matrix(322, three, "output", "(T, D)", output, lambda i, j: (VALUE, 0.15), lambda n: f"{n:.1f}")
for y in (one, three):
    for i in range(3):
        c.text(30, y + CELL * i + 27, f"{i}", GREY, "end")
c.save("03_matrices")
