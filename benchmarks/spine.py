"""The spine against its peers, side by side: decoding, a training step, and the memory of the data loader.

    python benchmarks/spine.py [--size 124M] [--rounds 5] [--json FILE]

Random weights, the same shapes, dtype and threads; logits are compared before anything is timed; rounds are
interleaved, and the medians and their ratios are printed. Peer: transformers' GPT2LMHeadModel.
"""

import argparse
import json
import pickle
import platform
import statistics
import time

import torch
from torch.nn import functional as F
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

import gptbook
from gptbook import GPTDatasetV1, GPTModel, TRAIN_NOVELS, austen_tokenizer, load_novel, stream

SIZES = {
    "tiny": {"vocab_size": 4096, "context_length": 256, "emb_dim": 192, "n_heads": 6, "n_layers": 4},
    "124M": {**gptbook.GPT_CONFIG_124M, "drop_rate": 0.0},
}


def peer_of(model):
    """transformers' GPT-2 with this model's weights."""
    cfg = model.cfg
    peer = GPT2LMHeadModel(GPT2Config(
        vocab_size=cfg.vocab_size, n_positions=cfg.context_length, n_embd=cfg.emb_dim, n_head=cfg.n_heads,
        n_layer=cfg.n_layers, bos_token_id=None, eos_token_id=None, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, attn_implementation="sdpa"))
    with torch.no_grad():
        peer.transformer.wte.weight.copy_(model.tok_emb.weight)
        peer.transformer.wpe.weight.copy_(model.pos_emb.weight)
        for ours, theirs in zip(model.blocks, peer.transformer.h):
            for norm, ln in ((ours.norm1, theirs.ln_1), (ours.norm2, theirs.ln_2)):
                ln.weight.copy_(norm.scale), ln.bias.copy_(norm.shift)
            for linear, conv in ((ours.att.qkv, theirs.attn.c_attn), (ours.att.out_proj, theirs.attn.c_proj),
                                 (ours.ff.expand, theirs.mlp.c_fc), (ours.ff.out_proj, theirs.mlp.c_proj)):
                conv.weight.copy_(linear.weight.T)
                conv.bias.zero_() if linear.bias is None else conv.bias.copy_(linear.bias)
        peer.transformer.ln_f.weight.copy_(model.final_norm.scale)
        peer.transformer.ln_f.bias.copy_(model.final_norm.shift)
    return peer


def decode_ours(model, prompt, new):
    """Seconds for `new` greedy tokens after the prompt."""
    start = time.perf_counter()
    for _ in stream(model, prompt, new):
        pass
    return time.perf_counter() - start


@torch.inference_mode()
def decode_peer(peer, prompt, new):
    """The same by transformers' forward and its dynamic cache, the last position's logits only."""
    start = time.perf_counter()
    cache, ids = DynamicCache(config=peer.config), prompt
    for _ in range(new):
        ids = peer(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1:].argmax(-1)
    return time.perf_counter() - start


def training_step(model, batch, optimizer, logits_of):
    """Seconds for forward, loss, backward and an AdamW step."""
    start = time.perf_counter()
    loss = F.cross_entropy(logits_of(model(batch)).flatten(0, 1), batch.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return time.perf_counter() - start


def interleaved(rounds, ours, peer):
    """Median seconds of each, one call of both as a warm-up, then in turns."""
    ours(), peer()
    times = [(ours(), peer()) for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times)]


def loader_memory():
    """Bytes of the dataset of the five novels at stride 1, and of copies, for each byte of its token ids."""
    dataset = GPTDatasetV1("".join(load_novel(name) for name in TRAIN_NOVELS), austen_tokenizer(), 256, 1)
    ids = dataset.token_ids.nbytes
    return len(pickle.dumps(dataset)) / ids, len(dataset) * 2 * 256 * 8 / ids


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="124M")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    args = parser.parse_args()

    torch.manual_seed(0)
    model = GPTModel(SIZES[args.size])
    peer = peer_of(model)
    prompt = torch.randint(0, model.cfg.vocab_size, (1, 32))
    with torch.inference_mode():
        error = (model.eval()(prompt) - peer.eval()(prompt).logits).abs().max().item()
    assert error < 2e-5, f"the logits differ by {error}"

    decode = interleaved(args.rounds, lambda: decode_ours(model, prompt, 64), lambda: decode_peer(peer, prompt, 64))
    batch = torch.randint(0, model.cfg.vocab_size, (2, 256))
    model.train(), peer.train()
    ours_opt, peer_opt = (torch.optim.AdamW(m.parameters(), lr=1e-4, fused=True) for m in (model, peer))
    step = interleaved(args.rounds, lambda: training_step(model, batch, ours_opt, lambda out: out),
                       lambda: training_step(peer, batch, peer_opt, lambda out: out.logits))
    held, copies = loader_memory()
    rows = [
        ("decode, prompt 32, 64 new, tokens/s", 64 / decode[0], 64 / decode[1], decode[1] / decode[0]),
        ("training step, 2 x 256, tokens/s", 512 / step[0], 512 / step[1], step[1] / step[0]),
    ]
    print(f"GPT-2 {args.size}, float32, {torch.get_num_threads()} threads, torch {torch.__version__}, "
          f"{torch.backends.cpu.get_cpu_capability()}; logits differ by {error:.1e}")
    print(f"{'work':38}{'gptbook':>10}{'transformers':>14}{'ratio':>8}")
    for name, ours, theirs, ratio in rows:
        print(f"{name:38}{ours:10.1f}{theirs:14.1f}{ratio:8.2f}")
    print(f"dataset at stride 1, bytes for each byte of token ids: {held:.2f}; a list of copies: {copies:.0f}")
    if args.json:
        record = {"size": args.size, "machine": platform.processor() or platform.machine(), "rounds": args.rounds,
                  "threads": torch.get_num_threads(), "torch": torch.__version__, "rows": rows,
                  "dataset_bytes_ratio": held, "copies_bytes_ratio": copies}
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)


if __name__ == "__main__":
    main()
