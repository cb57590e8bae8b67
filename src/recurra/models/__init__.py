"""Models: layers put together for a task."""

from recurra.models.features import Features
from recurra.models.files import load, save
from recurra.models.generation import distribution, generate, sample
from recurra.models.language_model import LanguageModel
from recurra.models.levels import learn_vocabulary
from recurra.models.pieces import Pieces
from recurra.models.vocabulary import Vocabulary
from recurra.models.words import Words

__all__ = [
    "Features",
    "LanguageModel",
    "Pieces",
    "Vocabulary",
    "Words",
    "distribution",
    "generate",
    "learn_vocabulary",
    "load",
    "sample",
    "save",
]
