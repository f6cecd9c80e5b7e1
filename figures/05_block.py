"""The transformer block: a residual stream that passes through, and two branches that read it and add to it."""

from style import CACHE, GREY, LIGHT, STREAM, Canvas

c = Canvas(700, "A transformer block: attention and feed-forward, each on a normalised copy of the stream")
X, LEFT, W = 56, 120, 130  # the stream; the branches' boxes
MID = LEFT + W / 2

c.stream(X, 46, 646)
c.text(16, 32, "x (B, T, E)", anchor="start")
c.text(16, 668, "x (B, T, E): nothing is ever replaced in the\nstream, each branch adds to it", anchor="start")


def branch(y, norm, name):
    """One branch: it leaves the stream at y, and comes back 246 px further down."""
    c.circle(X, y, 5, STREAM, STREAM)
    c.arrow(X, y, LEFT - 2, y)
    c.box(LEFT, y - 18, W, 36, norm)
    c.arrow(MID, y + 18, MID, y + 46)
    c.box(LEFT, y + 48, W, 76, name, LIGHT, 1)
    c.arrow(MID, y + 124, MID, y + 152)
    c.box(LEFT, y + 154, W, 36, "drop")
    c.path(f"M{MID} {y + 190}V{y + 226}H{X + 16}", arrow=True)
    c.plus(X, y + 226)
    c.text(MID + 12, y + 220, "added", GREY, "start")


branch(86, "norm1", "att\nattention")
branch(368, "norm2", "ff\nE → 4E → E")
c.box(300, 134, 120, 76, "KV cache", CACHE, 0.5)
c.line(LEFT + W, 172, 300, 172, CACHE, 2.5, "5 4")
c.text(268, 236, "keys and values of the\npositions before", GREY, "start")
c.text(268, 448, "one position at a time:\nno position sees\nanother", GREY, "start")
c.save("05_block")
