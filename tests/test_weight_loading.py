"""gptbook.load_weights: GPT-2's checkpoints in every format, whole and damaged, against transformers and safetensors."""

import json
import math
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import gptbook
from gptbook.dataset_loader import austen_tokenizer, load_novel
from gptbook.generate import generate
from gptbook.gpt import GPTModel
from gptbook.gpt_gqa import GroupedQueryAttention, gqa_from_mha
from gptbook.gpt_mla import HalfCacheAttention, MultiHeadLatentAttention
from gptbook.gpt_swa import SlidingWindowAttention
from gptbook.load_weights import (GPT2_CHECKPOINTS, first_difference, gpt2_names, load_gpt2, load_weights_into_gpt,
                                  save_gpt2, tokenizer_for)

transformers = pytest.importorskip("transformers")

TINY = {"vocab_size": 40, "n_positions": 16, "n_embd": 24, "n_head": 3, "n_layer": 2}
OURS = {"vocab_size": "vocab_size", "n_positions": "context_length", "n_embd": "emb_dim", "n_head": "n_heads",
        "n_layer": "n_layers"}
NEW, INDEX, OLD = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"


def reference(shape=TINY, dtype=torch.float32, std=0.02, seed=0):
    """transformers' GPT-2 with every parameter drawn: scales around 1, all else around 0."""
    config = transformers.GPT2Config(**shape, bos_token_id=None, eos_token_id=None)
    model = transformers.GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(1.0 if "ln_" in name and name.endswith("weight") else 0.0, std, generator=generator)
    return model.to(dtype)


def ours(theirs, dtype=None, **kind):
    """A model of this book with the weights of a model of transformers."""
    settings = {own: getattr(theirs.config, name) for name, own in OURS.items()}
    model = GPTModel({**settings, "qkv_bias": True}, **kind).to(dtype or theirs.dtype).eval()
    load_weights_into_gpt(model, theirs.state_dict())
    return model


def draw(B, T, V=TINY["vocab_size"], seed=0):
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def error(model, theirs, ids):
    return (model(ids) - theirs(ids).logits).abs().max().item()


def greedy(model, ids, n):
    if isinstance(model, GPTModel):
        return generate(model, ids, n)
    return model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, do_sample=False, pad_token_id=0)


