//! The comparison: one configuration, two proxies, the same bytes, the same answer.
//!
//! Owns what a case is ([`case`]), how it is run against one proxy ([`side`]), which differences are
//! deliberate ([`differences`]) and the report ([`report`]). What is compared, for each case: the
//! responses to the last byte but for dates and generated values, whether the connection is kept,
//! what the upstream received, and the access log's lines. Called by `tests/compare.rs`.

pub mod case;
pub mod differences;
pub mod report;
pub mod session;
pub mod side;
mod upstreams;

/// Lines only in one of two lists, in order: `-` before those of `left`, `+` before those of
/// `right`. Equal lists have none.
#[must_use]
pub fn diff(left: &[String], right: &[String]) -> Vec<String> {
    // Lengths of the longest common subsequences of all pairs of tails.
    let mut common = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for (l, left_line) in left.iter().enumerate().rev() {
        for (r, right_line) in right.iter().enumerate().rev() {
            common[l][r] = if left_line == right_line {
                common[l + 1][r + 1] + 1
            } else {
                common[l + 1][r].max(common[l][r + 1])
            };
        }
    }
    let (mut l, mut r, mut lines) = (0, 0, Vec::new());
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() && left[l] == right[r] {
            l += 1;
            r += 1;
        } else if r == right.len() || (l < left.len() && common[l + 1][r] >= common[l][r + 1]) {
            lines.push(format!("- {}", left[l]));
            l += 1;
        } else {
            lines.push(format!("+ {}", right[r]));
            r += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn only_what_differs_is_listed() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(diff(&list("a b c"), &list("a b c")).is_empty());
        assert_eq!(
            diff(&list("a b c"), &list("a x c d")),
            ["- b", "+ x", "+ d"]
        );
        assert_eq!(diff(&list("a b"), &list("b a")), ["- a", "+ a"]);
    }
}
