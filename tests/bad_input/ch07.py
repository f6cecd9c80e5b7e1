"""Bad input to chapter 7's public names: (id, call, error, words that its message must hold)."""

import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load, save

from gptbook.dataset_loader import GPTDatasetV1, austen_tokenizer, gpt2_tokenizer
from gptbook.gpt import GPTModel
from gptbook.kv_cache import MultiHeadAttention
from gptbook.train import (
    TrainConfig, batch_windows, bits_per_byte, calc_loss_batch, learning_rate, load_checkpoint, make_optimizer,
    save_checkpoint, train, train_step)

CFG = {"vocab_size": 4096, "context_length": 8, "emb_dim": 8, "n_heads": 2, "n_layers": 1}
FOLDER = Path(tempfile.mkdtemp(prefix="gptbook-ch07-"))


class OtherAttention(MultiHeadAttention):
    pass


def model(**changed):
    return GPTModel({**CFG, **changed}).eval()


def ids(*shape, value=1, dtype=torch.int64):
    return torch.full(shape, value, dtype=dtype)


def run(**changed):
    arguments = {"model": model(), "dataset": dataset(), "cfg": TrainConfig(max_steps=1), "progress": False, **changed}
    return train(**arguments)


def dataset(max_length=8, tokenizer=None):
    return GPTDatasetV1("Anne was tenderness itself, and she had the full worth of it." * 4,
                        tokenizer or austen_tokenizer(), max_length, max_length)


def checkpoint(change_tensors=None, change_about=None):
    """Load a checkpoint whose tensors or header were changed after it was saved."""
    path = FOLDER / "changed.safetensors"
    save_checkpoint(path, model(), step=1)
    data = path.read_bytes()
    tensors = load(data)
    length = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8:8 + length])["__metadata__"]["gptbook"])
    if change_tensors:
        change_tensors(tensors)
    if change_about:
        change_about(about)
    path.write_bytes(save(tensors, {"gptbook": json.dumps(about)}))
    return load_checkpoint(path)


def truncated(keep):
    path = FOLDER / "truncated.safetensors"
    save_checkpoint(path, model())
    path.write_bytes(path.read_bytes()[:keep])
    return load_checkpoint(path)


def foreign(tensors, metadata=None):
    path = FOLDER / "foreign.safetensors"
    path.write_bytes(save(tensors, metadata))
    return load_checkpoint(path)


def llama():
    return foreign({"model.embed_tokens.weight": torch.zeros(4, 2), "model.norm.weight": torch.zeros(2)})


def nan(tensors):
    tensors["model.pos_emb.weight"][0, 0] = torch.nan


def resume(cfg=TrainConfig(max_steps=2), attention=MultiHeadAttention, **changed):
    path = FOLDER / "resume.safetensors"
    first = GPTModel(CFG)
    optimizer = make_optimizer(first, TrainConfig(max_steps=2))
    train_step(first, optimizer, [(ids(1, 8), ids(1, 8))], TrainConfig(max_steps=2), 0)
    save_checkpoint(path, first, optimizer, step=1, train_config=TrainConfig(max_steps=2))
    return run(model=GPTModel({**CFG, **changed}, attention=attention), cfg=cfg, checkpoint_path=path, resume=True)


def resume_from_changed(change_tensors=lambda tensors: None, change_about=lambda about: None):
    """Resume from a checkpoint of a run whose tensors or header were changed after it was saved."""
    path, cfg = FOLDER / "spoilt.safetensors", TrainConfig(max_steps=2)
    first = GPTModel(CFG)
    optimizer = make_optimizer(first, cfg)
    train_step(first, optimizer, [(ids(1, 8), ids(1, 8))], cfg, 0)
    save_checkpoint(path, first, optimizer, step=1, train_config=cfg)
    data = path.read_bytes()
    tensors, length = load(data), int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8:8 + length])["__metadata__"]["gptbook"])
    change_tensors(tensors), change_about(about)
    path.write_bytes(save(tensors, {"gptbook": json.dumps(about)}))
    victim = GPTModel(CFG)
    before = [p.clone() for p in victim.parameters()]
    try:
        return run(model=victim, cfg=cfg, checkpoint_path=path, resume=True)
    finally:
        assert all(torch.equal(a, b) for a, b in zip(before, victim.parameters())), "the model was changed"


def put(name, change):
    """A change of one tensor of a checkpoint: its new value from its old, or None to leave it out."""
    def change_tensors(tensors):
        changed = change(tensors.pop(name, None))
        if changed is not None:
            tensors[name] = changed
    return change_tensors


