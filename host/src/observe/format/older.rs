//! Older ways to write operators, which the values of header mutations may have.
//!
//! Owns the translation of a text to the operators of today, as Envoy makes it before it reads the
//! value. Other texts, those of logs among them, have no older ways.

use std::borrow::Cow;

/// Operators whose path may be a list of strings, as `["namespace", "key"]`.
const LISTED: [&str; 2] = ["%UPSTREAM_METADATA(", "%DYNAMIC_METADATA("];
/// What filter state was called.
const STATE: &str = "%PER_REQUEST_STATE(";

/// The text as it is written today.
pub(super) fn translate(text: &str) -> Cow<'_, str> {
    if !text.contains(STATE) && !text.contains("([") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        match listed(tail).or_else(|| state(tail)) {
            Some((command, behind)) => {
                out.push_str(&command);
                rest = behind;
            }
            None => {
                out.push('%');
                rest = tail.strip_prefix('%').unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A command whose path is a list, with the names that lead there joined, and what stands behind it.
fn listed(tail: &str) -> Option<(String, &str)> {
    let operator = LISTED.iter().find(|name| tail.starts_with(**name))?;
    let (list, behind) = tail.strip_prefix(operator)?.split_once(")%")?;
    let names: Vec<String> = serde_json::from_str(list.trim()).ok()?;
    Some((format!("{operator}{})%", names.join(":")), behind))
}

fn state(tail: &str) -> Option<(String, &str)> {
    let (key, behind) = tail.strip_prefix(STATE)?.split_once(")%")?;
    Some((format!("%FILTER_STATE({key}:PLAIN)%"), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_paths_and_state_gets_its_name_of_today() {
        for (text, expected) in [
            ("plain 100%%", "plain 100%%"),
            ("%UPSTREAM_METADATA(f:k)%", "%UPSTREAM_METADATA(f:k)%"),
            (
                r#"a %UPSTREAM_METADATA(["f", "k"])% b%%"#,
                "a %UPSTREAM_METADATA(f:k)% b%%",
            ),
            (
                r#"%DYNAMIC_METADATA( [ "f","o","x" ] )%%UPSTREAM_METADATA(["f"])%"#,
                "%DYNAMIC_METADATA(f:o:x)%%UPSTREAM_METADATA(f)%",
            ),
            ("%UPSTREAM_METADATA([f,k])%", "%UPSTREAM_METADATA([f,k])%"),
            ("%PER_REQUEST_STATE(a.b)%", "%FILTER_STATE(a.b:PLAIN)%"),
            ("%REQ(([x)%", "%REQ(([x)%"),
        ] {
            assert_eq!(translate(text), expected, "{text}");
        }
    }
}
