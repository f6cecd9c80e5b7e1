"""The site: it builds without a warning, and what is built works offline, for everybody, in light and in dark."""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from conftest import NOTEBOOKS, ROOT, cells, each_chapter

# Light: every rule that axe-core has for levels A and AA, and its advice. Dark: the rules that colours can break.
RULES = {"light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"],
         "dark": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
MODES = tuple(RULES)
# Ten thousand coloured tokens of code would keep axe-core busy for minutes: leave one of each kind in its span.
ONE_TOKEN_OF_EACH_KIND = """() => {
    const seen = new Set();
    for (const span of document.querySelectorAll(".highlight pre span")) {
        const kind = (span.closest(".cell_output") ? "output " : "input ") + span.className;
        if (seen.has(kind)) span.replaceWith(...span.childNodes); else seen.add(kind);
    }
    document.body.normalize();
}"""
PATIENCE = 180_000  # milliseconds, for a machine that is busy with something else


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("site")
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    done = subprocess.run([*jupyter_book, "build", str(ROOT), "-W", "-n", "--keep-going", "--path-output", str(folder)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or done.stdout
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def parsed(site):
    """{path: BeautifulSoup} of every page."""
    return {path: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in sorted(site.rglob("*.html"))}


@dataclass
class Visit:
    """What was seen of one page in Chromium."""

    url: str
    requests: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    formulas: int = 0
    fonts: list = field(default_factory=list)
    open_solutions: int = 0
    too_wide: dict = field(default_factory=dict)
    violations: dict = field(default_factory=dict)


@pytest.fixture(scope="session")
def visits(browser, parsed):
    """{path: Visit} of every page, opened from its file, in light and in dark, wide and narrow."""
    found, axe = {}, Axe()
    for path in parsed:
        visit = found[path] = Visit(path.as_uri())
        context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
        context.on("request", lambda request, visit=visit: visit.requests.append(request.url))
        context.on("weberror", lambda error, visit=visit: visit.errors.append(str(error.error)))
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(visit.url)
        page.evaluate("() => document.fonts.ready.then(() => 0)")
        visit.formulas = page.locator(".math math").evaluate_all(
            "all => all.filter(m => m.getBoundingClientRect().width > 2 && m.getBoundingClientRect().height > 4).length")
        visit.fonts = page.evaluate("() => [...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)")
        visit.open_solutions = page.locator(".tag_solution details[open]").count()
        page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.evaluate(ONE_TOKEN_OF_EACH_KIND)
        for mode in MODES:
            page.emulate_media(color_scheme=mode)
            page.wait_for_function(f"document.documentElement.dataset.theme === '{mode}'")
            page.wait_for_timeout(500)  # the theme fades colours over
            # What scrolls must take the focus; that one rule would have it otherwise.
            options = {"resultTypes": ["violations"], "runOnly": RULES[mode]}
            if mode == "light":
                options["rules"] = {"focus-order-semantics": {"enabled": False}}
            visit.violations[mode] = axe.run(page, options=options).response["violations"]
        page.set_viewport_size({"width": 360, "height": 800})
        visit.too_wide = page.evaluate("() => ({page: document.documentElement.scrollWidth, screen: innerWidth})")
        context.close()
    return found


def test_no_request_leaves_the_machine(visits):
    assert all(visit.requests for visit in visits.values())
    outside = {visit.url: [u for u in visit.requests if not u.startswith(("file:", "data:", "blob:"))]
               for visit in visits.values()}
    assert not any(outside.values()), outside


def test_no_page_throws_an_error(visits):
    assert not [(visit.url, visit.errors) for visit in visits.values() if visit.errors]


def test_formulas_are_drawn_in_their_font(visits, parsed):
    for path, soup in parsed.items():
        wanted = len(soup.select(".math"))
        assert visits[path].formulas == wanted, f"{path.name}: {visits[path].formulas} of {wanted} formulas are drawn"
        assert not wanted or any("gptbook Math" in font for font in visits[path].fonts), f"{path.name}: {visits[path].fonts}"
        assert all(math["alttext"] for math in soup.select("math"))
        article = soup.select_one("article")
        for element in article.select("pre, code, .math, script, style") if article else []:
            element.extract()
        left = re.findall(r"\$[^$\n]*\\[a-z]+[^$\n]*\$|\\(?:frac|mathrm|begin)\b", article.get_text() if article else "")
        assert not left, f"{path.name}: {left} is not recognised as a formula"
    assert sum(visit.formulas for visit in visits.values()) > 300


@each_chapter
def test_figures_and_formulas_of_a_chapter_are_numbered(path, parsed):
    chapter, soup = int(path.name[:2]), next(soup for page, soup in parsed.items() if page.stem == path.stem)
    figures = [caption.get_text() for caption in soup.select("figure figcaption .caption-text")]
    assert figures and all(text.startswith(f"Figure {chapter}.{i}. ") for i, text in enumerate(figures, start=1)), figures
    formulas = [formula.get_text(strip=True) for formula in soup.select("div.math > .eqno")]
    assert formulas == [f"({chapter}.{i + 1})" for i in range(len(soup.select("div.math")))]


def test_every_image_says_what_it_shows(site):
    for path in sorted(site.rglob("*.html")):
        for image in BeautifulSoup(path.read_text("utf-8"), "html.parser").select("img"):
            alt = image.get("alt", "")
            assert len(alt.split()) > 2 and not re.search(r"\.(svg|png|jpe?g)$|[\\/]|^_", alt), \
                f"{path.name}: {image.get('src')} has the alternative text {alt!r}"


def test_every_link_leads_somewhere(site):
    pages = {path: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in site.rglob("*.html")}
    anchors = {path: {e[a] for a in ("id", "name") for e in soup.select(f"[{a}]")} for path, soup in pages.items()}
    dead, internal = [], 0
    for path, soup in pages.items():
        for element, attribute in [(e, a) for a in ("href", "src") for e in soup.select(f"[{a}]")]:
            link = urlsplit(element[attribute])
            if link.scheme or link.netloc:
                continue
            internal += 1
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            fragment = unquote(link.fragment)
            if not target.is_file() or fragment and target in anchors and fragment not in anchors[target]:
                dead.append(f"{path.relative_to(site)}: {element[attribute]}")
    assert internal > 100 and not dead, dead


def test_search_finds_layernorm(browser, site):
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto((site / "search.html").as_uri() + "?q=LayerNorm")
    page.wait_for_selector("#search-results li a")
    found = [Path(urlsplit(a.get_attribute("href")).path).stem for a in page.locator("#search-results li a").all()]
    page.close()
    assert "02_layers" in found


@pytest.mark.parametrize("mode", MODES)
def test_everybody_can_use_it(visits, mode):
    # Everything that axe-core knows counts, not only what it calls serious.
    said = [f"{visit.url} in {mode}: {v['impact']} {v['id']}: {v['help']}\n"
            + "\n".join(f"    {node['html'][:200]}" for node in v["nodes"][:5])
            for visit in visits.values() for v in visit.violations[mode]]
    assert not said, "\n".join(said)


def test_pages_fit_a_narrow_screen(visits):
    wide = {visit.url: visit.too_wide for visit in visits.values() if visit.too_wide["page"] > visit.too_wide["screen"]}
    assert not wide


def test_solutions_are_folded(visits, parsed):
    for notebook in NOTEBOOKS:
        path = next(p for p in parsed if p.stem == notebook.stem)
        folds = BeautifulSoup(path.read_text("utf-8"), "html.parser").select(".tag_solution > details > summary")
        assert len(folds) == len(cells(notebook, "code", "solution")) > 0
        assert all(re.fullmatch(r"(\s*Solution \d+\.\d+\s*)+", fold.get_text()) for fold in folds)
        assert visits[path].open_solutions == 0
