from torch.nn import Linear as L  # noqa: N817 - as public code has it

__all__ = ["L"]
