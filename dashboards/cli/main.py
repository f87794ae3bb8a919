"""The one command, ``coverslip``: what people do, and the processes that do the rest."""

import logging
import os
import sys
from collections.abc import Sequence

from dashboards.cli.commands import application
from models.errors import CoverslipError, TransientError

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: 0 when it did what was asked, 1 when that was refused or impossible, 2 for wrong usage.

    Whatever goes wrong, people get one sentence on stderr.
    """
    # What is written holds patients' data: only its owner and their group may read it.
    os.umask(0o027)
    try:
        application()(arguments)
    except Exception as error:  # noqa: BLE001 - a person gets a sentence, whatever it was; the log has the place
        _log.debug("a command failed", exc_info=error)
        _end(_sentence(error))


def _sentence(error: Exception) -> str:
    match error:
        case TransientError():
            # Processes try again by themselves; a command leaves that to the person.
            sentence = str(error).removesuffix(": tried again later").rstrip(".")
            return f"{sentence}; nothing was changed, so try again"
        case CoverslipError():
            return str(error)
        case OSError():
            return f"a file can't be used ({error.strerror or type(error).__name__}): see 'coverslip doctor'"
        case _:
            return _of_the_database(error) or (
                f"this failed by a fault of Coverslip's own ({type(error).__name__}): please report it"
            )


def _of_the_database(error: Exception) -> str:
    """Return what a fault of the database means; empty for any other."""
    # Takes a tenth of a second to import, which only who fails waits for.
    from sqlalchemy.exc import DatabaseError, OperationalError, ProgrammingError, SQLAlchemyError

    if isinstance(error, (ProgrammingError, OperationalError)):
        return (
            "the database has no tables, or older ones, or can't be reached: 'coverslip migrate' brings it up to date"
        )
    if type(error) is DatabaseError:
        return "the database's file is damaged, or is none: restore it from a backup, then see 'coverslip audit books'"
    if isinstance(error, SQLAlchemyError):
        return f"the database could not do that ({type(error).__name__}): nothing was changed"
    return ""


def _end(sentence: str) -> None:
    from rich.console import Console

    # Not parsed as markup: a sentence may hold square brackets.
    Console(stderr=True, soft_wrap=True).print(f"coverslip: {sentence}", markup=False, highlight=False)
    sys.exit(1)


if __name__ == "__main__":
    main()
