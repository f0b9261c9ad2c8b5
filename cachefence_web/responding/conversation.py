"""Decisions only: from a request to its answer, by way of the store or the application; see `steps.py`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from cachefence_web.core.effects import Plan
from cachefence_web.core.flight import Landing, Lead, PassBy, Served, Status
from cachefence_web.core.tags import Lease
from cachefence_web.http import (
    Allowed,
    Bypass,
    Collapsed,
    Forward,
    Forwarded,
    Headers,
    Hit,
    Outcome,
    Reason,
    Refused,
    Response,
    Shown,
    Storable,
    Stored,
    Unsafe,
    answers_from_cache,
    freshened,
    invalidated,
    nobodys,
    normalized,
    pack,
    response_key,
    storable,
    unavailable,
    url_tag,
    validators,
    variant_key,
)
from cachefence_web.responding.exchange import Described, Rule
from cachefence_web.responding.judging import Judgement
from cachefence_web.responding.steps import (
    Begin,
    Call,
    Date,
    Deliver,
    Fail,
    Finish,
    Forget,
    GiveUp,
    Invalidate,
    Offer,
    Peek,
    Told,
)
from cachefence_web.responding.telling import DEPENDS, NOT_WHOLE, untold, written
from cachefence_web.runtime.engine import log

V = TypeVar("V")

MOST_VARIANTS_DEEP = 4
"""How often a response's Vary may lead on to a response with another Vary, before the application is asked."""

_ERRORS = (500, 502, 503, 504)
_MADE_NOW = (Status.STORED, Status.UNSTORED)
_OF_ONE_VISITOR = frozenset({Reason.PERSONAL, Reason.NOT_MODIFIED, Reason.AUTHORIZATION, Reason.COOKIE})


class ServerError(Exception):
    """A view has answered with a status that RFC 5861 section 4 counts as an error."""


def conversation(
    exchange: Described[V], rule: Rule, now: Callable[[], float], *, explained: bool = False
) -> Plan[V | None]:
    """The answer to a request: stored, shared with others who ask for it now, or made; None if it was delivered.

    explained: somebody wants to know what is made depends on.
    """
    asked = answers_from_cache(exchange.request, rule.http)
    match asked:
        case Bypass(why, reason):
            return exchange.mark((yield from Call()), Forwarded(why, detail=reason))
        case Unsafe():
            return (yield from _change(exchange, rule))
        case Allowed():
            return (yield from _Conversation(exchange, rule, asked, now, explained).answer())


def _change(exchange: Described[V], rule: Rule) -> Plan[V | None]:
    """Invalidate before the answer goes out, and again after it: the transaction around the view may end in between."""
    answer: V = yield from Call()
    marked = exchange.mark(answer, Forwarded(Forward.METHOD, detail=Reason.METHOD))
    tags = invalidated(normalized(exchange.request, rule.http), exchange.head(answer))
    if not tags:
        return marked
    yield from Invalidate(tags)
    yield from Deliver(marked)
    yield from Invalidate(tags)
    return None


