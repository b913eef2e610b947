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
        uuid=UUID, flavor=flavor, system_metadata=metadata, image_ref=UUID
    )
