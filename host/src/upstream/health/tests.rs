//! Health checks over real sockets: what is asked, what counts as an answer, what is told.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use ::http::uri::PathAndQuery;
use ::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::limits;
use crate::upstream::spec::{ClusterSpec, Discovery, GrpcProbe, StaticEndpoint, TcpProbe};
use crate::upstream::testing::runtime;

fn run<T>(test: impl Future<Output = T>) -> T {
    runtime(false).block_on(async {
        tokio::time::timeout(Duration::from_secs(20), test)
            .await
            .expect("the test hangs")
    })
}

fn check(host: &'static str) -> HealthCheck {
    HealthCheck::new(
        HeaderValue::from_static(host),
        PathAndQuery::from_static("/healthz?deep=1"),
        Duration::from_secs(10),
        Duration::from_millis(1),
    )
}

/// Reads the head of one request.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap() == 0 {
            break;
        }
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Does `check` at `address`.
fn prober(check: &HealthCheck, address: SocketAddr) -> Prober {
    let ward = Ward::new(std::slice::from_ref(check));
    Prober::new(&ward, &ward.plans[0], address)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BUSY: &[u8] = b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n";

#[test]
fn the_request_is_envoys_and_the_connection_is_kept() {
    run(async {
        let (listener, address) = listen().await;
        let mut prober = prober(&check("back_end"), address);
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in [OK, BUSY, OK] {
                let expected = "GET /healthz?deep=1 HTTP/1.1\r\nhost: back_end\r\nuser-agent: Envoy/HC\r\n\r\n";
                assert_eq!(head(&mut stream).await, expected);
                stream.write_all(answer).await.unwrap();
            }
            // Closed between two checks: the next one connects anew.
            drop(stream);
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            stream
        };
        let client = async {
            let mut verdicts = Vec::new();
            for _ in 0..3 {
                verdicts.push(prober.probe().await);
            }
            poll_fn(|cx| prober.poll_ended(cx)).await;
            verdicts.push(prober.probe().await);
            verdicts
        };
        let (_stream, verdicts) = tokio::join!(server, client);
        let failed = Verdict::Failed(Failure::Status(503));
        assert_eq!(
            verdicts,
            [Verdict::Passed, failed, Verdict::Passed, Verdict::Passed]
        );
    });
}

#[test]
fn without_reuse_each_check_has_its_own_connection() {
    run(async {
        let (listener, address) = listen().await;
        let check = HealthCheck {
            reuse_connection: false,
            ..check("c")
        };
        let mut prober = prober(&check, address);
        let server = async {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                head(&mut stream).await;
                stream.write_all(OK).await.unwrap();
                assert_eq!(
                    stream.read(&mut [0]).await.unwrap(),
                    0,
                    "closed after the answer"
                );
            }
        };
        tokio::join!(server, async {
            assert_eq!(prober.probe().await, Verdict::Passed);
            assert_eq!(prober.probe().await, Verdict::Passed);
        });
    });
}

#[test]
fn no_answer_and_nonsense_are_network_failures() {
    run(async {
        let network = Verdict::Failed(Failure::Network);
        let (listener, address) = listen().await;
        let mut prober = prober(&check("c"), address);
        let server = async {
            for answer in [
                &b""[..],
                b"SSH-2.0-x\r\n\r\n",
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                head(&mut stream).await;
                stream.write_all(answer).await.unwrap();
            }
        };
        tokio::join!(server, async {
            for _ in 0..3 {
                assert_eq!(prober.probe().await, network);
            }
        });
        drop(listener);
        assert_eq!(prober.probe().await, network, "refused");
    });
}