class _Conversation(Generic[V]):
    """One request that the store may answer."""

    def __init__(
        self, exchange: Described[V], rule: Rule, asked: Allowed, now: Callable[[], float], explained: bool
    ) -> None:
        self._exchange, self._rule, self._asked, self._now, self._explained = exchange, rule, asked, now, explained
        self._request = normalized(exchange.request, rule.http)
        self._tags = (url_tag(self._request), *rule.tags)
        self._key = response_key(self._request, rule.http)
        self._why = Forward.MISS

    def answer(self) -> Plan[V | None]:
        """Look, as far as Vary leads on; then what there is to do."""
        since: Lease | None = None
        for _ in range(MOST_VARIANTS_DEEP):
            judge = Judgement(self._request, self._asked)
            begun = yield from self._look(judge)
            match begun:
                case Served():
                    stored = judge.stored(begun)
                    if stored is None:
                        break
                    if not judge.matches(stored):
                        self._key, self._why = variant_key(self._key, stored, self._request), Forward.VARY_MISS
                        continue
                    if begun.status in _MADE_NOW and judge.never_fresh(stored):
                        break  # made for another, and to be validated before anybody else has it
                    return self._show(stored, _outcome(begun, stored), self._listed(begun))
                case Lead():
                    return (yield from self._lead(begun, judge))
                case PassBy():
                    since = begun.since
                case None if self._asked.wishes is not None and self._asked.wishes.only_if_cached:
                    return self._exchange.rebuild(unavailable())
                case None:
                    pass
            break
        return (yield from self._alone(since))

    def _look(self, judge: Judgement) -> Plan[Served | Lead | PassBy | None]:
        policy = self._rule.policy
        if self._asked.fills:
            return (yield from Begin(self._key, self._tags, policy, judge))
        return (yield from Peek(self._key, policy, judge))

    def _show(self, stored: Stored, outcome: Outcome, told: Headers = ()) -> V:
        shown = Shown(self._rule.http, self._key, self._now())
        response = shown.serve(self._exchange.request, stored, outcome)
        return self._exchange.rebuild(replace(response, headers=(*response.headers, *told)) if told else response)

    def _tell(self, why: str | None = None) -> Plan[Headers]:
        """The fields that say what was made depends on, and why it is not stored to who explains it."""
        if not (self._explained or self._rule.debug_header):
            return ()
        return self._fields((yield from Told(why)))

    def _listed(self, served: Served) -> Headers:
        """The same of what was found; what its tags came from is not stored."""
        return self._fields(dict.fromkeys(served.tags, ())) if self._rule.debug_header else ()

    def _fields(self, depends: Mapping[str, tuple[str, ...]]) -> Headers:
        return ((DEPENDS, written(depends)),) if self._rule.debug_header and depends else ()

    def _alone(self, since: Lease | None) -> Plan[V]:
        """For this asker; what turns out fit for sharing is stored all the same."""
        if self._asked.offers and (self._asked.authorized or (since is not None and self._rule.http.by_headers)):
            # A response that says itself how long it lives is dated to the moment.
            since = yield from Date()
        answer: V = yield from Call(wanted=since is not None, why=self._why)
        reason: Reason | None = None
        if since is not None:
            judged = self._judge(answer)
            if isinstance(judged, Storable):
                tags = (*self._tags, *judged.tags)
                filed = yield from Offer(self._key, pack(judged.stored), since, judged.life, tags)
                told = yield from self._tell()
                return self._exchange.mark(answer, Forwarded(self._why, stored=filed), told)
            reason = judged.reason if judged is not None else None
            told = yield from self._tell(reason or NOT_WHOLE)
            return self._exchange.mark(answer, Forwarded(self._why, detail=reason), told)
        return self._exchange.mark(answer, Forwarded(self._why, detail=reason))

    def _judge(self, answer: V) -> Storable | Refused | None:
        response = self._exchange.describe(answer)
        return None if response is None else self._storable(response, answer)

    def _storable(self, response: Response, answer: V, behind: Headers | None = None) -> Storable | Refused:
        """behind: the fields that it was really asked for with, if not by the visitor."""
        asked = self._request if behind is None else replace(self._request, headers=behind)
        return storable(asked, untold(response), self._rule.http, personal=self._exchange.personal(answer),
                        life=self._rule.policy, now=self._now())

    def _lead(self, lead: Lead, judge: Judgement) -> Plan[V | None]:
        """Have it made, for everybody; the visitor waits for it only if there is nothing to show."""
        if lead.stale is not None and (shown := judge.fitting(lead.stale)) is not None:
            yield from Deliver(self._show(shown, _outcome(lead.stale, shown), self._listed(lead.stale)))
            behind = nobodys(self._exchange.request, self._rule.http, shown)
            yield from _quietly(_Leading(self, lead, judge, behind).answer())
            return None
        return (yield from _Leading(self, lead, judge, None).answer())


