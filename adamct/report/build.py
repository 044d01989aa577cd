"""A report from the folders of runs to its last file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from adamct.errors import InputError, require
from adamct.report.inputs.blocks import Block, make_blocks
from adamct.report.inputs.names import file_names, printable
from adamct.report.inputs.planned_jobs import not_started, planned_labels
from adamct.report.inputs.runs import Run, Status, Sweep, find_runs, find_sweeps
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.files import runs_csv, write_all
from adamct.report.outputs.page import Section, page
from adamct.report.outputs.render import latex, markdown, plain_markdown, show
from adamct.report.outputs.report import Report
from adamct.report.outputs.table import Table
from adamct.report.sections.claims import claims_table
from adamct.report.sections.comparison import comparison_table
from adamct.report.sections.correlation_maps import correlation_maps
from adamct.report.sections.costs import cost_tables
from adamct.report.sections.curves import drawings
from adamct.report.sections.mixtures import by_kind, over_training
from adamct.report.sections.order import order
from adamct.report.sections.provenance import provenance
from adamct.report.sections.rankings import rankings_table
from adamct.report.sections.sensitivity import sensitivity
from adamct.report.sections.served import recommended_table, served
from adamct.report.sections.significance import significance_table
from adamct.report.statistics import compare

NOTHING = "Nothing has finished yet: there is nothing to compare."
STATUSES: tuple[Status, ...] = ("finished", "failed", "pruned", "unfinished", "damaged")


def report(
    folders: Sequence[Path],
    out: Path,
    model: str | None = None,
    metric: str | None = None,
    console: Console | None = None,
) -> Report:
    """Read all runs below some folders, compare them, print the tables and write all files.

    It may be called while the runs are being made, and again; files of the same names are replaced.

    Args:
        folders: of sweeps or runs.
        out: the folder to write to.
        model: the compared model or variant; None is AdaMCT where it is there, else the best by validation.
        metric: what is tested and plotted; None is the monitored metric on the test split.
        console: where the tables are printed; None is the terminal.

    Returns:
        The runs, the tables and figures made of it, and the files written.

    Raises:
        InputError: there are no runs, none of them can be read, the runs must not be put together, or nothing can be
            written to the folder; nothing has then been written.
    """
    runs, sweeps = find_runs(folders), find_sweeps(folders)
    missing = not_started(sweeps, runs)
    searches, failures = search_sections(sweeps, runs)
    unreadable = [run.error for run in runs if run.status == "damaged"]
    require(len(unreadable) < len(runs), f"no run can be read: {''.join(unreadable[:1])}")
    damages = list(map(printable, [*unreadable, *(sweep.error for sweep in sweeps if sweep.error), *failures]))
    trials = {run.folder for run in runs if any(run.folder.is_relative_to(sweep) for sweep in searches)}
    blocks = make_blocks([run for run in runs if run.folder not in trials], model, metric, planned_labels(sweeps))
    compared = [Section(block.dataset, parts(block), provenance(block)) for block in blocks]
    sections = [*compared, *searches.values()]
    tables = [part for section in sections for part in section.parts if isinstance(part, Table)]
    figures = [part for section in sections for part in section.parts if isinstance(part, Drawing)]
    title = printable(f"Report: {', '.join(folder.resolve().name for folder in folders)}")
    status = progress(runs, missing)
    contents = {
        "results.csv": runs_csv(runs, blocks),
        **documents(tables, title, status),
        **{f"{figure.name}.svg": figure.svg for figure in figures},
        **{f"{figure.name}.png": figure.png for figure in figures},
        "report.html": page(title=title, status=status, sections=sections, runs=runs, missing=missing, damages=damages),
    }
    write_all(out, contents)
    console = console or Console()
    announce([next(part for part in section.parts if isinstance(part, Table)) for section in sections], console)
    lines = [status, *(f"damaged: {line}" for line in damages), f"report: {printable(str(out / 'report.html'))}"]
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
    files = tuple(out / name for name in contents)
    return Report(
        out=out,
        title=title,
        status=status,
        damages=tuple(damages),
        runs=tuple(runs),
        blocks=tuple(blocks),
        tables=tuple(tables),
        drawings=tuple(figures),
        files=files,
    )


def parts(block: Block) -> list[Table | Drawing]:
    """Make a block's tables and figures, in the order of the page."""
    comparisons = compare(block)
    candidates = [
        comparison_table(block, comparisons),
        claims_table(block, comparisons),
        *sensitivity(block),
        *order(block),
        *by_kind(block),
        *correlation_maps(block),
        *over_training(block),
        *drawings(block),
        significance_table(block, comparisons),
        rankings_table(block),
        *served(block),
        recommended_table(block),
        *cost_tables(block),
    ]
    return [part for part in candidates if part is not None]


def search_sections(sweeps: Sequence[Sweep], runs: Sequence[Run]) -> tuple[dict[Path, Section], list[str]]:
    """Return the studies of those sweeps that are searches, by folder, and why others cannot be read.

    Their trials are compared there and nowhere else.
    """
    ended = {
        sweep: [run for run in runs if run.folder.is_relative_to(sweep.folder) and run.results]
        for sweep in sweeps
        if sweep.is_search
    }
    searches = {sweep: trials for sweep, trials in ended.items() if trials}
    if not searches:
        return {}, []
    try:
        from adamct.report.sections.search import study_section
    except ModuleNotFoundError as error:  # Optuna is an extra
        return {}, [f"{sweep.folder}: its study cannot be read ({error}); install adamct[search]" for sweep in searches]
    sections, failures = {}, []
    names = file_names(sweep.folder.resolve().name for sweep in searches)
    for name, (sweep, trials) in zip(names, searches.items(), strict=True):
        try:
            section = study_section(sweep, name, trials)
        except InputError as error:
            failures.append(str(error))
        else:
            sections |= {} if section is None else {sweep.folder: section}
    return sections, failures


def progress(runs: Sequence[Run], missing: Sequence[tuple[str, ...]]) -> str:
    """Count the runs of each status, in a line."""
    counts = Counter(run.status for run in runs)
    sentences = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    return ", ".join([*sentences, *([f"{len(missing)} not started"] if missing else [])])


def documents(tables: Sequence[Table], title: str, status: str) -> dict[str, str]:
    """Write all tables as a document of Markdown and one of LaTeX, by file name."""
    shown = list(map(markdown, tables)) if tables else [NOTHING, ""]
    return {
        "table.md": "\n".join([f"# {plain_markdown(title)}", "", status, "", *shown]),
        "table.tex": "% Needs \\usepackage{booktabs}.\n" + "\n".join(map(latex, tables)),
    }


def announce(tables: Sequence[Table], console: Console) -> None:
    """Print the main tables, or that there are none yet."""
    for table in tables:
        show(table, console)
    if not tables:
        console.print(NOTHING)
