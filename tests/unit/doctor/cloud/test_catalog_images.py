# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from a_cloud import REFUSED, UEFI, cloud, image

from sev_driver.doctor.cloud import catalog
from sev_driver.doctor.findings import Verdict

ASKS = {"hw_mem_encryption": "true"}
FINE = ASKS | UEFI
MODEL = "hw_mem_encryption_model"


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (UEFI, []),
        (FINE, ["pass fits"]),
        (FINE | {"hw_machine_type": "pc-q35-9.0"}, ["pass fits"]),
        (ASKS, ["fail firmware-type"]),
        (
            ASKS | {"hw_machine_type": "pc", "hw_disk_bus": "ide"},
            ["fail machine-type", "fail firmware-type", "fail boot-bus"],
        ),
        (FINE | {"vmware_adaptertype": "lsiLogic"}, ["fail boot-bus"]),
        (FINE | {"hw_disk_bus": "scsi"}, ["fail boot-bus"]),
        (
            FINE | {"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi"},
            ["pass fits"],
        ),
        (FINE | {MODEL: "amd-sev-es"}, ["pass fits"]),
        (FINE | {MODEL: "amd-sev-snp"}, ["fail firmware-stateless"]),
        (
            FINE | {MODEL: "amd-sev-snp", "hw_firmware_stateless": "true"},
            ["fail offered"],
        ),
        (FINE | {MODEL: "sev"}, ["fail unreadable", "fail agreement"]),
        ({MODEL: "amd-sev"}, ["warn half"]),
    ],
)
def test_images(properties: dict[str, str], expected: list[str]) -> None:
    found = list(catalog.check_images(cloud(images=(image(properties),))))
    told = [f"{f.verdict.value} {f.check.id.partition('.')[2]}" for f in found]
    assert told == expected


@pytest.mark.parametrize(
    ("nova", "refused"), [(31, False), (32, True), (33, True), (34, False)]
)
def test_a_model_that_the_api_does_not_know(nova: int, refused: bool) -> None:
    snp = FINE | {MODEL: "amd-sev-snp", "hw_firmware_stateless": "true"}
    found = catalog.check_images(cloud(nova=nova, images=(image(snp),)))
    told = [f for f in found if f"the API of Nova {nova} refuses" in f.seen]
    assert bool(told) is refused


def test_images_that_may_not_be_seen() -> None:
    (finding,) = catalog.check_images(cloud(images=REFUSED))
    assert (finding.verdict, finding.seen) == (Verdict.SKIP, "HTTP 403")
