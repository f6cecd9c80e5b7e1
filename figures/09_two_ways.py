"""One head, one decoding step, two ways to use a cache of latents: re-expanding and absorbing."""

from style import CACHE, GREY, INK, KEY, QUERY, VALUE, Canvas

S, CELL = 5, 26  # cached latents; a number is a square of this many px

c = Canvas(720, 566, "Decoding with a cache of latents: re-expanding every latent, or absorbing the matrix into the query")


def vector(x, y, numbers, colour, opacity=0.5):
    """A column of `numbers` squares, top left at (x, y)."""
    for i in range(numbers):
        c.rect(x, y + i * CELL, CELL - 3, CELL - 3, colour, opacity=opacity)


def matrix(x, y, text, colour):
    c.box(x, y, 62, 34, text, colour, 15, opacity=0.25)


def panel(y, title, note):
    c.text(24, y, title, 17, INK, "start", "bold")
    c.text(696, y, note, 15, GREY, "end")


# Re-expanding: S rows through each of two matrices.
y = 34
panel(y, "Re-expanding", "each matrix is applied S times a step")
c.text(24, y + 74, "cache", 15, INK, "start")
c.text(24, y + 92, "r = 3", 14, GREY, "start")
for s in range(S):
    vector(84 + s * 32, y + 40, 3, CACHE)
    c.text(84 + s * 32 + 11.5, y + 34, f"c{s}", 14)
for row, (name, colour, letter) in enumerate((("W_uk", KEY, "k"), ("W_uv", VALUE, "v"))):
    top = y + 26 + row * 92
    matrix(290, top + 22, name, colour)
    c.arrow(246, y + 78, 286, top + 39, GREY)
    c.arrow(354, top + 39, 392, top + 39, GREY)
    for s in range(S):
        vector(398 + s * 32, top + 13, 2, colour)
        c.text(398 + s * 32 + 11.5, top + 7, f"{letter}{s}", 14)
c.text(642, y + 34, "query", 15, QUERY)
vector(630, y + 39, 2, QUERY)
c.arrow(624, y + 65, 564, y + 65, QUERY, 2)
c.text(594, y + 57, "asks", 14, QUERY)
c.arrow(560, y + 157, 624, y + 157, VALUE, 2)
c.text(592, y + 149, "mean", 14, VALUE)
vector(630, y + 131, 2, INK, 0.25)
c.text(642, y + 204, "output", 15)
c.line(24, 262, 696, 262, "#d0d0d0", 1)

# Absorbing: the query and the mean go through the matrices.
y = 296
panel(y, "Absorbing", "each matrix is applied once a step")
c.text(24, y + 134, "cache", 15, INK, "start")
c.text(24, y + 152, "r = 3", 14, GREY, "start")
for s in range(S):
    vector(84 + s * 32, y + 100, 3, CACHE)
    c.text(84 + s * 32 + 11.5, y + 94, f"c{s}", 14)
c.text(642, y + 34, "query", 15, QUERY)
vector(630, y + 39, 2, QUERY)
c.arrow(624, y + 65, 544, y + 65, GREY)
matrix(478, y + 48, "W_ukᵀ", KEY)
c.arrow(474, y + 65, 408, y + 65, GREY)
vector(378, y + 27, 3, QUERY)
c.path(f"M 374 {y + 65} C 320 {y + 65} 310 {y + 116} 254 {y + 120}", QUERY, width=2, arrow=True)
c.text(306, y + 66, "asks", 14, QUERY)
c.path(f"M 254 {y + 156} C 310 {y + 160} 320 {y + 192} 370 {y + 192}", CACHE, width=2, arrow=True)
c.text(306, y + 208, "mean", 14, INK)
vector(378, y + 154, 3, CACHE, 0.25)
c.arrow(408, y + 192, 474, y + 192, GREY)
matrix(478, y + 175, "W_uv", VALUE)
c.arrow(544, y + 192, 624, y + 192, GREY)
vector(630, y + 166, 2, INK, 0.25)
c.text(642, y + 240, "the same output", 15)
c.text(84, y + 240, "The latents stay as they lie in the cache.", 15, GREY, "start")
c.save("09_two_ways")
