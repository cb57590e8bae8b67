"""What tokens stand for: characters, bytes, words or pieces of words. No PyTorch."""

from recurra.vocabulary.bytes import Bytes
from recurra.vocabulary.characters import Characters
from recurra.vocabulary.continuation import continued
from recurra.vocabulary.levels import LEVELS, from_record, learn_vocabulary
from recurra.vocabulary.pieces import Pieces
from recurra.vocabulary.vocabulary import Vocabulary
from recurra.vocabulary.words import Words

__all__ = [
    "LEVELS",
    "Bytes",
    "Characters",
    "Pieces",
    "Vocabulary",
    "Words",
    "continued",
    "from_record",
    "learn_vocabulary",
]
