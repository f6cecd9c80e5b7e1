"""The whole book in one drawing: the way of a text through a GPT, with the chapter that builds each part."""

from style import CACHE, GREY, INK, LIGHT, NEW_TOKEN, VOCAB, WHITE, Canvas

c = Canvas(740, "The way from a text through the model to the next token, with the chapter that builds each part")
X, W, MID = 118, 260, 248  # the column of boxes inside the model


def badge(x, y, number):
    """The number of a chapter, white on ink."""
    c.circle(x, y, 13, fill=INK)
    c.text(x, y + 5.5, number, WHITE, bold=True)


# What goes in.
c.box(168, 20, 160, 36, "text")
c.arrow(MID, 56, MID, 82)
c.box(168, 84, 160, 36, "token ids", VOCAB, 0.5)
badge(168, 84, "1")

# The model, from its embeddings to a score for each token.
c.rect(96, 152, 304, 386, LIGHT, 0.4, GREY, 8)
badge(96, 152, "5")
c.text(MID, 174, "GPTModel", bold=True)
c.arrow(MID, 120, MID, 150)
c.arrow(MID, 218, MID, 235)
c.arrow(MID, 454, MID, 481)
c.box(X, 184, W, 34, "token + position embedding", VOCAB, 0.5)
c.rect(108, 236, 280, 218, WHITE, stroke=GREY, rx=8)
c.text(MID, 257, "block, repeated L times", GREY)
c.box(X, 268, W, 32, "LayerNorm")
badge(X, 284, "2")
c.box(X, 310, 130, 44, "attention", LIGHT, 1)
badge(X, 332, "3")
c.box(X + 154, 310, 106, 44, "KV cache", CACHE, 0.5)
badge(X + W, 332, "4")
c.line(X + 130, 332, X + 154, 332)
c.box(X, 364, W, 32, "LayerNorm")
c.box(X, 406, W, 36, "feed-forward with GELU", LIGHT, 1)
badge(X, 424, "2")
c.box(X, 482, W, 36, "a score for each token", VOCAB, 0.5)

# What comes out, and the way round.
c.arrow(MID, 538, MID, 570)
c.box(168, 572, 160, 38, "next token", NEW_TOKEN)
badge(168, 572, "6")
c.path("M328 591 H442 V102 H331", NEW_TOKEN, width=2, arrow=True)
c.text(434, 124, "add it, and", GREY, "end")
c.text(434, 144, "go round", GREY, "end")

# Training.
c.box(20, 660, 430, 58, "training: compare with the token that\nreally came next, adjust every weight")
badge(20, 660, "7")
c.path("M168 38 H54 V658", arrow=True)
c.text(44, 350, "the text itself is the answer key", GREY, turned=True)
c.arrow(136, 660, 136, 540)
c.save("00_map")
