"""The arrays of a run, from its ``.npz`` files, checked against its record when they are read."""

import math
import re
from pathlib import Path

import numpy as np

from adamct.errors import InputError, on_one_line, require
from adamct.evaluation.gains import is_mean_over_users, mean_gain
from adamct.evaluation.names import Metric
from adamct.report.inputs.record import Record, damage
from adamct.runs.folder import COEFFICIENTS, CORRELATIONS, RANKS

FACTS = ("target_count", "history_len")
"""The arrays of a test that are no ranks; see `adamct.batch.TestFacts`."""
PARTS = ("local", "global", "mixture")
"""The item correlations of AdaMCT's parts; see `adamct.analysis.item_correlations`."""
CLOSE = 1e-6
"""Relative: a metric of the record and the same of the ranks differ by the order of addition."""

Arrays = dict[str, np.ndarray]


def read_arrays(folder: Path, record: Record) -> dict[str, Arrays]:
    """Read what the test of a run left beside its record, by the names of the files; of an untested run nothing.

    Raises:
        InputError: a file cannot be read, or is not of this run.
    """
    if not any(key.startswith("test/") for key in record["metrics"]):
        return {}
    checks = {RANKS: check_ranks, COEFFICIENTS: check_coefficients, CORRELATIONS: check_correlations}
    read = {}
    for name, check in checks.items():
        path = folder / name
        if path.exists():
            read[name] = load(path)
            try:
                check(read[name], record)
            except InputError as error:
                raise InputError(damage(path, str(error))) from error
    return read


def load(path: Path) -> Arrays:
    """Load the arrays of an ``.npz`` file."""
    try:
        with np.load(path) as archive:
            return {key: archive[key] for key in archive.files if key != "allow_pickle"}
    except Exception as error:  # zipfile, zlib and NumPy raise all kinds where bytes are wrong
        raise InputError(damage(path, on_one_line(error) or type(error).__name__)) from error


def check_ranks(arrays: Arrays, record: Record) -> None:
    """Check that these are the ranks that the metrics of the record were computed from.

    Raises:
        InputError: they are not.
    """
    users, items = record["dataset"]["num_users"], record["dataset"]["num_items"]
    values_of_metrics = {Metric.parse(key): value for key, value in record["metrics"].items()}
    tested = {metric: value for metric, value in values_of_metrics.items() if metric.split == "test"}
    rankings = {metric.ranking for metric in tested}
    require(arrays.keys() - set(FACTS) == rankings, f"its rankings are not {', '.join(sorted(rankings))}")
    for name, values in arrays.items():
        require(values.shape == (users,), f"{name} is not of the {users} users of results.json")
        require(values.dtype.kind in "iu" and bool((values >= 0).all()), f"{name} is not of whole numbers from 0")
    for ranking in rankings:
        require(bool((arrays[ranking] <= items).all()), f"{ranking} holds ranks beyond the {items} items")
    for metric, value in tested.items():
        if is_mean_over_users(metric.name):
            mean = mean_gain(arrays[metric.ranking], metric.name)
            require(math.isclose(mean, value, rel_tol=CLOSE), f"its {metric.short} is {mean:.6f}, not {value:.6f}")


def check_coefficients(arrays: Arrays, record: Record) -> None:
    """Check that each layer has a coefficient of each user, and that each kind says of each user whether it is of it.

    Raises:
        InputError: they are not.
    """
    users = record["dataset"]["num_users"]
    for name, values in arrays.items():
        require(values.shape == (users,), f"{name} is not of the {users} users of results.json")
        if re.fullmatch(r"layer\d+", name):
            require(values.dtype.kind == "f", f"{name} holds no coefficients")
            tested = values[~np.isnan(values)]
            require(bool(((tested >= 0) & (tested <= 1)).all()), f"{name} holds coefficients that are not from 0 to 1")
        else:
            require(values.dtype.kind == "b", f"{name} is neither a layer nor a kind of users")


def check_correlations(arrays: Arrays, record: Record) -> None:
    """Check that there are maps of the same users from each part.

    Raises:
        InputError: there are not.
    """
    missing = {"user", "seq_len", *PARTS} - arrays.keys()
    require(not missing, f"lacks {', '.join(sorted(missing))}")
    users, lengths, shape = arrays["user"], arrays["seq_len"], arrays[PARTS[0]].shape
    require(len(shape) == 3 and shape[0] > 0 and shape[1] == shape[2], f"{PARTS[0]} holds no square maps")
    for name, values in (("user", users), ("seq_len", lengths)):
        require(values.shape == shape[:1] and values.dtype.kind in "iu", f"{name} is not a number for each map")
    require(bool((users >= 0).all() and (users < record["dataset"]["num_users"]).all()), "user is not of results.json")
    require(bool((lengths >= 1).all() and (lengths <= shape[1]).all()), "seq_len is not the length of a history")
    for name in PARTS:
        values = arrays[name]
        require(values.shape == shape and values.dtype.kind == "f", f"{name} is not of the shape of {PARTS[0]}")
        require(bool(np.isfinite(values).all()), f"{name} holds what is no number")
