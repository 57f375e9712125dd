"""Alembic's environment: migrate over the connection that `nightflow.store.migrate` hands in."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import nightflow.store.models  # noqa: F401  (fills the metadata)

# Both dialects can undo DDL, and the caller's transaction does so where a migration fails.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
