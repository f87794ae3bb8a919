"""What a LIMS says beside orders: merges, moved visits, reports, readers, images elsewhere, and work we ask for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.base import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Apply this change."""
    _patients_and_cases()
    for name, kind in (
        ("images_elsewhere", sa.Boolean()),
        ("elsewhere_study_uid", sa.String(length=64)),
        ("elsewhere_series_uid", sa.String(length=64)),
        ("elsewhere_at", UtcDateTime()),
    ):
        op.add_column("slide", sa.Column(name, kind, nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        # Some senders make MSH-13 of the time, which is more than four bytes hold.
        op.alter_column("fact", "sequence_number", type_=sa.BigInteger(), existing_nullable=True)
    # What a person had applied in place of a message that was set aside.
    op.add_column("inbox", sa.Column("replaced_by_id", sa.String(length=36), nullable=True))
    op.create_index(
        "ix_inbox_replaced",
        "inbox",
        ["replaced_by_id"],
        sqlite_where=sa.text("replaced_by_id IS NOT NULL"),
        postgresql_where=sa.text("replaced_by_id IS NOT NULL"),
    )
    op.create_table(
        "work_order",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("stain", sa.String(length=200), nullable=False),
        sa.Column("asked_by", sa.String(length=200), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("filler_number", sa.String(length=200), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("made_container", sa.String(length=200), nullable=True),
        sa.Column("made_issuer", sa.String(length=200), nullable=True),
        sa.CheckConstraint(
            "kind IN ('rescan', 'recut', 'stain', 'new block', 're-coverslip')", name=op.f("ck_work_order_kind")
        ),
        sa.CheckConstraint("subject_kind IN ('slide', 'block')", name=op.f("ck_work_order_subject_kind")),
        sa.CheckConstraint(
            "state IN ('asked', 'accepted', 'refused', 'fulfilled', 'cancelled')", name=op.f("ck_work_order_state")
        ),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_work_order_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_order")),
        sa.UniqueConstraint("number", name=op.f("uq_work_order_number")),
    )
    op.create_index(op.f("ix_work_order_case_id"), "work_order", ["case_id"], unique=False)
    op.create_index(op.f("ix_work_order_subject_id"), "work_order", ["subject_id"], unique=False)


def _patients_and_cases() -> None:
    op.add_column("patient", sa.Column("merged_into_id", sa.String(length=36), nullable=True))
    op.create_index(op.f("ix_patient_merged_into_id"), "patient", ["merged_into_id"], unique=False)
    op.add_column("case", sa.Column("named_patient_id", sa.String(length=36), nullable=True))
    op.create_index(op.f("ix_case_named_patient_id"), "case", ["named_patient_id"], unique=False)
    op.add_column("case", sa.Column("round_closed_at", UtcDateTime(), nullable=True))
    op.add_column("case", sa.Column("reader_stated", _JSON, nullable=True))
    # Nobody was merged or moved so far.
    op.execute(sa.text('UPDATE "case" SET named_patient_id = patient_id'))
    for table, column in (("case_visit", "visit_id"), ("case_patient", "patient_id")):
        op.create_table(
            table,
            sa.Column("case_id", sa.String(length=36), nullable=False),
            sa.Column(column, sa.String(length=36), nullable=False),
            sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f(f"fk_{table}_case_id")),
            sa.PrimaryKeyConstraint("case_id", column, name=op.f(f"pk_{table}")),
        )
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def downgrade() -> None:
    """Refuse: a merge or a work order that is forgotten is a fault that nobody would find."""
    message = "what a LIMS said of patients and reports is not forgotten: restore a backup instead"
    raise NotImplementedError(message)
