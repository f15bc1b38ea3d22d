"""Results in the documents say what they were made of."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SECTIONS = [("README.md", "Results"), ("docs/results/README.md", "The demo")]


COMMIT = r"`[0-9a-f]{7,40}`"


def sections(path: pathlib.Path) -> dict[str, str]:
    """What stands under each heading of the second level."""
    parts = re.split(r"^## (.*)$", path.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def told(text: str) -> list[str]:
    """For each table of numbers the text since the table before, or since the heading."""
    blocks = re.split(r"((?:^\|.*\n)+)", text, flags=re.MULTILINE)
    return [
        before
        for before, table in zip(blocks[::2], blocks[1::2], strict=False)
        if re.search(r"\| *\**\d", table)
    ]


def names_its_making(text: str) -> bool:
    """Whether a text has a commit in backticks and the seeds."""
    return bool(re.search(COMMIT, text) and re.search(r"\bseeds? \d", text))


@pytest.mark.parametrize(("path", "title"), SECTIONS)
def test_a_table_of_results_names_commit_and_seeds(path, title):
    texts = told(sections(ROOT / path)[title])
    assert texts, f"no table of numbers under {title!r} of {path}"
    for text in texts:
        assert names_its_making(text), f"{path}, {title}: no commit or no seeds in {text!r}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs/results").rglob("README.md")), ids=lambda path: path.parent.name
)
def test_numbers_of_every_section_follow_a_commit(path):
    for title, text in sections(path).items():
        if texts := told(text):
            assert re.search(COMMIT, texts[0]), f"{path}, {title}: of which commit?"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Seeds are many, commit `f1b7b5e`.", False),
        ("Commit `f1b7b5e`, seeds 0, 1 and 2.", True),
        ("Commit `f1b7b5`, seed 0.", False),
        ("Commit f1b7b5e, seed 0.", False),
    ],
)
def test_the_rule_itself(text, found):
    assert names_its_making(text) is found
    table = "\n| none | high |\n|---|---|\n| 877 | 713 |\n"
    assert told(text + table + "more\n| what | where |\n|---|---|\n| a | b |\n") == [text + "\n"]
