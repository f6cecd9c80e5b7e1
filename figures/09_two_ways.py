"""One head, one decoding step, two ways to use a cache of latents: re-expanding and absorbing."""

from style import CACHE, GREY, KEY, LIGHT, QUERY, RULE, VALUE, Canvas

S, CELL, STEP = 4, 24, 30  # cached latents; a number is a square of this many px; from one vector to the next
OUT = 426  # the left edge of the query and of the output

c = Canvas(650, "Decoding with a cache of latents: re-expanding every latent, or absorbing the matrix into the query")


def vectors(x, y, numbers, colour, names=(), opacity=0.5):
    """Columns of `numbers` squares, top left at (x, y), one for each name or a single one."""
    for s, name in enumerate(names or [""]):
        for i in range(numbers):
            c.rect(x + s * STEP, y + i * CELL, CELL - 3, CELL - 3, colour, opacity)
        if name:
            c.text(x + s * STEP + 10.5, y - 7, name)


def names(letter):
    return [f"{letter}{s}" for s in range(S)]


def matrix(x, y, text, colour):
    c.box(x, y - 18, 68, 36, text, colour, 0.3)


# Re-expanding: S rows through each of two matrices.
c.text(16, 32, "Re-expanding", anchor="start", bold=True)
c.text(16, 54, "rows through a matrix, at every step: 2 S", GREY, "start")
vectors(16, 140, 3, CACHE, names("c"))
c.text(16, 232, "the cache", anchor="start")
for y, name, colour, letter in ((116, "W_uk", KEY, "k"), (220, "W_uv", VALUE, "v")):
    c.arrow(142, 174, 174, y, GREY)
    matrix(176, y, name, colour)
    c.arrow(244, y, 268, y, GREY)
    vectors(272, y - 22, 2, colour, names(letter))
c.text(OUT + 8, 86, "query", QUERY)
vectors(OUT, 94, 2, QUERY, opacity=0.8)
c.arrow(OUT - 6, 116, OUT - 36, 116, QUERY, 2)
c.arrow(OUT - 36, 220, OUT - 6, 220, VALUE, 2)
vectors(OUT, 198, 2, LIGHT, opacity=1)
c.text(OUT + 28, 268, "output", anchor="end")
c.text(332, 160, "asks the S keys", GREY)
c.text(332, 268, "mean of S values", GREY)
c.line(16, 290, 454, 290, RULE, 1)

# Absorbing: the query and the mean go through the matrices.
c.text(16, 322, "Absorbing", anchor="start", bold=True)
c.text(16, 344, "rows through a matrix, at every step: 2", GREY, "start")
vectors(16, 454, 3, CACHE, names("c"))
c.text(16, 546, "the cache", anchor="start")
c.text(OUT + 8, 388, "query", QUERY)
vectors(OUT, 396, 2, QUERY, opacity=0.8)
c.arrow(OUT - 4, 418, OUT - 26, 418, GREY)
matrix(330, 418, "W_ukᵀ", KEY)
c.arrow(330, 418, 302, 418, GREY)
vectors(276, 384, 3, QUERY, opacity=0.8)
c.path("M270 418C210 418 200 446 142 474", QUERY, width=2, arrow=True)
c.text(150, 404, "asks the\nlatents", GREY)
c.path("M142 500C200 528 210 556 270 556", GREY, width=2, arrow=True)
c.text(150, 560, "mean of the\nlatents", GREY)
vectors(276, 522, 3, CACHE, opacity=0.3)
c.arrow(302, 556, 328, 556, GREY)
matrix(330, 556, "W_uv", VALUE)
c.arrow(398, 556, OUT - 4, 556, GREY)
vectors(OUT, 534, 2, LIGHT, opacity=1)
c.text(454, 604, "the same output", anchor="end")
c.text(16, 632, "The latents stay as they lie in the cache.", anchor="start")
c.save("09_two_ways")
