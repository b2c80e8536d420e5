//! `envoy.filters.http.fault`: answers some requests with an error, to see what comes of it.
//!
//! Aborts alone: a delay needs a timer, which filters do not have.

mod config;
#[cfg(test)]
mod tests;

use nuncio_filter_config::{Fraction, HeaderMatch, Sampler};
use nuncio_sdk::{
    Attribute, Counter, Error, Filter, Flow, HeaderName, Interest, LocalReply, RequestHeaders,
    Result, Setup,
};

pub use config::{Abort, Config};

/// The filter.
#[derive(Debug)]
pub struct Fault {
    abort: Option<Injection>,
    cluster: Option<(Attribute, Vec<u8>)>,
    headers: Vec<HeaderMatch>,
    injected: Counter,
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
        let prefix = setup.stat_prefix();
        let mut counter = |name| setup.counter(&format!("{prefix}fault.{name}"));
        // Envoy shows these too; they count what needs timers.
        for name in ["delays_injected", "faults_overflow", "response_rl_injected"] {
            counter(name)?;
        }
        let injected = counter("aborts_injected")?;
        Ok(Self {
            abort: config
                .abort
                .map(|abort| Injection::look_up(&abort, setup))
                .transpose()?,
            cluster,
            headers: headers?,
            injected,
        })
    }

    fn interest(&self) -> Interest {
        match &self.abort {
            Some(abort) if !abort.sampler.never() => Interest::new().request_headers(),
            _ => Interest::new(),
        }
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let Some(abort) = &self.abort else {
            return Ok(Flow::Next);
        };
        if let Some((attribute, name)) = &self.cluster
            && cx.attribute(*attribute).as_deref() != Some(name)
        {
            return Ok(Flow::Next);
        }
        let request = cx.request();
        if !self.headers.iter().all(|header| header.matches(&request)) {
            return Ok(Flow::Next);
        }
        let Some(reply) = abort.reply(cx) else {
            return Ok(Flow::Next);
        };
        self.injected.inc();
        Ok(reply.into())
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
                return self
                    .sampler
                    .sample_of(names.share(cx))
                    .then(|| reply(asked));
            }
        };
        self.sampler.sample().then(|| reply((http, grpc)))
    }
}

impl Names {
    fn number(&self, cx: &RequestHeaders<'_>, name: HeaderName) -> Option<u32> {
        let value = cx.request().get_str(name)?;
        value.parse().ok()
    }

    fn asked(&self, cx: &RequestHeaders<'_>) -> Option<(u16, Option<u32>)> {
        let http = self.number(cx, self.http);
        if let Some(status @ 200..=599) = http {
            return Some((u16::try_from(status).ok()?, None));
        }
        let grpc = self.number(cx, self.grpc)?;
        Some((200, Some(grpc)))
    }

    /// How many such requests, at most as many as the configuration says.
    fn share(&self, cx: &RequestHeaders<'_>) -> Fraction {
        let asked = self.number(cx, self.percentage);
        asked.map_or(self.most, |asked| self.most.at_most(asked))
    }
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
