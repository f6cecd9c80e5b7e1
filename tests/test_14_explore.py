"""Chapter 14: the instruments against what is known already, no trace left, and the drawings in a real browser."""

import ast
import contextlib
import inspect
import io
import math
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import tiktoken
import torch
from torch.nn import functional as F

from browser import violations  # of tools/, which conftest puts on the path
from gptbook import explore
from gptbook.dataset_loader import austen_tokenizer
from gptbook.explore import (ablate_heads, attention_maps, attention_to, attention_view, head_means, induction_scores, lens_view,
                             logit_lens, nearest_tokens, next_token_view)
from gptbook.generate import filter_logits
from gptbook.gpt import GPTModel
from gptbook.gpt_gqa import GroupedQueryAttention
from gptbook.gpt_mla import HalfCacheAttention, MultiHeadLatentAttention
from gptbook.gpt_swa import SlidingWindowAttention
from gptbook.kv_cache import MultiHeadAttention
from gptbook.load_weights import load_gpt2, save_gpt2

ROOT = Path(__file__).resolve().parents[1]
CONFIG = {"vocab_size": 23, "context_length": 16, "emb_dim": 24, "n_heads": 4, "n_layers": 3, "drop_rate": 0.5, "qkv_bias": True}
KINDS = {"MHA": (MultiHeadAttention, {}), "half cache": (HalfCacheAttention, {}),
         "GQA": (GroupedQueryAttention, {"num_kv_groups": 2}),
         "SWA": (SlidingWindowAttention, {"sliding_window_size": 3, "window_pattern": "LLG"}),
         "MLA": (MultiHeadLatentAttention, {"latent_dim": 10})}
READABLE = [name for name in KINDS if name != "MLA"]


def make(kind="MHA", **changes):
    """A model with large weights in all places, in float64 and eval mode."""
    attention, settings = KINDS[kind]
    torch.manual_seed(3)
    model = GPTModel({**CONFIG, **settings, **changes}, attention=attention).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.4)
    return model


def ids(B=2, T=10, seed=0):
    return torch.randint(0, 23, (B, T), generator=torch.Generator().manual_seed(seed))


def hooks(model):
    return [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]


# Maps

