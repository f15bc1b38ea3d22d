"""Says which printed results are older than the code they speak of: python -m experiments.results.

Every section of measured numbers is an entry of docs/results/manifest.yaml: where it stands, what
makes it, at which commit that was run, how many core-hours it takes, and the code that it speaks
of.
"""

import dataclasses
import pathlib

import tyro
from rich.console import Console
from rich.table import Table

from experiments.command_line import explain
from experiments.report import manifest

SHOWN = 3
"""Changed files that are named beside a section."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Lists every measured section, and which code has changed since it was measured.

    Comments, docstrings and formatting are no change. Where the changes were read and no number
    depends on them, an entry says so by ``read``: up to which commit, and why.

    Attributes:
        manifest: the entries; paths in it are relative to the repository that it stands in.
        check: end with status 1 where a section is older than its code.
    """

    manifest: str = "docs/results/manifest.yaml"
    check: bool = False


def results(arguments: Arguments) -> bool:
    """Prints the list; returns whether every section is as new as its code.

    Raises:
        FileNotFoundError, ValueError: the manifest, or what it names, is not as it should be.
    """
    path = pathlib.Path(arguments.manifest).resolve()
    entries = manifest.load(path)
    root = pathlib.Path(manifest.git(path.parent, "rev-parse", "--show-toplevel").strip())
    table = Table(title=str(arguments.manifest))
    for column in ("section", "commit", "hours", "changed since"):
        table.add_column(column, overflow="fold")
    older = []
    for entry in entries:
        manifest.check_section(entry, root)
        manifest.check_run(entry, root)
        files = manifest.changed(root, entry.since, entry.code)
        older += [entry] if files else []
        more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        state = f"[yellow]{', '.join(files[:SHOWN])}{more}" if files else "[green]nothing"
        table.add_row(entry.section, entry.commit, f"{entry.hours:g}", state)
    console = Console()
    console.print(table)
    hours, total = (sum(entry.hours for entry in some) for some in (older, entries))
    console.print(f"{len(older)} of {len(entries)} are older: {hours:g} of {total:g} core-hours")
    return not older


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, lists and checks."""
    with explain():
        given = tyro.cli(Arguments, prog="python -m experiments.results", args=arguments)
        if not results(given) and given.check:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
