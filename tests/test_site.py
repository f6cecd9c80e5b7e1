"""The site: it builds without a warning, and what is built works offline, for everybody, in light and in dark."""

import copy
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from conftest import NOTEBOOKS, ROOT, cells, chapters, each_chapter, module_of, public_names
from pypdf import PdfReader

import site_reference  # of tools/, which conftest puts on the path
from browser import prepare_for_axe, violations

# Each page is checked in two of the four, wide and light, narrow and dark; a page of each kind also in the other two.
# benchmarks/site.py checks every page in all four.
VIEWS = [("light", 1280), ("dark", 360)]
OTHER_VIEWS = [("dark", 1280), ("light", 360)]
OF_EACH_KIND = ["index", "04_kv_cache", "notation"]
MAX_BYTES = 1_500_000  # of a page with all that it loads, besides its figures
REPOSITORY = "https://example.org/owner/book"
PATIENCE = 180_000  # milliseconds, for a machine that is busy with something else


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built pages, of a book that is published at an address that nobody has."""
    folder = tmp_path_factory.mktemp("site")
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    done = subprocess.run([*jupyter_book, "build", str(ROOT), "-W", "-n", "--keep-going", "--path-output", str(folder)],
                          capture_output=True, text=True, env={**os.environ, "GPTBOOK_REPOSITORY_URL": REPOSITORY})
    assert done.returncode == 0, done.stderr or done.stdout
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def parsed(site):
    """{path: BeautifulSoup} of every page."""
    return {path: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in sorted(site.rglob("*.html"))}


def page_of(parsed, stem):
    """The page of that name, such as "notation"."""
    return next(soup for path, soup in parsed.items() if path.stem == stem)


@dataclass
class Visit:
    """What was seen of one page in Chromium."""

    url: str
    requests: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    formulas: int = 0
    fonts: list = field(default_factory=list)
    open_solutions: int = 0
    too_wide: list = field(default_factory=list)
    violations: dict = field(default_factory=dict)


@pytest.fixture(scope="session")
def visits(browser, parsed):
    """{path: Visit} of every page, opened from its file, in light and in dark, wide and narrow."""
    found = {}
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
        prepare_for_axe(page)
        for scheme, width in VIEWS + OTHER_VIEWS * (path.stem in OF_EACH_KIND):
            visit.violations[scheme, width] = violations(page, scheme, width)
            across = page.evaluate("document.documentElement.scrollWidth")
            visit.too_wide += [(scheme, width, across)] * (across > width)
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
        article = copy.copy(soup.select_one("article"))
        for element in article.select("pre, code, .math, script, style") if article else []:
            element.extract()
        left = re.findall(r"\$[^$\n]*\\[a-z]+[^$\n]*\$|\\(?:frac|mathrm|begin)\b", article.get_text() if article else "")
        assert not left, f"{path.name}: {left} is not recognised as a formula"
    assert sum(visit.formulas for visit in visits.values()) > 300


@each_chapter
def test_figures_and_formulas_of_a_chapter_are_numbered(path, parsed):
    chapter, soup = int(path.name[:2]), page_of(parsed, path.stem)
    figures = [caption.get_text() for caption in soup.select("figure figcaption .caption-text")]
    assert figures and all(text.startswith(f"Figure {chapter}.{i}. ") for i, text in enumerate(figures, start=1)), figures
    formulas = [formula.get_text(strip=True) for formula in soup.select("div.math > .eqno")]
    assert formulas == [f"({chapter}.{i + 1})" for i in range(len(soup.select("div.math")))]


def test_figures_and_formulas_that_the_prose_names_have_those_numbers(parsed):
    numbered, named = set(), []
    for path, soup in parsed.items():
        numbered |= {f"figure {n}" for n in re.findall(r"Figure (\d+\.\d+)\. ", " ".join(
            caption.get_text() for caption in soup.select("figcaption .caption-text")))}
        numbered |= {f"formula {eqno.get_text(strip=True).strip('()')}" for eqno in soup.select("div.math > .eqno")}
        for link in soup.select("article a"):
            if name := re.fullmatch(r"(figure|formula) (\d+\.\d+)", link.get_text(strip=True), flags=re.I):
                target = soup.find(id=unquote(urlsplit(link["href"]).fragment))
                said = target.select_one(".caption-text, .eqno").get_text(strip=True)
                assert re.search(rf"\b{re.escape(name[2])}\b", said), f"{path.name}: {name[0]} leads to {said}"
                named.append(name[0])
    for path, soup in parsed.items():
        for paragraph in soup.select("article p"):
            for kind, number in re.findall(r"\b(figure|formula) (\d+\.\d+)\b", paragraph.get_text(), flags=re.I):
                assert paragraph.find_parent("figcaption") or f"{kind.lower()} {number}" in numbered, f"{path.name}: {kind} {number}"
    assert len(named) > 10, named


def test_every_image_says_what_it_shows(parsed):
    for path, soup in parsed.items():
        for image in soup.select("img"):
            alt = image.get("alt", "")
            assert len(alt.split()) > 2 and not re.search(r"\.(svg|png|jpe?g)$|[\\/]|^_", alt), \
                f"{path.name}: {image.get('src')} has the alternative text {alt!r}"


def test_every_link_leads_somewhere(site, parsed):
    anchors = {path: {e[a] for a in ("id", "name") for e in soup.select(f"[{a}]")} for path, soup in parsed.items()}
    dead, internal = [], 0
    for path, soup in parsed.items():
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


@pytest.mark.parametrize("scheme, width", VIEWS + OTHER_VIEWS)
def test_everybody_can_use_it(visits, scheme, width):
    # Everything that axe-core knows counts, not only what it calls serious.
    seen = {visit.url: visit.violations[scheme, width] for visit in visits.values() if (scheme, width) in visit.violations}
    assert len(seen) >= len(OF_EACH_KIND)
    said = [f"{url} in {scheme}, {width} wide: {v['impact']} {v['id']}: {v['help']}\n"
            + "\n".join(f"    {node['html'][:200]}: {node['failureSummary']}" for node in v["nodes"][:5]) for url, found in seen.items() for v in found]
    assert not said, "\n".join(said)


def test_pages_fit_their_screen(visits):
    assert not {visit.url: visit.too_wide for visit in visits.values() if visit.too_wide}


def test_pages_are_light(visits):
    heavy = {}
    for visit in visits.values():
        files = {unquote(urlsplit(url).path) for url in visit.requests if url.startswith("file:") and "/_images/" not in url}
        weight = sum(Path(file).stat().st_size for file in files)
        if weight > MAX_BYTES or not files:
            heavy[visit.url] = weight
    assert not heavy, heavy


def test_solutions_are_folded(visits, parsed):
    for notebook in NOTEBOOKS:
        path = next(p for p in parsed if p.stem == notebook.stem)
        folds = parsed[path].select(".tag_solution > details > summary")
        assert len(folds) == len(cells(notebook, "code", "solution")) > 0
        assert all(re.fullmatch(r"(\s*Solution \d+\.\d+\s*)+", fold.get_text()) for fold in folds)
        assert visits[path].open_solutions == 0


def test_the_stored_measurements_keep_the_limits(site):
    rows = json.loads((ROOT / "benchmarks" / "results" / "site.json").read_text())["pages"]
    assert set(rows) == {str(path.relative_to(site).with_suffix("")) for path in site.rglob("*.html")}, "run benchmarks/site.py"
    for name, row in rows.items():
        assert row["outside"] == 0 and row["bytes"] < MAX_BYTES and row["largest_paint_ms"] < 1000, (name, row)
        assert len(row["axe"]) == 4 and not any(row["axe"].values()), (name, row)


def open_page(browser, path, **context):
    """A page of the site, with the animations off."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce", **context).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(path.as_uri())
    return page


