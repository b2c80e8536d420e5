//! Connections that the kernel redirects, in a network of their own: where they were meant to go, the same
//! in Envoy where there is one.
//!
//! Each test runs itself once more inside of namespaces, so that no rule of it touches the machine's own
//! tables. Where the machine lets nobody make them, it says so and passes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot set up its network or connect has failed"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use nuncio_tests::eventually;
use nuncio_tests::process::{Binary, Proxy, Setup};

/// Set for what runs inside.
const INSIDE: &str = "NUNCIO_TESTS_INSIDE";
/// The mark of what the proxies send upstream, which nobody redirects.
const MARK: u32 = 7;
/// Addresses of the network inside: where servers are, of either family.
const SERVERS: [&str; 4] = ["10.9.0.1", "10.9.0.2", "fd09::1", "fd09::2"];

/// How a client says that it has no more to ask.
const CLOSE: &[u8] = b"\r\nConnection: close\r\n";

/// Runs the body of the test of that name in namespaces of its own.
fn in_a_network_of_its_own(test: &str, body: impl Fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let namespaces: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["--net"],
        false => &["--user", "--map-root-user", "--net"],
    };
    let unshare = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(namespaces).arg("--").args(command);
        unshare
    };
    let permits = |command: &[&str], what: &str| {
        let tried = unshare(command).output().expect("unshare of util-linux");
        if !tried.status.success() {
            let told = String::from_utf8_lossy(&tried.stderr);
            eprintln!("passed over: this machine permits no {what}: {told}");
        }
        tried.status.success()
    };
    if !permits(&["true"], "network namespaces") {
        return;
    }
    for program in ["nft", "ip"] {
        let there = Command::new(program)
            .arg("-V")
            .stdout(Stdio::null())
            .status();
        if there.is_err() {
            assert!(std::env::var_os("CI").is_none(), "there is no {program}");
            eprintln!("passed over: there is no {program} (Debian: nftables iproute2)");
            return;
        }
    }
    let chain = "add table ip t; add chain ip t c { type nat hook output priority -100; }";
    if !permits(&["nft", chain], "rules of its network") {
        return;
    }
    let itself = std::env::current_exe().unwrap();
    // Whatever has to be built is built out here.
    let nuncio = Binary::nuncio().command([""; 0]);
    let output = unshare(&[itself.to_str().unwrap(), "--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env("NUNCIO_BIN", nuncio.get_program())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "inside of the namespace:\n{text}");
    assert!(text.contains("1 passed"), "it did not run:\n{text}");
}

fn run(program: &str, arguments: &str) {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {told}");
}

/// Puts a ruleset in the place of all that there was.
fn rules(text: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("flush ruleset\n{text}");
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    assert!(
        child.wait().unwrap().success(),
        "nft does not take:\n{text}"
    );
}

/// A network with servers at [`SERVERS`], all at one port, which is the answer. What arrives at another
/// port goes nowhere.
fn network() -> u16 {
    run("ip", "link set lo up");
    for address in SERVERS {
        let [family, length] = match address.contains(':') {
            true => ["-6", "128"],
            false => ["-4", "32"],
        };
        let nodad = if family == "-6" { "nodad" } else { "" };
        run(
            "ip",
            &format!("{family} address add {address}/{length} dev lo {nodad}"),
        );
    }
    let mut port = 0;
    for address in SERVERS {
        let address: IpAddr = address.parse().unwrap();
        let listener = TcpListener::bind((address, port)).unwrap();
        port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                thread::spawn(move || serve(stream));
            }
        });
    }
    port
}

/// Answers requests with the address that was connected to, until a client wants no more.
fn serve(mut stream: TcpStream) {
    let address = stream.local_addr().unwrap().to_string();
    let length = address.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{address}");
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        if !stream.read(&mut byte).is_ok_and(|count| count == 1) {
            return;
        }
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            stream.write_all(answer.as_bytes()).unwrap();
            // Only what comes through a TCP proxy still says so.
            if head.windows(CLOSE.len()).any(|line| line == CLOSE) {
                return;
            }
            head.clear();
        }
    }
}

/// What comes back of a request to that address; nothing where nobody answers.
fn ask(address: SocketAddr) -> String {
    let mut answer = String::new();
    let Ok(mut stream) = TcpStream::connect(address) else {
        return answer;
    };
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    drop(stream.read_to_string(&mut answer));
    answer
}

