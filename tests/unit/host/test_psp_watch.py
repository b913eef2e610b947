# SPDX-License-Identifier: Apache-2.0

"""psp_watch: how often the kernel's log is read, and which records are missed: none."""

import io
import pathlib
from typing import ClassVar

import pytest

from sev_driver.host import kernel
from sev_driver.host.psp_watch import PspWatch

WELL = "6,1,8000000,-;ccp 0000:42:00.1: SEV API:1.55 build:21\n"
FAILED = "3,2,9000000,-;ccp 0000:42:00.1: sev command 0x4 timed out, disabling PSP\n"
OTHER = "6,3,9000001,-;eth0: link is up\n"


class Log:
    """A log in a regular file; ``reads`` counts how often it is read whole."""

    def __init__(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.reads = 0
        #: What the kernel adds while the log is read whole.
        self.meanwhile = ""
        monkeypatch.setattr(kernel, "KERNEL_LOG", path)
        read = kernel.read_psp_failure

        def read_psp_failure(earlier: str | None) -> str | None:
            self.reads += 1
            found = read(earlier=earlier)
            self.add(self.meanwhile)
            self.meanwhile = ""
            return found

        monkeypatch.setattr(kernel, "read_psp_failure", read_psp_failure)

    def overwrite(self) -> None:
        """Let the ring buffer lose all records."""
        size = self.path.stat().st_size
        self.path.write_text("\n" * size)

    def add(self, records: str) -> None:
        with self.path.open("a") as file:
            file.write(records)


@pytest.fixture
def log(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    found = Log(tmp_path / "kmsg", monkeypatch)
    found.add(WELL)
    return found


def test_the_log_is_read_whole_once(log: Log) -> None:
    watch = PspWatch()
    assert [watch.failure() for _ in range(100)] == [None] * 100
    assert log.reads == 1


def test_records_that_do_not_concern_sev_are_read_alone(log: Log) -> None:
    watch = PspWatch()
    watch.failure()
    log.add(OTHER * 500)
    assert watch.failure() is None
    assert log.reads == 1


def test_a_failure_is_found_among_other_records(log: Log) -> None:
    watch = PspWatch()
    watch.failure()
    log.add(OTHER * 500 + FAILED + OTHER * 500)
    assert "disabling PSP" in (watch.failure() or "")
    assert watch.failure() == watch.failure()
    assert log.reads == 2


def test_a_repair_is_found(log: Log) -> None:
    log.add(FAILED)
    watch = PspWatch()
    assert watch.failure()
    log.add("6,4,9100000,-;ccp 0000:42:00.1: sev enabled\n" + WELL)
    assert watch.failure() is None


def test_a_failure_that_was_overwritten_counts_until_a_repair(log: Log) -> None:
    log.add(FAILED)
    watch = PspWatch()
    failure = watch.failure()
    log.overwrite()
    assert watch.failure() == failure
    log.add("6,4,9100000,-;kvm_amd: SEV enabled (ASIDs 1 - 99)\n")
    assert watch.failure() == failure
    assert log.reads == 2
    log.add("6,5,9200000,-;ccp 0000:42:00.1: sev enabled\n" + WELL)
    assert watch.failure() is None


def test_a_record_that_comes_during_the_whole_read_is_found_next(log: Log) -> None:
    log.meanwhile = FAILED
    watch = PspWatch()
    assert watch.failure() is None
    assert watch.failure()


class Device(io.FileIO):
    """The kernel's device: one record for each read."""

    errors: ClassVar[list[OSError]] = []

    def read(self, size: int | None = -1, /) -> bytes:
        if self.errors:
            raise self.errors.pop()
        at = self.tell()
        record = super().read(size).partition(b"\n")[0]
        self.seek(at + len(record) + bool(record))
        return record


@pytest.fixture
def device(log: Log, monkeypatch: pytest.MonkeyPatch) -> type[Device]:
    monkeypatch.setattr(kernel, "open_kernel_log", lambda: Device(log.path))
    return Device


def test_many_records_at_once_are_read_with_the_whole_log(
    log: Log, device: type[Device]
) -> None:
    watch = PspWatch()
    watch.failure()
    log.add(OTHER * 1000)
    watch.failure()
    assert log.reads == 2
    log.add(OTHER * 998 + FAILED)
    assert watch.failure()
    assert watch.failure()
    assert log.reads == 3


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError()])
def test_after_a_failed_read_the_log_is_read_whole(
    log: Log, device: type[Device], error: OSError
) -> None:
    """The kernel has overwritten the next record, or cannot return it."""
    watch = PspWatch()
    watch.failure()
    log.add(FAILED)
    device.errors.append(error)
    assert watch.failure()
    assert watch.failure()
    assert log.reads == 2


def test_a_log_that_becomes_readable_is_read(log: Log) -> None:
    log.add(FAILED)
    hidden = log.path.rename(log.path.with_name("hidden"))
    watch = PspWatch()
    assert [watch.failure(), watch.failure()] == [None, None]
    hidden.rename(log.path)
    assert watch.failure()
