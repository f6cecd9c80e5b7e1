"""Wrong arguments for chapter 11: (name, call, exception, words that the message must contain)."""

import json
import tempfile
from pathlib import Path

import torch
from torch import nn

from gptbook.gpt import GPTModel
from gptbook.gpt_gqa import GroupedQueryAttention
from gptbook.gpt_mla import HalfCacheAttention, MultiHeadLatentAttention
from gptbook.gpt_swa import SlidingWindowAttention
from gptbook.load_weights import (first_difference, gpt2_names, load_gpt2, load_weights_into_gpt, save_gpt2,
                                  tokenizer_for)

CONFIG = {"vocab_size": 9, "context_length": 8, "emb_dim": 12, "n_heads": 3, "n_layers": 1, "qkv_bias": True}


def model(**kind):
    return GPTModel(CONFIG, **kind)


def weights(**changes):
    """The weights of a model under GPT-2's names, some of them changed; None leaves one out."""
    own = model().state_dict()
    state = {theirs: own[ours].T if turned else own[ours] for theirs, (ours, turned) in gpt2_names(1).items()}
    state |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


def load(state, into=None):
    load_weights_into_gpt(into or model(), state)


def opened(attention=None, cut=0, config=None, **settings):
    """load_gpt2 of a folder whose weights lack their last bytes, or whose config.json differs."""
    with tempfile.TemporaryDirectory() as folder:
        save_gpt2(model(), folder)
        path, about = Path(folder) / "model.safetensors", Path(folder) / "config.json"
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        if config:
            about.write_text(json.dumps(json.loads(about.read_text()) | config))
        load_gpt2(folder, **({"attention": attention} if attention else {}), **settings)


def saved(model, folder="folder"):
    with tempfile.TemporaryDirectory() as parent:
        save_gpt2(model, Path(parent) / folder if isinstance(folder, str) else folder)


