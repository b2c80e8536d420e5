//! What a configuration says about statistics as a whole (`StatsConfig`): which of them there are, what of
//! their names is a label in Prometheus' form, and where the buckets of histograms end.
//!
//! Owns the words and how they apply to a name. They are looked at when somebody reads statistics, so
//! that counting costs the same whatever they say. Made by `build`, asked by `observe::registry` and
//! `observe::expose`.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use regex::Regex;

use super::registry::Scope;
use super::stats::{Bounds, Name};

/// Whether a full name is one of those that are meant.
pub type Test = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A name and its value.
pub type Label = (String, String);

/// See the module's page. By default all is as in Envoy without a `StatsConfig`.
#[derive(Default)]
pub struct Naming {
    /// `stats_matcher`: which statistics there are; all where there is none.
    pub is_kept: Option<Test>,
    /// Which of Envoy's own labels are taken out of names.
    pub defaults: Defaults,
    /// `stats_tags` with a `fixed_value`.
    pub fixed: Vec<Label>,
    /// `stats_tags` with a `regex`.
    pub tags: Vec<Tag>,
    /// `histogram_bucket_settings`: the first that is meant counts.
    pub buckets: Vec<(Test, Arc<Bounds>)>,
}

/// `use_all_default_tags`, and `stats_tags` that only name one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Defaults {
    /// All.
    #[default]
    All,
    /// Those with these labels.
    Only(BTreeSet<String>),
}

/// A label that an expression finds.
#[derive(Debug)]
pub struct Tag {
    label: String,
    regex: Regex,
    /// Whether the expression says how the name begins: such a label is shown behind Envoy's own.
    is_anchored: bool,
}

impl Tag {
    /// A label. The first group of the expression is what is taken out of a name, the second one, or else
    /// the same, the value.
    ///
    /// # Errors
    /// That of the expression.
    pub fn new(label: &str, regex: &str) -> Result<Self, Box<regex::Error>> {
        Ok(Self {
            label: label_of(label),
            is_anchored: is_anchored(regex),
            regex: Regex::new(regex)?,
        })
    }
}

/// Whether an expression begins with a word and a point, as Envoy looks for it.
fn is_anchored(regex: &str) -> bool {
    let Some(rest) = regex.strip_prefix('^') else {
        return false;
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let behind = rest.trim_start_matches(is_word);
    behind.len() < rest.len() && (behind.starts_with("\\.") || behind.starts_with("(?=\\."))
}

/// A tag's name as that of a label: `_` for what a label may not have.
#[must_use]
pub fn label_of(tag: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    tag.chars().map(allowed).collect()
}

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Naming")
            .field("defaults", &self.defaults)
            .field("fixed", &self.fixed)
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}

impl Naming {
    /// Whether there is a statistic of that full name.
    #[must_use]
    pub fn keeps(&self, name: &str) -> bool {
        self.is_kept.as_ref().is_none_or(|is_kept| is_kept(name))
    }

    /// Where the buckets of the histogram of that full name end, where that is said.
    #[must_use]
    pub fn bounds(&self, name: &str) -> Option<&Arc<Bounds>> {
        let mut buckets = self.buckets.iter();
        let found = buckets.find(|(is_meant, _)| is_meant(name));
        found.map(|(_, bounds)| bounds)
    }

    /// A statistic's name without what labels say, and the labels: the status first, as in Envoy.
    #[must_use]
    pub fn split(&self, scope: &Scope, name: &Name) -> (String, Vec<Label>) {
        if self.defaults == Defaults::All && self.tags.is_empty() {
            return self.split_by_default(scope, name);
        }
        let full = format!("{}{name}", scope.prefix);
        let is_shown = |cut: &Cut| match &self.defaults {
            Defaults::All => true,
            Defaults::Only(labels) => labels.contains(cut.label),
        };
        let own = cut_of_name(scope.prefix.len(), name);
        let own = own.into_iter().filter(&is_shown);
        let of_scope: Vec<Cut> = cuts_of_scope(scope).into_iter().filter(is_shown).collect();
        let mut taken = vec![false; full.len()];
        let mut labels = Vec::new();
        let mut take = |cut: Cut, labels: &mut Vec<Label>| {
            if let Some(range) = taken.get_mut(cut.range.clone()) {
                range.fill(true);
            }
            labels.push((cut.label.to_owned(), cut.value));
        };
        for cut in own {
            take(cut, &mut labels);
        }
        labels.extend(self.fixed.iter().cloned());
        let found = |tag: &Tag| {
            let groups = tag.regex.captures(&full)?;
            let taken = groups.get(1)?;
            let value = groups.get(2).unwrap_or(taken).as_str().to_owned();
            Some((tag.label.clone(), value, taken.range()))
        };
        let (behind, before): (Vec<&Tag>, Vec<&Tag>) =
            self.tags.iter().partition(|tag| tag.is_anchored);
        let before: Vec<_> = before.into_iter().filter_map(found).collect();
        let behind: Vec<_> = behind.into_iter().filter_map(found).collect();
        let mut ranges = Vec::new();
        for (label, value, range) in before {
            labels.push((label, value));
            ranges.push(range);
        }
        for cut in of_scope {
            take(cut, &mut labels);
        }
        for (label, value, range) in behind {
            labels.push((label, value));
            ranges.push(range);
        }
        for range in ranges {
            if let Some(range) = taken.get_mut(range) {
                range.fill(true);
            }
        }
        let left = full.bytes().zip(taken).filter(|(_, taken)| !taken);
        let left = left.map(|(byte, _)| byte).collect::<Vec<u8>>();
        (String::from_utf8_lossy(&left).into_owned(), once(labels))
    }

