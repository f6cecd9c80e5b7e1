"""Chapter 13: many processes train what one trains, and nothing is lost when one of them dies. Real processes, real signals."""

import json
import os
import random
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

from gptbook import cli
from gptbook.dataset_loader import GPTDatasetV1, austen_tokenizer, bpe_tokenizer
from gptbook.distributed import (
    Ranks, TokenShards, _own_windows, all_reduce_bytes, prepare_shards, process_group, together, train_distributed)
from gptbook.gpt import GPTModel
from gptbook.gpt_gqa import GroupedQueryAttention
from gptbook.gpt_mla import HalfCacheAttention, MultiHeadLatentAttention
from gptbook.gpt_swa import SlidingWindowAttention
from gptbook.kv_cache import MultiHeadAttention
from gptbook.load_weights import load_gpt2
from gptbook.train import TrainConfig, batch_windows, calc_loss_batch, load_checkpoint, train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a run in /proc")

TEXT = "Anne was tenderness itself, and she had the full worth of it in Captain Wentworth's affection. " * 6
LETTERS = bpe_tokenizer("letters", "#version: 0.2\n")  # 257 tokens: small models that are quick
CFG = {"vocab_size": 257, "context_length": 16, "emb_dim": 24, "n_heads": 4, "n_layers": 2, "qkv_bias": False}
VARIANTS = {"mha": (MultiHeadAttention, {}), "half": (HalfCacheAttention, {}),
            "gqa": (GroupedQueryAttention, {"num_kv_groups": 2}), "mla": (MultiHeadLatentAttention, {"latent_dim": 8}),
            "swa": (SlidingWindowAttention, {"sliding_window_size": 4})}
RUN = TrainConfig(max_steps=20, batch_size=8, warmup_steps=2, max_lr=1e-3, eval_every=20)
SIZES = {"whole": {"batch_size": 8}, "accumulated": {"batch_size": 4, "accumulation_steps": 2},
         "uneven": {"batch_size": 5, "accumulation_steps": 2}}
# AdamW divides a gradient by its own size, so that an error of rounding in a small one moves its weight by up to max_lr.
RATES = {"float32": {"max_lr": 1e-4}, "float64": {}}
UNION = TrainConfig(max_steps=1, batch_size=3, accumulation_steps=2, grad_clip=1e9)  # no gradient is that long
CASES = [(variant, dtype, size, fsdp) for variant in VARIANTS for dtype in ("float32", "float64")
         for size, fsdp in (("whole", False), ("accumulated", False), ("uneven", False), ("uneven", True))]
FOUR = [case for case in CASES if case[2] == "uneven" and case[1::2] != ("float32", True)]  # what four ranks do; two do all
BF16 = replace(RUN, bf16=True, **RATES["float32"])


def new_model(variant="mha", dtype="float32", seed=0, **changed):
    attention, more = VARIANTS[variant]
    torch.manual_seed(seed)
    return GPTModel({**CFG, **more, **changed}, attention=attention).to(getattr(torch, dtype))


def new_dataset():
    return GPTDatasetV1(TEXT, LETTERS, 16, 5)


def flat(model):
    return torch.cat([p.detach().flatten().double() for p in model.parameters()])


def torchrun(processes, *arguments, port=None):
    """The command that starts so many ranks."""
    where = ["--standalone"] if port is None else ["--master-addr=127.0.0.1", f"--master-port={port}"]
    return [sys.executable, "-m", "torch.distributed.run", *where, f"--nproc-per-node={processes}", *map(str, arguments)]


