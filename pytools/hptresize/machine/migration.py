# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration: the guest goes on in another machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from hptresize.base.errors import (
    MigrationFailed,
)
from hptresize.machine.running import RunningGuest

DOWNTIME_MS = 2000


class Migration(RunningGuest):
    """A guest that can move to another machine."""

    def migrate_to(
        self,
        target: RunningGuest,
        *,
        during: Callable[[], None] | None = None,
        timeout: float = 60.0,
    ) -> None:
        """Migrate the running guest to another machine, live; its commands go on there.

        This machine has ended afterwards.

        :param target: a started machine whose configuration says ``incoming``.
        :param during: called while the guest's memory is being sent.
        :param timeout: seconds.
        :raises MigrationFailed: the guest is still here, and runs.
        :raises QemuDied, GuestPanicked, GuestHung: something else went wrong.
        """
        capabilities = [{"capability": "events", "state": True}]
        self.qmp("migrate-set-capabilities", capabilities=capabilities)
        # A guest that writes to its memory all the time has to be stopped for the rest.
        self.qmp("migrate-set-parameters", downtime_limit=DOWNTIME_MS)
        with tempfile.TemporaryDirectory(prefix="hptresize-") as name:
            uri = f"unix:{name}/migrate"
            target.qmp("migrate-incoming", uri=uri)
            self._watch.forget_events()
            self.qmp("migrate", uri=uri)
            if during is not None:
                self.wait_event("MIGRATION", timeout, status="active")
                during()
            self._wait_migrated(timeout)
        target.wait_event("RESUME", timeout)
        target.agent.adopt(self.agent)
        # What is left here is a guest that must never run again.
        self.qmp("quit")
        self._running().wait_ended(timeout)

    def _wait_migrated(self, timeout: float) -> None:
        def ended() -> bool:
            return any(
                event["event"] == "MIGRATION" and event["data"]["status"] in ("completed", "failed")
                for event in self._watch.events
            )

        self._watch.wait(ended, timeout, "the end of the migration")
        if self.qmp("query-migrate")["status"] != "completed":
            said = self.qemu_stderr.strip().splitlines()
            raise MigrationFailed(
                "the migration failed: " + (said[-1] if said else "no reason given")
            )