#[test]
fn answers_are_read_to_their_end_and_not_beyond() {
    run(async {
        let long = limits::HEALTH_CHECK_BODY_BYTES + 1;
        let too_long = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {long}\r\n\r\n{}",
            "x".repeat(long)
        );
        let (passed, network) = (Verdict::Passed, Verdict::Failed(Failure::Network));
        for (answer, verdict, is_kept) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", passed, true),
            ("HTTP/1.1 204 No Content\r\n\r\n", passed, true),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
                passed,
                true,
            ),
            (
                "HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                passed,
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                passed,
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
                passed,
                false,
            ),
            ("HTTP/1.1 204 No Content\r\n\r\nmore", passed, false),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", passed, false),
            (&too_long, passed, false),
            (
                "HTTP/1.1 101 Switching Protocols\r\n\r\n",
                Verdict::Failed(Failure::Status(101)),
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno size",
                network,
                false,
            ),
            ("HTTP/1.1 200 OK\r\ncontent-le", network, false),
        ] {
            let (listener, address) = listen().await;
            let mut check = check("c");
            let Probe::Http(probe) = &mut check.probe else {
                panic!("an HTTP check")
            };
            probe.expected = std::iter::once(200..205).collect();
            let mut prober = prober(&check, address);
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                head(&mut stream).await;
                // Who does not want the rest need not take it.
                let _unread = stream.write_all(answer.as_bytes()).await;
                let _unread = stream.shutdown().await;
            };
            let ((), seen) = tokio::join!(server, prober.probe());
            let Prober::Http1(prober) = &mut prober else {
                panic!("over HTTP/1")
            };
            assert_eq!(
                (seen, prober.kept().is_some()),
                (verdict, is_kept),
                "{answer}"
            );
        }
    });
}

#[test]
fn http2_is_spoken_where_asked_for() {
    run(async {
        for (host, authority, header) in [("c0", Some("c0"), None), ("a b", None, Some("a b"))] {
            let (listener, address) = listen().await;
            let mut check = check(host);
            let Probe::Http(probe) = &mut check.probe else {
                panic!("an HTTP check")
            };
            probe.http2 = true;
            let mut prober = prober(&check, address);
            let server = tokio::task::spawn_local(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut connection = h2::server::handshake::<TcpStream>(stream).await.unwrap();
                let mut seen = Vec::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let host = request
                        .headers()
                        .get("host")
                        .map(|h| h.to_str().unwrap().to_owned());
                    seen.push((request.uri().clone(), host));
                    let response = ::http::Response::builder().status(200).body(()).unwrap();
                    let mut body = respond.send_response(response, false).unwrap();
                    body.send_data(Bytes::from_static(b"ok"), true).unwrap();
                }
                seen
            });
            assert_eq!(prober.probe().await, Verdict::Passed);
            assert_eq!(prober.probe().await, Verdict::Passed);
            prober.disconnect();
            let seen = server.await.unwrap();
            assert_eq!(seen.len(), 2, "on one connection");
            for (uri, host) in seen {
                assert_eq!(uri.path_and_query().unwrap(), "/healthz?deep=1");
                assert_eq!(
                    (uri.authority().map(|a| a.as_str()), host.as_deref()),
                    (authority, header)
                );
            }
        }
    });
}

#[test]
fn the_loop_marks_counts_and_tells() {
    run(async {
        let (listener, address) = listen().await;
        let mut check = check("c");
        check.timeout = Duration::from_millis(200);
        check.intervals.no_traffic = Duration::ZERO;
        let mut spec = ClusterSpec::new("c", Discovery::Static(vec![StaticEndpoint::new(address)]));
        spec.health_checks = vec![check.clone()];
        let cluster = Cluster::new(spec, 1);
        let endpoint = Arc::clone(&cluster.endpoints().endpoints[0]);
        assert!(endpoint.health().has(Health::PENDING_ACTIVE_HC) && !endpoint.passes_checks());
        let changes = Rc::new(Cell::new(0));
        let told = Rc::clone(&changes);
        let ward = Ward::new(&cluster.spec().health_checks);
        let patient = Patient::new(&ward, &cluster, &endpoint, move |what| {
            told.set(told.get() + u32::from(what == Told::Changed));
        });
        tokio::task::spawn_local(ward.keep_time());
        let watching = tokio::task::spawn_local(Rc::clone(&patient).watch(0, Random::new(1)));
        let stats = cluster.control_stats();
        let results = || stats.health_check_success.get() + stats.health_check_failure.get();
        // Up at once; one timeout is not enough, two are; a status would be.
        for (answer, healthy, changed, timed_out) in [
            (Some(OK), true, 1, false),
            (None, true, 1, false),
            (None, false, 2, true),
            (Some(OK), false, 2, true),
            (Some(OK), true, 3, false),
            (Some(BUSY), false, 4, false),
        ] {
            let before = results();
            answer_one(&listener, answer).await;
            while results() == before {
                tokio::task::yield_now().await;
            }
            let flags = endpoint.health();
            assert_eq!(
                (endpoint.passes_checks(), changes.get()),
                (healthy, changed),
                "{answer:?}"
            );
            assert_eq!(
                flags.has(Health::ACTIVE_HC_TIMEOUT),
                timed_out,
                "{answer:?}"
            );
            assert!(!flags.has(Health::PENDING_ACTIVE_HC));
        }
        watching.abort();
        assert_eq!(stats.health_check_success.get(), 3);
        assert_eq!(stats.health_check_failure.get(), 3);
        assert_eq!(stats.health_check_passive_failure.get(), 0);
        assert_eq!(stats.health_check_network_failure.get(), 2);
    });
}