def environment():
    """One thread for each rank, and no graphics card: there may be fewer of them than ranks."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def run(command, timeout=600, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=environment(), **options)


# --- the same result --------------------------------------------------------------------------------------------

TOGETHER = """
    import json, os, resource, shutil, signal, sys
    from dataclasses import replace
    from pathlib import Path
    import torch
    import torch.distributed as dist
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
    from torch.nn.parallel import DistributedDataParallel
    from gptbook import distributed
    from test_13_distributed import (
        BF16, CASES, FOUR, LETTERS, RATES, RUN, SIZES, TEXT, UNION, VARIANTS, flat, new_dataset, new_model)
    from gptbook.distributed import Ranks, TokenShards, average_gradients, process_group, together, train_distributed
    from gptbook.train import TrainConfig, calc_loss_batch, load_checkpoint, make_optimizer, save_checkpoint, train

    torch.set_num_threads(1)
    folder, report = Path(sys.argv[1]), {}
    dataset = new_dataset()

    def everywhere(value):
        found = [None] * ranks.world_size
        dist.all_gather_object(found, value)
        return found

    def outcome(work):
        # how work() ended on each rank: "ok", or the error in words
        try:
            work()
            own = "ok"
        except BaseException as error:
            own = f"{type(error).__name__}: {error}"
        return everywhere(own)

    with process_group(400) as ranks:
        # 1. the same parameters after 20 steps
        for variant, dtype, size, fsdp in CASES if ranks.world_size == 2 else FOUR:
            path = folder / f"{variant} {dtype} {size} {fsdp}"
            history = train_distributed(new_model(variant, dtype), dataset, replace(RUN, **SIZES[size], **RATES[dtype]), ranks,
                                        progress=False, checkpoint_path=path, fsdp=fsdp)
            report[path.name] = [[record[key] for record in history] for key in ("loss", "grad_norm")]

        if ranks.world_size == 2:
            # ... and in bfloat16
            for fsdp in (False, True):
                history = train_distributed(new_model(), dataset, BF16, ranks, progress=False, fsdp=fsdp,
                                            checkpoint_path=folder / f"bf16 {fsdp}")
                report[f"bf16 {fsdp}"] = [record["loss"] for record in history]

            # 2. gradients averaged by hand are DDP's
            x, y = (torch.stack(c) for c in zip(*[dataset[i + 3 * ranks.rank] for i in range(3)]))
            by_hand, twin = new_model(dtype="float64"), new_model(dtype="float64")
            calc_loss_batch(x, y, by_hand).backward()
            average_gradients(by_hand)
            ddp = DistributedDataParallel(twin)
            calc_loss_batch(x, y, ddp).backward()
            pairs = zip(by_hand.parameters(), twin.parameters())
            report["gradients"] = max((a.grad - b.grad).abs().max().item() for a, b in pairs)
            del ddp
            report["no gradient"] = outcome(lambda: average_gradients(new_model()))

            # ... and train_distributed sends each of them once a step, however many micro-batches there are
            sent = []
            def counted(state, bucket):
                sent.append(bucket.buffer().numel())
                return allreduce_hook(dist.group.WORLD, bucket)
            class Counted(DistributedDataParallel):
                def __init__(self, *arguments, **options):
                    super().__init__(*arguments, **options)
                    self.register_comm_hook(None, counted)
            distributed.DistributedDataParallel = Counted
            model = new_model()
            train_distributed(model, dataset, replace(RUN, max_steps=3, accumulation_steps=4), ranks, progress=False)
            distributed.DistributedDataParallel = DistributedDataParallel
            report["sent"] = sum(sent) / sum(p.numel() for p in model.parameters())

            # 3. dropout differs between ranks that read the same window, and repeats
            one = type(dataset)(TEXT[:17], LETTERS, 16, 1)
            masks = []
            for _ in range(2):
                model, seen = new_model(drop_rate=0.5), []
                model.drop.register_forward_hook(lambda module, inputs, output: seen.append((output == 0).tolist()))
                train_distributed(model, one, replace(RUN, max_steps=2, batch_size=2), ranks, progress=False)
                masks.append(everywhere(seen))
            report["dropout"] = {"repeats": masks[0] == masks[1], "differs": masks[0][0][0] != masks[0][1][0],
                                 "same window": everywhere(len(one)) == [1, 1]}

            # 4. Ctrl-C on one rank stops all after the same step, and they go on to the same bits; whole or in parts
            cfg = replace(RUN, max_steps=12, eval_every=3, batch_size=5)
            for fsdp in (False, True):
                for name in ("unbroken", "stopped"):
                    path = folder / f"{name} {fsdp}"
                    def press(model, inputs, output, calls=[]):
                        calls.append(1)
                        if name == "stopped" and ranks.rank == 1 and len(calls) == 6:  # the first call is a check before the run
                            signal.raise_signal(signal.SIGINT)
                    model = new_model(drop_rate=0.2, dtype="float64")
                    model.final_norm.register_forward_hook(lambda m, i, o, p=press, c=[]: p(m, i, o, c))
                    report[path.name] = outcome(lambda: train_distributed(
                        model, dataset, cfg, ranks, checkpoint_path=path, fsdp=fsdp, progress=False, val_text=TEXT[:50],
                        tokenizer=LETTERS))
                report[f"step {fsdp}"] = load_checkpoint(folder / f"stopped {fsdp}").step
                if ranks.rank == 0:  # what was saved in parts is opened by one process, saved by it, and taken up in parts again
                    shutil.copy(path, folder / f"crossed {fsdp}")
                    saved, model = load_checkpoint(path), new_model(drop_rate=0.2, dtype="float64", seed=9)
                    optimizer = make_optimizer(model, cfg)
                    saved.restore(model, optimizer)
                    save_checkpoint(path, model, optimizer, step=saved.step, train_config=cfg, history=saved.history)
                dist.barrier()
                history = train_distributed(new_model(drop_rate=0.2, dtype="float64", seed=7), dataset, cfg, ranks,
                                            checkpoint_path=path, resume=True, fsdp=fsdp, progress=False,
                                            val_text=TEXT[:50], tokenizer=LETTERS)
                report[f"scores {fsdp}"] = [round(record["val_bpb"], 5) for record in history if "val_bpb" in record]
            # ... and a run in parts goes on from one that was whole, and the other way round
            for fsdp in (False, True):
                train_distributed(new_model(drop_rate=0.2, dtype="float64", seed=7), dataset, cfg, ranks, resume=True,
                                  checkpoint_path=folder / f"crossed {fsdp}", fsdp=not fsdp, progress=False)

            # 5. each rank draws from its own shards
            own = TokenShards(folder / "tokens", LETTERS, 16, 5, rank=ranks.rank, world_size=2)
            history = train_distributed(new_model(dtype="float64"), own, UNION, ranks, checkpoint_path=folder / "shards",
                                        progress=False)
            report["shards"] = history[0]["loss"]

            # 6. what goes wrong: rank 0 tells, nobody waits, nothing changes
            path, cfg = folder / "mine", replace(RUN, max_steps=4, eval_every=2)
            train_distributed(new_model(), dataset, cfg, ranks, checkpoint_path=path, progress=False)
            before = path.read_bytes()
            wrong = {}
            def fails(name, **changes):
                # a run that must fail, with its model, and whether model and file are as before
                model = changes.pop("model", None) or new_model()
                at_first = flat(model)
                options = {"cfg": cfg, "ranks": ranks, "progress": False, "checkpoint_path": path, **changes}
                data = options.pop("dataset", dataset)
                told = outcome(lambda: train_distributed(model, data, **options))
                same = all(everywhere(torch.equal(flat(model), at_first) or name in ("full", "callback")))
                wrong[name] = [told, same, path.read_bytes() == before]
            fails("batch of one", cfg=replace(cfg, batch_size=1))
            fails("shards of rank 0", dataset=TokenShards(folder / "tokens", LETTERS, 16, 5, rank=0, world_size=2))
            fails("shards of three", dataset=TokenShards(folder / "tokens", LETTERS, 16, 5, rank=ranks.rank, world_size=3))
            fails("other shape", model=new_model(emb_dim=8), resume=True)
            fails("other rate", cfg=replace(cfg, max_lr=0.5), resume=True)
            alone = folder / "alone"
            if ranks.rank == 0:
                train(new_model(), dataset, cfg, checkpoint_path=alone, progress=False)
            dist.barrier()
            fails("of one process", checkpoint_path=alone, resume=True)
            fails("other checkpoint", checkpoint_path=path if ranks.rank == 0 else folder / "none", resume=True)
            fails("other settings", cfg=replace(cfg, max_lr=[0.1, 0.2][ranks.rank]))
            fails("no folder", checkpoint_path=folder / "none" / "x")
            broken = new_model()
            broken.final_norm.scale.data[0] = torch.inf
            fails("infinite", model=broken)
            broken = new_model()
            def break_gradient(g):
                return g * torch.inf if ranks.rank == 1 else g
            broken.final_norm.scale.register_hook(break_gradient)  # the loss stays finite
            fails("infinite gradient on rank 1", model=broken)
            def callback(record):
                raise KeyError("of the caller")
            fails("callback", cfg=replace(cfg, eval_every=1), on_step=callback)
            def small_disk():
                resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            small_disk()
            fails("full")
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            def on_rank_1():
                with together(ranks):
                    if ranks.rank == 1:
                        raise FileNotFoundError("no such text")
            wrong["elsewhere"] = [outcome(on_rank_1), True, True]
            report["wrong"], report["left"] = wrong, sorted(p.name for p in folder.iterdir() if p.suffix == ".tmp")

    # 7. a program may meet again
    with process_group(400) as ranks:
        ones = torch.ones(1)
        dist.all_reduce(ones)
        report["second meeting"] = ones.item()
        if ranks.rank == 0:
            (folder / "report.json").write_text(json.dumps(report))
