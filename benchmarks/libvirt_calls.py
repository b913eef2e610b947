# SPDX-License-Identifier: Apache-2.0
"""Counts the calls that this process makes to libvirt."""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import libvirtmod

#: The client answers these itself: the daemon does not hear of them.
_AT_HAND = (
    "virDomainGetUUID",
    "virDomainGetID",
    "virDomainGetName",
    "virEvent",
    "virGetLast",
    "virRegisterErrorHandler",
    "virConnectGetURI",
)


@contextlib.contextmanager
def counted() -> Iterator[collections.Counter[str]]:
    """Yield a counter of libvirt's C functions, by name, that fills meanwhile."""
    calls: collections.Counter[str] = collections.Counter()
    functions = {
        name: function
        for name, function in vars(libvirtmod).items()
        if name.startswith("vir")
        and callable(function)
        and not name.startswith(_AT_HAND)
        and not name.endswith("Free")
    }
    for name, function in functions.items():
        setattr(libvirtmod, name, _counting(name, function, calls))
    try:
        yield calls
    finally:
        for name, function in functions.items():
            setattr(libvirtmod, name, function)


def _counting(
    name: str, function: Callable[..., Any], calls: collections.Counter[str]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        return function(*args, **kwargs)

    return call
