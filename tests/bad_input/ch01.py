"""Wrong arguments for everything that chapter 1 exports: (id, call, exception, words of the message)."""

import tempfile
from pathlib import Path

import numpy as np

from gptbook.dataset_loader import (GPTDatasetV1, austen_tokenizer, bpe_tokenizer, check_int, create_dataloader_v1,
                                    join_lines, load_novel, write_token_file)

_text = "It is a truth universally acknowledged, that a single man must be in want of a wife. " * 4
_tok = austen_tokenizer()


def _from_file(content, tokenizer=_tok):
    """A dataset of a file that holds these bytes, or this array as .npy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.npy"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content, allow_pickle=True)
        GPTDatasetV1(path, tokenizer, 4, 4)


def _truncated(n_bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.npy"
        write_token_file(path, _text, _tok)
        path.write_bytes(path.read_bytes()[:n_bytes])
        GPTDatasetV1(path, _tok, 4, 4)


def _write(name):
    """write_token_file to a path below a fresh folder that holds one file, `taken`, and one folder, `folder`."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "taken").write_text("x")
        (Path(folder) / "folder").mkdir()
        write_token_file(Path(folder) / name, _text, _tok)


def _dataset(text=_text, tokenizer=_tok, max_length=4, stride=4):
    GPTDatasetV1(text, tokenizer, max_length, stride)


def _loader(text=_text, **arguments):
    create_dataloader_v1(text, **{"max_length": 4, "tokenizer": _tok, **arguments})


