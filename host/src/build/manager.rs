//! What a connection manager does to heads, and how it answers itself.
//!
//! Owns the way from the connection manager's options to the rules of `http`: hygiene, the codecs,
//! access-log filters and local replies, with the checks that need more than one field. Called by
//! `listeners`.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::filters::EMPTY;
use super::http2::NO_METADATA;
use super::routes::text_of;
use super::{Workshop, chain};
use crate::config::Place;
use crate::config::access_log::{AccessLog, SubstitutionFormat, SubstitutionFormatString};
use crate::config::address::CidrRange;
use crate::config::client_address::{OriginalIpDetection, OriginalIpDetectionConfig};
use crate::config::http_connection_manager::{
    ForwardProtoConfig, HttpConnectionManager, PathNormalizationOptions,
    PathWithEscapedSlashesAction, RequestIdConfig, SchemeTransformation, StripPortMode,
};
use crate::config::local_reply::{LocalReplyConfig, ResponseMapper};
use crate::config::log_filter::{
    AccessLogFilter, ComparisonFilter, ComparisonOp, FilterSpecifier, GrpcStatusFilter,
    HeaderFilter, LogTypeFilter, ResponseFlagFilter, RuntimeFilter,
};
use crate::config::protocol::{
    FormatterTypeOnEnvoyHeaders, HeaderFormat, HeaderKeyFormat, HeadersWithUnderscoresAction,
    Http1ProtocolOptions, HttpProtocolOptions, StatefulFormatterConfig,
};
use crate::exchange::Flags;
use crate::h1::{HeadLimits, RequestRules, Underscores};
use crate::headers::{Name, NameCase, NameFormat};
use crate::http::client_address::{ClientAddress, Detection};
use crate::http::hygiene::{HostPort, HygieneRules, ToldPorts, UserAgent};
use crate::http::path::{EscapedSlashes, PathRules};
use crate::http::reply::{LocalReplies, Mapper};
use crate::limits;
use crate::log_filter::{Comparison, LogFilter, Operator, Share};
use crate::nearest::nearest;
use crate::observe::format::{BodyFormat, Format};
use crate::route::{self, HeaderCondition, MetadataCondition, ResponseChanges};
use crate::runtime::Cidr;
use crate::values::{Entry, Fraction, Integer, Share as Portion, Values};

mod client_cert;
mod options;

pub(super) use options::early_logs;

/// Envoy's status for a request whose client's address is demanded and not told.
const NO_ADDRESS_STATUS: u16 = 403;
/// Who is internal where there is an `internal_address_config` without ranges, as in Envoy: RFC 1918,
/// the half of RFC 4193 that is in use, and loopback.
const PRIVATE: [Cidr; 6] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([127, 0, 0, 1], 32),
    Cidr {
        address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)),
        prefix: 8,
    },
    Cidr {
        address: IpAddr::V6(Ipv6Addr::LOCALHOST),
        prefix: 128,
    },
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Cidr {
    Cidr {
        address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        prefix,
    }
}

