//! What the fake host keeps: the tables of what filters looked up, what they share, and the stream
//! that a hook is about.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::bytes::{Captures, Regex};

use super::RuntimeValue;
use super::format::Format;
use super::stream::text;
use crate::error::HostError;
use crate::filter::Interest;
use crate::host::{Block, BucketSettings, Members, RouteKind, Target};

/// The state of a fake host.
pub(crate) struct World {
    pub(crate) configuring: bool,
    pub(crate) current: Option<Exchange>,
    pub(crate) now: Duration,
    pub(crate) max_level: log::LevelFilter,
    pub(crate) log: Vec<(log::Level, String)>,
    pub(crate) operators: BTreeMap<String, String>,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) sinks: Vec<(Target, Vec<u8>)>,
    pub(crate) refused_sinks: Vec<Target>,
    pub(crate) is_failing: bool,
    pub(crate) members: BTreeMap<String, Members>,
    pub(crate) own_cluster: String,
    pub(crate) gauges: BTreeMap<String, u64>,
    /// Runtime values; none where there are no layers.
    pub(crate) runtime: Option<BTreeMap<String, RuntimeValue>>,
    names: Vec<String>,
    attributes: Vec<String>,
    formats: Vec<Format>,
    counter_names: Vec<String>,
    gauge_names: Vec<String>,
    buckets: Vec<Bucket>,
    patterns: Vec<Regex>,
    /// Expressions, and what takes the place of what they match.
    substitutions: Vec<(Regex, String)>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            configuring: false,
            current: None,
            now: Duration::ZERO,
            max_level: log::LevelFilter::Trace,
            log: Vec::new(),
            operators: BTreeMap::new(),
            counters: BTreeMap::new(),
            sinks: Vec::new(),
            refused_sinks: Vec::new(),
            is_failing: false,
            members: BTreeMap::new(),
            own_cluster: String::new(),
            gauges: BTreeMap::new(),
            runtime: None,
            names: Vec::new(),
            attributes: Vec::new(),
            formats: Vec::new(),
            counter_names: Vec::new(),
            gauge_names: Vec::new(),
            buckets: Vec::new(),
            patterns: Vec::new(),
            substitutions: Vec::new(),
        }
    }
}

struct Bucket {
    key: String,
    how: BucketSettings,
    tokens: u32,
    /// When the last token that is counted in `tokens` came.
    filled: Duration,
}

/// A block: its fields in order.
type Fields = Vec<(String, Vec<u8>)>;

/// One stream.
#[derive(Default)]
pub(crate) struct Exchange {
    blocks: [Option<Fields>; 4],
    /// The blocks that have not been sent on yet.
    held: Vec<Block>,
    pub(crate) attributes: BTreeMap<String, Vec<u8>>,
    pub(crate) metadata: BTreeMap<(String, String), Vec<u8>>,
    pub(crate) body: Option<Vec<u8>>,
    /// What was added in front of trailers.
    pub(crate) added: Vec<u8>,
    /// What the filter wants of this stream in place of what its configuration says.
    pub(crate) interest: Option<Interest>,
    pub(crate) response_flags: Vec<String>,
    /// At how many bytes in a second the response's body is sent on.
    pub(crate) response_rate: Option<u64>,
    pub(crate) route: Option<RouteKind>,
    pub(crate) route_cache_cleared: bool,
    pub(crate) is_health_check: bool,
    /// The gauges that the stream holds up.
    pub(crate) holding: Vec<String>,
}

impl Exchange {
    pub(crate) fn arrive(&mut self, at: Block, fields: &[(&str, &str)]) {
        let fields = fields
            .iter()
            .map(|(n, v)| (n.to_ascii_lowercase(), v.as_bytes().to_vec()));
        *self.place_mut(at) = Some(fields.collect());
        if at == Block::RequestHeaders && self.route.is_none() {
            self.route = Some(RouteKind::Forward);
        }
    }

    pub(crate) fn hold(&mut self, blocks: &[Block]) {
        self.held = blocks.to_vec();
    }

