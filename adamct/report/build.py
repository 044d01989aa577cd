"""The assembly of a report: read runs, compare them, print the tables and write the files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from adamct.errors import InputError, require
from adamct.report.inputs.blocks import Block, make_blocks
from adamct.report.inputs.names import file_names, printable
from adamct.report.inputs.planned_jobs import not_started
from adamct.report.inputs.runs import Run, Status, Sweep, find_runs, find_sweeps
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.files import runs_csv, write_all
from adamct.report.outputs.page import Section, page
from adamct.report.outputs.render import latex, markdown, plain_markdown, show
from adamct.report.outputs.report import Report
from adamct.report.outputs.table import Table
from adamct.report.sections.claims import Claim, claims_of, claims_summary, claims_table
from adamct.report.sections.claims_figure import claims_figure
from adamct.report.sections.comparison import comparison_table
from adamct.report.sections.correlation_maps import correlation_maps
from adamct.report.sections.costs import STUDY, cost_tables
from adamct.report.sections.curves import curves
from adamct.report.sections.dots import dots
from adamct.report.sections.limits import banner
from adamct.report.sections.losses import losses_table
from adamct.report.sections.mixtures import by_kind, over_training
from adamct.report.sections.order import order, order_pairs
from adamct.report.sections.provenance import provenance
from adamct.report.sections.published import published_table
from adamct.report.sections.rankings import rankings_table
from adamct.report.sections.references import references_table
from adamct.report.sections.sensitivity import sensitivity
from adamct.report.sections.served import recommended_table, served
from adamct.report.sections.significance import significance_table
from adamct.report.statistics import Comparison, compare

NOTHING = "No run has finished yet: there is nothing to compare."
STATUSES: tuple[Status, ...] = ("finished", "failed", "pruned", "unfinished", "damaged")


def report(
    folders: Sequence[Path],
    out: Path,
    model: str | None = None,
    metric: str | None = None,
    console: Console | None = None,
) -> Report:
    """Read all runs below some folders, compare them, print the tables and write all files.

    It may be called again, also while the runs are going on. Files with the same names are replaced.

    Args:
        folders: folders of sweeps or runs.
        out: the folder to write to.
        model: the compared model or variant; None is the first run that is itself among the folders, AdaMCT if there
            are runs of it, else the best by validation.
        metric: the metric to test and plot; None is the monitored metric on the test split, if the compared variant
            has it.
        console: the console to print the tables on; None is the terminal.

    Returns:
        The runs, the tables and figures made from them, and the written files.

    Raises:
        InputError: there are no runs, none of them can be read, the runs are not comparable, or the folder cannot be
            written to. Nothing is written in the first three cases.
    """
    content, sections, missing = assemble(folders, out, model, metric)
    files = file_contents(content, sections, missing, ", ".join(printable(str(folder)) for folder in folders))
    write_all(out, files)
    announce(content, sections, console or Console())
    return replace(content, files=tuple(out / name for name in files))


def assemble(
    folders: Sequence[Path], out: Path, model: str | None, metric: str | None
) -> tuple[Report, list[Section], list[tuple[str, ...]]]:
    """Return the content of a report, its sections, and the overrides of the jobs that have not started."""
    runs, sweeps = find_runs(folders), find_sweeps(folders)
    unreadable = [run.error for run in runs if run.status == "damaged"]
    require(len(unreadable) < len(runs), f"no run can be read: {''.join(unreadable[:1])}")
    missing = not_started(sweeps, runs)
    searches, unread = search_sections(sweeps, runs)
    trials = {run.folder for run in runs if any(run.folder.is_relative_to(sweep) for sweep in searches)}
    blocks = make_blocks([run for run in runs if run.folder not in trials], model, metric, sweeps, folders)
    compared, claims = [], {}
    for block in blocks:
        comparisons = comparisons_of(block)
        claims[block.title] = claims_of(block, comparisons)
        parts = block_parts(block, comparisons, claims[block.title])
        compared.append(Section(block.title, block.subject, parts, provenance(block), banner(block)))
    subjects = [*compared, *searches.values()]
    sections = [*summary(claims), *subjects]
    parts = [part for section in sections for part in section.parts]
    content = Report(
        out=out,
        title=title_of(subjects),
        status=status_line(runs, missing),
        damages=tuple(map(printable, [*unreadable, *(sweep.error for sweep in sweeps if sweep.error), *unread])),
        runs=tuple(runs),
        blocks=tuple(blocks),
        tables=tuple(part for part in parts if isinstance(part, Table)),
        drawings=tuple(part for part in parts if isinstance(part, Drawing)),
    )
    return content, sections, missing


def title_of(sections: Sequence[Section]) -> str:
    """Return the title of a page: that of its only section with its subject, or else the sections' titles."""
    if len(sections) == 1:
        return sections[0].heading
    return ", ".join(section.title for section in sections) or "No finished runs"


