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
"""nova_conf: what is kept of nova.conf, and what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.doctor import nova_conf, option_checks


def options(text: str) -> dict[tuple[str, str], str | None]:
    found = nova_conf.parse("/f", nova_conf.sift(text.encode()))
    return {key: each.value for key, each in nova_conf.in_force(found).items()}


AUDIT_2 = {("sev", "audit_interval"): "2"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("virt_type = kvm", {("DEFAULT", "virt_type"): None}),
        ("[libvirt]\nvirt_type=kvm", {("libvirt", "virt_type"): "kvm"}),
        ("[libvirt]\nvirt_type: 'kvm'", {("libvirt", "virt_type"): "kvm"}),
        ("[libvirt]\n#virt_type = kvm", {}),
        ("[libvirt]\nvirt_type = a\nvirt_type = b", {("libvirt", "virt_type"): "b"}),
        ("[sev]\naudit_interval = 1", {("sev", "audit_interval"): "1"}),
        ("[sev]\nany_name = 1", {("sev", "any_name"): None}),
        # oslo.config heeds the case of no section but DEFAULT.
        ("[SEV]\naudit_interval = 1", {("sev", "audit_interval"): "1"}),
        ("[LibVirt]\nvirt_type=kvm", {("libvirt", "virt_type"): "kvm"}),
        ("[SEV]\naudit_interval=1\n[sev]\naudit_interval=2", AUDIT_2),
        ("[default]\ncompute_driver = x", {}),
        ("[libvirt]\nrbd_user = x", {("libvirt", "rbd_user"): None}),
        ("[database]\nconnection = x", {}),
        ("[DEFAULT]\ntransport_url = rabbit://\n  more = x", {}),
        ("[api]\ncompute_driver = x", {}),
    ],
)
def test_what_is_kept(text: str, expected: dict[tuple[str, str], str | None]) -> None:
    found = options(text)
    found.pop(("DEFAULT", "transport_url"), None)
    assert found == expected


@given(text=st.text(max_size=200))
def test_what_is_kept_of_what_was_kept_is_the_same(text: str) -> None:
    kept = nova_conf.sift(text.encode())
    assert list(nova_conf.parse("/f", kept)) is not None
    for each in nova_conf.parse("/f", kept):
        known = each.name in nova_conf.READ.get(each.section, ())
        assert (each.value is not None) == known


def test_what_an_archive_has_is_read_without_case() -> None:
    (option,) = nova_conf.parse("/f", b"[SEV]\naudit_interval = 1\n")
    assert (option.section, option.value) == ("sev", "1")


def test_of_our_section_all_that_the_driver_knows_is_kept() -> None:
    ours = {name for section, name in option_checks.OPTIONS if section == "sev"}
    assert ours == nova_conf.READ["sev"]
