# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the guest's initramfs, the same bytes from the same input.

The archive is written by the kernel's own ``gen_init_cpio`` from a list, so
device nodes need no root, and every inode number, owner and time is fixed.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from hptresize.base.errors import BuildError, ToolMissing, UsageError
from hptresize.build.toolchain import Endian, compiler_for

log = logging.getLogger(__name__)

GUEST_DIR = Path(__file__).resolve().parents[2] / "guest"
GUEST_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-static",
    "-pthread",
    "-s",
    # Nothing of the build machine may end up in the program.
    "-Wl,--build-id=none",
)
TOOLS = ("cat", "child", "cpuload", "memload", "pollfile", "readpass", "resize", "write")

# The mount points belong into the archive: a kexec'd kernel, or one without
# devtmpfs, finds only what is in it.
DIRECTORIES = (
    *("/bin", "/dev", "/etc", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/tools"),
)
_APPLETS = """
[ ash awk base64 basename cat chmod chroot clear cmp cp cut date dd devmem df dirname
dmesg du echo env expr false find free grep gunzip gzip head hexdump hostname id insmod kill
killall less ln ls lsmod md5sum mkdir mknod modprobe more mount mv nice nproc od pgrep
pidof ping poweroff printf ps pwd readlink reboot renice reset rm rmdir sed seq setsid sh
sha256sum sleep sort stat stty sync sysctl tail tar taskset tee test time timeout top
touch tr true tty umount uname uniq uptime usleep vi watch wc which xargs xxd yes zcat
"""
APPLETS = tuple(_APPLETS.split())
FIXED_TIME = 1  # gen_init_cpio of some kernels takes 0 for "now"


def run_tool(argv: list[str], *, cwd: Path, what: str) -> str:
    """Run a tool to its end; raises BuildError with the last thing it said."""
    done = subprocess.run(
        argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        last = next((line for line in lines if "error" in line), lines[-1] if lines else "")
        raise BuildError(f"{what}: {argv[0]} ended with status {done.returncode}: {last}")
    return done.stdout


def _host_compiler() -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise ToolMissing("no C compiler for this machine", hint="apt-get install gcc libc6-dev")
    return compiler


def _guest_sources() -> list[Path]:
    return sorted(GUEST_DIR.glob("*.c"))


def image_key(
    *,
    endian: Endian,
    busybox: Path | None,
    gen_init_cpio_source: Path,
    extra: Mapping[str, Path] | None = None,
) -> str:
    """A hash of everything that the image is made of, for a cache.

    :returns: hexadecimal SHA-256 of sources, flags, list, compiler version and
        the contents of the files that go in.
    :raises ToolMissing: no cross compiler for this endianness.
    """
    digest = hashlib.sha256()
    version = run_tool([compiler_for(endian), "--version"], cwd=GUEST_DIR, what="cross compiler")
    for text in (endian, version):
        digest.update(text.encode() + b"\0")
    # Flags and what is in the list are in our own text.
    files: list[tuple[str, Path]] = [("initramfs.py", Path(__file__))]
    files += [(path.name, path) for path in sorted(GUEST_DIR.glob("*.[ch]"))]
    files.append(("gen_init_cpio.c", gen_init_cpio_source))
    if busybox is not None:
        files.append(("busybox", busybox))
    files += sorted((extra or {}).items())
    for name, path in files:
        digest.update(name.encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _compile_guest(endian: Endian, into: Path) -> Path:
    """The guest's program, static.  Relative names keep this machine's paths out."""
    init = into / "init"
    names = [path.name for path in _guest_sources()]
    argv = [compiler_for(endian), *GUEST_FLAGS, "-o", str(init), *names]
    run_tool(argv, cwd=GUEST_DIR, what="compile the guest's program")
    return init


def _compile_packer(source: Path, into: Path) -> Path:
    packer = into / "gen_init_cpio"
    argv = [_host_compiler(), "-O1", "-o", str(packer), str(source.resolve())]
    run_tool(argv, cwd=into, what="compile gen_init_cpio")
    return packer


def _parents(paths: Iterable[str]) -> set[str]:
    """All directories above these absolute paths, but not the root."""
    return {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "/"}


def _cpio_list(work: Path, init: Path, busybox: Path | None, extra: Mapping[str, Path]) -> str:
    """The archive's contents, in gen_init_cpio's language, parents before children."""
    directories = sorted({*DIRECTORIES, *_parents(extra)})
    lines = [f"dir {path} 0755 0 0" for path in directories]
    # The kernel wants a console before devtmpfs is there.
    lines.append("nod /dev/console 0600 0 0 c 5 1")
    lines.append("nod /dev/null 0666 0 0 c 1 3")
    lines.append(f"file /init {init.name} 0755 0 0")
    lines += [f"slink /tools/{tool} ../init 0777 0 0" for tool in TOOLS]
    if busybox is not None:
        lines.append(f"file /bin/busybox {_link(work, busybox)} 0755 0 0")
        lines += [f"slink /bin/{applet} busybox 0777 0 0" for applet in APPLETS]
    for path, source in sorted(extra.items()):
        mode = 0o755 if source.stat().st_mode & 0o111 else 0o644
        lines.append(f"file {path} {_link(work, source)} {mode:04o} 0 0")
    return "\n".join(lines) + "\n"


def _link(work: Path, target: Path) -> str:
    """A name without blanks for a file: the list is made of words."""
    number = sum(1 for _ in work.glob("link*"))
    (work / f"link{number}").symlink_to(target.resolve())
    return f"link{number}"


def _check(busybox: Path | None, extra: Mapping[str, Path], packer_source: Path) -> None:
    if not packer_source.is_file():
        raise UsageError(
            f"{packer_source} is not there", hint="it comes with the kernel: usr/gen_init_cpio.c"
        )
    for path in (busybox, *extra.values()):
        if path is not None and not path.is_file():
            raise UsageError(f"{path}, wanted for the image, is not a file")
    for name in extra:
        if not name.startswith("/") or ".." in name.split("/") or " " in name:
            raise UsageError(f"{name!r} is not an absolute path inside the image")


def build_initramfs(
    out: Path,
    *,
    endian: Endian = "le",
    busybox: Path | None,
    extra: Mapping[str, Path] | None = None,
    gen_init_cpio_source: Path,
) -> Path:
    """Build the guest's initramfs (gzip'd cpio), byte for byte reproducible.

    :param out: the file to make; made whole or not at all.
    :param endian: of the guest's program: "le" or "be".
    :param busybox: a static busybox for that endianness, or None: the guest then
        has only our own tools.
    :param extra: further files, absolute path in the guest to file here; a file
        that is executable here is so there.
    :param gen_init_cpio_source: ``usr/gen_init_cpio.c`` of any kernel tree.
    :returns: ``out``.
    :raises ToolMissing: no compiler.
    :raises BuildError: a compiler or the packer failed.
    :raises UsageError: one of the files is missing.
    """
    extra = extra or {}
    out = out.absolute()
    _check(busybox, extra, gen_init_cpio_source)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        work = Path(scratch)
        init = _compile_guest(endian, work)
        packer = _compile_packer(gen_init_cpio_source, work)
        listing = work / "list"
        listing.write_text(_cpio_list(work, init, busybox, extra))
        archive = _pack(packer, listing, work)
        packed = work / "packed"
        # No name and no time in the header; the level is part of the result.
        packed.write_bytes(gzip.compress(archive, compresslevel=6, mtime=0))
        packed.rename(out)
    log.info("image: %s, %s, %d bytes", out, endian, out.stat().st_size)
    return out


def _pack(packer: Path, listing: Path, work: Path) -> bytes:
    argv = [str(packer), "-t", str(FIXED_TIME), listing.name]
    done = subprocess.run(
        argv, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0 or done.stderr:
        raise BuildError(f"gen_init_cpio: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