"""


@pytest.fixture(scope="module")
def outcome_of(tmp_path_factory):
    """(folder, report) of one start of torchrun that goes through every case: importing PyTorch takes seconds."""
    found = {}

    def by_many(world_size):
        if world_size not in found:
            folder = tmp_path_factory.mktemp(f"ranks{world_size}")
            (folder / "together.py").write_text(textwrap.dedent(TOGETHER))
            (folder / "text.txt").write_text(TEXT)
            prepare_shards([folder / "text.txt"], folder / "tokens", LETTERS, shard_tokens=60)
            done = run(torchrun(world_size, folder / "together.py", folder))
            assert done.returncode == 0, done.stderr
            found[world_size] = folder, json.loads((folder / "report.json").read_text())
        return found[world_size]

    return by_many


@pytest.fixture
def of_two(outcome_of):
    return outcome_of(2)


@pytest.fixture(scope="module")
def alone():
    """What one process makes of each case, without the parts: (model, losses, lengths of the gradient)."""
    done = {}

    def by_one(variant, dtype, size):
        if (variant, dtype, size) not in done:
            model = new_model(variant, dtype)
            history = train(model, new_dataset(), replace(RUN, **SIZES[size], **RATES[dtype]), progress=False)
            done[variant, dtype, size] = flat(model), *([record[key] for record in history] for key in ("loss", "grad_norm"))
        return done[variant, dtype, size]

    return by_one


@pytest.mark.parametrize("world_size, variant, dtype, size, fsdp", [(2, *case) for case in CASES] + [(4, *case) for case in FOUR])
def test_many_train_what_one_trains(outcome_of, alone, world_size, variant, dtype, size, fsdp):
    folder, report = outcome_of(world_size)
    limit = {"float32": 1e-6, "float64": 1e-12}[dtype]
    name = f"{variant} {dtype} {size} {fsdp}"
    checkpoint = load_checkpoint(folder / name, attention=VARIANTS[variant][0])
    ours, losses, norms = alone(variant, dtype, size)
    assert checkpoint.step == 20 and checkpoint.history[-1]["ranks"] == world_size
    assert (flat(checkpoint.model) - ours).abs().max() < limit
    assert report[name][0] == pytest.approx(losses, rel=limit) and report[name][1] == pytest.approx(norms, rel=limit)
    assert (ours - flat(new_model(variant, dtype))).abs().max() > 5e-4  # it has learned something
    if fsdp:
        whole = load_checkpoint(folder / name.replace("True", "False"), attention=VARIANTS[variant][0])
        assert (flat(checkpoint.model) - flat(whole.model)).abs().max() < limit


@pytest.mark.parametrize("fsdp", [False, True])
def test_two_train_in_bfloat16_what_one_trains(of_two, fsdp):
    folder, report = of_two
    model = new_model()
    losses = [record["loss"] for record in train(model, new_dataset(), BF16, progress=False)]
    exact, at_first = new_model(), flat(new_model())
    train(exact, new_dataset(), replace(BF16, bf16=False), progress=False)
    two, one, exact = (flat(m) - at_first for m in (load_checkpoint(folder / f"bf16 {fsdp}").model, model, exact))
    assert report[f"bf16 {fsdp}"] == pytest.approx(losses, rel=1e-4)
    # Rounded to 8 bits, and the gradients of half a batch otherwise than those of the whole: nearer to it than to float32.
    assert (two - one).norm() < 0.005 * one.norm() < (two - exact).norm()


def test_a_program_may_have_several_groups(outcome_of):
    assert [outcome_of(world_size)[1]["second meeting"] for world_size in (2, 4)] == [2, 4]


def test_gradients_averaged_by_hand_are_those_of_ddp(of_two):
    _, report = of_two
    assert report["gradients"] < 1e-15
    assert all(told.startswith("ValueError") and "tok_emb" in told for told in report["no gradient"])


def test_gradients_are_sent_once_a_step(of_two):
    assert of_two[1]["sent"] == 3  # steps, of four micro-batches each


def test_shards_of_two_ranks_have_the_gradient_of_all_their_windows(of_two):
    folder, report = of_two
    windows = []
    for rank, size in ((0, 2), (1, 1)):  # of each three windows
        own = TokenShards(folder / "tokens", LETTERS, 16, 5, rank=rank, world_size=2)
        windows += [own[int(i)] for i in batch_windows(0, len(own), replace(UNION, batch_size=size)).flatten()]
    assert len(windows) == 6
    model = new_model(dtype="float64")
    loss = calc_loss_batch(*(torch.stack(column) for column in zip(*windows)), model)
    loss.backward()
    assert report["shards"] == pytest.approx(loss.item(), rel=1e-12)
    saved = load_checkpoint(folder / "shards")
    for name, p in model.named_parameters():  # after one step AdamW's first moment is a tenth of the gradient
        assert (saved.optimizer_state[name]["exp_avg"] / (1 - UNION.betas[0]) - p.grad).abs().max() < 1e-12, name


def test_dropout_differs_between_ranks_and_repeats(of_two):
    assert of_two[1]["dropout"] == {"repeats": True, "differs": True, "same window": True}


@pytest.mark.parametrize("fsdp", [False, True])
def test_a_stopped_run_goes_on_to_the_same_bits(of_two, fsdp):
    folder, report = of_two
    assert report[f"unbroken {fsdp}"] == ["ok", "ok"]
    told, quiet = report[f"stopped {fsdp}"]
    assert told.startswith("KeyboardInterrupt: stopped after step 5 of 12") and quiet == "SystemExit: 0"
    assert report[f"step {fsdp}"] == 5
    whole, stopped = (load_checkpoint(folder / f"{name} {fsdp}") for name in ("unbroken", "stopped"))
    assert torch.equal(flat(whole.model), flat(stopped.model)) and whole.history == stopped.history
    for name, state in whole.optimizer_state.items():
        assert all(torch.equal(value, stopped.optimizer_state[name][key]) for key, value in state.items())
    assert report[f"scores {fsdp}"] == [round(r["val_bpb"], 5) for r in whole.history if "val_bpb" in r]
    assert len(report[f"scores {fsdp}"]) == 4
    assert report["scores True"] == report["scores False"]  # scored in parts or whole


@pytest.mark.parametrize("fsdp", [False, True])
def test_a_run_goes_on_in_parts_from_one_that_was_whole_and_back(of_two, fsdp):
    folder, _ = of_two
    whole, crossed = (load_checkpoint(folder / f"{name} {fsdp}") for name in ("unbroken", "crossed"))
    assert crossed.step == 12 and crossed.history[:5] == whole.history[:5] and crossed.model.tok_emb.weight.dtype == torch.float64
    assert (flat(whole.model) - flat(crossed.model)).abs().max() < 1e-12
    for name, state in whole.optimizer_state.items():
        assert all((value - crossed.optimizer_state[name][key]).abs().max() < 1e-12 for key, value in state.items())


def test_what_goes_wrong_is_told_once_and_changes_nothing(of_two):
    folder, report = of_two
    words = {"batch of one": ["ValueError", "batch_size", "2", "got 1"], "shards of rank 0": ["ValueError", "rank"],
             "shards of three": ["ValueError", "rank", "3"], "other shape": ["ValueError", "emb_dim"],
             "other rate": ["ValueError", "max_lr"], "other checkpoint": ["ValueError", "one step", "{0: 4, 1: 0}"],
             "other settings": ["ValueError", "max_lr must be the same", "{0: 0.1, 1: 0.2}"],
             "of one process": ["ValueError", "world size 1", "2"], "no folder": ["FileNotFoundError", "none"],
             "infinite": ["FloatingPointError", "step 0"],
             "infinite gradient on rank 1": ["FloatingPointError", "step 0", "gradient norm inf"],
             "callback": ["KeyError", "of the caller"], "full": ["OSError", "File too large", "nothing was written"],
             "elsewhere": ["OSError", "rank 1: FileNotFoundError: no such text"]}
    assert set(report["wrong"]) == set(words) and not report["left"]
    for name, ((told, quiet), same_model, same_file) in report["wrong"].items():
        assert not [word for word in words[name] if word not in told], told
        assert (quiet, same_model, same_file) == ("SystemExit: 0", True, True), name


def test_a_world_of_one_is_train(tmp_path):
    models = [new_model(drop_rate=0.2) for _ in range(2)]
    cfg = replace(RUN, max_steps=6, eval_every=2)
    with process_group() as ranks:
        assert (ranks.rank, ranks.world_size) == (0, 1)
        with together(ranks):
            histories = [train_distributed(models[0], new_dataset(), cfg, ranks, progress=False, checkpoint_path=tmp_path / "x",
                                           fsdp=True)]
    histories.append(train(models[1], new_dataset(), cfg, progress=False))
    assert torch.equal(flat(models[0]), flat(models[1])) and histories[0] == histories[1]


def test_one_process_refuses_the_checkpoint_of_two(of_two):
    folder, _ = of_two
    model = new_model()
    with pytest.raises(ValueError, match="world size 2, this one 1"):
        train_distributed(model, new_dataset(), replace(RUN, max_steps=4, eval_every=2), Ranks(),
                          checkpoint_path=folder / "mine", resume=True, progress=False)
    assert torch.equal(flat(model), flat(new_model()))


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_ring_all_reduce_sends_what_the_formula_says(world_size):
    """The ring played step by step: in N - 1 steps each rank sends one of N chunks on, and adds; in N - 1 more, it copies."""
    n = 24 * world_size
    sent = [0] * world_size
    held = [torch.arange(n) * (rank + 1) for rank in range(world_size)]
    for step in range(2 * (world_size - 1)):
        messages = []
        for rank in range(world_size):
            chunk = (rank - step) % world_size
            messages.append(((rank + 1) % world_size, chunk, held[rank].chunk(world_size)[chunk].clone()))
            sent[rank] += messages[-1][2].numel()
        for to, chunk, numbers in messages:
            place = held[to].chunk(world_size)[chunk]
            place.copy_(place + numbers if step < world_size - 1 else numbers)
    assert all(torch.equal(own, torch.arange(n) * sum(range(1, world_size + 1))) for own in held)
    assert sent == [all_reduce_bytes(n, world_size)] * world_size


# --- the command under torchrun ---------------------------------------------------------------------------------

TOML = """[model]
context_length = 16
emb_dim = {emb_dim}
n_heads = 2
n_layers = 1
drop_rate = 0.1

