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

"""Words of others, made fit for a message of ours."""

from __future__ import annotations


def printable(text: str, characters: int = 200) -> str:
    """Return ``text`` on one line, cut after so many ``characters``.

    What cannot be printed becomes ``?``: a message goes into logs and onto
    terminals, where a line feed begins a line of the log that nobody wrote, and an
    escape moves the cursor.
    """
    kept = text[:characters]
    cut = "…" if len(text) > characters else ""
    return "".join(c if c.isprintable() else "?" for c in kept) + cut
