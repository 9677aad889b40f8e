"""Figures and the page; both are built from what is passed.

page.render(evidence)                       one self-contained HTML file
figures.draw("tuning_curves", evidence)     one figure of it
"""

from archtrial.report.evidence import Evidence

__all__ = ["Evidence"]
