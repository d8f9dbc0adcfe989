"""audiocm: one-step text-to-audio and text-to-speech by consistency distillation, with scores that can be trusted.

Public names are listed in `__init__.pyi` and imported at first use, so that ``import audiocm`` costs nothing.
"""

import lazy_loader as _lazy_loader

from .version import __version__ as __version__

_import_public_name, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str):
    try:
        return _import_public_name(name)
    except (ImportError, OSError, RuntimeError) as error:
        from .models.text_encoder import explained

        raise explained(error) from error