def without_state_of(parameter):
    def change_tensors(tensors):
        for key in ("exp_avg", "exp_avg_sq", "step"):
            del tensors[f"optimizer.{parameter}.{key}"]
    return change_tensors


def restore_into_another():
    path, cfg = FOLDER / "other.safetensors", TrainConfig(max_steps=1)
    save_checkpoint(path, model())
    return load_checkpoint(path).restore(model(), make_optimizer(model(), cfg))


def step_untouched(micro_batches, **changed):
    """A step that is refused must leave mode, gradients, learning rate and random generator as they were."""
    one, cfg = model(), TrainConfig(max_steps=10, warmup_steps=10)
    optimizer = make_optimizer(one, cfg)
    for p in one.parameters():
        p.grad = torch.ones_like(p)
    state = torch.get_rng_state()
    try:
        return train_step(**{"model": one, "optimizer": optimizer, "micro_batches": micro_batches, "cfg": cfg, "step": 0,
                             **changed})
    finally:
        assert not one.training and all((p.grad == 1).all() for p in one.parameters())
        assert optimizer.param_groups[0]["lr"] == cfg.max_lr and torch.equal(state, torch.get_rng_state())


GOOD = (ids(1, 4), ids(1, 4))


def weights_only():
    save_checkpoint(FOLDER / "weights.safetensors", model(), step=1, train_config=TrainConfig(max_steps=2))
    return run(cfg=TrainConfig(max_steps=2), checkpoint_path=FOLDER / "weights.safetensors", resume=True)


def nan_model():
    bad = model()
    bad.pos_emb.weight.data[0, 0] = torch.nan
    cfg = TrainConfig(max_steps=1)
    return train_step(bad, make_optimizer(bad, cfg), [(ids(1, 4), ids(1, 4))], cfg, 0)


def step_on(micro_batches, step=0):
    one, cfg = model(), TrainConfig(max_steps=1)
    return train_step(one, make_optimizer(one, cfg), micro_batches, cfg, step)


def settings(**changed):
    return lambda: TrainConfig(**{"max_steps": 10, **changed})


def score(*args, **kwargs):
    return lambda: bits_per_byte(*args, **kwargs)


TOKENIZER = austen_tokenizer()
MODEL = model()

