"""A PostgreSQL whose connections are cut."""

from tests import postgres

postgres_server = postgres.postgres_server
