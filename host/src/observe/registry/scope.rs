//! Where a statistic belongs: the part of its name that comes before its own.

use crate::address::Address;

/// A scope such as `cluster.<name>.`. In Prometheus' form the parts that vary are labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// What the names of `/stats` begin with, up to and with the last point: `cluster.backend.`.
    pub prefix: Box<str>,
    /// The same without what the labels say: `cluster.`.
    pub family: Box<str>,
    /// What names in Prometheus' form begin with.
    pub namespace: Namespace,
    /// The labels, in the order in which they are shown.
    pub labels: Box<[(&'static str, Box<str>)]>,
}

/// Who named a statistic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namespace {
    /// Envoy has it under the same name.
    #[default]
    Envoy,
    /// It is about a part that Envoy does not have.
    Nuncio,
}

impl Namespace {
    /// The first part of names in Prometheus' form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Nuncio => "nuncio",
        }
    }
}

impl Scope {
    /// A scope without labels; `prefix` ends with a point.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            family: prefix.into(),
            ..Self::default()
        }
    }

    /// [`Scope::new`] for what Envoy does not have.
    #[must_use]
    pub fn nuncio(prefix: &str) -> Self {
        Self {
            namespace: Namespace::Nuncio,
            ..Self::new(prefix)
        }
    }

    /// `cluster.<name>.`
    #[must_use]
    pub fn cluster(name: &str) -> Self {
        Self::labelled("cluster", name, "envoy_cluster_name")
    }

    /// `http.<stat_prefix>.`, a connection manager.
    #[must_use]
    pub fn http(stat_prefix: &str) -> Self {
        Self::labelled("http", stat_prefix, "envoy_http_conn_manager_prefix")
    }

    /// `listener.<address>.`
    #[must_use]
    pub fn listener(address: &Address) -> Self {
        Self::labelled(
            "listener",
            &listener_name(address),
            "envoy_listener_address",
        )
    }

    /// `listener.<stat_prefix>.`
    #[must_use]
    pub fn listener_named(stat_prefix: &str) -> Self {
        Self::labelled("listener", stat_prefix, "envoy_listener_address")
    }

    /// `listener.<address>.http.<stat_prefix>.`, a connection manager's part in a listener, whose own
    /// scope that is.
    #[must_use]
    pub fn listener_http(listener: &Self, stat_prefix: &str) -> Self {
        let prefix = segment(stat_prefix);
        let label = ("envoy_http_conn_manager_prefix", prefix.clone().into());
        listener.inner(&format!("http.{prefix}."), "http.", label)
    }

    /// `listener.<address>.worker_<index>.`, a worker's part in a listener, whose own scope that is.
    #[must_use]
    pub fn listener_worker(listener: &Self, index: usize) -> Self {
        let label = ("envoy_worker_id", index.to_string().into());
        listener.inner(&format!("worker_{index}."), "worker.", label)
    }

    /// `tcp.<stat_prefix>.`, a TCP proxy.
    #[must_use]
    pub fn tcp(stat_prefix: &str) -> Self {
        Self::labelled("tcp", stat_prefix, "envoy_tcp_prefix")
    }

    /// `vhost.<name>.vcluster.<name>.`, a group of requests of a virtual host. As in Envoy both names stand
    /// as they are.
    #[must_use]
    pub fn virtual_cluster(virtual_host: &str, name: &str) -> Self {
        let (host, name) = (virtual_host, name);
        Self {
            prefix: format!("vhost.{host}.vcluster.{name}.").into(),
            family: "vhost.vcluster.".into(),
            namespace: Namespace::Envoy,
            labels: [
                ("envoy_virtual_cluster", name.into()),
                ("envoy_virtual_host", host.into()),
            ]
            .into(),
        }
    }

    /// `vhost.<name>.route.<stat_prefix>.`, the requests of a route.
    #[must_use]
    pub fn route(virtual_host: &str, stat_prefix: &str) -> Self {
        let (host, name) = (virtual_host, stat_prefix);
        Self {
            prefix: format!("vhost.{host}.route.{name}.").into(),
            family: "vhost.route.".into(),
            namespace: Namespace::Envoy,
            labels: [
                ("envoy_virtual_host", host.into()),
                ("envoy_route", name.into()),
            ]
            .into(),
        }
    }

    /// `connection_limit.<stat_prefix>.`
    #[must_use]
    pub fn connection_limit(stat_prefix: &str) -> Self {
        Self::labelled(
            "connection_limit",
            stat_prefix,
            "envoy_connection_limit_prefix",
        )
    }

    /// `local_rate_limit.<stat_prefix>.`, the one of connections.
    #[must_use]
    pub fn network_rate_limit(stat_prefix: &str) -> Self {
        Self::labelled(
            "local_rate_limit",
            stat_prefix,
            "envoy_local_network_ratelimit_prefix",
        )
    }

    /// `listener_local_ratelimit.<stat_prefix>.`, the one of listeners.
    #[must_use]
    pub fn listener_rate_limit(stat_prefix: &str) -> Self {
        Self::labelled(
            "listener_local_ratelimit",
            stat_prefix,
            "envoy_local_listener_ratelimit_prefix",
        )
    }

    /// `proxy_proto.[<stat_prefix>.]`, or `proxy_proto.[<stat_prefix>.]versions.v<version>.`
    #[must_use]
    pub fn proxy_protocol(stat_prefix: &str, version: Option<u8>) -> Self {
        let mut prefix = "proxy_proto.".to_owned();
        let mut labels: Vec<(&'static str, Box<str>)> = Vec::new();
        if !stat_prefix.is_empty() {
            let stat_prefix = segment(stat_prefix);
            prefix.push_str(&stat_prefix);
            prefix.push('.');
            labels.push(("envoy_proxy_protocol_prefix", stat_prefix.into()));
        }
        if let Some(version) = version {
            prefix.push_str(&format!("versions.v{version}."));
            let label = "envoy_proxy_protocol_version";
            labels.push((label, version.to_string().into()));
        }
        Self {
            prefix: prefix.into(),
            family: "proxy_proto.".into(),
            namespace: Namespace::Envoy,
            labels: labels.into(),
        }
    }

    /// `wasm.<name>.`, a filter that is a Wasm component.
    #[must_use]
    pub fn wasm(filter: &str) -> Self {
        let scope = Self::labelled("wasm", filter, "nuncio_wasm_filter");
        Self {
            namespace: Namespace::Nuncio,
            ..scope
        }
    }

    /// The scope of a statistic whose full name is all that is known of it, as of those that filters count.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        const LIMITER: &str = ".http_local_rate_limit.";
        if let Some((prefix, _)) = name.split_once(LIMITER)
            && !prefix.is_empty()
        {
            return Self {
                prefix: format!("{prefix}{LIMITER}").into(),
                family: "http_local_rate_limit.".into(),
                namespace: Namespace::Envoy,
                labels: [("envoy_local_http_ratelimit_prefix", prefix.into())].into(),
            };
        }
        match name.split_once('.') {
            Some(("http", rest)) => Self::of_http_filter(rest),
            Some(("cluster", rest)) => Self::of_grpc(rest),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// Of `<stat_prefix>.<filter>.…`; faults may be counted by who asked, too.
    fn of_http_filter(name: &str) -> Option<Self> {
        let (stat_prefix, rest) = name.split_once('.')?;
        let manager = Self::http(stat_prefix);
        let asked = rest.strip_prefix("fault.");
        Some(match asked.and_then(|rest| rest.rsplit_once('.')) {
            Some((downstream, _)) => {
                let label = ("envoy_fault_downstream_cluster", downstream.into());
                manager.inner(&format!("fault.{downstream}."), "fault.", label)
            }
            None => manager,
        })
    }

    /// Of `<cluster>.grpc.<service>.<method>.…`, the calls of a cluster. As in Envoy the points of a package
    /// count: of `pkg.Service/Method` the first two parts are the labels.
    fn of_grpc(name: &str) -> Option<Self> {
        let (cluster, rest) = name.split_once(".grpc.")?;
        let cluster = Self::cluster(cluster);
        let mut parts = rest.splitn(3, '.');
        let (Some(service), Some(method), Some(_)) = (parts.next(), parts.next(), parts.next())
        else {
            return Some(cluster);
        };
        let label = ("envoy_grpc_bridge_service", service.into());
        let of_service = cluster.inner(&format!("grpc.{service}."), "grpc.", label);
        let label = ("envoy_grpc_bridge_method", method.into());
        Some(of_service.inner(&format!("{method}."), "", label))
    }

    /// A scope within this one, with a label more.
    fn inner(&self, prefix: &str, family: &str, label: (&'static str, Box<str>)) -> Self {
        Self {
            prefix: format!("{}{prefix}", self.prefix).into(),
            family: format!("{}{family}", self.family).into(),
            namespace: self.namespace,
            labels: std::iter::once(label)
                .chain(self.labels.iter().cloned())
                .collect(),
        }
    }

    fn labelled(family: &str, value: &str, label: &'static str) -> Self {
        let value = segment(value);
        Self {
            prefix: format!("{family}.{value}.").into(),
            family: format!("{family}.").into(),
            namespace: Namespace::Envoy,
            labels: [(label, value.into())].into(),
        }
    }
}

/// A name as it stands in the name of a statistic: Envoy puts `_` for `:`.
fn segment(name: &str) -> String {
    name.replace(':', "_")
}

/// `127.0.0.1_10000`, and `[__1]_10000` for an IPv6 address.
fn listener_name(address: &Address) -> String {
    segment(&address.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn scopes_are_named_as_in_envoy() {
        let address = &Address::from(SocketAddr::from(([127, 0, 0, 1], 10_000)));
        for (scope, prefix, family, labels) in [
            (
                Scope::cluster("a:b.c"),
                "cluster.a_b.c.",
                "cluster.",
                vec!["envoy_cluster_name=a_b.c"],
            ),
            (
                Scope::http("in"),
                "http.in.",
                "http.",
                vec!["envoy_http_conn_manager_prefix=in"],
            ),
            (
                Scope::tcp("db"),
                "tcp.db.",
                "tcp.",
                vec!["envoy_tcp_prefix=db"],
            ),
            (
                Scope::listener(address),
                "listener.127.0.0.1_10000.",
                "listener.",
                vec!["envoy_listener_address=127.0.0.1_10000"],
            ),
            (
                Scope::listener_worker(&Scope::listener(address), 3),
                "listener.127.0.0.1_10000.worker_3.",
                "listener.worker.",
                vec![
                    "envoy_worker_id=3",
                    "envoy_listener_address=127.0.0.1_10000",
                ],
            ),
            (
                Scope::listener_http(&Scope::listener_named("edge"), "in"),
                "listener.edge.http.in.",
                "listener.http.",
                vec![
                    "envoy_http_conn_manager_prefix=in",
                    "envoy_listener_address=edge",
                ],
            ),
            (
                Scope::of_name("rl.http_local_rate_limit.ok"),
                "rl.http_local_rate_limit.",
                "http_local_rate_limit.",
                vec!["envoy_local_http_ratelimit_prefix=rl"],
            ),
            (
                Scope::of_name("http.in.cors.origin_valid"),
                "http.in.",
                "http.",
                vec!["envoy_http_conn_manager_prefix=in"],
            ),
            (
                Scope::of_name("http.in.fault.aborts_injected"),
                "http.in.",
                "http.",
                vec!["envoy_http_conn_manager_prefix=in"],
            ),
            (
                Scope::of_name("http.in.fault.web.aborts_injected"),
                "http.in.fault.web.",
                "http.fault.",
                vec![
                    "envoy_fault_downstream_cluster=web",
                    "envoy_http_conn_manager_prefix=in",
                ],
            ),
            (
                Scope::of_name("cluster.a.b.grpc.Service.Method.success"),
                "cluster.a.b.grpc.Service.Method.",
                "cluster.grpc.",
                vec![
                    "envoy_grpc_bridge_method=Method",
                    "envoy_grpc_bridge_service=Service",
                    "envoy_cluster_name=a.b",
                ],
            ),
            (
                Scope::of_name("cluster.a.grpc.success"),
                "cluster.a.",
                "cluster.",
                vec!["envoy_cluster_name=a"],
            ),
            (
                Scope::virtual_cluster("a.ns:80|x", "v:c"),
                "vhost.a.ns:80|x.vcluster.v:c.",
                "vhost.vcluster.",
                vec!["envoy_virtual_cluster=v:c", "envoy_virtual_host=a.ns:80|x"],
            ),
            (
                Scope::route("a.ns:80|x", "r"),
                "vhost.a.ns:80|x.route.r.",
                "vhost.route.",
                vec!["envoy_virtual_host=a.ns:80|x", "envoy_route=r"],
            ),
            (Scope::of_name("my.counter"), "", "", vec![]),
            (Scope::of_name(".http_local_rate_limit.ok"), "", "", vec![]),
            (
                Scope::listener(&Address::Ip("[::1]:80".parse().unwrap())),
                "listener.[__1]_80.",
                "listener.",
                vec!["envoy_listener_address=[__1]_80"],
            ),
        ] {
            assert_eq!(&*scope.prefix, prefix);
            assert_eq!(&*scope.family, family);
            let shown: Vec<String> = scope
                .labels
                .iter()
                .map(|(label, value)| format!("{label}={value}"))
                .collect();
            assert_eq!(shown, labels, "{prefix}");
        }
    }
}