def bits(model):
    """Every parameter under its name, to compare bit for bit."""
    return {name: t.clone() for name, t in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def in_a_process(code, *arguments, **env):
    """What a fresh Python prints as JSON."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, env={**os.environ, **env})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# --- parity ----------------------------------------------------------------------------------------------------

ATOL = {torch.float32: 2e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("dtype", ATOL, ids=str)
@pytest.mark.parametrize("E, H", [(768, 12), (1024, 16), (1280, 20), (1600, 25)])
def test_parity_at_the_widths_of_the_four_sizes(E, H, dtype):
    theirs = reference({"vocab_size": 97, "n_positions": 32, "n_embd": E, "n_head": H, "n_layer": 2}, dtype)
    model = ours(theirs)
    ids = draw(2, 12, 97)
    worst = error(model, theirs, ids)
    print(f"\nE = {E}, H = {H}, 2 layers, {dtype}: largest error of a logit {worst:.1e}")
    assert worst < ATOL[dtype]
    assert torch.equal(greedy(model, ids, 8), greedy(theirs, ids, 8))


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_parity_at_odd_shapes(data):
    size = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    H, V, context = size(1, 5), size(2, 40), size(1, 20)
    theirs = reference({"vocab_size": V, "n_positions": context, "n_embd": H * size(1, 9), "n_head": H, "n_layer": size(1, 3)},
                       torch.float64, std=0.3)
    model, T = ours(theirs), size(1, context)
    ids = draw(size(1, 3), T, V)
    assert error(model, theirs, ids) < 1e-10
    if context > T:
        assert torch.equal(greedy(model, ids, context - T), greedy(theirs, ids, context - T))


def shape_of(size):
    config = GPT2_CHECKPOINTS[size][2]
    return {name: config[own] for name, own in OURS.items()}


@pytest.fixture(scope="module")
def folder_124M(tmp_path_factory):
    """A checkpoint of the shape of 124M, half a gigabyte, and the logits that transformers computes with it."""
    folder = tmp_path_factory.mktemp("124M")
    theirs = reference(shape_of("124M"))
    theirs.save_pretrained(folder)
    with torch.no_grad():
        yield folder, theirs(draw(1, 16, 50257)).logits
    shutil.rmtree(folder)


def test_parity_at_the_real_shape_of_124M(folder_124M):
    folder, expected = folder_124M
    model = load_gpt2(folder)
    with torch.no_grad():
        worst = (model(draw(1, 16, 50257)) - expected).abs().max().item()
    print(f"\n124M, float32: largest error of a logit {worst:.1e}, of logits up to {expected.abs().max():.1f}")
    assert worst < 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("size, dtype", [("124M", torch.float64), *((size, dtype) for size in ("355M", "774M", "1558M")
                                                                    for dtype in ATOL)], ids=str)
def test_parity_at_the_real_shapes(size, dtype, tmp_path):
    theirs, ids = reference(shape_of(size)), draw(1, 16, 50257)
    theirs.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = theirs.to(dtype)(ids).logits
        del theirs  # two of 1558M in float64 need more memory than most machines have
        worst = (load_gpt2(tmp_path, dtype=dtype)(ids) - expected).abs().max().item()
    print(f"\n{size}, {dtype}: largest error of a logit {worst:.1e}, of logits up to {expected.abs().max():.1f}")
    shutil.rmtree(tmp_path)
    assert worst < ATOL[dtype]


@pytest.mark.internet
def test_openai_s_124M_is_that_of_transformers():
    repository, revision, _ = GPT2_CHECKPOINTS["124M"]
    model = load_gpt2("124M")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(repository, revision=revision).eval()
    encode = tokenizer_for(model).encode_ordinary
    prompt = torch.tensor([encode("Alan Turing theorized that computers would one day become")])
    assert torch.equal(greedy(model, prompt, 20), greedy(theirs, prompt, 20))
    text = torch.tensor([encode(load_novel("persuasion")[:8000])[:513]])
    with torch.no_grad():
        loss = F.cross_entropy(model(text[:, :-1])[0], text[0, 1:]).item()
        expected = F.cross_entropy(theirs(text[:, :-1]).logits[0], text[0, 1:]).item()
    print(f"\nloss on Persuasion {loss:.6f}, of transformers {expected:.6f}")
    assert abs(loss - expected) < 1e-5


# --- the four public checkpoints ---------------------------------------------------------------------------------

MANIFEST = json.loads((Path(__file__).parent / "data" / "gpt2_manifest.json").read_text("utf-8"))


def tensors_of(entry):
    """{name: shape} of all tensors of a checkpoint in the manifest."""
    return {name.replace("{i}", str(i)): tuple(shape) for name, shape in entry["tensors"].items()
            for i in range(entry["config"]["n_layer"] if "{i}" in name else 1)}


@pytest.mark.parametrize("size", GPT2_CHECKPOINTS)
def test_names_and_shapes_of_the_public_checkpoints(size):
    entry = MANIFEST["checkpoints"][size]
    repository, revision, config = GPT2_CHECKPOINTS[size]
    assert (repository, revision) == (entry["repository"], entry["revision"])
    assert entry["config"] == shape_of(size)
    with torch.device("meta"):
        parameters = dict(GPTModel({**config, "qkv_bias": True}).named_parameters())
    names = gpt2_names(config["n_layers"])
    assert {n: shape for n, shape in tensors_of(entry).items() if not n.endswith(".attn.bias")} == {
        theirs: tuple(parameters[own].shape)[::-1 if turned else 1] for theirs, (own, turned) in names.items()}
    assert sorted(own for own, _ in names.values()) == sorted(parameters)


def test_the_published_size_of_124M_is_that_of_its_tensors():
    entry = MANIFEST["checkpoints"]["124M"]
    start, header = 0, {"__metadata__": {"format": "pt"}}
    for name, shape in sorted(tensors_of(entry).items()):
        end = start + 4 * math.prod(shape)
        header[name] = {"dtype": MANIFEST["dtype"], "shape": shape, "data_offsets": [start, end]}
        start = end
    rest = entry["file_bytes"] - start - 8 - len(json.dumps(header, separators=(",", ":")))
    # The order of the tensors in the file is not known here, and the digits of the offsets depend on it.
    assert abs(rest) < 160 and len(header) == 161


# --- formats -----------------------------------------------------------------------------------------------------

def variant(theirs, prefix=True, head=True, masks=False):
    """The weights of a model of transformers as a checkpoint may have them."""
    state = {name: t.clone() for name, t in theirs.state_dict().items()}
    if not head:
        del state["lm_head.weight"]
    if masks:
        T = theirs.config.n_positions
        for i in range(theirs.config.n_layer):
            state[f"transformer.h.{i}.attn.bias"] = torch.tril(torch.ones(T, T)).view(1, 1, T, T)
            state[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return state if prefix else {name.removeprefix("transformer."): t for name, t in state.items()}


def write(folder, state, container="safetensors", config=TINY):
    """A checkpoint's folder with these tensors."""
    folder.mkdir(exist_ok=True)
    transformers.GPT2Config(**config).save_pretrained(folder)
    if container == "safetensors":
        save_file({name: t.contiguous() for name, t in state.items()}, folder / NEW, {"format": "pt"})
    elif container == "shards":
        places = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(sorted(state))}
        for shard in set(places.values()):
            save_file({name: state[name].contiguous() for name in places if places[name] == shard}, folder / shard)
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}), "utf-8")
    else:
        torch.save(state, folder / OLD, _use_new_zipfile_serialization=container == "zip")
    return folder


