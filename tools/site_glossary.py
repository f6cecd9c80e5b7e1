"""A Sphinx extension: in each chapter, the first use of a word of the glossary links to its entry and shows it on hover or focus.

The definitions are written into the page, so nothing is fetched; _static/book.js shows and hides them. Words that also have
another meaning are marked only where the text sets them in italics, as it does where it introduces them.
"""

import html
import re

from docutils import nodes
from site_math import chapter_number
from sphinx import addnodes

GLOSSARY = "appendix/notation"
ONLY_IN_ITALICS = {"activation", "block", "collective", "key", "parameter", "query", "rank", "shard", "stride", "temperature", "value",
                   "warm-up"}
# Formulas, code, links and headings are left as they are.
LEFT_ALONE = (nodes.title, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.reference, nodes.raw,
              nodes.caption, nodes.citation, addnodes.pending_xref, addnodes.download_reference)


class GlossaryLink(nodes.Inline, nodes.TextElement):
    """A word that shows its definition."""


def entries(app):
    """{term: (id of its entry, paragraph that defines it)} of the glossary."""
    found = {}
    for item in app.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        term = next(item.findall(nodes.term))
        if term["ids"]:
            found[term.astext().split("\n")[0]] = term["ids"][0], next(item.findall(nodes.paragraph))
    return found


def pattern(term):
    """How a term may be written in a sentence: with a capital, and in the plural."""
    words = re.escape(term).replace(r"\ ", r"\s+")
    first = f"[{term[0].upper()}{term[0].lower()}]" + words[1:] if term[0].isalpha() and term[1:].islower() else words
    return re.compile(rf"(?<![\w-]){first}(?:e?s)?(?![\w-])")


def prose(doctree):
    """The pieces of text in which words may be marked, in their order."""
    for text in doctree.findall(nodes.Text):
        above = [text.parent]
        while above[-1].parent is not None:
            above.append(above[-1].parent)
        if not any(isinstance(node, LEFT_ALONE) for node in above) and any(isinstance(node, nodes.paragraph) for node in above):
            yield text


def link_terms(app, doctree, docname):
    """Mark the first use of each term, the longest terms first: "causal mask" is not the mask of another entry."""
    if chapter_number(docname) is None or app.builder.format != "html":
        return
    target = app.builder.get_relative_uri(docname, GLOSSARY)
    known = entries(app)
    texts = list(prose(doctree))
    for term in sorted(known, key=len, reverse=True):
        name, definition = known[term]
        for i, text in enumerate(texts):
            if term in ONLY_IN_ITALICS and not isinstance(text.parent, nodes.emphasis):
                continue
            match = pattern(term).search(text)
            if match:
                said = app.builder.render_partial(definition)["fragment"]
                said = re.sub(r"^<p>|</p>$", "", said.strip())
                marked = GlossaryLink("", match[0], refuri=f"{target}#{name}", definition=said)
                parts = [part for part in (nodes.Text(text[:match.start()]), marked, nodes.Text(text[match.end():])) if part.astext()]
                text.parent.replace(text, parts)
                texts[i:i + 1] = [part for part in parts if part is not marked]
                break


def visit(translator, node):
    """The start of the link."""
    translator.body.append(f'<a class="term" href="{node["refuri"]}" data-definition="{html.escape(node["definition"])}">')


def depart(translator, node):
    """Its end."""
    translator.body.append("</a>")


def setup(app):
    """Called by Sphinx."""
    app.add_node(GlossaryLink, html=(visit, depart))
    app.connect("doctree-resolved", link_terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
