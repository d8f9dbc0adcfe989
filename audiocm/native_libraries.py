"""Lets torchaudio and torchvision be imported beside a torch that their compiled libraries were not built for.

A CUDA build beside a CPU build of torch is the usual case. transformers imports both packages where they are installed,
so a library that cannot be loaded would take every model of transformers with it. Both packages have a pure Python
state of their own for installations without the library; here they enter it when the library is there and fails.
Where it loads, nothing is changed. Nothing is imported before someone imports these packages.

An installation has a line in `audiocm_native_libraries.pth` that runs this file at each start of Python, without importing
audiocm: otherwise its requirement torchaudio would break plain transformers and diffusers beside such a torch.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

Execute = Callable[[ModuleType], None]  # runs a module's code


def _execute_torchaudio_extension(execute: Execute, module: ModuleType) -> None:
    """Runs the code of `torchaudio._extension`, which loads the library; if that fails, once more as if there were
    none."""
    try:
        execute(module)
    except (ImportError, OSError, RuntimeError):
        from unittest import mock

        from torchaudio._internal import module_utils

        loader = sys.modules["torchaudio._extension.utils"]
        with (
            mock.patch.object(loader, "_load_lib", lambda name: False),  # asked by torchaudio from 2.11
            mock.patch.object(module_utils, "is_module_available", lambda *names: False),  # by earlier ones
        ):
            execute(module)


def _execute_torchvision_registrations(execute: Execute, module: ModuleType) -> None:
    """Runs the code of `torchvision._meta_registrations`, which describes the library's operators to torch; without
    the library there is nothing to describe."""
    try:
        execute(module)
    except RuntimeError:
        if sys.modules["torchvision.extension"]._has_ops():
            raise


_EXECUTE = {
    "torchaudio._extension": _execute_torchaudio_extension,
    "torchvision._meta_registrations": _execute_torchvision_registrations,
}


class _UnfitLibraryFinder:
    """A finder of the modules in `_EXECUTE`, whose code it has run by the function there."""

    @staticmethod
    def find_spec(name: str, path=None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in _EXECUTE else None
        if spec and spec.loader:
            spec.loader.exec_module = partial(_EXECUTE[name], spec.loader.exec_module)
        return spec


def tolerate_unfit_libraries() -> None:
    """Makes later imports of torchaudio and torchvision succeed in pure Python where their library does not load."""
    if not any(getattr(one, "__name__", "") == _UnfitLibraryFinder.__name__ for one in sys.meta_path):
        sys.meta_path.insert(0, _UnfitLibraryFinder)
