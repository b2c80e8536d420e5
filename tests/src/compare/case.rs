//! What a case is: bytes to send, replies for the upstreams to give, and what to leave out.
//!
//! Only data and its builders; running it is [`super::side`]'s part.

use std::time::Duration;

use crate::frames;
use crate::h2_client::{H2Send, H2Step};
use crate::h2_origin::H2Reply;
use crate::origin::{Gate, Reply};
use crate::tls;

/// Cases that share a configuration and run in order on one process.
#[derive(Debug)]
pub struct Group {
    /// Name, unique.
    pub name: &'static str,
    /// Template of the configuration.
    pub template: String,
    /// The cases.
    pub cases: Vec<Case>,
    /// Whether each log line begins with the client's port, which tells its case. Otherwise the
    /// log is compared as a whole, as one more case.
    pub log_has_port: bool,
    /// Whether what comes to its HTTP/1.1 upstreams may be bytes without a head: of TCP, or of TLS.
    pub sends_bytes: bool,
}

/// Access log format of the groups unless they are about formats: every fact that does not depend
/// on time. The client's port in front tells which case a line belongs to.
pub const LOG_FORMAT: &str = "%DOWNSTREAM_DIRECT_REMOTE_PORT% \
    %REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% \
    flags %RESPONSE_FLAGS% details %RESPONSE_CODE_DETAILS% \
    received %BYTES_RECEIVED% sent %BYTES_SENT% route %ROUTE_NAME% \
    cluster %UPSTREAM_CLUSTER% host %UPSTREAM_HOST% failure %UPSTREAM_TRANSPORT_FAILURE_REASON% \
    attempts %UPSTREAM_REQUEST_ATTEMPT_COUNT% authority %REQ(:AUTHORITY)% grpc %GRPC_STATUS%\\n";

impl Group {
    /// A group whose template logs with `@LOG_FORMAT@`.
    #[must_use]
    pub fn new(name: &'static str, template: &str, cases: Vec<Case>) -> Self {
        let template = template.replace("@LOG_FORMAT@", LOG_FORMAT);
        Self {
            name,
            template,
            cases,
            log_has_port: true,
            sends_bytes: false,
        }
    }

    /// The same group, whose HTTP/1.1 upstreams may be sent bytes without a head.
    #[must_use]
    pub fn with_bytes(self) -> Self {
        Self {
            sends_bytes: true,
            ..self
        }
    }

    /// A group that is about log formats: its log is compared as a whole.
    #[must_use]
    pub fn about_logs(name: &'static str, template: &str, cases: Vec<Case>) -> Self {
        Self {
            log_has_port: false,
            ..Self::new(name, template, cases)
        }
    }
}

/// One step on an HTTP/1.1 connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Reads one response that is not 1xx, and the 1xx ones before it.
    Receive {
        /// Whether it answers a HEAD request.
        to_head: bool,
    },
    /// Reads one response of any status.
    ReceiveInterim,
    /// Reads that many bytes that are not HTTP.
    ReceiveBytes(usize),
    /// Reads all bytes that still come, and whether an end or a reset comes behind them.
    ReceiveToEnd,
    /// Lets time pass, where how late something is sent is what the case is about.
    Pause(Duration),
    /// Waits until the upstream has seen one more request.
    WaitForUpstream,
    /// Waits until the second upstream has seen one more request.
    WaitForSecond,
    /// Waits until the access log has an entry of this connection that contains that.
    WaitForLog(&'static str),
    /// Lets the reply that waits for the case's gate go on.
    OpenGate,
    /// Ends the client's direction of the connection.
    HalfClose,
    /// Closes the connection without reading on.
    HangUp,
    /// Expects that the proxy closes it, saying so or not.
    ExpectClose,
}

/// What a client does on an HTTP/2 connection that it has to itself, frame by frame; see
/// [`crate::frames`]. What counts is whether the proxy takes it, not how it says no: it is refused when
/// the stream is reset or answered with 4xx, or the connection ends.
#[derive(Clone, Debug)]
pub struct Frames {
    /// Sent behind the preface: settings, empty unless a case is about them.
    pub first: Vec<u8>,
    /// Sent behind that.
    pub bytes: Vec<u8>,
    /// Sent once `origin` has seen a request of these.
    pub then: Option<Vec<u8>>,
    /// The stream whose answer is waited for; none where nobody else is asked.
    pub answer: Option<u32>,
}

