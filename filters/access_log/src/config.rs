//! `envoy.extensions.access_loggers.file.v3.FileAccessLog` and
//! `envoy.extensions.access_loggers.stream.v3.{StdoutAccessLog, StderrAccessLog}`.

use nuncio_sdk::{Error, Result, Target};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Any of the three messages; the type URL says which.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL.
    #[serde(rename = "@type")]
    pub type_url: String,
    /// Of a file: where it is.
    pub path: Option<String>,
    /// What to write; Envoy's default where nothing says otherwise.
    pub log_format: Option<SubstitutionFormatString>,
    /// Of a file: the older form of `log_format.text_format`.
    pub format: Option<String>,
    /// Of a file: the older form of `log_format.json_format`.
    pub json_format: Option<Map<String, Value>>,
    /// Of a file: the same.
    pub typed_json_format: Option<Map<String, Value>>,
}

/// `envoy.config.core.v3.SubstitutionFormatString`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubstitutionFormatString {
    /// A text with command operators; it brings its own line end.
    pub text_format: Option<String>,
    /// The same.
    pub text_format_source: Option<DataSource>,
    /// An object whose strings have command operators.
    pub json_format: Option<Map<String, Value>>,
    /// In a text, what is missing is nothing in place of `-`; in JSON it is left out.
    #[serde(default)]
    pub omit_empty_values: bool,
}

/// `envoy.config.core.v3.DataSource`, of which the proxy has read what is not inline.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// The text.
    pub inline_string: String,
}

/// What to write.
#[derive(Debug, PartialEq, Eq)]
pub enum Layout {
    /// A text with command operators.
    Text {
        /// The text.
        format: String,
        /// Whether what is missing is nothing in place of `-`.
        omit_empty: bool,
    },
    /// A JSON document whose strings have command operators.
    Json {
        /// The document.
        document: String,
        /// Whether what is missing is left out.
        omit_empty: bool,
    },
}

impl Config {
    /// Where to write.
    ///
    /// # Errors
    /// Not one of the three messages, or a file without a path, or fields that only a file has.
    pub fn target(&self) -> Result<Target> {
        let name = self.type_url.rsplit('.').next().unwrap_or_default();
        let target = match name {
            "FileAccessLog" => {
                return match self.path.as_deref() {
                    None | Some("") => Err(Error::msg("`path` is missing or empty")),
                    Some(path) => Ok(Target::File(path.to_owned())),
                };
            }
            "StdoutAccessLog" => Target::Stdout,
            "StderrAccessLog" => Target::Stderr,
            _ => {
                return Err(Error::msg(format!(
                    "not an access log: \"{}\"",
                    self.type_url
                )));
            }
        };
        for (field, given) in [
            ("path", self.path.is_some()),
            ("format", self.format.is_some()),
            ("json_format", self.json_format.is_some()),
            ("typed_json_format", self.typed_json_format.is_some()),
        ] {
            if given {
                return Err(Error::msg(format!("{name} has no field `{field}`")));
            }
        }
        Ok(target)
    }

    /// What to write.
    ///
    /// # Errors
    /// More than one of the forms of a format, or none in `log_format`.
    pub fn layout(self) -> Result<Layout> {
        let json = |object: Map<String, Value>, omit_empty| Layout::Json {
            document: Value::Object(object).to_string(),
            omit_empty,
        };
        let text = |format, omit_empty| Layout::Text { format, omit_empty };
        let mut given = Vec::new();
        if let Some(log_format) = self.log_format {
            given.push(log_format.layout()?);
        }
        given.extend(self.format.map(|format| match format.as_str() {
            "" => text(DEFAULT_FORMAT.to_owned(), false),
            _ => text(format, false),
        }));
        given.extend(self.json_format.map(|object| json(object, false)));
        given.extend(self.typed_json_format.map(|object| json(object, false)));
        Ok(only_one(given)?.unwrap_or_else(|| text(DEFAULT_FORMAT.to_owned(), false)))
    }
}

impl SubstitutionFormatString {
    fn layout(self) -> Result<Layout> {
        let omit_empty = self.omit_empty_values;
        let source = self.text_format_source.map(|source| source.inline_string);
        let texts = [self.text_format, source].into_iter().flatten();
        let mut given: Vec<_> = texts
            .map(|format| Layout::Text { format, omit_empty })
            .collect();
        given.extend(self.json_format.map(|object| Layout::Json {
            document: Value::Object(object).to_string(),
            omit_empty,
        }));
        only_one(given)?.ok_or_else(|| {
            Error::msg(
                "`log_format` has neither `text_format_source` nor `text_format` nor `json_format`",
            )
        })
    }
}

fn only_one(given: Vec<Layout>) -> Result<Option<Layout>> {
    if given.len() > 1 {
        return Err(Error::msg("more than one format is given"));
    }
    Ok(given.into_iter().next())
}

/// Envoy's default.
pub(crate) const DEFAULT_FORMAT: &str = concat!(
    r#"[%START_TIME%] "%REQUEST_HEADER(:METHOD)% %REQUEST_HEADER(X-ENVOY-ORIGINAL-PATH?:PATH)% "#,
    r#"%PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "#,
    r#"%RESPONSE_HEADER(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQUEST_HEADER(X-FORWARDED-FOR)%" "#,
    r#""%REQUEST_HEADER(USER-AGENT)%" "%REQUEST_HEADER(X-REQUEST-ID)%" "#,
    r#""%REQUEST_HEADER(:AUTHORITY)%" "%UPSTREAM_HOST%""#,
    "\n",
);
