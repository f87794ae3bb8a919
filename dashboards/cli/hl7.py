"""The commands of HL7, for who connects a LIMS."""

import typer

from dashboards.cli import hl7_check, hl7_conformance, hl7_deidentify, hl7_edit, hl7_explain, hl7_listen, hl7_send


def register(app: typer.Typer) -> None:
    """Add this group of commands."""
    group = typer.Typer(help="Messages of a LIMS: check, send, hear, hand on.", no_args_is_help=True)
    group.command(name="check")(hl7_check.check_command)
    group.command(name="explain")(hl7_explain.explain)
    group.command(name="send")(hl7_send.send)
    group.command(name="listen")(hl7_listen.listen)
    group.command(name="edit")(hl7_edit.edit)
    group.command(name="deidentify")(hl7_deidentify.deidentify)
    hl7_conformance.register(group)
    app.add_typer(group, name="hl7")
