# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells on a cluster that Dask distributed runs, instead of on this machine alone.

A cell goes there with the files that it is made of and comes back with its directory,
so the machines share nothing. What a lost worker ran or had is run again elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import tarfile
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import distributed
from distributed import KilledWorker, get_worker

from hptresize.base.errors import MachineError, UsageError
from hptresize.matrix.hub import ENDED, WAITING, Event
from hptresize.matrix.runner import run_cell
from hptresize.matrix.tasks import PATHS, Limits, Task
from hptresize.matrix.verdict import CellOutcome, read

TOPIC = "hptresize"
LOCAL = "local"
# A worker that has so much of this takes a cell that needs it; one that says nothing takes any.
MEMORY = "MB"
CONNECT_S = 5
# Typed in parts only
_make: Any = distributed


def run_remote(task: dict[str, Any], files: Mapping[str, tuple[str, bytes]]) -> bytes:
    """Run a cell on a worker.

    :param task: as :meth:`Task.as_dict` tells it.
    :param files: for each path of the task the digest and the contents.
    :returns: the cell's directory as a tar archive.
    """
    worker = get_worker()
    store = Path(worker.local_directory) / "files"
    made = Task.of(task | {name: _keep(store, *sent) for name, sent in files.items()})
    # In the worker's own directory, which goes with it even if it is killed.
    with tempfile.TemporaryDirectory(dir=worker.local_directory) as scratch:
        where = Path(scratch) / made.id
        run_cell(made, where, lambda what: worker.log_event(TOPIC, [made.id, what]))
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            tar.add(where, made.id)
        return packed.getvalue()


def _keep(store: Path, digest: str, data: bytes) -> Path:
    """Have a file that was sent on the worker's disk, once."""
    path = store / digest
    if not path.is_file():
        store.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=store, delete=False) as out:
            out.write(data)
        made = Path(out.name)
        made.chmod(0o755)
        made.rename(path)
    return path


def _with_digest(data: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(data).hexdigest(), data


class Cluster:
    """Runs cells on a cluster; all of them are handed over at once.

    :param client: connected to the scheduler.
    :param event: is told what cells do.
    """

    def __init__(self, client: Any, tasks: list[Task], event: Event) -> None:
        self._client = client
        self._event = event
        self._files: dict[Path, Any] = {}
        client.subscribe_topic(TOPIC, self._said)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        self._sized = any(MEMORY in one["resources"] for one in workers)
        self._futures = {task.id: self._submit(task) for task in tasks}

    def _said(self, event: tuple[float, tuple[str, str]]) -> None:
        self._event(*event[1])

    def _submit(self, task: Task) -> Any:
        self._event(task.id, WAITING)
        files = {name: self._file(path) for name in PATHS if (path := getattr(task, name))}
        need = {MEMORY: task.memory_mb} if self._sized else None
        # Not pure: the same cell may end in another way the next time.
        return self._client.submit(run_remote, task.as_dict(), files, resources=need, pure=False)

    def _file(self, path: Path) -> Any:
        """A file as a result of the cluster: a copy that is lost is made again."""
        if path not in self._files:
            with warnings.catch_warnings():
                # A kernel of 9 MB in the graph is meant.
                warnings.filterwarnings("ignore", "Sending large graph")
                self._files[path] = self._client.submit(_with_digest, path.read_bytes())
        return self._files[path]

    def fetch(self, name: str, where: Path) -> CellOutcome:
        """Wait for a cell and unpack its directory.

        :param where: gets it, by the name of the cell.
        :raises MachineError: its workers were lost too often.
        """
        try:
            packed = cast(bytes, self._futures[name].result())
        except KilledWorker as err:
            raise MachineError(f"the workers that ran {name} were lost: {err}") from err
        finally:
            self._event(name, ENDED)
        shutil.rmtree(where / name, ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
            # Python of Debian 12 knows no filter yet, and a worker is trusted with more than this.
            tar.extractall(where)
        done = read(where / name)
        assert done is not None
        return done


@contextmanager
def connected(address: str, limits: Limits, tasks: list[Task], event: Event) -> Iterator[Cluster]:
    """Hand the tasks over to a cluster.

    :param address: of its scheduler, or "local": workers on this machine, within the limits.
    :raises UsageError: there is no scheduler.
    """
    with ExitStack() as stack:
        where: Any = address
        if address == LOCAL:
            logging.getLogger("distributed").setLevel(logging.ERROR)
            scratch = stack.enter_context(
                # A worker that is just dying may still write there.
                tempfile.TemporaryDirectory(prefix="hptresize-", ignore_cleanup_errors=True)
            )
            where = stack.enter_context(
                _make.LocalCluster(
                    n_workers=limits.cpus, threads_per_worker=1, dashboard_address=":0",
                    resources={MEMORY: limits.memory_mb // limits.cpus}, local_directory=scratch,
                )
            )  # fmt: skip
        yield Cluster(stack.enter_context(_client(where)), tasks, event)


def _client(where: Any) -> Any:
    # It tells of each connection.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    try:
        return _make.Client(where, timeout=CONNECT_S)
    except (OSError, ValueError) as err:
        raise UsageError(f"no scheduler at {where}: {err}", hint="see --cluster") from err


def check(address: str) -> None:
    """Check that there is a cluster before anything is built for it.

    :raises UsageError: there is none.
    """
    if address != LOCAL:
        _client(address).close()
