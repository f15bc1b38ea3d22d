"""The list of printed results, and which of them are older than the code that they speak of."""

import ast
import dataclasses
import pathlib
import re
import shlex
import subprocess

import yaml

FIELDS = {"section": str, "run": str, "commit": str, "hours": (int, float), "code": list}
READ = {"commit": str, "why": str}
COMMIT = re.compile(r"`[0-9a-f]{7}`")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A section of measured numbers.

    Attributes:
        section: PAGE.md#ANCHOR, as a link has it.
        run: a sweep file, or the commands, one a line; the section has them in full.
        commit: at which it was run; where parts were run at several, the oldest.
        hours: of one core.
        code: files and folders that it speaks of.
        read: ``commit`` up to which no change moves its numbers, and ``why``.
    """

    section: str
    run: str
    commit: str
    hours: float
    code: list[str]
    read: dict[str, str] | None = None

    @property
    def since(self) -> str:
        """The commit from which on a change counts."""
        return self.read["commit"] if self.read else self.commit


def load(path: pathlib.Path) -> list[Entry]:
    """The entries of a manifest.

    Raises:
        FileNotFoundError: there is none.
        ValueError: an entry lacks a field, or has one that is unknown or of another type.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is no file; --manifest names the list of results")
    entries = []
    for number, values in enumerate(yaml.safe_load(path.read_text())["results"], 1):
        where = f"{path}, entry {number}"
        _require(values, FIELDS, where, optional={"read"})
        if "read" in values:
            _require(values["read"], READ, f"{where}, read")
        entries.append(Entry(**values))
    return entries


def _require(values, fields: dict, where: str, optional: set[str] = frozenset()) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {values!r}; it needs {', '.join(fields)}")
    for name in fields.keys() - values.keys():
        raise ValueError(f"{where} has no {name!r}")
    for name in values.keys() - fields.keys() - optional:
        raise ValueError(f"{where} has {name!r}, which is none of {', '.join(fields)}, read")
    for name, kind in fields.items():
        if not isinstance(values[name], kind):
            wanted = {str: "text: put quotes around it", list: "list"}.get(kind, "number")
            raise ValueError(f"{where}: {name} is {values[name]!r}, no {wanted}")


def anchors(page: str) -> dict[str, str]:
    """The text under each heading of a page of Markdown, by its anchor; code is not looked into."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^#+ (.*)$", prose, flags=re.MULTILINE)
    titles = (re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in parts[1::2])
    return dict(zip(titles, parts[2::2], strict=True))


def check_section(entry: Entry, root: pathlib.Path) -> None:
    """Raises a ValueError unless the section is there and names the commit of its entry."""
    page, _, anchor = entry.section.partition("#")
    path = root / page
    found = anchors(path.read_text()) if path.is_file() else {}
    if anchor not in found:
        raise ValueError(f"{entry.section} is no section; {page} has {', '.join(found) or 'none'}")
    if entry.commit not in found[anchor]:
        raise ValueError(f"{entry.section} does not name commit {entry.commit} of its entry")


def check_run(entry: Entry, root: pathlib.Path) -> None:
    """Raises a ValueError unless the sweep file of an entry, or each script, is there."""
    for line in entry.run.strip().splitlines():
        words = shlex.split(line)
        files = [w for w in words if w.endswith((".yaml", ".py", ".sh")) and not w.startswith("-")]
        for name in files:
            if not (root / name).is_file():
                raise ValueError(f"{entry.section} is made by {name!r}, which is not there")


def changed(root: pathlib.Path, since: str, code: list[str]) -> list[str]:
    """Files under ``code`` that mean something else than at commit ``since``, in the work tree.

    Raises:
        ValueError: no such commit, a path that never was, or no repository.
    """
    for path in code:
        if not (root / path).exists():
            raise ValueError(f"the manifest names code {path!r}, which is not there")
    names = git(root, "diff", "--name-only", "--no-renames", since, "--", *code).split("\n")
    return [name for name in names if name and _differs(root, since, name)]


def _differs(root: pathlib.Path, since: str, name: str) -> bool:
    path = root / name
    if not path.is_file() or not git(root, "ls-tree", since, "--", name):
        return True
    old, new = git(root, "show", f"{since}:{name}"), path.read_text()
    return meaning(old) != meaning(new) if name.endswith(".py") else old != new


def meaning(source: str) -> str:
    """What a Python file says without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)]
    return ast.dump(tree)


def _is_text(part: ast.AST) -> bool:
    value = getattr(part, "value", None) if isinstance(part, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def git(root: pathlib.Path, *words: str) -> str:
    """What git prints in the repository ``root``.

    Raises:
        ValueError: git fails or is not installed.
    """
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ValueError("git is needed to compare with the code of a commit") from error
    if done.returncode:
        raise ValueError(f"git {' '.join(words[:3])} in {root}: {done.stderr.strip()}")
    return done.stdout
