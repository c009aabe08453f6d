# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in a booted guest: their status, output and time come back as data."""

from __future__ import annotations

import signal
import time

import pytest

from hptresize.base.errors import CommandFailed, GuestHung
from hptresize.machine import Machine
from hptresize.pytest_plugin import Boot

pytestmark = pytest.mark.boot


@pytest.fixture(scope="module")
def guest(boot_module: Boot) -> Machine:
    return boot_module()


def pattern(count: int) -> bytes:
    """What `child bytes` prints."""
    return bytes((i ^ i >> 8 ^ i >> 16) & 0xFF for i in range(count))


def test_says_who_it_is(guest: Machine) -> None:
    assert guest.agent.machine.startswith("ppc64")
    assert guest.agent.release[0].isdigit()
    assert guest.agent.boots == 1


@pytest.mark.parametrize("status", [0, 1, 127, 255])
def test_exit_status(guest: Machine, status: int) -> None:
    assert guest.agent.run(["child", "exit", str(status)]).status == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_ended_by_a_signal(guest: Machine, number: signal.Signals) -> None:
    assert guest.agent.run(["child", "kill", str(number.value)]).status == -number


def test_no_such_program(guest: Machine) -> None:
    with pytest.raises(CommandFailed, match="ENOENT") as caught:
        guest.agent.run(["nonsense"])
    assert caught.value.status == 127


def test_a_failure_that_is_to_be_checked(guest: Machine) -> None:
    with pytest.raises(CommandFailed, match=r"cat /nowhere.*status 2: cat: /nowhere: No such"):
        guest.run("cat", "/nowhere")


def test_both_streams(guest: Machine) -> None:
    done = guest.run("child", "both", "100")
    assert done.stdout.splitlines() == [b"out %d" % n for n in range(100)]
    assert done.stderr.splitlines() == [b"err %d" % n for n in range(100)]


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 300_000])
def test_output_intact(guest: Machine, size: int) -> None:
    assert guest.run("child", "bytes", str(size)).stdout == pattern(size)


def test_arguments_and_environment_intact(guest: Machine) -> None:
    value = "".join(map(chr, range(1, 256))) + "~}\r\n \x7f"
    assert guest.agent.run(["child", "env"], env={"HPT_TEST": value}).text == value
    assert guest.agent.run(["child", "env"]).text == "unset"


def test_time(guest: Machine) -> None:
    done = guest.run("child", "sleep", "300")
    assert 0.3 <= done.seconds < 10


def test_several_at_once(guest: Machine) -> None:
    jobs = [guest.start_command("child", "bytes", str(20_000 + n)) for n in range(10)]
    slow = guest.start_command("child", "sleep", "500")
    for n, job in enumerate(jobs):
        assert job.wait().stdout == pattern(20_000 + n)
    assert slow.wait().status == 0


def test_more_than_it_can_do_at_once_is_refused(guest: Machine) -> None:
    jobs = [guest.start_command("child", "hang") for _ in range(32)]
    with pytest.raises(CommandFailed, match="EAGAIN"):
        guest.agent.run(["child", "exit", "0"])
    for job in jobs:
        job.kill(signal.SIGKILL)
    assert {job.wait().status for job in jobs} == {-signal.SIGKILL}
    assert guest.agent.run(["child", "exit", "0"]).status == 0


def test_lines_as_they_come_then_a_signal(guest: Machine) -> None:
    job = guest.start_command("child", "hang")
    assert job.line(10) == "hanging"
    assert job.running
    job.kill(signal.SIGTERM)
    assert job.wait(10).status == -signal.SIGTERM
    with pytest.raises(EOFError):
        job.line(1)


def test_too_long_is_killed_and_said(guest: Machine) -> None:
    start = time.monotonic()
    with pytest.raises(GuestHung, match=r"child hang.*not within 0\.5 s, and the guest lives"):
        guest.agent.run(["child", "hang"], timeout=0.5)
    assert time.monotonic() - start < 5
    guest.agent.ping()


def test_what_a_command_leaves_behind_does_not_keep_it(guest: Machine) -> None:
    done = guest.agent.run(["child", "linger", "7"], timeout=10)
    assert (done.status, done.text) == (7, "lingering")


def test_write_says_the_errno(guest: Machine) -> None:
    done = guest.agent.run(["write", "/tmp/nowhere", "text"])
    assert (done.text, done.status) == ("ENOENT", 2)
    done = guest.agent.run(["write", "/proc/sys/kernel/panic", "-1"])
    assert (done.text, done.status) == ("OK", 0)


def test_memory_under_check(guest: Machine) -> None:
    job = guest.start_command("memload", "--mb", "8", "--threads", "2")
    assert job.line(60).startswith("pass 1 wrong 0 pages ")
    assert job.line(60).startswith("pass 2 wrong 0 pages ")
    job.kill(signal.SIGTERM)
    done = job.wait(60)
    assert done.status == 0, done.stderr
    assert done.text.splitlines()[-1].startswith("done passes ")
