//! `envoy.filters.http.fault`: holds some requests up, answers them with an error, or slows their
//! responses down, to see what comes of it.

mod config;
mod key;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::time::Duration;

use nuncio_filter_config::{Fraction, HeaderMatch, Sampler};
use nuncio_sdk::{
    Attribute, Counter, Error, Filter, Flow, Gauge, HeaderName, Interest, LocalReply,
    RequestHeaders, Result, Setup, runtime,
};

pub use config::{Abort, Config, Delay, FixedLimit, RateLimit};
use key::Key;

/// The filter.
#[derive(Debug)]
pub struct Fault {
    delay: Option<Wait>,
    abort: Option<Injection>,
    slowdown: Option<Slowdown>,
    concerned: Concerned,
    delays: Count,
    aborts: Count,
    slowed: Counter,
    active: Active,
    /// The field that says which service a request comes from.
    service: HeaderName,
    /// Whether faults are counted by that.
    counts_services: bool,
    /// Whether there are runtime values.
    has_values: bool,
}

/// How many requests have a fault, and may.
#[derive(Debug)]
struct Active {
    gauge: Gauge,
    overflows: Counter,
    most: u64,
    key: Key,
}

/// Which requests this is about.
#[derive(Debug)]
struct Concerned {
    cluster: Option<(Attribute, Vec<u8>)>,
    headers: Vec<HeaderMatch>,
    /// The field that says which node a request comes from, and the nodes; all where there are none.
    nodes: (HeaderName, Vec<Vec<u8>>),
}

/// A counter, and what its name is made of.
#[derive(Debug)]
struct Count {
    counter: Counter,
    prefix: String,
    name: &'static str,
}

/// The runtime values of a request.
#[derive(Clone, Copy)]
struct Values<'a> {
    are_there: bool,
    /// The service that it comes from.
    service: Option<&'a str>,
}

/// A delay: how long, and how often.
#[derive(Debug)]
struct Wait {
    time: Time,
    percentage: Fraction,
    sampler: Sampler,
    share: Key,
    duration: Key,
}

#[derive(Debug)]
enum Time {
    Fixed(Duration),
    OfRequest {
        /// The field that says how many milliseconds.
        time: HeaderName,
        /// The field that lowers the share.
        percentage: HeaderName,
    },
}

/// An abort: with what, and how often.
#[derive(Debug)]
struct Injection {
    status: Status,
    percentage: Fraction,
    sampler: Sampler,
    share: Key,
    http_status: Key,
    grpc_status: Key,
}

#[derive(Debug)]
enum Status {
    Http(u16),
    Grpc(u32),
    OfRequest(Names),
}

/// What a request says about its fault.
#[derive(Debug)]
struct Names {
    http: HeaderName,
    grpc: HeaderName,
    /// The field that lowers the share.
    percentage: HeaderName,
}

/// A response that is slowed down: to what, and how often.
#[derive(Debug)]
struct Slowdown {
    limit: Limit,
    percentage: Fraction,
    sampler: Sampler,
    /// The runtime value of the share; services have none of their own.
    share: String,
}

#[derive(Debug)]
enum Limit {
    /// KiB in a second.
    Fixed(u64),
    OfRequest {
        /// The field that says how many KiB in a second.
        limit: HeaderName,
        /// The field that lowers the share.
        percentage: HeaderName,
    },
}

