"""The options that many commands share: importing them costs a command nothing."""

from typing import Annotated, TypeAlias

import typer

By: TypeAlias = Annotated[str, typer.Option("--by", metavar="NAME", help="Who you are; kept with what is changed.")]
Reason: TypeAlias = Annotated[
    str, typer.Option("--reason", "--because", metavar="TEXT", help="Why; kept with what is changed.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
