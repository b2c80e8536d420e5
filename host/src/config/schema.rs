//! What Envoy's API has: messages, fields, enums and the constraints that it declares on them.
//!
//! Owns the lookup in the generated table `schema/envoy.txt` and in the hand-written
//! `schema/nuncio.txt` of the same form, which `host/tools/envoy_schema.py` describes, and the
//! comparison of names. Called by the decoder. Does not own which of it the proxy implements: that
//! is what the types of the model have.

use std::cmp::Ordering;

const ENVOY: &str = include_str!("schema/envoy.txt");
const NUNCIO: &str = include_str!("schema/nuncio.txt");

/// A message of the table.
#[derive(Debug)]
pub(super) struct Message {
    fields: Vec<Field>,
    removed: Vec<&'static str>,
}

impl Message {
    /// The message of that full name.
    pub(super) fn find(name: &str) -> Option<Self> {
        let words = || {
            line(name)
                .into_iter()
                .flat_map(|line| line.split(' ').skip(1))
        };
        line(name)?;
        Some(Self {
            fields: words()
                .filter(|word| !word.starts_with('-'))
                .map(Field::parse)
                .collect(),
            removed: words().filter_map(|word| word.strip_prefix('-')).collect(),
        })
    }

    /// The fields of a message.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> {
        self.fields.iter().copied()
    }

    /// The field of that name, in either spelling.
    pub(super) fn field(&self, key: &str) -> Option<Field> {
        self.fields().find(|field| same_name(field.name, key))
    }

    /// Whether Envoy's v2 API had that field and v3 has not.
    pub(super) fn was_removed(&self, key: &str) -> bool {
        self.removed.iter().any(|name| same_name(name, key))
    }

    /// The members of a oneof.
    pub(super) fn members(&self, oneof: &str) -> impl Iterator<Item = &'static str> {
        self.fields()
            .filter(move |field| field.oneof == Some(oneof))
            .map(|field| field.name)
    }
}

/// The values of an enum with their numbers.
pub(super) fn values(name: &str) -> impl Iterator<Item = (&'static str, i32)> {
    let words = line(name)
        .into_iter()
        .flat_map(|line| line.split(' ').skip(1));
    let values = words.filter_map(|word| word.split_once('='));
    values.filter_map(|(name, number)| Some((name, number.parse().ok()?)))
}

/// The line of that message or enum.
fn line(name: &str) -> Option<&'static str> {
    let table = if name.starts_with("nuncio.") {
        NUNCIO
    } else {
        ENVOY
    };
    let mut rest = table;
    // The lines are sorted: halve until one is left.
    while !rest.is_empty() {
        let middle = rest.floor_char_boundary(rest.len() / 2);
        let start = rest.get(..middle)?.rfind('\n').map_or(0, |at| at + 1);
        let end = rest
            .get(start..)?
            .find('\n')
            .map_or(rest.len(), |at| start + at + 1);
        let line = rest.get(start..end)?.trim_end();
        match name.cmp(line.split(' ').next()?) {
            Ordering::Equal => return Some(line),
            Ordering::Less => rest = rest.get(..start)?,
            Ordering::Greater => rest = rest.get(end..)?,
        }
    }
    None
}

/// The full names of all messages and enums.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NUNCIO
        .lines()
        .chain(ENVOY.lines())
        .filter_map(|line| line.split(' ').next())
}

/// A field of a [`Message`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) oneof: Option<&'static str>,
    pub(super) is_wrapper: bool,
    constraints: &'static str,
}

impl Field {
    fn parse(text: &'static str) -> Self {
        let (text, constraints) = text.split_once('{').unwrap_or((text, ""));
        let (text, is_wrapper) = text
            .strip_suffix("=w")
            .map_or((text, false), |rest| (rest, true));
        let (name, oneof) = match text.split_once('|') {
            Some((name, oneof)) => (name, Some(oneof)),
            None => (text, None),
        };
        let constraints = constraints.trim_end_matches('}');
        Self {
            name,
            oneof,
            is_wrapper,
            constraints,
        }
    }

    /// The constraints on the value, as the table writes them.
    pub(super) fn constraints(self) -> impl Iterator<Item = &'static str> {
        self.constraints.split(',').filter(|text| !text.is_empty())
    }
}

/// Whether `key` is `field` (in snake_case) or its camelCase form.
pub(super) fn same_name(field: &str, key: &str) -> bool {
    field == key
        || (key.bytes().any(|byte| byte.is_ascii_uppercase()) && camel(field).eq(key.chars()))
}

/// Whether two keys name the same field, each in either spelling.
pub(super) fn same_field(one: &str, other: &str) -> bool {
    one == other || camel(one).eq(camel(other))
}

fn camel(field: &str) -> impl Iterator<Item = char> {
    let mut raise = false;
    field.chars().filter_map(move |c| {
        if c == '_' {
            raise = true;
            return None;
        }
        let shown = if raise { c.to_ascii_uppercase() } else { c };
        raise = false;
        Some(shown)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_by_its_name() {
        for table in [ENVOY, NUNCIO] {
            let mut before = "";
            for row in table.lines() {
                let name = row.split(' ').next().unwrap();
                assert!(before < name, "{name} is out of order");
                assert_eq!(line(name), Some(row));
                before = name;
            }
        }
        assert!(Message::find("envoy.config.route.v3.RouteMatc").is_none());
        assert!(Message::find("").is_none());
        assert!(Message::find("zzz").is_none());
    }

    #[test]
    fn a_field_has_its_marks() {
        let message = Message::find("envoy.config.core.v3.SocketAddress").unwrap();
        let port = message.field("portValue").unwrap();
        assert_eq!(
            (port.name, port.oneof),
            ("port_value", Some("port_specifier"))
        );
        assert_eq!(port.constraints().collect::<Vec<_>>(), ["<=65535"]);
        assert_eq!(
            message.members("port_specifier").collect::<Vec<_>>(),
            ["port_value", "named_port"]
        );
        let cluster = Message::find("envoy.config.cluster.v3.Cluster").unwrap();
        let old = cluster.field("max_requests_per_connection").unwrap();
        assert!(old.is_wrapper);
        assert!(cluster.was_removed("tls_context") && !cluster.was_removed("name"));
        let mut kinds = values("envoy.config.cluster.v3.Cluster.DiscoveryType");
        assert!(kinds.any(|value| value == ("STRICT_DNS", 1)));
    }

    #[test]
    fn names_compare_in_either_spelling() {
        for (field, key, same) in [
            ("stat_prefix", "stat_prefix", true),
            ("stat_prefix", "statPrefix", true),
            ("stat_prefix", "StatPrefix", false),
            ("stat_prefix", "statprefix", false),
            ("http2_protocol_options", "http2ProtocolOptions", true),
            ("name", "name", true),
        ] {
            assert_eq!(same_name(field, key), same, "{field} {key}");
        }
        assert!(same_field("statPrefix", "stat_prefix"));
    }
}
