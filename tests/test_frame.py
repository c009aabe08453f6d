# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of the command channel, with everything a tty can do to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hptresize.machine import frame
from hptresize.machine.frame import Decoder, Frame, encode

FRAMES = st.builds(
    Frame,
    type=st.sampled_from([frame.START, frame.STDOUT, frame.EXIT]),
    job=st.integers(0, 0xFFFF),
    data=st.binary(max_size=300),
)


@given(st.lists(FRAMES, max_size=5), st.integers(1, 40))
def test_what_goes_in_comes_out_however_it_is_cut(frames: list[Frame], step: int) -> None:
    wire = b"".join(encode(one) for one in frames)
    decoder = Decoder()
    got = []
    for at in range(0, len(wire), step):
        got += decoder.feed(wire[at : at + step])
    assert got == frames
    assert decoder.damaged == 0


@given(FRAMES)
def test_nothing_a_line_discipline_acts_on_goes_to_the_guest(one: Frame) -> None:
    assert not set(encode(one)[1:-1]) & {*range(0x20), 0x7F, frame.FLAG}


@given(st.binary(max_size=100).filter(lambda noise: frame.FLAG not in noise), FRAMES)
def test_in_step_again_after_noise(noise: bytes, one: Frame) -> None:
    assert Decoder().feed(noise + encode(one)) == [one]


@given(FRAMES, st.data())
def test_a_lost_or_changed_byte_is_noticed(one: Frame, data: st.DataObject) -> None:
    wire = bytearray(encode(one))
    at = data.draw(st.integers(1, len(wire) - 2))
    value = data.draw(st.none() | st.integers(0, 255))
    if value == wire[at]:
        return
    if value is None:
        del wire[at]
    else:
        wire[at] = value
    decoder = Decoder()
    assert one not in decoder.feed(bytes(wire))
    assert decoder.feed(encode(one)) == [one]


def test_too_long_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="16384"):
        encode(Frame(frame.START, 1, b"x" * frame.MAX_CONTENT))
