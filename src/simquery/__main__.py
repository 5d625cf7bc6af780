"""``python -m simquery``: the same as the ``simquery`` command."""

from simquery.cli.main import main

main()
