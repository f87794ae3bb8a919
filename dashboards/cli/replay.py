"""The command ``replay``: messages that were set aside are listed, looked at beforehand, and read again."""

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dashboards.cli.desk import AsJson, By, Reason, console, opened, plain, plain_table, print_json, short

if TYPE_CHECKING:
    from flows.actions import Desk
    from flows.actions.previewing import Preview

_OPAQUE_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(replay)


def replay(
    context: typer.Context,
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="A message's id, or at least its first six characters.")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what applying it would change.")] = False,
    by: By = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Have a message that was set aside read again; without MESSAGE, list those that were."""
    from flows import actions
    from flows.actions.previewing import preview_replay

    with opened(context) as desk:
        if message is None:
            _list_set_aside(desk, as_json=as_json)
            return
        with desk.database.read() as session:
            message_id = actions.message_named(session, message)
        if dry_run:
            show_preview(preview_replay(desk, message_id), as_json=as_json)
            return
        acted = actions.replay(desk, message_id, actions.Person(by, reason))
    if as_json:
        print_json(asdict(acted))
    else:
        console().print(plain("; ".join((acted.what, *acted.follows)) + "."), soft_wrap=True)


def show_preview(seen: "Preview", *, as_json: bool) -> None:
    """Print what applying a message would change; nothing was changed."""
    if as_json:
        print_json({**asdict(seen), "changes_nothing": seen.changes_nothing})
        return
    what = f"Message {short(seen.message_id)} from {seen.peer}, {seen.message_type or 'of no type'}"
    for sentence in _in_words(seen):
        console().print(plain(f"{what}: {sentence}"), soft_wrap=True)
    table = plain_table("Of", "What", "From", "To")
    for change in seen.changes:
        said = (change.subject, change.what, change.before or "nothing", change.after or "nothing")
        table.add_row(*(plain(_OPAQUE_ID.sub(lambda one: short(one.group()), text)) for text in said))
    if seen.changes:
        console().print(table)
    for sentence in (*(f"To be told to {one}" for one in seen.told), *(f"Alert: {one}" for one in seen.alerts)):
        console().print(plain(sentence), soft_wrap=True)


def _in_words(seen: "Preview") -> Iterator[str]:
    if not seen.applied:
        yield f"it would be set aside. {seen.problem}"
        return
    if seen.problem:
        yield f"it would be applied, with a remark. {seen.problem}"
    yield "nothing would change." if seen.changes_nothing else "this would change."


def _list_set_aside(desk: "Desk", *, as_json: bool) -> None:
    from flows import actions

    with desk.database.read() as session:
        found, held = actions.set_aside_messages(session), actions.quarantined_messages(session)
    if as_json:
        fields = ("id", "peer", "message_type", "received_at", "problem")
        print_json([{name: getattr(one, name) for name in fields} for one in found])
        return
    if found:
        table = plain_table("Message", "From", "Type", "Why")
        for one in found:
            table.add_row(short(one.id), one.peer, plain(one.message_type), plain(one.problem))
        console().print(table)
    else:
        print("No message was set aside: one that can't be applied appears here, with the reason.")
    for peer, count in held:
        said = (
            f"{count} more from {peer} wait in quarantine: they are read again when one of its messages can be applied."
        )
        console().print(plain(said), soft_wrap=True)
