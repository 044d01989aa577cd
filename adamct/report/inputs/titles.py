"""The names that reports show: models as their papers write them, datasets, and the studies of ``conf/sweep``."""

from adamct.report.inputs.names import printable, shortened

MODELS = {
    "adamct": "AdaMCT",
    "adamct_paper": "AdaMCT (equations)",
    "bert4rec": "BERT4Rec",
    "bsarec": "BSARec",
    "caser": "Caser",
    "core": "CORE",
    "core_ave": "CORE-ave",
    "esasrec": "eSASRec",
    "fmlp": "FMLP-Rec",
    "gcsan": "GC-SAN",
    "gru4rec": "GRU4Rec",
    "gsasrec": "gSASRec",
    "hgn": "HGN",
    "hstu": "HSTU",
    "lrurec": "LRURec",
    "markov": "Markov chain",
    "nextitnet": "NextItNet",
    "popularity": "Popularity",
    "sasrec": "SASRec",
    "sine": "SINE",
    "vsknn": "V-SKNN",
}
DATASETS = {"beauty": "Beauty", "sports": "Sports", "toys": "Toys", "synthetic": "the embedded data"}
STUDIES = {
    "departures": ("Departures", "the released code against the equations"),
    "figure1": ("Figure 1", "mixture coefficients by kind of user"),
    "figure4": ("Figure 4", "AdaMCT without each component"),
    "figure5": ("Figure 5", "item correlations in the last layer"),
    "figure6": ("Figure 6", "mixture coefficients over training"),
    "loss": ("Losses", "each model with each loss"),
    "order": ("Order", "each model with histories in order and shuffled"),
    "table2": ("Table 2", "all models"),
    "table3": ("Table 3", "adaptive and fixed mixtures"),
    "table4": ("Table 4", "a sigmoid or a softmax in SEAtt"),
    "table5": ("Table 5", "each hyperparameter by itself"),
    "table6": ("Table 6", "the cost of each model"),
}
"""The title and the subject of each study that the project has."""


def model_title(name: str) -> str:
    """Return a model's published name, given its name in ``conf/model``; that name itself if it is not listed."""
    return MODELS.get(name, name)


def block_title(dataset: str, study: str | None) -> str:
    """Return the title of the runs on a dataset, such as ``Table 3 on Beauty``; without a study ``Beauty``."""
    data = DATASETS.get(dataset, dataset)
    if study is None:
        return data
    return f"{STUDIES.get(study, (shortened(printable(study)),))[0]} on {data}"
