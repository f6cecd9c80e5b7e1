"""One visual language for every drawing: one width, one size of type, one palette, and a small SVG canvas.

A drawing is a white card of 470 px with text of 16 px. On a wide page that is the text's own size, and on a telephone's
page of 360 px, where 312 px are left, it is 10.6 px. So a drawing is laid out downwards rather than to the right.
Colours are Okabe and Ito's, which colour-blind readers can tell apart, and greys; the same thing has the same colour
throughout the book. `Canvas` writes the same bytes each time it is run.
"""

from pathlib import Path
from xml.sax.saxutils import escape

WHITE, INK, GREY, RULE, LIGHT = "#ffffff", "#1a1a1a", "#5f5f5f", "#8c8c8c", "#e6e6e6"
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")

# The same thing has the same colour everywhere. Text is INK, GREY or QUERY, or white on QUERY: no other pair has 4.5 to 1.
QUERY, KEY, VALUE, CACHE, NEW_TOKEN, STREAM, MASKED = BLUE, ORANGE, GREEN, SKY, VERMILION, PURPLE, LIGHT
VOCAB = LEARNED = WEIGHTS = YELLOW  # tokens and their table; what a model learns; and what a softmax gives

FONT = "'Source Sans 3', 'Segoe UI', Helvetica, Arial, sans-serif"
WIDTH, MARGIN, SIZE, LEAD = 470, 16, 16, 20  # px: the card, its margin, the type, from one line of text to the next


class Canvas:
    """A card of WIDTH x height px on which to draw; `save` writes figures/NAME.svg. (x, y) is top left."""

    def __init__(self, height, title):
        self.height, self.title, self.parts = height, title, []

    def rect(self, x, y, w, h, fill=WHITE, opacity=1.0, stroke=INK, rx=3, width=1, dash=None):
        """A rectangle; `opacity` thins its colour with white, so that nothing behind it shows through."""
        extra = (f' stroke-width="{width:g}"' if width != 1 else "") + (f' stroke-dasharray="{dash}"' if dash else "")
        where = f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{rx:g}"'
        if opacity < 1:
            self.parts.append(f'{where} fill="{WHITE}"/>')
            extra = f' fill-opacity="{opacity:g}"' + extra
        self.parts.append(f'{where} fill="{fill}" stroke="{stroke}"{extra}/>')

    def text(self, x, y, text, fill=INK, anchor="middle", bold=False, mono=False, turned=False):
        """Text whose first baseline is at y; line breaks begin new lines. `turned`: it runs upwards."""
        extra = (' font-weight="bold"' if bold else "") + (' font-family="monospace"' if mono else "")
        for i, line in enumerate(text.split("\n")):
            at = y + i * LEAD
            turn = f' transform="rotate(-90 {x:g} {at:g})"' if turned else ""
            self.parts.append(f'<text x="{x:g}" y="{at:g}" fill="{fill}" text-anchor="{anchor}"{extra}{turn}>'
                              f"{escape(line)}</text>")

    def box(self, x, y, w, h, text, fill=WHITE, opacity=0.4, ink=INK, mono=False, bold=False, stroke=INK):
        """A rectangle with its text in the middle."""
        self.rect(x, y, w, h, fill, opacity if fill != WHITE else 1, stroke)
        self.text(x + w / 2, y + h / 2 + 5.5 - LEAD / 2 * text.count("\n"), text, ink, mono=mono, bold=bold)

    def line(self, x1, y1, x2, y2, stroke=INK, width=1.5, dash=None, arrow=False):
        extra = (f' stroke-dasharray="{dash}"' if dash else "") + (' marker-end="url(#arrow)"' if arrow else "")
        self.parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{stroke}" '
                          f'stroke-width="{width:g}"{extra}/>')

    def arrow(self, x1, y1, x2, y2, stroke=INK, width=1.5):
        self.line(x1, y1, x2, y2, stroke, width, arrow=True)

    def path(self, d, stroke=INK, fill="none", width=1.5, arrow=False):
        extra = ' marker-end="url(#arrow)"' if arrow else ""
        self.parts.append(f'<path d="{d}" stroke="{stroke}" fill="{fill}" stroke-width="{width:g}"{extra}/>')

    def circle(self, x, y, r, fill=WHITE, stroke=INK, width=1):
        extra = f' stroke-width="{width:g}"' if width != 1 else ""
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" fill="{fill}" stroke="{stroke}"{extra}/>')

    def plus(self, x, y):
        """The sign of an addition."""
        self.circle(x, y, 13)
        self.line(x - 7, y, x + 7, y, width=2)
        self.line(x, y - 7, x, y + 7, width=2)

    def stream(self, x, top, tip):
        """The residual stream, an arrow downwards."""
        self.line(x, top, x, tip - 12, STREAM, 7)
        self.path(f"M{x - 12} {tip - 22}L{x} {tip}L{x + 12} {tip - 22}z", STREAM, STREAM)

    def grid(self, x, y, rows, cols, cell, fill, text=None):
        """rows x cols squares; fill(i, j) is a colour, or a colour and its opacity; text(i, j) a square's label."""
        for i in range(rows):
            for j in range(cols):
                paint = fill(i, j)
                colour, opacity = paint if isinstance(paint, tuple) else (paint, 1)
                self.rect(x + j * cell, y + i * cell, cell, cell, colour, opacity, WHITE, 2)
                if text and text(i, j):
                    self.text(x + (j + 0.5) * cell, y + (i + 0.5) * cell + 5.5, text(i, j))

    def legend(self, y, *items):
        """Coloured squares and what they mean, on the line whose baseline is y: (x, colour, opacity, text) each."""
        for x, colour, opacity, text in items:
            self.rect(x, y - 13, 16, 16, colour, opacity, GREY)
            self.text(x + 23, y, text, anchor="start")

    def legend_disc(self, x, y, colour, text):
        """A coloured disc and what it means, on the line whose baseline is y."""
        self.circle(x, y - 5, 8, colour, GREY)
        self.text(x + 15, y, text, anchor="start")

    def total(self, y, number, text):
        """A sum below a column of numbers that ends at 440 px, under a line at y."""
        self.line(410, y, 454, y, GREY)
        self.text(440, y + 20, number, anchor="end", bold=True)
        self.text(402, y + 20, text, GREY, "end")

    def save(self, name):
        """Write figures/NAME.svg beside this file."""
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
                f'height="{self.height}" font-family="{FONT}" font-size="{SIZE}" role="img">\n'
                f"<title>{escape(self.title)}</title>\n")
        marker = ('<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="11" markerHeight="11" '
                  'markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="context-stroke"/>'
                  "</marker></defs>\n")
        if not any("url(#arrow)" in part for part in self.parts):
            marker = ""
        card = (f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{self.height - 1}" rx="8" fill="{WHITE}" '
                f'stroke="{LIGHT}"/>\n')
        (Path(__file__).parent / f"{name}.svg").write_text(head + marker + card + "\n".join(self.parts) + "\n</svg>\n",
                                                           encoding="utf-8", newline="\n")
