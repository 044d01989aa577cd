"""The page of the metrics: the docstrings of the code that computes them."""

import re

from latex2mathml.converter import convert

from adamct.evaluation.metrics import LIST_LENGTH, ListMetrics, RankingMetrics
from docs.generate.docstrings import as_markdown, docstring

FORMULAS = r"""
A user $u$ has one relevant item, the held-out one, and $r_u$ is its rank: 1 for the first place. $U$ is the set of the
users who have such an item.

$$\text{Recall@}k = \frac{1}{|U|} \sum_{u \in U} [r_u \le k]$$

$$\text{NDCG@}k = \frac{1}{|U|} \sum_{u \in U} \frac{[r_u \le k]}{\log_2(r_u + 1)}$$

$$\text{MRR} = \frac{1}{|U|} \sum_{u \in U} \frac{1}{r_u}$$

With one relevant item, Recall@$k$ is also called the hit rate, HR@$k$, and NDCG@1 equals Recall@1.

The rank is one, plus the number of candidates that score higher, plus the number of other candidates with the same
score:

$$r_u = 1 + \sum_{i \in C_u,\, i \ne t_u} [s_{u,i} \ge s_{u,t_u}]$$

Here $s_{u,i}$ is the score of item $i$, and $t_u$ is the held-out item. So a model that gives all items one score
has the last rank, not the first. The candidates $C_u$ depend on the ranking: see
[The protocol](../concepts/protocol.md).
"""

LISTS = r"""
The lists of two rankings, `full` and `full_unseen`, are measured too. The catalogue has $n$ items, whose shares of all
places in the lists are $p_1 \le \dots \le p_n$.

$$\text{Gini@}k = \frac{1}{n - 1} \sum_{j=1}^{n} (2j - n - 1)\, p_j$$
"""


def metric_page() -> str:
    """Return the page of the metrics."""
    lists = as_markdown(docstring(ListMetrics))
    return "\n".join(
        [
            "# Metrics",
            "",
            "A key such as `test/full_unseen/ndcg@10` names the split, the ranking and the metric.",
            "`cutoffs` sets the values of k.",
            "",
            "## From the ranks",
            with_formulas(FORMULAS),
            as_markdown(docstring(RankingMetrics)),
            "",
            "## From the recommended lists",
            with_formulas(LISTS),
            f"Here k is {LIST_LENGTH}. {lists}",
            "",
            f"The code is `{RankingMetrics.__module__}`.",
        ]
    )


def with_formulas(text: str) -> str:
    """Replace the formulas in LaTeX by MathML, which browsers show without a script."""
    text = re.sub(r"\$\$(.+?)\$\$", lambda match: convert(match[1], display="block"), text)
    return re.sub(r"\$(.+?)\$", lambda match: convert(match[1]), text)
