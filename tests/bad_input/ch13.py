"""Wrong arguments for chapter 13: (name, call, exception, words that the message must contain)."""

import atexit
import json
import shutil
import tempfile
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import tiktoken
import torch
from torch import nn

from gptbook.dataset_loader import GPTDatasetV1, austen_tokenizer, gpt2_tokenizer
from gptbook.distributed import (
    Ranks, TokenShards, all_reduce_bytes, average_gradients, prepare_shards, process_group, stream_text, together,
    train_distributed)
from gptbook.gpt import GPTModel
from gptbook.train import TrainConfig, save_checkpoint

FOLDER = Path(tempfile.mkdtemp(prefix="gptbook-ch13-"))
atexit.register(shutil.rmtree, FOLDER, True)
TEXT, EMPTY, LATIN = FOLDER / "text.txt", FOLDER / "empty.txt", FOLDER / "latin.txt"
TEXT.write_text("Anne was tenderness itself, and she had the full worth of it.\n\n" * 4, encoding="utf-8")
EMPTY.write_bytes(b"")
LATIN.write_bytes("na\u00efve".encode("latin-1"))
RUN = FOLDER / "run.txt"
RUN.write_bytes(b"Anne " + b"x" * 3_000_000)
TOKENIZER = austen_tokenizer()
OTHER = tiktoken.Encoding("words", pat_str=r"\S+|\s+", mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={})
made = 0


def folder(change_index=None, change_folder=None):
    """A folder of four or more shards, its index or its files changed after it was finished."""
    global made
    made += 1
    out = FOLDER / f"tokens{made}"
    index = prepare_shards([TEXT], out, TOKENIZER, shard_tokens=20)
    assert len(index["shards"]) >= 4
    if change_index:
        change_index(index)
        (out / "index.json").write_text(json.dumps(index))
    if change_folder:
        change_folder(out)
    return out


def prepare(**changed):
    """prepare_shards with changed arguments, in a new folder unless it is one of them."""
    global made
    made += 1
    return prepare_shards(**{"paths": [TEXT], "out": FOLDER / f"tokens{made}", "tokenizer": TOKENIZER, **changed})


def shards(change_index=None, change_folder=None, **changed):
    """TokenShards on a folder that was changed."""
    return TokenShards(**{"folder": folder(change_index, change_folder), "tokenizer": TOKENIZER, "max_length": 4, "stride": 4,
                          **changed})


def stray():
    out = FOLDER / "stray"
    out.mkdir(exist_ok=True)
    np.save(out / "mine.npy", np.zeros(3))
    try:
        return prepare(out=out)
    finally:
        assert [path.name for path in out.iterdir()] == ["mine.npy"]


def cut_short(out):
    (out / "00001.npy").write_bytes((out / "00001.npy").read_bytes()[:-1])


def unfinished(index):
    index["next"] = {"file": 0, "byte": 0, "skip": 0}


def joined(timeout_seconds):
    with process_group(timeout_seconds):
        pass


def in_a_block(ranks):
    with together(ranks):
        pass


def new_model():
    return GPTModel({"vocab_size": 4096, "context_length": 8, "emb_dim": 8, "n_heads": 2, "n_layers": 1})


def training(**changed):
    """train_distributed in a world of one, with changed arguments."""
    dataset = GPTDatasetV1(TEXT.read_text("utf-8"), TOKENIZER, 8, 8)
    return train_distributed(**{"model": new_model(), "dataset": dataset, "cfg": TrainConfig(max_steps=1), "ranks": Ranks(),
                                "progress": False, **changed})


def of_two_ranks():
    path = FOLDER / "two.safetensors"
    save_checkpoint(path, new_model(), step=1, train_config=TrainConfig(max_steps=1), history=[{"step": 1, "ranks": 2}])
    return training(checkpoint_path=path, resume=True)


