"""Serves a trained run to robots elsewhere: python -m experiments.serve --logdir D."""

import asyncio
import dataclasses
import functools
import ipaddress
import math
import pathlib
import stat
import warnings
from typing import Literal

import tyro

import mummi
from experiments.command_line import explain
from experiments.serving.conversation import metadata, warm_up
from experiments.serving.server import PolicyServer, bind
from mummi.runs import record


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Serves the policy of a run by WebSocket and msgpack, as openpi's server does.

    The protocol is in docs/serving.md, a client of thirty lines in docs/mummi_client.py.

    Attributes:
        logdir: folder of a run of experiments.train or experiments.imitate.
        port: where; 0 for any that is free.
        host: name or address at which the server listens; 0.0.0.0 for all of this machine.
        trust: leave out sensors that lie, by the thresholds that experiments.evaluate --trust on
            has measured, and tell the trust in each.
        rate: actions a second that robots should ask for, which they are told; by default that of
            the demonstrations of a run that has no simulator, and of others nothing.
        connections: most robots at once.
        token_file: file of a secret that robots must send, which its owner alone may read.
    """

    logdir: str
    port: int = 8000
    host: str = "127.0.0.1"
    trust: Literal["on", "off"] = "off"
    rate: float | None = None
    connections: int = 8
    token_file: str = ""


def serve(arguments: Arguments) -> None:
    """Serves until Ctrl-C or SIGTERM.

    Raises:
        ValueError: a setting that makes no sense, or an address that cannot be had.
        FileNotFoundError: there is no run, no checkpoint yet, no thresholds, or no token.
    """
    if arguments.connections < 1:
        raise ValueError(f"--connections {arguments.connections} must be at least 1")
    if arguments.rate is not None and not 0 < arguments.rate < math.inf:
        raise ValueError(f"--rate {arguments.rate} must be positive, in actions a second")
    token = read_token(arguments.token_file) if arguments.token_file else ""
    trust = arguments.trust == "on"
    with bind(arguments.host, arguments.port) as sock:
        host, port = sock.getsockname()[:2]
        if not token and not ipaddress.ip_address(host).is_loopback:
            warnings.warn(
                f"whoever reaches port {port} of this machine can use the policy; "
                "--token-file asks for a secret",
                stacklevel=1,
            )
        policy = mummi.load_policy(arguments.logdir, trust=trust)
        rate = arguments.rate or policy.rate
        told = metadata(policy, record.load(arguments.logdir), trust=trust, rate=rate)
        warm_up(policy)
        say = functools.partial(print, flush=True)
        server = PolicyServer(policy, told, connections=arguments.connections, token=token, say=say)
        url = f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
        ready = f"serving {arguments.logdir}, step {policy.step}, at {url}; Ctrl-C stops"
        asyncio.run(server.run(sock, lambda: say(ready)))
    print("stopped")


def read_token(path: str) -> str:
    """The secret in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: others may read it, or it holds no line of printable ASCII.
    """
    file = pathlib.Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"--token-file {path} is no file")
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"--token-file {path} can be read by others; chmod 600 {path}")
    token = file.read_text().strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ValueError(f"--token-file {path} must hold one line of printable ASCII")
    return token


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and serves."""
    with explain():
        serve(tyro.cli(Arguments, prog="python -m experiments.serve", args=arguments))


if __name__ == "__main__":
    main()
