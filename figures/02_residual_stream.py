"""The residual stream of one token through one block: two branches read a copy, and their answers are added."""

from style import GREY, LIGHT, STREAM, Canvas

c = Canvas(560, "The residual stream with a block's two branches")
X, MID = 70, 244  # the stream, and the middle of the branches' boxes

c.stream(X, 46, 522)
c.text(16, 32, "x: one token's E numbers", anchor="start")
c.text(16, 544, "the same E numbers, to the next block", anchor="start")


def branch(y, name, says):
    """A branch that leaves the stream at y, passes LayerNorm and `name`, and is added 184 px further down."""
    c.circle(X, y, 5, STREAM, STREAM)
    c.arrow(X, y, MID - 72, y)
    c.box(MID - 70, y - 20, 140, 40, "LayerNorm")
    c.arrow(MID, y + 20, MID, y + 56)
    c.box(MID - 70, y + 58, 140, 60, name, LIGHT, 1)
    c.path(f"M{MID} {y + 118}V{y + 164}H{X + 16}", arrow=True)
    c.text(150, y + 156, "added", GREY)
    c.plus(X, y + 164)
    c.text(MID + 84, y - 2, "a normalised\ncopy is read", GREY, "start")
    c.text(MID + 84, y + 84, says, GREY, "start")


branch(92, "attention", "reads other\ntokens\n(chapter 3)")
branch(302, "FeedForward", "one token\nat a time\n(this chapter)")
c.save("02_residual_stream")
