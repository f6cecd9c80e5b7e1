"""One decode step and one prefill of every attention variant, against multi-head attention, in one interleaved run.

    python benchmarks/attention.py [--layers 12] [--rounds 15] [--lengths 1024 4096 16384] [--device cpu] [--dtype float32]
                                   [--flex] [--profile] [--out FILE]

GPT-2 124M's attention (E = 768, 12 heads), without the rest of the model. A decode step goes through --layers layers,
each with weights and a cache of its own, as in a model: a single layer's cache may stay in the processor's. A prefill
goes through one, without a cache. Every variant gets the same warm-up, the rounds are interleaved, and medians are
compared. What the machine can do (reading memory, multiplying matrices) is measured in the same run: the table shows the
shares of both that a step reached, and in the row "projections alone" what no attention can make faster. --flex adds
PyTorch's compiled flex_attention to the prefills; on a GPU it is always there.

The last table holds the speeds against those that were aimed at, and against the bytes: a step that did nothing but
read its weights and its cache would be faster than MHA's by the ratio of these bytes. After the timed rounds a few more
steps of each variant run under torch.profiler, which says what share of a step goes into its linear layers, into
attention, into writing the cache, and into the rest; --profile prints these shares.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch reads it when it is imported; else the profiler writes many lines

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.nn import functional as F
from torch.profiler import profile, record_function
from tqdm import tqdm

from gptbook import (
    GroupedQueryAttention, HalfCacheAttention, MultiHeadAttention, MultiHeadLatentAttention, SlidingWindowAttention)

E, H, D = 768, 12, 64
LENGTHS = (1024, 4096, 16384)
BASE = {"vocab_size": 1, "context_length": LENGTHS[-1], "emb_dim": E, "n_heads": H, "n_layers": 1, "qkv_bias": True}
WINDOW = 256


class RepeatedHeads(GroupedQueryAttention):
    """Grouped-query attention as it is often written: every key/value head repeated for its group."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As GroupedQueryAttention.attend."""
        k, v = (t.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1) for t in (k, v))
        return MultiHeadAttention.attend(self, q, k, v)


class EnableGQA(GroupedQueryAttention):
    """Grouped-query attention that leaves the groups to PyTorch."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As GroupedQueryAttention.attend, for T = 1 and T = S."""
        return self._join(F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1, enable_gqa=True))


class MaskedWindow(MultiHeadAttention):
    """A sliding window as a mask: over a full cache in decoding, and dense, T x T, in a prefill."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As MultiHeadAttention.attend."""
        T, S = q.shape[2], k.shape[2]
        back = torch.arange(S - T, S, device=q.device)[:, None] - torch.arange(S, device=q.device)
        return self._join(F.scaled_dot_product_attention(q, k, v, attn_mask=(back >= 0) & (back < WINDOW)))


class ProjectionsAlone(MultiHeadAttention):
    """What every variant has besides its attention: the two linear layers. It reads no cache."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The newest queries, joined and projected."""
        return self._join(q)


