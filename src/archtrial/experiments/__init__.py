"""The field's sharpest experiments on anybody's data, one folder each."""