MARK_CONTROLS = """() => {
    const controls = [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")].filter(e =>
        e.checkVisibility({visibilityProperty: true}) && !e.closest("details:not([open]) > :not(summary)") && e.getClientRects().length && e.tabIndex >= 0 && !e.disabled
        && !(e.type === "radio" && !e.checked));  // a group of radio buttons is one stop; the arrow keys go through it
    controls.forEach((e, i) => { e.dataset.control = i; });
    return controls.map(e => e.outerHTML.slice(0, 160));
}"""
FOCUSED = """() => {
    const e = document.activeElement;
    const seen = marked => {  // the control itself, or the label around it, as with a radio button that is drawn as a picture
        const style = getComputedStyle(marked), box = marked.getBoundingClientRect();
        let opacity = 1;
        for (let up = marked; up; up = up.parentElement) opacity *= getComputedStyle(up).opacity;
        const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || marked === e && style.boxShadow !== "none";
        return ring && opacity > 0.4 && box.width > 0 && box.height > 0;
    };
    return {control: e.dataset.control, body: e === document.body, seen: [e, e.closest("label")].some(marked => marked && seen(marked))};
}"""


@pytest.mark.parametrize("name, width", [("index.html", 1280), ("index.html", 360), ("chapters/04_kv_cache.html", 1280),
                                         ("chapters/14_exploring.html", 360), ("appendix/notation.html", 360)])
