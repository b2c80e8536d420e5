//! The upstream servers of a group.
//!
//! Owns which servers a template's port names ask for, their scripts for each case, and the lines that
//! say what they received. Called by [`super::side`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use crate::frames_origin::FramesOrigin;
use crate::h2_origin::H2Origin;
use crate::message::Message;
use crate::origin::{BlackHole, Origin};
use crate::process::Setup;
use crate::tls_origin::TlsOrigin;

use super::case::{Action, Case};
use super::side::STILL_OPEN;

/// The servers, by the names of their ports.
pub(super) struct Upstreams {
    http1: BTreeMap<String, Origin>,
    http2: BTreeMap<String, H2Origin>,
    frames: Option<FramesOrigin>,
    tls: BTreeMap<String, TlsOrigin>,
    _black_holes: Vec<BlackHole>,
}

impl Upstreams {
    /// What a port is, by how its name begins: `origin` and `second` speak HTTP/1.1, `h2origin`
    /// HTTP/2, `frames` too, with any frames, `tls_…` speaks TLS in front of `origin` and `h2origin`, `blackhole` never accepts. Nobody
    /// listens on others.
    pub(super) fn start(setup: &Setup) -> Self {
        let mut upstreams = Self {
            http1: BTreeMap::new(),
            http2: BTreeMap::new(),
            frames: None,
            tls: BTreeMap::new(),
            _black_holes: Vec::new(),
        };
        for (name, port) in setup.ports() {
            let is = |prefix: &str| name.starts_with(prefix);
            let name = name.to_owned();
            if is("origin") || is("second") {
                let origin = Origin::start_on(port);
                if is("second") {
                    origin.answer_health_checks(503);
                }
                upstreams.http1.insert(name, origin);
            } else if is("h2origin") {
                upstreams.http2.insert(name, H2Origin::start_on(port));
            } else if name == "frames" {
                upstreams.frames = Some(FramesOrigin::start_on(port));
            } else if let Some(kind) = name.strip_prefix("tls_") {
                let inside = ["origin", "h2origin"].map(|inner| {
                    let port = setup.port(inner).expect("a server behind one of TLS");
                    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
                });
                let server = TlsOrigin::start_on(port, kind, inside[0], inside[1]);
                upstreams.tls.insert(name, server);
            } else if is("blackhole") {
                upstreams._black_holes.push(BlackHole::start_on(port));
            }
        }
        upstreams
    }

    /// Has those of HTTP/1.1 take what begins with no head.
    pub(super) fn take_bytes(&self) {
        self.http1.values().for_each(Origin::take_bytes);
    }

    /// Hands each server its script for a case.
    pub(super) fn prepare(&self, case: &Case) {
        for (name, origin) in &self.http1 {
            let replies = case.replies.iter().filter(|(of, _)| of == name);
            origin.reply_with(replies.map(|(_, reply)| reply.clone()));
        }
        for (name, origin) in &self.http2 {
            let replies = case.h2_replies.iter().filter(|(of, _)| of == name);
            origin.reply_with(replies.map(|(_, reply)| reply.clone()));
        }
        match &self.frames {
            Some(origin) => {
                origin.begin_with(case.frames_first.clone());
                origin.reply_with(case.frame_replies.iter().cloned());
            }
            None => assert!(case.frame_replies.is_empty(), "no upstream is \"frames\""),
        }
        let named = case.replies.iter().map(|(name, _)| name);
        for name in named {
            assert!(self.http1.contains_key(*name), "no upstream is {name:?}");
        }
        let named = case.h2_replies.iter().map(|(name, _)| name);
        for name in named {
            assert!(self.http2.contains_key(*name), "no upstream is {name:?}");
        }
    }

    /// The HTTP/1.1 upstream that steps wait for.
    pub(super) fn origin(&self) -> &Origin {
        self.http1.get("origin").expect("a scripted origin")
    }

    /// The other one.
    pub(super) fn second(&self) -> Option<&Origin> {
        self.http1.get("second")
    }

    /// How many requests `origin` has seen so far.
    pub(super) fn arrived(&self) -> usize {
        self.http1.get("origin").map_or(0, Origin::arrived)
    }

    /// Adds the health checks that each of them received, equal ones once.
    pub(super) fn health_checks(&self, lines: &mut Vec<String>) {
        for (name, origin) in &self.http1 {
            let checks = origin.health_checks();
            let checks: BTreeSet<Vec<String>> =
                checks.iter().map(|check| check.lines(false)).collect();
            let who = title(name);
            for line in checks.iter().flatten() {
                lines.push(format!("{who} health check: {line}"));
            }
        }
    }

    /// Adds what the upstreams received.
    pub(super) fn record(&self, case: &Case, lines: &mut Vec<String>) {
        for (name, server) in &self.tls {
            let handshakes = server.take_handshakes();
            lines.extend(handshakes.iter().map(|agreed| format!("{name}: {agreed}")));
        }
        for (name, origin) in &self.http1 {
            let wanted = |request: &Message| {
                (request.complete || case.partial_requests) && request.target() != STILL_OPEN
            };
            let who = title(name);
            for request in origin.take_requests().into_iter().filter(wanted) {
                let text = request.lines(case.any_order);
                lines.extend(text.iter().map(|line| format!("{who}: {line}")));
            }
        }
        for (name, origin) in &self.http2 {
            let who = title(name);
            for request in origin.take_requests() {
                if request.lines[0].contains(STILL_OPEN) {
                    continue;
                }
                let mut text = request.lines;
                let is_cut = |line: &String| line.starts_with("[body] stream error");
                if matches!(case.action, Action::Frames(_)) && text.iter().any(is_cut) {
                    // How much arrives of what is refused is up to each proxy.
                    continue;
                }
                if case.any_order {
                    text.sort();
                }
                lines.extend(text.iter().map(|line| format!("{who}: {line}")));
            }
        }
    }
}

/// How reports call an upstream.
fn title(name: &str) -> String {
    match name {
        "origin" => "upstream".to_owned(),
        "second" => "second upstream".to_owned(),
        "h2origin" => "h2 upstream".to_owned(),
        other => other.to_owned(),
    }
}
