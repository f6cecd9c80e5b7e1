"""An induction head: layer 0 tells each token what came before it, layer 1 looks for that and copies."""

from style import GREY, KEY, LIGHT, MARGIN, NEW_TOKEN, QUERY, VALUE, WHITE, Canvas

TOKENS = "ABCDAB"
STEP, WIDE = 66, 62
c = Canvas(404, "Two heads that continue a repeated sequence")


def middle(i):
    """The x of the middle of column i."""
    return MARGIN + STEP * i + WIDE / 2


for i, token in enumerate(TOKENS):
    c.box(middle(i) - 24, 332, 48, 36, token, NEW_TOKEN if i == 5 else LIGHT)
    if i:
        c.path(f"M{middle(i):g} 328 Q{middle(i) - STEP / 2:g} 282 {middle(i - 1) + 8:g} 328", QUERY, arrow=True)
    c.box(MARGIN + STEP * i, 210, WIDE, 38, f"after {TOKENS[i - 1]}" if i else "first", KEY if i == 2 else WHITE)
c.text(MARGIN, 391, "the text so far", GREY, "start")
c.text(MARGIN, 276, "layer 0: what came before me?", anchor="start", bold=True)
c.path(f"M{middle(5):g} 206 Q{middle(4) - 40:g} 106 {middle(2) + 14:g} 204", QUERY, width=2.5, arrow=True)
c.text(MARGIN, 36, "layer 1: who comes after a B?", anchor="start", bold=True)
c.text(MARGIN, 60, "The last B asks, and C answers.", GREY, "start")
c.path(f"M{middle(2):g} 206 L{middle(2):g} 124 L402 124", VALUE, width=2.5, arrow=True)
c.box(406, 102, 46, 44, "C", VALUE)
c.text(429, 92, "next", GREY)
c.save("14_induction")
