"""Chapter 1: the shipped data, the tokenizers, the dataset, the token file and the loader."""

import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptbook import dataset_loader
from gptbook.dataset_loader import (END_OF_TEXT, SPLIT_PATTERN, TRAIN_NOVELS, VALIDATION_NOVEL, GPTDatasetV1,
                                    austen_tokenizer, bpe_tokenizer, create_dataloader_v1, gpt2_tokenizer, join_lines,
                                    load_novel, write_token_file)

DATA = Path(str(files("gptbook") / "data"))
ORACLE = Path(__file__).parent / "data"
BYTES = bpe_tokenizer("bytes", "#version: 0.2\n")  # a token a byte: a text of n ASCII characters has n tokens

# Text that has to do with the splitting: contractions, runs of spaces, letters and digits of many scripts, emoji.
pieces = st.sampled_from(["'s", "'ll", "'S", "don't", " ", "  ", "\n", "\n\n ", "\t", "\u00a0", "\u2003", "it", " It",
                          "a1", "²", "٣", "Ⅷ", "é", "e\u0301", "达西", " 🙂", "👩‍👩‍👧", "!?", "...", "_", "\x00", "\u200b",
                          "<|endoftext", "|>", "Ġ", "ß", "İ"])
texts = st.one_of(st.text(), st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=12).map("".join))


@cache
def tiktokens_own():
    """GPT-2's encoding by tiktoken's own loader, from both of OpenAI's files, with tiktoken's own pattern."""
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks
    from tiktoken_ext import openai_public

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")
        ranks = data_gym_to_mergeable_bpe_ranks(
            str(DATA / "gpt2" / "vocab.bpe"), str(ORACLE / "encoder.json"),
            vocab_bpe_hash="1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
            encoder_json_hash="196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783")
    return tiktoken.Encoding("oracle", explicit_n_vocab=50257, pat_str=openai_public.r50k_pat_str,
                             mergeable_ranks=ranks, special_tokens={END_OF_TEXT: 50256})


@cache
def transformers_own():
    """GPT-2's tokenizer of transformers, from the same two files."""
    from transformers import GPT2Tokenizer

    merges = (DATA / "gpt2" / "vocab.bpe").read_text("utf-8").split("\n")[1:-1]
    return GPT2Tokenizer(vocab=json.loads((ORACLE / "encoder.json").read_text("utf-8")),
                         merges=[tuple(line.split(" ")) for line in merges])


# The data

