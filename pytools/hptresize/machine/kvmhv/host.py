# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated POWER9 machine whose kernel is the hypervisor."""

from __future__ import annotations

import hashlib
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hptresize.base.errors import MachineError, UsageError
from hptresize.build.image.kvmhv_host import PORTS, port_path
from hptresize.machine import Machine, MachineConfig
from hptresize.machine.process import Qemu
from hptresize.machine.settings import parse_size

GUEST_PORTS = ("guest_console", "guest_channel", "guest_monitor")
COPY_TIMEOUT = 60.0


@dataclass(frozen=True)
class HostConfig(MachineConfig):
    """The host.  What it has in common with a guest, and no hash page table of its own.

    :param qemu: emulates it: qemu-system-ppc64 with the machine powernv9.
    :param kernel: Debian's ppc64el vmlinux.
    :param initrd: made by :func:`hptresize.build.image.kvmhv_host.build_host_image`.
    :param memory: its own, of which each guest takes a part.
    """

    memory: str = "3G"
    cpus: int = 1
    cpu: str = "POWER9"

    def command(
        self, *, console: str, channel: str | None, monitor: str | None, **ports: str
    ) -> list[str]:
        """QEMU's command line; the further arguments are the chardevs of :data:`PORTS`."""
        argv = [str(self.qemu.absolute()), *self._hardware()]
        # Its one serial line is the console; everything else goes through virtio.
        argv += ["-chardev", f"{console},id=console", "-serial", "chardev:console"]
        argv += ["-device", "pnv-phb,id=phb,chip-id=0,index=0"]
        argv += ["-device", "pnv-phb-root-port,id=root,bus=phb"]
        argv += ["-device", "virtio-serial-pci,bus=root"]
        for name, chardev in {**ports, "channel": channel}.items():
            argv += ["-chardev", f"{chardev},id={name}"]
            argv += ["-device", f"virtserialport,chardev={name},nr={PORTS[name]}"]
        if monitor is not None:
            argv += ["-chardev", f"{monitor},id=monitor", "-mon", "chardev=monitor,mode=control"]
        argv += ["-kernel", str(self.kernel), "-initrd", str(self.initrd)]
        words = ["console=hvc0", "rdinit=/host", "oops=panic", "panic=-1", self.append]
        return [*argv, "-append", " ".join(words).strip(), *self.extra_args]

    def _hardware(self) -> list[str]:
        argv = ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-no-reboot"]
        argv += ["-machine", "powernv9,accel=tcg", "-cpu", self.cpu, "-smp", str(self.cpus)]
        argv += ["-m", f"{parse_size(self.memory)}M"]
        directory = self._firmware_directory()
        return argv if directory is None else [*argv, "-L", str(directory)]


class HostQemu(Qemu):
    """The QEMU that emulates the host, with further sockets for what runs in it."""

    ENDS: ClassVar[tuple[str, ...]] = (*Qemu.ENDS, *GUEST_PORTS, "files")

    def port(self, name: str) -> socket.socket:
        """A duplicate of our end of a port."""
        return self._ours[name].dup()


class KvmHvHost(Machine):
    """The running host; a context manager, and what :class:`KvmHvGuest` runs on.

    It serves one guest at a time, any number of them one after another.
    """

    def __init__(self, config: HostConfig, *, start_timeout: float = 180.0) -> None:
        super().__init__(config, start_timeout=start_timeout)
        self._files: dict[str, str] = {}
        self._guest: Machine | None = None

    def _make_qemu(self) -> Qemu:
        return HostQemu(self.config, self._watch, self.console.feed, self.agent.feed)

    def shutdown(self, *, quick: bool = False, timeout: float = 20.0) -> None:
        """End it at once: it keeps nothing, and its QEMU runs on after a power-off."""
        super().shutdown(quick=True, timeout=timeout)

    def take_place(self, guest: Machine) -> None:
        """A guest is about to start.

        :raises UsageError: there is one.
        """
        if self._guest is not None:
            raise UsageError("the host runs a guest already", hint="end that one first")
        self._guest = guest

    def leave_place(self, guest: Machine) -> None:
        """A guest has ended, or never started."""
        if self._guest is guest:
            self._guest = None

    def port(self, name: str) -> socket.socket:
        """Our end of a port, as a socket that the caller has to close."""
        qemu = self._running()
        assert isinstance(qemu, HostQemu)
        return qemu.port(name)

    def put(self, source: Path) -> str:
        """Copy a file into the host; one that is there already is not copied again.

        :returns: its path in the host.
        :raises MachineError: it did not arrive.
        """
        data = source.read_bytes()
        name = hashlib.sha256(data).hexdigest()[:16]
        if name not in self._files:
            path = f"/run/{name}"
            taken = f"head -c {len(data)} <{port_path('files')} >{path}.part"
            job = self.start_command("sh", "-c", f"{taken} && mv {path}.part {path}")
            with self.port("files") as port:
                port.settimeout(COPY_TIMEOUT)
                try:
                    port.sendall(data)
                except OSError as error:
                    raise MachineError(f"{source} did not get into the host: {error}") from error
            job.wait(COPY_TIMEOUT).check()
            self._files[name] = path
        return self._files[name]

    def drain_guest_ports(self, timeout: float = 10.0) -> None:
        """Throw away what was sent to a guest that is no more, before the next one reads it.

        :raises MachineError: that could not be done.
        """
        token = secrets.token_hex(16)
        for name in GUEST_PORTS:
            with self.port(name) as port:
                port.sendall(f"\n{token}\n".encode())
        words = " ".join(port_path(name) for name in GUEST_PORTS)
        command = f"for port in {words}; do grep -aq {token} <$port || exit; done"
        self.run("sh", "-c", command, timeout=timeout)
