"""Chapter 6: the positions that each call computes, without and with a cache."""

from style import CACHE, GREY, NEW_TOKEN, STREAM, Canvas

PROMPT, NEW, CELL, X = 6, 5, 30, 68
c = Canvas(542, "Positions computed per call, without and with a cache")

for y, title, cached in ((32, "Without a cache", False), (278, "With a cache", True)):
    c.text(16, y, title, anchor="start", bold=True)
    c.text(454, y, "computed", GREY, "end")
    sums = 0
    for i in range(NEW):
        top, read = y + 14 + i * 36, PROMPT + i
        computed = 1 if cached and i else read
        c.text(16, top + 19, f"call {i + 1}", GREY, "start")
        for j in range(read):
            fresh = j >= read - computed
            c.rect(X + j * CELL, top, CELL - 3, CELL - 3, STREAM if fresh else CACHE, 0.8 if fresh else 0.35, GREY)
        c.circle(X + read * CELL + 13.5, top + 13.5, 11, NEW_TOKEN, GREY)
        c.text(440, top + 19, str(computed), anchor="end")
        sums += computed
    c.total(y + 192, str(sums), "positions computed")
c.legend(522, (16, STREAM, 0.8, "computed"), (132, CACHE, 0.35, "from the cache"))
c.legend_disc(298, 522, NEW_TOKEN, "chosen by this call")
c.save("06_decode")
