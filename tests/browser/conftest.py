"""What the browser's tests share: a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.chromium import Tab


@pytest.fixture
def tab() -> Iterator[Tab]:
    """A tab of a browser that has been nowhere yet."""
    pytest.importorskip("websockets", reason="the browser is driven through a web socket: pip install websockets")
    from tests.browser.chromium import Chromium, binary

    program = binary()
    if program is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")
    with Chromium(program) as browser, browser.tab() as tab:
        yield tab
