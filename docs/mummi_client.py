"""A robot's side of experiments.serve; it needs NumPy, websockets and msgpack alone."""

import contextlib
import sys

import msgpack
import numpy as np
from websockets.sync.client import connect


def as_map(x):
    """An array as the map that stands for it in a message."""
    return {b"__ndarray__": True, b"data": x.tobytes(), b"dtype": x.dtype.str, b"shape": x.shape}


def as_array(x):
    """The other way round."""
    return np.frombuffer(x[b"data"], x[b"dtype"]).reshape(x[b"shape"]) if b"shape" in x else x


class Policy:
    """An episode of a connection; ``metadata`` says what the policy senses and does."""

    def __init__(self, socket):
        self.socket = socket
        self.metadata = self.receive()

    def __call__(self, sensors, reset=False):
        """The answer to what the sensors delivered, arrays or a sentence; ``reset`` starts anew."""
        self.socket.send(msgpack.packb({**sensors, "reset": reset}, default=as_map))
        return self.receive()

    def receive(self):
        """The next message; a text is an error."""
        message = self.socket.recv()
        if isinstance(message, str):
            raise ValueError(message)
        return msgpack.unpackb(message, object_hook=as_array)


@contextlib.contextmanager
def connected(url="ws://127.0.0.1:8000", token=""):
    """The policy of a server."""
    headers = {"Authorization": f"Api-Key {token}"} if token else None
    with connect(url, additional_headers=headers, compression=None, proxy=None) as socket:
        yield Policy(socket)


if __name__ == "__main__":
    with connected(*sys.argv[1:]) as policy:
        print(policy.metadata)
        sensors = policy.metadata["sensors"].items()
        values = {name: np.zeros(s["shape"], s["dtype"]) for name, s in sensors}
        for sentence in policy.metadata["instructions"][:1]:
            values["instruction"] = sentence
        for _ in range(10):
            print(policy(values))
