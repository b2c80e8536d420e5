//! What a guest's fault costs: the stream or the filter, by the failure policy, and nothing else.

use nuncio_tests::client::Received;
use nuncio_tests::config::{self, Config};
use nuncio_tests::eventually;
use nuncio_tests::message::{Kind, Message};
use nuncio_tests::origin::{Act, Gate, Reply};
use nuncio_tests::scene::{self, Scene};

/// A limit that no fault but an endless loop reaches, on a busy machine either.
const TIME: &str = "cpu_per_call: 500ms";

/// Faults in a hook, and what the log says of them.
const FAULTS: &[(&str, &str)] = &[
    ("panics", "as the test wants"),
    ("loops", "used more than 20ms of processor time"),
    ("allocates", "needed more than 4096 KiB of memory"),
    ("recurses", "out of bounds memory access"),
    ("exits", "the guest called exit with status"),
    ("sleeps", "wanted to wait for time to pass"),
    ("fails", "the filter says so"),
    ("replies-with-status-0", "replied with status 0"),
    (
        "replies-with-a-split-value",
        "a value of \"x-a\" that has a line end",
    ),
    ("replies-with-framing", "which the proxy sets itself"),
];

/// One filter `faulty` that misbehaves as `plan` says, and an access log.
fn config(plan: &str, policy: &str, isolation: &str) -> Config {
    let time = if plan.ends_with("loops") {
        "cpu_per_call: 20ms"
    } else {
        TIME
    };
    let more = format!(
        ", failure_policy: {policy}, isolation: {isolation}, limits: {{ memory: 4MiB, {time} }}"
    );
    Config::new()
        .manager("http_protocol_options: { enable_trailers: true }")
        .filter(config::guest("faulty", "faults", plan, &more))
        .log("%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%")
        .cluster(config::cluster(
            "origin",
            &[config::endpoint("origin", "")],
            config::HTTP1_TRAILERS,
        ))
}

/// The lines of the log that the filter, or somebody about the filter, wrote.
fn lines_of_filter(output: &str) -> Vec<&str> {
    let of_filter = |line: &&str| line.contains("[wasm]") && line.contains("filter=\"faulty\"");
    output.lines().filter(of_filter).collect()
}

#[track_caller]
fn serves_the_good(scene: &Scene, fault: &str) {
    let good = scene.get("/good", "x-good: 1\r\n");
    assert_eq!(
        (good.status(), good.text().as_str()),
        (200, "ok"),
        "after {fault}"
    );
}

#[test]
fn closed_the_request_fails_and_the_next_one_works() {
    for (fault, says) in FAULTS {
        let plan = format!("on-request-headers {fault}");
        let scene = Scene::start(&config(&plan, "FAIL_CLOSED", "SHARED"));
        for _ in 0..2 {
            let bad = scene.get("/bad", "");
            assert_eq!((bad.status(), bad.text().as_str()), (503, ""), "{fault}");
            serves_the_good(&scene, fault);
        }
        let seen: Vec<String> = scene.origin.take_requests().iter().map(target).collect();
        assert_eq!(seen, ["/good", "/good"], "{fault}");
        let ended = scene.stop();
        assert_eq!(
            ended.log,
            "/bad 503 wasm_fail_stream\n/good 200 via_upstream\n".repeat(2),
            "{fault}"
        );
        let lines = lines_of_filter(&ended.output);
        let said = |line: &&&str| line.contains(says);
        assert_eq!(lines.iter().filter(said).count(), 2, "{fault}: {lines:?}");
        let failed =
            |line: &&&str| line.contains("[error]") && line.contains("on-request-headers failed");
        assert_eq!(lines.iter().filter(failed).count(), 2, "{fault}: {lines:?}");
    }
}

fn target(message: &Message) -> String {
    message.target().to_owned()
}

#[test]
fn open_the_request_goes_through() {
    for (fault, says) in FAULTS {
        let plan = format!("on-request-headers {fault}");
        let scene = Scene::start(&config(&plan, "FAIL_OPEN", "SHARED"));
        for path in ["/bad", "/bad-again"] {
            let bad = scene.get(path, "");
            assert_eq!((bad.status(), bad.text().as_str()), (200, "ok"), "{fault}");
        }
        serves_the_good(&scene, fault);
        let ended = scene.stop();
        assert_eq!(
            ended.log,
            "/bad 200 via_upstream\n/bad-again 200 via_upstream\n/good 200 via_upstream\n",
            "{fault}"
        );
        let lines = lines_of_filter(&ended.output);
        assert!(
            lines.iter().any(|line| line.contains(says)),
            "{fault}: {lines:?}"
        );
        let left_out = |line: &&&str| {
            line.contains("[warning]") && line.contains("the stream goes on without the filter")
        };
        assert_eq!(
            lines.iter().filter(left_out).count(),
            2,
            "{fault}: {lines:?}"
        );
    }
}

