"""The server: a WebSocket for each robot, one worker that acts for all of them."""

import asyncio
import contextlib
import functools
import hmac
import logging
import signal
import socket
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from experiments.serving.conversation import Conversation, largest_message
from experiments.serving.messages import pack
from mummi.policy import Policy

SECONDS = 5.0
"""For the handshake of a connection to open, and again to close."""
QUEUE = 2
"""Messages of a connection that wait to be read; a robot that sends more waits itself."""

_QUIET = logging.getLogger(f"{__name__}.handshakes")
_QUIET.disabled = True
"""Takes what websockets has to say: a traceback for every stranger that speaks no WebSocket."""


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address, which does not listen yet.

    Args:
        host: name or address of this machine.
        port: 0 for any that is free.

    Raises:
        ValueError: there is no such host or port, or something is there already.
    """
    with contextlib.ExitStack() as stack:
        try:
            if port not in range(2**16):
                raise OSError("ports are 0 to 65535")
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            sock = stack.enter_context(socket.socket(family, kind, protocol))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError as error:
            raise ValueError(
                f"cannot serve at --host {host} --port {port} ({error.strerror or error}); "
                "give another"
            ) from error
        stack.pop_all()
    return sock


class PolicyServer:
    """Serves a policy to several robots, each an episode of its own.

    Args:
        policy: acts; compiled, or the first robot waits.
        metadata: what each robot is told first, of ``conversation.metadata``.
        connections: most robots at once.
        token: what they must know; "" for nothing.
        say: is told who comes and goes.
    """

    def __init__(
        self,
        policy: Policy,
        metadata: dict[str, Any],
        *,
        connections: int,
        token: str = "",
        say: Callable[[str], None] = print,
    ):
        self._policy = policy
        self._metadata = pack(metadata)
        self._trust = metadata["trust"]
        self._limit = connections
        self._token = token
        self._say = say
        self._open = 0
        self._worker = ThreadPoolExecutor(1)

    async def run(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        """Serves until Ctrl-C or SIGTERM; ``ready`` is called when it does."""
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with self.listen(sock):
            ready()
            await stop.wait()

    def listen(self, sock: socket.socket) -> serve:
        """A context in which robots are served at a bound socket."""
        return serve(
            self._converse,
            sock=sock,
            # A browser names the page that it shows; no page is to reach a robot's policy.
            origins=[None],
            process_request=self._admit,
            compression=None,
            max_size=largest_message(self._policy.modalities),
            max_queue=QUEUE,
            open_timeout=SECONDS,
            close_timeout=SECONDS,
            logger=_QUIET,
        )

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers what is no robot; None lets one in."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        given = "\n".join(request.headers.get_all("Authorization"))
        if self._token and not hmac.compare_digest(
            given.encode(errors="replace"), f"Api-Key {self._token}".encode()
        ):
            told = "this server wants the header 'Authorization: Api-Key TOKEN'\n"
            return connection.respond(HTTPStatus.UNAUTHORIZED, told)
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        if self._open >= self._limit:
            told = f"{self._limit} robots are connected, and no more are served at once"
            await connection.close(CloseCode.TRY_AGAIN_LATER, told)
            return
        self._open += 1
        try:
            await self._talk(connection)
        except ConnectionClosed:
            pass
        except Exception:  # a mistake of ours, which must not end the others
            traceback.print_exc()
            await connection.close(CloseCode.INTERNAL_ERROR, "the policy failed")
        finally:
            self._open -= 1

    async def _talk(self, connection: ServerConnection) -> None:
        """Answers until the connection is closed."""
        name = "{}:{}".format(*connection.remote_address)
        self._say(f"{name} connected, {self._open} of {self._limit}")
        conversation = await self._work(Conversation, self._policy, trust=self._trust)
        try:
            await connection.send(self._metadata)
            while True:
                message = await connection.recv()
                arrived = time.perf_counter()
                await connection.send(await self._work(conversation.answer, message, arrived))
        finally:
            told = f"{conversation.answered} answered, {conversation.refused} refused"
            self._say(f"{name} left: {told}")

    async def _work(self, call: Callable, *arguments: Any, **named: Any) -> Any:
        """The result of a call on the worker, while others may connect and leave."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._worker, functools.partial(call, *arguments, **named)
        )
