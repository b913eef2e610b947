# SPDX-License-Identifier: Apache-2.0

"""devstack/: what the plugin does, with stubs of DevStack's functions."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from installations import ROOT
from nova.conf import CONF

import sev_driver.conf.opts

FOLDER = ROOT / "devstack"
# DevStack's functions, and how it sources a plugin. Each writes the line by which it
# was called.
STUBS = r"""
set -o errexit
write() { local line; printf -v line ' %q' "$@"; echo "${line:1}" >> "$CALLS"; }
for name in define_plugin echo_summary iniset pip_uninstall setup_install; do
    eval "$name() { write $name \"\$@\"; }"
done
die() { shift; echo "$*" >&2; exit 1; }
is_service_enabled() { [[ ",$ENABLED_SERVICES," == *",$1,"* ]]; }
trueorfalse() { echo "${!2:-$1}"; }
openstack() {
    write openstack "$@"
    [[ "$*" != *"flavor show"* || -n "$FLAVOR_EXISTS" ]]
}
source "$PLUGIN/settings"
source "$PLUGIN/plugin.sh" "$@"
"""
FOUND = {"VIRT_DRIVER": "libvirt", "LIBVIRT_TYPE": "kvm"}


def stack(
    folder: Path, *phase: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Source the plugin as DevStack does; ``stdout`` has the calls, one a line."""
    program = folder / "bin" / "sev-driver-link"
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/sh\necho sev-driver-link "$@" >> "$CALLS"\n')
    program.chmod(0o755)
    calls = folder / "calls"
    calls.write_text("")
    environment = {
        "PATH": "/usr/bin:/bin",
        "CALLS": str(calls),
        "PLUGIN": str(FOLDER),
        "ENABLED_SERVICES": "n-api,n-cpu,n-sch",
        "NOVA_BIN_DIR": str(program.parent),
        "NOVA_CONF": "/etc/nova/nova.conf",
        **FOUND,
        **variables,
    }
    done = subprocess.run(
        ["bash", "-c", STUBS, "bash", *phase],
        env=environment,
        capture_output=True,
        text=True,
    )
    done.stdout = calls.read_text()
    return done


def calls(folder: Path, *phase: str, **variables: str) -> list[str]:
    """Return what the plugin called, without its summaries."""
    done = stack(folder, *phase, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    unwanted = ("define_plugin", "echo_summary")
    return [line for line in done.stdout.splitlines() if not line.startswith(unwanted)]


def test_settings_name_the_plugin(tmp_path: Path) -> None:
    assert stack(tmp_path, "source").stdout == "define_plugin sev_driver\n"


def test_install_makes_the_driver_loadable(tmp_path: Path) -> None:
    done = calls(tmp_path, "stack", "install")
    # DevStack's Nova is in a clone, our wheel in site-packages.
    assert [line.split() for line in done] == [
        ["setup_install", str(ROOT)],
        ["sev-driver-link"],
    ]


def test_post_config_sets_the_driver(tmp_path: Path) -> None:
    assert calls(tmp_path, "stack", "post-config") == [
        "iniset /etc/nova/nova.conf DEFAULT compute_driver sev_driver.SEVDriver",
        "iniset /etc/nova/nova.conf DEFAULT ram_allocation_ratio 1.0",
    ]


def test_limits_are_set_by_variables_alone(tmp_path: Path) -> None:
    variables = {
        "SEV_NUM_SEV_GUESTS": "12",
        "SEV_NUM_SEV_ES_GUESTS": "4",
        "SEV_NUM_SEV_SNP_GUESTS": "3",
        "SEV_RAM_ALLOCATION_RATIO": "0.9",
    }
    assert [
        line.removeprefix("iniset /etc/nova/nova.conf ")
        for line in calls(tmp_path, "stack", "post-config", **variables)
    ] == [
        "DEFAULT compute_driver sev_driver.SEVDriver",
        "DEFAULT ram_allocation_ratio 0.9",
        "libvirt num_memory_encrypted_guests 12",
        "sev num_sev_es_guests 4",
        "sev num_sev_snp_guests 3",
    ]


def test_options_exist() -> None:
    sev_driver.conf.opts.register_opts(CONF)
    text = (FOLDER / "plugin.sh").read_text()
    options = re.findall(r'iniset "\$NOVA_CONF" (\w+) (\w+) ', text)
    assert len(options) == 5
    for section, option in options:
        group = CONF if section == "DEFAULT" else getattr(CONF, section)
        assert option in group


def test_flavor_asks_for_encryption(tmp_path: Path) -> None:
    _, create = calls(tmp_path, "stack", "extra", SEV_FLAVOR="my sev")
    words = shlex.split(create)
    assert " ".join(words[1:5]) == "--os-cloud devstack-admin flavor create"
    assert words[-3:] == ["--property", "hw:mem_encryption=true", "my sev"]


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({"FLAVOR_EXISTS": "yes"}, 1),
        ({"SEV_CREATE_FLAVOR": "False"}, 0),
        ({"ENABLED_SERVICES": "n-cpu"}, 0),
    ],
)
def test_flavor_is_not_created(
    variables: dict[str, str], number: int, tmp_path: Path
) -> None:
    assert len(calls(tmp_path, "stack", "extra", **variables)) == number


@pytest.mark.parametrize(
    "phase",
    ["stack pre-install", "stack install", "stack post-config", "clean"],
)
def test_host_without_nova_compute_is_left_alone(phase: str, tmp_path: Path) -> None:
    assert calls(tmp_path, *phase.split(), ENABLED_SERVICES="n-api") == []


@pytest.mark.parametrize(
    "phase", ["stack pre-install", "stack test-config", "unstack", "source"]
)
def test_other_phases_do_nothing(phase: str, tmp_path: Path) -> None:
    assert calls(tmp_path, *phase.split()) == []


@pytest.mark.parametrize(
    ("name", "value"), [("VIRT_DRIVER", "fake"), ("LIBVIRT_TYPE", "qemu")]
)
def test_other_hypervisors_end_it(name: str, value: str, tmp_path: Path) -> None:
    done = stack(tmp_path, "stack", "pre-install", **{name: value})
    assert done.returncode == 1
    assert done.stderr == (
        f"sev_driver needs {name}={FOUND[name]} in local.conf, not {value}\n"
    )


def test_clean_removes_both(tmp_path: Path) -> None:
    done = calls(tmp_path, "clean")
    assert done == ["sev-driver-link --remove", "pip_uninstall sev_driver"]


def test_sample_sets_variables_that_there_are() -> None:
    text = (FOLDER / "local.conf.sample").read_text()
    local, _, compute = text.partition("[[post-config|$NOVA_CPU_CONF]]")
    settings = (FOLDER / "settings").read_text()
    ours = re.findall(r"^#?(SEV_\w+)=", local, re.M)
    assert len(ours) == 3
    for name in ours:
        assert f"{name}=${{{name}:-}}" in settings
    for name, value in FOUND.items():
        assert f"\n{name}={value}\n" in local
    assert "\nenable_plugin sev_driver " in local
    assert re.search(r"^\[DEFAULT\]\nreserved_host_memory_mb = \d+$", compute, re.M)


def test_manual_has_each_variable() -> None:
    page = (ROOT / "doc/source/install/devstack.rst").read_text()
    settings = (FOLDER / "settings").read_text()
    variables = set(re.findall(r"^(SEV_\w+)=", settings, re.M))
    assert len(variables) == 8
    assert variables == set(re.findall(r"``(SEV_\w+)``", page))
