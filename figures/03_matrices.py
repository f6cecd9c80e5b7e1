"""Attention as matrices, with the numbers of the chapter's three tokens."""

import math

from style import GREY, INK, KEY, LIGHT, MASKED, PURPLE, QUERY, VALUE, VERMILION, Canvas

Q = [[1, 0], [0, 2], [2, -1]]
K = [[1, 0], [0, 1], [1, 1]]
V = [[10, 0], [0, 10], [5, 5]]
CELL = 44


def mix(colour, share):
    """`colour` thinned with white."""
    rgb = [int(colour[i:i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (c - 255) * share):02x}" for c in rgb)


def matrix(x, y, name, shape, rows, fill, show=str):
    """A matrix with its name above and its shape below; (x, y) is the top left of its cells."""
    height, width = len(rows), len(rows[0])
    c.grid(x, y, height, width, CELL, fill, lambda i, j: show(rows[i][j]), size=14)
    c.text(x + width * CELL / 2, y - 12, name, 16, weight="bold")
    c.text(x + width * CELL / 2, y + height * CELL + 20, shape, 14, GREY)


def plain(colour):
    return lambda i, j: mix(colour, 0.35)


def number(value):
    return "" if value == -math.inf else f"{value:.2f}".replace("-", "−")


scores = [[sum(a * b for a, b in zip(q, k)) for k in K] for q in Q]
masked = [[s / math.sqrt(2) if j <= i else -math.inf for j, s in enumerate(row)] for i, row in enumerate(scores)]
weights = [[math.exp(s) / sum(math.exp(t) for t in row) for s in row] for row in masked]
output = [[sum(w * v[d] for w, v in zip(row, V)) for d in range(2)] for row in weights]

c = Canvas(720, 450, "Attention as matrices: scores from queries and keys, mask, softmax, weighted average of values")
top, low = 56, 284
matrix(58, top, "q", "(T, D)", Q, plain(QUERY), lambda n: str(n).replace("-", "−"))
c.text(167, top + 72, "×", 22)
matrix(188, top + CELL / 2, "kᵀ", "(D, S)", [list(row) for row in zip(*K)], plain(KEY))
c.text(339, top + 72, "=", 22)
matrix(360, top, "scores", "(T, S)", scores, plain(LIGHT), lambda n: str(n).replace("-", "−"))
c.arrow(500, top + 66, 548, top + 66)
c.text(524, top + 54, "÷ √D", 14)
c.text(524, top + 88, "mask", 14)
matrix(556, top, "masked scores", "(T, S)", masked, lambda i, j: MASKED if j > i else mix(PURPLE, 0.18),
       lambda n: "−∞" if n == -math.inf else number(n))
for i in range(3):
    c.text(50, top + CELL * i + 27, f"{i}", 14, GREY, "end")

# From the end of the first row down to the start of the second.
c.path(f"M 622 {top + 3 * CELL + 30} V 238 H 192 V {low - 32}", arrow=True)
c.text(400, 230, "softmax of each row", 15)

matrix(126, low, "weights", "(T, S)", weights, lambda i, j: MASKED if j > i else mix(VERMILION, 0.12 + 0.5 * weights[i][j]),
       number)
c.text(277, low + 72, "×", 22)
matrix(298, low, "v", "(S, D)", V, plain(VALUE))
c.text(405, low + 72, "=", 22)
matrix(426, low, "output", "(T, D)", output, lambda i, j: mix(VALUE, 0.15), lambda n: f"{n:.1f}")
for i in range(3):
    c.text(118, low + CELL * i + 27, f"{i}", 14, GREY, "end")
c.rect(540, low + 8, 18, 18, MASKED, stroke=GREY)
c.text(566, low + 22, "the future", 15, INK, "start")
c.text(540, low + 60, "row: who asks", 15, INK, "start")
c.text(540, low + 84, "column: who is asked", 15, INK, "start")
c.save("03_matrices")
