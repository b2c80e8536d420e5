//! Which other protocols the clients of a route may change to.
//!
//! Owns `RouteAction.upgrade_configs` and the lookup in it. Does not own the connection manager's own
//! list (`runtime`), nor what becomes of a stream that changed (`http`).

use super::error::{Problem, Report};
use super::spec::UpgradeSpec;
use crate::proxy_header::ProxyHeader;

/// What stands for the `CONNECT` method among the protocols.
pub const CONNECT: &[u8] = b"CONNECT";

/// `RouteAction.upgrade_configs`.
#[derive(Clone, Debug, Default)]
pub struct Upgrades(Box<[Upgrade]>);

/// What a route says about one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// `upgrade_type`.
    kind: Box<[u8]>,
    /// `enabled`.
    pub enabled: bool,
    /// `connect_config`: whether the bytes behind a `CONNECT` request go to the cluster, not the
    /// request.
    pub terminates: bool,
    /// `connect_config.allow_post`: whether the body of a `POST` is such bytes too.
    pub takes_posts: bool,
    /// `connect_config.proxy_protocol_config`: what those bytes begin with.
    pub proxy_header: Option<ProxyHeader>,
}

impl Upgrades {
    pub(super) fn build(specs: &[UpgradeSpec], report: &mut Report) -> Self {
        let mut built: Vec<Upgrade> = Vec::new();
        let _checked: Vec<()> = report.items("upgrade_configs", specs, |report, spec| {
            let kind = spec.kind.as_bytes();
            if spec.terminates && !kind.eq_ignore_ascii_case(CONNECT) {
                report.field("connect_config", |report| {
                    report.error::<()>(Problem::ConnectConfigOfUpgrade(spec.kind.clone()))
                });
            }
            if built.iter().any(|other| other.is(kind)) {
                report.field("upgrade_type", |report| {
                    report.error::<()>(Problem::DuplicateUpgrade(spec.kind.clone()))
                });
            }
            built.push(Upgrade {
                kind: kind.into(),
                enabled: spec.enabled,
                terminates: spec.terminates,
                takes_posts: spec.takes_posts,
                proxy_header: spec.proxy_header.clone(),
            });
            Some(())
        });
        Self(built.into())
    }

    /// What the route says about `kind`: the value of `upgrade`, or [`CONNECT`].
    #[must_use]
    pub fn find(&self, kind: &[u8]) -> Option<&Upgrade> {
        self.0.iter().find(|upgrade| upgrade.is(kind))
    }
}

impl Upgrade {
    fn is(&self, kind: &[u8]) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }
}
