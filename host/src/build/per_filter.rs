//! The filters of a chain while its routes are being built: what `typed_per_filter_config` makes of
//! each of them.
//!
//! Owns the resolution: which filters a key names, which are left out, and which configurations meet
//! on the way from the route configuration to a route. Each combination that occurs becomes one
//! configuration of the filter, so that a request only has to look up a number. Called by `routes`
//! level by level, from the outside inwards; filters themselves are made in `filters`.
//!
//! As in Envoy, the most specific place that says whether a filter is left out decides that, and a
//! configuration says that it is not.

use std::rc::Rc;
use std::sync::Arc;

use super::Workshop;
use super::filters::EMPTY;
use crate::config::filter::cors::OldCorsPolicy;
use crate::config::filter::per_route::{PerFilterConfig, PerFilterConfigs};
use crate::config::filter::{HttpFilter, HttpFilterConfig};
use crate::config::{Place, json as config_json};
use crate::nearest::nearest;
use crate::variant::{Variant, Variants};
use crate::wasm::{FilterSlot, RouteConfig, SlotBuilder};

/// The filters of a connection manager, in their order, and behind them those of its upgrades that
/// have filters of their own.
pub(super) struct Chain {
    filters: Vec<Filter>,
    /// Where the filters of the manager begin, and of each of those upgrades.
    parts: Vec<usize>,
    /// Numbers of places where filters are configured for routes.
    places: u32,
}

/// One filter.
struct Filter {
    name: String,
    kind: Kind,
    off: bool,
    /// None where it could not be made, which was told.
    slot: Option<SlotBuilder>,
}

/// What a filter takes as its configuration for routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// None.
    Nothing,
    LocalRateLimit,
    HeaderMutation,
    Cors,
    Csrf,
    Buffer,
    Fault,
    HeaderToMetadata,
    StatefulSession,
    Wasm,
}

impl Kind {
    const fn of(written: &HttpFilterConfig) -> Self {
        match written {
            HttpFilterConfig::Router(_)
            | HttpFilterConfig::PassedOver(_)
            | HttpFilterConfig::GrpcWeb(_)
            | HttpFilterConfig::GrpcHttp1Bridge(_)
            | HttpFilterConfig::GrpcStats(_)
            | HttpFilterConfig::HealthCheck(_) => Self::Nothing,
            HttpFilterConfig::LocalRateLimit(_) => Self::LocalRateLimit,
            HttpFilterConfig::HeaderMutation(_) => Self::HeaderMutation,
            HttpFilterConfig::Cors(_) => Self::Cors,
            HttpFilterConfig::Csrf(_) => Self::Csrf,
            HttpFilterConfig::Buffer(_) => Self::Buffer,
            HttpFilterConfig::Fault(_) => Self::Fault,
            HttpFilterConfig::HeaderToMetadata(_) => Self::HeaderToMetadata,
            HttpFilterConfig::StatefulSession(_) => Self::StatefulSession,
            HttpFilterConfig::Wasm(_) => Self::Wasm,
        }
    }
}

/// What counts at one place of a route configuration: what is written there, and further out.
#[derive(Clone)]
pub(super) struct Level(Rc<Vec<Effective>>, Variants);

/// What counts for one filter.
#[derive(Clone, Default)]
struct Effective {
    off: bool,
    /// From the outside inwards.
    configs: Vec<RouteConfig>,
    variant: Variant,
}

/// What is written for a filter at one place.
enum Override {
    /// It is left out.
    Off,
    /// It is there.
    On,
    /// It is there, and has this configuration, which is one for filters of that kind.
    Configured(Kind, Arc<str>),
}

impl Level {
    /// Which configuration each filter has.
    pub(super) fn variants(&self) -> Variants {
        self.1.clone()
    }

