"""Synthetic sweeps from seeded generators, labelled synthetic."""

from scaling.data.samples.levels import levels, write

__all__ = ["levels", "write"]
