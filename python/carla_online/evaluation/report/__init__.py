"""One self-contained HTML file about a run: the verdict, the evidence, the curves, an episode, the exact settings.

Nothing is loaded from elsewhere: pictures are inline SVG drawn here, the animation is a canvas driven by a small
script. All text is escaped. What a run lacks is named in the report instead of failing.
"""

from carla_online.evaluation.report.page import write_report

__all__ = ["write_report"]