    fn new(effective: Vec<Effective>) -> Self {
        let plain = effective
            .iter()
            .all(|filter| filter.variant == Variant::BASE && !filter.off);
        let variants = effective.iter().map(|filter| match filter.off {
            true => filter.variant.off(),
            false => filter.variant,
        });
        let variants = (!plain).then(|| variants.collect());
        Self(Rc::new(effective), variants)
    }
}

impl Chain {
    pub(super) const fn new() -> Self {
        Self {
            filters: Vec::new(),
            parts: Vec::new(),
            places: 0,
        }
    }

    /// What is pushed next is of the next part.
    pub(super) fn begin_part(&mut self) {
        self.parts.push(self.filters.len());
    }

    pub(super) fn push(&mut self, written: &HttpFilter, slot: Option<SlotBuilder>) {
        self.filters.push(Filter {
            name: written.name.clone(),
            kind: Kind::of(&written.typed_config),
            off: written.disabled,
            slot,
        });
    }

    /// What counts where nothing is written for routes.
    pub(super) fn outermost(&self) -> Level {
        let filters = self.filters.iter();
        Level::new(
            filters
                .map(|filter| Effective {
                    off: filter.off,
                    ..Effective::default()
                })
                .collect(),
        )
    }

    /// The slots of each part with the place of its first filter, once all routes are built.
    pub(super) fn finish(mut self) -> Vec<(usize, Arc<[FilterSlot]>)> {
        let mut parts: Vec<_> = self
            .parts
            .iter()
            .rev()
            .map(|first| {
                let slots = self
                    .filters
                    .drain(*first..)
                    .filter_map(|filter| filter.slot);
                (*first, slots.map(SlotBuilder::finish).collect())
            })
            .collect();
        parts.reverse();
        parts
    }
}