class FlexWindow(SlidingWindowAttention):
    """A sliding window by PyTorch's compiled flex_attention; for prefills."""

    masks: dict[int, Any] = {}

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As SlidingWindowAttention.attend, for T = S."""
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        T = q.shape[2]
        if T not in self.masks:
            self.masks[T] = create_block_mask(lambda b, h, i, j: (i >= j) & (i - j < WINDOW), None, None, T, T, device=str(q.device))
        compiled = self.__dict__.setdefault("compiled", torch.compile(flex_attention, dynamic=False))
        return self._join(compiled(q, k, v, block_mask=self.masks[T]))


# name -> (class, settings, attributes of the layer, does it take part in decoding, in prefills)
VARIANTS: dict[str, tuple[type[Any], dict[str, Any], dict[str, Any], bool, bool]] = {
    "MHA": (MultiHeadAttention, {}, {}, True, True),
    "GQA-4": (GroupedQueryAttention, {"num_kv_groups": 4}, {}, True, True),
    "GQA-4, heads repeated": (RepeatedHeads, {"num_kv_groups": 4}, {}, True, False),
    "GQA-4, enable_gqa": (EnableGQA, {"num_kv_groups": 4}, {}, True, False),
    "GQA-2": (GroupedQueryAttention, {"num_kv_groups": 2}, {}, True, True),
    "MQA": (GroupedQueryAttention, {"num_kv_groups": 1}, {}, True, False),
    "half cache, absorbed": (HalfCacheAttention, {}, {"absorb": True}, True, False),
    "MLA-96, absorbed": (MultiHeadLatentAttention, {"latent_dim": 96}, {"absorb": True}, True, False),
    "MLA-96, re-expanded": (MultiHeadLatentAttention, {"latent_dim": 96}, {"absorb": False}, True, True),
    "window 256, ring": (SlidingWindowAttention, {"sliding_window_size": WINDOW}, {}, True, False),
    "window 256, blocks": (SlidingWindowAttention, {"sliding_window_size": WINDOW}, {}, False, True),
    "window 256, mask": (MaskedWindow, {}, {}, True, True),
    "projections alone": (ProjectionsAlone, {}, {}, True, False),
    "window 256, flex": (FlexWindow, {"sliding_window_size": WINDOW}, {}, False, True),
}
# the speeds against MHA that the project set out to reach: (kind, length) -> variant -> times
TARGETS = {
    ("decode", 4096): {"GQA-4": 2.0, "GQA-2": 2.7, "MLA-96, absorbed": 2.7, "window 256, ring": 3.3},
    ("decode", 16384): {"GQA-4": 5.0, "GQA-2": 8.0, "MLA-96, absorbed": 10.0, "window 256, ring": 20.0},
    ("prefill", 16384): {"window 256, blocks": 4.5},
}
# what a profile tells apart, and PyTorch's operations that count for it, with all that these call; what is left is "rest"
PARTS = {"projections": ("aten::linear",), "cache": ("cache.update",),
         "attention": ("aten::scaled_dot_product_attention", "aten::einsum", "aten::matmul", "aten::softmax")}


def layers_of(name: str, n: int, dtype: torch.dtype, device: str) -> list[Any]:
    """n layers of a variant with random weights."""
    attention, more, attributes, _, _ = VARIANTS[name]
    torch.manual_seed(0)
    layers = [attention({**BASE, **more}).to(dtype=dtype, device=device).eval() for _ in range(n)]
    for layer in layers:
        vars(layer).update(attributes)
    return layers


def filled(layer: Any, S: int) -> Any:
    """A cache with room for S positions, of which S - 1 are filled with random numbers."""
    cache = layer.new_cache(1, S)
    for name in ("keys", "values", "rows"):
        if hasattr(cache, name):
            getattr(cache, name).normal_()
    cache.length = S - 1
    return cache


def decode_step(layers: list[Any], caches: list[Any], x: Tensor) -> Tensor:
    """One token through all layers; the caches end as they were, less one slot."""
    for layer, cache in zip(layers, caches):
        length, y = cache.length, layer(x, cache)
        cache.length = length
    return y


def seconds(call: Callable[[], Any], device: str) -> float:
    """How long it takes, the device's own work included."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved(calls: dict[str, Callable[[], Any]], rounds: int, device: str, label: str) -> dict[str, float]:
    """Median seconds of each call: two warm-ups, then rounds in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in tqdm(range(rounds + 2), desc=label, leave=False):
        for name, call in calls.items():
            times[name].append(seconds(call, device))
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def shares(layers: list[Any], caches: list[Any], x: Tensor, device: str, steps: int = 9) -> dict[str, float]:
    """What share of a decode step each of PARTS and the rest take, and the seconds of a step while it is watched.

    On a GPU a part is the time of its kernels, and the rest is what the step took besides. Leaves the caches marked.
    """
    part_of = {operation: part for part, operations in PARTS.items() for operation in operations}
    for cache in caches:
        cache.update = record_function("cache.update")(cache.update)
    decode_step(layers, caches, x)
    with profile() as watched:
        wall = sum(seconds(lambda: decode_step(layers, caches, x), device) for _ in range(steps))
    found = dict.fromkeys((*PARTS, "rest"), 0.0)
    for event in watched.events() or ():
        caller = event.cpu_parent
        while caller and caller.name not in part_of:
            caller = caller.cpu_parent
        if event.name in part_of and not caller and event.device_type == DeviceType.CPU:
            microseconds = event.cpu_time_total if device == "cpu" else event.device_time_total
            found[part_of[event.name]] += microseconds / 1e6 / wall
    found["rest"] = 1 - sum(found.values())
    return {**{part: round(share, 4) for part, share in found.items()}, "seconds": wall / steps}


def limits(dtype: torch.dtype, device: str) -> dict[str, float]:
    """Bytes a second read by a sum over 400 MB, and FLOPs a second of a product of two large matrices."""
    big = torch.ones(100_000_000, device=device)
    a = torch.randn(2048, 2048, device=device, dtype=dtype)
    read = interleaved({"read": lambda: big.sum(), "multiply": lambda: a @ a}, 7, device, "limits")
    return {"bytes_per_second": big.nbytes / read["read"], "flops_per_second": 2 * 2048**3 / read["multiply"]}


def work(name: str, layers: list[Any], caches: list[Any], S: int) -> tuple[int, int]:
    """Bytes that a decode step must read (weights and filled cache), and FLOPs of its matrix products."""
    read = sum(p.nbytes for layer in layers for p in layer.parameters())
    if name == "projections alone":
        return read, sum(2 * p.numel() for layer in layers for p in layer.parameters() if p.dim() == 2)
    read += sum(cache.nbytes for cache in caches)
    projections = sum(2 * p.numel() for layer in layers for p in layer.parameters() if p.dim() == 2)
    width = {"MLA-96, absorbed": 96, "half cache, absorbed": E}.get(name, D)
    seen = min(S, WINDOW) if "ring" in name else S
    flops = len(layers) * 4 * H * seen * width + projections
    if "re-expanded" in name:
        flops += len(layers) * (S - 1) * 2 * 96 * 2 * E
    return read, flops


def check(dtype: torch.dtype, device: str, flex: bool) -> None:
    """Before anything is timed: the same rows with the cache as without, and by different ways to the same variant."""
    x = torch.randn(1, 1024, E, dtype=dtype, device=device)
    close = {"atol": 1e-5 if dtype == torch.float32 else 0.02, "rtol": 0}
    first: dict[str, tuple[Any, Tensor]] = {}  # of each variant, the first way to compute it
    for name, (*_, decodes, _) in VARIANTS.items():
        if name == "window 256, flex" and not flex:
            continue
        layer, variant = layers_of(name, 1, dtype, device)[0], name.split(",")[0]
        if variant in first:
            layer.load_state_dict(first[variant][0].state_dict())
        rows = layer(x)
        torch.testing.assert_close(rows, first.setdefault(variant, (layer, rows))[1], **close)
        if decodes:
            cache = layer.new_cache(1, 1024)
            layer(x[:, :1023], cache)
            torch.testing.assert_close(layer(x[:, 1023:], cache), rows[:, 1023:], **close)


@torch.inference_mode()
def run(args: argparse.Namespace) -> dict[str, Any]:
    """Everything, as a record."""
    dtype, flex = getattr(torch, args.dtype), args.flex or args.device != "cpu"
    check(dtype, args.device, flex)
    record: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if args.device != "cpu" else platform.machine(), "dtype": args.dtype,
        "cpu": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "rounds": args.rounds, "layers": args.layers, **limits(dtype, args.device), "decode": [], "prefill": []}
    for S in args.lengths:
        calls, doing, steps = {}, {}, {}
        for name, (*_, decodes, _) in VARIANTS.items():
            if decodes:
                layers = layers_of(name, args.layers, dtype, args.device)
                caches, x = [filled(layer, S) for layer in layers], torch.randn(1, 1, E, dtype=dtype, device=args.device)
                steps[name] = layers, caches, x
                calls[name] = lambda step=steps[name]: decode_step(*step)
                doing[name] = work(name, layers, caches, S)
        medians = interleaved(calls, args.rounds, args.device, f"decode {S}")
        for name, median in medians.items():
            read, flops = doing[name]
            record["decode"].append({
                "variant": name, "S": S, "bytes": read, "seconds": median, "speed": medians["MHA"] / median,
                "of_bandwidth": read / median / record["bytes_per_second"],
                "of_flops": flops / median / record["flops_per_second"], "profile": shares(*steps[name], args.device)})
    for T in () if args.keep_prefill else args.lengths:
        x = torch.randn(1, T, E, dtype=dtype, device=args.device)
        calls = {}
        for name, (*_, prefills) in VARIANTS.items():
            if prefills and (name != "window 256, flex" or flex):
                layer = layers_of(name, 1, dtype, args.device)[0]
                calls[name] = lambda layer=layer, x=x: layer(x)
        medians = interleaved(calls, args.rounds, args.device, f"prefill {T}")
        record["prefill"] += [{"variant": name, "T": T, "seconds": median, "speed": medians["MHA"] / median, "cpu": record["cpu"]}
                              for name, median in medians.items()]
    if args.keep_prefill:
        record["prefill"] = json.loads(args.out.read_text())["prefill"]
    return record


def show(record: dict[str, Any], profiles: bool) -> None:
    """Speeds, targets and, where wanted, profiles."""
    print(f"{record['device']}, {record['dtype']}, {record['threads']} threads, {record['cpu']}, torch {record['torch']}; "
          f"reads {record['bytes_per_second'] / 1e9:.0f} GB/s, multiplies {record['flops_per_second'] / 1e9:.0f} GFLOP/s")
    for kind, axis in (("decode", "S"), ("prefill", "T")):
        lengths = sorted({row[axis] for row in record[kind]})
        print(f"\n{kind}: speed against MHA" + (", and share of the memory's speed / of the multiplier's" if kind == "decode" else ""))
        print(f"{axis + ' =':24}" + "".join(f"{n:>22}" for n in lengths))
        for name in dict.fromkeys(row["variant"] for row in record[kind]):
            line = f"{name:24}"
            for n in lengths:
                row = next(r for r in record[kind] if r["variant"] == name and r[axis] == n)
                shares = f"  {row['of_bandwidth']:.2f} / {row['of_flops']:.2f}" if kind == "decode" else ""
                line += f"{row['speed']:.2f}{shares}".rjust(22)
            print(line)
    rows = {(kind, row["variant"], row[axis]): row for kind, axis in (("decode", "S"), ("prefill", "T")) for row in record[kind]}
    print(f"\n{'speed aimed at':28}{'length':>8}{'aim':>8}{'bytes allow':>13}{'measured':>10}")
    for (kind, length), aims in TARGETS.items():
        for name, aim in aims.items():
            if row := rows.get((kind, name, length)):
                allowed = f"{rows[kind, 'MHA', length]['bytes'] / row['bytes']:.1f}" if "bytes" in row else ""
                print(f"{kind + ' ' + name:28}{length:8,}{aim:8.1f}{allowed:>13}{row['speed']:10.2f}"
                      f"   {'reached' if row['speed'] >= aim else 'not reached'}")
    if profiles:
        print(f"\n{'a decode step, in %':24}{'S':>8}" + "".join(f"{part:>13}" for part in (*PARTS, "rest")) + f"{'watched/timed':>15}")
        for row in record["decode"]:
            print(f"{row['variant']:24}{row['S']:8,}" + "".join(f"{row['profile'][part]:13.0%}" for part in (*PARTS, "rest"))
                  + f"{row['profile']['seconds'] / row['seconds']:15.2f}")


def plot(record: dict[str, Any], path: Path) -> None:
    """Speed against MHA over the cached positions, and over the prompt; a variant looks the same in both."""
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    colours = ["#0072B2", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#000000"]
    looks = {name: {"color": colours[i % 7], "marker": "osD^v<>xP*"[i % 10], "linestyle": "-" if i < 7 else "--"}
             for i, name in enumerate(name for name in VARIANTS if name != "MHA")}
    with plt.style.context(["default", {"svg.hashsalt": "gptbook", "font.size": 12}]):  # whatever the caller's style
        figure, axes = plt.subplots(2, 1, figsize=(5, 13), layout="constrained")
        for ax, kind, axis, title in ((axes[0], "decode", "S", "one decode step"), (axes[1], "prefill", "T", "prefill")):
            for name in dict.fromkeys(row["variant"] for row in record[kind] if row["variant"] != "MHA"):
                rows = [row for row in record[kind] if row["variant"] == name]
                ax.plot([row[axis] for row in rows], [row["speed"] for row in rows], label=name, **looks[name])
            ax.axhline(1, color="#5f5f5f", linewidth=1)
            ax.set(xscale="log", yscale="log", title=title, xlabel="cached positions S" if kind == "decode" else "prompt T",
                   ylabel="times MHA's speed")
            ax.set_xticks([row[axis] for row in record[kind] if row["variant"] == "MHA"])
            ax.set_xticklabels([f"{row[axis]:,}" for row in record[kind] if row["variant"] == "MHA"])
            ax.minorticks_off()
            ax.set_yticks([y for y in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if ax.get_ylim()[0] < y < ax.get_ylim()[1]])
            ax.yaxis.set_major_formatter("{x:g}")
            ax.legend(fontsize=12, loc="upper center", bbox_to_anchor=(0.45, -0.12), frameon=False)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--flex", action="store_true")
    parser.add_argument("--keep-prefill", action="store_true", help="time the decoding only, and keep the prefills of --out, "
                        "which take most of the time; each row says on which kind of processor it was measured")
    parser.add_argument("--profile", action="store_true", help="print where the time of a decode step goes")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "attention.json")
    args = parser.parse_args()
    record = run(args)
    show(record, args.profile)
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    plot(record, args.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
