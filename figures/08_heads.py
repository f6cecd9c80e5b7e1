"""Which query head asks which key/value head: multi-head, grouped-query and multi-query attention side by side."""

from style import CACHE, GREY, KEY, QUERY, RULE, VALUE, WHITE, Canvas

H, BOX, GAP = 4, 30, 4
WIDE = H * BOX + (H - 1) * GAP  # of the query heads

c = Canvas(396, "Four query heads with four, two and one key/value heads")


def panel(x, name, K):
    """Four query heads over K heads of keys and values, the left edge at x."""
    G, mid = H // K, x + WIDE / 2
    c.text(mid, 32, name, bold=True)
    c.text(mid, 56, f"K = {K}, G = {G}", GREY)
    c.rect(x - 5, 170, WIDE + 10, 114, CACHE, 0.2, "none", 6)
    for g in range(K):
        left = x + g * G * (BOX + GAP)  # of the group
        centre = left + (G * BOX + (G - 1) * GAP) / 2
        for h in range(g * G, (g + 1) * G):
            c.line(x + h * (BOX + GAP) + BOX / 2, 112, centre, 180, GREY)
        c.box(centre - BOX / 2, 180, BOX, 44, f"k{g}", KEY, 0.5)
        c.box(centre - BOX / 2, 231, BOX, 44, f"v{g}", VALUE, 0.5)
    for h in range(H):
        c.box(x + h * (BOX + GAP), 74, BOX, 38, f"q{h}", QUERY, 1, WHITE)
    c.text(mid, 308, f"{2 * K} of {2 * H} blocks\nin the cache")


panel(17, "multi-head", 4)
panel(169, "grouped-query", 2)
panel(321, "multi-query", 1)
for x in (159, 311):
    c.line(x, 20, x, 334, RULE, 1)
c.text(235, 358, "blue: what the cache keeps of every position, and\nwhat is read again for each new token")
c.save("08_heads")
