"""Find the measured quantities in a chapter's prose, and say which of them nothing in the chapter backs.

    python tools/prose_numbers.py [NN ...]     print the quantities without evidence

A measured quantity is a decimal (1.54), a percentage (5 %), a ratio (1.7 times, 3x), a number in scientific notation
(1e-6), a number with a unit (96 MB, 300 tokens), a number with thousands separators (50,257), or a whole number of five digits
and more. Chapter numbers, years, versions, arXiv ids, links, code, formulas, directive options and small counts
(three heads, 8 tokens) are not.

Evidence is a number in an output of the same chapter that rounds to the quantity and is at least as precise; or a
setting in a code cell: any whole number there, and a decimal where a name, an argument or a key is given it (not one
that something is compared with); or a citation in the same sentence (a link with a year). "2.6 million" may be backed by an
output of 2,613,248, "13 %" by 13.2% or by "share 0.132" and not by a bare 13, "495 MB" by 495,123,456 where the line, or
the head of its table, says bytes. Whole numbers in a printed list, [3, 12, 7], are ids and back nothing.
"""

import ast
import re
import sys
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path

import nbformat

SPACE = "[ \u00a0\u2009\u202f]"  # plain, no-break, thin, narrow no-break
NUMBER = rf"(?:\d{{1,3}}(?:[,\u2009\u202f]\d{{3}})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?"
MULTIPLES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
             "k": 10**3, "M": 10**6, "B": 10**9}
BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
DECIMAL = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
           "kilobytes?": 10**3, "megabytes?": 10**6, "gigabytes?": 10**9}
TIMES = {"ms": Decimal("1e-3"), "milliseconds?": Decimal("1e-3"), "µs": Decimal("1e-6"),
         "microseconds?": Decimal("1e-6"), "s": 1, "seconds?": 1, "minutes?": 60, "min": 60, "hours?": 3600}
PLAIN = {unit: 1 for unit in ("bytes?", "bits?", "nats?", "FLOPs?", "GB/s", "MB/s", "px")}
SCALES = {**BINARY, **DECIMAL, **TIMES, **PLAIN}
UNIT_NAMES = "|".join(sorted(SCALES, key=len, reverse=True))  # the longest first: GB/s before GB
SHARE = frozenset(("share", "fraction", "ratio", "probability"))  # words by which a printed 0.132 is 13 %
COUNTED = ("tokens?|parameters?|weights?|characters?|letters?|words?|ids?|merges?|windows?|positions?|steps?|numbers?|"
           "samples?|operations?|multiplications?|additions?|lines?|rows?|entries|elements|values?|pieces?|pairs?|"
           "batches|sentences?|paragraphs?")
SMALL_COUNT = 20  # up to here, so many tokens or rows are counted with the eyes, not measured

QUANTITY = re.compile(
    rf"(?<![\w.,/:#-])(?P<number>{NUMBER})"
    rf"(?:{SPACE}?(?P<percent>%|percent\b|per cent\b)"
    rf"|{SPACE}?(?P<ratio>×|x(?=[\s.,;:)?]|$)|-?times\b|-?fold\b)"
    rf"|(?:{SPACE}(?P<multiple>thousand|million|billion|trillion)\b|(?P<short>[kMB])\b)?"
    rf"(?:(?:{SPACE}|-)?(?P<unit>{UNIT_NAMES})\b"
    rf"|(?:{SPACE}|-)(?:[a-z-]+{SPACE})?(?P<count>{COUNTED})\b)?)")


@dataclass(frozen=True)
class Quantity:
    """A number in prose: its digits and what follows it, as written, and the sentence it stands in."""

    text: str
    value: Decimal
    decimals: int
    kind: str  # "decimal", "percent", "ratio" or "whole"
    scales: tuple
    sentence: str
    unit: str
    multiples: tuple  # 1, and the million of "2.6 million"


@dataclass(frozen=True)
class Printed:
    """A number in an output: what stands right behind it, and the units on its line or in the head of its table."""

    value: Decimal
    behind: str = ""  # "%", "times", a unit or ""
    units: frozenset = frozenset()
    listed: bool = False  # a number of a list, [3, 12, 7]


def _measure(unit):
    """(what a unit measures, how much of it): ("byte", 10**6) for MB."""
    for dimension, names in (("byte", BINARY | DECIMAL | {"bytes?": 1}), ("second", TIMES), ("", PLAIN)):
        for name, size in names.items():
            if re.fullmatch(name, unit):
                return dimension or name, Decimal(size)
    raise ValueError(f"unit must be one of {sorted(SCALES)}, got {unit!r}")


def _number(text):
    return Decimal(re.sub("[,_\u2009\u202f]", "", text))


def _decimals(value):
    return max(0, -value.as_tuple().exponent)


