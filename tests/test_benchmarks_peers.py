"""benchmarks/peers.py: what it times gives the model's logits, and what is stored follows from its figures."""

import importlib.util
import json
import shutil

import pytest
import torch
from conftest import ROOT
from gptbook import GPTModel
from torch.utils._python_dispatch import TorchDispatchMode

TINY = {"vocab_size": 64, "context_length": 16, "emb_dim": 32, "n_heads": 2, "n_layers": 2, "drop_rate": 0.0,
        "qkv_bias": True}


@pytest.fixture
def bench(monkeypatch):
    """benchmarks/peers.py as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # it shares a function with spine.py
    spec = importlib.util.spec_from_file_location("benchmark_peers", ROOT / "benchmarks" / "peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["peers.json", "peers-avx512.json", "peers-avx2.json"])
def record(request):
    return json.loads((ROOT / "benchmarks" / "results" / request.param).read_text())


@pytest.mark.parametrize("static", [False, True])
def test_a_peer_is_timed_only_with_the_models_logits(bench, static):
    torch.manual_seed(0)
    model = GPTModel(TINY).eval()
    peer = bench.peer_of(model).eval()
    bench.check_equal(model, bench.transformers_start(peer, static))
    bench.check_equal(model, bench.own_start(model))
    for weight in (peer.transformer.h[1].attn.c_proj.weight, peer.transformer.wpe.weight):
        with torch.no_grad():
            weight[11 % len(weight), 0] += 0.5
        with pytest.raises(AssertionError, match="logits of token"):
            bench.check_equal(model, bench.transformers_start(peer, static))
        with torch.no_grad():
            weight[11 % len(weight), 0] -= 0.5
        bench.check_equal(model, bench.transformers_start(peer, static))


def test_steps_with_the_cache_are_checked_and_not_only_the_prompt(bench):
    model = GPTModel(TINY).eval()

    def start(length):
        return lambda ids: model(ids)  # without a cache: right for the prompt, wrong for every token behind it
    with pytest.raises(AssertionError, match="logits of token 10 differ"):
        bench.check_equal(model, start)


def test_a_peer_writes_the_tokens_that_the_model_writes(bench):
    torch.manual_seed(0)
    model, prompt = GPTModel(TINY).eval(), torch.tensor([[1, 2, 3]])
    model.pos_emb.weight.data.mul_(50)  # else it repeats the last token
    ours = torch.cat(list(bench.stream(model, prompt, 6)))
    theirs = torch.cat(list(bench.peer_tokens(bench.transformers_start(bench.peer_of(model).eval()), prompt, 6)))[:, 0]
    fast = torch.cat(list(bench.fast_tokens(bench.FastDecode(model), model, prompt, 6)))

    def start(length):  # logits of every position, as LLMs-from-scratch's are
        model.reset_kv_cache()
        return lambda ids: model(ids, use_cache=True)
    assert torch.equal(ours, torch.cat(list(bench.peer_tokens(start, prompt, 6)))[:, 0])
    assert torch.equal(ours, theirs) and torch.equal(ours, fast) and len(set(ours.tolist())) > 1


def test_all_learn_from_the_same_loss(bench):
    ids, losses = torch.randint(0, 64, (2, 3, 8)), {}
    for name in ("gptbook", bench.HF, bench.PIECES):
        torch.manual_seed(0)
        module, logits, loss = bench.trainee(name, GPTModel(TINY), None)
        assert module.training and logits(*ids).shape == (3, 8, 64)
        optimizer = bench.adamw(module)
        losses[name] = []
        for _ in range(3):
            losses[name].append(loss(*ids).item())
            bench.training_step(loss, ids, optimizer, False)
    for name, several in losses.items():
        assert several == pytest.approx(losses["gptbook"], abs=1e-5) and several[0] > several[1] > several[2], name


class Widest(TorchDispatchMode):
    """Notes the most rows that a result with a last axis of 64, the vocabulary's, has had."""

    rows = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(t, torch.Tensor) and t.dim() > 1 and t.shape[-1] == 64:
                self.rows = max(self.rows, t.numel() // 64)
        return out


def test_the_loss_in_pieces_never_makes_all_logits(bench):
    ids = torch.randint(0, 64, (2, 40, 16))
    widest = {}
    for name in ("gptbook", bench.PIECES):
        module, _, loss = bench.trainee(name, GPTModel(TINY), None)
        with Widest() as watch:
            loss(*ids).backward()
        widest[name] = watch.rows
    assert widest["gptbook"] == 640 and widest[bench.PIECES] <= 256


def test_a_profile_adds_up_and_names_the_work(bench):
    a = torch.randn(700, 700)
    shares = bench.profile_of(lambda: [a @ a for _ in range(20)])
    assert max(shares, key=shares.get) == "aten::mm" and shares["aten::mm"] > 0.5
    assert all(share >= 0 for share in shares.values()) and sum(shares.values()) == pytest.approx(1)


def test_only_the_steps_after_the_first_are_timed_and_profiled(bench, monkeypatch):
    monkeypatch.setattr(bench, "CFG", TINY)
    seen, made = [], bench.Bench(1, None, None)
    monkeypatch.setattr(bench, "timed", lambda call, *rest: [seen.append(len(call())), 1.0][1])

    def write(prompt, new):
        yield from (torch.zeros(1, 1) for _ in range(new))
    assert made.decode({"a": write}, 4, 9, batch=3) == {"a": 24.0} and seen == [8]
    assert len(made.works["a"]()()) == 8
    assert made.first_token({"a": write}) == {"a": 1.0} and len(made.works["a"]()()) == 1


@pytest.mark.parametrize("row", ["first token, bf16", "training 124M, bf16"])
def test_large_products_in_bf16_are_left_out_without_instructions(bench, monkeypatch, row):
    def measured(*args, **kwargs):
        raise RuntimeError("measured")
    for name in ("bf16", "compare"):  # what either would begin with
        monkeypatch.setattr(bench.Bench, name, property(measured))
    monkeypatch.setattr(bench, "CFG", {**TINY, "context_length": 256})  # of a training row's windows
    made = bench.Bench(1, None, None)
    monkeypatch.setattr(bench, "BF16_CPU", False)
    assert bench.ROWS[row][1](made) == {} and list(made.left_out)[-1] == row.split(",")[0].replace(" 124M", "") + " in bf16"
    monkeypatch.setattr(bench, "BF16_CPU", True)
    with pytest.raises(RuntimeError, match="measured"):
        bench.ROWS[row][1](made)


def test_a_card_is_waited_for_before_and_after(bench, monkeypatch):
    order = []
    monkeypatch.setattr(bench, "DEVICE", torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: order.append(device.type))
    bench.timed(lambda: order.append("call"))
    assert order == ["cuda", "call", "cuda"]


def test_a_file_keeps_the_rows_of_its_own_machine_only(bench, monkeypatch, tmp_path, capsys):
    out = tmp_path / "peers.json"
    calls = iter([2.0, 4.0])
    monkeypatch.setattr(bench, "ROWS", {"one": ("s", lambda b: {"a": next(calls)}, [("a", None, "<=", 3.0, False)]),
                                        "two": ("s", lambda b: [b.left_out.update(x="y"), {"a": 1.0}][1], [])})
    run = ["peers.py", "--out", str(out), "--only"]
    for only in ("one", "two", "one"):
        monkeypatch.setattr(bench.sys, "argv", [*run, only])
        bench.main()
    record = json.loads(out.read_text())
    assert [(row["row"], row["figures"]["a"]) for row in record["rows"]] == [("one", 4.0), ("two", 1.0)] and record["left_out"]["x"] == "y"
    assert not record["rows"][0]["ratios"][0]["reached"] and "profiles" not in record["rows"][0]
    out.write_text(json.dumps({**record, "threads": 99}))
    with pytest.raises(SystemExit):
        bench.main()
    assert "is of {'threads': 99}" in capsys.readouterr().err and json.loads(out.read_text())["threads"] == 99


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a compiler")
def test_compiled_blocks_write_the_same(bench, monkeypatch):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(torch._dynamo.config, "fail_on_recompile_limit_hit", False)  # put back afterwards
    monkeypatch.setattr(bench, "CFG", TINY)
    torch.manual_seed(0)
    made = bench.Bench(1, None, None)
    prompt = torch.tensor([[1, 2, 3]])
    texts = {name: torch.cat(list(write(prompt, 5))).flatten().tolist() for name, write in made.compiled().items()}
    assert set(texts) == {"gptbook", bench.HF, "gptbook, compiled"} and len(set(map(tuple, texts.values()))) == 1
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0


def test_a_step_reads_its_weights_and_its_cache(bench):
    model = GPTModel(TINY)
    model.reset_kv_cache(1, 10)
    read = sum(p.nbytes for name, p in model.named_parameters() if name != "pos_emb.weight")
    assert bench.step_bytes(model, 10) == read + model.kv_cache_nbytes


def test_rounds_take_turns_and_their_median_counts(bench):
    order, values = [], {"a": iter([9.0, 1.0, 5.0, 2.0]), "b": iter([9.0, 4.0, 4.0, 1.0])}

    def call(name):
        order.append(name)
        return next(values[name])
    found = bench.interleaved({name: lambda name=name: call(name) for name in values}, rounds=3)
    assert found == {"a": 2.0, "b": 4.0} and order == ["a", "b"] * 4


def test_a_slope_comes_with_its_standard_error(bench):
    x = torch.tensor([0.0, 1.0, 2.0, 3.0]).double()
    assert bench.line(x, 7 + 2 * x) == pytest.approx((2, 0), abs=1e-12)
    slope, error = bench.line(x, torch.tensor([1.0, 0.0, 0.0, 1.0]).double())  # residuals +-1/2, 2 of freedom, dx^2 5
    assert slope == pytest.approx(0) and error == pytest.approx((1 / 2 / 5) ** 0.5)


def test_every_row_is_stored_with_whole_figures(bench, record):
    rows = {row["row"]: row for row in record["rows"]}
    expected = [name for name in bench.ROWS if not (name.startswith(("training", "first")) and "bf16" in name) or record["bf16"]]
    unmeasured = {"training 30M, fp32", "training 30M, memory"} if record["device"] == "AVX2" else set()
    assert list(rows) == [name for name in expected if name not in unmeasured] and len(record["rows"]) == len(rows)
    assert set(record) == {"threads", "device", "torch", "transformers", "bf16", "left_out", "rows"}
    for name, row in rows.items():
        assert row["unit"] == bench.ROWS[name][0] and row["rounds"] >= 5
        assert name in ("growth", "import") or min(row["figures"].values()) >= 0, name
        for shares in row.get("profiles", {}).values():
            assert sum(shares.values()) == pytest.approx(1)
    for name in (name for name in rows if name.startswith("training")):
        assert bench.NANO in rows[name]["figures"]
    for name in ("decode, prompt 32", "decode, batch 8", "first token, fp32"):
        assert set(bench.LLMS_FILES) <= set(rows[name]["figures"])
    growth = rows["growth"]
    for name, seconds in growth["seconds_of_a_step"].items():
        found = bench.line(torch.tensor([float(S) for S in seconds]).double(), torch.tensor(list(seconds.values())).double())
        assert [1e9 * value for value in found] == pytest.approx([growth["figures"][name], growth["standard_errors"][name]])
        assert tuple(map(int, seconds)) == bench.LENGTHS and name in bench.VARIANTS


def test_stored_ratios_and_flags_follow_from_the_figures(bench, record):
    for row in record["rows"]:
        figures, found = row["figures"], row["ratios"]
        keys = ("of", "against", "sign", "target", "for_bf16_instructions")
        assert [tuple(r[key] for key in keys) for r in found] == [r for r in bench.ROWS[row["row"]][2] if r[0] in figures]
        assert len(found) == len(bench.ROWS[row["row"]][2]) or row["row"] == "decode, bf16" and record["device"] == "AVX512"  # FastDecode took no bfloat16 then
        for r in found:
            ratio = figures[r["of"]] if r["against"] is None else figures[r["of"]] / figures[r["against"]]
            assert r["ratio"] == pytest.approx(ratio)
            assert r["reached"] is {">=": ratio >= r["target"], "<=": ratio <= r["target"]}[r["sign"]]
    rows = {row["row"]: row["figures"] for row in record["rows"]}
    bits, seconds = rows["bits a byte, int8"], rows["import"]
    assert bits["difference"] == pytest.approx(abs(bits["int8"] - bits["fp32"]))
    assert seconds["gptbook less torch"] == pytest.approx(seconds["gptbook"] - seconds["torch"])


def test_the_table_says_what_was_reached(bench, record, capsys):
    bench.show(record)
    out = capsys.readouterr().out
    lines = [line for line in out.split("\n") if ">= " in line or "<= " in line]
    assert len(lines) == sum(len(row["ratios"]) for row in record["rows"])
    flags = [r for row in record["rows"] for r in row["ratios"]]
    assert [" yes" in line for line in lines] == [r["reached"] for r in flags]
    assert ["asks for bf16" in line for line in lines] == [r["for_bf16_instructions"] > record["bf16"] for r in flags]
    assert all(f"left out: {name} ({why})" in out for name, why in record["left_out"].items())


def test_readme_quotes_the_stored_figures():
    record = json.loads((ROOT / "benchmarks" / "results" / "peers.json").read_text())
    text = (ROOT / "README.md").read_text("utf-8").split("## How fast it is")[1].split("\n## ")[0]
    rows = {row["row"]: row["figures"] for row in record["rows"]}
    quoted = {"decode, prompt 512": ("gptbook, FastDecode", "transformers", "ceiling"),
              "decode, batch 8": ("gptbook, FastDecode", "transformers", "LLMs-from-scratch, optimised"),
              "training 124M, fp32": ("gptbook", "transformers", "nanoGPT")}
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(lines) == len(quoted)
    for line, (row, names) in zip(lines, quoted.items()):
        assert [cell.split()[0] for cell in line.strip("| ").split(" | ")[1:]] == [f"{rows[row][name]:.3g}" for name in names]
