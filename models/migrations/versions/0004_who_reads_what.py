"""Who reads what, for a network: networks, policy, split and second reads, deadlines, notices and credits."""

import hashlib

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.base import UtcDateTime
from models.uid import framed, uuid_text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

# What could be read before anybody noted since when: nobody is to be told of it as if it had just come.
_READABLE_SINCE = (
    """(SELECT max(scan.received_at) FROM scan WHERE scan.slide_id = slide.id AND scan.outcome = 'active'
        AND scan.storage = 'proven' AND scan.quality <> 'rescan')""",
    """CASE WHEN images_elsewhere AND NOT EXISTS (SELECT 1 FROM scan WHERE scan.slide_id = slide.id
        AND scan.outcome = 'active') THEN elsewhere_at END""",
    """(SELECT registered_at FROM "case" WHERE "case".id = slide.case_id AND slide.route = 'glass only')""",
)


def upgrade() -> None:
    """Apply this change."""
    _people_and_policy()
    _deadlines()
    _reads()
    _columns()
    _due()


def _columns() -> None:
    for table, name, kind, before in (
        ("assignment", "policy_version", sa.Integer(), None),
        ("assignment", "manual", sa.Boolean(), sa.false()),
        ("assignment", "accepted_at", UtcDateTime(), None),
        ("assignment", "opened_at", UtcDateTime(), None),
        ("assignment", "ended_because", sa.String(length=200), None),
        ("case", "due_kind", sa.String(length=64), None),
        ("case", "released_how", sa.String(length=32), None),
        ("case", "stated_points", sa.Double(), None),
        ("case", "round_opened_at", UtcDateTime(), None),
        # Whoever was competent so far was so whatever they looked at.
        ("competence", "glass", sa.Boolean(), sa.true()),
        ("leave", "kind", sa.String(length=16), "leave"),
        ("pathologist", "fte", sa.Double(), "1"),
        ("pathologist", "max_points", sa.Double(), None),
        ("pathologist", "known_as", _JSON, None),
        ("pathologist", "source", sa.String(length=16), "settings"),
        ("read", "weights", sa.String(length=64), "weights/1"),
        ("read", "asked_by", sa.String(length=200), None),
        ("read", "because", sa.Text(), None),
        ("read", "subspecialty", sa.String(length=64), None),
        ("site", "calendar", sa.String(length=64), None),
        ("specimen", "subspecialty", sa.String(length=64), None),
        ("specimen", "reported", sa.Boolean(), sa.false()),
        ("slide", "readable_at", UtcDateTime(), None),
    ):
        op.add_column(table, sa.Column(name, kind, nullable=before is None, server_default=before))
    op.create_index("ix_assignment_read", "assignment", ["read_id"], unique=False)
    # SQLite knows no constraint that comes later than its column.
    op.execute(
        sa.text(
            "ALTER TABLE site ADD COLUMN network_id VARCHAR(64) CONSTRAINT fk_site_network_id REFERENCES network (id)"
        )
    )
    for since in _READABLE_SINCE:
        op.execute(sa.text(f"UPDATE slide SET readable_at = {since} WHERE readable_at IS NULL"))  # noqa: S608 - our own words
    op.execute(sa.text("UPDATE \"case\" SET released_how = 'a person' WHERE released"))
    # Each case that is held back by now gets its wait from the step that it will find ready.
    op.execute(
        sa.text(
            """INSERT INTO step (kind, stage, subject_kind, subject_id, generation, edition, state, lane, rank_at,
                place, slot, attempt, lost, expired, alerted, tries, input_version, code_version, created_at)
            SELECT 'hold', 'intake', 'case', id, 1, 1, 'ready', lane, registered_at, '', '', 0, 0, false, false, 0, '',
                '', registered_at FROM "case"
            WHERE images = 'incomplete' AND NOT released AND NOT cancelled AND round_closed_at IS NULL"""
        )
    )


def _due() -> None:
    """Make a deadline of what the LIMS asked for, which so far stood with its case only; what is over is not due."""
    connection = op.get_bind()
    # A round after the first inherited what its case was due by, which had passed by then as a rule.
    is_open = "NOT cancelled AND round_closed_at IS NULL AND (round = 1 OR due_at > CURRENT_TIMESTAMP)"
    connection.execute(sa.text(f'UPDATE "case" SET due_at = NULL WHERE NOT ({is_open})'))  # noqa: S608 - our own words
    for case_id, number in connection.execute(sa.text('SELECT id, round FROM "case" WHERE due_at IS NOT NULL')).all():
        named = hashlib.sha256(framed(("deadline", case_id, str(number), "ordered"))).digest()
        connection.execute(
            sa.text(
                """INSERT INTO deadline (id, case_id, round, kind, source, basis, starts_at, due_at)
                SELECT :id, id, round, 'ordered', 'its order', 'moment', registered_at, due_at FROM "case"
                WHERE id = :of_case"""
            ),
            {"id": uuid_text(named), "of_case": case_id},
        )
    connection.execute(sa.text("UPDATE \"case\" SET due_kind = 'ordered' WHERE due_at IS NOT NULL"))


