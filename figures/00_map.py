"""The whole book in one drawing: the way of a text through a GPT, with the chapter that builds each part."""

from style import CACHE, GREY, INK, LIGHT, NEW_TOKEN, VOCAB, WHITE, Canvas

c = Canvas(920, "The way from a text through the model to the next token, with the chapter that builds each part")
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
c.rect(96, 152, 304, 418, LIGHT, 0.4, GREY, 8)
badge(96, 152, "5")
c.text(MID, 174, "GPTModel", bold=True)
c.arrow(MID, 120, MID, 150)
c.arrow(MID, 218, MID, 235)
c.arrow(MID, 486, MID, 513)
c.box(X, 184, W, 34, "token + position embedding", VOCAB, 0.5)
c.rect(108, 236, 280, 250, WHITE, stroke=GREY, rx=8)
c.text(MID, 257, "block, repeated L times", GREY)
c.box(X, 268, W, 32, "LayerNorm")
badge(X, 284, "2")
c.box(X, 310, 130, 44, "attention", LIGHT, 1)
badge(X, 332, "3")
c.box(X + 154, 310, 106, 44, "KV cache", CACHE, 0.5)
badge(X + W, 311, "4")
c.line(X + 130, 332, X + 154, 332)
c.text(X + 22, 381, "other kinds of both:", GREY, "start")
for x, number in ((X + 184, "8"), (X + 214, "9"), (X + 244, "10")):
    badge(x, 375, number)
c.box(X, 396, W, 32, "LayerNorm")
c.box(X, 438, W, 36, "feed-forward with GELU", LIGHT, 1)
badge(X, 456, "2")
c.box(X, 514, W, 36, "a score for each token", VOCAB, 0.5)

# What comes out, and the way round.
c.arrow(MID, 570, MID, 602)
c.box(168, 604, 160, 38, "next token", NEW_TOKEN)
badge(168, 604, "6")
c.path("M328 623 H442 V102 H331", NEW_TOKEN, width=2, arrow=True)
c.text(434, 124, "add it, and", GREY, "end")
c.text(434, 144, "go round", GREY, "end")

# Training.
c.box(20, 692, 430, 58, "training: compare with the token that\nreally came next, adjust every weight")
badge(20, 692, "7")
c.path("M168 38 H54 V690", arrow=True)
c.text(44, 366, "the text itself is the answer key", GREY, turned=True)
c.arrow(136, 692, 136, 572)

# What the later chapters do with the whole.
for y, number, text in ((790, "11", "GPT-2's own weights, put into it"), (824, "12", "how fast it could be, and where the time goes"),
                        (858, "13", "the training on many processes at once"), (892, "14", "a look inside what it has learned")):
    badge(52, y, number)
    c.text(78, y + 5.5, text, anchor="start")
c.save("00_map")
