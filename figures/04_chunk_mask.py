"""The mask of a chunk: a stripe of the causal triangle, and what is_causal makes of it."""

from style import CACHE, GREY, INK, MASKED, NEW_TOKEN, QUERY, Canvas

N, CELL, CHUNKS = 8, 36, (3, 3, 2)
START, T, S = 3, 3, 6  # the second chunk

c = Canvas(720, 500, "The mask of a chunk is a stripe of the causal triangle, aligned to its lower right corner")


def grid(x, y, rows, cols, seen, own, cell=CELL):
    """rows x cols squares; seen(i, j): may query i look; own(j): is key j of this chunk."""
    c.grid(x, y, rows, cols, cell, lambda i, j: (NEW_TOKEN if own(i, j) else CACHE) if seen(i, j) else MASKED)


def heads(x, y, cols, cell=CELL):
    for j in range(cols):
        c.text(x + (j + 0.5) * cell, y - 8, str(j), 14, GREY)


def sides(x, y, labels, cell=CELL):
    for i, label in enumerate(labels):
        c.text(x - 8, y + (i + 0.5) * cell + 5, label, 14, QUERY, "end", "bold")


# Left: all eight rows, in three stripes.
X, Y = 62, 104
c.text(X + N * CELL / 2, 36, "the whole prompt, 8 x 8", 16, INK, weight="bold")
c.text(X + N * CELL / 2, 70, "keys 0 to 7", 14, GREY)
begin = [0, 3, 6]
chunk_of = [0, 0, 0, 1, 1, 1, 2, 2]
grid(X, Y, N, N, lambda i, j: j <= i, lambda i, j: chunk_of[i] == chunk_of[j])
heads(X, Y, N)
sides(X, Y, "01234567")
for top in (3, 6):
    c.line(X - 24, Y + top * CELL, X + N * CELL, Y + top * CELL, INK, 1.5, "5 4")
c.rect(X - 1, Y + START * CELL, S * CELL + 2, T * CELL, "none", INK, 2)
c.parts[-1] = c.parts[-1].replace("/>", ' stroke-width="3"/>')
c.text(22, Y + N * CELL / 2, "queries", 14, QUERY)
c.parts[-1] = c.parts[-1].replace("<text", f'<text transform="rotate(-90 22 {Y + N * CELL / 2:g})"')

# Right: the stripe, with the right mask and the wrong one.
X2 = 462
for top, title, seen in ((104, "the second chunk: T = 3, S = 6", lambda i, j: j <= i + S - T),
                         (308, "the same with is_causal", lambda i, j: j <= i)):
    c.text(X2 + S * CELL / 2, top - 34, title, 16, INK, weight="bold")
    grid(X2, top, T, S, seen, lambda i, j: j >= START)
    heads(X2, top, S)
    sides(X2, top, ["i = 0", "i = 1", "i = 2"])
c.text(X2 + S * CELL / 2, 104 + T * CELL + 22, "query i sees j up to S - T + i", 15)
c.text(X2 + S * CELL / 2, 308 + T * CELL + 22, "query 0, at position 3, sees only key 0", 15)
c.arrow(X + S * CELL + 6, Y + 4.5 * CELL, X2 - 54, 104 + 1.5 * CELL, GREY)

for x, colour, text in ((62, CACHE, "may look, cached"), (228, NEW_TOKEN, "may look, same chunk"),
                        (424, MASKED, "may not look")):
    c.rect(x, 464, 16, 16, colour, "#ffffff")
    c.text(x + 24, 477, text, 14, INK, "start")
c.save("04_chunk_mask")