    pub(crate) fn first(&self, at: Block, name: &str) -> Option<String> {
        self.values(at, name).first().map(|value| text(value))
    }

    pub(crate) fn block(&self, at: Block) -> Vec<(String, String)> {
        self.fields(at)
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }

    pub(super) fn values(&self, at: Block, name: &str) -> Vec<Vec<u8>> {
        let name = if name == "host" { ":authority" } else { name };
        let matching = self.fields(at).iter().filter(|(n, _)| n == name);
        matching.map(|(_, value)| value.clone()).collect()
    }

    fn fields(&self, at: Block) -> &[(String, Vec<u8>)] {
        let [a, b, c, d] = &self.blocks;
        let block = match at {
            Block::RequestHeaders => a,
            Block::RequestTrailers => b,
            Block::ResponseHeaders => c,
            Block::ResponseTrailers => d,
        };
        block.as_deref().unwrap_or_default()
    }

    const fn place_mut(&mut self, at: Block) -> &mut Option<Fields> {
        let [a, b, c, d] = &mut self.blocks;
        match at {
            Block::RequestHeaders => a,
            Block::RequestTrailers => b,
            Block::ResponseHeaders => c,
            Block::ResponseTrailers => d,
        }
    }
}

impl World {
    fn setup(&self) -> Result<(), String> {
        if self.configuring {
            Ok(())
        } else {
            Err("only while configuring".to_owned())
        }
    }

    pub(crate) fn intern_header(&mut self, name: &str) -> Result<u32, String> {
        self.setup()?;
        let name = name.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let pseudo = [
            ":method",
            ":scheme",
            ":authority",
            ":path",
            ":protocol",
            ":status",
        ];
        if !pseudo.contains(&name.as_str()) && (name.is_empty() || !name.bytes().all(token)) {
            return Err("not a header name".to_owned());
        }
        let name = if name == "host" {
            ":authority".to_owned()
        } else {
            name
        };
        Ok(index_of(&mut self.names, name))
    }

    pub(crate) fn find_attribute(&mut self, name: &str) -> Result<u32, String> {
        self.setup()?;
        if !name.contains('.') {
            return Err("not an attribute".to_owned());
        }
        Ok(index_of(&mut self.attributes, name.to_owned()))
    }

    pub(crate) fn compile_format(&mut self, text: &str) -> Result<u32, String> {
        self.setup()?;
        self.formats.push(Format::text(text)?);
        Ok(last(&self.formats))
    }

    pub(crate) fn compile_json_format(&mut self, json: &str, omit: bool) -> Result<u32, String> {
        self.setup()?;
        self.formats.push(Format::json(json, omit)?);
        Ok(last(&self.formats))
    }

    pub(crate) fn open_sink(&mut self, target: &Target) -> Result<u32, String> {
        self.setup()?;
        if self.refused_sinks.contains(target) {
            return Err("not granted".to_owned());
        }
        if let Some(at) = self.sinks.iter().position(|(open, _)| open == target) {
            return Ok(number(at));
        }
        self.sinks.push((target.clone(), Vec::new()));
        Ok(last(&self.sinks))
    }

    pub(crate) fn open_bucket(&mut self, key: &str, how: BucketSettings) -> Result<u32, String> {
        self.setup()?;
        if how.max_tokens == 0 || how.tokens_per_fill == 0 {
            return Err("a token bucket needs tokens".to_owned());
        }
        if how.fill_interval < Duration::from_millis(50) {
            return Err("a token bucket's fill interval is at least 50 ms".to_owned());
        }
        if let Some(at) = self.buckets.iter().position(|bucket| bucket.key == key) {
            return Ok(number(at));
        }
        let bucket = Bucket {
            key: key.to_owned(),
            how,
            tokens: how.max_tokens,
            filled: self.now,
        };
        self.buckets.push(bucket);
        Ok(last(&self.buckets))
    }

