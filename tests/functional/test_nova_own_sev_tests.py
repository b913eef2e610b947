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

"""Nova 34's own tests of SEV and of reported traits, with our driver swapped in."""

import unittest

import nova.virt.sev_driver
from nova.tests.functional.libvirt import test_amd_sev, test_report_cpu_traits
from with_driver import SEV_DRIVER, WithSEVDriver

from sev_driver.driver import SEVDriver


class ProveDriver(WithSEVDriver):
    """Every test that starts a compute ends with the proof that it ran ours."""

    def setUp(self) -> None:
        super().setUp()
        # Nova 34 does not start where it lost SEV; with us that is an option.
        self.flags(group="sev", require_support_at_start=True)
        self.addCleanup(lambda: self.assertEqual({SEVDriver}, self.driver_classes))


class TestSEV(ProveDriver, test_amd_sev.TestSEV):
    pass


class TestReportTraits(ProveDriver, test_report_cpu_traits.LibvirtReportTraitsTests):
    pass


class TestReportSevTraits(
    ProveDriver, test_report_cpu_traits.LibvirtReportSevTraitsTests
):
    pass


class TestReportTdxTraits(
    ProveDriver, test_report_cpu_traits.LibvirtReportTdxTraitsTests
):
    pass


def _test_classes(module: object) -> set[type]:
    return {
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, unittest.TestCase)
        and value.__module__ == module.__name__
    }


def test_none_of_novas_test_classes_is_left_out() -> None:
    ours = {
        base
        for value in globals().values()
        if isinstance(value, type) and issubclass(value, ProveDriver)
        for base in value.__bases__
    }
    theirs = _test_classes(test_amd_sev) | _test_classes(test_report_cpu_traits)
    assert theirs <= ours
    assert len(theirs) == 4


def test_nova_is_told_our_class_by_its_name_in_nova_conf() -> None:
    assert SEV_DRIVER == "sev_driver.SEVDriver"
    assert nova.virt.sev_driver.SEVDriver is SEVDriver
