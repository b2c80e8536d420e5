//! Health checks: `envoy.config.core.v3.HealthCheck` to [`HealthCheck`].
//!
//! Owns what is checked of them. Called for each cluster that has one by `clusters`.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Method};

use super::balancing::fields;
use super::matching::string;
use super::{Workshop, chain};
use crate::config::Place;
use crate::config::cluster::Cluster as Written;
use crate::config::header::{HeaderAppendAction, HeaderValueOption};
use crate::config::health_check::{
    CodecClientType, GrpcHealthCheck, HealthCheck as WrittenCheck, HealthChecker, HttpHealthCheck,
    Payload, PayloadBytes, TcpHealthCheck, TypedEventSink,
};
use crate::config::matcher::{Int64Range, StringMatcher};
use crate::config::scalar::Duration as WrittenDuration;
use crate::headers::{Headers, Name};
use crate::observe::access_log::{Sink, Target};
use crate::route::HeaderCondition;
use crate::route::spec::{HeaderMatchSpec, HeaderTestSpec};
use crate::upstream::spec::{
    GrpcProbe, HealthCheck, HttpProbe, Intervals, Probe, ServiceCheck, TcpProbe,
};

impl Workshop<'_> {
    /// All checks of a cluster's endpoints.
    pub(super) fn health_checks(
        &mut self,
        cluster: &Written,
        place: Place<'_>,
    ) -> Option<Vec<HealthCheck>> {
        let (several, mut names) = (cluster.health_checks.len() > 1, HashSet::new());
        let mut built = Vec::new();
        for (index, written) in cluster.health_checks.iter().enumerate() {
            let here = place.index(index);
            if several && written.name.is_empty() {
                let message = "of several health checks each must have a name";
                self.diagnostics.error(here, message);
            } else if several && !names.insert(&written.name) {
                let message = format!("duplicate health check \"{}\"", written.name);
                self.diagnostics.error(here.field("name"), message);
            }
            built.push(self.health_check(cluster, written, here)?);
        }
        Some(built)
    }

    /// Where the events of each check of a cluster are written.
    pub(super) fn check_logs(
        &mut self,
        cluster: &Written,
        place: Place<'_>,
    ) -> Vec<Vec<Arc<Sink>>> {
        let mut logs = Vec::new();
        for (index, written) in cluster.health_checks.iter().enumerate() {
            let here = place.index(index);
            let mut sinks = Vec::new();
            if !written.event_log_path.is_empty() {
                let at = here.field("event_log_path");
                sinks.extend(self.event_log(&written.event_log_path, at));
            }
            for (index, logger) in written.event_logger.iter().enumerate() {
                let TypedEventSink::File(file) = &logger.sink;
                let at = here.field("event_logger").index(index);
                let at = at.field("typed_config").field("event_log_path");
                sinks.extend(self.event_log(&file.event_log_path, at));
            }
            logs.push(sinks);
        }
        logs
    }

    /// A file of events.
    pub(super) fn event_log(&mut self, path: &str, place: Place<'_>) -> Option<Arc<Sink>> {
        match self.services.sinks.open(Target::File(path.into())) {
            Ok(sink) => Some(sink),
            Err(error) => {
                self.diagnostics.error(place, chain(&error));
                None
            }
        }
    }

    /// How the endpoints of a cluster are checked.
    fn health_check(
        &mut self,
        cluster: &Written,
        written: &WrittenCheck,
        place: Place<'_>,
    ) -> Option<HealthCheck> {
        let probe = match &written.checker {
            HealthChecker::HttpHealthCheck(http) => {
                let here = place.field("http_health_check");
                Probe::Http(Box::new(self.http_probe(&cluster.name, http, here)?))
            }
            HealthChecker::TcpHealthCheck(tcp) => {
                let here = place.field("tcp_health_check");
                Probe::Tcp(self.tcp_probe(tcp, here)?)
            }
            HealthChecker::GrpcHealthCheck(grpc) => {
                let here = place.field("grpc_health_check");
                Probe::Grpc(self.grpc_probe(cluster, grpc, here)?)
            }
        };
        let mut check = HealthCheck::with(probe, written.timeout.get(), written.interval.get());
        check.unhealthy_threshold = written
            .unhealthy_threshold
            .unwrap_or(check.unhealthy_threshold);
        check.healthy_threshold = written.healthy_threshold.unwrap_or(check.healthy_threshold);
        check.reuse_connection = written.reuse_connection.unwrap_or(true);
        check.always_log_failures = written.always_log_health_check_failures;
        check.always_log_successes = written.always_log_health_check_success;
        check.port = written.alt_port;
        check.transport_match = written.transport_socket_match_criteria.as_ref().map(fields);
        check.alpn = self.alpn_of_checks(written, place.field("tls_options"));
        check.intervals = intervals(written);
        Some(check)
    }

    /// The protocols that checks over TLS offer, where those are not the context's.
    fn alpn_of_checks(
        &mut self,
        written: &WrittenCheck,
        place: Place<'_>,
    ) -> Option<Arc<[Vec<u8>]>> {
        let options = written.tls_options.as_ref()?;
        let names = self.alpn(&options.alpn_protocols, place.field("alpn_protocols"))?;
        Some(names.into_iter().map(String::into_bytes).collect())
            .filter(|names: &Arc<[_]>| !names.is_empty())
    }

    fn http_probe(
        &mut self,
        cluster: &str,
        written: &HttpHealthCheck,
        place: Place<'_>,
    ) -> Option<HttpProbe> {
        let host = if written.host.is_empty() {
            cluster
        } else {
            &written.host
        };
        let Ok(host) = HeaderValue::from_str(host) else {
            let message = format!("\"{host}\" cannot be sent as a host header");
            self.diagnostics.error(place.field("host"), message);
            return None;
        };
        let Ok(path) = PathAndQuery::try_from(written.path.as_str()) else {
            let message = format!("\"{}\" is not a path", written.path);
            self.diagnostics.error(place.field("path"), message);
            return None;
        };
        let mut probe = HttpProbe::new(host, path);
        if let Ok(method) = Method::from_bytes(written.method.as_str().as_bytes()) {
            probe.method = method;
        }
        if !written.expected_statuses.is_empty() {
            let here = place.field("expected_statuses");
            probe.expected = self.statuses(&written.expected_statuses, here);
        }
        let here = place.field("retriable_statuses");
        probe.retriable = self.statuses(&written.retriable_statuses, here);
        probe.http2 = written.codec_client_type == CodecClientType::Http2;
        let here = place.field("request_headers_to_add");
        for (index, option) in written.request_headers_to_add.iter().enumerate() {
            probe
                .add
                .extend(self.added_header(option, here.index(index)));
        }
        let here = place.field("request_headers_to_remove");
        for (index, name) in written.request_headers_to_remove.iter().enumerate() {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => probe.remove.push(name),
                Err(_) => {
                    let message = format!("\"{name}\" is not the name of a header");
                    self.diagnostics.error(here.index(index), message);
                }
            }
        }
        if let Some(send) = &written.send {
            let has_body = !matches!(probe.method, Method::GET | Method::HEAD | Method::TRACE);
            if !has_body {
                let message = format!("a {} request has no body", probe.method);
                self.diagnostics.error(place.field("send"), message);
            }
            probe.send = self.payload(send, place.field("send"))?.into();
        }
        probe.receive = self.payloads(&written.receive, place.field("receive"))?;
        if let Some(size) = written.response_buffer_size {
            probe.response_buffer = usize::try_from(size).unwrap_or(usize::MAX);
        }
        if let Some(matcher) = &written.service_name_matcher {
            let here = place.field("service_name_matcher");
            probe.service = Some(self.service_check(matcher, here)?);
        }
        Some(probe)
    }

    /// What an endpoint has to call its cluster.
    fn service_check(&mut self, written: &StringMatcher, place: Place<'_>) -> Option<ServiceCheck> {
        let name = "x-envoy-upstream-healthchecked-cluster";
        let spec = HeaderMatchSpec {
            name: name.into(),
            test: HeaderTestSpec::String(string(written)),
            invert_match: false,
            treat_missing_header_as_empty: true,
        };
        let condition = self.of_routes(HeaderCondition::new(&spec), place)?;
        let name = Name::parse(name.as_bytes()).ok()?;
        Some(ServiceCheck::new(move |value| {
            let mut headers = Headers::default();
            headers.append(&name, value);
            condition.matches(&headers)
        }))
    }

    /// A header with its value, and whether it takes the place of one that is there.
    fn added_header(
        &mut self,
        written: &HeaderValueOption,
        place: Place<'_>,
    ) -> Option<(HeaderName, HeaderValue, bool)> {
        let here = place.field("header");
        let (key, value) = (&written.header.key, &written.header.value);
        if value.contains('%') {
            let message = "a health check has nothing that format operators could show";
            self.diagnostics.error(here.field("value"), message);
            return None;
        }
        let replaces = match written.append_action {
            HeaderAppendAction::AppendIfExistsOrAdd => false,
            HeaderAppendAction::OverwriteIfExistsOrAdd => true,
            _ => {
                let message = "a health check adds or overwrites a header";
                self.diagnostics
                    .error(place.field("append_action"), message);
                return None;
            }
        };
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            return Some((name, value, replaces));
        }
        let message = format!("\"{key}: {value}\" cannot be sent as a header");
        self.diagnostics.error(here, message);
        None
    }

    fn tcp_probe(&mut self, written: &TcpHealthCheck, place: Place<'_>) -> Option<TcpProbe> {
        let send = match &written.send {
            Some(send) => self.payload(send, place.field("send"))?,
            None => Vec::new(),
        };
        let receive = self.payloads(&written.receive, place.field("receive"))?;
        Some(TcpProbe { send, receive })
    }

    fn payloads(&mut self, written: &[Payload], place: Place<'_>) -> Option<Vec<Vec<u8>>> {
        let mut built = Vec::with_capacity(written.len());
        for (index, payload) in written.iter().enumerate() {
            built.push(self.payload(payload, place.index(index))?);
        }
        Some(built)
    }

    fn payload(&mut self, written: &Payload, place: Place<'_>) -> Option<Vec<u8>> {
        match &written.payload {
            PayloadBytes::Binary(bytes) => Some(bytes.get().to_vec()),
            PayloadBytes::Text(digits) => {
                let bytes = hexadecimal(digits);
                if bytes.is_none() {
                    let message = format!("\"{digits}\" is not bytes in hexadecimal digits");
                    self.diagnostics.error(place.field("text"), message);
                }
                bytes
            }
        }
    }

    fn grpc_probe(
        &mut self,
        cluster: &Written,
        written: &GrpcHealthCheck,
        place: Place<'_>,
    ) -> Option<GrpcProbe> {
        if !cluster.may_speak_http2() {
            self.diagnostics.error(
                place,
                "a gRPC health check needs a cluster whose endpoints speak HTTP/2",
            );
        }
        let authority = if written.authority.is_empty() {
            &cluster.name
        } else {
            &written.authority
        };
        let Ok(value) = HeaderValue::from_str(authority) else {
            let message = format!("\"{authority}\" is not an authority");
            self.diagnostics.error(place.field("authority"), message);
            return None;
        };
        if Authority::try_from(authority.as_str()).is_err() {
            let message = format!("\"{authority}\" is not an authority");
            self.diagnostics
                .error(place.field("authority"), message)
                .hint("where there is none, the cluster's name is taken");
            return None;
        }
        Some(GrpcProbe {
            service: written.service_name.clone(),
            authority: value,
        })
    }

    /// Ranges of statuses, `end` excluded, within 100 to 600 as Envoy wants them.
    fn statuses(&mut self, written: &[Int64Range], place: Place<'_>) -> Vec<Range<u16>> {
        let mut built = Vec::new();
        for (index, range) in written.iter().enumerate() {
            let bounds = (u16::try_from(range.start), u16::try_from(range.end));
            match bounds {
                (Ok(start), Ok(end)) if start >= 100 && end <= 600 && start < end => {
                    built.push(start..end);
                }
                _ => {
                    self.diagnostics.error(
                        place.index(index),
                        "a range of statuses has 100 <= start < end <= 600",
                    );
                }
            }
        }
        built
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs.iter().map(|[high, low]| {
        let value = digit(*high)? << 4 | digit(*low)?;
        u8::try_from(value).ok()
    });
    bytes.collect()
}

fn intervals(written: &WrittenCheck) -> Intervals {
    let mut built = Intervals::new(written.interval.get());
    let or_zero =
        |duration: Option<WrittenDuration>| duration.map_or(Duration::ZERO, WrittenDuration::get);
    let set = |duration: Option<WrittenDuration>| duration.map(WrittenDuration::get);
    built.initial_jitter = or_zero(written.initial_jitter);
    built.jitter = or_zero(written.interval_jitter);
    built.jitter_percent = written.interval_jitter_percent;
    if let Some(interval) = written.no_traffic_interval {
        built.no_traffic = interval.get();
    }
    built.no_traffic_healthy = set(written.no_traffic_healthy_interval);
    built.unhealthy = set(written.unhealthy_interval);
    built.unhealthy_edge = set(written.unhealthy_edge_interval);
    built.healthy_edge = set(written.healthy_edge_interval);
    built
}
