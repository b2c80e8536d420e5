#!/usr/bin/env python3
"""CPU per request of a proxy, beside Envoy and nginx in the same run.

The proxy runs on CPU 0 with one worker; the load generator and the upstream (nginx) run on CPU 1. The
figure is the processor time that the operating system charged to the proxy's processes (user and
system), divided by the requests that were answered: it holds still when the load side is the limit.
Contenders of a scenario take turns, round by round, so that whatever else the machine does hits all
of them; the table shows medians, and ratios of medians.

    tests/bench/run                        every scenario
    tests/bench/run -s small,chain -n 5    two of them, five rounds
    tests/bench/run --json out.json        keep the raw figures
"""
import argparse
import contextlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PROXY_CPU, LOAD_CPU = "0", "1"
PORTS = {"UPSTREAM": 19080, "HTTP": 19081, "ADMIN": 19082, "UPSTREAM_H2": 19083, "UPSTREAM_WS": 19084,
         "UPSTREAM_TLS": 19085}
TICKS = os.sysconf("SC_CLK_TCK")
GUEST = ROOT / "target/guests/wasm32-wasip2/release/guest_bench.wasm"
WEBSOCKETS = ROOT / "target/release/websockets"
CONNECTIONS = ROOT / "target/release/connections"
# How many of the load tool's connections do nothing in the scenarios about idle ones.
IDLE = 5000
# Where this run's certificate is.
CERTIFICATE = {}

LOG = """
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: /dev/null"""
LIMIT = """
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: bench
              token_bucket: {max_tokens: 4000000000, tokens_per_fill: 4000000000, fill_interval: 1s}
              filter_enabled: {default_value: {numerator: 100}}
              filter_enforced: {default_value: {numerator: 100}}"""
MUTATION = """
          - name: envoy.filters.http.header_mutation
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
              mutations:
                request_mutations:
                - append: {header: {key: x-bench-request, value: "%REQ(:path)%|%REQ(user-agent)%"}}
                response_mutations:
                - append: {header: {key: x-bench-response, value: "1"}}"""
USER = f"""
          - name: bench
            typed_config:
              "@type": type.googleapis.com/nuncio.filters.http.wasm.v1.Wasm
              component: {{filename: {GUEST}}}"""

HTTP2 = """
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}"""
TLS = """
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: {filename: @CERTS@/bench.pem}
              private_key: {filename: @CERTS@/bench.key}"""
UPSTREAM_TLS = """
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: bench.test
        common_tls_context:
          validation_context: {trusted_ca: {filename: @CERTS@/bench.pem}}"""
UPGRADES = """
          upgrade_configs: [{upgrade_type: websocket}]"""
ROUTES = "".join(f"""
              - match: {{prefix: "/r/{number:05}/"}}
                route: {{cluster: upstream}}""" for number in range(10_000))

