//! What a hook answers: go on, answer now, send upstream, or wait.

use std::time::Duration;

/// What becomes of the stream after a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flow {
    /// On to the next filter.
    Next,
    /// Answer now. In the request's hooks and in `on_response_headers`.
    Reply(Box<LocalReply>),
    /// Send the request upstream. Only from `on_request_headers` and `on_resume`, and then the filters
    /// behind this one do not see the request; elsewhere it is a failure of the filter.
    Forward(Upstream),
    /// Stop here for that long, to the millisecond; then
    /// [`on_resume`](crate::Filter::on_resume) is called. Only from it and from `on_request_headers`;
    /// elsewhere it is a failure of the filter.
    Wait(Duration),
}

impl From<LocalReply> for Flow {
    fn from(reply: LocalReply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

impl From<Upstream> for Flow {
    fn from(upstream: Upstream) -> Self {
        Self::Forward(upstream)
    }
}

/// A response made by the filter in place of the upstream's.
///
/// ```
/// use nuncio_sdk::{Flow, LocalReply};
///
/// let flow: Flow = LocalReply::new(403)
///     .with_header("x-reason", "no key")
///     .with_body("forbidden\n")
///     .with_details("key_missing")
///     .into();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalReply {
    /// 200 to 599.
    pub status: u16,
    /// Added to what the proxy sets itself, in this order.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Sent as `text/plain`, unless `headers` say otherwise.
    pub body: Vec<u8>,
    /// `%RESPONSE_CODE_DETAILS%` in access logs; no white space, please.
    pub details: String,
    /// For a gRPC request: the status to answer with. Derived from `status` where absent.
    pub grpc_status: Option<u32>,
    /// A flag for `%RESPONSE_FLAGS%`, by Envoy's short name, such as `RL`.
    pub response_flag: Option<String>,
    /// Whether it gets the changes of response headers of a route that leads to an upstream.
    pub of_route: bool,
}

impl LocalReply {
    /// An empty response; its details are `filter_local_reply`.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            details: "filter_local_reply".to_owned(),
            grpc_status: None,
            response_flag: None,
            of_route: true,
        }
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With these details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// With this status for gRPC requests.
    #[must_use]
    pub const fn with_grpc_status(mut self, status: u32) -> Self {
        self.grpc_status = Some(status);
        self
    }

    /// Without the changes of response headers that the route says, and those of `local_reply_config`: a
    /// response as it stands here, to gRPC requests too.
    #[must_use]
    pub const fn whatever_route_says(mut self) -> Self {
        self.of_route = false;
        self
    }

    /// With this response flag.
    #[must_use]
    pub fn with_response_flag(mut self, flag: impl Into<String>) -> Self {
        self.response_flag = Some(flag.into());
        self
    }
}

/// Where a terminal filter sends the request; where nothing is said, as the route says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upstream {
    /// In place of the route's cluster.
    pub cluster: Option<String>,
    /// In place of the route's timeout, to the millisecond; zero means none.
    pub timeout: Option<Duration>,
}

impl Upstream {
    /// As the matched route says.
    #[must_use]
    pub const fn of_route() -> Self {
        Self {
            cluster: None,
            timeout: None,
        }
    }

    /// To this cluster.
    #[must_use]
    pub fn with_cluster(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = Some(cluster.into());
        self
    }

    /// With this timeout.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}
