"""Which query head asks which key/value head: multi-head, grouped-query and multi-query attention side by side."""

from style import CACHE, GREY, INK, KEY, QUERY, VALUE, Canvas

H, BOX, GAP = 4, 44, 8
WIDE = H * BOX + (H - 1) * GAP  # of the query heads

c = Canvas(720, 372, "Four query heads with four, two and one key/value heads")


def panel(x, name, K):
    """Four query heads over K heads of keys and values, the left edge at x."""
    G = H // K
    c.text(x + WIDE / 2, 36, name, 16, INK, weight="bold")
    c.text(x + WIDE / 2, 60, f"K = {K}, G = {G}", 15, GREY)
    c.rect(x - 10, 182, WIDE + 20, 128, CACHE, "none", rx=6, opacity=0.16)
    for g in range(K):
        left = x + g * G * (BOX + GAP)  # of the group
        centre = left + (G * BOX + (G - 1) * GAP) / 2
        for h in range(g * G, (g + 1) * G):
            c.line(x + h * (BOX + GAP) + BOX / 2, 118, centre, 192, GREY, 1.5)
        c.box(centre - BOX / 2, 192, BOX, 48, f"k{g}", KEY, opacity=0.45)
        c.box(centre - BOX / 2, 252, BOX, 48, f"v{g}", VALUE, opacity=0.45)
    for h in range(H):
        c.rect(x + h * (BOX + GAP), 80, BOX, 38, "#ffffff")
        c.box(x + h * (BOX + GAP), 80, BOX, 38, f"q{h}", QUERY, opacity=0.25)
    c.text(x + WIDE / 2, 334, f"{2 * K} of {2 * H} blocks in the cache", 15)


panel(22, "multi-head", 4)
panel(260, "grouped-query", 2)
panel(498, "multi-query", 1)
for x in (240, 478):
    c.line(x, 24, x, 338, "#d0d0d0", 1)
c.text(360, 360, "blue band: what is kept for every position, and read again for each new token", 14, GREY)
c.save("08_heads")
