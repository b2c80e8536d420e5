//! `envoy.filters.http.header_to_metadata`: leaves values of headers and cookies as dynamic metadata,
//! for logs, for other filters, and for what routes match on.

mod base64;
mod config;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use nuncio_sdk::{
    Error, Exchange, Fields, Filter, Flow, HeaderName, Interest, RequestHeaders, ResponseHeaders,
    Result, Setup, Substitution,
};

pub use config::{Config, KeyValuePair, Rewrite, Rule};

/// The namespace where the configuration names none, as in Envoy.
const NAMESPACE: &str = "envoy.filters.http.header_to_metadata";
/// The longest value that is left, as in Envoy.
const VALUE_BYTES: usize = 8 * 1024;

/// The filter.
#[derive(Debug)]
pub struct HeaderToMetadata {
    request: Vec<Step>,
    response: Vec<Step>,
}

/// A rule, looked up.
#[derive(Debug)]
struct Step {
    header: HeaderName,
    /// Where the value is that of a cookie: its name.
    cookie: Option<Vec<u8>>,
    present: Option<Entry>,
    missing: Option<Entry>,
    remove: bool,
}

/// What is left.
#[derive(Debug)]
struct Entry {
    namespace: String,
    key: String,
    /// Empty for the value of the field.
    value: String,
    /// What is replaced of that.
    rewrite: Option<Substitution>,
    /// Whether what is left is what that stands for as base64.
    is_base64: bool,
    /// Whether only a number is left.
    is_number: bool,
}

impl Filter for HeaderToMetadata {
    type Config = Config;
    type Stream = ();

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let mut steps = |rules: Vec<Rule>| -> Result<Vec<Step>> {
            rules
                .into_iter()
                .map(|rule| Step::look_up(rule, setup))
                .collect()
        };
        Ok(Self {
            request: steps(config.request_rules)?,
            response: steps(config.response_rules)?,
        })
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest::new();
        if !self.request.is_empty() {
            interest = interest.request_headers();
        }
        if !self.response.is_empty() {
            interest = interest.response_headers();
        }
        interest
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        for step in &self.request {
            let value = step.value(&cx.request());
            if step.leave(value, cx)? {
                cx.request_mut().remove(step.header)?;
            }
        }
        Ok(Flow::Next)
    }

    fn on_response_headers(&self, _: &mut (), cx: &mut ResponseHeaders<'_>) -> Result<Flow> {
        for step in &self.response {
            let value = step.value(&cx.response());
            if step.leave(value, cx)? {
                cx.response_mut().remove(step.header)?;
            }
        }
        Ok(Flow::Next)
    }
}

impl Step {
    fn look_up(rule: Rule, setup: &mut Setup) -> Result<Self> {
        let (name, is_cookie) = match (rule.header.as_str(), rule.cookie.as_str()) {
            (header, "") if !header.is_empty() => (header, false),
            ("", cookie) if !cookie.is_empty() => (cookie, true),
            _ => return Err(Error::msg("a rule has one of `header` and `cookie`")),
        };
        let invalid = |text: &str| Err(Error::msg(format!("the rule for \"{name}\" {text}")));
        if is_cookie && rule.remove {
            return invalid("cannot `remove` a cookie");
        }
        if rule.on_header_present.is_none() && rule.on_header_missing.is_none() {
            return invalid("has neither `on_header_present` nor `on_header_missing`");
        }
        if let Some(missing) = &rule.on_header_missing
            && missing.value.is_empty()
        {
            return invalid("has an `on_header_missing` without a `value`");
        }
        let header = match is_cookie {
            true => setup.header_name("cookie")?,
            false => setup.header_name(name)?,
        };
        let mut entry =
            |pair: Option<KeyValuePair>| pair.map(|pair| Entry::new(pair, setup)).transpose();
        Ok(Self {
            header,
            cookie: is_cookie.then(|| name.as_bytes().to_vec()),
            present: entry(rule.on_header_present)?,
            missing: entry(rule.on_header_missing)?,
            remove: rule.remove,
        })
    }

