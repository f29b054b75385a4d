# SPDX-License-Identifier: Apache-2.0
"""Model files: a zip archive of a JSON header and opaque bytes, written whole or not at all, and never executed."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from familyseer.errors import ModelFileError
from familyseer.files import write_atomically

__all__ = ["header_number", "read_model", "save_atomically", "write_model"]

_FORMAT = "familyseer-cost-model"
_VERSION = 1
_HEADER, _PAYLOAD = "header.json", "payload.bin"


def write_model(path: str | Path, kind: str, header: dict[str, Any], payload: bytes) -> None:
    """Write a model of `kind`; equal contents give equal bytes.

    Raises
    ------
    ModelFileError
        When the file cannot be written.
    """
    document = {"format": _FORMAT, "version": _VERSION, "kind": kind, **header}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        # A ZipInfo made by hand carries no time of writing.
        archive.writestr(zipfile.ZipInfo(_HEADER), json.dumps(document, sort_keys=True), zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(_PAYLOAD), payload, zipfile.ZIP_DEFLATED)
    save_atomically(Path(path), buffer.getvalue())


def read_model(path: str | Path, kind: str) -> tuple[dict[str, Any], bytes]:
    """Return header and payload of a file that `write_model` wrote for the same `kind`.

    Raises
    ------
    ModelFileError
        When the file cannot be read, is damaged, or is something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            header, payload = json.loads(archive.read(_HEADER)), archive.read(_PAYLOAD)
    except OSError as err:
        raise ModelFileError(f"model file {str(path)!r} cannot be read: {err.strerror or err}") from err
    except (zipfile.BadZipFile, zipfile.LargeZipFile, KeyError, ValueError, EOFError, RuntimeError, zlib.error) as err:
        raise ModelFileError(
            f"{str(path)!r} must be a cost model saved by familyseer; it is damaged or not one"
        ) from err
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ModelFileError(f"{str(path)!r} must be a cost model saved by familyseer; its header says it is not one")
    if header.get("version") != _VERSION:
        raise ModelFileError(
            f"{str(path)!r} must be a model file of version {_VERSION}; got {header.get('version')!r}. Train anew."
        )
    if header.get("kind") != kind:
        raise ModelFileError(f"{str(path)!r} must hold a model of kind {kind!r}; got kind {header.get('kind')!r}")
    return header, payload


def header_number(path: str | Path, header: dict[str, Any], name: str) -> int:
    """Return the whole number ≥ 0 that the header of a model file has under `name`."""
    value = header.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ModelFileError(f"{name!r} in the header of {str(path)!r} must be a whole number ≥ 0; got {value!r}")
    return value


def save_atomically(path: Path, content: bytes) -> None:
    """Write a file of a model whole or not at all; raises `ModelFileError` when it cannot be written."""
    try:
        write_atomically(path, content)
    except OSError as err:
        raise ModelFileError(f"model file {str(path)!r} cannot be written: {err.strerror or err}") from err
