"""A Sphinx extension that writes formulas as MathML, which browsers draw themselves: no script, nothing to wait for.

A command that the converter doesn't know is a warning, and so an error of `make book`. Displayed formulas of a chapter are
numbered as (7.1), (7.2), ... The font is in _static/fonts.
"""

import html
import re

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx import addnodes
from sphinx.util import logging

CONVERTER = LatexToMathML(fancy_error=False)
log = logging.getLogger(__name__)


def chapter_number(docname):
    """7 for "chapters/07_training", None for another page."""
    found = re.match(r"chapters/(\d\d)_", docname)
    return int(found[1]) if found else None


def number_formulas(app, doctree):
    """Give each displayed formula of a chapter its number and a place to link to."""
    chapter = chapter_number(app.env.docname)
    for i, node in enumerate(doctree.findall(nodes.math_block), start=1):
        if chapter:
            node["book_number"] = f"{chapter}.{i}"
            node["ids"] = node["ids"] or [f"equation-{chapter}-{i}"]
    places = {node["label"]: node["ids"][0] for node in doctree.findall(nodes.math_block) if node.get("label")}
    for link in list(doctree.findall(addnodes.pending_xref)):  # Sphinx would put a number of its own in the place of the words
        if link.get("reftarget") in places:
            link.replace_self(nodes.reference("", link.astext(), refid=places[link["reftarget"]], internal=True))


def mathml(node, display):
    """The MathML of a formula, with its TeX as the text that is read where MathML is not."""
    tex = node.astext().strip()
    try:
        found = CONVERTER.convert_with_local_state(tex, displaystyle=display)
    except LatexError as error:
        log.warning("a formula is not understood: %s in %r", error, tex, location=node)
        return f"<code>{html.escape(tex)}</code>"
    return found.replace("<math", f'<math alttext="{html.escape(tex)}"', 1)


def visit_math(translator, node):
    """An inline formula."""
    translator.body.append(f'<span class="math">{mathml(node, display=False)}</span>')
    raise nodes.SkipNode


def visit_math_block(translator, node):
    """A displayed formula, with its number beside it."""
    number = node.get("book_number")
    ids = "".join(f' id="{name}"' for name in node["ids"][:1])
    said = f'<span class="eqno">({number})</span>' if number else ""
    translator.body.append(f'<div class="math"{ids}><div class="formula">{mathml(node, display=True)}</div>{said}</div>\n')
    raise nodes.SkipNode


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("doctree-read", number_formulas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
