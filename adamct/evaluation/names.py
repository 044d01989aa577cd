"""The rankings of a run: their order, what each is among, and which of its metrics tables show."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

FULL, FULL_UNSEEN = "full", "full_unseen"
"""The names of the rankings among all items, and among those that the user has not had before."""
AMONG_ALL = (FULL, FULL_UNSEEN)
"""The names of both, in the order of the report; any other ranking is among sampled items."""


def names_of_rankings(num_negatives: int) -> tuple[str, str, str]:
    """Return the names of the rankings as the keys of metrics have them, in the order of `ranking.Ranks`."""
    return f"uni{num_negatives}", FULL, FULL_UNSEEN


def names_of_metrics(cutoffs: Iterable[int]) -> list[str]:
    """Return the names of the metrics of one ranking, such as ``ndcg@10``."""
    return ["mrr", *(f"{name}@{k}" for k in cutoffs for name in ("recall", "ndcg"))]


def metric_names(split: str, rankings: Iterable[str], cutoffs: Sequence[int]) -> list[str]:
    """Return the full names of the metrics of a split, such as ``val/uni100/ndcg@10``."""
    return [f"{split}/{ranking}/{name}" for ranking in rankings for name in names_of_metrics(cutoffs)]


class Metric(NamedTuple):
    """A metric's name, which is ``test/uni100/ndcg@10`` as text."""

    split: str
    """The validation or the test: val or test."""
    ranking: str
    name: str
    """The metric of the ranking, such as ``ndcg@10``."""

    @classmethod
    def parse(cls, key: str) -> "Metric":
        """Take apart a key of a record's metrics."""
        split, ranking, name = key.split("/")
        return cls(split, ranking, name)

    def __str__(self) -> str:
        return "/".join(self)

    @property
    def short(self) -> str:
        """The name without the split, such as ``uni100/ndcg@10``."""
        return f"{self.ranking}/{self.name}"

    @property
    def heading(self) -> str:
        """The name over a column or beside a row, such as ``uni100 ndcg@10``."""
        return f"{self.ranking} {self.name}"


def among_all(ranking: str) -> bool:
    """Whether a ranking is among all items, and not among sampled ones."""
    return ranking in AMONG_ALL


def in_order(rankings: Iterable[str]) -> list[str]:
    """Return each ranking once: those among sampled items, then those among all."""
    return sorted(dict.fromkeys(rankings), key=lambda name: AMONG_ALL.index(name) if among_all(name) else -1)


def shown_metrics(ranking: str) -> tuple[str, ...]:
    """Return the metrics that the table of a run and of a report show of a ranking."""
    if among_all(ranking):
        return "recall@10", "ndcg@10"
    return "recall@1", "recall@5", "recall@10", "ndcg@5", "ndcg@10"


def candidates(ranking: str, num_items: int, count: int | None, excluded: str | None) -> str:
    """Describe the items that a ranking ranks the target among.

    Args:
        ranking: its name.
        num_items: how many items there are.
        count: the number of sampled items of a ranking among samples.
        excluded: what is never sampled; ``seen`` for all items of the user.
    """
    if ranking == FULL:
        return f"among all {num_items:,} items"
    if ranking == FULL_UNSEEN:
        return "among all items the user has not had"
    return f"among {count} sampled items" + (" the user has not had" if excluded == "seen" else f" ({excluded})")
