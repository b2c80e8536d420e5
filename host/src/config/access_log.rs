//! Access logs and the format of their lines.

use serde::{Deserialize, Serialize};

use crate::config::log_filter::AccessLogFilter;
use crate::config::scalar::{DataSource, Struct};

/// `envoy.config.accesslog.v3.AccessLog`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.AccessLog")]
pub struct AccessLog {
    /// Any name.
    #[serde(default)]
    pub name: String,
    /// Which streams have an entry; all by default.
    #[serde(default)]
    pub filter: Option<AccessLogFilter>,
    /// The log.
    #[serde(rename = "any:typed_config")]
    pub typed_config: AccessLogConfig,
}

/// The access logs that there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:access log")]
pub enum AccessLogConfig {
    /// To a file.
    #[serde(rename = "envoy.extensions.access_loggers.file.v3.FileAccessLog")]
    File(FileAccessLog),
    /// To the standard output.
    #[serde(rename = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog")]
    Stdout(StdoutAccessLog),
    /// To the standard error output.
    #[serde(rename = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog")]
    Stderr(StderrAccessLog),
}

/// `envoy.extensions.access_loggers.file.v3.FileAccessLog`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.access_loggers.file.v3.FileAccessLog")]
pub struct FileAccessLog {
    /// The file.
    pub path: String,
    /// How a line looks; Envoy's default format where it is absent.
    #[serde(default, rename = "oneof:access_log_format")]
    pub format: Option<FileAccessLogFormat>,
}

/// `FileAccessLog.access_log_format`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAccessLogFormat {
    /// Older form of `log_format.text_format`.
    Format(String),
    /// Older form of `log_format.json_format`.
    JsonFormat(Struct),
    /// Older form of `log_format.json_format`.
    TypedJsonFormat(Struct),
    /// Text or JSON.
    LogFormat(SubstitutionFormatString),
}

/// `envoy.extensions.access_loggers.stream.v3.StdoutAccessLog`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog")]
pub struct StdoutAccessLog {
    /// How a line looks; Envoy's default format where it is absent.
    #[serde(default)]
    pub log_format: Option<SubstitutionFormatString>,
}

/// `envoy.extensions.access_loggers.stream.v3.StderrAccessLog`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog")]
pub struct StderrAccessLog {
    /// How a line looks; Envoy's default format where it is absent.
    #[serde(default)]
    pub log_format: Option<SubstitutionFormatString>,
}

/// `envoy.config.core.v3.SubstitutionFormatString`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.SubstitutionFormatString")]
pub struct SubstitutionFormatString {
    /// Text or JSON, with command operators.
    #[serde(rename = "oneof:format")]
    pub format: SubstitutionFormat,
    /// Whether JSON fields without a value are left out, and text has nothing in place of `-`.
    #[serde(default)]
    pub omit_empty_values: bool,
    /// The `content-type` of a body; `text/plain` by default, `application/json` for an object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// What adds operators. No effect: those are there in any case.
    #[serde(default, skip_serializing)]
    pub formatters: Vec<FormatterExtension>,
    /// How JSON is written. No effect: members are sorted in any case.
    #[serde(default, skip_serializing)]
    pub json_format_options: Option<JsonFormatOptions>,
}

/// `envoy.config.core.v3.JsonFormatOptions`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.JsonFormatOptions")]
pub struct JsonFormatOptions {
    /// Whether members are sorted by name.
    #[serde(default)]
    pub sort_properties: bool,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of an entry of `formatters`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct FormatterExtension {
    /// Any name.
    #[serde(default)]
    pub name: String,
    /// The operators.
    #[serde(rename = "any:typed_config")]
    pub typed_config: FormatterConfig,
}

/// Operators that Envoy has only where they are asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:formatter")]
pub enum FormatterConfig {
    /// `%METADATA(…)%`.
    #[serde(rename = "envoy.extensions.formatter.metadata.v3.Metadata")]
    Metadata(MetadataFormatter),
    /// `%REQ_WITHOUT_QUERY(…)%`.
    #[serde(rename = "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery")]
    ReqWithoutQuery(ReqWithoutQueryFormatter),
}

/// `envoy.extensions.formatter.metadata.v3.Metadata`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.formatter.metadata.v3.Metadata")]
pub struct MetadataFormatter {}

/// `envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery")]
pub struct ReqWithoutQueryFormatter {}

/// `SubstitutionFormatString.format`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubstitutionFormat {
    /// Older form of `text_format_source.inline_string`.
    TextFormat(String),
    /// An object whose strings are formats.
    JsonFormat(Struct),
    /// Text.
    TextFormatSource(DataSource),
}
