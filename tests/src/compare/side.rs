//! Running a group's cases against one proxy.
//!
//! Owns the proxy process while the group runs and the client's side of each case, and turns everything
//! that was seen into lines to compare, with ports, dates and generated identifiers replaced by names.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;

use socket2::{Domain, Socket, Type};

use crate::client::{self, Connection, Received};
use crate::eventually;
use crate::frames::{self, FrameConnection};
use crate::h2_client;
use crate::message::{Kind, Message};
use crate::origin::{Act, Gate, Reply};
use crate::process::{Binary, Proxy, Setup};
use crate::varying::{self, is_uuid4};

use super::case::{Action, Case, Frames, Group, Step};
use super::session;
use super::upstreams::Upstreams;

/// Path of the request that shows whether a connection is still open.
pub(super) const STILL_OPEN: &str = "/is-it-still-open";

/// Runs all cases of a group: the lines of each, and those of the whole log where the group asks.
#[must_use]
pub fn run(group: &Group, binary: &Binary) -> Vec<Vec<String>> {
    let setup = Setup::for_template(&group.template);
    let upstreams = Upstreams::start(&setup);
    if group.sends_bytes {
        upstreams.take_bytes();
    }
    let proxy = Proxy::start_with(binary, &group.template, setup);
    let names = Names::of(&proxy);
    let mut used = BTreeSet::new();
    let mut results = Vec::new();
    let mut case_of_port = BTreeMap::new();
    for (index, case) in group.cases.iter().map(Case::for_one_proxy).enumerate() {
        let mut run = Run {
            proxy: &proxy,
            listener: proxy.address(case.listener),
            upstreams: &upstreams,
            used: &mut used,
            lines: Vec::new(),
        };
        upstreams.prepare(&case);
        let ports = run.case(&case);
        case_of_port.extend(ports.into_iter().map(|port| (port, index)));
        let mut lines = run.lines;
        upstreams.record(&case, &mut lines);
        results.push(lines);
    }
    // Its answer comes after everything before it was handled, the log lines included.
    let mut last = Connection::open(proxy.address("listener"));
    let _any_answer = last.exchange(&probe());
    drop(last);
    let ended = proxy.stop();
    if group.log_has_port {
        attribute(&ended.log, &case_of_port, &group.cases, &mut results);
    } else {
        let lines = ended.log.lines().filter(|line| !line.contains(STILL_OPEN));
        results.push(lines.map(|line| format!("log: {line}")).collect());
    }
    let sent: Vec<String> = group.cases.iter().map(Case::sent).collect();
    for (index, lines) in results.iter_mut().enumerate() {
        let sent = sent.get(index).map_or("", String::as_str);
        for line in lines {
            *line = normalise(&names.replace(&session::decode(line)), sent);
        }
    }
    results
}

/// Gives each log line to its case.
fn attribute(
    log: &str,
    case_of_port: &BTreeMap<u16, usize>,
    cases: &[Case],
    results: &mut [Vec<String>],
) {
    for line in log.lines().filter(|line| !line.contains(STILL_OPEN)) {
        let (port, rest) = line.split_once(' ').unwrap_or((line, ""));
        let case = port
            .parse()
            .ok()
            .and_then(|port: u16| case_of_port.get(&port));
        if let Some(index) = case
            && cases[*index].log
        {
            let lines = &mut results[*index];
            let entry = format!("log: {rest}");
            // How many of those there are depends on the time: the last one in a row counts.
            let is_periodic = |line: &String| line.starts_with("log: DownstreamPeriodic ");
            if is_periodic(&entry) && lines.last().is_some_and(is_periodic) {
                lines.pop();
            }
            lines.push(entry);
        }
    }
}

/// The lines with those of a stream's `DATA` frames as one: where a body is cut is up to each proxy.
fn with_whole_bodies(lines: Vec<String>) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for line in lines {
        let parts = |line: &str| {
            let (stream, rest) = line.strip_prefix("DATA ")?.split_once(' ')?;
            let (end, body) = match rest.strip_prefix("end ") {
                Some(body) => ("end ", body),
                None => ("", rest),
            };
            Some((stream.to_owned(), end, body.to_owned()))
        };
        let before = whole.last().and_then(|last| parts(last));
        match (before, parts(&line)) {
            (Some((first, _, begun)), Some((second, end, more))) if first == second => {
                whole.pop();
                whole.push(format!("DATA {first} {end}{begun}{more}"));
            }
            _ => whole.push(line),
        }
    }
    whole
}

/// One case in progress.
struct Run<'a> {
    proxy: &'a Proxy,
    listener: SocketAddr,
    upstreams: &'a Upstreams,
    used: &'a mut BTreeSet<u16>,
    lines: Vec<String>,
}

