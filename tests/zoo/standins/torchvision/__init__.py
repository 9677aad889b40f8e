"""Stands in for torchvision where it is not installed."""

from torchvision import models

__version__ = "0.99.0"
__all__ = ["models"]
