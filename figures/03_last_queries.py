"""Where two new queries after three old positions belong in the causal square, and where is_causal puts them."""

from style import GREY, INK, LIGHT, NEW_TOKEN, QUERY, Canvas

CELL, S, T = 38, 5, 2


def panel(x, y, title, below, first):
    """The square mask with the rows of the T queries in colour; the first of them is row `first`."""
    def fill(i, j):
        mine = first <= i < first + T
        return (QUERY if mine else "#cfe0ec") if j <= i else (LIGHT if mine else "#f5f5f5")

    c.text(x + S * CELL / 2, y - 50, title, 17, weight="bold")
    c.text(x + S * CELL / 2, y - 28, "keys, positions 0 to 4", 14, GREY)
    for j in range(S):
        c.text(x + (j + 0.5) * CELL, y - 7, str(j), 14, INK)
    c.grid(x, y, S, S, CELL, fill)
    for i in range(T):
        c.text(x - 12, y + (first + i + 0.5) * CELL + 5, f"query {i}", 15, NEW_TOKEN, "end")
    c.rect(x, y + first * CELL, S * CELL, T * CELL, "none", stroke=NEW_TOKEN, rx=2)
    c.text(x + S * CELL / 2, y + S * CELL + 26, below, 15)


c = Canvas(720, 330, "The mask of the last two of five positions: the lower right corner is correct, the upper left is wrong")
panel(110, 84, "correct: lower right", "query 0 stands at position S − T = 3", S - T)
panel(470, 84, "wrong: upper left", "query 0 sees only key 0", 0)
c.save("03_last_queries")
