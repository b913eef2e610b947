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

"""Options of nova.conf that sev_driver reads."""

from collections.abc import Iterable

from oslo_config import cfg

_LIBVIRT_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "num_memory_encrypted_guests",
        min=0,
        help="""
Maximum number of guests with memory encrypted by AMD SEV on this host.

The hardware has a fixed number of slots for encryption keys, one for each
guest. sev_driver reads that number from libvirt and tells Placement; this
option lowers it, for instance to keep slots for guests that Nova does not
manage.

Possible values:

* unset (default): as many guests as the hardware has slots.
* 0: no guest with AMD SEV on this host. Guests that ask for it are scheduled
  elsewhere.
* a number up to that of the slots: as many guests.
* a higher number: the number of slots rules, and a warning is logged.

Where libvirt does not tell the number of slots, an unset option means no
limit, and a number is taken as it is.

Related options:

* ``[libvirt] virt_type`` must be ``kvm`` or ``qemu``.
* ``[DEFAULT] reserved_host_memory_mb``: encrypted guests pin their memory.

Nova itself had this option up to 2026.1 (33.0.0); sev_driver keeps it.
""",
    ),
]

_SEV_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "audit_interval",
        default=600,
        min=0,
        help="""
Seconds between two audits of the running guests.

An audit reads the domain of each guest that asked for encryption from libvirt
and logs an error for each that runs without it, whoever started it.

Possible values:

* 0: no audit.
* a number of seconds; an audit takes place with the first update of the host's
  resources (``[DEFAULT] update_resources_interval``) after that time.

Related options:

* ``[sev] stop_unencrypted_guests``
""",
    ),
    cfg.BoolOpt(
        "stop_unencrypted_guests",
        default=False,
        help="""
Power off a guest that an audit finds running without its encryption.

Possible values:

* False (default): it is logged as an error and left running.
* True: it is also powered off, as if its power had failed.

Related options:

* ``[sev] audit_interval``
""",
    ),
    cfg.BoolOpt(
        "require_support_at_start",
        default=False,
        help="""
Refuse to start nova-compute when the host has lost what its guests need.

Possible values:

* False (default): nova-compute starts and serves all other guests. The guests
  that asked for encryption are refused a start, one by one, with the reason,
  and keep their slots.
* True: nova-compute does not start while a guest of this host asks for AMD SEV,
  SEV-ES or SEV-SNP and the host does not offer it, as in Nova 34 itself.

Related options:

* none.
""",
    ),
]

_GROUPS: dict[str, list[cfg.Opt]] = {"libvirt": _LIBVIRT_OPTS, "sev": _SEV_OPTS}


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options that this Nova does not bring itself."""
    for group, options in _GROUPS.items():
        for option in options:
            # Nova 33 and older has one of them with a help text of its own:
            # oslo.config takes the same option twice only if it is equal.
            if group not in conf or option.dest not in conf[group]:
                conf.register_opt(option, group=group)


def list_opts() -> Iterable[tuple[str, list[cfg.Opt]]]:
    """Entry point ``oslo.config.opts``: what the sample generator writes."""
    return [(group, list(options)) for group, options in _GROUPS.items()]