CONTAINERS = ["safetensors", "shards", "zip", "legacy"]
each_container = pytest.mark.parametrize("container", CONTAINERS)


@each_container
def test_every_format_opens_with_equal_bits(container, tmp_path):
    theirs = reference()
    expected = bits(ours(theirs))
    for prefix in (True, False):
        for head in (True, False):
            for masks in (True, False):
                folder = write(tmp_path / f"{prefix}{head}{masks}", variant(theirs, prefix, head, masks), container)
                assert same(bits(load_gpt2(folder)), expected), (prefix, head, masks)


@pytest.mark.parametrize("shard_size", ["1GB", "30KB"])
def test_what_transformers_saves_opens(shard_size, tmp_path):
    theirs = reference()
    theirs.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / INDEX).exists() == (shard_size == "30KB") != (tmp_path / NEW).exists()
    model = load_gpt2(str(tmp_path))
    assert same(bits(model), bits(ours(theirs))) and error(model, theirs, draw(2, 16)) < 2e-5
    assert not model.training


@each_container
@pytest.mark.parametrize("stored, opened", [(torch.float16, torch.float32), (torch.bfloat16, torch.float32),
                                            (torch.float32, torch.float32), (torch.float64, torch.float64)], ids=str)
def test_dtypes(container, stored, opened, tmp_path):
    theirs = reference(dtype=stored)
    folder = write(tmp_path / "m", variant(theirs), container)
    for dtype in (None, torch.float64, torch.float32, torch.bfloat16):
        expected = opened if dtype is None else dtype
        assert same(bits(load_gpt2(folder, dtype=dtype)), bits(ours(theirs, expected))), dtype
    bare = {name.removeprefix("transformer."): t for name, t in variant(theirs).items()}
    assert load_gpt2(write(tmp_path / "bare", bare, container)).tok_emb.weight.dtype == opened


def test_numbers_beyond_a_dtype_are_refused(tmp_path):
    state = variant(reference())
    state["transformer.ln_f.weight"][3] = 7e4  # float16 ends at 65,504
    folder = write(tmp_path / "m", state)
    assert load_gpt2(folder).final_norm.scale[3] == 7e4
    with pytest.raises(ValueError, match=r"model.safetensors.*ln_f.weight is not all finite floats in torch.float16"):
        load_gpt2(folder, dtype=torch.float16)


@each_container
def test_a_loaded_model_does_not_need_its_file(container, tmp_path):
    folder = write(tmp_path / "m", variant(reference()), container)
    model = load_gpt2(folder)
    before = bits(model)
    for path in folder.iterdir():
        if path.suffix in (".safetensors", ".bin"):
            with open(path, "r+b") as file:
                file.write(b"\xff" * path.stat().st_size)
            path.unlink()
    assert same(bits(model), before)


