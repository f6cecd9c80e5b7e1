"""The benchmarks: what they compare is equal, what they count is what the formulas say, what is stored belongs to them."""

import importlib.util
import json
from collections import Counter

import gptbook
import matplotlib
import pytest
import torch
from conftest import ROOT
from gptbook import perf_analysis

RESULTS = ROOT / "benchmarks" / "results"


def script(name):
    """benchmarks/NAME.py as a module."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stored(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def test_caches_allocate_what_their_formulas_say():
    bench, nbytes = script("kv_cache"), {}
    for name, (attention, more, formula) in bench.VARIANTS.items():
        with torch.device("meta"):
            model = bench.GPTModel({**bench.BASE, **more}, attention=attention)
        for S in bench.LENGTHS:
            model.reset_kv_cache(batch_size=1, max_length=S)
            nbytes[name, S] = model.kv_cache_nbytes
            assert nbytes[name, S] == 4 * formula(S), (name, S)
    for name, factor in {"GQA-4": 3, "GQA-2": 6, "MQA": 12, "half cache": 2, "MLA-96": 16, "window 256": 16}.items():
        assert nbytes["MHA", 4096] == factor * nbytes[name, 4096], name
    assert nbytes["window 256", 4096] == nbytes["window 256", 16384]
    rows = stored("kv_cache")["rows"]
    assert {(row["variant"], row["S"]): row["allocated"] for row in rows} == nbytes and len(rows) == len(nbytes)
    for row in rows:  # beside the cache, a step needs its largest product and the logits, not a copy of the cache
        assert row["allocated"] < row["peak"] < row["allocated"] + 25e6, row


def test_what_is_timed_is_equal():
    with torch.inference_mode():
        script("attention").check(torch.float32, "cpu", flex=False)


def test_decoding_is_timed_at_its_length_again_and_again():
    bench = script("attention")
    for name, (*_, decodes, _) in bench.VARIANTS.items():
        if decodes:
            layers = bench.layers_of(name, 2, torch.float32, "cpu")
            caches = [bench.filled(layer, 300) for layer in layers]
            x = torch.randn(1, 1, bench.E)
            with torch.inference_mode():
                first, again = (bench.decode_step(layers, caches, x) for _ in range(2))
            assert [cache.length for cache in caches] == [299, 299] and torch.equal(first, again), name


@pytest.mark.parametrize("kind, axis, takes_part", [("decode", "S", 3), ("prefill", "T", 4)])
def test_stored_speeds_are_of_the_variants_and_lengths_of_today(kind, axis, takes_part):
    bench, record = script("attention"), stored("attention")
    names = {name for name, variant in bench.VARIANTS.items() if variant[takes_part]} - {"window 256, flex"}  # optional
    rows = {(row["variant"], row[axis]): row for row in record[kind]}
    assert {row for row in rows if "flex" not in row[0]} == {(name, n) for name in names for n in bench.LENGTHS}
    assert len(rows) == len(record[kind])
    for (_, n), row in rows.items():
        assert row["speed"] == pytest.approx(rows["MHA", n]["seconds"] / row["seconds"])
    for (aim, length), variants in bench.TARGETS.items():
        assert aim != kind or all((name, length) in rows for name in variants)


def test_stored_bytes_of_a_step_are_those_of_its_weights_and_caches():
    bench, record = script("attention"), stored("attention")
    for row in record["decode"]:
        layer, = bench.layers_of(row["variant"], 1, torch.float32, "meta")
        read, flops = bench.work(row["variant"], [layer], [bench.filled(layer, row["S"])], row["S"])
        assert row["bytes"] == record["layers"] * read, row
        assert row["of_bandwidth"] == pytest.approx(row["bytes"] / row["seconds"] / record["bytes_per_second"])
        assert row["of_flops"] == pytest.approx(record["layers"] * flops / row["seconds"] / record["flops_per_second"])
        if "profile" in row:
            whole(row["profile"])


def whole(profile):
    """Assert that the shares of a profile are shares, and of one whole."""
    parts = [share for part, share in profile.items() if part != "seconds"]
    assert len(parts) == 4 and sum(parts) == pytest.approx(1, abs=1e-3) and min(parts) >= 0 and profile["seconds"] > 0


def test_a_profile_says_where_the_time_goes():
    bench, found = script("attention"), {}
    for name in ("MHA", "GQA-4", "MLA-96, absorbed", "MLA-96, re-expanded", "window 256, ring", "projections alone"):
        layers = bench.layers_of(name, 2, torch.float32, "cpu")
        caches = [bench.filled(layer, 4096) for layer in layers]
        with torch.inference_mode():
            found[name] = bench.shares(layers, caches, torch.randn(1, 1, bench.E), "cpu")
        whole(found[name])
        assert found[name]["projections"] > 0 and found[name]["cache"] > 0
        assert [cache.length for cache in caches] == [4095, 4095]
    assert found["projections alone"]["attention"] == 0
    assert all(parts["attention"] > 0 for name, parts in found.items() if name != "projections alone")  # how much: the machine's


def test_aims_are_shown_with_what_became_of_them(capsys):
    bench, record = script("attention"), stored("attention")
    for row in record["decode"]:
        if row["variant"] == "GQA-2":
            row["speed"] = 2.8
    bench.show(record, profiles=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.split("\n")]
    assert "decode GQA-2 4,096 2.7 3.6 2.80 reached" in lines and "decode GQA-2 16,384 8.0 4.9 2.80 not reached" in lines
    assert sum(line.endswith("reached") for line in lines) == sum(map(len, bench.TARGETS.values()))


@pytest.mark.parametrize("name", ["attention", "kv_cache"])
def test_stored_plots_are_those_of_the_stored_numbers(name, tmp_path):
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False}):  # a chapter's cell sets such a style, and it stays
        script(name).plot(stored(name), tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_bytes() == (RESULTS / f"{name}.svg").read_bytes()


def test_rows_are_read_in_every_way_and_other_machines_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # it shares functions with peers.py
    bench, out = script("rows"), tmp_path / "rows.json"
    assert len(bench.NAMES) == len(perf_analysis._WAYS)
    with torch.device("meta"):
        model = gptbook.GPTModel(gptbook.GPT_CONFIG_124M)
    matrices = [tuple(p.shape) for name, p in model.named_parameters() if p.dim() == 2 and name != "pos_emb.weight"]
    assert Counter(tuple(w.shape) for w in bench.weights_of(torch.bfloat16)) == Counter(matrices)
    monkeypatch.setattr(bench, "weights_of", lambda dtype: [torch.randn(8, 4, dtype=dtype), torch.randn(4, 8, dtype=dtype)])
    monkeypatch.setattr("sys.argv", ["rows.py", "--rounds", "1", "--out", str(out)])
    other = {"processor": "another", "threads": 3, "date": "", "GB/s": {}}
    old = {"processor": bench.processor(), "threads": torch.get_num_threads(), "date": "long ago", "GB/s": {}}
    third = {**other, "threads": 4}
    out.write_text(json.dumps({"machines": [other, old, third]}))
    bench.main()
    kept, here, last = json.loads(out.read_text())["machines"]
    assert kept == other and last == third and here["date"] != "long ago" and set(here["GB/s"]) == {"float32", "bfloat16"}
    for found in [*here["GB/s"].values(), *stored("rows")["machines"][0]["GB/s"].values()]:
        assert set(found) == {*bench.NAMES.values(), "sum"}
        assert all(set(speeds) == ({"all"} if name == "sum" else set(map(str, bench.ROWS))) for name, speeds in found.items())
        assert all(speed > 0 for speeds in found.values() for speed in speeds.values())
    assert "another, 3 threads" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["rows.py", "--rounds", "0"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "--rounds must be at least 1" in capsys.readouterr().err


def test_the_comparison_of_variants_is_whole():
    bench, record = script("variants"), stored("variants")
    assert record["base"] == bench.BASE
    runs = {(run["variant"], run["seed"], run["steps"], run["max_lr"]): run for run in record["runs"]}
    assert set(runs) == set(bench.planned(list(bench.VARIANTS), bench.RATES, range(3), 400)) and len(runs) == len(record["runs"])
    assert {run["tokens"] for run in record["runs"]} == {400 * 8 * 128}
    assert set(record["decoding_at_4096"]) == set(bench.VARIANTS)
    for (name, *_), run in runs.items():
        assert run["parameters"] == sum(p.numel() for p in bench.model_of(name).parameters())
        assert run["cache_bytes_per_token"] == bench.cache_bytes_per_token(name)


def test_runs_can_be_added_for_some_variants_and_rates(tmp_path, monkeypatch, capsys):
    bench, made = script("variants"), []

    def train_one(name, seed, steps, max_lr):
        made.append((name, seed, steps, max_lr))
        return {"variant": name, "seed": seed, "steps": steps, "max_lr": max_lr, "parameters": 1, "cache_bytes_per_token": 1,
                "bits_per_byte": 2 + seed / 10 + 100 * max_lr}

    monkeypatch.setattr(bench, "train_one", train_one)
    monkeypatch.setattr(bench, "decoding", lambda: dict.fromkeys(bench.VARIANTS, 1.5))
    out = str(tmp_path / "runs.json")

    def main(*arguments):
        made.clear()
        monkeypatch.setattr("sys.argv", ["variants.py", "--out", out, "--seeds", "0", "1", *arguments])
        bench.main()
        return capsys.readouterr().out

    main("--only", "MHA", "MLA-48")
    assert {(name, rate) for name, _, _, rate in made} == {(n, r) for n in ("MHA", "MLA-48") for r in (1e-3, 3e-3, 1.75e-3)}
    table = main("--only", "MHA", "SWA-8", "--rates", "3e-3", "5e-3")
    assert made == [(name, seed, 400, rate) for seed in (0, 1) for name, rate in (("MHA", 5e-3), ("SWA-8", 3e-3), ("SWA-8", 5e-3))]
    swa = next(line for line in table.split("\n") if line.startswith("SWA-8 ")).split()
    assert swa == "SWA-8 1 1 - - 2.350 ± 0.050 2.550 ± 0.050 0.000 ± 0.000 1.50".split()
    main("--only", "MHA", "SWA-8", "--rates", "3e-3", "5e-3")
    assert not made


def test_the_comparison_of_conversions_is_whole(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # it shares functions with variants.py
    bench, record = script("conversion"), stored("conversion")
    runs = {(run["way"], run["seed"], run["steps"], run["max_lr"]): run["bits_per_byte"] for run in record["runs"]}
    assert set(runs) == set(bench.planned(range(3), 240)) and len(runs) == len(record["runs"])
    assert record["num_kv_groups"] == bench.NUM_KV_GROUPS
    assert bench.load_checkpoint(bench.SHIPPED).step == 20 * 240  # a twentieth, as the chapter says
    again = bench.go_on("mean", 0, 0, 0.0)
    assert again["bits_per_byte"] == pytest.approx(runs["mean", 0, 0, 0.0], abs=1e-5)  # other kernels round differently


def test_loading_rows_belong_to_the_program():
    bench, rows = script("loading"), stored("loading")["rows"]
    assert [(row["size"], row["way"]) for row in rows] == [(size, way) for size in ("124M", "774M") for way in bench.WAYS]
    for row in rows:
        with torch.device("meta"):
            model = bench.GPTModel({**bench.GPT2_CHECKPOINTS[row["size"]][2], "qkv_bias": True})
        assert row["weights"] == sum(p.nbytes for p in model.parameters())
        if row["way"].startswith("load_gpt2"):  # a pickle's peak holds the mapped file as well
            assert row["peak" if row["way"] == "load_gpt2" else "private"] < 1.2 * row["weights"], row
    assert 0 < stored("loading")["first_token"]["gptbook generate"] < 3  # the stored run's; a test measures no time