/// Answers the next check on a connection of its own, or lets it time out.
async fn answer_one(listener: &TcpListener, answer: Option<&[u8]>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    head(&mut stream).await;
    if let Some(answer) = answer {
        stream.write_all(answer).await.unwrap();
    } else {
        assert_eq!(
            stream.read(&mut [0]).await.unwrap(),
            0,
            "the checker gave up"
        );
    }
}

#[test]
fn headers_are_added_and_taken_away_and_a_degraded_endpoint_says_so() {
    run(async {
        let (listener, address) = listen().await;
        let mut check = check("c");
        let Probe::Http(probe) = &mut check.probe else {
            panic!("an HTTP check")
        };
        let header = |name, value| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        for ((name, value), replaces) in [
            (header("x-a", "1"), false),
            (header("user-agent", "me"), true),
        ] {
            probe.add.push((name, value, replaces));
        }
        probe.remove.push(HeaderName::from_static("host"));
        let mut prober = prober(&check, address);
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\nx-envoy-degraded: \r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            (head, stream)
        };
        let ((head, _stream), verdict) = tokio::join!(server, prober.probe());
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["GET /healthz?deep=1 HTTP/1.1", "user-agent: me", "x-a: 1"]
        );
        assert_eq!(verdict, Verdict::Degraded);
    });
}

fn tcp(send: &str, receive: &[&str], reuse_connection: bool) -> HealthCheck {
    let probe = TcpProbe {
        send: send.into(),
        receive: receive
            .iter()
            .map(|part| part.as_bytes().to_vec())
            .collect(),
    };
    let second = Duration::from_secs(1);
    HealthCheck {
        reuse_connection,
        ..HealthCheck::with(Probe::Tcp(probe), second, second)
    }
}

#[test]
fn tcp_is_asked_as_written() {
    run(async {
        let (listener, address) = listen().await;
        let server = tokio::task::spawn_local(async move {
            let mut connections = 0;
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections += 1;
                let mut ping = [0; 4];
                while stream.read_exact(&mut ping).await.is_ok() {
                    assert_eq!(&ping, b"ping");
                    stream
                        .write_all(format!("-{connections}-pong-").as_bytes())
                        .await
                        .unwrap();
                }
            }
        });
        // Connecting is enough.
        assert_eq!(
            prober(&tcp("", &[], true), address).probe().await,
            Verdict::Passed
        );
        let mut kept = prober(&tcp("ping", &["-2-", "pong"], true), address);
        assert_eq!(kept.probe().await, Verdict::Passed);
        assert_eq!(
            kept.probe().await,
            Verdict::Passed,
            "on the same connection"
        );
        kept.disconnect();
        let mut fresh = prober(&tcp("ping", &["pong"], false), address);
        assert_eq!(fresh.probe().await, Verdict::Passed);
        server.abort();
        let _ = server.await;
        let verdict = fresh.probe().await;
        assert_eq!(verdict, Verdict::Failed(Failure::Network), "nobody listens");
    });
}

#[test]
fn another_answer_by_tcp_fails() {
    run(async {
        let (listener, address) = listen().await;
        let too_much = vec![b'n'; limits::HEALTH_CHECK_BODY_BYTES + 1];
        for (answer, failure) in [
            (&b"no"[..], Failure::Network),
            (&too_much, Failure::Mismatch),
        ] {
            let answering = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                // Who has read enough does not read the rest.
                let _unread = stream.write_all(answer).await;
            };
            let mut prober = prober(&tcp("", &["yes"], true), address);
            let ((), verdict) = tokio::join!(answering, prober.probe());
            assert_eq!(verdict, Verdict::Failed(failure));
        }
    });
}

