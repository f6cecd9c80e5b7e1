"""A causal mask, a window of three, and what three layers of such windows see together."""

from style import BLUE, CACHE, GREY, INK, LIGHT, MASKED, QUERY, Canvas

N, W, CELL = 8, 3, 24

c = Canvas(720, 330, "A causal mask, a sliding window of three, and the receptive field of three layers")

for x, title, seen in ((36, "causal", lambda i, j: j <= i), (262, "window, W = 3", lambda i, j: j <= i < j + W)):
    c.text(x + N * CELL / 2, 34, title, 16, INK, weight="bold")
    c.text(x + N * CELL / 2, 58, "keys 0 to 7", 14, GREY)
    c.grid(x, 70, N, N, CELL, lambda i, j: CACHE if seen(i, j) else MASKED)
    c.text(x - 14, 70 + N * CELL / 2, "queries", 14, QUERY)
    c.parts[-1] = c.parts[-1].replace("<text", f'<text transform="rotate(-90 {x - 14:g} {70 + N * CELL / 2:g})"')

X, STEP, TOP, HIGH = 500, 27, 84, 56
c.text(X + 3.5 * STEP, 34, "three layers, W = 3", 16, INK, weight="bold")
c.text(X + 3.5 * STEP, 58, "positions 0 to 7", 14, GREY)
first = [7, 5, 3, 1]  # at each level, the first position that the last token can know of
for level in range(3):
    for i in range(first[level], N):
        for j in range(max(0, i - W + 1), i + 1):
            c.line(X + i * STEP, TOP + level * HIGH, X + j * STEP, TOP + (level + 1) * HIGH, BLUE, 1.2)
for level in range(4):
    for i in range(N):
        reached = i >= first[level]
        c.circle(X + i * STEP, TOP + level * HIGH, 8, CACHE if reached else LIGHT, INK if reached else "#b0b0b0")
    c.text(X - 16, TOP + level * HIGH + 5, "x" if level == 3 else str(3 - level), 14, GREY, "end")
c.text(X - 16, TOP - 16, "layer", 14, GREY, "end")

for x, colour, text in ((36, CACHE, "seen"), (118, MASKED, "not seen")):
    c.rect(x, 290, 16, 16, colour, "#ffffff")
    c.text(x + 24, 303, text, 14, INK, "start")
c.text(X + 3.5 * STEP, 303, "reach: L (W - 1) = 6 before the last", 14, INK)
c.save("10_window")
