"""The transformer block: a residual stream that passes through, and two branches that read it and add to it."""

from style import CACHE, GREY, INK, LIGHT, STREAM, Canvas

c = Canvas(720, 330, "A transformer block: attention and feed-forward, each on a normalised copy of the stream")
Y = 238  # the stream
c.line(24, Y, 700, Y, STREAM, 7)
c.path(f"M694 {Y - 11}L712 {Y}L694 {Y + 11}z", STREAM, STREAM)
c.text(28, Y + 32, "x (B, T, E)", anchor="start")
c.text(700, Y + 32, "x (B, T, E)", anchor="end")
c.text(360, Y + 60, "residual stream: nothing is ever replaced in it, each branch adds to it", 15, GREY)


def branch(x, norm, name, fill, back):
    """One branch: it leaves the stream at x, and comes back at `back`."""
    top, h = 118, 56
    c.circle(x, Y, 5, STREAM, STREAM)
    c.path(f"M{x} {Y}V{top + h / 2}H{x + 16}", arrow=True)
    for left, w, text, colour in ((x + 18, 72, norm, "#ffffff"), (x + 108, 104, name, fill), (x + 230, 52, "drop", "#ffffff")):
        c.box(left, top, w, h, text, colour, opacity=0.8)
        if text != "drop":
            c.arrow(left + w, top + h / 2, left + w + 17, top + h / 2)
    c.path(f"M{x + 282} {top + h / 2}H{back}V{Y - 14}", arrow=True)
    c.circle(back, Y, 13)
    c.line(back - 7, Y, back + 7, Y)
    c.line(back, Y - 7, back, Y + 7)


branch(40, "norm1", "att\nattention", LIGHT, 342)
branch(378, "norm2", "ff\nE to 4E to E", LIGHT, 680)
c.box(148, 28, 104, 42, "KV cache", CACHE, opacity=0.5)
c.line(200, 72, 200, 116, CACHE, 2, "5 4")
c.text(264, 46, "keys and values of", 15, GREY, "start")
c.text(264, 65, "the positions before", 15, GREY, "start")
c.text(486, 46, "one position at a time:", 15, GREY, "start")
c.text(486, 65, "no position sees another", 15, GREY, "start")
c.line(540, 74, 540, 114, INK, 1, "2 3")
c.save("05_block")
