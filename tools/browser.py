"""What looks at the site in a browser shares: where Chromium is, and how axe-core is asked."""

import os
import shutil
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe

# Every rule that axe-core has for levels A and AA, and its advice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"]
# Ten thousand coloured tokens of code would keep axe-core busy for minutes: leave one of each kind in its span.
ONE_TOKEN_OF_EACH_KIND = """() => {
    const seen = new Set();
    for (const span of document.querySelectorAll(".highlight pre span")) {
        const kind = (span.closest(".cell_output") ? "output " : "input ") + span.className;
        if (seen.has(kind)) span.replaceWith(...span.childNodes); else seen.add(kind);
    }
    document.body.normalize();
}"""


def find_chromium(playwright):
    """The path of a Chromium: from GPTBOOK_CHROMIUM, the PATH, the usual place on macOS, or playwright's own."""
    candidates = [os.environ.get("GPTBOOK_CHROMIUM")]
    candidates += [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")]
    candidates += ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
                   playwright.chromium.executable_path]
    return next((c for c in candidates if c and Path(c).exists()), None)


def prepare_for_axe(page):
    """Open every fold and thin the colours of code out."""
    page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.evaluate(ONE_TOKEN_OF_EACH_KIND)


def violations(page, scheme, width, within=None):
    """What axe-core finds on a page (or within a selector) in "light" or "dark", at a width in pixels."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # or the theme would fade colours over
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
    # After a change of width the theme waits 300 ms before it looks what scrolls: by the page's own clock, however busy the machine is.
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 500)))")
    # What scrolls must take the focus; that one rule would have it otherwise.
    options = {"resultTypes": ["violations"], "runOnly": RULES, "rules": {"focus-order-semantics": {"enabled": False}}}
    return Axe().run(page, options=options, context=within).response["violations"]