# Scenario: path, load tool, and the variant of the configuration for each contender.
SCENARIOS = {
    "small": ("/small", "wrk", {"nuncio": "plain", "envoy": "plain", "nginx": "plain"}),
    "10k": ("/10k", "wrk", {"nuncio": "plain", "envoy": "plain", "nginx": "plain"}),
    "h2": ("/small", "h2load", {"nuncio": "plain", "envoy": "plain", "nginx": "h2"}),
    "chain": ("/small", "wrk", {"nuncio": "chain", "envoy": "chain", "nginx": "chain"}),
    "filter": ("/small", "wrk", {"nuncio": "plain", "nuncio+filter": "user"}),
    # A unary call: HTTP/2 on both sides, a request body, trailers.
    "grpc": ("/bench.Echo/Unary", "grpc", {"nuncio": "grpc", "envoy": "grpc", "nginx": "grpc"}),
    # The figure is for a message of 32 bytes and its echo.
    "websocket": ("/ws", "websockets", {"nuncio": "websocket", "envoy": "websocket", "nginx": "websocket"}),
    # The last of 10 000 prefixes.
    "routes": ("/r/09999/small", "wrk", {"nuncio": "plain", "nuncio+routes": "routes", "envoy": "routes"}),
    # TLS 1.3 on connections that stay.
    "tls": ("/small", "wrk", {"nuncio": "tls", "envoy": "tls", "nginx": "tls"}),
    "tls10k": ("/10k", "wrk", {"nuncio": "tls", "envoy": "tls", "nginx": "tls"}),
    # TLS to the upstream, plain to the client.
    "upstreamtls": ("/small", "wrk", {"nuncio": "upstreamtls", "envoy": "upstreamtls", "nginx": "upstreamtls"}),
    # A connection, a handshake of TLS 1.3, a request, the end. The figure is for all of it.
    "handshake": ("/small", "full", {"nuncio": "tls", "envoy": "tls", "nginx": "tls"}),
    "resumed": ("/small", "resumed", {"nuncio": "tls", "envoy": "tls", "nginx": "tls"}),
    # Resident memory for each of many connections that had one request.
    "idle": ("/small", "plain", {"nuncio": "plain", "envoy": "plain", "nginx": "plain+many"}),
    "idletls": ("/small", "tls", {"nuncio": "tls", "envoy": "tls", "nginx": "tls+many"}),
}
# What a variant puts into the configuration, in place of nothing.
VARIANTS = {
    "plain": {},
    "h2": {},
    "chain": {"MANAGER": LOG, "FILTERS": LIMIT + MUTATION},
    "user": {"FILTERS": USER},
    "grpc": {"CLUSTER": HTTP2, "UPSTREAM": PORTS["UPSTREAM_H2"]},
    "websocket": {"MANAGER": UPGRADES, "UPSTREAM": PORTS["UPSTREAM_WS"]},
    "routes": {"ROUTES": ROUTES},
    "plain+many": {"WORKER_CONNECTIONS": IDLE + 512},
    "tls": {"CHAIN": TLS},
    "tls+many": {"WORKER_CONNECTIONS": IDLE + 512},
    "upstreamtls": {"CLUSTER": UPSTREAM_TLS, "UPSTREAM": PORTS["UPSTREAM_TLS"]},
}
NOTHING = {"WORKER_CONNECTIONS": 1024, "MANAGER": "", "FILTERS": "", "CHAIN": "", "CLUSTER": "", "ROUTES": ""}
# At most so much of another's CPU, and so many KiB of memory for an idle connection.
MARKS = {"small": ("envoy", 0.40), "chain": ("envoy", 0.45)}
IDLE_MARKS = {"idle": 8, "idletls": 16}


def render(template, values):
    text = (HERE / template).read_text()
    # Twice, because what a variant puts in has places of its own.
    for key, value in [*{**PORTS, **NOTHING, **values}.items()] * 2:
        text = text.replace(f"@{key}@", str(value))
    return text


def certificate(folder):
    """A certificate that vouches for itself, with its key, for all that speak TLS here."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", "2", "-subj", "/CN=bench.test", "-addext", "subjectAltName=DNS:bench.test",
               "-keyout", folder / "bench.key", "-out", folder / "bench.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "bench.pem"


def wait_for(port, process, deadline=20.0):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
    raise RuntimeError(f"nothing listens on port {port}")


def get(path, secured=False):
    if secured:
        context = ssl.create_default_context(cafile=CERTIFICATE["file"])
        context.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", PORTS["HTTP"], timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", PORTS["HTTP"], timeout=5)
    connection.request("GET", path, headers={"user-agent": "bench/1"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def answers(variant):
    """Whether the proxy answers 200. nginx without TLS speaks HTTP/2 alone where it speaks it."""
    if variant in ("h2", "grpc"):
        path = SCENARIOS[variant][0]
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--http2-prior-knowledge", "-d", "x",
                   f"http://127.0.0.1:{PORTS['HTTP']}{path}"]
        return subprocess.run(command, capture_output=True, text=True).stdout == "200"
    if variant == "websocket":
        command = [WEBSOCKETS, "load", str(PORTS["HTTP"]), "1", "0"]
        return subprocess.run(command, capture_output=True).returncode == 0
    with contextlib.suppress(OSError, http.client.HTTPException):
        return get("/small", secured=variant.startswith("tls"))[0].status == 200
    return False


def family(pid):
    """The process and its children (nginx has a worker)."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def cpu_seconds(pid):
    """User and system time so far."""
    user = system = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(") ", 1)[1].split()
        user += int(fields[11])
        system += int(fields[12])
    return user / TICKS, system / TICKS


def resident_kib(pid):
    total = 0
    for each in family(pid):
        status = Path(f"/proc/{each}/status").read_text()
        total += int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    return total


