"""Decisions about requests and responses, and nothing else: no clock, no I/O, no framework.

Every adapter asks the same questions here, in this order: may the store answer this request (`answers_from_cache`),
under which key (`response_key`, `variant_key`), may this response be stored (`storable`), as which bytes (`pack`,
`unpack`), what does the client get (`Shown.serve`), and what did an unsafe request make untrue (`invalidated`).
Whatever is not known to be safe is not shared.
"""

from cachefence_web.http.asking import Allowed, Bypass, Unsafe, Wishes, answers_from_cache, nobodys
from cachefence_web.http.key import normalized, response_key, variant_key
from cachefence_web.http.message import Headers, Request, Response, Stored, wire_path
from cachefence_web.http.outcome import Collapsed, Forward, Forwarded, Hit, Outcome, Reason, Refusal, cache_status
from cachefence_web.http.packing import pack, unpack
from cachefence_web.http.policy import ResponsePolicy
from cachefence_web.http.serving import Shown, unavailable
from cachefence_web.http.storing import Refused, Storable, storable
from cachefence_web.http.targets import invalidated, url_tag
from cachefence_web.http.validators import freshened, validators
from cachefence_web.http.variants import matches

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
    "Refusal",
    "Refused",
    "Request",
    "Response",
    "ResponsePolicy",
    "Shown",
    "Storable",
    "Stored",
    "Unsafe",
    "Wishes",
    "answers_from_cache",
    "cache_status",
    "freshened",
    "invalidated",
    "matches",
    "nobodys",
    "normalized",
    "pack",
    "response_key",
    "storable",
    "unavailable",
    "unpack",
    "url_tag",
    "validators",
    "variant_key",
    "wire_path",
]
