"""Waiting for leases, for threads: one thread and one connection listen for all, while there is anybody who waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from cachefence_web.core.effects import Wait
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.link import Link
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.refusals import BROKEN, checked
from cachefence_web.stores.redis.scripts import Command
from cachefence_web.stores.redis.waiting import LINGER, REFUSED, RETRY, Watch, Watches, pause

log = logging.getLogger("cachefence_web")


class Listener:
    """connect: makes a link of the listener's own; ask: sends a command on one of the pool's, within a deadline."""

    def __init__(
        self, names: Names, connect: Callable[[], Link], ask: Callable[[Command], Any],
        linger: float = LINGER,
    ) -> None:
        self._connect = connect
        self._ask = ask
        self._linger = linger
        self._lock = threading.Lock()
        self._watches = Watches(names)
        self._thread: threading.Thread | None = None
        self._link: Link | None = None
        self._closing = threading.Event()
        self._retry_at = 0.0

    def wait(self, effect: Wait) -> float:
        """Sleep until the lease is no longer the holder's, at most `timeout` seconds; the seconds slept."""
        began = monotonic()
        ended = threading.Event()
        watch = Watch(effect, ended.set)
        with self._lock:
            if not self._watches.add(watch):
                return 0.0
            if self._thread is None:
                self._closing = threading.Event()
                self._thread = threading.Thread(
                    target=self._listen, args=(self._closing,), name="cachefence-listener", daemon=True)
                self._thread.start()
        try:
            ended.wait(effect.timeout)
        finally:
            with self._lock:
                self._watches.remove(watch)
        return monotonic() - began

    def close(self) -> None:
        """End the thread, and wake whoever waits."""
        with self._lock:
            self._closing.set()
            thread, self._thread = self._thread, None
            if self._link is not None:
                self._link.hang_up()
            self._watches.wake_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def abandon(self) -> None:
        """In a forked child, which has no thread: close the copy of the connection, unsaid."""
        if self._link is not None:
            self._link.close()

    def _listen(self, closing: threading.Event) -> None:
        """Listen and ask, until nobody has waited for a while."""
        link: Link | None = None
        ask_at = monotonic()
        ends_at = ask_at + self._linger
        while not closing.is_set():
            now = monotonic()
            if link is None and now >= self._retry_at:
                self._retry_at = now + RETRY
                link = self._begin(closing)
                ask_at = now if link is None else now + pause(listening=True)
            with self._lock:
                if self._watches:
                    ends_at = now + self._linger
                elif now >= ends_at:
                    self._thread = None
                    break
            if now >= ask_at:
                self._look()
                ask_at = now + pause(listening=link is not None)
            link = self._hear(link, max(0.0, ask_at - monotonic()), closing)
        self._end(link)

    def _begin(self, closing: threading.Event) -> Link | None:
        """A link on which the ends of leases are told, or None: then asking has to do."""
        try:
            link = self._connect()
        except (StoreUnavailable, *BROKEN):
            return None
        with self._lock:
            self._link = link
            if closing.is_set():
                link.hang_up()
        try:
            link.send(self._watches.subscription())
        except BROKEN:
            self._end(link)
            return None
        return link

    def _hear(self, link: Link | None, patience: float, closing: threading.Event) -> Link | None:
        """Listen for so many seconds; None once the link is of no use any longer."""
        if link is None:
            closing.wait(patience)
            return None
        try:
            message = link.hear(patience)
            if message is not None:
                with self._lock:
                    begun = self._watches.hear(checked(message))
                if begun:
                    # What ended before this was told to nobody.
                    self._look()
        except StoreUnavailable as refused:
            log.warning("the ends of leases are asked for, since nobody tells them: %s", refused)
            self._retry_at = monotonic() + REFUSED
        except BROKEN:
            pass
        else:
            return link
        self._end(link)
        return None

    def _look(self) -> None:
        with self._lock:
            asked, question = self._watches.question()
        if not asked:
            return
        try:
            reply = self._ask(question)
            with self._lock:
                self._watches.answer(asked, reply)
        except StoreUnavailable:
            with self._lock:
                self._watches.wake_all()

    def _end(self, link: Link | None) -> None:
        with self._lock:
            if self._link is link:
                self._link = None
        if link is not None:
            link.close()