    pub(crate) fn open_counter(&mut self, name: &str) -> Result<u32, String> {
        self.setup()?;
        self.counters.entry(name.to_owned()).or_default();
        Ok(index_of(&mut self.counter_names, name.to_owned()))
    }

    pub(crate) fn open_gauge(&mut self, name: &str) -> Result<u32, String> {
        self.setup()?;
        self.gauges.entry(name.to_owned()).or_default();
        Ok(index_of(&mut self.gauge_names, name.to_owned()))
    }

    pub(crate) fn hold(&mut self, gauge: u32, limit: u64) -> bool {
        let (Some(name), Some(exchange)) =
            (self.gauge_names.get(gauge as usize), &mut self.current)
        else {
            return false;
        };
        if exchange.holding.contains(name) {
            return true;
        }
        let level = self.gauges.entry(name.clone()).or_default();
        if *level >= limit {
            return false;
        }
        *level += 1;
        exchange.holding.push(name.clone());
        true
    }

    /// What a stream has held up that is over.
    pub(crate) fn let_go(&mut self, held: &[String]) {
        for name in held {
            if let Some(level) = self.gauges.get_mut(name) {
                *level -= 1;
            }
        }
    }

    pub(crate) fn runtime_value(&self, key: &str) -> Option<RuntimeValue> {
        self.runtime.as_ref()?.get(key).copied()
    }

    pub(crate) fn compile_pattern(&mut self, expression: &str) -> Result<u32, String> {
        self.setup()?;
        let whole = format!(r"\A(?:{expression})\z");
        self.patterns
            .push(Regex::new(&whole).map_err(|error| error.to_string())?);
        Ok(last(&self.patterns))
    }

    pub(crate) fn compile_substitution(
        &mut self,
        expression: &str,
        with: &str,
    ) -> Result<u32, String> {
        self.setup()?;
        let regex = Regex::new(expression).map_err(|error| error.to_string())?;
        self.substitutions.push((regex, with.to_owned()));
        Ok(last(&self.substitutions))
    }

