"""What the evaluations say: the sentence at the top, and the tables it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from carla_online.errors import EvaluationError
from carla_online.evaluation.compare import Verdict
from carla_online.evaluation.records import Evaluation
from carla_online.evaluation.report.markup import Html, join, tag
from carla_online.evaluation.report.numbers import fixed, percent, signed
from carla_online.evaluation.report.paired import paired_plots

Group = tuple[str, list[Evaluation]]
"""Title of a set of routes, and the evaluations on it."""

_COLUMNS: Final = (
    ("Policy", ""),
    ("Timed driving score", "0 to 100"),
    ("Difference to baseline", "points, {level} % interval"),
    ("Driving score", "0 to 100"),
    ("Completion", "of the route"),
    ("Finished", "routes"),
    ("Collisions", "per km (count)"),
    ("Mean speed", "m/s"),
)


def groups_of(evaluations: Sequence[Evaluation]) -> list[Group]:
    """Returns the evaluations by the routes they drove, in order of first appearance of a candidate."""
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        suite = evaluation.suite
        key = f"{suite.name}, {suite.split} set {suite.set_number}, {len(evaluation.table)} routes"
        groups.setdefault(key, []).append(evaluation)
    ordered = sorted(groups.items(), key=lambda item: (_candidate(item[1]) is None, item[1][0].suite.set_number))
    return [(title, members) for title, members in ordered]


def headline(groups: Sequence[Group]) -> Html:
    """Returns the verdict of the first set of routes in one sentence, and one line for each other set."""
    judged = [(title, found) for title, members in groups if (found := _candidate(members)) and found.verdict]
    if not judged:
        return tag(
            "p",
            "Nothing can be said about better or worse: this run has no fine-tuned policy that was compared with a "
            "baseline on the same routes.",
            class_="verdict open",
        )
    title, first = judged[0]
    verdict = first.verdict
    assert verdict is not None  # chosen above
    others = [
        tag("p", tag("b", f"{other_title}: "), str(other.verdict), class_="note") for other_title, other in judged[1:]
    ]
    sentence = _sentence(first.label, verdict)
    return join(
        tag("p", sentence, class_=f"verdict {_kind(verdict)}"), tag("p", f"Routes: {title}.", class_="note"), others
    )


def evaluation_section(groups: Sequence[Group]) -> Html:
    """Returns, for each set of routes, the table, the rule with its figures, the plots and how the routes ended."""
    if not groups:
        return tag("section", tag("h2", "Before and after"), tag("p", "This run has no evaluation."))
    first, *rest = groups
    others = [
        tag("details", tag("summary", f"Other routes: {title}"), _group(title, members)) for title, members in rest
    ]
    return tag("section", tag("h2", "Before and after, on the same routes and seeds"), _group(*first), others)


def _kind(verdict: Verdict) -> str:
    """Returns `good`, `bad` where something is shown to be worse, or `open` where too little is shown."""
    if verdict.is_better:
        return "good"
    is_unsafe = any(not item.holds and item.name in ("finished routes", "collisions") for item in verdict.criteria)
    return "bad" if is_unsafe or verdict.difference.high < 0.0 else "open"


def _sentence(label: str, verdict: Verdict) -> str:
    before, after, difference = verdict.other, verdict.candidate, verdict.difference
    figures = (
        f"timed driving score {fixed(before.timed_driving_score)} \u2192 {fixed(after.timed_driving_score)} "
        f"({signed(difference.mean)}, {_level(verdict)} % interval "
        f"{signed(difference.low)} to {signed(difference.high)}) on {after.routes} routes; "
        f"finished {percent(before.finished_share)} \u2192 {percent(after.finished_share)}; "
        f"collisions per km {fixed(before.collisions_per_km, 2)} \u2192 {fixed(after.collisions_per_km, 2)}"
    )
    who = f"The {label}" if "policy" in label.lower() else f"The {label} policy"
    if verdict.is_better:
        return f"{who} drives better than the baseline: {figures}."
    if verdict.difference.high < 0.0:
        return f"{who} drives worse than the baseline: {figures}."
    failed = "; ".join(criterion.text for criterion in verdict.criteria if not criterion.holds)
    return f"{who} isn't shown to drive better than the baseline: {figures}. What is missing: {failed}."


def _group(title: str, members: list[Evaluation]) -> Html:
    candidate = _candidate(members)
    other = next((member for member in members if candidate and member.name == candidate.against), None)
    level = next((_level(member.verdict) for member in members if member.verdict), "95")
    parts: list[Html | None] = [tag("h3", title), _table(members, level)]
    if candidate is not None and candidate.verdict is not None:
        parts.append(_criteria(candidate.verdict))
    parts += _against_tuned(candidate, members)
    parts += [
        tag(
            "p",
            f"{member.label}: {len(member.missing)} routes are missing, on which the simulator failed.",
            class_="note",
        )
        for member in members
        if member.missing
    ]
    if candidate is not None and other is not None and candidate.verdict is not None:
        parts.append(paired_plots(candidate, other))
    parts += [_ends(members), _infractions(members)]
    return join(*parts)


def _table(members: Sequence[Evaluation], level: str) -> Html:
    head = [
        tag("th", name, tag("small", unit.format(level=level)) if unit else None, scope="col")
        for name, unit in _COLUMNS
    ]
    rows = [_row(member) for member in members]
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows))
    return tag("div", table, class_="scroll", tabindex="0")


def _row(member: Evaluation) -> Html:
    summary = member.table.summary()
    difference = "reference" if member.against is None else "\u2013"
    if member.verdict is not None:
        interval = member.verdict.difference
        # A bootstrap of zeros is a point: the scores agree on every route.
        is_same = interval.low == interval.high == 0.0
        difference = (
            "none on any route"
            if is_same
            else f"{signed(interval.mean)} [{signed(interval.low)}, {signed(interval.high)}]"
        )
    name = [tag("b", member.label)]
    if member.step is not None:
        name.append(tag("small", f"after {member.step:,} env steps"))
    cells = (
        fixed(summary.timed_driving_score),
        difference,
        fixed(summary.driving_score),
        percent(summary.route_completion),
        f"{summary.finished} of {summary.routes}",
        f"{fixed(summary.collisions_per_km, 3)} ({summary.collisions})",
        fixed(summary.mean_speed_mps),
    )
    row = [tag("th", name, scope="row"), *(tag("td", cell) for cell in cells)]
    return tag("tr", row, class_=f"role-{member.role}")


def _criteria(verdict: Verdict) -> Html:
    items = [
        tag("li", tag("b", "met: " if item.holds else "not met: "), item.text, class_="good" if item.holds else "bad")
        for item in verdict.criteria
    ]
    return tag("div", tag("p", "The rule of better, fixed in the suite:"), tag("ul", items), class_="criteria")


def _against_tuned(candidate: Evaluation | None, members: Sequence[Evaluation]) -> list[Html | None]:
    """Returns a line for each tuned baseline: learning must beat turning the baseline's own knobs too."""
    lines: list[Html | None] = []
    for member in members:
        if candidate is None or member.role != "tuned_baseline":
            continue
        try:
            verdict = candidate.compare(member)
        except EvaluationError:
            continue
        lines.append(tag("p", tag("b", f"{candidate.label} against {member.label}: "), str(verdict)))
    return lines


