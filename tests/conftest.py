"""What several test files need: the notebooks, the modules they export, and a browser."""

import ast
import importlib
import os
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import chapters  # noqa: E402  tools/chapters.py, which also makes the notebooks
from browser import find_chromium  # noqa: E402  tools/browser.py

# Tests that are left out unless asked for: marker -> (option, what it costs).
OPT_IN = {"slow": ("--runslow", "minutes and gigabytes, for GPT-2's larger sizes, texts of 2 GB and runs killed fifty times"),
          "internet": ("--internet", "downloads from the Hugging Face Hub")}


def pytest_addoption(parser):
    for marker, (option, cost) in OPT_IN.items():
        parser.addoption(option, action="store_true", help=f"also run the tests marked {marker}: {cost}")


def pytest_configure(config):
    for marker, (option, cost) in OPT_IN.items():
        config.addinivalue_line("markers", f"{marker}: runs only with {option}: {cost}")


def pytest_collection_modifyitems(config, items):
    for marker, (option, cost) in OPT_IN.items():
        if not config.getoption(option):
            skip = pytest.mark.skip(reason=f"needs {option}: {cost}")
            for item in items:
                if marker in item.keywords:
                    item.add_marker(skip)


NOTEBOOKS = chapters.notebooks()
each_chapter = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def read(path):
    """A chapter's notebook, as stored."""
    return nbformat.read(path, as_version=4)


def cells(path, kind, tag=None):
    """The cells of a chapter of one kind ("code", "markdown"), of those with `tag` if one is given."""
    return [c for c in read(path).cells
            if c.cell_type == kind and (tag is None or tag in c.metadata.get("tags", []))]


def without_magics(source):
    """The source of a cell with IPython's own lines blanked, so that Python can parse it."""
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in source.split("\n"))


def exports(cell):
    """Whether a code cell goes into the package."""
    return cell.source.startswith("#| export")


@cache
def module_of(path):
    """The name of the module that a chapter exports."""
    for cell in cells(path, "code"):
        if cell.source.startswith("#| default_exp"):
            return cell.source.split()[2]
    raise AssertionError(f"{path.name} has no cell `#| default_exp module`")


MODULE_NAMES = [module_of(path) for path in NOTEBOOKS]


def public_names(module):
    """The public names of one of the package's modules."""
    return list(importlib.import_module(f"gptbook.{module}").__all__)


@cache
def definers():
    """For every public name of the package, the modules that define it, in the order of the chapters."""
    found = {}
    for path in NOTEBOOKS:
        for name in public_names(module_of(path)):
            found.setdefault(name, []).append(module_of(path))
    return found


def top_level_names(source):
    """The names that functions, classes and assignments bind at the top level of some code."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return names


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; without one the test is skipped, or fails where GPTBOOK_REQUIRE_BROWSER is set."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = find_chromium(playwright)
        if chromium is None:
            message = ("no Chromium found: `apt install chromium`, or `.venv/bin/playwright install chromium`, "
                       "or set GPTBOOK_CHROMIUM to one")
            (pytest.fail if os.environ.get("GPTBOOK_REQUIRE_BROWSER") else pytest.skip)(message)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watch(TorchDispatchMode):
    """Bytes copied or concatenated, and the largest result with memory of its own."""

    written = largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.cat.default, torch.ops.aten.copy_.default, torch.ops.aten.clone.default):
            self.written += out.nbytes
        for t in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() not in known:
                self.largest = max(self.largest, t.nbytes)
        return out
