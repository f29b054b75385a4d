# SPDX-License-Identifier: Apache-2.0
"""Raw results come back as they were written, and what is not results of the benchmark is refused."""

from __future__ import annotations

import pytest

from benchmarks import raw
from benchmarks.machine import with_contributor
from familyseer.errors import InvalidInputError

PARTS = {"settings": dict, "runs": list}


def test_results_come_back(tmp_path):
    """The folder is made."""
    path = tmp_path / "new" / "a.json"
    raw.write(path, {"settings": {"trials": 8}, "runs": [1.5, None]})
    assert path.read_text() == '{"settings":{"trials":8},"runs":[1.5,null]}\n'
    assert raw.load(path, "benchmarks.x", PARTS) == {"settings": {"trials": 8}, "runs": [1.5, None]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "can't decode"),
        (b"[]", "it holds a list"),
        (b'{"settings": {}}', "`runs` is not there or no list"),
        (b'{"settings": [], "runs": []}', "`settings` is not there or no dict"),
    ],
)
def test_anything_else_is_refused(tmp_path, content, message):
    """One sentence says what was expected and what is wrong."""
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=f"must be results of `python -m benchmarks.x`; .*{message}"):
        raw.load(path, "benchmarks.x", PARTS)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """With its name."""
    with pytest.raises(InvalidInputError, match=r"none\.json must be results of"):
        raw.load(tmp_path / "none.json", "benchmarks.x", PARTS)


def test_results_of_another_machine_are_refused(tmp_path):
    """The first difference is named, also where one side lacks it."""
    raw.require_equal(tmp_path, "machine", {"cpu": "znver4"}, {"cpu": "znver4"})
    with pytest.raises(InvalidInputError, match="another machine: cpu is 'znver4' there and 'znver3' here"):
        raw.require_equal(tmp_path, "machine", {"cpu": "znver4"}, {"cpu": "znver3"})
    with pytest.raises(InvalidInputError, match="another setting: rounds is 3 there and None here"):
        raw.require_equal(tmp_path, "setting", {"rounds": 3}, {})


def test_results_that_name_their_command_with_their_machine_can_be_gone_on_with():
    """As those of `benchmarks.search_quality` were written at first."""
    there = {"machine": {"commit": "abc", "command": "python -m x"}}
    found = with_contributor(there, {"commit": "def", "command": "python -m y"})
    assert found["commands"] == ["python -m x", "python -m y"]
