# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of KVM PR inside a guest that resizes its table: PR's entries are found and removed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hptresize.build.image import build_initramfs
from hptresize.build.image.initramfs import GUEST_FLAGS
from hptresize.build.toolchain import compiler_for
from hptresize.pytest_plugin import Boot, built

pytestmark = pytest.mark.boot

SOURCE = Path(__file__).parent / "guest/kvmpr.c"


@pytest.fixture(scope="module")
def image(gen_init_cpio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("kvmpr")
    tool = where / "kvmpr"
    argv = [compiler_for("le"), *GUEST_FLAGS, "-o", str(tool), str(SOURCE)]
    subprocess.run(argv, check=True, timeout=60)
    return build_initramfs(
        where / "image", busybox=None, extra={"/bin/kvmpr": tool},
        gen_init_cpio_source=gen_init_cpio,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["mirror", "rehash"])
@pytest.mark.parametrize("order", [22, 24])
def test_the_memory_of_a_pr_guest_is_replaced(
    boot: Boot, image: Path, mode: str, order: int
) -> None:
    """In a smaller table a slot of before may not exist, in a larger one it is another's."""
    machine = boot(
        kernel=built("kernel-le-64k-debug"), initrd=image, memory="1G", cpus=2,
        machine_options=(f"hpt-resize-mode={mode}",),
    )  # fmt: skip
    machine.run("kvmpr", str(order), timeout=60)
    assert machine.order_guest() == machine.order_host() == order
