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
"""Whether this host's nova-compute can load the driver."""

from __future__ import annotations

import re

from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check
from sev_driver.doctor.tree import Judgement, Node, failed, passed, skipped
from sev_driver.model import MemoryEncryptionModel

#: A line that sev-driver-link sets off: the error, and then commands.
_SET_OFF = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)


def _found(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    compute = evidence.nova_compute
    if compute.unknown:
        return skipped(compute.unknown)
    if compute.value is None:
        return skipped(
            "none runs here, and none is on PATH; run sev-doctor where it is "
            "installed, as in its container"
        )
    if compute.value.elsewhere:
        return skipped(
            "it runs in a container, whose files are others; run sev-doctor in there"
        )
    return passed(f"its Python is {compute.value.python}")


def _import(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    tried = evidence.driver_import
    if tried.value is None:
        return skipped(tried.unknown or "there is no nova-compute to try it")
    if tried.value.works:
        return passed(
            tried.value.said.splitlines()[-1][:200] if tried.value.said else ""
        )
    set_off = _SET_OFF.findall(tried.value.said)
    commands = [line for line in set_off if " -m " in line]
    words = " ".join(tried.value.said.split())
    told, _, hint = words.partition(commands[0] if commands else "\0")
    remedy = f"as root: {commands[0]}" if commands else "mend it in that Python"
    return failed(told.strip()[:400], f"{remedy}{f' ({hint.strip()})' if hint else ''}")


COMPUTE = Check("nova.compute", "nova-compute", "the processes, and PATH")

NODES = (
    Node(COMPUTE, _found),
    Node(
        Check(
            "nova.import",
            "The driver in nova-compute's Python",
            "nova-compute's own import, in its Python",
        ),
        _import,
        parent=COMPUTE.id,
    ),
)
