"""The arrays of a run's ``.npz`` files, checked against its record when they are read."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from adamct.batch import TestFacts
from adamct.errors import InputError, on_one_line, require
from adamct.evaluation.gains import is_mean_over_users, mean_gain
from adamct.evaluation.names import Metric
from adamct.evaluation.storage import FINGERPRINT, restored, stored_names
from adamct.identity import fingerprint_of_test_items
from adamct.report.inputs.record import Record, damage
from adamct.runs.folder import COEFFICIENTS, CORRELATIONS, FACTS, RANKS

PARTS = ("local", "global", "mixture")
"""The parts of AdaMCT that have item correlations; see `adamct.analysis.item_correlations`."""
CLOSE = 1e-6
"""The relative tolerance between a recorded metric and the ranks' own. They differ by the order of addition."""

Arrays = dict[str, np.ndarray]


def read_arrays(folder: Path, record: Record, tops: Sequence[Path]) -> dict[str, Arrays]:
    """Read the arrays that a run's test wrote, by file name; empty if the run was not tested.

    The facts of the test items may be in a folder above, because they depend on the data alone.

    Args:
        folder: the run's folder.
        record: the run's record.
        tops: resolved folders. The facts may be in each folder above the run that is one of them or below one.

    Raises:
        InputError: a file cannot be read, or belongs to another run.
    """
    if not any(key.startswith("test/") for key in record["metrics"]):
        return {}
    checks = {RANKS: check_ranks, COEFFICIENTS: check_coefficients, CORRELATIONS: check_correlations}
    arrays = {name: checked(folder / name, check, record) for name, check in checks.items() if (folder / name).exists()}
    facts = next((place / FACTS for place in places_of_facts(folder, tops) if (place / FACTS).exists()), None)
    return arrays if facts is None else arrays | {FACTS: checked(facts, check_facts, record)}


def places_of_facts(folder: Path, tops: Sequence[Path]) -> list[Path]:
    """Return the folders where the facts of a run's test items may be, the nearest first; see `read_arrays`."""
    above = folder.resolve().parents
    return [folder, *(place for place in above if any(place.is_relative_to(top) for top in tops))]


def checked(path: Path, check: Callable[[Arrays, Record], None], record: Record) -> Arrays:
    """Load the arrays of a file and check that they belong to a run.

    Raises:
        InputError: the file cannot be read, or belongs to another run.
    """
    arrays = load(path)
    try:
        check(arrays, record)
    except InputError as error:
        raise InputError(damage(path, str(error))) from error
    return arrays


def load(path: Path) -> Arrays:
    """Load the arrays of an ``.npz`` file."""
    try:
        with np.load(path) as archive:
            return {key: archive[key] for key in archive.files if key != "allow_pickle"}
    except Exception as error:  # zipfile, zlib and NumPy raise many types for wrong bytes
        raise InputError(damage(path, on_one_line(error) or type(error).__name__)) from error


def check_ranks(arrays: Arrays, record: Record) -> None:
    """Check that the recorded metrics were computed from these ranks.

    Raises:
        InputError: they were not.
    """
    users, items = record["dataset"]["num_users"], record["dataset"]["num_items"]
    metrics = {Metric.parse(key): value for key, value in record["metrics"].items()}
    tested = {metric: value for metric, value in metrics.items() if metric.split == "test"}
    rankings = {metric.ranking for metric in tested}
    for name, values in arrays.items():
        require_users(name, values, users)
        require(values.dtype.kind in "iu", f"{name} must hold whole numbers")
    require(stored_names(rankings) == arrays.keys(), f"its arrays must be {', '.join(sorted(stored_names(rankings)))}")
    ranks = restored(arrays)
    for ranking, values in ranks.items():
        within = bool(((values >= 0) & (values <= items)).all())
        require(within, f"{ranking} must hold ranks of at most {items} items, or 0")
    for metric, value in tested.items():
        if is_mean_over_users(metric.name):
            mean = mean_gain(ranks[metric.ranking], metric.name)
            require(
                math.isclose(mean, value, rel_tol=CLOSE),
                f"its {metric.short} is {mean:.6f}, but {value:.6f} in results.json",
            )


def check_facts(arrays: Arrays, record: Record) -> None:
    """Check that these are facts of the run's test items.

    Raises:
        InputError: they are not, or have another shape or type.
    """
    expected = {FINGERPRINT, *TestFacts._fields}
    require(arrays.keys() == expected, f"its arrays must be {', '.join(sorted(expected))}")
    for name in TestFacts._fields:
        require_users(name, arrays[name], record["dataset"]["num_users"])
        whole = arrays[name].dtype.kind in "iu" and bool((arrays[name] >= 0).all())
        require(whole, f"{name} must hold whole numbers from 0")
    same = arrays[FINGERPRINT].tolist() == [fingerprint_of_test_items(record["identity"])]
    require(same, "it holds the facts of other test items")


def check_coefficients(arrays: Arrays, record: Record) -> None:
    """Check that each layer has a coefficient for each user, and each kind a flag for each user.

    Raises:
        InputError: an array has another shape, type or range.
    """
    users = record["dataset"]["num_users"]
    for name, values in arrays.items():
        require_users(name, values, users)
        if re.fullmatch(r"layer\d+", name):
            require(values.dtype.kind == "f", f"{name} must hold floats")
            tested = values[~np.isnan(values)]
            require(bool(((tested >= 0) & (tested <= 1)).all()), f"{name} must hold values from 0 to 1")
        else:
            require(values.dtype.kind == "b", f"{name} must be a layer of coefficients or a kind of users")


def check_correlations(arrays: Arrays, record: Record) -> None:
    """Check that each part has maps of the same users.

    Raises:
        InputError: an array is missing, or has another shape, type or range.
    """
    missing = {"user", "seq_len", *PARTS} - arrays.keys()
    require(not missing, f"lacks {', '.join(sorted(missing))}")
    users, lengths, shape = arrays["user"], arrays["seq_len"], arrays[PARTS[0]].shape
    require(len(shape) == 3 and shape[0] > 0 and shape[1] == shape[2], f"{PARTS[0]} must hold square maps")
    for name, values in (("user", users), ("seq_len", lengths)):
        require(values.shape == shape[:1] and values.dtype.kind in "iu", f"{name} must hold an integer for each map")
    require(
        bool((users >= 0).all() and (users < record["dataset"]["num_users"]).all()),
        "user must hold known users",
    )
    require(bool((lengths >= 1).all() and (lengths <= shape[1]).all()), "seq_len must hold lengths that fit the maps")
    for name in PARTS:
        values = arrays[name]
        require(values.shape == shape and values.dtype.kind == "f", f"{name} must have the shape of {PARTS[0]}")
        require(bool(np.isfinite(values).all()), f"{name} must hold finite numbers")


def require_users(name: str, values: np.ndarray, users: int) -> None:
    """Refuse an array that does not have one value for each user."""
    require(values.shape == (users,), f"{name} must have a value for each of the {users} users of results.json")