impl Filter for Fault {
    type Config = Config;
    type Stream = ();

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let prefix = format!("{}fault.", setup.stat_prefix());
        let has_values = runtime::has_layers();
        let delay = config.delay.as_ref();
        let abort = config.abort.as_ref();
        let slowdown = config.response_rate_limit.as_ref();
        Ok(Self {
            delay: delay
                .map(|delay| Wait::look_up(delay, &config, setup))
                .transpose()?,
            abort: abort
                .map(|abort| Injection::look_up(abort, &config, setup))
                .transpose()?,
            slowdown: slowdown
                .map(|limit| Slowdown::look_up(limit, &config, setup))
                .transpose()?,
            slowed: setup.counter(&format!("{prefix}response_rl_injected"))?,
            delays: Count::open(&prefix, "delays_injected", setup)?,
            aborts: Count::open(&prefix, "aborts_injected", setup)?,
            active: Active {
                gauge: setup.gauge(&format!("{prefix}active_faults"))?,
                overflows: setup.counter(&format!("{prefix}faults_overflow"))?,
                most: config
                    .max_active_faults
                    .map_or(u64::MAX, |most| most.0.into()),
                key: Key::new(&config.max_active_faults_runtime, "max_active_faults"),
            },
            service: setup.header_name("x-envoy-downstream-service-cluster")?,
            counts_services: !config.disable_downstream_cluster_stats,
            has_values,
            concerned: Concerned::look_up(config, setup)?,
        })
    }

    fn interest(&self) -> Interest {
        let may = |percentage: Fraction| percentage.numerator() > 0 || self.has_values;
        let delays = self
            .delay
            .as_ref()
            .is_some_and(|delay| may(delay.percentage));
        let aborts = self
            .abort
            .as_ref()
            .is_some_and(|abort| may(abort.percentage));
        let slowdowns = self
            .slowdown
            .as_ref()
            .is_some_and(|slowdown| may(slowdown.percentage));
        if delays || aborts || slowdowns {
            Interest::new().request_headers()
        } else {
            Interest::new()
        }
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        if !self.concerned.is(cx) {
            return Ok(Flow::Next);
        }
        let service = self.service(cx);
        let values = Values {
            are_there: self.has_values,
            service: service.as_deref(),
        };
        let rate = self
            .slowdown
            .as_ref()
            .and_then(|slowdown| slowdown.rate(cx, values));
        if let Some(rate) = rate.filter(|_| self.active.has_room(values)) {
            self.slowed.inc();
            cx.limit_response_rate(rate);
        }
        let time = self.delay.as_ref().and_then(|delay| delay.time(cx, values));
        if let Some(time) = time.filter(|_| self.active.has_room(values)) {
            self.count(&self.delays, service.as_deref(), cx);
            cx.set_response_flag("DI");
            return Ok(Flow::Wait(time));
        }
        Ok(self.abort(cx))
    }

    fn on_resume(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        Ok(self.abort(cx))
    }
}

impl Fault {
    fn abort(&self, cx: &RequestHeaders<'_>) -> Flow {
        let service = self.service(cx);
        let values = Values {
            are_there: self.has_values,
            service: service.as_deref(),
        };
        let reply = self
            .abort
            .as_ref()
            .and_then(|abort| abort.reply(cx, values));
        let Some(reply) = reply.filter(|_| self.active.has_room(values)) else {
            return Flow::Next;
        };
        self.count(&self.aborts, service.as_deref(), cx);
        reply.into()
    }

    /// The service that a request comes from, where that makes a difference.
    fn service(&self, cx: &RequestHeaders<'_>) -> Option<String> {
        if !self.counts_services && !self.has_values {
            return None;
        }
        let service = cx.request().get_str(self.service);
        service.filter(|service| !service.is_empty())
    }

    fn count(&self, count: &Count, service: Option<&str>, cx: &RequestHeaders<'_>) {
        count.add(service.filter(|_| self.counts_services), cx);
    }
}

impl Active {
    /// Whether this request may have a fault. One that has may have another.
    fn has_room(&self, values: Values<'_>) -> bool {
        let most = match values.are_there {
            true => self.key.integer(None, self.most),
            false => self.most,
        };
        let has_room = self.gauge.hold(most);
        if !has_room {
            self.overflows.inc();
        }
        has_room
    }
}

impl Concerned {
    fn look_up(config: Config, setup: &mut Setup) -> Result<Self> {
        let cluster = match config.upstream_cluster.as_str() {
            "" => None,
            name => Some((
                setup.attribute("upstream.cluster")?,
                name.as_bytes().to_vec(),
            )),
        };
        let headers = config.headers.into_iter();
        let headers: Result<Vec<HeaderMatch>> =
            headers.map(|matcher| matcher.look_up(setup)).collect();
        let nodes = config.downstream_nodes.into_iter();
        Ok(Self {
            cluster,
            headers: headers?,
            nodes: (
                setup.header_name("x-envoy-downstream-service-node")?,
                nodes.map(String::into_bytes).collect(),
            ),
        })
    }

