"""Chapter 7: loss, bits a byte, schedule, optimiser, data order, checkpoints, and runs that stop and go on."""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch.nn import functional as F

from gptbook.dataset_loader import END_OF_TEXT, GPTDatasetV1, austen_tokenizer
from gptbook.gpt import GPTModel
from gptbook.train import (
    TrainConfig, batch_windows, bits_per_byte, calc_loss_batch, learning_rate, load_checkpoint, make_optimizer,
    save_checkpoint, train, train_step)

CFG = {"vocab_size": 4096, "context_length": 8, "emb_dim": 8, "n_heads": 2, "n_layers": 1, "drop_rate": 0.2}
TEXT = "Anne was tenderness itself, and she had the full worth of it in Captain Wentworth's affection. " * 6
RUN = TrainConfig(max_steps=9, batch_size=2, accumulation_steps=2, warmup_steps=3, max_lr=0.01, eval_every=1, seed=7)
TOKENIZER = austen_tokenizer()
posix_only = pytest.mark.skipif(os.name != "posix", reason="forks processes, which only POSIX systems do")


def new_model(seed=0, **changed):
    torch.manual_seed(seed)
    return GPTModel({**CFG, **changed})


@pytest.fixture(scope="module")
def dataset():
    """Seventeen windows or so, which no batch of RUN divides: batches span epochs."""
    data = GPTDatasetV1(TEXT, TOKENIZER, 8, 8)
    assert len(data) % 4
    return data


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def flat(model):
    return torch.cat([p.detach().flatten().double() for p in model.parameters()])


# --- loss and bits a byte ---------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(B=st.integers(1, 4), T=st.integers(1, 8), seed=st.integers(0, 1000), dropped=st.booleans())
def test_loss_is_the_mean_surprise(B, T, seed, dropped):
    model = new_model().double().eval()
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randint(4096, (B, T), generator=g), torch.randint(4096, (B, T), generator=g)
    if dropped and B * T > 1:
        y[0, 0] = -100
    p = model(x).softmax(-1)
    surprises = [-math.log(p[b, t, y[b, t]].item()) for b in range(B) for t in range(T) if y[b, t] != -100]
    assert calc_loss_batch(x, y, model).item() == pytest.approx(sum(surprises) / len(surprises), rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(text=st.text(min_size=1, max_size=40).filter(
    lambda s: s.encode("utf-8", "ignore").decode() == s and END_OF_TEXT not in s),
       stride=st.none() | st.integers(1, 8), batch_size=st.integers(1, 3), mark=st.booleans())
def test_bits_per_byte_token_by_token(text, stride, batch_size, mark):
    model = new_model(1).double()
    text = text + END_OF_TEXT + "Anne" if mark else text
    ids = [TOKENIZER.eot_token, *TOKENIZER.encode(text, allowed_special={END_OF_TEXT})]
    got = bits_per_byte(model, text, TOKENIZER, stride=stride, batch_size=batch_size)
    assert model.training
    model.eval()
    bits, start = 0.0, 0
    with torch.inference_mode():
        for i in range(len(ids) - 1):
            if i == start + 8:
                start += stride or 4
            bits -= model(torch.tensor([ids[start:i + 1]]))[0, -1].log_softmax(-1)[ids[i + 1]].item() / math.log(2)
    assert got == pytest.approx(bits / len(text.replace(END_OF_TEXT, "").encode()), rel=1e-11)


def test_bits_per_byte_of_16_bits_is_summed_in_32():
    model = new_model().bfloat16()
    ids = torch.tensor([TOKENIZER.encode(END_OF_TEXT + TEXT[:60], allowed_special="all")])
    with torch.inference_mode():
        scores = model.eval()(ids[:, :CFG["context_length"]])[0].double()  # as few tokens as fit in one window
    text = TOKENIZER.decode(ids[0, 1:len(scores) + 1].tolist())
    nats = F.cross_entropy(scores, ids[0, 1:len(scores) + 1], reduction="sum").item()
    assert bits_per_byte(model, text, TOKENIZER) == pytest.approx(nats / math.log(2) / len(text.encode()), rel=1e-6)


def test_bits_per_byte_of_ignorance_and_of_certainty():
    model = new_model().double()
    for p in model.parameters():
        p.data.zero_()
    n = len(TOKENIZER.encode(TEXT))
    assert bits_per_byte(model, TEXT, TOKENIZER) == pytest.approx(12 * n / len(TEXT.encode()), rel=1e-12)
    # a final norm that always points at one token makes that token certain
    word = TOKENIZER.encode(" the")
    model.tok_emb.weight.data[word[0]] = 100.0
    model.final_norm.shift.data.fill_(1.0)
    assert len(word) == 1 and bits_per_byte(model, " the" * 30, TOKENIZER) < 1e-12


# --- settings, schedule, optimiser ------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(max_steps=st.integers(1, 100), share=st.floats(0, 1), min_share=st.floats(0, 1))
def test_schedule(max_steps, share, min_share):
    warmup = int(share * max_steps)
    cfg = TrainConfig(max_steps=max_steps, warmup_steps=warmup, max_lr=0.01, min_lr=0.01 * min_share)
    rates = [learning_rate(step, cfg) for step in range(max_steps + 3)]
    assert min(rates[:max_steps]) > 0 and max(rates) == pytest.approx(cfg.max_lr, rel=1e-12)
    assert rates[:warmup] == sorted(rates[:warmup]) and rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[max_steps:] == pytest.approx([cfg.min_lr] * 3, abs=1e-15)
    for step in range(warmup):
        assert rates[step] == pytest.approx(cfg.max_lr * (step + 1) / warmup, rel=1e-12)
    if warmup < max_steps:  # PyTorch's own cosine
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=cfg.max_lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max_steps - warmup, cfg.min_lr)
        for step in range(warmup, max_steps):
            assert rates[step] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
            optimizer.step()
            cosine.step()


