"""All attention variants trained alike: the same data, seeds, optimiser and number of tokens, on Austen's novels.

    python benchmarks/variants.py [--only MHA MLA-48] [--rates 1.75e-3] [--seeds 0 1 2] [--steps 400] [--threads 1]
                                  [--decoding] [--out benchmarks/results/variants.json]

A run is held-out bits a byte on the whole of Persuasion after --steps steps, at one of three highest learning rates: the
variants do not all like the same. --only and --rates name other runs to add. What the file already holds is not run
again, so an interrupted comparison goes on where it was. The order is by seed, so that all variants have as many runs.
The speed of decoding is measured where the file has none, and anew with --decoding, interleaved: one token through a
model of the same sizes but for its context, behind 4,095 cached ones.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch
from tqdm import tqdm

from gptbook import (
    GPTDatasetV1, GPTModel, GroupedQueryAttention, MultiHeadAttention, MultiHeadLatentAttention,
    SlidingWindowAttention, TRAIN_NOVELS, TrainConfig, austen_tokenizer, bits_per_byte, load_novel, train)

RATES = (1e-3, 1.75e-3, 3e-3)
BASE = {"vocab_size": 4096, "context_length": 128, "emb_dim": 192, "n_heads": 6, "n_layers": 3}
VARIANTS = {
    "MHA": (MultiHeadAttention, {}),
    "GQA-3": (GroupedQueryAttention, {"num_kv_groups": 3}),
    "GQA-2": (GroupedQueryAttention, {"num_kv_groups": 2}),
    "MQA": (GroupedQueryAttention, {"num_kv_groups": 1}),
    "MLA-96": (MultiHeadLatentAttention, {"latent_dim": 96}),
    "MLA-48": (MultiHeadLatentAttention, {"latent_dim": 48}),
    "MLA-48, normed": (MultiHeadLatentAttention, {"latent_dim": 48, "latent_norm": True}),
    "SWA-32": (SlidingWindowAttention, {"sliding_window_size": 32}),
    "SWA-8": (SlidingWindowAttention, {"sliding_window_size": 8}),
    "SWA-8 LLG": (SlidingWindowAttention, {"sliding_window_size": 8, "window_pattern": "LLG"}),
    "SWA-8 LLG, GQA-2": (SlidingWindowAttention, {"sliding_window_size": 8, "window_pattern": "LLG", "num_kv_groups": 2}),
}


def planned(names: list[str], rates: list[float], seeds: list[int], steps: int) -> list[tuple[str, int, int, float]]:
    """(variant, seed, steps, rate) of each run, seed by seed."""
    return [(name, seed, steps, rate) for seed in seeds for name in names for rate in rates]


def model_of(name: str, **changes) -> GPTModel:
    """A new model of the variant."""
    attention, more = VARIANTS[name]
    return GPTModel({**BASE, **more, **changes}, attention=attention)


def cache_bytes_per_token(name: str) -> float:
    """Bytes of all layers' caches in float32, allocated for the whole context, for each of its positions."""
    model = model_of(name)
    model.reset_kv_cache(batch_size=1)
    return model.kv_cache_nbytes / BASE["context_length"]


