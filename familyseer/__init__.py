# SPDX-License-Identifier: Apache-2.0
"""Tune neural networks with Apache TVM: tasks are relatives, and what one learns serves its family.

Importing this package is instant and loads neither tvm nor xgboost; ``from familyseer import auto_scheduler`` loads the engine.
"""

__all__ = ["__version__", "register", "unregister"]

__version__ = "0.1.0"


def register() -> None:
    """Let the installed TVM's own API understand familyseer's policy names, see `familyseer.engines.register`."""
    from familyseer import engines

    engines.register()


def unregister() -> None:
    """Undo `register`."""
    from familyseer import engines

    engines.unregister()