class Proxy:
    """A contender, running."""

    def __init__(self, name, variant, folder):
        self.name, self.variant = name, variant
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
        values = {"DIR": folder, "CERTS": folder.parent, **VARIANTS[variant]}
        kind = name.split("+")[0]
        if kind == "nginx":
            config = folder / "nginx.conf"
            config.write_text(render(f"nginx-{variant.split('+')[0]}.conf", values))
            command = ["nginx", "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
        else:
            config = folder / "envoy.yaml"
            config.write_text(render("envoy.yaml", values))
            command = [os.environ["ENVOY_BIN"], "--disable-hot-restart", "-l", "error"] if kind == "envoy" \
                else [str(ROOT / "target/release/nuncio"), "-l", "error"]
            command += ["-c", str(config), "--concurrency", "1"]
        self.log = open(folder / "output.log", "w")
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            ["taskset", "-c", PROXY_CPU, *command], stdout=self.log, stderr=self.log)

    def first_answer(self):
        """Seconds from exec to the first 200, asked without a pause."""
        while time.monotonic() - self.started < 20:
            if answers(self.variant):
                return time.monotonic() - self.started
            if self.process.poll() is not None:
                break
        raise RuntimeError(f"{self.name} does not answer; see {self.log.name}:\n" + Path(self.log.name).read_text())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def load(tool, path, seconds, secured):
    """Requests answered, requests a second, errors."""
    url = f"{'https' if secured else 'http'}://127.0.0.1:{PORTS['HTTP']}{path}"
    h2load = ["h2load", "-t1", "-c8", "-m16", f"-D{seconds}", "-H", "user-agent: bench/1"]
    command = {
        "wrk": ["wrk", "-t1", "-c32", f"-d{seconds}s", "-H", "user-agent: bench/1", "-H", "accept: */*", url],
        "h2load": [*h2load, url],
        "grpc": [*h2load, "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(HERE / "message"), url],
        "websockets": [WEBSOCKETS, "load", str(PORTS["HTTP"]), "32", str(seconds)],
        "full": [CONNECTIONS, "handshakes", str(PORTS["HTTP"]), "16", str(seconds), "full"],
        "resumed": [CONNECTIONS, "handshakes", str(PORTS["HTTP"]), "16", str(seconds), "resumed"],
    }[tool]
    out = subprocess.run(["taskset", "-c", LOAD_CPU, *command], capture_output=True, text=True,
                         timeout=seconds * 4 + 20, check=True).stdout
    if tool == "websockets":
        requests, bad = (int(count) for count in out.split())
    elif tool in ("full", "resumed"):
        requests, resumed, bad = (int(count) for count in out.split())
        # Each client's first has nothing to resume.
        bad += resumed if tool == "full" else max(0, requests - resumed - 16)
    elif tool == "wrk":
        requests = int(re.search(r"(\d+) requests in", out)[1])
        bad = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", out))
        bad += int((re.search(r"Non-2xx or 3xx responses: (\d+)", out) or [0, 0])[1])
    else:
        requests = int(re.search(r"(\d+) succeeded", out)[1])
        bad = sum(int(n) for n in re.findall(r"(\d+) (?:failed|errored|timeout)", out))
    return requests, bad


def measure(name, variant, scenario, seconds, folder):
    path, tool, _ = SCENARIOS[scenario]
    proxy = Proxy(name, variant, folder)
    try:
        first = proxy.first_answer()
        if variant in ("chain", "user"):
            response, _ = get(path)
            assert response.getheader("x-bench-response") == "1", response.getheaders()
            _, seen = get("/seen")
            assert b"/seen|bench/1" in seen, seen
        time.sleep(0.3)
        rest = resident_kib(proxy.process.pid)
        secured = variant.startswith("tls")
        load(tool, path, 1, secured)
        before = cpu_seconds(proxy.process.pid)
        requests, bad = load(tool, path, seconds, secured)
        after = cpu_seconds(proxy.process.pid)
        micro = [(b - a) / requests * 1e6 for a, b in zip(before, after)]
        return {"us": sum(micro), "user_us": micro[0], "system_us": micro[1], "rps": requests / seconds,
                "errors": bad, "rest_mib": rest / 1024,
                "loaded_mib": resident_kib(proxy.process.pid) / 1024, "first_ms": first * 1e3}
    finally:
        proxy.stop()


def measure_idle(name, variant, scenario, folder):
    """KiB of resident memory for each connection that is open and has had its request."""
    _, kind, _ = SCENARIOS[scenario]
    proxy = Proxy(name, variant, folder)
    try:
        proxy.first_answer()
        time.sleep(0.3)
        rest = resident_kib(proxy.process.pid)
        command = ["taskset", "-c", LOAD_CPU, CONNECTIONS, "idle", str(PORTS["HTTP"]), str(IDLE), kind]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tool:
            assert tool.stdout.readline().strip() == str(IDLE), f"{name} does not keep {IDLE} connections"
            time.sleep(1)
            loaded = resident_kib(proxy.process.pid)
        return {"kib": (loaded - rest) / IDLE, "rest_mib": rest / 1024}
    finally:
        proxy.stop()


def idle_table(scenario, contenders):
    print(f"  {'':14} {'KiB/connection':>14} {'rest MiB':>8}")
    median = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
              for name, runs in contenders.items()}
    for name, row in median.items():
        print(f"  {name:14} {row['kib']:14.1f} {row['rest_mib']:8.1f}")
    if "nuncio" in median:
        verdict = "reached" if median["nuncio"]["kib"] <= IDLE_MARKS[scenario] else "MISSED"
        print(f"  mark: at most {IDLE_MARKS[scenario]} KiB: {median['nuncio']['kib']:.1f}, {verdict}")


