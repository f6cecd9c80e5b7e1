"""Chapter 6: filter_logits against transformers and plain Python, the loop of stream and generate, text."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptbook.dataset_loader import austen_tokenizer, gpt2_tokenizer
from gptbook.generate import (filter_logits, generate, stream, text_pieces, text_to_token_ids,
                              token_ids_to_text)
from gptbook.gpt import GPTModel

CONFIG = {"vocab_size": 23, "context_length": 12, "emb_dim": 16, "n_heads": 2, "n_layers": 2,
          "drop_rate": 0.5}


def make(context_length=12, dtype=torch.float64, **config):
    """A model with large random weights in all places, so that greedy text is no constant."""
    torch.manual_seed(2)
    model = GPTModel({**CONFIG, "context_length": context_length, **config}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.to(dtype)


def random_ids(B, T, seed=0):
    return torch.randint(23, (B, T), generator=torch.Generator().manual_seed(seed))


def record(model, action):
    """Positions of each call and its last logits while action() ran, and what it returned."""
    lengths, logits = [], []
    hooks = [model.register_forward_pre_hook(lambda m, args: lengths.append(args[0].shape[1])),
             model.register_forward_hook(lambda m, args, out: logits.append(out))]
    try:
        result = action()
    finally:
        for hook in hooks:
            hook.remove()
    return lengths, logits, result


# The filter

def nucleus_by_hand(row, temperature, top_k, top_p):
    """Which tokens stay, and their probabilities, in plain Python."""
    weights = [math.exp((x - max(row)) / temperature) for x in row]
    order = sorted(range(len(row)), key=lambda i: -weights[i])[:top_k]
    total, reached, kept = sum(weights[i] for i in order), 0.0, []
    for i in order:
        kept.append(i)
        reached += weights[i] / total
        if top_p is not None and reached >= top_p:
            break
    total = sum(weights[i] for i in kept)
    return [weights[i] / total if i in kept else 0.0 for i in range(len(row))]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0.05, 5), st.data())
def test_filter_equals_plain_python(seed, V, temperature, data):
    top_k = data.draw(st.none() | st.integers(1, V))
    top_p = data.draw(st.none() | st.floats(0.001, 0.999))
    logits = torch.randn(2, V, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 4
    got = filter_logits(logits, temperature, top_k, top_p).softmax(-1)
    want = torch.tensor([nucleus_by_hand(row, temperature, top_k, top_p) for row in logits.tolist()],
                        dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-9)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 7, 200])
@pytest.mark.parametrize("top_p", [None, 0.01, 0.5, 0.9, 1.0])
def test_filter_equals_transformers(temperature, top_k, top_p):
    warpers = pytest.importorskip("transformers.generation.logits_process")
    logits = torch.randn(16, 200, generator=torch.Generator().manual_seed(1)) * 3
    want = warpers.TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        want = warpers.TopKLogitsWarper(top_k)(None, want)
    if top_p is not None and top_p < 1:
        want = warpers.TopPLogitsWarper(top_p)(None, want)
    got = filter_logits(logits, temperature, top_k, top_p)
    assert torch.equal(got.isinf(), want.isinf())
    torch.testing.assert_close(got.softmax(-1), want.softmax(-1), rtol=0, atol=1e-6)


def test_top_p_keeps_the_token_that_crosses_and_never_none():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    for top_p, stay in ((1e-9, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.875, 3), (0.9, 4), (1.0, 4)):
        assert filter_logits(logits, top_p=top_p).isfinite().sum() == stay, top_p


def test_top_p_1_changes_nothing():
    logits = torch.randn(20, 5000, generator=torch.Generator().manual_seed(0)) * 3
    assert filter_logits(logits, top_p=1.0).isfinite().all()
    for top_k in (None, 3):  # in float32, the first has it all
        assert filter_logits(torch.tensor([[30.0, 0.0, 0.0]]), top_k=top_k, top_p=1).isfinite().all()


def test_top_p_counts_among_the_top_k():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    # of the two likeliest, 0.4 / 0.7 = 0.57 reaches 0.5 alone; of all four it doesn't
    assert filter_logits(logits, top_k=2, top_p=0.5).isfinite().sum() == 1
    assert filter_logits(logits, top_p=0.5).isfinite().sum() == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ties_keep_exactly_k(dtype):
    logits = torch.zeros(3, 64, dtype=dtype)
    assert filter_logits(logits, top_k=7).isfinite().sum(-1).tolist() == [7, 7, 7]
    assert filter_logits(logits, top_p=0.5).isfinite().sum(-1).tolist() == [32, 32, 32]


def test_filter_is_float32_for_half_precision_and_leaves_its_input():
    logits = torch.randn(2, 3000, generator=torch.Generator().manual_seed(0)).bfloat16()
    before = logits.clone()
    got = filter_logits(logits, 0.9, top_p=0.9)
    want = filter_logits(logits.float(), 0.9, top_p=0.9)
    assert got.dtype == torch.float32 and torch.equal(got, want) and torch.equal(logits, before)
    assert filter_logits(logits.double()).dtype == torch.float64


@pytest.mark.parametrize("temperature", [1e-37, 1e30])
def test_extreme_temperatures_are_the_limits(temperature):
    logits = torch.tensor([[90.0, -80.0, 89.0]])
    want = [[1.0, 0.0, 0.0]] if temperature < 1 else [[1 / 3] * 3]
    torch.testing.assert_close(filter_logits(logits, temperature).softmax(-1), torch.tensor(want))


def test_logits_of_minus_infinity_stay_out():
    logits = torch.tensor([[1.0, -math.inf, 0.0]])
    for arguments in ({}, {"top_k": 3}, {"top_p": 0.99}):
        p = filter_logits(logits, **arguments).softmax(-1)
        assert p[0, 1] == 0 and not p.isnan().any()


# The loop

@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(1, 12), st.integers(0, 40), st.sampled_from([1, 2, 5, 11, 12]))
def test_cache_changes_nothing_but_speed(B, T, new, context_length):
    """Ids and the logits of every step, across the edge of odd and even contexts, in float64."""
    model, ids = MODELS[context_length], random_ids(B, min(T, context_length), seed=T)
    _, cached_logits, cached = record(model, lambda: generate(model, ids, new))
    _, logits, uncached = record(model, lambda: generate(model, ids, new, use_cache=False))
    assert cached.shape == (B, ids.shape[1] + new) and torch.equal(cached, uncached)
    assert torch.equal(cached[:, :ids.shape[1]], ids)
    if new:
        torch.testing.assert_close(torch.stack(cached_logits), torch.stack([step[:, -1:] for step in logits]),
                                   rtol=0, atol=1e-10)


MODELS = {C: make(C) for C in (1, 2, 5, 11, 12)}


def reference(model, ids, new):
    """Greedy text by the definition: forget the older half of a full window; read it all each time."""
    C = model.cfg.context_length
    window, text = ids, ids
    for _ in range(new):
        if window.shape[1] > C:
            window = window[:, window.shape[1] - math.ceil(C / 2):]
        with torch.no_grad():
            likeliest = model(window)[:, -1].argmax(-1, keepdim=True)
        window, text = torch.cat([window, likeliest], 1), torch.cat([text, likeliest], 1)
    return text


@pytest.mark.parametrize("C", [1, 2, 5, 11, 12])
def test_greedy_equals_the_definition(C):
    model, ids = MODELS[C], random_ids(3, min(4, C))
    want = reference(model, ids, 30)
    assert torch.equal(generate(model, ids, 30), want)
    assert len(want[:, ids.shape[1]:].unique()) >= 3  # no constant text, which would prove nothing


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 12))
def test_one_prefill_then_single_steps(T, new):
    """While the context isn't full: one prefill and new - 1 single steps, one position of logits each."""
    model = MODELS[12]
    new = min(new, 12 - T + 1)
    lengths, logits, _ = record(model, lambda: generate(model, random_ids(1, T), new))
    assert lengths == ([T] + [1] * (new - 1) if new else [])
    assert all(step.shape == (1, 1, 23) for step in logits)


