//! The verdict on what two proxies did with the same bytes.
//!
//! Owns what is compared: what the upstream received, what the client got, how connections ended and
//! whether they were used again. Any difference is a fault; [`super::documented`] knows those that are meant.

use super::lane::{Ending, Heard, Seen};
use super::reading::{self, End, Field, Message, Stream};
use super::{Answer, Case};

/// How nuncio differs from Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It takes what Envoy refuses.
    Laxer,
    /// What it sends on is no HTTP.
    IllFormed,
    /// Another request gets what is not meant for it, or nothing.
    Poisoned,
    /// Bytes come behind the response.
    Leftover,
    /// A response is whole where Envoy's breaks off.
    Completed,
    /// A connection is used again where Envoy does not.
    Reused,
    /// The upstream receives another message.
    Message,
    /// The client is answered with another status.
    Status,
    /// The client gets another answer of the same status.
    Answered,
    /// The upstream is asked more often, or less.
    Attempts,
    /// The client's connection stays open, or does not.
    Ending,
    /// It refuses what Envoy takes.
    Stricter,
}

impl Fault {
    /// Whether somebody may be harmed by it, other than by being refused or told something else.
    #[must_use]
    pub fn is_grave(self) -> bool {
        self < Self::Message
    }
}

/// What a case looked like at one proxy, read.
#[derive(Clone, Debug)]
pub struct Look {
    /// Requests that reached the upstream whole.
    pub requests: Vec<Message>,
    /// Whether something else reached it too.
    pub ill_upstream: bool,
    /// The statuses that the client saw.
    pub statuses: Vec<u16>,
    /// The client's bytes, without what changes from time to time.
    pub client: Vec<u8>,
    /// How its connection ended.
    pub ending: Ending,
    /// What the client got, where it is known what it answers.
    pub responses: Stream,
    /// Bytes behind that.
    pub rest: Vec<u8>,
    /// How often the upstream was asked.
    pub asked: usize,
    /// Whether the request behind was answered, and whether on the same upstream connection.
    pub probe: Option<(bool, bool)>,
}

impl Look {
    /// Reads what was seen.
    #[must_use]
    pub fn new(case: &Case, seen: &Seen) -> Self {
        let client = steady(&seen.client.bytes);
        let mut requests = Vec::new();
        let mut ill_upstream = false;
        for bytes in &seen.upstream {
            let stream = reading::requests(bytes);
            ill_upstream |= stream.flaw.is_some();
            requests.extend(stream.whole().map(without_identifier));
        }
        let (responses, rest) = match &case.answer {
            Some(Answer { asked, .. }) => reading::responses(&client, *asked),
            None => Default::default(),
        };
        let statuses = match &case.answer {
            Some(_) => responses.messages.iter().map(Message::status).collect(),
            None => statuses(&client),
        };
        Self {
            requests,
            ill_upstream,
            statuses,
            rest: rest.to_vec(),
            responses,
            ending: seen.client.ending,
            asked: seen.asked,
            probe: seen
                .probe
                .as_ref()
                .map(|(heard, second)| (is_clean(heard), *second)),
            client,
        }
    }

    /// The statuses that are not interim.
    #[must_use]
    pub fn finals(&self) -> Vec<u16> {
        self.statuses
            .iter()
            .copied()
            .filter(|status| !matches!(status, 100 | 102..=199))
            .collect()
    }

    /// Whether there is anything to hold another answer against: what is sent here is HTTP itself.
    #[must_use]
    pub fn is_measure(&self) -> bool {
        self.responses.flaw.is_none() && self.rest.is_empty()
    }

    /// Whether the last thing that the client was told is that its request is refused.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.finals().last().is_some_and(|status| refuses(*status))
    }

    /// Whether the last thing that the client was told is that the upstream's answer is of no use.
    #[must_use]
    pub fn has_no_answer(&self) -> bool {
        matches!(self.finals().last(), Some(502 | 503))
    }
}

/// Whether a status is that of a request that is not taken.
const fn refuses(status: u16) -> bool {
    matches!(status, 400 | 426 | 431 | 501)
}

/// The bytes before the last status line, and from there on.
pub(super) fn last_response(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.windows(7).rposition(|part| part == b"HTTP/1.");
    bytes.split_at(at.unwrap_or_default())
}

/// What nuncio does otherwise; the gravest of it.
#[must_use]
pub fn judge(case: &Case, envoy: &Look, nuncio: &Look) -> Option<Fault> {
    match &case.answer {
        None => judge_request(envoy, nuncio),
        Some(_) => judge_answer(envoy, nuncio),
    }
}

