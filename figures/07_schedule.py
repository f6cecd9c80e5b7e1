"""The learning rate over a run: a line up, half a cosine down."""

import math

from style import BLUE, GREY, INK, LIGHT, RULE, Canvas

STEPS, WARMUP = 100, 16
LEFT, RIGHT, TOP, BOTTOM = 84, 440, 84, 264
c = Canvas(332, "The learning rate: warm-up in a line, then half a cosine down")


def x(step):
    return LEFT + step / STEPS * (RIGHT - LEFT)


def y(share):
    return BOTTOM - share * (BOTTOM - TOP)


def rate(step):
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


half = (STEPS + WARMUP) / 2
c.rect(x(0), TOP, x(WARMUP - 1) - x(0), BOTTOM - TOP, LIGHT, 1, "none", 0)
for share, text in ((1, "max_lr"), (0.5, "half of it"), (0, "min_lr")):
    c.line(LEFT, y(share), RIGHT, y(share), RULE if share else INK, dash="4 4" if share else None)
    c.text(LEFT - 9, y(share) + 5.5, text, anchor="end")
c.path("M" + "L".join(f"{x(s):.1f} {y(rate(s)):.1f}" for s in range(STEPS + 1)), BLUE, width=3)
for at, share in ((0, rate(0)), (WARMUP - 1, 1), (half, 0.5)):
    c.circle(x(at), y(share), 4, BLUE, BLUE)
c.text(x(WARMUP / 2 - 0.5), 32, "warm-up", bold=True)
c.text(x(WARMUP / 2 - 0.5), 56, "a line up", GREY)
c.text(x(half), 32, "half a cosine", bold=True)
c.text(x(half), 56, "slow, fast, slow", GREY)
c.text(x(half) + 12, y(0.5) - 32, "halfway down,\nhalf the rate", GREY, "start")
c.text(x(0), BOTTOM + 24, "0")
c.text(x(WARMUP - 1), BOTTOM + 24, "warmup_steps", anchor="start")
c.text(454, BOTTOM + 24, "max_steps", anchor="end")
c.text((LEFT + RIGHT) / 2, BOTTOM + 50, "step of the optimiser", GREY)
c.save("07_schedule")