impl Workshop<'_> {
    /// What counts where `written` is inside of `outer`.
    pub(super) fn level(
        &mut self,
        chain: &mut Chain,
        outer: &Level,
        written: &PerFilterConfigs,
        place: Place<'_>,
    ) -> Level {
        if written.is_empty() {
            return outer.clone();
        }
        let place = place.field("typed_per_filter_config");
        let mut level = Vec::clone(&outer.0);
        for (name, config) in written {
            let here = place.key(name);
            if matches!(config, PerFilterConfig::Nothing(_)) {
                let message = "missing field '@type'";
                self.diagnostics.error(here, message);
                continue;
            }
            let Some(change) = self.read(config, here) else {
                continue;
            };
            if !chain.filters.iter().any(|filter| filter.name == *name) {
                self.no_such_filter(chain, name, here);
                continue;
            }
            chain.places += 1;
            let id = chain.places;
            for (filter, effective) in chain.filters.iter_mut().zip(&mut level) {
                if filter.name == *name {
                    self.apply(filter, effective, &change, id, here);
                }
            }
        }
        Level::new(level)
    }

    /// What counts where a policy in the older form is inside of `outer`.
    pub(super) fn cors_level(
        &mut self,
        chain: &mut Chain,
        outer: &Level,
        written: Option<&OldCorsPolicy>,
        place: Place<'_>,
    ) -> Level {
        let Some(policy) = written else {
            return outer.clone();
        };
        let place = place.field("cors");
        if !chain.filters.iter().any(|filter| filter.kind == Kind::Cors) {
            self.diagnostics
                .warning(
                    place,
                    "this policy does nothing: its filter is not in the chain",
                )
                .hint("add envoy.filters.http.cors to http_filters, before the router");
            return outer.clone();
        }
        let mut level = Vec::clone(&outer.0);
        chain.places += 1;
        let id = chain.places;
        let mut document = config_json::to_value(policy);
        if let Some(fields) = document.as_object_mut() {
            let name = "type.googleapis.com/envoy.config.route.v3.CorsPolicy";
            fields.insert("@type".to_owned(), name.into());
        }
        let document: Arc<str> = document.to_string().into();
        for (filter, effective) in chain.filters.iter_mut().zip(&mut level) {
            if filter.kind == Kind::Cors {
                self.configure(filter, effective, &document, id, place);
            }
        }
        Level::new(level)
    }

    fn no_such_filter(&mut self, chain: &Chain, name: &str, place: Place<'_>) {
        let message = format!("this has no effect: no filter of the chain is named \"{name}\"");
        let names = chain.filters.iter().map(|filter| &*filter.name);
        let near = nearest(name, names.clone());
        let hint = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("its filters: {}", names.collect::<Vec<_>>().join(", ")),
        };
        self.diagnostics.warning(place, message).hint(hint);
    }

    fn read(&mut self, written: &PerFilterConfig, place: Place<'_>) -> Option<Override> {
        let (kind, document) = match written {
            PerFilterConfig::LocalRateLimit(config) => {
                self.check_limit(config, place);
                (Kind::LocalRateLimit, config_json::to_string(config))
            }
            PerFilterConfig::HeaderMutation(config) => {
                let configuration = config_json::to_string(config);
                self.warn_without_value(&configuration, EMPTY, place);
                (Kind::HeaderMutation, configuration)
            }
            PerFilterConfig::Cors(config) => (Kind::Cors, config_json::to_string(config)),
            PerFilterConfig::Csrf(config) => (Kind::Csrf, config_json::to_string(config)),
            PerFilterConfig::Buffer(config) => (Kind::Buffer, config_json::to_string(config)),
            PerFilterConfig::Fault(config) => (Kind::Fault, config_json::to_string(config)),
            PerFilterConfig::HeaderToMetadata(config) => {
                (Kind::HeaderToMetadata, config_json::to_string(config))
            }
            PerFilterConfig::StatefulSession(config) => {
                (Kind::StatefulSession, config_json::to_string(config))
            }
            PerFilterConfig::Wasm(config) => {
                let configuration = config.configuration.as_ref();
                let document = configuration.map(|raw| raw.get().to_string());
                (Kind::Wasm, document.unwrap_or_else(|| "null".to_owned()))
            }
            PerFilterConfig::Nothing(_) => return Some(Override::On),
            PerFilterConfig::FilterConfig(config) => {
                if config.disabled {
                    return Some(Override::Off);
                }
                let place = place.field("config");
                return match config.config.as_deref() {
                    Some(PerFilterConfig::FilterConfig(_)) => {
                        let message = "a FilterConfig cannot hold another one";
                        self.diagnostics.error(place, message);
                        None
                    }
                    Some(inner) => self.read(inner, place),
                    None => {
                        self.diagnostics
                            .error(place, "missing field 'config'")
                            .hint("config: {} enables the filter as it is configured otherwise");
                        None
                    }
                };
            }
        };
        Some(Override::Configured(kind, document.into()))
    }

    fn apply(
        &mut self,
        filter: &mut Filter,
        effective: &mut Effective,
        change: &Override,
        id: u32,
        place: Place<'_>,
    ) {
        effective.off = matches!(change, Override::Off);
        let Override::Configured(kind, document) = change else {
            return;
        };
        if *kind == filter.kind {
            self.configure(filter, effective, document, id, place);
        } else {
            let message = format!(
                "this has no effect: it configures another kind of filter than \"{}\"",
                filter.name
            );
            self.diagnostics.warning(place, message);
        }
    }

    fn configure(
        &mut self,
        filter: &mut Filter,
        effective: &mut Effective,
        document: &Arc<str>,
        id: u32,
        place: Place<'_>,
    ) {
        effective.configs.push(RouteConfig {
            id,
            document: Arc::clone(document),
        });
        let Some(slot) = &mut filter.slot else {
            return;
        };
        match slot.for_route(effective.configs.clone()) {
            Ok(variant) => effective.variant = variant,
            Err(error) => {
                self.diagnostics.error(place, super::chain(&error));
            }
        }
    }
}