[data]
tokenizer = "austen"
train = ["novel.txt"]
validation = "novel.txt"
validation_characters = [0, 60]
stride = 8

[training]
max_steps = {steps}
batch_size = 3
eval_every = {every}

[output]
folder = "out"
"""


def run_folder(folder, steps=4, every=2, emb_dim=8, **changes):
    """A folder with a text and a TOML file; the file's path."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "novel.txt").write_text("Anne was tenderness itself, and she had the full worth of it. " * 20)
    text = TOML.format(steps=steps, every=every, emb_dim=emb_dim)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "run.toml").write_text(text)
    return folder / "run.toml"


def processes_of(word):
    """{process id: its arguments} of the living processes that have `word` in their command line, but for this one."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:  # it has just gone
                continue
            if any(str(word) in argument for argument in arguments) and state != "Z":
                found[int(entry.name)] = arguments
    return found


def workers_of(config):
    """{rank: process id} of a run under torchrun."""
    found = {}
    for pid, arguments in processes_of(config).items():
        if "torch.distributed.run" not in arguments:
            try:
                lines = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            told = dict(line.split("=", 1) for line in lines if "=" in line)
            if "RANK" in told:
                found[int(told["RANK"])] = pid
    return found


def kill(*pids):
    for pid in pids:
        with suppress(ProcessLookupError):  # it has just gone
            os.kill(pid, signal.SIGKILL)


def kill_everything(config):
    """Kill all processes of a run, until none is left."""
    def none_left():
        kill(*(pids := processes_of(config)))
        return not pids

    until(none_left)


def until(condition, seconds=120):
    """Wait for it; what it returned."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)
    return value


