"""The learning rate over a run: a line up, half a cosine down."""

import math

from style import BLUE, GREY, INK, LIGHT, ORANGE, Canvas

STEPS, WARMUP = 100, 12
c = Canvas(720, 320, "The learning rate: warm-up in a line, then half a cosine down")
LEFT, RIGHT, TOP, BOTTOM = 110, 670, 62, 250


def x(step):
    return LEFT + step / STEPS * (RIGHT - LEFT)


def y(share):
    return BOTTOM - share * (BOTTOM - TOP)


def rate(step):
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


c.rect(x(0), TOP, x(WARMUP - 1) - x(0), BOTTOM - TOP, ORANGE, "none", 0, 0.18)
c.rect(x(WARMUP - 1), TOP, x(STEPS) - x(WARMUP - 1), BOTTOM - TOP, BLUE, "none", 0, 0.08)
for share, text in ((1, "max_lr"), (0.5, "half of it"), (0, "min_lr")):
    c.line(LEFT, y(share), RIGHT, y(share), LIGHT if share else INK, dash="4 4" if share else None)
    c.text(LEFT - 10, y(share) + 5, text, 15, INK, "end")
c.path("M" + "L".join(f"{x(s):.1f} {y(rate(s)):.1f}" for s in range(STEPS + 1)), BLUE, width=3)
c.circle(x(0), y(rate(0)), 4, BLUE, BLUE)
c.circle(x(WARMUP - 1), y(1), 4, BLUE, BLUE)
c.circle(x((STEPS + WARMUP) / 2), y(0.5), 4, BLUE, BLUE)
c.text(x(WARMUP / 2 - 0.5), TOP - 34, "warm-up", 16, weight="bold")
c.text(x(WARMUP / 2 - 0.5), TOP - 14, "a line up", 14, GREY)
c.text(x((STEPS + WARMUP) / 2), TOP - 34, "half a cosine", 16, weight="bold")
c.text(x((STEPS + WARMUP) / 2), TOP - 14, "slow, fast, slow", 14, GREY)
c.text(x((STEPS + WARMUP) / 2) + 14, y(0.5) - 12, "halfway down, half the rate", 14, GREY, "start")
c.text(x(0), BOTTOM + 24, "0", 15)
c.text(x(WARMUP - 1), BOTTOM + 24, "warmup_steps", 15, anchor="start")
c.text(x(STEPS), BOTTOM + 24, "max_steps", 15)
c.text((LEFT + RIGHT) / 2, BOTTOM + 50, "step of the optimiser", 15, GREY)
c.save("07_schedule")
