"""The roofline: two limits that meet at the ridge, and where the kinds of work stand under them."""

from style import BLUE, GREEN, GREY, INK, VERMILION, Canvas

LEFT, BOTTOM, STEP = 92, 270, 48  # px; STEP is one doubling, on both axes
RIDGE, TOP = 4, 4                 # doublings from the left end of the axis to the ridge, and from the bottom to the roof

c = Canvas(720, 350, "The roofline: memory on the left of the ridge, arithmetic on the right")
x, y = (lambda doublings: LEFT + STEP * doublings), (lambda doublings: BOTTOM - STEP * doublings)
c.line(x(0), y(0), x(12.4), y(0), GREY, arrow=True)
c.line(x(0), y(0), x(0), y(4.9), GREY, arrow=True)
c.line(x(0), y(0), x(RIDGE), y(TOP), INK, 3)
c.line(x(RIDGE), y(TOP), x(12), y(TOP), INK, 3)
c.line(x(RIDGE), y(TOP), x(RIDGE), y(0), GREY, 1.2, dash="4 4")
c.text(x(RIDGE), y(0) + 22, "the ridge", 15, GREY)
c.text(x(1.62), y(3.3), "the memory's limit", 16, INK)
c.text(x(8), y(TOP) - 12, "the arithmetic's limit", 16, INK)
c.text(x(11.2), y(0) + 44, "FLOPs for each byte", 15, GREY)
c.text(x(0) + 8, y(4.9) + 6, "FLOPs a second", 15, GREY, "start")
for at, height, colour, words in ((1, 0.55, VERMILION, "one token"), (2.4, 1.6, VERMILION, "a batch"),
                                  (8, 3.6, BLUE, "a prompt"), (10, 3.3, GREEN, "a training step")):
    roof = min(at, TOP)
    c.line(x(at), y(height), x(at), y(roof), colour, 1.5, dash="2 3")
    c.circle(x(at), y(height), 8, colour, colour)
    c.text(x(at) + 14, y(height) + 18, words, 16, colour, "start")
c.save("12_roofline")