def _ends(members: Sequence[Evaluation]) -> Html:
    counts = [member.table.end_reasons() for member in members]
    return _count_table("How routes ended", members, counts)


def _infractions(members: Sequence[Evaluation]) -> Html:
    counts = [member.table.infraction_counts() for member in members]
    return _count_table("Infractions on all routes", members, counts)


def _count_table(title: str, members: Sequence[Evaluation], counts: Sequence[Mapping[str, int]]) -> Html:
    names = sorted({name for row in counts for name, count in row.items() if count})
    if not names:
        return tag("p", f"{title}: none.", class_="note")
    head = [tag("th", "Policy", scope="col"), *(tag("th", name.replace("_", " "), scope="col") for name in names)]
    rows = [
        tag("tr", tag("th", member.label, scope="row"), [tag("td", str(row.get(name, 0))) for name in names])
        for member, row in zip(members, counts, strict=True)
    ]
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows))
    return join(tag("h4", title), tag("div", table, class_="scroll", tabindex="0"))


def _candidate(members: Sequence[Evaluation]) -> Evaluation | None:
    found = [member for member in members if member.role == "candidate"]
    return next((member for member in found if member.verdict is not None), found[0] if found else None)


def _level(verdict: Verdict) -> str:
    return f"{100.0 * (1.0 - verdict.significance):g}"
