"""A grpcio client and a grpcio server with a proxy between them.

    grpc_peers.py PROXY UPSTREAM

PROXY and UPSTREAM are ports on the loopback interface; the server is started on the second. Each
function whose name begins with `check_` is one check; what fails is told, and is the exit code.
Messages are bytes, so that no code has to be generated.
"""
import sys
import threading
import time
import traceback
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import proto_reflection_descriptor_database as reflection_client
from grpc_reflection.v1alpha import reflection

SERVICE = "peers.Echo"
LARGE = 16 * 1024 * 1024
LIMITS = [("grpc.max_receive_message_length", 4 * LARGE), ("grpc.max_send_message_length", 4 * LARGE)]
PATIENCE = 20


class Server(grpc.GenericRpcHandler):
    """What the server does for each method."""

    def __init__(self):
        self.cancelled = threading.Event()
        self.deadline = None

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        kind = {"Count": "unary_stream", "Sum": "stream_unary", "Chat": "stream_stream"}.get(name, "unary_unary")
        function = getattr(self, name, None)
        return function and getattr(grpc, f"{kind}_rpc_method_handler")(function)

    def Echo(self, request, context):
        context.send_initial_metadata([("initial", "1"), ("bytes-bin", b"\x00\xff")])
        seen = dict(context.invocation_metadata())
        context.set_trailing_metadata([("trailing", "2"), ("seen", seen.get("sent", "-")),
                                       ("seen-bin", seen.get("sent-bin", b"-"))])
        return request

    def Fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: 100 % \u00e9\nand more")

    def Slow(self, request, context):
        self.deadline = context.time_remaining()
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(PATIENCE)
        return request

    def Count(self, request, context):
        for number in range(int(request)):
            yield str(number).encode()

    def Sum(self, requests, context):
        return str(sum(len(request) for request in requests)).encode()

    def Chat(self, requests, context):
        for request in requests:
            if request == b"fail":
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
            yield request[::-1]


