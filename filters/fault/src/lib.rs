//! `envoy.filters.http.fault`: holds some requests up or answers them with an error, to see what comes
//! of it.

mod config;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::time::Duration;

use nuncio_filter_config::{Fraction, HeaderMatch, Sampler};
use nuncio_sdk::{
    Attribute, Counter, Error, Filter, Flow, HeaderName, Interest, LocalReply, RequestHeaders,
    Result, Setup,
};

pub use config::{Abort, Config, Delay};

/// The filter.
#[derive(Debug)]
pub struct Fault {
    delay: Option<Wait>,
    abort: Option<Injection>,
    concerned: Concerned,
    delays: Count,
    aborts: Count,
    /// Which service a request comes from, where faults are counted by that.
    service: Option<HeaderName>,
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

/// A delay: how long, and how often.
#[derive(Debug)]
struct Wait {
    time: Time,
    sampler: Sampler,
}

#[derive(Debug)]
enum Time {
    Fixed(Duration),
    OfRequest {
        /// The field that says how many milliseconds.
        time: HeaderName,
        percentage: HeaderName,
        /// The larger share, which a request can only lower.
        most: Fraction,
    },
}

/// An abort: with what, and how often.
#[derive(Debug)]
struct Injection {
    status: Status,
    sampler: Sampler,
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
    percentage: HeaderName,
    /// The larger one, which a request can only lower.
    most: Fraction,
}

impl Filter for Fault {
    type Config = Config;
    type Stream = ();

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let prefix = format!("{}fault.", setup.stat_prefix());
        // Envoy shows these too; they count what is not there.
        for name in ["faults_overflow", "response_rl_injected"] {
            setup.counter(&format!("{prefix}{name}"))?;
        }
        let service = "x-envoy-downstream-service-cluster";
        let by_service = !config.disable_downstream_cluster_stats;
        Ok(Self {
            delay: config
                .delay
                .as_ref()
                .map(|delay| Wait::look_up(delay, setup))
                .transpose()?,
            abort: config
                .abort
                .as_ref()
                .map(|abort| Injection::look_up(abort, setup))
                .transpose()?,
            delays: Count::open(&prefix, "delays_injected", setup)?,
            aborts: Count::open(&prefix, "aborts_injected", setup)?,
            service: by_service.then(|| setup.header_name(service)).transpose()?,
            concerned: Concerned::look_up(config, setup)?,
        })
    }

    fn interest(&self) -> Interest {
        let delays = self.delay.as_ref().is_some_and(|d| !d.sampler.never());
        let aborts = self.abort.as_ref().is_some_and(|a| !a.sampler.never());
        if delays || aborts {
            Interest::new().request_headers()
        } else {
            Interest::new()
        }
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        if !self.concerned.is(cx) {
            return Ok(Flow::Next);
        }
        if let Some(time) = self.delay.as_ref().and_then(|delay| delay.time(cx)) {
            self.delays.add(self.service, cx);
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
        let Some(reply) = self.abort.as_ref().and_then(|abort| abort.reply(cx)) else {
            return Flow::Next;
        };
        self.aborts.add(self.service, cx);
        reply.into()
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
    fn add(&self, service: Option<HeaderName>, cx: &RequestHeaders<'_>) {
        self.counter.inc();
        let service = service.and_then(|field| cx.request().get_str(field));
        if let Some(service) = service.filter(|service| !service.is_empty()) {
            cx.count(&format!("{}{service}.{}", self.prefix, self.name), 1);
        }
    }
}

impl Wait {
    fn look_up(delay: &Delay, setup: &mut Setup) -> Result<Self> {
        let time = match (&delay.fixed_delay, &delay.header_delay) {
            (Some(time), None) if !time.0.is_zero() => Time::Fixed(time.0),
            (None, Some(_)) => Time::OfRequest {
                time: setup.header_name("x-envoy-fault-delay-request")?,
                percentage: setup.header_name("x-envoy-fault-delay-request-percentage")?,
                most: delay.percentage,
            },
            _ => {
                return Err(Error::msg(
                    "`delay` has one of `fixed_delay`, above 0, and `header_delay`",
                ));
            }
        };
        Ok(Self {
            time,
            sampler: Sampler::new(delay.percentage),
        })
    }

    /// How long this request is to wait, where it is.
    fn time(&self, cx: &RequestHeaders<'_>) -> Option<Duration> {
        match self.time {
            Time::Fixed(time) => self.sampler.sample().then_some(time),
            Time::OfRequest {
                time,
                percentage,
                most,
            } => {
                let asked = Duration::from_millis(number(cx, time)?);
                let is_picked = self.sampler.sample_of(share(cx, percentage, most));
                (is_picked && !asked.is_zero()).then_some(asked)
            }
        }
    }
}

impl Injection {
    fn look_up(abort: &Abort, setup: &mut Setup) -> Result<Self> {
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
                most: abort.percentage,
            }),
            _ => {
                return Err(Error::msg(
                    "`abort` has one of `http_status`, `grpc_status` and `header_abort`",
                ));
            }
        };
        Ok(Self {
            status,
            sampler: Sampler::new(abort.percentage),
        })
    }

    /// The answer, where this request is to have one.
    fn reply(&self, cx: &RequestHeaders<'_>) -> Option<LocalReply> {
        let (http, grpc) = match &self.status {
            Status::Http(status) => (*status, None),
            Status::Grpc(status) => (200, Some(*status)),
            Status::OfRequest(names) => {
                let asked = names.asked(cx)?;
                let share = share(cx, names.percentage, names.most);
                return self.sampler.sample_of(share).then(|| reply(asked));
            }
        };
        self.sampler.sample().then(|| reply((http, grpc)))
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
        .with_response_flag("FI")
        .as_route_says();
    reply.grpc_status = grpc;
    reply
}

nuncio_sdk::export_filter!(Fault);
