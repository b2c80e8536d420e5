//! `envoy.config.core.v3.HeaderValueOption`: a header to add, and how.

use std::borrow::Cow;

use nuncio_sdk::{Error, Exchange, Format, HeaderName, Result, Setup};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::scalar::Enum;

/// `HeaderValueOption`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValueOption {
    /// The field; its value is a format.
    pub header: HeaderValue,
    /// What to do where there is a field of that name.
    pub append_action: AppendAction,
    /// Whether a value that renders empty is added all the same.
    pub keep_empty_value: bool,
}

/// `HeaderValue`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderValue {
    /// The name.
    pub key: String,
    /// A format, such as `%REQ(:path)%`.
    #[serde(default)]
    pub value: String,
}

/// `HeaderAppendAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Enum")]
pub enum AppendAction {
    /// One more field.
    #[default]
    AppendIfExistsOrAdd,
    /// Only where there is none.
    AddIfAbsent,
    /// In place of all that there are.
    OverwriteIfExistsOrAdd,
    /// In place of all that there are, and only if there are any.
    OverwriteIfExists,
}

impl TryFrom<Enum> for AppendAction {
    type Error = String;

    fn try_from(value: Enum) -> Result<Self, String> {
        value.pick(&[
            ("APPEND_IF_EXISTS_OR_ADD", 0, Self::AppendIfExistsOrAdd),
            ("ADD_IF_ABSENT", 1, Self::AddIfAbsent),
            (
                "OVERWRITE_IF_EXISTS_OR_ADD",
                2,
                Self::OverwriteIfExistsOrAdd,
            ),
            ("OVERWRITE_IF_EXISTS", 3, Self::OverwriteIfExists),
        ])
    }
}

impl<'de> Deserialize<'de> for HeaderValueOption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "HeaderValueOption", deny_unknown_fields)]
        struct Written {
            header: HeaderValue,
            append: Option<bool>,
            append_action: Option<AppendAction>,
            #[serde(default)]
            keep_empty_value: bool,
        }

        let written = Written::deserialize(deserializer)?;
        // `append` is the older form, which Envoy still takes.
        let append_action = match (written.append, written.append_action.unwrap_or_default()) {
            (None, action) => action,
            (Some(true), AppendAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
            (Some(false), AppendAction::AppendIfExistsOrAdd) => {
                AppendAction::OverwriteIfExistsOrAdd
            }
            (Some(_), _) => {
                return Err(D::Error::custom(
                    "`append` and `append_action` are both set",
                ));
            }
        };
        Ok(Self {
            header: written.header,
            append_action,
            keep_empty_value: written.keep_empty_value,
        })
    }
}

/// A header's value, looked up: a text without command operators costs no rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// These bytes.
    Constant(Vec<u8>),
    /// What the format renders.
    Rendered(Format),
}

impl Value {
    /// Compiles a format.
    ///
    /// # Errors
    /// Not a format, or a byte that may not be in a header's value.
    pub fn compile(text: &str, setup: &mut Setup) -> Result<Self> {
        if text
            .bytes()
            .any(|byte| matches!(byte, b'\0' | b'\r' | b'\n'))
        {
            return Err(Error::msg(format!("not a header value: {text:?}")));
        }
        if text.contains('%') {
            setup.format(text).map(Self::Rendered)
        } else {
            Ok(Self::Constant(text.as_bytes().to_vec()))
        }
    }

    /// The bytes for the current stream.
    #[inline]
    #[must_use]
    pub fn render(&self, exchange: &Exchange<'_>) -> Cow<'_, [u8]> {
        match self {
            Self::Constant(value) => Cow::Borrowed(value),
            Self::Rendered(format) => Cow::Owned(exchange.render(*format)),
        }
    }
}

/// Looks up the name of a header that the configuration wants changed.
///
/// # Errors
/// Not a name, or one that may not be changed: pseudo-header fields and `host`, as in Envoy, and the
/// fields that frame a body or belong to one connection, which the proxy manages itself.
pub fn changeable_name(name: &str, setup: &mut Setup) -> Result<HeaderName> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(Error::msg(":-prefixed or host headers may not be modified"));
    }
    if MANAGED
        .iter()
        .any(|managed| name.eq_ignore_ascii_case(managed))
    {
        return Err(Error::msg(format!(
            "not supported by nuncio: changing \"{name}\", which the proxy manages itself"
        )));
    }
    setup.header_name(name)
}

/// Framing (RFC 9112 §6) and what concerns one connection (RFC 9110 §7.6.1).
const MANAGED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<HeaderValueOption, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_append_action() {
        use AppendAction::{
            AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd,
        };
        for (fields, expected) in [
            ("", Some(AppendIfExistsOrAdd)),
            (r#","append_action":"ADD_IF_ABSENT""#, Some(AddIfAbsent)),
            (
                r#","append_action":"overwrite_if_exists""#,
                Some(OverwriteIfExists),
            ),
            (r#","append_action":2"#, Some(OverwriteIfExistsOrAdd)),
            (r#","append_action":4"#, None),
            (r#","append_action":"ADD""#, None),
            (r#","append":true"#, Some(AppendIfExistsOrAdd)),
            (r#","append":false"#, Some(OverwriteIfExistsOrAdd)),
            (r#","append":false,"append_action":"ADD_IF_ABSENT""#, None),
            (
                r#","append":false,"append_action":"APPEND_IF_EXISTS_OR_ADD""#,
                Some(OverwriteIfExistsOrAdd),
            ),
        ] {
            let read = read(&format!(
                r#"{{"header":{{"key":"a","value":"b"}}{fields}}}"#
            ));
            assert_eq!(
                read.ok().map(|option| option.append_action),
                expected,
                "{fields}"
            );
        }
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        let refused = read(r#"{"header":{"key":"a","valeu":"b"}}"#).unwrap_err();
        assert!(refused.contains("valeu"), "{refused}");
    }
}
