#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""What has become of the slots that Placement is told of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class SlotUsage:
    """Of one model on one host.

    ``used`` are held in Placement by servers and by moves of servers; ``reserved``
    are taken by guests that Nova does not know; ``lost`` are what is left of a model
    that is not offered now: held by guests, or kept until it is known whether the
    model is gone. None of ``used`` and ``free`` is one that was not asked for.
    """

    used: int | None = 0
    free: int | None = 0
    reserved: int = 0
    lost: int = 0


def of(entry: Mapping[str, Any] | None, used: int | None, offered: bool) -> SlotUsage:
    """Return what an inventory comes to.

    :param entry: as Placement has it, None where the model has no provider.
    :param used: how many of it are held, None if that is not known.
    :param offered: whether the host offers the model now.
    """
    if entry is None:
        return SlotUsage()
    if not offered:
        return SlotUsage(lost=entry["total"])
    reserved: int = entry["reserved"]
    if used is None:
        return SlotUsage(None, None, reserved)
    # More than all may be taken, as after an option was lowered.
    free = max(0, entry["total"] - used - reserved)
    return SlotUsage(used, free, reserved)
