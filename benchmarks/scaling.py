"""One process against several with the same threads divided among them: tokens a second, bytes sent, what overlaps.

    python benchmarks/scaling.py [--size austen] [--processes 2] [--batch 8] [--rounds 8] [--out benchmarks/results/scaling.json]

The script starts itself under torchrun. In each round, one after the other: rank 0 alone with all threads on the whole
batch while the others sleep; all ranks with their part of it under DDP; all with the gradients averaged after backward;
all without any exchange, which is no training but shows what the arithmetic takes. Medians of the rounds. On a machine
with graphics cards a rank has a card, nccl carries the bytes, and the forward pass is in bfloat16.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gptbook import (
    GPT_CONFIG_124M, GPTDatasetV1, GPTModel, Ranks, TrainConfig, all_reduce_bytes, austen_tokenizer, average_gradients,
    calc_loss_batch, gpt2_tokenizer, load_novel, make_optimizer, process_group)

SIZES = {
    "tiny": {"vocab_size": 4096, "context_length": 64, "emb_dim": 32, "n_heads": 2, "n_layers": 2},
    "austen": {"vocab_size": 4096, "context_length": 256, "emb_dim": 256, "n_heads": 4, "n_layers": 4},
    "124M": {**GPT_CONFIG_124M, "context_length": 256, "drop_rate": 0.0},
}
WAYS = ("one", "ddp", "after", "silent")


def step(net: nn.Module, model: GPTModel, optimizer: torch.optim.Optimizer, batch: list[torch.Tensor], way: str) -> None:
    """One step of training on this rank's (inputs, targets)."""
    optimizer.zero_grad()
    with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=batch[0].is_cuda):
        loss = calc_loss_batch(*batch, net)
    loss.backward()
    if way == "after":
        average_gradients(model)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    loss.item()  # waits for a graphics card


def sent_through_loopback() -> int | None:
    """Bytes that all processes have sent over this machine's loopback; None where the system does not tell."""
    lines = Path("/proc/net/dev").read_text().split("\n") if Path("/proc/net/dev").exists() else []
    return next((int(line.split()[9]) for line in lines if line.strip().startswith("lo:")), None)


def measure(ranks: Ranks, args: argparse.Namespace) -> dict:
    """What all ranks measured together, as a record."""
    device, tokenizer = ranks.device, gpt2_tokenizer() if args.size == "124M" else austen_tokenizer()
    T = SIZES[args.size]["context_length"]
    dataset = GPTDatasetV1(load_novel("emma"), tokenizer, T, T)
    whole = [torch.stack(column).to(device) for column in zip(*[dataset[i] for i in range(args.batch)])]
    parts = {way: whole if way == "one" else [t[ranks.rank::ranks.world_size] for t in whole] for way in WAYS}
    setups = {}
    for way in WAYS:
        torch.manual_seed(0)
        model = GPTModel(SIZES[args.size]).to(device)
        net = DistributedDataParallel(model, gradient_as_bucket_view=True) if way == "ddp" else model
        setups[way] = net, model, make_optimizer(model, TrainConfig(max_steps=1, max_lr=1e-4))
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    counted: list[float] = []
    for turn in range(args.rounds + 1):
        for way in WAYS[turn % len(WAYS):] + WAYS[:turn % len(WAYS)]:  # each comes after each
            torch.set_num_threads(args.threads if way == "one" else max(1, args.threads // ranks.world_size))
            dist.barrier()
            before, began = sent_through_loopback(), time.perf_counter()
            if way != "one" or ranks.rank == 0:
                for _ in range(args.steps):
                    step(*setups[way], parts[way], way)
            spent = time.perf_counter() - began
            dist.barrier()
            after = sent_through_loopback()
            seconds[way].append(spent / args.steps)
            if way == "ddp" and before is not None and after is not None:
                counted.append((after - before) / args.steps / ranks.world_size)
    medians = {way: statistics.median(values[1:]) for way, values in seconds.items()}  # the first round warms up
    tokens, parameters = args.batch * T, sum(p.numel() for p in setups["one"][1].parameters())
    return {"size": args.size, "parameters": parameters, "tokens_per_step": tokens, "processes": ranks.world_size,
            "threads": args.threads, "rounds": args.rounds,
            "steps_per_round": args.steps, "torch": torch.__version__, "machine": platform.machine(),
            "device": torch.cuda.get_device_name() if device.type == "cuda" else torch.backends.cpu.get_cpu_capability(),
            "backend": "nccl, bfloat16" if device.type == "cuda" else "gloo, float32",
            "tokens_per_s": {"one": tokens / medians["one"], "ddp": tokens / medians["ddp"]}, "seconds_per_step": medians,
            "overlap": {"ddp": medians["ddp"] / medians["silent"], "after": medians["after"] / medians["silent"]},
            "bytes_per_step": {"formula": all_reduce_bytes(4 * parameters, ranks.world_size),
                               "counted": statistics.median(counted[1:]) if counted else None}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="austen")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the one process, and of all together")
    parser.add_argument("--batch", type=int, default=8, help="windows of a step, of all processes together")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="steps in a round")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scaling.json")
    args = parser.parse_args()
    if args.processes < 2:
        parser.error(f"--processes must be at least 2, got {args.processes}")
    if args.batch < args.processes:
        parser.error(f"--batch must be at least the number of processes, {args.processes}, got {args.batch}")
    if 0 < torch.cuda.device_count() < args.processes:
        parser.error(f"--processes must be at most the number of graphics cards, {torch.cuda.device_count()}, got {args.processes}; "
                     'CUDA_VISIBLE_DEVICES="" in the environment measures the CPU')
    if "RANK" not in os.environ:
        again = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={args.processes}", __file__,
                 *sys.argv[1:], f"--threads={args.threads}"]
        sys.exit(subprocess.run(again, env={"OMP_NUM_THREADS": "1", **os.environ}).returncode)
    with process_group() as ranks:
        record = measure(ranks, args)
        if ranks.rank == 0:
            args.out.parent.mkdir(exist_ok=True)
            args.out.write_text(json.dumps(record, indent=1) + "\n")
            speed, overlap, sent = record["tokens_per_s"], record["overlap"], record["bytes_per_step"]
            print(f"{args.size}, {record['parameters']:,} parameters, {record['tokens_per_step']:,} tokens a step, "
                  f"{record['backend']}")
            print(f"tokens/s: one process {speed['one']:,.0f}, {ranks.world_size} processes {speed['ddp']:,.0f}, "
                  f"ratio {speed['ddp'] / speed['one']:.2f}")
            print(f"a step against the same without exchange: DDP {overlap['ddp']:.3f}, "
                  f"averaged after backward {overlap['after']:.3f}")
            if sent["counted"] is not None:
                print(f"bytes sent by each rank in a step: formula {sent['formula']:,.0f}, counted {sent['counted']:,.0f}")


if __name__ == "__main__":
    main()