def test_the_keyboard_reaches_every_control_and_shows_where_it_is(browser, site, name, width):
    page = open_page(browser, site / name)
    page.set_viewport_size({"width": width, "height": 900})
    controls, reached, unseen = page.evaluate(MARK_CONTROLS), set(), set()
    for _ in range(len(controls) + 20):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        if at["body"]:
            break
        if at["control"] is not None:
            reached.add(int(at["control"]))
            unseen |= set() if at["seen"] else {int(at["control"])}
    # The theme has code be a stop until it has found that it does not scroll.
    gone = set(page.evaluate("() => [...document.querySelectorAll('[data-control]')].filter(e => e.tabIndex < 0).map(e => +e.dataset.control)"))
    page.context.close()
    assert len(controls) > 5 and not [controls[i] for i in range(len(controls)) if i not in reached | gone]
    assert not [controls[i] for i in unseen], "the focus is not to be seen"


def test_the_switch_and_the_drawers_work_by_keyboard(browser, site):
    page = open_page(browser, site / "index.html", color_scheme="light")
    before = page.evaluate("document.documentElement.dataset.mode")
    page.focus(".theme-switch-button")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.mode") != before
    page.set_viewport_size({"width": 360, "height": 900})
    link = page.locator(".bd-sidebar-primary a", has_text="7. Training")
    assert not link.is_visible()
    page.focus("button.primary-toggle")
    page.keyboard.press("Enter")
    link.wait_for(state="visible")
    page.context.close()


@pytest.mark.parametrize("name", ["04_kv_cache", "14_exploring"])
def test_nobody_is_moved_about_who_asks_for_stillness(browser, site, name):
    page = open_page(browser, site / "chapters" / f"{name}.html")
    for knob in page.locator("[name=top_p]").all():  # the bars of a drawing go with it
        knob.focus()
        page.keyboard.press("ArrowLeft")
    moving = page.evaluate("""() => [...document.querySelectorAll("*")].filter(e => {
        const s = getComputedStyle(e), longest = times => Math.max(...times.split(",").map(parseFloat));
        return longest(s.transitionDuration) > 0.01 || longest(s.animationDuration) > 0.01 || s.scrollBehavior === "smooth";
    }).map(e => e.outerHTML.slice(0, 100))""")
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    fading = page.evaluate("() => document.getAnimations().map(a => a.effect.target.outerHTML.slice(0, 100))")  # colours change at once
    page.context.close()
    assert not moving, moving[:5]
    assert not fading, fading[:5]


def test_the_drawings_of_chapter_14_answer(browser, site):
    notebook = next(path for path in NOTEBOOKS if path.stem == "14_exploring")
    stored = [output.data["text/html"] for cell in cells(notebook, "code") for output in cell.outputs
              if 'class="gv' in output.get("data", {}).get("text/html", "")]
    page = open_page(browser, site / "chapters" / "14_exploring.html")
    assert page.locator("form.gv").count() == len(stored) > 3
    assert not page.locator(".gv [hidden], .gv [disabled]").count(), "the script has not run"
    for control, key in (("[type=radio]", "ArrowRight"), ("[name=row]", "ArrowLeft"), ("[name=top_p]", "ArrowLeft")):
        drawing = page.locator("form.gv", has=page.locator(control)).first
        before = drawing.locator(".said").text_content()
        drawing.locator(control).first.focus()
        page.keyboard.press(key)
        assert drawing.locator(".said").text_content() != before, f"{control} does nothing"
    page.context.close()


@each_chapter
def test_words_of_the_glossary_are_explained_at_their_first_use(path, parsed):
    soup = page_of(parsed, path.stem)
    glossary = page_of(parsed, "notation")
    known = {term["id"]: term for term in glossary.select("dl.glossary dt")}
    terms = soup.select("a.term")
    targets = [term["href"].split("#")[1] for term in terms]
    assert len(terms) >= 5 and len(set(targets)) == len(targets) and set(targets) <= set(known)
    for term, target in zip(terms, targets):
        definition = known[target].find_next_sibling("dd")
        said = BeautifulSoup(term["data-definition"], "html.parser")
        assert said.get_text(strip=True) == definition.get_text(strip=True) != ""
        assert not term.find_parent(["a", "h1", "h2", "h3", "pre", "code", "math", "figcaption"])


