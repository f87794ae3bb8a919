"""Alembic's entry: runs the migrations on the connection that ``models.migrate`` hands over."""

from alembic import context

from models import tables
from models.base import Base

_ = tables  # importing the package makes every table known
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transaction_per_migration=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
