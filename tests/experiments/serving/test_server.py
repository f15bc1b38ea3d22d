"""The server: who is let in, who is told what, and that nobody disturbs anybody else."""

import asyncio
import contextlib
import re
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from experiments.serving.conversation import largest_message, metadata
from experiments.serving.messages import pack, unpack
from experiments.serving.server import PolicyServer, bind
from mummi.presets import preset
from mummi.runs.record import Run
from tests.support.counting import counting, observe
from tests.support.small import ACTION_SIZE, MODALITIES

TOLD = metadata(
    counting(), Run(preset("debug", "walker_walk"), MODALITIES, ACTION_SIZE), trust=False, rate=None
)


class Served:
    """A server that listens, and what it said."""

    def __init__(self, url: str, said: list[str]):
        self.url, self.said = url, said

    def connect(self, **options):
        """A connection to it."""
        return connect(self.url, proxy=None, **options)

    async def left(self, count: int) -> None:
        """Waits until so many robots have left."""
        async with asyncio.timeout(20):
            while sum("left" in line for line in self.said) < count:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(policy=None, connections=8, token=""):
    """A server of a policy that counts."""
    said = []
    options = {"connections": connections, "token": token, "say": said.append}
    server = PolicyServer(policy or counting(), TOLD, **options)
    with bind("127.0.0.1", 0) as sock:
        async with server.listen(sock):
            yield Served("ws://{}:{}".format(*sock.getsockname()), said)


async def opened(robot) -> None:
    """Takes the metadata."""
    assert unpack(await robot.recv()) == unpack(pack(TOLD))


async def step(robot, **changes) -> int | str:
    """Steps that the robot's episode has after an observation, or the error."""
    await robot.send(pack(observe(**changes)))
    answer = await robot.recv()
    if isinstance(answer, str):
        return answer
    return round(100 * float(unpack(answer)["actions"][0, 0]))


async def closing(robot) -> tuple[int, str]:
    """The code and reason with which the server closes a connection."""
    with pytest.raises(ConnectionClosed):
        while True:
            await robot.recv()
    return robot.close_code, robot.close_reason


def play(scene):
    """Runs a coroutine function to its end."""

    async def bounded():
        async with asyncio.timeout(60):
            await scene()

    asyncio.run(bounded())


def test_metadata_come_first_and_every_connection_is_an_episode():
    async def scene():
        async with serving() as served, served.connect() as one, served.connect() as other:
            await opened(one)
            await opened(other)
            assert [await step(one) for _ in range(3)] == [1, 2, 3]
            assert await step(other) == 1
            assert await step(one) == 4
            await one.close()
            async with served.connect() as again:
                await opened(again)
                assert await step(again) == 1
            assert await step(other) == 2

    play(scene)


def test_an_error_is_text_and_the_connection_goes_on():
    async def scene():
        async with serving() as served, served.connect() as robot:
            await opened(robot)
            assert await step(robot) == 1
            for message in (b"\xc1", "text", b"", pack([1]), pack(observe(touch=np.zeros(9)))):
                await robot.send(message)
                assert isinstance(await robot.recv(), str)
            assert await step(robot) == 2

    play(scene)


def test_answers_come_in_the_order_of_what_was_sent_ahead():
    async def scene():
        async with serving() as served, served.connect() as robot:
            await opened(robot)
            for _ in range(20):
                await robot.send(pack(observe()))
            answers = [unpack(await robot.recv()) for _ in range(20)]
            found = [round(100 * float(answer["actions"][0, 0])) for answer in answers]
            assert found == list(range(1, 21))

    play(scene)


def test_a_message_beyond_the_limit_ends_its_own_connection_alone():
    async def scene():
        async with serving() as served, served.connect() as robot, served.connect() as large:
            await opened(robot)
            await opened(large)
            limit = largest_message(MODALITIES)
            await large.send(bytes(limit))
            assert isinstance(await large.recv(), str)
            await large.send(bytes(limit + 1))
            assert (await closing(large))[0] == 1009
            assert await step(robot) == 1

    play(scene)


def test_no_more_are_served_than_may_be_and_whoever_leaves_makes_room():
    async def scene():
        async with serving(connections=2) as served, served.connect() as one:
            await opened(one)
            async with served.connect() as two, served.connect() as three:
                await opened(two)
                told = "2 robots are connected, and no more are served at once"
                assert await closing(three) == (1013, told)
                assert await step(two) == 1
            await served.left(1)
            async with served.connect() as four:
                await opened(four)
                assert await step(four) == 1
            assert await step(one) == 1

    play(scene)


