"""Chapter 6: the positions that each call computes, without and with a cache."""

from style import CACHE, GREY, INK, NEW_TOKEN, STREAM, Canvas

PROMPT, NEW, CELL = 6, 5, 24
canvas = Canvas(720, 284, "Positions computed per call, without and with a cache")


def panel(x, title, cached):
    """One staircase: row i is the call that chooses the i-th new token."""
    canvas.text(x + 160, 32, title, weight="bold")
    total = 0
    for i in range(NEW):
        y = 52 + i * (CELL + 6)
        canvas.text(x, y + 17, f"call {i + 1}", 14, GREY, anchor="start")
        read = PROMPT + i
        computed = read if not cached or i == 0 else 1
        total += computed
        for j in range(read):
            fresh = j >= read - computed
            canvas.rect(x + 50 + j * CELL, y, CELL - 2, CELL - 2, STREAM if fresh else CACHE, stroke="none",
                        opacity=1 if fresh else 0.3)
        canvas.circle(x + 50 + read * CELL + CELL / 2 - 1, y + CELL / 2 - 1, 9, "#ffffff", NEW_TOKEN)
        canvas.text(x + 338, y + 17, str(computed), 15, INK, anchor="end")
    canvas.line(x + 308, 206, x + 340, 206, GREY)
    canvas.text(x + 338, 225, str(total), 15, INK, anchor="end", weight="bold")
    canvas.text(x + 300, 225, "positions computed", 14, GREY, anchor="end")


panel(16, "without a cache", False)
panel(366, "with a cache", True)
for x, fill, opacity, label in ((16, STREAM, 1, "computed"), (130, CACHE, 0.3, "in the cache")):
    canvas.rect(x, 250, 16, 16, fill, stroke="none", opacity=opacity)
    canvas.text(x + 24, 263, label, 14, anchor="start")
canvas.circle(272, 258, 8, "#ffffff", NEW_TOKEN)
canvas.text(288, 263, "chosen by this call", 14, anchor="start")
canvas.save("06_decode")
