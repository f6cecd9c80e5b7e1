"""Checks for the book's exercises: each calls the reader's own function and says in words what is wrong.

In a notebook: `exercises.check("3.2", causal_mask)`.
"""

import importlib
import inspect
import json
import linecache
import pkgutil
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from gptbook.train import _whole_file

PROGRESS = Path("progress.json")  # beside the notebooks: {number: day on which the reader first solved it}
_checks: dict[str, Callable[[Any], None]] = {}
_returned = ""  # what the reader's function returned last, in words, for a hint where a check stumbles over it


class Hint(Exception):
    """What is wrong with an answer, in a sentence for the reader."""


def exercise(number):
    """Register the decorated function as the check of exercise `number`; it takes the answer and raises Hint."""

    def register(check_answer):
        _checks[number] = check_answer
        return check_answer

    return register


def call(answer, *args, **kwargs):
    """The reader's function called; None and exceptions become hints."""
    shown = ", ".join([*(_short(a) for a in args), *(f"{k}={_short(v)}" for k, v in kwargs.items())])
    name = getattr(answer, "__name__", "your answer")
    try:
        result = answer(*args, **kwargs)
    except Hint:
        raise
    except Exception as error:
        raise Hint(f"{name}({shown}) stopped with {type(error).__name__}: {error}") from error
    if result is None:
        raise Hint(f"{name}({shown}) returned None. Write the body, and return the result.")
    global _returned
    _returned = f"{name}({shown}) returned {_kind(result)}"
    return result


def _kind(value):
    """The type of a value in words, of a tensor also its shape and dtype."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    kind = type(value).__name__
    size = f" of length {len(value)}" if isinstance(value, (tuple, list, str, bytes)) else ""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}{size}"


def _short(value):
    if isinstance(value, torch.nn.Module):
        return f"<{type(value).__name__}>"
    text = " ".join(repr(value).split())
    if isinstance(value, float) and not value.is_integer() and len(text) > 9:
        text = f"{value:.6g}"  # its last digits differ between processors, and tell nothing
    shape = getattr(value, "shape", None)
    if shape is not None and len(text) > 60:
        return f"<tensor {tuple(shape)}>"
    return text if len(text) <= 60 else text[:57] + "..."


def verdict(number, answer):
    """None where `answer` solves exercise `number`, else the hint (str)."""
    if number not in _checks:
        raise ValueError(f"number must be one of {sorted(_checks)}, got {number!r}")
    global _returned
    _returned = "Your answer could not be called"
    try:
        _checks[number](answer)
    except Hint as hint:
        return str(hint)
    except Exception as error:  # a result of another type or shape than the check works with
        return (f"{_returned}, which does not fit ({type(error).__name__}: {error}). "
                "Look at the docstring for what to return.")
    return None


def check(number, answer):
    """Print whether `answer`, a function or class of the reader's, solves exercise `number`, or a hint."""
    hint = verdict(number, answer)
    print(f"Exercise {number}: correct.{_note(number, answer)}" if hint is None else f"Exercise {number}: not yet. {hint}")


def solved():
    """{number: day} of the exercises that were solved in the notebooks of this folder, from progress.json."""
    if not PROGRESS.exists():
        return {}
    try:
        found = json.loads(PROGRESS.read_text("utf-8"))
        return {number: str(day) for number, day in found.items() if number in _checks}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{PROGRESS} is damaged, delete it to begin anew: {error}") from error


def _note(number, answer):
    """Put a solved exercise into progress.json; what to tell the reader of that, "" where it was not the reader's own.

    Only what was defined in a notebook counts, and in no cell that begins with "# Solution", as the book's do.
    """
    in_notebook = "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None
    methods = getattr(answer, "__dict__", {}).values()  # where the answer is a class
    parts = [inspect.unwrap(part) for part in (answer, *methods) if callable(part)]
    cells = [linecache.getlines(part.__code__.co_filename) for part in parts if hasattr(part, "__code__")]
    if not in_notebook or any(cell and cell[0].startswith("# Solution") for cell in cells):
        return ""
    try:
        found = {number: date.today().isoformat(), **solved()}
        with _whole_file(PROGRESS) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        return f" (Not noted in {PROGRESS}: {error})"
    return f" You have solved {len(found)} of {len(_checks)}; progress.ipynb shows which."


def progress():
    """Print which exercises the reader has solved, chapter by chapter."""
    done = solved()
    by_chapter: dict[int, list[str]] = {}
    for number in _checks:
        by_chapter.setdefault(int(number.split(".")[0]), []).append(number)
    for chapter, numbers in sorted(by_chapter.items()):
        marks = "  ".join(f"{number} {'done' if number in done else '....'}" for number in numbers)
        print(f"chapter {chapter:2}: {sum(number in done for number in numbers)} of {len(numbers)}   {marks}")
    print(f"together: {len(done)} of {len(_checks)}")


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
