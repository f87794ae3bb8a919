"""The reads of a case: what is assigned, and when each of them is there, open and closed."""

from flows.reads.asked import add_mdt_read, ask_opinion, close_asked, drop_mdt_reads
from flows.reads.closing import Was, correct_credits, follow_rounds
from flows.reads.following import have_it_read, keep, stop_assigning
from flows.reads.owners import owner_of, primary_owners, primary_read, who_had_it

__all__ = [
    "Was",
    "add_mdt_read",
    "ask_opinion",
    "close_asked",
    "correct_credits",
    "drop_mdt_reads",
    "follow_rounds",
    "have_it_read",
    "keep",
    "owner_of",
    "primary_owners",
    "primary_read",
    "stop_assigning",
    "who_had_it",
]
