"""Writes a run down: `results.json` for programs, and `report.html` for people, which needs nothing beside it."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import charts
from bench.charts import Row, Tone, short
from bench.figures import Figure, Results, as_dict
from bench.goals import Judged, judge, ratios
from bench.sections import SECTIONS, Chart, Section

_STYLE: Final = Path(__file__).with_name("report.css")
MANY_PER_CENT: Final = 0.5
_SIGNS: Final = {"reached": "✓", "not reached": "✗", "not measured": "–"}


def write(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(document(results)), indent=2)
    (folder / "results.json").write_bytes(text + b"\n")
    (folder / "report.html").write_text(page(results), encoding="utf-8")


def document(results: Results) -> dict[str, Any]:
    """The whole run as JSON would have it."""
    return {
        "date": results.date,
        "scale": results.scale,
        "seconds": round(results.seconds, 1),
        "machine": results.machine,
        "goals": [
            {"text": goal.text, "found": found, "bound": goal.bound, "wanted": goal.wanted, "unit": goal.unit}
            | {"verdict": Judged(goal, found).verdict}
            for goal, found in judge(results)
        ],
        "ratios": [{"figure": each.figure, "to": each.to, "ratio": value} for each, value in ratios(results)],
        "figures": [as_dict(each) for each in results.figures.values()],
        "series": [msgspec.to_builtins(each) for each in results.series],
        "skipped": [msgspec.to_builtins(each) for each in results.skipped],
    }


def page(results: Results) -> str:
    body = "".join((_head(results), _goals(results), *(_section(each, results) for each in SECTIONS), _end(results)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>audience-relay, measured</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head><body><main>{body}</main></body></html>\n"
    )


def _head(results: Results) -> str:
    judged = [each.verdict for each in judge(results)]
    reached, measured = judged.count("reached"), len(judged) - judged.count("not measured")
    machine = results.machine
    noise = f" Beside it, {machine['beside it']}." if "beside it" in machine else ""
    scale = "" if results.scale == 1 else f" Work scaled by {results.scale:g}."
    return (
        "<header><h1>audience-relay, measured</h1>"
        f"<p class='lead'>{reached} of {measured} goals reached. {escape(machine.get('processor', ''))}, "
        f"{escape(machine.get('cores', '?'))} cores, Python {escape(machine.get('Python', ''))}, "
        f"{escape(results.date)}, in {results.seconds / 60:.0f} minutes.{scale}</p>"
        "<p>Everything was measured in one run on this one machine. Producers, Redis, workers, the vendors' stand-in "
        "and the load generators share its cores: compare figures with each other, not with another machine's. "
        f"Quoted is the median; lines reach from the lowest to the highest sample.{escape(noise)}</p>"
        "<p class='legend'><i class='ours'></i>audience-relay <i class='peer'></i>peers, the same work "
        "<i class='limit'></i>limits: one part of the work, alone</p></header>"
    )


def _goals(results: Results) -> str:
    rows = [_goal(each) for each in judge(results)]
    return f"<section><h2>Goals</h2>{_table(('', 'goal', 'found', 'wanted'), rows)}</section>"


def _goal(judged: Judged) -> str:
    goal, found, verdict = *judged, judged.verdict
    sign = f"<b class='{verdict.replace(' ', '-')}' title='{verdict}'>{_SIGNS[verdict]}</b> {verdict}"
    wanted = f"{goal.bound} {short(goal.wanted)}{_unit(goal.unit)}"
    told = "–" if found is None else f"{short(found)}{_unit(goal.unit)}"
    numbers = f"<td class='n'>{told}</td><td class='n'>{wanted}</td>"
    return f"<tr><td class='verdict'>{sign}</td><td>{escape(goal.text)}</td>{numbers}</tr>"


def _unit(unit: str) -> str:
    return escape(unit if unit == "×" else f" {unit}") if unit else ""


def _section(section: Section, results: Results) -> str:
    drawn = [drawing for chart in section.charts if (drawing := _chart(chart, results))]
    names = dict.fromkeys(name for chart in section.charts for name in chart.figures)
    names |= dict.fromkeys(name for name in results.figures if name.startswith(f"{section.name}."))
    figures = [results.figures[name] for name in names if name in results.figures]
    missing = [each for each in results.skipped if each.name.partition(".")[0] in {section.name, "peers", "limits"}]
    told = "".join(f"<p class='skipped'>{escape(each.name)}: {escape(each.reason)}</p>" for each in missing)
    if not figures and not told:
        told = "<p class='skipped'>not measured in this run</p>"
    details = f"<details><summary>Samples, and what each was measured on</summary>{_figures(figures)}</details>"
    charted = "".join(f"<figure>{each}</figure>" for each in drawn)
    return (
        f"<section><h2>{section.title}</h2><p>{escape(section.words)}</p>{told}{charted}"
        f"{_ratios(section, results)}{details if figures else ''}</section>"
    )


def _chart(chart: Chart, results: Results) -> str:
    if chart.kind == "lines":
        series = [each for each in results.series if each.name in chart.figures]
        return charts.lines(series) if series else ""
    figures = [results.figures[name] for name in chart.figures if name in results.figures]
    if not figures:
        return ""
    rows = [Row(each.title, each.value, each.low, each.high, _tone(each)) for each in figures]
    unit = _common_unit(figures)
    return charts.dots(rows, unit) if chart.kind == "dots" else charts.bars(rows, unit, chart.mark)


def _common_unit(figures: Sequence[Figure]) -> str:
    """Events, changes, tasks: one and the same here, each of one person."""
    units = {each.unit for each in figures}
    return units.pop() if len(units) == 1 else "/s"


def _tone(figure: Figure) -> Tone:
    first = figure.name.partition(".")[0]
    return "peer" if first == "peers" else "limit" if first == "limits" else "ours"


def _ratios(section: Section, results: Results) -> str:
    found = [(each, value) for each, value in ratios(results) if each.figure.startswith(f"{section.name}.")]
    if not found:
        return ""
    rows = [
        f"<tr><td>{escape(results.figures[each.figure].title)}</td><td class='n'>{_times(value)}</td>"
        f"<td>{escape(results.figures[each.to].title)}</td></tr>"
        for each, value in found
    ]
    return _table(("figure", "is", "of"), rows)


def _times(ratio: float) -> str:
    return f"{short(ratio)}×" if ratio >= MANY_PER_CENT else f"{short(ratio * 100)} %"


def _figures(figures: Sequence[Figure]) -> str:
    rows = [
        f"<tr><td>{escape(each.title)}</td><td class='n'>{short(each.value)} {escape(each.unit)}</td>"
        f"<td class='n'>{short(each.low)} – {short(each.high)}</td><td class='n'>{len(each.samples)}</td>"
        f"<td class='on'>{escape(each.measured_on)}</td></tr>"
        for each in figures
    ]
    return _table(("figure", "median", "lowest – highest", "samples", "measured on"), rows)


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _end(results: Results) -> str:
    rows = [f"<tr><td>{escape(name)}</td><td>{escape(told)}</td></tr>" for name, told in results.machine.items()]
    return f"<section><h2>Measured on</h2>{_table(('', ''), rows)}{''.join(_missing(results))}</section>"


def _missing(results: Results) -> Iterator[str]:
    if results.skipped:
        yield "<h3>Not measured</h3>"
    for each in results.skipped:
        how = "failed" if each.failed else "skipped"
        yield f"<p class='skipped'>{escape(each.name)} {how}: {escape(each.reason)}</p>"