def test_device_is_that_asked_for_and_the_generator_is_left_alone(tmp_path):
    folder = write(tmp_path / "m", variant(reference()))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with torch.device("meta"):
        model = load_gpt2(folder, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert {p.device.type for p in model.parameters()} == {"cpu"} and all(p.requires_grad for p in model.parameters())
    nn.init.ones_(weight := torch.zeros(2))  # nn.init works again
    assert weight.sum() == 2


# --- other attentions --------------------------------------------------------------------------------------------

@pytest.fixture
def tiny(tmp_path):
    """A folder, and its model in float64."""
    folder = write(tmp_path / "tiny", variant(reference(dtype=torch.float64, std=0.3)))
    return folder, load_gpt2(folder)


@pytest.mark.parametrize("attention, settings, atol", [
    (HalfCacheAttention, {}, 1e-10), (SlidingWindowAttention, {"sliding_window_size": 16}, 1e-10),
    (GroupedQueryAttention, {"num_kv_groups": 3}, 1e-10),
    (MultiHeadLatentAttention, {"latent_dim": 24, "input_ids": draw(8, 16, seed=1)}, 1e-6)],
    ids=["half", "window", "gqa", "mla"])
def test_attentions_that_equal_gpt2_s(attention, settings, atol, tiny):
    folder, model = tiny
    other = load_gpt2(folder, attention=attention, **settings)
    assert type(other.blocks[0].att) is attention and not other.training
    with torch.no_grad():
        assert_close(other(draw(2, 16)), model(draw(2, 16)), atol=atol, rtol=0)
        assert_close(other(draw(2, 9), use_cache=True), model(draw(2, 9)), atol=atol, rtol=0)


def test_attentions_that_give_something_up(tiny):
    folder, model = tiny
    grouped = load_gpt2(write(folder.with_name("two"), variant(reference({**TINY, "n_head": 4}, torch.float64, std=0.3)),
                              config={**TINY, "n_head": 4}), attention=GroupedQueryAttention, num_kv_groups=2, pool="first")
    assert same(bits(grouped), bits(gqa_from_mha(load_gpt2(folder.with_name("two")), 2, pool="first")))
    with torch.no_grad():
        for attention, kind in ((SlidingWindowAttention, {"sliding_window_size": 3}), (GroupedQueryAttention, {"num_kv_groups": 1}),
                                (MultiHeadLatentAttention, {"latent_dim": 6, "input_ids": draw(8, 16)})):
            other = load_gpt2(folder, attention=attention, **kind)
            assert (other(draw(1, 16)) - model(draw(1, 16))).abs().max() > 1e-3


@pytest.mark.parametrize("attention, word", [(GroupedQueryAttention, "num_kv_groups"), (MultiHeadLatentAttention, "latent_dim"),
                                             (SlidingWindowAttention, "sliding_window_size")])
def test_the_missing_setting_is_told(attention, word, tiny):
    with pytest.raises(ValueError, match=word):
        load_gpt2(tiny[0], attention=attention)


# --- memory ------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_loading_needs_little_more_memory_than_the_weights(folder_124M):
    peak, weights = in_a_process("""
        import json, re, sys
        from gptbook import load_gpt2

        def status(what):
            return 1024 * int(re.search(what + r":\\s+(\\d+)", open("/proc/self/status").read()).group(1))

        before = status("VmRSS")
        model = load_gpt2(sys.argv[1])
        print(json.dumps([status("VmHWM") - before, sum(p.nbytes for p in model.parameters())]))
        """, folder_124M[0])
    print(f"\npeak of loading {peak / 1e6:.0f} MB, of weights {weights / 1e6:.0f} MB")
    assert weights == 4 * 124_439_808 and 0.9 * weights < peak < 1.2 * weights


# --- save_gpt2 ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_round_trip(dtype, tmp_path):
    model = ours(reference(std=0.3), dtype)
    save_gpt2(model, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["config.json", NEW]
    assert same(bits(load_gpt2(tmp_path / "out", dtype=dtype)), bits(model))
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "out").eval()
    assert theirs.dtype == dtype and theirs.config.eos_token_id == TINY["vocab_size"] - 1
    assert same(bits(ours(theirs)), bits(model))
    assert {name: getattr(theirs.config, name) for name in TINY} == TINY
    if dtype == torch.float64:
        assert error(model, theirs, draw(2, 16)) < 1e-10


def test_without_qkv_bias_zeros_are_written(tmp_path):
    torch.manual_seed(0)
    model = GPTModel({**{own: TINY[name] for name, own in OURS.items()}, "qkv_bias": False}).double().eval()
    save_gpt2(model, tmp_path)
    state = load_file(tmp_path / NEW)
    assert all(not state[f"h.{i}.attn.c_attn.bias"].any() for i in range(2)) and len(state) == 28
    with torch.no_grad():
        assert_close(load_gpt2(tmp_path)(draw(2, 16)), model(draw(2, 16)), atol=1e-12, rtol=0)


def test_a_second_save_replaces_the_first(tmp_path):
    save_gpt2(ours(reference(seed=1)), tmp_path)
    model = ours(reference({**TINY, "n_layer": 1}))
    save_gpt2(model, str(tmp_path))
    assert same(bits(load_gpt2(tmp_path)), bits(model)) and sorted(os.listdir(tmp_path)) == ["config.json", NEW]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_both_files_may_be_read_by_the_same_people(tmp_path):
    save_gpt2(ours(reference()), tmp_path)
    assert (tmp_path / NEW).stat().st_mode == (tmp_path / "config.json").stat().st_mode


def test_other_attentions_are_not_saved(tmp_path):
    for attention, kind in ((HalfCacheAttention, {}), (SlidingWindowAttention, {"sliding_window_size": 4}),
                            (GroupedQueryAttention, {"num_kv_groups": 3}), (MultiHeadLatentAttention, {"latent_dim": 24})):
        model = GPTModel({**{own: TINY[name] for name, own in OURS.items()}, **kind}, attention=attention)
        with pytest.raises(ValueError, match=attention.__name__):
            save_gpt2(model, tmp_path / "new")
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_full_disk_leaves_what_was_there(tmp_path):
    save_gpt2(ours(reference(seed=1)), tmp_path / "former")
    before = {path.name: path.read_bytes() for path in (tmp_path / "former").iterdir()}
    save_gpt2(ours(reference(seed=2)), tmp_path / "source")
    for limit, folder, code in in_a_process("""
        import json, resource, sys
        from gptbook import load_gpt2, save_gpt2

        model, report = load_gpt2(sys.argv[1] + "/source"), []
        for limit in (100, int(sys.argv[2]) // 2):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            for folder in ("former", "new"):
                try:
                    save_gpt2(model, sys.argv[1] + "/" + folder)
                    report.append([limit, folder, None])
                except OSError as error:
                    report.append([limit, folder, error.errno])
        print(json.dumps(report))
        """, tmp_path, len(before[NEW])):
        assert code, (limit, folder)
    assert {path.name: path.read_bytes() for path in (tmp_path / "former").iterdir()} == before
    assert sorted(os.listdir(tmp_path)) == ["former", "source"]


# --- damage ------------------------------------------------------------------------------------------------------

def refuse(folder, *words, error=ValueError):
    with pytest.raises(error) as raised:
        load_gpt2(folder)
    assert all(str(word) in str(raised.value) for word in words), raised.value


@each_container
def test_a_truncated_file_is_named(container, tmp_path):
    folder = write(tmp_path / "m", variant(reference()), container)
    path = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, len(whole) - 1, *random.Random(0).sample(range(len(whole)), 44)]:
        path.write_bytes(whole[:length])
        refuse(folder, path)


