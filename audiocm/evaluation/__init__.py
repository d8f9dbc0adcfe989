"""Folders of sounds to scores, each with an interval and a record of how it was measured."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
