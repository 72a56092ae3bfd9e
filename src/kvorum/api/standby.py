"""What a machine that stands by answers: clients go to the leader, peers find nothing here.

Client port: 307 to the leader's client URL, same path and query, whatever is asked; 400 code 402
while no leader is known. Peer port: 404. `OPTIONS` is answered on both, as everywhere.
Source: reference contract, v2-api section 9.5.
"""

from kvorum.api.reply import Replies
from kvorum.config import Config
from kvorum.errors import StandbyInternal
from kvorum.protocol.exchange import Exchange
from kvorum.server.standby import Standby
from kvorum.v2.policy import policy_of


class StandbyHandlers:
    """The handlers of both ports of one machine."""

    def __init__(self, config: Config, standby: Standby) -> None:
        self._standby = standby
        self._replies = Replies(config.cors, policy_of(config.era))

    def client(self, exchange: Exchange) -> None:
        """Sends a client to the leader."""
        leader = self._standby.leader
        if exchange.method == "OPTIONS":
            self._replies.send(exchange, 200, b"")
        elif leader is None:
            self._replies.error(exchange, StandbyInternal())
        else:
            self._replies.redirect(exchange, 307, leader.client_url.encode() + exchange.target)

    def peer(self, exchange: Exchange) -> None:
        """Has nothing for members."""
        if exchange.method == "OPTIONS":
            self._replies.send(exchange, 200, b"")
        else:
            self._replies.text(exchange, b"404 page not found\n", 404)