def test_flipped_bits_of_the_header(tmp_path):
    folder = write(tmp_path / "m", variant(reference()))
    whole, expected = (folder / NEW).read_bytes(), bits(load_gpt2(folder))
    length = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for bit in random.Random(0).sample(range(8 * length), 200):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (folder / NEW).write_bytes(damaged)
        try:
            assert same(bits(load_gpt2(folder)), expected), bit
        except ValueError as error:
            assert str(folder / NEW) in str(error), bit
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_flipped_bits_of_the_pickle(container, tmp_path):
    folder = write(tmp_path / "m", variant(reference()), container)
    whole, expected = (folder / OLD).read_bytes(), bits(load_gpt2(folder))
    refused = 0
    for bit in random.Random(0).sample(range(8 * 2000), 200):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (folder / OLD).write_bytes(damaged)
        try:
            model = load_gpt2(folder)  # a bit of a flag, of a check sum or of an offset within a tensor may pass
            assert {k: t.shape for k, t in bits(model).items()} == {k: t.shape for k, t in expected.items()}
        except ValueError as error:
            assert str(folder / OLD) in str(error), bit
            refused += 1
    assert refused > 100


N = "transformer.h.1.mlp.c_fc.weight"  # (E, 4E)
WRONG = {"missing": ({N: None}, ["h.1.mlp.c_fc.weight is missing"]),
         "a mask too many": ({"transformer.h.2.attn.bias": torch.ones(1, 1, 16, 16)}, ["h.2.attn.bias is unknown"]),
         "one too many": ({"transformer.h.2.ln_1.weight": torch.ones(24)}, ["h.2.ln_1.weight is unknown"]),
         "twice": ({N.removeprefix("transformer."): torch.ones(24, 96)}, ["h.1.mlp.c_fc.weight", "twice"]),
         "transposed": ({N: torch.zeros(96, 24)}, [N, "(96, 24)", "(24, 96)"]),
         "of another rank": ({N: torch.zeros(24 * 96)}, [N, "(2304,)"]),
         "NaN": ({N: torch.full((24, 96), float("nan"))}, [N, "finite"]),
         "infinite": ({N: torch.full((24, 96), float("inf"))}, [N, "finite"]),
         "minus infinite": ({N: torch.eye(24, 96).log()}, [N, "finite"]),  # its largest number is 0
         "integers": ({N: torch.ones(24, 96, dtype=torch.int64)}, [N, "floats"]),
         "complex": ({N: torch.ones(24, 96, dtype=torch.complex64)}, [N, "floats"]),
         "a head of its own": ({"lm_head.weight": torch.ones(40, 24)}, ["lm_head.weight", "wte.weight"]),
         "a head of another dtype": ({"lm_head.weight": torch.ones(40, 24).half()}, ["lm_head.weight", "wte.weight"]),
         "a head of another shape": ({"lm_head.weight": torch.ones(41, 24)}, ["lm_head.weight", "wte.weight"]),
         "empty": (None, ["wte.weight"])}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tensors_are_named_and_change_nothing(case, tmp_path):
    changes, words = WRONG[case]
    state = {} if changes is None else {**variant(reference()), **changes}
    state = {name: t for name, t in state.items() if t is not None}
    model = ours(reference(seed=1))
    before = bits(model)
    with pytest.raises(ValueError) as raised:
        load_weights_into_gpt(model, state)
    assert all(word in str(raised.value) for word in words), raised.value
    assert same(bits(model), before)
    for container in CONTAINERS if state else ("safetensors", "zip", "legacy"):
        refuse(write(tmp_path / container, state, container), tmp_path / container, *words)


def test_a_model_of_another_shape_is_left_alone():
    state = variant(reference())
    sizes = {own: TINY[name] for name, own in OURS.items()}
    for changes in ({"n_layers": 1}, {"n_layers": 3}, {"emb_dim": 48}, {"vocab_size": 41}, {"context_length": 8}, {"qkv_bias": False}):
        model = GPTModel({**sizes, "qkv_bias": True, **changes})
        before = bits(model)
        with pytest.raises(ValueError):
            load_weights_into_gpt(model, state)
        assert same(bits(model), before), changes


