"""Training: streams cut into chunks, a recipe, a loop, and what it leaves behind."""

from recurra.train.corpus import Corpus, Part, from_text, read_text
from recurra.train.fit import Run, chunk_loss, evaluate, fit
from recurra.train.folder import open_run, read_history
from recurra.train.recipe import Recipe
from recurra.train.streams import Chunk, Streams, contiguous, count_chunks, tbptt

__all__ = [
    "Chunk",
    "Corpus",
    "Part",
    "Recipe",
    "Run",
    "Streams",
    "chunk_loss",
    "contiguous",
    "count_chunks",
    "evaluate",
    "fit",
    "from_text",
    "open_run",
    "read_history",
    "read_text",
    "tbptt",
]