impl Workshop<'_> {
    /// What is done to the heads of requests.
    pub(super) fn hygiene(
        &mut self,
        written: &HttpConnectionManager,
        place: Place<'_>,
    ) -> HygieneRules {
        self.warn_of_nothing(written, place);
        let client = self.client_address(written, place);
        let internal = written.internal_address_config.as_ref();
        let internal_unix_sockets = internal.is_some_and(|config| config.unix_sockets);
        let internal_ranges = internal.map_or_else(Box::default, |config| {
            let place = place.field("internal_address_config").field("cidr_ranges");
            let ranges = self.ranges(&config.cidr_ranges, place);
            if config.cidr_ranges.is_empty() {
                PRIVATE.into()
            } else {
                ranges
            }
        });
        let user_agent = written.add_user_agent.unwrap_or(false).then(|| UserAgent {
            cluster: self.node.cluster.as_bytes().into(),
            node: self.node.id.as_bytes().into(),
        });
        HygieneRules {
            client,
            internal_ranges,
            internal_unix_sockets,
            machine_address: self.machine_address,
            forwarded_port: written.append_x_forwarded_port,
            path: path_rules(written, &self.values),
            host_port: self.host_port(written, place),
            strip_host_dot: written.strip_trailing_host_dot,
            scheme: self.scheme(written, place),
            client_cert: client_cert::told(
                written.forward_client_cert_details,
                written.set_current_client_cert_details.as_ref(),
            ),
            client_cert_by: self.client_cert_by(written, place),
            user_agent,
            generate_request_id: written.generate_request_id.unwrap_or(true),
            preserve_external_request_id: written.preserve_external_request_id,
            early: self.early_changes(written, place),
            ignored_upgrades: self.ignored_upgrades(written, place),
            told_ports: written.forward_proto_config.as_ref().map(told_ports),
            pack_trace_reason: written.request_id_extension.as_ref().is_none_or(|written| {
                written.typed_config.as_ref().is_none_or(|typed| {
                    let RequestIdConfig::Uuid(uuid) = typed;
                    uuid.pack_trace_reason.unwrap_or(true)
                })
            }),
        }
    }

    fn client_address(
        &mut self,
        written: &HttpConnectionManager,
        place: Place<'_>,
    ) -> ClientAddress {
        const FIELD: &str = "original_ip_detection_extensions";
        let extensions = &written.original_ip_detection_extensions;
        let edge = written.use_remote_address.unwrap_or(false);
        for (field, is_set) in [
            ("use_remote_address", edge),
            ("xff_num_trusted_hops", written.xff_num_trusted_hops > 0),
        ] {
            if is_set && !extensions.is_empty() {
                let message = format!("'{FIELD}' and '{field}' exclude each other");
                self.diagnostics
                    .error(place.field(FIELD), message)
                    .related_place(place.field(field), "set here");
            }
        }
        if edge {
            return ClientAddress::Edge {
                trusted_hops: written.xff_num_trusted_hops,
                skip_append: written.skip_xff_append,
            };
        }
        if extensions.is_empty() {
            let hops = Detection::Hops {
                trusted: written.xff_num_trusted_hops,
                skip_append: true,
            };
            return ClientAddress::Told([hops].into());
        }
        let place = place.field(FIELD);
        let extensions = extensions.iter().enumerate();
        let detections = extensions.filter_map(|(index, extension)| {
            self.detection(extension, place.index(index).field("typed_config"))
        });
        ClientAddress::Told(detections.collect())
    }

    fn detection(&mut self, written: &OriginalIpDetection, place: Place<'_>) -> Option<Detection> {
        match &written.typed_config {
            OriginalIpDetectionConfig::Xff(xff) => {
                let skip_append = xff.skip_xff_append.unwrap_or(true);
                let Some(cidrs) = &xff.xff_trusted_cidrs else {
                    return Some(Detection::Hops {
                        trusted: xff.xff_num_trusted_hops,
                        skip_append,
                    });
                };
                let here = place.field("xff_trusted_cidrs");
                if xff.xff_num_trusted_hops > 0 {
                    let message =
                        "'xff_trusted_cidrs' and 'xff_num_trusted_hops' exclude each other";
                    self.diagnostics.error(here, message);
                }
                Some(Detection::Proxies {
                    trusted: self.ranges(&cidrs.cidrs, here.field("cidrs")),
                    skip_append,
                })
            }
            OriginalIpDetectionConfig::CustomHeader(header) => {
                let name = match Name::parse(header.header_name.as_bytes()) {
                    Ok(name) => name,
                    Err(error) => {
                        self.diagnostics
                            .error(place.field("header_name"), chain(&error));
                        return None;
                    }
                };
                Some(Detection::Header {
                    name,
                    may_be_internal: header.allow_extension_to_set_address_as_trusted,
                    reject: header.reject_with_status.map(|status| {
                        let code = status.code.get();
                        if (400..=511).contains(&code) {
                            code
                        } else {
                            NO_ADDRESS_STATUS
                        }
                    }),
                })
            }
        }
    }

    fn host_port(&mut self, written: &HttpConnectionManager, place: Place<'_>) -> HostPort {
        let any = matches!(
            written.strip_port_mode,
            Some(StripPortMode::StripAnyHostPort(true))
        );
        match (any, written.strip_matching_host_port) {
            (true, true) => {
                let message =
                    "'strip_any_host_port' and 'strip_matching_host_port' exclude each other";
                self.diagnostics
                    .error(place.field("strip_any_host_port"), message)
                    .related_place(place.field("strip_matching_host_port"), "set here");
                HostPort::StripAny
            }
            (true, false) => HostPort::StripAny,
            (false, true) => HostPort::StripMatching,
            (false, false) => HostPort::Keep,
        }
    }

    /// What has no effect where one is to be expected.
    fn warn_of_nothing(&mut self, written: &HttpConnectionManager, place: Place<'_>) {
        let http2 = written.http2_protocol_options.as_ref();
        if http2.is_some_and(|options| options.allow_metadata) {
            let place = place.field("http2_protocol_options");
            self.diagnostics
                .warning(place.field("allow_metadata"), NO_METADATA);
        }
        let paths = written.path_normalization_options.as_ref();
        if paths.is_some_and(|options| *options != PathNormalizationOptions::default()) {
            let message =
                "no effect: Envoy takes it and leaves paths as they are, and so does nuncio";
            self.diagnostics
                .warning(place.field("path_normalization_options"), message)
                .hint("write 'normalize_path' and 'merge_slashes'");
        }
    }

    fn scheme(
        &mut self,
        written: &HttpConnectionManager,
        place: Place<'_>,
    ) -> Option<&'static [u8]> {
        let transformation = written.scheme_header_transformation.as_ref()?;
        let SchemeTransformation::SchemeToOverwrite(scheme) =
            transformation.transformation.as_ref()?;
        match scheme.as_str() {
            "http" => Some(b"http"),
            "https" => Some(b"https"),
            other => {
                let place = place
                    .field("scheme_header_transformation")
                    .field("scheme_to_overwrite");
                self.diagnostics
                    .error(place, format!("'{other}' is neither 'http' nor 'https'"));
                None
            }
        }
    }

    fn ranges(&mut self, written: &[CidrRange], place: Place<'_>) -> Box<[Cidr]> {
        let ranges = written.iter().enumerate();
        ranges
            .filter_map(|(index, range)| self.range(range, place.index(index)))
            .collect()
    }

    /// Filters of access logs by the index of the log; nothing where none has one.
    pub(super) fn log_filters(
        &mut self,
        written: &[AccessLog],
        place: Place<'_>,
    ) -> Box<[Option<LogFilter>]> {
        if written.iter().all(|log| log.filter.is_none()) {
            return Box::default();
        }
        let logs = written.iter().enumerate();
        logs.map(|(index, log)| {
            let filter = log.filter.as_ref()?;
            self.log_filter(filter, place.index(index).field("filter"))
        })
        .collect()
    }

    fn log_filter(&mut self, written: &AccessLogFilter, place: Place<'_>) -> Option<LogFilter> {
        Some(match &written.specifier {
            FilterSpecifier::StatusCodeFilter(status) => {
                LogFilter::Status(comparison(&status.comparison, &self.values))
            }
            FilterSpecifier::DurationFilter(duration) => {
                LogFilter::Duration(comparison(&duration.comparison, &self.values))
            }
            FilterSpecifier::NotHealthCheckFilter(_) => LogFilter::NotHealthCheck,
            FilterSpecifier::TraceableFilter(_) => {
                let message = "nothing is traced, so this filter never matches";
                self.diagnostics
                    .warning(place.field("traceable_filter"), message);
                LogFilter::Traceable
            }
            FilterSpecifier::RuntimeFilter(filter) => LogFilter::Share(share(filter, &self.values)),
            FilterSpecifier::AndFilter(and) => {
                let place = place.field("and_filter").field("filters");
                LogFilter::All(self.log_filter_list(&and.filters, place))
            }
            FilterSpecifier::OrFilter(or) => {
                let place = place.field("or_filter").field("filters");
                LogFilter::Any(self.log_filter_list(&or.filters, place))
            }
            FilterSpecifier::HeaderFilter(filter) => {
                let place = place.field("header_filter").field("header");
                LogFilter::Header(self.header_condition(filter, place)?)
            }
            FilterSpecifier::ResponseFlagFilter(filter) => {
                let place = place.field("response_flag_filter").field("flags");
                LogFilter::Flags(self.flags(filter, place))
            }
            FilterSpecifier::GrpcStatusFilter(GrpcStatusFilter { statuses, exclude }) => {
                LogFilter::GrpcStatus {
                    statuses: statuses.iter().map(|status| *status as u32).collect(),
                    exclude: *exclude,
                }
            }
            FilterSpecifier::MetadataFilter(filter) => {
                let missing = filter.match_if_key_not_found.unwrap_or(true);
                let Some(matcher) = &filter.matcher else {
                    return Some(LogFilter::Always(missing));
                };
                let place = place.field("metadata_filter").field("matcher");
                let mut spec = super::matching::metadata(matcher);
                if std::mem::take(&mut spec.invert) {
                    let message =
                        "Envoy ignores this in a filter of access logs, and so does nuncio";
                    self.diagnostics.warning(place.field("invert"), message);
                }
                LogFilter::Metadata {
                    condition: self.of_routes(MetadataCondition::new(&spec), place)?,
                    missing,
                }
            }
            FilterSpecifier::LogTypeFilter(LogTypeFilter { types, exclude }) => LogFilter::Type {
                types: types.iter().map(|kind| *kind as u8).collect(),
                exclude: *exclude,
            },
        })
    }

    fn log_filter_list(
        &mut self,
        written: &[AccessLogFilter],
        place: Place<'_>,
    ) -> Box<[LogFilter]> {
        let filters = written.iter().enumerate();
        filters
            .filter_map(|(index, filter)| self.log_filter(filter, place.index(index)))
            .collect()
    }

    fn header_condition(
        &mut self,
        written: &HeaderFilter,
        place: Place<'_>,
    ) -> Option<HeaderCondition> {
        let built = HeaderCondition::new(&super::matching::header(&written.header));
        self.of_routes(built, place)
    }

    fn flags(&mut self, written: &ResponseFlagFilter, place: Place<'_>) -> Box<[Flags]> {
        let names = || Flags::ALL.iter().map(|(_, short, _)| *short);
        let mut flags = Vec::with_capacity(written.flags.len());
        for (index, name) in written.flags.iter().enumerate() {
            match Flags::ALL.iter().find(|(_, short, _)| *short == name) {
                Some((flag, ..)) => flags.push(*flag),
                None => {
                    let message = format!("'{name}' is not a response flag");
                    let error = self.diagnostics.error(place.index(index), message);
                    if let Some(near) = nearest(name, names()) {
                        error.hint(format!("did you mean '{near}'?"));
                    }
                }
            }
        }
        flags.into()
    }

    /// How local replies look.
    pub(super) fn local_replies(
        &mut self,
        written: &LocalReplyConfig,
        place: Place<'_>,
    ) -> LocalReplies {
        let format = written
            .body_format
            .as_ref()
            .and_then(|format| self.body_format(format, place.field("body_format")));
        let place = place.field("mappers");
        let mappers = written.mappers.iter().enumerate();
        let mappers = mappers.filter_map(|(index, mapper)| self.mapper(mapper, place.index(index)));
        LocalReplies {
            mappers: mappers.collect(),
            format,
        }
    }

    fn mapper(&mut self, written: &ResponseMapper, place: Place<'_>) -> Option<Mapper> {
        let filter = self.log_filter(&written.filter, place.field("filter"));
        let body = written
            .body
            .as_ref()
            .map(|body| self.data(body, place.field("body")));
        let format = written
            .body_format_override
            .as_ref()
            .map(|format| self.body_format(format, place.field("body_format_override")));
        let added = self.adds(&written.headers_to_add, place.field("headers_to_add"));
        let headers = self.of_routes(ResponseChanges::new(added), place);
        Some(Mapper {
            filter: filter?,
            status: written
                .status_code
                .and_then(|status| u16::try_from(status).ok()),
            body: body.flatten(),
            format: format.flatten(),
            headers: headers?,
        })
    }

    /// The format of a body.
    pub(super) fn body_format(
        &mut self,
        written: &SubstitutionFormatString,
        place: Place<'_>,
    ) -> Option<BodyFormat> {
        let omit = written.omit_empty_values;
        let instead = if omit { EMPTY } else { "'-' is in its place" };
        let (built, place, default) = match &written.format {
            SubstitutionFormat::TextFormat(text) => {
                let place = place.field("text_format");
                self.warn_without_value(text, instead, place);
                (Format::text(text, omit), place, "text/plain")
            }
            SubstitutionFormat::JsonFormat(object) => {
                let place = place.field("json_format");
                let text = object.get().to_string();
                self.warn_without_value(&text, "no member gets one from it", place);
                (Format::json(object.get(), omit), place, "application/json")
            }
            SubstitutionFormat::TextFormatSource(source) => {
                let place = place.field("text_format_source");
                let text = self.data(source, place)?;
                let text = String::from_utf8_lossy(&text);
                self.warn_without_value(&text, instead, place);
                (
                    Format::text(&text, omit),
                    text_of(source, place),
                    "text/plain",
                )
            }
        };
        let content_type = if written.content_type.is_empty() {
            Cow::Borrowed(default.as_bytes())
        } else {
            Cow::Owned(written.content_type.clone().into_bytes())
        };
        match built {
            Ok(format) => Some(BodyFormat {
                format,
                content_type,
            }),
            Err(error) => {
                self.diagnostics.error(place, chain(&error));
                None
            }
        }
    }

    /// What a part of `route` was built to, or its errors at their places.
    pub(super) fn of_routes<T>(
        &mut self,
        built: Result<T, route::Errors>,
        place: Place<'_>,
    ) -> Option<T> {
        let errors = match built {
            Ok(built) => return Some(built),
            Err(errors) => errors,
        };
        for error in &errors {
            let steps = error.path.steps().iter();
            let place = steps.fold(place, |place, step| match step {
                route::Step::Field(name) => place.field(name),
                route::Step::Index(index) => place.index(*index),
            });
            self.diagnostics.error(place, chain(&error.problem));
        }
        None
    }
}

