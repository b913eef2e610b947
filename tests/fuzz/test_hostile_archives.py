# SPDX-License-Identifier: Apache-2.0
"""Archives that somebody made by hand, for whoever reads them with sev-doctor."""

import contextlib
import gzip
import json
import os
import re
import time
import tracemalloc
from pathlib import Path

import pytest

from sev_driver.doctor.host import archive, parsers
from sev_driver.doctor.host.archive import Archive, Failure, MalformedArchive
from sev_driver.doctor.host.diagnosis import NODES, diagnose
from sev_driver.doctor.host.gather import gather
from sev_driver.doctor.host.libvirt import Nobody
from sev_driver.doctor.host.report import as_text
from sev_driver.doctor.text import Style
from sev_driver.exceptions import DetectionError
from sev_driver.host.files import LOCAL
from sev_driver.host.processor import Processor
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV


def packed(answers: bytes) -> bytes:
    """An archive with these answers, as JSON."""
    text = b'{"format":2,"date":"","version":"","host":"","answers":' + answers + b"}"
    return gzip.compress(text, 1)


def test_what_is_made_here_is_an_archive() -> None:
    found = archive.unpack(packed(b'{"files/a": "text"}'))
    assert found.answers == {"files/a": b"text"}


HOSTILE = {
    "too many answers": b"{" + b",".join(b'"%d":""' % n for n in range(500_000)) + b"}",
    "too many failures": b"{"
    + b",".join(b'"%d":{"errno":1,"error":""}' % n for n in range(200_000))
    + b"}",
    "lists without end": b"[" + b"[]," * 2_600_000 + b"0]",
    "nested without end": b"[" * 4_000_000,
    "a number without end": b"1" * 8_000_000,
    "a bomb": b'"' + b" " * 400_000_000 + b'"',
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archive_is_refused_soon_and_within_bounds(case: str) -> None:
    data = packed(HOSTILE[case])
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(MalformedArchive) as caught:
            archive.unpack(data)
        assert tracemalloc.get_traced_memory()[1] < 300 * 2**20
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 20
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "files/../../escaped"])
def test_a_name_is_no_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be called anything: nothing is written, and nothing but it is read."""
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    found = archive.unpack(packed(json.dumps({name: "data"}).encode()))
    assert found.answers == {name: b"data"}
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]
    assert not os.path.exists("/escaped")


def judged(**answers: bytes | Failure) -> str:
    named = {name.replace("__", "/"): answer for name, answer in answers.items()}
    evidence = gather(Archive("", "", named), Nobody())
    return as_text(diagnose(NODES, evidence, SEV), Style(verbose=True))


def test_files_that_it_names_are_not_opened_here(tmp_path: Path) -> None:
    secret = tmp_path / "nova.conf"
    secret.write_text("[sev]\nallow_debug = secret\n")
    listed = f'["{secret}", "/etc/shadow", 7, null, ["/etc"]]'.encode()
    answers = {"asked/nova/files": listed}
    evidence = gather(Archive("", "", answers), Nobody())
    assert evidence.options == {}
    assert [fact.value for fact in evidence.nova_files.values()] == [None, None]


@pytest.mark.parametrize("errno", [None, 0, 2, 13, -1, 10**20])
def test_anything_may_have_failed(errno: int | None) -> None:
    """Every answer that is asked for has failed, in a way that none should."""
    asked: list[str] = []

    class Failing:
        def read(self, what: str, read: object) -> bytes:
            asked.append(what)
            raise Failure("\x1b[2J", errno).error()

    evidence = gather(Failing(), Nobody())
    text = as_text(diagnose(NODES, evidence, SEV), Style(verbose=True))
    assert "\x1b" not in text and len(asked) > 20


def test_what_it_says_does_nothing_to_a_terminal() -> None:
    text = judged(
        files__sys__module__kvm_amd__parameters__sev=b"N\x1b[2J\x07\r\n2026 all is well"
    )
    assert "N?[2J" in text
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("blank", ["\n", " ", " \n", "a\n", "a =\n", "a = \n", "\t\n"])
def test_blanks_without_end_take_no_time(blank: str) -> None:
    text = blank * 30_000
    start = time.process_time()
    for each in (text, f"a{text}", f"a = {text}#", f'user = "{text}', f"flags{text}:"):
        Processor.parse(each)
        with contextlib.suppress(DetectionError):
            parsers.memory(each)
        parsers.memlock(f"Max locked memory{each}")
        parsers.qemu_conf(each)
    assert time.process_time() - start < 20


def test_settings_of_qemu_conf_as_before() -> None:
    conf = '#user = "a"\nuser = "root"\ngroup="kvm" \nx = 1\n'
    assert parsers.qemu_conf(conf + "dynamic_ownership = 1 # why\n") == {
        "user": "root",
        "group": "kvm",
        "dynamic_ownership": "1",
    }


def test_a_member_longer_than_its_file_is_cut() -> None:
    log = b"vendor_id : AuthenticAMD\n" + b"x" * 2**22
    answers = {"files/proc/cpuinfo": log}
    evidence = gather(Archive("", "", answers), Nobody())
    assert evidence.processor.value is not None
    assert evidence.processor.value.vendor == "AuthenticAMD"


def test_a_truncated_archive_is_told() -> None:
    data = archive.pack(Archive("", "", {"files/a": b"x" * 5000}))
    for end in range(0, len(data) - 1, 7):
        with pytest.raises(MalformedArchive):
            archive.unpack(data[:end])


ESCAPE = "\x1b]0;pwn\x07\x1b[2J\n"


def spoilt(answer: bytes | Failure) -> list[bytes | Failure]:
    """Return an answer with what a terminal acts on, in several places."""
    if isinstance(answer, Failure):
        return [Failure(answer.text + ESCAPE, answer.errno), Failure(ESCAPE, None)]
    text = answer.decode("utf-8", "replace")
    in_words = re.sub(r"([A-Za-z0-9]{3,})", lambda m: m[1] + ESCAPE, text, count=40)
    in_json = re.sub(
        r'("[^"]*)"', lambda m: m[1] + json.dumps(ESCAPE)[1:-1] + '"', text
    )
    return [each.encode() for each in (text + ESCAPE, ESCAPE + text, in_words, in_json)]


def test_no_answer_of_a_real_host_reaches_the_terminal_as_it_is() -> None:
    recording = archive.Recording(LOCAL)
    gather(recording, Nobody())
    for name, answer in recording.answers.items():
        for each in spoilt(answer):
            answers = {**recording.answers, name: each}
            read = archive.unpack(archive.pack(Archive(ESCAPE, ESCAPE, answers)))
            diagnosis = diagnose(NODES, gather(read, Nobody()), SEV)
            text = as_text(diagnosis, Style(verbose=True))
            assert all(map(str.isprintable, text.split("\n"))), name
