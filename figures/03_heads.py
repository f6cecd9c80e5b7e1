"""Multi-head attention: columns split into heads, one attention each, joined and projected."""

from style import GREY, INK, KEY, LIGHT, PURPLE, QUERY, VALUE, VERMILION, Canvas

T, D, H = 4, 2, 3
CELL = 15
WIDE, HIGH = H * D * CELL, T * CELL
SHADES = (0.25, 0.5, 0.8)


def mix(colour, share):
    """`colour` thinned with white."""
    rgb = [int(colour[i:i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (c - 255) * share):02x}" for c in rgb)


def whole(x, y, name, colour):
    """A (T, E) matrix whose column blocks belong to the heads."""
    c.grid(x, y, T, H * D, CELL, lambda i, j: mix(colour, SHADES[j // D]))
    c.text(x + WIDE / 2, y - 8, name, 15)


def part(x, y, h, name, colour):
    """Head h's (T, D) piece."""
    c.grid(x, y, T, D, CELL, lambda i, j: mix(colour, SHADES[h]))
    c.text(x + D * CELL / 2, y - 7, name, 14)


c = Canvas(720, 460, "Multi-head attention with three heads: split, attend, join, project")
for i, (name, colour) in enumerate((("q  (T, E)", QUERY), ("k  (T, E)", KEY), ("v  (T, E)", VALUE))):
    whole(24, 82 + 122 * i, name, colour)
c.text(24 + WIDE / 2, 40, "all heads", 16, weight="bold")
c.arrow(122, 234, 172, 234)
c.text(147, 222, "split", 15)

c.text(320, 40, "each head attends by itself", 16, weight="bold")
for h in range(H):
    y = 82 + 122 * h
    c.rect(180, y - 28, 282, HIGH + 44, "#ffffff", stroke="#b0b0b0", rx=6)
    c.text(192, y + 35, f"{h}", 16, weight="bold")
    for x, name, colour in ((212, "q", QUERY), (250, "k", KEY), (288, "v", VALUE)):
        part(x, y, h, name, colour)
    c.arrow(323, y + 30, 345, y + 30)
    c.grid(350, y, T, T, CELL, lambda i, j: mix(VERMILION, 0.45) if j <= i else LIGHT)
    c.text(350 + T * CELL / 2, y - 7, "weights", 14)
    c.arrow(414, y + 30, 424, y + 30)
    part(428, y, h, "out", VALUE)
c.text(320, 446, "(T, D) each, D = E / H; weights (T, T)", 14, GREY)

c.arrow(466, 234, 508, 234)
c.text(487, 222, "join", 15)
whole(514, 204, "(T, E)", VALUE)
c.text(612, 239, "heads 0, 1, 2", 14, GREY, "start")
c.text(514 + WIDE / 2, 40, "side by side", 16, weight="bold")
c.arrow(559, 268, 559, 300)
c.box(514, 304, WIDE, 44, "out_proj\n(E, E)", PURPLE, 14)
c.arrow(559, 350, 559, 376)
c.grid(514, 382, T, H * D, CELL, lambda i, j: mix(PURPLE, 0.3))
c.text(612, 417, "(T, E)", 15, INK, "start")
c.save("03_heads")
