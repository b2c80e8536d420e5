//! The rules of RFC 9113 and RFC 7541 for what a client sends, each by the section that has it: frames, and what
//! has to come of them. All hold whether an upstream answers or the proxy itself.

use super::*;

/// How the proxy has to take what was sent.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// GOAWAY with that code, and the end.
    Ends(&'static str),
    /// The end, whatever is said before it.
    Closes,
    /// The stream is reset with that code, and the connection lives.
    Resets(u32, &'static str),
    /// The stream is answered with 200, and the connection lives.
    Serves(u32),
    /// Neither is anything ended.
    GoesOn,
}

use Then::{Closes, Ends, GoesOn, Resets, Serves};

/// A section, what is sent, its frames, and what comes of them.
type Rule = (&'static str, &'static str, Vec<u8>, Then);

/// `section, what: frame, frame => then;` for each rule.
macro_rules! rules {
    ($($section:literal, $what:literal: $($part:expr),+ => $then:expr;)*) => {
        vec![$(($section, $what, [$(&$part[..]),+].concat(), $then)),*]
    };
}

const PROTOCOL: Then = Ends("PROTOCOL_ERROR");
const SIZE: Then = Ends("FRAME_SIZE_ERROR");
/// Of blocks that cannot be read, some lengths and a setting, which have codes of their own: the library behind the
/// proxy has this one for all.
const GENERAL: Then = PROTOCOL;
const WINDOW: Then = Ends("FLOW_CONTROL_ERROR");
const WHOLE: u8 = flag::END_STREAM | flag::END_HEADERS;
/// Of HEADERS: a priority is in front of the block.
const PRIORITY: u8 = 0x20;
const PUSH_PROMISE: u8 = 5;
/// As much as a window may have (RFC 9113 §6.9.1).
const LARGEST: u32 = (1 << 31) - 1;

fn proxy() -> (Proxy, Origin) {
    let direct = "{ match: { prefix: /direct }, direct_response: { status: 200, body: { inline_string: hello } } }";
    let upstream = "{ match: { prefix: / }, route: { cluster: origin, timeout: 0s } }";
    let config = Config::new().manager("codec_type: HTTP2");
    let template = config.route(direct).route(upstream).text();
    let setup = Setup::for_template(&template);
    let origin = Origin::start_on(setup.port("origin").unwrap());
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    (proxy, origin)
}

/// What a rule is broken, or kept, on.
struct To(&'static str);

impl To {
    fn fields(&self, method: &'static str) -> Vec<(&'static str, &'static str)> {
        frames::request(method, self.0)
    }

    fn block(&self) -> Vec<u8> {
        frames::block(&self.fields("GET"))
    }

    fn get(&self, stream: u32) -> Vec<u8> {
        frames::get(stream, self.0)
    }

    fn post(&self, stream: u32) -> Vec<u8> {
        frames::headers(stream, flag::NONE, &self.fields("POST"))
    }

    /// A GET on stream 1 with these fields behind its own.
    fn with(&self, more: &[(&'static str, &'static str)]) -> Vec<u8> {
        let fields = [&self.fields("GET"), more].concat();
        frames::headers(1, flag::END_STREAM, &fields)
    }

    /// A GET without one of its fields.
    fn without(&self, name: &str) -> Vec<u8> {
        let mut fields = self.fields("GET");
        fields.retain(|(found, _)| *found != name);
        frames::headers(1, flag::END_STREAM, &fields)
    }

    /// A GET with that in front of its block, or behind it.
    fn block_with(&self, front: &[u8], behind: &[u8]) -> Vec<u8> {
        head(WHOLE, 1, &[front, &self.block(), behind].concat())
    }
}

fn head(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frames::frame(kind::HEADERS, flags, stream, payload)
}

fn continuation(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frames::frame(kind::CONTINUATION, flags, stream, payload)
}

fn padded(length: u8, bytes: &[u8], padding: usize) -> Vec<u8> {
    [&[length][..], bytes, &vec![0; padding]].concat()
}

/// A priority: the stream that it depends on, and a weight.
fn depends(on: u32, weight: u8) -> Vec<u8> {
    [&on.to_be_bytes()[..], &[weight]].concat()
}

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frames::frame(kind, flag::NONE, stream, payload)
}

/// What is wrong with how the proxy takes it.
fn fault(rule: &Rule, client: &mut FrameConnection) -> Option<String> {
    let (section, what, bytes, then) = rule;
    client.send(bytes);
    let (lines, holds) = match *then {
        Ends(_) | Closes => {
            let lines = client.read_to_end();
            let goodbye = lines.iter().rfind(|line| line.starts_with("GOAWAY"));
            let code = goodbye.and_then(|line| line.strip_prefix("GOAWAY "));
            let is_said = !matches!(then, Ends(wanted) if code != Some(wanted));
            let ended = lines.last().is_some_and(|line| line == "[ended]");
            (lines, is_said && ended)
        }
        Resets(stream, code) => {
            let (lines, came) = client.read_until(|frame| frame.ends(stream));
            let last = lines.last().map(String::as_str);
            let is_so = last == Some(&format!("RST_STREAM {stream} {code}"));
            (lines, came && is_so && lives(client))
        }
        Serves(stream) => {
            let (lines, came) = client.read_until(|frame| frame.ends(stream));
            let answers = [
                format!("HEADERS {stream} 200"),
                format!("HEADERS {stream} end 200"),
            ];
            let is_so = lines.iter().any(|line| answers.contains(line));
            (lines, came && is_so && lives(client))
        }
        GoesOn => (Vec::new(), lives(client)),
    };
    (!holds).then(|| format!("§{section}: {what}: {lines:?} in place of {then:?}"))
}

/// It has to be taken so.
fn hold(rule: &Rule, client: &mut FrameConnection) {
    assert_eq!(fault(rule, client), None);
}

/// Whether a PING is answered, and nothing was said to be wrong.
fn lives(client: &mut FrameConnection) -> bool {
    let (lines, lives) = client.sync();
    let is_wrong = |line: &String| line.starts_with("GOAWAY") || line.starts_with("RST_STREAM");
    lives && !lines.iter().any(is_wrong)
}

/// Each rule on a connection of its own, both ways.
fn all_hold(rules: impl Fn(&To) -> Vec<Rule>) {
    let (proxy, _origin) = proxy();
    let mut faults = Vec::new();
    for to in ["/direct", "/up"] {
        let rules = rules(&To(to));
        let broken = rules
            .iter()
            .filter_map(|rule| fault(rule, &mut open(&proxy)));
        faults.extend(broken.map(|fault| format!("{to} {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn connections_begin_with_the_preface_and_settings() {
    let (proxy, _origin) = proxy();
    let address = proxy.address("listener");
    for (what, bytes, then) in [
        ("the preface", frames::PREFACE.to_vec(), GoesOn),
        (
            "another text",
            b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec(),
            Closes,
        ),
        ("HTTP/1.1", scene::get("/direct", "").into_bytes(), Closes),
        (
            "another frame first",
            [frames::PREFACE, &frames::ping([0; 8])].concat(),
            Closes,
        ),
    ] {
        let settings = match then {
            GoesOn => frames::settings(&[]),
            _ => Vec::new(),
        };
        let mut client = FrameConnection::over(TcpStream::connect(address).unwrap());
        hold(
            &("3.4", what, [bytes, settings].concat(), then),
            &mut client,
        );
    }
}

#[test]
fn frames_have_a_form() {
    all_hold(|to| {
        let post = to.post(1);
        let unknown = frame(0xbb, 0, b"whatever");
        let odd_flags = frames::frame(kind::PING, 0xfe, 0, &[1; 8]);
        let odd_stream = frame(kind::PING, 1 << 31, &[1; 8]);
        let data = |length: usize| frames::data(1, flag::END_STREAM, &vec![b'a'; length]);
        let cookie = "a".repeat(16_384);
        let large = [(":method", "GET"), ("cookie", &cookie)];
        rules! {
            "4.1", "an unknown type": unknown => GoesOn;
            "4.1", "undefined flags": odd_flags => GoesOn;
            "4.1", "the reserved bit": odd_stream => GoesOn;
            "4.2", "as much as a frame has": post, data(16_384) => Serves(1);
            "4.2", "DATA with more": post, data(16_385) => SIZE;
            "4.2", "HEADERS with more": frames::headers(1, flag::END_STREAM, &large) => SIZE;
            "5.5", "an extension": unknown, to.get(1) => Serves(1);
            "5.5", "an extension inside of a head": head(flag::END_STREAM, 1, &to.block()), unknown => PROTOCOL;
        }
    });
}

#[test]
fn heads_are_not_interrupted() {
    all_hold(|to| {
        let block = to.block();
        let (first, rest) = block.split_at(9);
        let begun = head(flag::END_STREAM, 1, first);
        let (middle, last) = rest.split_at(9);
        let goes_on = continuation(flag::NONE, 1, middle);
        let ends = continuation(flag::END_HEADERS, 1, last);
        let behind = continuation(flag::END_HEADERS, 1, rest);
        rules! {
            "4.3", "PRIORITY inside of a head": begun, frames::priority(1), behind => PROTOCOL;
            "4.3", "another head inside of a head": begun, to.get(3), behind => PROTOCOL;
            "6.2", "DATA inside of a head": begun, frames::data(1, 0, b"a"), behind => PROTOCOL;
            "6.10", "a head in two frames": begun, behind => Serves(1);
            "6.10", "a head in three": begun, goes_on, ends => Serves(1);
            "6.10", "another frame behind CONTINUATION": begun, goes_on, frames::ping([0; 8]) => PROTOCOL;
            "6.10", "CONTINUATION on stream 0": begun, continuation(4, 0, rest) => PROTOCOL;
            "6.10", "CONTINUATION on another stream": begun, continuation(4, 3, rest) => PROTOCOL;
            "6.10", "CONTINUATION behind a whole head": to.get(1), behind => PROTOCOL;
            "6.10", "CONTINUATION behind the last": begun, goes_on, ends, behind => PROTOCOL;
            "6.10", "CONTINUATION behind DATA": to.post(1), frames::data(1, 0, b"a"), behind => PROTOCOL;
            "6.10", "CONTINUATION without a head": behind => PROTOCOL;
        }
    });
}

#[test]
fn streams_have_states() {
    all_hold(|to| {
        let (get, post) = (to.get(1), to.post(1));
        let data = frames::data(1, flag::END_STREAM, b"test");
        let reset = frames::reset(1, 8);
        let whole = [&post[..], &data].concat();
        let trailers = frames::headers(1, flag::END_STREAM, &[("x", "y")]);
        let behind = continuation(flag::END_HEADERS, 1, &to.block());
        rules! {
            "5.1", "idle: DATA": data => PROTOCOL;
            "5.1", "idle: RST_STREAM": reset => PROTOCOL;
            "5.1", "idle: WINDOW_UPDATE": frames::window(1, 9) => PROTOCOL;
            "5.1", "idle: PRIORITY": frames::priority(1), get => Serves(1);
            "5.1", "half-closed: WINDOW_UPDATE": get, frames::window(1, 9) => Serves(1);
            "5.1", "half-closed: PRIORITY": get, frames::priority(1) => Serves(1);
            "5.1", "half-closed: RST_STREAM": get, reset => GoesOn;
            "5.1", "half-closed: DATA": get, data => PROTOCOL;
            "5.1", "half-closed: a head": get, get => PROTOCOL;
            "5.1", "half-closed: trailers": whole, trailers => PROTOCOL;
            "5.1", "half-closed: CONTINUATION": get, behind => PROTOCOL;
            "5.1", "reset: PRIORITY": post, reset, frames::priority(1) => GoesOn;
            "5.1", "reset: DATA": post, reset, data => Resets(1, "STREAM_CLOSED");
            "5.1", "reset: a head": post, reset, get => PROTOCOL;
            "5.1", "reset: trailers": post, reset, trailers => PROTOCOL;
            "5.1", "reset: CONTINUATION": post, reset, behind => PROTOCOL;
            "5.1.1", "an even stream": to.get(2) => PROTOCOL;
            "5.1.1", "a lower stream": to.get(5), to.get(3) => PROTOCOL;
            "5.1.1", "a lower stream with content": to.get(5), to.post(3) => PROTOCOL;
            "5.1.1", "a stream behind others left out": to.get(5), to.get(11) => Serves(11);
        }
    });
}

#[test]
fn streams_that_were_answered_are_closed() {
    let (proxy, _origin) = proxy();
    for to in ["/direct", "/up"].map(To) {
        let data = frames::data(1, flag::END_STREAM, b"test");
        let trailers = frames::headers(1, flag::END_STREAM, &[("x", "y")]);
        let behind = continuation(flag::END_HEADERS, 1, &to.block());
        for (what, bytes, then) in [
            ("DATA", data, Resets(1, "STREAM_CLOSED")),
            ("a head", to.get(1), PROTOCOL),
            ("a head with content", to.post(1), PROTOCOL),
            ("trailers", trailers, PROTOCOL),
            ("CONTINUATION", behind, PROTOCOL),
            ("PRIORITY", frames::priority(1), GoesOn),
            ("WINDOW_UPDATE", frames::window(1, 9), GoesOn),
            ("RST_STREAM", frames::reset(1, 8), GoesOn),
        ] {
            let mut client = open(&proxy);
            hold(&("5.1", "a request", to.get(1), Serves(1)), &mut client);
            hold(&("5.1", what, bytes, then), &mut client);
        }
    }
}

#[test]
fn no_more_streams_are_open_than_is_allowed() {
    let config = Config::new().manager("http2_protocol_options: { max_concurrent_streams: 2 }");
    let scene = Scene::start(&config);
    let hung = || Reply::nothing().then(Act::Hang);
    scene.origin.reply_with([hung(), hung()]);
    let mut client = FrameConnection::open(scene.listener);
    let acknowledged = frames::frame(kind::SETTINGS, flag::ACK, 0, b"");
    client.send(&[acknowledged, frames::get(1, "/"), frames::get(3, "/")].concat());
    scene.origin.wait_for_requests(2);
    let refused = Resets(5, "REFUSED_STREAM");
    hold(
        &("5.1.2", "a third of two", frames::get(5, "/"), refused),
        &mut client,
    );
    let instead = [frames::reset(1, 8), frames::get(7, "/")].concat();
    hold(
        &("5.1.2", "one in its place", instead, Serves(7)),
        &mut client,
    );
}

#[test]
fn data_and_heads_are_on_streams_and_padded_within_them() {
    all_hold(|to| {
        let post = to.post(1);
        let data = |flags, payload: &[u8]| frames::data(1, flags, payload);
        let padded_data = |bytes: &[u8]| data(flag::END_STREAM | flag::PADDED, bytes);
        let padded_head = |bytes: &[u8]| head(WHOLE | flag::PADDED, 1, bytes);
        let end = flag::END_STREAM;
        let block = to.block();
        let prioritized = |on: u32, weight| {
            let payload = [depends(on, weight), to.block()].concat();
            head(WHOLE | PRIORITY, 1, &payload)
        };
        rules! {
            "6.1", "DATA": post, data(end, b"test") => Serves(1);
            "6.1", "DATA in several frames": post, data(0, b"a"), data(0, b"b"), data(end, b"c") => Serves(1);
            "6.1", "padded DATA": post, padded_data(&padded(6, b"test", 6)) => Serves(1);
            "6.1", "nothing but padding": post, padded_data(&padded(6, b"", 6)) => Serves(1);
            "6.1", "DATA on stream 0": frames::data(0, end, b"test") => PROTOCOL;
            "6.1", "more padding than DATA": post, padded_data(&padded(11, b"test", 6)) => PROTOCOL;
            "6.1", "no room for the padding's length": post, padded_data(b"") => Closes;
            "6.2", "a head": to.get(1) => Serves(1);
            "6.2", "a padded head": padded_head(&padded(6, &block, 6)) => Serves(1);
            "6.2", "a head with a priority": prioritized(0, 255) => Serves(1);
            "6.2", "a head on stream 0": head(WHOLE, 0, &block) => PROTOCOL;
            "6.2", "more padding than a head": padded_head(&padded(255, &block, 0)) => PROTOCOL;
            "5.3.1", "a head that depends on itself": prioritized(1, 15) => Resets(1, "PROTOCOL_ERROR");
            "5.3.1", "a head that depends on another alone": prioritized(1 << 31 | 3, 15) => Serves(1);
        }
    });
}

#[test]
fn priorities_resets_and_goodbyes_have_a_form() {
    all_hold(|to| {
        let get = to.get(1);
        let priority = |stream, on, weight| frame(kind::PRIORITY, stream, &depends(on, weight));
        let post = to.post(1);
        let goodbye = |stream, code: u32| {
            let payload = [0_u32.to_be_bytes(), code.to_be_bytes()].concat();
            frame(kind::GOAWAY, stream, &payload)
        };
        rules! {
            "6.3", "the least weight": priority(1, 0, 0), get => Serves(1);
            "6.3", "the most weight": priority(1, 0, 255), get => Serves(1);
            "6.3", "another stream": priority(1, 3, 255), get => Serves(1);
            "6.3", "another stream alone": priority(1, 1 << 31 | 3, 255), get => Serves(1);
            "6.3", "a higher stream opens none": priority(9, 0, 255), get => Serves(1);
            "6.3", "PRIORITY on stream 0": priority(0, 1, 255) => PROTOCOL;
            "6.3", "PRIORITY of 4 bytes": post, frame(kind::PRIORITY, 1, &[0; 4]) => Closes;
            "5.3.1", "PRIORITY on itself": post, priority(1, 1, 255) => Resets(1, "PROTOCOL_ERROR");
            "6.4", "RST_STREAM": post, frames::reset(1, 8) => GoesOn;
            "6.4", "RST_STREAM on stream 0": frames::reset(0, 8) => PROTOCOL;
            "6.4", "RST_STREAM on an idle stream": frames::reset(1, 8) => PROTOCOL;
            "6.4", "RST_STREAM of 3 bytes": post, frame(kind::RST_STREAM, 1, &[0; 3]) => GENERAL;
            "6.6", "PUSH_PROMISE": post, frame(PUSH_PROMISE, 1, &[0, 0, 0, 3]) => PROTOCOL;
            "6.8", "GOAWAY on a stream": goodbye(1, 0) => PROTOCOL;
            "7", "RST_STREAM of an unknown code": post, frames::reset(1, 0xff) => GoesOn;
        }
    });
}

#[test]
fn a_client_that_says_goodbye_is_served_to_the_end() {
    let (proxy, _origin) = proxy();
    for to in ["/direct", "/up"].map(To) {
        for code in [0, 0xff_u32] {
            let payload = [0_u32.to_be_bytes(), code.to_be_bytes()].concat();
            let goodbye = frame(kind::GOAWAY, 0, &payload);
            let mut client = open(&proxy);
            client.send(&[to.get(1), goodbye].concat());
            let lines = client.read_to_end();
            assert!(
                lines.iter().any(|line| line.contains("200")),
                "{code}: {lines:?}"
            );
            assert_eq!(lines.last().map(String::as_str), Some("[ended]"), "{code}");
        }
    }
}

#[test]
fn settings_and_pings_have_a_form() {
    all_hold(|to| {
        let set = |identifier, value| frames::settings(&[(identifier, value)]);
        let acknowledged = |payload: &[u8]| frames::frame(kind::SETTINGS, flag::ACK, 0, payload);
        let answer = frames::frame(kind::PING, flag::ACK, 0, &[7; 8]);
        let get = to.get(1);
        rules! {
            "6.5", "SETTINGS": set(3, 100), get => Serves(1);
            "6.5", "an acknowledgement": acknowledged(b""), get => Serves(1);
            "6.5", "an acknowledgement that says something": acknowledged(&[0; 6]) => GENERAL;
            "6.5", "SETTINGS on a stream": frame(kind::SETTINGS, 1, &[0, 3, 0, 0, 0, 9]) => PROTOCOL;
            "6.5", "SETTINGS of 3 bytes": frame(kind::SETTINGS, 0, &[0; 3]) => GENERAL;
            "6.5.2", "a push that is neither on nor off": set(2, 2) => PROTOCOL;
            "6.5.2", "a window that is too large": set(4, 1 << 31) => GENERAL;
            "6.5.2", "frames that are too small": set(5, 16_383) => PROTOCOL;
            "6.5.2", "frames that are too large": set(5, 1 << 24) => PROTOCOL;
            "6.5.2", "an unknown setting": set(0xff, 1), get => Serves(1);
            "6.7", "PING": frames::ping([7; 8]) => GoesOn;
            "6.7", "an answer that nobody asked for": answer => GoesOn;
            "6.7", "PING on a stream": frame(kind::PING, 1, &[0; 8]) => PROTOCOL;
            "6.7", "PING of 6 bytes": frame(kind::PING, 0, &[0; 6]) => GENERAL;
        }
    });
}

#[test]
fn settings_are_acknowledged() {
    let (proxy, _origin) = proxy();
    let mut client = open(&proxy);
    client.send(&frames::settings(&[(4, 100), (4, 1)]));
    let mut acknowledged = 0;
    let (lines, came) = client.read_until(|frame| {
        acknowledged += u32::from(frame.kind == kind::SETTINGS && frame.flags == flag::ACK);
        acknowledged == 2
    });
    assert!(came, "§6.5.3: {lines:?}");
}

#[test]
fn windows_have_bounds() {
    all_hold(|to| {
        let post = to.post(1);
        let twice = |stream| frames::window(stream, LARGEST).repeat(2);
        let more = frames::settings(&[(4, 1 << 30)]);
        rules! {
            "6.9", "WINDOW_UPDATE": frames::window(0, 9), to.get(1) => Serves(1);
            "6.9", "WINDOW_UPDATE of nothing": frames::window(0, 0) => PROTOCOL;
            "6.9", "the same of a stream": post, frames::window(1, 0) => Closes;
            "6.9", "WINDOW_UPDATE of 3 bytes": frame(kind::WINDOW_UPDATE, 0, &[0; 3]) => GENERAL;
            "6.9.1", "more than a window has": twice(0) => WINDOW;
            "6.9.1", "the same of a stream": post, twice(1) => Resets(1, "FLOW_CONTROL_ERROR");
            "6.9.2", "settings that give a window more": post, frames::window(1, LARGEST - 65_535), more => WINDOW;
        }
    });
}

#[test]
fn windows_of_streams_follow_the_settings() {
    let (proxy, origin) = proxy();
    for to in ["/direct", "/up"] {
        origin.reply_with([Reply::bytes(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        )]);
        let mut client = open(&proxy);
        let mut comes = |bytes: &[Vec<u8>], content: &str| {
            client.send(&bytes.concat());
            let (lines, _) = client.read_until(|frame| frame.kind == kind::DATA);
            let last = lines.last().map(|line| line.replace(" end ", " "));
            assert_eq!(last.as_deref(), Some(content), "{to}");
        };
        let window = |bytes| frames::settings(&[(4, bytes)]);
        comes(&[window(3), frames::get(1, to)], "DATA 1 hel");
        // It has one less than nothing now, and then nothing.
        let less = [window(2), frames::window(1, 1)].concat();
        comes(&[less, frames::window(1, 1)], "DATA 1 l");
        comes(&[window(3)], "DATA 1 o");
    }
}

#[test]
fn requests_are_well_formed() {
    const MALFORMED: Then = Resets(1, "PROTOCOL_ERROR");
    all_hold(|to| {
        let post = to.post(1);
        let data = |flags, bytes: &[u8]| frames::data(1, flags, bytes);
        let trailers = |flags, field| frames::headers(1, flags, &[field]);
        let of_length = |length| {
            let fields = [&to.fields("POST")[..], &[("content-length", length)]].concat();
            frames::headers(1, flag::NONE, &fields)
        };
        let mut empty_path = to.fields("GET");
        empty_path.retain(|(name, _)| *name != ":path");
        empty_path.push((":path", ""));
        let mut late = vec![("x", "y")];
        late.extend(to.fields("GET"));
        let end = flag::END_STREAM;
        let headers = |fields: &[(&str, &str)]| frames::headers(1, end, fields);
        rules! {
            "8.1", "HEAD": headers(&to.fields("HEAD")) => Serves(1);
            "8.1", "trailers": post, data(0, b"a"), trailers(end, ("x", "y")) => Serves(1);
            "8.1", "a head in the middle": post, trailers(0, ("x", "y")) => MALFORMED;
            "8.1", "a pseudo-header field in trailers": post, trailers(end, (":method", "GET")) => MALFORMED;
            "8.1.1", "less than its length": of_length("5"), data(end, b"test") => MALFORMED;
            "8.1.1", "more than its length": of_length("3"), data(end, b"test") => MALFORMED;
            "8.1.1", "less in two frames": of_length("9"), data(0, b"test"), data(end, b"test") => MALFORMED;
            "8.1.1", "as much as its length": of_length("8"), data(0, b"test"), data(end, b"test") => Serves(1);
            "8.2", "a name in upper case": to.with(&[("X-Test", "y")]) => PROTOCOL;
            "8.2.2", "a field of the connection": to.with(&[("connection", "keep-alive")]) => MALFORMED;
            "8.2.2", "te that says more": to.with(&[("te", "trailers, deflate")]) => MALFORMED;
            "8.2.2", "te: trailers": to.with(&[("te", "trailers")]) => Serves(1);
            "8.3", "an unknown pseudo-header field": to.with(&[(":test", "y")]) => PROTOCOL;
            "8.3", "one of responses": to.with(&[(":status", "200")]) => MALFORMED;
            "8.3", "one behind other fields": headers(&late) => MALFORMED;
            "8.3.1", "an empty path": headers(&empty_path) => MALFORMED;
            "8.3.1", "no method": to.without(":method") => MALFORMED;
            "8.3.1", "no scheme": to.without(":scheme") => MALFORMED;
            "8.3.1", "no path": to.without(":path") => MALFORMED;
            "8.3.1", "two methods": to.with(&[(":method", "GET")]) => MALFORMED;
            "8.3.1", "two schemes": to.with(&[(":scheme", "http")]) => MALFORMED;
            "8.3.1", "two paths": to.with(&[(":path", "/")]) => MALFORMED;
        }
    });
}

#[test]
fn blocks_of_fields_are_read() {
    // `custom-key: custom-value`, as it is and in Huffman's code (RFC 7541 §C.2 and §C.4).
    let (name, value) = (&b"\x0acustom-key"[..], &b"\x0ccustom-value"[..]);
    let coded_name = &b"\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f"[..];
    let coded_value = &b"\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"[..];
    all_hold(|to| {
        let with = |parts: &[&[u8]]| to.block_with(&[], &parts.concat());
        rules! {
            // Of the static table: `accept-encoding: gzip, deflate`, and then `user-agent`.
            "7541 6.1", "an index": with(&[&[0x90]]) => Serves(1);
            "7541 6.2.1", "into the table, an indexed name": with(&[&[0x7a], value]) => Serves(1);
            "7541 6.2.1", "the same, coded": with(&[&[0x7a], coded_value]) => Serves(1);
            "7541 6.2.1", "into the table, and from it": with(&[&[0x40], name, value, &[0xbe]]) => Serves(1);
            "7541 6.2.1", "the same, coded": with(&[&[0x40], coded_name, coded_value, &[0xbe]]) => Serves(1);
            "7541 6.2.2", "in no table, an indexed name": with(&[&[0x0f, 0x2b], value]) => Serves(1);
            "7541 6.2.2", "the same, coded": with(&[&[0x0f, 0x2b], coded_value]) => Serves(1);
            "7541 6.2.2", "in no table": with(&[&[0], name, value]) => Serves(1);
            "7541 6.2.2", "the same, coded": with(&[&[0], coded_name, coded_value]) => Serves(1);
            "7541 6.2.3", "in no table ever, an indexed name": with(&[&[0x1f, 0x2b], value]) => Serves(1);
            "7541 6.2.3", "the same, coded": with(&[&[0x1f, 0x2b], coded_value]) => Serves(1);
            "7541 6.2.3", "in no table ever": with(&[&[0x10], name, value]) => Serves(1);
            "7541 6.2.3", "the same, coded": with(&[&[0x10], coded_name, coded_value]) => Serves(1);
            "7541 6.3", "a smaller table": to.block_with(&[0x20], &[]) => Serves(1);
            "7541 6.3", "two sizes": to.block_with(&[0x20, 0x3f, 0xe1, 0x1f], &[]) => Serves(1);
            "7541 2.3.3", "an index that is not there": with(&[&[0xc6]]) => GENERAL;
            "7541 2.3.3", "a name that is not there": with(&[&[0x7f, 0x07], value]) => GENERAL;
            "7541 4.2", "a size behind fields": with(&[&[0x20]]) => GENERAL;
            "7541 5.2", "padding of more than 7 bits": with(&[&[0], name, b"\x82\x1f\xff"]) => GENERAL;
            "7541 5.2", "padding of zeros": with(&[&[0], name, b"\x81\x18"]) => GENERAL;
            "7541 5.2", "the end of a string in a string": with(&[&[0], name, b"\x85\x1f\xff\xff\xff\xff"]) => GENERAL;
            "7541 6.1", "the index 0": with(&[&[0x80]]) => GENERAL;
            "7541 6.3", "more than the table may have": to.block_with(&[0x3f, 0xe2, 0x1f], &[]) => GENERAL;
            "4.3", "a block that is cut off": with(&[&[0], name, b"\x7f"]) => GENERAL;
        }
    });
}
