# SPDX-License-Identifier: Apache-2.0
"""Models that guess from features how fast a program will be; loading this package does not load xgboost."""

from __future__ import annotations

from familyseer.cost_model.bank import BankLoad, ModelBank, Serving
from familyseer.cost_model.base import CostModel
from familyseer.cost_model.pack_sum import PackSumXGBModel
from familyseer.cost_model.prequential import RunningScores
from familyseer.cost_model.random_model import RandomCostModel
from familyseer.cost_model.xgb import XGBCostModel

__all__ = [
    "BankLoad",
    "CostModel",
    "ModelBank",
    "PackSumXGBModel",
    "RandomCostModel",
    "RunningScores",
    "Serving",
    "XGBCostModel",
]
