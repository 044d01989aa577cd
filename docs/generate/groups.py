"""The pages of the config groups: every choice, and every key with its default, its values and its meaning."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adamct.runs.schema import Config, keys_of
from docs.generate.allowed import allowed, allowed_of_node, allowed_of_trainer
from docs.generate.yamls import CONF, Described, Key, body, choices, described, groups


def group_pages() -> dict[str, str]:
    """Return the Markdown of the page of each config group, by its address."""
    pages = {address(group): group_page(group) for group in groups()}
    return {"reference/config/index.md": index(), **pages}


def address(group: str) -> str:
    """Return the address of a group's page."""
    return f"reference/config/{group.replace('/', '_')}.md"


def index() -> str:
    """Return the page of the top-level keys, with a link to each group."""
    top = described(CONF / "config.yaml")
    values = {name: allowed(annotation) for name, annotation in keys_of(Config).annotations.items()}
    keys = [key for key in top.keys if not key.name.startswith("hydra.") and key.name.partition(".")[0] in values]
    links = [f"- [`{group}`]({Path(address(group)).name}): {names(group)}" for group in groups()]
    return "\n".join(
        [
            "# Every key",
            "",
            "The top-level keys are below. All others belong to a group, and each group has a page. "
            "`python run.py --cfg job` prints the keys of a command.",
            "",
            *key_table("", keys, values),
            "",
            "## Groups",
            "",
            *links,
        ]
    )


def names(group: str) -> str:
    """Return the names in a group."""
    return ", ".join(f"`{choice.path.stem}`" for choice in choices(group))


def group_page(group: str) -> str:
    """Return the page of a group."""
    lines = [f"# {group}", "", f"The choices of `{group}`: {names(group)}.", ""]
    for choice in choices(group):
        lines += [f"## {choice.path.stem}", "", choice.header, "", *facts(choice), ""]
    return "\n".join(lines)


def facts(choice: Described) -> list[str]:
    """Return what a YAML holds: its class, the YAMLs it builds on, and its keys."""
    if not choice.package:
        return ["```yaml", *body(choice.path.read_text(encoding="utf-8")), "```"]
    lines = []
    if choice.target:
        lines += [f"It configures `{choice.target}`.", ""]
    if choice.bases:
        lines += [f"It has the keys of {', '.join(f'`{name}`' for name in choice.bases)}, and these.", ""]
    return lines + (key_table(choice.package, choice.keys, values_of(choice)) if choice.keys else [])


def values_of(choice: Described) -> dict[str, str]:
    """Describe the values that each key of a YAML may have."""
    if choice.target == "pytorch_lightning.Trainer":
        return allowed_of_trainer()
    bases = [path for name in choice.bases if (path := choice.path.with_name(f"{name}.yaml")).exists()]
    inherited = [values_of(described(path)) for path in bases]
    return {name: value for values in [*inherited, values_in(choice.content)] for name, value in values.items()}


def values_in(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Describe the values of the arguments of each ``_target_`` in a config, by dotted key."""
    target = content.get("_target_")
    values = {f"{prefix}{name}": value for name, value in allowed_of_node(target).items()}
    for name, inner in content.items():
        if isinstance(inner, dict):
            values |= values_in(inner, f"{prefix}{name}.")
    return values


def key_table(package: str, keys: Sequence[Key], values: dict[str, str]) -> list[str]:
    """Return a table of keys."""
    rows = [
        f"| `{package}{key.name}` | {code(key.value)} | {cell(values.get(key.name, ''))} | {cell(key.comment)} |"
        for key in keys
    ]
    return ["| key | default | values | meaning |", "|---|---|---|---|", *rows]


def code(text: str) -> str:
    """Return a value as code in a cell of a table, with a long list on several lines."""
    if text.startswith("[") and len(text) > 60:
        return "<br>".join(f"`{cell(item)}`" for item in text.strip("[]").split(", "))
    return f"`{cell(text)}`"


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
