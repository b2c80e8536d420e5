//! HTTP filters and access logs: each a slot with a component behind it.
//!
//! Owns the table of built-in components by what configures them. A built-in filter goes through the
//! same contract as a user's: all that it has of the host is a grant for the outputs that its
//! configuration names.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::per_filter::Chain;
use super::routes::text_of;
use super::{Workshop, chain};
use crate::config::access_log::{
    AccessLog, AccessLogConfig, FileAccessLogFormat, SubstitutionFormat,
};
use crate::config::filter::health_check::HttpHealthFilter;
use crate::config::filter::{
    FailurePolicy, HttpFilter, HttpFilterConfig, Isolation, LocalRateLimit, Router, Wasm,
};
use crate::config::scalar::RuntimeFractionalPercent;
use crate::config::{Place, json as config_json};
use crate::filters;
use crate::observe::access_log::Target;
use crate::observe::format::{Format, FormatError};
use crate::wasm::{self, Component, FilterSlot, Grants, Limits, SlotBuilder, SlotSpec};

/// What a field has in place of an operator without a value.
pub(super) const EMPTY: &str = "nothing is in its place";

impl Workshop<'_> {
    /// Adds the filters of a connection manager, or those of one of its upgrades, to `chain`, to be
    /// configured for its routes. `stat_prefix` is the manager's.
    pub(super) fn http_filters(
        &mut self,
        written: &[HttpFilter],
        stat_prefix: &str,
        chain: &mut Chain,
        place: Place<'_>,
    ) {
        let is_router =
            |filter: &HttpFilter| matches!(filter.typed_config, HttpFilterConfig::Router(_));
        match written.iter().position(is_router) {
            Some(at) if at + 1 < written.len() => {
                self.diagnostics.error(
                    place.index(at),
                    "the router is terminal: it must be the last filter of its chain",
                );
            }
            Some(at) if written.get(at).is_some_and(|router| router.disabled) => {
                self.diagnostics.error(
                    place.index(at).field("disabled"),
                    "the router ends its chain: it cannot be left out by default",
                );
            }
            Some(_) => {}
            None if written
                .iter()
                .any(|f| matches!(f.typed_config, HttpFilterConfig::Wasm(_))) => {}
            None => {
                self.diagnostics
                    .warning(
                        place,
                        "no filter of this chain forwards requests: each gets a 500",
                    )
                    .hint("add envoy.filters.http.router as the last filter");
            }
        }
        chain.begin_part();
        for (index, filter) in written.iter().enumerate() {
            if matches!(filter.typed_config, HttpFilterConfig::PassedOver(_)) {
                continue;
            }
            let place = place.index(index);
            let slot = self.http_filter(filter, stat_prefix, place.field("typed_config"));
            chain.push(filter, slot);
        }
    }

    fn http_filter(
        &mut self,
        written: &HttpFilter,
        stat_prefix: &str,
        place: Place<'_>,
    ) -> Option<SlotBuilder> {
        let (name, bytes, configuration) = match &written.typed_config {
            HttpFilterConfig::Router(config) => {
                self.check_router(config, place);
                ("router", filters::ROUTER, config_json::to_string(config))
            }
            HttpFilterConfig::LocalRateLimit(config) => {
                self.check_limit(config, place);
                (
                    "local_ratelimit",
                    filters::LOCAL_RATELIMIT,
                    config_json::to_string(config),
                )
            }
            HttpFilterConfig::HeaderMutation(config) => {
                let configuration = config_json::to_string(config);
                self.warn_without_value(&configuration, EMPTY, place);
                ("header_mutation", filters::HEADER_MUTATION, configuration)
            }
            HttpFilterConfig::Cors(config) => {
                ("cors", filters::CORS, config_json::to_string(config))
            }
            HttpFilterConfig::Csrf(config) => {
                ("csrf", filters::CSRF, config_json::to_string(config))
            }
            HttpFilterConfig::GrpcWeb(config) => (
                "grpc_web",
                filters::GRPC_WEB,
                config_json::to_string(config),
            ),
            HttpFilterConfig::GrpcHttp1Bridge(config) => (
                "grpc_http1_bridge",
                filters::GRPC_HTTP1_BRIDGE,
                config_json::to_string(config),
            ),
            HttpFilterConfig::Buffer(config) => {
                ("buffer", filters::BUFFER, config_json::to_string(config))
            }
            HttpFilterConfig::Fault(config) => {
                ("fault", filters::FAULT, config_json::to_string(config))
            }
            HttpFilterConfig::HeaderToMetadata(config) => (
                "header_to_metadata",
                filters::HEADER_TO_METADATA,
                config_json::to_string(config),
            ),
            HttpFilterConfig::StatefulSession(config) => (
                "stateful_session",
                filters::STATEFUL_SESSION,
                config_json::to_string(config),
            ),
            HttpFilterConfig::GrpcStats(config) => (
                "grpc_stats",
                filters::GRPC_STATS,
                config_json::to_string(config),
            ),
            HttpFilterConfig::HealthCheck(config) => {
                self.warn_unasked_clusters(config, place);
                (
                    "health_check",
                    filters::HEALTH_CHECK,
                    config_json::to_string(config),
                )
            }
            // It is in no chain.
            HttpFilterConfig::PassedOver(_) => return None,
            HttpFilterConfig::Wasm(config) => {
                return self.user(&written.name, config, stat_prefix, place);
            }
        };
        let component = self.embedded(name, bytes, place)?;
        let mut spec = SlotSpec::new(&*written.name, configuration);
        spec.stat_prefix = statistics_of(stat_prefix);
        spec.limits = Limits::BUILT_IN;
        self.slot(&component, spec, place)
    }

    /// Operators of a format, as it is written, that no stream has a value for.
    pub(super) fn warn_without_value(&mut self, written: &str, instead: &str, place: Place<'_>) {
        for name in Format::without_value(written) {
            let message = format!("'%{name}%' has no value here: {instead}");
            self.diagnostics.warning(place, message);
        }
    }

    /// Statistics that are there although they are switched off.
    fn check_router(&mut self, written: &Router, place: Place<'_>) {
        let message = "no effect: responses are counted by their status in any case";
        for (field, is_set) in [
            ("dynamic_stats", written.dynamic_stats == Some(false)),
            (
                "suppress_grpc_request_failure_code_stats",
                written.suppress_grpc_request_failure_code_stats,
            ),
        ] {
            if is_set {
                self.diagnostics.warning(place.field(field), message);
            }
        }
    }

    /// Clusters are not asked where the upstream is.
    fn warn_unasked_clusters(&mut self, written: &HttpHealthFilter, place: Place<'_>) {
        let place = place.field("cluster_min_healthy_percentages");
        if written.pass_through_mode && !written.cluster_min_healthy_percentages.is_empty() {
            let message = "this has no effect: with 'pass_through_mode' the upstream answers";
            self.diagnostics.warning(place, message);
        }
        for name in written.cluster_min_healthy_percentages.keys() {
            if !self.clusters.contains_key(name) {
                let message = format!(
                    "there is no cluster \"{name}\": each health check is answered with 503"
                );
                self.diagnostics.warning(place.key(name), message);
            }
        }
    }

    /// What of a rate limit is not there, and what is surely not meant: Envoy's default for both
    /// fractions is 0 %, which limits nothing and says nothing.
    pub(super) fn check_limit(&mut self, written: &LocalRateLimit, place: Place<'_>) {
        if written.local_rate_limit_per_downstream_connection {
            let field = "local_rate_limit_per_downstream_connection";
            let message = format!("not supported by nuncio: field '{field}' with true");
            self.diagnostics.error(place.field(field), message);
        }
        if written.token_bucket.is_none() {
            return;
        }
        let may_change = |fraction: &RuntimeFractionalPercent| {
            !fraction.runtime_key.is_empty() && self.values.has_layers()
        };
        for (field, fraction) in [
            ("filter_enabled", &written.filter_enabled),
            ("filter_enforced", &written.filter_enforced),
        ] {
            if fraction.as_ref().is_none_or(|fraction| {
                fraction.default_value.numerator == 0 && !may_change(fraction)
            }) {
                let message = format!("this rate limit does nothing: '{field}' is 0 %");
                self.diagnostics
                    .warning(place.field(field), message)
                    .hint(format!(
                        "{field}: {{ default_value: {{ numerator: 100, denominator: HUNDRED }} }}"
                    ));
            }
        }
    }

    /// A user's filter.
    fn user(
        &mut self,
        name: &str,
        written: &Wasm,
        stat_prefix: &str,
        place: Place<'_>,
    ) -> Option<SlotBuilder> {
        let file = written.component.filename();
        let here = place.field("component").field("filename");
        let component = match self.components.get(file) {
            Some(component) => component.clone(),
            None => match Component::from_file(&self.engine, Path::new(file)) {
                Ok(component) => {
                    self.components.insert(file.to_owned(), component.clone());
                    component
                }
                Err(error) => {
                    self.diagnostics.error(here, chain(&error));
                    return None;
                }
            },
        };
        let configuration = written
            .configuration
            .as_ref()
            .map(|raw| raw.get().to_string());
        let mut spec = SlotSpec::new(name, configuration.unwrap_or_else(|| "null".to_owned()));
        spec.stat_prefix = statistics_of(stat_prefix);
        spec.failure_policy = match written.failure_policy {
            FailurePolicy::FailClosed => wasm::FailurePolicy::FailClosed,
            FailurePolicy::FailOpen => wasm::FailurePolicy::FailOpen,
        };
        spec.isolation = match written.isolation {
            Isolation::Shared => wasm::Isolation::Shared,
            Isolation::Exclusive => wasm::Isolation::Exclusive,
            Isolation::Fresh => wasm::Isolation::Fresh,
        };
        if let Some(memory) = written.limits.memory {
            spec.limits.memory = usize::try_from(memory.get()).unwrap_or(usize::MAX);
        }
        if let Some(time) = written.limits.cpu_per_call {
            spec.limits.cpu_per_call = time.get();
        }
        self.slot(&component, spec, place)
    }

    /// A component that is part of the program.
    fn embedded(
        &mut self,
        name: &'static str,
        bytes: &'static [u8],
        place: Place<'_>,
    ) -> Option<Component> {
        if let Some(component) = self.components.get(name) {
            return Some(component.clone());
        }
        match Component::from_bytes(&self.engine, name, bytes) {
            Ok(component) => {
                self.components.insert(name.to_owned(), component.clone());
                Some(component)
            }
            Err(error) => {
                self.diagnostics.error(place, chain(&error));
                None
            }
        }
    }

    fn slot(
        &mut self,
        component: &Component,
        spec: SlotSpec,
        place: Place<'_>,
    ) -> Option<SlotBuilder> {
        match FilterSlot::start(&self.engine, component, spec, &self.services) {
            Ok(slot) => Some(slot),
            Err(error) => {
                self.diagnostics.error(place, chain(&error));
                None
            }
        }
    }

    /// The access logs of a connection manager, each a filter that wants the log phase alone.
    pub(super) fn access_logs(
        &mut self,
        written: &[AccessLog],
        place: Place<'_>,
    ) -> Arc<[FilterSlot]> {
        let logs = written.iter().enumerate();
        logs.filter_map(|(index, log)| self.access_log(log, place.index(index)))
            .collect()
    }

    /// Puts the text of a `text_format_source` in its place: a filter cannot read files. Whether the format
    /// is one: the filter would say so too, but could not point at it.
    fn resolve_format(
        &mut self,
        written: &AccessLog,
        configuration: &mut Value,
        place: Place<'_>,
    ) -> bool {
        let format = match &written.typed_config {
            AccessLogConfig::File(file) => match &file.format {
                None => None,
                Some(FileAccessLogFormat::Format(text)) => {
                    return self.compiles(Format::text(text, false), place.field("format"));
                }
                Some(FileAccessLogFormat::JsonFormat(object)) => {
                    let format = Format::json(object.get(), false);
                    return self.compiles(format, place.field("json_format"));
                }
                Some(FileAccessLogFormat::TypedJsonFormat(object)) => {
                    let format = Format::json(object.get(), false);
                    return self.compiles(format, place.field("typed_json_format"));
                }
                Some(FileAccessLogFormat::LogFormat(format)) => Some(format),
            },
            AccessLogConfig::Stdout(out) => out.log_format.as_ref(),
            AccessLogConfig::Stderr(out) => out.log_format.as_ref(),
        };
        let Some(format) = format else { return true };
        if let Some(Value::Object(written)) = configuration.pointer_mut("/log_format") {
            // Of a body it would be the type; a line has none.
            written.remove("content_type");
        }
        let (place, omit) = (place.field("log_format"), format.omit_empty_values);
        match &format.format {
            SubstitutionFormat::TextFormat(text) => {
                self.compiles(Format::text(text, omit), place.field("text_format"))
            }
            SubstitutionFormat::JsonFormat(object) => {
                let format = Format::json(object.get(), omit);
                self.compiles(format, place.field("json_format"))
            }
            SubstitutionFormat::TextFormatSource(source) => {
                let place = place.field("text_format_source");
                let Some(text) = self.data(source, place) else {
                    return false;
                };
                let text = String::from_utf8_lossy(&text);
                if let Some(target) = configuration.pointer_mut("/log_format/text_format_source") {
                    *target = json!({ "inline_string": text });
                }
                self.compiles(Format::text(&text, omit), text_of(source, place))
            }
        }
    }

    fn compiles(&mut self, format: Result<Format, FormatError>, place: Place<'_>) -> bool {
        let built = format.map_err(|error| self.diagnostics.error(place, chain(&error)));
        built.is_ok()
    }

    fn access_log(&mut self, written: &AccessLog, place: Place<'_>) -> Option<FilterSlot> {
        let place = place.field("typed_config");
        let target = match &written.typed_config {
            AccessLogConfig::File(file) => Target::File(file.path.clone().into()),
            AccessLogConfig::Stdout(_) => Target::Stdout,
            AccessLogConfig::Stderr(_) => Target::Stderr,
        };
        // With its "@type", which tells the filter which of the three it is.
        let mut whole = config_json::to_value(written);
        let mut configuration = whole
            .get_mut("typed_config")
            .map(Value::take)
            .unwrap_or_default();
        if !self.resolve_format(written, &mut configuration, place) {
            return None;
        }
        let configuration = configuration.to_string();
        self.warn_without_value(&configuration, "each entry has '-' in its place", place);
        let component = self.embedded("access_log", filters::ACCESS_LOG, place)?;
        let mut spec = SlotSpec::new(&*written.name, configuration);
        spec.limits = Limits::BUILT_IN;
        spec.grants = Grants {
            log_sinks: vec![target],
        };
        self.slot(&component, spec, place).map(SlotBuilder::finish)
    }
}

/// What the statistics of a connection manager's filters begin with.
fn statistics_of(stat_prefix: &str) -> String {
    format!("http.{}.", stat_prefix.replace(':', "_"))
}
