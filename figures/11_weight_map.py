"""Which of GPT-2's tensors goes where: its names on the left, ours on the right, T where a matrix is transposed."""

from style import GREY, INK, LIGHT, VERMILION, YELLOW, Canvas

c = Canvas(720, 620, "GPT-2's names of its weights, and where each of them goes in our model")
LEFT, RIGHT, W, H, STEP = 52, 488, 160, 32, 44  # the columns' left edges; a box; from one row to the next
MID = (LEFT + W + RIGHT) / 2


def name(x, y, text, fill):
    c.rect(x, y, W, H, fill, opacity=0.6)
    c.text(x + W / 2, y + 21, text, 15, mono=True)


def row(y, theirs, ours, fill, shapes=None):
    """Two boxes and their line; with shapes, of their matrix and of ours, the line has a T."""
    name(LEFT, y, theirs, fill)
    name(RIGHT, y, ours, fill)
    c.arrow(LEFT + W, y + H / 2, RIGHT - 2, y + H / 2, VERMILION if shapes else INK, 2 if shapes else 1.5)
    if shapes:
        for x, shape in zip((LEFT + W + 60, RIGHT - 64), shapes, strict=True):
            c.text(x, y + H / 2 - 5, shape, 14, GREY)
        c.circle(MID, y + H / 2, 12, "#ffffff", VERMILION)
        c.text(MID, y + H / 2 + 5, "T", 15, weight="bold")


c.text(LEFT + W / 2, 34, "GPT-2's file", 17, weight="bold")
c.text(RIGHT + W / 2, 34, "our model", 17, weight="bold")
row(50, "wte", "tok_emb", YELLOW)
row(50 + STEP, "wpe", "pos_emb", YELLOW)

TOP = 146
c.rect(24, TOP, 648, 340, "#ffffff", GREY, rx=8)
c.text(LEFT, TOP + 21, "h.i", 15, GREY, "start", mono=True)
c.text(MID, TOP + 21, "for each of L layers", 15, GREY)
c.text(RIGHT + W, TOP + 21, "blocks.i", 15, GREY, "end", mono=True)
y = TOP + 32
row(y, "ln_1", "norm1", "#ffffff")
row(y + STEP, "attn.c_attn", "att.qkv", LIGHT, ("(E, 3E)", "(3E, E)"))
row(y + 2 * STEP, "attn.c_proj", "att.out_proj", LIGHT, ("(E, E)", "(E, E)"))
masks = y + 3 * STEP
name(LEFT, masks, "attn.bias", "#ffffff")
c.line(LEFT + W, masks + H / 2, LEFT + W + 56, masks + H / 2, GREY, dash="5 4")
c.line(LEFT + W + 58, masks + 8, LEFT + W + 58, masks + H - 8, GREY, 2)
c.text(LEFT + W + 70, masks + 21, "masks: not loaded", 15, GREY, "start")
row(y + 4 * STEP, "ln_2", "norm2", "#ffffff")
row(y + 5 * STEP, "mlp.c_fc", "ff.expand", LIGHT, ("(E, 4E)", "(4E, E)"))
row(y + 6 * STEP, "mlp.c_proj", "ff.out_proj", LIGHT, ("(4E, E)", "(E, 4E)"))

y = TOP + 340 + 12
row(y, "ln_f", "final_norm", "#ffffff")
name(LEFT, y + STEP, "lm_head", YELLOW)
c.path(f"M{LEFT + W} {y + STEP + H / 2}H696V66H{RIGHT + W + 2}", arrow=True)
c.text(MID, y + STEP + H / 2 - 6, "tied: tok_emb again", 15, GREY)
c.text(MID, 602, "T: transposed on the way", 15)
c.save("11_weight_map")
