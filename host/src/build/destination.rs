//! `ORIGINAL_DST` clusters: how requests say where they go.
//!
//! Owns what is checked of them, and places in the dynamic metadata. Called by `clusters`, and by
//! `balancing` for policies.

use super::Workshop;
use crate::config::Place;
use crate::config::cluster::{Cluster as Written, LbConfig, LbPolicy, OriginalDstLbConfig};
use crate::config::metadata_key::{MetadataKey as WrittenKey, Segment};
use crate::config::scalar::Duration as WrittenDuration;
use crate::headers::Name;
use crate::upstream::spec::{DestinationSpec, Discovery, MetadataKey};

/// The field that says where a request goes, where the configuration names no other.
const FIELD: &str = "x-envoy-original-dst-host";

impl Workshop<'_> {
    /// How requests of an `ORIGINAL_DST` cluster name their endpoint.
    pub(super) fn original_destination(
        &mut self,
        written: &Written,
        place: Place<'_>,
    ) -> Discovery {
        if written.lb_policy != LbPolicy::ClusterProvided {
            let message = "an ORIGINAL_DST cluster needs 'lb_policy: CLUSTER_PROVIDED'";
            self.diagnostics.error(place.field("lb_policy"), message);
        }
        if written.load_assignment.is_some() {
            let message = "an ORIGINAL_DST cluster has no endpoints of its own";
            self.diagnostics
                .error(place.field("load_assignment"), message);
        }
        let of_type = written.destinations().map(OriginalDstLbConfig::from);
        let here = match &of_type {
            Some(_) => place.field("cluster_type").field("typed_config"),
            None => place.field("original_dst_lb_config"),
        };
        let config = match (of_type, &written.lb_config) {
            (Some(config), lb_config) => {
                if let Some(LbConfig::OriginalDstLbConfig(_)) = lb_config {
                    let message = "no effect: what 'cluster_type' says counts";
                    let there = place.field("original_dst_lb_config");
                    self.diagnostics.warning(there, message);
                }
                config
            }
            (None, Some(LbConfig::OriginalDstLbConfig(config))) => config.clone(),
            (None, _) => OriginalDstLbConfig::default(),
        };
        let name = match config.http_header_name.as_str() {
            "" => FIELD,
            name => name,
        };
        let field = match Name::parse(name.as_bytes()) {
            Ok(name) => Some(name),
            Err(_) => {
                let message = format!("\"{name}\" is not the name of a field");
                self.diagnostics
                    .error(here.field("http_header_name"), message);
                None
            }
        };
        if !config.use_http_header && !config.http_header_name.is_empty() {
            self.diagnostics
                .error(
                    here.field("http_header_name"),
                    "no field is looked at without 'use_http_header'",
                )
                .hint("set 'use_http_header: true'");
        }
        let key = config.metadata_key.as_ref();
        let cleanup = written.cleanup_interval.map(WrittenDuration::get);
        let default = DestinationSpec::default();
        Discovery::OriginalDestination(DestinationSpec {
            metadata: key.and_then(|key| self.metadata_key(key, here.field("metadata_key"))),
            field: field.filter(|_| config.use_http_header),
            port: config
                .upstream_port_override
                .and_then(|port| u16::try_from(port).ok()),
            cleanup: cleanup.unwrap_or(default.cleanup),
        })
    }

    /// A place in the dynamic metadata, whose values are texts.
    pub(super) fn metadata_key(
        &mut self,
        written: &WrittenKey,
        place: Place<'_>,
    ) -> Option<MetadataKey> {
        let [step] = written.path.as_slice() else {
            self.diagnostics
                .error(
                    place.field("path"),
                    "not supported by nuncio: a path of several keys",
                )
                .hint("filters leave texts, each under one key");
            return None;
        };
        let Segment::Key(key) = &step.segment;
        Some(MetadataKey {
            namespace: written.key.as_str().into(),
            key: key.as_str().into(),
        })
    }
}
