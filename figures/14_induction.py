"""An induction head: layer 0 tells each token what came before it, layer 1 looks for that and copies."""

from style import BLUE, GREY, INK, KEY, LIGHT, QUERY, VALUE, VERMILION, Canvas

TOKENS = "ABCDAB"
LEFT, STEP, BOX = 18, 66, 48
c = Canvas(480, 404, "Two heads that continue a repeated sequence")


def middle(i):
    """The x of the middle of column i."""
    return LEFT + STEP * i + BOX / 2


for i, token in enumerate(TOKENS):
    c.box(LEFT + STEP * i, 338, BOX, 40, token, VERMILION if i == 5 else LIGHT, 20, opacity=0.45 if i == 5 else 1)
    if i:
        c.path(f"M{middle(i):g} 332 Q{middle(i) - STEP / 2:g} 284 {middle(i - 1) + 8:g} 332", BLUE, arrow=True)
    said = f"after {TOKENS[i - 1]}" if i else "first"
    c.box(LEFT + STEP * i - 6, 212, BOX + 12, 38, said, KEY if i == 2 else "#ffffff", 15, opacity=0.45)
c.text(LEFT, 397, "the text so far", 16, GREY, "start")
c.text(LEFT, 280, "layer 0: what came before me?", 17, INK, "start", weight="bold")
c.path(f"M{middle(5):g} 208 Q{middle(4) - 40:g} 108 {middle(2) + 14:g} 206", QUERY, width=2.5, arrow=True)
c.text(LEFT, 48, "layer 1: who comes after a B?", 17, INK, "start", weight="bold")
c.text(LEFT, 72, "The last B asks, and C answers.", 16, GREY, "start")
c.path(f"M{middle(2):g} 206 L{middle(2):g} 128 L{LEFT + STEP * 6 - 4:g} 128", VALUE, width=2.5, arrow=True)
c.box(LEFT + STEP * 6, 104, BOX, 46, "C", VALUE, 22)
c.text(LEFT + STEP * 6 + BOX / 2, 92, "next", 16, GREY)
c.save("14_induction")