@pytest.mark.parametrize("C", [11, 12])
def test_full_context_reads_the_newer_half_again(C):
    half = (C + 1) // 2
    lengths, _, _ = record(MODELS[C], lambda: generate(MODELS[C], random_ids(1, C), 2 + 2 * (C - half + 1)))
    assert lengths == [C] + ([half] + [1] * (C - half)) * 2 + [half]


def test_uncached_lengths():
    model = MODELS[12]
    lengths, logits, _ = record(model, lambda: generate(model, random_ids(1, 10), 6, use_cache=False))
    assert lengths == [10, 11, 12, 6, 7, 8] and all(step.shape[1] == 1 for step in logits)


def test_cache_is_no_longer_than_the_text():
    model = make(12, torch.float32)
    steps = stream(model, random_ids(2, 3), 4)
    next(steps)
    assert model.kv_cache[0].max_length == 7
    steps.close()


@pytest.mark.parametrize("arguments", [{}, {"temperature": 0.8, "top_k": 9, "top_p": 0.9}])
def test_generate_is_made_of_stream(arguments):
    model, ids = MODELS[12], random_ids(3, 5)
    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    steps = list(stream(model, ids, 20, generator=generators[0], **arguments))
    assert all(step.shape == (3,) and step.dtype == torch.int64 for step in steps)
    text = generate(model, ids, 20, generator=generators[1], **arguments)
    assert torch.equal(text, torch.cat([ids, torch.stack(steps, 1)], 1))


