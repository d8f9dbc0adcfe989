"""The semiotic classes of written text: what each is written with (patterns) and how it is read (its verbaliser).

A module has the classes of one kind as lists of rules; `priority.CLASSES` has all of them in their order. A rule is a
pattern with its verbaliser, which gets the match and returns words, or None where the context speaks against its class."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