CASES = [
    ("check_int: float", lambda: check_int("width", 3.0, 1), TypeError, ["width", "3.0"]),
    ("check_int: bool", lambda: check_int("width", True, 1), TypeError, ["width", "True"]),
    ("check_int: too small", lambda: check_int("width", 0, 1), ValueError, ["width", "at least 1", "0"]),
    ("join_lines: bytes", lambda: join_lines(b"a\nb"), TypeError, ["text", "str", "bytes"]),
    ("join_lines: None", lambda: join_lines(None), TypeError, ["text", "str", "NoneType"]),
    ("load_novel: unknown", lambda: load_novel("sanditon"), ValueError, ["name", "persuasion", "sanditon"]),
    ("load_novel: path", lambda: load_novel("../austen/emma"), ValueError, ["name", "emma"]),
    ("load_novel: list", lambda: load_novel(["emma"]), ValueError, ["name", "['emma']"]),
    ("bpe: name not a str", lambda: bpe_tokenizer(3, "#version: 0.2\n"), TypeError, ["name", "str", "int"]),
    ("bpe: merges a list", lambda: bpe_tokenizer("x", ["a b"]), TypeError, ["merges", "str", "list"]),
    ("bpe: empty", lambda: bpe_tokenizer("x", ""), ValueError, ["merges", "#version"]),
    ("bpe: foreign", lambda: bpe_tokenizer("x", '{"a": 1}'), ValueError, ["#version", '{"a": 1}']),
    ("bpe: three parts", lambda: bpe_tokenizer("x", "#version: 0.2\na b\na b c"), ValueError, ["line 3", "a b c"]),
    ("bpe: one part", lambda: bpe_tokenizer("x", "#version: 0.2\nab"), ValueError, ["line 2", "ab"]),
    ("bpe: gap", lambda: bpe_tokenizer("x", "#version: 0.2\n\na b"), ValueError, ["line 2"]),
    ("bpe: unknown character", lambda: bpe_tokenizer("x", "#version: 0.2\na 達"), ValueError, ["line 2", "達"]),
    ("bpe: unknown fragment", lambda: bpe_tokenizer("x", "#version: 0.2\nab c"), ValueError, ["line 2", "ab c"]),
    ("bpe: twice", lambda: bpe_tokenizer("x", "#version: 0.2\na b\na b"), ValueError, ["line 3", "second time"]),
    ("token file: text not a str", lambda: write_token_file("x.npy", 3, _tok), TypeError, ["text", "str", "int"]),
    ("token file: empty text", lambda: write_token_file("x.npy", "", _tok), ValueError, ["text", "empty"]),
    ("token file: not a tokenizer", lambda: write_token_file("x.npy", _text, "gpt2"), TypeError,
     ["tokenizer", "tiktoken", "Encoding", "str"]),
    ("token file: not a path", lambda: write_token_file(None, _text, _tok), TypeError, ["path", "NoneType", "str"]),
    ("token file: no such folder", lambda: _write("missing/a.npy"), OSError, ["could not be written", "missing"]),
    ("token file: folder is a file", lambda: _write("taken/a.npy"), OSError, ["could not be written", "taken"]),
    ("token file: is a folder", lambda: _write("folder"), OSError, ["could not be written", "folder"]),
    ("dataset: text a list", lambda: _dataset([1, 2, 3]), TypeError, ["text", "str", "Path", "list"]),
    ("dataset: text bytes", lambda: _dataset(b"abc"), TypeError, ["text", "str", "bytes"]),
    ("dataset: empty text", lambda: _dataset(""), ValueError, ["text", "0 tokens", "5"]),
    ("dataset: too short", lambda: _dataset("It is a", max_length=3), ValueError, ["3 tokens", "at least 4"]),
    ("dataset: half a surrogate pair", lambda: _dataset("a\ud800"), ValueError, ["surrogates"]),
    ("dataset: tokenizer a str", lambda: _dataset(tokenizer="gpt2"), TypeError, ["tokenizer", "tiktoken", "Encoding", "str"]),
    ("dataset: tokenizer None", lambda: _dataset(tokenizer=None), TypeError, ["tokenizer", "Encoding"]),
    ("dataset: max_length 0", lambda: _dataset(max_length=0), ValueError, ["max_length", "at least 1", "0"]),
    ("dataset: max_length float", lambda: _dataset(max_length=4.0), TypeError, ["max_length", "int", "4.0"]),
    ("dataset: stride 0", lambda: _dataset(stride=0), ValueError, ["stride", "at least 1", "0"]),
    ("dataset: stride negative", lambda: _dataset(stride=-1), ValueError, ["stride", "-1"]),
    ("dataset: stride a str", lambda: _dataset(stride="4"), TypeError, ["stride", "'4'"]),
    ("dataset: no such file", lambda: _dataset(Path("nowhere.npy")), OSError, ["nowhere.npy"]),
    ("dataset: no such window", lambda: GPTDatasetV1("a b c d e", _tok, 2, 1)[99], IndexError, ["99"]),
    ("dataset: file of text", lambda: _from_file(_text.encode()), ValueError, ["tokens.npy", "write_token_file"]),
    ("dataset: empty file", lambda: _from_file(b""), ValueError, ["tokens.npy", "write_token_file"]),
    ("dataset: file of floats", lambda: _from_file(np.zeros(9)), ValueError, ["tokens.npy", "float64", "uint16"]),
    ("dataset: file of int64", lambda: _from_file(np.zeros(9, np.int64)), ValueError, ["int64", "uint16"]),
    ("dataset: file of rows", lambda: _from_file(np.zeros((3, 3), np.uint16)), ValueError, ["(3, 3)"]),
    ("dataset: file of objects", lambda: _from_file(np.array([None])), ValueError, ["tokens.npy"]),
    ("dataset: ids above the vocabulary", lambda: _from_file(np.full(9, 4096, np.uint16)), ValueError,
     ["4096", "austen"]),
    ("dataset: file and no tokenizer", lambda: _from_file(np.zeros(9, np.uint16), None), TypeError, ["tokenizer"]),
    ("dataset: truncated ids", lambda: _truncated(140), ValueError, ["tokens.npy", "whole"]),
    ("dataset: truncated head", lambda: _truncated(50), ValueError, ["tokens.npy", "whole"]),
    ("loader: empty text", lambda: _loader(""), ValueError, ["text", "0 tokens"]),
    ("loader: text too short", lambda: _loader(_text, max_length=999), ValueError, ["max_length 999", "1000"]),
    ("loader: batch_size 0", lambda: _loader(batch_size=0), ValueError, ["batch_size", "at least 1"]),
    ("loader: batch_size float", lambda: _loader(batch_size=2.0), TypeError, ["batch_size", "2.0"]),
    ("loader: batch larger than the data", lambda: _loader(batch_size=999), ValueError, ["batch_size", "999", "drop_last"]),
    ("loader: stride 0", lambda: _loader(stride=0), ValueError, ["stride", "at least 1"]),
    ("loader: max_length negative", lambda: _loader(max_length=-4), ValueError, ["max_length", "-4"]),
    ("loader: num_workers negative", lambda: _loader(num_workers=-1), ValueError, ["num_workers", "-1"]),
    ("loader: num_workers float", lambda: _loader(num_workers=1.0), TypeError, ["num_workers", "1.0"]),
    ("loader: seed negative", lambda: _loader(seed=-1), ValueError, ["seed", "-1"]),
    ("loader: seed a str", lambda: _loader(seed="0"), TypeError, ["seed", "'0'"]),
    ("loader: tokenizer a str", lambda: _loader(tokenizer="gpt2"), TypeError, ["tokenizer", "Encoding"]),
    ("loader: text None", lambda: _loader(None), TypeError, ["text", "NoneType"]),
    ("loader: shuffle a str", lambda: _loader(shuffle="no"), TypeError, ["shuffle", "bool", "str"]),
    ("loader: drop_last None", lambda: _loader(drop_last=None), TypeError, ["drop_last", "bool", "NoneType"]),
]