@pytest.mark.parametrize("kind", READABLE)
def test_maps_times_values_are_attentions_own_output(kind):
    model = make(kind)
    maps = attention_maps(model, ids())
    assert maps.shape == (3, 2, 4, 10, 10) and maps.dtype == torch.float64
    torch.testing.assert_close(maps.sum(-1), torch.ones(3, 2, 4, 10, dtype=torch.float64))
    with torch.no_grad():
        x = model.tok_emb(ids()) + model.pos_emb.weight[:10]
        for block, weights in zip(model.blocks, maps):
            normed = block.norm1(x)
            v = block.att.project(normed)[2]
            v = v.repeat_interleave(4 // v.shape[1], dim=1)
            mine = block.att.out_proj((weights @ v).transpose(1, 2).flatten(2))
            torch.testing.assert_close(mine, block.att(normed), rtol=0, atol=1e-11)
            x = block(x)
    if kind == "SWA":
        assert maps[0, ..., 9, :7].sum() == 0 and maps[2, ..., 9, :7].sum() > 0  # two local layers and a global one


def test_maps_are_those_of_transformers(tmp_path):
    from transformers import GPT2LMHeadModel

    model = make()
    save_gpt2(model, tmp_path / "model")
    oracle = GPT2LMHeadModel.from_pretrained(tmp_path / "model", attn_implementation="eager", dtype=torch.float64).eval()
    with torch.no_grad():
        theirs = torch.stack(oracle(ids(), output_attentions=True).attentions)
    torch.testing.assert_close(attention_maps(model, ids()), theirs, rtol=0, atol=1e-10)


def test_maps_of_sixteen_bit_models_are_computed_in_float32():
    model = make().to(torch.bfloat16)
    maps = attention_maps(model, ids())
    assert maps.dtype == torch.float32
    future = torch.ones(10, 10).triu(1).bool()
    with torch.no_grad():
        x = model.tok_emb(ids()) + model.pos_emb.weight[:10]
        for block, weights in zip(model.blocks, maps):
            q, k = (t.float() for t in block.att.project(block.norm1(x))[:2])  # what the layer has made in 16 bits
            exact = (q @ k.transpose(2, 3) / math.sqrt(6)).masked_fill(future, -math.inf).softmax(-1)
            torch.testing.assert_close(weights, exact, rtol=0, atol=1e-5)
            x = block(x)


@pytest.mark.parametrize("instrument", [attention_maps, head_means])
def test_logits_that_nobody_reads_are_not_computed(instrument):
    model, shapes = make(), []
    model.final_norm.register_forward_hook(lambda module, args, output: shapes.append(tuple(output.shape)))
    instrument(model, ids())
    assert shapes == [(2, 1, 24)]


INSTRUMENTS = {"attention_maps": attention_maps, "logit_lens": logit_lens, "head_means": head_means,
               "induction_scores": lambda model, ids: induction_scores(model, 4, 2, torch.Generator().manual_seed(0)),
               "ablate_heads": lambda model, ids: ablate_and_read(model, ids)}


def ablate_and_read(model, input_ids):
    with ablate_heads(model, [(0, 1)]), torch.no_grad():
        model(input_ids)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_instruments_leave_no_trace(name):
    model = make()
    prompt = ids(1, 4)
    model(prompt, use_cache=True)
    model.train()
    model.blocks[1].eval()  # a part that was frozen stays frozen
    modes = [m.training for m in model.modules()]
    weights = [p.clone() for p in model.parameters()]
    cached = [[t.clone().view(torch.int64) for t in (cache.keys, cache.values)] for cache in model.kv_cache]  # bits: what lies unused may be NaN
    INSTRUMENTS[name](model, ids(1))
    assert not hooks(model) and [m.training for m in model.modules()] == modes
    assert all(torch.equal(a, b) and b.grad is None and b.requires_grad for a, b in zip(weights, model.parameters()))
    assert [cache.length for cache in model.kv_cache] == [4, 4, 4]
    assert all(torch.equal(a.view(torch.int64), b) for cache, old in zip(model.kv_cache, cached) for a, b in zip((cache.keys, cache.values), old))


@pytest.mark.parametrize("name", [n for n in INSTRUMENTS if n != "induction_scores"])
def test_no_hook_survives_an_exception(name):
    model = make().train()
    with pytest.raises(ValueError):
        INSTRUMENTS[name](model, ids() + 99)
    assert not hooks(model)
    if name != "ablate_heads":
        assert model.training
    with pytest.raises(KeyboardInterrupt), ablate_heads(model, [(0, 0), (2, 3)]):
        assert len(hooks(model)) == 2
        raise KeyboardInterrupt
    assert not hooks(model)


@pytest.mark.parametrize("instrument", [attention_maps, logit_lens, head_means])
def test_results_can_be_used_with_gradients(instrument):
    result = instrument(make(), ids())
    assert not result.requires_grad
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    (result * scale).sum().backward()  # a tensor of inference mode could not be kept for this
    torch.testing.assert_close(scale.grad, result.sum())


# Questions to the maps

def test_attention_to_is_the_plain_mean():
    maps = attention_maps(make(), ids())
    where = torch.rand(2, 10, 10, generator=torch.Generator().manual_seed(1)) < 0.2
    where[0, 4] = False
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for layer in range(3):
        for head in range(4):
            rows = [sum(maps[layer, b, head, i, j].item() for j in range(10) if where[b, i, j])
                    for b in range(2) for i in range(10) if where[b, i].any()]
            expected[layer, head] = sum(rows) / len(rows)
    torch.testing.assert_close(attention_to(maps, where), expected)
    torch.testing.assert_close(attention_to(maps, where[0]), attention_to(maps, where[:1].expand(2, 10, 10)))


def looks_back(steps):
    """A model of one head, made by hand, whose queries look exactly so many positions back."""
    model = GPTModel({"vocab_size": 23, "context_length": 16, "emb_dim": 16, "n_heads": 1, "n_layers": 1}).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        model.pos_emb.weight.copy_(torch.eye(16))
        model.blocks[0].norm1.scale.fill_(1)
        model.final_norm.scale.fill_(1)
        q, k, _ = model.blocks[0].att.qkv.weight.chunk(3)
        k.copy_(torch.eye(16))
        q.copy_(50 * torch.eye(16).roll(-steps, dims=0))  # query i has the direction of key i - steps
    return model


def test_induction_scores_of_models_made_by_hand():
    model = looks_back(7)
    assert induction_scores(model, period=8, rows=2).item() > 0.999
    assert induction_scores(model, period=7, rows=2).item() < 0.001  # 6 back is asked for, 7 back is looked at
    even = looks_back(0)
    torch.nn.init.zeros_(even.blocks[0].att.qkv.weight)
    chance = sum(1 / (i + 1) for i in range(8, 16)) / 8
    assert induction_scores(even, period=8, rows=2).item() == pytest.approx(chance)


def test_induction_scores_follow_the_generator():
    model = make()
    one, two, other = (induction_scores(model, 5, 3, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other) and one.shape == (3, 4)


# The lens, the neighbours

def test_the_lens_begins_with_the_embedding_and_ends_with_the_answer():
    model = make()
    lens = logit_lens(model, ids())
    assert lens.shape == (4, 2, 10, 23)
    with torch.no_grad():
        torch.testing.assert_close(lens[3], model(ids()), rtol=0, atol=0)
        x = model.tok_emb(ids()) + model.pos_emb.weight[:10]
        for n in range(3):
            torch.testing.assert_close(lens[n], model.final_norm(x) @ model.tok_emb.weight.T)
            x = model.blocks[n](x)


def test_nearest_tokens_by_hand():
    model = make()
    rows = model.tok_emb.weight.tolist()

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    cosines, found = nearest_tokens(model, torch.tensor([5, 0]), k=4)
    for token, near, values in zip((5, 0), found.tolist(), cosines.tolist()):
        best = sorted((i for i in range(23) if i != token), key=lambda i: -cosine(rows[token], rows[i]))[:4]
        assert near == best and values == pytest.approx([cosine(rows[token], rows[i]) for i in best])


def test_neighbours_in_sixteen_bits_are_those_of_the_same_numbers_in_float32():
    model = GPTModel({**CONFIG, "vocab_size": 2000}).to(torch.bfloat16)
    asked = torch.arange(200)
    cosines, found = nearest_tokens(model, asked)
    expected, right = nearest_tokens(model.float(), asked)
    assert torch.equal(found, right) and torch.equal(cosines, expected)


# Ablation

@pytest.mark.parametrize("kind", KINDS)
def test_a_silenced_head_is_a_head_whose_output_is_not_read(kind):
    model, other = make(kind), make(kind)
    chosen = [(0, 1), (2, 0), (2, 3)]
    means = head_means(model, ids(seed=4))
    assert means.shape == (3, 4, 6)
    for replacement in (None, means):
        with torch.no_grad():
            other.load_state_dict(model.state_dict())
            for layer, head in chosen:
                out, part = other.blocks[layer].att.out_proj, slice(6 * head, 6 * head + 6)
                if replacement is not None:
                    out.bias += out.weight[:, part] @ means[layer, head]
                out.weight[:, part] = 0
            expected, whole = other(ids()), model(ids())
            with ablate_heads(model, chosen, replacement) as same:
                assert same is model
                torch.testing.assert_close(model(ids()), expected)
                model.reset_kv_cache()
                steps = [model(ids()[:, :6], use_cache=True), model(ids()[:, 6:], use_cache=True)]
                torch.testing.assert_close(torch.cat(steps, 1), expected)
            assert not torch.allclose(whole, expected)
            torch.testing.assert_close(model(ids()), whole, rtol=0, atol=0)


def test_head_means_are_means_of_weights_times_values():
    model = make()
    maps = attention_maps(model, ids())
    with torch.no_grad():
        v = model.blocks[0].att.project(model.blocks[0].norm1(model.tok_emb(ids()) + model.pos_emb.weight[:10]))[2]
        torch.testing.assert_close(head_means(model, ids())[0], (maps[0] @ v).mean((0, 2)))


def test_a_cache_filled_inside_keeps_what_it_was_given():
    model = make()
    with torch.no_grad():
        whole = model(ids())
        with ablate_heads(model, [(0, 1)]):
            model(ids()[:, :6], use_cache=True)
        assert not torch.allclose(model(ids()[:, 6:], use_cache=True), whole[:, 6:])
        model.reset_kv_cache()
        model(ids()[:, :6], use_cache=True)
        torch.testing.assert_close(model(ids()[:, 6:], use_cache=True), whole[:, 6:])


def test_ablation_nests_and_trains():
    model = make(drop_rate=0.0).train()
    with ablate_heads(model, [(0, 0)]), ablate_heads(model, [(0, 1)]):
        both = model(ids())
        F.cross_entropy(both.flatten(0, 1), ids().flatten()).backward()
    with ablate_heads(model, [(0, 0), (0, 1)]):
        torch.testing.assert_close(model(ids()), both)
    assert model.blocks[0].att.out_proj.weight.grad[:, :12].abs().max() == 0 < model.blocks[0].att.out_proj.weight.grad.abs().max()
    values = model.blocks[0].att.qkv.weight.grad[48:]  # of four heads of 6 numbers, of which the first two are silenced
    assert values[:12].abs().max() == 0 < values[12:].abs().max()


# The cells for JupyterLab

CELLS = [cell for cell in nbformat.read(ROOT / "chapters" / "14_exploring.ipynb", as_version=4).cells if cell.cell_type == "code"]


def test_what_the_live_cells_show():
    space: dict = {"SENTENCE": "But Mary said so."}
    for cell in CELLS:
        if "\nimport " in cell.source:
            exec("\n".join(line for line in cell.source.splitlines() if not line.startswith("%")), space)
            if "model" in space:
                break
    space |= {name: getattr(explore, name) for name in explore.__all__}
    shown = []
    for cell in CELLS:
        if "live" in cell.metadata.get("tags", []):
            tree = ast.parse(cell.source)
            tree.body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == "live")]
            space["live"] = lambda show, **controls: shown.append((show, controls))
            exec(compile(tree, "a live cell", "exec"), space)
    names = ["show_attention", "show_lens", "show_next", "show_neighbours", "show_ablation"]
    assert [show.__name__ for show, _ in shown] == names
    attention, lens, following, neighbours, ablation = (show for show, _ in shown)

    def printed(show, *args):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            view = show(*args)
        return out.getvalue(), view

    assert attention("austen", "Anne was", 3, 3).text.startswith("Layer 3, head 3: “·was”")
    assert attention("austen", "Anne was", 11, 11).text.startswith("Layer 3, head 3: ")  # GPT-2 has more
    assert "of 1 tokens" in lens("austen", "").text and "Layer 0, head 0: " in attention("austen", "", 0, 0).text
    for text in ("My dear Miss", ""):
        for knobs in ((0.8, 0.95, 1), (0.1, 0.05, 0), (2.0, 1.0, 9)):
            assert "tokens can be drawn" in printed(following, "austen", text, *knobs)[1].text

    long = "A" * 300 + " My dear Miss"  # 256 tokens are the context, and 40 are written
    said, view = printed(lens, "austen", long)
    assert said == "the first 40 of 303 tokens\n" and "of 40 tokens" in view.text
    said, view = printed(following, "austen", long, 0.1, 0.05, 0)
    used = "A" * 197 + " My dear Miss"
    assert said.startswith(f"the last 200 of 303 tokens\n{used}") and f">{used}</option>" in view.html

    said, _ = printed(neighbours, "austen", long + " London")
    assert re.match(r"the last 40 of 304 tokens\n' London': ' town' 0\.\d\d, ", said) and said.count(", ") == 7
    assert printed(neighbours, "austen", "")[0].startswith("'<|endoftext|>': ")

    model, text = space["model"], "Anne was happy, and Anne was not."
    read = torch.tensor([[4095, *TOKENIZER.encode(text)]])
    for mean in (False, True):
        with ablate_heads(model, [(0, 2)], head_means(model, read) if mean else None), torch.no_grad():
            without = F.cross_entropy(model(read)[0, :-1], read[0, 1:]).item()
        said, _ = printed(ablation, "austen", text, 0, 2, mean)
        assert re.fullmatch(rf"layer 0, head 2: \d\.\d+ nats a token with it, {without:.3f} without\n", said)
    for text in ("", long):
        assert "nan" not in printed(ablation, "austen", text, 11, 11, True)[0] and not hooks(model)

    for show, controls in shown:  # where the controls stand at first
        assert printed(show, "austen", controls.pop("text"), *(controls[name].value for name in list(controls))) != ("", None)
        assert list(controls) == list(inspect.signature(show).parameters)[2:]


