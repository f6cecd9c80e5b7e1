"""The residual stream of one token through one block: two branches read a copy, and their answers are added."""

from style import GREEN, GREY, INK, ORANGE, SKY, STREAM, Canvas

canvas = Canvas(720, 300, "The residual stream with a block's two branches")
Y = 232  # the stream's height

canvas.line(30, Y, 682, Y, STREAM, width=7)
canvas.path(f"M 682 {Y - 12} L 704 {Y} L 682 {Y + 12} z", stroke=STREAM, fill=STREAM)
canvas.text(36, Y + 34, "x: one token's E numbers", anchor="start")
canvas.text(704, Y + 34, "the same E, to the next block", anchor="end")


def branch(x, name, what, fill):
    """A branch that leaves the stream at x, passes LayerNorm and `name`, and is added 240 px further on."""
    canvas.path(f"M {x} {Y - 4} L {x} 160", arrow=True)
    canvas.box(x - 52, 124, 104, 36, "LayerNorm", SKY)
    canvas.path(f"M {x} 124 L {x} 62 L {x + 45} 62", arrow=True)
    canvas.box(x + 45, 34, 150, 56, name, fill)
    canvas.path(f"M {x + 195} 62 L {x + 240} 62 L {x + 240} {Y - 17}", arrow=True)
    canvas.circle(x + 240, Y, 16)
    canvas.line(x + 232, Y, x + 248, Y, INK, 2)
    canvas.line(x + 240, Y - 8, x + 240, Y + 8, INK, 2)
    for i, line in enumerate(what):
        canvas.text(x + 120, 118 + 19 * i, line, size=14, fill=GREY)


branch(84, "attention", ["reads other tokens", "(chapter 3)"], ORANGE)
branch(414, "FeedForward", ["one token at a time", "(this chapter)"], GREEN)

canvas.save("02_residual_stream")
