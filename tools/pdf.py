"""The whole book as one PDF, printed by Chromium from the pages of the site: `make pdf`.

    python tools/pdf.py _build/html _build/gptbook.pdf

The articles of all pages, in the order of the table of contents, become one page with a title and a table of contents in front. Links
between pages become links inside it, folds are open, long lines of code are wrapped. It is printed twice: the first time tells on
which sheet each heading stands.
"""

import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from browser import find_chromium
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[1]
# What is of use on a screen only.
SCREEN_ONLY = "script, a.headerlink, .sd-summary-state-marker, .sd-summary-chevron-right, .chapter-links, .toctree-wrapper, button, .visually-hidden, #searchbox"
FOOTER = ('<div style="width: 100%; font: 8px Liberation Sans, Arial, sans-serif; text-align: center; color: #535b66">'
          '<span class="pageNumber"></span></div>')
PAGE = {"format": "A4", "margin": {"top": "18mm", "bottom": "18mm", "left": "20mm", "right": "20mm"}}
WIDTH = 642  # pixels of 1/96 inch between the margins
WIDER = """() => [...document.querySelectorAll("pre, table, img, .formula, p, li")].filter(
    e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 || e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.outerHTML.slice(0, 200))"""
STYLE = """
html, body { background: #fff; scroll-padding-top: 0; }
body { font-size: 10.2pt; margin: 0; }
.bd-article p, .bd-article li, .bd-article dd { line-height: 1.45; }
.bd-article p, .bd-article ul, .bd-article ol, .bd-article div.math { max-width: none; }
.bd-article { padding: 0; }
article.page { break-before: page; }
h1 { font-size: 24pt !important; margin-top: 0 !important; }
h2 { font-size: 15pt !important; margin-top: 1.6rem !important; }
h3 { font-size: 12pt !important; }
h1, h2, h3, h4, p.admonition-title, summary { break-after: avoid; }
p, li, dd { orphans: 3; widows: 3; }
figure, img, svg, tr, div.math, p.rubric { break-inside: avoid; }
figure img { max-height: 20cm; width: auto; max-width: 100%; }
.bd-article figcaption { max-width: none; }
pre, div.cell div.cell_input pre, div.cell div.cell_output pre, .reference-entry pre {
  font-size: 7.3pt !important; line-height: 1.4 !important; white-space: pre-wrap !important; overflow-wrap: anywhere; overflow: visible !important;
  orphans: 3; widows: 3;
}
pre, blockquote, div.cell, div.highlight, div[class*=highlight-] { break-inside: auto !important; display: block !important; }
*, *::before, *::after { animation: none !important; transition: none !important; }
div.cell > div.cell_input, div.cell details.hide div.cell_input, div.highlight { overflow: visible !important; }
div.cell { margin-bottom: 0.9rem; }
div.cell div.cell_output { break-before: avoid; margin-top: 0.2rem; }
div.cell_output img { max-height: 14cm; width: auto !important; max-width: 88%; }
.cell_output p span { white-space: pre-wrap !important; overflow-wrap: anywhere; }
table { font-size: 8.6pt; width: 100%; }
.bd-article td, .bd-article th { padding: 0.2rem 0.45rem; white-space: normal; overflow-wrap: break-word; }
.bd-article .pst-scrollable-table-container { overflow: visible; }
div.math .formula { overflow: visible; }
a.term { text-decoration: none !important; }
.bd-article a { text-decoration-thickness: 0.5px; }
div.admonition, details.sd-dropdown { break-inside: avoid; }
details > summary { list-style: none; }
.front { height: 24cm; display: flex; flex-direction: column; justify-content: center; }
.front p.title { font-size: 34pt; font-weight: 700; line-height: 1.15; margin: 0 0 1rem; }
.front p { font-size: 13pt; margin: 0 0 0.6rem; }
nav.toc { break-before: page; }
nav.toc code { padding: 0; border: 0; background: none; color: inherit; font-size: 0.95em; }
nav.toc p.heading { font-size: 24pt; font-weight: 700; }
nav.toc a { display: flex; gap: 0.6rem; color: inherit; text-decoration: none; font-size: 9pt; line-height: 1.5; }
nav.toc a.chapter { font-weight: 700; font-size: 10.5pt; margin-top: 0.7rem; break-after: avoid; }
nav.toc a span:first-child { flex: 1; }
nav.toc a span:last-child { width: 3em; text-align: right; font-variant-numeric: tabular-nums; }
"""


