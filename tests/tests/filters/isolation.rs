//! Which streams share an instance, and what a trap in it costs them.

use nuncio_tests::admin;
use nuncio_tests::client::Connection;
use nuncio_tests::config::{self, Config};
use nuncio_tests::message::{Kind, Message};
use nuncio_tests::origin::{Act, Gate, Reply};
use nuncio_tests::scene::{self, Scene};

fn start(isolation: &str) -> Scene {
    let more = format!(", isolation: {isolation}, limits: {{ cpu_per_call: 500ms }}");
    let filter = config::guest("keeper", "state", "", &more);
    Scene::start(
        &Config::new()
            .filter(filter)
            .log("%REQ(:PATH)% %RESPONSE_CODE%"),
    )
}

/// A stream that the upstream holds, in whose instance the guest may keep state.
fn hold(scene: &Scene, path: &str, gate: &Gate) -> Connection {
    let before = scene.origin.arrived();
    let reply = Reply::nothing().then(Act::Wait(gate.clone()));
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nheld";
    scene
        .origin
        .reply_with([reply.then(Act::Send(answer.to_vec()))]);
    let mut connection = scene.connect();
    connection.send(scene::get(path, "").as_bytes());
    scene.origin.wait_for_requests(before + 1);
    connection
}

fn answer(mut connection: Connection) -> Message {
    connection.receive(Kind::Response).message()
}

/// What the guest showed: the path that it kept, and how many streams had state in the instance.
fn shown(message: &Message) -> &str {
    message.header("x-path").unwrap_or("nothing")
}

#[test]
fn streams_share_an_instance_or_do_not() {
    for (isolation, streams) in [("SHARED", 2), ("EXCLUSIVE", 1), ("FRESH", 1)] {
        let scene = start(isolation);
        let gate = Gate::default();
        let held = hold(&scene, "/held", &gate);
        let beside = scene.get("/beside", "");
        assert_eq!(shown(&beside), format!("/beside {streams}"), "{isolation}");
        gate.open();
        let held = answer(held);
        assert_eq!(shown(&held), "/held 1", "{isolation}: the other is done");
    }
}

#[test]
fn instances_live_as_long_as_they_should() {
    for (isolation, grows) in [("SHARED", false), ("EXCLUSIVE", false), ("FRESH", true)] {
        let scene = start(isolation);
        assert_eq!(shown(&scene.get("/first", "")), "/first 1");
        let created = admin::stat(&scene.proxy, "wasm.keeper.created");
        for path in ["/a", "/b", "/c"] {
            assert_eq!(
                shown(&scene.get(path, "")),
                format!("{path} 1"),
                "{isolation}"
            );
        }
        let later = admin::stat(&scene.proxy, "wasm.keeper.created");
        assert_eq!(
            later > created,
            grows,
            "{isolation}: {created} and then {later}"
        );
        assert!(later >= created, "{isolation}");
    }
}

#[test]
fn a_trap_costs_those_who_had_state_in_the_instance() {
    for (isolation, status) in [("SHARED", 503), ("EXCLUSIVE", 200), ("FRESH", 200)] {
        let scene = start(isolation);
        let gate = Gate::default();
        let held = hold(&scene, "/held", &gate);
        assert_eq!(scene.get("/trap", "").status(), 503, "{isolation}");
        let after = scene.get("/after", "");
        assert_eq!(shown(&after), "/after 1", "{isolation}: a new instance");
        gate.open();
        assert_eq!(answer(held).status(), status, "{isolation}");
        let lost = admin::stat(&scene.proxy, "wasm.keeper.state_lost");
        assert_eq!(lost > 0, status == 503, "{isolation}");
    }
}

#[test]
fn a_stream_without_state_survives_the_trap_of_another() {
    let scene = start("SHARED");
    let gate = Gate::default();
    let held = hold(&scene, "/none", &gate);
    assert_eq!(scene.get("/trap", "").status(), 503);
    gate.open();
    let held = answer(held);
    assert_eq!((held.status(), held.text().as_str()), (200, "held"));
    assert_eq!(scene.stop().log, "/trap 503\n/none 200\n");
}

#[test]
fn many_exclusive_streams_at_once_have_an_instance_each() {
    const STREAMS: usize = 40;
    let scene = start("EXCLUSIVE");
    let gate = Gate::default();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    scene.origin.reply_with((0..STREAMS).map(|_| {
        let held = Reply::nothing().then(Act::Wait(gate.clone()));
        held.then(Act::Send(answer.to_vec()))
    }));
    let mut connections: Vec<_> = (0..STREAMS).map(|_| scene.connect()).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.send(scene::get(&format!("/{number}"), "").as_bytes());
    }
    scene.origin.wait_for_requests(STREAMS);
    gate.open();
    for (number, connection) in connections.iter_mut().enumerate() {
        let response = connection.receive(Kind::Response).message();
        assert_eq!(shown(&response), format!("/{number} 1"));
    }
}
