"""grpcio over TLS through a proxy that asks for a client's certificate, to a grpcio server behind it.

    grpc_tls_peers.py PROXY UPSTREAM FOLDER

PROXY and UPSTREAM are ports on the loopback interface. FOLDER has `ca.pem`, `client.pem`, `client.key`.
"""
import pathlib
import sys
from concurrent import futures

import grpc

NAME = ("grpc.ssl_target_name_override", "a.test")


class Greeter(grpc.GenericRpcHandler):
    def service(self, _details):
        return grpc.unary_unary_rpc_method_handler(lambda request, _context: b"hello " + request)


def call(proxy, credentials):
    with grpc.secure_channel(f"127.0.0.1:{proxy}", credentials, options=[NAME]) as channel:
        return channel.unary_unary("/peers.Greeter/Greet")(b"you", timeout=30)


def main():
    proxy, upstream, folder = sys.argv[1:4]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2), handlers=[Greeter()])
    assert server.add_insecure_port(f"127.0.0.1:{upstream}") == int(upstream)
    server.start()
    ca, key, pem = (
        (pathlib.Path(folder) / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")
    )
    assert call(proxy, grpc.ssl_channel_credentials(ca, key, pem)) == b"hello you"
    try:
        answer = call(proxy, grpc.ssl_channel_credentials(ca))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
    else:
        sys.exit(f"answered without a certificate: {answer}")
    server.stop(0).wait()


if __name__ == "__main__":
    main()
