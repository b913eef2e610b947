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

_LIBVIRT_OPTS = [
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


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options that this Nova does not bring itself."""
    for option in _LIBVIRT_OPTS:
        # Nova 33 and older has it with a help text of its own: the same option
        # under oslo.config's eyes only if we leave Nova's alone.
        if "libvirt" not in conf or option.dest not in conf.libvirt:
            conf.register_opt(option, group="libvirt")


def list_opts() -> Iterable[tuple[str, list[cfg.Opt]]]:
    """Entry point ``oslo.config.opts``: what the sample generator writes."""
    return [("libvirt", list(_LIBVIRT_OPTS))]
