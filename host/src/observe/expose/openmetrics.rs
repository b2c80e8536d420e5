//! OpenMetrics 1.0 text, for scrapers that ask for it: help, an end mark, and the same names.
//!
//! Owns the translation only; the text is written by `prometheus-client`. OpenMetrics wants the
//! samples of a counter to end in `_total`. A counter of Envoy's that does is one here; the others
//! would have to be renamed, so their type is `unknown`, and every name is that of the classic text.

use std::collections::BTreeSet;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use super::super::naming::Label;
use super::super::registry::Registry;
use super::super::stats::{Distribution, Reading};
use super::family::{Families, Family, Labelled};
use super::{Selection, level};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/stats/prometheus?format=openmetrics`.
#[must_use]
pub fn openmetrics(registry: &Registry, selection: &Selection) -> String {
    let mut collected = prometheus_client::registry::Registry::default();
    collected.register_collector(Box::new(Scrape(Families::read(registry, selection))));
    let mut out = String::new();
    match prometheus_client::encoding::text::encode(&mut out, &collected) {
        Ok(()) => out,
        // Writing to a string does not fail, and nothing else in there does.
        Err(fmt::Error) => String::new(),
    }
}

/// What one scrape shows.
#[derive(Debug)]
struct Scrape(Families);

/// Labels as the encoder takes them.
type Labels = Vec<Label>;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Families {
            counters,
            gauges,
            histograms,
        } = &self.0;
        let taken: BTreeSet<&str> = [counters, gauges, histograms]
            .into_iter()
            .flatten()
            .map(|f| f.name.as_str())
            .collect();
        for family in counters {
            let base = family
                .name
                .strip_suffix("_total")
                .filter(|base| !taken.contains(base));
            match base {
                Some(base) => write(&mut encoder, family, base, MetricType::Counter)?,
                None => write(&mut encoder, family, &family.name, MetricType::Unknown)?,
            }
        }
        for family in gauges {
            write(&mut encoder, family, &family.name, MetricType::Gauge)?;
        }
        for family in histograms {
            write(&mut encoder, family, &family.name, MetricType::Histogram)?;
        }
        Ok(())
    }
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family,
    name: &str,
    kind: MetricType,
) -> fmt::Result {
    let help = help(&family.name);
    let is_counter = matches!(kind, MetricType::Counter);
    let mut metric = encoder.encode_descriptor(name, &help, None, kind)?;
    for Labelled {
        labels, reading, ..
    } in &family.samples
    {
        let sample = metric.encode_family(labels)?;
        write_sample(sample, reading, is_counter)?;
    }
    Ok(())
}

fn write_sample(mut sample: MetricEncoder<'_>, reading: &Reading, is_counter: bool) -> fmt::Result {
    match reading {
        Reading::Counter(value) if is_counter => {
            sample.encode_counter::<Labels, u64, u64>(value, None)
        }
        // A sample without a suffix, which is what an unknown one has too.
        Reading::Counter(value) => sample.encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX)),
        Reading::Gauge { value, .. } | Reading::Moment(value) => {
            sample.encode_gauge(&level(*value))
        }
        Reading::Histogram(all) => {
            #[expect(clippy::cast_precision_loss, reason = "the encoder takes sums as f64")]
            let sum = all.sum() as f64;
            sample.encode_histogram::<Labels>(sum, all.count(), &buckets(all), None)
        }
    }
}

/// Counts of each bucket alone, the one without a bound last.
fn buckets(all: &Distribution) -> Vec<(f64, u64)> {
    let mut below = 0;
    let mut buckets = Vec::new();
    for (bound, up_to) in all.cumulative().chain([(f64::INFINITY, all.count())]) {
        buckets.push((bound, up_to.saturating_sub(below)));
        below = up_to;
    }
    buckets
}

/// What a metric is about, as far as its name says.
fn help(name: &str) -> String {
    let (by, rest) = name.split_once('_').unwrap_or(("", name));
    match by {
        "envoy" => format!("Envoy's statistic {}", rest.replace('_', " ")),
        _ => rest.replace('_', " "),
    }
}
