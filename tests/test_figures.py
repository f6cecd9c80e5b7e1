"""The pictures: drawn by code to the same bytes, in one palette and one type, legible on a telephone, told in words."""

import io
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache

import numpy as np
import pytest
from conftest import NOTEBOOKS, ROOT, cells
from PIL import Image

FIGURES = ROOT / "figures"
DRAWINGS = sorted(FIGURES.glob("*.svg"))
OKABE_ITO = {"#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}
PHONE = 312       # px that a page of 360 px leaves to a drawing
SMALLEST = 10.5   # px: the least size of type there
DARK = "#15181c"  # the page's colour at night, against which a drawing without a card would be lost

# What is seen of one drawing: each text's words, colour, height of type and box, in px of the picture.
TEXTS = """svg => {
    const frame = svg.getBoundingClientRect(), scale = frame.width / svg.viewBox.baseVal.width;
    return [...svg.querySelectorAll("text")].map(text => {
        const box = text.getBoundingClientRect(), style = getComputedStyle(text);
        return {words: text.textContent, type: parseFloat(style.fontSize) * scale,
                colour: style.fill.match(/[0-9]+/g).slice(0, 3).map(Number),
                box: [box.left - frame.left, box.top - frame.top, box.right - frame.left, box.bottom - frame.top]};
    });
}"""


@cache
def figures():
    """Every picture that a page shows from a file: [(page, the picture's path, alternative text)]."""
    found = []
    for page in [*sorted((ROOT / "chapters/text").glob("*.md")), ROOT / "README.md", ROOT / "index.md",
                 *sorted((ROOT / "appendix").glob("*.md"))]:
        text = page.read_text("utf-8")
        for source, options in re.findall(r"^```\{figure\} (\S+)\n((?::[\w-]+:.*\n)*)", text, re.MULTILINE):
            alt = re.search(r"^:alt: *(.*)$", options, re.MULTILINE)
            found.append((page.name, (page.parent / source).resolve() if page.parent.name != "text" else
                          (page.parents[1] / source).resolve(), alt[1] if alt else ""))
        found += [(page.name, (page.parent / source).resolve(), alt)
                  for alt, source in re.findall(r"!\[([^\]]*)\]\((\S+?)\)", text)]
    return found


@cache
def plots():
    """Every picture that a cell draws: [(chapter, alternative text)]."""
    return [(path.name, cell.metadata.get("mystnb", {}).get("image", {}).get("alt", ""))
            for path in NOTEBOOKS for cell in cells(path, "code")
            if any("image/png" in output.get("data", {}) for output in cell.outputs)]


def luminance(rgb):
    """Relative luminance as WCAG 2 defines it, of colours (..., 3) from 0 to 255."""
    share = np.asarray(rgb) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    """Contrast of colours as WCAG 2 defines it: 1 to 21."""
    light, dark = np.maximum(luminance(a), luminance(b)), np.minimum(luminance(a), luminance(b))
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def seen(browser):
    """{name: (its texts, a picture (height, width, 3) of what lies behind them)} at a telephone's width, by night."""
    found = {}
    context = browser.new_context(viewport={"width": PHONE, "height": 800}, device_scale_factor=2)
    page = context.new_page()
    for path in DRAWINGS:
        page.set_content(f"<style>body {{ margin: 0; background: {DARK} }} svg {{ width: {PHONE}px; height: auto; "
                         f"display: block }} .bare text {{ opacity: 0 }}</style>{path.read_text('utf-8')}")
        drawing = page.locator("svg")
        texts = drawing.evaluate(TEXTS)
        drawing.evaluate("svg => svg.classList.add('bare')")
        pixels = np.asarray(Image.open(io.BytesIO(drawing.screenshot())).convert("RGB"))
        found[path.stem] = texts, pixels
    context.close()
    return found


def test_make_figures_draws_every_figure_again_to_the_same_bytes(tmp_path):
    (tmp_path / "figures").mkdir()
    for path in [ROOT / "Makefile", *FIGURES.glob("*.py")]:
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    (tmp_path / "ready").touch()
    done = subprocess.run(["make", "figures", f"BIN={os.path.dirname(sys.executable)}", "READY=ready", "-o", "ready"],
                          cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "figures").glob("*.svg")}
    assert sorted(drawn) == [path.name for path in DRAWINGS]
    assert [path.name for path in DRAWINGS if drawn[path.name] != path.read_bytes()] == []


def test_every_drawing_stands_on_a_page_and_every_picture_of_a_page_exists():
    used = {path for _, path, _ in figures()}
    assert not [path for path in used if not path.is_file()]
    assert not [path.name for path in DRAWINGS if path not in used]


def test_every_picture_is_told_in_words_of_its_own():
    told = figures() + [(page, None, alt) for page, alt in plots()]
    assert len(plots()) > 10
    short = [(page, alt) for page, _, alt in told if len(alt.split()) < 10 or not alt.rstrip().endswith(".")]
    assert not short, f"not a sentence that says what is to be seen: {short}"
    different = {(alt, path) for _, path, alt in figures()} | {(alt, i) for i, (_, alt) in enumerate(plots())}
    twice = [alt for alt, times in Counter(alt for alt, _ in different).items() if times > 1]
    assert not twice, f"the same words for different pictures: {twice}"


def test_palette():
    for path in DRAWINGS:
        colours = {colour.lower() for colour in re.findall(r'(?:fill|stroke)="([^"]+)"', path.read_text("utf-8"))}
        grey = {c for c in colours if re.fullmatch(r"#([0-9a-f]{2})\1\1", c)} | {"none", "context-stroke"}
        assert not colours - grey - OKABE_ITO, f"{path.name}: {colours - grey - OKABE_ITO}"
    for path in FIGURES.glob("[0-9]*.py"):
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b|font-size", path.read_text("utf-8")), f"{path.name}: take it from style.py"


def test_one_size_of_type_and_legible_on_a_telephone(seen):
    for name, (texts, _) in seen.items():
        sizes = {round(text["type"], 2) for text in texts}
        assert len(sizes) == 1 and min(sizes) >= SMALLEST, f"{name}: type of {sizes} px on a page of 360 px"


def test_no_text_is_cut_off_or_lies_on_another(seen):
    for name, (texts, pixels) in seen.items():
        height, width = pixels.shape[0] / 2, pixels.shape[1] / 2
        for i, text in enumerate(texts):
            left, top, right, bottom = text["box"]
            assert 3 < left and 3 < top and right < width - 3 and bottom < height - 2, f"{name}: {text['words']!r} is at the rim"
            for other in texts[:i]:
                wide = min(right, other["box"][2]) - max(left, other["box"][0])
                high = min(bottom, other["box"][3]) - max(top, other["box"][1])
                assert wide < 0.5 or high < 1.5, f"{name}: {text['words']!r} lies on {other['words']!r}"


def test_nothing_but_one_plain_colour_lies_behind_a_text_and_it_contrasts(seen):
    for name, (texts, pixels) in seen.items():
        for text in texts:
            left, top, right, bottom = text["box"]
            # The letters themselves: without the room that a line keeps above and below them.
            inset = min(bottom - top, right - left) * 0.16
            behind = pixels[round(2 * (top + inset)):round(2 * (bottom - inset)), round(2 * left):round(2 * right)]
            assert contrast(behind, text["colour"]).min() >= 4.5, f"{name}: {text['words']!r} does not stand out"
            spread = behind.reshape(-1, 3).max(0).astype(int) - behind.reshape(-1, 3).min(0)
            assert spread.max() <= 8, f"{name}: something runs behind {text['words']!r}"
