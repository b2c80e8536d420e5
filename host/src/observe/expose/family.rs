//! Statistics grouped as Prometheus wants them: by name, with labels.
//!
//! Owns the way from a statistic's scope and name to a metric's name and labels, which is Envoy's.

use std::collections::BTreeMap;

use super::super::naming::Label;
use super::super::registry::{Namespace, Registry};
use super::super::stats::{Distribution, Reading};
use super::Selection;

/// All samples of one metric name.
#[derive(Debug)]
pub(super) struct Family {
    /// As shown: `envoy_cluster_upstream_rq_xx`.
    pub(super) name: String,
    /// In the order of the full names of `/stats`.
    pub(super) samples: Vec<Labelled>,
}

/// A reading with its labels.
#[derive(Debug)]
pub(super) struct Labelled {
    pub(super) labels: Vec<Label>,
    pub(super) reading: Reading,
    /// Of a histogram: the last interval alone.
    pub(super) interval: Option<Distribution>,
}

/// The families of one kind each, in Envoy's order.
#[derive(Debug, Default)]
pub(super) struct Families {
    pub(super) counters: Vec<Family>,
    pub(super) gauges: Vec<Family>,
    pub(super) histograms: Vec<Family>,
}

/// Families are sorted by the name that the labels were taken out of, with its points: they come
/// before the `_` that they become, so all of `cluster.` stands before `cluster_manager.`.
type Sorted = BTreeMap<(Namespace, String), Vec<Labelled>>;

impl Families {
    /// Reads and groups what is selected.
    pub(super) fn read(registry: &Registry, selection: &Selection) -> Self {
        let (mut counters, mut gauges, mut histograms) =
            (Sorted::new(), Sorted::new(), Sorted::new());
        let naming = registry.naming();
        for sample in selection.read(registry).into_values() {
            let family = match &sample.reading {
                Reading::Counter(_) => &mut counters,
                Reading::Gauge { .. } | Reading::Moment(_) => &mut gauges,
                Reading::Histogram(_) => &mut histograms,
            };
            let (name, labels) = naming.split(&sample.scope, &sample.name);
            let key = (sample.scope.namespace, name);
            family.entry(key).or_default().push(Labelled {
                labels,
                reading: sample.reading,
                interval: sample.interval,
            });
        }
        let named = |sorted: Sorted| {
            let family = |((namespace, dotted), samples): ((Namespace, String), _)| Family {
                name: format!("{}_{}", namespace.as_str(), sanitized(&dotted)),
                samples,
            };
            sorted.into_iter().map(family).collect()
        };
        Self {
            counters: named(counters),
            gauges: named(gauges),
            histograms: named(histograms),
        }
    }
}

/// A name with `_` for everything that a metric's name may not have.
fn sanitized(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}