    pub(crate) fn substitute(&self, substitution: u32, text: &[u8]) -> Vec<u8> {
        let Some((regex, with)) = self.substitutions.get(substitution as usize) else {
            return Vec::new();
        };
        let replaced = regex.replace_all(text, |captures: &Captures<'_>| {
            let mut out = Vec::new();
            let mut bytes = with.bytes();
            while let Some(byte) = bytes.next() {
                let group = match byte {
                    b'\\' => bytes.next(),
                    _ => None,
                };
                match group {
                    Some(digit) if digit.is_ascii_digit() => {
                        let group = captures.get(usize::from(digit - b'0'));
                        out.extend(group.map_or(&b""[..], |group| group.as_bytes()));
                    }
                    Some(other) => out.push(other),
                    None => out.push(byte),
                }
            }
            out
        });
        replaced.into_owned()
    }

    pub(crate) fn matches(&self, pattern: u32, text: &[u8]) -> bool {
        self.patterns
            .get(pattern as usize)
            .is_some_and(|pattern| pattern.is_match(text))
    }

    pub(crate) fn values(&self, at: Block, name: u32) -> Vec<Vec<u8>> {
        match (&self.current, self.names.get(name as usize)) {
            (Some(exchange), Some(name)) => exchange.values(at, name),
            _ => Vec::new(),
        }
    }

    pub(crate) fn entries(&self, at: Block) -> Vec<(Vec<u8>, Vec<u8>)> {
        let fields = self
            .current
            .as_ref()
            .map(|exchange| exchange.fields(at))
            .unwrap_or_default();
        fields
            .iter()
            .map(|(name, value)| (name.clone().into_bytes(), value.clone()))
            .collect()
    }

    pub(crate) fn set(&mut self, at: Block, name: u32, value: &[u8]) -> Result<(), HostError> {
        let (name, fields) = self.changeable(at, name, Change::Set(value))?;
        match fields.iter().position(|(n, _)| *n == name) {
            None => fields.push((name, value.to_vec())),
            Some(first) => {
                let mut index = 0;
                fields.retain_mut(|(n, v)| {
                    if index == first {
                        value.clone_into(v);
                    }
                    let keep = index <= first || *n != name;
                    index += 1;
                    keep
                });
            }
        }
        Ok(())
    }

    pub(crate) fn append(&mut self, at: Block, name: u32, value: &[u8]) -> Result<(), HostError> {
        let (name, fields) = self.changeable(at, name, Change::Append(value))?;
        fields.push((name, value.to_vec()));
        Ok(())
    }

    pub(crate) fn remove(&mut self, at: Block, name: u32) -> Result<(), HostError> {
        let (name, fields) = self.changeable(at, name, Change::Remove)?;
        fields.retain(|(n, _)| *n != name);
        Ok(())
    }

    pub(crate) fn clear(&mut self, at: Block) -> Result<(), HostError> {
        let exchange = self.current.as_mut().ok_or(HostError::WrongPhase)?;
        let is_trailers = matches!(at, Block::RequestTrailers | Block::ResponseTrailers);
        if !is_trailers || !exchange.held.contains(&at) {
            return Err(HostError::WrongPhase);
        }
        exchange.place_mut(at).take();
        Ok(())
    }

    pub(crate) fn add_body(&mut self, body: &[u8]) -> Result<(), HostError> {
        let exchange = self.current.as_mut().ok_or(HostError::WrongPhase)?;
        let trailers = [Block::RequestTrailers, Block::ResponseTrailers];
        if !trailers.iter().any(|at| exchange.held.contains(at)) {
            return Err(HostError::WrongPhase);
        }
        exchange.added.extend_from_slice(body);
        Ok(())
    }

    pub(crate) fn set_response_flag(&mut self, short_name: &str) {
        if let Some(exchange) = &mut self.current {
            exchange.response_flags.push(short_name.to_owned());
        }
    }

    pub(crate) fn limit_response_rate(&mut self, bytes_per_second: u64) {
        if let Some(exchange) = &mut self.current {
            let rate = bytes_per_second.max(1);
            let lower = exchange.response_rate.map_or(rate, |old| old.min(rate));
            exchange.response_rate = Some(lower);
        }
    }

    pub(crate) fn set_interest(&mut self, interest: Interest) {
        if let Some(exchange) = &mut self.current {
            exchange.interest = Some(interest);
        }
    }

    fn changeable(
        &mut self,
        at: Block,
        name: u32,
        change: Change<'_>,
    ) -> Result<(String, &mut Fields), HostError> {
        let exchange = self.current.as_mut().ok_or(HostError::WrongPhase)?;
        let name = self
            .names
            .get(name as usize)
            .ok_or(HostError::InvalidValue)?
            .clone();
        if !exchange.held.contains(&at) {
            return Err(HostError::WrongPhase);
        }
        let fields = exchange
            .place_mut(at)
            .as_mut()
            .ok_or(HostError::WrongPhase)?;
        let is_there = fields.iter().any(|(n, _)| *n == name);
        if !is_allowed(&name, change, at, is_there) {
            return Err(HostError::Immutable);
        }
        match change {
            Change::Set(value) | Change::Append(value)
                if value.iter().any(|b| matches!(b, b'\r' | b'\n' | b'\0')) =>
            {
                Err(HostError::InvalidValue)
            }
            _ => Ok((name, fields)),
        }
    }

    pub(crate) fn attribute(&self, id: u32) -> Option<Vec<u8>> {
        let name = self.attributes.get(id as usize)?;
        self.current.as_ref()?.attributes.get(name).cloned()
    }

    pub(crate) fn render(&self, format: u32, missing: &str) -> Vec<u8> {
        match (self.formats.get(format as usize), &self.current) {
            (Some(format), Some(exchange)) => format.render(exchange, &self.operators, missing),
            _ => Vec::new(),
        }
    }

    pub(crate) fn set_metadata(&mut self, ns: &str, key: &str, v: &[u8]) -> Result<(), HostError> {
        let exchange = self.current.as_mut().ok_or(HostError::WrongPhase)?;
        exchange
            .metadata
            .insert((ns.to_owned(), key.to_owned()), v.to_vec());
        Ok(())
    }

    pub(crate) fn metadata(&self, namespace: &str, key: &str) -> Option<Vec<u8>> {
        let key = (namespace.to_owned(), key.to_owned());
        self.current.as_ref()?.metadata.get(&key).cloned()
    }

    pub(crate) fn replace_body(&mut self, body: &[u8]) -> Result<(), HostError> {
        let exchange = self.current.as_mut().ok_or(HostError::WrongPhase)?;
        let chunk = exchange.body.as_mut().ok_or(HostError::WrongPhase)?;
        body.clone_into(chunk);
        Ok(())
    }

    pub(crate) fn route(&self) -> Option<RouteKind> {
        self.current.as_ref()?.route
    }

    pub(crate) fn clear_route_cache(&mut self) -> Result<(), HostError> {
        let exchange = self.current.as_mut().ok_or(HostError::WrongPhase)?;
        if !exchange.held.contains(&Block::RequestHeaders) {
            return Err(HostError::WrongPhase);
        }
        exchange.route_cache_cleared = true;
        Ok(())
    }

    pub(crate) fn write(&mut self, sink: u32, line: &[u8]) {
        if let Some((_, written)) = self.sinks.get_mut(sink as usize) {
            written.extend_from_slice(line);
        }
    }

    pub(crate) fn take(&mut self, bucket: u32, tokens: u32) -> bool {
        let now = self.now;
        let Some(bucket) = self.buckets.get_mut(bucket as usize) else {
            return false;
        };
        let how = bucket.how;
        let a_token = how.fill_interval / how.tokens_per_fill;
        let came = (now - bucket.filled).as_nanos() / a_token.as_nanos().max(1);
        let came = u32::try_from(came).unwrap_or(u32::MAX);
        bucket.filled += a_token.saturating_mul(came);
        bucket.tokens = bucket.tokens.saturating_add(came).min(how.max_tokens);
        match bucket.tokens.checked_sub(tokens) {
            Some(left) => {
                bucket.tokens = left;
                true
            }
            None => false,
        }
    }

    pub(crate) fn add(&mut self, counter: u32, n: u64) {
        if let Some(name) = self.counter_names.get(counter as usize)
            && let Some(value) = self.counters.get_mut(name)
        {
            *value += n;
        }
    }
}

