from torch.nn import Linear as L

__all__ = ["L"]
