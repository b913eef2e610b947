# SPDX-License-Identifier: Apache-2.0
"""Every command of the manual is run by a test, or says why it is not."""

import re
from pathlib import Path

import pytest
from console_blocks import (
    SOURCE,
    TREE,
    Command,
    Shell,
    commands,
    essence,
    name,
    not_shown,
    pages,
)
from installations import Bare, Installation
from manual_commands import NOT_RUN, REFUSED, SCENES, STAND_INS

COMMANDS = [command for page in pages() for command in commands(page)]
RUN = {command.flat for command in COMMANDS if command.page in SCENES}
#: What a line of a block begins with that is a command, whatever the block is called.
PROGRAMS = re.compile(
    r"(\$|/\S*bin/\S+|sudo|openstack|virsh|make|pip|python3?|grep|cat|systemctl|sev-[a-z-]+|"
    r"modprobe|dmesg|ls|curl|docker)(?= (?!=))"
)
BLOCK = re.compile(
    r"(?:^|\n)(?:\.\. code-block:: (?!console)\S+|[^\n]*::)\n\n((?: .*\n|\n)+)"
)


def test_each_is_run_or_says_why_not() -> None:
    known = RUN | NOT_RUN.keys()
    assert [str(command) for command in COMMANDS if command.flat not in known] == []


def test_no_reason_is_left_over() -> None:
    texts = {command.flat for command in COMMANDS}
    assert sorted(NOT_RUN.keys() - texts) == []
    assert sorted(REFUSED.keys() - texts) == []
    assert sorted(STAND_INS.keys() - texts) == []
    assert sorted(SCENES.keys() - {name(page) for page in pages()}) == []


def test_tests_that_reasons_name_are_there() -> None:
    for reason in NOT_RUN.values():
        for file, function in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", reason):
            text = (TREE / file).read_text()
            assert f"def {function}(" in text if function else text


@pytest.mark.parametrize("page", pages(), ids=name)
def test_commands_are_in_console_blocks(page: Path) -> None:
    """Elsewhere nobody would run them."""
    for block in BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            assert not PROGRAMS.match(line.strip()), f"{name(page)}: {line}"


#: Paths of this repository, as pages write them; a folder may be one that is built.
PATHS = re.compile(
    r"``((?:\.ci|benchmarks|constraints|devcloud|devstack|doc/source|etc|fuzz|releasenotes|"
    r"soak|sev_driver|tests|tools)/[\w./-]*|[A-Z]+\.rst|LICENSE|bindep\.txt)(?:::\w+)?``"
)


@pytest.mark.parametrize(
    "page",
    [*pages(), TREE / "CONTRIBUTING.rst", TREE / "SECURITY.rst"],
    ids=lambda page: page.name,
)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    """A reader of the wheel's README, or of the manual, has no links to follow."""
    paths = PATHS.findall(page.read_text())
    assert [path for path in paths if not (TREE / path).exists()] == []


def test_every_message_is_found_by_what_one_sees() -> None:
    """The index of symptoms leads to each section of messages.rst."""
    label = re.compile(r"(?<=\n\.\. _)message-[a-z0-9-]+(?=:\n)")
    labels = label.findall((SOURCE / "admin/messages.rst").read_text())
    index = (SOURCE / "admin/troubleshooting.rst").read_text()
    assert len(labels) > 40
    assert [name for name in labels if not re.search(rf"[`<]{name}[`>]", index)] == []


def test_blocks_are_read_as_they_are_written(tmp_path: Path) -> None:
    page = SOURCE / "made-up.rst"
    text = """
#. A list:

   .. code-block:: console
      :caption: of commands

      $ first one \\
          two

      shown | here |
      # second <<END
      > line
      > END

Then::

    $ not this
"""
    from console_blocks import _commands

    first, second = _commands(name(page), text.splitlines())
    assert (first.line, first.text) == (7, "first one \\\n    two")
    assert first.shown == ["shown | here |"]
    assert (second.text, second.shown) == ("second <<END\nline\nEND", [])


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (["| name | node1 |"], []),
        (["+---+", "name  node1"], []),
        (["... node1"], []),
        (["| id | 0f9a5d0a-1111-2222-3333-444455556666 |"], []),
        (["| name | node1 |", "| total | 15 |"], []),
        (["| total | 15 |", "| name | node1 |"], ["name node1"]),
        (["| name | node |"], ["name node"]),
    ],
)
def test_what_is_shown_is_compared_in_its_essence(
    shown: list[str], missing: list[str]
) -> None:
    said = """
+------+
| id    | a5a80ed4-ee47-4983-8e91-028b3a063ebb |
| name  |  node1 |
| total | 15     |
"""
    assert not_shown(shown, said) == missing


def test_a_shell_goes_on_and_tells_what_failed(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin"}
    with Shell(tmp_path, environment) as shell:
        assert shell.run("a=1; cd /") == (0, "")
        assert shell.run("pwd; echo $a; false") == (1, "/\n1\n")
        with pytest.raises(AssertionError, match="ended with 1"):
            shell.play(Command("page", 1, "false"))
        with pytest.raises(AssertionError, match="but not:\nyes"):
            shell.play(Command("page", 1, "echo no", ["yes"]))
        with pytest.raises(AssertionError, match="the shell has ended"):
            shell.run("exit 3")


def test_essence_leaves_words_alone() -> None:
    assert essence("| a  | b = c |") == "a b = c"


PYTHON = """#!/bin/sh
exec {python} "$@"
"""


def stage(folder: Path, installed: Installation, wheel: Path) -> dict[str, str]:
    """A folder with the wheel in dist/, and python3 and sudo as the page has them."""
    (folder / "dist").mkdir()
    (folder / "dist" / wheel.name).write_bytes(wheel.read_bytes())
    programs = folder / "programs"
    programs.mkdir()
    scripts = {
        "python3": PYTHON.format(python=installed.python),
        "sudo": '#!/bin/sh\nexec "$@"\n',
    }
    for program, text in scripts.items():
        (programs / program).write_text(text)
        (programs / program).chmod(0o755)
    path = f"{programs}:{installed.python.parent}:/usr/bin:/bin"
    return {"PATH": path, "PIP_NO_INDEX": "1", "PIP_ROOT_USER_ACTION": "ignore"}


@pytest.mark.parametrize(
    ("how", "played"),
    [
        ("together", ["install/virtualenv.rst"]),
        ("apart", ["install/packages.rst", "install/remove.rst"]),
    ],
)
def test_the_layouts_can_be_installed_as_written(
    how: str, played: list[str], bare: Bare, wheel: Path, tmp_path: Path
) -> None:
    installed = bare(how)
    folder = tmp_path / "there"
    folder.mkdir()
    with Shell(folder, stage(folder, installed, wheel)) as shell:
        for page in played:
            for command in commands(SOURCE / page):
                command.text = command.text.replace(
                    "/opt/nova", str(installed.python.parents[1])
                )
                command.shown = [
                    line.replace("/opt/nova", "") for line in command.shown
                ]
                shell.play(command)
    loaded = installed.load().returncode
    assert loaded == (0 if "install/remove.rst" not in played else 1)


def test_every_installation_page_is_played() -> None:
    pages_ = {page for page, scene in SCENES.items() if scene == "installation"}
    assert pages_ == {
        "install/virtualenv.rst",
        "install/packages.rst",
        "install/remove.rst",
    }