@pytest.mark.parametrize("changes, word", [
    ({"n_layer": 1}, "h.1."), ({"n_layer": 3}, "h.2."), ({"n_embd": 48}, "(48, 144)"), ({"vocab_size": 41}, "(41, 24)"),
    ({"n_positions": 8}, "(8, 24)"), ({"n_embd": "24"}, "emb_dim"), ({"n_head": 0}, "n_heads"), ({"n_inner": 64}, "n_inner"),
    ({"activation_function": "gelu"}, "activation_function"), ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon"),
    ({"scale_attn_weights": False}, "scale_attn_weights"), ({"add_cross_attention": True}, "add_cross_attention"),
    ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"), ({"tie_word_embeddings": False}, "tie_word"),
    ({"model_type": "llama"}, "llama"), ({"model_type": None}, "model_type"), ({"resid_pdrop": "much"}, "drop_rate")])
def test_a_config_that_disagrees_is_told(changes, word, tmp_path):
    folder = write(tmp_path / "m", variant(reference()))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    refuse(folder, folder, word)


def test_a_config_without_its_kind_of_model_is_told(tmp_path):
    folder = write(tmp_path / "m", variant(reference()))
    (folder / "config.json").write_text(json.dumps(TINY))
    refuse(folder, folder, "model_type")


def test_the_newer_format_is_read_where_there_are_several(tmp_path):
    theirs, others = reference(), reference(seed=1)
    folder = write(tmp_path / "m", variant(theirs))
    for container in ("shards", "zip"):
        for path in write(tmp_path / container, variant(others), container).iterdir():
            if path.name != "config.json":
                shutil.copy(path, folder)
    assert same(bits(load_gpt2(folder)), bits(ours(theirs)))
    (folder / NEW).unlink()
    (folder / OLD).write_bytes(b"no pickle")
    assert same(bits(load_gpt2(folder)), bits(ours(others)))


def test_a_config_without_what_is_the_default_opens(tmp_path):
    theirs = reference()
    folder = write(tmp_path / "m", variant(theirs))
    (folder / "config.json").write_text(json.dumps({**TINY, "model_type": "gpt2"}))
    assert same(bits(load_gpt2(folder)), bits(ours(theirs)))
    (folder / "config.json").write_text(json.dumps({**TINY, "model_type": "gpt2", "n_inner": 96}))
    assert same(bits(load_gpt2(folder)), bits(ours(theirs)))


def test_a_damaged_config_is_named(tmp_path):
    folder = write(tmp_path / "m", variant(reference()))
    path = folder / "config.json"
    whole = path.read_bytes()
    for damaged in (b"", whole[:-2], whole[:100], b"\xff\xfe" + whole, b"[]", b"{}", b"null", b"[" * 100_000):
        path.write_bytes(damaged)
        refuse(folder, path)
    path.unlink()
    refuse(folder, path, error=FileNotFoundError)
    shutil.rmtree(folder)
    folder.mkdir()
    path.write_bytes(whole)
    refuse(folder, folder, NEW, INDEX, OLD, error=FileNotFoundError)


