"""gptbook beside its peers: decoding, the first token, training, memory and the import, each against a target.

    python benchmarks/peers.py [--only ROW ...] [--rounds 5] [--nanogpt FOLDER] [--llms FOLDER] [--device cuda]
                               [--profile] [--out FILE]

GPT-2 124M with random weights, the same dtype and threads for all. Before anything is timed, the logits of every peer
are compared with the model's (in decoding over a prompt and over steps with its cache); one whose code is not there is left
out, and the output says so. Rounds are interleaved, and medians are compared.

Peers: transformers (with its dynamic and its static cache); with --nanogpt a checkout of github.com/karpathy/nanoGPT;
with --llms one of github.com/rasbt/LLMs-from-scratch (chapter 4's two models with a cache); torchao where it is
installed (`pip install -c constraints.txt -e '.[bench]'`). nanoGPT's GELU is set to the tanh formula, GPT-2's own, for else its
logits would differ. The time of decoding is that of the tokens after the first, which has rows of its own. The ceiling is what
reading the weights (from prompt 512 on, the filled cache too) would allow at the speed at which torch.sum reads 256 MB, measured
in the same rounds. --profile: after a row that missed a target, PyTorch's profiler says where the time goes, of ours and of the
peer. Without --out nothing is written; with it, --only replaces its rows in FILE and keeps the others, if they are of the same machine.

--device cuda (or mps) takes the rows that make sense there, whose targets are a CPU's and so are left out; the card's name
and the absolute figures are what they tell. Attention takes SDPA's fused kernels there, float32 products are those of
PyTorch's default ("highest" precision), and a row of its own has torch.compile; CUDA graphs have none, since they want tensors
that stay in their places, and the part of the cache that a step reads grows.
"""

import argparse
import contextlib
import copy
import datetime
import functools
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, StaticCache

import gptbook
from gptbook import (
    GPTModel, GroupedQueryAttention, MultiHeadAttention, MultiHeadLatentAttention, SlidingWindowAttention, VALIDATION_NOVEL,
    austen_tokenizer, bits_per_byte, load_gpt2, load_novel, stream)
from gptbook.perf_analysis import FastDecode
from spine import peer_of

CFG: dict[str, Any] = {**gptbook.GPT_CONFIG_124M, "drop_rate": 0.0, "qkv_bias": True}
WIDE = {**CFG, "context_length": 256, "emb_dim": 384, "n_heads": 6, "n_layers": 6}  # 30M, most of it the vocabulary
SMALL = {**WIDE, "vocab_size": 256}
VARIANTS: dict[str, tuple[type[Any], dict[str, int]]] = {
    "MHA": (MultiHeadAttention, {}),
    "GQA-4": (GroupedQueryAttention, {"num_kv_groups": 4}),
    "MLA-96": (MultiHeadLatentAttention, {"latent_dim": 96}),
    "window 256": (SlidingWindowAttention, {"sliding_window_size": 256}),
}
DEVICE = torch.device("cpu")  # of everything here; --device may name another. (PyTorch's default device would slow each call.)
BF16_CPU = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # instructions for it, of x86 alone
LENGTHS = (128, 1024, 2048, 4096, 6144, 8192, 12288, 16384)
FAST, HF, NANO, LLMS = "gptbook, FastDecode", "transformers", "nanoGPT", "LLMs-from-scratch"
PIECES = "gptbook, loss in pieces"
LLMS_FILES = {LLMS: "gpt_with_kv_cache.py", f"{LLMS}, optimised": "gpt_with_kv_cache_optimized.py"}
Tokens = Callable[[Tensor, int], Iterator[Tensor]]   # (prompt, how many) -> their ids, one step at a time
Start = Callable[[int], Callable[[Tensor], Tensor]]  # length -> an empty cache's step: ids (B, T) -> logits (B, 1 or T, V)


def vectors() -> str:
    """The vectors of this processor, as "AVX512 and AMX"."""
    return torch.backends.cpu.get_cpu_capability() + (" and AMX" if torch.cpu._is_amx_tile_supported() else "")