def test_rows_of_a_batch_equal_single_rows():
    model, ids = MODELS[12], random_ids(6, 4, seed=2)
    free = generate(model, ids, 25)
    eos = free[0, 9].item()  # occurs in row 0, and not at its start
    together = generate(model, ids, 25, eos_id=eos)
    ends = set()
    for row, text in zip(ids, together):
        alone = generate(model, row[None], 25, eos_id=eos)[0]
        ends.add(len(alone))
        assert torch.equal(alone, text[:len(alone)]) and (text[len(alone):] == eos).all()
    assert len(ends) > 1  # they end at different steps
    assert together.shape[1] == max(ends)


@pytest.mark.parametrize("use_cache", [True, False])
def test_end_of_text_stops_when_all_rows_have_ended(use_cache):
    model, ids = MODELS[12], random_ids(1, 4)
    free = generate(model, ids, 10)[0, 4:]
    eos = free[6].item()
    first = (free == eos).nonzero()[0].item()
    lengths, _, text = record(model, lambda: generate(model, ids, 10, eos_id=eos, use_cache=use_cache))
    assert torch.equal(text[0, 4:], free[:first + 1]) and len(lengths) == first + 1


def test_end_of_text_in_the_prompt_does_not_end_a_row():
    model, ids = MODELS[12], random_ids(1, 4)
    free = generate(model, ids, 8)
    eos = next(i for i in ids[0].tolist() if i not in free[0, 4:].tolist())
    assert torch.equal(generate(model, ids, 8, eos_id=eos), free)


def test_zero_new_tokens():
    model, ids = MODELS[12], random_ids(2, 3)
    lengths, _, text = record(model, lambda: generate(model, ids, 0))
    assert lengths == [] and torch.equal(text, ids) and list(stream(model, ids, 0)) == []


# Sampling

def test_frequencies_match_probabilities():
    """Chi-square over 8 tokens (7 degrees of freedom): above 40 once in a million."""
    model, ids = MODELS[12], random_ids(1, 5)
    with torch.no_grad():
        logits = model(ids)[:, -1]
    p = filter_logits(logits, 3.0, top_k=8).softmax(-1)[0]
    draws = torch.cat([next(stream(model, ids.expand(4000, -1), 1, temperature=3.0, top_k=8, use_cache=False,
                                   generator=torch.Generator().manual_seed(s))) for s in range(2)])
    counts = draws.bincount(minlength=23).double()
    assert counts[p == 0].sum() == 0 and p[p > 0].min() > 0.02
    expected = p[p > 0] * len(draws)
    assert ((counts[p > 0] - expected) ** 2 / expected).sum() < 40


