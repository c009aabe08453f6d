# SPDX-License-Identifier: GPL-2.0-or-later
"""All that a guest needs, built or taken from the cache: one object that knows how."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from hptresize.base import progress
from hptresize.base.cache import Cache, digest
from hptresize.base.errors import FetchError
from hptresize.base.kinds import Kind
from hptresize.build import kernel as kbuild
from hptresize.build import kselftests, toolchain
from hptresize.build import qemu as qemubuild
from hptresize.build.flavours import KUNIT, PLAIN
from hptresize.build.image import build_initramfs, image_key
from hptresize.build.image import kvmhv_host as kvmhv_image
from hptresize.build.image.kvmhv_host import build_host_image
from hptresize.build.kernel import KernelBuild
from hptresize.build.qemu import QemuBuild
from hptresize.build.toolchain import Endian
from hptresize.series.home import Variant
from hptresize.trees import origin
from hptresize.trees.debian import AptRoot, unpack_deb
from hptresize.trees.tree import Tree

# Guest programs come from the release whose kernel and QEMU the tests call "stock".
GUEST_SUITE = "bookworm"
STOCK_KERNEL = "linux-image-powerpc64le"
HOST_QEMU = "qemu-system-ppc"
# Neighbours differ little, so that little is compiled again.
VARIANTS_FOR_TESTS: tuple[Variant, ...] = ("stock", "fixes", "baseline", "series")
KEXEC_PACKAGES = ("kexec-tools", "libc6")

# Besides the plain one; together they have all that is special about any flavour.
TESTED_FLAVOURS = ("le-64k-debug", "le-4k-kfence", "be-64k", "be-4k-nohotplug")


@dataclasses.dataclass
class Builder:
    """Makes the parts of a guest.

    :ivar kernel_source: where the kernel comes from (see origin.parse_origin).
    :ivar qemu_source: likewise QEMU.
    :ivar jobs: processes at once.
    :ivar remember: whether paths.last_build() is to find what is built.
    """

    cache: Cache
    kernel_source: str | None = None
    qemu_source: str | None = None
    jobs: int = dataclasses.field(default_factory=toolchain.jobs)
    remember: bool = True

    def __post_init__(self) -> None:
        self._trees: dict[Kind, Tree] = {}

    def tree(self, kind: Kind) -> Tree:
        """Return a source tree, fetched and unpacked if need be."""
        if kind not in self._trees:
            spec = self.kernel_source if kind == "kernel" else self.qemu_source
            self._trees[kind] = origin.resolve(self.cache, kind, spec)
        return self._trees[kind]

    def kernel(self, variant: Variant = "series", flavour: str = PLAIN) -> KernelBuild:
        """Return the kernel of a variant, in one of the FLAVOURS."""
        made = kbuild.build_kernel(
            self.cache, self.tree("kernel"), variant, flavour=flavour, jobs=self.jobs
        )
        if flavour == PLAIN:
            self._remember(f"kernel-{variant}", made.vmlinux)
        elif variant == "series":
            self._remember(f"kernel-{flavour}", made.vmlinux)
        return made

    def qemu(self, variant: Variant = "series") -> QemuBuild:
        """Return the QEMU of a variant."""
        made = qemubuild.build_qemu(self.cache, self.tree("qemu"), variant, jobs=self.jobs)
        self._remember(f"qemu-{variant}", made.binary)
        return made

    def sanitized_qemu(self, variant: Variant = "series") -> QemuBuild:
        """Return the QEMU of a variant with the compiler's sanitizers in it."""
        made = qemubuild.build_qemu(
            self.cache, self.tree("qemu"), variant, jobs=self.jobs, sanitized=True
        )
        self._remember("qemu-sanitized", made.binary)
        return made

    def qemu_unit_tests(self) -> Path:
        """Return the directory of the unit tests that the host series brings along."""
        made = qemubuild.build_unit_tests(self.cache, self.tree("qemu"), "series", jobs=self.jobs)
        self._remember("qemu-tests", made)
        return made

    def busybox(self) -> Path:
        """Return Debian's static busybox for the guest."""
        deb = AptRoot(self.cache, GUEST_SUITE, "ppc64el").fetch_deb("busybox-static")
        key = f"busybox-{digest(deb.name)[:16]}"
        where = self.cache.dir("artifacts", key, lambda into: unpack_deb(deb, into), "busybox")
        return where / "bin" / "busybox"

    def kexec_tools(self) -> Path:
        """Return Debian's kexec for the guest; the C library it needs lies beside its directory."""
        apt = AptRoot(self.cache, GUEST_SUITE, "ppc64el")
        debs = [apt.fetch_deb(name) for name in KEXEC_PACKAGES]
        key = f"kexec-tools-{digest(*(deb.name for deb in debs))[:16]}"

        def make(into: Path) -> None:
            for deb in debs:
                unpack_deb(deb, into)

        where = self.cache.dir("artifacts", key, make, "kexec-tools")
        self._remember("kexec-tools", where / "sbin" / "kexec")
        return where / "sbin" / "kexec"

    def image(self, endian: Endian = "le") -> Path:
        """Return the guest's initramfs; big endian has no busybox, Debian builds none."""
        made = self._image(endian, {})
        self._remember("image" if endian == "le" else f"image-{endian}", made)
        return made

    def selftests(self, endian: Endian = "le") -> Path:
        """Return an initramfs that has the series' kselftests as well."""
        programs = kselftests.build(self.cache, self.tree("kernel"), endian)
        made = self._image(endian, kselftests.in_guest(programs))
        self._remember(f"selftests-{endian}", made)
        return made

    def _image_parts(self, endian: Endian) -> tuple[Path | None, Path]:
        """Return busybox, where there is one, and the source of the packer."""
        busybox = self.busybox() if endian == "le" else None
        return busybox, self.tree("kernel").path / "usr" / "gen_init_cpio.c"

    def image_key(self, endian: Endian = "le", extra: Mapping[str, Path] | None = None) -> str:
        """Return a hash of all that an image is made of."""
        busybox, packer = self._image_parts(endian)
        return image_key(endian=endian, busybox=busybox, gen_init_cpio_source=packer, extra=extra)

    def _image(self, endian: Endian, extra: Mapping[str, Path]) -> Path:
        busybox, packer = self._image_parts(endian)
        key = self.image_key(endian, extra)[:16]

        def make(into: Path) -> None:
            with progress.step(f"build the {endian} image"):
                build_initramfs(
                    into / "initramfs.gz", endian=endian, busybox=busybox, extra=extra,
                    gen_init_cpio_source=packer,
                )  # fmt: skip

        made = self.cache.dir("artifacts", f"image-{endian}-{key}", make, f"{endian} image")
        return made / "initramfs.gz"

    def debian_kernel(self) -> Path:
        """Return the vmlinux of Debian's own ppc64el kernel, which has the merged feature.

        :raises FetchError: it cannot be had.
        """
        found = sorted((self._debian_kernel_package() / "boot").glob("vmlinux-*"))
        if not found:
            raise FetchError(f"Debian's {STOCK_KERNEL} holds no vmlinux")
        self._remember("kernel-debian", found[0])
        return found[0]

    def _debian_kernel_package(self) -> Path:
        apt = AptRoot(self.cache, GUEST_SUITE, "ppc64el")
        known = self.cache.note("debian-kernel").get("package")
        if isinstance(known, str):
            package = known
        else:
            package = next(
                (n for n in apt.depends(STOCK_KERNEL) if n.startswith("linux-image")), ""
            )
            if not package:
                raise FetchError(f"{STOCK_KERNEL} of Debian {GUEST_SUITE} names no kernel package")
        deb = apt.fetch_deb(package)
        self.cache.set_note("debian-kernel", {"package": package})

        def make(into: Path) -> None:
            with progress.step(f"unpack {deb.name}"):
                unpack_deb(deb, into)

        return self.cache.dir("artifacts", package, make, f"Debian's {package}")

    def kvmhv_image(self) -> Path:
        """Return the initramfs of the emulated host with KVM HV; its kernel is Debian's.

        :raises FetchError: a package cannot be had.
        """
        debs = AptRoot(self.cache, GUEST_SUITE, "ppc64el").fetch_closure(HOST_QEMU)
        kernel = self._debian_kernel_package()
        packer = self.tree("kernel").path / "usr" / "gen_init_cpio.c"
        names = "\n".join(sorted(deb.name for deb in debs.glob("*.deb")))
        key = digest(
            image_key(endian="le", busybox=self.busybox(), gen_init_cpio_source=packer),
            kernel.name, names, Path(kvmhv_image.__file__),
        )[:16]  # fmt: skip

        def make(into: Path) -> None:
            with (
                progress.step("make the image of the host with KVM HV"),
                tempfile.TemporaryDirectory(dir=into) as scratch,
            ):
                for deb in debs.glob("*.deb"):
                    unpack_deb(deb, Path(scratch))
                build_host_image(
                    into / "initramfs.gz", packages=Path(scratch), kernel_package=kernel,
                    busybox=self.busybox(), gen_init_cpio_source=packer,
                )  # fmt: skip

        made = self.cache.dir("artifacts", f"kvmhv-{key}", make, "image of the host with KVM HV")
        self._remember("kvmhv-image", made / "initramfs.gz")
        return made / "initramfs.gz"

    def for_tests(self) -> None:
        """Make everything that the project's own tests use."""
        for variant in VARIANTS_FOR_TESTS:
            self.kernel(variant)
            self.qemu(variant)
        self.kernel("series", KUNIT)
        for flavour in TESTED_FLAVOURS:
            self.kernel(flavour=flavour)
        self.qemu_unit_tests()
        self.sanitized_qemu()
        for endian in get_args(Endian):
            self.image(endian)
            self.selftests(endian)
        self.kexec_tools()
        self.debian_kernel()
        self.kvmhv_image()

    def _remember(self, name: str, path: Path) -> None:
        """Keep what paths.last_build() is asked for, such as "kernel-series"."""
        if self.remember:
            self.cache.set_note(f"last-{name}", {"path": str(path)})