def pages_in_order(site):
    """The pages of the book, in the order of the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    names = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    return [site / f"{name}.html" for name in names]


def take_article(path, number, numbers):
    """The article of a page, with ids, links and addresses of pictures that hold on a page of all pages."""
    soup = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    article = soup.select_one("article.bd-article")
    for element in article.select(SCREEN_ONLY):
        element.decompose()
    for fold in article.select("details"):
        fold["open"] = ""
    for element in article.select("[id]"):
        element["id"] = f"page{number}-{element['id']}"
    for element in article.select("[for], [aria-labelledby], [aria-describedby]"):
        for name in ("for", "aria-labelledby", "aria-describedby"):
            if element.get(name):
                element[name] = " ".join(f"page{number}-{part}" for part in str(element[name]).split())
    for image in article.select("img"):
        image["src"] = (path.parent / unquote(image["src"])).resolve().as_uri()
        image.attrs.pop("loading", None)
    for link in article.select("a[href]"):
        parts = urlsplit(link["href"])
        if parts.scheme:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target in numbers:
            link["href"] = f"#page{numbers[target]}" + (f"-{parts.fragment}" if parts.fragment else "")
        else:
            link.unwrap()
    article["class"] = ["bd-article", "page"]
    article["id"] = f"page{number}"
    return article


def assemble(site, sheets=()):
    """(HTML of the whole book, texts of its headings in order); `sheets` are the numbers of their pages."""
    site = site.resolve()
    paths = pages_in_order(site)
    numbers = {path: i for i, path in enumerate(paths)}
    articles = [take_article(path, i, numbers) for path, i in numbers.items()]
    styles = [urlsplit(link["href"]).path for link in BeautifulSoup(paths[1].read_text("utf-8"), "html.parser").select("link[rel=stylesheet]")]
    head = "".join(f'<link rel="stylesheet" href="{(paths[1].parent / style).resolve().as_uri()}">' for style in styles)
    rows, headings = [], []
    for i, article in enumerate(articles):
        for heading in article.select("h1, h2"):
            name = f"page{i}" if heading.name == "h1" else heading.find_parent("section")["id"]
            kind = "chapter" if heading.name == "h1" else "section"
            sheet = sheets[len(headings)] if len(headings) < len(sheets) else ""
            headings.append(heading.get_text().strip())
            rows.append(f'<a class="{kind}" href="#{name}"><span>{heading.decode_contents()}</span><span>{sheet}</span></a>')
    front = ('<div class="front"><p class="title">Build GPT-2,<br>cell by cell</p><p>gptbook: numbered notebooks that become a package</p>'
             "<p>Text and figures CC BY 4.0, code Apache-2.0</p></div>"
             f'<nav class="toc"><p class="heading">Contents</p>{"".join(rows)}</nav>')
    body = front + "".join(map(str, articles))
    return (f'<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8"><title>Build GPT-2, cell by cell'
            f"</title>{head}<style>{STYLE}</style></head><body>{body}</body></html>"), headings


def sheets_of(pdf, headings):
    """The page numbers of the headings, from the outline of a printed book."""
    reader = PdfReader(pdf)

    def walk(items, depth=0):
        for item in items:
            if isinstance(item, list):
                yield from walk(item, depth + 1)
            elif depth < 2:
                yield item.title.strip(), reader.get_destination_page_number(item) + 1

    found = list(walk(reader.outline))
    wanted = [" ".join(heading.split()) for heading in headings]
    if [" ".join(title.split()) for title, _ in found] != wanted:
        raise RuntimeError("the outline of the PDF differs from the headings of the book")
    return [sheet for _, sheet in found]


def write(site, out, times=2):
    """Print the book into `out`; the table of contents has numbers from the second time on."""
    whole = out.with_suffix(".html")
    with sync_playwright() as playwright:
        chromium = find_chromium(playwright) or sys.exit("no Chromium found: set GPTBOOK_CHROMIUM to one")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light", viewport={"width": WIDTH, "height": 900})
        page.emulate_media(media="print")
        page.set_default_timeout(600_000)
        sheets = ()
        for _ in range(times):
            text, headings = assemble(site, sheets)
            whole.write_text(text, "utf-8")
            page.goto(whole.resolve().as_uri())
            page.evaluate("() => document.fonts.ready.then(() => 0)")
            wider = page.evaluate(WIDER)
            if wider:
                raise RuntimeError("wider than the paper:\n" + "\n".join(wider))
            page.pdf(path=out, **PAGE, outline=True, tagged=True, print_background=True, display_header_footer=True,
                     header_template="<span></span>", footer_template=FOOTER)
            sheets = sheets_of(out, headings)
        browser.close()
    whole.unlink()
    return sheets


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{sys.argv[2]}: {len(PdfReader(sys.argv[2]).pages)} pages, {os.path.getsize(sys.argv[2]) / 1e6:.1f} MB")
