# SPDX-License-Identifier: Apache-2.0

"""Instances as nova-compute loads them, for the modules that read Nova's objects."""

from nova import objects

UUID = "11111111-2222-3333-4444-555555555555"

objects.register_all()


def instance(
    extra_specs: dict[str, str] | None = None, **properties: str
) -> objects.Instance:
    """Return an instance of a flavor and an image with these properties."""
    flavor = objects.Flavor(name="m1.sev", extra_specs=extra_specs or {})
    metadata = {f"image_{name}": value for name, value in properties.items()}
    return objects.Instance(
        uuid=UUID,
        flavor=flavor,
        metadata={},
        system_metadata=metadata,
        image_ref=UUID,
        user_data=None,
    )
