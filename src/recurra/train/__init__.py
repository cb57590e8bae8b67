"""Training: streams cut into chunks, a recipe, a loop, and what it leaves behind and goes on
from.
"""

from recurra.errors import import_for

import_for(__name__, "torch")
import_for(__name__, "filelock")
import_for(__name__, "rich")
import_for(__name__, "tomli_w")

from recurra.text_blocks import read_text
from recurra.train.baseline import Naive, baseline
from recurra.train.configuration import Configuration, configure, read_configuration
from recurra.train.corpus import Corpus, Part, from_files, from_source, from_text
from recurra.train.evaluation import evaluate
from recurra.train.fit import fit, resume
from recurra.train.folder import open_run, read_config, read_history
from recurra.train.learner import chunk_loss
from recurra.train.progress import custom
from recurra.train.recipe import Recipe
from recurra.train.run import Run
from recurra.train.seeds import Repeated, fit_seeds
from recurra.train.streams import Chunk, Streams, TokenStreams, contiguous, tbptt
from recurra.train.tensorboard import TensorBoard
from recurra.train.windows import Cut, count_chunks, cuts

__all__ = [
    "Chunk",
    "Configuration",
    "Corpus",
    "Cut",
    "Naive",
    "Part",
    "Recipe",
    "Repeated",
    "Run",
    "Streams",
    "TensorBoard",
    "TokenStreams",
    "baseline",
    "chunk_loss",
    "configure",
    "contiguous",
    "count_chunks",
    "custom",
    "cuts",
    "evaluate",
    "fit",
    "fit_seeds",
    "from_files",
    "from_source",
    "from_text",
    "open_run",
    "read_config",
    "read_configuration",
    "read_history",
    "read_text",
    "resume",
    "tbptt",
]