CASES = [
    ("all_reduce_bytes: below 0", lambda: all_reduce_bytes(-1, 2), ValueError, ["n_bytes", "-1"]),
    ("all_reduce_bytes: no rank", lambda: all_reduce_bytes(8, 0), ValueError, ["world_size", "1", "0"]),
    ("all_reduce_bytes: half a rank", lambda: all_reduce_bytes(8, 1.5), TypeError, ["world_size", "1.5"]),
    ("average_gradients: no model", lambda: average_gradients([torch.zeros(2)]), TypeError, ["model", "Module", "list"]),
    ("average_gradients: no backward", lambda: average_gradients(nn.Linear(2, 2)), ValueError, ["gradient", "weight"]),
    ("average_gradients: alone", lambda: average_gradients(nn.Linear(2, 2).requires_grad_(False)), ValueError,
     ["process group", "torchrun"]),
    ("Ranks: rank beyond the world", lambda: Ranks(2, 2), ValueError, ["rank", "world_size 2", "2"]),
    ("Ranks: no world", lambda: Ranks(0, 0), ValueError, ["world_size", "0"]),
    ("Ranks: rank a text", lambda: Ranks("0", 2), TypeError, ["rank", "'0'"]),
    ("Ranks: changed", lambda: setattr(Ranks(), "rank", 1), FrozenInstanceError, ["rank"]),
    ("process_group: no time", lambda: joined(0), ValueError, ["timeout_seconds", "above 0"]),
    ("process_group: time a text", lambda: joined("10"), TypeError, ["timeout_seconds", "10"]),
    ("process_group: time beyond counting", lambda: joined(1e300), ValueError, ["timeout_seconds", "1e+300"]),
    ("process_group: time without end", lambda: joined(float("inf")), ValueError, ["timeout_seconds", "inf"]),
    ("together: a number", lambda: in_a_block(1), TypeError, ["ranks", "Ranks", "int"]),
    ("train_distributed: ranks a number", lambda: training(ranks=2), TypeError, ["ranks", "Ranks", "int"]),
    ("train_distributed: fsdp a text", lambda: training(fsdp="yes"), TypeError, ["fsdp", "bool", "str"]),
    ("train_distributed: no model", lambda: training(model=nn.Linear(2, 2)), TypeError, ["model", "GPTModel", "Linear"]),
    ("train_distributed: another rank's shards", lambda: training(dataset=shards(max_length=8, stride=8, rank=1, world_size=2)),
     ValueError, ["dataset", "rank 0 of 1", "rank 1 of 2"]),
    ("train_distributed: of two ranks", of_two_ranks, ValueError, ["two.safetensors", "world size 2", "1"]),
    ("train_distributed: resume what", lambda: training(resume=True), ValueError, ["checkpoint_path", "None"]),
    ("stream_text: no file", lambda: list(stream_text(FOLDER / "none")), FileNotFoundError, ["none"]),
    ("stream_text: a folder", lambda: list(stream_text(FOLDER)), OSError, [FOLDER.name]),
    ("stream_text: start -1", lambda: list(stream_text(TEXT, -1)), ValueError, ["start", "-1"]),
    ("stream_text: blocks of 0", lambda: list(stream_text(TEXT, block_bytes=0)), ValueError, ["block_bytes", "0"]),
    ("stream_text: Latin-1", lambda: list(stream_text(LATIN)), ValueError, ["latin.txt", "UTF-8", "byte 2", "xef"]),
    ("stream_text: no cut", lambda: list(stream_text(RUN)), ValueError, ["run.txt", "white space", "byte 4"]),
    ("prepare_shards: no file", lambda: prepare(paths=[FOLDER / "none"]), FileNotFoundError, ["none"]),
    ("prepare_shards: a name, no list", lambda: prepare(paths=str(TEXT)), ValueError, ["paths", "list", "text.txt"]),
    ("prepare_shards: no files", lambda: prepare(paths=[]), ValueError, ["paths", "one or more", "[]"]),
    ("prepare_shards: only empty files", lambda: prepare(paths=[EMPTY, EMPTY]), ValueError, ["empty", "empty.txt"]),
    ("prepare_shards: Latin-1", lambda: prepare(paths=[LATIN]), ValueError, ["latin.txt", "UTF-8", "byte 2"]),
    ("prepare_shards: shards of 0", lambda: prepare(shard_tokens=0), ValueError, ["shard_tokens", "0"]),
    ("prepare_shards: shards of 1.5", lambda: prepare(shard_tokens=1.5), TypeError, ["shard_tokens", "1.5"]),
    ("prepare_shards: shards beyond memory", lambda: prepare(shard_tokens=10**15), ValueError,
     ["shard_tokens", "memory", str(10**15)]),
    ("prepare_shards: tokenizer a name", lambda: prepare(tokenizer="gpt2"), TypeError, ["tokenizer", "Encoding", "str"]),
    ("prepare_shards: another pattern", lambda: prepare(tokenizer=OTHER), ValueError, ["SPLIT_PATTERN", "words"]),
    ("prepare_shards: out is a file", lambda: prepare(out=TEXT), OSError, ["text.txt"]),
    ("prepare_shards: another's folder", stray, ValueError, ["stray", ".npy files", "no index.json"]),
    ("prepare_shards: another tokenizer", lambda: prepare(out=folder(), tokenizer=gpt2_tokenizer(), shard_tokens=20), ValueError,
     ["'austen'", "'gpt2'", "another folder"]),
    ("prepare_shards: shards of another size", lambda: prepare(out=folder(), shard_tokens=21), ValueError,
     ["shard_tokens 20", "21"]),
    ("prepare_shards: other files", lambda: prepare(out=folder(), paths=[TEXT, TEXT], shard_tokens=20), ValueError,
     ["other texts", "Take another folder"]),
    ("prepare_shards: index no JSON", lambda: prepare(out=folder(None, lambda out: (out / "index.json").write_text("{")),
                                                      shard_tokens=20), ValueError, ["index.json", "damaged"]),
    ("prepare_shards: a shard cut short", lambda: prepare(out=folder(None, cut_short), shard_tokens=20), ValueError,
     ["00001.npy", "not whole"]),
    ("TokenShards: no folder", lambda: shards(folder=FOLDER / "none"), FileNotFoundError,
     ["none", "gptbook prepare", "no such folder"]),
    ("TokenShards: a folder of texts", lambda: shards(folder=FOLDER), FileNotFoundError, ["no index.json"]),
    ("TokenShards: unfinished", lambda: shards(unfinished), ValueError, ["unfinished", "again"]),
    ("TokenShards: index no JSON", lambda: shards(None, lambda out: (out / "index.json").write_bytes(b"\xff")), ValueError,
     ["index.json", "damaged"]),
    ("TokenShards: index a list", lambda: shards(None, lambda out: (out / "index.json").write_text("[]")), ValueError,
     ["index.json", "damaged"]),
    ("TokenShards: index without shards", lambda: shards(lambda index: index.pop("shards")), ValueError, ["'shards'"]),
    ("TokenShards: tokens a text", lambda: shards(lambda index: index["shards"][0].update(tokens="20")), ValueError,
     ["damaged", "'20'"]),
    ("TokenShards: other tokens than the index says", lambda: shards(lambda index: index["shards"][0].update(tokens=19)),
     ValueError, ["00000.npy", "(19,)", "(20,)"]),
    ("TokenShards: a shard is gone", lambda: shards(None, lambda out: (out / "00001.npy").unlink()), OSError, ["00001.npy"]),
    ("TokenShards: a shard cut short", lambda: shards(None, cut_short), ValueError, ["00001.npy", "not whole"]),
    ("TokenShards: a shard of floats", lambda: shards(None, lambda out: np.save(out / "00001.npy", np.zeros(20))), ValueError,
     ["00001.npy", "uint16", "float64"]),
    ("TokenShards: another tokenizer", lambda: shards(tokenizer=gpt2_tokenizer()), ValueError, ["austen", "gpt2", "50257"]),
    ("TokenShards: tokenizer None", lambda: shards(tokenizer=None), TypeError, ["tokenizer", "Encoding", "NoneType"]),
    ("TokenShards: more ranks than shards", lambda: shards(rank=0, world_size=50), ValueError,
     ["world_size", "number of shards", "50", "shard_tokens"]),
    ("TokenShards: a short shard for a rank", lambda: shards(world_size=4), ValueError,
     ["one of 4 ranks", "20 tokens", "another 7", "shard_tokens", "about 4"]),
    ("TokenShards: rank too high", lambda: shards(rank=2, world_size=2), ValueError, ["rank", "below world_size 2", "2"]),
    ("TokenShards: rank -1", lambda: shards(rank=-1), ValueError, ["rank", "-1"]),
    ("TokenShards: world size 0", lambda: shards(world_size=0), ValueError, ["world_size", "0"]),
    ("TokenShards: stride 0", lambda: shards(stride=0), ValueError, ["stride", "0"]),
    ("TokenShards: windows too long", lambda: shards(max_length=40, world_size=2), ValueError,
     ["40 tokens", "max_length 40", "41"]),
    ("TokenShards: no such window", lambda: shards()[10**6], IndexError, ["i must be in"]),
]
