"""tools/chapters.py on a small project of two chapters: what its commands write, and in which order."""

import re
import shutil
import subprocess
import sys

import chapters
import jupytext
import nbformat
import pytest
from conftest import ROOT, cells, each_chapter
from IPython.core.interactiveshell import InteractiveShell

FORMATS = "chapters///ipynb,chapters/text///md:myst"


def write_chapter(root, name, module, *sources):
    """A notebook without outputs, paired with its twin; the first of its cells names the module."""
    nb = nbformat.v4.new_notebook(metadata={
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "jupytext": {"formats": FORMATS}})
    nb.cells = [nbformat.v4.new_markdown_cell(f"# {name}")]
    nb.cells += [nbformat.v4.new_code_cell(source) for source in (f"#| default_exp {module}", *sources)]
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"cell-{i:03d}"
    path = root / "chapters" / f"{name}.ipynb"
    nbformat.write(nb, path)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Chapters 01 and 02, never run, in a folder that tools/chapters.py takes for the project."""
    for folder in ("chapters/text", "gptbook"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", tmp_path)
    (tmp_path / "gptbook" / "__init__.py").touch()  # a package, so that the kernel finds it before the real one
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(chapters, "CHAPTERS", tmp_path / "chapters")
    # `folder` got its default when the module was imported.
    monkeypatch.setattr(chapters.notebooks, "__defaults__", ((), tmp_path / "chapters"))
    write_chapter(tmp_path, "01_one", "one", "#| export\ndef double(x):\n    return 2 * x",
                  "import sys\nsys.path.insert(0, '..')\nfrom gptbook.one import double as exported\nexported(21)")
    write_chapter(tmp_path, "02_two", "two", "1 + 1")
    return tmp_path


def test_run_executes_one_chapter_in_place(project):
    other = (project / "chapters/02_two.ipynb").read_bytes()
    chapters.main("run", "01")

    nb = nbformat.read(project / "chapters/01_one.ipynb", as_version=4)
    assert [cell.execution_count for cell in nb.cells if cell.cell_type == "code"] == [1, 2, 3]
    # It could import what it exports: the module is written before the run.
    assert nb.cells[-1].outputs[0]["data"]["text/plain"] == "42"
    assert nb.metadata["jupytext"]["formats"] == FORMATS
    assert nb.metadata["language_info"] == {"name": "python"}

    assert "def double(x):" in (project / "gptbook/one.py").read_text()
    twin = project / "chapters/text/01_one.md"
    assert twin.read_text() == chapters.twin_text(project / "chapters/01_one.ipynb")
    assert "exported(21)" in twin.read_text() and "42" not in twin.read_text()

    assert (project / "chapters/02_two.ipynb").read_bytes() == other
    assert not (project / "gptbook/two.py").exists() and not (project / "chapters/text/02_two.md").exists()


def test_a_cell_that_raises_leaves_the_notebook_as_it_was(project):
    path = write_chapter(project, "02_two", "two", "1 + 1", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        chapters.main("run", "02")
    assert path.read_bytes() == before
    assert not chapters.twin_of(path).exists()


def test_from_text_makes_the_notebook_of_the_edited_twin(project):
    path = project / "chapters/01_one.ipynb"
    text = jupytext.writes(jupytext.read(path), "md:myst")
    chapters.twin_of(path).write_text(text.replace("2 * x", "3 * x"))
    chapters.main("from-text", "01")

    nb = nbformat.read(path, as_version=4)
    assert nb.cells[2].source.endswith("return 3 * x")
    assert nb.cells[-1].outputs[0]["data"]["text/plain"] == "63"
    assert [cell.id for cell in nb.cells] == [f"cell-{i:03d}" for i in range(len(nb.cells))]
    assert nb.metadata["jupytext"]["formats"] == FORMATS
    assert "return 3 * x" in (project / "gptbook/one.py").read_text()
    assert chapters.twin_of(path).read_text() == chapters.twin_text(path)


def test_export_writes_every_module_and_runs_nothing(project):
    before = {p: p.read_bytes() for p in (project / "chapters").glob("*.ipynb")}
    write_chapter(project, "02_two", "two", "#| export\nthree = 3")
    before[project / "chapters/02_two.ipynb"] = (project / "chapters/02_two.ipynb").read_bytes()
    chapters.main("export")
    assert "def double" in (project / "gptbook/one.py").read_text()
    assert re.search(r"^three = 3$", (project / "gptbook/two.py").read_text(), flags=re.M)
    assert {p: p.read_bytes() for p in before} == before


@pytest.fixture
def published(project):
    """A function that writes an address into the project's _config.yml."""
    def write(url):
        config = project / "_config.yml"
        config.write_text(re.sub(r'(repository_url: )".*"', rf'\1"{url}"', config.read_text("utf-8")), "utf-8")
    write("")
    return write


def test_colab_gets_a_cell_that_does_nothing_elsewhere(project, published):
    path = project / "chapters/01_one.ipynb"
    chapters.main("run", "01")
    without, module = path.read_bytes(), (project / "gptbook/one.py").read_bytes()

    published("https://github.com/owner/book")
    chapters.main("colab", "01")
    nb = nbformat.read(path, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert code[0].id == "colab" and code[0].source == chapters.colab_source()
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4]
    assert code[-1].outputs[0].execution_count == 4 and code[-1].outputs[0]["data"]["text/plain"] == "42"
    with_cell = path.read_bytes()
    chapters.main("colab", "01")
    assert path.read_bytes() == with_cell
    chapters.main("from-text", "01")  # runs the cell: this is not Colab, and nothing is installed or printed
    assert nbformat.read(path, as_version=4).cells == nb.cells and (project / "gptbook/one.py").read_bytes() == module

    published("https://github.com/another/book")
    chapters.main("from-text", "01")  # with the cell of the former address
    assert [cell.id for cell in nbformat.read(path, as_version=4).cells] == [cell.id for cell in nb.cells]
    chapters.main("colab", "01")
    assert [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.id == "colab"] == [chapters.colab_source()]

    published("https://example.org/owner/book")
    chapters.main("colab", "01")
    assert nbformat.read(path, as_version=4).cells == nbformat.reads(without.decode(), as_version=4).cells


def test_in_colab_the_cell_fetches_the_book(project, published, monkeypatch):
    published("https://github.com/owner/book")
    shell, asked = InteractiveShell(), []
    shell.system = lambda command: asked.append(("!", command))
    for name in ("cd", "pip"):
        shell.register_magic_function(lambda line, name=name: asked.append((name, line)), magic_name=name)
    shell.run_cell(chapters.colab_source()).raise_error()
    assert asked == []
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    shell.run_cell(chapters.colab_source()).raise_error()
    assert asked == [("!", "git clone --quiet --depth 1 https://github.com/owner/book /content/book"),
                     ("cd", "-q /content/book/chapters"), ("pip", 'install --quiet -e .. "torch>=2.13"')]
    assert 'torch>=2.13' in (ROOT / "pyproject.toml").read_text("utf-8")


@each_chapter
def test_the_stored_chapters_have_that_cell_if_the_book_is_published(path):
    found = [cell.source for cell in cells(path, "code") if "google.colab" in cell.source]
    assert found == [source for source in [chapters.colab_source()] if source]


@pytest.mark.parametrize("arguments", [(), ("rune",), ("--help",)])
def test_another_command_prints_the_usage(arguments):
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "chapters.py"), *arguments],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    assert "from-text [NN ...]" in done.stderr and "Traceback" not in done.stderr
