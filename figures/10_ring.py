"""A ring of four slots while ten tokens are read."""

from style import CACHE, GREY, INK, NEW_TOKEN, Canvas

W, CELL, HIGH = 4, 52, 34
STEPS = (4, 5, 6, 7, 10)  # tokens read

c = Canvas(720, 330, "A ring buffer of four slots: position p lies in slot p mod 4")

c.text(24, 34, "W = 4: position p lies in slot p mod 4", 16, INK, "start", "bold")
for slot in range(W):
    c.text(236 + slot * CELL + CELL / 2, 66, f"slot {slot}", 14, GREY)
for row, n in enumerate(STEPS):
    y = 76 + row * 44
    c.text(218, y + 22, f"after {n} tokens", 15, INK, "end")
    for slot in range(W):
        p = max(p for p in range(n) if p % W == slot)
        x = 236 + slot * CELL
        new = p == n - 1 and n > 4
        c.rect(x, y, CELL - 4, HIGH, "#ffffff", INK)
        c.rect(x, y, CELL - 4, HIGH, NEW_TOKEN if new else CACHE, INK, opacity=0.4 if new else 0.45)
        c.text(x + (CELL - 4) / 2, y + 22, str(p), 15)
    seen = f"the window of token {n - 1}: {n - W} to {n - 1}"
    c.text(462, y + 22, seen, 15, INK, "start")
for x, colour, text in ((236, NEW_TOKEN, "just written"), (384, CACHE, "written before")):
    c.rect(x, 301, 16, 16, "#ffffff", INK)
    c.rect(x, 301, 16, 16, colour, INK, opacity=0.45)
    c.text(x + 24, 314, text, 14, INK, "start")
c.save("10_ring")
