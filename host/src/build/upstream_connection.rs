//! How connections to upstreams are made and kept: to [`Dial`] and its like.

use super::Workshop;
use super::socket_options::keep_alive;
use crate::config::Place;
use crate::config::address::SocketAddress;
use crate::config::cluster::Cluster as Written;
use crate::config::upstream_connection::{BindConfig, FirstFamily, HappyEyeballsConfig};
use crate::upstream::spec::{BindSpec, Dial, Eyeballs, Preconnect, Source};

impl Workshop<'_> {
    /// How a cluster's connections are made.
    pub(super) fn dial(&mut self, written: &Written, place: Place<'_>) -> Option<Dial> {
        let transport = self.transport_of(written, place);
        let matches = self.transport_matches(written, place.field("transport_socket_matches"));
        let options = written.upstream_connection_options.as_ref();
        let dial = Dial {
            transport: transport?,
            matches: matches?,
            bind: match &written.upstream_bind_config {
                Some(bind) => self.bind(bind, place.field("upstream_bind_config")),
                None => self.bind.clone(),
            },
            keepalive: options
                .and_then(|options| options.tcp_keepalive)
                .map(keep_alive),
            eyeballs: options
                .and_then(|options| options.happy_eyeballs_config.as_ref())
                .map_or_else(Eyeballs::default, eyeballs),
        };
        Some(dial)
    }

    /// Where connections come from.
    pub(super) fn bind(&mut self, written: &BindConfig, place: Place<'_>) -> BindSpec {
        let options = self.socket_options(&written.socket_options, place.field("socket_options"));
        let options = options.unwrap_or_default();
        let mut sources: Vec<Source> = Vec::new();
        let mut add = |shop: &mut Self, address: &SocketAddress, at: Place<'_>, options| {
            let Some(address) = shop.literal(address, at) else {
                return;
            };
            let same = |source: &Source| source.ip.is_ipv4() == address.is_ipv4();
            if sources.iter().any(same) {
                let message = "an address of the same family comes before this one";
                shop.diagnostics.error(at, message);
                return;
            }
            sources.push(Source {
                ip: address.ip(),
                port: address.port(),
                options,
            });
        };
        let extra = place.field("extra_source_addresses");
        let additional = place.field("additional_source_addresses");
        match &written.source_address {
            Some(address) => add(self, address, place.field("source_address"), None),
            None if !written.extra_source_addresses.is_empty() => {
                let message = "extra addresses need a 'source_address' that they are beside";
                self.diagnostics.error(extra, message);
            }
            None if !written.additional_source_addresses.is_empty() => {
                let message = "additional addresses need a 'source_address' that they are beside";
                self.diagnostics.error(additional, message);
            }
            None => {}
        }
        if !written.extra_source_addresses.is_empty()
            && !written.additional_source_addresses.is_empty()
        {
            let message =
                "'extra_source_addresses' and 'additional_source_addresses' exclude each other";
            self.diagnostics.error(additional, message);
        }
        for (index, source) in written.extra_source_addresses.iter().enumerate() {
            let here = extra.index(index);
            let options = source.socket_options.as_ref().map(|options| {
                let at = here.field("socket_options").field("socket_options");
                self.socket_options(&options.socket_options, at)
                    .unwrap_or_default()
            });
            add(self, &source.address, here.field("address"), options);
        }
        for (index, address) in written.additional_source_addresses.iter().enumerate() {
            add(self, address, additional.index(index), None);
        }
        BindSpec {
            sources,
            is_free: written.freebind.unwrap_or(false),
            options,
        }
    }
}

fn eyeballs(written: &HappyEyeballsConfig) -> Eyeballs {
    Eyeballs {
        v6_first: match written.first_address_family_version {
            FirstFamily::Default => None,
            FirstFamily::V4 => Some(false),
            FirstFamily::V6 => Some(true),
        },
        first: written.first_address_family_count.unwrap_or(1),
    }
}

/// `preconnect_policy`.
pub(super) fn preconnect(written: &Written) -> Preconnect {
    let policy = written.preconnect_policy.as_ref();
    let or_one = |ratio: Option<f64>| ratio.unwrap_or(1.0);
    policy.map_or_else(Preconnect::default, |policy| Preconnect {
        per_upstream: or_one(policy.per_upstream_preconnect_ratio),
        predictive: or_one(policy.predictive_preconnect_ratio),
    })
}
