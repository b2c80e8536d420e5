//! The statistics as text: Envoy's `/stats` in its forms, Prometheus' text, and OpenMetrics.
//!
//! Owns which statistics a query selects and how they are written. The forms that Envoy has are
//! the same to the byte. Called by the admin pages.
//!
//! Does not own: what there is to show (`observe::registry`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use regex::Regex;
use serde_json::{Value, json};

use super::registry::{Registry, Sample};
use super::stats::{Distribution, QUANTILES, Reading};

mod buckets;
mod family;
mod openmetrics;
mod prometheus;

pub use buckets::Buckets;
pub use openmetrics::{CONTENT_TYPE as OPENMETRICS_CONTENT_TYPE, openmetrics};
pub use prometheus::prometheus;

/// A kind of statistic, as `type=` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counters,
    Gauges,
    Histograms,
    TextReadouts,
}

/// Which statistics are shown.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    filter: Option<Regex>,
    /// Whether those are shown that the filter does not find.
    inverts: bool,
    used_only: bool,
    kind: Option<Kind>,
    buckets: Option<Buckets>,
}

/// A selection as it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a> {
    /// `filter=`: a regular expression that is searched for in the full name.
    pub filter: Option<&'a str>,
    /// `invert_filter`: those that it does not find.
    pub inverts: bool,
    /// `usedonly`: only what was ever written.
    pub used_only: bool,
    /// `type=`: `Counters`, `Gauges`, `Histograms`, `TextReadouts`, of which there are none, or `All`.
    pub kind: Option<&'a str>,
    /// `histogram_buckets=`: `summary`, `cumulative` or `disjoint`; what is usual without it.
    pub buckets: Option<&'a str>,
}

impl Selection {
    /// Reads the words.
    ///
    /// # Errors
    /// A message for the client, when the expression or the kind is none, or there is no expression to
    /// invert.
    pub fn parse(words: &Words<'_>) -> Result<Self, String> {
        let filter = match words.filter {
            None | Some("") => None,
            Some(filter) => Some(
                Regex::new(filter)
                    .map_err(|error| format!("Invalid regular expression: {error}\n"))?,
            ),
        };
        if words.inverts && filter.is_none() {
            return Err("invert_filter can only be used if filter is also provided".to_owned());
        }
        let kind = match words.kind {
            None | Some("All") => None,
            Some("Counters") => Some(Kind::Counters),
            Some("Gauges") => Some(Kind::Gauges),
            Some("Histograms") => Some(Kind::Histograms),
            Some("TextReadouts") => Some(Kind::TextReadouts),
            Some(_) => {
                return Err(
                    "invalid &type= param, one of All, Counters, Gauges, Histograms, \
                            TextReadouts\n"
                        .to_owned(),
                );
            }
        };
        Ok(Self {
            filter,
            inverts: words.inverts,
            used_only: words.used_only,
            kind,
            buckets: Buckets::parse(words.buckets)?,
        })
    }

    /// How histograms are to be shown, where that was said.
    #[must_use]
    pub const fn buckets(&self) -> Option<Buckets> {
        self.buckets
    }

    fn read(&self, registry: &Registry) -> BTreeMap<String, Sample> {
        let mut samples = registry.read();
        samples.retain(|name, sample| self.takes(name, &sample.reading));
        samples
    }

    fn takes(&self, name: &str, reading: &Reading) -> bool {
        let kind = match reading {
            Reading::Counter(_) => Kind::Counters,
            Reading::Gauge { .. } | Reading::Moment(_) => Kind::Gauges,
            Reading::Histogram(_) => Kind::Histograms,
        };
        self.kind.is_none_or(|wanted| wanted == kind)
            && (!self.used_only || reading.is_used())
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.is_match(name) != self.inverts)
    }
}

