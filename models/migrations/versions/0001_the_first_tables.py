"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.base import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

# The books are written once: neither we nor a hand with a database shell changes a line of them by mistake.
_APPEND_ONLY = ("history", "fact")


def _make_append_only(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_is_append_only()"
    )


def upgrade() -> None:
    """Apply this change."""
    op.create_table(
        "alert",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("raised_at", UtcDateTime(), nullable=False),
        sa.Column("cleared_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.create_index(
            "uq_alert_open",
            ["subject_id", "kind"],
            unique=True,
            sqlite_where=sa.text("cleared_at IS NULL"),
            postgresql_where=sa.text("cleared_at IS NULL"),
        )

    op.create_table(
        "history",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("cause", sa.String(length=200), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.create_index("ix_history_subject", ["subject_id", "id"], unique=False)

    op.create_table(
        "identifier",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.Column("valid_from", UtcDateTime(), nullable=True),
        sa.Column("valid_to", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identifier")),
        sa.UniqueConstraint(
            "subject_id", "kind", "issuer", "value", name=op.f("uq_identifier_subject_id_kind_issuer_value")
        ),
    )
    with op.batch_alter_table("identifier", schema=None) as batch_op:
        batch_op.create_index("ix_identifier_lookup", ["kind", "value", "issuer"], unique=False)

    op.create_table(
        "inbox",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("message_control_id", sa.String(length=200), nullable=True),
        sa.Column("message_type", sa.String(length=64), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("state IN ('kept', 'applied', 'set aside')", name=op.f("ck_inbox_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("peer", "sha256", name=op.f("uq_inbox_peer_sha256")),
    )
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.create_index("ix_inbox_control", ["peer", "message_control_id"], unique=False)
        batch_op.create_index("ix_inbox_state", ["state", "received_at"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("event_key", sa.String(length=128), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("announcement", _JSON, nullable=False),
        sa.Column("message_control_id", sa.String(length=20), nullable=False),
        sa.Column("stated_at", UtcDateTime(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.Column("answer_code", sa.String(length=8), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("state = 'pending' OR payload IS NOT NULL", name=op.f("ck_outbox_answered_was_frozen")),
        sa.CheckConstraint("state IN ('pending', 'answered', 'refused')", name=op.f("ck_outbox_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("peer", "event_key", name=op.f("uq_outbox_peer_event_key")),
        sa.UniqueConstraint("peer", "message_control_id", name=op.f("uq_outbox_peer_message_control_id")),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outbox_subject_id"), ["subject_id"], unique=False)

    op.create_table(
        "patient",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("family_name", sa.String(length=200), nullable=True),
        sa.Column("given_name", sa.String(length=200), nullable=True),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("sex", sa.String(length=16), nullable=True),
        sa.Column("nhs_number_status", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient")),
    )
    op.create_table(
        "pool",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pool")),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
    op.create_table(
        "step",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("rank_at", UtcDateTime(), nullable=False),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("slot", sa.String(length=64), nullable=False),
        sa.Column("order_key", sa.String(length=128), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(length=36), nullable=True),
        sa.Column("deadline_at", UtcDateTime(), nullable=True),
        sa.Column("waiting_for", sa.String(length=64), nullable=True),
        sa.Column("waiting_key", sa.String(length=400), nullable=True),
        sa.Column("waiting_since", UtcDateTime(), nullable=True),
        sa.Column("waiting_until", UtcDateTime(), nullable=True),
        sa.Column("waiting_then", sa.String(length=200), nullable=True),
        sa.Column("expired", sa.Boolean(), nullable=False),
        sa.Column("alerted", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("input_version", sa.String(length=64), nullable=False),
        sa.Column("code_version", sa.String(length=32), nullable=False),
        sa.Column("result", _JSON, nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("(state = 'running') = (worker_id IS NOT NULL)", name=op.f("ck_step_running_has_a_worker")),
        sa.CheckConstraint(
            "(state = 'waiting') = (waiting_for IS NOT NULL)", name=op.f("ck_step_waiting_says_for_what")
        ),
        sa.CheckConstraint("state <> 'waiting' OR waiting_until IS NOT NULL", name=op.f("ck_step_waiting_ends")),
        sa.CheckConstraint(
            "state IN ('ready', 'running', 'waiting', 'done', 'set aside', 'superseded', 'cancelled')",
            name=op.f("ck_step_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_step")),
        sa.UniqueConstraint("subject_id", "kind", "generation", name=op.f("uq_step_subject_id_kind_generation")),
    )
    with op.batch_alter_table("step", schema=None) as batch_op:
        batch_op.create_index(
            "ix_step_claim",
            ["stage", "slot", "lane", "rank_at", "id"],
            unique=False,
            sqlite_where=sa.text("state = 'ready'"),
            postgresql_where=sa.text("state = 'ready'"),
        )
        batch_op.create_index(
            "ix_step_order",
            ["order_key", "id"],
            unique=False,
            sqlite_where=sa.text("state IN ('ready', 'running', 'waiting')"),
            postgresql_where=sa.text("state IN ('ready', 'running', 'waiting')"),
        )
        batch_op.create_index(
            "ix_step_until",
            ["waiting_until"],
            unique=False,
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        )
        batch_op.create_index(
            "ix_step_waiting",
            ["waiting_for", "waiting_key"],
            unique=False,
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        )
        batch_op.create_index(
            "ix_step_worker",
            ["worker_id"],
            unique=False,
            sqlite_where=sa.text("state = 'running'"),
            postgresql_where=sa.text("state = 'running'"),
        )

    op.create_table(
        "worker",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("engine", sa.String(length=200), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    op.create_table(
        "case",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("patient_id", sa.String(length=36), nullable=True),
        sa.Column("subspecialty", sa.String(length=64), nullable=True),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=True),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.Column("images", sa.String(length=16), nullable=False),
        sa.Column("reading", sa.String(length=16), nullable=False),
        sa.Column("report", sa.String(length=16), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("registered_at", UtcDateTime(), nullable=False),
        sa.Column("orders_changed_at", UtcDateTime(), nullable=False),
        sa.Column("expected_closed_at", UtcDateTime(), nullable=True),
        sa.Column("completeness_version", sa.Integer(), nullable=False),
        sa.Column("identity_digest", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "images <> 'ready' OR expected_closed_at IS NOT NULL OR released", name=op.f("ck_case_ready_is_closed")
        ),
        sa.CheckConstraint("images IN ('awaiting', 'incomplete', 'ready')", name=op.f("ck_case_images")),
        sa.CheckConstraint("reading IN ('none', 'unassigned', 'assigned')", name=op.f("ck_case_reading")),
        sa.CheckConstraint(
            "report IN ('none', 'preliminary', 'final', 'supplementary', 'corrected', 'cancelled')",
            name=op.f("ck_case_report"),
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name=op.f("fk_case_patient_id")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_case_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case")),
    )
    with op.batch_alter_table("case", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_case_patient_id"), ["patient_id"], unique=False)
        batch_op.create_index("ix_case_site_images", ["site_id", "images"], unique=False)

    op.create_table(
        "fact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("effective_at", UtcDateTime(), nullable=False),
        sa.Column("sequence_number", sa.Integer(), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body", _JSON, nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("inbox_id", sa.String(length=36), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["inbox_id"], ["inbox.id"], name=op.f("fk_fact_inbox_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fact")),
        sa.UniqueConstraint("subject_id", "digest", name=op.f("uq_fact_subject_id_digest")),
    )
    op.create_table(
        "pathologist",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("pool_id", sa.String(length=64), nullable=False),
        sa.Column("points_a_week", sa.Double(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.CheckConstraint("points_a_week > 0", name=op.f("ck_pathologist_capacity")),
        sa.ForeignKeyConstraint(["pool_id"], ["pool.id"], name=op.f("fk_pathologist_pool_id")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_pathologist_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pathologist")),
    )
    op.create_table(
        "scan_file",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("root", sa.String(length=64), nullable=False),
        sa.Column("relative_path", sa.String(length=1024), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("place", sa.String(length=64), nullable=True),
        sa.Column("scan_id", sa.String(length=36), nullable=True),
        sa.CheckConstraint("state <> 'taken' OR sha256 IS NOT NULL", name=op.f("ck_scan_file_taken_is_hashed")),
        sa.CheckConstraint("state IN ('arriving', 'taken', 'duplicate', 'refused')", name=op.f("ck_scan_file_state")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_scan_file_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_file")),
        sa.UniqueConstraint(
            "root",
            "relative_path",
            "bytes",
            "modified_ns",
            name=op.f("uq_scan_file_root_relative_path_bytes_modified_ns"),
        ),
    )
    with op.batch_alter_table("scan_file", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_scan_file_scan_id"), ["scan_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_scan_file_sha256"), ["sha256"], unique=False)
        batch_op.create_index(
            "uq_scan_file_arriving",
            ["root", "relative_path"],
            unique=True,
            sqlite_where=sa.text("state = 'arriving'"),
            postgresql_where=sa.text("state = 'arriving'"),
        )

    op.create_table(
        "slot",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("step_id", sa.Integer(), nullable=True),
        sa.Column("paused_until", UtcDateTime(), nullable=True),
        sa.Column("paused_because", sa.Text(), nullable=True),
        sa.Column("silent_since", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["step_id"], ["step.id"], name=op.f("fk_slot_step_id")),
        sa.PrimaryKeyConstraint("name", "number", name=op.f("pk_slot")),
    )
    with op.batch_alter_table("slot", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_slot_step_id"), ["step_id"], unique=False)

    op.create_table(
        "block",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("container_identifier", sa.String(length=200), nullable=False),
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_block_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_block")),
        sa.UniqueConstraint("issuer", "container_identifier", name=op.f("uq_block_issuer_container_identifier")),
    )
    with op.batch_alter_table("block", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_block_case_id"), ["case_id"], unique=False)

    op.create_table(
        "case_site",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_case_site_case_id")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_case_site_site_id")),
        sa.PrimaryKeyConstraint("case_id", "role", "site_id", name=op.f("pk_case_site")),
    )
    op.create_table(
        "competence",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pathologist_id", sa.String(length=64), nullable=False),
        sa.Column("subspecialty", sa.String(length=64), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("digital", sa.Boolean(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["pathologist_id"], ["pathologist.id"], name=op.f("fk_competence_pathologist_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_competence")),
        sa.UniqueConstraint(
            "pathologist_id",
            "subspecialty",
            "valid_from",
            name=op.f("uq_competence_pathologist_id_subspecialty_valid_from"),
        ),
    )
    op.create_table(
        "derivation",
        sa.Column("child_id", sa.String(length=36), nullable=False),
        sa.Column("parent_id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_derivation_case_id")),
        sa.PrimaryKeyConstraint("child_id", "parent_id", name=op.f("pk_derivation")),
    )
    with op.batch_alter_table("derivation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_derivation_case_id"), ["case_id"], unique=False)

    op.create_table(
        "leave",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pathologist_id", sa.String(length=64), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(["pathologist_id"], ["pathologist.id"], name=op.f("fk_leave_pathologist_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leave")),
        sa.UniqueConstraint("pathologist_id", "first_day", name=op.f("uq_leave_pathologist_id_first_day")),
    )
    op.create_table(
        "read",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("supervisor_id", sa.String(length=64), nullable=True),
        sa.Column("points", sa.Double(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "role IN ('primary', 'second', 'trainee', 'opinion', 'intra-operative', 'mdt')", name=op.f("ck_read_role")
        ),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_read_case_id")),
        sa.ForeignKeyConstraint(["supervisor_id"], ["pathologist.id"], name=op.f("fk_read_supervisor_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_read")),
        sa.UniqueConstraint("case_id", "round", "scope", "role", name=op.f("uq_read_case_id_round_scope_role")),
    )
    with op.batch_alter_table("read", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_read_case_id"), ["case_id"], unique=False)

    op.create_table(
        "reading_session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pathologist_id", sa.String(length=64), nullable=False),
        sa.Column("weekday", sa.Integer(), nullable=False),
        sa.Column("starts", sa.Time(), nullable=False),
        sa.Column("ends", sa.Time(), nullable=False),
        sa.CheckConstraint("weekday BETWEEN 0 AND 6", name=op.f("ck_reading_session_weekday")),
        sa.ForeignKeyConstraint(["pathologist_id"], ["pathologist.id"], name=op.f("fk_reading_session_pathologist_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_session")),
        sa.UniqueConstraint(
            "pathologist_id", "weekday", "starts", name=op.f("uq_reading_session_pathologist_id_weekday_starts")
        ),
    )
    op.create_table(
        "slide",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("container_identifier", sa.String(length=200), nullable=False),
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("stains", _JSON, nullable=False),
        sa.Column("stain_text", sa.String(length=200), nullable=True),
        sa.Column("route", sa.String(length=16), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("preferred_scan_id", sa.String(length=36), nullable=True),
        sa.CheckConstraint("route IN ('scan', 'glass only')", name=op.f("ck_slide_route")),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_slide_case_id")),
        sa.ForeignKeyConstraint(["preferred_scan_id"], ["scan.id"], name="fk_slide_preferred_scan_id", use_alter=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slide")),
        sa.UniqueConstraint("issuer", "container_identifier", name=op.f("uq_slide_issuer_container_identifier")),
    )
    with op.batch_alter_table("slide", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_slide_case_id"), ["case_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_slide_container_identifier"), ["container_identifier"], unique=False)

    op.create_table(
        "specimen",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("container_identifier", sa.String(length=200), nullable=False),
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("specimen_type", _JSON, nullable=True),
        sa.Column("anatomic_site", _JSON, nullable=True),
        sa.Column("laterality", _JSON, nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=True),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_specimen_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_specimen")),
        sa.UniqueConstraint("issuer", "container_identifier", name=op.f("uq_specimen_issuer_container_identifier")),
    )
    with op.batch_alter_table("specimen", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_specimen_case_id"), ["case_id"], unique=False)

    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("read_id", sa.String(length=36), nullable=False),
        sa.Column("pathologist_id", sa.String(length=64), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.String(length=200), nullable=False),
        sa.Column("explanation", _JSON, nullable=False),
        sa.ForeignKeyConstraint(["pathologist_id"], ["pathologist.id"], name=op.f("fk_assignment_pathologist_id")),
        sa.ForeignKeyConstraint(["read_id"], ["read.id"], name=op.f("fk_assignment_read_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment")),
    )
    with op.batch_alter_table("assignment", schema=None) as batch_op:
        batch_op.create_index("ix_assignment_pathologist_open", ["pathologist_id", "ended_at"], unique=False)
        batch_op.create_index(
            "uq_assignment_open",
            ["read_id"],
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )

    op.create_table(
        "scan",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("scanner", sa.String(length=64), nullable=False),
        sa.Column("slide_id", sa.String(length=36), nullable=True),
        sa.Column("case_id", sa.String(length=36), nullable=True),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("quality", sa.String(length=16), nullable=False),
        sa.Column("quality_by_person", sa.Boolean(), nullable=False),
        sa.Column("identity", sa.String(length=16), nullable=False),
        sa.Column("storage", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("scanned_at", UtcDateTime(), nullable=True),
        sa.Column("superseded_by_id", sa.String(length=36), nullable=True),
        sa.Column("traceparent", sa.String(length=64), nullable=False),
        sa.CheckConstraint("(identity = 'matched') = (slide_id IS NOT NULL)", name=op.f("ck_scan_matched_has_a_slide")),
        sa.CheckConstraint("identity IN ('pending', 'matched', 'unmatched')", name=op.f("ck_scan_identity")),
        sa.CheckConstraint(
            "outcome IN ('active', 'set aside', 'superseded', 'cancelled', 'withdrawn')", name=op.f("ck_scan_outcome")
        ),
        sa.CheckConstraint(
            "quality IN ('pending', 'pass', 'review', 'rescan', 'cannot judge')", name=op.f("ck_scan_quality")
        ),
        sa.CheckConstraint("purpose IN ('primary', 'replacement')", name=op.f("ck_scan_purpose")),
        sa.CheckConstraint("storage = 'received' OR slide_id IS NOT NULL", name=op.f("ck_scan_stored_is_matched")),
        sa.CheckConstraint("storage IN ('received', 'stored', 'proven', 'purged')", name=op.f("ck_scan_storage")),
        sa.CheckConstraint("(slide_id IS NULL) = (case_id IS NULL)", name=op.f("ck_scan_slide_has_a_case")),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_scan_case_id")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_scan_site_id")),
        sa.ForeignKeyConstraint(["slide_id"], ["slide.id"], name=op.f("fk_scan_slide_id")),
        sa.ForeignKeyConstraint(["superseded_by_id"], ["scan.id"], name=op.f("fk_scan_superseded_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan")),
    )
    with op.batch_alter_table("scan", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_scan_case_id"), ["case_id"], unique=False)
        batch_op.create_index("ix_scan_site_outcome", ["site_id", "outcome", "storage"], unique=False)
        batch_op.create_index(batch_op.f("ix_scan_slide_id"), ["slide_id"], unique=False)

    op.create_table(
        "instance",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scan_id", sa.String(length=36), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.CheckConstraint("state IN ('converted', 'stored', 'proven', 'rejected')", name=op.f("ck_instance_state")),
        sa.ForeignKeyConstraint(["scan_id"], ["scan.id"], name=op.f("fk_instance_scan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("scan_id", "edition", "role", name=op.f("uq_instance_scan_id_edition_role")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_instance_sop_instance_uid")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # The two tables name each other: Alembic leaves this key out where it can be added afterwards.
        op.create_foreign_key("fk_slide_preferred_scan_id", "slide", "scan", ["preferred_scan_id"], ["id"])
    for table in _APPEND_ONLY:
        _make_append_only(table)


def downgrade() -> None:
    """Refuse: these tables hold everything that is known, and there is nothing before them."""
    message = "the first tables are not taken back: restore a backup instead"
    raise NotImplementedError(message)
