"""LayerNorm on the row 3, 9, 11, 17: subtract the mean 10, divide by the standard deviation 5, scale and shift."""

from style import GREY, INK, LIGHT, SKY, VERMILION, Canvas

canvas = Canvas(720, 310, "LayerNorm on a row of four numbers")
ROWS = [
    ("the row", [3, 9, 11, 17], "mean 10,\nstandard deviation 5"),
    ("minus its mean", [-7, -1, 1, 7], "mean 0,\nstandard deviation 5"),
    ("divided by 5", [-1.4, -0.2, 0.2, 1.4], "mean 0,\nstandard deviation 1"),
]
BASE, UNIT, BAR, WIDTH = 172, 5.6, 28, 226

for column, (title, row, below) in enumerate(ROWS):
    left = 20 + column * (WIDTH + 6)
    middle = left + WIDTH / 2
    canvas.text(middle, 36, title, weight="bold")
    # The last panel is drawn five times as tall, or its bars would be too small to see.
    unit = UNIT if column < 2 else 5 * UNIT
    canvas.line(left + 18, BASE, left + WIDTH - 18, BASE, GREY, 1)
    for i, value in enumerate(row):
        x = left + 40 + i * 40
        height = abs(value) * unit
        canvas.rect(x, BASE - height if value > 0 else BASE, BAR, height, SKY if value > 0 else VERMILION,
                    stroke="none", opacity=0.75)
        # In the first panel the mean's line runs where the labels would stand, so they go below the bars.
        label = BASE - height - 7 if column and value > 0 else BASE + 18 + (height if value < 0 else 0)
        canvas.text(x + BAR / 2, label, f"{value:g}", 15)
    if column == 0:
        canvas.line(left + 18, BASE - 10 * unit, left + WIDTH - 18, BASE - 10 * unit, INK, 1.5, dash="5 4")
        canvas.text(left + 22, BASE - 10 * unit - 8, "mean", 14, anchor="start")
    if column < 2:
        canvas.arrow(left + WIDTH - 4, 20 + 11, left + WIDTH + 14, 20 + 11)
    canvas.rect(left + 22, 246, WIDTH - 44, 48, LIGHT, stroke="none", rx=6)
    for i, line in enumerate(below.split("\n")):
        canvas.text(middle, 265 + 20 * i, line, 15)

canvas.save("02_layer_norm")