impl Run<'_> {
    /// Runs a case; the client ports that it used.
    fn case(&mut self, case: &Case) -> Vec<u16> {
        if let Some(line) = case.awaits {
            self.wait_for_statistic(line);
        }
        match &case.action {
            Action::Http1(steps) => {
                let stream = self.connect();
                let port = stream.local_addr().unwrap().port();
                let connection = match &case.tls {
                    Some(client) => Connection::over_tls(stream, client),
                    None => Ok(Connection::over(stream)),
                };
                // Why a handshake fails is told by each library in its own way.
                let Ok(mut connection) = connection else {
                    self.lines.push("client: [refused]".to_owned());
                    return vec![port];
                };
                let agreed = connection.agreed();
                self.lines
                    .extend(agreed.map(|agreed| format!("client: {agreed}")));
                self.http1(&mut connection, case, steps);
                vec![port]
            }
            Action::Frames(frames) => self.frames(frames),
            Action::Http2(_) | Action::Http2Tunnel(..) => {
                let stream = self.connect();
                let port = stream.local_addr().unwrap().port();
                let mut lines = match &case.action {
                    Action::Http2Tunnel(request, steps) => {
                        h2_client::tunnel_on(stream, request, steps)
                    }
                    Action::Http2(request) => match &case.tls {
                        Some(client) => h2_client::send_over_tls(stream, client, request),
                        None => h2_client::send_on(stream, request),
                    },
                    _ => unreachable!("another action"),
                };
                if case.any_order {
                    lines.sort();
                }
                self.lines
                    .extend(lines.iter().map(|line| format!("client: {line}")));
                vec![port]
            }
            Action::Held { first, second } => self.held(case, first, None, second),
            Action::Queued {
                first,
                second,
                third,
                cluster,
            } => self.held(case, first, Some((second, cluster)), third),
            Action::Admin { request, lines } => {
                self.admin(request, lines, case.any_order);
                Vec::new()
            }
            Action::HealthChecks => {
                self.upstreams.health_checks(&mut self.lines);
                Vec::new()
            }
        }
    }

    /// Connects from a port that no earlier case used, so that a log line has one owner.
    fn connect(&mut self) -> TcpStream {
        loop {
            // A connection that is given up again would be one more line in the log of a TCP proxy.
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            socket.bind(&any.into()).unwrap();
            let port = socket.local_addr().unwrap().as_socket().unwrap().port();
            if self.used.insert(port) {
                let listener = self.listener.into();
                socket.connect(&listener).expect("the listener accepts");
                return socket.into();
            }
        }
    }

    /// The bytes with the numbers of ports in the place of their names, and sessions as they are sent.
    fn with_ports<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("@PORT:") || text.contains("@SESSION(") => {
                let mut text = text.to_owned();
                for (name, number) in self.proxy.ports() {
                    text = text.replace(&format!("@PORT:{name}@"), &number.to_string());
                }
                assert!(
                    !text.contains("@PORT:"),
                    "a port that the template has not: {text}"
                );
                session::encode(&text).into_bytes().into()
            }
            _ => bytes.into(),
        }
    }

    fn http1(&mut self, connection: &mut Connection, case: &Case, steps: &[Step]) {
        let mut closes = false;
        let mut awaited = self.upstreams.arrived();
        let arrived_at_second = self.upstreams.second().map_or(0, |second| second.arrived());
        for step in steps {
            match step {
                Step::Send(bytes) => connection.send(&self.with_ports(bytes)),
                Step::Receive { to_head } => match self.response(connection, case, *to_head) {
                    Some(ends) => closes = ends,
                    None => return,
                },
                Step::ReceiveInterim => {
                    let received = connection.receive(Kind::Response);
                    if self.note(received, case).is_none() {
                        return;
                    }
                }
                Step::ReceiveBytes(count) => {
                    let bytes = connection.receive_bytes(*count);
                    self.lines
                        .push(format!("client: [bytes] {}", varying::raw(&bytes)));
                }
                Step::ReceiveToEnd => {
                    let (bytes, end) = connection.receive_to_end();
                    self.lines
                        .push(format!("client: [bytes] {}, {end:?}", varying::raw(&bytes)));
                    return;
                }
                Step::Pause(time) => thread::sleep(*time),
                Step::WaitForUpstream => {
                    awaited += 1;
                    self.upstreams.origin().wait_for_requests(awaited);
                }
                Step::WaitForSecond => {
                    let second = self.upstreams.second().expect("a second origin");
                    second.wait_for_requests(arrived_at_second + 1);
                }
                Step::WaitForLog(text) => self.wait_for_log(connection.local_port(), text),
                Step::OpenGate => case.gate.iter().for_each(Gate::open),
                Step::HalfClose => connection.half_close(),
                Step::HangUp => return,
                Step::ExpectClose => closes = true,
            }
        }
        if closes {
            let end = match connection.drain() {
                Received::Closed | Received::Reset => "closed",
                _ => "kept although it should close",
            };
            self.lines.push(format!("connection: {end}"));
            return;
        }
        connection.send(&probe());
        let end = match connection.receive(Kind::Response) {
            Received::Message(_) => "kept open",
            Received::Closed | Received::Reset => "closed without notice",
            other => &format!("{other:?}"),
        };
        self.lines.push(format!("connection: {end}"));
    }

    fn frames(&mut self, sent: &Frames) -> Vec<u16> {
        let mut connection = FrameConnection::over(self.connect());
        connection.send(frames::PREFACE);
        connection.send(&sent.first);
        let arrived = self.upstreams.arrived();
        connection.send(&sent.bytes);
        if let Some(bytes) = &sent.then {
            self.upstreams.origin().wait_for_requests(arrived + 1);
            connection.send(bytes);
        }
        let (mut lines, mut lives) = match sent.answer {
            Some(stream) => connection.read_until(|frame| frame.ends(stream)),
            None => (Vec::new(), true),
        };
        if lives {
            let (more, still) = connection.sync();
            lines.extend(more);
            lives = still;
        }
        let refuses = |line: &String| {
            let status = line.rsplit(' ').next().unwrap_or_default();
            line.starts_with("RST_STREAM") || (line.starts_with("HEADERS") && status >= "400")
        };
        if !lives || lines.iter().any(refuses) {
            lines = vec!["refused".to_owned()];
        }
        let lines = with_whole_bodies(lines);
        let lines = lines.iter().map(|line| format!("client: {line}"));
        self.lines.extend(lines);
        vec![connection.local_port()]
    }

    /// Reads one response with the 1xx before it; whether it announces the end of the connection.
    fn response(
        &mut self,
        connection: &mut Connection,
        case: &Case,
        to_head: bool,
    ) -> Option<bool> {
        let kind = if to_head {
            Kind::ResponseToHead
        } else {
            Kind::Response
        };
        loop {
            let received = connection.receive(kind);
            let message = self.note(received, case)?;
            if !message.start.starts_with("HTTP/1.1 1") {
                return Some(message.closes() || !message.complete);
            }
        }
    }

    /// Notes what came; the message if it was one.
    fn note(&mut self, received: Received, case: &Case) -> Option<Message> {
        match received {
            Received::Message(message) => {
                let lines = message.lines(case.any_order);
                self.lines
                    .extend(lines.iter().map(|line| format!("client: {line}")));
                Some(message)
            }
            // An orderly end and a reset without any byte say the same to a client, and which of
            // them it is depends on what was in flight.
            Received::Closed | Received::Reset => {
                self.lines.push("connection: closed".to_owned());
                None
            }
            Received::Silence => {
                self.lines.push("client: [silence]".to_owned());
                None
            }
            Received::Garbage(why) => {
                self.lines.push(format!("client: [garbage] {why}"));
                None
            }
        }
    }

    /// The first request is held by the upstream, one more may wait for its connection, and the
    /// last is answered meanwhile.
    fn held(
        &mut self,
        case: &Case,
        first: &[u8],
        waiting: Option<(&[u8], &str)>,
        last: &[u8],
    ) -> Vec<u16> {
        let origin = self.upstreams.origin();
        let gate = Gate::default();
        let held = Reply::nothing()
            .then(Act::Wait(gate.clone()))
            .then(Act::Send(
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into(),
            ));
        origin.reply_with([held]);
        let arrived = origin.arrived();
        let mut connections = vec![Connection::over(self.connect())];
        connections[0].send(first);
        origin.wait_for_requests(arrived + 1);
        if let Some((request, cluster)) = waiting {
            connections.push(Connection::over(self.connect()));
            connections[1].send(request);
            self.wait_for_statistic(&format!("cluster.{cluster}.upstream_rq_pending_active: 1"));
        }
        let mut other = Connection::over(self.connect());
        other.send(last);
        self.response(&mut other, case, last.starts_with(b"HEAD "));
        gate.open();
        for connection in &mut connections {
            self.response(connection, case, false);
        }
        connections.push(other);
        connections.iter().map(Connection::local_port).collect()
    }

    /// Asks the admin interface until it shows a line.
    fn wait_for_statistic(&self, line: &str) {
        let admin = self.proxy.address("admin");
        let name = line.split(':').next().unwrap_or_default();
        let path = format!("/stats?filter={name}");
        eventually(&format!("the admin interface shows {line:?}"), || {
            let page = client::get(admin, &path).body;
            page.split(|b| *b == b'\n').any(|l| l == line.as_bytes())
        });
    }

    /// Reads the access log until it has an entry of a client's port that contains `text`.
    fn wait_for_log(&self, port: u16, text: &str) {
        let path = self.proxy.directory().join("access.log");
        let of_port = format!("{port} ");
        eventually(&format!("the log of {port} has {text:?}"), || {
            let log = fs::read(&path).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            log.lines()
                .any(|line| line.starts_with(&of_port) && line.contains(text))
        });
    }

    fn admin(&mut self, request: &str, wanted: &[&str], any_order: bool) {
        let mut connection = Connection::open(self.proxy.address("admin"));
        let bytes = format!("{request} HTTP/1.1\r\nHost: admin\r\n\r\n");
        let message = connection.exchange(bytes.as_bytes());
        self.lines.push(format!("client: {}", message.start));
        let headers = message.headers.iter().filter(|(name, _)| name != "date");
        self.lines
            .extend(headers.map(|(name, value)| format!("client: {name}: {value}")));
        let body = String::from_utf8_lossy(&message.body);
        let counts =
            |line: &&str| wanted.is_empty() || wanted.iter().any(|prefix| line.starts_with(prefix));
        let mut shown: Vec<&str> = body.lines().filter(counts).collect();
        if any_order {
            shown.sort_unstable();
        }
        let shown = shown.iter().map(|line| format!("client: {line}"));
        self.lines.extend(shown);
    }
}

