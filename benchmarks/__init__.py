# SPDX-License-Identifier: Apache-2.0
"""Commands that measure what the README claims; run them from the root of the repository."""
