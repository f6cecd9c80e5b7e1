"""The notebooks as they are stored, and the package, twins and figures that are made from them."""

import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from conftest import (MODULE_NAMES, NOTEBOOKS, ROOT, cells, chapters, definers, each_chapter, exports, module_of, public_names,
                      top_level_names, without_magics)
from prose_numbers import without_code

WRITTEN_BY_HAND = {"__init__.py", "__main__.py", "_version.py", "cli.py"}


def test_the_toc_lists_every_chapter():
    listed = re.findall(r"file: (chapters/\S+)", (ROOT / "_toc.yml").read_text("utf-8"))
    assert [f"chapters/{path.stem}" for path in NOTEBOOKS] + ["chapters/progress"] == listed


@each_chapter
def test_every_cell_was_run_once_and_in_order(path):
    counts = [cell.execution_count for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1)), "run the chapter from a fresh kernel: make chapters CH=NN"


@each_chapter
def test_outputs_hold_no_error_no_warning_and_are_small(path):
    for cell in cells(path, "code"):
        for output in cell.outputs:
            assert output.output_type != "error", f"an error under\n{cell.source}"
            assert output.get("name") != "stderr", f"{output.text!r} on stderr under\n{cell.source}"
        size = len(json.dumps(cell.outputs))
        assert size <= 200_000, f"{size} bytes of output under\n{cell.source}"


@each_chapter
def test_no_state_of_widgets_is_stored(path):
    assert "widgets" not in nbformat.read(path, as_version=4).metadata, "its page would fetch scripts from elsewhere"


@each_chapter
def test_text_twin_is_equal(path):
    twin = chapters.twin_of(path).read_text("utf-8")
    assert twin == chapters.twin_text(path), f"notebook and twin differ: make chapters CH={path.name[:2]}"


def test_no_twin_without_its_notebook():
    twins = {p.stem for p in (chapters.CHAPTERS / "text").iterdir()}
    assert twins == {path.stem for path in NOTEBOOKS}


def test_package_is_what_the_chapters_export(tmp_path):
    folder = tmp_path / "gptbook"
    folder.mkdir()
    shutil.copytree(ROOT / "chapters", tmp_path / "chapters")  # the modules name their notebook, relative to themselves
    chapters.export(chapters.notebooks(folder=tmp_path / "chapters"), folder)
    made = {p.name: p.read_bytes() for p in folder.glob("*.py") if p.name not in WRITTEN_BY_HAND}
    kept = {p.name: p.read_bytes() for p in (ROOT / "gptbook").glob("*.py") if p.name not in WRITTEN_BY_HAND}
    assert sorted(made) == sorted(kept), "a module has no chapter, or a chapter no module: make export"
    differ = [name for name in made if made[name] != kept[name]]
    assert not differ, f"{differ} differ from their notebooks: make export"


