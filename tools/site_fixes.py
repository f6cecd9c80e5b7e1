"""A Sphinx extension that mends what the theme and its helpers get wrong on the pages of the site.

Bibliographies carry ARIA roles that were retired, folds have a label for screen readers that differs from the one
they show, sphinx-thebe puts scripts on every page for a button that these pages don't have (and one of them twice,
which is an error), sphinx-exercise switches figure numbers on (they would count through the whole book, while JupyterLab
counts in each chapter, as is done here too), and the theme ships templates of its own build as if they were pages, and two
megabytes of icons, of which the pages use a dozen.
"""

import re
import shutil
from pathlib import Path

from docutils import nodes
from fontTools import subset
from fontTools.ttLib import TTFont
from site_math import chapter_number

ICONS = Path("_static", "vendor", "fontawesome")


def no_figure_numbers(app, config):
    """Figures are counted by `number_figures`."""
    config.numfig = False


def number_figures(app, doctree):
    """The captions of a chapter begin with "Figure 7.1", "Figure 7.2", ..."""
    chapter = chapter_number(app.env.docname)
    captions = [caption for figure in doctree.findall(nodes.figure) for caption in figure.findall(nodes.caption)]
    for i, caption in enumerate(captions if chapter else [], start=1):
        caption.insert(0, nodes.inline("", f"Figure {chapter}.{i}. ", classes=["figure-number"]))


def name_folds(app, doctree):
    """A folded cell that begins with `# Solution 3.2` is labelled "Solution 3.2"."""
    for cell in doctree.findall(nodes.container):
        if "solution" in cell.get("cell_metadata", {}).get("tags", []):
            cell["prompt_show"] = cell["prompt_hide"] = cell.astext().strip().split("\n")[0].lstrip("# ")


def mend_body(app, pagename, templatename, context, doctree):
    """The page's own HTML, with what assistive technology stumbles over removed."""
    body = context.get("body") or ""
    for retired in (' role="doc-biblioentry"', ' role="list"', ' aria-label="Toggle hidden content"'):
        body = body.replace(retired, "")
    # "Exercise (3.2 Causal mask)" reads better without its brackets.
    context["body"] = re.sub(r'(<p class="admonition-title">Exercise) \((.*)\)</p>', r"\1 \2</p>", body)


def drop_thebe(app, pagename, templatename, context, doctree):
    """The scripts and styles of sphinx-thebe, which Jupyter Book always loads."""
    context["script_files"] = [script for script in context["script_files"]
                               if "thebe" not in str(script).lower() + script.attributes.get("body", "").lower()]
    context["css_files"] = [style for style in context["css_files"] if "thebe" not in str(style.filename)]


def remove_stray_pages(app, error):
    """Templates of the theme's own build, which are copied with its static files."""
    for path in Path(app.outdir).glob("_static/**/*.html"):
        path.unlink()


def keep_used_icons(app, error):
    """Font Awesome's script, styles and fonts replaced by one font and one style with the icons that the pages use."""
    out = Path(app.outdir)
    vendor = next((folder.parent for folder in (out / ICONS).glob("*/js")), None)
    if error or vendor is None:
        return
    pages = {path: path.read_text("utf-8") for path in out.rglob("*.html")}
    named = set(re.findall(r"\bfa-[a-z-]+\b", " ".join(re.findall(r'class="([^"]*)"', "".join(pages.values())))))
    rules = re.findall(r'((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"\\([0-9a-f]+)"\}', (vendor / "css" / "all.min.css").read_text("utf-8"))
    codes = {name: code for selectors, code in rules for name in re.findall(r"\.(fa-[a-z0-9-]+):", selectors) if name in named}
    styles = "".join(path.read_text("utf-8") for path in out.glob("_static/**/*.css") if vendor not in path.parents)
    code_points = {int(code, 16) for code in {*codes.values(), *re.findall(r'"\\(f[0-9a-f]{3})"', styles)}}
    code_points |= {ord(c) for c in styles if "\ue000" <= c <= "\uf8ff"}
    font = TTFont(vendor / "webfonts" / "fa-solid-900.ttf")
    cut = subset.Subsetter()
    cut.populate(unicodes=code_points)
    cut.subset(font)
    font.flavor = "woff"
    font.save(out / ICONS / "icons.woff")
    (out / ICONS / "icons.css").write_text(ICON_STYLE + "".join(
        f'.{name}::before {{ content: "\\{code}"; }}\n' for name, code in sorted(codes.items())), "utf-8")
    shutil.copy(vendor / "LICENSE.txt", out / ICONS)
    shutil.rmtree(vendor)
    for path, text in pages.items():
        text = re.sub(r'\s*<link rel="preload"[^>]*/webfonts/[^>]*>|\s*<script src="[^"]*/fontawesome/[^>]*></script>', "", text)
        path.write_text(re.sub(r'(href="[^"]*/fontawesome/)[^"]*\.css[^"]*"', r'\1icons.css"', text), "utf-8")


ICON_STYLE = """/* Of Font Awesome Free (icons CC BY 4.0, font OFL 1.1; LICENSE.txt), the icons that these pages use. */
:root { --fa-style-family-classic: "Font Awesome 6 Free"; --fa-font-solid: normal 900 1em/1 "Font Awesome 6 Free"; }
@font-face { font-family: "Font Awesome 6 Free"; font-weight: 900; font-display: block; src: url(icons.woff); }
.fa-solid { font: var(--fa-font-solid); display: inline-block; text-rendering: auto; -webkit-font-smoothing: antialiased; }
.fa-lg { font-size: 1.25em; line-height: .05em; vertical-align: -.075em; }
"""


def setup(app):
    """Called by Sphinx."""
    app.connect("config-inited", no_figure_numbers, priority=900)
    app.connect("doctree-read", name_folds)
    app.connect("doctree-read", number_figures)
    app.connect("html-page-context", mend_body, priority=900)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", remove_stray_pages)
    app.connect("build-finished", keep_used_icons, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