    /// The value of the field, all of a name as one, or that of the cookie.
    fn value(&self, fields: &Fields<'_>) -> Option<Vec<u8>> {
        let values = fields.get_all(self.header);
        match &self.cookie {
            Some(name) => values
                .iter()
                .find_map(|line| cookie(line, name))
                .filter(|value| !value.is_empty()),
            None if values.is_empty() => None,
            None => Some(values.join(&b","[..])),
        }
    }

    /// Leaves what there is to be left; whether the field is to be taken out.
    fn leave(&self, value: Option<Vec<u8>>, exchange: &mut Exchange<'_>) -> Result<bool> {
        let Some(value) = value else {
            if let Some(entry) = &self.missing {
                entry.leave(b"", exchange)?;
            }
            return Ok(false);
        };
        if let Some(entry) = &self.present {
            entry.leave(&value, exchange)?;
        }
        Ok(self.remove)
    }
}

impl Entry {
    fn new(pair: KeyValuePair, setup: &mut Setup) -> Result<Self> {
        if pair.key.is_empty() {
            return Err(Error::msg("a rule has an empty `key`"));
        }
        let is_base64 = match pair.encode.as_deref() {
            None | Some("NONE") => false,
            Some("BASE64") => true,
            Some(other) => return Err(Error::msg(format!("`encode: {other}` is not supported"))),
        };
        let namespace = match pair.metadata_namespace.as_str() {
            "" => NAMESPACE.to_owned(),
            name => name.to_owned(),
        };
        if pair.regex_value_rewrite.is_some() && !pair.value.is_empty() {
            return Err(Error::msg(
                "a rule has one of `value` and `regex_value_rewrite`",
            ));
        }
        let is_number = match pair.kind.as_deref() {
            None | Some("STRING") => false,
            Some("NUMBER") => true,
            Some(other) => return Err(Error::msg(format!("`type: {other}` is not supported"))),
        };
        let rewrite = pair
            .regex_value_rewrite
            .map(|rewrite| setup.substitution(&rewrite.pattern.regex, &rewrite.substitution));
        Ok(Self {
            namespace,
            key: pair.key,
            value: pair.value,
            rewrite: rewrite.transpose()?,
            is_base64,
            is_number,
        })
    }

    fn leave(&self, value: &[u8], exchange: &mut Exchange<'_>) -> Result<()> {
        let value = match (self.value.as_str(), self.rewrite) {
            ("", None) => Cow::Borrowed(value),
            ("", Some(rewrite)) => Cow::Owned(rewrite.apply(value)),
            (constant, _) => Cow::Borrowed(constant.as_bytes()),
        };
        // An empty value, or one that is too long, leaves nothing.
        if !(1..VALUE_BYTES).contains(&value.len()) {
            return Ok(());
        }
        let value = match self.is_base64 {
            false => value,
            true => match base64::decoded(&value) {
                Some(decoded) if !decoded.is_empty() => Cow::Owned(decoded),
                _ => return Ok(()),
            },
        };
        let value = match self.is_number {
            false => value,
            true => match number(&value) {
                Some(number) => Cow::Owned(number.into_bytes()),
                None => return Ok(()),
            },
        };
        exchange.set_metadata(&self.namespace, &self.key, &value)?;
        Ok(())
    }
}

/// A number as logs show it; none where the text is no finite one.
fn number(text: &[u8]) -> Option<String> {
    let number: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    number.is_finite().then(|| number.to_string())
}

/// The value of a cookie in a line of them (RFC 6265 §4.2.1), without quotes around it.
fn cookie(line: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut pairs = line.split(|byte| *byte == b';');
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"=")?;
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        Some(quoted.unwrap_or(value).to_vec())
    })
}

nuncio_sdk::export_filter!(HeaderToMetadata);
