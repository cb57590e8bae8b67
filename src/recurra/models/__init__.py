"""Models: layers put together for a task."""

from recurra.models.files import load, save
from recurra.models.generation import distribution, generate, sample
from recurra.models.language_model import LanguageModel
from recurra.models.vocabulary import Vocabulary

__all__ = ["LanguageModel", "Vocabulary", "distribution", "generate", "load", "sample", "save"]
