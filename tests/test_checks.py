"""Checks of arguments: what passes, and the one sentence about what does not."""

import re
from functools import partial

import numpy as np
import pytest
import torch

from audiocm import checks

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [None, "1", True, NAN, INF, -INF, 1j, [1], 10**400, object(), np.array([1.0])])
def test_what_is_no_number(value):
    for check in (checks.check_number, checks.check_whole):
        with pytest.raises(ValueError, match=r"^size must be a (whole )?number of at least 1 and at most 9, not "):
            check("size", value, least=1, most=9)


def test_numbers_are_returned_as_python_has_them():
    assert type(checks.check_number("x", np.float32(2), above=0, below=3)) is float
    assert checks.check_whole("x", 2.0) == 2 and type(checks.check_whole("x", np.int64(2))) is int
    with pytest.raises(ValueError, match=r"x must be a whole number of at least 0, not 2.5"):
        checks.check_whole("x", 2.5, least=0)
    with pytest.raises(ValueError, match=r"x must be a whole number at most 1,000, not 1001"):
        checks.check_whole("x", 1001, most=1000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checks.check_range("r", (2, 1)), "r must be two numbers, the second not below the first, not (2, 1)"),
        (lambda: checks.check_range("r", "ab"), "r must be two numbers, not 'ab'"),
        (lambda: checks.check_range("r", (0, NAN), least=0), "r must be a number of at least 0, not nan"),
        (lambda: checks.check_choice("c", 1, ("a", "b")), "c must be one of a, b, not 1"),
        (lambda: checks.check_choice("c", True, (1, 2)), "c must be one of 1, 2, not True"),
        (lambda: checks.check_instance("i", None, dict), "i must be a dict, not None"),
        (lambda: checks.check_callable("f", "x"), "f must be a function, not 'x'"),
        (lambda: checks.check_text("t", " \n"), "t must be a text that is not empty, not ' \\n'"),
        (lambda: checks.check_text("t", "dog \udcff"), "t must be text in UTF-8, not 'dog \\udcff'"),
        (
            lambda: checks.check_path("p", ""),
            "p must be the name of a file or folder, which this system can encode, not ''",
        ),
        (
            lambda: checks.check_array("a", [[1, 2], [3]], ("row", 2)),
            "a must be an array of real numbers, not [[1, 2], [3]]",
        ),
        (lambda: checks.check_array("a", np.ones((2, 3)), ("row", 2)), "a must have the shape [row, 2], not [2, 3]"),
        (lambda: checks.check_array("a", np.ones((0, 2)), ("row", 2)), "a must have the shape [row, 2], not [0, 2]"),
        (lambda: checks.check_array("a", [1j], ("row",)), "a must be an array of real numbers, not [1j]"),
        (lambda: checks.check_array("a", [1, NAN], ("row",)), "a must be finite, but 1 of 2 numbers are not"),
        (
            lambda: checks.check_tensor("x", np.ones(2), ("row",)),
            "x must be a tensor of floating-point numbers, not array([1., 1.])",
        ),
        (lambda: checks.check_tensor("x", torch.ones(2), ("row", 2)), "x must have the shape [row, 2], not [2]"),
        (lambda: checks.check_same_length(a=[1], b=[]), "a (1) and b (0) must have as many items"),
    ],
)
def test_refusals_name_the_argument_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("path", [None, 5, " ", "a\0b", b"bytes"])
def test_what_is_no_path(path):
    with pytest.raises(ValueError, match=r"^output must be the name of a file or folder"):
        checks.check_path("output", path)


def test_what_is_allowed_is_returned():
    x = torch.ones(2, 3, requires_grad=True)
    assert checks.check_tensor("x", x, ("row", 3)) is x
    assert checks.check_array("x", x, ("row", 3)).dtype == np.float64
    assert checks.check_range("r", [1, 2]) == (1.0, 2.0) and checks.check_choice("c", "a", ["a"]) == "a"
    assert checks.check_text("t", "straße") == "straße" and checks.check_instance("i", 1, int) == 1


def test_a_long_value_is_shortened():
    with pytest.raises(ValueError) as error:
        checks.check_number("x", "y" * 1000)
    assert len(str(error.value)) < 120


def test_a_function_checks_the_arguments_that_it_is_given():
    @checks.checked(steps=checks.optional(partial(checks.check_whole, least=1)), net=checks.check_callable)
    def solve(net, steps=0, *, seed=0):
        """Solves."""
        return steps

    assert solve(print) == 0 and solve(print, steps=None) is None and solve(print, 2, seed=1) == 2
    assert solve.__doc__ == "Solves." and solve.__name__ == "solve"
    with pytest.raises(ValueError, match=r"net must be a function, not 5"):
        solve(5, 0)
    with pytest.raises(ValueError, match=r"steps must be a whole number of at least 1, not 0"):
        solve(print, 0)
    with pytest.raises(TypeError, match="net"):
        solve()
