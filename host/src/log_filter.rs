//! Which streams an access log has an entry for, and which local replies a mapper changes.
//!
//! Owns Envoy's access-log filters as one pure function of an exchange: it is asked before the hook
//! of a log is called, so that an entry nobody wants costs no call. Called by `http` and `worker`.
//! Does not own what is logged (`wasm`) or replied (`http`).

use std::time::Instant;

use crate::clock;
use crate::exchange::{Exchange, Flags, grpc_status_of};
use crate::headers::Known;
use crate::route::{HeaderCondition, MetadataCondition};
use crate::values::{Fraction, Integer};

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `EQ`.
    Equal,
    /// `GE`.
    AtLeast,
    /// `LE`.
    AtMost,
    /// `NE`.
    Different,
}

/// What a number is compared with (`ComparisonFilter`).
#[derive(Clone, Debug)]
pub struct Comparison {
    /// `op`.
    pub operator: Operator,
    /// `value`, which a runtime value may override.
    pub with: Integer,
}

impl Comparison {
    /// Whether `number` passes.
    #[must_use]
    pub fn holds(&self, number: u64) -> bool {
        let with = self.with.get();
        match self.operator {
            Operator::Equal => number == with,
            Operator::AtLeast => number >= with,
            Operator::AtMost => number <= with,
            Operator::Different => number != with,
        }
    }
}

/// A share of all streams (`RuntimeFilter`).
#[derive(Clone, Debug)]
pub struct Share {
    /// `percent_sampled`, which a runtime value may override.
    pub fraction: Fraction,
    /// `use_independent_randomness`: chance decides, not the request's identifier.
    pub independent: bool,
}

/// An access-log filter.
#[derive(Clone, Debug)]
pub enum LogFilter {
    /// `status_code_filter`; 0 is no response.
    Status(Comparison),
    /// `duration_filter`, in milliseconds.
    Duration(Comparison),
    /// `not_health_check_filter`.
    NotHealthCheck,
    /// `traceable_filter`: nothing is traced.
    Traceable,
    /// `runtime_filter`.
    Share(Share),
    /// `and_filter`.
    All(Box<[Self]>),
    /// `or_filter`.
    Any(Box<[Self]>),
    /// `header_filter`.
    Header(HeaderCondition),
    /// `response_flag_filter`: one of these is set. None of them means any.
    Flags(Box<[Flags]>),
    /// `grpc_status_filter`.
    GrpcStatus {
        /// The statuses.
        statuses: Box<[u32]>,
        /// Whether it must be none of them.
        exclude: bool,
    },
    /// `metadata_filter`.
    Metadata {
        /// What the value must be.
        condition: MetadataCondition,
        /// Whether a stream without one passes.
        missing: bool,
    },
    /// `metadata_filter` without a matcher: all streams pass, or none.
    Always(bool),
    /// `log_type_filter`.
    Type {
        /// The numbers of the types.
        types: Box<[u8]>,
        /// Whether it must be none of them.
        exclude: bool,
    },
}

impl LogFilter {
    /// Whether the exchange passes. `random` is asked at most once for each share.
    #[must_use]
    pub fn matches(&self, exchange: &Exchange, random: &mut dyn FnMut() -> u64) -> bool {
        match self {
            Self::Status(comparison) => comparison.holds(u64::from(exchange.status)),
            Self::Duration(comparison) => comparison.holds(lasted_ms(exchange, clock::now)),
            Self::NotHealthCheck => !exchange.is_health_check,
            Self::Traceable => false,
            Self::Share(share) => share.takes(exchange, random),
            Self::All(filters) => filters
                .iter()
                .all(|filter| filter.matches(exchange, random)),
            Self::Any(filters) => filters
                .iter()
                .any(|filter| filter.matches(exchange, random)),
            Self::Header(condition) => condition.matches(&exchange.request),
            Self::Flags(flags) if flags.is_empty() => !exchange.flags.is_empty(),
            Self::Flags(flags) => flags.iter().any(|flag| exchange.flags.contains(*flag)),
            Self::GrpcStatus { statuses, exclude } => {
                statuses.contains(&grpc_status(exchange)) != *exclude
            }
            Self::Metadata { condition, missing } => {
                condition.matches(&exchange.metadata).unwrap_or(*missing)
            }
            Self::Always(passes) => *passes,
            Self::Type { types, exclude } => {
                types.contains(&exchange.log_type.number()) != *exclude
            }
        }
    }
}

/// How long the stream has lasted.
fn lasted_ms(exchange: &Exchange, now: impl FnOnce() -> Instant) -> u64 {
    let end = exchange.timing.ended.unwrap_or_else(now);
    let lasted = end.saturating_duration_since(exchange.timing.started);
    u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX)
}

impl Share {
    fn takes(&self, exchange: &Exchange, random: &mut dyn FnMut() -> u64) -> bool {
        let number = if self.independent {
            None
        } else {
            exchange
                .request
                .known(Known::XRequestId)
                .and_then(leading_number)
        };
        let number = number.unwrap_or_else(random);
        self.fraction.holds(number)
    }
}

