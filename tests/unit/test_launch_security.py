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

from sev_driver import launch_security
from sev_driver.model import MemoryEncryptionModel
from sev_driver.policies import Policies

XML = {
    MemoryEncryptionModel.AMD_SEV: (
        '<launchSecurity type="sev"><policy>0x0033</policy></launchSecurity>'
    ),
    MemoryEncryptionModel.AMD_SEV_ES: (
        '<launchSecurity type="sev"><policy>0x0037</policy></launchSecurity>'
    ),
    MemoryEncryptionModel.AMD_SEV_SNP: (
        '<launchSecurity type="sev-snp" authorKey="no" vcek="yes" kernelHashes="no">'
        "<policy>0x00030000</policy></launchSecurity>"
    ),
}


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_there_and_back(model: MemoryEncryptionModel) -> None:
    value = Policies().launch_security(model)
    element = value.to_element()
    assert etree.tostring(element, encoding="unicode") == XML[model]
    assert launch_security.from_element(element) == value
    assert value.model is model


@pytest.mark.parametrize(
    "xml",
    [
        '<launchSecurity type="sev-snp"><policy>0x10000</policy></launchSecurity>',
        '<launchSecurity type="tdx"><policy>0x33</policy></launchSecurity>',
        '<launchSecurity type="sev"/>',
        '<launchSecurity type="sev"><policy>no</policy></launchSecurity>',
        "<launchSecurity/>",
    ],
)
def test_another_element_is_refused(xml: str) -> None:
    with pytest.raises(ValueError):
        launch_security.from_element(etree.fromstring(xml))
