//! How histograms are shown (`histogram_buckets=`): by quantiles, or by how many values lie in each bucket.
//!
//! Owns the forms that are none of quantiles. Does not own where the buckets end (`observe::stats`).

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::registry::Sample;
use super::super::stats::{Distribution, QUANTILES};
use super::number;

/// How a histogram is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buckets {
    /// By its quantiles.
    Summary,
    /// How many values lie in each bucket or below it.
    Cumulative,
    /// How many lie in each bucket.
    Disjoint,
}

impl Buckets {
    /// Reads the word; `None` where it leaves the choice to the page.
    ///
    /// # Errors
    /// A message for the client when it is none.
    pub(super) fn parse(word: Option<&str>) -> Result<Option<Self>, String> {
        match word {
            None | Some("" | "none") => Ok(None),
            Some("summary") => Ok(Some(Self::Summary)),
            Some("cumulative") => Ok(Some(Self::Cumulative)),
            Some("disjoint") => Ok(Some(Self::Disjoint)),
            Some(_) => {
                Err("usage: /stats?histogram_buckets=(cumulative|disjoint|summary)\n".to_owned())
            }
        }
    }

    /// Each bucket's bound, and how many values of the last interval and of all are in it. None for a
    /// summary, which has no buckets.
    fn of(self, interval: Option<&Distribution>, all: &Distribution) -> Vec<(f64, u64, u64)> {
        let recent = interval.map(|interval| interval.cumulative().collect::<Vec<_>>());
        let recent = recent.unwrap_or_default();
        let (mut recent_before, mut before) = (0, 0);
        let mut buckets = Vec::new();
        for (index, (bound, up_to)) in all.cumulative().enumerate() {
            let recent = recent.get(index).map_or(0, |(_, count)| *count);
            match self {
                Self::Summary => break,
                Self::Cumulative => buckets.push((bound, recent, up_to)),
                Self::Disjoint => {
                    let (inside, inside_of_all) = (recent - recent_before, up_to - before);
                    buckets.push((bound, inside, inside_of_all));
                    (recent_before, before) = (recent, up_to);
                }
            }
        }
        buckets
    }

    /// Appends a histogram as `/stats` shows it.
    pub(super) fn write(
        self,
        out: &mut String,
        interval: Option<&Distribution>,
        all: &Distribution,
    ) {
        if all.count() == 0 {
            out.push_str(" No recorded values");
            return;
        }
        for (bound, recent, ever) in self.of(interval, all) {
            // Writing to a string does not fail.
            let _written = write!(out, " B{}({recent},{ever})", short(bound));
        }
    }

    /// A histogram as `/stats?format=json` shows it.
    pub(super) fn json(self, name: &str, sample: &Sample, all: &Distribution) -> Value {
        let buckets = self.of(sample.interval.as_ref(), all).into_iter();
        let buckets = buckets.map(|(bound, recent, ever)| {
            json!({ "upper_bound": number(Some(bound)), "interval": recent, "cumulative": ever })
        });
        json!({ "name": name, "buckets": buckets.collect::<Vec<_>>() })
    }
}

/// A bound with six digits, as C writes it by default.
fn short(bound: f64) -> String {
    if bound < 1e6 {
        return bound.to_string();
    }
    let text = format!("{bound:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => format!("{mantissa}e+{exponent:0>2}"),
        None => text,
    }
}

/// Appends a histogram as Prometheus' summary: quantiles of the last interval, and the sum and number
/// of all values, which only go up.
pub(super) fn write_summary(
    out: &mut String,
    (name, labels): (&str, &str),
    interval: Option<&Distribution>,
    all: &Distribution,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    for quantile in QUANTILES {
        let value = interval.and_then(|interval| interval.quantile(quantile));
        let value = value.map_or_else(|| "nan".to_owned(), |value| value.to_string());
        // Writing to a string does not fail, here and below.
        let _written = writeln!(
            out,
            "{name}{{{labels}{comma}quantile=\"{quantile}\"}} {value}"
        );
    }
    let _written = writeln!(
        out,
        "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {}",
        all.sum(),
        all.count()
    );
}
