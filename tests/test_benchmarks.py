"""The benchmarks: what they compare is equal, what they count is what the formulas say, what is stored belongs to them."""

import importlib.util
import json

import pytest
import torch
from conftest import ROOT

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
    assert {(row["variant"], row["S"]): row["allocated"] for row in rows} == nbytes
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


@pytest.mark.parametrize("name", ["attention", "kv_cache"])
def test_stored_plots_are_those_of_the_stored_numbers(name, tmp_path):
    script(name).plot(stored(name), tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_bytes() == (RESULTS / f"{name}.svg").read_bytes()


def test_the_comparison_of_variants_is_whole():
    bench, record = script("variants"), stored("variants")
    assert record["base"] == bench.BASE
    runs = {(run["variant"], run["seed"], run["max_lr"]): run for run in record["runs"]}
    wanted = {(name, seed, rate) for name in bench.VARIANTS for seed in range(3) for rate in bench.RATES}
    assert set(runs) == wanted and len(runs) == len(record["runs"])
    assert len({(run["steps"], run["tokens"]) for run in record["runs"]}) == 1
    assert set(record["decoding_at_4096"]) == set(bench.VARIANTS)
    for (name, *_), run in runs.items():
        assert run["parameters"] == sum(p.numel() for p in bench.model_of(name).parameters())
        assert run["cache_bytes_per_token"] == bench.cache_bytes_per_token(name)
