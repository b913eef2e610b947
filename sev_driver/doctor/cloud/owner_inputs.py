# SPDX-License-Identifier: Apache-2.0

"""The launch inputs of a guest that does not exist yet: would the driver take them?"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator, Mapping

from sev_driver.doctor.cloud.compatibility import FindingBuilder, short
from sev_driver.doctor.cloud.facts import CloudSlots, Flavor, Unavailable
from sev_driver.doctor.cloud.launch_digests import firmwares
from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.guest import launch_inputs
from sev_driver.guest.id_block import IdBlock
from sev_driver.guest.input_keys import POLICY, PREFIX, Owner
from sev_driver.guest.launch_inputs import NO_INPUTS, LaunchInputs
from sev_driver.guest.policy import DEFAULT_SNP_POLICY, SnpPolicy
from sev_driver.guest.request import ImageProperties
from sev_driver.model import SEV_SNP, AnyModel
from sev_driver.placement.providers import FIRMWARE_TRAIT


@dataclasses.dataclass(frozen=True)
class ServerParts:
    """What a server has besides flavor and image: metadata, and user data as given."""

    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    user_data: bytes | None = None


NOTHING = ServerParts()


def parse(flavor: Flavor, image: ImageProperties, server: ServerParts) -> LaunchInputs:
    """Return the launch inputs of a guest.

    The driver does this on the host, with an option that cannot be read here: whether
    it allows a policy with which the host can debug the guest.
    """
    data = server.user_data
    return launch_inputs.parse(
        server.metadata,
        Owner(image.title, image.properties),
        Owner(f"flavor {flavor.name}", flavor.extra_specs),
        None if data is None else base64.b64encode(data).decode(),
        allow_debug=True,
    )


def check(
    inputs: LaunchInputs, model: AnyModel | None, subject: FindingBuilder
) -> Iterator[Finding]:
    """Yield what is to be said of launch inputs; nothing if none is given.

    :param model: the model that would encrypt the guest, None for a plain guest.
    """
    if not inputs.keys:
        return
    own = _policy_of_block(inputs)
    policy = DEFAULT_SNP_POLICY if own is None else own
    violations = launch_inputs.check(inputs, model, policy, allowed=True)
    for each in violations:
        seen = f"{each.requester}, but {each.found}"
        yield subject.finding(each.requirement.value, Verdict.FAIL, seen, each.remedy)
    if violations:
        return
    yield subject.finding("inputs", Verdict.PASS, f"accepted: {short(inputs.keys, 8)}")
    yield from _decided_by_options(inputs, own, subject)
    unseen = ["whether [sev] owner_inputs is True on the hosts"]
    if launch_inputs.depends_on_host(inputs.policy):
        unseen.append("whether a host can keep the policy (SMT, number of processors)")
    if inputs.signed is not None:
        unseen.append("whether a host launches the digest of the ID block")
    seen = f"not checked: {', and '.join(unseen)}"
    yield subject.finding("inputs-on-host", Verdict.SKIP, seen)


def taken(inputs: LaunchInputs, model: AnyModel | None) -> LaunchInputs:
    """Return the launch inputs if they can be shown in a domain."""
    if model is not SEV_SNP or inputs.violations:
        return NO_INPUTS
    return inputs


def _policy_of_block(inputs: LaunchInputs) -> SnpPolicy | None:
    """Return the ID block's policy if the host's nova.conf has the guest's."""
    if inputs.signed is None or inputs.policy_source:
        return None
    try:
        return SnpPolicy.of_number(IdBlock.parse(inputs.signed.block).policy)
    except ValueError:
        return None  # a violation says so


def _decided_by_options(
    inputs: LaunchInputs, own: SnpPolicy | None, subject: FindingBuilder
) -> Iterator[Finding]:
    """Yield where an option of the host decides, which cannot be read here."""
    if inputs.policy is not None and inputs.policy.debug:
        yield subject.finding(
            "allow-debug",
            Verdict.WARN,
            f"{inputs.policy_source} is {inputs.policy.format()}, with which the host "
            f"can debug the guest: hosts refuse it unless [sev] allow_debug is True in "
            f"their nova.conf",
            "unset DEBUG",
        )
    if own is not None:
        yield subject.finding(
            "host-policy",
            Verdict.WARN,
            f"the ID block is for policy {own.format()}, and no key names the guest's "
            f"policy: hosts refuse it unless [sev] snp_policy in their nova.conf is "
            f"the same",
            f"set {PREFIX}{POLICY}={own.format()}",
        )


def check_required_firmware(
    required: set[str], slots: CloudSlots | Unavailable, subject: FindingBuilder
) -> Iterator[Finding]:
    """Yield which hosts have the guest firmware that a required trait names."""
    wanted = sorted(each for each in required if each.startswith(FIRMWARE_TRAIT))
    if not wanted or isinstance(slots, Unavailable):
        return
    known = firmwares(slots)
    for trait in wanted:
        hosts = sorted(host for host, has in known.items() if has == trait)
        if hosts:
            seen = f"the guest firmware of {trait} is on {short(hosts)}"
            yield subject.finding("firmware", Verdict.PASS, seen)
            continue
        others = "no host has a trait of its guest firmware"
        if known:
            others = f"the hosts have {short(sorted(set(known.values())))}"
        yield subject.finding(
            "firmware",
            Verdict.FAIL,
            f"no host has the guest firmware of {trait}, which is required: {others}",
            "compare it with the first 12 digits of the SHA-256 of the guest firmware, "
            "with capital letters; install that firmware on a host, or unset the trait",
        )
