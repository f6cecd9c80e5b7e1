"""Every measured quantity in a chapter's prose is in an output of that chapter, or cited."""

import nbformat
import pytest
from conftest import NOTEBOOKS, each_chapter, read
from prose_numbers import Evidence, cited, quantities, sentences, unbacked

# (chapter, words of the sentence): why nothing in the chapter backs its number.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def excepted(path, quantity):
    """The key of the exception that holds for a quantity, or None."""
    return next((key for key in EXCEPTIONS if key[0] == path.name[:2] and key[1] in quantity.sentence), None)


@each_chapter
def test_prose_quotes_what_was_measured(path):
    left = [f"{q.text!r} in: {q.sentence}" for q in unbacked(read(path)) if not excepted(path, q)]
    assert not left, "print it, cite it, or say it in words:\n" + "\n".join(left)


def test_no_exception_is_left_over():
    used = {excepted(path, q) for path in NOTEBOOKS for q in unbacked(read(path))}
    assert set(EXCEPTIONS) <= used


def found(markdown):
    return [q.text for sentence in sentences(markdown) for q in quantities(sentence)]


@pytest.mark.parametrize("text, expected", [
    ("The loss falls to 1.54.", ["1.54"]),
    ("It gives 30 % of its attention, then 5% more.", ["30 %", "5%"]),
    ("That is 1.7 times as fast, or 3x, or 12 times.", ["1.7 times", "3x", "12 times"]),
    ("The cache takes 96 MB and 12\u202fms.", ["96 MB", "12\u202fms"]),
    ("GPT-2 knows 50,257 of them.", ["50,257"]),
    ("GPT-2 knows 50\u202f257 of them.", ["50\u202f257"]),
    ("A model of 2.6 million parameters and 163M weights", ["2.6 million parameters", "163M weights"]),
    ("The errors stay below 1e-6.", ["1e-6"]),
    ("A 64-bit number, 8 bytes.", ["64-bit", "8 bytes"]),
    ("It read 300 tokens and 40 new tokens.", ["300 tokens", "40 new tokens"]),
    ("Five minutes, which are 300 seconds", ["300 seconds"]),
    ("The file has 124439808 of them", ["124439808"]),
    ("| model | loss |\n| --- | --- |\n| ours | 2.11 |", ["2.11"]),
    ("```{figure} ../figures/03_a.svg\n:alt: Drawn at 4.5\n:name: fig-a\n\nOnly 1.25 remains.\n```", ["1.25"]),
    (":::{note}\nIt costs 26 %.\n:::", ["26 %"]),
    ("```{figure} a.svg\n\nOf 1.5\n```\n\nthen 2.5\n\n```python\nx = 3.5\n```\n\nand 4.5", ["1.5", "2.5", "4.5"]),
    ("::::{note}\n:::{tip}\n1.5\n:::\n2.5\n::::\n3.5", ["1.5", "2.5", "3.5"]),
    ("- first 1.5\n- then 2.5", ["1.5", "2.5"]),
])
def test_finds_measured_quantities(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize("text", [
    "# 3. Attention",
    "### 3.2 One query",
    "See chapter 3, exercise 3.2 and sections 1.2 to 1.4.",
    ":::{exercise} 3.2 Causal mask\n:label: ex-3-2\nWrite it.\n:::",
    "In 2017 came the transformer, in 2019 GPT-2.",
    "Python 3.11 or later, PyTorch 2.6, and version 1.0.4.",
    "Read [the paper](https://arxiv.org/abs/1607.06450), arXiv:1706.03762.",
    "The call `f(0.5, 96)` and ``x = 1.25`` and $x = 0.5$ and $$y = 3.14$$ are code and formulas.",
    "```python\nx = 1.5\n```",
    "Three heads, 3 heads, 8 tokens, the 12th layer, 1024 is a power of two.",
    "The 124M model",
    "<img src='a.png' width='3.5'>",
])
def test_lets_names_and_small_counts_pass(text):
    assert found(text) == []


def chapter(prose, code="", printed=""):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(prose), nbformat.v4.new_code_cell(code)])
    nb.cells[1].outputs = [nbformat.v4.new_output("stream", text=printed)]
    return nb


