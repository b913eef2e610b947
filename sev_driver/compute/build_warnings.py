# SPDX-License-Identifier: Apache-2.0

"""Warn about misspelt keys and unreadable models when a guest is built."""

from __future__ import annotations

from nova import objects
from oslo_log import log as logging

from sev_driver.compute import instance as guest_request
from sev_driver.compute import nova_compat
from sev_driver.exceptions import printable
from sev_driver.guest.model_selection import IMAGE_MODEL_KEY
from sev_driver.nova_release import releases_that_cannot_read

LOG = logging.getLogger(__name__)


def warn(instance: objects.Instance) -> None:
    """Log warnings about the flavor and image of a guest to be built; never raise."""
    try:
        for miss in guest_request.near_misses(instance):
            LOG.warning("%s", miss, instance=instance)
        _warn_of_model(instance)
    except Exception:
        # A failure here must not prevent the build.
        LOG.debug("Cannot check flavor and image.", exc_info=True, instance=instance)


def _warn_of_model(instance: objects.Instance) -> None:
    value = guest_request.image_model(instance)
    if value is None or not (others := releases_that_cannot_read(value)):
        return
    # A release that knows the property accepts valid values only. Then the value is a
    # problem only after a rollback to an older release.
    known = bool(nova_compat.installed_release().models)
    LOG.log(
        logging.INFO if known else logging.WARNING,
        unreadable_model(value, others),
        instance=instance,
    )


def unreadable_model(value: str, releases: tuple[int, ...]) -> str:
    """Return the warning about an image's model that other releases cannot read."""
    return (
        f"{IMAGE_MODEL_KEY}={printable(value)} of its image cannot be read by Nova "
        f"{' and '.join(map(str, releases))}, whose nova-compute then does not start: "
        f"unset it before an upgrade or a rollback to these."
    )