def test_config_survives_json():
    assert TrainConfig(**json.loads(json.dumps(asdict(RUN)))) == RUN


def test_optimizer_groups_hold_every_parameter_once():
    model = new_model(qkv_bias=True)
    decay, plain = make_optimizer(model, RUN).param_groups
    assert sorted(map(id, decay["params"] + plain["params"])) == sorted(map(id, model.parameters()))
    assert decay["weight_decay"] == RUN.weight_decay and plain["weight_decay"] == 0
    names = {id(p): name for name, p in model.named_parameters()}
    assert all(names[id(p)].endswith(("bias", "scale", "shift")) for p in plain["params"])
    assert all(names[id(p)].endswith("weight") for p in decay["params"])


def test_train_step_is_clipped_adamw(dataset):
    """Three steps against AdamW written out, in float64."""
    model, twin = (new_model(drop_rate=0.0).double() for _ in range(2))
    cfg = TrainConfig(max_steps=5, batch_size=2, warmup_steps=2, max_lr=0.01, grad_clip=0.5, weight_decay=0.3,
                      betas=(0.8, 0.97))
    optimizer = make_optimizer(model, cfg)
    m, v = [torch.zeros_like(p) for p in twin.parameters()], [torch.zeros_like(p) for p in twin.parameters()]
    for step in range(3):
        x, y = (torch.stack(c) for c in zip(*[dataset[i] for i in (step, step + 5)]))
        loss, norm = train_step(model, optimizer, [(x, y)], cfg, step)
        twin.zero_grad()
        expected = F.cross_entropy(twin(x).flatten(0, 1), y.flatten())
        expected.backward()
        length = math.sqrt(sum(p.grad.square().sum().item() for p in twin.parameters()))
        assert loss == pytest.approx(expected.item(), rel=1e-12) and norm == pytest.approx(length, rel=1e-9)
        assert length > cfg.grad_clip  # or nothing would be clipped
        rate = learning_rate(step, cfg)
        for i, p in enumerate(twin.parameters()):
            g = p.grad * cfg.grad_clip / (length + 1e-6)  # PyTorch's guard against a norm of 0
            m[i] = 0.8 * m[i] + 0.2 * g
            v[i] = 0.97 * v[i] + 0.03 * g * g
            p.data -= rate * (0.3 if p.dim() > 1 else 0) * p.data
            p.data -= rate * (m[i] / (1 - 0.8**(step + 1))) / ((v[i] / (1 - 0.97**(step + 1))).sqrt() + 1e-8)
    assert (flat(model) - flat(twin)).abs().max() < 1e-10


