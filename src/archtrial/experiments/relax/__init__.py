"""What is the convolutional prior worth, and when?

A CNN is turned, at some moments of its training, into its exact fully connected
equivalent and trained on (d'Ascoli et al. 2019, arXiv 1906.06766).
"""
