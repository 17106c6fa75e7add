"""How is a run shown to somebody who was not there?

One HTML file that needs nothing else: `page_of` makes it of recordings, `page_of_sections` of parts of one's own.
"""

from synth_actors.telemetry.report.figures import Tile
from synth_actors.telemetry.report.page import Section, page_of, page_of_sections
from synth_actors.telemetry.report.table import Table

__all__ = ["Section", "Table", "Tile", "page_of", "page_of_sections"]