    fn is(&self, cx: &RequestHeaders<'_>) -> bool {
        if let Some((attribute, name)) = &self.cluster
            && cx.attribute(*attribute).as_deref() != Some(name)
        {
            return false;
        }
        let request = cx.request();
        let (field, nodes) = &self.nodes;
        if !nodes.is_empty()
            && !request
                .get(*field)
                .is_some_and(|node| nodes.contains(&node))
        {
            return false;
        }
        self.headers.iter().all(|header| header.matches(&request))
    }
}

impl Count {
    fn open(prefix: &str, name: &'static str, setup: &mut Setup) -> Result<Self> {
        Ok(Self {
            counter: setup.counter(&format!("{prefix}{name}"))?,
            prefix: prefix.to_owned(),
            name,
        })
    }

    /// Counts a fault, and once more for the service that the request comes from.
    fn add(&self, service: Option<&str>, cx: &RequestHeaders<'_>) {
        self.counter.inc();
        if let Some(service) = service {
            cx.count(&format!("{}{service}.{}", self.prefix, self.name), 1);
        }
    }
}

impl Values<'_> {
    /// Whether a request is one of a share, which a value may change.
    fn pick(self, sampler: &Sampler, share: Fraction, key: &Key) -> bool {
        let name = self.are_there.then(|| key.name(self.service));
        sampler.sample_keyed(share, name.as_deref())
    }

    fn own_integer(self, key: &Key, otherwise: u64) -> u64 {
        match self.are_there {
            true => key.own_integer(self.service, otherwise),
            false => otherwise,
        }
    }

    fn integer(self, key: &Key, otherwise: u64) -> u64 {
        match self.are_there {
            true => key.integer(self.service, otherwise),
            false => otherwise,
        }
    }
}

impl Wait {
    fn look_up(delay: &Delay, config: &Config, setup: &mut Setup) -> Result<Self> {
        let time = match (&delay.fixed_delay, &delay.header_delay) {
            (Some(time), None) if !time.0.is_zero() => Time::Fixed(time.0),
            (None, Some(_)) => Time::OfRequest {
                time: setup.header_name("x-envoy-fault-delay-request")?,
                percentage: setup.header_name("x-envoy-fault-delay-request-percentage")?,
            },
            _ => {
                return Err(Error::msg(
                    "`delay` has one of `fixed_delay`, above 0, and `header_delay`",
                ));
            }
        };
        Ok(Self {
            time,
            percentage: delay.percentage,
            sampler: Sampler::new(delay.percentage),
            share: Key::new(&config.delay_percent_runtime, "delay.fixed_delay_percent"),
            duration: Key::new(&config.delay_duration_runtime, "delay.fixed_duration_ms"),
        })
    }

    /// How long this request is to wait, where it is.
    fn time(&self, cx: &RequestHeaders<'_>, values: Values<'_>) -> Option<Duration> {
        let (time, percentage) = match self.time {
            Time::Fixed(time) => (time, self.percentage),
            Time::OfRequest { time, percentage } => (
                Duration::from_millis(number(cx, time)?),
                share(cx, percentage, self.percentage),
            ),
        };
        if !values.pick(&self.sampler, percentage, &self.share) {
            return None;
        }
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let time = match values.integer(&self.duration, ms) {
            same if same == ms => time,
            other => Duration::from_millis(other),
        };
        (!time.is_zero()).then_some(time)
    }
}

impl Injection {
    fn look_up(abort: &Abort, config: &Config, setup: &mut Setup) -> Result<Self> {
        let status = match (&abort.http_status, &abort.grpc_status, &abort.header_abort) {
            (Some(status), None, None) => match u16::try_from(status.0) {
                Ok(status @ 200..=599) => Status::Http(status),
                _ => return Err(Error::msg("`abort.http_status` must be from 200 to 599")),
            },
            (None, Some(status), None) => Status::Grpc(status.0),
            (None, None, Some(_)) => Status::OfRequest(Names {
                http: setup.header_name("x-envoy-fault-abort-request")?,
                grpc: setup.header_name("x-envoy-fault-abort-grpc-request")?,
                percentage: setup.header_name("x-envoy-fault-abort-request-percentage")?,
            }),
            _ => {
                return Err(Error::msg(
                    "`abort` has one of `http_status`, `grpc_status` and `header_abort`",
                ));
            }
        };
        Ok(Self {
            status,
            percentage: abort.percentage,
            sampler: Sampler::new(abort.percentage),
            share: Key::new(&config.abort_percent_runtime, "abort.abort_percent"),
            http_status: Key::new(&config.abort_http_status_runtime, "abort.http_status"),
            grpc_status: Key::new(&config.abort_grpc_status_runtime, "abort.grpc_status"),
        })
    }

