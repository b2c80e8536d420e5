//! The value types of Envoy's API that are more than a number or a string.
//!
//! Owns their forms in a configuration: what is accepted, and how each is written as JSON. Used by
//! the messages of the model.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration as StdDuration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::config::{json, lexical};

/// `google.protobuf.Duration`: `0.25s`, or `{seconds: 0, nanos: 250000000}`. At most 292 years,
/// never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(StdDuration);

impl Duration {
    /// The value.
    #[must_use]
    pub const fn get(self) -> StdDuration {
        self.0
    }

    /// The value, or nothing where it is 0, which in most fields of Envoy's means no limit.
    #[must_use]
    pub const fn non_zero(self) -> Option<StdDuration> {
        if self.0.is_zero() { None } else { Some(self.0) }
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = DurationVisitor { units: &[] };
        deserializer
            .deserialize_struct(DURATION, PARTS, visitor)
            .map(Self)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", lexical::seconds_text(self.0)))
    }
}

/// The time of one call into a filter: a [`Duration`], or with a unit, `5ms` or `500us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTime(StdDuration);

impl CallTime {
    /// The value.
    #[must_use]
    pub const fn get(self) -> StdDuration {
        self.0
    }
}

const CALL_UNITS: &[(&str, StdDuration)] = &[
    ("us", StdDuration::from_micros(1)),
    ("ms", StdDuration::from_millis(1)),
];

impl<'de> Deserialize<'de> for CallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = DurationVisitor { units: CALL_UNITS };
        deserializer
            .deserialize_struct(DURATION, PARTS, visitor)
            .map(Self)
    }
}

impl Serialize for CallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Duration(self.0).serialize(serializer)
    }
}

/// The message that the decoder takes as a mapping or as a scalar.
pub(super) const DURATION: &str = "google.protobuf.Duration";
const PARTS: &[&str] = &["seconds", "nanos"];

struct DurationVisitor {
    /// Units that are accepted besides seconds.
    units: &'static [(&'static str, StdDuration)],
}

impl<'de> Visitor<'de> for DurationVisitor {
    type Value = StdDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in seconds such as '0.25s'")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StdDuration, E> {
        for (unit, length) in self.units {
            if let Some(amount) = text.strip_suffix(unit)
                && let Ok(amount) = amount.parse()
                && let Some(duration) = length.checked_mul(amount)
            {
                return Ok(duration);
            }
        }
        lexical::duration(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<StdDuration, E> {
        Err(E::custom(format_args!(
            "a duration needs a unit: write '{number}s' for seconds"
        )))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<StdDuration, E> {
        Err(E::custom(format_args!(
            "a duration needs a unit: write '{number}s' for seconds"
        )))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StdDuration, A::Error> {
        /// `google.protobuf.Duration` as a mapping.
        #[derive(Deserialize)]
        struct Parts {
            #[serde(default)]
            seconds: i64,
            #[serde(default)]
            nanos: i32,
        }
        let parts = Parts::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(parts.seconds), u32::try_from(parts.nanos))
        else {
            return Err(de::Error::custom("a duration cannot be negative"));
        };
        if nanos > 999_999_999 {
            return Err(de::Error::custom(
                "'nanos' of a duration must be at most 999999999",
            ));
        }
        lexical::in_range(seconds, nanos)
            .ok_or_else(|| de::Error::custom("the duration is longer than 292 years"))
    }
}

/// A size in bytes: `16MiB`, `512KiB`, `1GiB`, or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(u64);

impl ByteSize {
    /// The size in bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ByteSizeVisitor).map(Self)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

struct ByteSizeVisitor;

impl Visitor<'_> for ByteSizeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as '16MiB' or a number of bytes")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        let units: [(&str, u64); 4] = [
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
            ("B", 1),
        ];
        for (unit, bytes) in units {
            if let Some(amount) = text.strip_suffix(unit)
                && let Ok(amount) = amount.trim_end().parse::<u64>()
                && let Some(size) = amount.checked_mul(bytes)
            {
                return Ok(size);
            }
        }
        Err(E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// `bytes`: base64, with the usual or the URL alphabet, padded or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// These bytes.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn get(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        for alphabet in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            if let Ok(bytes) = alphabet.decode(&text) {
                return Ok(Self(bytes));
            }
        }
        Err(de::Error::custom("expected bytes in base64"))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

/// `envoy.type.v3.Percent`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.Percent")]
pub struct Percent {
    /// From 0 to 100.
    #[serde(default)]
    pub value: f64,
}

/// `envoy.type.v3.FractionalPercent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.FractionalPercent")]
pub struct FractionalPercent {
    /// How many of `denominator`.
    #[serde(default)]
    pub numerator: u32,
    /// Of how many; of 100 by default.
    #[serde(default)]
    pub denominator: Denominator,
}

/// `envoy.type.v3.FractionalPercent.DenominatorType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.type.v3.FractionalPercent.DenominatorType",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum Denominator {
    /// Percent.
    #[default]
    Hundred,
    /// Hundredths of a percent.
    TenThousand,
    /// Millionths.
    Million,
}