@pytest.mark.parametrize("prose, code, printed", [
    ("The loss is 1.54.", "", "loss 1.5432"),
    ("The loss is 1.54.", "", "loss tensor(1.5400)"),
    ("It takes 13 %.", "", "share 13.2 %"),
    ("It takes 13 %.", "", "share 0.132"),
    ("It has 124,439,808 parameters.", "", "124439808"),
    ("It has 124\u202f439\u202f808 parameters.", "", "124,439,808"),
    ("It has 124 million parameters.", "", "124,439,808"),
    ("It has 2.6 million parameters.", "", "2_613_248"),
    ("It holds 495 MB.", "", "495,123,456 bytes"),
    ("It takes 12 ms.", "", "0.0123 s"),
    ("It is 1.7 times as fast.", "", "ratio 1.68"),
    ("We read 300 tokens.", "tokens = 300", ""),
    ("With a rate of 0.002 it learns.", "rate = 2e-3", ""),
    ("A share of 0.1 is dropped.", "f(drop_rate=0.1)", ""),
    ("The error is below 1e-6.", "", "below 1e-6"),
    ("It was 36 % ([Ba, 2016](https://arxiv.org/abs/1607.06450)).", "", ""),
    ("## References\n\nVolume 1.23", "", ""),
    ("The list is 1.25 long.", "", "[0.50, 1.25, 3]"),
    ("It takes 113 %.", "", "1.13 times as long"),
    ("It takes 13 %.", "", "step  share\n   1  0.132"),  # the word stands in the head of the table
    ("It takes 12 ms.", "", "step   ms\n\n   1   12\n"),
    ("It holds 1.5 GiB.", "", "1536.0 MiB"),
    ("The loss is 4.53 nats.", "", "loss 4.530"),
    ("It reads 9 GB/s.", "", "9 GB/s"),
    ("It is 16.0 times smaller.", "", "K = 16 16.0"),  # the less precise one does not hide the other
])
def test_accepts_evidence(prose, code, printed):
    assert not unbacked(chapter(prose, code, printed))


@pytest.mark.parametrize("prose, code, printed", [
    ("The loss is 1.54.", "", ""),
    ("The loss is 1.54.", "", "loss 1.56"),
    ("The loss is 1.54.", "", "loss 1.5"),  # the prose says more than was printed
    ("The loss is 1.54.", "assert loss < 1.54", ""),  # a bound that is checked and never shown
    ("It takes 13 %.", "share = 13", "share 0.142"),
    ("It is 1.7 times as fast.", "x = 1.7", "ratio 1.78"),
    ("It is 12 times as fast.", "x = 12", ""),
    ("It has 124,439,808 parameters.", "", "124,439,809"),
    ("It holds 495 MB.", "", "496,123,456 bytes"),
    ("It read 300 tokens.", "tokens = 301", "299"),
    ("It was 36 % ([notes](https://example.org/notes)).", "", ""),  # a link without a year cites nothing
    ("It was 36 %. See [Ba, 2016](https://arxiv.org/abs/1607.06450).", "", ""),  # another sentence's citation
    ("The error is below 1e-6.", "", "below 1e-5"),
    ("It has 2.6 million parameters.", "", "2.7 million"),
    ("The loss is 1.50.", "", "loss 1.5"),
    ("It takes 5.0 %.", "", "share 0.05"),
    ("It takes 13 %.", "", "13 windows"),  # a bare number is no percentage
    ("It takes 13 %.", "", "loss 0.132"),  # nor is each number below 1
    ("It takes 13 %.", "", "share 0.132 s"),
    ("It takes 13 %.", "", "share [0.132, 0.868]"),
    ("It takes 0 %.", "", "0%"),
    ("It is 12 times as fast.", "", "[3, 12, 7]"),  # ids
    ("It is 12 times as fast.", "", "tensor([[ 3, 99],\n        [12,  7]])"),
    ("It read 300 tokens.", "", "[299, 300]"),
    ("It takes 12 ms.", "", "step 12"),
    ("It takes 12 ms.", "", "12 MB"),
    ("It takes 12 ms.", "", "12 s, not ms"),
    ("It takes 12 ms.", "", "one\ntwo\nthree ms\nstep 12"),  # the unit on another line, and not in the table's head
    ("It takes 12 ms.", "", "5 ms\nstep 12"),  # the unit of another line's number
    ("It holds 495 MB.", "", "495,123,456"),
    ("It holds 495 MB.", "", "Anne's, 495,123,456 s"),
])
def test_rejects_what_nothing_backs(prose, code, printed):
    assert unbacked(chapter(prose, code, printed))


def test_evidence_keeps_out_of_names():
    assert Evidence(chapter("", "", "model_2 v1.5 x86")).printed == []
    assert not cited("A year, 2016, and no link")
