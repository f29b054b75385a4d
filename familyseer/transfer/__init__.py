# SPDX-License-Identifier: Apache-2.0
"""Transfer: schedules of one task, rescaled to start the search of another. Pure arithmetic, no TVM."""

from familyseer.transfer.choices import Choice, Choices, Option, Tile, neighbours, transferred
from familyseer.transfer.copies import copies
from familyseer.transfer.donors import Donor, DonorPool, Seed, Sketch
from familyseer.transfer.experience import Experience, Hope, Tried
from familyseer.transfer.factors import kept, scaled
from familyseer.transfer.search import Proposal, propose
from familyseer.transfer.vectors import Vectors, untried_vectors, vector_places

__all__ = [
    "Choice",
    "Choices",
    "Donor",
    "DonorPool",
    "Experience",
    "Hope",
    "Option",
    "Proposal",
    "Seed",
    "Sketch",
    "Tile",
    "Tried",
    "Vectors",
    "copies",
    "kept",
    "neighbours",
    "propose",
    "scaled",
    "transferred",
    "untried_vectors",
    "vector_places",
]
