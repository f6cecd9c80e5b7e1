"""Build GPT-2 cell by cell: what the chapters of gptbook export, under one roof."""

from ._version import __version__
from .dataset_loader import *
from .layers import *
from .attention import *
from .kv_cache import *
from .gpt import *
from .generate import *
from .train import *
from .gpt_gqa import *
from .gpt_mla import *
from .gpt_swa import *
from .load_weights import *
from .perf_analysis import *
from .distributed import *
from .explore import *