# The drawings

TOKENS = ["<b>", "</script>", '"&\'', " a", "\n"]
TOKENIZER = austen_tokenizer()


def attention():
    maps = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)).tril()
    return attention_view(maps / maps.sum(-1, keepdim=True), TOKENS, layer=1, head=2)


def lens():
    logits = torch.randn(4, 6, 4096, generator=torch.Generator().manual_seed(0)) * 4
    return lens_view(logits, torch.tensor([60, 27, 3, 500, 9, 4095]), TOKENIZER)


LOGITS = torch.randn(2, 4096, generator=torch.Generator().manual_seed(7)) * 3


def next_token():
    return next_token_view(LOGITS, ["A <prompt>", "another"], TOKENIZER)


VIEWS = {"attention": attention, "lens": lens, "next token": next_token}
PAGE = """<!doctype html><html lang="en" data-theme="{mode}"><head><meta charset="utf-8"><title>A view</title>
<meta name="viewport" content="width=device-width"><style>html {{ background: {background}; color: {ink}; }}</style></head>
<body><main><h1>A view</h1>{view}</main></body></html>"""


def opened(browser, tmp_path, view, mode="light", **context):
    background, ink = ("#ffffff", "#1f2328") if mode == "light" else ("#15181c", "#d5dae0")
    path = tmp_path / "view.html"
    path.write_text(PAGE.format(mode=mode, background=background, ink=ink, view=view.html), encoding="utf-8")
    page = browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page()
    page.set_default_timeout(60_000)
    page.errors, page.asked = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri())
    return page