class Checks:
    def __init__(self, proxy, server):
        self.target = f"127.0.0.1:{proxy}"
        self.server = server
        self.channel = grpc.insecure_channel(self.target, options=LIMITS)

    def call(self, kind, method):
        return getattr(self.channel, kind)(f"/{SERVICE}/{method}")

    def check_unary(self):
        assert self.call("unary_unary", "Echo")(b"hello", timeout=PATIENCE) == b"hello"
        assert self.call("unary_unary", "Echo")(b"", timeout=PATIENCE) == b""

    def check_metadata(self):
        sent = [("sent", "there"), ("sent-bin", bytes(range(256)))]
        echo = self.call("unary_unary", "Echo")
        _, call = echo.with_call(b"x", metadata=sent, timeout=PATIENCE)
        initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
        assert (initial["initial"], initial["bytes-bin"]) == ("1", b"\x00\xff"), initial
        assert (trailing["trailing"], trailing["seen"]) == ("2", "there"), trailing
        assert trailing["seen-bin"] == bytes(range(256)), trailing

    def check_large_messages(self):
        message = bytes(range(256)) * (LARGE // 256)
        assert self.call("unary_unary", "Echo")(message, timeout=PATIENCE) == message

    def check_error_without_message(self):
        self.expect(grpc.StatusCode.FAILED_PRECONDITION, "no: 100 % \u00e9\nand more",
                    lambda: self.call("unary_unary", "Fail")(b"x", timeout=PATIENCE))

    def check_unknown_method(self):
        self.expect(grpc.StatusCode.UNIMPLEMENTED, "Method not found!",
                    lambda: self.call("unary_unary", "Nothing")(b"x", timeout=PATIENCE))

    def check_no_route(self):
        self.expect(grpc.StatusCode.UNIMPLEMENTED, None,
                    lambda: self.channel.unary_unary("/no.Route/Nothing")(b"x", timeout=PATIENCE))

    def check_no_upstream(self):
        self.expect(grpc.StatusCode.UNAVAILABLE, None,
                    lambda: self.channel.unary_unary("/no.Upstream/Nothing")(b"x", timeout=PATIENCE))

    def check_server_stream(self):
        answers = list(self.call("unary_stream", "Count")(b"1000", timeout=PATIENCE))
        assert answers == [str(number).encode() for number in range(1000)]

    def check_client_stream(self):
        messages = (b"x" * size for size in range(500))
        assert self.call("stream_unary", "Sum")(messages, timeout=PATIENCE) == b"124750"

    def check_both_streams_in_turn(self):
        answered = threading.Semaphore(1)

        def messages():
            for number in range(100):
                # The next one is sent when the one before has been answered.
                assert answered.acquire(timeout=PATIENCE)
                yield f"message {number}".encode()

        answers = []
        for answer in self.call("stream_stream", "Chat")(messages(), timeout=PATIENCE):
            answers.append(answer)
            answered.release()
        assert answers == [f"message {number}".encode()[::-1] for number in range(100)]

    def check_error_in_a_stream(self):
        answers = []

        def run():
            messages = iter([b"ab", b"fail", b"never"])
            answers.extend(self.call("stream_stream", "Chat")(messages, timeout=PATIENCE))

        self.expect(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough", run)

    def check_deadline(self):
        self.server.cancelled.clear()
        self.expect(grpc.StatusCode.DEADLINE_EXCEEDED, None,
                    lambda: self.call("unary_unary", "Slow")(b"x", timeout=1.5))
        # Rounded up on the way, and without one it is many years.
        assert self.server.deadline < PATIENCE, f"the deadline arrives: {self.server.deadline}"
        assert self.server.cancelled.wait(PATIENCE), "the server learns that it is over"

    def check_cancellation(self):
        self.server.cancelled.clear()
        self.server.deadline = None
        call = self.call("unary_unary", "Slow").future(b"x", timeout=PATIENCE)
        eventually(lambda: self.server.deadline is not None)
        call.cancel()
        assert self.server.cancelled.wait(PATIENCE), "the server learns that it is over"
        assert call.cancelled()

    def check_cancellation_of_a_stream(self):
        over = threading.Event()

        def messages():
            yield b"x"
            over.wait(PATIENCE)

        call = self.call("stream_stream", "Chat")(messages(), timeout=PATIENCE)
        assert next(call) == b"x"
        call.cancel()
        try:
            for _ in call:
                pass
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.CANCELLED, error
        over.set()
        # The channel is as good as before.
        self.check_unary()

    def check_many_at_once(self):
        echo = self.call("unary_unary", "Echo")
        calls = [echo.future(str(number).encode(), timeout=PATIENCE) for number in range(500)]
        assert [call.result() for call in calls] == [str(number).encode() for number in range(500)]

    def check_health(self):
        stub = health_pb2_grpc.HealthStub(self.channel)
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        assert stub.Check(request, timeout=PATIENCE).status == health_pb2.HealthCheckResponse.SERVING
        unknown = health_pb2.HealthCheckRequest(service="unknown")
        self.expect(grpc.StatusCode.NOT_FOUND, None, lambda: stub.Check(unknown, timeout=PATIENCE))
        watch = stub.Watch(request, timeout=PATIENCE)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()

    def check_reflection(self):
        database = reflection_client.ProtoReflectionDescriptorDatabase(self.channel)
        assert health.SERVICE_NAME in database.get_services()

    def expect(self, code, details, run):
        try:
            run()
        except grpc.RpcError as error:
            assert error.code() == code, f"{error.code()}: {error.details()}"
            assert details is None or error.details() == details, error.details()
        else:
            raise AssertionError(f"no {code}")


def eventually(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never happens"
        time.sleep(0.005)


def main():
    proxy, upstream = sys.argv[1:3]
    handler = Server()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), handlers=[handler], options=LIMITS)
    status = health.HealthServicer()
    status.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    reflection.enable_server_reflection([health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    assert server.add_insecure_port(f"127.0.0.1:{upstream}") == int(upstream)
    server.start()
    checks = Checks(proxy, handler)
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
    checks.channel.close()
    server.stop(0).wait()
    print(f"{len(names) - failed} of {len(names)} checks hold")
    sys.exit(min(failed, 1))


if __name__ == "__main__":
    main()
