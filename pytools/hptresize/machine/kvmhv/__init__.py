# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests on KVM HV, the production hypervisor, without POWER hardware.

Our QEMU emulates a powernv9 machine.  On it runs Debian's kernel with kvm-hv, and
Debian's QEMU, which runs our guest::

    with KvmHvHost(HostConfig(qemu=qemu, kernel=debian_vmlinux, initrd=host_image)) as host:
        with KvmHvGuest(host, MachineConfig(qemu=qemu, kernel=vmlinux, initrd=image)) as machine:
            machine.resize(machine.order_guest() + 1)
"""

from hptresize.machine.kvmhv.guest import KvmHvGuest
from hptresize.machine.kvmhv.host import HostConfig, KvmHvHost

__all__ = ["HostConfig", "KvmHvGuest", "KvmHvHost"]