def said(page):
    return page.locator(".said").text_content()


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_the_same_each_time_and_asks_for_nothing(name):
    view = VIEWS[name]()
    assert view == VIEWS[name]() and view._repr_html_() == view.html and repr(view) == view.text
    assert " id=" not in view.html and "http" not in view.html
    assert view.html.count("<script>") == view.html.count("</script>") == 1 and "<b>" not in view.html


def test_views_are_as_small_as_they_say():
    model, text = load_gpt2("austen"), "But Mary said that Elizabeth was ill, and Elizabeth said that Mary was ill. " * 8
    with torch.no_grad():
        for T in (16, 40, 128):
            read = torch.tensor([TOKENIZER.encode(text)[:T]])
            view = attention_view(attention_maps(model, read)[:, 0], [TOKENIZER.decode([i]) for i in read[0].tolist()])
            assert len(view.html) < 6_000 + 1.1 * (50 * T**2 + 16 * T * (T + 75)), T
        assert len(lens_view(logit_lens(model, read[:, :16])[:, 0], read[0, :16], TOKENIZER).html) < 25_000
        assert len(next_token_view(model(read)[0, :3], "abc", TOKENIZER).html) < 6_000 + 3 * 2.5 * 4096
    stored = [output.data["text/html"] for cell in CELLS for output in cell.outputs if "text/html" in output.get("data", {})]
    assert len(stored) == 4 and max(len(html) for html in stored) < 60_000