fn told_ports(written: &ForwardProtoConfig) -> Box<ToldPorts> {
    // No address has a port above the range.
    let ports = |written: &[u32]| {
        let ports = written.iter();
        ports.filter_map(|port| u16::try_from(*port).ok()).collect()
    };
    Box::new(ToldPorts {
        https: ports(&written.https_destination_ports),
        http: ports(&written.http_destination_ports),
    })
}

/// Runtime values harden what the configuration leaves open; they are read once, as in Envoy. A share of
/// requests that are to be normalised is all of them: which ones was left to chance at the start.
fn path_rules(written: &HttpConnectionManager, values: &Values) -> PathRules {
    let runtime = |key: &str| values.named(&format!("http_connection_manager.{key}"));
    let share = |key: &str| runtime(key).and_then(Entry::share);
    let is_off = |share: Portion| share.numerator() == 0;
    let action = match written.path_with_escaped_slashes_action {
        _ if share("path_with_escaped_slashes_action_enabled").is_some_and(is_off) => {
            EscapedSlashes::Keep
        }
        PathWithEscapedSlashesAction::ImplementationSpecificDefault => {
            match runtime("path_with_escaped_slashes_action").and_then(Entry::integer) {
                Some(2) => EscapedSlashes::Reject,
                Some(3) => EscapedSlashes::Redirect,
                Some(4) => EscapedSlashes::Forward,
                _ => EscapedSlashes::Keep,
            }
        }
        PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
        PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::Redirect,
        PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::Forward,
    };
    PathRules {
        normalize: written
            .normalize_path
            .unwrap_or_else(|| share("normalize_path").is_some_and(|share| !is_off(share))),
        merge_slashes: written.merge_slashes,
        escaped_slashes: action,
    }
}

