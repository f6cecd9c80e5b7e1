"""Wrong arguments for everything that chapter 6 exports: (id, call, exception, words of the message)."""

import numpy as np
import torch

from gptbook.dataset_loader import austen_tokenizer
from gptbook.generate import (filter_logits, generate, stream, text_pieces, text_to_token_ids,
                              token_ids_to_text)
from gptbook.gpt import GPTModel

_model = GPTModel({"vocab_size": 11, "context_length": 8, "emb_dim": 8, "n_heads": 2, "n_layers": 1})
_ids = torch.zeros(2, 3, dtype=torch.int64)
_logits = torch.zeros(2, 11)


def _run(name, error, words, *, model=_model, ids=_ids, new=4, **arguments):
    """The same case for `generate` and for `stream`, which must raise at the call, before any next()."""
    return [(f"generate: {name}", lambda: generate(model, ids, new, **arguments), error, words),
            (f"stream: {name}", lambda: stream(model, ids, new, **arguments), error, words)]


CASES = [
    *_run("model is a str", TypeError, ["model", "GPTModel", "str"], model="gpt2"),
    *_run("ids are a list", TypeError, ["input_ids", "int64", "list"], ids=[[1, 2]]),
    *_run("ids are floats", TypeError, ["input_ids", "int64", "float32"], ids=_ids.float()),
    *_run("ids are int32", TypeError, ["input_ids", "int64", "int32"], ids=_ids.int()),
    *_run("ids are one row without a batch", ValueError, ["input_ids", "(batch, seq)", "(3,)"], ids=_ids[0]),
    *_run("ids have three axes", ValueError, ["input_ids", "(batch, seq)", "(1, 2, 3)"], ids=_ids[None]),
    *_run("empty prompt", ValueError, ["input_ids", "(2, 0)"], ids=_ids[:, :0]),
    *_run("empty batch", ValueError, ["input_ids", "(0, 3)"], ids=_ids[:0]),
    *_run("id above the vocabulary", ValueError, ["input_ids", "[0, 11)", "11"], ids=_ids + 11),
    *_run("negative id", ValueError, ["input_ids", "[0, 11)", "-1"], ids=_ids - 1),
    *_run("prompt too long", ValueError, ["9 positions", "8", "input_ids[:, -8:]"],
          ids=torch.zeros(1, 9).long()),
    *_run("max_new_tokens negative", ValueError, ["max_new_tokens", "-1"], new=-1),
    *_run("max_new_tokens a float", TypeError, ["max_new_tokens", "4.0"], new=4.0),
    *_run("max_new_tokens a bool", TypeError, ["max_new_tokens", "True"], new=True),
    *_run("max_new_tokens None", TypeError, ["max_new_tokens", "None"], new=None),
    *_run("temperature negative", ValueError, ["temperature", "-0.5"], temperature=-0.5),
    *_run("temperature NaN", ValueError, ["temperature", "nan"], temperature=float("nan")),
    *_run("temperature infinite", ValueError, ["temperature", "inf"], temperature=float("inf")),
    *_run("temperature a str", TypeError, ["temperature", "'hot'"], temperature="hot"),
    *_run("temperature a bool", TypeError, ["temperature", "True"], temperature=True),
    *_run("temperature None", TypeError, ["temperature", "None"], temperature=None),
    *_run("top_k 0", ValueError, ["top_k", "at least 1", "0"], temperature=1.0, top_k=0),
    *_run("top_k above V", ValueError, ["top_k", "11", "12"], temperature=1.0, top_k=12),
    *_run("top_k a float", TypeError, ["top_k", "2.0"], temperature=1.0, top_k=2.0),
    *_run("top_p 0", ValueError, ["top_p", "(0, 1]", "0"], temperature=1.0, top_p=0.0),
    *_run("top_p above 1", ValueError, ["top_p", "(0, 1]", "1.5"], temperature=1.0, top_p=1.5),
    *_run("top_p NaN", ValueError, ["top_p", "nan"], temperature=1.0, top_p=float("nan")),
    *_run("top_p a str", TypeError, ["top_p", "'0.9'"], temperature=1.0, top_p="0.9"),
    *_run("top_k without temperature", ValueError, ["temperature is 0", "top_k"], top_k=5),
    *_run("top_p without temperature", ValueError, ["temperature is 0", "top_p"], top_p=0.9),
    *_run("eos_id outside", ValueError, ["eos_id", "[0, 11)", "11"], eos_id=11),
    *_run("eos_id negative", ValueError, ["eos_id", "-1"], eos_id=-1),
    *_run("eos_id a str", TypeError, ["eos_id", "'.'"], eos_id="."),
    *_run("use_cache a str", TypeError, ["use_cache", "'no'"], use_cache="no"),
    *_run("generator is a seed", TypeError, ["generator", "torch.Generator", "int"], generator=3),
    ("filter_logits: a list", lambda: filter_logits([[1.0]]), TypeError, ["logits", "floats"]),
    ("filter_logits: NumPy", lambda: filter_logits(np.zeros((1, 3))), TypeError, ["logits", "tensor"]),
    ("filter_logits: ints", lambda: filter_logits(_ids), TypeError, ["logits", "int64"]),
    ("filter_logits: one axis", lambda: filter_logits(_logits[0]), ValueError, ["logits", "(11,)"]),
    ("filter_logits: empty", lambda: filter_logits(_logits[:, :0]), ValueError, ["logits", "(2, 0)"]),
    ("filter_logits: temperature 0", lambda: filter_logits(_logits, 0.0), ValueError,
     ["temperature", "above 0"]),
    ("filter_logits: temperature negative", lambda: filter_logits(_logits, -1.0), ValueError,
     ["temperature", "-1.0"]),
    ("filter_logits: top_k above V", lambda: filter_logits(_logits, top_k=12), ValueError,
     ["top_k", "11", "12"]),
    ("filter_logits: top_p 0", lambda: filter_logits(_logits, top_p=0), ValueError, ["top_p", "(0, 1]"]),
    ("text_to_token_ids: empty", lambda: text_to_token_ids("", austen_tokenizer()), ValueError,
     ["text", "empty"]),
    ("text_to_token_ids: bytes", lambda: text_to_token_ids(b"a", austen_tokenizer()), TypeError,
     ["text", "bytes"]),
    ("text_to_token_ids: no tokenizer", lambda: text_to_token_ids("a", "gpt2"), TypeError,
     ["tokenizer", "str"]),
    ("token_ids_to_text: a list", lambda: token_ids_to_text([1, 2], austen_tokenizer()), TypeError,
     ["token_ids", "tensor of integers"]),
    ("token_ids_to_text: floats", lambda: token_ids_to_text(_logits[:1], austen_tokenizer()), TypeError,
     ["token_ids", "float32"]),
    ("token_ids_to_text: two rows", lambda: token_ids_to_text(_ids, austen_tokenizer()), ValueError,
     ["token_ids", "one row", "(2, 3)"]),
    ("token_ids_to_text: outside", lambda: token_ids_to_text(_ids[0] + 4096, austen_tokenizer()), ValueError,
     ["token_ids", "[0, 4096)", "4096"]),
    ("token_ids_to_text: no tokenizer", lambda: token_ids_to_text(_ids[0], None), TypeError,
     ["tokenizer", "NoneType"]),
    ("text_pieces: no tokenizer", lambda: text_pieces([], "gpt2"), TypeError, ["tokenizer", "str"]),
    ("text_pieces: a float", lambda: list(text_pieces([torch.tensor([3.7])], austen_tokenizer())), TypeError,
     ["int64", "float32"]),
    ("text_pieces: a list", lambda: list(text_pieces([3], austen_tokenizer())), TypeError, ["int64", "int"]),
    ("text_pieces: two rows", lambda: list(text_pieces([_ids[:, 0]], austen_tokenizer())), ValueError,
     ["text_pieces", "one row", "(2,)"]),
    ("text_pieces: outside", lambda: list(text_pieces([_ids[0, :1] + 4096], austen_tokenizer())), ValueError,
     ["token", "[0, 4096)", "4096"]),
]
