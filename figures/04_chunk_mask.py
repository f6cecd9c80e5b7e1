"""The mask of a chunk: a stripe of the causal triangle, and what is_causal makes of it."""

from style import CACHE, GREY, MASKED, NEW_TOKEN, QUERY, Canvas

N, CHUNK_OF = 8, (0, 0, 0, 1, 1, 1, 2, 2)
START, T, S = 3, 3, 6  # the second chunk

c = Canvas(600, "The mask of a chunk is a stripe of the causal triangle, aligned to its lower right corner")


def mask(x, y, rows, cols, cell, labels, seen, own):
    """rows x cols squares; seen(i, j): may query i look at key j; own(i, j): is key j of the query's chunk."""
    c.grid(x, y, rows, cols, cell, lambda i, j: (NEW_TOKEN if own(i, j) else CACHE) if seen(i, j) else MASKED)
    for j in range(cols):
        c.text(x + (j + 0.5) * cell, y - 7, str(j), GREY)
    for i, label in enumerate(labels):
        c.text(x - 8, y + (i + 0.5) * cell + 5.5, label, QUERY, "end")


# Above: all eight rows, in three stripes.
X, Y, CELL = 74, 84, 30
c.text(X + N * CELL / 2, 32, "the whole prompt, 8 × 8", bold=True)
c.text(X + N * CELL / 2, 56, "keys 0 to 7", GREY)
mask(X, Y, N, N, CELL, "01234567", lambda i, j: j <= i, lambda i, j: CHUNK_OF[i] == CHUNK_OF[j])
for top in (3, 6):
    c.line(X - 24, Y + top * CELL, X + N * CELL + 8, Y + top * CELL, dash="5 4")
c.rect(X - 1, Y + START * CELL, S * CELL + 2, T * CELL, "none", width=3)
c.text(36, Y + N * CELL / 2, "queries 0 to 7", QUERY, turned=True)
for i, (top, high) in enumerate(((0, 3), (3, 3), (6, 2))):
    c.text(X + N * CELL + 14, Y + (top + high / 2) * CELL + 5.5, f"chunk {i}" + (": T = 3," if i == 1 else ""), anchor="start")
c.text(X + N * CELL + 14, Y + 4.5 * CELL + 25.5, "S = 6", anchor="start")

# Below: the stripe, with the right mask and the wrong one.
Y2, CELL2 = 412, 28
for x, title, says, seen in ((50, "chunk 1, right", "query i sees keys\nup to S − T + i", lambda i, j: j <= i + S - T),
                             (280, "with is_causal, wrong", "query 0, at position 3,\nsees only key 0", lambda i, j: j <= i)):
    c.text(x + S * CELL2 / 2 - 8, Y2 - 32, title, bold=True)
    mask(x, Y2, T, S, CELL2, ["0", "1", "2"], seen, lambda i, j: j >= START)
    c.text(x + S * CELL2 / 2 - 8, Y2 + T * CELL2 + 24, says)
c.legend(574, (16, CACHE, 1, "cached"), (122, NEW_TOKEN, 1, "of the same chunk"), (300, MASKED, 1, "may not be seen"))
c.save("04_chunk_mask")