def start(command):
    """A running process; tests in a shell's background are deaf to SIGINT, and so would be what they start."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", cwd=ROOT,
                            env=environment(), preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def read_until(pipe, pattern, seconds=120):
    """What a pattern matches in the bytes that a process writes; waits for them."""
    text, deadline = b"", time.monotonic() + seconds
    while not (found := re.search(pattern, text, flags=re.M)):
        ready, _, _ = select.select([pipe], [], [], max(0, deadline - time.monotonic()))
        more = os.read(pipe.fileno(), 2**16) if ready else b""
        assert more, f"{pattern} was not written, but {text[-2000:]}"
        text += more
    return found


def end(process, config, seconds=120):
    """(stdout, stderr), what is not read of them yet, at the end of the process; nothing of the run may live on."""
    try:
        out, err = process.communicate(timeout=seconds)
        until(lambda: not processes_of(config), 10)
        return out, err
    finally:
        kill_everything(config)


def checkpoint_of(config):
    return config.parent / "out" / "checkpoint.safetensors"


def saved_steps(config):
    """The step of the run's checkpoint, which must be whole; 0: there is none."""
    return load_checkpoint(checkpoint_of(config)).step if checkpoint_of(config).exists() else 0


def train_command(config, *options, processes=2, timeout=120, fsdp=False):
    return torchrun(processes, *options, "-m", "gptbook", "train", config, f"--timeout={timeout}", *["--fsdp"] * fsdp)


STEPS = 400  # the last of them are seconds away when the first checkpoint is there


@pytest.fixture(scope="module")
def undisturbed_in(tmp_path_factory):
    """(the parameters of a run of two ranks that nothing disturbs, the seconds it took), by whether it is in parts."""
    found = {}

    def by_way(fsdp):
        if fsdp not in found:
            config = run_folder(tmp_path_factory.mktemp("undisturbed"), STEPS)
            began = time.monotonic()
            done = run(train_command(config, fsdp=fsdp))
            assert done.returncode == 0, done.stderr
            assert done.stdout.count("step 2:") == 1 and done.stdout.count("opens it") == 1, "only rank 0 tells"
            found[fsdp] = flat(load_gpt2(config.parent / "out")), time.monotonic() - began
        return found[fsdp]

    return by_way


@pytest.fixture
def undisturbed(undisturbed_in):
    return undisturbed_in(False)


def same_as(undisturbed, config):
    return torch.equal(flat(load_gpt2(config.parent / "out")), undisturbed[0])


def killed_after_a_checkpoint(config):
    """Start a run, and kill it when it has saved something."""
    process = start(train_command(config))
    try:
        until(lambda: saved_steps(config))
    finally:
        kill_everything(config)
    process.communicate()


def test_torchrun_and_the_command_alone_agree(tmp_path):
    """... but for dropout, which differs between ranks, and is left out here."""
    models = []
    for name, command in (("one", [sys.executable, "-m", "gptbook", "train"]), ("two", torchrun(2, "-m", "gptbook", "train")),
                          ("parts", torchrun(2, "-m", "gptbook", "train", "--fsdp"))):
        config = run_folder(tmp_path / name, 20, 10, **{"drop_rate = 0.1": ""})
        done = run([*command, config])
        assert done.returncode == 0, done.stderr
        models.append(flat(load_gpt2(config.parent / "out")))
    assert all((model - models[0]).abs().max() < 1e-6 for model in models)


@pytest.mark.parametrize("fsdp", [False, pytest.param(True, marks=pytest.mark.slow)])  # in parts it takes a minute
def test_a_killed_rank_is_started_again(undisturbed_in, fsdp, tmp_path):
    undisturbed, config, dice = undisturbed_in(fsdp), run_folder(tmp_path, STEPS), random.Random()
    process = start(train_command(config, "--max-restarts=1", fsdp=fsdp))
    try:
        until(lambda: saved_steps(config))
        workers = workers_of(config)
        assert sorted(workers) == [0, 1]
        time.sleep(dice.uniform(0, 0.3))
        kill(workers[dice.randrange(2)])
    finally:
        out, err = end(process, config)
    assert process.returncode == 0 and "exitcode: -9" in err, err
    assert out.count("step 2:") == 1, "it began again from the start"
    assert saved_steps(config) == STEPS and same_as(undisturbed, config)


def test_all_ranks_killed_and_started_by_hand(undisturbed, tmp_path):
    config = run_folder(tmp_path, STEPS)
    killed_after_a_checkpoint(config)
    assert 0 < saved_steps(config) < STEPS
    done = run(train_command(config))
    assert done.returncode == 0, done.stderr
    assert "step 2:" not in done.stdout, "it began again from the start"
    assert same_as(undisturbed, config)


def kill_while_saving(config, dice):
    """Kill rank 0 or all ranks up to 40 ms after the file of a checkpoint appears; (whether one was killed, left unfinished)."""
    process = start(train_command(config))
    draft, first = checkpoint_of(config).with_name("checkpoint.safetensors.tmp"), saved_steps(config)
    draft.unlink(missing_ok=True)
    try:
        until(lambda: len(workers_of(config)) == 2 or process.poll() is not None)
        workers = workers_of(config)
        until(lambda: draft.exists() or process.poll() is not None)
        time.sleep(dice.uniform(0, 0.04))
        for rank in [0] if dice.random() < 0.5 else [0, 1]:
            if rank in workers:
                kill(workers[rank])
    finally:
        _, err = end(process, config)
    assert first <= saved_steps(config)
    return "exitcode: -9" in err, draft.exists()


