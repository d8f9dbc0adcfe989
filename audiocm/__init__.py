"""audiocm: one-step text-to-audio and text-to-speech by consistency distillation, and their evaluation.

The public names are listed in `__init__.pyi` and imported at first use, so that `import audiocm` costs nothing.
"""

import lazy_loader as _lazy_loader

from .errors import explain_import_error as _explain_import_error
from .native_libraries import tolerate_unfit_libraries as _tolerate_unfit_libraries
from .version import __version__ as __version__

_tolerate_unfit_libraries()
_import_public_name, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """Imports a public name. Raises ImportError with the remedy if an installed package stands in the way."""
    try:
        return _import_public_name(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise _explain_import_error(error) from error
