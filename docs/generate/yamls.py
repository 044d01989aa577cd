"""A YAML of ``conf``: the comment at its top, and the value and comment of each key."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from adamct.keys import flat
from adamct.values import as_yaml

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
KEY = re.compile(r"(?P<indent> *)(?P<name>[\w-]+):(?P<value>[^#]*)(#(?P<comment>.*))?$")


class Key(NamedTuple):
    """A key of a YAML."""

    name: str
    """Its dotted name."""
    value: str
    """Its value, as YAML."""
    comment: str


class Described(NamedTuple):
    """A YAML of ``conf``."""

    path: Path
    header: str
    """The comment at its top, in Markdown."""
    keys: tuple[Key, ...]
    content: dict[str, Any]

    @property
    def target(self) -> str | None:
        """The class or function that it configures; None if there is none."""
        return self.content.get("_target_")

    @property
    def package(self) -> str:
        """The prefix of its keys in the config; empty if it sets keys of several groups."""
        match = re.search(r"^# @package ([\w.]+)$", self.path.read_text(encoding="utf-8"), re.M)
        package = match[1] if match else ".".join(self.path.parent.relative_to(CONF).parts)
        return "" if package in ("_global_", "") else f"{package}."

    @property
    def bases(self) -> tuple[str, ...]:
        """The names of other YAMLs of its group that it begins with."""
        names = [name for name in self.content.get("defaults", []) if isinstance(name, str) and name != "_self_"]
        return tuple(name.rpartition("/")[2] for name in names)


@cache
def described(path: Path) -> Described:
    """Read a YAML with its comments."""
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text) or {}
    values = {name: value for name, value in flat(content).items() if not name.startswith("defaults")}
    comments = comments_of_keys(text)
    keys = [
        Key(name, as_yaml(value), as_markdown(comments.get(name, "")))
        for name, value in values.items()
        if not name.rpartition(".")[2].startswith("_")
    ]
    return Described(path, header_of(text), tuple(keys), content)


def header_of(text: str) -> str:
    """Return the comment at the top of a YAML in Markdown, with its indented commands as blocks."""
    lines = [line.removeprefix("#").removeprefix(" ") for line in leading_comments(text)]
    parts = [f"\n```bash\n{line.strip()}\n```\n" if line.startswith("  ") else as_markdown(line) for line in lines]
    return "\n".join(parts).strip()


def as_markdown(comment: str) -> str:
    """Put the commands and the overrides of a comment in backticks."""
    text, command, arguments = comment.partition("python run.py ")
    text = re.sub(r"(?<!\S)([+~]?[\w./@]+=[^\s,;:]+?)(?=[,.;:]?(?:\s|$))", r"`\1`", text)
    text = re.sub(r"https://[^\s),]+", r"<\g<0>>", text)
    return f"{text}`{command}{arguments}`  " if command else text


def leading_comments(text: str) -> list[str]:
    """Return the lines of comment at the top of a YAML, without the package."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line)
    return lines


def comments_of_keys(text: str) -> dict[str, str]:
    """Return the comment of each key: above it, after it, or after the key that it is in."""
    comments: dict[str, str] = {}
    parents: list[tuple[int, str, str]] = []
    above: list[str] = []
    for line in text.splitlines()[len(text.splitlines()) - len(body(text)) :]:
        if line.lstrip().startswith("#"):
            above.append(line.strip("# "))
        elif match := KEY.match(line):
            indent, comment = len(match["indent"]), " ".join([*above, (match["comment"] or "").strip()]).strip()
            parents = [parent for parent in parents if parent[0] < indent]
            name = ".".join([*(name for _, name, _ in parents), match["name"]])
            comments[name] = comment or next((outer for _, _, outer in reversed(parents) if outer), "")
            parents.append((indent, match["name"], comment))
            above = []
        else:
            above = []
    return comments


def body(text: str) -> list[str]:
    """Return the lines of a YAML below the comment at its top."""
    lines = text.splitlines()
    first = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[first:]


def groups() -> Iterator[str]:
    """Yield the name of each config group in order."""
    folders = {path.parent.relative_to(CONF) for path in CONF.rglob("*.yaml")} - {Path("hydra/help")}
    yield from sorted(str(folder) for folder in folders if str(folder) != ".")


def choices(group: str) -> list[Described]:
    """Return the YAMLs of a config group in order."""
    return [described(path) for path in sorted((CONF / group).glob("*.yaml"))]
