"""Bad input to chapter 14's public names: (id, call, error, words that its message must hold)."""

import math

import torch

from gptbook.dataset_loader import austen_tokenizer
from gptbook.explore import (ablate_heads, attention_maps, attention_to, attention_view, head_means, induction_scores,
                             lens_view, logit_lens, nearest_tokens, next_token_view)
from gptbook.gpt import GPTModel
from gptbook.gpt_mla import MultiHeadLatentAttention

CFG = {"vocab_size": 16, "context_length": 8, "emb_dim": 8, "n_heads": 2, "n_layers": 2}
MODEL = GPTModel(CFG).eval()
LATENT = GPTModel({**CFG, "latent_dim": 4}, attention=MultiHeadLatentAttention).eval()
IDS = torch.tensor([[1, 2, 3]])
MAPS = torch.full((2, 1, 2, 3, 3), 1 / 3)
MASK = torch.eye(3).bool()
TOKENIZER = austen_tokenizer()


def left_alone(call):
    """A call that is refused must leave no hook, the mode and the cache as they were."""
    def checked():
        try:
            return call()
        finally:
            assert not any(m._forward_pre_hooks or m._forward_hooks for m in MODEL.modules())
            assert not MODEL.training and MODEL.kv_cache is None
    return checked


def ablated(heads, means=None, model=MODEL):
    def call():
        with ablate_heads(model, heads, means):
            raise AssertionError("the context was entered")
    return left_alone(call)


