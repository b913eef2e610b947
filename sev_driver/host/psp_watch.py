# SPDX-License-Identifier: Apache-2.0

"""A watch for failures of the secure processor in the kernel's log."""

from __future__ import annotations

import io
import os
import threading
import weakref

from sev_driver.host import kernel, kernel_log

#: Records that are read one by one; after more, the whole log is read again.
_RECORDS = 1000


class PspWatch:
    """Finds a failure of the secure processor, each time as of now.

    The device of the log stays open at the log's end, so that a look usually costs one
    read, which finds nothing. The whole log, of hundreds of records, is read again only
    after a new record that concerns SEV. A failure that the kernel has overwritten by
    then counts until a record says that the secure processor works.
    """

    def __init__(self) -> None:
        # Nova 34 looks from several threads. None of them may get the old result after
        # another has read the new record.
        self._lock = threading.Lock()
        self._log: io.FileIO | None = None
        self._failure: str | None = None

    def failure(self) -> str | None:
        """Return the log's line about a failure; None without one, or without a log."""
        with self._lock:
            try:
                has_news = self._has_news()
            except OSError:
                self._close()
                return None
            if has_news:
                self._failure = kernel.read_psp_failure(earlier=self._failure)
            return self._failure

    def _has_news(self) -> bool:
        """Return whether a new record concerns SEV; true for the first look.

        :raises OSError: the log cannot be read.
        """
        if self._log is None:
            self._log = kernel.open_kernel_log()
            weakref.finalize(self, self._log.close)
            has_news = True
        else:
            has_news = _has_news(self._log)
        if has_news:
            # Before the log is read, so that a record in between is news next time.
            self._log.seek(0, os.SEEK_END)
        return has_news

    def _close(self) -> None:
        """Begin again with the next look."""
        if self._log is not None:
            self._log.close()
        self._log = self._failure = None


def _has_news(log: io.FileIO) -> bool:
    for _ in range(_RECORDS):
        try:
            records = log.read(kernel.RECORD_BYTES)
        except OSError:
            return True  # Usually records were overwritten before they could be read.
        if not records:
            return False
        if kernel_log.concerning(records.decode("utf-8", "replace")):
            return True
    return True
