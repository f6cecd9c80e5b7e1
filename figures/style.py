"""One visual language for every drawing: the palette, the type, and a small SVG canvas.

A drawing is a white card with rounded corners, so that it reads the same on a light and on a dark page.
Colours are Okabe and Ito's, which colour-blind readers can tell apart; the same thing has the same colour
throughout the book. `Canvas` writes the same bytes each time it is run.
"""

from pathlib import Path
from xml.sax.saxutils import escape

INK, GREY, LIGHT = "#1a1a1a", "#5f5f5f", "#e6e6e6"
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")

QUERY, KEY, VALUE = BLUE, ORANGE, GREEN  # the same thing has the same colour everywhere
CACHE, NEW_TOKEN, MASKED, STREAM = SKY, VERMILION, LIGHT, PURPLE
FONT = "'Source Sans 3', 'Segoe UI', Helvetica, Arial, sans-serif"
SIZE = 16  # px, at the drawing's own width


class Canvas:
    """A card of width x height px on which to draw; `save` writes figures/NAME.svg. (x, y) is top left."""

    def __init__(self, width, height, title):
        self.width, self.height, self.title = width, height, title
        self.parts = []

    def rect(self, x, y, w, h, fill="#ffffff", stroke=INK, rx=3, opacity=1):
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{rx:g}" fill="{fill}" '
                          f'fill-opacity="{opacity:g}" stroke="{stroke}"/>')

    def text(self, x, y, text, size=SIZE, fill=INK, anchor="middle", weight="normal", mono=False):
        """Text whose baseline is at y."""
        font = ' font-family="monospace"' if mono else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}" '
                          f'font-weight="{weight}"{font}>{escape(text)}</text>')

    def box(self, x, y, w, h, text, fill="#ffffff", size=SIZE, ink=INK, opacity=0.35):
        """A rectangle with its text in the middle; several lines where the text has line breaks."""
        self.rect(x, y, w, h, fill, opacity=opacity)
        lines = text.split("\n")
        for i, line in enumerate(lines):
            self.text(x + w / 2, y + h / 2 + size * (0.35 + 1.2 * (i - (len(lines) - 1) / 2)), line, size, ink)

    def line(self, x1, y1, x2, y2, stroke=INK, width=1.5, dash=None, arrow=False):
        extra = (f' stroke-dasharray="{dash}"' if dash else "") + (' marker-end="url(#arrow)"' if arrow else "")
        self.parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{stroke}" '
                          f'stroke-width="{width:g}"{extra}/>')

    def arrow(self, x1, y1, x2, y2, stroke=INK, width=1.5):
        self.line(x1, y1, x2, y2, stroke, width, arrow=True)

    def path(self, d, stroke=INK, fill="none", width=1.5, arrow=False):
        extra = ' marker-end="url(#arrow)"' if arrow else ""
        self.parts.append(f'<path d="{d}" stroke="{stroke}" fill="{fill}" stroke-width="{width:g}"{extra}/>')

    def circle(self, x, y, r, fill="#ffffff", stroke=INK):
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" fill="{fill}" stroke="{stroke}"/>')

    def grid(self, x, y, rows, cols, cell, fill, text=None, size=13):
        """rows x cols squares of `cell` px; fill(i, j) gives the colour, text(i, j) the label of square i, j."""
        for i in range(rows):
            for j in range(cols):
                self.rect(x + j * cell, y + i * cell, cell, cell, fill(i, j), stroke="#ffffff", rx=2)
                if text and text(i, j):
                    self.text(x + (j + 0.5) * cell, y + (i + 0.5) * cell + size * 0.35, text(i, j), size)

    def save(self, name):
        """Write figures/NAME.svg beside this file."""
        svg = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
               f'width="{self.width}" height="{self.height}" font-family="{FONT}" role="img">\n'
               f"<title>{escape(self.title)}</title>\n"
               '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
               'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="context-stroke"/></marker></defs>\n'
               f'<rect x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="8" fill="#ffffff" '
               'stroke="#d0d0d0"/>\n' + "\n".join(self.parts) + "\n</svg>\n")
        (Path(__file__).parent / f"{name}.svg").write_text(svg, encoding="utf-8", newline="\n")
