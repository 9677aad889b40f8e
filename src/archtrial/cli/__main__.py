"""What `python -m archtrial.cli` runs."""

from archtrial.cli import main

main()
