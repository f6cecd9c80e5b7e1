"""Run, pair and export the chapters. The notebook is the source; its MyST twin and its module are made from it.

    python tools/chapters.py run [NN ...]         execute in place, then pair and export
    python tools/chapters.py from-text [NN ...]   first make the notebooks anew from their edited twins
    python tools/chapters.py export               write gptbook/*.py from the notebooks
    python tools/chapters.py colab [NN ...]       give the notebooks the cell that Colab needs, if _config.yml has an address on GitHub
"""

import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbdev.export import nb_export

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ROOT / "chapters"
IN_COLAB = '"google.colab" in sys.modules'


def notebooks(numbers=(), folder=CHAPTERS):
    """Paths of the chapters' notebooks, of those numbers ("07") or of all."""
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    return [p for p in paths if not numbers or p.name[:2] in numbers]


def twin_of(path):
    """The path of a notebook's MyST twin."""
    return CHAPTERS / "text" / f"{path.stem}.md"


def twin_text(path):
    """What the MyST twin of a notebook must hold."""
    return jupytext.writes(jupytext.read(path), "md:myst")


def write_twin(path):
    """Make the twin what it must be."""
    twin_of(path).write_text(twin_text(path), encoding="utf-8", newline="\n")


def colab_source():
    """The cell that fetches the published book where Colab has opened a notebook alone, None for a book that is not published."""
    url = re.search(r'^    repository_url: "(.*)"$', (ROOT / "_config.yml").read_text("utf-8"), flags=re.M)[1].rstrip("/").removesuffix(".git")
    if not url.startswith("https://github.com/"):  # Colab opens notebooks from nowhere else
        return None
    # Not `%pip install git+...`: chapters also read files that stand beside the package.
    return (f'import sys\n\nif {IN_COLAB}:  # elsewhere this cell does nothing\n'
            f'    !git clone --quiet --depth 1 {url} /content/book\n'
            "    %cd -q /content/book/chapters\n"
            '    %pip install --quiet -e .. "torch>=2.13"')


def set_colab_cell(path):
    """Make that cell the first of the notebook's code, or remove it; the outputs of the others stay."""
    nb = nbformat.read(path, as_version=4)
    nb.cells = [cell for cell in nb.cells if IN_COLAB not in cell.source]
    if source := colab_source():
        first = next(i for i, cell in enumerate(nb.cells) if cell.cell_type == "code")
        nb.cells.insert(first, nbformat.v4.new_code_cell(source, id="colab", metadata={"tags": ["remove-cell"]}))
    for count, cell in enumerate((cell for cell in nb.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    nbformat.write(nb, path)
    write_twin(path)


def read_twin(text_path):
    """A notebook without outputs, made from its twin; its cells get short, stable ids."""
    nb = jupytext.read(text_path)
    nb.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nb.metadata.setdefault("jupytext", {})["formats"] = "chapters///ipynb,chapters/text///md:myst"
    colab = [cell for cell in nb.cells if IN_COLAB in cell.source]
    for cell in colab:
        cell["id"] = "colab"
    for i, cell in enumerate(cell for cell in nb.cells if cell not in colab):
        cell["id"] = f"cell-{i:03d}"
    return nb


def execute(path):
    """Run every cell from a fresh kernel and keep the outputs; returns the seconds it took."""
    nb = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    # Widgets' state in a notebook would have its page fetch their scripts from elsewhere.
    NotebookClient(nb, timeout=900, kernel_name="python3", record_timing=False, coalesce_streams=True, store_widget_state=False,
                   resources={"metadata": {"path": str(CHAPTERS)}}).execute()
    nb.metadata.pop("widgets", None)
    nb.metadata["language_info"] = {"name": "python"}  # the version would differ between machines
    nbformat.write(nb, path)
    return time.perf_counter() - start


def export(paths, folder):
    """Write the modules of these notebooks into `folder`."""
    for path in paths:
        nb_export(str(path), lib_path=str(folder))


def main(command, *numbers):
    """Carry out one of the commands in this module's docstring."""
    if command == "from-text":
        for text_path in sorted((CHAPTERS / "text").glob("[0-9][0-9]_*.md")):
            if not numbers or text_path.name[:2] in numbers:
                nbformat.write(read_twin(text_path), CHAPTERS / f"{text_path.stem}.ipynb")
    paths = notebooks(numbers)
    for path in paths:
        if command in ("run", "from-text"):
            # The module first, so that later cells and chapters import what this notebook now says.
            export([path], ROOT / "gptbook")
            print(f"{path.name}: {execute(path):.0f} s", flush=True)
            write_twin(path)
        if command == "colab":
            set_colab_cell(path)
    if command == "export":
        export(paths, ROOT / "gptbook")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("run", "from-text", "export", "colab"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
