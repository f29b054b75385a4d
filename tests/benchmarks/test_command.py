# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks' command lines have in common."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.command import exit_status, require_file, require_folder
from benchmarks.machine import command, commit
from familyseer.errors import InvalidInputError


def refuse():
    """Be told to do what cannot be done."""
    raise InvalidInputError("`--x` must be 1; got 2")


def test_exit_statuses(capsys):
    """0 when all went well, what the command says, 2 when it was refused."""
    assert [exit_status(lambda: None), exit_status(lambda: 1), exit_status(refuse)] == [0, 1, 2]
    assert capsys.readouterr().err == "error: `--x` must be 1; got 2\n"


def test_the_folder_of_a_file_is_made(tmp_path):
    """And nothing is left in it."""
    require_file("--out", tmp_path / "a" / "b" / "x.json")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_an_existing_file_stays_as_it_is(tmp_path):
    """It may hold results to go on from."""
    (tmp_path / "x.json").write_text("{}")
    require_file("--out", tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text() == "{}"


def test_what_cannot_be_written_is_refused(tmp_path):
    """A folder as a file, a file as a folder."""
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match=r"`--out` must name a file; .* is a folder"):
        require_file("--out", tmp_path)
    with pytest.raises(InvalidInputError, match="`--out` must lead to a folder that can be written"):
        require_file("--out", tmp_path / "file" / "x.json")
    with pytest.raises(InvalidInputError, match="`--records` must lead to a folder that can be written"):
        require_folder("--records", tmp_path / "file")


def test_a_command_names_no_folder_of_the_machine(tmp_path, monkeypatch):
    """A path in the repository stays, of another only the name is told."""
    arguments = ["results/a.json", str(tmp_path / "b.json"), "--trials", "8"]
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    assert command().endswith(" results/a.json b.json --trials 8")


def test_changed_code_is_told(tmp_path):
    """New results and measured tables are no change of the code; a changed or new file of it is."""

    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "familyseer").mkdir()
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    code, results = tmp_path / "familyseer" / "code.py", tmp_path / "benchmarks" / "results" / "x.json"
    for file in (code, results):
        file.write_text("1")
    assert commit(tmp_path) == "unknown"
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    clean = commit(tmp_path)
    assert len(clean) >= 7
    results.write_text("2")
    (tmp_path / "benchmarks" / "data").mkdir()
    (tmp_path / "benchmarks" / "data" / "table.npz").write_text("1")
    assert commit(tmp_path) == clean
    code.write_text("2")
    assert commit(tmp_path) == f"{clean}-dirty"
