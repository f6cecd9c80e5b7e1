"""The table of wrong calls: each raises the error it should, with a message that names what was given."""

import importlib
import importlib.util
import inspect
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from conftest import MODULE_NAMES, ROOT, public_names

import gptbook

PACKAGE = Path(gptbook.__file__).parent

# Public callables that no call can get wrong, with the reason.
EXCEPTIONS = {
    "austen_tokenizer": "takes no argument",
    "gpt2_tokenizer": "takes no argument",
    "Checkpoint": "holds what load_checkpoint found in a file; readers do not make one",
    "Estimate": "holds what estimate counted",
    "DecodeRecord": "holds what benchmark_decode saw",
    "TrainingRecord": "holds what benchmark_training saw",
    "View": "holds what a drawing function made",
}

# A call that gets it wrong raises one of the first three. A data set ends with IndexError, as every Python
# sequence does; a frozen dataclass refuses changes with its own kind of AttributeError; and a loss that is no
# number any more is an error of arithmetic.
ERRORS = (ValueError, TypeError, OSError, IndexError, FrozenInstanceError, FloatingPointError)


def table():
    """Every case of tests/bad_input/chNN.py: (id, callable, type of the error, words of its message)."""
    for path in sorted((ROOT / "tests" / "bad_input").glob("ch[0-9][0-9].py")):
        spec = importlib.util.spec_from_file_location(f"bad_input_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, call, error, words in module.CASES:
            yield pytest.param(call, error, words, id=f"{path.stem}: {name}")


CASES = list(table())


def called(traceback):
    """The public names that stand for the first frame inside the package: its function, or the class of its self."""
    while traceback:
        frame = traceback.tb_frame
        if PACKAGE in Path(frame.f_code.co_filename).parents:
            owner = frame.f_locals.get("self", frame.f_locals.get("cls"))
            owner = owner if inspect.isclass(owner) else type(owner)
            return {frame.f_code.co_qualname.split(".")[0], owner.__name__}
        traceback = traceback.tb_next
    return set()


@pytest.mark.parametrize("call, error, words", CASES)
def test_wrong_call_is_told_what_is_wrong(call, error, words):
    assert issubclass(error, ERRORS)
    with pytest.raises(error) as raised:
        call()
    missing = [word for word in words if word not in str(raised.value)]
    assert words and not missing, f"the message lacks {missing}: {raised.value}"


def test_every_public_callable_has_a_wrong_call():
    tried = set()
    for case in CASES:
        call = case.values[0]
        try:
            call()
        except Exception as error:
            tried |= called(error.__traceback__)
    public = {name for module in MODULE_NAMES for name in public_names(module)
              if callable(getattr(importlib.import_module(f"gptbook.{module}"), name))}
    assert set(EXCEPTIONS) <= public
    untried = sorted(public - tried - set(EXCEPTIONS))
    assert not untried, f"no case in tests/bad_input calls these wrongly: {untried}"
