//! Metadata of endpoints, and what a request asks of it.
//!
//! Owns the values of `filter_metadata["envoy.lb"]` and [`Criteria`], by which a route picks a
//! subset of a cluster. Filled in by `build`, compared by the balancer. Does not own: which subsets
//! a cluster has (`balance::subset`).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh64::Xxh64;

/// The name of the metadata that load balancing goes by.
pub const FILTER: &str = "envoy.lb";
/// The name of the metadata that says how to connect to an endpoint.
pub const TRANSPORT_FILTER: &str = "envoy.transport_socket_match";
/// The metadata that replaces an endpoint's address where consistent hashing places it.
pub const HASH_KEY: &str = "hash_key";
/// What a request asks for under this is a list of alternatives, where the cluster says so.
pub const FALLBACK_LIST: &str = "fallback_list";
/// The metadata that says that an endpoint runs a version which is being tried.
pub const CANARY: &str = "canary";

/// A `google.protobuf.Value`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A number; all of them are doubles, so 1 equals 1.0.
    Number(f64),
    /// A text.
    Text(Arc<str>),
    /// A list.
    List(Vec<Self>),
    /// A mapping.
    Struct(Metadata),
}

/// A `google.protobuf.Struct`.
pub type Metadata = BTreeMap<Arc<str>, Value>;

impl Value {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    fn digest(&self, hasher: &mut Xxh64) {
        match self {
            Self::Null => hasher.update(&[0]),
            Self::Bool(value) => hasher.update(&[1, u8::from(*value)]),
            Self::Number(value) => {
                // Both zeros are equal.
                let bits = if *value == 0.0 { 0 } else { value.to_bits() };
                hasher.update(&[2]);
                hasher.update(&bits.to_le_bytes());
            }
            Self::Text(text) => {
                hasher.update(&[3]);
                digest_text(text, hasher);
            }
            Self::List(values) => {
                hasher.update(&[4]);
                hasher.update(&values.len().to_le_bytes());
                for value in values {
                    value.digest(hasher);
                }
            }
            Self::Struct(fields) => {
                hasher.update(&[5]);
                hasher.update(&fields.len().to_le_bytes());
                for (name, value) in fields {
                    digest_text(name, hasher);
                    value.digest(hasher);
                }
            }
        }
    }
}

fn digest_text(text: &str, hasher: &mut Xxh64) {
    hasher.update(&text.len().to_le_bytes());
    hasher.update(text.as_bytes());
}

/// Names and values that the endpoints of a subset have (`metadata_match` of a route, its
/// `envoy.lb` part). Compared in full, looked up by a digest that is made once.
#[derive(Clone, Debug)]
pub struct Criteria {
    pairs: Vec<(Arc<str>, Value)>,
    digest: u64,
    /// What [`FALLBACK_LIST`] comes to, where there is one.
    alternatives: Option<Box<[Self]>>,
}

impl Criteria {
    /// Of these pairs; of two with one name the later one counts.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        let sorted: Metadata = pairs.into_iter().collect();
        let alternatives = sorted.get(FALLBACK_LIST).map(|list| {
            let others = sorted.iter().filter(|(name, _)| &***name != FALLBACK_LIST);
            let others = Self::plain(others.map(|(name, value)| (Arc::clone(name), value.clone())));
            match list {
                Value::List(list) if !list.is_empty() => {
                    list.iter().map(|one| others.with(one)).collect()
                }
                _ => Box::from([others]),
            }
        });
        Self {
            alternatives,
            ..Self::plain(sorted)
        }
    }

    /// Of pairs that mean nothing but themselves.
    fn plain(pairs: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        let sorted: Metadata = pairs.into_iter().collect();
        let mut hasher = Xxh64::new(0);
        for (name, value) in &sorted {
            digest_text(name, &mut hasher);
            value.digest(&mut hasher);
        }
        Self {
            pairs: sorted.into_iter().collect(),
            digest: hasher.digest(),
            alternatives: None,
        }
    }

    /// These and the fields of `over`, which win.
    fn with(&self, over: &Value) -> Self {
        let own = self.pairs.iter().cloned();
        match over {
            Value::Struct(fields) => {
                let fields = fields.iter();
                Self::plain(
                    own.chain(fields.map(|(name, value)| (Arc::clone(name), value.clone()))),
                )
            }
            _ => Self::plain(own),
        }
    }

    /// These and those of `over`, which win: what a weighted cluster adds to its route's.
    #[must_use]
    pub fn merged(&self, over: &Self) -> Self {
        Self::new(self.pairs.iter().chain(&over.pairs).cloned())
    }

    /// Those whose name `keep` wants.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = self.pairs.iter().filter(|(name, _)| keep(name));
        Self::new(kept.cloned())
    }

    /// Whether an endpoint with that metadata has all of them. Of a list, one value is enough.
    #[must_use]
    pub fn are_met_by(&self, metadata: &Metadata) -> bool {
        self.pairs.iter().all(|(name, wanted)| {
            metadata.get(name).is_some_and(|value| match value {
                Value::List(values) => values.contains(wanted),
                value => value == wanted,
            })
        })
    }

    /// What is asked for one after the other, where there is a [`FALLBACK_LIST`].
    #[must_use]
    pub fn alternatives(&self) -> Option<&[Self]> {
        self.alternatives.as_deref()
    }

    /// The names and values, sorted by name.
    #[must_use]
    pub fn pairs(&self) -> &[(Arc<str>, Value)] {
        &self.pairs
    }
}