/// `/stats`: counters and gauges by name, then histograms by name.
#[must_use]
pub fn text(registry: &Registry, selection: &Selection) -> String {
    let mut out = String::new();
    let mut histograms = String::new();
    for (name, sample) in selection.read(registry) {
        // Writing to a string does not fail.
        let _written = match &sample.reading {
            Reading::Counter(value) => writeln!(out, "{name}: {value}"),
            Reading::Gauge { value, .. } | Reading::Moment(value) => {
                writeln!(out, "{name}: {}", level(*value))
            }
            Reading::Histogram(all) => {
                histograms.push_str(&name);
                histograms.push(':');
                let interval = sample.interval.as_ref();
                match selection.buckets {
                    None | Some(Buckets::Summary) => quantiles_text(&mut histograms, interval, all),
                    Some(buckets) => buckets.write(&mut histograms, interval, all),
                }
                histograms.push('\n');
                Ok(())
            }
        };
    }
    out.push_str(&histograms);
    out
}

/// A gauge's level as shown: the shards of one that moves may sum up to less than nothing.
fn level(value: i64) -> i64 {
    value.max(0)
}

fn quantiles_text(out: &mut String, interval: Option<&Distribution>, all: &Distribution) {
    if all.count() == 0 {
        out.push_str(" No recorded values");
        return;
    }
    let shown = |quantile: Option<f64>| {
        quantile.map_or_else(|| "nan".to_owned(), |value| value.to_string())
    };
    for quantile in QUANTILES {
        let recent = shown(interval.and_then(|interval| interval.quantile(quantile)));
        let ever = shown(all.quantile(quantile));
        let _written = write!(out, " P{}({recent},{ever})", percent(quantile));
    }
}

/// A quantile as a percentage: 0.995 is 99.5.
fn percent(quantile: f64) -> f64 {
    (quantile * 1000.0).round() / 10.0
}

/// `/stats?format=json`.
#[must_use]
pub fn json(registry: &Registry, selection: &Selection) -> Value {
    let mut stats = Vec::new();
    let mut computed = Vec::new();
    for (name, sample) in selection.read(registry) {
        match &sample.reading {
            Reading::Counter(value) => stats.push(json!({ "name": name, "value": value })),
            Reading::Gauge { value, .. } | Reading::Moment(value) => {
                stats.push(json!({ "name": name, "value": level(*value) }));
            }
            Reading::Histogram(all) => {
                if let Some(buckets @ (Buckets::Cumulative | Buckets::Disjoint)) = selection.buckets
                {
                    computed.push(buckets.json(&name, &sample, all));
                    continue;
                }
                let interval = sample.interval.as_ref();
                let values: Vec<Value> = QUANTILES
                    .iter()
                    .map(|quantile| {
                        let recent = interval.and_then(|interval| interval.quantile(*quantile));
                        json!({
                            "cumulative": number(all.quantile(*quantile)),
                            "interval": number(recent),
                        })
                    })
                    .collect();
                computed.push(json!({ "name": name, "values": values }));
            }
        }
    }
    let has_buckets = !matches!(selection.buckets, None | Some(Buckets::Summary));
    if has_buckets && !computed.is_empty() {
        stats.push(json!({ "histograms": computed }));
    } else if !computed.is_empty() {
        let supported: Vec<Value> = QUANTILES
            .iter()
            .map(|quantile| number(Some(percent(*quantile))))
            .collect();
        stats.push(json!({ "histograms": {
            "supported_quantiles": supported,
            "computed_quantiles": computed,
        } }));
    }
    json!({ "stats": stats })
}

/// A number without a fraction where it has none; `null` where there is none.
fn number(value: Option<f64>) -> Value {
    match value {
        None => Value::Null,
        Some(value) if value.fract() == 0.0 && value.abs() < 2_f64.powi(53) => {
            #[expect(clippy::cast_possible_truncation, reason = "whole and small enough")]
            let whole = value as i64;
            Value::from(whole)
        }
        Some(value) => Value::from(value),
    }
}

#[cfg(test)]
mod tests;
