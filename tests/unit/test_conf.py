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

"""conf: our options beside Nova's."""

import pytest
from oslo_config import cfg

from sev_driver import conf

NAME = "num_memory_encrypted_guests"


def test_registered_where_nova_has_dropped_it() -> None:
    options = cfg.ConfigOpts()
    conf.register_opts(options)
    conf.register_opts(options)
    options([])
    assert options.libvirt[NAME] is None


def test_novas_own_is_left_alone() -> None:
    options = cfg.ConfigOpts()
    nova = cfg.IntOpt(NAME, default=7, min=0, help="Nova's own words")
    options.register_opt(nova, group="libvirt")
    conf.register_opts(options)
    options([])
    assert options.libvirt[NAME] == 7


def test_a_negative_number_is_refused() -> None:
    options = cfg.ConfigOpts()
    conf.register_opts(options)
    options([])
    with pytest.raises(ValueError):
        options.set_override(NAME, -1, group="libvirt")


def test_every_option_says_what_it_does() -> None:
    for _group, options in conf.list_opts():
        for option in options:
            assert "Possible values:" in option.help
            assert "Related options:" in option.help
