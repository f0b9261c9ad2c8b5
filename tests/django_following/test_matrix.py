"""P3, for every way to write and every kind of read: after the write the page is right at the next request.

No page names a tag. What a page must be is what its read gives, asked past the cache. What is found, of hits too, is
what docs/invalidation.md says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.django_following.pages import KINDS, READS
from tests.django_following.shop.models import BY_DATABASE
from tests.django_following.writes import ON_POSTGRESQL, ON_SQLITE, UNKNOWN_ROWS, UNSEEN, WRITES
from tests.invalidation_table import CHANGED, DATABASES, KEPT, WRONG, Shown, cells, table

TABLE = table("Django")
OTHER = "another row"
PAGES = {**{name: (name, 1) for name in READS}, OTHER: ("pk", 2)}
IN_61 = "delete, cascading in the database"
TRIED = [(write, vendor) for write in WRITES for vendor in ("sqlite", "postgresql")
         if write not in (ON_POSTGRESQL if vendor == "sqlite" else ON_SQLITE)]


def shown(client: Client, name: str, pk: int = 1) -> tuple[str, bool]:
    """A page, and whether it was a hit."""
    answer = client.get(f"/{name}/{pk}/")
    assert answer.status_code == 200
    return answer.content.decode(), "hit" in answer["Cache-Status"]


@pytest.mark.parametrize(("write", "vendor"), TRIED, indirect=["vendor"])
def test_p3_every_page_is_right_at_the_next_request(
    write: str, vendor: str, database: Callable[[], None], client: Client
) -> None:
    before = {page: shown(client, *PAGES[page])[0] for page in PAGES}
    unhit = [page for page in PAGES if not shown(client, *PAGES[page])[1]]
    assert unhit == [], "pages that were not stored"

    WRITES[write]()

    found = {}
    for page, (name, pk) in PAGES.items():
        after, hit = shown(client, name, pk)
        found[page] = Shown(before[page], after, repr(READS[name](pk)), hit)
    wrong = [page for page in found if found[page].symbol == WRONG]
    assert bool(wrong) is (write in UNSEEN), wrong
    assert CHANGED in [each.symbol for each in found.values()] or write in UNSEEN, "it proves nothing"
    if write == IN_61 and BY_DATABASE is None:
        TABLE.untried(write)
        return
    assert (found[OTHER].symbol == KEPT) is (write not in UNKNOWN_ROWS)
    TABLE.agrees(write, DATABASES[vendor == "postgresql"], cells(found, KINDS))


def test_the_page_tells_of_every_write() -> None:
    assert list(TABLE.rows) == list(WRITES)


def test_a_page_of_a_row_outlives_new_rows(database: Any, client: Client) -> None:
    for name in ("pk", "pk_get", "raw", "values", "raw_queryset"):
        shown(client, name)
        WRITES["create"]()
        assert shown(client, name)[1], name
        database()