@pytest.mark.parametrize("pieces", [2, 4])
def test_accumulation_is_the_big_batch(dataset, pieces):
    cfg = TrainConfig(max_steps=3, batch_size=8, max_lr=0.01)
    x, y = (torch.stack(c) for c in zip(*[dataset[i] for i in range(8)]))
    whole, parts = (new_model(drop_rate=0.0).double() for _ in range(2))
    losses = []
    for model, n in ((whole, 1), (parts, pieces)):
        optimizer = make_optimizer(model, cfg)
        losses.append([train_step(model, optimizer, [*zip(x.chunk(n), y.chunk(n))], cfg, s)[0] for s in range(3)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    grads = [torch.cat([p.grad.flatten() for p in model.parameters()]) for model in (whole, parts)]
    assert (grads[0] - grads[1]).abs().max() < 1e-12


@pytest.mark.parametrize("what, words", [("weight", "step 0: loss nan"), ("gradient", r"step 0: loss \d.*gradient norm nan")])
def test_a_step_that_is_not_finite_changes_nothing(what, words):
    model = new_model()
    cfg = TrainConfig(max_steps=1)
    optimizer = make_optimizer(model, cfg)
    if what == "weight":
        model.final_norm.scale.data[0] = torch.inf
    else:  # of which the loss knows nothing
        model.final_norm.scale.register_hook(lambda g: g * torch.nan)
    before = flat(model)
    with pytest.raises(FloatingPointError, match=words):
        train_step(model, optimizer, [(torch.ones(1, 4, dtype=torch.int64),) * 2], cfg, 0)
    assert torch.equal(flat(model), before) and not optimizer.state


def test_bf16_trains_float32_weights(dataset):
    losses = []
    for bf16 in (False, True):
        model = new_model(drop_rate=0.0)
        cfg = TrainConfig(max_steps=4, batch_size=2, max_lr=0.01, bf16=bf16)
        losses.append([record["loss"] for record in train(model, dataset, cfg, progress=False)])
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)


# --- the order of the data --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), A=st.integers(1, 3), B=st.integers(1, 5), seed=st.integers(0, 5))
def test_every_epoch_reads_each_window_once(n, A, B, seed):
    cfg = TrainConfig(max_steps=1, batch_size=B, accumulation_steps=A, seed=seed)
    steps = -(-2 * n // (A * B))
    rows = [batch_windows(step, n, cfg) for step in range(steps)]
    assert all(row.shape == (A, B) for row in rows)
    line = np.concatenate([row.flatten() for row in rows])
    assert sorted(line[:n]) == sorted(line[n:2 * n]) == list(range(n))
    assert (batch_windows(steps - 1, n, cfg) == rows[-1]).all()


def test_seeds_and_epochs_differ():
    orders = {tuple(batch_windows(step, 30, TrainConfig(max_steps=1, batch_size=30, seed=seed))[0])
              for step in range(4) for seed in range(4)}
    assert len(orders) == 16


def test_dropout_differs_between_steps_and_seeds(dataset):
    """With no learning between them, the same batch gets other losses: other activations were dropped."""
    x, y = (c[None] for c in dataset[0])
    losses = set()
    for seed, step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        model = new_model()
        cfg = TrainConfig(max_steps=2, seed=seed)
        losses.add(train_step(model, make_optimizer(model, cfg), [(x, y)], cfg, step)[0])
    assert len(losses) == 4


# --- checkpoints ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, loaded", [(torch.float32, torch.float32), (torch.float16, torch.float32),
                                           (torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_what_is_saved_is_loaded(tmp_path, dtype, loaded):
    model = new_model().to(dtype)
    history = [{"step": 1, "loss": 0.1 + 0.2}]
    save_checkpoint(tmp_path / "x", model, step=3, train_config=RUN, history=history)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    checkpoint = load_checkpoint(str(tmp_path / "x"))
    assert torch.equal(torch.rand(1), expected)  # the caller's generator did not move
    assert (checkpoint.step, checkpoint.train_config, checkpoint.history) == (3, RUN, history)
    assert not checkpoint.model.training and checkpoint.model.cfg == model.cfg and not checkpoint.optimizer_state
    assert all(p.dtype == loaded for p in checkpoint.model.parameters())
    assert torch.equal(flat(checkpoint.model), flat(model))
    assert os.listdir(tmp_path) == ["x"]


def test_the_file_is_safetensors_with_our_header(tmp_path, dataset):
    model = new_model()
    train(model, dataset, RUN, checkpoint_path=tmp_path / "x", progress=False)
    data = (tmp_path / "x").read_bytes()
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header.pop("__metadata__")["gptbook"])
    assert set(about) == {"model_config", "attention", "step", "train_config", "history"} and about["step"] == 9
    names = {name for name, _ in model.named_parameters()}
    assert {n for n in header if n.startswith("model.")} == {f"model.{n}" for n in names}
    assert {n for n in header if not n.startswith("model.")} == {
        f"optimizer.{n}.{key}" for n in names for key in ("exp_avg", "exp_avg_sq", "step")}


def test_the_shipped_model_opens():
    path = files("gptbook") / "data" / "austen-small.safetensors"
    checkpoint = load_checkpoint(path)
    assert checkpoint.model.cfg.vocab_size == TOKENIZER.n_vocab and checkpoint.step > 0
    assert bits_per_byte(checkpoint.model, TEXT[:95], TOKENIZER) < 3


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "x"
    save_checkpoint(path, new_model(vocab_size=12), step=1)
    return path.read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_or_scrambled_file_is_refused_in_words(saved, tmp_path, data):
    path = tmp_path / "x"
    length = 8 + int.from_bytes(saved[:8], "little")
    if data.draw(st.booleans()):
        path.write_bytes(saved[:data.draw(st.integers(0, len(saved) - 1))])
        with pytest.raises(ValueError, match="truncated"):
            load_checkpoint(path)
    else:  # any byte of the header: still readable, or a ValueError
        at = data.draw(st.integers(0, length - 1))
        path.write_bytes(saved[:at] + bytes([data.draw(st.integers(0, 255))]) + saved[at + 1:])
        try:
            load_checkpoint(path)
        except ValueError as error:
            assert str(path) in str(error)


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path, model = tmp_path / "x", new_model()
    save_checkpoint(path, model, step=1)
    before = path.read_bytes()
    for name, error in (("fsync", OSError(28, "No space left on device")), ("replace", KeyboardInterrupt())):
        def fail(*args, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(type(error)):
                save_checkpoint(path, model, step=2)
        assert path.read_bytes() == before and os.listdir(tmp_path) == ["x"]


# --- the loop ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unbroken(dataset):
    model = new_model()
    return model, train(model, dataset, RUN, progress=False)


def test_train_learns_by_heart():
    data = GPTDatasetV1(TEXT[:200], TOKENIZER, 8, 8)
    model = new_model(emb_dim=32, drop_rate=0.0)
    history = train(model, data, TrainConfig(max_steps=120, batch_size=4, max_lr=0.02, warmup_steps=5), progress=False)
    assert history[0]["loss"] == pytest.approx(math.log(4096), abs=0.2) and history[-1]["loss"] < 0.1


def test_nothing_around_the_steps_changes_the_run(dataset, unbroken, tmp_path, capsys):
    """Evaluations, checkpoints, callbacks that draw numbers, the bar and the caller's generator have no influence."""
    model = new_model().eval()
    torch.manual_seed(99)
    state, seen = torch.get_rng_state(), []

    def on_step(record):
        seen.append(record["step"])
        torch.rand(3)
        model.eval()

    history = train(model, dataset, replace(RUN, eval_every=4), val_text=TEXT[:50], tokenizer=TOKENIZER,
                    checkpoint_path=tmp_path / "x", on_step=on_step)
    assert same(model, unbroken[0]) and not model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert seen == [record["step"] for record in history] == list(range(1, 10))
    assert [r["step"] for r in history if "val_bpb" in r] == [4, 8, 9]
    assert history[-1]["val_bpb"] == bits_per_byte(model, TEXT[:50], TOKENIZER)
    assert [r["loss"] for r in history] == [r["loss"] for r in unbroken[1]]
    assert load_checkpoint(tmp_path / "x").step == 9
    captured = capsys.readouterr()
    assert "9/9" in captured.out and captured.err == ""


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", range(1, 10))
def test_resumed_at_any_step_it_is_the_same_run(dataset, unbroken, tmp_path, stop):
    def on_step(record):
        if record["step"] == stop:
            raise Stop

    path = tmp_path / "x"
    with pytest.raises(Stop):
        train(new_model(), dataset, RUN, checkpoint_path=path, on_step=on_step, progress=False)
    assert path.exists() == (stop > 1)
    model = new_model(seed=0 if stop == 1 else 123)  # without a file the run starts anew, else from the file's weights
    history = train(model, dataset, RUN, checkpoint_path=path, resume=True, progress=False)
    assert same(model, unbroken[0]) and history == unbroken[1]


def test_resuming_a_finished_run_only_loads(dataset, unbroken, tmp_path):
    train(new_model(), dataset, RUN, checkpoint_path=tmp_path / "x", progress=False)
    model = new_model(123)
    assert train(model, dataset, RUN, checkpoint_path=tmp_path / "x", resume=True, progress=False) == unbroken[1]
    assert same(model, unbroken[0])


def test_a_refused_resume_changes_nothing(dataset, tmp_path):
    save_checkpoint(tmp_path / "x", new_model(), step=1, train_config=RUN)
    model, before = new_model(123), flat(new_model(123))
    with pytest.raises(ValueError, match="no optimiser state"):
        train(model, dataset, RUN, checkpoint_path=tmp_path / "x", resume=True, progress=False)
    assert torch.equal(flat(model), before)


def interrupt_at(model, step, times):
    """Press Ctrl-C `times` times in the forward pass of the first micro-batch of `step`; 0 is the first."""
    calls = []

    def hook(*_):
        calls.append(1)
        if len(calls) == step * RUN.accumulation_steps + 1:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    model.final_norm.register_forward_hook(hook)


@pytest.fixture
def ctrl_c():
    """Python's own handler of Ctrl-C, which a process started in the background may lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it(dataset, unbroken, ctrl_c):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    model = new_model()
    interrupt_at(model, 4, times=2)
    train(model, dataset, RUN, progress=False)
    assert same(model, unbroken[0]) and signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_ctrl_c_waits_for_the_step_and_saves(ctrl_c, dataset, unbroken, tmp_path):
    cfg, path, model = replace(RUN, eval_every=100), tmp_path / "x", new_model()
    interrupt_at(model, 4, times=1)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="after step 5 of 9.*resume=True"):
        train(model, dataset, cfg, checkpoint_path=path, progress=False)
    assert signal.getsignal(signal.SIGINT) is handler
    assert load_checkpoint(path).step == 5 and same(load_checkpoint(path).model, model)
    resumed = new_model(123)
    assert train(resumed, dataset, cfg, checkpoint_path=path, resume=True, progress=False) == unbroken[1]
    assert same(resumed, unbroken[0])


def test_ctrl_c_twice_stops_at_once(ctrl_c, dataset, tmp_path):
    model = new_model()
    interrupt_at(model, 4, times=2)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(model, dataset, RUN, checkpoint_path=tmp_path / "x", progress=False)
    assert load_checkpoint(tmp_path / "x").step == 4 and signal.getsignal(signal.SIGINT) is handler


def test_train_in_a_thread(dataset, unbroken):
    model = new_model()
    thread = threading.Thread(target=train, args=(model, dataset, RUN), kwargs={"progress": False})
    thread.start()
    thread.join()
    assert same(model, unbroken[0])


# --- processes that die -----------------------------------------------------------------------------------------

ACCIDENTS = """
    import json, os, random, signal, sys, time
    from pathlib import Path
    import torch
    torch.set_num_threads(1)  # no thread pool exists when we fork
    from gptbook.dataset_loader import GPTDatasetV1, austen_tokenizer
    from gptbook.gpt import GPTModel
    from gptbook.train import TrainConfig, load_checkpoint, save_checkpoint, train

    cfg, text, settings, folder = json.loads(sys.argv[1])
    folder, settings = Path(folder), TrainConfig(**settings)
    dataset = GPTDatasetV1(text, austen_tokenizer(), 8, 8)

    def new_model():
        torch.manual_seed(0)
        return GPTModel(cfg)

    def fork(work, kill_after=None):
        # Run work() in a process of its own; its exit status, or minus the signal that ended it.
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    report, random = {}, random.Random(0)
    start = time.perf_counter()
    whole = new_model()  # also loads what PyTorch loads at the first step, so that the forks need not
    train(whole, dataset, settings, progress=False)
    patience = (time.perf_counter() - start) / 8

    # 1. a run that is killed again and again, at any moment
    path = folder / "killed"
    path.parent.mkdir(exist_ok=True)
    def go_on():
        train(new_model(), dataset, settings, checkpoint_path=path, resume=True, progress=False)
    deaths = []
    while True:
        status = fork(go_on, kill_after=random.uniform(0, patience))
        step = load_checkpoint(path).step if path.exists() else 0  # whatever happened, the file is whole
        if status == 0:
            break
        assert status == -signal.SIGKILL, status
        if deaths and deaths[-1] == step:
            patience *= 1.3  # a busy machine must get there, too
        deaths.append(step)
    last = load_checkpoint(path)
    report["killed"] = {"deaths": deaths, "step": last.step, "left": sorted(os.listdir(folder)), "same": all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), last.model.parameters()))}
    path.unlink()
    (folder / "killed.tmp").unlink(missing_ok=True)

    # 2. killed in the middle of a save: half of the bytes written, then all of them, but not renamed
    path = folder / "saving"
    save_checkpoint(path, whole, step=1)
    before = path.read_bytes()
    def die_in(name):
        def work():
            setattr(os, name, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
            save_checkpoint(path, whole, step=2)
        return work
    report["saving"] = []
    for name in ("fsync", "replace"):
        status = fork(die_in(name))
        report["saving"].append([status, path.read_bytes() == before])
    save_checkpoint(path, whole, step=2)
    report["saved"] = [load_checkpoint(path).step, os.listdir(folder)]

    # 3. a disk that takes no more than half of the file
    import resource
    before = path.read_bytes()
    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))
        try:
            save_checkpoint(path, whole, step=3)
        except OSError:
            os._exit(42)
    report["full"] = [fork(full), path.read_bytes() == before, os.listdir(folder)]

    # 4. a folder that may not be written; root may write everywhere, so become nobody
    folder.chmod(0o555)
    def forbidden():
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        os.chdir(folder)
        for work in (lambda: save_checkpoint("saving", whole, step=3),
                     lambda: train(new_model(), dataset, settings, checkpoint_path="saving", progress=False)):
            try:
                work()
                os._exit(1)
            except PermissionError:
                pass
        os._exit(42)
    report["forbidden"] = [fork(forbidden), path.read_bytes() == before, os.listdir(folder)]
    folder.chmod(0o755)
    print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def accidents():
    """The report of one process that lets others die in all these ways (importing PyTorch once is enough)."""
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)  # nobody must be able to look inside
        folder = Path(top) / "runs"
        arguments = json.dumps([CFG, TEXT, asdict(replace(RUN, max_steps=40)), str(folder)])
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(ACCIDENTS), arguments], capture_output=True,
                              text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@posix_only
def test_killed_at_random_steps_it_is_the_same_run(accidents):
    killed = accidents["killed"]
    assert len(set(killed["deaths"])) >= 3, "the kills hit too few different steps to prove anything"
    assert killed["step"] == 40 and killed["same"]
    assert set(killed["left"]) <= {"killed", "killed.tmp"}


@posix_only
def test_killed_while_saving_the_old_checkpoint_stands(accidents):
    assert accidents["saving"] == [[-signal.SIGKILL, True]] * 2
    assert accidents["saved"] == [2, ["saving"]]  # the next save swept the unfinished one away


@posix_only
def test_a_full_disk_raises_and_leaves_the_old_checkpoint(accidents):
    assert accidents["full"] == [42, True, ["saving"]]


@posix_only
def test_an_unwritable_folder_raises_and_leaves_the_old_checkpoint(accidents):
    assert accidents["forbidden"] == [42, True, ["saving"]]
