//! What a text cannot do without if it is to match an expression.
//!
//! Owns finding such texts in a parsed expression: with them, an index over many expressions leaves
//! most of them alone. Called by `pattern`. Does not own the choice among them.

use regex_syntax::hir::{Hir, HirKind};

/// Texts, of which one at least has to occur somewhere.
pub(crate) type Requirement = Vec<Vec<u8>>;

/// So many texts of one requirement say something yet.
const ALTERNATIVES: usize = 8;

/// The requirements that can be seen; all of them hold.
pub(super) fn of(expression: &Hir) -> Vec<Requirement> {
    match expression.kind() {
        HirKind::Literal(literal) => vec![vec![literal.0.to_vec()]],
        HirKind::Capture(group) => of(&group.sub),
        HirKind::Repetition(repeated) if repeated.min > 0 => of(&repeated.sub),
        HirKind::Concat(parts) => parts.iter().flat_map(of).collect(),
        HirKind::Alternation(branches) => alternatives(branches).into_iter().collect(),
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) | HirKind::Repetition(_) => {
            Vec::new()
        }
    }
}

/// What says most of each branch, together; none where a branch says nothing.
fn alternatives(branches: &[Hir]) -> Option<Requirement> {
    let mut all = Requirement::new();
    for branch in branches {
        let shortest =
            |requirement: &Requirement| requirement.iter().map(Vec::len).min().unwrap_or(0);
        all.extend(of(branch).into_iter().max_by_key(shortest)?);
    }
    (all.len() <= ALTERNATIVES).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::super::Pattern;

    #[test]
    fn what_has_to_occur_is_found() {
        let cases: [(&str, &[&[&str]]); 9] = [
            ("/api/.*foo-12.*", &[&["/api/"], &["foo-12"]]),
            ("a(bc|de)f", &[&["a"], &["bc", "de"], &["f"]]),
            ("a(bc|[de])", &[&["a"]]),
            ("(ab)+c*", &[&["ab"]]),
            ("(ab){0,3}c", &[&["c"]]),
            ("(?i)ab[0-9]", &[]),
            (".*", &[]),
            ("(?:|a)b", &[&["b"]]),
            (r"a\.b", &[&["a.b"]]),
        ];
        for (expression, expected) in cases {
            let found = Pattern::new(expression).unwrap().requirements();
            let found: Vec<Vec<String>> = found
                .into_iter()
                .map(|texts| {
                    let texts = texts.into_iter();
                    texts.map(|text| String::from_utf8(text).unwrap()).collect()
                })
                .collect();
            assert_eq!(found, expected, "{expression}");
        }
    }
}
