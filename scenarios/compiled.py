"""Loops that numba compiles, for models of millions of events; the machine code is kept beside the module."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function as machine code. It takes numbers and arrays; luck is a Generator that it is given."""
    return cast(F, numba.njit(cache=True)(function))