fn comparison(written: &ComparisonFilter, values: &Arc<Values>) -> Comparison {
    let value = &written.value;
    let with = Integer::new(value.default_value.into(), values, &value.runtime_key);
    let operator = match written.op {
        ComparisonOp::Eq => Operator::Equal,
        ComparisonOp::Ge => Operator::AtLeast,
        ComparisonOp::Le => Operator::AtMost,
        ComparisonOp::Ne => Operator::Different,
    };
    Comparison { operator, with }
}

fn share(written: &RuntimeFilter, values: &Arc<Values>) -> Share {
    let percent = written.percent_sampled.unwrap_or_default();
    let portion = Portion::of(percent.numerator, percent.denominator.get());
    Share {
        fraction: Fraction::of_numerator(portion, values, &written.runtime_key),
        independent: written.use_independent_randomness,
    }
}

/// Which requests the codecs take.
pub(super) fn request_rules(
    written: &HttpConnectionManager,
    common: &HttpProtocolOptions,
    http1: &Http1ProtocolOptions,
) -> RequestRules {
    let kib = written
        .max_request_headers_kb
        .unwrap_or(limits::REQUEST_HEADERS_KB);
    RequestRules {
        limits: HeadLimits {
            bytes: kib.saturating_mul(1024),
            fields: common.max_headers_count.unwrap_or(limits::HEADERS_COUNT),
        },
        underscores: match common.headers_with_underscores_action {
            HeadersWithUnderscoresAction::Allow => Underscores::Allow,
            HeadersWithUnderscoresAction::RejectRequest => Underscores::Reject,
            HeadersWithUnderscoresAction::DropHeader => Underscores::Drop,
        },
        accept_http_10: http1.accept_http_10,
        default_host_for_http_10: http1.default_host_for_http_10.as_bytes().into(),
        allow_absolute_url: http1.allow_absolute_url.unwrap_or(true),
        allow_chunked_length: http1.allow_chunked_length,
        names: name_format(http1.header_key_format.as_ref()),
        allow_custom_methods: http1.allow_custom_methods,
    }
}

/// How the names of a side are spelled.
pub(super) fn name_format(written: Option<&HeaderKeyFormat>) -> NameFormat {
    match written.map(|written| &written.format) {
        None => NameFormat::default(),
        Some(HeaderFormat::ProperCaseWords(_)) => NameFormat::Case(NameCase::Proper),
        Some(HeaderFormat::StatefulFormatter(formatter)) => {
            let StatefulFormatterConfig::PreserveCase(config) = &formatter.typed_config;
            let others = match config.formatter_type_on_envoy_headers {
                FormatterTypeOnEnvoyHeaders::Default => NameCase::Lower,
                FormatterTypeOnEnvoyHeaders::ProperCase => NameCase::Proper,
            };
            if config.forward_reason_phrase {
                NameFormat::KeptWithReason(others)
            } else {
                NameFormat::Kept(others)
            }
        }
    }
}
