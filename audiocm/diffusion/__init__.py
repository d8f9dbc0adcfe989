"""Noise paths, the network contract, guidance and samplers, independent of training methods and of audio."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
