# SPDX-License-Identifier: Apache-2.0

"""libvirt's ``<launchSecurity>`` for each model, as values."""

from __future__ import annotations

import base64
import dataclasses
import re
from typing import Final, Union

from lxml import etree

from sev_driver.exceptions import ConfigurationError
from sev_driver.guest.launch_inputs import NO_INPUTS, LaunchInputs
from sev_driver.guest.policy import (
    DEFAULT_SEV_ES_POLICY,
    DEFAULT_SEV_POLICY,
    DEFAULT_SNP_POLICY,
    SevPolicy,
    SnpPolicy,
)
from sev_driver.model import MemoryEncryptionModel

#: libvirt reads a policy as hexadecimal, with or without 0x. Other forms are rejected.
_POLICY = re.compile(r"(?:0x)?([0-9a-f]{1,16})", re.ASCII | re.IGNORECASE)


#: What a policy is from, unless a guest's owner gave one.
NOVA_CONF: Final = "nova.conf"


@dataclasses.dataclass(frozen=True)
class SevLaunchSecurity:
    """``<launchSecurity type='sev'>``, for SEV and SEV-ES.

    ``cbitpos`` and ``reducedPhysBits`` are omitted: they depend on the host, and
    libvirt 6.9 and later gets them from QEMU.
    """

    policy: SevPolicy

    policy_source = NOVA_CONF

    @property
    def model(self) -> MemoryEncryptionModel:
        """SEV or SEV-ES: in libvirt they differ by the policy's ES bit only."""
        if self.policy.has(SevPolicy.ES):
            return MemoryEncryptionModel.AMD_SEV_ES
        return MemoryEncryptionModel.AMD_SEV

    def to_element(self, kernel: bool = False) -> etree._Element:
        """Return the element.

        :param kernel: as for :class:`SnpLaunchSecurity` (libvirt 8.0 and later).
        """
        element = _element("sev", self.policy.format())
        if kernel:
            element.set("kernelHashes", "yes")
        return element


@dataclasses.dataclass(frozen=True)
class SnpLaunchSecurity:
    """``<launchSecurity type='sev-snp'>`` (libvirt 10.5 and later).

    ``vcek`` is true if the chip's own key signs attestation reports, ``author_key`` if
    the launch includes an author's key. ``host_data`` are 32 bytes for the reports.
    ``id_block`` and ``id_auth`` are what the owner signed, and the signatures.
    ``policy_source`` names what has the policy, for messages.
    """

    policy: SnpPolicy
    vcek: bool = True
    author_key: bool = False
    host_data: bytes | None = None
    id_block: bytes | None = None
    id_auth: bytes | None = None
    policy_source: str = dataclasses.field(default=NOVA_CONF, compare=False)

    model = MemoryEncryptionModel.AMD_SEV_SNP

    @property
    def inputs(self) -> dict[str, bytes | None]:
        """The launch inputs by the names of libvirt's elements, in its order."""
        return {
            "idBlock": self.id_block,
            "idAuth": self.id_auth,
            "hostData": self.host_data,
        }

    @property
    def is_owners_policy(self) -> bool:
        """True if the guest's owner gave the policy, False if it is this host's."""
        return self.policy_source != NOVA_CONF

    def to_element(self, kernel: bool = False) -> etree._Element:
        """Return the element.

        :param kernel: true if the host loads the guest's kernel. The launch measurement
            then includes its hash, as otherwise any kernel could be loaded.
        """
        element = _element("sev-snp", self.policy.format())
        element.set("authorKey", _yes_no(self.author_key))
        element.set("vcek", _yes_no(self.vcek))
        element.set("kernelHashes", _yes_no(kernel))
        for name, data in self.inputs.items():
            if data is not None:
                text = base64.b64encode(data).decode()
                etree.SubElement(element, name).text = text
        return element


LaunchSecurity = Union[SevLaunchSecurity, SnpLaunchSecurity]


