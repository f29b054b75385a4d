# SPDX-License-Identifier: Apache-2.0
"""The engine on ``tvm.s_tir.meta_schedule``: the only part of the package that imports tvm."""
