import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from .dataset_loader import GPTDatasetV1, check_int
from .gpt import GPTModel
from .train import (Checkpoint, TrainConfig, _check_number, _check_run, _check_same_run, _check_type, _held_interrupts, batch_windows, bits_per_byte,
                    calc_loss_batch, learning_rate, load_checkpoint, make_optimizer, save_checkpoint, train)


def all_reduce_bytes(n_bytes: float, world_size: int) -> float:
    """Bytes that each of `world_size` ranks sends in a ring all-reduce of n_bytes: 2 (N - 1) / N of them.

    Source: Patarasuk and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002.
    """
    _check_number("n_bytes", n_bytes)
    check_int("world_size", world_size, 1)
    return 2 * (world_size - 1) / world_size * n_bytes


def average_gradients(model: nn.Module) -> None:
    """Replace the gradient of every parameter by its mean over all ranks, with one all-reduce.

    Every rank calls it, after backward. Raises ValueError where there is no process group, or a parameter has no
    gradient.
    """
    _check_type("model", model, nn.Module)
    if not dist.is_initialized():
        raise ValueError("average_gradients needs a process group: start the program with torchrun, inside process_group()")
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if missing:
        raise ValueError(f"model must have a gradient in every parameter, call backward first; {missing[:3]} have none")
    bucket = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(bucket)  # now the sum over all ranks
    bucket /= dist.get_world_size()
    for g, mean in zip(gradients, bucket.split([g.numel() for g in gradients])):
        g.copy_(mean.view_as(g))


