"""Sliding windows: one row of tokens, windows of four that start every two tokens, and the batch they make."""

from style import GREY, LIGHT, NEW_TOKEN, VOCAB, Canvas

TOKENS = "You ␣p ier ce ␣my ␣soul . ␣I ␣am".split()  # as the Austen vocabulary cuts them
LENGTH, STRIDE, ROWS = 4, 2, 3
LEFT, CELL, HIGH = 17, 49, 34

c = Canvas(624, "Windows of four tokens with stride two, their targets one token later, and the batch they form")


def row(x, y, words, colour, opacity=0.4):
    for i, word in enumerate(words):
        c.box(x + i * CELL, y, CELL - 3, HIGH, word, colour, opacity)


c.text(LEFT, 32, "all tokens of the text, kept once", anchor="start", bold=True)
row(LEFT, 44, TOKENS, LIGHT, 0.6)
y = 104
for i in range(ROWS):
    start = i * STRIDE
    x = LEFT + start * CELL
    row(x, y, TOKENS[start:start + LENGTH], VOCAB)
    row(x + CELL, y + 38, TOKENS[start + 1:start + LENGTH + 1], NEW_TOKEN)
    for line, name in enumerate(("inputs", "targets")):
        if i < 2:
            c.text(x + (LENGTH + line) * CELL + 6, y + 38 * line + 22, f"{name} {i}", anchor="start")
        else:
            c.text(x + line * CELL - 9, y + 38 * line + 22, f"{name} {i}", anchor="end")
    if i + 1 < ROWS:
        c.line(x + 1, y + 38, x + 1, y + 88, GREY)
        c.arrow(x, y + 88, x + STRIDE * CELL - 2, y + 88, GREY)
        c.text(x + STRIDE * CELL + 6, y + 93, "stride 2", GREY, "start")
    y += 110
c.text(LEFT, y + 14, "the batch", anchor="start", bold=True)
for name, colour, shift, x in (("inputs (B, T) = (3, 4)", VOCAB, 0, LEFT), ("targets (B, T) = (3, 4)", NEW_TOKEN, 1, 258)):
    c.text(x + 2 * CELL - 2, y + 46, name)
    for i in range(ROWS):
        row(x, y + 58 + 38 * i, TOKENS[i * STRIDE + shift:i * STRIDE + shift + LENGTH], colour)
c.save("01_windows")
