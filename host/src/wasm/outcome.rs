//! What comes of a hook: the filter's answer, or its failure and what that costs.
//!
//! Owns the check of answers, the kinds of failure, and the failure policy: [`settle`] is the one
//! place that reads it. `instances` calls it for each hook, `http` acts on the [`Outcome`].

use std::fmt;
use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};

use super::bindings::Flow;
use super::bindings::types::LocalReply as WitReply;
use super::host::fields;
use super::lines::{Level, Lines};
use super::slot::{FailurePolicy, WasmStats};
use super::state::{Hook, OutOfTime, Said, State};
use super::wasi::Exit;
use crate::exchange::Flags;
use crate::headers::{Extent, Name, is_valid_value};
use crate::limits;

/// Frames of the guest's stack that a line of the log shows.
const FRAMES: usize = 6;

/// What becomes of a stream after a hook.
#[derive(Debug)]
pub enum Outcome {
    /// On to the next filter.
    Next,
    /// The filter answers.
    Reply(LocalReply),
    /// The filter sends the request upstream.
    Forward(Upstream),
    /// The filter wants to be called again after that time. Only from the hooks of a request's head.
    Wait(Duration),
    /// The filter failed, and the stream is to fail with it.
    Failed(Failure),
}

/// A response made by a filter. Checked: it can be sent.
#[derive(Clone, Debug)]
pub struct LocalReply {
    /// 200 to 599.
    pub status: u16,
    /// In addition to the proxy's own.
    pub headers: Vec<(Name, Vec<u8>)>,
    /// At most [`limits::WASM_BODY_BYTES`].
    pub body: Vec<u8>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
    /// For a gRPC request, in place of the one that `status` stands for.
    pub grpc_status: Option<u32>,
    /// Response flags to set.
    pub flags: Flags,
    /// Whether the route's changes of response headers apply.
    pub of_route: bool,
}

/// Where a terminal filter sends a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// In place of the route's cluster.
    pub cluster: Option<String>,
    /// In place of the route's timeout; 0 means none.
    pub timeout: Option<Duration>,
}

/// How a filter failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    text: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The guest trapped: it panicked, divided by zero, ran out of stack, exited. Its instance is
    /// gone.
    Trap,
    /// It used more than `cpu_per_call`. Its instance is gone.
    OutOfTime,
    /// It trapped after it had been refused more memory. Its instance is gone.
    OutOfMemory,
    /// Its answer is not one.
    InvalidAnswer,
    /// It said so itself.
    Reported,
    /// The instance that had the stream's state is gone.
    StateLost,
    /// No instance could be started.
    NotStarted,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// The failure that a call ended with.
    pub(super) fn of_call(error: &wasmtime::Error, state: &State) -> Self {
        let limit = state.shared.limits;
        if error.is::<OutOfTime>() {
            let text = match state.hook {
                Hook::Configure => "used more than 1s of processor time".to_owned(),
                _ => format!("used more than {:?} of processor time", limit.cpu_per_call),
            };
            return Self::new(FailureKind::OutOfTime, text + &stack(error));
        }
        if state.memory.refused && !error.is::<Exit>() {
            let text = format!("needed more than {} KiB of memory", limit.memory / 1024);
            return Self::new(FailureKind::OutOfMemory, text + &stack(error));
        }
        let cause = match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        Self::new(FailureKind::Trap, cause + &stack(error))
    }

    /// `%RESPONSE_CODE_DETAILS%` of a stream that fails with it: Envoy's.
    #[must_use]
    pub const fn details(&self) -> &'static str {
        "wasm_fail_stream"
    }

    fn count(&self, stats: &WasmStats) {
        let counter = match self.kind {
            FailureKind::Trap => &stats.traps,
            FailureKind::OutOfTime => &stats.out_of_time,
            FailureKind::OutOfMemory => &stats.out_of_memory,
            FailureKind::InvalidAnswer => &stats.invalid_answers,
            FailureKind::Reported => &stats.reported_failures,
            FailureKind::StateLost => &stats.state_lost,
            FailureKind::NotStarted => &stats.start_failures,
        };
        counter.inc();
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// The guest's stack, innermost frame first, as far as it is of interest.
fn stack(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let frames = frames(&backtrace.to_string());
    if frames.is_empty() {
        String::new()
    } else {
        format!("; in {}", frames.join(" < "))
    }
}

/// The names of functions in a printed backtrace, of which a line is `0: 0x1a2b - module!function`.
fn frames(backtrace: &str) -> Vec<String> {
    // The machinery of a Rust panic says nothing about where it came from.
    const NOISE: &[&str] = &[
        "panic",
        "abort",
        "rust_begin_unwind",
        "handle_alloc_error",
        "__rg_oom",
        "unwrap_failed",
    ];
    let mut frames: Vec<String> = backtrace
        .lines()
        .filter_map(|line| Some(without_hash(line.split_once('!')?.1).to_owned()))
        .filter(|frame| !NOISE.iter().any(|noise| frame.contains(noise)))
        .collect();
    frames.dedup();
    frames.truncate(FRAMES);
    frames
}

/// A Rust function's name without the hash that its mangled name ends with.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((name, hash))
            if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            name
        }
        _ => name,
    }
}

