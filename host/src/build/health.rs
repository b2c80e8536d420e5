//! Health checks: `envoy.config.core.v3.HealthCheck` to [`HealthCheck`].
//!
//! Owns what is checked of them. Called for each cluster that has one by `clusters`.

use std::ops::Range;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Method};

use super::Workshop;
use crate::config::Place;
use crate::config::cluster::Cluster as Written;
use crate::config::header::{HeaderAppendAction, HeaderValueOption};
use crate::config::health_check::{
    CodecClientType, GrpcHealthCheck, HealthCheck as WrittenCheck, HealthChecker, HttpHealthCheck,
    Payload, PayloadBytes, TcpHealthCheck,
};
use crate::config::matcher::Int64Range;
use crate::config::scalar::Duration as WrittenDuration;
use crate::upstream::spec::{GrpcProbe, HealthCheck, HttpProbe, Intervals, Probe, TcpProbe};

impl Workshop<'_> {
    /// How the endpoints of a cluster are checked.
    pub(super) fn health_check(
        &mut self,
        cluster: &Written,
        written: &WrittenCheck,
        place: Place<'_>,
    ) -> Option<HealthCheck> {
        let probe = match &written.checker {
            HealthChecker::HttpHealthCheck(http) => {
                let here = place.field("http_health_check");
                Probe::Http(self.http_probe(&cluster.name, http, here)?)
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
        check.intervals = intervals(written);
        Some(check)
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
        Some(probe)
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
        let here = place.field("receive");
        let mut receive = Vec::new();
        for (index, payload) in written.receive.iter().enumerate() {
            receive.push(self.payload(payload, here.index(index))?);
        }
        Some(TcpProbe { send, receive })
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
        if cluster.http_options().is_none() && cluster.http2_protocol_options.is_none() {
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
