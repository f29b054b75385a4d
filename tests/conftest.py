# SPDX-License-Identifier: Apache-2.0
"""What all tests share."""

from hypothesis import settings

settings.register_profile("shared machine", deadline=None)  # a neighbour's load fails no property
settings.load_profile("shared machine")
