# SPDX-License-Identifier: Apache-2.0
"""Construction of the networks of `familyseer.networks` with `tvm.relax.frontend.nn`."""

from familyseer.meta_schedule.zoo.construction import build, parameter_count

__all__ = ["build", "parameter_count"]
