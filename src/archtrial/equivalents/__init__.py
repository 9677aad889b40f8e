"""A convolutional network's equivalents: fully connected, or locally connected."""
