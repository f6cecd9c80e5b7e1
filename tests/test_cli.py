"""The command `gptbook`, as a reader types it: real processes, real files, real signals."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from gptbook import cli, generate, load_checkpoint, load_gpt2, text_to_token_ids, token_ids_to_text, tokenizer_for

TOML = """
[model]
context_length = 16
emb_dim = 16
n_heads = 2
n_layers = 1

[data]
tokenizer = "austen"
train = ["novel é.txt"]
validation = "novel é.txt"
validation_characters = [0, 200]
stride = 8

[training]
max_steps = {steps}
batch_size = 2
eval_every = 2

[output]
folder = "out"
"""


def gptbook(*arguments, **options):
    """`python -m gptbook ...`, run to its end."""
    return subprocess.run([sys.executable, "-m", "gptbook", *map(str, arguments)], capture_output=True, text=True,
                          encoding="utf-8", cwd=ROOT, **options)


def run_folder(folder, steps=4, **changes):
    """A folder with a text and a TOML file; its path."""
    folder.mkdir(exist_ok=True)
    (folder / "novel é.txt").write_text("Anne was tenderness itself,\nand she had the full worth of it. " * 20, encoding="utf-8")
    text = TOML.format(steps=steps)
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / "run.toml").write_text(text, encoding="utf-8")
    return folder / "run.toml"


def test_generate_is_the_packages_generate():
    done = gptbook("generate", "It is a truth", "--max-new-tokens", 12, "--temperature", 0.7, "--top-k", 40, "--top-p", 0.9,
                   "--seed", 5)
    assert done.returncode == 0, done.stderr
    model = load_gpt2("austen")
    tokenizer = tokenizer_for(model)
    ids = generate(model, text_to_token_ids("It is a truth", tokenizer), 12, temperature=0.7, top_k=40, top_p=0.9,
                   generator=torch.Generator().manual_seed(5))
    assert done.stdout == token_ids_to_text(ids, tokenizer) + "\n"
    assert done.stderr == ""


def test_greedy_text_is_the_same_with_half_the_cache():
    texts = [gptbook("generate", "Anne", "--max-new-tokens", 8, "--temperature", 0, "--attention", kind).stdout
             for kind in ("mha", "half", "swa=256", "gqa=4")]
    assert len(set(texts)) == 1 and len(texts[0]) > len("Anne\n")


def test_pieces_come_one_by_one():
    process = subprocess.Popen([sys.executable, "-m", "gptbook", "generate", "Anne", "--max-new-tokens", "100000"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
                               # tests in a shell's background are deaf to SIGINT, and so would be what they start
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        start = os.read(process.stdout.fileno(), 100)
        more = os.read(process.stdout.fileno(), 100)
        assert start.startswith(b"Anne") and more and process.poll() is None  # it is still writing
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and b"stopped" in err


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(f"'{sys.executable}' -m gptbook generate Anne --max-new-tokens 400 | head -c 10; exit ${{PIPESTATUS[0]}}",
                          shell=True, executable="/bin/bash", capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr, done.stdout[:4]) == (0, "", "Anne")


@pytest.mark.parametrize("arguments, words", [
    (["--model", "no/such folder"], ["no/such folder", "austen"]),
    (["--attention", "gqa"], ["gqa=K", "'gqa'"]),
    (["--attention", "gqa=3"], ["n_heads", "3"]),
    (["--attention", "mha=3"], ["mha=3"]),
    (["--temperature", "-1"], ["temperature", "-1"]),
    (["--temperature", "0", "--top-k", "3"], ["temperature is 0"]),
    (["--max-new-tokens", "-2"], ["max_new_tokens", "-2"]),
])
def test_generate_tells_what_is_wrong_in_one_line(arguments, words, capsys):
    assert cli.main(["generate", "Anne", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("gptbook: ")
    assert not [word for word in words if word not in err], err


def test_a_stray_rank_silences_nothing(monkeypatch, capsys):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(SystemExit):
        cli.main(["generate", "Anne", "--typo"])
    assert "--typo" in capsys.readouterr().err
    assert cli.main(["generate", "Anne", "--attention", "none"]) == 1
    assert "'none'" in capsys.readouterr().err


def test_train_writes_a_model_that_opens(tmp_path):
    config = run_folder(tmp_path / "a folder")
    done = gptbook("train", config)
    assert done.returncode == 0, done.stderr
    out = config.parent / "out"
    model = load_gpt2(out)
    checkpoint = load_checkpoint(out / "checkpoint.safetensors")
    assert checkpoint.step == 4 and torch.equal(model.tok_emb.weight, checkpoint.model.tok_emb.weight)
    about = json.loads((out / "training.json").read_text())
    assert [r["step"] for r in about["history"]] == [2, 4] and about["training"]["max_steps"] == 4
    assert about["history"][-1]["val_bpb"] == round(checkpoint.history[-1]["val_bpb"], 4)
    assert about["training_bytes"] == len("Anne was tenderness itself, and she had the full worth of it. " * 20)


def test_a_run_that_nobody_reads_trains_to_its_end(tmp_path):
    config = run_folder(tmp_path, 40)
    done = subprocess.run(f"'{sys.executable}' -m gptbook train '{config}' | head -c 1; exit ${{PIPESTATUS[0]}}",
                          shell=True, executable="/bin/bash", capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_checkpoint(tmp_path / "out" / "checkpoint.safetensors").step == 40 and load_gpt2(tmp_path / "out")


def test_the_record_of_a_run_is_written_whole_or_not_at_all(tmp_path, monkeypatch, capsys):
    config, rename = run_folder(tmp_path), os.replace
    assert cli.main(["train", str(config)]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(old, new):
        if Path(new).name == "training.json":
            raise OSError(28, "No space left on device")
        rename(old, new)

    monkeypatch.setattr(os, "replace", full)
    assert cli.main(["train", str(config)]) == 1
    assert "training.json" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    whole, broken = run_folder(tmp_path / "whole", 40), run_folder(tmp_path / "broken", 40)
    assert gptbook("train", whole).returncode == 0
    process = subprocess.Popen([sys.executable, "-m", "gptbook", "train", str(broken)], stdout=subprocess.DEVNULL, cwd=ROOT)
    checkpoint = broken.parent / "out" / "checkpoint.safetensors"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    step = load_checkpoint(checkpoint).step
    done = gptbook("train", broken)
    assert done.returncode == 0, done.stderr
    assert step < 40 and "step 2:" not in done.stdout  # it did not begin again
    models = [load_gpt2(path.parent / "out") for path in (whole, broken)]
    assert step >= 2 and all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters()))


@pytest.mark.parametrize("changes, words", [
    ({"[output]": "[outptu]"}, ["outptu", "output"]),
    ({"emb_dim": "emb_dmi"}, ["[model]", "emb_dmi"]),
    ({"stride = 8": ""}, ["[data]", "missing", "stride"]),
    ({'"austen"': '"bert"'}, ["tokenizer", "bert"]),
    ({"n_heads = 2": "n_heads = 3"}, ["emb_dim", "n_heads", "3"]),
    ({"batch_size = 2": 'batch_size = "2"'}, ["batch_size", "'2'"]),
    ({"stride = 8": "stride = "}, ["run.toml", "line"]),
    ({'train = ["novel é.txt"]': 'train = ["none.txt"]'}, ["none.txt"]),
    ({'train = ["novel é.txt"]': 'train = "emma"'}, ["train must be a list", "emma"]),
    ({'"austen"': '["austen"]'}, ["tokenizer must be a text"]),
    ({'folder = "out"': 'folder = 3'}, ["folder must be a text", "3"]),
])
def test_train_tells_what_is_wrong_and_writes_nothing(changes, words, tmp_path, capsys):
    config = run_folder(tmp_path, **changes)
    assert cli.main(["train", str(config)]) == 1
    err = capsys.readouterr().err
    assert not [word for word in words if word not in err], err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["novel é.txt", "run.toml"]


def test_a_finished_run_is_not_trained_again(tmp_path):
    config = run_folder(tmp_path)
    assert gptbook("train", config).returncode == 0
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    again = gptbook("train", config)
    assert "bits a byte" not in again.stdout
    assert again.returncode == 0 and (tmp_path / "out" / "model.safetensors").read_bytes() == before


def test_the_shipped_models_settings_are_read():
    run = cli.read_run(ROOT / "configs" / "austen.toml")
    shipped = json.loads((Path(cli.__file__).parent / "data" / "austen" / "training.json").read_text())
    assert {key: shipped[key] for key in ("model", "data")} == {key: run[key] for key in ("model", "data")}
    assert {key: shipped["training"][key] for key in run["training"]} == run["training"]


def test_perf_measures_and_says_how_near(monkeypatch, capsys):
    monkeypatch.setattr(cli, "PERF_CONFIG", {"vocab_size": 300, "context_length": 600, "emb_dim": 24, "n_heads": 2, "n_layers": 2,
                                             "drop_rate": 0.0})
    real = cli.machine_limits  # the real one, but for a rate in bfloat16 at which the book would leave out its training
    monkeypatch.setattr(cli, "machine_limits", lambda dtype, device: replace(
        real(dtype, device=device), bytes_per_s=1e9, flops_per_s=2e9 if dtype == torch.float32 else fast))
    for fast in (3e9, 1e9):
        assert cli.main(["perf", "--device", "cpu"]) == 0
        out, err = capsys.readouterr()
        head, table = out.split("\n\n")
        assert head.startswith("cpu, ") and "2 GFLOP/s in float32, 1.0 GB/s" in head and "measuring" in err
        rows = {line[:40].strip(): [float(n.replace(",", "").rstrip("%")) for n in line[40:].split()] for line in table.split("\n")[1:-1]}
        assert len(rows) == (9 if fast > 2e9 else 8) and ("training on 2 x 256, bfloat16" in rows) == (fast > 2e9)
        for name, (measured, best, share) in rows.items():
            assert measured > 0 and share == pytest.approx(100 * measured / best, rel=0.1, abs=1), name
        one, eight = rows["generating, float32"][1], rows["generating, float32, batch of 8"][1]
        e = cli.estimate(cli.PERF_CONFIG, cached=40)
        assert one == pytest.approx(1e9 / e.forward_bytes, rel=0.01) and one < eight < 8 * one  # each has a cache of its own
        quarter = (e.forward_bytes - e.cache_bytes) / 4 + e.cache_bytes
        assert rows["generating, FastDecode in 8 bits"][1] == pytest.approx(1e9 / quarter, rel=0.01)
        assert rows["generating, bfloat16"][1] == pytest.approx(2e9 / e.forward_bytes, rel=0.01)
        step = cli.estimate(cli.PERF_CONFIG, batch_size=2, seq_len=256).training_flops
        assert rows["training on 2 x 256, float32"][1] == pytest.approx(512 * 2e9 / step, rel=0.01)


def test_perf_tells_of_a_device_that_is_not_there(capsys):
    assert cli.main(["perf", "--device", "abacus"]) == 1
    assert "abacus" in capsys.readouterr().err


def test_the_command_is_installed():
    done = subprocess.run([Path(sys.executable).parent / "gptbook", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == cli._version.__version__
