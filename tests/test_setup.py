"""The set-up: what the Makefile, the pins and README promise to a reader with a fresh clone."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TARGETS = ["book", "pdf", "test", "lab", "chapters", "export", "figures", "bench", "clean"]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def pins():
    """{canonical name: version} of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return {canonicalize_name(name): version for name, version in
            (line.split("==") for line in lines if line and not line.startswith("#"))}


def test_a_bare_make_lists_the_targets():
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = dict(re.findall(r"^make (\w+)\s+(\S.*)$", said, flags=re.M))
    assert set(TARGETS) <= set(listed) and all(len(line) > 10 for line in listed.values())


def test_every_installed_version_is_pinned():
    # Whatever the set-up brought into this environment; pip comes with Python.
    installed = {canonicalize_name(d.metadata["Name"]): d.version.split("+")[0] for d in distributions(
        path=[p for p in sys.path if "site-packages" in p])}
    ours = {name: version for name, version in installed.items() if name not in ("pip", "gptbook")}
    known = pins()
    assert len(ours) > 100
    if sys.version_info[:2] == (3, 11) and sys.platform == "linux":
        assert {n: v for n, v in ours.items() if n not in known} == {}, "add to constraints.txt"
    differ = {name: (version, known[name]) for name, version in ours.items() if known.get(name, version) != version}
    assert not differ, "installed, pinned"


def test_the_pins_are_inside_the_ranges():
    known, extras = pins(), PROJECT["optional-dependencies"]
    wanted = [Requirement(line) for line in PROJECT["dependencies"] + sum(extras.values(), [])]
    wanted = [r for r in wanted if r.name != "gptbook"]
    assert {r.name for r in map(Requirement, PROJECT["dependencies"])} == {
        "torch", "tiktoken", "numpy", "tqdm", "safetensors", "huggingface_hub"}
    wrong = [str(r) for r in wanted if not r.specifier.contains(known.get(canonicalize_name(r.name), "0"))]
    assert not wrong


def test_conda_and_binder_install_what_make_installs():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-c constraints.txt", "-e .[dev]"] and "-c constraints.txt -e '.[dev]'" in MAKEFILE
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    assert tuple(map(int, python.removeprefix("python=").split("."))) >= (3, 11)


@pytest.mark.parametrize("command", ["make book", "make test", "make lab"])
def test_readme_names_commands_that_exist(command):
    assert command in (ROOT / "README.md").read_text("utf-8")
    assert re.search(rf"^{command.split()[1]}:", MAKEFILE, flags=re.M)


def test_ci_runs_what_a_reader_runs():
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert lines[-1] == "make test"


def test_readmes_python_runs():
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), flags=re.S)[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("It is a truth"), done.stderr


def test_importing_the_package_loads_little_beyond_pytorch():
    code = """if 1:
        import sys, torch, tiktoken, safetensors
        before = set(sys.modules)
        import gptbook, gptbook.cli
        heavy = {"sympy", "torch.distributed.fsdp", "torch.distributed.tensor", "torch._dynamo", "transformers", "matplotlib", "IPython"}
        print(sorted(heavy & set(sys.modules)), len(set(sys.modules) - before))"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("[] ") and int(said.split()[1]) < 60, said  # FSDP alone had brought 600, 1.2 s and 43 MB
