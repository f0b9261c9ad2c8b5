"""A PostgreSQL for the tests of a folder, which may share it with others' or take one of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for all tests of a folder; those whose tables have the names of others' take one of their own.

    That is done by naming it in the folder's conftest.py: `postgres_server = sharing.postgres_server`.
    """
    with PostgresServer() as server:
        yield server
