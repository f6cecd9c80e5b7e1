"""Multi-head attention: columns split into heads, one attention each, joined and projected."""

from style import GREY, KEY, LEARNED, MASKED, QUERY, RULE, VALUE, WEIGHTS, Canvas

T, D, H = 4, 2, 3
CELL = 15
WIDE, HIGH = H * D * CELL, T * CELL
SHADES = (0.25, 0.5, 0.8)  # of heads 0, 1, 2


def whole(x, y, name, colour):
    """A (T, E) matrix whose column blocks belong to the heads."""
    c.grid(x, y, T, H * D, CELL, lambda i, j: (colour, SHADES[j // D]))
    c.text(x + WIDE / 2, y - 8, name)


def part(x, y, h, name, colour):
    """Head h's (T, D) piece."""
    c.grid(x, y, T, D, CELL, lambda i, j: (colour, SHADES[h]))
    c.text(x + D * CELL / 2, y - 8, name)


c = Canvas(756, "Multi-head attention with three heads: split, attend, join, project")
for x, name, colour in ((70, "q (T, E)", QUERY), (190, "k (T, E)", KEY), (310, "v (T, E)", VALUE)):
    whole(x, 42, name, colour)
c.arrow(235, 110, 235, 152)
c.text(250, 136, "split the columns", anchor="start")
c.text(220, 136, "D = E / H", GREY, "end")

for h in range(H):
    y = 186 + 112 * h
    c.rect(16, y - 30, 438, HIGH + 42, stroke=RULE, rx=6)
    c.text(28, y + 35, f"head {h}", anchor="start", bold=True)
    for x, name, colour in ((108, "q", QUERY), (150, "k", KEY), (192, "v", VALUE)):
        part(x, y, h, name, colour)
    c.arrow(230, y + 30, 262, y + 30)
    c.grid(270, y, T, T, CELL, lambda i, j: (WEIGHTS, 0.8) if j <= i else MASKED)
    c.text(270 + T * CELL / 2, y - 8, "weights")
    c.arrow(338, y + 30, 370, y + 30)
    part(380, y, h, "out", VALUE)
for x, shape in ((165, "(T, D) each"), (300, "(T, T)"), (395, "(T, D)")):
    c.text(x, 506, shape, GREY)

c.arrow(235, 516, 235, 552)
c.text(250, 540, "join", anchor="start")
whole(190, 580, "heads 0, 1, 2 side by side", VALUE)
c.text(292, 615, "(T, E)", GREY, "start")
c.arrow(235, 642, 235, 660)
c.box(180, 662, 110, 34, "out_proj", LEARNED)
c.text(300, 684, "mixes the heads", GREY, "start")
c.arrow(235, 696, 235, 714)
c.text(235, 736, "(T, E), added to the stream")
c.save("03_heads")
