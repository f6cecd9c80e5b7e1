"""Memory and time of loading a checkpoint of GPT-2, each in a process of its own, and the time to the first token.

    python benchmarks/loading.py [--sizes 124M 774M] [--out FILE]          (Linux; up to 7 GB of disk for 774M)

Checkpoints of the real shapes with random weights are written to a temporary folder. "first idea" is a model with first
weights, and a state dict that is copied into it; "transformers" is GPT2LMHeadModel.from_pretrained. Every weight is read
once, since transformers leaves them in the mapped file until then. The peak is all of a process's memory in RAM, mapped
files included, which the system may take back at any time without writing them; "private" is the peak of the rest.

The first token is that of `gptbook generate` with the shipped model, from the start of the process until it has written
more than the prompt; beside it stands a process that does nothing but import torch. Medians of interleaved rounds.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from gptbook import GPT2_CHECKPOINTS, GPTModel, save_gpt2

MEASURE = """
import re, sys, threading, time, torch
from pathlib import Path
{imports}
def memory(kind):
    return int(re.search(kind + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
def watch():  # the system keeps no highest mark of the private part
    while running:
        seen.append(memory("RssAnon"))
        time.sleep(0.005)
folder = sys.argv[1]
seen, running = [memory("RssAnon")], True
watcher = threading.Thread(target=watch)
watcher.start()
before, start = memory("VmRSS"), time.perf_counter()
{load}
with torch.no_grad():
    checksum = sum(p.sum().item() for p in model.parameters())  # a file that is only mapped is read now
seconds = time.perf_counter() - start
running = False
watcher.join()
print(memory("VmHWM") - before, max(seen) - seen[0], sum(p.nbytes for p in model.parameters()), seconds)
"""
WAYS = {
    "load_gpt2": ("from gptbook import load_gpt2", "model = load_gpt2(folder)"),
    "load_gpt2, .bin": ("from gptbook import load_gpt2", "model = load_gpt2(folder + '/bin')"),
    "first idea": ("from safetensors.torch import load_file\nfrom gptbook import *\nfrom gptbook.load_weights import _read_config",
                   "model = GPTModel(_read_config(Path(folder) / 'config.json'))\n"
                   "load_weights_into_gpt(model, load_file(folder + '/model.safetensors'))"),
    "transformers": ("from transformers import GPT2LMHeadModel", "model = GPT2LMHeadModel.from_pretrained(folder)"),
}


def write(size: str, folder: Path) -> None:
    """A checkpoint of a size with random weights, and the same as a pytorch_model.bin in the folder "bin"."""
    torch.manual_seed(0)
    model = GPTModel({**GPT2_CHECKPOINTS[size][2], "qkv_bias": True})
    save_gpt2(model, folder)
    del model
    from safetensors.torch import load_file
    (folder / "bin").mkdir()
    torch.save(load_file(folder / "model.safetensors"), folder / "bin" / "pytorch_model.bin")
    (folder / "bin" / "config.json").write_bytes((folder / "config.json").read_bytes())


def seconds_to(command: list[str], more_than: int) -> float:
    """From the start of a process until it has written more than so many bytes."""
    start, written = time.perf_counter(), 0
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while written <= more_than:
            piece = process.stdout.read1()  # type: ignore[attr-defined]
            if not piece:
                raise RuntimeError(f"{command} ended after {written} bytes")
            written += len(piece)
        seconds = time.perf_counter() - start
        process.stdout.read()
    return seconds


def first_token(rounds: int = 9) -> dict[str, float]:
    """Median seconds of `gptbook generate` until its first token, and of importing torch alone."""
    prompt, times = "It is a truth", []
    for _ in range(rounds):
        times.append((seconds_to(["-m", "gptbook", "generate", prompt, "--seed", "1"], len(prompt)),
                      seconds_to(["-c", "import torch; print('', flush=True)"], 0)))
    ours, torch_alone = map(statistics.median, zip(*times))
    return {"gptbook generate": round(ours, 2), "import torch": round(torch_alone, 2)}


def run(sizes: list[str]) -> dict[str, Any]:
    """All rows, as a record."""
    rows = []
    for size in tqdm(sizes, unit="size"):
        with tempfile.TemporaryDirectory() as name:
            write(size, Path(name))
            for way, (imports, load) in WAYS.items():
                done = subprocess.run([sys.executable, "-c", MEASURE.format(imports=imports, load=load), name], check=True,
                                      capture_output=True, text=True)
                peak, private, weights, seconds = map(float, done.stdout.split())
                rows.append({"size": size, "way": way, "weights": weights, "peak": peak, "private": private, "seconds": seconds})
    return {"machine": platform.machine(), "torch": torch.__version__, "rows": rows, "first_token": first_token()}


def show(record: dict[str, Any]) -> None:
    """A line for each way."""
    print(f"{'size':8}{'way':18}{'weights MB':>12}{'peak / weights':>16}{'private':>9}{'seconds':>9}")
    for row in record["rows"]:
        print(f"{row['size']:8}{row['way']:18}{row['weights'] / 1e6:12,.0f}{row['peak'] / row['weights']:16.2f}"
              f"{row['private'] / row['weights']:9.2f}{row['seconds']:9.1f}")
    print("seconds until the first token: " + ", ".join(f"{way} {seconds}" for way, seconds in record["first_token"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["124M", "774M"], choices=list(GPT2_CHECKPOINTS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "loading.json")
    args = parser.parse_args()
    record = run(args.sizes)
    show(record)
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
