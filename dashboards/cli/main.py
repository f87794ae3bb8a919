"""The one command, ``coverslip``: what people do, and the processes that do the rest."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy.exc import OperationalError as DatabaseAwayError
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from dashboards.cli import audit, demo, doctor, kafka, people, processes, show
from models.errors import CoverslipError, TransientError

_log = logging.getLogger(__name__)

app = typer.Typer(
    name="coverslip",
    help="From a scanned slide and an HL7 order to an archived series and a case on the right pathologist's worklist.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def coverslip(
    home: Annotated[
        Path | None, typer.Option(help="The state folder: settings, database, spool. [env: COVERSLIP_HOME; else var]")
    ] = None,
) -> None:
    """Take the options of all commands; ``home_of`` reads them."""


people.register(app)
show.register(app)
audit.register(app)
kafka.register(app)
processes.register(app)
demo.register(app)
doctor.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: 0 when it did what was asked, 1 when that was refused or impossible, 2 for wrong usage.

    Whatever goes wrong, people get one sentence on stderr.
    """
    # What is written holds patients' data: only its owner and their group may read it.
    os.umask(0o027)
    try:
        app(arguments)
    except TransientError as error:
        # Processes try again by themselves; a command leaves that to the person.
        sentence = str(error).removesuffix(": tried again later").rstrip(".")
        _end(f"{sentence}; nothing was changed, so try again")
    except CoverslipError as error:
        _end(str(error))
    except (ProgrammingError, DatabaseAwayError):
        _end("the database has no tables, or older ones, or can't be reached: 'coverslip migrate' brings it up to date")
    except SQLAlchemyError as error:
        _end(f"the database could not do that ({type(error).__name__}): nothing was changed")
    except OSError as error:
        _end(f"a file can't be used ({error.strerror or type(error).__name__}): see 'coverslip doctor'")
    except Exception as error:  # noqa: BLE001 - a person gets a sentence, whatever it was; the log has the place
        _log.debug("a command failed", exc_info=error)
        _end(f"this failed by a fault of Coverslip's own ({type(error).__name__}): please report it")


def _end(sentence: str) -> None:
    # Not parsed as markup: a sentence may hold square brackets.
    Console(stderr=True, soft_wrap=True).print(f"coverslip: {sentence}", markup=False, highlight=False)
    sys.exit(1)


if __name__ == "__main__":
    main()