def _people_and_policy() -> None:
    op.create_table(
        "network",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network")),
    )
    op.create_table(
        "policy_version",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body", _JSON, nullable=False),
        sa.Column("begins_at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_policy_version")),
    )
    op.create_table(
        "network_aid",
        sa.Column("network_id", sa.String(length=64), nullable=False),
        sa.Column("aiding_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["aiding_id"], ["network.id"], name=op.f("fk_network_aid_aiding_id")),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_network_aid_network_id")),
        sa.PrimaryKeyConstraint("network_id", "aiding_id", name=op.f("pk_network_aid")),
    )
    op.create_table(
        "reading_conflict",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pathologist_id", sa.String(length=64), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.CheckConstraint("subject_kind IN ('case', 'patient')", name=op.f("ck_reading_conflict_subject_kind")),
        sa.ForeignKeyConstraint(
            ["pathologist_id"], ["pathologist.id"], name=op.f("fk_reading_conflict_pathologist_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_conflict")),
        sa.UniqueConstraint("pathologist_id", "subject_id", name=op.f("uq_reading_conflict_pathologist_id_subject_id")),
    )
    op.create_index(op.f("ix_reading_conflict_subject_id"), "reading_conflict", ["subject_id"], unique=False)


def _deadlines() -> None:
    op.create_table(
        "holiday",
        sa.Column("calendar", sa.String(length=64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("calendar", "day", name=op.f("pk_holiday")),
    )
    op.create_table(
        "deadline",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("basis", sa.String(length=16), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("predicted_at", UtcDateTime(), nullable=True),
        sa.Column("breached_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("basis IN ('calendar', 'working', 'moment')", name=op.f("ck_deadline_basis")),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_deadline_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deadline")),
        sa.UniqueConstraint("case_id", "round", "kind", name=op.f("uq_deadline_case_id_round_kind")),
    )
    op.create_index(op.f("ix_deadline_case_id"), "deadline", ["case_id"], unique=False)
    live = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_deadline_live", "deadline", ["due_at", "id"], unique=False, sqlite_where=live, postgresql_where=live
    )
    op.create_table(
        "deadline_pause",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_deadline_pause_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deadline_pause")),
    )
    op.create_index("ix_deadline_pause_case", "deadline_pause", ["case_id", "began_at"], unique=False)
    op.create_index(
        "uq_deadline_pause_open", "deadline_pause", ["case_id"], unique=True, sqlite_where=live, postgresql_where=live
    )


def _reads() -> None:
    op.create_table(
        "rebalance",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=True),
        sa.Column("reads", sa.Integer(), nullable=False),
        sa.Column("moved", sa.Integer(), nullable=False),
        sa.Column("held_back", sa.Integer(), nullable=False),
        sa.Column("outcome", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rebalance")),
    )
    op.create_index(op.f("ix_rebalance_at"), "rebalance", ["at"], unique=False)
    op.create_table(
        "credit",
        sa.Column("read_id", sa.String(length=36), nullable=False),
        sa.Column("pathologist_id", sa.String(length=64), nullable=False),
        sa.Column("forecast", sa.Double(), nullable=False),
        sa.Column("points", sa.Double(), nullable=False),
        sa.Column("weights", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("subspecialty", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("credited_at", UtcDateTime(), nullable=False),
        sa.Column("corrected_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["pathologist_id"], ["pathologist.id"], name=op.f("fk_credit_pathologist_id")),
        sa.ForeignKeyConstraint(["read_id"], ["read.id"], name=op.f("fk_credit_read_id")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_credit_site_id")),
        sa.PrimaryKeyConstraint("read_id", name=op.f("pk_credit")),
    )
    op.create_index("ix_credit_person", "credit", ["pathologist_id", "credited_at"], unique=False)
    op.create_table(
        "declined",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("read_id", sa.String(length=36), nullable=False),
        sa.Column("pathologist_id", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["pathologist_id"], ["pathologist.id"], name=op.f("fk_declined_pathologist_id")),
        sa.ForeignKeyConstraint(["read_id"], ["read.id"], name=op.f("fk_declined_read_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_declined")),
        sa.UniqueConstraint("read_id", "pathologist_id", name=op.f("uq_declined_read_id_pathologist_id")),
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pathologist_id", sa.String(length=64), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("read_id", sa.String(length=36), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_notice_case_id")),
        sa.ForeignKeyConstraint(["pathologist_id"], ["pathologist.id"], name=op.f("fk_notice_pathologist_id")),
        sa.ForeignKeyConstraint(["read_id"], ["read.id"], name=op.f("fk_notice_read_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index(op.f("ix_notice_case_id"), "notice", ["case_id"], unique=False)
    op.create_index("ix_notice_unseen", "notice", ["pathologist_id", "seen_at"], unique=False)
    op.create_table(
        "read_specimen",
        sa.Column("read_id", sa.String(length=36), nullable=False),
        sa.Column("specimen_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["read_id"], ["read.id"], name=op.f("fk_read_specimen_read_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimen.id"], name=op.f("fk_read_specimen_specimen_id")),
        sa.PrimaryKeyConstraint("read_id", "specimen_id", name=op.f("pk_read_specimen")),
    )


def downgrade() -> None:
    """Refuse: who read what, by which rules and by when, is not forgotten."""
    message = "who read what, and by which rules, is not forgotten: restore a backup instead"
    raise NotImplementedError(message)