def killed_while_saving(tmp_path, times):
    """A run of which a rank is killed during the writing of a checkpoint so many times, beside one that nothing disturbs."""
    steps, dice, kills, unfinished = 3 * times + 8, random.Random(), 0, 0
    whole, config = (run_folder(tmp_path / name, steps, every=1, emb_dim=192) for name in ("whole", "killed"))
    assert run(train_command(whole)).returncode == 0
    while kills < times:
        killed, left_a_draft = kill_while_saving(config, dice)
        kills, unfinished = kills + killed, unfinished + left_a_draft
        assert saved_steps(config) < steps, f"it ended after {kills} kills: give it more to do"
    steps_saved = saved_steps(config)
    assert run(train_command(config)).returncode == 0
    models = [flat(load_gpt2(path.parent / "out")) for path in (whole, config)]
    assert torch.equal(*models)
    assert not list(config.parent.glob("**/*.tmp"))
    return unfinished, steps_saved


def test_killed_while_saving_it_is_the_same_run(tmp_path):
    killed_while_saving(tmp_path, 2)


@pytest.mark.slow
def test_killed_while_saving_fifty_times(tmp_path):
    unfinished, steps = killed_while_saving(tmp_path, 50)
    print(f"\n50 kills during a save: {unfinished} left an unfinished file beside the whole one; {steps} steps saved by then; "
          "same bits")
    assert unfinished >= 10, "too few kills hit the writing to prove anything"


@pytest.mark.slow
def test_killed_at_fifty_random_moments(undisturbed, tmp_path):
    """One rank, at any moment of the run; torchrun starts all again, or where it has no restart left, we do."""
    config, dice, kills, whole = run_folder(tmp_path, STEPS), random.Random(), 0, 0
    while kills < 50:
        process = start(train_command(config, "--max-restarts=1"))
        try:
            for _ in range(2):
                time.sleep(dice.uniform(0.3, 1.1) * undisturbed[1])
                workers = workers_of(config)
                if workers and process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.kill(workers[dice.choice(sorted(workers))], signal.SIGKILL)
                        kills += 1
        finally:
            end(process, config)
        if process.returncode == 0:
            assert same_as(undisturbed, config)
            whole += 1
            config = run_folder(tmp_path / str(kills), STEPS)
    assert run(train_command(config)).returncode == 0 and same_as(undisturbed, config)
    print(f"\n{kills} kills of one rank at random moments, {whole + 1} runs ended: all with the same bits")


def test_ctrl_c_saves_and_stops_each_time(tmp_path):
    config, before = run_folder(tmp_path, 100_000, every=100_000), 0
    for _ in range(2):
        process = start(train_command(config))
        try:
            # A step is done together: from the second on both ranks hold a Ctrl-C back until its end.
            read_until(process.stdout, rb" (?!%d/)[1-9]\d*/100000 " % before)
            process.send_signal(signal.SIGINT)
        finally:
            _, err = end(process, config)
        told = re.findall(r"^gptbook: .*$", err, flags=re.M)
        assert process.returncode != 0 and len(told) == 1, err
        step = int(re.match(r"gptbook: stopped after step (\d+) of 100000; saved to", told[0])[1])
        assert before < step == saved_steps(config) < 100_000  # the second went on from the first
        before = step


def test_without_torchrun_the_ranks_save_and_stop(tmp_path):
    config = run_folder(tmp_path, 100_000, every=100_000)
    process = start(train_command(config))
    try:
        read_until(process.stdout, rb" [1-9]\d*/100000 ")
        kill(process.pid)
        until(lambda: not processes_of(config), 60)
    finally:
        _, err = end(process, config)
    told = re.findall(r"^gptbook: torchrun is gone: stopped after step (\d+) of 100000; saved to .*$", err, flags=re.M)
    assert told == [str(saved_steps(config))], err


def test_a_hung_rank_is_named(tmp_path):
    jobs = []
    try:
        for hung in (0, 1):  # both at once: there is more to wait for than to compute
            config = run_folder(tmp_path / str(hung), 100_000)
            jobs.append((hung, config, start(train_command(config, processes=3, timeout=10))))
        for hung, config, _ in jobs:
            until(lambda: saved_steps(config))
        stopped = [workers_of(config)[hung] for hung, config, _ in jobs]
        began = time.monotonic()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        for hung, _, process in jobs:
            told = read_until(process.stderr, rb"^gptbook: .*\n")
            assert 19 < time.monotonic() - began < 90  # the limit, and ten seconds to answer
            assert f"rank {hung} of 3 did not answer within 10 s" in told[0].decode() and told.string.count(b"gptbook:") == 1
        for pid in stopped:  # or torchrun would wait half a minute before it kills a process that can't answer
            os.kill(pid, signal.SIGCONT)
        for _, config, process in jobs:
            _, err = end(process, config)
            assert process.returncode != 0 and "gptbook:" not in err and saved_steps(config)
    finally:
        for _, config, _ in jobs:
            kill_everything(config)


@pytest.mark.slow
def test_a_rank_that_hangs_for_good_is_ended_by_torchrun(tmp_path):
    config = run_folder(tmp_path, 100_000)
    process = start(train_command(config, processes=3, timeout=10))
    try:
        until(lambda: saved_steps(config))
        os.kill(workers_of(config)[1], signal.SIGSTOP)
    finally:
        _, err = end(process, config)
    told = re.findall(r"^gptbook: .*$", err, flags=re.M)
    assert process.returncode != 0 and len(told) == 1 and "rank 1 of 3 did not answer within 10 s" in told[0], err