@dataclass(frozen=True)
class Ranks:
    """One process among those that train together.

    rank: its number, from 0 on; world_size: how many there are; device: where its model belongs; store: a notice
    board that all can read and write, None in a world of one.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")
    store: dist.Store | None = None

    def __post_init__(self) -> None:
        check_int("world_size", self.world_size, 1)
        check_int("rank", self.rank, 0)
        if self.rank >= self.world_size:
            raise ValueError(f"rank must be below world_size {self.world_size}, got {self.rank}")


@contextmanager
def process_group(timeout_seconds: float = 600.0) -> Iterator[Ranks]:
    """Join the processes that torchrun started, for the length of the block; without torchrun, a world of one.

    What torchrun tells each process is in its environment: RANK, WORLD_SIZE, LOCAL_RANK, and where to meet the others.
    They talk by nccl where there are graphics cards, one for each, else by gloo.
    A rank that keeps the others waiting for longer than timeout_seconds ends the block on each with TimeoutError, which
    names it (on the lowest that waits; the others leave with SystemExit).
    Raises ValueError for a half-told environment or more ranks than graphics cards, OSError where the ranks don't meet.
    """
    _check_number("timeout_seconds", timeout_seconds)
    if timeout_seconds == 0:
        raise ValueError("timeout_seconds must be above 0, got 0")
    cards = torch.cuda.device_count()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks(device=torch.device("cuda" if cards else "cpu"))
        return
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ValueError(f"the environment has WORLD_SIZE but not {missing}: start the program with torchrun")
    rank, world_size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if cards and local_rank >= cards:
        raise ValueError(f"torchrun's --nproc-per-node must be at most the number of graphics cards, {cards}")
    device = torch.device("cuda", local_rank) if cards else torch.device("cpu")
    timeout = timedelta(seconds=timeout_seconds)
    try:
        store, _, _ = next(rendezvous("env://", timeout=timeout))
        if cards:
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if cards else "gloo", store=dist.PrefixStore("group", store),
                                rank=rank, world_size=world_size, timeout=timeout)
    except RuntimeError as error:
        raise OSError(f"rank {rank} did not meet the others at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: "
                      + str(error).split("\n")[0]) from error
    ranks = Ranks(rank, world_size, device, store)
    try:
        yield ranks
    except RuntimeError as error:
        if "gloo" not in str(error) and not isinstance(error, dist.DistError):
            raise
        absent = _roll_call(ranks, min(timeout_seconds, 10.0))
        if not absent:
            raise
        if rank != min(set(range(world_size)) - set(absent)):
            raise SystemExit(0) from error  # it is told once
        who = f"rank {absent[0]}" if len(absent) == 1 else f"ranks {absent}"
        raise TimeoutError(f"{who} of {world_size} did not answer within {timeout_seconds:g} s, so all stop. Start the run "
                           f"again and it goes on from its last checkpoint") from error
    finally:
        dist.destroy_process_group()


def _roll_call(ranks: Ranks, seconds: float) -> list[int]:
    """The ranks that do not put their name on the notice board within so many seconds."""
    assert ranks.store is not None
    names = [f"here/{rank}" for rank in range(ranks.world_size)]
    ranks.store.set(names[ranks.rank], "yes")
    try:
        ranks.store.wait(names, timedelta(seconds=seconds))
    except dist.DistStoreError:
        pass
    return [rank for rank, name in enumerate(names) if not ranks.store.check([name])]


@contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """A block that fails on all ranks if it fails on one; none leaves it before all have come to its end.

    Rank 0 raises the error, its own or an OSError that quotes another rank's; the others leave with SystemExit, so that
    it is told once. In a world of one, the block alone.
    """
    _check_type("ranks", ranks, Ranks)
    own: Exception | None = None
    try:
        yield
    except Exception as error:
        if ranks.world_size == 1:
            raise
        own = error
    if ranks.world_size == 1:
        return
    errors: list[str | None] = [None] * ranks.world_size
    dist.all_gather_object(errors, None if own is None else f"{type(own).__name__}: {own}")
    failed = [rank for rank, error in enumerate(errors) if error is not None]
    if failed and ranks.rank > 0:
        raise SystemExit(0) from own
    if own is not None:
        raise own
    if failed:
        raise OSError(f"rank {failed[0]}: {errors[failed[0]]}")


def train_distributed(model: GPTModel, dataset: GPTDatasetV1, cfg: TrainConfig, ranks: Ranks, *, val_text: str | None = None,
                      tokenizer: tiktoken.Encoding | None = None, checkpoint_path: str | os.PathLike[str] | None = None,
                      resume: bool = False, on_step: Callable[[dict[str, float]], None] | None = None,
                      progress: bool = True, fsdp: bool = False) -> list[dict[str, float]]:
    """`train`, by all ranks together: the same arguments and result, whatever their number, up to the order of sums.

    Each rank reads its part of every batch; batch_size is that of all together, and need not be a multiple of their
    number. A record also holds ranks, their number. Rank 0 alone scores, calls on_step, shows the bar and saves; its
    records alone have val_bpb. All read the checkpoint on resume, in which their number must be the same as before.
    fsdp: keep only a part of every weight, gradient and moment on each rank (the model stays in parts afterwards:
    open the checkpoint for a whole one). In a world of one this is `train`.
    Errors are raised as by `together`, Ctrl-C on any rank stops all after the same step.
    """
    _check_type("ranks", ranks, Ranks)
    _check_type("fsdp", fsdp, bool)
    world_size, first, history = ranks.world_size, 0, []
    with together(ranks):
        _check_run(model, dataset, cfg, val_text, tokenizer, checkpoint_path, resume)
        if world_size > cfg.batch_size:
            raise ValueError(f"batch_size must be at least the number of ranks, {world_size}, or one has nothing to read; "
                             f"got {cfg.batch_size}")
        device, was_training = next(model.parameters()).device, model.training
        if device.type != ranks.device.type:
            raise ValueError(f"model must be on this rank's device {ranks.device}, and is on {device}")
        optimizer = make_optimizer(model, cfg)
        if resume and checkpoint_path is not None and Path(checkpoint_path).exists():
            checkpoint = load_checkpoint(checkpoint_path, attention=type(model.blocks[0].att))
            before = int(checkpoint.history[-1].get("ranks", 1)) if checkpoint.history else world_size
            if before != world_size:
                raise ValueError(f"resume: {checkpoint_path} is of a run with world size {before}, this one has {world_size}; a run "
                                 f"continues with its own")
            if world_size > 1:
                _check_same_run(cfg, checkpoint.train_config)
                checkpoint.restore(model, optimizer)
                first, history = checkpoint.step, checkpoint.history
    if world_size == 1:
        return train(model, dataset, cfg, val_text=val_text, tokenizer=tokenizer, checkpoint_path=checkpoint_path,
                     resume=resume, on_step=on_step, progress=progress)
    if fsdp:
        optimizer = _shard(model, optimizer, cfg, ranks)
    net = model if fsdp else DistributedDataParallel(model, gradient_as_bucket_view=True)
    with (torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _held_interrupts() as interrupts,
          tqdm(total=cfg.max_steps, initial=first, file=sys.stdout, unit="step", disable=not progress or ranks.rank > 0) as bar):
        try:
            for step in range(first, cfg.max_steps):
                loss, norm, stop = _step(net, model, optimizer, dataset, cfg, step, ranks, interrupts)
                record: dict[str, float] = {"step": step + 1, "loss": loss, "grad_norm": norm, "lr": learning_rate(step, cfg), "ranks": world_size}
                history.append(record)
                due = (step + 1) % cfg.eval_every == 0 or step + 1 == cfg.max_steps
                whole = _gather(model, optimizer, cfg, step + 1, ranks) if fsdp and (due or stop) else (model, optimizer)
                with together(ranks) if due or stop else nullcontext():
                    if ranks.rank == 0:
                        if due and val_text is not None and tokenizer is not None:
                            record["val_bpb"] = bits_per_byte(whole[0], val_text, tokenizer)
                        bar.set_postfix(loss=f"{loss:.2f}", refresh=False)
                        bar.update()
                        if on_step is not None:
                            on_step(record)
                        if checkpoint_path is not None and (due or stop):
                            save_checkpoint(checkpoint_path, *whole, step=step + 1, train_config=cfg, history=history)
                if stop:
                    saved = "" if checkpoint_path is None else f"; saved to {checkpoint_path}, resume=True goes on"
                    raise KeyboardInterrupt(f"stopped after step {step + 1} of {cfg.max_steps}{saved}") if ranks.rank == 0 else SystemExit(0)
        finally:
            model.train(was_training)
    return history


def _step(net: Any, model: GPTModel, optimizer: torch.optim.Optimizer, dataset: GPTDatasetV1, cfg: TrainConfig, step: int,
          ranks: Ranks, interrupts: list[int]) -> tuple[float, float, bool]:
    """This rank's part of one step: the mean loss and gradient norm of all ranks, and whether one was told to stop."""
    model.train()
    torch.manual_seed(int(np.random.SeedSequence((cfg.seed, step, ranks.rank)).generate_state(1)[0]))  # dropout
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, cfg)
    optimizer.zero_grad()
    own_loss, rows = 0.0, batch_windows(step, len(dataset), cfg)  # (A, B): the windows of all ranks
    for i, row in enumerate(rows):
        part = row[ranks.rank::ranks.world_size]
        inputs, targets = (torch.stack(column) for column in zip(*[dataset[int(w)] for w in part]))
        share = len(part) / rows.size  # of all windows of the step
        last = i + 1 == len(rows)
        if net is model:
            net.set_requires_gradient_sync(last)
        with nullcontext() if last or net is model else net.no_sync():
            with torch.autocast(ranks.device.type, torch.bfloat16, enabled=cfg.bf16):
                loss = calc_loss_batch(inputs, targets, net, ranks.device)
            (loss * (share * ranks.world_size)).backward()  # the mean over ranks divides by their number
        own_loss += loss.item() * share
    length = nn.utils.clip_grad_norm_(model.parameters(), cfg.grad_clip)
    norm = (length.full_tensor() if isinstance(length, DTensor) else length).item()
    told = torch.tensor([own_loss, len(interrupts)], dtype=torch.float64)
    dist.all_reduce(told)
    mean_loss = told[0].item()
    if not math.isfinite(mean_loss + norm):
        with together(ranks):
            raise FloatingPointError(f"step {step}: loss {mean_loss}, gradient norm {norm}; the weights are as before this step. "
                                     f"A lower max_lr than {cfg.max_lr} may help")
    optimizer.step()
    return mean_loss, norm, told[1].item() > 0