def test_a_definition_appears_on_hover_focus_and_touch_and_goes_with_escape(browser, site):
    page = open_page(browser, site / "chapters" / "07_training.html")
    box, term = page.locator("#book-definition"), page.locator("a.term").nth(2)
    page.locator("a.term").first.wait_for()
    assert not box.is_visible()
    term.hover()
    box.wait_for(state="visible")
    assert box.inner_text().startswith("The number that training makes smaller")
    box.hover()  # the pointer may go onto it
    page.wait_for_timeout(500)
    assert box.is_visible()
    page.mouse.move(2, 2)
    box.wait_for(state="hidden")

    term.focus()
    box.wait_for(state="visible")
    assert term.get_attribute("aria-describedby") == box.get_attribute("id") and box.get_attribute("role") == "tooltip"
    assert not violations(page, "light", 1280, within="#book-definition")
    page.keyboard.press("Escape")
    assert not box.is_visible() and page.evaluate("document.activeElement.className") == "term"
    page.context.close()

    page = open_page(browser, site / "chapters" / "07_training.html", has_touch=True)
    page.set_viewport_size({"width": 360, "height": 700})
    box, term = page.locator("#book-definition"), page.locator("a.term").nth(2)
    term.scroll_into_view_if_needed()
    term.tap()
    box.wait_for(state="visible")
    assert page.url.endswith("07_training.html")
    place = box.bounding_box()
    assert place["x"] >= 0 and place["x"] + place["width"] <= 360 and place["y"] >= 0
    term.tap()
    page.wait_for_url("**/appendix/notation.html#term-loss")
    page.context.close()


def plain(text):
    """Text without the differences that typesetting makes: spaces, quotes, dashes, backquotes."""
    return re.sub(r"[\s`'\"“”‘’…–—.-]+", "", text)


@each_chapter
def test_the_reference_has_every_name_with_its_words_and_its_cell(path, parsed):
    pages = {page.stem: soup for page, soup in parsed.items()}
    module, chapter = module_of(path), pages[path.stem]
    up = chapter.select_one(".chapter-links a")
    assert up["href"] == f"../appendix/reference.html#gptbook.{module}" and pages["reference"].find(id=f"gptbook.{module}")
    for name in public_names(module):
        section = pages["reference"].find(id=f"gptbook.{module}.{name}")
        assert section and name in section.select_one("pre").get_text()
        place = chapter.find(id=section.select_one(".defined-in a")["href"].split("#")[1])
        cell = place if "cell_input" in place.get("class", []) else place.find_parent(class_="cell_input")
        assert re.search(rf"^((class|def) {name}\b|{name}\b.* = )", cell.select_one("pre").get_text(), flags=re.M), name
        found = getattr(importlib.import_module(f"gptbook.{module}"), name)
        if inspect.isfunction(found) or inspect.isclass(found):
            assert plain(inspect.getdoc(found)) in plain(section.get_text()), name
        if inspect.isclass(found):
            methods = [n for n, v in vars(found).items() if not n.startswith("_") and inspect.isfunction(v)
                       and v.__code__.co_filename == inspect.getfile(found)]
            assert all(section.find(id=f"gptbook.{module}.{name}.{method}") for method in methods), name


@each_chapter
def test_a_chapter_leads_to_its_notebook_and_its_neighbours(path, site, parsed):
    page = site / "chapters" / f"{path.stem}.html"
    download = parsed[page].select_one(".chapter-links a[download]")
    assert (page.parent / download["href"]).read_bytes() == path.read_bytes()
    neighbours = {a["title"].split()[0]: Path(a["href"]).stem for a in parsed[page].select(".prev-next-area a")}
    i = NOTEBOOKS.index(path)
    assert neighbours["previous"] == (NOTEBOOKS[i - 1].stem if i else "index")
    assert i + 1 == len(NOTEBOOKS) or neighbours["next"] == NOTEBOOKS[i + 1].stem


def test_code_has_copy_buttons(browser, site):
    page = open_page(browser, site / "chapters" / "04_kv_cache.html")
    page.wait_for_selector("button.copybtn", state="attached")
    cells_without = page.locator(".cell_input .highlight:not(:has(button.copybtn))").count()
    page.context.close()
    assert cells_without == 0


