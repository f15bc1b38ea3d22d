"""Tables of results as Markdown, LaTeX and CSV, with a footnote for every cell unlike the rest."""

import csv
import dataclasses
import io
import itertools
import string
from collections import Counter
from collections.abc import Iterable
from typing import Literal

OURS = "this package"
"""Source of numbers that were measured here."""
RANDOM = "random policy"
"""Column that is no method: it is never bold, and its footnotes are told apart."""

FIELDS = (
    *("table", "source", "task", "condition", "method", "mean", "sd", "iqm", "low", "high"),
    *("seeds", "episodes", "steps", "note"),
)
"""Columns of the CSV file."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One entry.

    Attributes:
        text: as printed, with ± and – where they belong.
        value: what the highest of a row is found by; none where nothing is compared.
        note: what stands behind the number; a note that differs from the others' is a footnote.
        uneven: the note is a footnote in any case.
        numbers: columns of the CSV file.
    """

    text: str
    value: float | None = None
    note: str = ""
    uneven: bool = False
    numbers: dict[str, object] = dataclasses.field(default_factory=dict)


Row = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: short name, for the CSV file and LaTeX's label.
        source: whose numbers they are.
        title: heading.
        caption: how to read it.
        heads: names of the two columns that name a row.
        rows: names of the rows.
        columns: names of the other columns.
        cells: by row and column; what is not there is a dash.
        bold: print the highest value of each row in bold.
        across: what the columns name in the CSV file; the rows name the other.
    """

    name: str
    source: str
    title: str
    caption: str
    heads: tuple[str, str]
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[Row, str], Cell]
    bold: bool = False
    across: Literal["method", "condition"] = "method"

    def explained(self) -> tuple[str, dict[str, str]]:
        """The caption with what most cells have in common, and the letter of each other note."""
        caption, letters = self.caption, {}
        for who, random in (("Unless marked", False), ("Random policy unless marked", True)):
            cells = [c for (_, column), c in self.cells.items() if (column == RANDOM) is random]
            even = Counter(c.note for c in cells if c.note and not c.uneven).most_common(1)
            common = even[0][0] if even else ""
            caption += f" {who}: {common}." * bool(even)
            for note in (cell.note for cell in cells):
                if note not in ("", common):
                    letters.setdefault(note, _letter(len(letters)))
        return caption, letters

    def lines(self, strong: str, slanted: str) -> tuple[list[list[str]], list[str]]:
        """Texts of all rows, and the footnotes.

        Args:
            strong: format of a bold text, for example ``**{}**``.
            slanted: format of italics, in which numbers stand that are not ours.
        """
        _, letters = self.explained()
        lines, before = [], None
        for row in self.rows:
            entries = {column: self.cells.get((row, column)) for column in self.columns}
            values = [
                cell.value
                for column, cell in entries.items()
                if cell and cell.value is not None and column != RANDOM
            ]
            texts = []
            for column, cell in entries.items():
                text = cell.text if cell else "–"
                if cell and self.source != OURS:
                    text = slanted.format(text)
                if self.bold and len(values) > 1 and cell and column != RANDOM:
                    text = strong.format(text) if cell.value == max(values) else text
                if cell and cell.note in letters:
                    text += f" ({letters[cell.note]})"
                texts.append(text)
            lines.append(["" if row[0] == before else row[0], row[1], *texts])
            before = row[0]
        return lines, [f"({letter}) {note}." for note, letter in letters.items()]


def _letter(index: int) -> str:
    letters = string.ascii_lowercase
    return letters[index % len(letters)] * (index // len(letters) + 1)


def markdown(table: Table) -> str:
    """A heading, the caption, the table and its footnotes."""
    lines, notes = table.lines("**{}**", "*{}*")
    rules = ["---", "---", *("---:" for _ in table.columns)]
    rows = [[*table.heads, *table.columns], rules, *lines]
    body = [f"| {' | '.join(row)} |" for row in rows]
    parts = [f"## {table.title}", table.explained()[0], "\n".join(body)]
    return "\n\n".join(parts + ["\n".join(f"- {note}" for note in notes)] * bool(notes))


def latex(table: Table) -> str:
    """A floating table; it needs the package booktabs."""
    lines, notes = table.lines("\\textbf{{{}}}", "\\textit{{{}}}")
    head = [*table.heads, *table.columns]
    caption = _escape(f"{table.title}. {table.explained()[0]}")
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{caption}}}",
            f"\\label{{tab:{table.name}}}",
            f"\\begin{{tabular}}{{ll{'r' * len(table.columns)}}}",
            "\\toprule",
            f"{_escape(' & '.join(head))} \\\\",
            "\\midrule",
            *(f"{_escape(' & '.join(row))} \\\\" for row in lines),
            "\\bottomrule",
            "\\end{tabular}",
            *(f"\\par {_escape(note)}" for note in notes),
            "\\end{table}",
        ]
    )


def _escape(text: str) -> str:
    signs = {"±": "$\\pm$", "–": "--", "×": "$\\times$", "_": "\\_", "%": "\\%", "#": "\\#"}
    return text.translate(str.maketrans(signs))


def records(tables: Iterable[Table]) -> str:
    """All numbers as CSV, one a line, with the columns ``FIELDS``."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row, column in itertools.product(table.rows, table.columns):
            cell = table.cells.get((row, column))
            if cell and cell.value is not None:
                down = "condition" if table.across == "method" else "method"
                names = {"task": row[0], down: row[1], table.across: column}
                names |= {"table": table.name, "source": table.source, "note": cell.note}
                writer.writerow(names | cell.numbers)
    return file.getvalue()
