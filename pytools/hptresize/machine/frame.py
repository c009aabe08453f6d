# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of the command channel; the description is in guest/frame.h."""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass

VERSION = 1
FLAG = 0x7E
ESC = 0x7D
FLIP = 0x20
MAX_CONTENT = 16384

PING, START, SIGNAL, POWEROFF = b"P", b"S", b"K", b"O"
HELLO, PONG, STDOUT, STDERR = b"H", b"p", b"o", b"e"
EXIT, REFUSED, DAMAGED = b"x", b"r", b"d"

# A line discipline that is not raw yet, and hvc's own \r handling, only look at
# control characters: they never go to the guest as they are.
_STUFF = {byte: bytes((ESC, byte ^ FLIP)) for byte in (*range(0x20), ESC, FLAG, 0x7F)}


@dataclass(frozen=True)
class Frame:
    """One message: its type, the job it is about (0: none) and its payload."""

    type: bytes
    job: int = 0
    data: bytes = b""


def encode(frame: Frame) -> bytes:
    """The bytes of a frame on the wire.

    :raises ValueError: it is longer than the agent takes.
    """
    content = frame.type + struct.pack(">H", frame.job) + frame.data
    content += struct.pack(">H", binascii.crc_hqx(content, 0xFFFF))
    if len(content) > MAX_CONTENT:
        raise ValueError(f"{len(content)} bytes, the guest's agent takes {MAX_CONTENT}")
    stuffed = b"".join(_STUFF.get(byte) or bytes((byte,)) for byte in content)
    return bytes((FLAG,)) + stuffed + bytes((FLAG,))


class Decoder:
    """Bytes in, frames out; in step again at the next flag after anything odd."""

    def __init__(self) -> None:
        self._buffer = b""
        self.damaged = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; returns the frames that are whole now.

        What is not a frame (noise before the agent has the tty in raw mode, a
        damaged frame) is counted in ``damaged`` and left out.
        """
        *parts, self._buffer = (self._buffer + data).split(bytes((FLAG,)))
        frames = []
        for part in parts:
            if not part:
                continue
            frame = self._parse(part)
            if frame is None:
                self.damaged += 1
            else:
                frames.append(frame)
        return frames

    @staticmethod
    def _parse(part: bytes) -> Frame | None:
        first, *rest = part.split(bytes((ESC,)))
        if any(not piece for piece in rest):
            return None
        content = first + b"".join(bytes((p[0] ^ FLIP,)) + p[1:] for p in rest)
        if len(content) < 5 or binascii.crc_hqx(content, 0xFFFF):
            return None
        (job,) = struct.unpack_from(">H", content, 1)
        return Frame(content[:1], job, content[3:-2])