def table(results):
    for scenario, contenders in results.items():
        print(f"\n{scenario}")
        if scenario in IDLE_MARKS:
            idle_table(scenario, contenders)
            continue
        print(f"  {'':14} {'CPU us/req':>10} {'user':>7} {'system':>7} {'req/s':>8} {'errors':>6} "
              f"{'rest MiB':>8} {'first ms':>8} {'ratio':>6}")
        median = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                  for name, runs in contenders.items()}
        base = next((name for name in ("envoy", "nuncio") if name in median and len(median) > 1), None)
        for name, row in median.items():
            ratio = row["us"] / median[base]["us"] if base else 1
            print(f"  {name:14} {row['us']:10.2f} {row['user_us']:7.2f} {row['system_us']:7.2f} "
                  f"{row['rps']:8.0f} {row['errors']:6.0f} {row['rest_mib']:8.1f} {row['first_ms']:8.0f} {ratio:6.2f}")
        if scenario in MARKS:
            against, mark = MARKS[scenario]
            if against in median:
                ratio = median["nuncio"]["us"] / median[against]["us"]
                verdict = "reached" if ratio <= mark else "MISSED"
                print(f"  mark: at most {mark:.2f} of {against}'s: {ratio:.2f}, {verdict}")
        if scenario == "filter":
            cost = median["nuncio+filter"]["us"] - median["nuncio"]["us"]
            print(f"  the filter's cost: {cost:.2f} us a request (filter_call has the one without load)")
        if scenario == "routes" and "nuncio" in median and "nuncio+routes" in median:
            cost = median["nuncio+routes"]["us"] - median["nuncio"]["us"]
            print(f"  what 10 000 routes cost beside one: {cost:.2f} us a request (mark 2)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-s", "--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("-p", "--proxies", default="nuncio,nuncio+filter,nuncio+routes,envoy,nginx")
    parser.add_argument("-n", "--rounds", type=int, default=3)
    parser.add_argument("-t", "--seconds", type=int, default=4, help="of load in each run")
    parser.add_argument("--json", type=Path, help="where to keep the raw figures")
    arguments = parser.parse_args()
    wanted = arguments.proxies.split(",")
    folder = Path(tempfile.mkdtemp(prefix="nuncio-bench-"))
    # nginx's worker runs as another user.
    folder.chmod(0o755)
    (folder / "upstream").mkdir()
    CERTIFICATE["file"] = certificate(folder)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    config = folder / "upstream/nginx.conf"
    config.write_text(render("upstream.conf", {"DIR": folder / "upstream", "CERTS": folder}))
    (folder / "upstream/10k").write_bytes(b"x" * 10240)
    (folder / "upstream/message").write_bytes((HERE / "message").read_bytes())
    echo = subprocess.Popen(["taskset", "-c", LOAD_CPU, WEBSOCKETS, "serve", str(PORTS["UPSTREAM_WS"])])
    upstream = subprocess.Popen(["taskset", "-c", LOAD_CPU, "nginx", "-p", str(folder / "upstream"), "-c",
                                 str(config), "-e", str(folder / "upstream/error.log")])
    results = {}
    try:
        wait_for(PORTS["UPSTREAM"], upstream)
        wait_for(PORTS["UPSTREAM_WS"], echo)
        for round_ in range(arguments.rounds):
            for scenario in arguments.scenarios.split(","):
                for name, variant in SCENARIOS[scenario][2].items():
                    if name not in wanted:
                        continue
                    if scenario in IDLE_MARKS:
                        run = measure_idle(name, variant, scenario, folder)
                        figure = f"{run['kib']:7.1f} KiB/connection"
                    else:
                        run = measure(name, variant, scenario, arguments.seconds, folder)
                        figure = f"{run['us']:7.2f} us/req"
                    results.setdefault(scenario, {}).setdefault(name, []).append(run)
                    print(f"round {round_ + 1} {scenario:11} {name:14} {figure}", file=sys.stderr)
        table(results)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    finally:
        for process in (upstream, echo):
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
