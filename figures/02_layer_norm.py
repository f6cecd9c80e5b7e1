"""LayerNorm on the row 3, 9, 11, 17: subtract the mean 10, divide by the standard deviation 5."""

from style import GREY, INK, STREAM, Canvas

ROWS = [("the row", [3, 9, 11, 17], "mean 10,\nstandard deviation 5"),
        ("minus its mean", [-7, -1, 1, 7], "mean 0,\nstandard deviation 5"),
        ("divided by 5", [-1.4, -0.2, 0.2, 1.4], "mean 0,\nstandard deviation 1")]
UNIT, BAR, STEP, HIGH = 5.4, 32, 52, 168
BASES = (126, 254, 422)  # the zero lines

c = Canvas(496, "LayerNorm on a row of four numbers")
for panel, ((title, row, says), base) in enumerate(zip(ROWS, BASES)):
    # The last panel is drawn five times as tall, or its bars would be too small to see.
    unit = UNIT if panel < 2 else 5 * UNIT
    c.line(20, base, 238, base, GREY, 1)
    for i, value in enumerate(row):
        x, height = 34 + i * STEP, abs(value) * unit
        c.rect(x, base - height if value > 0 else base, BAR, height, STREAM, 0.7, "none")
        # In the first panel the mean's line runs where the labels would stand, so they go below the bars.
        label = base - height - 7 if panel and value > 0 else base + 19 + (height if value < 0 else 0)
        c.text(x + BAR / 2, label, f"{value:g}".replace("-", "−"))
    if panel == 0:
        c.line(20, base - 10 * unit, 238, base - 10 * unit, INK, 1.5, dash="5 4")
        c.text(24, base - 10 * unit - 8, "mean", anchor="start")
    middle = base - (46 if panel == 0 else 0)
    c.text(264, middle - 14, title, anchor="start", bold=True)
    c.text(264, middle + 10, says, anchor="start")
c.arrow(350, 128, 350, 214)
c.arrow(350, 296, 350, 382)
c.text(362, 176, "− 10", anchor="start")
c.text(362, 344, "÷ 5", anchor="start")
c.save("02_layer_norm")
