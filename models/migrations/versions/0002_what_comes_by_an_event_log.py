"""What comes by an event log: positions, consumers, parts, storms, scanners; and where an inbox message came from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.base import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Apply this change."""
    # Added one by one, not in a batch: the inbox is the largest table, and none of these needs it written anew.
    op.add_column("inbox", sa.Column("event_id", sa.String(length=200), nullable=True))
    op.add_column("inbox", sa.Column("origin", _JSON, nullable=True))
    op.add_column("inbox", sa.Column("quarantined_at", UtcDateTime(), nullable=True))
    _index("uq_inbox_event", "inbox", ["event_id", "peer"], "event_id IS NOT NULL", unique=True)
    _index("ix_inbox_quarantined", "inbox", ["peer", "received_at"], "quarantined_at IS NOT NULL")
    # The sweeper asks for these twice a second: without it, each time of all steps that ever were.
    _index("ix_step_untold", "step", ["id"], "state = 'set aside' AND NOT alerted")
    op.create_table(
        "consumer_position",
        sa.Column("cluster_id", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("topic_id", sa.String(length=64), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("cluster_id", "topic", "topic_id", "partition", name=op.f("pk_consumer_position")),
    )
    op.create_table(
        "consumer",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.Column("partitions", sa.Integer(), nullable=False),
        sa.Column("lag", sa.BigInteger(), nullable=False),
        sa.Column("away_since", UtcDateTime(), nullable=True),
        sa.Column("away_because", sa.Text(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consumer")),
    )
    op.create_table(
        "message_part",
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("whole_bytes", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("origin", _JSON, nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "sha256", "parts", "number", name=op.f("pk_message_part")),
    )
    op.create_index(op.f("ix_message_part_received_at"), "message_part", ["received_at"], unique=False)
    op.create_table(
        "circuit",
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("in_a_row", sa.Integer(), nullable=False),
        sa.Column("holding", sa.Boolean(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=True),
        sa.Column("try_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("peer", name=op.f("pk_circuit")),
    )
    op.create_table(
        "scanner_standing",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("said", _JSON, nullable=True),
        sa.Column("stated_at", UtcDateTime(), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_scanner_standing")),
    )


def downgrade() -> None:
    """Refuse: positions and event ids that are forgotten would have events read and counted anew."""
    message = "what was read of an event log is not forgotten: restore a backup instead"
    raise NotImplementedError(message)


def _index(name: str, table: str, columns: list[str], which: str, *, unique: bool = False) -> None:
    where = sa.text(which)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)
