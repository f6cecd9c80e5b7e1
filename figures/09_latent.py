"""A token compressed to a latent, and every head's key and value made of it again; what other ways would keep."""

from style import CACHE, GREY, KEY, LIGHT, RULE, STREAM, VALUE, Canvas

E, R, H = 768, 96, 12
PX, HIGH, MID = 0.25, 28, 235  # px for a number; the height of a bar

c = Canvas(588, "Compression: E numbers of a token become a latent of r numbers, from which all heads' keys and values are made")


def bar(x, y, numbers, colour, parts=1):
    """A bar as long as it has numbers, cut into `parts`."""
    w = numbers * PX / parts
    for i in range(parts):
        c.rect(x + i * w, y, w, HIGH, colour, 0.5, GREY, 0)


def funnel(y, top, bottom):
    """What a matrix does: from a bar at y, top being its ends, to one 50 px further down."""
    c.path(f"M{top[0]:g} {y}H{top[1]:g}L{bottom[1]:g} {y + 50}H{bottom[0]:g}z", GREY, LIGHT, 1)


full, latent = E * PX, R * PX
c.text(MID, 32, "x, a token as the stream has it: E numbers")
bar(MID - full / 2, 42, E, STREAM)
funnel(74, (MID - full / 2, MID + full / 2), (MID - latent / 2, MID + latent / 2))
c.text(MID, 96, "W_down (r, E)")
c.rect(16, 128, 438, 36, CACHE, 0.2, "none", 6)
bar(MID - latent / 2, 132, R, CACHE)
c.text(MID - 24, 151.5, "the latent c: r numbers", anchor="end")
c.text(MID + 24, 151.5, "all that is kept", anchor="start")
for x, ends, colour, name, what in ((27, (MID - latent / 2, MID), KEY, "W_uk (E, r)", "k of all H heads"),
                                    (251, (MID, MID + latent / 2), VALUE, "W_uv (E, r)", "v of all H heads")):
    funnel(168, ends, (x, x + full))
    c.text((x + full / 2) * 0.6 + MID * 0.4, 210, name)
    bar(x, 222, E, colour, H)
    c.text(x + full / 2, 272, what)
c.text(MID, 298, "made again when they are needed, D numbers a head", GREY)

c.line(16, 318, 454, 318, RULE, 1)
c.text(16, 348, "What a cache keeps of one token in one layer", anchor="start", bold=True)
y = 362
for text, bars in (("multi-head attention: keys and values, 2 E", ((E, KEY), (E, VALUE))),
                   ("the half cache: x itself, E", ((E, STREAM),)), ("the latent: r", ((R, CACHE),))):
    x = 16
    for numbers, colour in bars:
        bar(x, y, numbers, colour)
        x += numbers * PX
    c.text(16, y + 46, text, anchor="start")
    y += 68
c.text(454, y + 2, "to scale, for E = 768 and r = 96", GREY, "end")
c.save("09_latent")
