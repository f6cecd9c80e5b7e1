"""A KV cache while it reads a prompt, and while it decodes: what is computed, what is kept, what the queries read."""

from style import CACHE, GREY, NEW_TOKEN, QUERY, RULE, WHITE, Canvas

ROOM, CELL, HIGH, X = 8, 45, 34, 93  # places; a place's width and height; the left edge of place 0

c = Canvas(648, "A KV cache with eight places during prefill (four tokens at once) and decoding (one token)")


def panel(y, title, length, T, says):
    """One call: T new tokens behind `length` cached ones."""
    S = length + T
    c.text(16, y, title, anchor="start", bold=True)
    c.text(16, y + 24, says, GREY, "start")
    for row, (name, ahead) in enumerate([("tokens", ""), ("keys", "k"), ("values", "v"), ("queries", "q")]):
        top = y + 44 + row * 46 + (16 if row == 3 else 0)
        c.text(X - 10, top + 22, name, anchor="end")
        for i in range(S if row in (0, 3) else ROOM):
            x, new = X + i * CELL, length <= i < S
            if row == 3 and new:
                c.box(x, top, CELL - 3, HIGH, f"{ahead}{i}", QUERY, 1, WHITE)
            elif row == 0 and not new:
                c.rect(x, top, CELL - 3, HIGH, stroke=RULE, dash="4 3")
                c.text(x + (CELL - 3) / 2, top + 22, str(i), GREY)
            elif row in (1, 2) and i >= S:
                c.rect(x, top, CELL - 3, HIGH, stroke=RULE)
            elif row < 3:
                c.box(x, top, CELL - 3, HIGH, f"{ahead}{i}", NEW_TOKEN if new else CACHE, 0.45)
    # What the queries read: a bracket under the filled places.
    low = y + 44 + 92 + HIGH + 8
    c.path(f"M{X} {low - 5}V{low}H{X + S * CELL - 3}V{low - 5}", QUERY, width=2.5)
    for i in range(length, S):
        c.arrow(X + (i + 0.5) * CELL - 1, low + 16, X + (i + 0.5) * CELL - 1, low + 2, QUERY)
    if length:
        c.text(X + length * CELL - 12, low + 38, f"it reads S = {S}", QUERY, "end")
    else:
        c.text(X + S * CELL + 8, low + 28, f"they read S = {S},\nunder the causal mask", QUERY, "start")
    if S < ROOM:
        c.text(X + (S + ROOM) / 2 * CELL, y + 44 + 22, "empty places", GREY)


panel(32, "Prefill: the prompt, all at once", 0, 4, "T = 4, length 0 → 4: four keys and values are made")
c.line(16, 302, 454, 302, RULE, 1)
panel(336, "Decode: one token at a time", 4, 1, "T = 1, length 4 → 5: one key and one value are made")
c.legend(602, (16, CACHE, 0.45, "kept by an earlier call"), (244, NEW_TOKEN, 0.45, "made by this call"))
c.rect(16, 617, 16, 16, stroke=RULE, dash="4 3")
c.text(39, 630, "not read again", anchor="start")
c.text(244, 630, "max_length = 8 places", GREY, "start")
c.save("04_cache")