def test_a_full_disk_ends_the_run_and_keeps_the_checkpoint(tmp_path):
    config = run_folder(tmp_path, 100_000, every=1)
    killed_after_a_checkpoint(config)
    before, draft = checkpoint_of(config).read_bytes(), checkpoint_of(config).with_name("checkpoint.safetensors.tmp")
    half = str(len(before) // 2048)  # in blocks of 1,024 bytes
    for words, command in (("File too large", ["bash", "-c", 'ulimit -f "$1"; shift; exec "$@"', "-", half]),
                           ("No space left on device", [])):
        if not command:
            draft.symlink_to("/dev/full")
        process = start([*command, *train_command(config)])
        _, err = end(process, config)
        told = re.findall(r"^gptbook: .*$", err, flags=re.M)
        assert process.returncode != 0 and len(told) == 1 and words in told[0] and "nothing was written" in told[0], err
        assert checkpoint_of(config).read_bytes() == before and not list(tmp_path.glob("**/*.tmp"))


def told_at_the_end(command, word, pattern=rb"^gptbook: .*\n"):
    """(the first line that tells of the error, all else on stderr) of a run that must fail, and end as soon as it has told."""
    process = start(command)
    try:
        told = read_until(process.stderr, pattern)
        until(lambda: not processes_of(word), 10)
    finally:
        _, err = end(process, word)
    assert process.returncode != 0
    before, after = (part.decode(errors="replace") for part in (told.string[:told.start()], told.string[told.end():]))
    return told[0].decode(), before + after + err


def test_under_torchrun_an_error_is_told_once_and_ends_all(tmp_path):
    config = run_folder(tmp_path, **{"emb_dim =": "emb_dmi ="})
    told, err = told_at_the_end(train_command(config, timeout=600), config)
    assert "run.toml, line 3" in told and "unknown" in told and "emb_dmi" in told
    assert "gptbook: " not in err and not list(tmp_path.glob("**/*.safetensors"))


ALONE = """
    import signal, sys
    import torch
    from test_13_distributed import RUN, new_dataset, new_model
    from dataclasses import replace
    from gptbook.distributed import process_group, train_distributed

    def on_step(record):
        raise KeyError("of the caller")

    model, options = new_model(), {"on_step": on_step}
    if sys.argv[1] != "callback":
        model.final_norm.scale.data[0] = torch.inf
        options = {"fsdp": sys.argv[1] == "parts"}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which torchrun sends when one has ended: let the other end by itself
    with process_group(600) as ranks:
        train_distributed(model, new_dataset(), replace(RUN, max_steps=1000, eval_every=100), ranks, progress=False, **options)
"""


@pytest.mark.parametrize("what, error", [("callback", "KeyError: 'of the caller'"), ("infinite", "FloatingPointError: step 0"),
                                         ("parts", "FloatingPointError: step 0")])
def test_an_error_between_the_ranks_meetings_ends_all_at_once(what, error, tmp_path):
    script = tmp_path / "alone.py"
    script.write_text(textwrap.dedent(ALONE))
    kind = error.split(":")[0]
    told, err = told_at_the_end(torchrun(2, script, what), script, rb"^(\w*: |\[rank\d\]: )*%s: .*\n" % kind.encode())
    assert error in told and "did not answer" not in err and "is gone" not in err and kind + ": " not in err


# Rank 0 never comes to the meeting; the others begin to wait together.
ABSENT = """
    import os, sys, time
    from pathlib import Path
    from gptbook import cli, distributed

    distributed._LEAST_SECONDS, rank = 8.0, int(os.environ["RANK"])
    Path(sys.argv[1]).with_name(f"has begun {rank}").touch()
    while rank == 0 or len(list(Path(sys.argv[1]).parent.glob("has begun *"))) < 3:
        time.sleep(0.01)
    sys.exit(cli.main(["train", sys.argv[1], "--timeout=1"]))
"""


def test_a_rank_that_does_not_come_is_named(tmp_path):
    config = run_folder(tmp_path)
    (tmp_path / "absent.py").write_text(textwrap.dedent(ABSENT))
    told, err = told_at_the_end(torchrun(3, tmp_path / "absent.py", config), config)
    assert "rank 0 of 3 did not come within 8 s" in told and "gptbook: " not in err


SLOW = """
    import time
    import torch
    import torch.distributed as dist
    from gptbook.distributed import process_group

    with process_group(8) as ranks:
        dist.barrier()
        time.sleep(12 * ranks.rank)  # comes back while the other looks who is there
        dist.all_reduce(torch.zeros(1))
"""


def test_a_slow_rank_is_named(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(textwrap.dedent(SLOW))
    told, err = told_at_the_end(torchrun(2, script), script, rb"^(\w*: |\[rank\d\]: )*TimeoutError: .*\n")
    assert "rank 1 of 2 kept the others waiting for longer than 8 s" in told and "[rank1]: " not in told + err


# Each command line is a meeting of its own.
REFUSED = """
    import io, json, os, sys
    from contextlib import redirect_stderr
    from pathlib import Path
    from gptbook import cli

    for n, arguments in enumerate(json.loads(Path(sys.argv[1]).read_text())):
        with redirect_stderr(io.StringIO()) as err:
            try:
                status = cli.main(arguments)
            except SystemExit as leaves:
                status = leaves.code
        Path(sys.argv[1]).with_name(f"told {n} {os.environ['RANK']}").write_text(json.dumps([status, err.getvalue()]))
"""


def test_whatever_is_refused_is_told_by_one_rank(tmp_path):
    runs = {"small": run_folder(tmp_path / "small", **{"batch_size = 3": "batch_size = 1"}),
            "none": run_folder(tmp_path / "none", **{'train = ["novel.txt"]': 'tokens = "none"'}),
            "few": prepared(tmp_path / "few", 100_000)}
    good = run_folder(tmp_path / "good")
    cases = [(["train", runs["small"]], 1, ["batch_size", "ranks, 2", "got 1"]),
             (["train", runs["none"]], 1, ["none", "gptbook prepare", "no such folder"]),
             (["train", runs["few"]], 1, ["number of shards", "1, got 2"]),
             (["train", good, "--timeot=3"], 2, ["--timeot"]),
             (["train", good, "--timeout=0"], 1, ["timeout_seconds must be above 0"]),
             (["train", good, "--timeout=1e300"], 1, ["timeout_seconds", "1e+300"]),
             (["prepare", good.with_name("novel.txt"), "--out", tmp_path / "tokens"], 1, ["one process", "without torchrun"])]
    (tmp_path / "cases.json").write_text(json.dumps([list(map(str, arguments)) for arguments, _, _ in cases]))
    (tmp_path / "refused.py").write_text(textwrap.dedent(REFUSED))
    done = run(torchrun(2, tmp_path / "refused.py", tmp_path / "cases.json"))
    assert done.returncode == 0, done.stderr
    for n, (arguments, wanted, words) in enumerate(cases):
        (status, told), (other_status, other_told) = (json.loads((tmp_path / f"told {n} {rank}").read_text()) for rank in (0, 1))
        assert status == wanted and not [word for word in words if word not in told], told
        assert told.count("gptbook: ") == 1 and other_told == "" and other_status in (0, wanted), (arguments, other_told)
    assert not list(tmp_path.glob("**/*.safetensors")) and not list(tmp_path.glob("*/out/*"))
    assert not (tmp_path / "tokens").exists()


def prepared(folder, shard_tokens):
    """A run whose tokens are shards; its file."""
    config = run_folder(folder, 6, 2, **{'train = ["novel.txt"]': 'tokens = "tokens"'})
    prepare_shards([folder / "novel.txt"], folder / "tokens", austen_tokenizer(), shard_tokens=shard_tokens)
    return config


def test_ranks_read_their_shards(tmp_path):
    config = prepared(tmp_path, 100)
    assert run(train_command(config)).returncode == 0 and saved_steps(config) == 6
    about = json.loads((tmp_path / "out" / "training.json").read_text())
    assert about["training_tokens"] == len(austen_tokenizer().encode((tmp_path / "novel.txt").read_text()))
    cfg = TrainConfig(max_steps=1, batch_size=3, accumulation_steps=2)
    for rank, size in ((0, 2), (1, 1)):  # of each three windows
        own = TokenShards(tmp_path / "tokens", austen_tokenizer(), 16, 8, rank=rank, world_size=2)
        rows = [_own_windows(step, own, cfg, Ranks(rank, 2)) for step in range(len(own))]
        assert all(row.shape == (2, size) for row in rows)
        read = np.concatenate([row.flatten() for row in rows])
        assert sorted(read[:len(own)].tolist()) == list(range(len(own)))


def test_a_port_in_use_ends_torchrun(tmp_path):
    config = run_folder(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(torchrun(2, "-m", "gptbook", "train", config, port=port))
        _, err = end(process, config)
    assert process.returncode != 0 and str(port) in err and "EADDRINUSE" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["novel.txt", "run.toml"]


def test_ranks_that_do_not_meet_are_told(monkeypatch):
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ValueError, match="MASTER_PORT"), process_group():
        pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        with pytest.raises(OSError, match=f"rank 0 did not meet the others at 127.0.0.1:{port}"), process_group(3):
            pass
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ValueError, match='graphics cards, 1, got 2; CUDA_VISIBLE_DEVICES="" .* CPU'), process_group():
        pass


@pytest.mark.parametrize("changes, line, words", [
    ({"emb_dim =": "emb_dmi ="}, 3, ["emb_dmi"]),
    ({"n_heads = 2": 'n_heads = "2"'}, 4, ["n_heads", "'2'"]),
    ({"batch_size = 3": "batch_size = 0"}, 17, ["batch_size", "0"]),
    ({"eval_every = 2": "eval_every = 2\nmax_rl = 1"}, 19, ["max_rl"]),
    ({"stride = 8\n": ""}, 8, ["missing", "stride"]),
    ({'"out"': "7"}, 21, ["folder", "7"]),
    ({'tokenizer = "austen"': 'tokenizer = "bert"'}, 9, ["tokenizer", "bert"]),
    ({"[0, 60]": "60"}, 12, ["validation_characters", "60"]),
    ({"[0, 60]": "[]"}, 12, ["validation_characters", "two"]),
    ({"[0, 60]": "[false, true]"}, 12, ["validation_characters", "True"]),
    ({"stride = 8": 'stride = "8"'}, 13, ["stride", "'8'"]),
    ({"stride = 8": "stride = 0"}, 13, ["stride", "0"]),
    ({"eval_every = 2": "eval_every = 2\nwarmup_steps = 9"}, 19, ["warmup_steps", "max_steps 4", "9"]),
    ({'folder = "out"': 'folder = "out"\nfloat16 = "yes"'}, 22, ["float16", "yes"]),
])
def test_an_error_in_the_toml_file_names_its_line(changes, line, words, tmp_path):
    config = run_folder(tmp_path, **changes)
    with pytest.raises(ValueError) as raised:
        cli.read_run(config)
    assert str(raised.value).startswith(f"{config}, line {line}: "), raised.value
    assert not [word for word in words if word not in str(raised.value)], raised.value


# --- the benchmark ----------------------------------------------------------------------------------------------


def test_the_benchmark_counts_what_the_formula_says(tmp_path):
    out = tmp_path / "scaling.json"
    done = run([sys.executable, "benchmarks/scaling.py", "--size", "tiny", "--batch", "4", "--rounds", "1", "--steps", "2",
                "--threads", "2", "--out", out])
    assert done.returncode == 0, done.stderr
    stored = json.loads((ROOT / "benchmarks" / "results" / "scaling.json").read_text())
    for record in (json.loads(out.read_text()), stored):
        sent = record["bytes_per_step"]
        assert sent["formula"] == all_reduce_bytes(4 * record["parameters"], 2) == 4 * record["parameters"]
        # More may be counted, since others use the loopback too; outside Linux nothing is.
        assert sent["counted"] is None or sent["counted"] >= sent["formula"]
        assert set(record["seconds_per_step"]) == {"one", "ddp", "after", "silent"}
        assert set(record["tokens_per_s"]) == {"one", "ddp"}
    assert stored["bytes_per_step"]["counted"] < 1.1 * stored["bytes_per_step"]["formula"]


@pytest.mark.parametrize("arguments, words", [
    (["--processes", "1"], ["--processes", "2", "got 1"]), (["--processes", "9"], ["--batch", "9", "got 8"]),
    (["--processes", "3"], ["--processes", "graphics cards, 2", 'CUDA_VISIBLE_DEVICES=""'])])
def test_the_benchmark_checks_its_arguments_before_it_starts(arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scaling.py", *arguments])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(ROOT / "benchmarks" / "scaling.py"), run_name="__main__")
    err = capsys.readouterr().err
    assert not [word for word in words if word not in err], err
