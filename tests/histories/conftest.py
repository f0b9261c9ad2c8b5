"""A PostgreSQL whose connections are cut."""

from tests import sharing

postgres_server = sharing.postgres_server
