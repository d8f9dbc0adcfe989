"""Objects that keep the arguments of their constructor as `config`: nets and pipelines without diffusers.

The names and the config files are those of diffusers' ConfigMixin, which the public classes of the same nets add."""

import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from typing_extensions import Self


class FrozenConfig(dict):
    """A dict whose values are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the configuration has no {name!r}") from None


def register_to_config(init: Callable[..., None]) -> Callable[..., None]:
    """Decorates an `__init__`, whose arguments, defaults included, go to `self.register_to_config` first."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def registered(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **{key: value for key, value in kwargs.items() if not key.startswith("_")})
        bound.apply_defaults()
        self.register_to_config(**dict(list(bound.arguments.items())[1:]))
        init(*bound.args, **bound.kwargs)

    return registered


class Configured:
    """Keeps a configuration."""

    _internal_dict: FrozenConfig

    @property
    def config(self) -> FrozenConfig:
        """The arguments of the constructor."""
        return self._internal_dict

    def register_to_config(self, **values: Any) -> None:
        """Adds values to the configuration."""
        object.__setattr__(self, "_internal_dict", FrozenConfig({**getattr(self, "_internal_dict", {}), **values}))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Builds an object by the arguments in a configuration; other values are left out."""
        names = set(inspect.signature(cls.__init__).parameters) - {"self"}
        return cls(**{name: value for name, value in config.items() if name in names})


_uninitialised_lock = threading.RLock()
_INITIALISERS = [name for name in dir(torch.nn.init) if name.endswith("_") and not name.startswith("_")]


@contextmanager
def no_init_weights() -> Iterator[None]:
    """Leaves the weights of networks that are built in a block as they are: a file will replace them."""
    with _uninitialised_lock:
        kept = {name: getattr(torch.nn.init, name) for name in _INITIALISERS}
        for name in kept:
            setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
        try:
            yield
        finally:
            for name, function in kept.items():
                setattr(torch.nn.init, name, function)
