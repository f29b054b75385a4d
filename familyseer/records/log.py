# SPDX-License-Identifier: Apache-2.0
"""Read and append to a tuning log that survives being killed, torn and damaged."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from familyseer.errors import EnvironmentFailure, InvalidInputError, LogError
from familyseer.records.canonical import canonical_target
from familyseer.records.lines import encode_line
from familyseer.records.reading import LogContents, LogEntry, QuarantinedLine, check_regular, scan_log
from familyseer.records.values import FamiliesRecord, MeasureRecord, NetworkRecord, WorkloadRecord
from familyseer.task import TaskKey

__all__ = ["RecordLog"]

logger = logging.getLogger(__name__)

_SYNC_SECONDS = 1.0
_FREE_BYTES_TO_START = 1 << 20


class RecordLog:
    """One tuning log.

    `read` and `scan` take no lock and may run while another process writes.
    Writing needs `open_for_append`, or the object as a context manager, and is for one process at a time.
    The lock is the kernel's: it ends with the process, however that dies.

    Parameters
    ----------
    path
        The file. It need not exist; its folder is made when it is opened for writing.
    clock
        Seconds that never go back; tells when to force written lines to the disk.

    Examples
    --------
    >>> RecordLog("no-such-file.json").read().records
    ()
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = Path(path)
        self._clock = clock
        self._fd = -1
        self._known: set[tuple[TaskKey, str]] = set()
        self._networks: set[NetworkRecord] = set()
        self._synced_at = 0.0
        self._unsynced = False

    def scan(self) -> Iterator[LogEntry]:
        """Yield what each line holds, in file order and in constant memory.

        Raises
        ------
        LogError
            The path is a folder, the file cannot be read, is not a familyseer log, or is of a newer format version.
        """
        return scan_log(self.path)

    def read(self) -> LogContents:
        """Return everything in the log; nothing when the file is missing or empty.

        Raises
        ------
        LogError
            As `scan`.
        """
        workloads: dict[tuple[TaskKey, str], WorkloadRecord] = {}
        records: list[MeasureRecord] = []
        networks: dict[NetworkRecord, None] = {}
        families: list[FamiliesRecord] = []
        bad: list[QuarantinedLine] = []
        for entry in self.scan():
            if isinstance(entry, MeasureRecord):
                records.append(entry)
            elif isinstance(entry, WorkloadRecord):
                workloads.setdefault(_identity(entry), entry)
            elif isinstance(entry, NetworkRecord):
                networks[entry] = None
            elif isinstance(entry, FamiliesRecord):
                families.append(entry)
            else:
                bad.append(entry)
        return LogContents(
            workloads=tuple(workloads.values()),
            records=tuple(records),
            quarantined=tuple(line for line in bad if not line.torn),
            torn=any(line.torn for line in bad),
            networks=tuple(networks),
            families=tuple(families),
        )

    def open_for_append(self) -> LogContents:
        """Lock the log for writing, repair its end, and return what it holds.

        Raises
        ------
        LogError
            Another run is writing it, it cannot be written, or as `scan`.
        EnvironmentFailure
            The disk is full.
        """
        if self._fd >= 0:
            raise InvalidInputError(f"the log {str(self.path)!r} must be closed before it is opened again")
        fd = self._open()
        try:
            _lock(fd, self.path)
            contents = self.read()
            _repair_end(fd, torn=contents.torn)
            _check_space(fd, self.path)
        except OSError as err:
            os.close(fd)
            raise LogError(f"the log {str(self.path)!r} cannot be repaired: {err.strerror}") from err
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self._known = {_identity(workload) for workload in contents.workloads}
        self._networks = set(contents.networks)
        self._synced_at = self._clock()
        _open_logs.add(self)
        return contents

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                check_regular(self.path)
            return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as err:
            if err.errno in _DISK_FULL:
                raise _disk_full(self.path, err) from err
            raise LogError(
                f"the log {str(self.path)!r} cannot be written: {err.strerror}. Choose another file or its permissions."
            ) from err

    def add_network(self, network: NetworkRecord) -> bool:
        """Write what is tuned, unless the log has it; whether it was written.

        Raises
        ------
        EnvironmentFailure
            The disk is full or fails.
        """
        if network in self._networks:
            return False
        self._write(encode_line(network))
        self._networks.add(network)
        return True

    def add_workload(self, workload: WorkloadRecord) -> bool:
        """Write what rebuilds a task, unless the log has it for this target; whether it was written.

        Raises
        ------
        EnvironmentFailure
            The disk is full or fails.
        """
        identity = _identity(workload)
        if identity in self._known:
            return False
        self._write(encode_line(workload))
        self._known.add(identity)
        return True

    def append(self, record: MeasureRecord) -> None:
        """Write one measurement.

        Raises
        ------
        InvalidInputError
            The task's workload was not added before.
        EnvironmentFailure
            The disk is full or fails; everything written before is safe.
        """
        if (record.task, canonical_target(record.target)) not in self._known:
            raise InvalidInputError(
                f"`add_workload` must be called before measuring task {record.task!r} on its target"
            )
        self._write(encode_line(record))

    def add_families(self, families: FamiliesRecord) -> None:
        """Write a change of the partition.

        Raises
        ------
        EnvironmentFailure
            The disk is full or fails; everything written before is safe.
        """
        self._write(encode_line(families))

    def _write(self, line: bytes) -> None:
        self._check_open()
        end = os.fstat(self._fd).st_size
        try:
            if os.write(self._fd, line) != len(line):  # the disk filled up in the middle of the line
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as err:
            self._cut_back(end)
            raise _disk_full(self.path, err) from err
        self._unsynced = True
        if self._clock() - self._synced_at >= _SYNC_SECONDS:
            self.sync()

    def _cut_back(self, end: int) -> None:
        try:
            os.ftruncate(self._fd, end)
        except OSError:  # a torn end, which the next run repairs, if no more is written behind it
            logger.warning("the last line of %s is torn and could not be cut off", self.path)
            self._release()

    def sync(self) -> None:
        """Force everything written to the disk; without it, written lines survive the process but not a power cut.

        Raises
        ------
        EnvironmentFailure
            The disk fails.
        LogError
            The file was deleted while it was being written.
        """
        self._check_open()
        try:
            os.fsync(self._fd)
        except OSError as err:
            raise EnvironmentFailure(
                f"the log {str(self.path)!r} cannot be forced to the disk ({err.strerror}). "
                "What was measured in the last seconds may be missing from it; the rest is safe."
            ) from err
        self._synced_at = self._clock()
        self._unsynced = False
        if os.fstat(self._fd).st_nlink == 0:
            raise LogError(f"the log {str(self.path)!r} was deleted while it was being written")

    def _check_open(self) -> None:
        if self._fd < 0:
            raise InvalidInputError(f"the log {str(self.path)!r} must be opened for writing. Call `open_for_append`.")

    def close(self) -> None:
        """Force everything to the disk and let other runs write; closing twice is harmless."""
        try:
            if self._fd >= 0 and self._unsynced:
                self.sync()
        finally:
            self._release()

    def _release(self) -> None:
        fd, self._fd = self._fd, -1
        _open_logs.discard(self)
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> RecordLog:
        self.open_for_append()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


