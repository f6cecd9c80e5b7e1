"""All attention variants trained alike: the same data, seeds, optimiser and number of tokens, on Austen's novels.

    python benchmarks/variants.py [--seeds 3] [--steps 400] [--threads 1] [--out benchmarks/results/variants.json]

A run is held-out bits a byte on the whole of Persuasion after --steps steps; what the file already holds is not run
again, so an interrupted comparison goes on where it was. The order is by seed, so that all variants have as many runs.
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


def model_of(name: str, **changes) -> GPTModel:
    """A new model of the variant."""
    attention, more = VARIANTS[name]
    return GPTModel({**BASE, **more, **changes}, attention=attention)


def cache_bytes_per_token(name: str) -> float:
    """Bytes of all layers' caches in float32, allocated for the whole context, for each of its positions."""
    model = model_of(name)
    model.reset_kv_cache(batch_size=1)
    return model.kv_cache_nbytes / BASE["context_length"]


def train_one(name: str, seed: int, steps: int) -> dict:
    """One run, as a record."""
    tokenizer = austen_tokenizer()
    dataset = GPTDatasetV1("".join(load_novel(novel) for novel in TRAIN_NOVELS), tokenizer, BASE["context_length"],
                           BASE["context_length"])
    torch.manual_seed(seed)
    model = model_of(name)
    cfg = TrainConfig(max_steps=steps, batch_size=8, max_lr=3e-3, warmup_steps=steps // 20, eval_every=steps, seed=seed)
    start = time.perf_counter()
    history = train(model, dataset, cfg, progress=False)
    seconds = time.perf_counter() - start
    return {"variant": name, "seed": seed, "steps": steps, "tokens": steps * 8 * BASE["context_length"],
            "parameters": sum(p.numel() for p in model.parameters()),
            "cache_bytes_per_token": cache_bytes_per_token(name),
            "train_loss": statistics.mean(record["loss"] for record in history[-20:]),
            "bits_per_byte": bits_per_byte(model, load_novel("persuasion"), tokenizer),
            "seconds": round(seconds, 1)}


def table(runs: list[dict]) -> None:
    """Mean and standard error of each variant, and of its difference from MHA seed by seed."""
    mha = {run["seed"]: run["bits_per_byte"] for run in runs if run["variant"] == "MHA"}
    print(f"{'variant':18}{'parameters':>12}{'bytes/token':>13}{'runs':>6}{'bits a byte':>19}{'against MHA':>20}")
    for name in VARIANTS:
        own = [run for run in runs if run["variant"] == name]
        if own:
            scores = [run["bits_per_byte"] for run in own]
            paired = [run["bits_per_byte"] - mha[run["seed"]] for run in own if run["seed"] in mha]
            spread = [f"{statistics.mean(x):.4f} ± {standard_error(x):.4f}" if len(x) > 1 else "" for x in (scores, paired)]
            print(f"{name:18}{own[0]['parameters']:12,}{own[0]['cache_bytes_per_token']:13.0f}{len(own):6}"
                  f"{spread[0]:>19}{spread[1]:>20}")


def standard_error(values: list[float]) -> float:
    """Of the mean of these."""
    return statistics.stdev(values) / len(values) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1, help="one, so that other work disturbs the runs less")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "variants.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    record = json.loads(args.out.read_text()) if args.out.exists() else {"runs": []}
    record |= {"base": BASE, "torch": torch.__version__, "machine": platform.machine(), "threads": args.threads,
               "cpu": torch.backends.cpu.get_cpu_capability()}
    done = {(run["variant"], run["seed"], run["steps"]) for run in record["runs"]}
    todo = [(name, seed) for seed in range(args.seeds) for name in VARIANTS if (name, seed, args.steps) not in done]
    for name, seed in tqdm(todo, unit="run"):
        record["runs"].append(train_one(name, seed, args.steps))
        args.out.parent.mkdir(exist_ok=True)
        draft = args.out.with_suffix(".tmp")
        draft.write_text(json.dumps(record, indent=1) + "\n")
        os.replace(draft, args.out)
    table([run for run in record["runs"] if run["steps"] == args.steps])


if __name__ == "__main__":
    main()
