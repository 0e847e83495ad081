"""``python -m commonscale``: the ``commonscale`` command where scripts are not on the path."""

from commonscale.cli import main

main()
