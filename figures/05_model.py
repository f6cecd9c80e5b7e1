"""The whole model, from token ids to logits, with the shape after each step."""

from style import GREY, INK, LIGHT, STREAM, YELLOW, Canvas

c = Canvas(720, 640, "GPT-2 from token ids to logits, with shapes")
X, W = 236, 240  # the column of boxes
MID = X + W / 2


def step(y, text, fill, shape, h=44, note=None):
    """A box, the shape that leaves it, and the arrow to the next."""
    c.box(X, y, W, h, text, fill, opacity=0.6)
    c.text(X + W + 28, y + h / 2 + 5, shape, anchor="start", mono=True, size=15)
    if note:
        c.text(X + W + 28, y + h / 2 + 25, note, 14, GREY, "start")


c.text(MID, 34, "“Every effort moves you”", 17)
c.arrow(MID, 44, MID, 64)
step(66, "token ids", "#ffffff", "(B, T)", note="6109 3626 6100 345")
c.arrow(MID, 110, MID, 130)
step(132, "tok_emb: one row a token", YELLOW, "(B, T, E)", note="table (V, E)")
c.box(24, 210, 168, 44, "pos_emb: one row\na position", YELLOW, size=14, opacity=0.6)
c.text(108, 274, "table (context, E)", 14, GREY)
c.arrow(MID, 176, MID, 218)
c.circle(MID, 232, 13)
c.line(MID - 7, 232, MID + 7, 232)
c.line(MID, 225, MID, 239)
c.arrow(192, 232, MID - 14, 232)
c.text(X + W + 28, 237, "(B, T, E)", anchor="start", mono=True, size=15)
c.text(X + W + 28, 257, "what plus where, then dropout", 14, GREY, "start")
c.line(MID, 246, MID, 292, STREAM, 5)
step(294, "block 0", LIGHT, "(B, T, E)", 40)
c.line(MID, 334, MID, 350, STREAM, 5)
step(350, "block 1", LIGHT, "(B, T, E)", 40)
c.line(MID, 390, MID, 440, STREAM, 5)
for i in range(3):
    c.circle(MID + 18, 402 + 13 * i, 2, INK)
step(440, "block L - 1", LIGHT, "(B, T, E)", 40)
c.line(MID, 480, MID, 504, STREAM, 5)
step(506, "final_norm", "#ffffff", "(B, T, E)", 40)
c.arrow(MID, 546, MID, 568)
step(570, "head: tok_emb again", YELLOW, "(B, T, V)", note="logits: a score for each token")
c.path("M236 154H208V192H12V592H234", INK, arrow=True, width=2)
c.text(22, 440, "the same table:", 15, INK, "start")
c.text(22, 460, "weights are tied", 15, INK, "start")
c.text(MID - 16, 275, "residual stream", 15, GREY, "end")
c.save("05_model")