def test_data_files_are_the_listed_ones():
    readme = (DATA / "README.md").read_text("utf-8")
    listed = {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", readme, flags=re.M)}
    found = {p.relative_to(DATA).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
             for p in DATA.rglob("*") if p.is_file() and p.name != "README.md"}
    assert found == listed, "run `sha256sum --check README.md` in gptbook/data and mend the list"


def test_oracle_is_openais():
    digest = hashlib.sha256((ORACLE / "encoder.json").read_bytes()).hexdigest()
    assert digest == "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
    assert digest in (ORACLE / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", [*TRAIN_NOVELS, VALIDATION_NOVEL])
def test_novels_lose_only_line_breaks(name):
    raw, text = (DATA / "austen" / f"{name}.txt").read_bytes().decode("utf-8"), load_novel(name)
    assert text.replace("\n", " ") == raw.replace("\n", " ")
    assert text.count("\n\n") == raw.count("\n\n") > 100
    assert text.count("\n") < 0.6 * raw.count("\n")


@settings(deadline=None)
@given(st.text(st.sampled_from("ab \n\t"), max_size=40))
def test_join_lines(text):
    joined = join_lines(text)
    assert len(joined) == len(text)
    for i, (before, after) in enumerate(zip(text, joined)):
        inside = before == "\n" and text[i - 1:i].strip() and text[i + 1:i + 2].strip()
        assert after == (" " if inside else before)


# The tokenizers

def test_gpt2_has_tiktokens_tokens():
    ours, theirs = gpt2_tokenizer(), tiktokens_own()
    assert ours.n_vocab == theirs.n_vocab == 50257 and ours.eot_token == theirs.eot_token == 50256
    assert [ours.decode_bytes([i]) for i in range(50257)] == [theirs.decode_bytes([i]) for i in range(50257)]
    assert gpt2_tokenizer() is gpt2_tokenizer()


@settings(max_examples=1000, deadline=None)
@given(texts)
def test_gpt2_is_tiktokens(text):
    ids = gpt2_tokenizer().encode(text, allowed_special="all")
    assert ids == tiktokens_own().encode(text, allowed_special="all")
    assert gpt2_tokenizer().decode(ids) == text


@pytest.mark.parametrize("text", ["a" * 10_000, " " * 300_000, "\n" * 10_000 + "x", "a " * 10_000, "🙂" * 5_000,
                                  "\r\n \t" * 10_000], ids=repr)
def test_gpt2_is_tiktokens_on_long_runs(text):
    assert gpt2_tokenizer().encode(text) == tiktokens_own().encode(text)


# Characters that are in Unicode 14 at least; what later versions added, libraries may class differently.
known = st.text(st.characters(max_codepoint=0x2FFFF, exclude_categories=("Cs", "Cn", "Co")))


@settings(max_examples=300, deadline=None)
@given(st.one_of(known, st.lists(pieces, max_size=12).map("".join)))
def test_gpt2_is_transformers(text):
    if END_OF_TEXT not in text:
        assert gpt2_tokenizer().encode(text) == transformers_own().encode(text)


@settings(deadline=None)
@given(texts)
def test_austen_vocabulary_reads_and_writes_all_of_unicode(text):
    ids = austen_tokenizer().encode(text, disallowed_special=())
    assert austen_tokenizer().decode(ids) == text
    assert all(0 <= i < 4095 for i in ids)


def test_austen_vocabulary():
    tokenizer = austen_tokenizer()
    assert (tokenizer.n_vocab, tokenizer.eot_token) == (4096, 4095)
    assert tokenizer.encode(END_OF_TEXT, allowed_special="all") == [4095]
    assert [tokenizer.decode_single_token_bytes(i) for i in (0, 188, 220, 256)] == [b"!", b"\x00", b" ", b" t"]


def test_austen_vocabulary_is_what_tokenizers_trains():
    assert merges_of_tokenizers([load_novel(name) for name in TRAIN_NOVELS], 4095)[0] == \
        (DATA / "austen" / "vocab.bpe").read_text("utf-8")


def merges_of_tokenizers(texts, vocab_size):
    """(vocab.bpe as text, tokenizer) as the library `tokenizers` trains them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    merges = json.loads(trained.to_str())["model"]["merges"]
    return "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), trained


@settings(max_examples=25, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=60).map("".join), st.lists(pieces, max_size=60).map("".join))
def test_any_vocabulary_encodes_as_tokenizers_does(training, text):
    merges, trained = merges_of_tokenizers([training * 3], 400)
    ours = bpe_tokenizer("any", merges)
    names = trained.encode(text).tokens
    byte_of = {char: byte for byte, char in dataset_loader._byte_characters().items()}
    expected = [bytes(byte_of[char] for char in name) for name in names]
    assert ours.decode_tokens_bytes(ours.encode(text, disallowed_special=())) == expected


@settings(deadline=None)
@given(texts)
def test_the_pattern_loses_nothing(text):
    import regex
    assert "".join(regex.findall(SPLIT_PATTERN, text)) == text


# The dataset

def windows(ids, max_length, stride):
    """Windows and targets in plain Python."""
    starts = [i for i in range(0, len(ids), stride) if i + max_length + 1 <= len(ids)]
    return [(ids[i:i + max_length], ids[i + 1:i + max_length + 1]) for i in starts]


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=127), min_size=2, max_size=60).filter(lambda text: END_OF_TEXT not in text),
       st.data())
def test_windows_are_slices(text, data):
    max_length = data.draw(st.integers(1, len(text) - 1))
    stride = data.draw(st.integers(1, len(text) + 2))
    dataset = GPTDatasetV1(text, BYTES, max_length, stride)
    expected = windows(BYTES.encode(text), max_length, stride)
    assert [(x.tolist(), y.tolist()) for x, y in dataset] == expected   # iterating ends by IndexError
    assert len(dataset) == len(expected)
    assert dataset[-1][1].tolist() == expected[-1][1]
    for i in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            dataset[i]


def test_windows_are_int64_and_their_own():
    dataset = GPTDatasetV1("abcdef", BYTES, 3, 1)
    inputs, targets = dataset[0]
    assert inputs.dtype == targets.dtype == torch.int64 and inputs.shape == targets.shape == (3,)
    inputs.zero_()
    assert dataset[0][0].tolist() == BYTES.encode("abc")


def test_one_window_is_the_least():
    assert len(GPTDatasetV1("abcd", BYTES, 3, 7)) == 1
    with pytest.raises(ValueError, match="3 tokens"):
        GPTDatasetV1("abc", BYTES, 3, 1)


def test_end_of_text_is_one_token():
    text = END_OF_TEXT.join(["one", "two"])
    assert GPTDatasetV1(text, BYTES, 6, 1)[0][0].tolist() == BYTES.encode("one") + [256] + BYTES.encode("tw")


@cache
def corpus():
    return END_OF_TEXT.join(load_novel(name) for name in TRAIN_NOVELS)


@pytest.mark.parametrize("stride", [1, 7, 1024])
@pytest.mark.parametrize("tokenizer, nbytes", [(austen_tokenizer(), 2), (gpt2_tokenizer(), 2)],
                         ids=["austen", "gpt2"])
def test_corpus_is_kept_once(tokenizer, nbytes, stride):
    dataset = GPTDatasetV1(corpus(), tokenizer, 1024, stride)
    ids = len(dataset.token_ids)
    for i in (0, len(dataset) // 2, len(dataset) - 1):
        dataset[i]
    held = len(pickle.dumps(dataset))                        # all that the object holds, byte for byte
    assert nbytes * ids <= held <= 1.2 * nbytes * ids
    assert dataset.token_ids.untyped_storage().nbytes() == nbytes * ids


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the process's memory from Linux's /proc")
def test_walking_through_all_windows_costs_no_memory():
    code = """
import re, pathlib
from gptbook.dataset_loader import *
def rss(): return int(re.search(r"VmRSS:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024
dataset = GPTDatasetV1(load_novel("emma")[:200_000], austen_tokenizer(), 256, 1)
before = rss()
kept = sum(len(x) for x, _ in dataset)
assert kept == 256 * len(dataset) > 1e7
print(rss() - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert grown < 20e6, "50,000 windows of 256 ids, kept, would be 200 MB"


def large_vocabulary():
    """A tokenizer whose ids do not fit into two bytes."""
    ranks = {bytes([i]): i for i in range(256)} | {b"ab": 70_000}
    return tiktoken.Encoding("large", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks,
                             special_tokens={END_OF_TEXT: 70_001})


def test_large_vocabularies_take_four_bytes(tmp_path):
    text, tokenizer = "abc ab" + END_OF_TEXT, large_vocabulary()
    path = tmp_path / "large.npy"
    write_token_file(path, text, tokenizer)
    for source in (text, path):
        dataset = GPTDatasetV1(source, tokenizer, 4, 1)
        assert dataset.token_ids.dtype == torch.uint32
        assert torch.cat([dataset[0][0], dataset[0][1][-1:]]).tolist() == [70_000, 99, 32, 70_000, 70_001]


# The loader

def two_epochs(**arguments):
    loader = create_dataloader_v1(arguments.pop("text", load_novel(VALIDATION_NOVEL)[:20_000]), batch_size=4,
                                  max_length=32, stride=32, tokenizer=austen_tokenizer(), **arguments)
    return [[torch.stack(batch) for batch in loader] for _ in range(2)]


def equal(a, b):
    return all(len(x) == len(y) and all(map(torch.equal, x, y)) for x, y in zip(a, b))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("from_file", [True, False])
def test_batches_do_not_depend_on_workers(shuffle, from_file, tmp_path):
    text = load_novel(VALIDATION_NOVEL)[:20_000]
    if from_file:
        path = tmp_path / "tokens.npy"
        write_token_file(path, text, austen_tokenizer())
        text = path
    alone = two_epochs(text=text, shuffle=shuffle, seed=5)
    assert len(alone[0]) > 20
    for num_workers in (1, 2):
        assert equal(two_epochs(text=text, shuffle=shuffle, seed=5, num_workers=num_workers), alone)


def test_seeds_fix_the_order():
    torch.manual_seed(1)
    first = two_epochs(seed=5)
    torch.manual_seed(2)
    assert equal(first, two_epochs(seed=5))                      # whatever else draws random numbers
    assert not equal(first, two_epochs(seed=6))
    assert not equal(first[:1], first[1:])                       # each epoch has its own order
    state = torch.get_rng_state()
    two_epochs(seed=5)
    assert torch.equal(state, torch.get_rng_state())             # and the loader draws none of the others' numbers
    for workers in (0, 2):
        torch.manual_seed(3)
        assert equal(two_epochs(num_workers=workers), two_epochs_seeded(3))


@cache
def two_epochs_seeded(seed):
    torch.manual_seed(seed)
    return two_epochs()


def test_an_epoch_has_every_window_once():
    loader = create_dataloader_v1("".join(map(chr, range(100))), batch_size=4, max_length=5, stride=5, drop_last=False,
                                  tokenizer=BYTES, seed=0)
    seen = torch.cat([targets for _, targets in loader])
    assert seen.shape == (19, 5)
    order = {i: byte for byte, i in enumerate(BYTES.encode("".join(map(chr, range(100)))))}
    assert sorted(order[i] for i in seen.flatten().tolist()) == list(range(1, 96))
    assert [len(x) for x, _ in create_dataloader_v1("a" * 100, 4, 5, 5, tokenizer=BYTES)] == [4] * 4
    assert [len(x) for x, _ in create_dataloader_v1("a" * 100, 4, 5, 5, drop_last=False, tokenizer=BYTES)] == \
        [4, 4, 4, 4, 3]


def test_the_loaders_defaults():
    loader = create_dataloader_v1("a" * (256 + 4 * 128 + 1), tokenizer=BYTES)   # five windows
    assert (loader.batch_size, loader.dataset.max_length, loader.dataset.stride) == (4, 256, 128)
    assert len(loader.dataset) == 5 and [tuple(x.shape) for x, _ in loader] == [(4, 256)]
    assert isinstance(loader.sampler, torch.utils.data.RandomSampler) and loader.num_workers == 0


def test_a_batch_of_all_windows_is_the_largest():
    assert [len(x) for x, _ in create_dataloader_v1("a" * 16, 3, 5, 5, tokenizer=BYTES)] == [3]
    with pytest.raises(ValueError, match="batch_size must be at most the number of windows in the text, 3, got 4"):
        create_dataloader_v1("a" * 16, 4, 5, 5, tokenizer=BYTES)


def test_unshuffled_batches_follow_the_text():
    text = load_novel(VALIDATION_NOVEL)[:5_000]
    loader = create_dataloader_v1(text, batch_size=3, max_length=16, stride=16, shuffle=False, drop_last=False)
    ids = gpt2_tokenizer().encode(text)                          # GPT-2's vocabulary is the default
    targets = torch.cat([targets.flatten() for _, targets in loader])
    assert targets.tolist() == ids[1:1 + len(targets)] and len(ids) - len(targets) <= 17
    inputs, targets = next(iter(loader))
    assert inputs.shape == targets.shape == (3, 16) and inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


# The token file

@settings(max_examples=25, deadline=None)
@given(st.text(min_size=2, max_size=60))
def test_token_file_holds_the_text(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("tokens") / "a.npy"
    write_token_file(str(path), text, austen_tokenizer())
    assert np.load(path).dtype == np.uint16
    ids = austen_tokenizer().encode(text, allowed_special="all")
    assert np.load(path).tolist() == ids
    assert os.listdir(path.parent) == ["a.npy"]
    if len(ids) > 1:
        assert GPTDatasetV1(path, austen_tokenizer(), 1, 1).token_ids.tolist() == ids


def test_token_file_is_mapped_and_never_written_to(tmp_path):
    path = tmp_path / "a.npy"
    write_token_file(path, "a" * 500_000, BYTES)
    before = path.read_bytes()
    dataset = GPTDatasetV1(path, BYTES, 4, 4)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(path) in maps.read_text()
    dataset.token_ids[:10] = 0
    dataset[0][0].zero_()
    del dataset
    assert path.read_bytes() == before


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1127))
def test_a_truncated_file_is_refused(tmp_path_factory, kept):
    path = tmp_path_factory.mktemp("cut") / "a.npy"
    write_token_file(path, "a" * 500, BYTES)
    assert path.stat().st_size == 1128
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="a.npy is not a whole file made by write_token_file"):
        GPTDatasetV1(path, BYTES, 4, 4)


@pytest.fixture
def old_file(tmp_path):
    """A token file that a failing write must leave alone, and nothing beside it."""
    path = tmp_path / "a.npy"
    write_token_file(path, "old text", BYTES)
    before = path.read_bytes()
    yield path
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npy"]


@pytest.mark.parametrize("place", [0, 4, 8])
def test_an_id_beyond_the_vocabulary_is_found_anywhere(tmp_path, place):
    ids = np.zeros(9, np.uint16)
    ids[place] = BYTES.n_vocab
    np.save(tmp_path / "a.npy", ids)
    with pytest.raises(ValueError, match="a.npy holds token id 257, but bytes has only ids below 257"):
        GPTDatasetV1(tmp_path / "a.npy", BYTES, 4, 4)


def test_unwritable_folder_leaves_the_old_file(old_file):
    old_file.parent.chmod(0o500)
    try:
        if os.access(old_file.parent, os.W_OK):
            pytest.skip("root and Windows write to any folder")
        with pytest.raises(OSError, match="a.npy could not be written and is as it was before.*Permission denied"):
            write_token_file(old_file, "new text", BYTES)
    finally:
        old_file.parent.chmod(0o700)


def test_full_disk_leaves_the_old_file(old_file):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))      # the system refuses to write more, as a full disk does
    try:
        with pytest.raises(OSError, match="a.npy could not be written and is as it was before"):
            write_token_file(old_file, "new text " * 1000, BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("where", ["save", "fsync", "replace"])
def test_interruption_leaves_the_old_file(old_file, monkeypatch, where):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(np if where == "save" else os, where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_token_file(old_file, "new text", BYTES)


def test_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.npy"
    write_token_file(path, "old text", BYTES)
    before = path.read_bytes()
    code = """
import os, signal, sys
from gptbook.dataset_loader import *
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
write_token_file(sys.argv[1], "new text", austen_tokenizer())
"""
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode != 0
    assert path.read_bytes() == before
