"""Where two new queries after three old positions belong in the causal square, and where is_causal puts them."""

from style import GREY, MASKED, NEW_TOKEN, QUERY, Canvas

CELL, S, T = 30, 5, 2


def panel(x, title, says, first):
    """The square mask with the rows of the T queries in colour; the first of them is row `first`."""
    def fill(i, j):
        mine = first <= i < first + T
        return (QUERY, 0.8 if mine else 0.2) if j <= i else (MASKED, 1 if mine else 0.4)

    y = 86
    c.text(x + S * CELL / 2, 32, title, bold=True)
    c.text(x + S * CELL / 2, 58, "keys 0 to 4", GREY)
    for j in range(S):
        c.text(x + (j + 0.5) * CELL, y - 6, str(j))
    c.grid(x, y, S, S, CELL, fill)
    for i in range(T):
        c.text(x - 8, y + (first + i + 0.5) * CELL + 5.5, f"query {i}", QUERY, "end")
    c.rect(x, y + first * CELL, S * CELL, T * CELL, "none", stroke=NEW_TOKEN, rx=2, width=2.5)
    c.text(x + S * CELL / 2 - 20, y + S * CELL + 26, says)


c = Canvas(336, "The mask of the last two of five positions: the lower right corner is correct, the upper left is wrong")
panel(76, "correct: lower right", "query 0 stands at\nposition S − T = 3", S - T)
panel(302, "wrong: upper left", "query 0 sees\nonly key 0", 0)
c.legend(320, (76, QUERY, 0.8, "may look"), (302, MASKED, 1, "may not look"))
c.save("03_last_queries")
