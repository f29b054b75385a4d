# SPDX-License-Identifier: Apache-2.0
"""The file beside TVM's log: what is written comes back, and what is damaged in it is never fatal."""

from __future__ import annotations

from pathlib import Path

import pytest
import tvm

from familyseer.ansor.journal import History, Journal, journal_of, read_history, target_text
from familyseer.ansor.resume import open_journal
from familyseer.families.partition import Partition
from familyseer.families.tracking import PartitionChange

TARGET = '{"kind":"c","text":"c -keys=cpu "}'
POLICY = "sketch.xgb.family_op"
CHANGE = PartitionChange(partition=Partition(families=(("dense", ("a", "b")),)), reason="because")


@pytest.fixture
def log(tmp_path) -> Path:
    """Return a log that is not empty."""
    path = tmp_path / "log.json"
    path.write_text("some record\n")
    return path


def written(log: Path) -> Journal:
    """Return a journal with two rounds of task a, the second with a change of families, and one of b."""
    journal = Journal(log, target=TARGET, policy=POLICY)
    journal.begin("a")
    journal.end(4)
    journal.begin("b")
    journal.end(2)
    journal.begin("a")
    journal.record(CHANGE)
    journal.end(3)
    return journal


def test_what_is_written_comes_back(log):
    """Ends of rounds as trials of the task, changes with their round; of this target and policy only."""
    written(log)
    found = read_history(journal_of(log), TARGET)

    assert journal_of(log).name == "log.json.families"
    assert found.ends == {"a": {4, 7}, "b": {2}}
    [(place, change)] = found.changes(POLICY).items()
    assert (place, change.families, change.reason) == (("a", 1), (("dense", ("a", "b")),), "because")
    assert found.changes("sketch.xgb.family_task") is None
    assert read_history(journal_of(log), '{"kind":"llvm","text":"llvm"}') == History()
    assert target_text(tvm.target.Target("c")) == TARGET


def test_damaged_lines_are_left_out(log, caplog):
    """A torn end, strangers, rounds that are none, lines of a later version."""
    written(log)
    with journal_of(log).open("ab") as file:
        file.write(
            b'[1]\n\xff\n{"v":1,"kind":"round","task":"a"}\n{"v":9,"kind":"round"}\n{"v":9,"kind":"families"}\n{"v":1,'
        )
    found = read_history(journal_of(log), TARGET)

    assert found.ends == {"a": {4, 7}, "b": {2}}
    assert len(found.families) == 1
    assert "log.json.families: 6 damaged lines are left out" in caplog.text


def test_a_journal_goes_on(log):
    """After a torn line, and an end that was not written; counts and rounds are those of the log."""
    written(log)
    with journal_of(log).open("ab") as file:
        file.write(b'{"v":1,')
    journal = Journal(log, target=TARGET, policy=POLICY)
    journal.open()
    known = read_history(journal_of(log), TARGET).ends
    for key, count in [("a", 4), ("b", 2), ("a", 3), ("b", 5)]:
        journal.begin(key)
        journal.end(count, known=known[key])
    journal.record(CHANGE)
    journal.begin("b")
    journal.end(1)
    found = read_history(journal_of(log), TARGET)

    assert found.ends == {"a": {4, 7}, "b": {2, 7, 8}}
    assert [(change.task, change.round) for change in found.families] == [("a", 1), ("b", 1)]
    assert len(journal_of(log).read_text().splitlines()) == 4 + 1 + 3


def test_the_journal_of_a_log_that_is_gone_goes(log):
    """A new log of the same name has other rounds."""
    written(log)
    log.write_text("")
    Journal(log, target=TARGET, policy=POLICY).open()

    assert not journal_of(log).exists()
    assert read_history(journal_of(log), TARGET) == History()


def test_a_place_that_cannot_be_written_ends_no_run(log, caplog):
    """A folder in the journal's place."""
    journal_of(log).mkdir()
    journal = written(log)
    journal.open()

    assert read_history(journal_of(log), TARGET) == History()
    assert "cannot be written: Is a directory" in caplog.text
    assert "cannot be read (Is a directory): families are decided anew" in caplog.text


def test_a_journal_is_of_the_log_that_has_the_whole_run(log, tmp_path):
    """That which a run goes on from and writes, or a new one; none beside a log that has other lines than the run."""
    other = str(tmp_path / "new.json")

    def found(load, written) -> list[str]:
        journal = open_journal(load, written, target=TARGET, policy=POLICY)
        journal.begin("a")
        journal.end(1)
        names = [path.name for path in tmp_path.glob("*.families")]
        for name in names:
            (tmp_path / name).unlink()
        return names

    assert found(log, []) == found(log, [str(log)]) == found(str(log), [other, str(log)]) == ["log.json.families"]
    assert found(None, [other]) == found(None, [str(log), other]) == ["new.json.families"]
    assert found(log, [other]) == found(None, [str(log)]) == found(None, []) == []