def module_at(path: Path) -> Any:
    """A Python file as a module."""
    spec: Any = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


def nanogpt_of(model: GPTModel, folder: Path) -> Any:
    """nanoGPT with this model's weights."""
    cfg, nano = model.cfg, module_at(folder / "model.py")
    with contextlib.redirect_stdout(sys.stderr):  # it prints its size
        peer = nano.GPT(nano.GPTConfig(block_size=cfg.context_length, vocab_size=cfg.vocab_size, n_layer=cfg.n_layers,
                                       n_head=cfg.n_heads, n_embd=cfg.emb_dim, dropout=0.0, bias=True))
    for block in peer.transformer.h:
        block.mlp.gelu.approximate = "tanh"
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # transformers keeps these the other way round
    peer.load_state_dict({k: v.T if k.endswith(turned) else v for k, v in peer_of(model).state_dict().items()})
    return peer.to(DEVICE)


def llms_of(model: GPTModel, file: Path) -> Any:
    """The GPTModel of a file of LLMs-from-scratch with this model's weights."""
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        name = name.replace("blocks.", "trf_blocks.").replace("ff.expand", "ff.layers.0")
        name = name.replace("ff.out_proj", "ff.layers.2")
        if ".qkv." in name:
            state |= zip((name.replace("qkv", f"W_{part}") for part in ("query", "key", "value")), value.chunk(3))
        else:
            state[name] = value
    peer = module_at(file).GPTModel({key: getattr(model.cfg, key) for key in CFG})
    peer.load_state_dict({**state, "out_head.weight": model.tok_emb.weight})
    return peer.eval().to(DEVICE)


def own_start(model: GPTModel) -> Start:
    def start(length: int) -> Callable[[Tensor], Tensor]:
        model.reset_kv_cache(max_length=length)
        return lambda ids: model(ids, use_cache=True, last_only=True)
    return start