fn judge_request(envoy: &Look, nuncio: &Look) -> Option<Fault> {
    if nuncio.ill_upstream {
        return Some(Fault::IllFormed);
    }
    match nuncio.requests.len().cmp(&envoy.requests.len()) {
        std::cmp::Ordering::Greater => return Some(Fault::Laxer),
        std::cmp::Ordering::Less => return Some(Fault::Stricter),
        std::cmp::Ordering::Equal if nuncio.requests != envoy.requests => {
            return Some(Fault::Message);
        }
        std::cmp::Ordering::Equal => {}
    }
    let (theirs, ours) = (envoy.finals(), nuncio.finals());
    let differ = theirs
        .iter()
        .zip(&ours)
        .find(|(theirs, ours)| theirs != ours);
    match differ {
        // Both say no; which fault of several comes first is theirs.
        Some((theirs, ours)) if refuses(*theirs) && refuses(*ours) => return None,
        Some((400.., ..400)) => return Some(Fault::Laxer),
        Some((..400, 400..)) => return Some(Fault::Stricter),
        Some(_) => return Some(Fault::Status),
        None => {}
    }
    match theirs.len().cmp(&ours.len()) {
        std::cmp::Ordering::Less if !nuncio.refuses() => return Some(Fault::Laxer),
        // One of them waits for more before it says no.
        std::cmp::Ordering::Less => return None,
        std::cmp::Ordering::Greater if envoy.refuses() && nuncio.ending == Ending::Open => {
            return None;
        }
        std::cmp::Ordering::Greater => return Some(Fault::Status),
        std::cmp::Ordering::Equal => {}
    }
    let said = |look: &Look| {
        // How a refusal is worded is compared elsewhere.
        let until = if look.refuses() {
            last_response(&look.client).0
        } else {
            &look.client
        };
        until.to_vec()
    };
    if said(nuncio) != said(envoy) {
        return Some(Fault::Answered);
    }
    let kept = |look: &Look| look.ending == Ending::Open;
    (kept(envoy) != kept(nuncio)).then_some(Fault::Ending)
}

fn judge_answer(envoy: &Look, nuncio: &Look) -> Option<Fault> {
    let answered = |look: &Look| look.probe.is_some_and(|(is_clean, _)| is_clean);
    let reused = |look: &Look| look.probe.is_some_and(|(_, second)| second);
    if !answered(nuncio) {
        return answered(envoy).then_some(Fault::Poisoned);
    }
    if nuncio.responses.flaw.is_some() {
        return Some(Fault::IllFormed);
    }
    if !nuncio.rest.is_empty() {
        return Some(Fault::Leftover);
    }
    if !envoy.is_measure() {
        return None;
    }
    let last = |look: &Look| look.finals().last().copied().unwrap_or_default();
    match (last(envoy), last(nuncio)) {
        (theirs, ours) if theirs == ours => {}
        // Envoy waits for more before it says no.
        (0, 502) if envoy.ending == Ending::Open => return None,
        (503, 502) => return Some(Fault::Stricter),
        (502 | 503, _) => return Some(Fault::Laxer),
        (_, 502 | 503) => return Some(Fault::Stricter),
        _ => return Some(Fault::Status),
    }
    if envoy.statuses != nuncio.statuses {
        return Some(Fault::Status);
    }
    let end = |look: &Look| look.responses.messages.last().map(|message| message.end);
    match (end(envoy), end(nuncio)) {
        (Some(End::Cut), Some(End::Cut)) => {
            return (heads(envoy) != heads(nuncio)).then_some(Fault::Answered);
        }
        (Some(End::Cut), _) => return Some(Fault::Completed),
        (_, Some(End::Cut)) => return Some(Fault::Stricter),
        _ => {}
    }
    let kept = |look: &Look| look.ending == Ending::Open;
    let faults = [
        (envoy.responses != nuncio.responses, Fault::Answered),
        (envoy.asked != nuncio.asked, Fault::Attempts),
        (kept(envoy) != kept(nuncio), Fault::Ending),
        (reused(nuncio) && !reused(envoy), Fault::Reused),
    ];
    faults
        .into_iter()
        .find_map(|(is_there, fault)| is_there.then_some(fault))
}

fn heads(look: &Look) -> Vec<(&[u8], &[Field])> {
    let messages = look.responses.messages.iter();
    messages
        .map(|message| (message.start.as_slice(), message.fields.as_slice()))
        .collect()
}

/// Whether the probe was answered with what is for it, and nothing else.
fn is_clean(heard: &Heard) -> bool {
    heard.bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && heard.bytes.ends_with(b"\r\n\r\nprobe")
}

/// The bytes with other values for those that change from time to time, or from proxy to proxy.
#[must_use]
pub fn steady(bytes: &[u8]) -> Vec<u8> {
    let mut steady = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let name = line
            .split(|byte| *byte == b':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let value = line.get(name.len()..).unwrap_or_default().trim_ascii();
        let changes = match name.as_slice() {
            b"date" => value.ends_with(b" GMT"),
            b"server" => [&b": envoy"[..], b": nuncio"].contains(&value),
            b"x-envoy-upstream-service-time" => value
                .get(2..)
                .is_some_and(|value| value.iter().all(u8::is_ascii_digit)),
            _ => false,
        };
        if changes {
            steady.extend_from_slice(&line[..name.len()]);
            steady.extend_from_slice(b": -\r\n");
        } else {
            steady.extend_from_slice(line);
        }
    }
    steady
}

