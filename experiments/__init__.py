"""The commands of this package, ``python -m experiments.NAME``."""

from experiments.runtime.allocation import restart_with_huge_pages

# Here, before a command imports what takes seconds.
restart_with_huge_pages()
