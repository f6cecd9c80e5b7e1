"""The whole book in one drawing: the way of a text through a GPT, with the chapter that builds each part."""

from style import BLUE, CACHE, GREEN, GREY, INK, NEW_TOKEN, PURPLE, QUERY, YELLOW, Canvas

c = Canvas(720, 520, "The way from a text through the model to the next token, with the chapter that builds each part")


def badge(x, y, number):
    """The number of a chapter, white on ink."""
    c.circle(x, y, 13, fill=INK)
    c.text(x, y + 5, number, 15, "#ffffff", weight="bold")


# Left: what goes in.
c.box(28, 62, 150, 54, "text", size=16)
c.arrow(103, 116, 103, 168)
c.box(28, 170, 150, 54, "token ids", YELLOW, opacity=0.45)
badge(28, 170, "1")

# Middle: the model, from its embeddings down to one score a word.
c.rect(236, 38, 262, 374, "#f7f7f7", stroke=GREY, rx=8)
badge(236, 38, "5")
c.text(367, 59, "GPTModel", 16, weight="bold")
c.box(262, 68, 210, 38, "token + position embedding", YELLOW, 15, opacity=0.45)
c.rect(252, 122, 230, 206, "#ffffff", stroke=GREY, rx=8)
c.text(367, 143, "block, repeated L times", 14, GREY)
c.box(266, 154, 202, 32, "LayerNorm", PURPLE, 15)
badge(266, 154, "2")
c.box(266, 196, 98, 44, "attention", QUERY, 15, opacity=0.25)
badge(266, 196, "3")
c.box(382, 196, 86, 44, "KV cache", CACHE, 15)
badge(468, 196, "4")
c.line(364, 218, 382, 218)
c.box(266, 250, 202, 28, "LayerNorm", PURPLE, 15)
c.box(266, 286, 202, 32, "feed-forward with GELU", GREEN, 15)
badge(266, 286, "2")
c.arrow(367, 106, 367, 122)
c.arrow(367, 328, 367, 350)
c.box(262, 350, 210, 42, "a score for each token", YELLOW, 15, opacity=0.45)

# Right: what comes out, and the way round.
c.path("M178 197 H210 V85 H262", arrow=True)
c.path("M472 371 H617 V296", arrow=True)
c.box(542, 246, 150, 48, "next token", NEW_TOKEN, opacity=0.35)
badge(542, 246, "6")
c.path("M617 246 V16 H14 V197 H28", NEW_TOKEN, width=2, arrow=True)
c.text(606, 140, "add it, and go", 14, GREY, "end")
c.text(606, 158, "round again", 14, GREY, "end")

# Below: training.
c.box(28, 446, 664, 48, "training: compare with the token that really came next, adjust every weight", BLUE, 15,
      opacity=0.18)
badge(28, 446, "7")
c.arrow(367, 446, 367, 413, BLUE, 2)
c.path("M65 224 V446", BLUE, width=2, arrow=True)
c.text(76, 340, "the text itself", 14, GREY, "start")
c.text(76, 358, "is the answer key", 14, GREY, "start")

c.save("00_map")
