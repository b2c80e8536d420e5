"""HTTP clients of Python through a proxy: httpx over HTTP/1.1 and HTTP/2, and the `h2` library.

    http_peers.py PROXY

PROXY is a port on the loopback interface; behind it is an upstream that sends back the body of
`/echo` and answers everything else with `ok`.
"""
import asyncio
import socket
import sys
import traceback

import h2.config
import h2.connection
import h2.events
import httpx

BODY = bytes(range(256)) * 4096


class Checks:
    def __init__(self, proxy):
        self.port = int(proxy)
        self.base = f"http://127.0.0.1:{proxy}"

    def client(self, version):
        return httpx.Client(base_url=self.base, http1=version == 1, http2=version == 2, timeout=20)

    def both(self, check):
        for version, name in ((1, "HTTP/1.1"), (2, "HTTP/2")):
            with self.client(version) as client:
                answer = check(client)
                assert answer.http_version == name, answer.http_version

    def check_get(self):
        def run(client):
            answer = client.get("/get")
            assert (answer.status_code, answer.text) == (200, "ok"), answer
            return answer

        self.both(run)

    def check_body_of_known_length(self):
        def run(client):
            answer = client.post("/echo", content=BODY)
            assert answer.content == BODY
            return answer

        self.both(run)

    def check_body_in_chunks(self):
        def run(client):
            answer = client.post("/echo", content=(BODY[at:at + 1000] for at in range(0, len(BODY), 1000)))
            assert answer.content == BODY
            return answer

        self.both(run)

    def check_head(self):
        def run(client):
            answer = client.head("/get")
            assert (answer.status_code, answer.content) == (200, b""), answer
            return answer

        self.both(run)

    def check_many_at_once(self):
        async def run(version):
            client = httpx.AsyncClient(base_url=self.base, http1=version == 1, http2=version == 2, timeout=20)
            async with client:
                answers = await asyncio.gather(*(client.get("/get") for _ in range(200)))
                assert [answer.text for answer in answers] == ["ok"] * 200

        # In one thread: httpx lets threads share a connection, but not its header table.
        for version in (1, 2):
            asyncio.run(run(version))

    def check_streams_of_the_h2_library(self):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        head = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/get")]
        with socket.create_connection(("127.0.0.1", self.port), 20) as peer:
            connection.initiate_connection()
            for stream in range(1, 100, 2):
                connection.send_headers(stream, head, end_stream=True)
            connection.ping(b"are you?")
            peer.sendall(connection.data_to_send())
            ended, pong = set(), False
            while len(ended) < 50 or not pong:
                for event in connection.receive_data(peer.recv(65536)):
                    if isinstance(event, h2.events.StreamEnded):
                        ended.add(event.stream_id)
                    pong |= isinstance(event, h2.events.PingAckReceived)
                    assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event
                peer.sendall(connection.data_to_send())
            connection.close_connection()
            peer.sendall(connection.data_to_send())


def main():
    checks = Checks(sys.argv[1])
    names = [name for name in dir(checks) if name.startswith("check_")]
    failed = 0
    for name in names:
        try:
            getattr(checks, name)()
            print("ok    ", name, flush=True)
        except Exception:
            failed += 1
            print("FAILED", name, flush=True)
            traceback.print_exc()
    print(f"{len(names) - failed} of {len(names)} checks hold")
    sys.exit(min(failed, 1))


if __name__ == "__main__":
    main()
