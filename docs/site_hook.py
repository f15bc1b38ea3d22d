"""What the site needs beside mkdocs: pages from outside docs, links to sources, equations.

mkdocs calls the functions ``on_*``. README.md, CHANGELOG.md and CONTRIBUTING.md become pages, each
package a page of the API, and the cards of pretrained agents stand on the page about these. A link
that leads to the right file in the repository leads to the right page of the site: one to a source
file, ``…/fusion.py#product_of_experts``, to that function's documentation. Fences ``math`` hold
LaTeX, and become drawings, which need neither a script nor a font.
"""

import html
import pathlib
import posixpath
import re
import warnings

from mkdocs.structure.files import File

with warnings.catch_warnings():  # of how it opens its font
    warnings.simplefilter("ignore", DeprecationWarning)
    import ziamath

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUTSIDE = {
    "index.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
}
"""Page: its file in the repository."""
PRETRAINED = "howto/pretrained.md"
LINK = re.compile(r"(?<!!)\[([^]]*)\]\(([^)#\s:]+)(?:#([^)\s]+))?\)")
IMAGE = re.compile(r"!\[([^]]*)\]\(([^)#\s:]+)()\)")


def packages() -> list[pathlib.Path]:
    """Folders of the packages that the API documents."""
    found = (path.parent for house in ("mummi", "envs") for path in ROOT.glob(f"{house}/**/*.py"))
    return sorted({folder for folder in found if (folder / "__init__.py").exists()})


def dotted(path: pathlib.Path) -> str:
    """The name of a module or package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def api_page(folder: pathlib.Path) -> str:
    """A package and, in the order of their names, its modules."""
    modules = sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
    title = f"::: {dotted(folder)}\n    options:\n      heading_level: 1\n\n"
    return title + "\n".join(f"::: {dotted(path)}\n" for path in modules)


def commands_page() -> str:
    """What each command is and the settings it takes."""
    modules = (path for path in sorted(ROOT.glob("experiments/*.py")) if path.stem != "__init__")
    commands = [path for path in modules if "\ndef main(" in path.read_text()]
    options = "    options:\n      members: [Arguments, Options]\n"
    sections = "\n".join(f"::: {dotted(path)}\n{options}" for path in commands)
    settings = "Those of `experiments.train` are the fields of [`Config`][mummi.config.Config]."
    return f"# Commands\n\n`--help` explains every flag. {settings}\n\n{sections}"


def on_config(config):
    """Adds the API to the navigation, and equations to the fences."""
    pages = [{dotted(folder): f"api/{dotted(folder)}.md"} for folder in packages()]
    config.nav.insert(-2, {"API": [{"Commands": "api/commands.md"}, *pages]})
    fence = {"name": "math", "class": "math", "format": equation}
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]


def equation(source: str, *_, **__) -> str:
    """LaTeX drawn as SVG; the source is what is read aloud."""
    source = " ".join(source.split())
    drawn = ziamath.Latex(source, size=18, color="currentColor").svg()
    return f'<div class="math" role="img" aria-label="{html.escape(source)}">{drawn}</div>'


def on_files(files, config):
    """Adds the pages that are not in docs."""
    pages = {name: (ROOT / path).read_text() for name, path in OUTSIDE.items()}
    pages |= {f"api/{dotted(folder)}.md": api_page(folder) for folder in packages()}
    pages["api/commands.md"] = commands_page()
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))


def on_page_markdown(markdown, page, config, files):
    """Turns links to files of the repository into links to pages."""
    name = page.file.src_uri
    if name == PRETRAINED:
        cards = sorted(ROOT.glob("mummi/pretrained/*/README.md"))
        markdown += "".join(f"\n#{card.read_text()}" for card in cards)
    folder = (ROOT / OUTSIDE[name] if name in OUTSIDE else ROOT / "docs" / name).parent

    def turned(match: re.Match) -> str:
        text, path, anchor = match.groups()
        target = (folder / path).resolve()
        if target.suffix == ".py" and not target.is_relative_to(ROOT / "docs"):
            place = ".".join(filter(None, (dotted(target), anchor)))
            return f"[{text}][{place}]"
        for inside, outside in OUTSIDE.items():
            if target == ROOT / outside:
                target = ROOT / "docs" / inside
        if not target.is_relative_to(ROOT / "docs"):
            return match[0]
        there = target.relative_to(ROOT / "docs").as_posix()
        there = posixpath.relpath(there, posixpath.dirname(name))
        return f"[{text}]({there}{f'#{anchor}' if anchor else ''})"

    markdown = LINK.sub(turned, markdown)
    return IMAGE.sub(lambda match: f"!{turned(match)}", markdown)
