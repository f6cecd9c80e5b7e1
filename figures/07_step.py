"""One training step as a loop: batch, forward, loss, backward, clip, step, and round again."""

from style import BLUE, GREEN, GREY, LIGHT, NEW_TOKEN, ORANGE, SKY, YELLOW, Canvas

c = Canvas(720, 360, "A training step: forward, loss, backward, clip, step, and the next batch")
W, H, TOP, LOW = 150, 74, 66, 218


def step(x, y, name, says, fill):
    c.rect(x, y, W, H, fill, opacity=0.35)
    c.text(x + W / 2, y + 31, name, 18, weight="bold")
    c.text(x + W / 2, y + 55, says, 14)


c.text(82, TOP - 14, "a batch of windows", 15, GREY)
c.grid(31, TOP - 2, 4, 6, 17, lambda i, j: SKY if j < 5 else LIGHT)
c.text(82, TOP + 86, "inputs, and their", 14, GREY)
c.text(82, TOP + 103, "next tokens", 14, GREY)

step(186, TOP, "forward", "model(inputs)", BLUE)
step(380, TOP, "loss", "surprise, one number", ORANGE)
step(546, LOW - 76, "backward", "a gradient a weight", NEW_TOKEN)
step(380, LOW, "clip", "limit their length", YELLOW)
step(186, LOW, "step", "moves the weights", GREEN)

c.arrow(140, TOP + H / 2, 183, TOP + H / 2)
c.arrow(186 + W, TOP + H / 2, 377, TOP + H / 2)
c.text(358, TOP + 25, "logits", 14, GREY)
c.path(f"M{380 + W} {TOP + H / 2}H621V{LOW - 79}", arrow=True)
c.path(f"M621 {LOW - 76 + H}V{LOW + H / 2}H{380 + W + 3}", arrow=True)
c.arrow(380, LOW + H / 2, 186 + W + 3, LOW + H / 2)
c.path(f"M186 {LOW + H / 2}H82V{TOP + 117}", arrow=True)
c.text(90, LOW + H / 2 + 22, "next batch", 15, GREY)
c.text(261, LOW + H + 24, "AdamW, rate from the schedule", 14, GREY)
c.text(455, LOW + H + 24, "norm of all together", 14, GREY)
c.save("07_step")