def test_generator_repeats_and_leaves_the_global_state():
    model, ids = MODELS[12], random_ids(2, 3)
    before = torch.get_rng_state()
    texts = [generate(model, ids, 15, temperature=2.0, generator=torch.Generator().manual_seed(seed))
             for seed in (1, 1, 2)]
    assert torch.equal(texts[0], texts[1]) and not torch.equal(texts[0], texts[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_top_k_1_and_tiny_top_p_are_greedy():
    model, ids = MODELS[12], random_ids(2, 3)
    greedy = generate(model, ids, 15)
    assert torch.equal(generate(model, ids, 15, temperature=3.0, top_k=1), greedy)
    assert torch.equal(generate(model, ids, 15, temperature=3.0, top_p=1e-6), greedy)
    assert torch.equal(generate(model, ids, 15, temperature=1e-30), greedy)


# What happens to the model and to whoever reads the stream

def modes(model):
    return [module.training for module in model.modules()]


def test_modes_are_put_back_between_steps_and_dropout_is_off():
    model = make(12, torch.float32)
    want = generate(model, random_ids(1, 4), 6)
    model.train()
    model.blocks[0].eval()  # a part that its owner froze
    before = modes(model)
    texts = []
    for ids in stream(model, random_ids(1, 4), 6):
        assert modes(model) == before
        texts.append(ids)
    assert modes(model) == before and torch.equal(torch.stack(texts, 1), want[:, 4:])
    steps = stream(model, random_ids(1, 4), 6)
    next(steps)
    steps.close()
    assert modes(model) == before


def test_modes_and_cache_after_an_error_in_the_model():
    model = make(12, torch.float32).train()

    def fail(module, args):
        if args[0].shape[1] == 1:
            raise OSError("out of luck")

    hook = model.blocks[1].ff.register_forward_pre_hook(fail)
    before = modes(model)
    with pytest.raises(OSError, match="out of luck"):
        generate(model, random_ids(1, 4), 6)
    hook.remove()
    assert modes(model) == before and model.kv_cache_nbytes == 0


def test_cache_is_emptied_when_a_stream_ends_or_is_closed():
    model = make(12, torch.float32)
    generate(model, random_ids(1, 4), 3)
    assert model.kv_cache is None
    steps = stream(model, random_ids(1, 4), 3)
    next(steps)
    assert model.kv_cache_nbytes > 0
    steps.close()
    assert model.kv_cache is None


def test_leftovers_in_the_cache_do_not_matter():
    model = make(12, torch.float32)
    want = generate(model, random_ids(1, 4), 5)
    with torch.no_grad():
        model(random_ids(3, 2), use_cache=True)
    assert torch.equal(generate(model, random_ids(1, 4), 5), want)


def test_cache_under_autocast():
    model = make(12, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        lengths, logits, text = record(model, lambda: generate(model, random_ids(2, 4), 6))
        whole = model(text[:, :-1])
    assert lengths == [4, 1, 1, 1, 1, 1] and logits[0].dtype == torch.bfloat16
    # bfloat16 keeps 8 bits: two orders of summation differ by some hundredths of logits this large
    torch.testing.assert_close(torch.cat(logits, dim=1), whole[:, 3:], atol=0.02 * whole.abs().max().item(), rtol=0)


def test_an_uncached_generation_leaves_the_cache_alone():
    model = make(12, torch.float32)
    with torch.no_grad():
        model(random_ids(3, 2), use_cache=True)
    own = model.kv_cache
    generate(model, random_ids(1, 4), 5, use_cache=False)
    assert model.kv_cache is own and own[0].length == 2


def test_a_disturbed_stream_says_so():
    model = make(12, torch.float32)
    first, second = stream(model, random_ids(1, 4), 5), stream(model, random_ids(1, 4, seed=9), 5)
    next(first)
    want = [next(second)]
    with pytest.raises(RuntimeError, match="one cached stream at a time"):
        next(first)
    want += list(second)  # the failed one has not emptied the cache of the other
    assert torch.equal(torch.stack(want, 1), generate(model, random_ids(1, 4, seed=9), 5)[:, 4:])


def test_a_stream_whose_cache_was_used_says_so():
    model = make(12, torch.float32)
    steps = stream(model, random_ids(1, 4), 5)
    next(steps)
    with torch.no_grad():
        model(random_ids(1, 1), use_cache=True)
    with pytest.raises(RuntimeError, match="used or replaced"):
        next(steps)


def test_uncached_streams_take_turns():
    model = make(12, torch.float32)
    prompts = random_ids(1, 4), random_ids(1, 4, seed=9)
    texts = list(zip(*(stream(model, ids, 5, use_cache=False) for ids in prompts)))
    for i, ids in enumerate(prompts):
        assert torch.equal(torch.stack([pair[i] for pair in texts], 1), generate(model, ids, 5)[:, 4:])


def test_reader_keeps_gradients_and_may_train_on_what_comes_out():
    model = make(12, torch.float32)
    for ids in stream(model, random_ids(2, 3), 3, temperature=1.0):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and not ids.is_inference()
        model(ids[:, None]).sum().backward()  # inference tensors would be refused here
    assert model.tok_emb.weight.grad is not None
    assert not generate(model, random_ids(2, 3), 3).is_inference()


def test_reader_may_change_what_it_was_handed():
    model = MODELS[12]
    want = generate(model, random_ids(1, 4), 8)
    got = []
    for ids in stream(model, random_ids(1, 4), 8):
        got.append(ids.clone())
        ids.fill_(0)
    assert torch.equal(torch.stack(got, 1), want[:, 4:])


def test_arguments_are_checked_before_anything_changes():
    model = make(12, torch.float32)
    with torch.no_grad():
        model(random_ids(3, 2), use_cache=True)
    own = model.kv_cache
    with pytest.raises(ValueError, match="top_p"):
        stream(model, random_ids(1, 4), 5, temperature=1.0, top_p=2.0)
    assert model.kv_cache is own and own[0].length == 2


def test_greedy_equals_transformers():
    """Our text against transformers' generate on the same weights, and the logits of each step."""
    transformers = pytest.importorskip("transformers")
    model = make(32, qkv_bias=True)
    config = transformers.GPT2Config(vocab_size=23, n_positions=32, n_embd=16, n_layer=2, n_head=2,
                                     attn_implementation="eager", bos_token_id=None, eos_token_id=None)
    theirs = transformers.GPT2LMHeadModel(config).double().eval()
    state = {"transformer.wte.weight": model.tok_emb.weight, "transformer.wpe.weight": model.pos_emb.weight,
             "transformer.ln_f.weight": model.final_norm.scale,
             "transformer.ln_f.bias": model.final_norm.shift,
             "lm_head.weight": model.tok_emb.weight}
    for i, block in enumerate(model.blocks):
        for name, linear in (("attn.c_attn", block.att.qkv), ("attn.c_proj", block.att.out_proj),
                             ("mlp.c_fc", block.ff.expand), ("mlp.c_proj", block.ff.out_proj)):
            state[f"transformer.h.{i}.{name}.weight"] = linear.weight.T.contiguous()
            state[f"transformer.h.{i}.{name}.bias"] = linear.bias
        for name, norm in (("ln_1", block.norm1), ("ln_2", block.norm2)):
            state[f"transformer.h.{i}.{name}.weight"] = norm.scale
            state[f"transformer.h.{i}.{name}.bias"] = norm.shift
    assert not theirs.load_state_dict(state, strict=False).unexpected_keys
    ids = random_ids(3, 5)
    want = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False,
                           pad_token_id=0, output_logits=True, return_dict_in_generate=True)
    _, logits, text = record(model, lambda: generate(model, ids, 20))
    torch.testing.assert_close(torch.cat(logits, 1).float(), torch.stack(want.logits, 1).float(), rtol=0,
                               atol=1e-5)
    assert torch.equal(text, want.sequences)
    assert len(text[:, 5:].unique()) >= 3


# Text

TOKENIZERS = st.sampled_from([austen_tokenizer, gpt2_tokenizer])


@settings(max_examples=80, deadline=None)
@given(st.text(min_size=1, max_size=40), TOKENIZERS)
def test_text_and_back(text, tokenizer):
    ids = text_to_token_ids(text, tokenizer())
    assert ids.dtype == torch.int64 and ids.dim() == 2 and len(ids) == 1
    assert token_ids_to_text(ids, tokenizer()) == token_ids_to_text(ids[0], tokenizer()) == text
    assert "".join(text_pieces(iter(ids[0].split(1)), tokenizer())) == text


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 4095), max_size=30))
def test_pieces_of_any_ids_join_to_their_text(ids):
    """Also where the bytes are no UTF-8."""
    ids = torch.tensor(ids, dtype=torch.int64)
    pieces = list(text_pieces(ids.split(1) if len(ids) else [], austen_tokenizer()))
    assert "".join(pieces) == token_ids_to_text(ids, austen_tokenizer()) and all(pieces)


