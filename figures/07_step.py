"""One training step as a loop: batch, forward, loss, backward, clip, step, and round again."""

from style import GREY, LEARNED, LIGHT, NEW_TOKEN, VOCAB, Canvas

c = Canvas(452, "A training step: forward, loss, backward, clip, step, and the next batch")
W, H, LEFT, RIGHT, ROWS = 174, 76, 16, 280, (52, 188, 324)


def step(x, y, name, says, fill=LIGHT, opacity=1.0):
    c.rect(x, y, W, H, fill, opacity)
    c.text(x + W / 2, y + 32, name, bold=True)
    c.text(x + W / 2, y + 56, says)


c.text(LEFT + W / 2, 32, "a batch of windows")
for y, colour, name in ((46, VOCAB, "inputs"), (100, NEW_TOKEN, "targets")):
    c.grid(24, y, 3, 5, 15, lambda i, j: (colour, 0.6))
    c.text(108, y + 28, name, anchor="start")
step(RIGHT, ROWS[0], "forward", "model(inputs)")
step(RIGHT, ROWS[1], "loss", "surprise, a number")
step(RIGHT, ROWS[2], "backward", "a gradient a weight")
step(LEFT, ROWS[2], "clip", "limits their length")
step(LEFT, ROWS[1], "step", "moves the weights", LEARNED, 0.5)

c.arrow(LEFT + 148, 68, RIGHT - 3, 68)
c.path(f"M{LEFT + 154} 122H232V{ROWS[1] + H / 2}H{RIGHT - 3}", arrow=True)
c.arrow(RIGHT + W / 2, ROWS[0] + H, RIGHT + W / 2, ROWS[1] - 2)
c.text(RIGHT + W / 2 + 10, ROWS[1] - 24, "logits", GREY, "start")
c.arrow(RIGHT + W / 2, ROWS[1] + H, RIGHT + W / 2, ROWS[2] - 2)
c.arrow(RIGHT, ROWS[2] + H / 2, LEFT + W + 3, ROWS[2] + H / 2)
c.arrow(LEFT + W / 2, ROWS[2], LEFT + W / 2, ROWS[1] + H + 3)
c.text(LEFT + W / 2 + 10, ROWS[2] - 31, "AdamW, rate from\nthe schedule", GREY, "start")
c.arrow(LEFT + W / 2, ROWS[1], LEFT + W / 2, 150)
c.text(LEFT + W / 2 + 10, ROWS[1] - 20, "next batch", GREY, "start")
c.text(LEFT + W / 2, ROWS[2] + H + 24, "norm of all together", GREY)
c.save("07_step")
