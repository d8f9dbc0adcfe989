from . import (
    alphabet as alphabet,
    characters as characters,
    dictionary as dictionary,
    homographs as homographs,
    ipa as ipa,
    markup as markup,
    normalisation as normalisation,
    pronunciation as pronunciation,
    reading as reading,
    segmentation as segmentation,
    semiotic_classes as semiotic_classes,
    tables as tables,
    verbalisers as verbalisers,
)
from .dictionary import Pronouncer as Pronouncer
from .normalisation import normalise as normalise
from .pronunciation import Lexicon as Lexicon
from .reading import Sentence as Sentence, read_sentences as read_sentences, validate_text as validate_text
