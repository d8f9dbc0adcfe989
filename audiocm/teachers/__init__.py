"""Teachers of others as audiocm's networks, their students, and the folders that plain diffusers loads.

A teacher is a diffusers folder, a hub id, a pipeline, a dict of components, or a bundled model. The public names are
listed in `__init__.pyi` and imported at first use, so that diffusers and peft are loaded only when they are needed.
"""

import lazy_loader as _lazy_loader

__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