def from_element(element: etree._Element) -> LaunchSecurity:
    """Parse a ``<launchSecurity>``.

    :raises ValueError: the type is not one of AMD's, or the policy or a launch input
        is malformed.
    """
    kind = element.get("type")
    if kind == "sev":
        return SevLaunchSecurity(SevPolicy.of_number(policy_of(element)))
    if kind == "sev-snp":
        return SnpLaunchSecurity(
            SnpPolicy.of_number(policy_of(element)),
            vcek=element.get("vcek") != "no",
            author_key=element.get("authorKey") == "yes",
            host_data=_input(element, "hostData"),
            id_block=_input(element, "idBlock"),
            id_auth=_input(element, "idAuth"),
        )
    raise ValueError(f"launchSecurity of type {kind!r}")


def policy_of(element: etree._Element) -> int:
    """Return the policy in a ``<launchSecurity>``, as a number.

    :raises ValueError: there is not exactly one policy, or it is malformed.
    """
    policies = element.findall("policy")
    # libvirt also reads text behind a comment, so a policy with children is rejected.
    if len(policies) == 1 and len(policies[0]) == 0:
        match = _POLICY.fullmatch(policies[0].text or "")
        if match is not None:
            return int(match[1], 16)
    raise ValueError("launchSecurity without one policy as a hexadecimal number")


def _input(element: etree._Element, name: str) -> bytes | None:
    """Return a launch input of a ``<launchSecurity>``, None if it has none.

    :raises ValueError: there is more than one, or it is malformed.
    """
    found = element.findall(name)
    if not found:
        return None
    if len(found) == 1 and len(found[0]) == 0:
        return base64.b64decode(found[0].text or "", validate=True)
    raise ValueError(f"launchSecurity without one {name} in base64")


def _element(kind: str, policy: str) -> etree._Element:
    element = etree.Element("launchSecurity", type=kind)
    etree.SubElement(element, "policy").text = policy
    return element


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


@dataclasses.dataclass(frozen=True)
class Policies:
    """The policies of this host, by model.

    :raises ConfigurationError: a policy is that of another model, or allows debugging
        without ``allow_debug``.
    """

    sev: SevPolicy = DEFAULT_SEV_POLICY
    sev_es: SevPolicy = DEFAULT_SEV_ES_POLICY
    snp: SnpPolicy = DEFAULT_SNP_POLICY
    allow_debug: bool = False

    def __post_init__(self) -> None:
        for option, model in (
            ("sev_policy", MemoryEncryptionModel.AMD_SEV),
            ("sev_es_policy", MemoryEncryptionModel.AMD_SEV_ES),
            ("snp_policy", MemoryEncryptionModel.AMD_SEV_SNP),
        ):
            launch = self.launch_security(model)
            setting = f"[sev] {option} is {launch.policy.format()}"
            if launch.model is not model:
                change = "set" if model is MemoryEncryptionModel.AMD_SEV_ES else "unset"
                raise ConfigurationError(
                    f"{setting}, a policy for {launch.model.title}: {change} the bit "
                    f"ES (0x4)."
                )
            if launch.policy.debug and not self.allow_debug:
                raise ConfigurationError(
                    f"{setting}, which allows the host to debug guests and so to read "
                    f"their memory: use another policy, or set [sev] allow_debug."
                )

    def launch_security(
        self, model: MemoryEncryptionModel, inputs: LaunchInputs = NO_INPUTS
    ) -> LaunchSecurity:
        """Return the launch security of a guest of ``model``.

        :param inputs: what its owner gave; used for SEV-SNP only.
        """
        if model is MemoryEncryptionModel.AMD_SEV_SNP:
            signed = inputs.signed
            return SnpLaunchSecurity(
                self.snp if inputs.policy is None else inputs.policy,
                author_key=signed is not None and signed.has_author_key,
                host_data=inputs.host_data,
                id_block=None if signed is None else signed.block,
                id_auth=None if signed is None else signed.auth,
                policy_source=(
                    NOVA_CONF if inputs.policy is None else inputs.policy_source
                ),
            )
        es = model is MemoryEncryptionModel.AMD_SEV_ES
        return SevLaunchSecurity(self.sev_es if es else self.sev)
