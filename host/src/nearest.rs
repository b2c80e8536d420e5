//! "Did you mean": the known name that a wrong one is nearest to.
//!
//! Owns the measure (edits, with case, `_` and `-` apart) and how near is near enough. Used wherever
//! an error can name what was probably meant.

/// The candidate that `name` most likely was meant to be, if any is near enough: one edit for
/// every three characters.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |text: &str| -> Vec<char> {
        let plain = text.chars().filter(|c| !matches!(c, '_' | '-'));
        plain
            .map(|c| c.to_ascii_lowercase())
            .take(MOST_COMPARED)
            .collect()
    };
    let wanted = plain(name);
    let limit = (wanted.len() / 3).max(1);
    let near = candidates.into_iter().filter_map(|candidate| {
        let other = plain(candidate);
        if wanted.len().abs_diff(other.len()) > limit {
            return None;
        }
        let distance = distance(&wanted, &other);
        (distance <= limit).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names longer than this are compared by their beginning.
const MOST_COMPARED: usize = 100;

/// Edit distance: insertions, deletions, substitutions, swaps of neighbours.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let at =
                |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j + 1) + 1)
                .min(at(&row, j) + 1)
                .min(at(&last, j) + usize::from(a != b));
            if i > 0 && j > 0 && one.get(i - 1) == Some(b) && other.get(j - 1) == Some(a) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["connect_timeout", "name", "type", "lb_policy"];
        for (given, wanted) in [
            ("conect_timeout", Some("connect_timeout")),
            ("connectTimeuot", Some("connect_timeout")),
            ("lbpolicy", Some("lb_policy")),
            ("nmae", Some("name")),
            ("foo", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, names), wanted, "{given}");
        }
    }

    #[test]
    fn the_nearest_operator_is_found() {
        let names = ["PROTOCOL", "REQUEST_HEADER", "REQ"];
        assert_eq!(nearest("PROTOKOL", names), Some("PROTOCOL"));
        assert_eq!(nearest("REQUEST_HEADRE", names), Some("REQUEST_HEADER"));
        assert_eq!(nearest("XYZZY_PLUGH_FROTZ", names), None);
    }
}
