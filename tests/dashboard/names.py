"""The keys that the panels of a workspace name."""

import json
import re
from collections.abc import Iterator
from typing import Any


def panels(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels of all sections."""
    for section in spec["section"]["panelBankConfig"]["sections"]:
        yield from section["panels"]


def keys_of(spec: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each key that panels name, and whether it must be in the history and not only in the summary."""
    for panel in panels(spec):
        config = panel["config"]
        if panel["viewType"] == "Run History Line Plot":
            yield from ((key, True) for key in (config["xAxis"], *config["metrics"]))
        elif panel["viewType"] == "Weave":
            yield re.findall(r'"val": "(mixture/.*?)"', json.dumps(config))[0], False
        else:
            columns = [column["accessor"] for column in config.get("columns", [])]
            named = [config.get(name, "") for name in ("xAxis", "yAxis", "targetKey")]
            for key in (*config.get("metrics", []), *columns, *named):
                if key and not key.startswith("config:"):
                    yield key.removeprefix("summary:"), False


def columns_of(spec: dict[str, Any]) -> set[str]:
    """Return the first columns of the table of runs."""
    return set(spec["section"]["runSets"][0]["runFeed"]["columnOrder"])
