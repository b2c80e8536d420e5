//! Targets that are too long for the codec, on their way to an upstream.

use super::*;

/// The field block of the next head, of `stream`.
fn block(upstream: &mut FrameConnection, stream: u32) -> Vec<u8> {
    let mut block = Vec::new();
    let (lines, came) = upstream.read_until(|frame| {
        let is_head = matches!(frame.kind, kind::HEADERS | kind::CONTINUATION);
        if is_head && frame.stream == stream {
            block.extend(&frame.payload);
        }
        is_head && frame.flags & flag::END_HEADERS != 0
    });
    assert!(came, "{lines:?}");
    block
}

#[test]
fn long_targets_go_to_an_upstream_beside_others() {
    let template = Config::new()
        .manager("max_request_headers_kb: 8192")
        .cluster(cluster("origin", &[endpoint("origin", "")], HTTP2))
        .text();
    let setup = Setup::for_template(&template);
    let listener = std::net::TcpListener::bind(("127.0.0.1", setup.port("origin").unwrap()));
    let listener = listener.unwrap();
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    let mut client = Connection::open(proxy.address("listener"));
    // Not too long, too long, and too long for what a socket takes at once.
    let lengths = [2, 65_534, 65_535, 3, 100_000, 3_000_000, 4];
    let mut upstream = None;
    for (at, length) in lengths.into_iter().enumerate() {
        let target = format!("/{}", "X".repeat(length - 1));
        let head = format!("POST {target} HTTP/1.1\r\nhost: a\r\nx-t: {at}\r\n");
        client.send(format!("{head}content-length: 5\r\n\r\nhello").as_bytes());
        let upstream = upstream.get_or_insert_with(|| {
            let (mut socket, _) = listener.accept().unwrap();
            socket.read_exact(&mut [0; frames::PREFACE.len()]).unwrap();
            let mut upstream = FrameConnection::over(socket);
            upstream.send(&frames::settings(&[]));
            upstream
        });
        let stream = 2 * at as u32 + 1;
        let block = block(upstream, stream);
        if length > 65_534 {
            // Where it begins: with its name, in no table, and its length.
            let length = length - 0x7f;
            let groups = std::iter::successors(Some(length), |rest| Some(rest >> 7));
            let groups = groups
                .take_while(|rest| *rest > 0)
                .map(|rest| rest as u8 | 0x80);
            let mut field: Vec<u8> = [4, 0x7f].into_iter().chain(groups).collect();
            *field.last_mut().unwrap() &= 0x7f;
            field.extend(target.bytes());
            let is_there = block.windows(field.len()).any(|part| part == field);
            assert!(is_there, "{length}: {}", block[..100].escape_ascii());
        } else {
            assert!(block.len() < 66_000);
        }
        let (lines, came) = upstream.read_until(|frame| frame.ends(stream));
        assert!(came);
        assert_eq!(lines, [format!("DATA {stream} end hello")]);
        upstream.send(&frames::headers(
            stream,
            flag::END_STREAM,
            &[(":status", "200")],
        ));
        assert_eq!(client.receive(Kind::Response).message().status(), 200);
    }
}
