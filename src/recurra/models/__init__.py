"""Models: layers put together for a task."""

from recurra.errors import import_for

import_for(__name__, "torch")

from recurra.models.features import Features
from recurra.models.files import load, save
from recurra.models.generation import distribution, generate, sample
from recurra.models.language_model import LanguageModel
from recurra.vocabulary.bytes import Bytes
from recurra.vocabulary.characters import Characters
from recurra.vocabulary.levels import learn_vocabulary
from recurra.vocabulary.pieces import Pieces
from recurra.vocabulary.vocabulary import Vocabulary
from recurra.vocabulary.words import Words

__all__ = [
    "Bytes",
    "Characters",
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
