"""Chapter 13's shards: tokens of texts of any size, in files that a kill cannot spoil, for a run on many processes."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import torch
from conftest import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gptbook import (
    END_OF_TEXT, TRAIN_NOVELS, VALIDATION_NOVEL, GPTDatasetV1, GPTModel, TokenShards, TrainConfig, austen_tokenizer, cli,
    gpt2_tokenizer, join_lines, load_novel, prepare_shards, stream_text, train, write_token_file)
from gptbook.distributed import _LONGEST_RUN

AUSTEN = ROOT / "gptbook" / "data" / "austen"
NOVELS = [AUSTEN / f"{name}.txt" for name in (*TRAIN_NOVELS, VALIDATION_NOVEL)]
WAIT = 60  # seconds until a process that hangs is an error


def encode(text, tokenizer):
    return tokenizer.encode(text, allowed_special={END_OF_TEXT})


def whole(paths, tokenizer):
    """The tokens of the files as `gptbook train` joins them."""
    return encode(END_OF_TEXT.join(join_lines(path.read_text("utf-8")) for path in paths), tokenizer)


def shards(folder):
    return [np.load(path) for path in sorted(Path(folder).glob("*.npy"))]


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def start(*arguments, **options):
    """`python -m gptbook prepare ...`, running."""
    return subprocess.Popen([sys.executable, "-m", "gptbook", "prepare", *map(str, arguments)], cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


# Where a text is cut.

# What texts are made of here: each kind of character that the pattern knows, of one to four bytes, each kind of white
# space, and what is more than the sum of its characters.
PIECES = st.sampled_from(["a", "Anne", "é", "達", "西", "7", "½", ".", "'", "'s", "'ll", "\"", "…", "🙂", "é", " ", "  ", "\n", "\n\n",
                          "\r\n", "\r", "\t", " \n", "\u00a0", "\u3000", "\u2028", "\x1c", "\x85", "\x00", "\ufeff", END_OF_TEXT, "<|endof"])
TEXTS = st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=40))


@pytest.fixture(scope="module")
def scratch():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@settings(max_examples=500, deadline=None)
@given(TEXTS, st.integers(1, 30), st.sampled_from([austen_tokenizer(), gpt2_tokenizer()]))
@example("a  \n\nb", 1, austen_tokenizer())
@example("one\ntwo\r\nthree\rfour", 2, austen_tokenizer())
def test_pieces_have_the_tokens_of_the_whole(scratch, text, block_bytes, tokenizer):
    path = scratch / "text.txt"
    path.write_bytes(text.encode("utf-8"))
    joined = join_lines(path.read_text("utf-8"))  # read_text makes every line end a \n
    found = list(stream_text(path, block_bytes=block_bytes))
    assert "".join(piece for piece, _ in found) == joined
    assert [i for piece, _ in found for i in encode(piece, tokenizer)] == encode(joined, tokenizer)
    for n, (_, end) in enumerate(found):  # from the end of each piece on, read in another rhythm
        rest = list(stream_text(path, end, block_bytes=7))
        assert "".join(piece for piece, _ in rest) == "".join(piece for piece, _ in found[n + 1:])
        assert [i for p, _ in found[:n + 1] + rest for i in encode(p, tokenizer)] == encode(joined, tokenizer)


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.integers(1, 5), st.binary(min_size=1, max_size=4), TEXTS)
def test_what_is_no_utf8_is_named_with_its_byte(scratch, before, block_bytes, wrong, after):
    data = before.encode("utf-8") + wrong + after.encode("utf-8")
    path = scratch / "wrong.txt"
    path.write_bytes(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        with pytest.raises(ValueError, match=rf"wrong.txt is no UTF-8 text: at byte {error.start} stands"):
            list(stream_text(path, block_bytes=block_bytes))
    else:
        list(stream_text(path, block_bytes=block_bytes))


@pytest.mark.parametrize("run", ["a", " ", "達", "\n", "x1", ". "])
def test_a_text_without_a_cut_is_whole_up_to_half_a_million_characters_and_then_refused(tmp_path, run):
    path, tokenizer = tmp_path / "run.txt", gpt2_tokenizer()
    for characters, block_bytes in ((40_000, 4096), (_LONGEST_RUN - 10, 2**18)):
        text = "Anne " + run * (characters // len(run)) + " Anne"
        path.write_bytes(text.encode("utf-8"))
        ids = [i for piece, _ in stream_text(path, block_bytes=block_bytes) for i in encode(piece, tokenizer)]
        assert ids == encode(join_lines(text), tokenizer)
    path.write_bytes(("Anne " + run * 2_000_000).encode("utf-8"))
    if run == ". ":  # a cut every two characters
        assert sum(len(piece) for piece, _ in stream_text(path)) == 4_000_005
    else:
        with pytest.raises(ValueError, match=r"run.txt has no white space after a visible character .* from byte \d on"):
            list(stream_text(path))


# Shards.

@pytest.mark.parametrize("tokenizer, shard_tokens", [(austen_tokenizer(), 100_000), (gpt2_tokenizer(), 77_777)],
                         ids=["austen", "gpt2"])
def test_the_novels_have_the_tokens_of_the_whole(tmp_path, tokenizer, shard_tokens):
    index = prepare_shards(NOVELS, tmp_path / "new" / "tokens", tokenizer, shard_tokens=shard_tokens)
    found, ids = shards(tmp_path / "new" / "tokens"), whole(NOVELS, tokenizer)
    assert np.array_equal(np.concatenate(found), ids) and ids.count(tokenizer.eot_token) == 5
    assert {len(part) for part in found[:-1]} == {shard_tokens} and 1 <= len(found[-1]) <= shard_tokens
    assert all(part.dtype == np.uint16 for part in found)
    assert [shard["tokens"] for shard in index["shards"]] == [len(part) for part in found]
    assert [shard["largest"] for shard in index["shards"]] == [part.max() for part in found]
    assert index == json.loads((tmp_path / "new" / "tokens" / "index.json").read_text()) and index["next"] is None
    # each is a token file of chapter 1
    assert torch.equal(GPTDatasetV1(tmp_path / "new" / "tokens" / "00001.npy", tokenizer, 8, 8).token_ids,
                       torch.from_numpy(found[1]))
    write_token_file(tmp_path / "same.npy", tokenizer.decode(found[0].tolist()), tokenizer)
    assert len(np.load(tmp_path / "same.npy")) == shard_tokens


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4).filter(any), st.integers(1, 12), st.integers(0, 2**32))
def test_stopped_after_any_shard_a_run_ends_with_the_same_bytes(texts, shard_tokens, seed):
    chance, tokenizer = random.Random(seed), austen_tokenizer()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{i}.txt" for i in range(len(texts))]
        for path, text in zip(paths, texts):
            path.write_bytes(text.encode("utf-8"))
        prepare_shards(paths, folder / "whole", tokenizer, shard_tokens=shard_tokens)
        ids = whole(paths, tokenizer)
        assert np.concatenate(shards(folder / "whole")).tolist() == ids
        out, rename, left = folder / "broken", os.replace, 0

        def stops(old, new):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            rename(old, new)

        for _ in range(2 * len(ids) + 20):  # stopped after its first shard, before the index has it, a run has come no further
            left = chance.randint(2, 6)
            try:
                os.replace = stops
                prepare_shards(paths, out, tokenizer, shard_tokens=shard_tokens)
                break
            except KeyboardInterrupt:
                pass
            finally:
                os.replace = rename
        assert contents(out) == contents(folder / "whole")


def big_text(path, n_bytes, seed=0):
    """A file of about so many bytes: pages of the novels in random order, every line its own length."""
    chance = random.Random(seed)
    pages = [page.strip() for novel in NOVELS for page in novel.read_text("utf-8").split("\n\n") if page.strip()]
    written = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        while written < n_bytes:
            written += file.write("".join(f"{page}\n\n" for page in chance.sample(pages, 2000)))
    return path


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path):
    text, chance = big_text(tmp_path / "text.txt", 20_000_000), random.Random(time.time_ns())
    arguments = [text, NOVELS[0], "--tokenizer", "austen", "--shard-tokens", 40_000]
    prepare_shards([text, NOVELS[0]], tmp_path / "whole", austen_tokenizer(), shard_tokens=40_000)
    out, index, kills, before = tmp_path / "tokens", tmp_path / "tokens" / "index.json", 0, []
    for _ in range(4):
        process = start(*arguments, "--out", out)
        try:
            deadline = time.monotonic() + WAIT
            while (not index.exists() or json.loads(index.read_text())["shards"] == before) and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(chance.random() * 0.2)
        finally:
            process.kill()
            process.communicate()
        kills += process.returncode == -signal.SIGKILL
        before = json.loads(index.read_text())["shards"]
        for i, shard in enumerate(before):  # what the index names is whole
            assert len(np.load(out / f"{i:05d}.npy")) == shard["tokens"]
    assert kills >= 2, "it was never killed before it ended: give it more to do"
    last = start(*arguments, "--out", out)
    out_text, err = last.communicate(timeout=WAIT)
    assert last.returncode == 0, err
    assert contents(out) == contents(tmp_path / "whole")
    assert f"{sum(len(part) for part in shards(out)):,} tokens" in out_text.decode()


PEAK = """
import sys
from pathlib import Path
import gptbook.cli
def peak():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
imports = peak()
assert gptbook.cli.main(sys.argv[1:]) == 0
print(imports, peak())
"""


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads a process's peak memory from /proc")


@linux
@pytest.mark.parametrize("megabytes, times", [(10, 5), pytest.param(20, 100, marks=pytest.mark.slow)], ids=["50 MB", "2 GB"])
def test_a_large_text_in_less_than_300_mb_of_memory(tmp_path, megabytes, times):
    unit = big_text(tmp_path / "unit.txt", megabytes * 1_000_000).read_text("utf-8").strip()
    text, out, tokenizer = tmp_path / "big.txt", tmp_path / "tokens", gpt2_tokenizer()
    with open(text, "w", encoding="utf-8", newline="") as file:
        file.write(unit)
        for _ in range(times - 1):
            file.write("\n\n" + unit)
    done = subprocess.run([sys.executable, "-c", PEAK, "prepare", text, "--out", out], capture_output=True, text=True, cwd=ROOT,
                          check=True)
    imports, peak = map(int, done.stdout.split()[-2:])
    print(f"{text.stat().st_size:,} bytes: {peak / 1e6:.0f} MB of memory, {imports / 1e6:.0f} of which the imports took")
    # The imports alone may take more than 300 MB where PyTorch was built for graphics cards.
    assert peak < 300e6 or peak - imports < 65e6, f"{peak / 1e6:.0f} MB, {imports / 1e6:.0f} MB after the imports"
    first, later = (torch.from_numpy(tokenizer.encode_to_numpy(join_lines(part)).astype(np.int64)) for part in (unit, "\n\n" + unit))
    ids = TokenShards(out, tokenizer, 8, 8).token_ids
    assert len(ids) == len(first) + (times - 1) * len(later)
    assert torch.equal(ids[:len(first)], first)
    for start in range(len(first), len(ids), len(later)):
        assert torch.equal(ids[start:start + len(later)], later)


def test_a_finished_folder_is_left_as_it_is(tmp_path):
    prepare_shards(NOVELS[:1], tmp_path, austen_tokenizer(), shard_tokens=50_000)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    index = prepare_shards(NOVELS[:1], tmp_path, austen_tokenizer(), shard_tokens=50_000)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before and len(index["shards"]) > 2


def small_folder(tmp_path, n=2):
    """(texts, folder of shards of 20 tokens each)."""
    texts = [tmp_path / f"{i}.txt" for i in range(n)]
    for i, text in enumerate(texts):
        text.write_text(f"Anne {i} was tenderness itself,\nand she had the full worth of it. " * 5, encoding="utf-8")
    prepare_shards(texts, tmp_path / "tokens", austen_tokenizer(), shard_tokens=20)
    return texts, tmp_path / "tokens"


def undo(folder, shards_left, shard_tokens=20):
    """Make the folder that of a run which was killed after so many shards."""
    index = json.loads((folder / "index.json").read_text())
    index["shards"], index["next"] = index["shards"][:shards_left], {"file": 0, "byte": 0, "skip": shard_tokens * shards_left}
    (folder / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("damage, error, words", [
    ("no index", ValueError, "no index.json"), ("lost", FileNotFoundError, "00001.npy"), ("short", ValueError, "is not whole")])
def test_a_folder_that_cannot_be_taken_up_stays_as_it_is(tmp_path, damage, error, words):
    texts, folder = small_folder(tmp_path)
    undo(folder, 3)
    shard = folder / "00001.npy"
    if damage == "no index":
        (folder / "index.json").unlink()
    elif damage == "lost":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-20])
    before = contents(folder)
    with pytest.raises(error, match=words):
        prepare_shards(texts, folder, austen_tokenizer(), shard_tokens=20)
    assert contents(folder) == before


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("what, words", [
    ("content", ["other texts", "changed: 1.txt", "another folder"]), ("length", ["changed: 0.txt"]), ("order", ["another order"]),
    ("tokenizer", ["tokenizer 'austen'", "'gpt2'"]), ("shard_tokens", ["shard_tokens 20", "30"])])
def test_another_run_does_not_go_on_in_the_folder(tmp_path, what, words, finished):
    texts, folder = small_folder(tmp_path)
    if not finished:
        undo(folder, 2)
    before, changed = contents(folder), {}
    if what == "content":  # the same length and the same date
        date = texts[1].stat()
        texts[1].write_text(texts[1].read_text("utf-8").replace("worth", "wrath", 1), encoding="utf-8")
        os.utime(texts[1], ns=(date.st_atime_ns, date.st_mtime_ns))
    elif what == "length":
        texts[0].write_text("Anne", encoding="utf-8")
    elif what == "order":
        changed = {"paths": texts[::-1]}
    else:
        changed = {"tokenizer": gpt2_tokenizer()} if what == "tokenizer" else {"shard_tokens": 30}
    with pytest.raises(ValueError) as raised:
        prepare_shards(**{"paths": texts, "out": folder, "tokenizer": austen_tokenizer(), "shard_tokens": 20, **changed})
    assert not [word for word in words if word not in str(raised.value)], raised.value
    assert contents(folder) == before


def test_a_text_that_changes_while_it_is_read_is_noticed(tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("Anne was kind. " * 200_000, encoding="utf-8")
    rename = os.replace

    def grows(old, new):
        rename(old, new)
        with open(text, "a") as file:
            file.write("Anne")

    monkeypatch.setattr(os, "replace", grows)
    with pytest.raises(ValueError, match="text.txt was changed while it was read"):
        prepare_shards([text], tmp_path / "tokens", austen_tokenizer(), shard_tokens=10**6)


def test_a_start_that_came_to_no_shard_does_not_bind_the_folder(tmp_path, capsys):
    text, out = tmp_path / "text.txt", tmp_path / "tokens"
    arguments = ["prepare", str(text), "--out", str(out), "--tokenizer", "austen", "--shard-tokens"]
    text.write_bytes(b"Anne was kind. " * 3000 + b"na\xefve")
    for shard_tokens in (10**15, 10**20):  # what memory does not hold, and what it could never
        assert cli.main([*arguments, str(shard_tokens)]) == 1
        err = capsys.readouterr().err
        assert err.startswith("gptbook: shard_tokens must be what memory holds") and err.count("\n") == 1 and str(shard_tokens) in err
        assert not out.exists()
    assert cli.main([*arguments, "1000000"]) == 1 and "no UTF-8" in capsys.readouterr().err
    text.write_bytes(b"Anne was kind. " * 3000 + "naïve".encode())
    assert cli.main([*arguments, "5000"]) == 0
    assert np.concatenate(shards(out)).tolist() == whole([text], austen_tokenizer())


def test_the_byte_of_a_wrong_character_far_into_a_file(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_bytes("naïve ".encode() * 500_000 + b"\xff tail")
    assert cli.main(["prepare", str(text), "--out", str(tmp_path / "tokens"), "--tokenizer", "austen"]) == 1
    err = capsys.readouterr().err
    assert "text.txt is no UTF-8 text: at byte 3500000 stands b'\\xff'" in err.splitlines()[-1] and "gptbook: " in err


@linux
def test_a_full_disk_is_told_and_leaves_what_was_whole(tmp_path):
    import resource

    texts, folder, arguments = NOVELS[:1], tmp_path / "tokens", ["--tokenizer", "austen", "--shard-tokens", 50_000]
    prepare_shards(texts, folder, austen_tokenizer(), shard_tokens=50_000)
    finished = contents(folder)
    undo(folder, 2, shard_tokens=50_000)
    for path in sorted(folder.glob("*.npy"))[2:]:
        path.unlink()
    before = contents(folder)
    assert len(finished) > len(before)
    full = start(*texts, "--out", folder, *arguments,  # a shard has 100,128 bytes
                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY)))
    _, err = full.communicate(timeout=WAIT)
    assert full.returncode == 1 and b"00002.npy" in err and b"File too large; nothing was written" in err, err
    assert contents(folder) == before
    again = start(*texts, "--out", folder, *arguments)
    _, err = again.communicate(timeout=WAIT)
    assert again.returncode == 0 and contents(folder) == finished, err


# The dataset.

@pytest.mark.parametrize("shard_tokens", [7, 20, 1000])
@pytest.mark.parametrize("max_length, stride", [(4, 4), (16, 5), (50, 1)])
def test_windows_are_those_of_the_text_in_memory(tmp_path, shard_tokens, max_length, stride):
    texts, _ = small_folder(tmp_path)
    tokenizer = austen_tokenizer()
    prepare_shards(texts, tmp_path / "t", tokenizer, shard_tokens=shard_tokens)
    text = END_OF_TEXT.join(join_lines(path.read_text("utf-8")) for path in texts)
    mapped, loaded = (cls(source, tokenizer, max_length, stride)
                      for cls, source in ((TokenShards, tmp_path / "t"), (GPTDatasetV1, text)))
    assert len(mapped) == len(loaded) > 1 and len(mapped.token_ids) == len(loaded.token_ids)
    assert mapped.largest_id() == loaded.largest_id()
    for i in [*range(len(loaded)), -1, -len(loaded)]:  # windows of 50 ids span up to nine shards of 7
        assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(mapped[i], loaded[i]))
    with pytest.raises(IndexError):
        mapped[len(loaded)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_the_ranks_parts_are_the_whole(tmp_path, world_size):
    texts, folder = small_folder(tmp_path)
    tokenizer = austen_tokenizer()
    n = len(shards(folder))
    assert n >= 6
    parts = [TokenShards(folder, tokenizer, 8, 8, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert torch.cat([part.token_ids[:] for part in parts]).tolist() == whole(texts, tokenizer)
    counts = [len(part.token_ids.parts) for part in parts]
    assert sum(counts) == n and max(counts) - min(counts) <= 1
    assert [part.largest_id() for part in parts] == [int(part.token_ids[:].max()) for part in parts]


def test_ranks_with_too_unequal_shards_are_refused(tmp_path):
    texts, _ = small_folder(tmp_path)
    tokenizer = austen_tokenizer()
    n = len(whole(texts, tokenizer))
    most = n * 3 // 4
    for name, shard_tokens in (("thirds", n // 3 + 1), ("most", most)):
        prepare_shards(texts, tmp_path / name, tokenizer, shard_tokens=shard_tokens)
    for rank in range(2):  # of three shards the second rank has two, and no more than twice the tokens
        TokenShards(tmp_path / "thirds", tokenizer, 8, 8, rank=rank, world_size=2)
        with pytest.raises(ValueError, match=f"one of 2 ranks would have {most} tokens and another {n - most}, .* about {n // 8}$"):
            TokenShards(tmp_path / "most", tokenizer, 8, 8, rank=rank, world_size=2)
    TokenShards(tmp_path / "most", tokenizer, 8, 8)
    prepare_shards(texts, tmp_path / "anew", tokenizer, shard_tokens=n // 8)
    sizes = [len(TokenShards(tmp_path / "anew", tokenizer, 8, 8, rank=rank, world_size=2).token_ids) for rank in range(2)]
    assert max(sizes) < 1.3 * min(sizes)


def test_training_from_shards_is_training_from_the_text(tmp_path):
    texts, folder = small_folder(tmp_path)
    text = END_OF_TEXT.join(join_lines(path.read_text("utf-8")) for path in texts)
    runs = []
    for dataset in (TokenShards(folder, austen_tokenizer(), 8, 4), GPTDatasetV1(text, austen_tokenizer(), 8, 4)):
        torch.manual_seed(0)
        model = GPTModel({"vocab_size": 4097, "context_length": 8, "emb_dim": 8, "n_heads": 2, "n_layers": 1})
        runs.append((train(model, dataset, TrainConfig(max_steps=4), progress=False), model.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(runs[0][1][name], runs[1][1][name]) for name in runs[0][1])
    small = GPTModel({"vocab_size": 100, "context_length": 8, "emb_dim": 8, "n_heads": 2, "n_layers": 1})
    with pytest.raises(ValueError, match="token id .*, the model's vocab_size is 100"):
        train(small, TokenShards(folder, austen_tokenizer(), 8, 4), TrainConfig(max_steps=1), progress=False)


@linux  # where a file may have a hole
def test_shards_larger_than_memory_are_opened_and_read(tmp_path):
    _, folder = small_folder(tmp_path)
    index, tokens = json.loads((folder / "index.json").read_text()), 2**36  # 128 GiB, a hole in the file but for its end
    (folder / "00000.npy").unlink()
    np.lib.format.open_memmap(folder / "00000.npy", mode="w+", dtype=np.uint16, shape=(tokens,))[-3:] = 1, 2, 3
    index["shards"][0]["tokens"] = tokens
    (folder / "index.json").write_text(json.dumps(index))
    dataset = TokenShards(folder, austen_tokenizer(), 8, 1)
    inputs, targets = dataset[tokens - 3]
    assert inputs[:4].tolist() == [1, 2, 3, int(dataset.token_ids.parts[1][0])] and len(targets) == 8


TOML = """
[model]
context_length = 8
emb_dim = 8
n_heads = 2
n_layers = 1
[data]
tokenizer = "austen"
{data}
stride = 8
[training]
max_steps = 3
[output]
folder = "{out}"
"""


def test_the_command_trains_from_a_folder_of_tokens(tmp_path, capsys):
    texts, _ = small_folder(tmp_path)
    arguments = ["prepare", *map(str, texts), "--out", str(tmp_path / "t"), "--tokenizer", "austen", "--shard-tokens", "20"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert f"{len(whole(texts, austen_tokenizer()))} tokens" in out and "100%" in err
    for out, data in (("a", 'tokens = "t/"'), ("b", 'train = ["0.txt", "1.txt"]')):
        (tmp_path / f"{out}.toml").write_text(TOML.format(data=data, out=out))
        assert cli.main(["train", str(tmp_path / f"{out}.toml")]) == 0, capsys.readouterr().err
    a, b = ((tmp_path / out / "model.safetensors").read_bytes() for out in "ab")
    assert a == b
    about = json.loads((tmp_path / "a" / "training.json").read_text())
    assert about["training_tokens"] == len(whole(texts, austen_tokenizer()))
    assert about["training_bytes"] == sum(text.stat().st_size for text in texts)


@pytest.mark.parametrize("data, words", [
    ('tokens = "absent"', ["absent", "gptbook prepare", "no such folder"]),
    ('tokens = "."', ["no index.json"]),
    ('tokens = 3', ["tokens must be a text", "3"]),
    ('tokens = "tokens"\ntrain = ["0.txt"]', ["either train", "or tokens"]),
    ("", ["either train", "or tokens"]),
])
def test_the_command_tells_what_is_wrong_with_the_data(tmp_path, data, words, capsys):
    small_folder(tmp_path)
    (tmp_path / "run.toml").write_text(TOML.format(data=data, out="out"))
    before = sorted(tmp_path.iterdir())
    assert cli.main(["train", str(tmp_path / "run.toml")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and not [word for word in words if word not in err], err
    assert sorted(tmp_path.iterdir()) == before