const MANAGER: &str = "
      - name: http
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          access_log:
          - name: log
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: \"@LOG@\"
              log_format: { text_format_source: { inline_string: \"@NAME@ %DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST% %RESPONSE_CODE%\\n\" } }
          route_config: { virtual_hosts: [ { name: all, domains: [\"*\"], routes: [ { match: { prefix: / }, route: { cluster: meant } } ] } ] }
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }";

const RESTORES: &str = "    listener_filters:
    - name: original
      typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst }
";

/// A listener with those fields, at an address and a named port, whose chain for the second server of
/// either family is a TCP proxy.
fn listener(name: &str, address: &str, port: &str, fields: &str) -> String {
    let manager = MANAGER.replace("@NAME@", name);
    format!(
        "  - name: {name}
    address: {{ socket_address: {{ address: \"{address}\", port_value: {port} }} }}
{fields}    filter_chains:
    - filter_chain_match: {{ prefix_ranges: [ {{ address_prefix: 10.9.0.2, prefix_len: 32 }}, {{ address_prefix: \"fd09::2\", prefix_len: 128 }} ] }}
      filters:
      - name: bytes
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: bytes
          cluster: meant
          access_log:
          - name: log
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: \"@LOG@\"
              log_format: {{ text_format_source: {{ inline_string: \"{name} bytes %DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST%\\n\" }} }}
    - filters:{manager}
"
    )
}

/// Listeners, and a cluster of whatever is meant.
fn template(listeners: &[String]) -> String {
    let listeners = listeners.concat();
    format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}
static_resources:
  listeners:
{listeners}  clusters:
  - name: meant
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 5s
    upstream_bind_config:
      socket_options: [ {{ level: 1, name: 36, int_value: {MARK}, state: STATE_PREBIND }} ]
"
    )
}

/// Asks each server through each proxy under those rules, and compares what clients and logs see with what
/// they have to.
fn each_proxy(
    template: &str,
    rules_for: impl Fn(&Proxy) -> String,
    port: u16,
    name_of: impl Fn(IpAddr) -> &'static str,
) {
    for binary in [Some(Binary::nuncio()), Binary::envoy()]
        .into_iter()
        .flatten()
    {
        rules("");
        let proxy = Proxy::start_with(&binary, template, Setup::for_template(template));
        rules(&rules_for(&proxy));
        let mut lines = Vec::new();
        for server in SERVERS {
            let server: IpAddr = server.parse().unwrap();
            let address = SocketAddr::new(server, port);
            let answer = ask(address);
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n"),
                "{address}: {answer}\n{}",
                proxy.output()
            );
            assert!(answer.ends_with(&format!("\r\n\r\n{address}")), "{answer}");
            let name = name_of(server);
            lines.push(match server.to_string().ends_with('2') {
                true => format!("{name} bytes {address} {address}"),
                false => format!("{name} {address} {address} 200"),
            });
        }
        lines.sort_unstable();
        let log = proxy.directory().join("access.log");
        let logged = || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        eventually("all are logged", || logged().len() == lines.len());
        assert_eq!(logged(), lines);
    }
}

fn port_of(proxy: &Proxy, name: &str) -> u16 {
    proxy.address(name).port()
}

/// Sends clients of a port to other ports, by their family.
fn redirect(port: u16, [four, six]: [u16; 2]) -> String {
    format!(
        "table inet redirection {{ chain out {{ type nat hook output priority -100;
           meta mark {MARK} return
           meta nfproto ipv4 tcp dport {port} redirect to :{four}
           meta nfproto ipv6 tcp dport {port} redirect to :{six}
         }}
         }}\n"
    )
}

#[test]
fn connections_that_were_redirected_go_where_they_were_meant_to() {
    in_a_network_of_its_own(
        "connections_that_were_redirected_go_where_they_were_meant_to",
        || {
            let port = network();
            let template = template(&[
                listener("four", "127.0.0.1", "@PORT:four@", RESTORES),
                listener("six", "::1", "@PORT:six@", RESTORES),
            ]);
            each_proxy(
                &template,
                |proxy| redirect(port, ["four", "six"].map(|name| port_of(proxy, name))),
                port,
                |server| if server.is_ipv4() { "four" } else { "six" },
            );
        },
    );
}

#[test]
fn connections_that_were_redirected_belong_to_the_listener_that_was_meant() {
    in_a_network_of_its_own(
        "connections_that_were_redirected_belong_to_the_listener_that_was_meant",
        || {
            let port = network();
            let takes = "    use_original_dst: true\n";
            let unbound = "    bind_to_port: false\n";
            let at = port.to_string();
            let template = template(&[
                listener("four", "127.0.0.1", "@PORT:four@", takes),
                listener("six", "::1", "@PORT:six@", takes),
                listener("first", "10.9.0.1", &at, unbound),
                listener("all", "0.0.0.0", &at, unbound),
            ]);
            each_proxy(
                &template,
                |proxy| redirect(port, ["four", "six"].map(|name| port_of(proxy, name))),
                port,
                |server| match server.to_string().as_str() {
                    "10.9.0.1" => "first",
                    "10.9.0.2" => "all",
                    _ => "six",
                },
            );
        },
    );
}

#[test]
fn connections_of_a_transparent_listener_go_where_they_were_meant_to() {
    in_a_network_of_its_own(
        "connections_of_a_transparent_listener_go_where_they_were_meant_to",
        || {
            let port = network();
            for family in ["-4", "-6"] {
                run("ip", &format!("{family} rule add fwmark 1 lookup 100"));
                run(
                    "ip",
                    &format!("{family} route add local default dev lo table 100"),
                );
            }
            let fields = format!("    transparent: true\n{RESTORES}");
            let template = template(&[
                listener("four", "127.0.0.1", "@PORT:four@", &fields),
                listener("six", "::1", "@PORT:six@", &fields),
            ]);
            each_proxy(
                &template,
                |proxy| {
                    let [four, six] = ["four", "six"].map(|name| port_of(proxy, name));
                    // Answers of servers come from that port, so only what goes there is looked at.
                    format!(
                        "table inet redirection {{ chain in {{ type filter hook prerouting priority -150;
                           meta mark {MARK} return
                           ip daddr 10.9.0.0/24 tcp dport {port} tproxy ip to 127.0.0.1:{four} meta mark set 1 accept
                           ip6 daddr fd09::/64 tcp dport {port} tproxy ip6 to [::1]:{six} meta mark set 1 accept
                         }}
                         }}\n"
                    )
                },
                port,
                |server| if server.is_ipv4() { "four" } else { "six" },
            );
        },
    );
}
