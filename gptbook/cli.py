"""The command `gptbook`: `gptbook generate` writes a text, `gptbook train` trains a model, `gptbook prepare` tokenises
texts, `gptbook perf` measures the machine. It teaches nothing: it puts together what the chapters export.
"""

import argparse
import json
import os
import re
import sys
import time
import tomllib
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO, cast

import tiktoken
import torch
from tqdm import tqdm

from . import _version
from .dataset_loader import (
    END_OF_TEXT, TRAIN_NOVELS, VALIDATION_NOVEL, GPTDatasetV1, austen_tokenizer, check_int, gpt2_tokenizer, join_lines,
    load_novel)
from .distributed import Ranks, TokenShards, prepare_shards, process_group, together, train_distributed
from .generate import stream, text_pieces, text_to_token_ids
from .gpt import GPT_CONFIG_124M, GPTModel
from .gpt_gqa import GroupedQueryAttention
from .gpt_mla import HalfCacheAttention, MultiHeadLatentAttention
from .gpt_swa import SlidingWindowAttention
from .kv_cache import MultiHeadAttention, _check_device
from .layers import GPTConfig
from .load_weights import load_gpt2, save_gpt2, tokenizer_for
from .perf_analysis import FastDecode, benchmark_decode, benchmark_training, estimate, machine_limits
from .train import TrainConfig, _whole_file, load_checkpoint

# name on the command line -> (attention, the setting that its number gives, if it takes one)
ATTENTIONS: dict[str, tuple[type[Any], str | None]] = {
    "mha": (MultiHeadAttention, None), "half": (HalfCacheAttention, None), "gqa": (GroupedQueryAttention, "num_kv_groups"),
    "mla": (MultiHeadLatentAttention, "latent_dim"), "swa": (SlidingWindowAttention, "sliding_window_size")}
TOKENIZERS = {"austen": austen_tokenizer, "gpt2": gpt2_tokenizer}
PERF_CONFIG = {**GPT_CONFIG_124M, "drop_rate": 0.0}


def attention_settings(text: str) -> dict[str, Any]:
    """load_gpt2's arguments for "mha", "half", "gqa=K", "mla=R" or "swa=W". ValueError for anything else."""
    name, equals, number = text.partition("=")
    attention, setting = ATTENTIONS.get(name, (None, None))
    if attention is None or bool(equals) != bool(setting) or equals and not number.isdecimal():
        raise ValueError("attention must be mha, half, gqa=K (key/value heads), mla=R (latent numbers) or swa=W (window), "
                         f"got {text!r}")
    return {"attention": attention, **({setting: int(number)} if setting else {})}


def run_generate(args: argparse.Namespace) -> None:
    """Write the prompt and its continuation, piece by piece."""
    model = load_gpt2(args.model, **attention_settings(args.attention))
    tokenizer = tokenizer_for(model)
    generator = None if args.seed is None else torch.Generator().manual_seed(args.seed)
    steps = stream(model, text_to_token_ids(args.prompt, tokenizer), args.max_new_tokens, temperature=args.temperature,
                   top_k=args.top_k, top_p=args.top_p, eos_id=tokenizer.eot_token, generator=generator)
    print(args.prompt, end="", flush=True)
    for piece in text_pieces(steps, tokenizer):
        print(piece.replace(END_OF_TEXT, ""), end="", flush=True)
    print()


def line_of(text: str, section: str, key: str) -> int:
    """The number of the line of a TOML text that gives `key` in `section`, or else opens the section; 0: neither is there."""
    found, here = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if opened := re.match(r"\s*\[\s*([\w-]+)\s*\]", line):
            here = opened[1]
            found = number if here == section else found
        elif here == section and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
            return number
    return found