    /// The answer, where this request is to have one.
    fn reply(&self, cx: &RequestHeaders<'_>, values: Values<'_>) -> Option<LocalReply> {
        let (asked, percentage) = match &self.status {
            Status::Http(status) => ((*status, None), self.percentage),
            Status::Grpc(status) => ((200, Some(*status)), self.percentage),
            Status::OfRequest(names) => (
                names.asked(cx)?,
                share(cx, names.percentage, self.percentage),
            ),
        };
        let is_picked = values.pick(&self.sampler, percentage, &self.share);
        is_picked.then(|| reply(self.status(asked, values)))
    }

    /// What runtime values make of a status. One that is none of a response changes nothing.
    fn status(&self, (http, grpc): (u16, Option<u32>), values: Values<'_>) -> (u16, Option<u32>) {
        match grpc {
            Some(grpc) => {
                let set = values.own_integer(&self.grpc_status, grpc.into());
                (http, Some(u32::try_from(set).unwrap_or(grpc)))
            }
            None => match u16::try_from(values.own_integer(&self.http_status, http.into())) {
                Ok(set @ 200..=599) => (set, None),
                _ => (http, None),
            },
        }
    }
}

impl Slowdown {
    fn look_up(limit: &RateLimit, config: &Config, setup: &mut Setup) -> Result<Self> {
        let share = match config.response_rate_limit_percent_runtime.as_str() {
            "" => "fault.http.rate_limit.response_percent",
            written => written,
        };
        Ok(Self {
            percentage: limit.percentage,
            sampler: Sampler::new(limit.percentage),
            share: share.to_owned(),
            limit: match (&limit.fixed_limit, &limit.header_limit) {
                (Some(fixed), None) if fixed.limit_kbps.0 > 0 => Limit::Fixed(fixed.limit_kbps.0),
                (None, Some(_)) => Limit::OfRequest {
                    limit: setup.header_name("x-envoy-fault-throughput-response")?,
                    percentage: setup
                        .header_name("x-envoy-fault-throughput-response-percentage")?,
                },
                _ => {
                    return Err(Error::msg(
                        "`response_rate_limit` has one of `fixed_limit`, whose `limit_kbps` is above 0, \
                         and `header_limit`",
                    ));
                }
            },
        })
    }

    /// To how many bytes in a second the response of this request is slowed down, where it is.
    fn rate(&self, cx: &RequestHeaders<'_>, values: Values<'_>) -> Option<u64> {
        let (limit, percentage) = match self.limit {
            Limit::Fixed(limit) => (limit, self.percentage),
            Limit::OfRequest { limit, percentage } => (
                number(cx, limit).filter(|limit| *limit > 0)?,
                share(cx, percentage, self.percentage),
            ),
        };
        let key = values.are_there.then_some(self.share.as_str());
        let is_picked = self.sampler.sample_keyed(percentage, key);
        is_picked.then(|| limit.saturating_mul(1024))
    }
}

impl Names {
    fn asked(&self, cx: &RequestHeaders<'_>) -> Option<(u16, Option<u32>)> {
        if let Some(status @ 200..=599) = number(cx, self.http) {
            return Some((status, None));
        }
        Some((200, Some(number(cx, self.grpc)?)))
    }
}

/// The number that a request has in a field.
fn number<T: FromStr>(cx: &RequestHeaders<'_>, name: HeaderName) -> Option<T> {
    cx.request().get_str(name)?.parse().ok()
}

/// How many such requests, at most as many as the configuration says.
fn share(cx: &RequestHeaders<'_>, name: HeaderName, most: Fraction) -> Fraction {
    number(cx, name).map_or(most, |asked| most.at_most(asked))
}

fn reply((http, grpc): (u16, Option<u32>)) -> LocalReply {
    let mut reply = LocalReply::new(http)
        .with_body("fault filter abort")
        .with_details("fault_filter_abort")
        .with_response_flag("FI");
    reply.grpc_status = grpc;
    reply
}

nuncio_sdk::export_filter!(Fault);
