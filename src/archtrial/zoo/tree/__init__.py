"""The family tree: where each family comes from, and which variants it has, a row each.

A variant's options are the function's defaults under another name, and can be
overridden like these. Sizes are parameters, counted by a test.
"""

from archtrial.zoo.tree import classic, first, modern, residual, sequences, tables

__all__ = ["classic", "first", "modern", "residual", "sequences", "tables"]