def imported_modules(source):
    """(module or None for the package itself, line) of every import from gptbook in some code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "gptbook":
                    yield (alias.name.split(".") + [None])[1], ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            full = "gptbook." * bool(node.level) + (node.module or "")
            if full.rstrip(".") == "gptbook":
                for alias in node.names:
                    yield definers().get(alias.name, [alias.name])[0], ast.unparse(node)
            elif full.startswith("gptbook."):
                yield full.split(".")[1], ast.unparse(node)


@each_chapter
def test_imports_come_from_earlier_chapters(path):
    number = NOTEBOOKS.index(path)
    earlier = {*MODULE_NAMES[:number], "exercises"}
    module = (ROOT / "gptbook" / f"{MODULE_NAMES[number]}.py").read_text("utf-8")
    # A cell that is not exported may fetch what its own chapter has exported: worker processes know only modules.
    sources = [(cell.source, earlier if exports(cell) else earlier | {MODULE_NAMES[number]})
               for cell in cells(path, "code")]
    wrong = [line for source, allowed in [(module, earlier), *sources]
             for found, line in imported_modules(without_magics(source)) if found not in allowed]
    assert not wrong, f"{path.name} may import only from {sorted(earlier)}"


def test_each_public_name_is_defined_once():
    twice = {name: modules for name, modules in definers().items() if len(modules) > 1}
    assert not twice


@each_chapter
def test_no_cell_redefines_an_exported_name(path):
    taken = {name for p in NOTEBOOKS[:NOTEBOOKS.index(path) + 1] for name in public_names(module_of(p))}
    for cell in cells(path, "code"):
        if not exports(cell):
            again = taken & top_level_names(without_magics(cell.source))
            assert not again, f"{again} already has a meaning; give the one in this cell its own name:\n{cell.source}"


def public_objects():
    """(where, object) of every public function, class, method and property of the package."""
    for module in [*MODULE_NAMES, "exercises"]:
        loaded = importlib.import_module(f"gptbook.{module}")
        names = getattr(loaded, "__all__", None) or [n for n, v in vars(loaded).items() if not n.startswith("_")
                                                     and getattr(v, "__module__", "") == loaded.__name__]
        for name in names:
            found = getattr(loaded, name)
            if inspect.isfunction(found):
                yield f"{module}.{name}", found, None
            elif inspect.isclass(found):
                yield f"{module}.{name}", found, None
                for attribute, value in vars(found).items():
                    value = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
                    written_here = inspect.isfunction(value) and value.__code__.co_filename == loaded.__file__
                    if written_here and (not attribute.startswith("_") or attribute == "__init__"):
                        yield f"{module}.{name}.{attribute}", value, found


# A shape such as (B, T, E), (..., E) or (V,), or words that say it: "a scalar", "any shape", "the same shape".
SHAPE = re.compile(r"\((\.\.\.|[A-Z0-9][\w +*/-]*),[^()]*\)|\b(scalar|shape)")


@pytest.mark.parametrize("where, found, owner", list(public_objects()), ids=lambda x: x if isinstance(x, str) else "")
def test_public_objects_are_documented(where, found, owner):
    # What a layer's forward takes and gives is told by its class, and so are the arguments of __init__.
    told_by_class = owner is not None and found.__name__ in ("forward", "__init__")
    text = inspect.getdoc(owner if told_by_class else found)
    assert text and (inspect.isfunction(found) or found.__doc__), f"{where} has no docstring"
    if inspect.isfunction(found):
        parameters = inspect.signature(found).parameters
        bare = [n for n, p in parameters.items() if p.annotation is p.empty and n not in ("self", "cls")]
        if not where.startswith("exercises."):
            assert not bare, f"{where}: arguments without annotation: {bare}"
            assert found.__name__ == "__init__" or "return" in found.__annotations__, f"{where}: no return annotation"
        if any("Tensor" in str(annotation) for annotation in found.__annotations__.values()):
            said = text + (inspect.getdoc(owner) or "" if owner else "")
            assert SHAPE.search(said), f"{where} takes or gives tensors, and its docstring names no shape:\n{text}"


def test_types_hold(tmp_path):
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "gptbook"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@each_chapter
def test_anatomy(path):
    text = "\n\n".join(cell.source for cell in cells(path, "markdown"))
    headings = re.findall(r"^(#+) (.+)$", without_code(text), flags=re.M)
    levels = [len(marks) for marks, _ in headings]
    titles = [title for _, title in headings]
    assert levels[0] == 1 and levels.count(1) == 1, "one title, and it comes first"
    assert titles[0].startswith(f"{int(path.name[:2])}. ")
    jumps = [titles[i] for i in range(1, len(levels)) if levels[i] > levels[i - 1] + 1]
    assert not jumps, f"a level of heading is left out before {jumps}"
    for title in ("Summary", "Exercises", "References"):
        assert title in titles, f"no section {title!r}"
    numbers = re.findall(r"^:::+\{exercise\} (\d+\.\d+) .+ \([123] of 3\)$", text, flags=re.M)
    assert 3 <= len(numbers) <= 6 and numbers == [f"{int(path.name[:2])}.{i + 1}" for i in range(len(numbers))]
    assert "{figure}" in text, "a chapter has a drawing"


# What names a work: its arXiv number, its DOI, or its address.
WORK = re.compile(r"arxiv\.org/abs/([\d.]+\d)|doi\.org/([^\s)]+)|\]\((https://(?!arxiv|doi)[^)]+)\)")


def works_of(path):
    """{name: year} of the works listed in a chapter's section References."""
    listed = cells(path, "markdown")[-1].source.split("## References")[1]
    items = re.findall(r"^- (.+)$", listed, flags=re.M)
    assert items, f"{path.name} lists no work"
    found = {}
    for item in items:
        names = [next(filter(None, groups)) for groups in WORK.findall(item)]
        if names:
            found[names[0]] = re.search(r"\b((?:19|20)\d\d)[a-z]?\b", item)[1]
    return found


def test_the_page_of_references_holds_what_the_chapters_cite():
    bib = {}
    for entry in (ROOT / "references.bib").read_text("utf-8").splitlines():
        if entry.startswith("@"):
            keys = re.findall(r"\b(?:eprint|doi|url)=\{([^}]+)\}", entry)
            bib |= dict.fromkeys(keys, re.search(r"\byear=\{(\d+)\}", entry)[1])
    cited = {name: (path.name, year) for path in NOTEBOOKS for name, year in works_of(path).items()}
    missing = {name: where for name, where in cited.items() if name not in bib}
    assert not missing, "add to references.bib"
    assert not {name: where for name, where in cited.items() if bib[name] != where[1]}, "two years for one work"
