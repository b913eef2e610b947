# SPDX-License-Identifier: Apache-2.0
"""nova_conf: what is kept of nova.conf, and what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.doctor.host import nova_conf


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
