//! `envoy.filters.http.grpc_stats`: counts calls of gRPC and their messages, by cluster and, where that
//! is asked for, by method.

mod config;
mod messages;
#[cfg(test)]
mod tests;

use messages::Messages;
use nuncio_filter_config::{charge, is_grpc, method_of};
use nuncio_sdk::{
    Attribute, BodyMode, Error, Exchange, Filter, Flow, HeaderName, Interest, RequestBody,
    RequestHeaders, ResponseBody, ResponseHeaders, ResponseTrailers, Result, Setup,
};

pub use config::{Config, MethodList, Service};

/// The filter.
#[derive(Debug)]
pub struct GrpcStats {
    methods: Methods,
    replace_dots: bool,
    names: Names,
}

/// Which methods have statistics of their own.
#[derive(Debug)]
enum Methods {
    None,
    All,
    Listed(Vec<(String, String)>),
}

#[derive(Debug)]
struct Names {
    path: HeaderName,
    content_type: HeaderName,
    grpc_status: HeaderName,
    cluster: Attribute,
}

/// A call.
#[derive(Debug, Default)]
pub struct Stream {
    /// What the names of its statistics begin with.
    statistics: String,
    request: Messages,
    response: Messages,
}

impl Filter for GrpcStats {
    type Config = Config;
    type Stream = Stream;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let methods = match (
            config.individual_method_stats_allowlist,
            config.stats_for_all_methods,
        ) {
            (Some(_), Some(_)) => {
                return Err(Error::msg(
                    "`individual_method_stats_allowlist` and `stats_for_all_methods` exclude each other",
                ));
            }
            (Some(list), None) => Methods::listed(list),
            (None, Some(true)) => Methods::All,
            (None, _) => Methods::None,
        };
        Ok(Self {
            methods,
            replace_dots: config.replace_dots_in_grpc_service_name,
            names: Names {
                path: setup.header_name(":path")?,
                content_type: setup.header_name("content-type")?,
                grpc_status: setup.header_name("grpc-status")?,
                cluster: setup.attribute("upstream.cluster")?,
            },
        })
    }

    fn interest(&self) -> Interest {
        Interest::new().request_headers()
    }

    fn on_request_headers(&self, stream: &mut Stream, cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let content_type = cx
            .request()
            .get(self.names.content_type)
            .unwrap_or_default();
        if !is_grpc(&content_type) {
            return Ok(Flow::Next);
        }
        let Some(statistics) = self.statistics(cx) else {
            return Ok(Flow::Next);
        };
        stream.statistics = statistics;
        cx.set_interest(
            Interest::new()
                .request_body(BodyMode::Streamed)
                .response_headers()
                .response_body(BodyMode::Streamed)
                .response_trailers(),
        );
        Ok(Flow::Next)
    }

    fn on_request_body(&self, stream: &mut Stream, cx: &mut RequestBody<'_>) -> Result<Flow> {
        let messages = stream.request.take(cx.chunk());
        stream.count("request_message_count", messages, cx);
        Ok(Flow::Next)
    }

    fn on_response_headers(
        &self,
        stream: &mut Stream,
        cx: &mut ResponseHeaders<'_>,
    ) -> Result<Flow> {
        let status = cx.response().get(self.names.grpc_status);
        charge(&stream.statistics, status.as_deref(), cx);
        Ok(Flow::Next)
    }

    fn on_response_body(&self, stream: &mut Stream, cx: &mut ResponseBody<'_>) -> Result<()> {
        let messages = stream.response.take(cx.chunk());
        stream.count("response_message_count", messages, cx);
        Ok(())
    }

    fn on_response_trailers(
        &self,
        stream: &mut Stream,
        cx: &mut ResponseTrailers<'_>,
    ) -> Result<()> {
        let status = cx.trailers().get(self.names.grpc_status);
        charge(&stream.statistics, status.as_deref(), cx);
        Ok(())
    }
}

impl GrpcStats {
    /// What the names of a call's statistics begin with; none where nothing is counted.
    fn statistics(&self, cx: &RequestHeaders<'_>) -> Option<String> {
        let cluster = String::from_utf8(cx.attribute(self.names.cluster)?).ok()?;
        let mut statistics = format!("cluster.{cluster}.grpc");
        let path = cx.request().get_str(self.names.path).unwrap_or_default();
        let method = method_of(&path).filter(|&(service, method)| match &self.methods {
            Methods::None => false,
            Methods::All => true,
            Methods::Listed(listed) => listed
                .iter()
                .any(|(s, m)| (&**s, &**m) == (service, method)),
        });
        match method {
            Some((service, method)) => {
                let service = match self.replace_dots {
                    true => service.replace('.', "_"),
                    false => service.to_owned(),
                };
                statistics = format!("{statistics}.{service}.{method}");
            }
            None if matches!(self.methods, Methods::All) => return None,
            None => {}
        }
        Some(statistics)
    }
}

impl Methods {
    fn listed(list: MethodList) -> Self {
        let mut listed = Vec::new();
        for service in list.services {
            for method in service.method_names {
                listed.push((service.name.clone(), method));
            }
        }
        Self::Listed(listed)
    }
}

impl Stream {
    fn count(&self, name: &str, n: u64, exchange: &Exchange<'_>) {
        if n > 0 {
            exchange.count(&format!("{}.{name}", self.statistics), n);
        }
    }
}

nuncio_sdk::export_filter!(GrpcStats);