def test_jupyterlab_sets_no_formula_in_a_view():
    # "$5 and $6" would be one: the default of MathJax's ignoreHtmlClass, which JupyterLab leaves as it is, keeps it off.
    assert all('<form class="gv mathjax_ignore"' in make_view().html for make_view in VIEWS.values())


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_works_from_a_file_for_everybody(browser, tmp_path, name, mode):
    view = VIEWS[name]()
    page = opened(browser, tmp_path, view, mode)
    assert said(page).endswith(view.text), "script and Python say different things"
    assert not page.locator("[hidden]").count() and not page.locator("[disabled]").count()
    for width in (1280, 360):
        found = violations(page, mode, width)
        assert not found, [(width, v["id"], v["nodes"][0]["html"][:200]) for v in found]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not page.errors and all(url.startswith("file:") for url in page.asked)
    page.context.close()


@pytest.mark.parametrize("name", VIEWS)
def test_without_script_a_view_is_a_picture(browser, tmp_path, name):
    view = VIEWS[name]()
    page = opened(browser, tmp_path, view, java_script_enabled=False)
    assert said(page) == view.text and page.locator(".wide").last.is_visible()
    assert not any(control.is_visible() and control.is_enabled() for control in page.locator("input, select").all())
    page.context.close()


TAGS = ["<b>", "</", "</td>", "&lt;", " a", "</script>", "<img src=x onerror=document.title=1>"]
SMALL = tiktoken.Encoding("small", pat_str=".", mergeable_ranks={tag.encode(): i for i, tag in enumerate(TAGS)}, special_tokens={})
PROMPT = "</option></select><img src=x onerror=document.title=1>"


def small_lens():
    return lens_view(torch.eye(7).roll(3, 1)[None].repeat(3, 1, 1) * 5, torch.arange(7), SMALL)


def small_next_token(**settings):
    return next_token_view(torch.stack([torch.arange(7.0, 0, -1), torch.arange(7.0)]), [PROMPT, "<b>"], SMALL, **settings)