fn probe() -> Vec<u8> {
    format!("GET {STILL_OPEN} HTTP/1.1\r\nHost: a.example\r\n\r\n").into_bytes()
}

/// The names of a template's ports, to replace their numbers.
struct Names(Vec<(String, String)>);

impl Names {
    fn of(proxy: &Proxy) -> Self {
        Self(
            proxy
                .ports()
                .map(|(name, port)| (port.to_string(), format!("<{name}>")))
                .collect(),
        )
    }

    /// Replaces `:port` everywhere and a port that stands alone in log lines, where operators print
    /// it so.
    fn replace(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (number, name) in &self.0 {
            line = line.replace(&format!(":{number}"), &format!(":{name}"));
            let is_port = line
                .to_ascii_lowercase()
                .ends_with(&format!("x-forwarded-port: {number}"));
            if is_port {
                line.truncate(line.len() - number.len());
                line.push_str(name);
            }
            if line.starts_with("log: ") {
                line = line.replace(&format!(" {number} "), &format!(" {name} "));
            }
        }
        line
    }
}

/// Replaces what no two runs have in common: the date, the time a request took and generated
/// identifiers, each only where it has the form that it should have.
fn normalise(line: &str, sent: &str) -> String {
    let Some((source, rest)) = line.split_once(": ") else {
        return line.to_owned();
    };
    if source == "log" {
        return format!("log: {}", normalise_log(rest));
    }
    let Some((name, value)) = rest.split_once(": ") else {
        return line.to_owned();
    };
    let was_sent = is_uuid4(value) && sent.contains(value);
    match varying::field(name, value) {
        Some(replaced) if !was_sent => format!("{source}: {name}: {replaced}"),
        _ => line.to_owned(),
    }
}

