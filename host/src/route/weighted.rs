//! One cluster of several by weight (`WeightedCluster`).
//!
//! Owns what the choice goes by: the stream's number, a number in a header, or the hash of the
//! request; and the weights, which runtime values may override. Called by `action`.

use super::action::{ClusterName, Context, Target, cluster_header};
use super::error::{Problem, Report};
use super::hash::HashPolicies;
use super::mutation::Level;
use super::rewrite::literal;
use super::spec::{RandomSpec, WeightedClustersSpec, WeightedSpec};
use crate::exchange::Exchange;
use crate::headers::Name;
use crate::values::Weights;

/// `WeightedCluster`, compiled.
#[derive(Clone, Debug)]
pub struct Weighted {
    entries: Box<[(u32, Target)]>,
    /// Sum of the weights; not zero.
    total: u64,
    weights: Option<Weights>,
    random: Random,
}

/// `random_value_specifier`.
#[derive(Clone, Debug)]
enum Random {
    Stream,
    Header(Name),
    Hash,
}

impl Weighted {
    pub(super) fn build(
        spec: &WeightedClustersSpec,
        context: &Context<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let mut total = 0;
        let entries: Box<[_]> = report.items("clusters", &spec.clusters, |report, spec| {
            total += u64::from(spec.weight);
            Some((spec.weight, target(spec, context, report)?))
        });
        let random = match &spec.random {
            RandomSpec::Stream => Some(Random::Stream),
            RandomSpec::Hash => Some(Random::Hash),
            RandomSpec::Header(name) => report
                .field("header_name", |report| {
                    report.take(Name::parse(name.as_bytes()).map_err(Problem::HeaderName))
                })
                .map(Random::Header),
        };
        if spec.clusters.is_empty() {
            return report.field("clusters", |report| report.error(Problem::NoItems));
        }
        match total {
            0 => report.error(Problem::NoWeight),
            total if total > u64::from(u32::MAX) => report.error(Problem::WeightSum(total)),
            total => Some(Self {
                entries,
                total,
                weights: spec.weights.clone(),
                random: random?,
            }),
        }
    }

    pub(super) fn get(&self, entry: usize) -> Option<&Target> {
        self.entries.get(entry).map(|(_, target)| target)
    }

    /// The entry for a request, with its index; `None` where all weights are 0 now.
    pub(super) fn choose(
        &self,
        exchange: &Exchange,
        random: u64,
        hash: &HashPolicies,
    ) -> Option<(usize, &Target)> {
        let number = match &self.random {
            Random::Stream => None,
            Random::Header(name) => number(exchange, name),
            Random::Hash => hash.hash(exchange, None),
        };
        let number = number.unwrap_or(random);
        let overridden = self.weights.as_ref().and_then(|weights| {
            weights.read(|of| {
                let weight = |(index, (weight, _)): (usize, &(u32, Target))| of(index, *weight);
                let total = self.entries.iter().enumerate().map(weight);
                let total = total.map(u64::from).sum();
                self.at(number, total, of)
            })
        });
        let index =
            overridden.unwrap_or_else(|| self.at(number, self.total, |_, weight| weight))?;
        Some((index, self.get(index)?))
    }

    /// The entry in whose share of `total` the number lies.
    fn at(&self, number: u64, total: u64, weight: impl Fn(usize, u32) -> u32) -> Option<usize> {
        let mut left = number.checked_rem(total)?;
        self.entries
            .iter()
            .enumerate()
            .position(|(index, (own, _))| {
                let weight = u64::from(weight(index, *own));
                let found = left < weight;
                left = left.saturating_sub(weight);
                found
            })
    }
}

/// The number in a header that stands there once.
fn number(exchange: &Exchange, name: &Name) -> Option<u64> {
    let mut values = exchange.request.get_all(name);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    str::from_utf8(value).ok()?.trim().parse().ok()
}

fn target(spec: &WeightedSpec, context: &Context<'_>, report: &mut Report) -> Option<Target> {
    let cluster = match (spec.name.as_str(), spec.cluster_header.as_str()) {
        ("", "") => report.error(Problem::NoClusterName),
        (_, "") => report
            .field("name", |report| context.cluster(&spec.name, report))
            .map(ClusterName::Fixed),
        ("", header) => cluster_header(header, report),
        _ => report.error(Problem::TwoClusterNames),
    };
    let host_rewrite = literal(&spec.host_rewrite_literal, report);
    let level = Level::build(&spec.request_headers, &spec.response_headers, report);
    Some(Target {
        cluster: cluster?,
        criteria: spec.criteria,
        host_rewrite,
        level,
        variants: spec.variants.clone(),
    })
}
