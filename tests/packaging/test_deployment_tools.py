# SPDX-License-Identifier: Apache-2.0

"""The manual's files for Kolla and OpenStack-Ansible: they parse, their options exist.

The names of files, sections and variables are those of Kolla, kolla-ansible and the
role os_nova of OpenStack-Ansible, read there in 2026.
"""

import configparser
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from installations import ROOT
from nova.conf import CONF

import sev_driver.conf.opts

INSTALL = ROOT / "doc/source/install"
BLOCK = re.compile(
    r"\.\. code-block:: (ini|yaml)\n   :caption: (\S+)\n\n((?:   .*\n|\n)+)"
)


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Yield language, file and text of each file that a page shows."""
    for language, file, text in BLOCK.findall((INSTALL / page).read_text()):
        yield language, file, re.sub("^   ", "", text, flags=re.M)


def files(page: str) -> dict[str, dict[str, Any]]:
    """Return the contents of the files that a page shows, merged by name."""
    found: dict[str, dict[str, Any]] = {}
    for language, file, text in blocks(page):
        if language == "yaml":
            content = yaml.safe_load(text)
        else:
            parser = configparser.ConfigParser(default_section="")
            parser.read_string(text)
            content = {name: dict(parser[name]) for name in parser.sections()}
        assert isinstance(content, dict), file
        found.setdefault(file, {}).update(content)
    return found


def check_nova_conf(sections: dict[str, dict[str, Any]]) -> None:
    """Assert that Nova has each option and takes its value."""
    sev_driver.conf.opts.register_opts(CONF)
    for section, options in sections.items():
        for name, value in options.items():
            groups = CONF._opts if section == "DEFAULT" else CONF._groups[section]._opts
            option = groups[name]["opt"]
            option.type(str(value))
    assert sections["DEFAULT"]["compute_driver"] == "sev_driver.SEVDriver"


@pytest.mark.parametrize("page", ["kolla.rst", "openstack-ansible.rst"])
def test_each_file_has_a_name(page: str) -> None:
    text = (INSTALL / page).read_text()
    shown = re.findall(r"\.\. code-block:: (?:ini|yaml)\n", text)
    assert len(shown) == len(list(blocks(page))) >= 2


def test_kolla_builds_the_driver_into_nova_compute() -> None:
    (section, options), *others = files("kolla.rst")[
        "/etc/kolla/kolla-build.conf"
    ].items()
    assert not others
    # kolla-build looks for sections "<image>-plugin-<name>" with these options.
    assert re.fullmatch(r"nova-compute-plugin-[a-z-]+", section)
    assert options.keys() == {"type", "location", "reference"}
    assert options["type"] == "git"


def test_kolla_ansible_merges_the_options() -> None:
    shown = files("kolla.rst")
    # ansible/roles/nova-cell/tasks/config.yml: nova/{{ inventory_hostname }}/nova.conf
    (file,) = (name for name in shown if name.endswith("/nova.conf"))
    assert re.fullmatch(r"/etc/kolla/config/nova/[a-z0-9]+/nova\.conf", file)
    check_nova_conf(shown[file])


def test_kolla_ansible_gets_image_and_volumes() -> None:
    variables = files("kolla.rst")["/etc/kolla/globals.yml"]
    compute = variables["nova_compute_extra_volumes"]
    libvirt = variables["nova_libvirt_extra_volumes"]
    # Both read the descriptors; libvirt's QEMU also the files that they name.
    assert set(compute) < set(libvirt)
    for volume in libvirt:
        source, target, mode = volume.split(":")
        assert source == target and mode == "ro"
    assert variables["nova_compute_image_full"]


def test_openstack_ansible_installs_the_driver_beside_nova() -> None:
    variables = files("openstack-ansible.rst")[
        "/etc/openstack_deploy/user_variables.yml"
    ]
    (package,) = variables["nova_user_pip_packages"]
    assert re.fullmatch(r"git\+https://\S+@\w+#egg=sev_driver", package)


def test_openstack_ansible_sets_the_options_on_compute_hosts() -> None:
    variables = files("openstack-ansible.rst")[
        "/etc/openstack_deploy/group_vars/nova_compute.yml"
    ]
    check_nova_conf(variables["nova_nova_conf_overrides"])