CASES = [
    ("calc_loss_batch: shapes differ", lambda: calc_loss_batch(ids(2, 4), ids(2, 3), MODEL), ValueError,
     ["one shape", "(2, 4)", "(2, 3)"]),
    ("calc_loss_batch: float targets", lambda: calc_loss_batch(ids(1, 4), torch.zeros(1, 4), MODEL), TypeError,
     ["target_batch", "int64", "float32"]),
    ("calc_loss_batch: a list", lambda: calc_loss_batch([[1]], ids(1, 1), MODEL), TypeError, ["input_batch", "list"]),
    ("calc_loss_batch: rank 1", lambda: calc_loss_batch(ids(4), ids(4), MODEL), ValueError, ["(4,)"]),
    ("calc_loss_batch: too long", lambda: calc_loss_batch(ids(1, 9), ids(1, 9), MODEL), ValueError, ["9", "8"]),
    ("calc_loss_batch: input id too large", lambda: calc_loss_batch(ids(1, 4, value=4096), ids(1, 4), MODEL),
     ValueError, ["4096"]),
    ("calc_loss_batch: target id too large", lambda: calc_loss_batch(ids(1, 4), ids(1, 4, value=4096), MODEL),
     ValueError, ["target_batch", "4096"]),
    ("calc_loss_batch: target id negative", lambda: calc_loss_batch(ids(1, 4), ids(1, 4, value=-1), MODEL),
     ValueError, ["target_batch", "-1"]),
    ("bits_per_byte: bytes", score(MODEL, b"Anne", TOKENIZER), TypeError, ["text", "str", "bytes"]),
    ("bits_per_byte: empty", score(MODEL, "", TOKENIZER), ValueError, ["text", "at least one byte"]),
    ("bits_per_byte: only END_OF_TEXT", score(MODEL, "<|endoftext|>", TOKENIZER), ValueError, ["at least one byte"]),
    ("bits_per_byte: larger tokenizer", score(MODEL, "Anne", gpt2_tokenizer()), ValueError, ["50257", "4096"]),
    ("bits_per_byte: no tokenizer", score(MODEL, "Anne", None), TypeError, ["tokenizer", "NoneType"]),
    ("bits_per_byte: no model", score(None, "Anne", TOKENIZER), TypeError, ["model", "GPTModel"]),
    ("bits_per_byte: batch size 0", score(MODEL, "Anne", TOKENIZER, batch_size=0), ValueError, ["batch_size", "0"]),
    ("bits_per_byte: stride 0", score(MODEL, "Anne", TOKENIZER, stride=0), ValueError, ["stride", "0"]),
    ("bits_per_byte: stride above the context", score(MODEL, "Anne", TOKENIZER, stride=9), ValueError, ["stride", "8", "9"]),
    ("TrainConfig: no steps", settings(max_steps=0), ValueError, ["max_steps", "0"]),
    ("TrainConfig: float steps", settings(max_steps=1.5), TypeError, ["max_steps", "1.5"]),
    ("TrainConfig: batch size 0", settings(batch_size=0), ValueError, ["batch_size"]),
    ("TrainConfig: no micro-batch", settings(accumulation_steps=0), ValueError, ["accumulation_steps"]),
    ("TrainConfig: never evaluate", settings(eval_every=0), ValueError, ["eval_every"]),
    ("TrainConfig: negative seed", settings(seed=-1), ValueError, ["seed", "-1"]),
    ("TrainConfig: warm-up too long", settings(warmup_steps=11), ValueError, ["warmup_steps", "10", "11"]),
    ("TrainConfig: no learning rate", settings(max_lr=0), ValueError, ["max_lr", "above 0"]),
    ("TrainConfig: NaN learning rate", settings(max_lr=float("nan")), ValueError, ["max_lr", "finite", "nan"]),
    ("TrainConfig: text learning rate", settings(max_lr="3e-3"), TypeError, ["max_lr", "number", "3e-3"]),
    ("TrainConfig: min above max", settings(min_lr=1.0), ValueError, ["min_lr", "max_lr"]),
    ("TrainConfig: negative decay", settings(weight_decay=-0.1), ValueError, ["weight_decay", "-0.1"]),
    ("TrainConfig: no clip", settings(grad_clip=0), ValueError, ["grad_clip", "above 0"]),
    ("TrainConfig: infinite clip", settings(grad_clip=float("inf")), ValueError, ["grad_clip", "inf"]),
    ("TrainConfig: one beta", settings(betas=0.9), TypeError, ["betas", "two", "0.9"]),
    ("TrainConfig: beta of 1", settings(betas=(0.9, 1.0)), ValueError, ["betas", "[0, 1)"]),
    ("TrainConfig: bf16 in words", settings(bf16="yes"), TypeError, ["bf16", "yes"]),
    ("TrainConfig: unknown setting", settings(momentum=0.9), TypeError, ["momentum"]),
    ("learning_rate: step -1", lambda: learning_rate(-1, TrainConfig(max_steps=1)), ValueError, ["step", "-1"]),
    ("learning_rate: float step", lambda: learning_rate(0.5, TrainConfig(max_steps=1)), TypeError, ["step", "0.5"]),
    ("learning_rate: dict", lambda: learning_rate(0, {"max_steps": 1}), TypeError, ["cfg", "TrainConfig", "dict"]),
    ("make_optimizer: dict", lambda: make_optimizer(MODEL, {}), TypeError, ["cfg", "TrainConfig", "dict"]),
    ("batch_windows: step -1", lambda: batch_windows(-1, 5, TrainConfig(max_steps=1)), ValueError, ["step", "-1"]),
    ("batch_windows: no window", lambda: batch_windows(0, 0, TrainConfig(max_steps=1)), ValueError, ["n_windows", "0"]),
    ("train_step: nothing", lambda: step_on([]), ValueError, ["micro_batches", "one or more"]),
    ("train_step: unequal", lambda: step_on([(ids(2, 4), ids(2, 4)), (ids(1, 4), ids(1, 4))]), ValueError,
     ["micro_batches", "(2, 4)", "(1, 4)"]),
    ("train_step: step -1", lambda: step_on([(ids(1, 4), ids(1, 4))], step=-1), ValueError, ["step", "-1"]),
    ("train_step: NaN", nan_model, FloatingPointError, ["step 0", "nan", "weights are as before"]),
    ("save_checkpoint: no folder", lambda: save_checkpoint(FOLDER / "no" / "x.safetensors", MODEL), FileNotFoundError,
     ["No such file", "x.safetensors"]),
    ("save_checkpoint: a folder", lambda: save_checkpoint(FOLDER, MODEL), OSError, [FOLDER.name]),
    ("save_checkpoint: step -1", lambda: save_checkpoint(FOLDER / "x", MODEL, step=-1), ValueError, ["step", "-1"]),
    ("save_checkpoint: no model", lambda: save_checkpoint(FOLDER / "x", torch.nn.Linear(1, 1)), TypeError,
     ["model", "GPTModel", "Linear"]),
    ("save_checkpoint: path 3", lambda: save_checkpoint(3, MODEL), TypeError, ["int"]),
    ("save_checkpoint: another's optimizer",
     lambda: save_checkpoint(FOLDER / "x", MODEL, make_optimizer(model(), TrainConfig(max_steps=1))), ValueError,
     ["optimizer", "not the model's"]),
    ("save_checkpoint: NaN in the history", lambda: save_checkpoint(FOLDER / "x", MODEL, history=[{"loss": float("nan")}]),
     ValueError, ["history", "JSON"]),
    ("load_checkpoint: no file", lambda: load_checkpoint(FOLDER / "nothing"), FileNotFoundError, ["nothing"]),
    ("load_checkpoint: absent device", lambda: load_checkpoint(FOLDER, device="cuda:99"), ValueError, ["device", "'cuda:99'"]),
    ("load_checkpoint: a folder", lambda: load_checkpoint(FOLDER), IsADirectoryError, ["must be a file", FOLDER.name]),
    ("load_checkpoint: empty", lambda: truncated(0), ValueError, ["truncated"]),
    ("load_checkpoint: cut in the header", lambda: truncated(100), ValueError, ["truncated"]),
    ("load_checkpoint: last byte lost", lambda: truncated(-1), ValueError, ["truncated"]),
    ("load_checkpoint: Llama", llama, ValueError, ["not written by save_checkpoint", "model.embed_tokens.weight"]),
    ("load_checkpoint: header not JSON", lambda: foreign({"a": torch.zeros(1)}, {"gptbook": "{"}), ValueError,
     ["no valid 'gptbook' entry"]),
    ("load_checkpoint: header a list", lambda: foreign({"a": torch.zeros(1)}, {"gptbook": "[]"}), ValueError,
     ["no valid 'gptbook' entry"]),
    ("load_checkpoint: no step", lambda: checkpoint(None, lambda about: about.pop("step")), ValueError, ["'step'"]),
    ("load_checkpoint: impossible config", lambda: checkpoint(None, lambda a: a["model_config"].update(n_heads=3)),
     ValueError, ["cannot read", "n_heads"]),
    ("load_checkpoint: unknown setting", lambda: checkpoint(None, lambda a: a.update(train_config={"speed": 1})),
     ValueError, ["cannot read", "speed"]),
    ("load_checkpoint: another attention", lambda: checkpoint(None, lambda a: a.update(attention="Sliding")),
     ValueError, ["attention=Sliding", "MultiHeadAttention"]),
    ("load_checkpoint: tensor missing", lambda: checkpoint(lambda t: t.pop("model.pos_emb.weight")), ValueError,
     ["pos_emb.weight is missing"]),
    ("load_checkpoint: tensor too many", lambda: checkpoint(lambda t: t.update({"model.more": torch.zeros(1)})),
     ValueError, ["more is unknown"]),
    ("load_checkpoint: wrong shape",
     lambda: checkpoint(lambda t: t.update({"model.pos_emb.weight": torch.zeros(9, 8)})), ValueError,
     ["pos_emb.weight has shape (9, 8), not (8, 8)"]),
    ("load_checkpoint: NaN", lambda: checkpoint(nan), ValueError, ["pos_emb.weight is not all finite"]),
    ("load_checkpoint: integers",
     lambda: checkpoint(lambda t: t.update({"model.pos_emb.weight": torch.zeros(8, 8, dtype=torch.int64)})),
     ValueError, ["pos_emb.weight is not all finite floats"]),
    ("load_checkpoint: foreign state",
     lambda: checkpoint(lambda t: t.update({"optimizer.head.exp_avg": torch.zeros(1)})), ValueError,
     ["optimizer.head.exp_avg", "no parameter"]),
    ("train: no dataset", lambda: run(dataset="Anne"), TypeError, ["dataset", "GPTDatasetV1", "str"]),
    ("train: dict for cfg", lambda: run(cfg={"max_steps": 1}), TypeError, ["cfg", "TrainConfig", "dict"]),
    ("train: no model", lambda: run(model=None), TypeError, ["model", "GPTModel"]),
    ("train: windows too long", lambda: run(dataset=dataset(9)), ValueError, ["9", "context_length", "8"]),
    ("train: another vocabulary", lambda: run(dataset=dataset(8, gpt2_tokenizer())), ValueError,
     ["token id", "vocab_size", "4096"]),
    ("train: val_text alone", lambda: run(val_text="Anne"), ValueError, ["val_text", "tokenizer"]),
    ("train: val_text empty", lambda: run(val_text="", tokenizer=TOKENIZER), ValueError, ["text", "byte"]),
    ("train: val_text 3", lambda: run(val_text=3, tokenizer=TOKENIZER), TypeError, ["val_text", "str", "int"]),
    ("train: resume from nowhere", lambda: run(resume=True), ValueError, ["resume", "checkpoint_path"]),
    ("train: no folder", lambda: run(checkpoint_path=FOLDER / "no" / "x"), OSError, ["folder that exists"]),
    ("train: a folder", lambda: run(checkpoint_path=FOLDER), OSError, ["must be a file"]),
    ("train: resume with other settings", lambda: resume(TrainConfig(max_steps=2, max_lr=1.0)), ValueError,
     ["max_lr=0.003", "1.0"]),
    ("train: resume another model", lambda: resume(n_layers=2), ValueError, ["n_layers=1", "n_layers=2"]),
    ("train: resume another attention", lambda: resume(attention=OtherAttention), ValueError,
     ["MultiHeadAttention", "OtherAttention"]),
    ("train: resume weights", weights_only, ValueError, ["no optimiser state"]),
    ("calc_loss_batch: nothing to learn", lambda: calc_loss_batch(ids(1, 4), ids(1, 4, value=-100), MODEL), ValueError,
     ["target_batch", "at least one"]),
    ("train_step: second batch has an unknown id", lambda: step_untouched([GOOD, (ids(1, 4, value=4096), ids(1, 4))]),
     ValueError, ["input_batch", "4096"]),
    ("train_step: unknown target", lambda: step_untouched([(ids(1, 4), ids(1, 4, value=-3))]), ValueError, ["-3"]),
    ("train_step: window too long", lambda: step_untouched([(ids(1, 9), ids(1, 9))]), ValueError, ["(1, 9)", "8"]),
    ("train_step: rank 1", lambda: step_untouched([(ids(4), ids(4))]), ValueError, ["(B, T)", "(4,)"]),
    ("train_step: float", lambda: step_untouched([(torch.zeros(1, 4), ids(1, 4))]), TypeError, ["int64", "float32"]),
    ("train_step: cfg a dict", lambda: step_untouched([GOOD], cfg={}), TypeError, ["cfg", "TrainConfig", "dict"]),
    ("train_step: optimizer a name", lambda: step_untouched([GOOD], optimizer="adam"), TypeError, ["optimizer", "str"]),
    ("make_optimizer: a name", lambda: make_optimizer("x", TrainConfig(max_steps=1)), TypeError, ["model", "str"]),
    ("batch_windows: cfg a dict", lambda: batch_windows(0, 5, {}), TypeError, ["cfg", "dict"]),
    ("save_checkpoint: optimizer a name", lambda: save_checkpoint(FOLDER / "x", MODEL, "adam"), TypeError,
     ["optimizer", "str"]),
    ("load_checkpoint: attention a name", lambda: load_checkpoint(FOLDER / "x", attention="mha"), TypeError,
     ["attention", "str"]),
    ("load_checkpoint: more than any memory", lambda: checkpoint(None, lambda a: a["model_config"].update(
        vocab_size=10**13)), ValueError, ["tok_emb.weight", "10000000000000"]),
    ("load_checkpoint: history a str", lambda: checkpoint(None, lambda a: a.update(history="x")), ValueError, ["history"]),
    ("Checkpoint.restore: another model's optimizer", restore_into_another, ValueError, ["optimizer", "not the model's"]),
    ("resume: a moment is a scalar", lambda: resume_from_changed(
        put("optimizer.pos_emb.weight.exp_avg", lambda t: torch.tensor(0.0))), ValueError, ["pos_emb.weight.exp_avg", "()"]),
    ("resume: a moment is missing", lambda: resume_from_changed(
        put("optimizer.pos_emb.weight.exp_avg", lambda t: None)), ValueError, ["pos_emb.weight", "lacks"]),
    ("resume: a parameter's state is missing", lambda: resume_from_changed(without_state_of("pos_emb.weight")), ValueError,
     ["no optimiser state", "pos_emb.weight"]),
    ("resume: a moment of integers", lambda: resume_from_changed(
        put("optimizer.pos_emb.weight.exp_avg", lambda t: t.long())), ValueError, ["exp_avg", "finite floats"]),
    ("resume: a moment is NaN", lambda: resume_from_changed(
        put("optimizer.pos_emb.weight.exp_avg_sq", lambda t: t * torch.nan)), ValueError, ["exp_avg_sq", "finite floats"]),
    ("resume: an unknown part of the state", lambda: resume_from_changed(
        put("optimizer.pos_emb.weight.foo", lambda t: torch.tensor(0.0))), ValueError, ["foo", "no parameter"]),
]
