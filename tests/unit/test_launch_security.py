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

"""launch_security: a value to libvirt's element and back."""

import pytest
from lxml import etree

from sev_driver.launch_security import LaunchSecurity
from sev_driver.policy import DEFAULT_SEV_POLICY

XML = '<launchSecurity type="sev"><policy>0x0033</policy></launchSecurity>'


def test_there_and_back() -> None:
    value = LaunchSecurity(DEFAULT_SEV_POLICY)
    element = value.to_element()
    assert etree.tostring(element, encoding="unicode") == XML
    assert LaunchSecurity.from_element(element) == value


@pytest.mark.parametrize(
    "xml",
    [
        '<launchSecurity type="sev-snp"><policy>0x30000</policy></launchSecurity>',
        '<launchSecurity type="sev"/>',
        '<launchSecurity type="sev"><policy>no</policy></launchSecurity>',
        "<launchSecurity/>",
    ],
)
def test_another_element_is_refused(xml: str) -> None:
    with pytest.raises(ValueError):
        LaunchSecurity.from_element(etree.fromstring(xml))