/// Sends a request with body and trailers, to which the upstream answers with body and trailers.
fn exchange(scene: &Scene) -> Received {
    let reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                 6\r\nanswer\r\n0\r\nx-after: 1\r\n\r\n";
    scene.origin.reply_with([Reply::bytes(reply)]);
    let mut connection = scene.connect();
    connection.send(
        b"POST /bad HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n\
          8\r\nquestion\r\n0\r\nx-before: 1\r\n\r\n",
    );
    connection.receive(Kind::Response)
}

#[test]
fn every_hook_of_a_stream_is_covered() {
    for (hook, answered) in [
        ("on-request-headers", true),
        ("on-request-body", true),
        ("on-request-trailers", true),
        ("on-response-headers", true),
        ("on-response-body", false),
        ("on-response-trailers", false),
    ] {
        let plan = format!("{hook} panics");
        let scene = Scene::start(&config(&plan, "FAIL_CLOSED", "SHARED"));
        match exchange(&scene) {
            Received::Message(response) if answered => assert_eq!(response.status(), 503, "{hook}"),
            // The head was on its way: all that is left is to cut the response off.
            Received::Message(response) => assert!(!response.complete, "{hook}"),
            Received::Closed | Received::Reset | Received::Garbage(_) if !answered => {}
            other => panic!("{hook}: {other:?}"),
        }
        scene.origin.reply_with([]);
        serves_the_good(&scene, hook);
        let ended = scene.stop();
        let failed = format!("{hook} failed: ");
        assert!(ended.output.contains(&failed), "{}", ended.output);
        assert!(
            ended.log.contains(" wasm_fail_stream\n"),
            "{hook}: {}",
            ended.log
        );

        let scene = Scene::start(&config(&plan, "FAIL_OPEN", "SHARED"));
        let response = exchange(&scene).message();
        assert!(response.complete, "{hook}");
        assert_eq!(
            (response.status(), response.text().as_str()),
            (200, "answer")
        );
        assert_eq!(response.trailers, [("x-after".to_owned(), "1".to_owned())]);
        let request = scene.origin.take_requests().remove(0);
        assert_eq!(request.text(), "question", "{hook}");
        assert_eq!(request.trailers, [("x-before".to_owned(), "1".to_owned())]);
        assert!(
            scene.stop().output.contains(&format!("{hook} failed, and")),
            "{hook}"
        );
    }
}

#[test]
fn what_comes_after_the_stream_may_fail() {
    for hook in ["on-log", "on-done"] {
        let scene = Scene::start(&config(&format!("{hook} panics"), "FAIL_CLOSED", "SHARED"));
        let mut connection = scene.connect();
        for _ in 0..2 {
            let response = connection.exchange(scene::get("/bad", "").as_bytes());
            assert_eq!((response.status(), response.text().as_str()), (200, "ok"));
        }
        let ended = scene.stop();
        assert_eq!(ended.output.matches(&format!("{hook} failed: ")).count(), 2);
        assert_eq!(ended.log, "/bad 200 via_upstream\n".repeat(2));
    }
}

#[test]
fn other_streams_are_not_touched() {
    for fault in ["panics", "loops", "allocates", "fails"] {
        for isolation in ["EXCLUSIVE", "FRESH"] {
            let plan = format!("on-request-headers {fault}");
            let scene = Scene::start(&config(&plan, "FAIL_CLOSED", isolation));
            let gate = Gate::default();
            let held = Reply::nothing().then(Act::Wait(gate.clone()));
            let held = held.then(Act::Send(
                b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nheld".into(),
            ));
            scene.origin.reply_with([held]);
            let mut other = scene.connect();
            other.send(scene::get("/held", "x-good: 1\r\n").as_bytes());
            scene.origin.wait_for_requests(1);
            assert_eq!(scene.get("/bad", "").status(), 503, "{fault} {isolation}");
            gate.open();
            let response = other.receive(Kind::Response).message();
            assert_eq!(
                (response.status(), response.text().as_str()),
                (200, "held"),
                "{fault} {isolation}"
            );
        }
    }
}

#[test]
fn a_loop_holds_up_other_connections_no_longer_than_its_limit() {
    let scene = Scene::start(&config("on-request-headers loops", "FAIL_CLOSED", "SHARED"));
    let mut bad: Vec<_> = (0..8).map(|_| scene.connect()).collect();
    for connection in &mut bad {
        connection.send(scene::get("/bad", "").as_bytes());
    }
    serves_the_good(&scene, "loops");
    for connection in &mut bad {
        assert_eq!(connection.receive(Kind::Response).message().status(), 503);
    }
}

#[test]
fn a_flood_of_lines_is_cut_and_counted() {
    let scene = Scene::start(&config("on-request-headers floods", "FAIL_OPEN", "SHARED"));
    assert_eq!(scene.get("/bad", "").status(), 200);
    let mut lines = 0;
    eventually("the flood is logged", || {
        let output = scene.proxy.output();
        lines = lines_of_filter(&output).len();
        lines >= 100
    });
    assert_eq!(scene.get("/bad", "").status(), 200, "the proxy is well");
    let output = scene.stop().output;
    let lines = lines_of_filter(&output).len();
    assert!((100..1_000).contains(&lines), "{lines} lines of 20000");
}
