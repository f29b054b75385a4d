# SPDX-License-Identifier: Apache-2.0
"""Tune neural networks with Apache TVM: tasks are relatives, and what one learns serves its family.

Importing this package is instant and loads neither tvm nor xgboost; ``from familyseer import auto_scheduler`` loads the engine.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