/// The message with another value for an identifier that the proxy has made.
fn without_identifier(message: &Message) -> Message {
    let mut message = message.clone();
    for (name, value) in &mut message.fields {
        let made = value.len() == 36
            && value
                .iter()
                .all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
        if made && name.eq_ignore_ascii_case(b"x-request-id") {
            *value = b"-".to_vec();
        }
    }
    message
}

/// The statuses of all status lines in the bytes.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let places = bytes.windows(13).filter(|part| {
        part.starts_with(b"HTTP/1.") && part[8] == b' ' && matches!(part[12], b' ' | b'\r')
    });
    places
        .filter_map(|part| std::str::from_utf8(&part[9..12]).ok()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::reading::Asked;
    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const PROBE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nprobe";

    fn heard(bytes: &str, ending: Ending) -> Heard {
        Heard {
            bytes: bytes.into(),
            ending,
        }
    }

    /// What is seen where an answer goes through as it is.
    fn seen(client: &str, probe: &str, second: bool) -> Seen {
        Seen {
            client: heard(client, Ending::Open),
            upstream: Vec::new(),
            asked: 1,
            probe: Some((heard(probe, Ending::Open), second)),
        }
    }

    #[test]
    fn what_is_done_otherwise_with_an_answer_is_told() {
        let answer = Answer {
            asked: Asked::Other,
            pieces: Vec::new(),
            ends: false,
        };
        let case = Case {
            variant: 0,
            client: Vec::new(),
            answer: Some(answer),
        };
        let refused = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok";
        let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
        let late = [OK, "HTTP/1.1 200 OK\r\n"].concat();
        let ill = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n";
        let longer = cut.replace("ok", "oks");
        for (theirs, ours, expected) in [
            (seen(OK, PROBE, true), seen(OK, PROBE, true), None),
            (seen(OK, PROBE, true), seen(OK, PROBE, false), None),
            (
                seen(OK, PROBE, false),
                seen(OK, PROBE, true),
                Some(Fault::Reused),
            ),
            (
                seen(OK, PROBE, false),
                seen(OK, evil, true),
                Some(Fault::Poisoned),
            ),
            (
                seen(OK, PROBE, false),
                seen(&late, PROBE, false),
                Some(Fault::Leftover),
            ),
            (
                seen(OK, PROBE, false),
                seen(ill, PROBE, false),
                Some(Fault::IllFormed),
            ),
            (
                seen(refused, PROBE, false),
                seen(OK, PROBE, false),
                Some(Fault::Laxer),
            ),
            (
                seen(OK, PROBE, false),
                seen(refused, PROBE, false),
                Some(Fault::Stricter),
            ),
            (
                seen(cut, PROBE, false),
                seen(&longer, PROBE, false),
                Some(Fault::Completed),
            ),
            (
                seen(OK, PROBE, false),
                seen(&OK.replace("ok", "no"), PROBE, false),
                Some(Fault::Answered),
            ),
        ] {
            let look = |seen: &Seen| Look::new(&case, seen);
            let fault = judge(&case, &look(&theirs), &look(&ours));
            assert_eq!(fault, expected, "{theirs:?} {ours:?}");
        }
    }

    #[test]
    fn what_is_done_otherwise_with_a_request_is_told() {
        let case = Case {
            variant: 0,
            client: Vec::new(),
            answer: None,
        };
        let get = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
        let ill = "GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n";
        let refused = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        let seen = |client: &str, upstream: &str| Seen {
            client: heard(client, Ending::Open),
            upstream: vec![upstream.into()],
            asked: 0,
            probe: None,
        };
        for (theirs, ours, expected) in [
            (seen(OK, get), seen(OK, get), None),
            (seen(OK, get), seen(OK, ill), Some(Fault::IllFormed)),
            (seen(refused, ""), seen(OK, get), Some(Fault::Laxer)),
            (seen(refused, ""), seen(OK, ""), Some(Fault::Laxer)),
            (seen(OK, get), seen(refused, ""), Some(Fault::Stricter)),
            (
                seen(OK, get),
                seen(OK, &get.replace("/a", "/b")),
                Some(Fault::Message),
            ),
            (
                seen(OK, get),
                seen(&OK.replace("200", "201"), get),
                Some(Fault::Status),
            ),
            (
                seen(OK, get),
                seen(&OK.replace("ok", "no"), get),
                Some(Fault::Answered),
            ),
        ] {
            let look = |seen: &Seen| Look::new(&case, seen);
            let fault = judge(&case, &look(&theirs), &look(&ours));
            assert_eq!(fault, expected, "{theirs:?} {ours:?}");
        }
    }
}
