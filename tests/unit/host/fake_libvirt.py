# SPDX-License-Identifier: Apache-2.0

"""A connection to libvirt that answers what it was given, and counts."""


class Libvirt:
    """Answers as libvirt would, or with its own error, and counts."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[object, ...]] = []
        self.calls: list[str] = []

    def getDomainCapabilities(self, *arguments: object) -> str:
        self.asked.append(arguments)
        self.calls.append("getDomainCapabilities")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def getLibVersion(self) -> int:
        self.calls.append("getLibVersion")
        return 9_000_000

    def getVersion(self) -> int:
        self.calls.append("getVersion")
        return 7_002_022


CAPABILITIES = (
    "<domainCapabilities><features><sev supported='yes'>"
    "<maxGuests>15</maxGuests></sev></features></domainCapabilities>"
)
