"""Decisions about requests and responses, and nothing else: no clock, no I/O, no framework.

Every adapter asks the same five questions here, in this order: may the store answer this request
(`answers_from_cache`), under which key (`response_key`), may this response be stored (`storable`), as
which bytes (`pack`, `unpack`), and what does the client get (`serve`). Whatever is not known to be
safe is not shared.
"""

from cachefence_web.http.asking import Allowed, Bypass, answers_from_cache
from cachefence_web.http.key import response_key
from cachefence_web.http.message import Headers, Request, Response, wire_path
from cachefence_web.http.outcome import Collapsed, Forward, Forwarded, Hit, Outcome, Reason, cache_status
from cachefence_web.http.packing import pack, unpack
from cachefence_web.http.policy import ResponsePolicy
from cachefence_web.http.serving import serve
from cachefence_web.http.storing import Refused, Storable, storable

__all__ = [
    "Allowed",
    "Bypass",
    "Collapsed",
    "Forward",
    "Forwarded",
    "Headers",
    "Hit",
    "Outcome",
    "Reason",
    "Refused",
    "Request",
    "Response",
    "ResponsePolicy",
    "Storable",
    "answers_from_cache",
    "cache_status",
    "pack",
    "response_key",
    "serve",
    "storable",
    "unpack",
    "wire_path",
]