    fn split_by_default(&self, scope: &Scope, name: &Name) -> (String, Vec<Label>) {
        let (rest, own) = match name {
            Name::Plain(name) => (name.to_string(), None),
            Name::Code(base, code) => ((*base).to_owned(), Some((CODE, code.to_string()))),
            Name::Class(base, class) => (format!("{base}_xx"), Some((CLASS, class.to_string()))),
            Name::Labelled {
                before,
                label,
                value,
                after,
            } => {
                let rest = match *after {
                    "" => (*before).to_owned(),
                    after => format!("{before}.{after}"),
                };
                (rest, Some((*label, value.to_string())))
            }
            Name::UnknownCode(_) => (name.to_string(), None),
        };
        let shown = |(label, value): (&str, String)| (label.to_owned(), value);
        let of_scope = scope.labels.iter();
        let of_scope = of_scope.map(|(label, value)| (*label, value.to_string()));
        let labels = own.into_iter().map(shown);
        let labels = labels.chain(self.fixed.iter().cloned());
        (
            format!("{}{rest}", scope.family),
            once(labels.chain(of_scope.map(shown)).collect()),
        )
    }
}

/// Each name once, with its first value: a sample on which one is there twice is read by nobody.
fn once(mut labels: Vec<Label>) -> Vec<Label> {
    let mut at = 0;
    while let Some((name, _)) = labels.get(at) {
        let name = name.clone();
        at += 1;
        let mut place = 0;
        labels.retain(|(other, _)| {
            place += 1;
            place <= at || *other != name
        });
    }
    labels
}

const CODE: &str = "envoy_response_code";
const CLASS: &str = "envoy_response_code_class";

/// What a label of Envoy's own takes out of a full name.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    label: &'static str,
    value: String,
    range: Range<usize>,
}

/// That of a statistic's own name, which begins at `start`.
fn cut_of_name(start: usize, name: &Name) -> Option<Cut> {
    Some(match name {
        Name::Plain(_) | Name::UnknownCode(_) => return None,
        Name::Code(base, code) => {
            let (from, value) = (start + base.len(), code.to_string());
            Cut {
                label: CODE,
                range: from..from + 1 + value.len(),
                value,
            }
        }
        Name::Class(base, class) => {
            let (from, value) = (start + base.len() + 1, class.to_string());
            Cut {
                label: CLASS,
                range: from..from + value.len(),
                value,
            }
        }
        Name::Labelled {
            before,
            label,
            value,
            ..
        } => {
            let from = start + before.len();
            Cut {
                label,
                value: value.to_string(),
                range: from..from + 1 + value.len(),
            }
        }
    })
}