def transformers_start(peer: Any, static: bool = False) -> Start:
    def start(length: int) -> Callable[[Tensor], Tensor]:
        cache = StaticCache(config=peer.config, max_cache_len=length) if static else DynamicCache(config=peer.config)
        return lambda ids: peer(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    return start


def llms_start(peer: Any) -> Start:
    def start(length: int) -> Callable[[Tensor], Tensor]:
        peer.reset_kv_cache()
        return lambda ids: peer(ids, use_cache=True)
    return start


def random_ids(vocab_size: int, *shape: int) -> Tensor:
    """Token ids of a shape."""
    return torch.randint(0, vocab_size, shape, device=DEVICE)


@torch.inference_mode()
def check_equal(model: GPTModel, start: Start, error: float = 2e-5) -> None:
    """Raise AssertionError unless `start`'s steps, a prompt and three tokens, give the model's own logits."""
    ids = random_ids(model.cfg.vocab_size, 2, 12)
    expected, step = model(ids), start(12)
    for first, end in ((0, 9), (9, 10), (10, 11), (11, 12)):
        found = (step(ids[:, first:end])[:, -1] - expected[:, end - 1]).abs().max().item()
        assert found < error, f"its logits of token {end} differ by {found:.1e}"


@torch.inference_mode()
def peer_tokens(start: Start, prompt: Tensor, new: int) -> Iterator[Tensor]:
    """A peer's greedy tokens."""
    step, ids = start(prompt.shape[1] + new), prompt
    for _ in range(new):
        ids = step(ids)[:, -1:].argmax(-1)
        yield ids


def fast_tokens(fast: FastDecode, model: GPTModel, prompt: Tensor, new: int) -> Iterator[Tensor]:
    """The model's greedy tokens within `with fast:`."""
    with fast:
        yield from stream(model, prompt, new)


def trainee(name: str, model: GPTModel, nanogpt: Path | None) -> tuple[Any, Any, Any]:
    """A contender with the model's weights, ready to train: the module, its logits and its loss of (inputs, targets)."""
    if name == NANO:
        assert nanogpt is not None
        peer = nanogpt_of(model, nanogpt).train()
        return peer, lambda x, y: peer(x, y)[0], lambda x, y: peer(x, y)[1]
    if name == PIECES:
        model = copy.deepcopy(model).train()
        return model, lambda x, y: model(x), loss_in_pieces(model)
    peer = model.train() if name == "gptbook" else peer_of(model).train().to(DEVICE)

    def logits(x: Tensor, y: Tensor) -> Tensor:
        return peer(x) if name == "gptbook" else peer(x, use_cache=False).logits
    return peer, logits, lambda x, y: F.cross_entropy(logits(x, y).flatten(0, 1), y.flatten())


def loss_in_pieces(model: GPTModel) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of (inputs, targets) by PyTorch's linear_cross_entropy, which never holds the logits of all positions."""
    # Left to itself it takes pieces of 16 rows here, and reads the head's weights far too often.
    options = torch.nn.LinearCrossEntropyOptions(chunking_method=None, batch_chunk_size=256)
    caught: dict[str, Tensor] = {}
    model.blocks[-1].register_forward_hook(lambda block, inputs, x: caught.update(x=x))

    def loss(x: Tensor, y: Tensor) -> Tensor:
        model(x, last_only=True)
        hidden = model.final_norm(caught.pop("x")).flatten(0, 1)
        return F.linear_cross_entropy(hidden, model.tok_emb.weight, y.flatten(), options=options)
    return loss


def training_step(loss: Callable[..., Tensor], ids: Tensor, optimizer: torch.optim.Optimizer, bf16: bool) -> None:
    """Forward, cross entropy, backward and the optimizer's step; ids: inputs and targets."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=bf16):
        value = loss(*ids)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()


def adamw(module: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)


MEMORY_OF = {"124M": (CFG, 2), "30M": (WIDE, 12)}  # and the batch, of windows of 256 tokens


def memory_of(name: str, size: str, nanogpt: Path | None) -> float:
    """MB that this process held at most (VmHWM), after three training steps."""
    cfg, batch = MEMORY_OF[size]
    module, _, loss = trainee(name, GPTModel(cfg), nanogpt)
    ids, optimizer = random_ids(cfg["vocab_size"], 2, batch, 256), adamw(module)
    for _ in range(3):
        training_step(loss, ids, optimizer, False)
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def variant(name: str, context_length: int) -> GPTModel:
    """GPT-2 124M's shape with another attention."""
    attention, more = VARIANTS[name]
    return GPTModel({**CFG, **more, "context_length": context_length}, attention=attention).eval().to(DEVICE)


def step_bytes(model: GPTModel, S: int) -> int:
    """Bytes that a step reads: the weights, without the position embeddings, and S cached positions."""
    weights = sum(p.nbytes for p in model.parameters()) - model.pos_emb.weight.nbytes
    return weights + 2 * 4 * model.cfg.n_layers * model.cfg.emb_dim * S


def fresh(*command: str) -> str:
    """The last line that a fresh Python process prints."""
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    return done.stdout.strip().rpartition("\n")[2]


def wait() -> None:
    """Until a graphics card has done what was queued."""
    if DEVICE.type != "cpu":
        torch.accelerator.synchronize(DEVICE)


def timed(call: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of a call: from the end of all work before it to the end of its own."""
    wait()
    start = time.perf_counter()
    call(*arguments)
    wait()
    return time.perf_counter() - start


def profile_of(call: Callable[[], Any]) -> dict[str, float]:
    """Shares of a call's time on a CPU, by PyTorch's profiler: its largest operations, the others, and the time between them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profiler:
        seconds = timed(call)
    shares = {event.key: event.self_cpu_time_total / 1e6 / seconds for event in profiler.key_averages()}
    largest = sorted(shares, key=lambda name: -shares[name])[:6]
    return {**{name: shares[name] for name in largest}, "other operations": sum(shares[name] for name in shares.keys() - largest),
            "between operations": 1 - sum(shares.values())}


def interleaved(calls: dict[Any, Any], rounds: int, warm_up: int = 1) -> dict[Any, float]:
    """The median of the numbers that each call returns, over rounds in turns."""
    found = [{name: call() for name, call in calls.items()} for _ in range(warm_up + rounds)][warm_up:]
    return {name: statistics.median(values[name] for values in found) for name in calls}


def line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Slope of the least-squares line, and its standard error."""
    dx, dy = x - x.mean(), y - y.mean()
    slope = (dx @ dy / (dx @ dx)).item()
    return slope, ((dy - slope * dx).square().sum() / (len(x) - 2) / (dx @ dx)).sqrt().item()


class Bench:
    """The models, made when they are first asked for; what was left out; and the ways to fill a row."""

    def __init__(self, rounds: int, nanogpt: Path | None, llms: Path | None) -> None:
        self.rounds, self.nanogpt, self.llms = rounds, nanogpt, llms
        self.works: Mapping[str, Any] = {}  # of the row that was measured last: each makes the call that is timed
        self.left_out = {"litgpt": "it needs lightning to be imported",
                         f"{LLMS}, wheel": "version 1.0.19's GPT-2 with a cache raises at the second token"}

    def compare(self, works: Mapping[str, Callable[[], Callable[[], Any]]], figure: Callable[[float], float],
                warm_up: int = 1, **others: Callable[[], float]) -> dict[str, float]:
        """The median of what `figure` makes of the seconds of each work, and of the other numbers, in the same rounds."""
        self.works = works

        def measured(make: Callable[[], Callable[[], Any]]) -> float:
            return figure(timed(make()))
        calls = {name: functools.partial(measured, make) for name, make in works.items()}
        return interleaved({**calls, **others}, self.rounds, warm_up)

    @functools.cached_property
    def model(self) -> GPTModel:
        torch.manual_seed(0)
        return GPTModel(CFG).eval().to(DEVICE)

    def copy(self) -> GPTModel:
        """The same weights once more."""
        model = GPTModel(CFG).eval().to(DEVICE)
        model.load_state_dict(self.model.state_dict())
        return model

    @functools.cached_property
    def decoders(self) -> dict[str, Tokens]:
        """Everyone's greedy tokens in float32, once the logits are checked."""
        model, peer = self.model, peer_of(self.model).eval().to(DEVICE)
        starts = {HF: transformers_start(peer), f"{HF}, static cache": transformers_start(peer, static=True)}
        for name, file in LLMS_FILES.items():
            if self.llms:
                starts[name] = llms_start(llms_of(model, self.llms / "ch04" / "03_kv-cache" / file))
            else:
                self.left_out[name] = "no --llms"
        for start in (own_start(model), *starts.values()):
            check_equal(model, start)
        found: dict[str, Tokens] = {"gptbook": functools.partial(stream, model)}
        if DEVICE.type == "cpu":
            with (fast := FastDecode(model)):
                check_equal(model, own_start(model))
            found[FAST] = functools.partial(fast_tokens, fast, model)
        return found | {name: functools.partial(peer_tokens, start) for name, start in starts.items()}

    def compiled(self) -> dict[str, Tokens]:
        """Ours as it is, and its blocks by torch.compile, which must not give up on the way."""
        found = {name: self.decoders[name] for name in ("gptbook", HF)}
        if DEVICE.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
            self.left_out["torch.compile"] = "no compiler for C++"
            return found
        torch._dynamo.config.fail_on_recompile_limit_hit = True  # else it would go on without a compiler, and say nothing
        model = self.copy()
        for block in model.blocks:
            block.compile(dynamic=True)  # the cache is longer at every step
        check_equal(self.model, own_start(model))
        return {**found, "gptbook, compiled": functools.partial(stream, model)}

    @functools.cached_property
    def bf16(self) -> dict[str, Tokens]:
        """Ours in bfloat16, transformers in float32 and in bfloat16."""
        start = transformers_start(peer_of(self.model).eval().bfloat16().to(DEVICE))
        half = self.copy().bfloat16()
        found: dict[str, Tokens] = {"gptbook, bf16": functools.partial(stream, half)}
        if DEVICE.type == "cpu":
            with (fast := FastDecode(half)):
                check_equal(half, own_start(half), error=0.1)  # logits of 8 bits
            found[f"{FAST}, bf16"] = functools.partial(fast_tokens, fast, half)
        return found | {HF: self.decoders[HF], f"{HF}, bf16": functools.partial(peer_tokens, start)}

    def int8(self) -> dict[str, Tokens]:
        """Ours and torchao's (whose head stays float32, for its weights are an embedding's), transformers in float32."""
        fast = FastDecode(self.model, int8=True)
        found: dict[str, Any] = {"gptbook, int8": functools.partial(fast_tokens, fast, self.model), HF: self.decoders[HF]}
        try:
            from torchao.quantization import Int8WeightOnlyConfig, quantize_
        except ImportError as error:
            self.left_out["torchao"] = str(error)
            return found
        quantize_(model := self.copy(), Int8WeightOnlyConfig())
        return {**found, "torchao, int8 weights": functools.partial(stream, model)}

    def decode(self, tokens: dict[str, Tokens], prompt: int, new: int, batch: int = 1, ceiling: int | None = None) -> Any:
        """Tokens a second after the first; ceiling: how many bytes a step reads."""
        ids, big = random_ids(CFG["vocab_size"], batch, prompt), torch.ones(2**26, device=DEVICE)

        def after_the_first(make: Tokens, new: int = new) -> Callable[[], list[Tensor]]:
            next(steps := make(ids, new))
            return functools.partial(list, steps)

        def ceiling_rate() -> float:
            return 4 * big.nbytes / timed(lambda: [big.sum() for _ in range(4)]) / (ceiling or 1)
        for make in tokens.values():
            after_the_first(make, 4)()
        works = {name: functools.partial(after_the_first, make) for name, make in tokens.items()}
        return self.compare(works, lambda seconds: batch * (new - 1) / seconds, 0, **{"ceiling": ceiling_rate} if ceiling else {})

    def without_bf16(self, work: str) -> bool:
        """Whether this CPU has no instructions for bfloat16; what is left out for that is noted."""
        if DEVICE.type != "cpu" or BF16_CPU:
            return False
        self.left_out[f"{work} in bf16"] = "without instructions for it transformers' prompt and a training step take minutes"
        return True

    def first_token(self, tokens: dict[str, Tokens]) -> Any:
        """Seconds until a prompt of 512 tokens has its next."""
        ids = random_ids(CFG["vocab_size"], 1, 512)

        def whole(make: Tokens) -> Callable[[], list[Tensor]]:
            return functools.partial(list, make(ids, 1))
        return self.compare({name: functools.partial(whole, make) for name, make in tokens.items()}, lambda seconds: seconds)

    def bits(self) -> Any:
        """Bits a byte of the shipped model on a passage of the held-out novel."""
        model, text = load_gpt2("austen"), load_novel(VALIDATION_NOVEL)[200_000:260_000]
        fp32 = bits_per_byte(model, text, austen_tokenizer())
        with FastDecode(model, int8=True):
            int8 = bits_per_byte(model, text, austen_tokenizer())
        return {"fp32": fp32, "int8": int8, "difference": abs(int8 - fp32)}

    def train(self, cfg: dict[str, Any], batch: int, bf16: bool = False, names: Sequence[str] = ("gptbook", NANO, HF)) -> Any:
        """Tokens a second of training steps, always on the same rows of 256; bf16: autocast, and nanoGPT without it."""
        if bf16 and self.without_bf16("training"):
            return {}
        torch.manual_seed(0)
        model, ids, works = GPTModel(cfg).to(DEVICE), random_ids(cfg["vocab_size"], 2, batch, 256), {}
        for name in names:
            if name == NANO and not self.nanogpt:
                self.left_out[NANO] = "no --nanogpt"
                continue
            module, logits, loss = trainee(name, model, self.nanogpt)
            with torch.inference_mode():
                error = (logits(*ids) - model(ids[0])).abs().max().item()
                error += (loss(*ids) - F.cross_entropy(model(ids[0]).flatten(0, 1), ids[1].flatten())).abs().item()
            assert error < 2e-5, f"the logits or the loss of {name} differ by {error:.1e}"
            optimizer = adamw(module)
            for in_bf16 in [True, False] if bf16 and name == NANO else [bf16]:
                make = functools.partial(functools.partial, training_step, loss, ids, optimizer, in_bf16)
                works[f"{name}, bf16" if in_bf16 else name] = make
        return self.compare(works, lambda seconds: ids[0].numel() / seconds)

    def memory(self, size: str, *names: str) -> Any:
        """MB, each in a fresh process; all of them have imported the same."""
        if not self.nanogpt:
            self.left_out[NANO] = "no --nanogpt"
        where = ["--nanogpt", str(self.nanogpt)] if self.nanogpt else []
        return {name: float(fresh(__file__, "--memory-of", name, size, *where)) for name in names if self.nanogpt or name != NANO}

    def importing(self) -> Any:
        """Seconds of fresh processes."""
        calls = {name: functools.partial(timed, fresh, "-c", f"import {name}") for name in ("gptbook", "torch")}
        found = interleaved(calls, self.rounds)
        return {"gptbook less torch": found["gptbook"] - found["torch"], **found}

    @torch.inference_mode()
    def growth(self) -> Any:
        """Microseconds that 1,000 more cached positions add to a step: the slope of a line through the medians."""
        def step(model: GPTModel, caches: list[Any], S: int) -> float:
            model.kv_cache = caches
            for cache in caches:
                cache.length = S - 1
            return timed(lambda: model(token, use_cache=True))
        calls, token = {}, torch.zeros(1, 1, dtype=torch.int64, device=DEVICE)
        for name in VARIANTS:
            model: Any = variant(name, LENGTHS[-1])
            model.reset_kv_cache(1)  # its own caches are never touched
            for S in LENGTHS:
                caches = [block.att.new_cache(1, S) for block in model.blocks]
                for tensor in (t for cache in caches for t in vars(cache).values() if isinstance(t, Tensor)):
                    tensor.normal_()
                calls[name, S] = functools.partial(step, model, caches, S)
        medians = interleaved(calls, 3 * self.rounds)
        seconds = {name: {S: medians[name, S] for S in LENGTHS} for name in VARIANTS}
        x = torch.tensor(LENGTHS).double()
        lines = {name: line(x, torch.tensor(list(seconds[name].values())).double()) for name in VARIANTS}
        figures, errors = ({name: 1e9 * found[i] for name, found in lines.items()} for i in (0, 1))
        figures["window 256, in standard errors"] = abs(figures["window 256"]) / errors["window 256"]
        return {**figures, "kept": {"standard_errors": errors, "seconds_of_a_step": seconds}}


def but_fast(tokens: dict[str, Tokens]) -> dict[str, Tokens]:
    """Without FastDecode, which changes nothing but products of few rows."""
    return {name: make for name, make in tokens.items() if name != FAST}


# row -> (unit, how to get its figures, targets: (figure, what it is divided by if anything, least or most, target, bf16?)),
# where the last is true of targets that were set for a CPU with bf16 instructions
ROWS: dict[str, tuple[str, Callable[[Bench], Any], list[tuple[str, str | None, str, float, bool]]]] = {
    "decode, prompt 32": ("tokens/s", lambda b: b.decode(b.decoders, 32, 128, ceiling=step_bytes(b.model, 0)),
                          [(FAST, HF, ">=", 1.30, False), (FAST, "ceiling", ">=", 0.80, False)]),
    "decode, prompt 512": ("tokens/s", lambda b: b.decode(
        {name: make for name, make in b.decoders.items() if name in ("gptbook", FAST, HF)}, 512, 256,
        ceiling=step_bytes(b.model, 512 + 128)),
                           [(FAST, HF, ">=", 1.25, False), (FAST, "ceiling", ">=", 0.75, False)]),
    "decode, batch 8": ("tokens/s", lambda b: b.decode(b.decoders, 32, 24, batch=8), []),
    "decode, bf16": ("tokens/s", lambda b: b.decode(b.bf16, 32, 16), [(f"{FAST}, bf16", HF, ">=", 1.7, True)]),
    "decode, torch.compile": ("tokens/s", lambda b: b.decode(b.compiled(), 32, 48), []),
    "decode, int8": ("tokens/s", lambda b: b.decode(b.int8(), 32, 48), [("gptbook, int8", HF, ">=", 3.3, False)]),
    "bits a byte, int8": ("bits a byte", Bench.bits, [("difference", None, "<=", 0.02, False)]),
    "first token, fp32": ("s", lambda b: b.first_token(but_fast(b.decoders)), [("gptbook", HF, "<=", 0.90, False)]),
    "first token, bf16": ("s", lambda b: {} if b.without_bf16("first token") else b.first_token(b.bf16),
                          [("gptbook, bf16", HF, "<=", 0.35, True)]),
    "decode, variants": ("tokens/s", lambda b: b.decode(
        {name: functools.partial(stream, variant(name, 1024)) for name in VARIANTS}, 512, 64), []),
    "training 124M, fp32": ("tokens/s", lambda b: b.train(CFG, 2), [("gptbook", NANO, ">=", 1.10, False)]),
    "training 124M, bf16": ("tokens/s", lambda b: b.train(CFG, 2, bf16=True), [("gptbook, bf16", NANO, ">=", 2.1, True)]),
    "training 10.8M, fp32": ("tokens/s", lambda b: b.train(SMALL, 12), [("gptbook", NANO, ">=", 1.0, False)]),
    "training 10.8M, bf16": ("tokens/s", lambda b: b.train(SMALL, 12, bf16=True), [("gptbook, bf16", NANO, ">=", 2.1, True)]),
    "training 30M, fp32": ("tokens/s", lambda b: b.train(WIDE, 12, names=(PIECES, "gptbook", NANO)), []),
    "training 124M, memory": ("MB", lambda b: b.memory("124M", "gptbook", NANO, HF), [("gptbook", NANO, "<=", 1.0, False)]),
    "training 30M, memory": ("MB", lambda b: b.memory("30M", PIECES, "gptbook", NANO), [(PIECES, NANO, "<=", 0.55, False)]),
    "import": ("s", Bench.importing, [("gptbook less torch", None, "<=", 0.3, False)]),
    "growth": ("us for 1,000 positions", Bench.growth, [("window 256, in standard errors", None, "<=", 2.0, False)]),
}


CPU_ONLY = ("decode, int8", "bits a byte, int8", "training 124M, memory", "training 30M, memory", "import")


def ratios(name: str, figures: dict[str, float]) -> list[dict[str, Any]]:
    """What a row's figures make of its targets, as far as they are there; the targets are those of a CPU."""
    found = []
    for of, against, sign, target, bf16 in ROWS[name][2] if DEVICE.type == "cpu" else []:
        if of in figures and (against is None or against in figures):
            ratio = figures[of] / (figures[against] if against else 1)
            found.append({"of": of, "against": against, "ratio": ratio, "sign": sign, "target": target,
                          "for_bf16_instructions": bf16, "reached": ratio >= target if sign == ">=" else ratio <= target})
    return found


def show(record: dict[str, Any]) -> None:
    """The targets, then every figure, each with the ratio of the row's first figure to it."""
    print(f"\n{'row':24}{'figure':32}{'against':14}{'ratio':>8}{'target':>9}  reached")
    for row in record["rows"]:
        for r in row["ratios"]:
            note = ", but it asks for bf16 instructions" if r["for_bf16_instructions"] and not record["bf16"] else ""
            print(f"{row['row']:24}{r['of']:32}{r['against'] or '':14}{r['ratio']:8.3f}  {r['sign']} {r['target']:.2f}  "
                  f"{'yes' if r['reached'] else 'no'}{note}")
    print(f"\n{'row':24}{'figure':34}{'first : it':>12}{'figure':>12}")
    for row in record["rows"]:
        first, errors = next(iter(row["figures"].values())), row.get("standard_errors", {})
        for name, figure in row["figures"].items():
            error = f" +- {errors[name]:.2f}" if name in errors else ""
            print(f"{row['row']:24}{name:34}{first / figure:12.3f}{figure:12.3f}{error} {row['unit']}")
    for row in record["rows"]:
        for name, shares in row.get("profiles", {}).items():
            print(f"\nwhere the time goes: {row['row']}, {name}")
            for part, share in shares.items():
                print(f"    {part:50}{share:7.1%}")
    rounds = " or ".join(str(n) for n in sorted({row["rounds"] for row in record["rows"]}))
    days = sorted({row["date"] for row in record["rows"]})
    dates = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    print(f"\n{dates}: {record['threads']} threads, {record['device']}, bf16 instructions: {record['bf16']}, "
          f"torch {record['torch']}, transformers {record['transformers']}; medians of {rounds} rounds")
    for name, why in record["left_out"].items():
        print(f"left out: {name} ({why})")


def main() -> None:
    global DEVICE
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=ROWS, nargs="+", default=list(ROWS), metavar="ROW", help="; ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of github.com/karpathy/nanoGPT")
    parser.add_argument("--llms", type=Path, help="a checkout of github.com/rasbt/LLMs-from-scratch")
    parser.add_argument("--device", default="cpu", help="cpu (the default), cuda or mps")
    parser.add_argument("--profile", action="store_true", help="profile what missed its target")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        name, size = args.memory_of
        print(memory_of(name, size, args.nanogpt))
        return
    DEVICE = torch.device(args.device)
    if impossible := [name for name in args.only if DEVICE.type != "cpu" and name in CPU_ONLY and args.only != list(ROWS)]:
        parser.error(f"--only: {impossible} are measured on a CPU only")
    name_of = {"cpu": vectors, "cuda": torch.cuda.get_device_name}
    bench, rows, left_out = Bench(args.rounds, args.nanogpt, args.llms), {}, {}
    machine = {"threads": torch.get_num_threads(), "device": name_of.get(DEVICE.type, lambda: DEVICE.type)(),
               "bf16": DEVICE.type != "cpu" or BF16_CPU, "torch": torch.__version__, "transformers": transformers.__version__}
    if args.out and args.out.exists():
        before = json.loads(args.out.read_text())
        if other := {key: before[key] for key in machine if before[key] != machine[key]}:
            here = {key: machine[key] for key in other}
            parser.error(f"--out: {args.out} is of {other}, and here it is {here}; take another file")
        rows, left_out = {row["row"]: row for row in before["rows"]}, before["left_out"]
    record: dict[str, Any] = {**machine, "left_out": left_out, "rows": list(rows.values())}
    for name in (name for name in args.only if DEVICE.type == "cpu" or name not in CPU_ONLY):
        unit, measure, _ = ROWS[name]
        bench.works = {}
        start, figures = time.perf_counter(), measure(bench)
        kept = figures.pop("kept", {})
        left_out |= bench.left_out
        if figures:
            rows[name] = {"row": name, "date": datetime.date.today().isoformat(), "unit": unit, "rounds": args.rounds,
                          "figures": figures, "ratios": ratios(name, figures), **kept}
            missed = {r[key] for r in rows[name]["ratios"] if not r["reached"] for key in ("of", "against")}
            if args.profile and (profiles := {of: profile_of(bench.works[of]()) for of in bench.works if of in missed}):
                rows[name]["profiles"] = profiles
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        record["rows"] = [rows[name] for name in ROWS if name in rows]
        if args.out:  # after every row: a run takes a quarter of an hour
            args.out.write_text(json.dumps(record, indent=1) + "\n")
    show(record)


if __name__ == "__main__":
    main()
