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

"""What Nova is given back: images with what encryption needs, and its errors."""

from __future__ import annotations

from nova import exception as nova_exception
from nova import objects

from sev_driver.exceptions import RequirementsNotMet, SevDriverError
from sev_driver.requirements import MACHINE_TYPE, Fault, GuestRequest


def settle_machine_type(instance: objects.Instance, request: GuestRequest) -> None:
    """Give ``instance`` the machine type that it left open.

    Recorded where Nova records its own default, so that the guest keeps it for
    life whatever nova.conf says later.
    """
    if request.machine_type is None:
        instance.system_metadata["image_hw_machine_type"] = MACHINE_TYPE


def encrypted_image_meta(
    instance: objects.Instance, image_meta: objects.ImageMeta
) -> objects.ImageMeta:
    """Return ``image_meta`` with what encryption needs: a copy where some is new.

    ``image_meta`` is what Nova makes the guest of: the instance's own image or
    a rescue image, whose disk is booted in the instance's encryption.
    """
    own = instance.image_meta.properties
    new = {name: getattr(own, name) for name in _NEEDED if _is_set(own, name)}
    properties = image_meta.properties
    if all(_is_set(properties, n) and getattr(properties, n) == new[n] for n in new):
        return image_meta  # A copy takes longer than all else that we do here.
    result = image_meta.obj_clone()
    for name, value in new.items():
        setattr(result.properties, name, value)
    return result


_NEEDED = (
    "hw_mem_encryption",
    "hw_mem_encryption_model",
    "hw_firmware_type",
    "hw_firmware_stateless",
    "hw_machine_type",
)


def _is_set(properties: objects.ImageMetaProps, name: str) -> bool:
    # Older releases do not have all of them.
    return name in properties.fields and properties.obj_attr_is_set(name)


def build_error(
    instance: objects.Instance, error: SevDriverError
) -> nova_exception.NovaException:
    """Return what to raise in a build.

    BuildAbortException alone ends a build at once and shows its words in the
    server's fault; anything else sends the guest to the next host.
    """
    if not isinstance(error, RequirementsNotMet):
        return operation_error(error)
    own = [v for v in error.violations if v.fault is Fault.REQUEST]
    if own:
        return nova_exception.BuildAbortException(
            instance_uuid=instance.uuid, reason=" ".join(map(str, own))
        )
    return nova_exception.ComputeResourcesUnavailable(reason=str(error))


def operation_error(error: SevDriverError) -> nova_exception.NovaException:
    """Return what to raise when an existing guest cannot be started or changed."""
    return nova_exception.InternalError(str(error))


def unchanged_error(error: SevDriverError) -> nova_exception.NovaException:
    """Return what leaves the server as it was, instead of in ERROR."""
    return nova_exception.InstanceFaultRollback(operation_error(error))


def migration_error(error: SevDriverError) -> nova_exception.NovaException:
    """Return what ends a live migration before it begins."""
    return nova_exception.MigrationPreCheckError(reason=str(error))
