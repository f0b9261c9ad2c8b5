"""One way from a request to its cached answer, for all adapters: `http` decides, the cache shares the work.

`conversation.py` is that way, once, for threads and event loops; `threads.py` and `loops.py` walk it. An adapter
describes one request as an `Exchange`; what is stored of an answer is what left the exchange.
"""

from cachefence_web.responding.conversation import ServerError
from cachefence_web.responding.exchange import AsyncExchange, Exchange, Rule, ViewOptions, split
from cachefence_web.responding.loops import AsyncTalk, arespond
from cachefence_web.responding.steps import Call, Deliver, Done
from cachefence_web.responding.threads import respond

__all__ = [
    "AsyncExchange", "AsyncTalk", "Call", "Deliver", "Done", "Exchange", "Rule", "ServerError", "ViewOptions",
    "arespond", "respond", "split"]
