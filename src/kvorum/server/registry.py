"""One token's directory at a discovery service: what starting members read and write there.

A discovery service is a v2 store. The token's URL is the path of a directory in it, whether that is
`http://host:port/v2/keys/...` of a cluster or `https://host/TOKEN` of a public service.

Rules: one request is one connection; redirects are followed; nothing is tried again here. What may
go away by itself, silence or a status from 500 on, is an `UnavailableError`; what the service
refuses is the contract's `RequestError`; an answer of something else is a `RemoteProtocolError`.
Source: reference contract, v2-api section 9.4; v3-operations section 4.
"""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote, urlencode

from kvorum.client.answers import Event, checked, decode_event, not_v2
from kvorum.client.connection import Response
from kvorum.errors import UnavailableError
from kvorum.net.dialer import HttpReply, follow, http_request

REQUEST_SECONDS = 5.0
"""A service answers at once, or has no leader: then its members have one within this."""

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Registry:
    """Asks for what is below one token.

    Attributes:
        url: the token's URL, without a slash at its end.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    async def get(self, key: str = "", **query: str) -> Event:
        """Reads a key below the token; the token's directory itself when none is named."""
        return await self._send("GET", key, query)

    async def wait(self, index: int, seconds: float) -> Event:
        """Waits until something below the token changes, from this index on."""
        query = {"recursive": "true", "wait": "true", "waitIndex": str(index)}
        return await self._send("GET", "", query, seconds=seconds)

    async def set(self, key: str, value: str, ttl: int) -> Event:
        """Writes a key that goes by itself."""
        return await self._send("PUT", key, {}, {"ttl": str(ttl), "value": value})

    async def create(self, key: str, value: str) -> Event:
        """Writes a key that must not be there.

        Raises:
            KeyExists: it is.
        """
        return await self._send("PUT", key, {"prevExist": "false"}, {"value": value})

    async def _send(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        form: Mapping[str, str] | None = None,
        seconds: float = REQUEST_SECONDS,
    ) -> Event:
        body = urlencode(form or {}).encode()
        url = f"{self.url}/{quote(key)}" if key else self.url

        async def ask(url: str) -> HttpReply:
            return await http_request(url, method, FORM if body else {}, body, seconds)

        reply = await follow(f"{url}?{urlencode(query)}" if query else url, ask)
        headers = {name.decode(): value.decode("latin-1") for name, value in reply.headers.items()}
        answer = Response(reply.status, headers, reply.body)
        if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise UnavailableError(not_v2(url, answer))
        return decode_event(checked(answer, url))
