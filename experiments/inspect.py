"""Tells what is in data: python -m experiments.inspect --data F."""

import dataclasses
import pathlib
import re
from typing import Annotated, Any

import tyro
from rich.console import Console

from experiments.command_line import explain
from experiments.evaluation.rollout import write_json
from experiments.imitation import sheet
from experiments.imitation.data import told_of
from experiments.imitation.summary import Summary, show
from mummi.imitation.demonstrations import Reading, find_format


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Tells what is in demonstrations of any format, and reads all of them while it does.

    Attributes:
        data: file or folder of demonstrations.
        reading: how they are read.
        json: file to write what the tables say to.
        pictures: folder to write a picture of each demonstration to.
    """

    data: str
    reading: Annotated[Reading, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Reading)
    json: str = ""
    pictures: str = ""


def inspect(arguments: Arguments) -> dict[str, Any]:
    """Reads all demonstrations, writes what is asked for, and returns what they hold.

    Raises:
        FileNotFoundError: there are no data.
        ValueError: the data are of no format or damaged.
    """
    console, path = Console(), pathlib.Path(arguments.data)
    form = find_format(path)
    with form.open(path, arguments.reading) as data, console.status("reading") as status:
        with told_of(arguments.data):
            summary = Summary(arguments.data, form.name, data, arguments.reading.depth)
        for number, name in enumerate(data.names):
            status.update(f"reading {number + 1} of {len(data)}: {name}")
            demonstration = data[number]
            summary.add(name, demonstration)
            if arguments.pictures:
                file = re.sub(r"[^\w.+-]+", "-", name) + ".png"
                place = pathlib.Path(arguments.pictures) / file
                sheet.write(place, name, demonstration, data.modalities)
    with told_of(arguments.data):
        found = summary.to_dict()
    show(found, console)
    if arguments.pictures:
        console.print(f"pictures: {arguments.pictures}")
    if arguments.json:
        write_json(pathlib.Path(arguments.json), found)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and tells."""
    with explain():
        inspect(tyro.cli(Arguments, prog="python -m experiments.inspect", args=arguments))


if __name__ == "__main__":
    main()
