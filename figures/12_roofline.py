"""The roofline: two limits that meet at the ridge, and where the kinds of work stand under them."""

from style import BLUE, GREEN, GREY, INK, LIGHT, NEW_TOKEN, Canvas

LEFT, BOTTOM, WIDE, HIGH = 34, 278, 33, 40  # px; a doubling to the right, and upwards
RIDGE, ROOF = 5, 5                          # doublings from the left end to the ridge, and from the bottom to the roof

c = Canvas(376, "The roofline: memory on the left of the ridge, arithmetic on the right")
x, y = (lambda doublings: LEFT + WIDE * doublings), (lambda doublings: BOTTOM - HIGH * doublings)
c.rect(x(0), y(6), x(RIDGE) - x(0), y(0) - y(6), LIGHT, 0.6, "none", 0)
c.line(x(0), y(0), x(12.9), y(0), GREY, arrow=True)
c.line(x(0), y(0), x(0), y(6), GREY, arrow=True)
c.line(x(RIDGE), y(6), x(RIDGE), y(0), GREY, 1.2, dash="4 4")
c.line(x(0), y(0), x(RIDGE), y(ROOF), INK, 3)
c.line(x(RIDGE), y(ROOF), x(12.6), y(ROOF), INK, 3)
c.text(LEFT - 6, 32, "FLOPs a second", anchor="start")
c.text(454, y(0) + 44, "FLOPs for each byte", anchor="end")
c.text(x(RIDGE), y(0) + 22, "the ridge")
c.text(x(0) + 12, y(5) + 5, "the memory's\nlimit", anchor="start")
c.text(x(8.4), y(ROOF) - 12, "the arithmetic's limit")
c.text(x(0) + 2, y(0) + 76, "here memory decides", GREY, "start")
c.text(454, y(0) + 76, "here arithmetic decides", GREY, "end")
for at, height, colour, words in ((1, 0.6, NEW_TOKEN, "one token"), (2.6, 1.9, NEW_TOKEN, "a batch"),
                                  (6.6, 4.4, BLUE, "a prompt"), (9.8, 3.6, GREEN, "a training\nstep")):
    c.line(x(at), y(height), x(at), y(min(at, ROOF)), colour, 2, dash="2 3")
    c.circle(x(at), y(height), 8, colour, INK)
    c.text(x(at) + 15, y(height) + 20, words, anchor="start")
c.save("12_roofline")