def without_code(markdown):
    """A Markdown cell without its blocks of code and without the fences (first and last lines) of its directives."""
    kept, open_fences = [], []  # of each open block: its character, its length, whether it is code
    for line in markdown.split("\n"):
        fence = re.match(r"\s*(`{3,}|~{3,}|:{3,})\s*(.*)$", line)
        in_code = bool(open_fences) and open_fences[-1][2]
        if fence and "`" not in fence[2]:
            mark, info = fence[1], fence[2]
            if open_fences and not info and mark[0] == open_fences[-1][0] and len(mark) >= open_fences[-1][1]:
                open_fences.pop()
            elif not in_code:
                open_fences.append((mark[0], len(mark), mark[0] != ":" and not info.startswith("{")))
            kept.append("")
        elif not in_code:
            kept.append(line)
    return "\n".join(kept)


def prose(markdown):
    """A Markdown cell's own words: code, formulas, directives' first lines and options, and targets of links removed.

    A link becomes its text; one that leads to the web gets the mark \ue000, by which a citation is known.
    """
    text = without_code(markdown)
    text = re.sub(r"^:[\w-]+:.*$", "", text, flags=re.M)  # directives' options
    text = re.sub(r"^\|[ :|-]+\|?$", "", text, flags=re.M)  # the rule under a table's head
    text = re.sub(r"<!--.*?-->|</?[a-zA-Z][^>\n]*>", " ", text, flags=re.S)
    text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", " code ", text, flags=re.S)
    text = re.sub(r"\{[\w:+-]+\} code ", " reference ", text)
    text = re.sub(r"\$\$.*?\$\$|(?<![\\\w])\$(?!\s)[^$]+?(?<!\s)\$", " formula ", text, flags=re.S)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", text)
    text = re.sub(r"\[([^\]]*)\]\(https?:[^)]*\)", "\\1\ue000", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"https?://\S+|arXiv:\S+", " ", text)
    text = re.sub(r"^ {0,3}(#+) +(?:\d+(?:\.\d+)*\.? )?", "\n\n", text, flags=re.M)
    return re.sub(r"^\s*(?:[-*]|\d+\.)\s+", "\n\n", text, flags=re.M)


def sentences(markdown):
    """The sentences of a Markdown cell; each cell of a table, item of a list and heading is one of its own."""
    for block in re.split(r"\n\s*\n", prose(markdown)):
        parts = block.split("|") if block.lstrip().startswith("|") else [block]
        for part in parts:
            flat = re.sub(r"[ \t]*\n[ \t]*", " ", part).strip()
            yield from filter(None, re.split(r"(?<=[.!?])[\"”)*_]*\s+(?=[\"“(*_]*[A-Z0-9\ue001])", flat))


# What looks like a quantity and is a name: chapter 3, exercise 3.2, Python 3.11, hints 1.2.3, 2017, GPT-2.
NAMES = re.compile(
    rf"\b(?:[Cc]hapters?|[Ee]xercises?|[Ss]ections?|[Ff]igures?|[Tt]ables?|[Ee]quations?|[Ff]ormulas?|[Ss]olutions?|[Pp]arts?|[Hh]ints?|"
    rf"Python|PyTorch|torch|Unicode|version)(?:{SPACE}|-)\d+(?:\.\d+)*(?:(?:,| and| or| to|–){SPACE}?\d+(?:\.\d+)*)*"
    rf"|\b\d+\.\d+\.\d+\b|\b\d+(?:st|nd|rd|th)\b")


def quantities(sentence):
    """The measured quantities of one sentence."""
    text = NAMES.sub("name", sentence)
    for match in QUANTITY.finditer(text):
        digits, value = match["number"], _number(match["number"])
        decimals = _decimals(value)
        scales = [1]
        multiple = MULTIPLES.get(match["multiple"] or match["short"], 1)
        if match["percent"]:
            kind, scales = "percent", [1, Decimal("0.01")]
        elif match["ratio"]:
            kind = "ratio"
        elif decimals or "e" in digits.lower():
            kind = "decimal"
        else:
            kind = "whole"
        if match["unit"]:
            scales += [Decimal(s) for unit, s in SCALES.items() if re.fullmatch(unit, match["unit"])]
        scales = [Decimal(s) * m for s in scales for m in {1, multiple}]
        if kind == "whole":
            separated = re.search("[,\u2009\u202f]", digits)
            counted = match["count"] and value * multiple > SMALL_COUNT
            if not (match["unit"] or match["multiple"] or separated or counted or value >= 10_000):
                continue
            if value == 0 or (match["short"] and not (match["unit"] or match["count"])):
                continue  # "124M" alone is a model's name
        yield Quantity(match.group().strip(), value, decimals, kind, tuple(scales), sentence,
                       match["unit"] or "", tuple({Decimal(1), Decimal(multiple)}))