impl Denominator {
    /// As a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        match self {
            Self::Hundred => 100,
            Self::TenThousand => 10_000,
            Self::Million => 1_000_000,
        }
    }
}

/// `envoy.config.core.v3.RuntimeFractionalPercent`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.RuntimeFractionalPercent")]
pub struct RuntimeFractionalPercent {
    /// The fraction.
    pub default_value: FractionalPercent,
    /// The runtime key that overrides it; none where it is empty.
    #[serde(default)]
    pub runtime_key: String,
}

/// `envoy.config.core.v3.RuntimeFeatureFlag`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.RuntimeFeatureFlag")]
pub struct RuntimeFeatureFlag {
    /// The switch.
    pub default_value: bool,
    /// The runtime key that overrides it; none where it is empty.
    #[serde(default)]
    pub runtime_key: String,
}

/// `envoy.config.core.v3.RuntimeDouble`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.RuntimeDouble")]
pub struct RuntimeDouble {
    /// The number.
    #[serde(default)]
    pub default_value: f64,
    /// The runtime key that overrides it, where there is one.
    #[serde(default)]
    pub runtime_key: String,
}

/// `envoy.config.core.v3.DataSource`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.DataSource")]
pub struct DataSource {
    /// Where the data is.
    #[serde(rename = "oneof:specifier")]
    pub specifier: DataSpecifier,
}

/// `envoy.config.core.v3.DataSource.specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataSpecifier {
    /// In a file, read once.
    Filename(String),
    /// Here, in base64.
    InlineBytes(Bytes),
    /// Here.
    InlineString(String),
    /// In a variable of the environment.
    EnvironmentVariable(String),
}

/// `envoy.type.v3.StatusCode`: an HTTP status that Envoy has a name for, by number or name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusCode(u16);

impl StatusCode {
    /// The status, from 100 to 511; 0 for the name `Empty`.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for StatusCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Without variants the decoder gives the number of any constant of the enum.
        deserializer
            .deserialize_enum("envoy.type.v3.StatusCode", &[], StatusVisitor)
            .map(Self)
    }
}

impl Serialize for StatusCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

struct StatusVisitor;

impl Visitor<'_> for StatusVisitor {
    type Value = u16;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an HTTP status such as 429")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u16, E> {
        let invalid = || E::invalid_value(de::Unexpected::Unsigned(number), &self);
        u16::try_from(number).ok().ok_or_else(invalid)
    }
}

/// Any value, kept as it was written: YAML with the scalars of the YAML 1.2 core schema.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RawValue(serde_json::Value);

impl RawValue {
    /// The value.
    #[must_use]
    pub const fn get(&self) -> &serde_json::Value {
        &self.0
    }
}

/// By this name the decoder knows a [`Struct`].
pub(super) const STRUCT: &str = "google.protobuf.Struct";

/// `google.protobuf.Struct`: a mapping. Its words are read as by Envoy, to whom `1.0` is a text and `yes`
/// a boolean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Struct(RawValue);

impl Struct {
    /// The value, which is an object.
    #[must_use]
    pub const fn get(&self) -> &serde_json::Value {
        self.0.get()
    }
}

impl<'de> Deserialize<'de> for Struct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "google.protobuf.Struct")]
        struct Fields(BTreeMap<String, serde_json::Value>);
        let Fields(fields) = Fields::deserialize(deserializer)?;
        Ok(Self(RawValue(fields.into_iter().collect())))
    }
}

/// `envoy.config.core.v3.Metadata`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Metadata")]
pub struct Metadata {
    /// Values by the name of who reads them; `envoy.lb` for load balancing.
    #[serde(default)]
    pub filter_metadata: BTreeMap<String, Struct>,
    /// Messages by the same names, of whatever type. None of them is read.
    #[serde(default)]
    pub typed_filter_metadata: BTreeMap<String, Struct>,
}

impl Serialize for RawValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The marker keeps `config::json` from taking the value for a part of the model.
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(json::RAW, &self.0)?;
        map.end()
    }
}