def read_run(path: Path) -> dict[str, dict[str, Any]]:
    """The sections of a run's TOML file, its keys checked. Raises OSError or ValueError that names file, line and key."""
    try:
        text = path.read_text("utf-8")
        run = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are such; the first names the line
        raise ValueError(f"{path} is no TOML file: {error}") from error
    known = {"model": {f.name for f in fields(GPTConfig)} - {"vocab_size"},  # that is the tokenizer's
             "data": {"tokenizer", "train", "tokens", "validation", "validation_characters", "stride"},
             "training": {f.name for f in fields(TrainConfig)}, "output": {"folder", "float16"}}
    needed = {"data": {"tokenizer", "stride"}, "output": {"folder"}, "training": {"max_steps"}}
    if set(run) != set(known):
        raise ValueError(f"{path} must have the sections {list(known)}, got {list(run)}")

    def wrong(section: str, key: str, words: str) -> ValueError:
        line = line_of(text, section, key)
        return ValueError(f"{path}{f', line {line}' if line else ''}: {words}")

    for section, keys in known.items():
        if not isinstance(run[section], dict):
            raise wrong("", section, f"{section} must be a section, [{section}], got {run[section]!r}")
        for what, odd in (("unknown", sorted(set(run[section]) - keys)),
                          ("missing", sorted(needed.get(section, set()) - set(run[section])))):
            if odd:
                raise wrong(section, odd[0], f"[{section}] has {what} keys {odd}; it reads {sorted(keys)}")
    data, output = run["data"], run["output"]
    for section, key, value in (("data", "tokenizer", data["tokenizer"]), ("data", "validation", data.get("validation", "")),
                                ("data", "tokens", data.get("tokens", "")), ("output", "folder", output["folder"])):
        if not isinstance(value, str):
            raise wrong(section, key, f"{key} must be a text in quotes, got {value!r}")
    if data["tokenizer"] not in TOKENIZERS:
        raise wrong("data", "tokenizer", f"tokenizer must be one of {list(TOKENIZERS)}, got {data['tokenizer']!r}")
    if ("train" in data) == ("tokens" in data):
        raise wrong("data", "tokens", "[data] must have either train, a list of texts, or tokens, a folder of gptbook prepare")
    names = data.get("train", [""])
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise wrong("data", "train", f"train must be a list of novels or files, got {names!r}")
    if not isinstance(output.get("float16", False), bool):
        raise wrong("output", "float16", f"float16 must be true or false, got {output['float16']!r}")
    span = data.get("validation_characters", [0, 0])
    if not (isinstance(span, list) and len(span) == 2 and all(type(place) is int for place in span)):  # true is an int as well
        raise wrong("data", "validation_characters", f"validation_characters must be two whole numbers, [from, to], got {span!r}")
    n_vocab = TOKENIZERS[data["tokenizer"]]().n_vocab
    for section, make in (("data", lambda: check_int("stride", data["stride"], 1)),
                          ("training", lambda: TrainConfig(**run["training"])),
                          ("model", lambda: GPTConfig.make({**run["model"], "vocab_size": n_vocab}))):
        try:
            make()
        except (TypeError, ValueError) as error:  # its message begins with the key, and may name others after it
            found = [(m.start(), key) for key in run[section] if (m := re.search(rf"\b{re.escape(key)}\b", str(error)))]
            raise wrong(section, min(found, default=(0, ""))[1], f"[{section}] {error}") from error
    return run


def read_text(name: str, folder: Path) -> str:
    """A novel that the book ships, by its name, or a text file, relative to `folder`."""
    if name in (*TRAIN_NOVELS, VALIDATION_NOVEL):
        return load_novel(name)
    return join_lines((folder / name).read_text("utf-8"))


def training_data(data: dict[str, Any], folder: Path, tokenizer: tiktoken.Encoding, max_length: int,
                  ranks: Ranks) -> tuple[GPTDatasetV1, int, int]:
    """The dataset that [data] describes, relative to `folder`, and the tokens and bytes of its texts.

    Of shards a rank has its own.
    """
    if "tokens" in data:
        shards = TokenShards(folder / data["tokens"], tokenizer, max_length, data["stride"], rank=ranks.rank,
                             world_size=ranks.world_size)
        index = shards.index
        return shards, sum(shard["tokens"] for shard in index["shards"]), sum(file["bytes"] for file in index["files"])
    text = END_OF_TEXT.join(read_text(name, folder) for name in data["train"])
    dataset = GPTDatasetV1(text, tokenizer, max_length, data["stride"])
    return dataset, len(dataset.token_ids), len(text.encode())


def throw_away(stream: TextIO) -> None:
    """Let what is still written to a stream go nowhere, also what waits in its buffer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Unread:
    """A stream for a program that goes on when nobody reads any more: `gptbook train ... | head`."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> None:
        try:
            self.stream.write(text)
        except BrokenPipeError:
            throw_away(self.stream)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except BrokenPipeError:
            throw_away(self.stream)


