# SPDX-License-Identifier: Apache-2.0
"""Every error that familyseer raises on purpose.

::

    FamilySeerError
    ├── InvalidInputError (ValueError)    an argument, option or model is not what was expected
    ├── UnsupportedError (NotImplementedError)
    │                                     the engine cannot honour what was asked; says what to use instead
    ├── LogError (ValueError)             a tuning log cannot be used as it is
    ├── ModelFileError (ValueError)       a cost-model file cannot be used as it is
    ├── StoreError (ValueError)           a store cannot be used as it is
    └── EnvironmentFailure (RuntimeError) compiler, device, worker or disk does not work at all

A candidate that fails to build or run is not an error but data: see `familyseer.measure`.
"""

from __future__ import annotations

__all__ = [
    "EnvironmentFailure",
    "FamilySeerError",
    "InvalidInputError",
    "LogError",
    "ModelFileError",
    "StoreError",
    "UnsupportedError",
]


class FamilySeerError(Exception):
    """Base of all errors that familyseer raises on purpose."""


class InvalidInputError(FamilySeerError, ValueError):
    """An argument, option or model is not what was expected."""


class UnsupportedError(FamilySeerError, NotImplementedError):
    """The engine cannot honour what was asked; the message says what to use instead."""


class LogError(FamilySeerError, ValueError):
    """A tuning log cannot be used as it is."""


class ModelFileError(FamilySeerError, ValueError):
    """A cost-model file cannot be used as it is."""


class StoreError(FamilySeerError, ValueError):
    """A store of what earlier runs learnt cannot be used as it is."""


class EnvironmentFailure(FamilySeerError, RuntimeError):
    """The compiler, the device, the workers or the disk do not work at all."""
