"""How much of a conversion's loss a little training brings back: chapter 8's question, with more steps, rates and seeds.

    python benchmarks/conversion.py [--seeds 0 1 2] [--steps 240] [--threads 1] [--out benchmarks/results/conversion.json]

The small model that the book ships is converted to two key/value heads in three ways (mean-pooled heads, the first of a
group, random weights) and trained on for --steps steps, a twentieth of its own 4,800, at each of five highest rates; the
unconverted model goes along. A seed decides the order of the windows and the random heads. A run is held-out bits a byte
on the whole of Persuasion, in windows that do not overlap. What the file already holds is not run again.
"""

import argparse
import copy
import json
import time
from importlib.resources import files
from itertools import product
from pathlib import Path

import torch
from tqdm import tqdm
from variants import mean_and_error, write

from gptbook import (
    END_OF_TEXT, TRAIN_NOVELS, GPTDatasetV1, TrainConfig, austen_tokenizer, bits_per_byte, gqa_from_mha, load_checkpoint,
    load_novel, train)

SHIPPED = files("gptbook") / "data" / "austen-small.safetensors"
RATES = (1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3)
WAYS = ("MHA", "mean", "first", "random")  # MHA: not converted
NUM_KV_GROUPS = 2


def planned(seeds: list[int], steps: int) -> list[tuple[str, int, int, float]]:
    """(way, seed, steps, rate) of each run, seed by seed; runs of no steps, which have no rate, come first."""
    before = [(way, seed, 0, 0.0) for seed, way in product(seeds, WAYS) if way == "random" or seed == seeds[0]]
    return before + [(way, seed, steps, rate) for seed, way, rate in product(seeds, WAYS, RATES)]


def go_on(way: str, seed: int, steps: int, max_lr: float) -> dict:
    """One run, as a record."""
    tokenizer = austen_tokenizer()
    trained = load_checkpoint(SHIPPED).model
    torch.manual_seed(seed)
    model = copy.deepcopy(trained) if way == "MHA" else gqa_from_mha(trained, NUM_KV_GROUPS, way)
    start = time.perf_counter()
    if steps:
        text = END_OF_TEXT.join(load_novel(name) for name in TRAIN_NOVELS)
        cfg = TrainConfig(max_steps=steps, batch_size=4, max_lr=max_lr, warmup_steps=10, eval_every=steps, seed=seed)
        train(model, GPTDatasetV1(text, tokenizer, max_length=128, stride=128), cfg, progress=False)
    seconds = time.perf_counter() - start
    return {"way": way, "seed": seed, "steps": steps, "max_lr": max_lr,
            "bits_per_byte": bits_per_byte(model, load_novel("persuasion"), tokenizer, stride=model.cfg.context_length),
            "seconds": round(seconds, 1), "cpu": torch.backends.cpu.get_cpu_capability()}


def table(runs: list[dict]) -> None:
    """Mean bits a byte and its standard error, before any step and at each rate."""
    def scores(way: str, rate: float) -> list[float]:
        return [run["bits_per_byte"] for run in runs if run["way"] == way and run["max_lr"] == rate]
    print(f"{'way':8}{'before':>16}" + "".join(f"{f'at {rate:g}':>16}" for rate in RATES))
    for way in WAYS:
        print(f"{way:8}" + "".join(f"{mean_and_error(scores(way, rate)):>16}" for rate in (0.0, *RATES)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--threads", type=int, default=1, help="one, so that other work disturbs the runs less")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "conversion.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    record = json.loads(args.out.read_text()) if args.out.exists() else {"runs": []}
    record |= {"num_kv_groups": NUM_KV_GROUPS, "torch": torch.__version__, "threads": args.threads}
    done = {(run["way"], run["seed"], run["steps"], run["max_lr"]) for run in record["runs"]}
    for run in tqdm([run for run in planned(args.seeds, args.steps) if run not in done], unit="run"):
        record["runs"].append(go_on(*run))
        write(record, args.out)
    table([run for run in record["runs"] if run["steps"] in (0, args.steps)])


if __name__ == "__main__":
    main()