def test_a_piece_comes_as_soon_as_its_character_is_whole():
    tokenizer = austen_tokenizer()
    ids = text_to_token_ids("é", tokenizer)[0]
    assert len(ids) == 2
    fed = []

    def steps():
        for i in ids.split(1):
            fed.append(i)
            yield i
        fed.append("more")
        yield ids[:1]

    assert next(text_pieces(steps(), tokenizer)) == "é" and len(fed) == 2


def test_end_of_text_is_one_token():
    for tokenizer in (austen_tokenizer(), gpt2_tokenizer()):
        ids = text_to_token_ids("a<|endoftext|>", tokenizer)
        assert ids.shape == (1, 2) and ids[0, 1] == tokenizer.eot_token
        assert token_ids_to_text(ids, tokenizer) == "a<|endoftext|>"
    assert token_ids_to_text(torch.zeros(1, 0, dtype=torch.int64), austen_tokenizer()) == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_float_dtype(dtype):
    model = make(12, dtype)
    text = generate(model, random_ids(2, 4), 20, temperature=1.0, top_k=20, top_p=0.9)
    assert text.shape == (2, 24)
    model = copy.deepcopy(model).float()
    cached, uncached = (generate(model, random_ids(2, 4), 20, use_cache=c) for c in (True, False))
    assert torch.equal(cached, uncached)