def _numbers_in(text):
    """Every number in printed text, sign dropped, as Printed whose values keep their precision."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lists = [m.span() for m in re.finditer(r"\[[^\[\]]*\]", text)]
    word = rf"(?<![\w'’])(?:{UNIT_NAMES}|{'|'.join(SHARE)})\b"
    head = " ".join(text.lstrip("\n").split("\n")[:2])  # a table's head has one line or two
    heads = re.findall(rf"(?<!\d ){word}", head)  # a unit behind a number is that number's own
    pattern = r"(?<![\w.])\d[\d_,\u2009\u202f]*(?:\.\d+)?(?:[eE][+-]?\d+)?|(?<!\w)\.\d+"
    start = 0
    for line in text.split("\n"):
        units = frozenset([*heads, *re.findall(word, line)])
        for match in re.finditer(pattern, line):
            behind = re.match(rf"{SPACE}?(?:(%)|(×|x\b|times\b)|({UNIT_NAMES})\b)", line[match.end():])
            behind = "" if not behind else behind[1] or (behind[2] and "times") or behind[3]
            listed = any(a < start + match.start() < b for a, b in lists)
            found = match.group()
            for part in {found, *re.split("[,\u2009\u202f]", found)}:  # 1,234 is one number in prose, two in a list
                try:
                    yield Printed(_number(part.strip("_,")), behind, units, listed)
                except ArithmeticError:
                    continue
        start += len(line) + 1


def _settings(tree):
    """The numbers that code is set to: whole ones anywhere, decimals as values of names, arguments and keys."""
    given = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.keyword)):
            given.append(node.value)
        elif isinstance(node, ast.Dict):
            given += node.values
        elif isinstance(node, ast.arguments):
            given += node.defaults + node.kw_defaults
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield Decimal(node.value)
    for value in given:
        for item in value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value]:
            if isinstance(item, ast.Constant) and type(item.value) is float:
                yield Decimal(str(item.value))


class Evidence:
    """The numbers of a chapter's outputs, and those that its code cells are written with."""

    def __init__(self, notebook):
        self.printed, self.settings = [], set()  # a list: in a set 16 and the more precise 16.0 would be one
        for cell in notebook.cells:
            if cell.cell_type != "code":
                continue
            for output in cell.outputs:
                data = output.get("data", {})
                for text in (output.get("text", ""), data.get("text/plain", ""), data.get("text/markdown", "")):
                    self.printed.extend(_numbers_in(text))
            try:
                tree = ast.parse("\n".join("" if li.startswith(("%", "!")) else li for li in cell.source.split("\n")))
            except SyntaxError:
                continue
            self.settings.update(_settings(tree))

    def backs(self, quantity):
        """Whether a printed number rounds to the quantity, or the code is set to it."""
        if quantity.kind in ("whole", "decimal") and any(quantity.value * s in self.settings for s in quantity.scales):
            return True
        return any(_rounds_to(printed.value, quantity, scale)
                   for printed in self.printed for scale in _scales_between(printed, quantity))


def _scales_between(printed, quantity):
    """By what a printed number may be divided to be compared with a quantity; nothing where they do not compare."""
    if printed.listed and not _decimals(printed.value):
        return []  # an id
    if quantity.kind == "percent":
        if printed.behind == "%":
            return [Decimal(1)] if printed.value else []
        fraction = not printed.behind and not printed.listed and _decimals(printed.value) and printed.value < 1
        return [Decimal("0.01")] if fraction and SHARE & printed.units or printed.behind == "times" else []
    if not quantity.unit or quantity.unit.startswith("nat"):  # losses are in nats, and seldom printed with the word
        return quantity.multiples
    dimension, size = _measure(quantity.unit)
    given = map(_measure, {printed.behind} & printed.units or printed.units - SHARE)
    return {m * size / other for kind, other in given if kind == dimension for m in quantity.multiples}


def _rounds_to(printed, quantity, scale):
    """Whether a printed number, divided by `scale`, rounds to the quantity and is at least as precise."""
    precision = Decimal(1).scaleb(-quantity.decimals)
    if quantity.decimals and Decimal(1).scaleb(-_decimals(printed)) > precision * scale:
        return False  # the prose says more than was printed
    unit = Decimal(1).scaleb(quantity.value.as_tuple().exponent) if quantity.decimals else Decimal(1)
    try:
        return any((printed / scale).quantize(unit, rounding) == quantity.value
                   for rounding in (ROUND_HALF_UP, ROUND_HALF_EVEN))
    except ArithmeticError:
        return False


def cited(sentence):
    """Whether the sentence has a link to the web and a year."""
    return "\ue000" in sentence and re.search(r"\b(?:18|19|20)\d\d\b", sentence) is not None


def unbacked(notebook):
    """The quantities in a chapter's prose that nothing backs, the list of references left out."""
    evidence, found = Evidence(notebook), []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        text = re.split(r"^##+ References\s*$", cell.source, flags=re.M)
        for sentence in sentences(text[0]):
            if not cited(sentence):
                found += [q for q in quantities(sentence) if not evidence.backs(q)]
        if len(text) > 1:
            break
    return found


if __name__ == "__main__":
    for path in sorted((Path(__file__).parents[1] / "chapters").glob("[0-9][0-9]_*.ipynb")):
        if not sys.argv[1:] or path.name[:2] in sys.argv[1:]:
            for quantity in unbacked(nbformat.read(path, as_version=4)):
                print(f"{path.name}: {quantity.text!r} in: {quantity.sentence}")
