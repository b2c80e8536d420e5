//! Settings of one's own, in front of the codec's, on both sides.

use super::*;

/// What a side says in its first frame, which is one of settings.
fn first_settings(peer: &mut FrameConnection) -> Vec<(u16, u32)> {
    let Next::Frame(first) = peer.next() else {
        panic!("no frame came");
    };
    assert_eq!((first.kind, first.flags), (kind::SETTINGS, flag::NONE));
    let entries = first.payload.chunks_exact(6);
    let entry = |entry: &[u8]| {
        let value = [entry[2], entry[3], entry[4], entry[5]];
        (
            u16::from_be_bytes([entry[0], entry[1]]),
            u32::from_be_bytes(value),
        )
    };
    entries.map(entry).collect()
}

const CUSTOM: &str = "custom_settings_parameters: [ { identifier: 100, value: 7 }, \
    { identifier: 6, value: 9999 }, { identifier: 5, value: 20000 }, { identifier: 100, value: 7 } ]";

/// What of `said` was not written as [`CUSTOM`], in front of which that is.
fn behind_custom(said: &[(u16, u32)]) -> &[(u16, u32)] {
    let (custom, own) = said.split_at(3);
    assert_eq!(custom, [(100, 7), (6, 9999), (5, 20_000)], "{said:?}");
    own
}

#[test]
fn settings_of_the_file_are_said_in_front_of_the_others() {
    let proxy = start(&format!("max_concurrent_streams: 7, {CUSTOM}"));
    let mut client = open(&proxy);
    let said = first_settings(&mut client);
    let own = behind_custom(&said);
    assert!(own.contains(&(3, 7)), "{own:?}");
    assert!(own.iter().all(|(id, _)| *id != 6), "said twice: {own:?}");
    client.send(&frames::settings(&[]));
    client.send(&post(1));
    // As large as a frame may be, and one that is larger.
    client.send(&frames::data(1, flag::NONE, &[0; 20_000]));
    let (lines, lives) = client.sync();
    assert!(lives, "{lines:?}");
    client.send(&frames::data(1, flag::NONE, &[0; 20_001]));
    let lines = client.read_to_end();
    assert!(
        lines.iter().any(|line| line.contains("FRAME_SIZE_ERROR")),
        "{lines:?}"
    );
}

#[test]
fn settings_that_cannot_be_added_are_errors() {
    let validated = |options: &str| {
        let manager = format!("http2_protocol_options: {{ {options} }}");
        let text = Config::new().manager(&manager).text();
        let ports = ["listener", "admin", "origin"];
        let text = ports.into_iter().zip(1..).fold(text, |text, (name, port)| {
            text.replace(&format!("@PORT:{name}@"), &port.to_string())
        });
        Ran::nuncio(["--mode", "validate", "--config-yaml", &text])
    };
    for (parameters, more, said) in [
        (
            "{ identifier: 4, value: 70000 }",
            "initial_stream_window_size: 70000",
            "setting 4 is said by 'initial_stream_window_size' too",
        ),
        (
            "{ identifier: 3, value: 7 }",
            "max_concurrent_streams: 7",
            "setting 3 is said by 'max_concurrent_streams' too",
        ),
        (
            "{ identifier: 1, value: 7 }",
            "hpack_table_size: 7",
            "setting 1 is said by 'hpack_table_size' too",
        ),
        ("{ identifier: 2, value: 1 }", "", "nothing is pushed"),
        ("{ identifier: 8, value: 0 }", "", "'allow_connect'"),
        ("{ identifier: 5, value: 16383 }", "", "not 16383"),
        (
            "{ identifier: 4, value: 2147483648 }",
            "",
            "at most 2147483647 bytes",
        ),
        (
            "{ identifier: 100, value: 7 }, { identifier: 100, value: 8 }",
            "",
            "setting 100 is to be 8, and 7",
        ),
        ("{ identifier: 65536, value: 7 }", "", "at most 65535"),
        ("{ identifier: 100 }", "", "missing field 'value'"),
    ] {
        let ran = validated(&format!(
            "custom_settings_parameters: [ {parameters} ], {more}"
        ));
        assert_eq!(ran.code, Some(1), "{parameters}");
        ran.says(said);
    }
    let ran = validated("custom_settings_parameters: [ { identifier: 3, value: 7 } ]");
    assert_eq!(ran.code, Some(0));
    ran.says("write 'max_concurrent_streams: 7'");
}

#[test]
fn upstreams_hear_settings_of_the_file() {
    let options = HTTP2.replace(
        "http2_protocol_options: {",
        &format!("http2_protocol_options: {{ {CUSTOM}"),
    );
    assert!(options.contains(CUSTOM), "{options}");
    let upstream = cluster("origin", &[endpoint("origin", "")], &options);
    let template = Config::new().cluster(upstream).text();
    let setup = Setup::for_template(&template);
    let port = setup.port("origin").unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    let mut client = open(&proxy);
    client.send(&frames::get(1, "/"));
    let (mut stream, _) = listener.accept().unwrap();
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut upstream = FrameConnection::over(stream);
    let said = first_settings(&mut upstream);
    assert!(behind_custom(&said).contains(&(2, 0)), "{said:?}");
    upstream.send(&frames::settings(&[]));
    let (lines, came) = upstream.read_until(|frame| frame.kind == kind::HEADERS);
    assert!(came, "{lines:?}");
    let status = frames::headers(1, flag::NONE, &[(":status", "200")]);
    upstream.send(&status);
    upstream.send(&frames::data(1, flag::END_STREAM, &[b'x'; 20_000]));
    let (lines, came) = client.read_until(|frame| frame.ends(1));
    assert!(came, "{lines:?}");
}
