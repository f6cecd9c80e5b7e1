"""Which of GPT-2's tensors goes where: its names on the left, ours on the right, T where a matrix is transposed."""

from style import GREY, INK, LIGHT, RULE, VERMILION, VOCAB, WHITE, Canvas

c = Canvas(658, "GPT-2's names of its weights, and where each of them goes in our model")
LEFT, RIGHT, W, H, STEP = 26, 306, 124, 32, 44  # the columns' left edges; a box; from one row to the next
MID = (LEFT + W + RIGHT) / 2


def row(y, theirs, ours, fill=WHITE, shapes=None):
    """Two boxes and their line; with shapes, of their matrix and of ours, the line has a T."""
    c.box(LEFT, y, W, H, theirs, fill, 0.5, mono=True)
    c.box(RIGHT, y, W, H, ours, fill, 0.5, mono=True)
    if shapes:
        c.arrow(LEFT + W, y + H / 2, RIGHT - 2, y + H / 2, VERMILION, 2.5)
        for x, shape in zip((MID - 44, MID + 44), shapes, strict=True):
            c.text(x, y + H / 2 - 9, shape, GREY)
        c.circle(MID, y + H / 2, 12, WHITE, VERMILION, 2)
        c.text(MID, y + H / 2 + 5.5, "T", bold=True)
    else:
        c.arrow(LEFT + W, y + H / 2, RIGHT - 2, y + H / 2)


c.text(LEFT + W / 2, 32, "GPT-2's file", bold=True)
c.text(RIGHT + W / 2, 32, "our model", bold=True)
row(48, "wte", "tok_emb", VOCAB)
row(48 + STEP, "wpe", "pos_emb", LIGHT)

TOP = 144
c.rect(12, TOP, 432, 346, "none", stroke=GREY, rx=8)
c.text(LEFT, TOP + 24, "h.i", anchor="start", mono=True)
c.text(MID, TOP + 24, "for each of L layers", GREY)
c.text(RIGHT + W, TOP + 24, "blocks.i", anchor="end", mono=True)
y = TOP + 38
row(y, "ln_1", "norm1")
row(y + STEP, "attn.c_attn", "att.qkv", LIGHT, ("(E, 3E)", "(3E, E)"))
row(y + 2 * STEP, "attn.c_proj", "att.out_proj", LIGHT, ("(E, E)", "(E, E)"))
masks = y + 3 * STEP
c.box(LEFT, masks, W, H, "attn.bias", mono=True)
c.line(LEFT + W, masks + H / 2, LEFT + W + 40, masks + H / 2, GREY, dash="5 4")
c.line(LEFT + W + 42, masks + 6, LEFT + W + 42, masks + H - 6, INK, 3)
c.text(LEFT + W + 56, masks + 21.5, "masks: not loaded", anchor="start")
row(y + 4 * STEP, "ln_2", "norm2")
row(y + 5 * STEP, "mlp.c_fc", "ff.expand", LIGHT, ("(E, 4E)", "(4E, E)"))
row(y + 6 * STEP, "mlp.c_proj", "ff.out_proj", LIGHT, ("(4E, E)", "(E, 4E)"))

y = TOP + 358
row(y, "ln_f", "final_norm")
c.box(LEFT, y + STEP, W, H, "lm_head", VOCAB, 0.5, mono=True)
c.path(f"M{LEFT + W} {y + STEP + H / 2}H457V64H{RIGHT + W + 2}", arrow=True)
c.text(LEFT + W + 20, y + STEP + H / 2 + 22, "tied: tok_emb once more, not a copy", anchor="start")
c.text(LEFT, 640, "T: the matrix is transposed on the way", anchor="start")
c.line(12, 616, 458, 616, RULE, 1)
c.save("11_weight_map")
