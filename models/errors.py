"""Trouble, named by what happens next."""


class CoverslipError(Exception):
    """The root of every error of ours: what, which, and what to do about it.

    The message must never hold patient data: our own ids, file sizes, limits and clauses only.
    """


class RejectedError(CoverslipError):
    """Will never work as it is: kept with its reason, searchable, replayable (set aside)."""


class TransientError(CoverslipError):
    """Not now: tried again with back-off, a cap and a deadline."""


class NeedsPersonError(CoverslipError):
    """Only a person can decide: it goes to a worklist with what is known."""


class RefusedError(CoverslipError):
    """A person asked for something that the present state does not allow; nothing was changed."""
