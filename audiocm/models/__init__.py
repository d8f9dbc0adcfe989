"""Networks: the latent transformer, the text encoder, adapters for other networks, and int8 weight files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
