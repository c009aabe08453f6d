# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's ELF file says: symbols, addresses, byte order."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from hptresize.base.errors import UsageError

# Start of the linear mapping: a kernel address less this is a physical address.
PAGE_OFFSET = 0xC000000000000000

_POWERPC = ("EM_PPC64", "EM_PPC")


@dataclass(frozen=True)
class Symbol:
    """A symbol of a kernel.

    :param address: virtual, as linked.
    :param size: in bytes.
    """

    name: str
    address: int
    size: int

    @property
    def physical(self) -> int:
        """Its address in the guest's memory if the kernel runs where it was linked."""
        return self.address - PAGE_OFFSET


@dataclass(frozen=True)
class KernelElf:
    """What is of interest in a vmlinux."""

    path: Path
    byteorder: Literal["little", "big"]
    symbols: dict[str, Symbol]

    def symbol(self, name: str) -> Symbol:
        """Look a symbol up.

        :raises UsageError: it is not there, or the file is stripped.
        """
        if name in self.symbols:
            return self.symbols[name]
        why = f"has no symbol {name}" if self.symbols else "has no symbols: it is stripped"
        raise UsageError(f"kernel {self.path} {why}")


def read_kernel(path: Path) -> KernelElf:
    """Read a vmlinux; the answer is remembered until the file changes.

    :raises UsageError: it is not the kernel of a PowerPC machine.
    """
    check_kernel(path)
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read(path: Path, _mtime: int) -> KernelElf:
    with path.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        symbols = _symbols(elf, table) if isinstance(table, SymbolTableSection) else {}
        return KernelElf(path, "little" if elf.little_endian else "big", symbols)


def _symbols(elf: ELFFile, table: SymbolTableSection) -> dict[str, Symbol]:
    """All named symbols; a kernel has 20,000, so the table is unpacked in one go."""
    names = table.stringtable.data()
    # Elf64_Sym: name, info, other, section, value, size
    entry = struct.Struct("<IBBHQQ" if elf.little_endian else ">IBBHQQ")
    symbols = {}
    for at, _info, _other, _section, value, size in entry.iter_unpack(table.data()):
        if at:
            name = names[at : names.index(b"\0", at)].decode(errors="replace")
            symbols[name] = Symbol(name, value, size)
    return symbols


def check_kernel(path: Path) -> None:
    """Check that a file can be a PowerPC kernel.

    :raises UsageError: says what it is instead.
    """
    if not path.is_file():
        raise UsageError(f"kernel {path} is not there", hint="see --kernel")
    try:
        with path.open("rb") as file:
            machine = ELFFile(file).header["e_machine"]
    except ELFError:
        raise UsageError(
            f"kernel {path} is not an ELF file", hint="give the vmlinux of a ppc64 kernel"
        ) from None
    if machine not in _POWERPC:
        raise UsageError(f"kernel {path} is for {machine}, not for PowerPC")


def has_symbol(vmlinux: Path, name: str) -> bool:
    """Whether a kernel has a symbol, such as "pseries_lpar_resize_hpt".

    :raises UsageError: not a PowerPC kernel, or a stripped one, which cannot tell.
    """
    symbols = read_kernel(vmlinux).symbols
    if not symbols:
        raise UsageError(f"kernel {vmlinux} has no symbols: it is stripped")
    return name in symbols
