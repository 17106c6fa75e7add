"""How is a finding shown, so that somebody can act on it?"""

from __future__ import annotations

from collections.abc import Iterator

from synth_actors.findings import BottleneckReport, Finding
from synth_actors.telemetry.report.markup import Html, element, joined

NOTHING = "Nothing is known to hold it back."


def findings_html(report: BottleneckReport) -> Html:
    """A card a finding, most severe first."""
    if not report.detected:
        return element("p", {"class": "quiet"}, NOTHING)
    return joined(_card(finding) for finding in report.bottlenecks)


def _card(finding: Finding) -> Html:
    severity = finding.severity
    title = element("p", {"class": "what"}, element("span", {"class": "chip"}, severity), " ", finding.what)
    return element("div", {"class": f"finding {severity}"}, title, element("dl", {}, *_lines(finding)))


def _lines(finding: Finding) -> Iterator[Html]:
    if finding.cause:
        yield _line("cause", finding.cause)
    remedy = element("code", {}, finding.remedy) if finding.settings else finding.remedy
    yield _line("remedy", remedy, f" (effort: {finding.effort})")
    if (prediction := finding.prediction) is not None:
        yield _line("would be", element("b", {}, str(prediction)), f"; {prediction.basis}")
    if finding.evidence:
        yield _line("evidence", ", ".join(f"{name} {_figure(value)}" for name, value in finding.evidence.items()))


def _line(name: str, *children: str) -> Html:
    return element("div", {}, element("dt", {}, name), element("dd", {}, *children))


def _figure(value: float) -> str:
    """As the finding's own text writes it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