def test_robots_that_die_disturb_nobody_and_make_room():
    async def scene():
        async with serving(connections=2) as served, served.connect() as robot:
            await opened(robot)
            for count in range(1, 6):
                dying = await served.connect()
                await opened(dying)
                await dying.send(pack(observe()))
                dying.transport.abort()
                await served.left(count)
                assert await step(robot) == count

    play(scene)


def test_strangers_that_speak_no_websocket_are_not_worth_a_word(capfd):
    async def scene():
        async with serving() as served, served.connect() as robot:
            await opened(robot)
            for message in (b"\x00garbage\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b""):
                reader, writer = await asyncio.open_connection("127.0.0.1", robot.remote_address[1])
                writer.write(message)
                writer.write_eof()
                await reader.read()
                writer.close()
            assert await step(robot) == 1

    play(scene)
    assert capfd.readouterr() == ("", "")


def test_a_frame_that_is_none_ends_its_own_connection_alone():
    async def scene():
        async with serving() as served, served.connect() as robot, served.connect() as wrong:
            await opened(robot)
            await opened(wrong)
            wrong.transport.write(b"\xff" * 64)
            assert (await closing(wrong))[0] == 1002
            assert await step(robot) == 1

    play(scene)


def test_a_policy_that_fails_ends_one_connection_and_says_where(capfd):
    policy = counting()
    act = policy._agent.act

    def fail(params, carry, values, *rest, **named):
        if values["rgb"].max() > 200:
            raise RuntimeError("out of memory")
        return act(params, carry, values, *rest, **named)

    policy._agent.act = fail

    async def scene():
        async with serving(policy) as served, served.connect() as robot, served.connect() as one:
            await opened(robot)
            await opened(one)
            await one.send(pack(observe(rgb=np.full((8, 8, 3), 255, np.uint8))))
            assert await closing(one) == (1011, "the policy failed")
            assert await step(robot) == 1

    play(scene)
    assert "RuntimeError: out of memory" in capfd.readouterr().err


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Api-Key wrong"},
        {"Authorization": "Api-Key secret "},
        {"Authorization": "Api-Key sécret"},
        {"Authorization": "Bearer secret"},
        {"Api-Key": "secret"},
    ],
)
def test_without_the_token_nobody_is_let_in(headers):
    async def scene():
        async with serving(token="secret-") as served:
            with pytest.raises(InvalidStatus) as refused:
                await served.connect(additional_headers=headers)
            assert refused.value.response.status_code == 401
            assert b"Authorization: Api-Key TOKEN" in refused.value.response.body
            assert not served.said

    play(scene)


def test_with_the_token_a_robot_is_served():
    async def scene():
        async with serving(token="secret") as served:
            headers = {"Authorization": "Api-Key secret"}
            async with served.connect(additional_headers=headers) as robot:
                await opened(robot)
                assert await step(robot) == 1

    play(scene)


def test_a_page_in_a_browser_is_refused():
    async def scene():
        async with serving() as served:
            with pytest.raises(InvalidStatus) as refused:
                await served.connect(origin="http://localhost:8000")
            assert refused.value.response.status_code == 403

    play(scene)


def test_its_health_can_be_asked_for():
    def get(url):
        with urllib.request.urlopen(url.replace("ws:", "http:") + "/healthz") as answer:
            return answer.status, answer.read()

    async def scene():
        async with serving(token="secret") as served:
            assert await asyncio.to_thread(get, served.url) == (200, b"OK\n")

    play(scene)


def test_it_says_who_comes_and_goes():
    async def scene():
        async with serving() as served:
            async with served.connect() as robot:
                await opened(robot)
                await step(robot)
                await step(robot, touch=np.zeros(9))
            await served.left(1)
            assert re.fullmatch(r"127\.0\.0\.1:\d+ connected, 1 of 8", served.said[0])
            assert re.fullmatch(r"127\.0\.0\.1:\d+ left: 1 answered, 1 refused", served.said[1])

    play(scene)


def test_when_it_ends_robots_are_told():
    async def scene():
        async with serving() as served:
            robot = await served.connect()
            await opened(robot)
        assert (await closing(robot))[0] == 1001

    play(scene)


def test_an_address_that_cannot_be_had_is_named():
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"--port {port} \(Address already in use\); give"):
            bind("127.0.0.1", port)
    with pytest.raises(ValueError, match=r"--host no\.such\.host\.invalid --port 1"):
        bind("no.such.host.invalid", 1)
    with pytest.raises(ValueError, match=r"--port 70000 \(ports are 0 to 65535"):
        bind("127.0.0.1", 70_000)


def test_ipv6_is_an_address_like_others():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with bind("::1", 0) as sock:
        assert sock.family == socket.AF_INET6