def run_train(args: argparse.Namespace) -> None:
    """Train as a TOML file says, going on from the folder's checkpoint if there is one, and write the model.

    Alone or as one of the ranks that torchrun started: what goes wrong on one ends all, and rank 0 tells and writes.
    """
    path, out = Path(args.config), cast(TextIO, Unread(sys.stdout))
    with redirect_stdout(out), process_group(args.timeout) as ranks:
        args.met = True
        with together(ranks):
            run = read_run(path)
            data, output = run["data"], run["output"]
            tokenizer = TOKENIZERS[data["tokenizer"]]()
            cfg = TrainConfig(**run["training"])
            torch.manual_seed(cfg.seed)
            model = GPTModel({**run["model"], "vocab_size": tokenizer.n_vocab}).to(ranks.device)
            dataset, n_tokens, n_bytes = training_data(data, path.parent, tokenizer, model.cfg.context_length, ranks)
            val_text = None
            if "validation" in data:
                span = data.get("validation_characters", [None])  # without it, the whole text
                val_text = read_text(data["validation"], path.parent)[slice(*span)]
            folder = path.parent / output["folder"]
            if ranks.rank == 0:
                folder.mkdir(parents=True, exist_ok=True)
        before = time.perf_counter()

        def on_step(record: dict[str, float]) -> None:
            nonlocal before
            now = time.perf_counter()
            record["seconds"], before = round(now - before, 3), now
            if "val_bpb" in record:
                print(f"\nstep {record['step']}: {record['val_bpb']:.3f} bits a byte on the validation text", flush=True)

        checkpoint_path = folder / "checkpoint.safetensors"
        history = train_distributed(model, dataset, cfg, ranks, val_text=val_text,
                                    tokenizer=tokenizer if val_text is not None else None,
                                    checkpoint_path=checkpoint_path, resume=True, on_step=on_step, fsdp=args.fsdp)
        with together(ranks):
            if ranks.rank == 0:
                if args.fsdp and ranks.world_size > 1:  # this rank's own has only a part of each weight
                    model = load_checkpoint(checkpoint_path).model
                save_gpt2(model.half() if output.get("float16") else model, folder)
                kept = [{key: round(value, 4) if key in ("loss", "val_bpb") else value for key, value in record.items()
                         if key in ("step", "loss", "val_bpb")}
                        for record in history if record["step"] % 25 == 0 or "val_bpb" in record]
                each = (torch.cuda.get_device_name(ranks.device) if ranks.device.type == "cuda" else
                        f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
                about = {**run, "training": asdict(cfg), "training_tokens": n_tokens, "training_bytes": n_bytes,
                         "minutes": round(sum(record.get("seconds", 0) for record in history) / 60, 1),
                         "torch": torch.__version__, "machine": f"{ranks.world_size} x {each}", "history": kept}
                with _whole_file(folder / "training.json") as temporary:
                    temporary.write_text(json.dumps(about) + "\n", encoding="utf-8")
                print(f"{folder} holds config.json, model.safetensors and training.json: load_gpt2({str(folder)!r}) opens it")


def run_prepare(args: argparse.Namespace) -> None:
    """Tokenise texts into a folder of shards, going on from its last whole one."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError("gptbook prepare is one process, which has threads of its own, and several would write into one "
                         "folder: start it without torchrun")
    index = prepare_shards(args.texts, args.out, TOKENIZERS[args.tokenizer](), shard_tokens=args.shard_tokens, progress=True)
    shards = [shard["tokens"] for shard in index["shards"]]
    print(f"{args.out} holds {sum(shards):,} tokens, shards: {len(shards)}")


def run_perf(args: argparse.Namespace) -> None:
    """Measure this machine, and GPT-2's smallest size on it beside what the machine allows."""
    _check_device(args.device)
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = torch.device(args.device or found or "cpu")
    rows: list[tuple[str, float, float]] = []  # what, tokens a second, at best
    B, T = 8, 512
    with tqdm(total=10 if device.type == "cpu" else 7, file=sys.stderr, leave=False, desc="measuring") as bar:
        limits = {}
        for dtype in (torch.float32, torch.bfloat16):
            limits[dtype] = machine_limits(dtype, device=device)
            bar.update()
        best = limits[torch.float32]
        model = GPTModel(PERF_CONFIG).eval().to(device)

        def generating(what: str, batch_size: int = 1, int8: bool | None = None) -> None:
            with nullcontext() if int8 is None else FastDecode(model, int8):
                record = benchmark_decode(model, batch_size=batch_size, new_tokens=16, rounds=2)
            e = estimate(PERF_CONFIG, batch_size=batch_size, cached=record.prompt_length + 8, dtype=record.dtype)
            weights = (e.forward_bytes - e.cache_bytes) / (4 if int8 else 1)
            rows.append((what, record.tokens_per_s, batch_size * best.bytes_per_s / (weights + e.cache_bytes)))
            bar.update()

        def training(what: str, bf16: bool) -> None:
            record = benchmark_training(model, batch_size=2, seq_len=256, bf16=bf16, steps=2)
            mfu = record.mfu(limits[torch.bfloat16 if bf16 else torch.float32])
            rows.append((what, record.tokens_per_s, record.tokens_per_s / mfu))
            bar.update()

        generating("generating, float32")
        generating(f"generating, float32, batch of {B}", B)
        if device.type == "cpu":
            generating("generating, FastDecode", int8=False)
            generating(f"generating, FastDecode, batch of {B}", B, int8=False)
            generating("generating, FastDecode in 8 bits", int8=True)
        first, e = benchmark_decode(model, prompt_length=T, new_tokens=2, rounds=2), estimate(PERF_CONFIG, seq_len=T)
        rows.append((f"reading a prompt of {T}, float32", T / first.first_token_seconds,
                     T / best.seconds(e.forward_flops, e.forward_bytes)))
        bar.update()
        training("training on 2 x 256, float32", bf16=False)
        if limits[torch.bfloat16].flops_per_s > best.flops_per_s:  # else a step would take minutes
            training("training on 2 x 256, bfloat16", bf16=True)
        model.to(torch.bfloat16)
        generating("generating, bfloat16")
    about = f", {best.threads} threads, {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else ""
    print(f"{device.type}{about}, torch {torch.__version__}; at best")
    for dtype, limit in limits.items():
        print(f"{limit.flops_per_s / 1e9:10,.0f} GFLOP/s in {str(dtype)[6:]}, {limit.bytes_per_s / 1e9:,.1f} GB/s from memory")
    print(f"\n{'GPT-2 124M':40}{'tokens/s':>12}{'at best':>12}{'share':>8}")
    for what, measured, at_best in rows:
        print(f"{what:40}{measured:12,.1f}{at_best:12,.1f}{measured / at_best:8.0%}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="gptbook", description="Build GPT-2 cell by cell: what the book's chapters export.")
    top.add_argument("--version", action="version", version=_version.__version__)
    top.set_defaults(met=False)  # whether this process is one of a group that knows of each other's errors
    commands = top.add_subparsers(required=True, metavar="generate | train | prepare | perf")
    sub = commands.add_parser("generate", help="write a continuation of a text", description="Write a continuation of a text.")
    sub.add_argument("prompt", help="the beginning of the text")
    sub.add_argument("--model", default="austen", help="austen (the default), 124M, 355M, 774M, 1558M, a folder, or a name "
                                                       "on the Hugging Face Hub")
    sub.add_argument("--max-new-tokens", type=int, default=100, help="how many tokens at most (100)")
    sub.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token (0.8)")
    sub.add_argument("--top-k", type=int, help="draw from the K likeliest tokens only")
    sub.add_argument("--top-p", type=float, help="draw from the likeliest tokens that together have this probability")
    sub.add_argument("--seed", type=int, help="makes the text repeatable")
    sub.add_argument("--attention", default="mha", help="mha (the default), half, gqa=K, mla=R or swa=W: the model's weights "
                                                        "with another attention")
    sub.set_defaults(run=run_generate)
    sub = commands.add_parser("train", help="train a model as a TOML file says", description="Train a model as a TOML file "
                              "says; started again, it goes on from its last checkpoint. The same program trains on several "
                              "processes: torchrun --nproc-per-node=2 -m gptbook train config.toml")
    sub.add_argument("config", help="the TOML file, such as configs/austen.toml")
    sub.add_argument("--fsdp", action="store_true", help="under torchrun: make the model on each process, then keep a part of it there")
    sub.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS",
                     help="under torchrun: how long a process may keep the others waiting (600)")
    sub.set_defaults(run=run_train)
    sub = commands.add_parser("prepare", help="tokenise texts for training", description="Tokenise text files of any size into "
                              "a folder of token files; started again, it goes on from the last whole one.")
    sub.add_argument("texts", nargs="+", help="UTF-8 text files, in the order in which they are joined")
    sub.add_argument("--out", required=True, help="the folder")
    sub.add_argument("--tokenizer", choices=TOKENIZERS, default="gpt2", help="the vocabulary (gpt2)")
    sub.add_argument("--shard-tokens", type=int, default=10_000_000, help="how many tokens a file holds (10000000)")
    sub.set_defaults(run=run_prepare)
    sub = commands.add_parser("perf", help="measure this machine, and GPT-2 on it", description="Measure what this machine "
                              "can do at best, and how near GPT-2 124M comes to it, generating and training. Takes a minute or "
                              "two.")
    sub.add_argument("--device", help="cpu, cuda or mps; a graphics card if there is one")
    sub.set_defaults(run=run_perf)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 after an error (told in one line on stderr), 130 after Ctrl-C.

    A wrong command line exits with 2. What all the processes that torchrun started on a machine would tell alike, the
    first of them tells.
    """
    told_elsewhere = os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("LOCAL_RANK", "0") != "0"
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere) if told_elsewhere else nullcontext():
        args = parser().parse_args(argv)
    try:
        args.run(args)
    except (TypeError, ValueError, OSError, FloatingPointError, OverflowError) as error:
        if isinstance(error, BrokenPipeError) and args.run is not run_train:  # `gptbook generate ... | head`
            throw_away(sys.stdout)
            return 0
        # In a group one rank alone raises what has to be told; a TimeoutError comes also where the group was not complete.
        if not told_elsewhere or args.met or isinstance(error, TimeoutError):
            print(f"gptbook: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        if not told_elsewhere:
            print(f"\ngptbook: {str(interrupt) or 'stopped'}", file=sys.stderr)
        return 130
    return 0
