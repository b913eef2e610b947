# SPDX-License-Identifier: Apache-2.0

"""ECDSA on the curve P-384 with SHA-384 (FIPS 186-5, SEC 2): verification only.

The wrapper runs by the system's own Python, which has no library for it.
"""

from __future__ import annotations

import hashlib

_P = 2**384 - 2**128 - 2**96 + 2**32 - 1
_B = int(
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875a"
    "c656398d8a2ed19d2a85c8edd3ec2aef",
    16,
)
_N = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf"
    "581a0db248b0a77aecec196accc52973",
    16,
)
#: A point of the curve; None is the one at infinity.
Point = tuple[int, int] | None
_G = (
    int(
        "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a38"
        "5502f25dbf55296c3a545e3872760ab7",
        16,
    ),
    int(
        "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c0"
        "0a60b1ce1d7e819d7a431d7c90ea0e5f",
        16,
    ),
)


def is_signature(data: bytes, key: tuple[int, int], signature: tuple[int, int]) -> bool:
    """Whether the signature (r, s) of the data is the key's."""
    (x, y), (r, s) = key, signature
    on_curve = x < _P and y < _P and (y * y - x**3 + 3 * x - _B) % _P == 0
    if not on_curve or not (0 < r < _N and 0 < s < _N):
        return False
    digest = int.from_bytes(hashlib.sha384(data).digest(), "big")
    inverse = pow(s, -1, _N)
    found = _add(_times(digest * inverse % _N, _G), _times(r * inverse % _N, key))
    return found is not None and found[0] % _N == r


def _times(factor: int, point: Point) -> Point:
    result: Point = None
    while factor:
        if factor & 1:
            result = _add(result, point)
        point = _add(point, point)
        factor >>= 1
    return result


def _add(first: Point, second: Point) -> Point:
    if first is None or second is None:
        return first or second
    (x1, y1), (x2, y2) = first, second
    if x1 == x2 and (y1 + y2) % _P == 0:
        return None
    if first == second:
        slope = 3 * (x1 * x1 - 1) * pow(2 * y1, -1, _P) % _P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, _P) % _P
    x = (slope * slope - x1 - x2) % _P
    return x, (slope * (x1 - x) - y1) % _P
