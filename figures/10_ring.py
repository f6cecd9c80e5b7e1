"""A ring of four slots while ten tokens are read."""

import math

from style import CACHE, GREY, NEW_TOKEN, Canvas

W, X, CELL, HIGH = 4, 138, 46, 34
STEPS = (4, 5, 6, 7, 10)  # tokens read

c = Canvas(540, "A ring buffer of four slots: position p lies in slot p mod 4")


def held(slot, n):
    """The position that lies in a slot when n tokens have been read."""
    return max(p for p in range(n) if p % W == slot)


# Above: the ring when six tokens have been read; slot 0 is at the top, and they are filled clockwise.
MX, MY, FAR, NEAR = 112, 148, 96, 44
for slot in range(W):
    a, b = (math.radians(-135 + 90 * (slot + side)) for side in (0, 1))
    points = [(MX + r * math.cos(t), MY + r * math.sin(t)) for r, t in ((NEAR, a), (FAR, a), (FAR, b), (NEAR, b))]
    p0, p1, p2, p3 = (f"{x:.1f} {y:.1f}" for x, y in points)
    colour = NEW_TOKEN if held(slot, 6) == 5 else CACHE
    c.parts.append(f'<path d="M{p0}L{p1}A{FAR} {FAR} 0 0 1 {p2}L{p3}A{NEAR} {NEAR} 0 0 0 {p0}z" fill="{colour}" '
                   f'fill-opacity="0.45" stroke="{GREY}"/>')
    t = math.radians(-90 + 90 * slot)
    c.text(MX + 70 * math.cos(t), MY + 70 * math.sin(t) + 5.5, str(held(slot, 6)), bold=True)
c.text(MX, MY - 4, "p mod 4\n= slot")
c.arrow(226, 226, 176, 212)
c.text(222, 62, "After six tokens. The slots\nare filled clockwise: slot 0\nis above, slot 1 at the right.", anchor="start")
c.text(234, 212, "Token 6 goes into slot 2\nand replaces position 2,\nwhich has just left the\nwindow: no shifting.",
       anchor="start")

# Below: the slots after several tokens.
for slot in range(W):
    c.text(X + slot * CELL + CELL / 2 - 2, 312, f"slot {slot}", GREY)
for row, n in enumerate(STEPS):
    y = 322 + row * 36
    c.text(X - 10, y + 22, f"after {n} tokens", anchor="end")
    for slot in range(W):
        p = held(slot, n)
        c.box(X + slot * CELL, y, CELL - 4, HIGH - 3, str(p), NEW_TOKEN if p == n - 1 else CACHE, 0.45)
    c.text(X + W * CELL + 10, y + 22, f"sees {n - W} to {n - 1}", anchor="start")
c.legend(526, (X, NEW_TOKEN, 0.45, "newest"), (X + 110, CACHE, 0.45, "written before"))
c.save("10_ring")
