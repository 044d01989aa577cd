"""Docstrings as Markdown."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):$", re.M)


def docstring(thing: Any) -> str:
    """Return the docstring of a class, a function or a module; empty if it has none."""
    return inspect.getdoc(thing) or ""


def classes(path: Path) -> list[tuple[str, str]]:
    """Return the name and the docstring of each class of a Python file, in order."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(node.name, ast.get_docstring(node) or "") for node in tree.body if isinstance(node, ast.ClassDef)]


def module_docstring(path: Path) -> str:
    """Return the docstring of a Python file."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def as_markdown(text: str) -> str:
    """Convert a docstring in Google's style to Markdown."""
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    parts = re.split(r"(`[^`]*`|(?m:^    .*$))", text)
    text = "".join(part if part.startswith(("`", "    ")) else escaped(part) for part in parts)
    before, *sections = SECTION.split(text)
    lines = [before.rstrip()]
    for title, items in zip(sections[::2], sections[1::2], strict=True):
        lines += ["", f"{title}:", "", *(f"- {item}" for item in items_of(items))]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Escape the characters of prose that Markdown or HTML would read."""
    return re.sub(r"([*_\[\]])", r"\\\1", text).replace("<", "&lt;")


def items_of(section: str) -> list[str]:
    """Return the items of a section such as ``Args``, each on one line."""
    items: list[str] = []
    for line in filter(str.strip, section.splitlines()):
        if re.match(r" {4}\S", line):
            items.append(line.strip())
        else:
            items[-1] += f" {line.strip()}"
    return items