class _Leading(Generic[V]):
    """What is made for everybody, from the application's call to the store's word on its answer."""

    def __init__(self, asked: _Conversation[V], lead: Lead, judge: Judgement, behind: Headers | None) -> None:
        self._asked, self._lead, self._judge, self._behind = asked, lead, judge, behind
        self._exchange = asked._exchange
        self._old = None if lead.last_good is None else judge.fitting(lead.last_good)
        excused = self._old is not None and lead.last_good is not None and lead.last_good.late < self._old.excuses
        self._excused = self._old if excused else None
        self._policy = asked._rule.policy.but({"stale_if_error": self._old.excuses if excused and self._old else 0.0})
        if self._old is not None or lead.last_good is not None:
            asked._why = Forward.STALE if lead.last_good and lead.last_good.status is Status.STALE else Forward.REQUEST

    def answer(self) -> Plan[V | None]:
        """The application's answer, or what may stand in for it."""
        try:
            answer, response, confirmed = yield from self._ask()
        except Exception as error:
            return (yield from self._failed(error))
        if answer is None:
            log.warning("the application, asked anew, did not come to the view that was to be refreshed")
            return None
        if response is not None and self._failing(response.status) and not self._exchange.personal(answer):
            failure = ServerError(f"the view answered {response.status}")
            shown = self._last(failure, (yield from Fail(failure, self._policy)))
            return shown if shown is not None else self._pass(answer, Reason.STATUS, (yield from self._asked._tell()))
        judged = None if response is None else self._asked._storable(response, answer, self._behind)
        if isinstance(judged, Storable):
            landing = yield from Finish(pack(judged.stored), judged.life, judged.tags)
            stored = isinstance(landing, Served) and landing.status is Status.STORED
            status = 304 if confirmed else None
            told = yield from self._asked._tell()
            return self._asked._show(judged.first, Forwarded(self._asked._why, stored, status=status), told)
        if not (isinstance(judged, Refused) and judged.reason is Reason.NOT_MODIFIED):
            # A 304 answers a condition of this request's: another's answer may well be shared.
            yield from GiveUp()
        if self._lead.last_good is not None and self._is_over(response, judged):
            yield from Forget(self._lead.ask.key)
        reason = judged.reason if judged is not None else None
        told = yield from self._asked._tell(reason or NOT_WHOLE)
        if confirmed and self._old is not None and response is not None:
            # The client has not asked with our conditions: it is to hear what was confirmed, not that it was.
            whole = replace(self._old, response=response)
            return self._asked._show(whole, Forwarded(self._asked._why, detail=reason, status=304), told)
        return self._pass(answer, reason, told)

    def _ask(self) -> Plan[tuple[V | None, Response | None, bool]]:
        """The answer, what it amounts to, and whether it only confirmed what is stored; None if nobody answered."""
        conditions: Headers = ()
        if self._old is not None and self._exchange.revalidates and self._asked._rule.http.by_headers:
            conditions = validators(self._old.response)
        answer: V | None = yield from self._call(conditions)
        if answer is None:
            return None, None, False
        if conditions and self._old is not None and self._exchange.head(answer).status == 304:
            return answer, freshened(self._old.response, self._exchange.head(answer)), True
        return answer, self._exchange.describe(answer), False

    def _call(self, conditions: Headers) -> Call:
        return Call(self._lead, conditions, self._behind, wanted=True, why=self._asked._why)

    def _failed(self, error: Exception) -> Plan[V]:
        answers = isinstance(error, self._exchange.answers)
        if self._exchange.personal(None) or (answers and not self._failing(_status_of(error))):
            # The asker's own failure, or a view's way to answer: another's request may well succeed.
            yield from GiveUp()
            yield from self._asked._tell(f"the view raised {type(error).__name__}")
            raise error
        yield from self._asked._tell(f"the view raised {type(error).__name__}")
        shown = self._last(error, (yield from Fail(error, self._policy)))
        if shown is None:
            raise error
        return shown

    @staticmethod
    def _is_over(response: Response | None, judged: Refused | None) -> bool:
        """Whether the application has said something else to everybody: what is stored is not to be shown again."""
        if response is None or judged is None:
            return True
        return response.status not in _ERRORS and judged.reason not in _OF_ONE_VISITOR

    def _failing(self, status: object) -> bool:
        """Whether it is an error for which something older may be shown: a 404 is an answer of its own."""
        return self._excused is not None and status in _ERRORS

    def _last(self, error: Exception, landing: Landing) -> V | None:
        """A last good answer, as the store has it now."""
        if self._excused is None or not isinstance(landing, Served):
            return None
        stored = self._judge.fitting(landing)
        if stored is None:
            return None
        log.error("a view has failed; its visitor was shown what it last answered", exc_info=error)
        return self._asked._show(stored, _outcome(landing, stored), self._asked._listed(landing))

    def _pass(self, answer: V, reason: Reason | None, told: Headers) -> V:
        return self._exchange.mark(answer, Forwarded(self._asked._why, detail=reason), told)


def _quietly(leading: Plan[Any]) -> Generator[Any, Any, None]:
    """Do it for nobody: what goes wrong is told to the log, for the visitor has been answered."""
    try:
        yield from leading
    except Exception as error:
        log.warning("a stored page could not be refreshed; it is shown as long as its policy lets it", exc_info=error)


def _outcome(served: Served, stored: Stored) -> Outcome:
    if served.status in _MADE_NOW:
        return Collapsed(served.age)
    late = served.late + (stored.overdue or 0.0)
    return Hit(served.age, -late if served.status is Status.STALE or stored.overdue is not None else served.remaining)


def _status_of(error: Exception) -> object:
    return getattr(error, "status_code", None) or getattr(error, "code", None)


