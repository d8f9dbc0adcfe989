"""One tiny teacher of each architecture for all tests of this folder."""

from __future__ import annotations

import pytest
import tiny_teachers


@pytest.fixture(params=tiny_teachers.NAMES)
def case(request) -> tiny_teachers.Case:
    return tiny_teachers.make_case(request.param)


@pytest.fixture
def tango() -> tiny_teachers.Case:
    return tiny_teachers.make_case("tango")
