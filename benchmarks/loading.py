"""Memory and time of loading a checkpoint of GPT-2, each in a process of its own, against the weights' own bytes.

    python benchmarks/loading.py [--sizes 124M 774M] [--out FILE]          (Linux; up to 7 GB of disk for 774M)

Checkpoints of the real shapes with random weights are written to a temporary folder. "first idea" is a model with first
weights, and a state dict that is copied into it; "transformers" is GPT2LMHeadModel.from_pretrained. Every weight is read
once, since transformers leaves them in the mapped file until then.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from gptbook import GPT2_CHECKPOINTS, GPTModel, save_gpt2

MEASURE = """
import re, sys, time, torch
from pathlib import Path
{imports}
def memory(kind):
    return int(re.search(kind + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
folder = sys.argv[1]
before, start = memory("VmRSS"), time.perf_counter()
{load}
with torch.no_grad():
    checksum = sum(p.sum().item() for p in model.parameters())  # a file that is only mapped is read now
seconds = time.perf_counter() - start
print(memory("VmHWM") - before, sum(p.nbytes for p in model.parameters()), seconds)
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


def run(sizes: list[str]) -> dict[str, Any]:
    """All rows, as a record."""
    rows = []
    for size in tqdm(sizes, unit="size"):
        with tempfile.TemporaryDirectory() as name:
            write(size, Path(name))
            for way, (imports, load) in WAYS.items():
                done = subprocess.run([sys.executable, "-c", MEASURE.format(imports=imports, load=load), name], check=True,
                                      capture_output=True, text=True)
                peak, weights, seconds = map(float, done.stdout.split())
                rows.append({"size": size, "way": way, "weights": weights, "peak": peak, "seconds": seconds})
    return {"machine": platform.machine(), "torch": torch.__version__, "rows": rows}


def show(record: dict[str, Any]) -> None:
    """A line for each way."""
    print(f"{'size':8}{'way':18}{'weights MB':>12}{'peak / weights':>16}{'seconds':>9}")
    for row in record["rows"]:
        print(f"{row['size']:8}{row['way']:18}{row['weights'] / 1e6:12,.0f}{row['peak'] / row['weights']:16.2f}{row['seconds']:9.1f}")


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