/// The number in the first eight digits of a UUID: the same at each proxy that a request passes.
fn leading_number(id: &[u8]) -> Option<u64> {
    // Envoy takes nothing for an identifier that is not as long as one.
    if id.len() != 36 {
        return None;
    }
    let digits = std::str::from_utf8(id.get(..8)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// The gRPC status of the response, or what its HTTP status stands for; 2 (`UNKNOWN`) for none.
fn grpc_status(exchange: &Exchange) -> u32 {
    const UNKNOWN: u32 = 2;
    let carried = [&exchange.response_trailers, &exchange.response]
        .into_iter()
        .find_map(|block| block.known(Known::GrpcStatus));
    match carried {
        Some(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(u32::MAX),
        None if exchange.status == 0 => UNKNOWN,
        None => grpc_status_of(exchange.status),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::values::Share as Portion;

    fn compared(operator: Operator, with: u64) -> Comparison {
        Comparison {
            operator,
            with: Integer::fixed(with),
        }
    }
    use crate::exchange::{Connection, LogType, Protocol, Timing};
    use crate::route::spec::{HeaderMatchSpec, HeaderTestSpec, MetadataMatchSpec, ValueMatchSpec};

    fn exchange() -> Exchange {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let connection = Arc::new(Connection::between(address, address));
        let now = clock::now();
        let mut timing = Timing::starting(now, SystemTime::UNIX_EPOCH);
        timing.ended = Some(now + Duration::from_millis(20));
        let mut exchange = Exchange::new(connection, Protocol::Http11, timing, 1);
        exchange.log_type = LogType::DownstreamEnd;
        exchange.status = 404;
        exchange.flags.insert(Flags::NO_ROUTE_FOUND);
        exchange
            .request
            .append_known(Known::XRequestId, b"00000032-0000-4000-8000-000000000000");
        exchange
    }

    fn passes(filter: &LogFilter, exchange: &Exchange) -> bool {
        filter.matches(exchange, &mut || 0)
    }

    #[test]
    fn numbers_are_compared() {
        for (comparison, number, holds) in [
            (compared(Operator::Equal, 4), 4, true),
            (compared(Operator::Equal, 4), 5, false),
            (compared(Operator::AtLeast, 4), 4, true),
            (compared(Operator::AtLeast, 4), 3, false),
            (compared(Operator::AtMost, 4), 4, true),
            (compared(Operator::AtMost, 4), 5, false),
            (compared(Operator::Different, 4), 5, true),
            (compared(Operator::Different, 4), 4, false),
        ] {
            assert_eq!(comparison.holds(number), holds, "{comparison:?} {number}");
        }
    }

    #[test]
    fn each_filter_asks_what_it_says() {
        let exchange = exchange();
        let status = |number| LogFilter::Status(compared(Operator::AtLeast, number));
        let header = |name: &str| {
            let spec = HeaderMatchSpec {
                name: name.to_owned(),
                test: HeaderTestSpec::Present(true),
                invert_match: false,
                treat_missing_header_as_empty: false,
            };
            LogFilter::Header(HeaderCondition::new(&spec).unwrap())
        };
        let grpc = |statuses: &[u32], exclude| LogFilter::GrpcStatus {
            statuses: statuses.into(),
            exclude,
        };
        let kind = |types: &[u8], exclude| LogFilter::Type {
            types: types.into(),
            exclude,
        };
        for (filter, expected) in [
            (status(400), true),
            (status(500), false),
            (LogFilter::Duration(compared(Operator::Equal, 20)), true),
            (LogFilter::Duration(compared(Operator::AtMost, 19)), false),
            (LogFilter::NotHealthCheck, true),
            (LogFilter::Traceable, false),
            (LogFilter::All([status(400), status(500)].into()), false),
            (LogFilter::Any([status(400), status(500)].into()), true),
            (header("x-request-id"), true),
            (header("x-other"), false),
            (LogFilter::Flags([].into()), true),
            (LogFilter::Flags([Flags::NO_ROUTE_FOUND].into()), true),
            (LogFilter::Flags([Flags::NO_HEALTHY_UPSTREAM].into()), false),
            (grpc(&[12], false), true),
            (grpc(&[0, 12], true), false),
            (kind(&[6], false), true),
            (kind(&[6], true), false),
            (kind(&[0], false), false),
        ] {
            assert_eq!(passes(&filter, &exchange), expected, "{filter:?}");
        }
        let mut silent = exchange;
        silent.flags = Flags::NONE;
        silent.status = 0;
        assert!(!passes(&LogFilter::Flags([].into()), &silent));
        assert!(passes(
            &LogFilter::Status(compared(Operator::Equal, 0)),
            &silent
        ));
        assert!(passes(&grpc(&[2], false), &silent));
    }

    #[test]
    fn metadata_may_be_missing() {
        let mut exchange = exchange();
        let filter = |missing| {
            let spec = MetadataMatchSpec {
                filter: "mine".to_owned(),
                path: vec!["hint".to_owned()],
                value: ValueMatchSpec::Bool(true),
                invert: false,
            };
            LogFilter::Metadata {
                condition: MetadataCondition::new(&spec).unwrap(),
                missing,
            }
        };
        assert!(passes(&filter(true), &exchange));
        assert!(!passes(&filter(false), &exchange));
        exchange.metadata.set("mine", "hint", b"true");
        assert!(passes(&filter(false), &exchange));
        exchange.metadata.set("mine", "hint", b"false");
        assert!(!passes(&filter(true), &exchange));
    }

    #[test]
    fn a_share_goes_by_the_identifier_or_by_chance() {
        let mut exchange = exchange();
        let share = |numerator, independent| {
            LogFilter::Share(Share {
                fraction: Fraction::fixed(Portion::new(numerator, 100).unwrap()),
                independent,
            })
        };
        // 0x32 is 50.
        assert!(passes(&share(51, false), &exchange));
        assert!(!passes(&share(50, false), &exchange));
        assert!(passes(&share(1, true), &exchange));
        assert!(!passes(&share(0, true), &exchange));
        exchange.request.set_known(Known::XRequestId, b"short");
        assert!(passes(&share(1, false), &exchange));
    }
}