#[test]
fn grpc_is_asked_and_understood() {
    run(async {
        let (listener, address) = listen().await;
        let probe = GrpcProbe {
            service: "s".into(),
            authority: HeaderValue::from_static("a"),
        };
        let second = Duration::from_secs(1);
        let check = HealthCheck::with(Probe::Grpc(probe), second, second);
        let server = tokio::task::spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake::<TcpStream>(stream).await.unwrap();
            let mut answers = [("0", 1_u8), ("0", 2), ("14", 1)].into_iter();
            while let Some(Ok((mut request, mut respond))) = connection.accept().await {
                assert_eq!(request.uri(), "http://a/grpc.health.v1.Health/Check");
                assert_eq!(request.headers()["content-type"], "application/grpc");
                let asked = request.body_mut().data().await.unwrap().unwrap();
                assert_eq!(asked[..], [0, 0, 0, 0, 3, 0x0a, 1, b's']);
                let Some((status, serving)) = answers.next() else {
                    return;
                };
                let response = ::http::Response::builder().status(200).body(()).unwrap();
                let mut body = respond.send_response(response, false).unwrap();
                body.send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, serving]), false)
                    .unwrap();
                let mut trailers = ::http::HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static(status));
                body.send_trailers(trailers).unwrap();
            }
        });
        let mut prober = prober(&check, address);
        assert_eq!(prober.probe().await, Verdict::Passed);
        let sick = Verdict::Failed(Failure::NotServing);
        assert_eq!((prober.probe().await, prober.probe().await), (sick, sick));
        prober.disconnect();
        server.await.unwrap();
    });
}

#[test]
fn parts_come_in_order() {
    let parts = |parts: &[&str]| parts.iter().map(|part| part.as_bytes().to_vec()).collect();
    for (wanted, text, found) in [
        (&[][..], "", true),
        (&["a"], "", false),
        (&["ab", "cd"], "xabxcdx", true),
        (&["ab", "cd"], "cdab", false),
        (&["aa", "a"], "aa", false),
        (&["aa", "a"], "aaa", true),
    ] {
        let wanted: Vec<Vec<u8>> = parts(wanted);
        assert_eq!(has_all(&wanted, text.as_bytes()), found, "{text}");
    }
}

/// What an endpoint with these checks is like after these verdicts, by the flags' names.
fn flags_after(checks: usize, verdicts: &[(usize, Verdict)]) -> Vec<String> {
    let address = "127.0.0.1:1".parse().unwrap();
    let mut spec = ClusterSpec::new("c", Discovery::Static(vec![StaticEndpoint::new(address)]));
    spec.health_checks = vec![check("c"); checks];
    let cluster = Cluster::new(spec, 1);
    let endpoint = Arc::clone(&cluster.endpoints().endpoints[0]);
    let ward = Ward::new(&cluster.spec().health_checks);
    let patient = Patient::new(&ward, &cluster, &endpoint, |_| ());
    verdicts
        .iter()
        .map(|(index, verdict)| {
            match verdict {
                Verdict::Failed(Failure::AskedOut) => patient.ask_out(),
                verdict => {
                    patient.take(*index, *verdict);
                }
            }
            let set = Health::NAMES.iter();
            let set = set.filter(|(flag, _)| endpoint.health().has(*flag));
            set.map(|(_, name)| *name).collect()
        })
        .collect()
}

#[test]
fn an_endpoint_has_to_pass_all_checks() {
    let (pass, fail) = (Verdict::Passed, Verdict::Failed(Failure::Status(500)));
    let flags = flags_after(
        2,
        &[
            (0, pass),
            (1, Verdict::Degraded),
            (1, fail),
            (0, Verdict::Failed(Failure::Timeout)),
            (0, Verdict::Failed(Failure::Timeout)),
            (1, pass),
            (1, pass),
            (0, pass),
            (0, pass),
        ],
    );
    let (failed, degraded) = ("/failed_active_hc", "/degraded_active_hc");
    let both = format!("{failed}{degraded}");
    let late = format!("{failed}{degraded}/active_hc_timeout");
    let late_alone = format!("{failed}/active_hc_timeout");
    let first = format!("{failed}/pending_active_hc");
    assert_eq!(
        flags,
        [
            &*first,
            degraded,
            &both,
            &both,
            &late,
            &late_alone,
            &late_alone,
            &late_alone,
            ""
        ]
    );
}