CASES = [
    ("names: no layer", lambda: gpt2_names(0), ValueError, ["n_layers", "1", "0"]),
    ("names: 12.0 layers", lambda: gpt2_names(12.0), TypeError, ["n_layers", "int", "12.0"]),
    ("into: no model", lambda: load_weights_into_gpt(nn.Linear(2, 2), {}), TypeError, ["model", "GPTModel", "Linear"]),
    ("into: weights a list", lambda: load([]), TypeError, ["state_dict", "Mapping", "list"]),
    ("into: a list for a tensor", lambda: load(weights(wte__weight=[1.0])), TypeError, ["wte.weight", "Tensor", "list"]),
    ("into: nothing", lambda: load({}), ValueError, ["wte.weight is missing"]),
    ("into: our names", lambda: load(model().state_dict()), ValueError, ["tok_emb.weight is unknown"]),
    ("into: one missing", lambda: load(weights(ln_f__bias=None)), ValueError, ["ln_f.bias is missing"]),
    ("into: one too many", lambda: load(weights(score__weight=torch.zeros(2))), ValueError, ["score.weight is unknown"]),
    ("into: twice", lambda: load(weights(transformer__wpe__weight=torch.zeros(8, 12))), ValueError, ["wpe.weight", "twice"]),
    ("into: transposed", lambda: load(weights(h__0__mlp__c_fc__weight=torch.zeros(48, 12))), ValueError,
     ["h.0.mlp.c_fc.weight", "(48, 12)", "(12, 48)"]),
    ("into: NaN", lambda: load(weights(ln_f__bias=torch.full((12,), float("nan")))), ValueError, ["ln_f.bias", "finite"]),
    ("into: integers", lambda: load(weights(ln_f__bias=torch.zeros(12, dtype=torch.int64))), ValueError,
     ["ln_f.bias", "floats"]),
    ("into: a head that is none", lambda: load(weights(lm_head__weight=[1.0])), TypeError, ["lm_head.weight", "Tensor"]),
    ("into: another head", lambda: load(weights(lm_head__weight=torch.zeros(9, 12))), ValueError, ["lm_head.weight", "wte"]),
    ("into: no biases in the model", lambda: load(weights(), GPTModel({**CONFIG, "qkv_bias": False})), ValueError,
     ["qkv_bias=True", "att.qkv.bias"]),
    ("into: another attention",
     lambda: load(weights(), GPTModel({**CONFIG, "latent_dim": 4}, attention=MultiHeadLatentAttention)), ValueError,
     ["MultiHeadAttention", "blocks.0.att"]),
    ("difference: no model", lambda: first_difference(None, model(), torch.zeros(1, 2, dtype=torch.int64)), TypeError,
     ["model", "GPTModel", "NoneType"]),
    ("difference: no reference", lambda: first_difference(model(), model(), torch.zeros(1, 2, dtype=torch.int64)), TypeError,
     ["reference", "GPT2LMHeadModel", "GPTModel"]),
    ("tokenizer: another vocabulary", lambda: tokenizer_for(model()), ValueError, ["9", "4,096", "50,257"]),
    ("tokenizer: no model", lambda: tokenizer_for("124M"), TypeError, ["model", "GPTModel", "str"]),
    ("load: source None", lambda: load_gpt2(None), TypeError, ["source", "NoneType"]),
    ("load: unknown size", lambda: load_gpt2("125M"), FileNotFoundError, ["source", "'124M'", "'austen'", "125M"]),
    ("load: no such folder", lambda: load_gpt2(Path("no/such")), FileNotFoundError, ["source", "no/such"]),
    ("load: attention a str", lambda: load_gpt2("austen", attention="mha"), TypeError, ["attention", "type", "str"]),
    ("load: attention no attention", lambda: opened(nn.Linear), ValueError, ["config.json", "attention", "Linear"]),
    ("load: dtype of integers", lambda: load_gpt2("austen", dtype=torch.int8), TypeError, ["dtype", "int8"]),
    ("load: dtype a str", lambda: load_gpt2("austen", dtype="float32"), TypeError, ["dtype", "'float32'"]),
    ("load: GQA without its groups", lambda: opened(GroupedQueryAttention), ValueError,
     ["GroupedQueryAttention", "num_kv_groups"]),
    ("load: GQA with groups that do not divide", lambda: opened(GroupedQueryAttention, num_kv_groups=2), ValueError, ["3 and 2"]),
    ("load: MLA without its width", lambda: opened(MultiHeadLatentAttention), ValueError,
     ["MultiHeadLatentAttention", "latent_dim"]),
    ("load: MLA without a text", lambda: opened(MultiHeadLatentAttention, latent_dim=4), ValueError, ["input_ids", "9"]),
    ("load: a window without its size", lambda: opened(SlidingWindowAttention), ValueError, ["sliding_window_size"]),
    ("load: a setting that the attention lacks", lambda: opened(HalfCacheAttention, latent_dim=4), ValueError, ["latent_dim"]),
    ("load: a setting that the checkpoint decides", lambda: opened(n_heads=4), ValueError, ["n_heads", "checkpoint decides"]),
    ("load: truncated", lambda: opened(cut=1), ValueError, ["model.safetensors", "truncated"]),
    ("load: another activation", lambda: opened(config={"activation_function": "relu"}), ValueError,
     ["config.json", "activation_function", "relu", "gelu_new"]),
    ("load: heads that do not divide", lambda: opened(config={"n_head": 5}), ValueError, ["config.json", "12", "5"]),
    ("save: no model", lambda: saved(None), TypeError, ["model", "GPTModel", "NoneType"]),
    ("save: folder 3", lambda: saved(model(), 3), TypeError, ["folder", "int"]),
    ("save: no parent", lambda: saved(model(), "a/b"), FileNotFoundError, ["a/b"]),
    ("save: another attention", lambda: saved(model(attention=HalfCacheAttention)), ValueError,
     ["MultiHeadAttention", "HalfCacheAttention", "save_checkpoint"]),
]
