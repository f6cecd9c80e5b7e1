"""Data parallel and fully sharded: what two ranks hold, and what travels between them."""

from style import GREY, INK, LEARNED, LIGHT, RULE, Canvas

W, H, STEP = 128, 50, 66  # px of a full box, and from one row to the next
RANKS, MID = (16, 326), 235

c = Canvas(742, "Two ranks under DDP hold everything twice and all-reduce gradients; under FSDP each holds a half")


def panel(y, title, sharded, rows, says):
    c.text(MID, y, title, bold=True)
    for rank, x in enumerate(RANKS):
        c.text(x + W / 2, y + 26, f"rank {rank}")
        c.box(x, y + 38, W, 30, "its own windows")
    for i, (name, fill, opacity, travels, note) in enumerate(rows):
        top = y + 82 + i * STEP
        for rank, x in enumerate(RANKS):
            if sharded:
                other = x + (1 - rank) * W / 2
                c.rect(other, top, W / 2, H, stroke=RULE, dash="4 3")
                c.box(x + rank * W / 2, top, W / 2, H, "half", fill, opacity)
                if note == "borrowed":
                    c.text(other + W / 4, top + H / 2 + 5.5, "lent", GREY)
            else:
                c.box(x, top, W, H, "all", fill, opacity)
        c.text(MID, top + 14, name, bold=True)
        if travels:
            c.line(RANKS[0] + W + 10, top + 25, RANKS[1] - 10, top + 25, INK, 2.5)
            c.arrow(MID, top + 25, RANKS[0] + W + 6, top + 25, INK, 2.5)
            c.arrow(MID, top + 25, RANKS[1] - 6, top + 25, INK, 2.5)
            c.text(MID, top + 46, travels)
        else:
            c.text(MID, top + 38, note, GREY)
    c.text(MID, y + 82 + 3 * STEP + 10, says)


panel(32, "Data parallel (DDP)", False,
      (("weights", LEARNED, 0.6, "", "the same on both"), ("gradients", GREY, 0.35, "all-reduce", ""),
       ("moments", LIGHT, 1, "", "the same on both")),
      "Both hold everything. After the backward pass\nthe gradients are averaged.")
c.line(16, 370, 454, 370, RULE, 1)
panel(402, "In parts (FSDP)", True,
      (("weights", LEARNED, 0.6, "all-gather", "borrowed"), ("gradients", GREY, 0.35, "reduce-scatter", ""),
       ("moments", LIGHT, 1, "", "each its half")),
      "Each holds a half. The other half of a block's\nweights is lent for as long as the block computes.")
c.save("13_ddp_fsdp")
