"""WebSockets of Python through a proxy: the library `websockets` on both sides over HTTP/1.1, and
`wsproto` over an extended CONNECT of HTTP/2 (RFC 8441).

    websocket_peers.py PROXY UPSTREAM

Both are ports on the loopback interface. The script itself is the upstream: it echoes what comes,
closes with a code where it is asked to, and speaks first at `/hello`.
"""
import asyncio
import socket
import sys
import traceback

import h2.config
import h2.connection
import h2.events
import h2.settings
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
import wsproto.connection
import wsproto.events
import wsproto.frame_protocol

MIB = 1024 * 1024


def choose(_connection, offered):
    return "chat" if "chat" in offered else None


async def upstream(connection):
    if connection.request.path == "/hello":
        await connection.send("hello")
    async for message in connection:
        if isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            await connection.close(int(code), reason)
            return
        if message == "ping":
            waiter = await connection.ping(b"from the upstream")
            await waiter
            await connection.send("ponged")
            continue
        if isinstance(message, list):
            message = b"".join(message)
        await connection.send(message)


class Over1:
    """Over HTTP/1.1, as a browser does it."""

    def __init__(self, proxy):
        self.base = f"ws://127.0.0.1:{proxy}"

    def open(self, path="/echo", **more):
        return connect(self.base + path, max_size=None, open_timeout=20, close_timeout=20, **more)

    async def check_text_and_bytes(self):
        async with self.open() as socket:
            for message in ("", "text", "\u00e4\u20ac", b"", bytes(range(256))):
                await socket.send(message)
                assert await socket.recv() == message

    async def check_fragments(self):
        async with self.open() as socket:
            parts = [bytes([number]) * 1000 for number in range(50)]
            await socket.send(parts)
            assert await socket.recv() == b"".join(parts)

    async def check_large_messages(self):
        async with self.open() as socket:
            for size in (125, 126, 65535, 65536, MIB, 3 * MIB + 1):
                message = bytes(number % 251 for number in range(997)) * (size // 997 + 1)
                message = message[:size]
                await socket.send(message)
                assert await socket.recv() == message, size

    async def check_many_messages_at_once(self):
        async with self.open() as socket:
            async def send():
                for number in range(2000):
                    await socket.send(str(number))
            sending = asyncio.create_task(send())
            for number in range(2000):
                assert await socket.recv() == str(number)
            await sending

    async def check_ping_both_ways(self):
        async with self.open() as socket:
            await (await socket.ping(b"from the client"))
            await socket.send("ping")
            assert await socket.recv() == "ponged"

    async def check_upstream_speaks_first(self):
        async with self.open("/hello") as socket:
            assert await socket.recv() == "hello"

    async def check_close_codes(self):
        for code, reason in ((1000, "done"), (1001, "away"), (1011, "trouble"), (4000, "own \u00e4")):
            async with self.open() as socket:
                await socket.send(f"close {code} {reason}")
                try:
                    await socket.recv()
                    raise AssertionError("the upstream did not close")
                except websockets.ConnectionClosed as closed:
                    assert (closed.rcvd.code, closed.rcvd.reason) == (code, reason), closed
            socket = await self.open()
            await socket.close(code, reason)
            assert socket.close_code == code, socket.close_code

    async def check_compression(self):
        async with self.open(compression="deflate") as socket:
            assert socket.protocol.extensions, "permessage-deflate was not agreed on"
            message = "again and again " * 10000
            await socket.send(message)
            assert await socket.recv() == message
        async with self.open(compression=None) as socket:
            assert not socket.protocol.extensions
            await socket.send("plain")
            assert await socket.recv() == "plain"

    async def check_subprotocol(self):
        async with self.open(subprotocols=["none", "chat"]) as socket:
            assert socket.subprotocol == "chat", socket.subprotocol

    async def check_refused_path(self):
        try:
            async with self.open("/no-upgrade"):
                raise AssertionError("it was opened")
        except websockets.InvalidStatus as refused:
            assert refused.response.status_code == 403, refused


class Over2:
    """Over an extended CONNECT: frames by `wsproto`, streams by `h2`."""

    def __init__(self, proxy):
        self.socket = socket.create_connection(("127.0.0.1", int(proxy)), timeout=20)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        self.events = []
        self.streams = {}

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def receive(self):
        data = self.socket.recv(65536)
        assert data, "the proxy closed the connection"
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self.settings = True
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.streams[event.stream_id].receive_data(event.data)
            elif isinstance(event, h2.events.ResponseReceived):
                self.heads[event.stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                self.streams[event.stream_id].receive_data(None)
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise AssertionError(f"{event}")
        self.flush()

    def open(self):
        self.settings = False
        self.heads = {}
        while not self.h2.remote_settings.enable_connect_protocol:
            self.receive()
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
            (":path", "/echo"), (":authority", "a.example"), ("sec-websocket-version", "13"),
            # Not of HTTP/2, but the upstream speaks HTTP/1.1 and wants it.
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ])
        self.flush()
        self.streams[stream] = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)
        while stream not in self.heads:
            self.receive()
        assert self.heads[stream][":status"] == "200", self.heads[stream]
        return stream

    def send(self, stream, event):
        data = self.streams[stream].send(event)
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room == 0:
                self.receive()
                continue
            self.h2.send_data(stream, data[:room])
            data = data[room:]
            self.flush()

    def message(self, stream):
        parts = []
        while True:
            for event in self.streams[stream].events():
                if isinstance(event, wsproto.events.Ping):
                    self.send(stream, event.response())
                    continue
                if not isinstance(event, wsproto.events.Message):
                    return event
                parts.append(event.data)
                if event.message_finished:
                    return b"".join(parts) if isinstance(parts[0], (bytes, bytearray)) else "".join(parts)
            self.receive()

    def check(self):
        first, second = self.open(), self.open()
        for stream in (first, second):
            self.send(stream, wsproto.events.TextMessage(data="text"))
        assert self.message(second) == "text"
        assert self.message(first) == "text"
        for size in (0, 125, 65536, MIB):
            body = bytes(number % 251 for number in range(size))
            self.send(first, wsproto.events.BytesMessage(data=body))
            assert self.message(first) == body, size
        for part in range(10):
            last = part == 9
            self.send(second, wsproto.events.TextMessage(data=str(part), message_finished=last))
        assert self.message(second) == "0123456789"
        self.send(second, wsproto.events.Ping(payload=b"p"))
        pong = self.message(second)
        assert isinstance(pong, wsproto.events.Pong) and bytes(pong.payload) == b"p", pong
        self.send(second, wsproto.events.TextMessage(data="close 4001 enough"))
        closed = self.message(second)
        assert isinstance(closed, wsproto.events.CloseConnection), closed
        assert (closed.code, closed.reason) == (4001, "enough"), closed
        # The other stream of the connection lives on.
        self.send(first, wsproto.events.TextMessage(data="still"))
        assert self.message(first) == "still"


async def main(proxy, upstream_port):
    failed = []
    async with serve(upstream, "127.0.0.1", int(upstream_port), max_size=None, select_subprotocol=choose):
        over1 = Over1(proxy)
        checks = [(name, getattr(over1, name)) for name in dir(over1) if name.startswith("check")]
        for name, check in checks:
            try:
                await asyncio.wait_for(check(), 60)
            except Exception:
                failed.append(name)
                traceback.print_exc()
        try:
            await asyncio.to_thread(lambda: Over2(proxy).check())
        except Exception:
            failed.append("over HTTP/2")
            traceback.print_exc()
    print(f"{len(checks) + 1} checks, failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
