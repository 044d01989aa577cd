"""The pages of the models: paper, equations, parameters, tuned values with their source, and results."""

from collections.abc import Iterator, Sequence
from inspect import getfile
from pathlib import Path

from hydra.utils import get_class

from adamct.keys import flat
from adamct.models.base import NextItemModel
from adamct.report.inputs.titles import model_title
from adamct.values import as_yaml
from docs.generate.docstrings import as_markdown, classes, module_docstring
from docs.generate.groups import code, key_table, values_of
from docs.generate.results import DATASETS, pair, results
from docs.generate.yamls import CONF, ROOT, Described, choices, described


def model_pages() -> dict[str, str]:
    """Return the Markdown of the page of each model, by its address."""
    models = [choice for choice in choices("model") if class_of(choice)]
    pages = {f"reference/models/{choice.path.stem}.md": model_page(choice) for choice in models}
    return {"reference/models/index.md": index(models), **pages}


def class_of(choice: Described) -> type[NextItemModel] | None:
    """Return the class of a model's YAML or of the YAML that it begins with; None if it is a part of a model."""
    if choice.target is None:
        paths = [choice.path.with_name(f"{name}.yaml") for name in choice.bases]
        return next((class_of(described(path)) for path in paths if path.exists()), None)
    kind = get_class(choice.target)
    return kind if issubclass(kind, NextItemModel) else None


def index(models: Sequence[Described]) -> str:
    """Return the page with a row for each model."""
    rows = [
        f"| [{model_title(m.path.stem)}]({m.path.stem}.md) | `model={m.path.stem}` | {subject(m)} |" for m in models
    ]
    return "\n".join(["# Models", "", "| model | choose it with | what it is |", "|---|---|---|", *rows])


def subject(choice: Described) -> str:
    """Return the first sentence about a model's class; for a variant of another model, that of its YAML."""
    file = file_of(choice)
    if file.stem != choice.path.stem:
        return choice.header.partition("\n")[0]
    first = module_docstring(file).partition("\n")[0]
    return as_markdown(first.partition(": ")[2] or first).replace("; equation numbers are the paper's", "")


def file_of(choice: Described) -> Path:
    """Return the Python file of a model."""
    kind = class_of(choice)
    assert kind is not None
    return Path(getfile(kind))


def model_page(choice: Described) -> str:
    """Return the page of a model."""
    name, file = choice.path.stem, file_of(choice)
    return "\n".join(
        [
            f"# {model_title(name)}",
            "",
            as_markdown(module_docstring(file)),
            "",
            choice.header,
            "",
            f"The code is `{file.relative_to(ROOT)}`, and the YAML `{choice.path.relative_to(ROOT)}`.",
            "",
            *traits(choice),
            "## The model and its parts",
            "",
            *parts(file),
            "## Parameters",
            "",
            *(key_table(choice.package, choice.keys, values_of(choice)) if choice.keys else ["It has none."]),
            "",
            *built_on(choice),
            "## Tuned values",
            "",
            *tuned(name),
            "## Search space",
            "",
            *search(name),
            "## Results",
            "",
            *reached(name),
        ]
    )


def traits(choice: Described) -> list[str]:
    """Return what a model needs of the data and of training."""
    kind = class_of(choice)
    assert kind is not None
    facts = []
    if kind.uses_user_embedding:
        facts.append("It learns a vector for each user, so it cannot recommend to users that it was not trained on.")
    if kind.uses_times:
        facts.append("It reads the times of the items, if the data has times.")
    return [*facts, ""] if facts else []


def built_on(choice: Described) -> list[str]:
    """Return which other YAMLs a model begins with; empty if there are none."""
    models = [name for name in choice.bases if (CONF / "model" / f"{name}.yaml").exists()]
    return (
        [f"It has the parameters of {', '.join(f'[{model_title(m)}]({m}.md)' for m in models)} too.", ""]
        if models
        else []
    )


def parts(file: Path) -> list[str]:
    """Return the docstring of each class of a model's file, the model first."""
    found = classes(file)
    lines: list[str] = []
    for name, text in [found[-1], *found[:-1]]:
        lines += [f"### {name}", "", as_markdown(text), ""]
    return lines


def tuned(model: str) -> list[str]:
    """Return a section for each YAML of tuned values of a model: its source, and its values."""
    paths = [CONF / "tuned" / folder / f"{model}.yaml" for folder in ("model", *DATASETS, "synthetic")]
    lines = [line for path in paths if path.exists() for line in values_with_source(described(path))]
    return lines or ["It has none.", ""]


def values_with_source(choice: Described) -> Iterator[str]:
    """Yield the lines about a YAML of tuned values."""
    yield from (f"**{choice.path.relative_to(CONF)}** · {choice.header}", "")
    yield from ("| key | value |", "|---|---|")
    yield from (f"| `{key.name}` | {code(key.value)} |" for key in choice.keys)
    yield ""


def search(model: str) -> list[str]:
    """Return the search space of a model."""
    path = CONF / "search" / f"{model}.yaml"
    if not path.exists():
        return ["It has none.", ""]
    choice = described(path)
    space = choice.content.get("hydra", {}).get("sweeper", {}).get("params", {})
    rows = [f"| `{key}` | {code(as_yaml(value))} |" for key, value in flat(space).items()]
    return [choice.header, "", *(["| key | drawn from |", "|---|---|", *rows, ""] if rows else [])]


def reached(model: str) -> list[str]:
    """Return a row for each dataset of the record: Recall@10 and NDCG@10 in the three rankings."""
    rows = [
        f"| {DATASETS[dataset]} | {len(result.seeds)} | "
        + " | ".join(
            pair({metric: result.values(ranking, metric) for metric in ("recall@10", "ndcg@10")})
            for ranking in ("uni100", "full", "full_unseen")
        )
        + f" | `{result.command}` |"
        for dataset, found in results().items()
        for result in found
        if result.model == model
    ]
    if not rows:
        return ["The record has no run of it yet."]
    head = ["| dataset | seeds | uni100 | full | full_unseen | command |", "|---|---|---|---|---|---|"]
    return ["Recall@10 / NDCG@10 on the test split.", "", *head, *rows]
