"""One training step as a loop: batch, forward, loss, backward, clip, step, and round again."""

from style import GREY, LEARNED, LIGHT, NEW_TOKEN, VOCAB, Canvas

c = Canvas(452, "A training step: forward, loss, backward, clip, step, and the next batch")
W, H, LEFT, RIGHT, ROWS = 174, 76, 16, 280, (52, 188, 324)


def step(x, y, name, says, fill=LIGHT, opacity=1.0):
    c.rect(x, y, W, H, fill, opacity)
    c.text(x + W / 2, y + 32, name, bold=True)
    c.text(x + W / 2, y + 56, says)


c.text(LEFT + W / 2, 32, "a batch of windows")
c.grid(24, 52, 4, 5, 15, lambda i, j: (VOCAB, 0.8))
c.text(104, 76, "inputs", anchor="start")
c.grid(24 + 15, 52 + 64, 1, 5, 15, lambda i, j: (NEW_TOKEN, 0.6))
c.text(119, 129, "targets", anchor="start")
step(RIGHT, ROWS[0], "forward", "model(inputs)")
step(RIGHT, ROWS[1], "loss", "surprise, a number")
step(RIGHT, ROWS[2], "backward", "a gradient a weight")
step(LEFT, ROWS[2], "clip", "limits their length")
step(LEFT, ROWS[1], "step", "moves the weights", LEARNED, 0.5)

c.arrow(LEFT + W, ROWS[0] + H / 2, RIGHT - 3, ROWS[0] + H / 2)
c.arrow(RIGHT + W / 2, ROWS[0] + H, RIGHT + W / 2, ROWS[1] - 2)
c.text(RIGHT + W / 2 + 10, ROWS[1] - 24, "logits", GREY, "start")
c.arrow(RIGHT + W / 2, ROWS[1] + H, RIGHT + W / 2, ROWS[2] - 2)
c.arrow(RIGHT, ROWS[2] + H / 2, LEFT + W + 3, ROWS[2] + H / 2)
c.arrow(LEFT + W / 2, ROWS[2], LEFT + W / 2, ROWS[1] + H + 3)
c.text(LEFT + W / 2 + 10, ROWS[2] - 31, "AdamW, rate from\nthe schedule", GREY, "start")
c.arrow(LEFT + W / 2, ROWS[1], LEFT + W / 2, 140)
c.text(LEFT + W / 2 + 10, ROWS[1] - 20, "next batch", GREY, "start")
c.text(LEFT + W / 2, ROWS[2] + H + 24, "norm of all together", GREY)
c.save("07_step")
