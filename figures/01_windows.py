"""Sliding windows: one row of tokens, windows of four that start every two tokens, and the batch they make."""

from style import GREY, INK, LIGHT, NEW_TOKEN, STREAM, Canvas

TOKENS = "You ␣p ier ce ␣my ␣soul . ␣I ␣am ␣half".split()  # as the Austen vocabulary cuts them
LENGTH, STRIDE, ROWS = 4, 2, 3
LEFT, CELL, HIGH = 84, 62, 34

c = Canvas(720, 560, "Windows of four tokens with stride two, their targets one token later, and the batch they form")


def row(y, words, start, colour, ink=INK):
    for i, word in enumerate(words):
        x = LEFT + (start + i) * CELL
        c.rect(x, y, CELL - 3, HIGH, "#ffffff")
        c.rect(x, y, CELL - 3, HIGH, colour, opacity=0.3)
        c.text(x + (CELL - 3) / 2, y + 22, word, 13, ink)


c.text(LEFT + 5 * CELL, 26, "all token ids of the text, kept once", 15, INK)
row(40, TOKENS, 0, LIGHT)
c.text(LEFT - 10, 62, "tokens", 14, GREY, "end")
y = 100
for i in range(ROWS):
    start = i * STRIDE
    c.text(LEFT - 10, y + 22, f"inputs {i}", 14, INK, "end")
    row(y, TOKENS[start:start + LENGTH], start, STREAM)
    c.text(LEFT - 10, y + 60, f"targets {i}", 14, INK, "end")
    row(y + 38, TOKENS[start + 1:start + LENGTH + 1], start + 1, NEW_TOKEN)
    if i + 1 < ROWS:
        x = LEFT + start * CELL
        c.line(x, y + 80, x, y + 94, GREY)
        c.arrow(x, y + 94, x + STRIDE * CELL, y + 94, GREY, 2)
        c.text(x + STRIDE * CELL + 10, y + 99, "stride 2" if i == 0 else "", 14, INK, "start")
    y += 112
y = 452
c.text(LEFT - 10, y + 40, "batch", 14, GREY, "end")
for k, (name, colour, shift) in enumerate([("inputs", STREAM, 0), ("targets", NEW_TOKEN, 1)]):
    x0 = LEFT + k * 320
    c.text(x0 + 126, y - 10, f"{name} (B, T) = (3, 4)", 15, INK)
    for i in range(ROWS):
        for j in range(LENGTH):
            c.rect(x0 + 63 * j, y + 30 * i, 61, 28, "#ffffff")
            c.rect(x0 + 63 * j, y + 30 * i, 61, 28, colour, opacity=0.3)
            c.text(x0 + 63 * j + 30.5, y + 30 * i + 19, TOKENS[i * STRIDE + j + shift], 13)
c.save("01_windows")