#[test]
fn who_asks_to_be_left_out_is_until_checks_pass_again() {
    let asked = Verdict::Failed(Failure::AskedOut);
    let passes = [
        (0, Verdict::Passed),
        (0, asked),
        (0, Verdict::Passed),
        (0, Verdict::Passed),
    ];
    let out = "/failed_active_hc/excluded_via_immediate_hc_fail";
    assert_eq!(flags_after(1, &passes), ["", out, out, ""]);
}

#[test]
fn bodies_and_the_names_of_clusters_are_looked_at() {
    run(async {
        let (listener, address) = listen().await;
        let mut check = check("c");
        let Probe::Http(probe) = &mut check.probe else {
            panic!("an HTTP check")
        };
        probe.method = ::http::Method::POST;
        probe.send = Bytes::from_static(b"ping");
        probe.receive = vec![b"good".to_vec(), b"day".to_vec()];
        probe.response_buffer = 12;
        probe.service = Some(crate::upstream::spec::ServiceCheck::new(|name| {
            name == b"c1"
        }));
        let mut prober = prober(&check, address);
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for (cluster, body) in [
                ("c1", "a good day"),
                ("c2", "a good day"),
                ("c1", "day, good"),
                ("c1", "a good, good day"),
            ] {
                assert!(head(&mut stream).await.starts_with("POST "));
                let mut sent = [0; 4];
                stream.read_exact(&mut sent).await.unwrap();
                assert_eq!(&sent, b"ping");
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nx-envoy-upstream-healthchecked-cluster: {cluster}\r\n\
                     content-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            stream
        };
        let client = async {
            let mut verdicts = Vec::new();
            for _ in 0..4 {
                verdicts.push(prober.probe().await);
            }
            verdicts
        };
        let (_stream, verdicts) = tokio::join!(server, client);
        let wrong = Verdict::Failed(Failure::WrongAnswer(200));
        assert_eq!(verdicts, [Verdict::Passed, wrong, wrong, wrong]);
    });
}

#[test]
fn events_are_written_as_envoy_writes_them() {
    let endpoint = Endpoint::new(
        "127.0.0.1:29871".parse::<SocketAddr>().unwrap(),
        Arc::default(),
        crate::upstream::endpoint::Checks::default(),
    );
    let probe = check("c").probe;
    let start = r#"{"health_checker_type":"HTTP","host":{"socket_address":{"protocol":"TCP","address":"127.0.0.1","port_value":29871,"resolver_name":"","ipv4_compat":false,"network_namespace_filepath":""}},"cluster_name":"deg","#;
    let (time, place) = (
        r#""timestamp":"2026-11-26T08:08:54.875Z""#,
        r#""locality":{"region":"","zone":"","sub_zone":""}"#,
    );
    for (event, rest) in [
        (
            Event::Failed(Failure::Network, true),
            format!(
                r#"{time},"health_check_failure_event":{{"failure_type":"NETWORK","first_check":true,"http_status_code":0}},{place}}}"#
            ),
        ),
        (
            Event::Failed(Failure::WrongAnswer(200), false),
            format!(
                r#"{time},"health_check_failure_event":{{"failure_type":"ACTIVE","first_check":false,"http_status_code":200}},{place}}}"#
            ),
        ),
        (
            Event::Ejected(Failure::Timeout),
            format!(
                r#""eject_unhealthy_event":{{"failure_type":"NETWORK_TIMEOUT"}},{time},{place}}}"#
            ),
        ),
        (
            Event::Added(false),
            format!(r#""add_healthy_event":{{"first_check":false}},{time},{place}}}"#),
        ),
        (
            Event::Degraded,
            format!(r#"{time},"degraded_healthy_host":{{}},{place}}}"#),
        ),
        (
            Event::NoLongerDegraded,
            format!(r#"{time},"no_longer_degraded_host":{{}},{place}}}"#),
        ),
        (
            Event::Passed,
            format!(r#"{time},{place},"successful_health_check_event":{{}}}}"#),
        ),
    ] {
        let line = event.line("deg", &endpoint, &probe, "2026-11-26T08:08:54.875Z");
        assert_eq!(line, format!("{start}{rest}\n"));
    }
}