# A forked worker that outlives a killed run would keep the run's lock through the descriptor that it inherited.
_open_logs: weakref.WeakSet[RecordLog] = weakref.WeakSet()


def _close_in_child() -> None:
    for log in list(_open_logs):
        log._release()


os.register_at_fork(after_in_child=_close_in_child)

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _disk_full(path: Path, err: OSError) -> EnvironmentFailure:
    cause = "the disk is full" if err.errno in _DISK_FULL else "the disk fails"
    return EnvironmentFailure(
        f"the log {str(path)!r} cannot be written: {cause} ({err.strerror}). "
        "Everything measured before is safe in it; make room and run again to resume."
    )


def _identity(workload: WorkloadRecord) -> tuple[TaskKey, str]:
    return workload.task.key, canonical_target(workload.task.target)


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        raise LogError(
            f"another run is writing the log {str(path)!r}. Wait for it to end, or choose another file."
        ) from err
    except OSError as err:  # some network file systems have no locks
        logger.warning("%s cannot be locked (%s); let no two runs write it", path, err.strerror)


def _check_space(fd: int, path: Path) -> None:
    disk = os.fstatvfs(fd)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < _FREE_BYTES_TO_START:
        raise _disk_full(path, OSError(errno.ENOSPC, "less than 1 MiB is free"))


def _repair_end(fd: int, *, torn: bool) -> None:
    """Cut off a torn last line; end a whole last line that lacks its newline."""
    size = os.fstat(fd).st_size
    if torn:
        os.ftruncate(fd, _end_of_last_line(fd, size))
    elif size and os.pread(fd, 1, size - 1) != b"\n":
        os.write(fd, b"\n")


def _end_of_last_line(fd: int, size: int) -> int:
    """Return the offset just behind the last newline; 0 when there is none."""
    block = 1 << 16
    while size:
        start = max(0, size - block)
        found = os.pread(fd, size - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0
