//! Prometheus' text form (version 0.0.4) as Envoy writes it: `# TYPE` lines and no help, `{}` where
//! there are no labels, counters before gauges before histograms.

use std::fmt::Write as _;

use super::super::naming::Label;
use super::super::registry::Registry;
use super::super::stats::{Distribution, Reading};
use super::buckets::{Buckets, write_summary};
use super::family::{Families, Family, Labelled};
use super::{Selection, level};

/// `/stats/prometheus`.
#[must_use]
pub fn prometheus(registry: &Registry, selection: &Selection) -> String {
    let families = Families::read(registry, selection);
    let histogram = match selection.buckets() {
        Some(Buckets::Summary) => "summary",
        _ => "histogram",
    };
    let mut out = String::new();
    for (kind, families) in [
        ("counter", families.counters),
        ("gauge", families.gauges),
        (histogram, families.histograms),
    ] {
        for family in families {
            write_family(&mut out, &family, kind);
        }
    }
    out
}

fn write_family(out: &mut String, family: &Family, kind: &str) {
    let name = &family.name;
    // Writing to a string does not fail, here and below.
    let _written = writeln!(out, "# TYPE {name} {kind}");
    for Labelled {
        labels,
        reading,
        interval,
    } in &family.samples
    {
        let labels = joined(labels);
        let _written = match reading {
            Reading::Counter(value) => writeln!(out, "{name}{{{labels}}} {value}"),
            Reading::Gauge { value, .. } | Reading::Moment(value) => {
                writeln!(out, "{name}{{{labels}}} {}", level(*value))
            }
            Reading::Histogram(all) if kind == "summary" => {
                write_summary(out, (name, &labels), interval.as_ref(), all);
                Ok(())
            }
            Reading::Histogram(all) => {
                write_histogram(out, name, &labels, all);
                Ok(())
            }
        };
    }
}

fn write_histogram(out: &mut String, name: &str, labels: &str, all: &Distribution) {
    let (comma, count) = (if labels.is_empty() { "" } else { "," }, all.count());
    for (bound, up_to) in all.cumulative() {
        let _written = writeln!(
            out,
            "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {up_to}"
        );
    }
    let _written = writeln!(
        out,
        "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}\n\
         {name}_sum{{{labels}}} {}\n\
         {name}_count{{{labels}}} {count}",
        all.sum()
    );
}

fn joined(labels: &[Label]) -> String {
    let mut out = String::new();
    for (label, value) in labels {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(label);
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out
}
