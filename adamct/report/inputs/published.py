"""The figures that other papers and frameworks report among all items, on the same data with the same split.

All are of the 5-core of Amazon's 2014 reviews, the last item of each user tested. ``published.csv`` has a row for each
figure. They differ in the items that a user has had before: some leave them out, some rank them.
"""

from typing import NamedTuple

from adamct.evaluation.names import FULL, FULL_UNSEEN
from adamct.report.inputs.paper import read

SOURCES = {
    "TIGER": "TIGER (Rajput et al., NeurIPS '23), Table 1",
    "RecBole": "RecBole's models with its own protocol",
    "DuoRec": "DuoRec (Qiu et al., WSDM '22)",
    "ActionPiece": "ActionPiece (Hou et al., ICML '25)",
    "eSASRec": "eSASRec (Tikhonovich et al., RecSys '25), whose SASRec is RecTools' and whose HSTU is a rerun",
    "BSARec": "the log that BSARec's authors released (Shin et al., AAAI '24)",
}
"""The publication of each figure, by its name in the CSV."""


class Published(NamedTuple):
    """A published result."""

    model: str
    """Its model's name in ``conf/model``; empty if the project does not have the model."""
    result: str
    recall: float
    """Recall@10."""
    ndcg: float
    """NDCG@10."""
    seen: str
    """Whether the user's earlier items are ``left out`` or ``ranked``, as far as it is known."""
    source: str

    @property
    def ranking(self) -> str:
        """The ranking to compare with."""
        return FULL if self.seen == "ranked" else FULL_UNSEEN


def published(dataset: str) -> list[Published]:
    """Return the published results on a dataset."""
    return [
        Published(
            row["model"], row["result"], float(row["recall@10"]), float(row["ndcg@10"]), row["seen"], row["source"]
        )
        for row in read("published.csv")
        if row["dataset"] == dataset
    ]
