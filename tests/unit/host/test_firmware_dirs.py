# SPDX-License-Identifier: Apache-2.0
"""firmware_folders: the descriptors of libvirt's folders, and when they change."""

import json
import os
import pathlib

import pytest
from test_firmware import ALL, descriptor

from sev_driver.host import firmware_dirs
from sev_driver.model import MemoryEncryptionModel

SNP = MemoryEncryptionModel.AMD_SEV_SNP


@pytest.fixture
def folders(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[pathlib.Path, pathlib.Path]:
    found = (tmp_path / "usr", tmp_path / "etc")
    monkeypatch.setattr(firmware_dirs, "FOLDERS", found)
    return found


def write(folder: pathlib.Path, name: str, *features: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(descriptor(*features)))


def offered() -> bool | None:
    view = firmware_dirs.read()
    assert view is not None
    return view.offers(SNP)


def test_without_a_folder_nothing_is_known(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    assert firmware_dirs.read() is None


def test_the_operators_folder_goes_before_the_distributions(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    usr, etc = folders
    write(usr, "60-amdsev.json", *ALL)
    assert offered() is True
    write(etc, "60-amdsev.json", "amd-sev")
    assert offered() is False
    (etc / "60-amdsev.json").unlink()
    os.symlink("/dev/null", etc / "60-amdsev.json")
    assert offered() is False
    write(etc, "70-mine.json", *ALL)
    assert offered() is True


def test_what_cannot_be_read_may_be_there(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    usr, etc = folders
    write(usr, "60.json", "amd-sev")
    (usr / "a-folder").mkdir()
    assert offered() is False
    os.symlink("gone", usr / "70.json")
    assert offered() is None
    (usr / "70.json").unlink()
    etc.write_text("no folder")
    assert offered() is None


def test_a_glance_sees_each_change(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    usr, etc = folders
    seen = [firmware_dirs.fingerprint()]
    write(usr, "60.json", "amd-sev")
    seen.append(firmware_dirs.fingerprint())
    assert firmware_dirs.fingerprint() == seen[-1]
    write(usr, "60.json", *ALL)
    seen.append(firmware_dirs.fingerprint())
    write(etc, "60.json")
    seen.append(firmware_dirs.fingerprint())
    (etc / "60.json").unlink()
    seen.append(firmware_dirs.fingerprint())
    assert len(set(seen)) == len(seen)


def test_a_pipe_is_not_waited_for(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    usr, _ = folders
    write(usr, "60.json", "amd-sev")
    os.mkfifo(usr / "70.json")
    assert offered() is None
