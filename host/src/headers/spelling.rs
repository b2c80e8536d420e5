//! How field names are spelled on an HTTP/1 wire.
//!
//! Owns Envoy's header key formats: lower case, proper case, and the spelling in which a name came.
//! A block carries its format along, so that what one side was sent can be said to the other the
//! same way. Does not own when a format is asked for (`http`) nor the wire (`h1`).

/// How a name is spelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameCase {
    /// `like-this`.
    #[default]
    Lower,
    /// `Like-This`.
    Proper,
}

/// How the names of a side are spelled (`header_key_format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFormat {
    /// All alike.
    Case(NameCase),
    /// As they came (`preserve_case`); those that the proxy adds are of this case.
    Kept(NameCase),
    /// The same, and the reason phrase of a response too (`forward_reason_phrase`).
    KeptWithReason(NameCase),
}

impl NameFormat {
    /// Whether names are kept as they came.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::Kept(_) | Self::KeptWithReason(_))
    }
}

impl Default for NameFormat {
    fn default() -> Self {
        Self::Case(NameCase::Lower)
    }
}

impl NameCase {
    /// Appends `name`, which is lower case.
    pub(super) fn write(self, name: &[u8], out: &mut impl Extend<u8>) {
        match self {
            Self::Lower => out.extend(name.iter().copied()),
            Self::Proper => {
                let mut first = true;
                out.extend(name.iter().map(|byte| {
                    let shown = if first {
                        byte.to_ascii_uppercase()
                    } else {
                        *byte
                    };
                    first = !byte.is_ascii_alphanumeric();
                    shown
                }));
            }
        }
    }
}

/// Names as they came.
#[derive(Clone, Debug)]
pub(super) struct Spellings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The case of names that did not come.
    pub(super) others: NameCase,
    /// The reason phrase, where it is kept.
    pub(super) reason: Option<Vec<u8>>,
}

impl Spellings {
    pub(super) const fn new(others: NameCase) -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            others,
            reason: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        if let Some(reason) = &mut self.reason {
            reason.clear();
        }
    }

    /// Takes note of a name as it came.
    pub(super) fn remember(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    /// How `name` came first.
    pub(super) fn find(&self, name: &[u8]) -> Option<&[u8]> {
        let mut start = 0;
        self.ends.iter().find_map(|end| {
            let spelled = self.bytes.get(start..*end)?;
            start = *end;
            spelled.eq_ignore_ascii_case(name).then_some(spelled)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proper_case_begins_each_word_with_a_capital() {
        for (name, expected) in [
            ("host", "Host"),
            ("x-forwarded-for", "X-Forwarded-For"),
            ("te", "Te"),
            ("x_a-1b", "X_A-1b"),
            ("--a", "--A"),
            ("", ""),
        ] {
            let mut out = Vec::new();
            NameCase::Proper.write(name.as_bytes(), &mut out);
            assert_eq!(out, expected.as_bytes(), "{name}");
        }
    }

    #[test]
    fn the_first_spelling_counts() {
        let mut spellings = Spellings::new(NameCase::Lower);
        for name in ["X-ONE", "Host", "x-One"] {
            spellings.remember(name.as_bytes());
        }
        assert_eq!(spellings.find(b"x-one"), Some(&b"X-ONE"[..]));
        assert_eq!(spellings.find(b"host"), Some(&b"Host"[..]));
        assert_eq!(spellings.find(b"x-on"), None);
        spellings.clear();
        assert_eq!(spellings.find(b"host"), None);
    }
}