@pytest.mark.parametrize("scripts", [True, False])
def test_what_looks_like_a_tag_is_text(browser, tmp_path, scripts):
    tokens = [tag.replace(" ", "·") for tag in TAGS]
    page = opened(browser, tmp_path, small_lens(), java_script_enabled=scripts)
    rows = [row.locator("th, td").all_text_contents() for row in page.locator("tbody tr").all()]
    assert [row[0] for row in rows] == tokens and [row[-1] for row in rows] == [*tokens[1:], ""]
    assert [row[1] for row in rows] == [f"{token} 0.96" for token in tokens[3:] + tokens[:3]]
    assert not page.locator("form img, form b").count() and page.title() == "A view"
    page.context.close()

    page = opened(browser, tmp_path, small_next_token(), java_script_enabled=scripts)
    assert page.locator("[name=prompt] option").all_text_contents() == [PROMPT, "<b>"]
    assert page.locator("tbody th").all_text_contents() == tokens and "“<b>”" in said(page)
    assert page.locator("form > div, form > p, form > script").count() == 4  # the controls, the table, the words, the script
    assert not page.locator("form img, form b").count() and page.title() == "A view" and not page.errors
    page.context.close()


def turned(logits=LOGITS, *args, **settings):
    """A maker of the drawing of two prompts with its knobs there."""
    return lambda: next_token_view(logits, "ab", TOKENIZER, *args, **settings)


PICTURES = {"lens": lens, "small lens": small_lens, "next token": next_token, "of three": turned(top_k=3),
            "of equals": turned(torch.zeros(2, 100), top_k=3), "cold": turned(10 * LOGITS, 0.1),
            "of a few": turned(LOGITS, 0.3, 100, 0.6),
            "of seven": small_next_token, "two of seven": lambda: small_next_token(top_k=2),
            "half of seven": lambda: small_next_token(top_p=0.5)}


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_what_the_script_draws(browser, tmp_path, name):
    view, seen = PICTURES[name](), []
    for scripts in (True, False):
        page = opened(browser, tmp_path, view, java_script_enabled=scripts)
        table = page.locator("tbody")
        widths = [bar.bounding_box()["width"] if bar.is_visible() else 0 for bar in table.locator(".bar").all()]
        seen.append((table.text_content(), widths, said(page).removeprefix("Shown: the likeliest token. ")))
        page.context.close()
    assert seen[0][::2] == seen[1][::2] and seen[0][1] == pytest.approx(seen[1][1], abs=0.2)
    if name == "cold":  # the others have a probability of 0.000 and can yet be drawn
        assert "cut off" not in seen[1][0] and seen[1][2].startswith("4096 of 4096 tokens")
    if name in ("of three", "of equals"):
        assert seen[1][0].count("cut off") == 9 and [width > 0 for width in seen[1][1]] == [True] * 3 + [False] * 9


def test_every_weight_that_counts_is_drawn_in_small():
    view = attention_view(torch.eye(9)[None, None], "abcdefghi")
    assert re.findall(r"M(\d+) (\d+)\.5h1", view.html) == [(str(i), str(i)) for i in range(9)]
    weights = [0.05, 0.06, 0.15, 0.37, 0.38, 0.93, 0.94, 1.0]  # in hundredths, 6 and more are drawn
    view = attention_view(torch.tensor(weights).diag()[None, None], "abcdefgh")
    assert [int(j) for j, _ in re.findall(r"M(\d+) (\d+)\.5h1", view.html)] == [1, 2, 3, 4, 5, 6, 7]


def test_tokens_are_shown_as_they_are(browser, tmp_path):
    maps = torch.tensor([[[[1.0, 0, 0, 0, 0]] * 4 + [[0.5, 0.3, 0.15, 0.03, 0.02]]]])
    view = attention_view(maps, TOKENS)
    said_of_it = 'Layer 0, head 0: “⏎” (4) attends most to “<b>” (0) with 0.50, then “</script>” (1) with 0.30, then “"&\'” (2) with 0.15.'
    page = opened(browser, tmp_path, view)
    shown = page.locator("svg[role=img] text").all_text_contents()
    assert shown == [t for token in ("<b>", "</script>", '"&\'', "·a", "⏎") for t in (token, token)]
    assert said(page) == view.text == said_of_it
    page.context.close()


def test_what_cannot_be_seen_is_shown_as_its_escape(browser, tmp_path):
    tokens = ["\t", "\r\n", "\u00a0", "\u200b", "\x1b", "é漢", "WWWWWWWWWW", "漢字漢字漢字漢字"]
    page = opened(browser, tmp_path, attention_view(torch.eye(8)[None, None], tokens))
    names = page.locator("svg[role=img] text[text-anchor=end]")
    assert names.all_text_contents() == ["\\t", "\\r⏎", "\\xa0", "\\u200b", "\\x1b", *tokens[5:]]
    edge = page.locator(".wide").last.bounding_box()
    for name in names.all():
        assert name.bounding_box()["x"] >= edge["x"], "a label is cut off"
    slanted = [label.bounding_box() for label in page.locator("svg[role=img] text[transform]").all()]
    assert min(box["y"] for box in slanted) >= edge["y"]
    assert max(box["x"] + box["width"] for box in slanted) <= edge["x"] + edge["width"]
    page.context.close()


