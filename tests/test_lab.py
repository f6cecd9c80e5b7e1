"""A chapter in the real JupyterLab: opened in a browser, run, saved, and its text twin written by the pairing."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest
from conftest import NOTEBOOKS, ROOT, chapters

CHAPTER = next(path for path in NOTEBOOKS if path.name.startswith("02_"))
SECONDS = 300  # for the start, and for the run; a slow machine may take them


@pytest.fixture
def lab(tmp_path):
    """(address, folder) of a JupyterLab of its own on a copy of one chapter, without outputs and without its twin."""
    folder = tmp_path / "book"
    (folder / "chapters" / "text").mkdir(parents=True)
    for needed in ("figures", "gptbook"):
        shutil.copytree(ROOT / needed, folder / needed, ignore=shutil.ignore_patterns("__pycache__"))
    notebook = nbformat.read(CHAPTER, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / "chapters" / CHAPTER.name)

    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    environment = {**os.environ, "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
                   "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
                   "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"), "IPYTHONDIR": str(tmp_path / "ipython")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with open(tmp_path / "lab.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={folder}",
             f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password="],
            env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + SECONDS
            while True:
                try:
                    urllib.request.urlopen(f"{address}/api/status", timeout=10)
                    break
                except (urllib.error.URLError, OSError):
                    assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "lab.log").read_text()
                    time.sleep(0.5)
            yield address, folder
        finally:
            server.terminate()  # takes its kernels with it
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def test_a_chapter_runs_and_is_paired(browser, lab):
    address, folder = lab
    stored = folder / "chapters" / CHAPTER.name
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{address}/lab/tree/chapters/{CHAPTER.name}", timeout=SECONDS * 1000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=SECONDS * 1000)
    page.wait_for_selector(".jp-Notebook .jp-RenderedMarkdown h1, .jp-Notebook .myst h1", timeout=SECONDS * 1000)
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
    page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()

    deadline = time.monotonic() + SECONDS
    while True:  # saving shows how far it has come
        page.wait_for_timeout(3000)
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1000)
        code = [cell for cell in nbformat.read(stored, as_version=4).cells if cell.cell_type == "code"]
        failed = [output for cell in code for output in cell.outputs if output.output_type == "error"]
        assert not failed, failed
        if all(cell.execution_count for cell in code):
            break
        done = sum(bool(cell.execution_count) for cell in code)
        assert time.monotonic() < deadline, f"{done} of {len(code)} cells were run in {SECONDS} s"
    page.close()
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    twin = folder / "chapters" / "text" / f"{CHAPTER.stem}.md"
    assert twin.exists(), "saving wrote no text twin: the pairing is not active"
    assert chapters.read_twin(twin).cells[0].source == nbformat.read(CHAPTER, as_version=4).cells[0].source
    assert twin.read_text("utf-8") == chapters.twin_of(CHAPTER).read_text("utf-8")


EXPLORING = next(path for path in NOTEBOOKS if path.name.startswith("14_"))


def live_notebook():
    """Chapter 14's cells with widgets, and of the others those that they need, as a notebook without outputs."""
    chapter = nbformat.read(EXPLORING, as_version=4)
    code = [cell for cell in chapter.cells if cell.cell_type == "code"]
    needed = [cell for cell in code if "live" in cell.metadata.get("tags", []) or "\nSENTENCE = " in "\n" + cell.source]
    imports = [cell for cell in code if "\nimport " in "\n" + cell.source and "#| default_exp" not in cell.source][:2]
    first = nbformat.v4.new_code_cell("from gptbook.explore import *")
    for cell in [*imports, *needed]:
        cell.outputs, cell.execution_count = [], None
    title = nbformat.v4.new_markdown_cell("# The cells with widgets")
    notebook = nbformat.v4.new_notebook(cells=[title, *imports, first, *needed], metadata={"kernelspec": chapter.metadata.kernelspec})
    assert len(imports) == 2 and len(needed) == 6
    return notebook


def test_widgets_ask_the_live_model(browser, lab):
    address, folder = lab
    nbformat.write(live_notebook(), folder / "chapters" / "live.ipynb")
    page = browser.new_page(viewport={"width": 1400, "height": 4000})  # JupyterLab draws only cells in sight
    page.set_default_timeout(SECONDS * 1000)
    page.goto(f"{address}/lab/tree/chapters/live.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-RenderedMarkdown h1, .jp-Notebook .myst h1")
    deadline = time.monotonic() + SECONDS
    while not page.locator(".jp-InputPrompt", has_text=re.compile(r"[*\d]")).count():  # asked too early, it runs nothing
        assert time.monotonic() < deadline, "no cell was run"
        page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
        page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
        page.wait_for_timeout(10_000)

    outputs = page.locator(".jp-Cell-outputArea", has=page.locator(".widget-dropdown"))
    for n in range(3):
        outputs.nth(n).locator(".gv .said").wait_for(state="attached")
    attention, lens, following = (outputs.nth(n) for n in range(3))
    assert attention.locator(".said").text_content().startswith("Layer 3, head 3: ")

    def becomes(part, beginning):
        """Wait until the text below a drawing begins so."""
        part.locator(".said", has_text=beginning).wait_for(state="attached")

    attention.locator(".widget-dropdown select").nth(1).select_option("0")  # the layer
    becomes(attention, "Layer 0, head 3: ")
    text = attention.locator(".widget-text input")
    text.fill("Mary walked")
    text.press("Enter")
    becomes(attention, "walked”")  # the last token asks

    # The drawing's own keys, which JupyterLab would otherwise take for its own.
    active = page.locator(".jp-Cell.jp-mod-active").first.evaluate("e => [...e.parentNode.children].indexOf(e)")
    attention.locator("input[type=radio]:checked").focus()
    page.keyboard.press("ArrowRight")
    becomes(attention, "Layer 1, head 0: ")
    assert page.locator(".jp-Cell.jp-mod-active").first.evaluate("e => [...e.parentNode.children].indexOf(e)") == active

    text.fill("$$$$")
    text.press("Enter")
    becomes(attention, "attends most to “$”")
    lens.locator(".widget-text input").fill("I")
    lens.locator(".widget-text input").press("Enter")
    becomes(lens, "of 1 tokens")
    before = following.locator(".jp-OutputArea").first.text_content()
    following.locator(".widget-hslider .noUi-handle").first.focus()  # the temperature
    page.keyboard.press("ArrowRight")
    becomes(following, "tokens can be drawn")
    page.wait_for_function("([e, before]) => e.textContent !== before",
                           arg=[following.locator(".jp-OutputArea").first.element_handle(), before])
    assert following.locator(".at").first.text_content() == "0.85"
    # What stands between two dollars is no formula, and by now it would have been set as one.
    assert attention.locator(".said").text_content().startswith("Layer 0, head 3: “$” (3) attends most to “$” (")
    page.close()
