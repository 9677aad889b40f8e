"""`python -m archtrial` is `archtrial`, also where no script is on the path."""

from archtrial.cli import main

main()
