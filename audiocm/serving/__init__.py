"""A server of speech and sounds: models, batches, formats, and an HTTP application (extra `serve`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