/// What a filter wants to do with a field.
#[derive(Clone, Copy)]
enum Change<'a> {
    Set(&'a [u8]),
    Append(&'a [u8]),
    Remove,
}

/// Whether the proxy would let a filter: it keeps to itself what frames a body (RFC 9112 §6) or
/// belongs to one connection (RFC 9110 §7.6.1), and messages keep their pseudo-header fields.
fn is_allowed(name: &str, change: Change<'_>, at: Block, is_there: bool) -> bool {
    match (name, at) {
        (":method" | ":scheme" | ":authority" | ":path", Block::RequestHeaders)
        | (":status", Block::ResponseHeaders) => matches!(change, Change::Set(_)) && is_there,
        ("te", Block::RequestHeaders) => {
            matches!(change, Change::Remove | Change::Set(b"trailers"))
        }
        ("content-length" | "te", _) => matches!(change, Change::Remove),
        (
            "connection" | "expect" | "http2-settings" | "keep-alive" | "proxy-connection"
            | "trailer" | "transfer-encoding" | "upgrade",
            _,
        ) => false,
        (name, _) => !name.starts_with(':'),
    }
}

fn index_of(table: &mut Vec<String>, entry: String) -> u32 {
    let found = table.iter().position(|known| *known == entry);
    number(found.unwrap_or_else(|| {
        table.push(entry);
        table.len() - 1
    }))
}

fn last<T>(table: &[T]) -> u32 {
    number(table.len().saturating_sub(1))
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
