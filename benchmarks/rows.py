"""How fast a product of few rows reads GPT-2's weights, in each of the ways that FastDecode knows: GB/s, by dtype and rows.

    python benchmarks/rows.py [--rounds 7] [--out FILE]

The weights are those of 124M's layers and its head, read one after the other, so that hardly any is still in a cache; the sum is
torch.sum over the same weights. Ways take turns, and medians are compared. With --out the machine's figures are put beside those of
others in FILE, in the place of its own earlier ones.
"""

import argparse
import datetime
import json
import platform
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from gptbook import GPT_CONFIG_124M
from gptbook.perf_analysis import _WAYS
from peers import interleaved, vectors

NAMES = dict(zip(_WAYS, ("as it is", "weights in front", "in pieces", "pieces in front")))
ROWS = (1, 2, 4, 8, 16)


def processor() -> str:
    """The maker and the vectors of this processor, as "GenuineIntel, AVX512 and AMX"."""
    about = Path("/proc/cpuinfo")  # of Linux
    maker = re.search(r"vendor_id\s*: (\S+)", about.read_text()) if about.exists() else None
    return f"{maker[1] if maker else platform.machine()}, {vectors()}"


def weights_of(dtype: torch.dtype) -> list[torch.Tensor]:
    """124M's matrices of one dtype: of every layer qkv, out_proj and the feed-forward layer's two, and the head."""
    E, V = GPT_CONFIG_124M["emb_dim"], GPT_CONFIG_124M["vocab_size"]
    shapes = [(3 * E, E), (E, E), (4 * E, E), (E, 4 * E)] * GPT_CONFIG_124M["n_layers"] + [(V, E)]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


@torch.inference_mode()
def measure(dtype: torch.dtype, rounds: int) -> dict[str, dict[str, float]]:
    """{way: {rows: GB/s}}, and the sum's."""
    weights = weights_of(dtype)
    xs = {(rows, w.shape[1]): torch.randn(rows, w.shape[1], dtype=dtype) for rows in ROWS for w in weights}

    def seconds(work: Callable[[torch.Tensor], object]) -> float:
        start = time.perf_counter()
        for weight in weights:
            work(weight)
        return time.perf_counter() - start

    calls = {(name, str(rows)): partial(seconds, lambda w, way=way, rows=rows: way(xs[rows, w.shape[1]], w))
             for rows in ROWS for way, name in NAMES.items()}
    nbytes, found = sum(w.nbytes for w in weights), {}
    for (name, rows), median in interleaved({**calls, ("sum", "all"): partial(seconds, torch.sum)}, rounds).items():
        found.setdefault(name, {})[rows] = nbytes / median / 1e9
    return found


def show(record: dict) -> None:
    for machine in record["machines"]:
        print(f"\n{machine['processor']}, {machine['threads']} threads, {machine['date']}")
        for dtype, ways in machine["GB/s"].items():
            print(f"    {dtype}: a sum reads {ways['sum']['all']:.1f} GB/s")
            for name, speeds in ways.items():
                if name != "sum":
                    print(f"        {name:18}" + "".join(f"{rows:>3} rows {speed:5.1f}  " for rows, speed in speeds.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {args.rounds}")
    here = {"processor": processor(), "threads": torch.get_num_threads(), "date": str(datetime.date.today()), "torch": torch.__version__,
            "GB/s": {str(dtype).removeprefix("torch."): measure(dtype, args.rounds) for dtype in (torch.float32, torch.bfloat16)}}
    record = json.loads(args.out.read_text()) if args.out and args.out.exists() else {"machines": []}
    machines = [(machine["processor"], machine["threads"]) for machine in record["machines"]]
    mine = here["processor"], here["threads"]
    at = machines.index(mine) if mine in machines else len(machines)  # chapter 12 speaks of the first, the second, the third
    record["machines"][at:at + 1] = [here]
    if args.out:
        args.out.write_text(json.dumps(record, indent=1) + "\n")
    show(record)


if __name__ == "__main__":
    main()
