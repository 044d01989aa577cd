"""The banner of a section whose runs did not stop by themselves."""

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.sections.costs import STUDY


def banner(block: Block) -> str:
    """Say that a limit ended training, and how often validation was still rising; empty if that is of no concern."""
    limited = [run for run in block.runs if run.results.get("ended_by") == "limit"]
    if not limited or block.study == STUDY:
        return ""
    variants = [variant.name for variant in block.variants if any(run in limited for run in variant.runs)]
    names = f" ({', '.join(variants)})" if len(variants) < len(block.variants) else ""
    epochs = max(len(values) for run in limited for values in (run.results.get("history") or {"": ()}).values())
    limit = f"At most {epochs} epoch{'s' * (epochs > 1)}" if epochs else "A limit of epochs, steps or time"
    rising = sum(still_rising(run, str(block.monitor)) for run in limited)
    return (
        f"{limit}: {len(limited)} of {len(block.runs)} runs did not stop by themselves{names}; still rising: {rising}. "
        "This accuracy is not final, and no claim is judged by it."
    )


def still_rising(run: Run, monitor: str) -> bool:
    """Return whether the last of several validations was a run's best."""
    values = [value for value in run.results.get("history", {}).get(monitor, ()) if value is not None]
    return len(values) > 1 and values[-1] == max(values)
