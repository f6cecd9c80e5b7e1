"""Chapter 6: what a full context forgets, and what is computed again."""

from style import CACHE, GREY, INK, MASKED, NEW_TOKEN, STREAM, Canvas

C, CELL, STEPS = 8, 24, 4
canvas = Canvas(720, 262, "A full context: sliding by one, and dropping the older half")


def row(x, y, first, computed, total):
    """`first` tokens are forgotten, the last `computed` of `total` computed, those between are cached."""
    for j in range(total):
        fresh, gone = j >= total - computed, j < first
        fill, opacity = (STREAM, 1) if fresh else (MASKED, 0.7) if gone else (CACHE, 0.3)
        canvas.rect(x + j * CELL, y, CELL - 2, CELL - 2, fill, stroke="none", opacity=opacity)
    canvas.circle(x + total * CELL + CELL / 2 - 1, y + CELL / 2 - 1, 9, "#ffffff", NEW_TOKEN)
    canvas.text(x + 334, y + 17, str(computed), 15, INK, anchor="end")


for x, title in ((16, "sliding by one"), (374, "dropping the older half")):
    canvas.text(x + 150, 32, title, weight="bold")
    total_computed = 0
    for step in range(STEPS):
        total = C + 1 + step
        if x < 300:
            first, computed = step + 1, C
        else:
            first, computed = total - (C // 2) - step, C // 2 if step == 0 else 1
        row(x, 56 + step * (CELL + 8), first, computed, total)
        total_computed += computed
    canvas.line(x + 304, 186, x + 336, 186, GREY)
    canvas.text(x + 334, 205, str(total_computed), 15, INK, anchor="end", weight="bold")
    canvas.text(x + 296, 205, "positions computed", 14, GREY, anchor="end")
for x, fill, opacity, label in ((16, STREAM, 1, "computed"), (130, CACHE, 0.3, "in the cache"),
                                (264, MASKED, 0.7, "forgotten")):
    canvas.rect(x, 228, 16, 16, fill, stroke="none", opacity=opacity)
    canvas.text(x + 24, 241, label, 14, anchor="start")
canvas.circle(386, 236, 8, "#ffffff", NEW_TOKEN)
canvas.text(402, 241, "chosen by this call", 14, anchor="start")
canvas.save("06_context")