def test_tokens_that_get_nothing_are_not_named(browser, tmp_path):
    maps = torch.tensor([[[[1.0, 0, 0, 0]] * 2 + [[0.97, 0.026, 0.004, 0.0]] + [[0.0, 0, 0, 0]]]])
    none = "Layer 0, head 0: “d” (3) attends most to “a” (0) with 0.00."  # the first is always named
    two = "Layer 0, head 0: “c” (2) attends most to “a” (0) with 0.97, then “b” (1) with 0.03."
    assert attention_view(maps, "abcd").text == none and attention_view(maps[..., :3, :3], "abc").text == two
    page = opened(browser, tmp_path, attention_view(maps, "abcd"))
    assert said(page) == none
    page.locator("input[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    assert said(page) == two
    page.context.close()


def test_heads_are_chosen_with_the_keyboard(browser, tmp_path):
    maps = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)).tril()
    maps /= maps.sum(-1, keepdim=True)
    page = opened(browser, tmp_path, attention_view(maps, "abcde"))

    def expected(layer, head, row):
        best = int((100 * maps[layer, head, row]).round().argmax())
        return f"Layer {layer}, head {head}: “{'abcde'[row]}” ({row}) attends most to “{'abcde'[best]}” ({best}) with "

    assert said(page).startswith(expected(0, 0, 4))
    page.locator("input[type=radio]").first.focus()
    outline = page.locator(".heads label").first.evaluate("e => getComputedStyle(e).outlineStyle")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert said(page).startswith(expected(1, 1, 4)) and outline == "solid"
    page.locator("input[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    assert said(page).startswith(expected(1, 1, 3))
    slider = page.locator("input[type=range]")
    assert slider.get_attribute("aria-valuetext") == "d (3)"
    opacity = [float(rect.get_attribute("fill-opacity")) for rect in page.locator("rect.hue").all()]
    assert opacity == pytest.approx(maps[1, 1][torch.ones(5, 5).tril().bool()].tolist(), abs=0.0051)
    assert page.locator("rect.row").get_attribute("width") == str(16 * 4 + 1)
    page.locator("input[type=radio]:checked").focus()
    for key, layer, head in (("ArrowUp", 0, 1), ("ArrowUp", 0, 1), ("ArrowLeft", 0, 0), ("ArrowDown", 1, 0), ("ArrowDown", 1, 0)):
        page.keyboard.press(key)
        assert said(page).startswith(expected(layer, head, 3)), key
    assert page.evaluate("document.activeElement.checked")
    page.context.close()


def test_views_can_be_read_in_the_colours_of_the_system(browser, tmp_path):
    page = opened(browser, tmp_path, attention(), forced_colors="active")
    assert page.locator("label:has(:checked)").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    ink = "rgb(0, 0, 0)"
    assert page.locator("rect.hue").first.evaluate("e => getComputedStyle(e).fill") == ink
    page.context.close()
    page = opened(browser, tmp_path, next_token(), forced_colors="active")
    assert page.locator(".bar").first.evaluate("e => getComputedStyle(e).backgroundColor") == ink
    page.context.close()
    page = opened(browser, tmp_path, lens(), forced_colors="active", color_scheme="dark")
    tints = page.locator("td.tint").evaluate_all(
        "all => all.map(e => getComputedStyle(e)).map(style => [style.backgroundColor, style.color])")
    backgrounds = {background for background, _ in tints}
    assert len(backgrounds) > 5 and all(colour.startswith("color(srgb 1 1 1 / ") for colour in backgrounds)
    assert {colour for _, colour in tints} == {"rgb(255, 255, 255)"}
    page.context.close()


def test_the_lens_shows_what_is_asked_for(browser, tmp_path):
    page = opened(browser, tmp_path, lens())
    logits = torch.randn(4, 6, 4096, generator=torch.Generator().manual_seed(0)) * 4
    true = [27, 3, 500, 9, 4095]
    page.locator("select").select_option("the rank of the true token")
    got = page.locator("tbody tr").nth(1).locator("td.tint").all_text_contents()
    assert got == [str(int((logits[n, 1] > logits[n, 1, true[1]]).sum()) + 1) for n in range(4)]
    page.locator("select").select_option("the probability of the true token")
    got = page.locator("tbody tr").nth(1).locator("td.tint").all_text_contents()
    assert got == [f"{logits[n, 1].softmax(-1)[true[1]]:.3f}" for n in range(4)]
    assert said(page).startswith("Shown: the probability of the true token.")
    page.context.close()


def test_the_lens_ranks_by_logits():
    far, tokens = torch.tensor([0.0, -150.0, -200.0]), torch.tensor([0, 2, 1])
    view = lens_view(far.expand(1, 3, 3), tokens, SMALL)  # two have the probability 0
    assert '"the rank of the true token":[["3",33],["2",50],["",0]]' in view.html
    assert view.text == "There is one layer's answer only, and nothing to compare it with."
    for near in (torch.tensor([0.0, 1e-8, -1.0]), torch.tensor([5.0, 5 + 1e-9, 4], dtype=torch.float64)):  # two have the same
        view = lens_view(torch.stack([near, near[[1, 0, 2]]])[:, None], tokens[:1], SMALL)
        assert re.findall(r'class="tint" style="--p:42">([^<]*)</td>', view.html) == ["&lt;/ 0.42", "&lt;b&gt; 0.42"]
        assert view.text == "The last layer's choice is there already at so many of 1 tokens: after 0 layers at 0."


def test_the_browser_filters_as_filter_logits_does(browser, tmp_path):
    page = opened(browser, tmp_path, next_token())

    def turn(**knobs):
        page.evaluate("knobs => { const f = document.forms[0]; for (const [k, v] of Object.entries(knobs)) f.elements[k].value = v; "
                      "f.dispatchEvent(new Event('input')); }", knobs)

    for prompt in (0, 1):
        ordered = LOGITS[prompt].sort(descending=True).values
        for temperature in (0.1, 0.7, 1.0, 2.0):
            for top_p in (0.05, 0.5, 0.9, 1.0):
                for top_k in (1, 10, 200, 4096):
                    turn(prompt=str(prompt), temperature=str(temperature), top_p=str(top_p), top_k=str(top_k))
                    rounded = ((100 * ordered.double()).round() / 100)[None]
                    probs = filter_logits(rounded, temperature, top_k, top_p).softmax(-1)[0]
                    texts = page.locator("td.p").all_text_contents()
                    assert texts == ["cut off" if p == 0 else f"{p:.3f}" for p in probs[:12].tolist()], (temperature, top_p, top_k)
                    assert said(page).startswith(f"{int((probs > 0).sum())} of 4096 tokens")
                    exact = filter_logits(ordered[None].double(), temperature, top_k, top_p).softmax(-1)[0]
                    shares = [0.0 if t == "cut off" else float(t) for t in texts]
                    assert shares == pytest.approx(exact[:12].tolist(), abs=0.02)
    page.context.close()


def test_knobs_of_the_next_token_answer_to_keys(browser, tmp_path):
    page = opened(browser, tmp_path, next_token())
    page.locator("[name=temperature]").focus()
    page.keyboard.press("ArrowLeft")
    numbers = page.locator(".at")
    assert numbers.first.text_content() == "0.99"
    bars = page.locator(".bar")
    for k, drawn in (("10", 10), ("1", 1), ("4096", 12)):
        page.locator("[name=top_k]").select_option(k)
        assert [bar.is_visible() for bar in bars.all()] == [True] * drawn + [False] * (12 - drawn)
    before = said(page)
    page.locator("[name=top_p]").focus()
    page.keyboard.press("ArrowLeft")
    assert said(page) != before and numbers.last.text_content() == "0.99"
    # A number that is part of the name, or announces itself, would be read out beside the slider's own.
    assert all(page.get_by_role("slider", name=name, exact=True).count() == 1 for name in ("temperature", "top-p"))
    assert not page.locator("output").count()
    page.context.close()


@pytest.mark.parametrize("temperature, top_p", [(0.72, 0.97), (1.234, 0.333)])
def test_knobs_stand_where_python_put_them(browser, tmp_path, temperature, top_p):
    view = next_token_view(LOGITS, ["A", "B"], TOKENIZER, temperature, top_p=top_p)
    page = opened(browser, tmp_path, view)
    assert said(page) == view.text
    assert page.locator(".at").all_text_contents() == [f"{temperature:.2f}", f"{top_p:.2f}"]
    page.context.close()


def test_two_views_on_a_page_do_not_meet(browser, tmp_path):
    view = attention()
    page = opened(browser, tmp_path, replace(view, html=view.html * 2))
    page.locator("form").last.locator("input[type=radio]").first.focus()
    page.keyboard.press("ArrowRight")
    first, second = page.locator(".said").all_text_contents()
    assert second != first == view.text
    page.context.close()
