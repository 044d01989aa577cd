"""A table as Markdown, as LaTeX and on a terminal. The page's template renders it as HTML."""

import re

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from adamct.report.outputs.table import NONE, RHO, Cell, Table

LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    NONE: "--",
    "α": r"$\alpha$",
    "τ": r"$\tau$",
    RHO: r"$\rho$",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "[": "{[}",  # it would be an argument after the end of a row
    "]": "{]}",
}


def markdown(table: Table) -> str:
    """Write a table as GitHub's Markdown, with its title above it and its notes below."""
    labels = {label: plain_markdown(label) for label in (table.corner, *table.columns, *(row[0] for row in table.rows))}
    labels |= {table.compared: f"**{plain_markdown(table.compared)}**"} if table.compared else {}
    lines = [
        f"**{plain_markdown(table.title)}**",
        "",
        "| " + " | ".join(labels[label] for label in (table.corner, *table.columns)) + " |",
        "|---" + "|---:" * len(table.columns) + "|",
        *("| " + " | ".join((labels[label], *map(markdown_cell, cells))) + " |" for label, cells in table.rows),
        "",
        *([plain_markdown(" ".join(table.notes)), ""] if table.notes else []),
    ]
    return "\n".join(lines)


def markdown_cell(cell: Cell) -> str:
    """Write a cell: the best bold, the second underlined, the paper's value in brackets and italics."""
    text = plain_markdown(str(cell))
    if cell.mark:
        opened, closed = {"best": ("**", "**"), "second": ("<u>", "</u>")}[cell.mark]
        text = f"{opened}{text}{closed}"
    return text + r"\*" * cell.star + (f" (*{plain_markdown(cell.paper)}*)" if cell.paper else "")


def plain_markdown(text: str) -> str:
    """Escape the characters that have a meaning in Markdown."""
    for character in "\\`|*_<[]~$":
        text = text.replace(character, f"\\{character}")
    return re.sub(r"&(?=#?\w+;)", r"\&", text)  # an entity


def latex(table: Table) -> str:
    """Write a ``table*`` for a document that loads booktabs."""
    labels = {label: plain_latex(label) for label in (table.corner, *table.columns, *(row[0] for row in table.rows))}
    labels |= {table.compared: rf"\textbf{{{plain_latex(table.compared)}}}"} if table.compared else {}
    head = " & ".join(labels[label] for label in (table.corner, *table.columns))
    body = [" & ".join((labels[label], *map(latex_cell, cells))) + r" \\" for label, cells in table.rows]
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\scriptsize\setlength{\tabcolsep}{2pt}",
            rf"\caption{{{plain_latex(' '.join((table.title + '.', *table.notes)))}}}",
            rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def latex_cell(cell: Cell) -> str:
    """Write a cell, with its spread in a small font and the paper's value in brackets."""
    text = plain_latex(cell.text)
    if cell.mark:
        command = {"best": r"\textbf", "second": r"\underline"}[cell.mark]
        text = f"{command}{{{text}}}"
    spread = rf"\,{{\tiny$\pm$\,{cell.spread}}}" if cell.spread else ""
    return text + spread + "$^*$" * cell.star + (rf" (\textit{{{plain_latex(cell.paper)}}})" if cell.paper else "")


def plain_latex(text: str) -> str:
    """Escape the characters that have a meaning in LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)


def show(table: Table, console: Console) -> None:
    """Print a table in the first form that fits the terminal, or else in the narrowest form.

    The forms are the table, the transposed table, both without the paper, and only the essential rows or columns.
    """
    slim = table.without_paper()
    forms = [terminal(form) for form in (table, table.transposed(), slim, slim.transposed(), slim.essence())]
    unbounded = console.options.update(max_width=10_000)
    widths = [console.measure(form, options=unbounded).maximum for form in forms]
    fitting = (form for form, width in zip(forms, widths, strict=True) if width <= console.width)
    console.print(next(fitting, forms[widths.index(min(widths))]))
    console.print(Text(" ".join(table.notes), style="dim"))


def terminal(table: Table) -> Grid:
    """Make a table of rich, with spreads and the paper's values below the values."""
    grid = Grid(box=box.SIMPLE_HEAD, padding=0, title=Text(table.title, "bold"), title_justify="left")
    grid.add_column(Text(table.corner), no_wrap=True)
    for column in table.columns:
        heading = column.replace(" ", "\n").replace("@", "\n@").replace("_", "_\n")
        grid.add_column(Text(heading), justify="right", no_wrap=True)
    for label, cells in table.rows:
        grid.add_row(Text(label, "bold" if label == table.compared else ""), *map(terminal_cell, cells))
    return grid


def terminal_cell(cell: Cell) -> Text:
    """Write a cell: the best bold, the second underlined, the paper's value dim in brackets."""
    text = Text(cell.text + "*" * cell.star, {"best": "bold", "second": "underline", "": ""}[cell.mark])
    if cell.spread:
        text.append(f"\n±{cell.spread}", "not bold not underline")
    return text.append(f"\n({cell.paper})", "dim not bold not underline") if cell.paper else text