/// Replaces times in a log line: the start time and the two durations of Envoy's default format,
/// and `"duration":` in JSON. Identifiers that a proxy made are replaced too.
fn normalise_log(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let is_start = |word: &str| word.len() == 26 && word.starts_with("[20") && word.ends_with("Z]");
    if words.first().is_some_and(|word| is_start(word)) && words.len() > 9 {
        words[0] = "[<time>]".to_owned();
        for word in &mut words[8..10] {
            if word.bytes().all(|byte| byte.is_ascii_digit()) {
                *word = "<ms>".to_owned();
            }
        }
    }
    for word in &mut words {
        let quoted = word.trim_matches('"');
        if is_uuid4(quoted) {
            *word = word.replace(quoted, "<uuid>");
        }
    }
    let line = words.join(" ");
    let Some((before, after)) = line.split_once(r#""duration":"#) else {
        return line;
    };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let value = if rest.len() < after.len() { "<ms>" } else { "" };
    format!(r#"{before}"duration":{value}{rest}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_sent_is_not_taken_for_generated() {
        let [generated, sent] = [
            "7beeaf46-515c-4dea-a1e5-443d49190d1d",
            "11111111-1111-4111-8111-111111111111",
        ];
        for (line, expected) in [
            (
                "client: date: Tue, 24 Nov 2026 03:20:21 GMT".to_owned(),
                "client: date: <date>".to_owned(),
            ),
            (
                format!("upstream: x-request-id: {generated}"),
                "upstream: x-request-id: <uuid>".to_owned(),
            ),
            (
                format!("upstream: x-request-id: {sent}"),
                format!("upstream: x-request-id: {sent}"),
            ),
            (
                "connection: closed".to_owned(),
                "connection: closed".to_owned(),
            ),
        ] {
            assert_eq!(normalise(&line, &format!("id: {sent}")), expected);
        }
    }
}