impl PartialEq for Criteria {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.pairs == other.pairs
    }
}

/// A `NaN` is not equal to itself, and matches nothing; that is all that is lost.
impl Eq for Criteria {}

impl Hash for Criteria {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn criteria(pairs: &[(&str, Value)]) -> Criteria {
        Criteria::new(
            pairs
                .iter()
                .map(|(name, value)| ((*name).into(), value.clone())),
        )
    }

    #[test]
    fn order_does_not_matter_and_the_later_of_two_wins() {
        let (one, two) = (Value::text("1"), Value::Number(2.0));
        let a = criteria(&[("v", one.clone()), ("s", two.clone())]);
        let b = criteria(&[("s", two.clone()), ("v", one.clone())]);
        assert_eq!(a, b);
        let names: Vec<&str> = a.pairs().iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["s", "v"]);
        let over = criteria(&[("v", two.clone())]);
        assert_eq!(a.merged(&over), criteria(&[("s", two.clone()), ("v", two)]));
        assert_eq!(a.filtered(|name| name == "v"), criteria(&[("v", one)]));
    }

    #[test]
    fn a_list_of_alternatives_is_added_to_the_others() {
        let (one, two) = (Value::text("1"), Value::text("2"));
        let some = |pairs: &[(&str, Value)]| {
            let pairs = pairs.iter();
            Value::Struct(
                pairs
                    .map(|(name, value)| ((*name).into(), value.clone()))
                    .collect(),
            )
        };
        let list = |values: &[Value]| Value::List(values.to_vec());
        let of = |list: Value| {
            let all = criteria(&[("v", one.clone()), (FALLBACK_LIST, list)]);
            all.alternatives().map(<[Criteria]>::to_vec)
        };
        let alone = criteria(&[("v", one.clone())]);
        assert_eq!(alone.alternatives(), None);
        let both = [
            criteria(&[("v", two.clone())]),
            criteria(&[("v", one.clone()), ("s", two.clone())]),
            alone.clone(),
        ];
        let listed = list(&[
            some(&[("v", two.clone())]),
            some(&[("s", two)]),
            Value::Null,
        ]);
        assert_eq!(of(listed), Some(both.to_vec()));
        for nothing in [list(&[]), one.clone()] {
            assert_eq!(of(nothing), Some(vec![alone.clone()]));
        }
    }

    #[test]
    fn an_endpoint_has_all_of_them_or_does_not_meet_them() {
        let (one, two) = (Value::text("1"), Value::Number(2.0));
        let both = criteria(&[("v", one.clone()), ("s", two.clone())]);
        let lists = Value::List(vec![Value::Null, one.clone()]);
        for (metadata, met) in [
            (vec![("v", one.clone()), ("s", two.clone())], true),
            (
                vec![("v", lists), ("s", two.clone()), ("x", Value::Null)],
                true,
            ),
            (vec![("v", one.clone())], false),
            (vec![("v", two.clone()), ("s", two)], false),
            (vec![], false),
        ] {
            let metadata: Metadata = metadata
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect();
            assert_eq!(both.are_met_by(&metadata), met, "{metadata:?}");
        }
    }

    #[test]
    fn values_are_told_apart_by_kind_and_content() {
        let list = |values: &[Value]| Value::List(values.to_vec());
        let all = [
            Value::Null,
            Value::Bool(false),
            Value::Bool(true),
            Value::Number(0.0),
            Value::Number(1.0),
            Value::text(""),
            Value::text("1"),
            Value::text("true"),
            list(&[]),
            list(&[Value::text("1")]),
            list(&[Value::text("1"), Value::Null]),
            Value::Struct(Metadata::new()),
            Value::Struct([("1".into(), Value::Null)].into()),
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                let same = criteria(&[("k", a.clone())]) == criteria(&[("k", b.clone())]);
                assert_eq!(same, i == j, "{a:?} {b:?}");
            }
        }
        let zero = |value| criteria(&[("k", Value::Number(value))]);
        assert_eq!(zero(0.0), zero(-0.0));
    }
}