/// What the client does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Steps on one HTTP/1.1 connection.
    Http1(Vec<Step>),
    /// Frames on one HTTP/2 connection.
    Frames(Frames),
    /// One HTTP/2 request.
    Http2(H2Send),
    /// A tunnel over HTTP/2, and what is done with it.
    Http2Tunnel(H2Send, Vec<H2Step>),
    /// The first request is on its way at the upstream while the second is sent and answered.
    Held {
        /// Held back by the upstream until the second is answered.
        first: Vec<u8>,
        /// Sent meanwhile, on a connection of its own.
        second: Vec<u8>,
    },
    /// Like [`Action::Held`], with one more request that waits for a connection of that cluster
    /// between the two.
    Queued {
        /// Held back by the upstream until the third is answered.
        first: Vec<u8>,
        /// Waits meanwhile.
        second: Vec<u8>,
        /// Sent when the second waits.
        third: Vec<u8>,
        /// The cluster, for the statistic that says when the second waits.
        cluster: &'static str,
    },
    /// A look at the admin interface: the head of the answer and the body's lines that begin with
    /// one of the prefixes.
    Admin {
        /// Method, path and query.
        request: &'static str,
        /// Prefixes of the lines that count; none means all.
        lines: &'static [&'static str],
    },
    /// The health checks that each upstream received, equal ones once.
    HealthChecks,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name, unique in its group.
    pub name: String,
    /// What the client does.
    pub action: Action,
    /// A line that the admin interface has to show before the client begins.
    pub awaits: Option<&'static str>,
    /// Name of the port that it connects to.
    pub listener: &'static str,
    /// What it offers over TLS; none where it speaks in clear text.
    pub tls: Option<tls::Client>,
    /// What the HTTP/1.1 upstreams answer, by their names; plain 200 after that.
    pub replies: Vec<(&'static str, Reply)>,
    /// What the HTTP/2 upstreams answer, by their names; plain 200 after that.
    pub h2_replies: Vec<(&'static str, H2Reply)>,
    /// What the upstream `frames` answers, frame by frame; plain 200 after that.
    pub frame_replies: Vec<Vec<u8>>,
    /// What it says first.
    pub frames_first: Vec<u8>,
    /// Opened by [`Step::OpenGate`].
    pub gate: Option<Gate>,
    /// Whether the order of headers, or of the lines of an admin page, is left out of the comparison.
    pub any_order: bool,
    /// Whether requests that the proxy cut off count, and the log line. Both depend on how far
    /// the proxy had come when the client's error arrived, so this is off where that is a race.
    pub partial_requests: bool,
    /// Whether the access log counts.
    pub log: bool,
}

impl Case {
    fn new(name: &str, action: Action) -> Self {
        Self {
            name: name.to_owned(),
            action,
            awaits: None,
            listener: "listener",
            tls: None,
            replies: Vec::new(),
            h2_replies: Vec::new(),
            frame_replies: Vec::new(),
            frames_first: frames::settings(&[]),
            gate: None,
            any_order: false,
            partial_requests: false,
            log: true,
        }
    }

    /// Sends all bytes at once, reads one response, and looks whether the connection is kept.
    #[must_use]
    pub fn http1(name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let to_head = bytes.starts_with(b"HEAD ");
        let steps = vec![Step::Send(bytes.to_vec()), Step::Receive { to_head }];
        Self::new(name, Action::Http1(steps))
    }

    /// A GET with extra header lines, each ended by CRLF.
    #[must_use]
    pub fn get(name: &str, path: &str, headers: &str) -> Self {
        Self::http1(name, request("GET", path, headers, ""))
    }

    /// A request with extra header lines and a body.
    #[must_use]
    pub fn request(name: &str, method: &str, path: &str, headers: &str, body: &str) -> Self {
        Self::http1(name, request(method, path, headers, body))
    }

    /// Replaces text in all that is sent over HTTP/1.1, the host for instance.
    #[must_use]
    pub fn replaced(mut self, from: &str, to: &str) -> Self {
        if let Action::Http1(steps) = &mut self.action {
            for step in steps {
                if let Step::Send(bytes) = step {
                    *bytes = String::from_utf8_lossy(bytes)
                        .replace(from, to)
                        .into_bytes();
                }
            }
        }
        self
    }

    /// Steps on one connection. When they are done and the connection should still be open,
    /// one more request shows whether it is.
    #[must_use]
    pub fn steps(name: &str, steps: Vec<Step>) -> Self {
        Self::new(name, Action::Http1(steps))
    }

    /// One request over HTTP/2.
    #[must_use]
    pub fn http2(name: &str, request: H2Send) -> Self {
        Self::new(name, Action::Http2(request))
    }

    /// Frames on one HTTP/2 connection, whose log line does not count: how it is refused is not
    /// compared.
    #[must_use]
    pub fn frames(name: &str, bytes: Vec<u8>, answer: Option<u32>) -> Self {
        let first = frames::settings(&[]);
        let frames = Frames {
            first,
            bytes,
            then: None,
            answer,
        };
        Self::new(name, Action::Frames(frames)).without_log()
    }

    /// What such a client says first, in place of empty settings.
    #[must_use]
    pub fn first(mut self, first: Vec<u8>) -> Self {
        if let Action::Frames(frames) = &mut self.action {
            frames.first = first;
        }
        self
    }

    /// Has such a client send more once `origin` has seen a request.
    #[must_use]
    pub fn then(mut self, bytes: Vec<u8>) -> Self {
        if let Action::Frames(frames) = &mut self.action {
            frames.then = Some(bytes);
        }
        self
    }

    /// A tunnel over HTTP/2.
    #[must_use]
    pub fn h2_tunnel(name: &str, request: H2Send, steps: Vec<H2Step>) -> Self {
        Self::new(name, Action::Http2Tunnel(request, steps))
    }

    /// Two requests at the same time, see [`Action::Held`].
    #[must_use]
    pub fn held(name: &str, first: Vec<u8>, second: Vec<u8>) -> Self {
        Self::new(name, Action::Held { first, second })
    }

    /// Three requests at the same time, see [`Action::Queued`].
    #[must_use]
    pub fn queued(name: &str, cluster: &'static str, [first, second, third]: [Vec<u8>; 3]) -> Self {
        Self::new(
            name,
            Action::Queued {
                first,
                second,
                third,
                cluster,
            },
        )
    }

    /// A look at the admin interface, see [`Action::Admin`].
    #[must_use]
    pub fn admin(request: &'static str, lines: &'static [&'static str]) -> Self {
        Self::new(request, Action::Admin { request, lines })
    }

    /// The health checks that each upstream received, equal ones once.
    #[must_use]
    pub fn health_checks(name: &str) -> Self {
        Self::new(name, Action::HealthChecks)
    }

    /// Waits until the admin interface shows a line, where what came before takes effect on its own
    /// time.
    #[must_use]
    pub fn once(mut self, line: &'static str) -> Self {
        self.awaits = Some(line);
        self
    }

    /// Connects to another listener than `@PORT:listener@`.
    #[must_use]
    pub fn at(mut self, listener: &'static str) -> Self {
        self.listener = listener;
        self
    }

    /// Speaks TLS: HTTP/1.1 or one HTTP/2 request inside.
    #[must_use]
    pub fn over_tls(mut self, client: tls::Client) -> Self {
        self.tls = Some(client);
        self
    }

    /// Reads that many more responses, for requests that were sent in one go.
    #[must_use]
    pub fn and_responses(mut self, count: usize) -> Self {
        if let Action::Http1(steps) = &mut self.action {
            steps.extend(std::iter::repeat_n(Step::Receive { to_head: false }, count));
        }
        self
    }

    /// Expects that the proxy closes the connection after what it answered.
    #[must_use]
    pub fn closes(mut self) -> Self {
        if let Action::Http1(steps) = &mut self.action {
            steps.push(Step::ExpectClose);
        }
        self
    }

    /// The reply of the upstream `origin` to the first, then to the next request.
    #[must_use]
    pub fn reply(self, reply: Reply) -> Self {
        self.reply_from("origin", reply)
    }

    /// The reply of another HTTP/1.1 upstream.
    #[must_use]
    pub fn reply_from(mut self, upstream: &'static str, reply: Reply) -> Self {
        self.replies.push((upstream, reply));
        self
    }

    /// The upstream's reply, as bytes.
    #[must_use]
    pub fn reply_bytes(self, bytes: impl AsRef<[u8]>) -> Self {
        self.reply(Reply::bytes(bytes))
    }

    /// The reply of the upstream `h2origin`.
    #[must_use]
    pub fn h2_reply(self, reply: H2Reply) -> Self {
        self.h2_reply_from("h2origin", reply)
    }

    /// The reply of another HTTP/2 upstream.
    #[must_use]
    pub fn h2_reply_from(mut self, upstream: &'static str, reply: H2Reply) -> Self {
        self.h2_replies.push((upstream, reply));
        self
    }

    /// The reply of the upstream `frames`, which is for stream 1.
    #[must_use]
    pub fn frames_reply(mut self, frames: Vec<u8>) -> Self {
        self.frame_replies.push(frames);
        self
    }

    /// What the upstream `frames` says first, in place of empty settings.
    #[must_use]
    pub fn frames_first(mut self, first: Vec<u8>) -> Self {
        self.frames_first = first;
        self
    }

    /// A gate for a reply of `origin` to wait on; [`Step::OpenGate`] opens it.
    #[must_use]
    pub fn gated(mut self, reply: impl FnOnce(Gate) -> Reply) -> Self {
        let gate = Gate::default();
        self.gate = Some(gate.clone());
        self.reply(reply(gate))
    }

    /// The case with a gate of its own: the two proxies have it at the same time, and one would open that of the
    /// other.
    #[must_use]
    pub fn for_one_proxy(&self) -> Self {
        let mut case = self.clone();
        if let Some(gate) = &mut case.gate {
            let shared = std::mem::take(gate);
            let renewed = |(of, reply): (_, Reply)| (of, reply.with_gate(&shared, gate));
            case.replies = case.replies.into_iter().map(renewed).collect();
        }
        case
    }

    /// Leaves the order of headers, or of the lines of an admin page, out.
    #[must_use]
    pub fn any_order(mut self) -> Self {
        self.any_order = true;
        self
    }

    /// Counts requests that the proxy cut off.
    #[must_use]
    pub fn with_partial_requests(mut self) -> Self {
        self.partial_requests = true;
        self
    }

    /// Leaves the access log out.
    #[must_use]
    pub fn without_log(mut self) -> Self {
        self.log = false;
        self
    }

    /// All that the client sends, to tell values that were sent from values that were generated.
    #[must_use]
    pub fn sent(&self) -> String {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        match &self.action {
            Action::Http1(steps) => steps
                .iter()
                .filter_map(|step| {
                    if let Step::Send(bytes) = step {
                        Some(text(bytes))
                    } else {
                        None
                    }
                })
                .collect(),
            Action::Http2(request) | Action::Http2Tunnel(request, _) => format!("{request:?}"),
            Action::Frames(frames) => {
                text(&frames.bytes) + &text(frames.then.as_deref().unwrap_or_default())
            }
            Action::Held { first, second } => text(first) + &text(second),
            Action::Queued {
                first,
                second,
                third,
                ..
            } => text(first) + &text(second) + &text(third),
            Action::Admin { .. } | Action::HealthChecks => String::new(),
        }
    }
}

/// The bytes of a request to `a.example`; header lines end with CRLF each.
#[must_use]
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n{headers}\r\n{body}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Act;

    #[test]
    fn one_proxy_opens_no_gate_of_the_other() {
        let case = Case::get("held", "/", "").gated(|gate| Reply::nothing().then(Act::Wait(gate)));
        let sides = [case.for_one_proxy(), case.for_one_proxy()];
        let waits_for = |at: usize, gate: &Option<Gate>| {
            let gate = gate.as_ref().unwrap();
            sides[at]
                .replies
                .iter()
                .all(|(_, reply)| reply.waits_for(gate))
        };
        for (side, other) in [(0, 1), (1, 0)] {
            assert!(waits_for(side, &sides[side].gate));
            assert!(!waits_for(side, &sides[other].gate));
            assert!(!waits_for(side, &case.gate));
        }
    }
}