@each_chapter
def test_edit_and_run_appear_where_a_repository_is_named(path, parsed):
    page = page_of(parsed, path.stem)
    links = {a.get_text(): a["href"] for a in page.select(".chapter-links a")}
    assert links["Edit this page"] == f"{REPOSITORY}/edit/main/chapters/text/{path.stem}.md" and chapters.twin_of(path).exists()
    assert links["Run on Binder"] == ("https://mybinder.org/v2/git/https%3A%2F%2Fexample.org%2Fowner%2Fbook/HEAD"
                                      f"?urlpath=lab/tree/chapters/{path.name}")
    at_github = site_reference.elsewhere("https://github.com/owner/book.git", f"chapters/{path.stem}", True)
    assert at_github[1][1].startswith("https://mybinder.org/v2/gh/owner/book/HEAD?")
    assert at_github[2] == ("Run in Colab", f"https://colab.research.google.com/github/owner/book/blob/main/chapters/{path.name}")
    assert site_reference.elsewhere("https://github.com/owner/book", f"chapters/{path.stem}", False) == at_github[:2]
    assert "Run in Colab" not in links
    assert site_reference.elsewhere("", f"chapters/{path.stem}", True) == []


def test_every_reference_has_a_title_and_an_address(parsed):
    works = page_of(parsed, "references").select(".citation-list .citation")
    assert len(works) == (ROOT / "references.bib").read_text("utf-8").count("\n@") + 1
    bare = [work.get_text(" ", strip=True) for work in works if not work.select_one("a[href^=https]") or len(work.get_text().split()) < 6]
    assert not bare


def test_the_sample_on_the_first_page_is_what_the_model_writes():
    page = (ROOT / "index.md").read_text("utf-8")
    quoted = "\n".join(line[1:].strip() for line in page.split("\n") if line.startswith(">"))
    arguments = shlex.split(re.search(r"gptbook (generate [^`]*--seed[^`]*)`", page)[1])
    done = subprocess.run([sys.executable, "-m", "gptbook", *arguments], capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    assert done.stdout.strip() == quoted.strip(), done.stderr


@pytest.fixture(scope="session")
def pdf(browser, site, tmp_path_factory):
    """The book as tools/pdf.py prints it, opened. `browser` says so where there is none."""
    path = tmp_path_factory.mktemp("pdf") / "gptbook.pdf"
    program = "import pathlib, sys; import pdf; pdf.write(*map(pathlib.Path, sys.argv[1:]), times=1)"  # numbers of sheets left out
    done = subprocess.run([sys.executable, "-c", program, str(site), str(path)], capture_output=True, text=True, cwd=ROOT / "tools")
    assert done.returncode == 0, done.stderr
    return PdfReader(path)


def test_the_pdf_has_the_whole_book_in_its_outline_and_every_link_resolves(pdf, parsed):
    titles = {page.stem: soup.select_one("h1").find(string=True) for page, soup in parsed.items() if soup.select_one("article h1")}
    wanted = [titles[Path(name).stem] for name in re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text("utf-8"))]
    assert [item.title.strip() for item in pdf.outline if not isinstance(item, list)] == wanted
    named, internal, outside = pdf.named_destinations, 0, []
    for page in pdf.pages:
        for annotation in (found.get_object() for found in page.get("/Annots") or []):
            action = annotation.get("/A", {})
            address = str(action.get("/URI", ""))
            if address:
                outside += [address] * (not address.startswith(("https://", "http://")))
            else:
                target = annotation.get("/Dest", action.get("/D"))
                assert target in named or isinstance(target, list), f"a link leads to {target}, which is nowhere"
                internal += 1
    assert internal > 500 and not outside, outside


def test_the_pdf_holds_code_and_solutions(pdf):
    # tools/pdf.py itself refuses to print what is wider than the paper. One chapter: reading 460 pages takes minutes.
    number = next(i for i, path in enumerate(NOTEBOOKS) if path.stem == "02_layers")
    starts = [pdf.get_destination_page_number(item) for item in pdf.outline if not isinstance(item, list)]
    pages = pdf.pages[starts[number + 1]:starts[number + 2]]  # the first page of the book comes before the chapters
    text = re.sub(r"\s+", "", "".join(page.extract_text() for page in pages))
    shown = [cell for cell in cells(NOTEBOOKS[number], "code") if "remove-cell" not in cell.metadata.get("tags", [])]
    assert any("solution" in cell.metadata.get("tags", []) for cell in shown)
    missing = [line for cell in shown for line in cell.source.split("\n") if re.sub(r"\s+", "", line) not in text]
    assert not missing, missing
