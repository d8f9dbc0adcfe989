"""Checks of arguments. Each returns its value, or raises a ValueError that names the argument and what is allowed.

    @checked(steps=partial(check_whole, least=1), net=check_callable)
    def solve(net, steps=18): ...

A bool, None, a string and a complex number are no numbers; NaN and the infinities are none either. A shape is a tuple
of sizes, and of names that stand for any size of at least 1: ("clip", 512)."""

import functools
import inspect
import math
import operator
import os
from collections.abc import Callable, Iterable, Sequence, Sized
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

T = TypeVar("T")
P = ParamSpec("P")
Shape = Sequence[int | str]
LIMITS = {  # how they are said, and when a value keeps them
    "least": ("of at least", operator.ge),
    "above": ("above", operator.gt),
    "most": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def checked(**checks: Callable[[str, Any], Any]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorates a function, each of whose named arguments goes through its check when it is given."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            given = signature.bind(*args, **kwargs).arguments
            for name in [name for name in given if name in checks]:
                checks[name](name, given[name])
            return function(*args, **kwargs)

        return call

    return decorate


def optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Returns a check that also allows None."""
    return lambda name, value: None if value is None else check(name, value)


def _refuse(name: str, allowed: str, given: Any) -> NoReturn:
    text = " ".join(repr(given).split())
    raise ValueError(f"{name} must be {allowed}, not {text if len(text) <= 80 else text[:77] + '...'}")


def _check_limits(name: str, kind: str, value: Any, is_number: bool, limits: dict[str, float]) -> None:
    if not is_number or not all(LIMITS[key][1](value, bound) for key, bound in limits.items()):
        said = [f"{LIMITS[key][0]} {bound:{',' if isinstance(bound, int) else 'g'}}" for key, bound in limits.items()]
        _refuse(name, f"{kind} {' and '.join(said)}".strip(), value)


def check_number(name: str, value: Any, **limits: float) -> float:
    """Returns a finite number within limits, given as `least`, `above`, `most` and `below`, as a float."""
    try:
        is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        is_number = False
    _check_limits(name, "a number", value, is_number, limits)
    return float(value)


def check_whole(name: str, value: Any, **limits: float) -> int:
    """Returns a whole number within limits, see `check_number`, as an int; 2.0 is one too."""
    is_whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    _check_limits(name, "a whole number", value, is_whole and not isinstance(value, bool), limits)
    return int(value)


def check_range(name: str, value: Any, **limits: float) -> tuple[float, float]:
    """Returns two numbers within limits, see `check_number`, the second not below the first."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        _refuse(name, "two numbers", value)
    low, high = (check_number(name, one, **limits) for one in value)
    if low > high:
        _refuse(name, "two numbers, the second not below the first", value)
    return low, high


def check_choice(name: str, value: T, allowed: Iterable[T]) -> T:
    """Returns one of the allowed values."""
    allowed = list(allowed)
    if not any(type(value) is type(one) and value == one for one in allowed):
        _refuse(name, f"one of {', '.join(map(str, allowed))}", value)
    return value


def check_instance(name: str, value: Any, kind: type[T], allowed: str = "") -> T:
    """Returns an instance of a class; `allowed` describes it better than the name of the class."""
    if not isinstance(value, kind):
        _refuse(name, allowed or f"a {kind.__name__}", value)
    return value


def check_callable(name: str, value: T) -> T:
    """Returns a function, or another object that can be called."""
    if not callable(value):
        _refuse(name, "a function", value)
    return value


def check_text(name: str, value: Any) -> str:
    """Returns a string that is not blank. Lone surrogates, which stand for bytes that are not UTF-8, are no text."""
    if not isinstance(value, str) or not value.strip():
        _refuse(name, "a text that is not empty", value)
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        _refuse(name, "text in UTF-8", value)
    return value


def check_path(name: str, value: Any) -> str:
    """Returns the name of a file or folder, which need not exist, as a string."""
    try:
        path = os.fspath(value)
        if isinstance(path, str) and path.strip() and b"\0" not in os.fsencode(path):
            return path
    except (TypeError, UnicodeEncodeError):
        pass
    _refuse(name, "the name of a file or folder, which this system can encode", value)


def _check_shape(name: str, shape: Shape, found: Sequence[int]) -> None:
    fits = (
        size >= 1 if isinstance(wanted, str) else size == wanted for wanted, size in zip(shape, found, strict=False)
    )
    if len(found) != len(shape) or not all(fits):
        raise ValueError(f"{name} must have the shape [{', '.join(map(str, shape))}], not {list(found)}")


def check_array(name: str, value: Any, shape: Shape, finite: bool = True) -> "np.ndarray":
    """Returns an array, or what can be one, of real, by default finite, numbers of this shape, as float64."""
    import numpy as np

    try:
        array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    except (ValueError, TypeError, RuntimeError):  # of rows of unlike lengths
        array = np.asarray(None)
    if array.dtype.kind not in "buif":
        _refuse(name, "an array of real numbers", value)
    _check_shape(name, shape, array.shape)
    if finite and (wrong := int((~np.isfinite(array)).sum())):
        raise ValueError(f"{name} must be finite, but {wrong} of {array.size} numbers are not")
    return array.astype(np.float64)


def check_tensor(name: str, value: Any, shape: Shape | None = None, finite: bool = True) -> "Tensor":
    """Returns a tensor of real, by default finite, floating-point numbers, of this shape if one is given.

    Whether numbers are finite is known once the device has computed them, so that the check waits for it."""
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        _refuse(name, "a tensor of floating-point numbers", value)
    if shape is not None:
        _check_shape(name, shape, value.shape)
    if finite and (wrong := int((~value.isfinite()).sum())):
        raise ValueError(f"{name} must be finite, but {wrong} of {value.numel()} numbers are not")
    return value


def check_same_length(**values: Sized) -> None:
    """Raises ValueError unless all arguments have as many items."""
    lengths = {name: len(value) for name, value in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(" and ".join(f"{name} ({n})" for name, n in lengths.items()) + " must have as many items")