/// Reads what a hook answered. A reply may have no more fields than `most`.
#[inline]
pub(super) fn read(
    hook: Hook,
    flow: Flow,
    said: Option<Box<Said>>,
    most: Extent,
) -> Result<Outcome, Failure> {
    match flow {
        Flow::Next => Ok(Outcome::Next),
        Flow::Forward if said.is_none() && hook == Hook::RequestHeaders => {
            Ok(Outcome::Forward(Upstream::default()))
        }
        flow => read_said(hook, flow, said.map(|said| *said).unwrap_or_default(), most),
    }
}

fn read_said(hook: Hook, flow: Flow, said: Said, most: Extent) -> Result<Outcome, Failure> {
    let invalid = |text: &str| Err(Failure::new(FailureKind::InvalidAnswer, text));
    match flow {
        Flow::Next => Ok(Outcome::Next),
        Flow::Reply => match (hook, said.reply) {
            (_, None) => invalid("answered `reply` without one"),
            (
                Hook::RequestHeaders
                | Hook::Resume
                | Hook::RequestBody
                | Hook::RequestTrailers
                | Hook::ResponseHeaders,
                Some(reply),
            ) => read_reply(reply, most).map(Outcome::Reply),
            _ => invalid("answered `reply` when the response's head was gone"),
        },
        Flow::Forward => match hook {
            Hook::RequestHeaders | Hook::Resume => {
                let told = said.forward.map(|upstream| Upstream {
                    cluster: upstream.cluster,
                    timeout: upstream.timeout_ms.map(Duration::from_millis),
                });
                Ok(Outcome::Forward(told.unwrap_or_default()))
            }
            _ => invalid("answered `forward` in other than on-request-headers and on-resume"),
        },
        Flow::Fail => {
            let message = said
                .failure
                .unwrap_or_else(|| "it does not say why".to_owned());
            Err(Failure::new(FailureKind::Reported, message))
        }
        Flow::Wait => match hook {
            Hook::RequestHeaders | Hook::Resume => {
                Ok(Outcome::Wait(said.wait.max(limits::WASM_WAIT_LEAST)))
            }
            _ => invalid("answered `wait` in other than on-request-headers and on-resume"),
        },
    }
}

/// The failure of a filter that has waited more often than it may.
pub(super) fn too_many_waits() -> Failure {
    let text = format!(
        "answered `wait` more than {} times in a stream",
        limits::WASM_WAITS
    );
    Failure::new(FailureKind::InvalidAnswer, text)
}

fn read_reply(reply: WitReply, most: Extent) -> Result<LocalReply, Failure> {
    let invalid = |text: String| Failure::new(FailureKind::InvalidAnswer, text);
    if !fields::is_final(reply.status) {
        return Err(invalid(format!(
            "replied with status {}, not 200 to 599",
            reply.status
        )));
    }
    if reply.body.len() > limits::WASM_BODY_BYTES {
        return Err(invalid(format!(
            "replied with a body of {} bytes",
            reply.body.len()
        )));
    }
    let fields = reply.headers.iter();
    let size: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
    if reply.headers.len() > most.fields
        || size > most.bytes
        || reply.details.len() > limits::WASM_TEXT_BYTES
    {
        return Err(invalid(format!(
            "replied with {} fields of {size} bytes and {} bytes of details",
            reply.headers.len(),
            reply.details.len()
        )));
    }
    let mut headers = Vec::with_capacity(reply.headers.len());
    for (name, value) in reply.headers {
        let shown = String::from_utf8_lossy(&name).escape_debug().to_string();
        let name = Name::parse(&name)
            .map_err(|error| invalid(format!("replied with the field \"{shown}\": {error}")))?;
        if !fields::is_allowed_in_reply(&name) {
            return Err(invalid(format!(
                "replied with the field \"{shown}\", which the proxy sets itself"
            )));
        }
        if !is_valid_value(&value) {
            return Err(invalid(format!(
                "replied with a value of \"{shown}\" that has a line end"
            )));
        }
        headers.push((name, value));
    }
    let flags = reply
        .response_flag
        .map_or(Flags::NONE, |short| flag_named(&short));
    Ok(LocalReply {
        status: reply.status,
        headers,
        body: reply.body,
        details: reply.details,
        grpc_status: reply.grpc_status,
        flags,
        of_route: reply.of_route,
    })
}

