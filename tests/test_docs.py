"""The documents: links, anchors, names in sources, the site's navigation, the citation."""

import ast
import configparser
import functools
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def prose(path: pathlib.Path) -> str:
    """A page without what stands in fences."""
    return FENCE.sub("", path.read_text())


@functools.cache
def anchors(path: pathlib.Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and the site make them."""
    found = set()
    for title in re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower())
        slug, count = words.strip().replace(" ", "-"), 1
        while slug in found:
            slug, count = f"{slug.removesuffix(f'-{count - 1}')}-{count}", count + 1
        found.add(slug)
    return found


@functools.cache
def names(path: pathlib.Path) -> set[str]:
    """What a source file defines, ``Class.method`` included."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
            inner = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{node.name}.{n.name}" for n in inner if isinstance(n, ast.FunctionDef)}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def dead(path: pathlib.Path, link: str) -> str | None:
    """What is wrong with a link of a page; links to elsewhere are not looked at."""
    if re.match(r"\w+:", link):
        return None
    place, _, anchor = link.partition("#")
    target = (path.parent / place).resolve() if place else path
    if not target.is_file():
        return f"{link}: no such file"
    known = {".md": anchors, ".py": names}.get(target.suffix)
    if anchor and (known is None or anchor not in known(target)):
        return f"{link}: nothing of that name"
    return None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    wrong = list(filter(None, (dead(path, link) for link in LINK.findall(prose(path)))))
    assert not wrong, f"{path.relative_to(ROOT)}: {'; '.join(wrong)}"


def test_the_rule_itself(tmp_path):
    (tmp_path / "code.py").write_text("class A:\n    def f(self): ...\n\nB: int = 1\n")
    page = tmp_path / "page.md"
    page.write_text("# One, *two*: `x_y`\n\n## Same\n\n## Same\n\n```sh\n# No heading\n```\n")
    assert anchors(page) == {"one-two-x_y", "same", "same-1"}
    right = ("#same-1", "page.md#one-two-x_y", "code.py#A.f", "code.py#B", "https://a.b/c")
    assert not any(dead(page, link) for link in right)
    assert all(
        dead(page, link) for link in ("#no-heading", "gone.md", "code.py#f", "..", "page.md#same-2")
    )


class Plain(yaml.SafeLoader):
    """Reads mkdocs.yml without what its tags would call."""


Plain.add_multi_constructor("", lambda loader, suffix, node: None)


def pages_of(nav) -> list[str]:
    """Every page of a navigation."""
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in pages_of(entry)]


def test_every_page_is_in_the_navigation_once():
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(), Plain)
    there = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    assert settings["strict"] is True
    assert sorted(pages_of(settings["nav"])) == sorted(
        [*there, "index.md", "CHANGELOG.md", "CONTRIBUTING.md"]
    )


def test_the_citation_is_that_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)  # what its schema requires
    for field in ("version", "license"):
        assert str(citation[field]) == setup["metadata"][field]
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors"} <= set(paper)
    for author in paper["authors"]:
        assert set(author) == {"family-names", "given-names"}


def test_the_changelog_has_this_version():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(setup['metadata']['version'])}\b", changes, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_builds_and_fetches_nothing(tmp_path):
    own = ROOT / ".venv-docs/bin/mkdocs"
    mkdocs = str(own) if own.exists() else shutil.which("mkdocs")
    if not mkdocs:
        pytest.skip("mkdocs is not installed: make docs")
    command = [mkdocs, "build", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "concepts.html", "results/index.html", "api/mummi.model.html"} <= set(
        pages
    )
    for name, page in pages.items():
        fetched = re.findall(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"(?:https?:)?//", page)
        assert not fetched, f"{name} fetches {fetched}"
    assert pages["concepts.html"].count('<div class="math"') >= 10
    assert "api/mummi.model.html#mummi.model.fusion.product_of_experts" in pages["concepts.html"]
