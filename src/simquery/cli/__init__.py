"""The command line: thin commands on top of `simquery.case`."""
