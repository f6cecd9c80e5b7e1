"""Every exercise: the empty stub fails, the solution passes, and each wrong answer gets the hint meant for it."""

import ast
import contextlib
import importlib.util
import io
import re

import nbformat
import pytest
import torch
from conftest import NOTEBOOKS, ROOT, cells, read, without_magics
from nbclient import NotebookClient

from gptbook import exercises

START = "import math, numpy as np, torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional as F\n" \
        "from gptbook import *\nfrom gptbook import exercises\n"


def numbered(tag):
    """{number: (path, cell)} of the cells with a tag, by the number that they hand to exercises.check."""
    found = {}
    for path in NOTEBOOKS:
        for cell in cells(path, "code", tag):
            numbers = re.findall(r'exercises\.check\("(\d+\.\d+)"', cell.source)
            assert len(numbers) == 1, f"{path.name}: this cell should check one exercise:\n{cell.source}"
            assert numbers[0] not in found, f"{tag} {numbers[0]} exists twice"
            found[numbers[0]] = path, cell
    return found


def wrong_answers():
    """{number: [(answer, piece of its hint)]} from tests/answers/chNN.py."""
    found = {}
    for path in sorted((ROOT / "tests" / "answers").glob("ch[0-9][0-9].py")):
        spec = importlib.util.spec_from_file_location(f"answers_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.update(module.WRONG)
    return found


STUBS, SOLUTIONS, WRONG = numbered("exercise"), numbered("solution"), wrong_answers()
NUMBERS = sorted(STUBS)


def printed_by(path, cell):
    """What a stub or solution prints, run after the definitions and imports (not the work) of the cells before it."""
    space = {"__name__": "exercise"}
    exec(START, space)
    for earlier in read(path).cells:
        if earlier is cell:
            break
        if earlier.cell_type == "code" and not {"exercise", "solution"} & set(earlier.metadata.get("tags", [])):
            for node in ast.parse(without_magics(earlier.source)).body:
                imports = isinstance(node, (ast.Import, ast.ImportFrom))
                if imports or isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name not in space:
                    exec(compile(ast.Module([node], []), path.name, "exec"), space)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(without_magics(cell.source), path.name, "exec"), space)
    return out.getvalue().strip()


def test_every_exercise_is_complete():
    posed = set()
    for path in NOTEBOOKS:
        text = "\n".join(cell.source for cell in cells(path, "markdown"))
        posed |= set(re.findall(r"^:::+\{exercise\} (\d+\.\d+)", text, flags=re.M))
    checked = set(exercises._checks)
    assert posed == set(STUBS) == set(SOLUTIONS) == checked == set(WRONG)


@pytest.mark.parametrize("number", NUMBERS)
def test_stub_fails_with_a_hint(number):
    path, cell = STUBS[number]
    before, _, hint = printed_by(path, cell).partition(f"Exercise {number}: not yet. ")
    assert not before and len(hint.split()) > 3, f"the empty stub printed {before + hint!r}"


@pytest.mark.parametrize("number", NUMBERS)
def test_solution_passes(number):
    path, cell = SOLUTIONS[number]
    assert cell.source.startswith(f"# Solution {number}\n")
    assert "hide-cell" in cell.metadata.tags and cell.metadata.jupyter.source_hidden, "the solution is not folded"
    assert printed_by(path, cell) == f"Exercise {number}: correct."


@pytest.mark.parametrize("number", sorted(WRONG))
def test_wrong_answers_get_the_hint_meant_for_them(number):
    assert len(WRONG[number]) >= 2, "two plausible wrong answers at least"
    hints = []
    for answer, piece in WRONG[number]:
        hint = exercises.verdict(number, answer)
        assert hint is not None, f"{answer.__name__} passed"
        assert piece in hint, f"{answer.__name__} should be told {piece!r}, and was told {hint!r}"
        hints.append(hint)
    assert len(set(hints)) > 1, f"all wrong answers are told the same: {hints[0]!r}"


@pytest.mark.parametrize("result", [[], [1, 2], "text", 1, (1, 2, 3), torch.zeros(()),
                                    torch.zeros(1, 1, dtype=torch.int64)], ids=repr)
@pytest.mark.parametrize("number", NUMBERS)
def test_results_of_the_wrong_type_get_a_hint(number, result):
    def answer(*args, **kwargs):
        return result

    hint = exercises.verdict(number, answer)
    assert isinstance(hint, str) and hint.strip()


def test_a_check_that_stumbles_says_what_was_returned(monkeypatch):
    def stumbles(answer):
        exercises.call(answer, 3).shape

    def answer(n):
        return [n]

    monkeypatch.setitem(exercises._checks, "0.0", stumbles)
    hint = exercises.verdict("0.0", answer)
    assert hint.startswith("answer(3) returned a list of length 1, which does not fit (AttributeError: ")
    assert "docstring" in hint


READER = """
def lines_of(n, rank, world_size):
    return n * rank // world_size, n * (rank + 1) // world_size
exercises.check("13.1", lines_of)
"""


def typed(folder, *sources):
    """What a notebook in `folder` prints, cell by cell."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(nb, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return ["".join(output.text for output in cell.outputs) for cell in nb.cells]


def test_what_the_reader_solves_is_noted_and_shown(tmp_path):
    wrong = READER.replace("(rank + 1)", "rank")
    *_, before, _, of_the_book, _, mine, after = typed(
        tmp_path, "from gptbook import exercises", "exercises.progress()", wrong, "# Solution 13.1" + READER,
        "assert not exercises.solved()", READER, "exercises.progress()")
    total = len(exercises._checks)
    assert f"together: 0 of {total}" in before and of_the_book == "Exercise 13.1: correct.\n"
    assert mine == f"Exercise 13.1: correct. You have solved 1 of {total}; progress.ipynb shows which.\n"
    assert "13.1 done" in after and after.count("done") == 1 and f"together: 1 of {total}" in after
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]
    *_, again, kept = typed(tmp_path, "from gptbook import exercises",
                            'written = exercises.PROGRESS.write_text(\'{"13.1": "2020-02-20", "99.1": "x"}\')',
                            READER, "print(exercises.solved())")
    assert "solved 1 of" in again and kept == "{'13.1': '2020-02-20'}\n"  # the first day stays
    # ... a file that is damaged is told, and left alone
    (tmp_path / "progress.json").write_text("[")
    told = typed(tmp_path, "from gptbook import exercises", READER)[-1]
    assert told.startswith("Exercise 13.1: correct. (Not noted in progress.json: ") and "delete it to begin anew" in told
    assert (tmp_path / "progress.json").read_text() == "["


def test_the_page_of_progress_is_empty_as_stored(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exercises.progress()
    page = nbformat.read(ROOT / "chapters" / "progress.ipynb", as_version=4)
    assert [output.text for cell in page.cells for output in cell.get("outputs", [])] == [capsys.readouterr().out]


def test_a_hint_shows_no_digits_that_differ_between_processors():
    def answer(*arguments):
        return None

    with pytest.raises(exercises.Hint, match=r"answer\(5\.37795, 0\.1, 1\.0, 1e-05, 20000000\.0, 3, \[2\.5\]\) returned None"):
        exercises.call(answer, 5.377951026734279, 0.1, 1.0, 1e-5, 2e7, 3, [2.5])