CASES = [
    ("attention_maps: no model", lambda: attention_maps("austen", IDS), TypeError, ["model", "GPTModel", "str"]),
    ("attention_maps: latent attention", lambda: attention_maps(LATENT, IDS), ValueError,
     ["MultiHeadAttention", "MultiHeadLatentAttention"]),
    ("attention_maps: rank 1", left_alone(lambda: attention_maps(MODEL, IDS[0])), ValueError, ["input_ids", "(3,)"]),
    ("attention_maps: unknown id", left_alone(lambda: attention_maps(MODEL, IDS + 20)), ValueError, ["[0, 16)", "23"]),
    ("attention_maps: too long", left_alone(lambda: attention_maps(MODEL, IDS.repeat(1, 3))), ValueError, ["9", "8"]),
    ("attention_to: a list", lambda: attention_to([[1.0]], MASK), TypeError, ["maps", "floats", "list"]),
    ("attention_to: maps of one text", lambda: attention_to(MAPS[:, 0], MASK), ValueError, ["(L, B, H, T, T)", "(2, 2, 3, 3)"]),
    ("attention_to: maps that are not square", lambda: attention_to(MAPS[..., :2], MASK), ValueError,
     ["maps", "(L, B, H, T, T)", "(2, 1, 2, 3, 2)"]),
    ("attention_to: mask of numbers", lambda: attention_to(MAPS, MASK.float()), TypeError, ["where", "bool", "float32"]),
    ("attention_to: another length", lambda: attention_to(MAPS, MASK[:2]), ValueError, ["where", "(3, 3)", "(2, 3)"]),
    ("attention_to: nothing asked", lambda: attention_to(MAPS, ~MASK & MASK), ValueError, ["where", "True somewhere"]),
    ("induction_scores: no model", lambda: induction_scores(3), TypeError, ["model", "int"]),
    ("induction_scores: longer than the context", lambda: induction_scores(MODEL, period=5), ValueError, ["at most 4", "got 5"]),
    ("induction_scores: period 1", lambda: induction_scores(MODEL, period=1), ValueError, ["period", "1"]),
    ("induction_scores: no rows", lambda: induction_scores(MODEL, period=2, rows=0), ValueError, ["rows", "0"]),
    ("logit_lens: no model", lambda: logit_lens(None, IDS), TypeError, ["model", "NoneType"]),
    ("logit_lens: floats", left_alone(lambda: logit_lens(MODEL, IDS.float())), ValueError, ["int64", "float32"]),
    ("nearest_tokens: no model", lambda: nearest_tokens({}, IDS[0]), TypeError, ["model", "dict"]),
    ("nearest_tokens: a list", lambda: nearest_tokens(MODEL, [1]), TypeError, ["token_ids", "int64", "list"]),
    ("nearest_tokens: a batch", lambda: nearest_tokens(MODEL, IDS), ValueError, ["token_ids", "(N,)", "(1, 3)"]),
    ("nearest_tokens: a scalar", lambda: nearest_tokens(MODEL, torch.tensor(3)), ValueError, ["token_ids", "(N,)", "()"]),
    ("nearest_tokens: one of many outside", lambda: nearest_tokens(MODEL, torch.arange(1, 18)), ValueError, ["[0, 16)", "1 to 17"]),
    ("nearest_tokens: outside", lambda: nearest_tokens(MODEL, torch.tensor([16])), ValueError, ["[0, 16)", "16"]),
    ("nearest_tokens: below 0", lambda: nearest_tokens(MODEL, torch.tensor([-1])), ValueError, ["[0, 16)", "-1"]),
    ("nearest_tokens: all", lambda: nearest_tokens(MODEL, torch.tensor([1]), k=16), ValueError, ["k", "16"]),
    ("nearest_tokens: none", lambda: nearest_tokens(MODEL, torch.tensor([1]), k=0), ValueError, ["k", "0"]),
    ("head_means: no model", lambda: head_means("x", IDS), TypeError, ["model", "str"]),
    ("head_means: unknown id", left_alone(lambda: head_means(MODEL, IDS - 5)), ValueError, ["[0, 16)", "-4"]),
    ("ablate_heads: no model", ablated([(0, 0)], model=torch.nn.Linear(2, 2)), TypeError, ["model", "Linear"]),
    ("ablate_heads: no pairs", ablated([0, 1]), TypeError, ["heads", "(layer, head)", "0"]),
    ("ablate_heads: second layer unknown", ablated([(0, 0), (2, 0)]), ValueError, ["layer", "[0, 2)", "2"]),
    ("ablate_heads: unknown head", ablated([(1, 2)]), ValueError, ["head", "[0, 2)", "2"]),
    ("ablate_heads: a negative head", ablated([(1, -1)]), ValueError, ["head", "-1"]),
    ("ablate_heads: half a head", ablated([(1, 0.5)]), TypeError, ["head", "0.5"]),
    ("ablate_heads: means of another model", ablated([(0, 0)], torch.zeros(2, 2, 3)), ValueError, ["means", "(2, 2, 4)", "(2, 2, 3)"]),
    ("ablate_heads: means a number", ablated([(0, 0)], 0.0), TypeError, ["means", "float"]),
    ("attention_view: a batch", lambda: attention_view(MAPS, "abc"), ValueError, ["(L, H, T, T)", "(2, 1, 2, 3, 3)"]),
    ("attention_view: not a number", lambda: attention_view(MAPS[:, 0] * math.nan, "abc"), ValueError, ["maps", "finite", "nan"]),
    ("attention_view: maps that are not square", lambda: attention_view(MAPS[:, 0, :, :2], "abc"), ValueError,
     ["maps", "(L, H, T, T)", "(2, 2, 2, 3)"]),
    ("attention_view: too many tokens", lambda: attention_view(torch.eye(129)[None, None], "a" * 129), ValueError,
     ["at most 128", "129", "maps[..., :128, :128]"]),
    ("attention_view: tokens as ids", lambda: attention_view(MAPS[:, 0], [1, 2, 3]), TypeError, ["tokens", "strings", "1"]),
    ("attention_view: too few tokens", lambda: attention_view(MAPS[:, 0], "ab"), ValueError, ["2 tokens", "(2, 2, 3, 3)"]),
    ("attention_view: unknown layer", lambda: attention_view(MAPS[:, 0], "abc", layer=2), ValueError, ["layer", "[0, 2)", "2"]),
    ("attention_view: unknown head", lambda: attention_view(MAPS[:, 0], "abc", head=2), ValueError, ["head", "[0, 2)", "2"]),
    ("attention_view: integers", lambda: attention_view(MAPS[:, 0].int(), "abc"), TypeError, ["maps", "int32"]),
    ("lens_view: a batch", lambda: lens_view(torch.zeros(2, 1, 3, 16), IDS[0], TOKENIZER), ValueError,
     ["(L + 1, T, V)", "(2, 1, 3, 16)"]),
    ("lens_view: other ids", lambda: lens_view(torch.zeros(2, 3, 16), IDS, TOKENIZER), ValueError, ["(2, 3, 16)", "(1, 3)"]),
    ("lens_view: a list", lambda: lens_view(torch.zeros(2, 3, 16), [1, 2, 3], TOKENIZER), ValueError, ["(2, 3, 16)", "input_ids"]),
    ("lens_view: ids as floats", lambda: lens_view(torch.zeros(2, 3, 16), IDS[0].float(), TOKENIZER), TypeError, ["int64", "float32"]),
    ("lens_view: unknown id", lambda: lens_view(torch.zeros(2, 3, 16), IDS[0] + 14, TOKENIZER), ValueError, ["[0, 16)", "15 to 17"]),
    ("lens_view: below 0", lambda: lens_view(torch.zeros(2, 3, 16), IDS[0] - 2, TOKENIZER), ValueError, ["[0, 16)", "-1 to 1"]),
    ("lens_view: not a number", lambda: lens_view(torch.full((2, 3, 16), math.nan), IDS[0], TOKENIZER), ValueError, ["lens", "nan"]),
    ("lens_view: no tokenizer", lambda: lens_view(torch.zeros(2, 3, 16), IDS[0], "austen"), TypeError, ["tokenizer", "str"]),
    ("lens_view: a larger vocabulary", lambda: lens_view(torch.zeros(1, 3, 5000), IDS[0], TOKENIZER), ValueError, ["5000", "4096"]),
    ("next_token_view: rank 1", lambda: next_token_view(torch.zeros(16), ["x"], TOKENIZER), ValueError, ["(N, V)", "(16,)"]),
    ("next_token_view: cut off already", lambda: next_token_view(torch.full((1, 16), -math.inf), ["x"], TOKENIZER), ValueError,
     ["logits", "finite", "-inf"]),
    ("next_token_view: prompts", lambda: next_token_view(torch.zeros(2, 16), ["x"], TOKENIZER), ValueError, ["(2, 16)", "1 prompts"]),
    ("next_token_view: no prompt", lambda: next_token_view(torch.zeros(2, 16), ["x", None], TOKENIZER), TypeError,
     ["prompts", "None"]),
    ("next_token_view: tokenizer", lambda: next_token_view(torch.zeros(1, 16), ["x"], None), TypeError, ["tokenizer", "NoneType"]),
    ("next_token_view: too hot", lambda: next_token_view(torch.zeros(1, 16), ["x"], TOKENIZER, temperature=3.0), ValueError,
     ["temperature", "[0.1, 2]", "3.0"]),
    ("next_token_view: temperature a word", lambda: next_token_view(torch.zeros(1, 16), ["x"], TOKENIZER, temperature="hot"),
     TypeError, ["temperature", "'hot'"]),
    ("next_token_view: temperature True", lambda: next_token_view(torch.zeros(1, 16), ["x"], TOKENIZER, temperature=True),
     TypeError, ["temperature", "True"]),
    ("next_token_view: top_p a word", lambda: next_token_view(torch.zeros(1, 16), ["x"], TOKENIZER, top_p="all"), TypeError,
     ["top_p", "'all'"]),
    ("next_token_view: top_p", lambda: next_token_view(torch.zeros(1, 16), ["x"], TOKENIZER, top_p=1.5), ValueError, ["top_p", "1.5"]),
    ("next_token_view: top_p below its knob", lambda: next_token_view(torch.zeros(1, 16), ["x"], TOKENIZER, top_p=0.01), ValueError,
     ["top_p", "[0.05, 1]", "0.01"]),
    ("next_token_view: top_k", lambda: next_token_view(torch.zeros(1, 16), ["x"], TOKENIZER, top_k=17), ValueError, ["top_k", "17"]),
]
