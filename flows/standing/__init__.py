"""Where things stand, in the words that people see: for a scan, a slide, a file and a case.

``rule`` is the one function that turns facets and open steps into words; the other modules ask the books, with few
queries that are carried by indexes, whatever the size of the archive.
"""

from flows.standing.attention import engine_state, open_alerts, silent_peers, waits
from flows.standing.cases import case_page, list_cases
from flows.standing.counts import change_mark, counts_by_stage_and_site, figures
from flows.standing.gateway import gateway_state
from flows.standing.rows import Row, list_rows
from flows.standing.rule import STATES, Standing
from flows.standing.timeline import timeline

__all__ = [
    "STATES",
    "Row",
    "Standing",
    "case_page",
    "change_mark",
    "counts_by_stage_and_site",
    "engine_state",
    "figures",
    "gateway_state",
    "list_cases",
    "list_rows",
    "open_alerts",
    "silent_peers",
    "timeline",
    "waits",
]
