"""A Sphinx extension that mends what the theme and its helpers get wrong on the pages of the site.

Bibliographies carry ARIA roles that were retired, folds have a label for screen readers that differs from the one
they show, sphinx-thebe puts scripts on every page for a button that these pages don't have (and one of them twice,
which is an error), sphinx-exercise switches figure numbers on (they would count through the whole book, while JupyterLab
counts in each chapter), and the theme ships templates of its own build as if they were pages.
"""

import re
from pathlib import Path

from docutils import nodes


def no_figure_numbers(app, config):
    """Figures are found by their captions."""
    config.numfig = False


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
    """The scripts of sphinx-thebe, which Jupyter Book always loads."""
    context["script_files"] = [script for script in context["script_files"]
                               if "thebe" not in str(script).lower() + script.attributes.get("body", "").lower()]


def remove_stray_pages(app, error):
    """Templates of the theme's own build, which are copied with its static files."""
    for path in Path(app.outdir).glob("_static/**/*.html"):
        path.unlink()


def setup(app):
    """Called by Sphinx."""
    app.connect("config-inited", no_figure_numbers, priority=900)
    app.connect("doctree-read", name_folds)
    app.connect("html-page-context", mend_body, priority=900)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", remove_stray_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