def train_one(name: str, seed: int, steps: int, max_lr: float) -> dict:
    """One run, as a record."""
    tokenizer = austen_tokenizer()
    dataset = GPTDatasetV1("".join(load_novel(novel) for novel in TRAIN_NOVELS), tokenizer, BASE["context_length"],
                           BASE["context_length"])
    torch.manual_seed(seed)
    model = model_of(name)
    cfg = TrainConfig(max_steps=steps, batch_size=8, max_lr=max_lr, warmup_steps=steps // 20, eval_every=steps, seed=seed)
    start = time.perf_counter()
    history = train(model, dataset, cfg, progress=False)
    seconds = time.perf_counter() - start
    return {"variant": name, "seed": seed, "steps": steps, "max_lr": max_lr, "tokens": steps * 8 * BASE["context_length"],
            "parameters": sum(p.numel() for p in model.parameters()),
            "cache_bytes_per_token": cache_bytes_per_token(name),
            "train_loss": statistics.mean(record["loss"] for record in history[-20:]),
            "bits_per_byte": bits_per_byte(model, load_novel("persuasion"), tokenizer),
            "seconds": round(seconds, 1), "cpu": torch.backends.cpu.get_cpu_capability()}


@torch.inference_mode()
def decoding(S: int = 4096, rounds: int = 51) -> dict[str, float]:
    """Each variant's speed in decoding a token at S positions, against MHA's: medians of interleaved rounds."""
    models = {name: model_of(name, context_length=S).eval() for name in VARIANTS}
    times: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.reset_kv_cache(batch_size=1)
        for cache in model.kv_cache or []:
            for value in vars(cache).values():
                if isinstance(value, torch.Tensor):
                    value.normal_()
    for _ in range(rounds + 2):
        for name, model in models.items():
            for cache in model.kv_cache or []:
                cache.length = S - 1
            start = time.perf_counter()
            model(torch.zeros(1, 1, dtype=torch.int64), use_cache=True, last_only=True)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values[2:]) for name, values in times.items()}
    return {name: medians["MHA"] / median for name, median in medians.items()}


def table(runs: list[dict], speed: dict[str, float]) -> None:
    """Mean bits a byte and its standard error at each rate, and the difference from MHA, seed by seed.

    The difference is of each at its best among the rates at which both were trained: more rates are more chances.
    """
    scores: dict[str, dict[float, dict[int, float]]] = {}  # variant -> rate -> seed -> bits a byte
    for run in runs:
        scores.setdefault(run["variant"], {}).setdefault(run["max_lr"], {})[run["seed"]] = run["bits_per_byte"]
    rates = sorted({run["max_lr"] for run in runs})
    print(f"{'variant':18}{'parameters':>12}{'bytes/token':>13}" + "".join(f"{f'at {rate:g}':>16}" for rate in rates)
          + f"{'best, - MHA':>16}{'decoding':>10}")
    for name, own in scores.items():
        both = [rate for rate in own if rate in scores.get("MHA", {})]
        best, mha = (min((scores[n][rate] for rate in both), key=lambda by_seed: statistics.mean(by_seed.values()), default={})
                     for n in (name, "MHA"))
        columns = [[*own.get(rate, {}).values()] for rate in rates] + [[best[seed] - mha[seed] for seed in best if seed in mha]]
        run = next(run for run in runs if run["variant"] == name)
        print(f"{name:18}{run['parameters']:12,}{run['cache_bytes_per_token']:13.0f}"
              + "".join(f"{mean_and_error(values):>16}" for values in columns) + f"{speed[name]:10.2f}")


def mean_and_error(values: list[float]) -> str:
    """The mean of these and its standard error, as far as there are any."""
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else "-"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) / len(values) ** 0.5:.3f}"


def write(record: dict, path: Path) -> None:
    """The file, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(draft, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1, help="one, so that other work disturbs the runs less")
    parser.add_argument("--decoding", action="store_true", help="measure the speed of decoding anew")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "variants.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    record = json.loads(args.out.read_text()) if args.out.exists() else {"runs": []}
    if record["runs"] and record["base"] != BASE:
        parser.error(f"{args.out} holds runs of other sizes: {record['base']}; give another --out")
    record |= {"base": BASE, "torch": torch.__version__, "machine": platform.machine(), "threads": args.threads}
    done = {(run["variant"], run["seed"], run["steps"], run["max_lr"]) for run in record["runs"]}
    todo = planned(args.only, args.rates, args.seeds, args.steps)
    for run in tqdm([run for run in todo if run not in done], unit="run"):
        record["runs"].append(train_one(*run))
        write(record, args.out)
    if args.decoding or "decoding_at_4096" not in record:
        record["decoding_at_4096"], record["decoding_cpu"] = decoding(), torch.backends.cpu.get_cpu_capability()
    write(record, args.out)
    table([run for run in record["runs"] if run["steps"] == args.steps], record["decoding_at_4096"])


if __name__ == "__main__":
    main()
