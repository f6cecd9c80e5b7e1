"""Memory of every cache, for GPT-2 124M's shape: the bytes allocated, the formula, and the process's peak while decoding.

    python benchmarks/kv_cache.py [--lengths 1024 4096 16384] [--device cpu] [--out FILE]

Each row is measured in a process of its own: a model with random weights, its caches filled to 8 short of the length,
8 tokens decoded. "peak" is the most memory held while decoding, less what the process held before there was a model,
less the weights: the cache, and what a step needs besides. On a CPU it needs Linux, which counts it.
"""

import argparse
import ctypes
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from gptbook import (
    GPT_CONFIG_124M, GPTModel, GroupedQueryAttention, HalfCacheAttention, MultiHeadAttention, MultiHeadLatentAttention,
    SlidingWindowAttention)

LENGTHS = (1024, 4096, 16384)
BASE = {**GPT_CONFIG_124M, "context_length": LENGTHS[-1], "drop_rate": 0.0}
L, H, E, D, W = BASE["n_layers"], BASE["n_heads"], BASE["emb_dim"], 64, 256
# name -> (class, settings, numbers kept of S positions in all layers: the formulas of chapters 4, 8, 9 and 10)
VARIANTS: dict[str, tuple[type[Any], dict[str, Any], Any]] = {
    "MHA": (MultiHeadAttention, {}, lambda S: 2 * L * E * S),
    "GQA-4": (GroupedQueryAttention, {"num_kv_groups": 4}, lambda S: 2 * L * 4 * D * S),
    "GQA-2": (GroupedQueryAttention, {"num_kv_groups": 2}, lambda S: 2 * L * 2 * D * S),
    "MQA": (GroupedQueryAttention, {"num_kv_groups": 1}, lambda S: 2 * L * D * S),
    "half cache": (HalfCacheAttention, {}, lambda S: L * E * S),
    "MLA-96": (MultiHeadLatentAttention, {"latent_dim": 96}, lambda S: L * 96 * S),
    "MLA-96, rotary 32": (MultiHeadLatentAttention, {"latent_dim": 96, "rope_dim": 32}, lambda S: L * (96 + 32) * S),
    "window 256": (SlidingWindowAttention, {"sliding_window_size": W}, lambda S: 2 * L * E * min(S, W)),
    "window 256, LLG": (SlidingWindowAttention, {"sliding_window_size": W, "window_pattern": "LLG"},
                        lambda S: 2 * E * (8 * min(S, W) + 4 * S)),
    "window 256, GQA-4": (SlidingWindowAttention, {"sliding_window_size": W, "num_kv_groups": 4},
                          lambda S: 2 * L * 4 * D * min(S, W)),
}


def forget_peak(device: str) -> None:
    """Count the most memory held from now on."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def held(device: str, peak: bool) -> int:
    """Bytes that this process holds, or the most that it held since forget_peak."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    field = "VmHWM" if peak else "VmRSS"
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


@torch.inference_mode()
def one(name: str, S: int, device: str) -> dict[str, Any]:
    """One row, in this process."""
    attention, more, formula = VARIANTS[name]
    torch.zeros(8, device=device) @ torch.zeros(8, device=device)  # the libraries' own memory comes before
    before = held(device, peak=False)
    with torch.device(device):
        model = GPTModel({**BASE, **more}, attention=attention).eval()
        model.reset_kv_cache(batch_size=1, max_length=S)
        for cache in model.kv_cache or []:  # memory counts once it is written
            for tensor in vars(cache).values():
                if isinstance(tensor, torch.Tensor):
                    tensor.normal_()
            cache.length = S - 8
        if device == "cpu":
            ctypes.CDLL(None).malloc_trim(0)  # what building the model left behind is no part of decoding
        forget_peak(device)
        for _ in range(8):
            model(torch.zeros(1, 1, dtype=torch.int64), use_cache=True, last_only=True)
    weights = sum(p.nbytes for p in model.parameters())
    return {"variant": name, "S": S, "allocated": model.kv_cache_nbytes, "formula": 4 * formula(S),
            "peak": held(device, peak=True) - before - weights}


def show(record: dict[str, Any]) -> None:
    """Megabytes, and how many times less than MHA."""
    print("MB = a million bytes; factor: MHA's bytes over the variant's")
    print(f"{'':20}{'S':>7}{'allocated MB':>14}{'formula':>9}{'factor':>8}{'peak MB':>9}")
    mha = {row["S"]: row["allocated"] for row in record["rows"] if row["variant"] == "MHA"}
    for row in record["rows"]:
        equal = "equal" if row["allocated"] == row["formula"] else "NOT EQUAL"
        print(f"{row['variant']:20}{row['S']:7,}{row['allocated'] / 1e6:14.1f}{equal:>9}{mha[row['S']] / row['allocated']:8.1f}"
              f"{row['peak'] / 1e6:9.1f}")


def plot(record: dict[str, Any], path: Path) -> None:
    """Megabytes over the cached positions."""
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    colours = ["#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00"]
    with plt.style.context(["default", {"svg.hashsalt": "gptbook", "font.size": 11}]):  # whatever the caller's style
        figure, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
        for i, name in enumerate(VARIANTS):
            rows = [row for row in record["rows"] if row["variant"] == name]
            ax.plot([row["S"] for row in rows], [row["allocated"] / 1e6 for row in rows], label=name,
                    marker="osD^v<>xP*"[i], color=colours[i % 7], linestyle="-" if i < 7 else "--")
        ax.set(xscale="log", yscale="log", xlabel="cached positions S", ylabel="MB of cache, GPT-2 124M, float32")
        lengths = sorted({row["S"] for row in record["rows"]})
        ax.set_xticks(lengths, [f"{n:,}" for n in lengths])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter("{x:g}")
        ax.legend(fontsize=8)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "kv_cache.json")
    parser.add_argument("--one", nargs=2, metavar=("VARIANT", "S"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one[0], int(args.one[1]), args.device)))
        return
    rows = []
    for S, name in tqdm([(S, name) for S in args.lengths for name in VARIANTS], unit="row"):
        out = subprocess.run([sys.executable, __file__, "--device", args.device, "--one", name, str(S)],
                             env={**os.environ, "MALLOC_ARENA_MAX": "1"}, check=True, capture_output=True, text=True).stdout
        rows.append(json.loads(out))
    record = {"device": args.device, "machine": platform.machine(), "torch": torch.__version__, "rows": rows}
    show(record)
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    plot(record, args.out.with_suffix(".svg"))
    assert all(row["allocated"] == row["formula"] for row in rows), "a cache does not hold what its formula says"


if __name__ == "__main__":
    main()