def test_other_architectures_are_refused(tmp_path):
    small = {"vocab_size": 40, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
    for name, kind, config in (("llama", transformers.LlamaForCausalLM, transformers.LlamaConfig(**small)),
                               ("bert", transformers.BertModel, transformers.BertConfig(**small))):
        theirs = kind(config)
        theirs.save_pretrained(tmp_path / name)
        refuse(tmp_path / name, tmp_path / name / "config.json", name, "gpt2")
        model = ours(reference())
        before = bits(model)
        with pytest.raises(ValueError, match="unknown"):
            load_weights_into_gpt(model, theirs.state_dict())
        assert same(bits(model), before)


class Evil:
    """Unpickled without care, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_pickle_with_code_is_not_run(container, tmp_path):
    folder = write(tmp_path / "m", {**variant(reference()), "extra": Evil(tmp_path / "ran")}, container)
    refuse(folder, folder / OLD)
    assert not (tmp_path / "ran").exists()
    torch.load(folder / OLD, weights_only=False)
    assert (tmp_path / "ran").exists()  # so the trap was a trap


@pytest.mark.parametrize("content", [[torch.ones(2)], {"wte.weight": 1.0}, {1: torch.ones(2)}, torch.ones(2)], ids=repr)
def test_a_pickle_of_something_else_is_refused(content, tmp_path):
    folder = write(tmp_path / "m", {})
    (folder / NEW).unlink()
    torch.save(content, folder / OLD)
    refuse(folder, folder / OLD, "dict")


@pytest.mark.parametrize("place", ["../stolen.safetensors", "/stolen.safetensors", "a/b.safetensors", "..", ".", "", 3, None])
def test_an_index_that_points_outside_is_refused(place, tmp_path):
    folder = write(tmp_path / "m", variant(reference()), "shards")
    shutil.copy(next(folder.glob("*1-of-*.safetensors")), tmp_path / "stolen.safetensors")
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"][N] = place
    (folder / INDEX).write_text(json.dumps(index))
    refuse(folder, folder / INDEX, "weight_map")


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": []}, [], None])
def test_an_index_without_a_map_is_refused(index, tmp_path):
    folder = write(tmp_path / "m", variant(reference()), "shards")
    (folder / INDEX).write_text(json.dumps(index))
    refuse(folder, folder / INDEX)


def test_an_index_is_held_to_its_promise(tmp_path):
    folder = write(tmp_path / "m", variant(reference()), "shards")
    index = json.loads((folder / INDEX).read_text())
    places = index["weight_map"]
    first, second = sorted(set(places.values()))
    places[N] = first if places[N] == second else second
    (folder / INDEX).write_text(json.dumps(index))
    refuse(folder, folder / INDEX, N, places[N])
    (folder / second).unlink()
    refuse(folder, second, error=FileNotFoundError)


# --- the Hub -----------------------------------------------------------------------------------------------------

def test_without_internet(tmp_path):
    """First nothing is there, and the ways on are told; then the files lie in the Hub's cache, and nothing is asked for."""
    repository, revision, _ = GPT2_CHECKPOINTS["124M"]
    source = tmp_path / "source"
    theirs = reference()
    theirs.save_pretrained(source)
    errors, weights = in_a_process("""
        import json, shutil, sys
        from pathlib import Path
        from gptbook import load_gpt2

        source, home, repository, revision = sys.argv[1:]
        errors, weights = [], []
        for name in ("124M", repository):
            try:
                load_gpt2(name)
            except ConnectionError as error:
                errors.append(str(error))
        cache = Path(home) / "hub" / ("models--" + repository.replace("/", "--"))
        shutil.copytree(source, cache / "snapshots" / revision)
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text(revision)
        for name in ("124M", repository):
            weights.append(load_gpt2(name).final_norm.shift.tolist())
        print(json.dumps([errors, weights]))
        """, source, tmp_path / "home", repository, revision, HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="1")
    assert len(errors) == 2 and all(repository in e and "load_gpt2('austen')" in e and "load_gpt2(folder)" in e for e in errors)
    expected = theirs.transformer.ln_f.bias.tolist()
    assert weights == [expected, expected]


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face Hub as a download of files needs; the server's `files` maps names to bytes.

    A connection breaks after the first `cuts[name]` bytes of a file.
    """

    def do_GET(self):
        repository, _, rest = self.path.removeprefix("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        body = self.server.files.get(name) if repository == "somebody/gpt2" else None
        self.server.asked.append((self.command, name or self.path))
        self.send_response(404 if body is None else 200)
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound" if repository == "somebody/gpt2" else "RepoNotFound")
            body = b""
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{name}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:self.server.cuts.get(name)])

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.cuts, server.asked = {}, {}, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def from_hub(hub, home, code):
    """What `code` prints as JSON in a process that asks this hub."""
    return in_a_process(code, HF_HOME=str(home), HF_HUB_DISABLE_XET="1", HF_HUB_OFFLINE="0", NO_PROXY="127.0.0.1",
                        no_proxy="127.0.0.1", HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}")


def test_a_broken_connection_is_told_and_the_next_try_succeeds(hub, tmp_path):
    theirs = reference()
    hub.files = {path.name: path.read_bytes() for path in write(tmp_path / "all", variant(theirs)).iterdir()}
    hub.cuts = {NEW: 5000}
    code = """
        import json
        from gptbook import load_gpt2

        try:
            print(json.dumps(load_gpt2("somebody/gpt2").final_norm.shift.tolist()))
        except ConnectionError as error:
            print(json.dumps(str(error)))
        """
    told = from_hub(hub, tmp_path / "home", code)
    assert "somebody/gpt2" in told and "load_gpt2('austen')" in told and "load_gpt2(folder)" in told
    assert not list((tmp_path / "home").rglob(NEW))  # nothing that could be taken for the whole file
    hub.cuts.clear()
    assert from_hub(hub, tmp_path / "home", code) == theirs.transformer.ln_f.bias.tolist()


def test_only_the_files_that_are_needed_are_downloaded(hub, tmp_path):
    theirs = reference()
    reports, asked = {}, {}
    folder = write(tmp_path / "all", variant(theirs))
    for container in ("shards", "zip"):
        for path in write(tmp_path / container, variant(theirs), container).iterdir():
            shutil.copy(path, folder)
    everything = {path.name: path.read_bytes() for path in folder.iterdir()} | {"tf_model.h5": b"", "rust_model.ot": b""}
    shards = sorted(name for name in everything if "-of-" in name)
    code = """
        import json, sys
        from gptbook import load_gpt2

        report = []
        for name in ("somebody/gpt2", "somebody/gpt2", "somebody/else"):
            try:
                report.append(load_gpt2(name).final_norm.shift.tolist())
            except ValueError as error:
                report.append(str(error))
        print(json.dumps(report))
        """
    for left_out in ([], [NEW], [NEW, INDEX]):
        hub.files = {name: body for name, body in everything.items() if name not in left_out}
        hub.asked.clear()
        key = str(left_out)
        reports[key] = from_hub(hub, tmp_path / f"home{len(left_out)}", code)
        asked[key] = [name for command, name in hub.asked if command == "GET" and not name.startswith("/api/")]  # files
    for report in reports.values():
        assert report[0] == report[1] == theirs.transformer.ln_f.bias.tolist()
        assert "somebody/else" in report[2]
    assert list(asked.values()) == [["config.json", NEW], ["config.json", INDEX, *shards], ["config.json", OLD]]


# --- first_difference --------------------------------------------------------------------------------------------

@pytest.fixture
def pair():
    theirs = reference(dtype=torch.float64, std=0.3)
    return ours(theirs), theirs


def hooks(*models):
    return sum(len(m._forward_hooks) for model in models for m in model.modules())


@torch.no_grad()
def damage(model, kind):
    block = model.blocks[1]
    if kind == "out_proj":
        block.att.out_proj.weight.copy_(block.att.out_proj.weight.T.clone())
    elif kind == "gelu":
        block.ff.gelu = nn.GELU()
    elif kind == "eps":
        block.norm2.eps = 1e-3
    elif kind == "embedding":
        model.tok_emb.weight[3] += 0.1
    elif kind == "positions":
        model.pos_emb.weight[2] += 0.1
    elif kind == "nan":
        block.ff.expand.bias[0] = float("nan")
    elif kind == "final":
        model.final_norm.scale += 0.1


@pytest.mark.parametrize("kind, layer", [
    ("none", None), ("out_proj", "blocks.1.att.out_proj"), ("gelu", "blocks.1.ff.gelu"), ("eps", "blocks.1.norm2"),
    ("embedding", "tok_emb"), ("positions", "pos_emb"), ("nan", "blocks.1.ff.expand"), ("final", "final_norm")])
def test_first_difference_finds_the_layer(kind, layer, pair):
    model, theirs = pair
    damage(model, kind)
    ids = torch.arange(16)[None]
    found = first_difference(model, theirs, ids)
    assert (found and found[0]) == layer
    if found:
        assert math.isnan(found[1]) if kind == "nan" else found[1] > 1e-5
        assert kind == "nan" or first_difference(model, theirs, ids, atol=1e3) is None
    assert hooks(*pair) == 0


def test_first_difference_looks_at_the_head_too(pair):
    model, theirs = pair
    theirs.lm_head.weight = nn.Parameter(2 * theirs.lm_head.weight)  # no longer the embedding
    assert first_difference(model, theirs, torch.arange(16)[None])[0] == "logits"


def test_first_difference_leaves_no_hook_after_an_error(pair):
    model, theirs = pair
    for ids in (torch.tensor([[99]]), torch.zeros(1, 17, dtype=torch.int64)):
        with pytest.raises(ValueError):
            first_difference(model, theirs, ids)
        assert hooks(model, theirs) == 0
    short = reference({**TINY, "n_layer": 1}, torch.float64)
    with pytest.raises((ValueError, AttributeError)):
        first_difference(model, short, draw(1, 4))
    assert hooks(model, short) == 0


# --- the tokenizer and the shipped checkpoint ----------------------------------------------------------------------

AUSTEN = Path(gptbook.__file__).parent / "data" / "austen"


@pytest.fixture(scope="module")
def fast_tokenizer():
    return transformers.PreTrainedTokenizerFast.from_pretrained(AUSTEN)


@settings(max_examples=100, deadline=None)
@given(text=st.text() | st.text("abcdefghij '.,;!?\n\tEST0123—é") | st.integers(0, 600_000).map(
    lambda start: load_novel("emma")[start:start + 300]))
def test_the_shipped_tokenizer_json_gives_the_same_ids(fast_tokenizer, text):
    ids = austen_tokenizer().encode(text, allowed_special="all")
    assert fast_tokenizer.encode(text, add_special_tokens=False) == ids
    assert fast_tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_the_end_of_a_text_is_one_token(fast_tokenizer):
    end = austen_tokenizer().eot_token
    assert fast_tokenizer.encode("a<|endoftext|>b", add_special_tokens=False)[1] == end == fast_tokenizer.eos_token_id
    assert tokenizer_for(load_gpt2("austen")) is austen_tokenizer()


def test_the_shipped_checkpoint_opens_in_transformers():
    model = load_gpt2("austen")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(AUSTEN, dtype=torch.float32).eval()
    ids = torch.tensor([austen_tokenizer().encode_ordinary(load_novel("persuasion")[:3000])[:model.cfg.context_length]])
    worst = error(model, theirs, ids)
    print(f"\nausten: largest error of a logit {worst:.1e}")
    assert worst < 2e-5
    assert first_difference(model, theirs, ids, atol=2e-5) is None
    assert torch.equal(greedy(model, ids[:, :20], 30), greedy(theirs, ids[:, :20], 30))
    assert sum(path.stat().st_size for path in AUSTEN.iterdir() if path.suffix in (".json", ".safetensors")) < 12e6
