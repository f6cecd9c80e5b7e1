"""A causal mask, the mask of a sliding window, and how far three layers of windows reach."""

from style import CACHE, GREY, LIGHT, MASKED, NEW_TOKEN, QUERY, RULE, Canvas

N, W, CELL = 8, 3, 23

c = Canvas(640, "A causal mask, a sliding window of three, and the receptive field of three layers")

for x, title, seen in ((48, "causal", lambda i, j: j <= i), (268, "window, W = 3", lambda i, j: j <= i < j + W)):
    c.text(x + N * CELL / 2, 32, title, bold=True)
    c.text(x + N * CELL / 2, 56, "keys 0 to 7", GREY)
    c.grid(x, 66, N, N, CELL, lambda i, j: CACHE if seen(i, j) else MASKED)
    c.text(x - 12, 66 + N * CELL / 2, "queries 0 to 7", QUERY, turned=True)
c.text(48 + N * CELL / 2, 272, "query 7 reads 8 keys")
c.text(268 + N * CELL / 2, 272, "query 7 reads 3 keys")
c.legend(304, (48, CACHE, 1, "may be seen"), (268, MASKED, 1, "may not be seen"))
c.line(16, 326, 454, 326, RULE, 1)

X, STEP, TOP, HIGH = 92, 49, 392, 58
c.text(235, 356, "three layers, W = 3", bold=True)
first = [7, 5, 3, 1]  # at each level, the first position that the last token can know of
for level in range(3):
    for i in range(first[level], N):
        for j in range(max(0, i - W + 1), i + 1):
            c.line(X + i * STEP, TOP + level * HIGH, X + j * STEP, TOP + (level + 1) * HIGH, GREY, 1)
for level in range(4):
    for i in range(N):
        reached = i >= first[level]
        c.circle(X + i * STEP, TOP + level * HIGH, 10,
                 NEW_TOKEN if (level, i) == (0, 7) else CACHE if reached else LIGHT, GREY if reached else RULE)
    c.text(X - 20, TOP + level * HIGH + 5.5, "input" if level == 3 else f"layer {3 - level}", anchor="end")
for i in range(N):
    c.text(X + i * STEP, TOP + 3 * HIGH + 30, str(i), GREY)
c.text(235, TOP + 3 * HIGH + 58, "The last token knows of L (W − 1) = 6 before it.")
c.save("10_window")