def file_contents(
    report: Report, sections: Sequence[Section], missing: Sequence[tuple[str, ...]], folders: str
) -> dict[str, str | bytes]:
    """Return the content of each file of a report, by file name."""
    texts = [report.status, *failures(report.runs), *(section.banner for section in sections if section.banner)]
    tables = [*map(markdown, report.tables)] or [NOTHING, ""]
    paragraphs = [f"{plain_markdown(text)}\n" for text in texts]
    return {
        "results.csv": runs_csv(report.runs, report.blocks),
        "table.md": "\n".join([f"# {plain_markdown(report.title)}", "", *paragraphs, *tables]),
        "table.tex": "% Needs \\usepackage{booktabs}.\n" + "\n".join(map(latex, report.tables)),
        **{f"{drawing.name}.svg": drawing.svg for drawing in report.drawings},
        **{f"{drawing.name}.png": drawing.png for drawing in report.drawings},
        "report.html": page(
            title=report.title,
            folders=folders,
            status=report.status,
            sections=sections,
            runs=report.runs,
            missing=missing,
            damages=report.damages,
        ),
    }


def failures(runs: Sequence[Run]) -> list[str]:
    """Return a line for each failed run, with its error."""
    return [f"failed: {printable(str(run.folder))}: {run.error}" for run in runs if run.status == "failed"]


def comparisons_of(block: Block) -> list[Comparison]:
    """Test the compared variant against the others; empty for a study of costs or of pairs."""
    return [] if block.study == STUDY or order_pairs(block) else compare(block)


def summary(claims: Mapping[str, Sequence[Claim]]) -> list[Section]:
    """Return the section that counts the verdicts on the claims of each block; empty below two blocks with claims."""
    table = claims_summary(claims)
    return [] if table is None else [Section("The paper's claims", "which of them hold", (table,), ())]


def block_parts(block: Block, comparisons: Sequence[Comparison], claims: Sequence[Claim]) -> list[Table | Drawing]:
    """Make a block's tables and figures in the order of the page. A study of costs has only its costs."""
    if block.study == STUDY:
        return [*cost_tables(block)]
    pairs = order_pairs(block)
    main = comparison_table(block, comparisons)
    candidates = [
        *by_kind(block),
        *correlation_maps(block),
        *over_training(block),
        *order(block, pairs),
        replace(main, compared="") if pairs else main,  # each model is compared with itself, and not with the others
        *([] if pairs else dots(block, comparisons)),
        claims_figure(block, claims),
        claims_table(block, claims),
        None if pairs else significance_table(block, comparisons),
        published_table(block),
        references_table(block),
        losses_table(block),
        *sensitivity(block),
        *curves(block),
        rankings_table(block),
        *served(block),
        recommended_table(block),
        *cost_tables(block),
    ]
    return [part for part in candidates if part is not None]


def search_sections(sweeps: Sequence[Sweep], runs: Sequence[Run]) -> tuple[dict[Path, Section], list[str]]:
    """Return the section of each search by its folder, and a message for each search that cannot be read.

    The trials of a search are compared only in its own section.
    """
    ended_trials = {
        sweep: [run for run in runs if run.folder.is_relative_to(sweep.folder) and run.results]
        for sweep in sweeps
        if sweep.is_search
    }
    searches = {sweep: trials for sweep, trials in ended_trials.items() if trials}
    if not searches:
        return {}, []
    try:
        from adamct.report.sections.search import study_section
    except ModuleNotFoundError as error:  # Optuna is an extra
        return {}, [f"{sweep.folder}: the study cannot be read ({error}); install adamct[search]" for sweep in searches]
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


def status_line(runs: Sequence[Run], missing: Sequence[tuple[str, ...]]) -> str:
    """Return the number of runs of each status, in one line."""
    counts = Counter(run.status for run in runs)
    parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    return ", ".join([*parts, *([f"{len(missing)} not started"] if missing else [])])


def announce(report: Report, sections: Sequence[Section], console: Console) -> None:
    """Print the first table and the banner of each section, the status, the failures and the path of the page."""
    for section in sections:
        show(next(part for part in section.parts if isinstance(part, Table)), console)
        if section.banner:
            console.print(section.banner, style="yellow", highlight=False, markup=False)
    if not sections:
        console.print(NOTHING)
    damages = [f"damaged: {line}" for line in report.damages]
    path = f"report: {printable(str(report.out / 'report.html'))}"
    lines = [report.status, *failures(report.runs), *damages, path]
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