def _shard(model: GPTModel, optimizer: torch.optim.Optimizer, cfg: TrainConfig, ranks: Ranks) -> torch.optim.AdamW:
    """Leave a part of each parameter on each rank, block by block; returns an optimiser over these, its state shared out alike."""
    state = {name: optimizer.state[p] for name, p in model.named_parameters() if p in optimizer.state}
    for weight in model.state_dict().values():
        dist.broadcast(weight, src=0)  # as DDP does: all begin with rank 0's
    mesh = init_device_mesh(ranks.device.type, (ranks.world_size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)  # what no block holds: embeddings (the head with them) and the last norm
    sharded = make_optimizer(model, cfg)
    for name, p in model.named_parameters():
        sharded.state[p] = {key: distribute_tensor(value, mesh, p.placements) if value.dim() else value
                            for key, value in state.get(name, {}).items()}
    return sharded


def _gather(model: GPTModel, optimizer: torch.optim.Optimizer, cfg: TrainConfig, step: int,
            ranks: Ranks) -> tuple[GPTModel, torch.optim.Optimizer]:
    """The whole model and its optimiser on rank 0, in the memory of its CPU; the other ranks help, and get what they had."""

    def whole(value: Tensor) -> Tensor:
        full = value.full_tensor() if isinstance(value, DTensor) else value
        return full.cpu() if ranks.rank == 0 else full.new_empty(0)

    weights = {name: whole(value) for name, value in model.state_dict().items()}
    state = {name: {key: whole(value) for key, value in optimizer.state[p].items()} for name, p in model.named_parameters()}
    if ranks.rank > 0:
        return model, optimizer
    with torch.random.fork_rng(devices=[]):
        plain = GPTModel(model.cfg, attention=type(model.blocks[0].att)).to(next(model.parameters()).dtype)
    plain.load_state_dict(weights)
    plain_optimizer = make_optimizer(plain, cfg)
    Checkpoint(plain, step, optimizer_state=state).restore(plain, plain_optimizer)
    return plain, plain_optimizer
