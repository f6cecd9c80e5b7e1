"""The whole model, from token ids to logits, with the shape after each step."""

from style import GREY, INK, LIGHT, STREAM, VOCAB, WHITE, Canvas

c = Canvas(680, "GPT-2 from token ids to logits, with shapes")
X, W = 50, 250  # the column of boxes
MID, SHAPE = X + W / 2, X + W + 16


def step(y, text, fill, shape, opacity=0.5, h=42, note=None):
    """A box, the shape that leaves it, and what there is to say of it."""
    c.box(X, y, W, h, text, fill, opacity)
    c.text(SHAPE, y + h / 2 + 5.5, shape, anchor="start", mono=True)
    if note:
        c.text(SHAPE, y + h / 2 + 26, note, GREY, "start")


c.text(MID, 32, "“Every effort moves you”")
c.arrow(MID, 42, MID, 60)
step(62, "token ids", WHITE, "(B, T)", note="6109 3626 …")
c.arrow(112, 104, 112, 130)
c.box(X, 132, 124, 62, "tok_emb:\none row a token", VOCAB, 0.5)
c.box(X + 130, 132, 130, 62, "pos_emb: one\nrow a position", LIGHT, 1)
c.text(SHAPE + 8, 158, "tables (V, E),", GREY, "start")
c.text(SHAPE + 8, 178, "(context, E)", GREY, "start")
c.path(f"M112 194V230H{MID - 15}", arrow=True)
c.path(f"M246 194V230H{MID + 15}", arrow=True)
c.text(SHAPE, 236, "(B, T, E)", anchor="start", mono=True)
c.text(SHAPE, 257, "then dropout", GREY, "start")
c.line(MID, 243, MID, 290, STREAM, 6)
c.plus(MID, 230)
c.text(MID + 14, 274, "residual stream", GREY, "start")
step(290, "block 0", LIGHT, "(B, T, E)", 1)
c.line(MID, 332, MID, 352, STREAM, 6)
step(352, "block 1", LIGHT, "(B, T, E)", 1)
c.line(MID, 394, MID, 452, STREAM, 6)
for i in range(3):
    c.circle(MID + 20, 410 + 13 * i, 2, INK)
step(452, "block L − 1", LIGHT, "(B, T, E)", 1)
c.line(MID, 494, MID, 520, STREAM, 6)
step(520, "final_norm", WHITE, "(B, T, E)")
c.arrow(MID, 562, MID, 588)
step(590, "head: tok_emb again", VOCAB, "(B, T, V)", note="logits: a score\nfor each token")
c.path(f"M{X} 163H26V611H{X - 2}", width=2, arrow=True)
c.text(43, 400, "the same table: tied weights", turned=True)
c.save("05_model")
