"""A KV cache while it reads a prompt, and while it decodes: what is written, and what the queries read."""

from style import CACHE, GREY, INK, NEW_TOKEN, QUERY, Canvas

ROOM, CELL, HIGH = 8, 46, 34
TOKENS, BLOCK = 24, 322  # left edges of the new tokens and of the block

c = Canvas(720, 548, "A KV cache with eight places during prefill (four tokens at once) and decoding (one token)")


def cells(x, y, names, colour, width=CELL, ink=INK, opacity=0.45, stroke=INK):
    for i, name in enumerate(names):
        c.rect(x + i * width, y, width - 3, HIGH, "#ffffff", stroke)
        c.rect(x + i * width, y, width - 3, HIGH, colour, stroke, opacity=opacity)
        c.text(x + i * width + (width - 3) / 2, y + 22, name, 15, ink)


def panel(y, title, length, T):
    """One call: T new tokens behind `length` cached ones."""
    S = length + T
    c.text(TOKENS, y, title, 17, INK, "start", "bold")
    c.text(TOKENS, y + 42, f"x, T = {T} new", 15, GREY, "start")
    cells(TOKENS, y + 52, [str(i) for i in range(length, S)], NEW_TOKEN, 34, opacity=0.4)
    right = TOKENS + T * 34
    for row, (name, ahead) in enumerate([("keys", "k"), ("values", "v")]):
        top = y + 52 + row * 48
        c.text(BLOCK - 14, top + 23, name, 17, INK, "end", "bold")
        for i in range(ROOM):
            x = BLOCK + i * CELL
            c.rect(x, top, CELL - 3, HIGH, "#ffffff", INK if i < S else "#b0b0b0")
            if i < S:
                c.rect(x, top, CELL - 3, HIGH, CACHE if i < length else NEW_TOKEN, opacity=0.45 if i < length else 0.4)
                c.text(x + (CELL - 3) / 2, top + 22, f"{ahead}{i}", 15)
    # The way of the new keys and values into their places.
    c.arrow(right + 8, y + 69, BLOCK - 66, y + 69, GREY)
    c.text((right + BLOCK - 60) / 2, y + 61, "project", 14, GREY)
    # The queries, and what they read.
    low = y + 52 + 48 + HIGH
    c.line(BLOCK, low + 12, BLOCK + S * CELL - 3, low + 12, QUERY, 2.5)
    for x in (BLOCK, BLOCK + S * CELL - 3):
        c.line(x, low + 5, x, low + 13, QUERY, 2.5)
    cells(TOKENS, low + 18, [f"q{i}" for i in range(length, S)], QUERY, 34, "#ffffff", 1)
    c.arrow(TOKENS + 15.5, y + 92, TOKENS + 15.5, low + 12, GREY)
    c.text(TOKENS + 26, y + 116, "project", 14, GREY, "start")
    c.arrow(right + 8, low + 35, BLOCK - 8, low + 35, QUERY, 2)
    c.text(BLOCK, low + 40, f"the queries read S = {S}" if T > 1 else f"the query reads S = {S}", 15, QUERY, "start")
    # The border between what is filled and what is not.
    x = BLOCK + S * CELL - 1.5
    c.text(x, y + 42, f"length: {length} → {S}", 15, INK, "middle")
    if S < ROOM:
        c.text(BLOCK + (S + ROOM) / 2 * CELL, low + 40, "not read", 14, GREY)


panel(34, "Prefill: the prompt, all at once", 0, 4)
c.line(24, 258, 696, 258, "#d0d0d0", 1)
panel(292, "Decode: one token at a time", 4, 1)
y = 522
for x, colour, text in ((24, CACHE, "written by an earlier call"), (252, NEW_TOKEN, "written by this call"),
                        (440, "#ffffff", "empty")):
    c.rect(x, y - 13, 16, 16, "#ffffff", INK if colour != "#ffffff" else "#b0b0b0")
    c.rect(x, y - 13, 16, 16, colour, INK if colour != "#ffffff" else "#b0b0b0", opacity=0.45)
    c.text(x + 24, y, text, 14, INK, "start")
c.text(696, y, "max_length = 8", 14, GREY, "end")
c.save("04_cache")
