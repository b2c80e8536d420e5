//! The list of deliberate differences.
//!
//! Owns the reading of `tests/cases/differences.txt`: a case's full name after `==`, the reason in
//! plain words, then the lines that only Envoy gives (`-`) and that only nuncio gives (`+`). A listed
//! difference must be exactly as listed, so the list fails when either side changes.

use std::collections::BTreeMap;

/// One deliberate difference.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Why nuncio does not do what Envoy does.
    pub reason: String,
    /// Lines as [`super::diff`] gives them.
    pub lines: Vec<String>,
}

/// Reads the list: differences by the full name of their case, `group: case`.
#[must_use]
pub fn read(text: &str) -> BTreeMap<String, Difference> {
    let mut list = BTreeMap::new();
    let mut name: Option<&str> = None;
    for line in text.lines() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(heading) = line.strip_prefix("== ") {
            let before = list.insert(heading.to_owned(), Difference::default());
            assert!(before.is_none(), "{heading:?} is listed twice");
            name = Some(heading);
            continue;
        }
        let difference = name.and_then(|name| list.get_mut(name));
        let difference = difference.unwrap_or_else(|| panic!("no case is named before {line:?}"));
        if line.starts_with("- ") || line.starts_with("+ ") {
            difference.lines.push(line.to_owned());
        } else {
            let space = if difference.reason.is_empty() {
                ""
            } else {
                " "
            };
            difference.reason.push_str(space);
            difference.reason.push_str(line);
        }
    }
    for (name, difference) in &list {
        assert!(!difference.reason.is_empty(), "{name:?} has no reason");
        assert!(
            !difference.lines.is_empty(),
            "{name:?} says not what differs"
        );
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_a_reason_and_lines() {
        let list = read("# comment\n\n== g: c\nbecause\nof this\n- a\n+ b\n");
        let expected = Difference {
            reason: "because of this".into(),
            lines: vec!["- a".into(), "+ b".into()],
        };
        assert_eq!(list["g: c"], expected);
    }

    #[test]
    #[should_panic(expected = "has no reason")]
    fn an_entry_without_reason_is_refused() {
        let _list = read("== g: c\n- a\n");
    }
}