/// The flag of that short name; none where there is no such flag.
pub(super) fn flag_named(short: &str) -> Flags {
    let flag = Flags::ALL.iter().find(|(_, name, _)| *name == short);
    flag.map_or(Flags::NONE, |(flag, _, _)| *flag)
}

/// Who failed, and where to say so.
pub(super) struct Scene<'a> {
    pub(super) hook: Hook,
    pub(super) policy: FailurePolicy,
    pub(super) stats: &'a WasmStats,
    pub(super) lines: &'a mut Lines,
}

/// Counts and reports a failure, and decides by the policy what it does to the stream. `skip` is set
/// where the filter is to be left out from now on.
pub(super) fn settle(failure: Failure, scene: Scene<'_>, skip: &mut bool) -> Outcome {
    let Scene {
        hook,
        policy,
        stats,
        lines,
    } = scene;
    failure.count(stats);
    let hook = hook.as_str();
    match policy {
        FailurePolicy::FailClosed => {
            lines.write(Level::Error, &format!("{hook} failed: {failure}"));
            Outcome::Failed(failure)
        }
        FailurePolicy::FailOpen => {
            let text =
                format!("{hook} failed, and the stream goes on without the filter: {failure}");
            lines.write(Level::Warn, &text);
            *skip = true;
            Outcome::Next
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::types::Upstream as WitUpstream;
    use super::super::slot::Limits;
    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)]) -> Said {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let reply = WitReply {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| (bytes(name), bytes(value)))
                .collect(),
            body: b"no".to_vec(),
            details: "because".to_owned(),
            grpc_status: Some(7),
            response_flag: Some("RL".to_owned()),
            of_route: false,
        };
        Said {
            reply: Some(reply),
            ..Said::default()
        }
    }

    fn read(hook: Hook, flow: Flow, said: Said) -> Result<Outcome, Failure> {
        super::read(hook, flow, Some(Box::new(said)), Limits::default().block)
    }

    const HOOKS: [Hook; 7] = [
        Hook::RequestHeaders,
        Hook::Resume,
        Hook::RequestBody,
        Hook::RequestTrailers,
        Hook::ResponseHeaders,
        Hook::ResponseBody,
        Hook::ResponseTrailers,
    ];

    #[test]
    fn answers_are_for_some_hooks_only() {
        for (index, hook) in HOOKS.into_iter().enumerate() {
            let next = super::read(hook, Flow::Next, None, Limits::default().block);
            assert!(matches!(next, Ok(Outcome::Next)));
            let replied = read(hook, Flow::Reply, reply(403, &[])).is_ok();
            assert_eq!(replied, index < 5, "{hook:?}");
            let forwarded = super::read(hook, Flow::Forward, None, Limits::default().block).is_ok();
            assert_eq!(forwarded, index < 2, "{hook:?}");
            let said = Said {
                wait: Duration::from_millis(7),
                ..Said::default()
            };
            match read(hook, Flow::Wait, said) {
                Ok(Outcome::Wait(time)) => {
                    assert!(index < 2 && time == Duration::from_millis(7), "{hook:?}");
                }
                answer => assert!(index >= 2 && answer.is_err(), "{hook:?}"),
            }
            let said = Said {
                failure: Some("broken".to_owned()),
                ..Said::default()
            };
            let failure = read(hook, Flow::Fail, said).unwrap_err();
            assert_eq!(
                (failure.kind, failure.to_string()),
                (FailureKind::Reported, "broken".to_owned())
            );
        }
    }

    #[test]
    fn an_answer_may_say_more_than_its_flow_or_nothing() {
        let upstream = WitUpstream {
            cluster: Some("other".to_owned()),
            timeout_ms: Some(5),
        };
        let all = || Said {
            forward: Some(upstream.clone()),
            ..reply(403, &[])
        };
        let hook = Hook::RequestHeaders;
        assert!(matches!(read(hook, Flow::Next, all()), Ok(Outcome::Next)));
        let Ok(Outcome::Forward(told)) = read(hook, Flow::Forward, all()) else {
            panic!("not forwarded");
        };
        assert_eq!(told.cluster.as_deref(), Some("other"));
        assert_eq!(told.timeout, Some(Duration::from_millis(5)));
        for (flow, kind) in [
            (Flow::Reply, FailureKind::InvalidAnswer),
            (Flow::Fail, FailureKind::Reported),
        ] {
            let failure = super::read(hook, flow, None, Limits::default().block).unwrap_err();
            assert_eq!(failure.kind, kind, "{failure}");
        }
    }

    #[test]
    fn a_reply_is_read_whole() {
        let Ok(Outcome::Reply(reply)) = read(
            Hook::RequestHeaders,
            Flow::Reply,
            reply(429, &[("X-A", "b")]),
        ) else {
            panic!("no reply");
        };
        assert_eq!((reply.status, reply.body.as_slice()), (429, &b"no"[..]));
        assert_eq!(
            reply.headers,
            [(Name::parse(b"x-a").unwrap(), b"b".to_vec())]
        );
        assert_eq!(
            (reply.details.as_str(), reply.grpc_status),
            ("because", Some(7))
        );
        assert_eq!(reply.flags, Flags::RATE_LIMITED);
    }

    #[test]
    fn a_reply_that_cannot_be_sent_is_a_failure() {
        let many = vec![("a", "b"); limits::WASM_BLOCK_FIELDS + 1];
        for (said, says) in [
            (reply(0, &[]), "status 0"),
            (reply(101, &[]), "status 101"),
            (reply(999, &[]), "status 999"),
            (
                reply(200, &[("a b", "c")]),
                "\"a b\": header name has the byte 0x20",
            ),
            (reply(200, &[("", "c")]), "header name is empty"),
            (reply(200, &[("a", "b\r\nc: d")]), "line end"),
            (reply(200, &[(":status", "200")]), "the proxy sets itself"),
            (
                reply(200, &[("Content-Length", "2")]),
                "the proxy sets itself",
            ),
            (
                reply(200, &[("transfer-encoding", "chunked")]),
                "the proxy sets itself",
            ),
            (reply(200, &many), "257 fields"),
        ] {
            let failure = read(Hook::RequestHeaders, Flow::Reply, said).unwrap_err();
            assert_eq!(failure.kind, FailureKind::InvalidAnswer);
            assert!(failure.to_string().contains(says), "{failure}");
        }
    }

    #[test]
    fn a_stack_is_short_and_of_interest() {
        let backtrace = "error while executing at wasm backtrace:\n\
            \x20   0:   0x1a2b - f.wasm!__rustc::rust_begin_unwind\n\
            \x20   1:   0x1a2c - f.wasm!core::panicking::panic_fmt::h0123456789abcdef\n\
            \x20   2:   0x1a2d - f.wasm!f::deep::h0123456789abcdef\n\
            \x20   3:   0x1a2d - f.wasm!f::deep::h0123456789abcdef\n\
            \x20   4:   0x1a2e - f.wasm!f::hello";
        assert_eq!(frames(backtrace), ["f::deep", "f::hello"]);
        assert_eq!(frames("no frames"), [""; 0]);
    }

    #[test]
    fn flags_have_envoys_short_names() {
        assert_eq!(flag_named("UAEX"), Flags::UNAUTHORIZED_EXTERNAL_SERVICE);
        assert_eq!(flag_named("nonsense"), Flags::NONE);
    }

    #[test]
    fn the_policy_decides() {
        let stats = WasmStats::default();
        let mut lines = Lines::new("f".into(), super::super::lines::Rate::default());
        for (policy, fails) in [
            (FailurePolicy::FailClosed, true),
            (FailurePolicy::FailOpen, false),
        ] {
            let mut skip = false;
            let scene = Scene {
                hook: Hook::Log,
                policy,
                stats: &stats,
                lines: &mut lines,
            };
            let outcome = settle(Failure::new(FailureKind::Trap, "boom"), scene, &mut skip);
            assert_eq!(matches!(outcome, Outcome::Failed(_)), fails);
            assert_eq!(skip, !fails);
        }
        assert_eq!(stats.traps.get(), 2);
    }
}
