"""The manifest of results: what it must say, and which code counts as changed."""

import pathlib
import subprocess

import pytest
import yaml

from experiments import results
from experiments.report import manifest

ROOT = pathlib.Path(__file__).parents[2]
FIRST = '''"""A module."""


def double(x):
    """Twice x."""
    return 2 * x  # by a product
'''
SAME = '''"""Another text."""
def double(x):
    return (2 *
            x)
'''
OTHER = FIRST.replace("2 * x", "x * 3")
PAGE = "# Results\n\n## How it runs, *fast*\n\nCommit `{commit}`.\n\n```sh\n# a comment\n```\n"


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with a page, its manifest, and two files of code in a folder."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/a.py").write_text(FIRST)
    (tmp_path / "code/b.txt").write_text("one\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "--short=7", "HEAD")
    (tmp_path / "page.md").write_text(PAGE.format(commit=commit))
    write(tmp_path, commit)
    return tmp_path


def write(folder, commit, **changes):
    entry = {"section": "page.md#how-it-runs-fast", "run": "python -m code", "commit": commit}
    entry |= {"hours": 1.5, "code": ["code"]} | changes
    entry = {name: value for name, value in entry.items() if value is not None}
    (folder / "manifest.yaml").write_text(yaml.safe_dump({"results": [entry]}))


def listed(folder, capsys) -> tuple[int, str]:
    try:
        results.main(["--manifest", str(folder / "manifest.yaml"), "--check"])
        status = 0
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, " ".join((captured.out + captured.err).split())


@pytest.mark.parametrize(
    ("name", "content", "older"),
    [
        ("a.py", SAME, False),
        ("a.py", OTHER, True),
        ("a.py", None, True),
        ("b.txt", "two\n", True),
        ("c.py", "", False),  # nothing in it is said of
    ],
)
def test_what_code_means_counts_and_how_it_is_written_does_not(
    repository, capsys, name, content, older
):
    assert listed(repository, capsys)[0] == 0
    path = repository / "code" / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    status, said = listed(repository, capsys)
    assert status == older
    assert (f"code/{name}" in said) == older
    assert ("1 of 1 are older: 1.5 of 1.5 core-hours" in said) == older


def test_a_new_file_counts_once_it_is_part_of_the_repository(repository, capsys):
    (repository / "code/c.py").write_text("x = 1\n")
    git(repository, "add", "code")
    assert listed(repository, capsys)[0] == 1


def test_changes_that_were_read_do_not_count(repository, capsys):
    first = git(repository, "rev-parse", "HEAD~0")[:7]
    (repository / "code/a.py").write_text(OTHER)
    git(repository, "commit", "-qam", "second")
    assert listed(repository, capsys)[0] == 1
    second = git(repository, "rev-parse", "HEAD")[:7]
    write(repository, first, read={"commit": second, "why": "nobody doubles"})
    assert listed(repository, capsys)[0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"section": "page.md#slow"}, "page.md#slow is no section; page.md has results, how-it-"),
        ({"section": "none.md#slow"}, "none.md has none"),
        ({"code": ["cod"]}, "the manifest names code 'cod', which is not there"),
        ({"run": "sweeps/a.yaml"}, "is made by 'sweeps/a.yaml', which is not there"),
        ({"hours": None}, "entry 1 has no 'hours'"),
        ({"minutes": 3}, "entry 1 has 'minutes', which is none of section, run, commit"),
        ({"hours": "long"}, "entry 1: hours is 'long', no number"),
        ({"commit": 1234567}, "entry 1: commit is 1234567, no text: put quotes around it"),
        ({"commit": "0000000"}, "does not name commit 0000000 of its entry"),
        ({"read": {"commit": "abc"}}, "entry 1, read has no 'why'"),
        ({"read": "abc"}, "entry 1, read is 'abc'; it needs commit, why"),
        ({"read": {"commit": "fffffff", "why": "x"}}, "git diff --name-only"),
    ],
)
def test_an_entry_that_is_wrong_is_named(repository, capsys, changes, message):
    commit = git(repository, "rev-parse", "--short=7", "HEAD")
    write(repository, **{"commit": commit} | changes)
    status, said = listed(repository, capsys)
    assert status == 2 and message in said


def test_no_manifest_is_said(tmp_path, capsys):
    status, said = listed(tmp_path, capsys)
    assert status == 2 and "is no file; --manifest names the list of results" in said


ENTRIES = manifest.load(ROOT / "docs/results/manifest.yaml")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.section)
def test_every_entry_of_the_documents_names_a_section_and_what_makes_it(entry):
    manifest.check_section(entry, ROOT)
    manifest.check_run(entry, ROOT)
    assert all((ROOT / path).exists() for path in entry.code)


def test_every_section_that_names_a_commit_is_in_the_manifest():
    pages = [p for p in ROOT.glob("docs/**/*.md") if "methods" not in p.parts]
    measured = {
        f"{page.relative_to(ROOT)}#{anchor}"
        for page in pages
        for anchor, text in manifest.anchors(page.read_text()).items()
        if manifest.COMMIT.search(text)
    }
    assert measured == {entry.section for entry in ENTRIES}
