"""Figures and the page; both are built from what is passed."""
