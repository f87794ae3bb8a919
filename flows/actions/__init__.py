"""What people do: each action is one transaction that keeps who did it and why with what it changed.

An action that the present state forbids raises ``RefusedError`` with a sentence that says what to do, and changes
nothing.
"""

from flows.actions.absence import Away, AwayNow, LeftOpen, absent_now, back_early, who_is_away
from flows.actions.acknowledging import Acknowledgeable, acknowledge, acknowledgeable_alerts
from flows.actions.cutting_off import site_back, site_cut_off
from flows.actions.desk import Acted, Desk, Person
from flows.actions.looking import ask_for_look
from flows.actions.matching import match
from flows.actions.naming import case_named, message_named, scan_named, slide_named, thing_named
from flows.actions.noticing import see
from flows.actions.opinions import answer, ask_opinion, call_off
from flows.actions.ordering import cancel_work, order_work
from flows.actions.reading import accept, decline, open_read
from flows.actions.reads_given import hand_over, let_move, override
from flows.actions.reads_named import Seen, pathologist_named, read_named
from flows.actions.releasing import release
from flows.actions.replaying import quarantined_messages, replay, set_aside_messages
from flows.actions.rereading import KINDS, Passed, Reread, Stretch, preview_reread, reread
from flows.actions.rerunning import Rerun, preview_rerun, rerun
from flows.actions.resending import RESEND, preview_resend, resend_of_case
from flows.actions.reviewing import review
from flows.actions.withdrawing import withdraw

__all__ = [
    "KINDS",
    "RESEND",
    "Acknowledgeable",
    "Acted",
    "Away",
    "AwayNow",
    "Desk",
    "LeftOpen",
    "Passed",
    "Person",
    "Reread",
    "Rerun",
    "Seen",
    "Stretch",
    "absent_now",
    "accept",
    "acknowledge",
    "acknowledgeable_alerts",
    "answer",
    "ask_for_look",
    "ask_opinion",
    "back_early",
    "call_off",
    "cancel_work",
    "case_named",
    "decline",
    "hand_over",
    "let_move",
    "match",
    "message_named",
    "open_read",
    "order_work",
    "override",
    "pathologist_named",
    "preview_reread",
    "preview_rerun",
    "preview_resend",
    "quarantined_messages",
    "read_named",
    "release",
    "replay",
    "reread",
    "rerun",
    "resend_of_case",
    "review",
    "scan_named",
    "see",
    "set_aside_messages",
    "site_back",
    "site_cut_off",
    "slide_named",
    "thing_named",
    "who_is_away",
    "withdraw",
]
