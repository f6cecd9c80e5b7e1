"""Data parallel and fully sharded: what two ranks hold, and what travels between them."""

from style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, Canvas

ROWS = (("weights", BLUE), ("gradients", VERMILION), ("moments", PURPLE))
W, H, TOP = 116, 44, 106  # px of a full box, and where the first begins

c = Canvas(820, 330, "Two ranks under DDP hold everything twice and all-reduce gradients; under FSDP each holds a half")
for x0, title in ((24, "data parallel (DDP)"), (428, "in parts (FSDP)")):
    parts = title.startswith("in")
    c.text(x0 + 184, 34, title, 18, INK, weight="bold")
    for rank, x in ((0, x0), (1, x0 + 252)):
        c.text(x + W / 2, 62, f"rank {rank}", 16)
        c.box(x, 74, W, 24, "its own windows", GREEN, 13)
        for i, (name, colour) in enumerate(ROWS):
            y = TOP + i * (H + 16)
            c.rect(x, y, W, H, "#ffffff", GREY if parts else INK)
            if parts:
                c.rect(x + rank * W / 2, y, W / 2, H, colour, INK, opacity=0.35)
            else:
                c.rect(x, y, W, H, colour, INK, opacity=0.35)
            c.text(x + W / 2, y + H / 2 + 5, name, 15)
    left, right = x0 + W + 8, x0 + 252 - 8
    y = TOP + H + 16 + H / 2
    if parts:
        c.arrow(left, TOP + H / 2, right, TOP + H / 2, ORANGE, 2.5)
        c.arrow(right, TOP + H / 2, left, TOP + H / 2, ORANGE, 2.5)
        c.text((left + right) / 2, TOP + H / 2 - 8, "all-gather", 14)
        c.arrow(left, y, right, y, ORANGE, 2.5)
        c.arrow(right, y, left, y, ORANGE, 2.5)
        c.text((left + right) / 2, y - 8, "reduce-scatter", 14)
    else:
        c.arrow(left, y, right, y, ORANGE, 2.5)
        c.arrow(right, y, left, y, ORANGE, 2.5)
        c.text((left + right) / 2, y - 8, "all-reduce", 14)
    c.text(x0 + 184, 306, "each holds a half, and borrows the rest" if parts else "both hold everything", 15, GREY)
c.line(410, 24, 410, 310, "#d0d0d0")
c.save("13_ddp_fsdp")