/// Those of a scope: what its prefix has and its family has not, by the label whose value that is.
fn cuts_of_scope(scope: &Scope) -> Vec<Cut> {
    let mut family = scope.family.split_inclusive('.').peekable();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    for token in scope.prefix.split_inclusive('.') {
        let end = at + token.len();
        // `worker_0.` is `worker.` with a number.
        let numbered = |kept: &&str| {
            let rest = token.strip_prefix(kept.trim_end_matches('.'));
            rest.is_some_and(|rest| rest.starts_with('_'))
        };
        if family.next_if(|kept| *kept == token).is_some() {
        } else if let Some(kept) = family.next_if(numbered) {
            ranges.push(at + kept.len() - 1..end - 1);
        } else {
            match ranges.last_mut() {
                Some(last) if last.end == at => last.end = end,
                _ => ranges.push(at..end),
            }
        }
        at = end;
    }
    let mut cuts = Vec::new();
    for (label, value) in &scope.labels {
        let is_said = |range: &Range<usize>| {
            let text = scope.prefix.get(range.clone()).unwrap_or_default();
            text.trim_matches(['.', '_']) == value.replace(':', "_").trim_matches(['.', '_'])
        };
        if let Some(found) = ranges.iter().position(is_said) {
            cuts.push(Cut {
                label,
                value: value.to_string(),
                range: ranges.remove(found),
            });
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(naming: &Naming, scope: &Scope, name: Name) -> String {
        let (name, labels) = naming.split(scope, &name);
        let labels = labels
            .iter()
            .map(|(label, value)| format!("{label}={value}"));
        format!("{name} {}", labels.collect::<Vec<_>>().join(" "))
    }

    fn naming(tags: &[(&str, &str)], defaults: Defaults) -> Naming {
        let tags = tags.iter();
        Naming {
            tags: tags
                .map(|(tag, regex)| Tag::new(tag, regex).unwrap())
                .collect(),
            defaults,
            ..Naming::default()
        }
    }

    #[test]
    fn a_label_stands_once() {
        let mut naming = naming(
            &[("envoy.cluster_name", r"^cluster\.((.*?)\.)")],
            Defaults::All,
        );
        for value in ["first", "second"] {
            naming
                .fixed
                .push(("fixed_tag".to_owned(), value.to_owned()));
        }
        let (_, labels) = naming.split(&Scope::cluster("o"), &Name::from("upstream_cx_total"));
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(labels, ["fixed_tag=first", "envoy_cluster_name=o"]);
    }

    #[test]
    fn labels_of_ones_own_stand_beside_envoys() {
        let mut naming = naming(
            &[
                ("my.tag", r"^listener\.((.*?)\.)"),
                ("rcode", r"_rq(_(\d{3}))$"),
                ("none", "(nothing)"),
            ],
            Defaults::All,
        );
        naming.fixed.push(("fixed_tag".to_owned(), "fv".to_owned()));
        let listener = Scope::listener_named("127.0.0.1_80");
        for (scope, name, expected) in [
            (
                Scope::cluster("o"),
                Name::Code("upstream_rq", 200),
                "cluster.upstream_rq envoy_response_code=200 fixed_tag=fv rcode=200 envoy_cluster_name=o",
            ),
            (
                Scope::cluster("o"),
                Name::Class("upstream_rq", 2),
                "cluster.upstream_rq_xx envoy_response_code_class=2 fixed_tag=fv envoy_cluster_name=o",
            ),
            (
                listener.clone(),
                Name::from("downstream_cx_total"),
                "listener.downstream_cx_total fixed_tag=fv envoy_listener_address=127.0.0.1_80 my_tag=127",
            ),
            (
                Scope::listener_http(&listener, "http"),
                Name::from("downstream_rq_completed"),
                "listener.http.downstream_rq_completed fixed_tag=fv \
                 envoy_http_conn_manager_prefix=http envoy_listener_address=127.0.0.1_80 my_tag=127",
            ),
            (
                Scope::listener_worker(&listener, 3),
                Name::from("downstream_cx_total"),
                "listener.worker.downstream_cx_total fixed_tag=fv envoy_worker_id=3 \
                 envoy_listener_address=127.0.0.1_80 my_tag=127",
            ),
            (
                Scope::virtual_cluster("cluster.v", "vcluster"),
                Name::Code("upstream_rq", 200),
                "vhost.vcluster.upstream_rq envoy_response_code=200 fixed_tag=fv rcode=200 \
                 envoy_virtual_cluster=vcluster envoy_virtual_host=cluster.v",
            ),
        ] {
            assert_eq!(shown(&naming, &scope, name), expected);
        }
    }

    #[test]
    fn without_envoys_labels_names_are_whole_but_for_ones_own() {
        let only = |labels: &[&str]| {
            Defaults::Only(labels.iter().map(|label| (*label).to_owned()).collect())
        };
        let istio = &[(
            "cluster_name",
            r"^cluster\.((.+?(\..+?\.svc\.cluster\.local)?)\.)",
        )];
        let scope = Scope::cluster("outbound|80||a.b.svc.cluster.local");
        let name = || Name::Code("upstream_rq", 200);
        for (naming, expected) in [
            (
                naming(istio, only(&[])),
                "cluster.upstream_rq_200 cluster_name=outbound|80||a.b.svc.cluster.local",
            ),
            (
                naming(&[], only(&["envoy_response_code"])),
                "cluster.outbound|80||a.b.svc.cluster.local.upstream_rq envoy_response_code=200",
            ),
            (
                naming(&[], only(&["envoy_cluster_name"])),
                "cluster.upstream_rq_200 envoy_cluster_name=outbound|80||a.b.svc.cluster.local",
            ),
            (
                naming(&[], only(&[])),
                "cluster.outbound|80||a.b.svc.cluster.local.upstream_rq_200 ",
            ),
        ] {
            assert_eq!(shown(&naming, &scope, name()), expected);
        }
    }

    #[test]
    fn an_expression_that_says_how_names_begin_is_known() {
        for (regex, anchored) in [
            (r"^listener\.(x)", true),
            (r"^listener(?=\.)(x)", true),
            (r"^listener(x)", false),
            (r"listener\.(x)", false),
            (r"^\.(x)", false),
        ] {
            assert_eq!(is_anchored(regex), anchored, "{regex}");
        }
    }
}
