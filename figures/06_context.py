"""Chapter 6: what a full context forgets, and what is computed again."""

from style import CACHE, GREY, MASKED, NEW_TOKEN, RULE, STREAM, Canvas

C, CELL, STEPS = 8, 30, 4
c = Canvas(500, "A full context: sliding by one, and dropping the older half")

for y, title, slide in ((32, "Sliding by one", True), (242, "Dropping the older half", False)):
    c.text(16, y, title, anchor="start", bold=True)
    c.text(454, y, "computed", GREY, "end")
    sums = 0
    for step in range(STEPS):
        top, total = y + 14 + step * 36, C + 1 + step
        gone = step + 1 if slide else total - C // 2 - step
        computed = C if slide else C // 2 if step == 0 else 1
        for j in range(total):
            fresh, forgotten = j >= total - computed, j < gone
            c.rect(16 + j * CELL, top, CELL - 3, CELL - 3, STREAM if fresh else MASKED if forgotten else CACHE,
                   0.8 if fresh else 0.7 if forgotten else 0.35, RULE if forgotten else GREY)
        c.circle(16 + total * CELL + 13.5, top + 13.5, 11, NEW_TOKEN, GREY)
        c.text(440, top + 19, str(computed), anchor="end")
        sums += computed
    c.total(y + 156, str(sums), "positions computed")
c.legend(452, (16, STREAM, 0.8, "computed in this step"), (230, CACHE, 0.35, "read from the cache"))
c.legend(480, (16, MASKED, 0.7, "forgotten"))
c.legend_disc(238, 480, NEW_TOKEN, "chosen by this step")
c.save("06_context")
