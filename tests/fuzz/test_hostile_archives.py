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
"""Archives that somebody made by hand, for whoever reads them with sev-doctor."""

import contextlib
import gzip
import os
import tarfile
import time
import tracemalloc
from pathlib import Path

import pytest

from sev_driver.doctor import archive, texts
from sev_driver.doctor.archive import Archive, Failure, MalformedArchive
from sev_driver.doctor.categories import NODES
from sev_driver.doctor.diagnosis import diagnose
from sev_driver.doctor.gather import gather
from sev_driver.doctor.libvirt_questions import Nobody
from sev_driver.doctor.render import as_text
from sev_driver.exceptions import DetectionError
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
MANIFEST = b'{"format": 1, "date": "", "version": "", "failures": {}}'


def member(name: str, data: bytes = b"", **changes: object) -> bytes:
    """One member as tar has it, its header changed where none should be."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in changes.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def packed(*members: bytes) -> bytes:
    whole = member(archive.MANIFEST, MANIFEST) + b"".join(members) + bytes(1024)
    return gzip.compress(whole, 1)


def test_what_is_made_here_is_an_archive() -> None:
    found = archive.unpack(packed(member("files/a", b"text")))
    assert found.answers == {"files/a": b"text"}


HOSTILE = {
    "a link": member("a", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": member("a", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a folder": member("a", type=tarfile.DIRTYPE),
    "a device": member("a", type=tarfile.CHRTYPE),
    "a pipe": member("a", type=tarfile.FIFOTYPE),
    "twice the same": member("a") * 2,
    "a size below zero": member("a", size=-512),
    "a size beyond the end": member("a", size=2**40),
    "too many": b"".join(member(str(n)) for n in range(9000)),
    "a bomb": member("a", bytes(100_000_000)),
    "names without end": member("a", b"x", type=tarfile.GNUTYPE_LONGNAME) * 2000,
    # Some Pythons take days for the digits, others never come out.
    "a header of digits": member("a", b"1" * 60_000_000, type=tarfile.XHDTYPE),
    "one for all": member("a", b"1" * 60_000_000, type=tarfile.XGLTYPE),
    "a header below zero": member("a", size=-512, type=tarfile.XHDTYPE),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_it_is_refused_soon_and_within_bounds(case: str) -> None:
    data = packed(HOSTILE[case])
    start = time.process_time()
    with pytest.raises(MalformedArchive) as caught:
        archive.unpack(data)
    assert time.process_time() - start < 20
    assert str(caught.value).isprintable()


def test_a_bomb_is_not_unpacked() -> None:
    data = packed(HOSTILE["a bomb"])
    assert len(data) < 10**6
    tracemalloc.start()
    try:
        with pytest.raises(MalformedArchive, match="unpacks to more"):
            archive.unpack(data)
        assert tracemalloc.get_traced_memory()[1] < 300 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "files/../../escaped"])
def test_a_name_is_no_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be called anything: nothing is written, and nothing but it is read."""
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    found = archive.unpack(packed(member(name, b"data")))
    assert found.answers == {name: b"data"}
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]
    assert not os.path.exists("/escaped")


def judged(**answers: bytes | Failure) -> str:
    named = {name.replace("__", "/"): answer for name, answer in answers.items()}
    evidence = gather(Archive("", "", named), Nobody())
    return as_text(diagnose(NODES, evidence, SEV), verbose=True)


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
        def ask(self, what: str, read: object) -> bytes:
            asked.append(what)
            raise Failure("\x1b[2J", errno).error()

    evidence = gather(Failing(), Nobody())
    text = as_text(diagnose(NODES, evidence, SEV), verbose=True)
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
        texts.processor(each)
        with contextlib.suppress(DetectionError):
            texts.memory(each)
        texts.memlock(f"Max locked memory{each}")
        texts.qemu_conf(each)
    assert time.process_time() - start < 20


def test_settings_of_qemu_conf_as_before() -> None:
    conf = '#user = "a"\nuser = "root"\ngroup="kvm" \nx = 1\n'
    assert texts.qemu_conf(conf + "dynamic_ownership = 1 # why\n") == {
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
