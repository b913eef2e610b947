# SPDX-License-Identifier: Apache-2.0

"""All options of sev_driver by group."""

from __future__ import annotations

from collections.abc import Iterable

from oslo_config import cfg

from sev_driver.conf import guests, monitoring, policy, slots, stock_nova

_GROUPS: dict[str, list[cfg.Opt]] = {
    "libvirt": slots.LIBVIRT_OPTS,
    "sev": [
        *slots.OPTS,
        *stock_nova.OPTS,
        *guests.OPTS,
        *monitoring.OPTS,
        *policy.OPTS,
    ],
}


def check_values(conf: cfg.ConfigOpts) -> None:
    """Read each option once, so that nova-compute does not start with a wrong value.

    oslo.config checks a value when it is read, for some options only during an update
    of the host's resources, which would then fail again and again.

    :raises oslo_config.cfg.ConfigFileValueError: a value is of the wrong kind.
    :raises ConfigurationError: a policy is wrong.
    """
    for group, options in _GROUPS.items():
        for option in options:
            if option not in policy.OPTS:
                conf[group][option.dest]
    policy.policies(conf)


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options that the installed Nova does not have."""
    for group, options in _GROUPS.items():
        for option in options:
            # Nova 33 and older has one of them with another help text. oslo.config
            # accepts an option twice only if both are equal.
            if group not in conf or option.dest not in conf[group]:
                conf.register_opt(option, group=group)


def list_opts() -> Iterable[tuple[str, list[cfg.Opt]]]:
    """Return all options by group, for the entry point ``oslo.config.opts``."""
    return [(group, list(options)) for group, options in _GROUPS.items()]
