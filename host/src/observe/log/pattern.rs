//! The pattern of a log line, in the letters of spdlog, which Envoy's `--log-format` has.
//!
//! Owns the compilation of a pattern and the writing of an event by it. Times are local, as in
//! Envoy.

use std::borrow::Cow;
use std::fmt;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::super::format::{TimeFormat, Zone};
use super::Error;
use crate::clock;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    parts: Box<[Part]>,
    /// Whether `%^` and `%$` are written as the escapes of a terminal.
    colour: bool,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(Box<str>),
    Time(TimeFormat),
    Level,
    /// The level's first letter, in upper case.
    Letter,
    Component,
    Message,
    /// The message on one line: line breaks and other control characters are escaped.
    OneLine,
    /// The message as the inside of a JSON string.
    Json,
    Thread,
    Process,
    /// Where the event stands in the source: path, file name, line.
    Path,
    File,
    Line,
    Colour(bool),
}

impl Pattern {
    /// Compiles a pattern, for a terminal or not.
    pub(super) fn new(pattern: &str, colour: bool) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = pattern;
        while let Some((before, tail)) = rest.split_once('%') {
            literal.push_str(before);
            let position = pattern.len() - tail.len() - 1;
            let mut letters = tail.chars();
            let letter = letters.next();
            rest = letters.as_str();
            if letter == Some('%') {
                literal.push('%');
                continue;
            }
            let conversion = || letter.map_or_else(String::new, String::from);
            let part = letter.and_then(part).ok_or_else(|| Error::Conversion {
                conversion: conversion(),
                position,
            })?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(part);
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self {
            parts: parts.into(),
            colour,
        })
    }
}

/// What a letter stands for.
fn part(letter: char) -> Option<Part> {
    Some(match letter {
        'l' => Part::Level,
        'L' => Part::Letter,
        'n' => Part::Component,
        'v' => Part::Message,
        '_' => Part::OneLine,
        'j' => Part::Json,
        't' => Part::Thread,
        'P' => Part::Process,
        'g' => Part::Path,
        's' => Part::File,
        '#' => Part::Line,
        '^' => Part::Colour(true),
        '$' => Part::Colour(false),
        letter => Part::Time(TimeFormat::new(time(letter)?, Zone::Local).ok()?),
    })
}

/// The time format for a letter of spdlog's, which are not all those of `strftime`.
fn time(letter: char) -> Option<&'static str> {
    Some(match letter {
        'a' => "%a",
        'A' => "%A",
        'b' => "%b",
        'B' => "%B",
        'c' => "%a %b %e %H:%M:%S %Y",
        'C' => "%y",
        'Y' => "%Y",
        'D' | 'x' => "%m/%d/%y",
        'm' => "%m",
        'd' => "%d",
        'H' => "%H",
        'I' => "%I",
        'M' => "%M",
        'S' => "%S",
        'e' => "%3f",
        'f' => "%6f",
        'F' => "%9f",
        'E' => "%s",
        'p' => "%p",
        'r' => "%I:%M:%S %p",
        'R' => "%H:%M",
        'T' | 'X' => "%H:%M:%S",
        'z' => "%:z",
        _ => return None,
    })
}

impl<S, N> FormatEvent<S, N> for Pattern
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = clock::wall();
        let metadata = event.metadata();
        let mut message = String::new();
        context
            .field_format()
            .format_fields(Writer::new(&mut message), event)?;
        let mut time = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => writer.write_str(text)?,
                Part::Time(format) => {
                    time.clear();
                    format.write(now, &mut time);
                    writer.write_str(&String::from_utf8_lossy(&time))?;
                }
                Part::Message => writer.write_str(&message)?,
                Part::OneLine => write_one_line(&mut writer, &message)?,
                Part::Json => {
                    let quoted = serde_json::Value::from(message.as_str()).to_string();
                    let inside = quoted
                        .strip_prefix('"')
                        .and_then(|text| text.strip_suffix('"'));
                    writer.write_str(inside.unwrap_or_default())?;
                }
                Part::Colour(_) if !self.colour => {}
                Part::Colour(true) => writer.write_str(colour_of(*metadata.level()))?,
                Part::Colour(false) => writer.write_str("\x1b[m")?,
                fact => write_fact(&mut writer, fact, metadata)?,
            }
        }
        writer.write_char('\n')
    }
}

/// Writes what is known about an event besides its message and its moment.
fn write_fact(writer: &mut Writer<'_>, fact: &Part, metadata: &Metadata<'_>) -> fmt::Result {
    match fact {
        Part::Level => writer.write_str(level_name(*metadata.level())),
        Part::Letter => {
            let letter = level_name(*metadata.level()).chars().next().unwrap_or('-');
            writer.write_char(letter.to_ascii_uppercase())
        }
        Part::Component => writer.write_str(component(metadata.target())),
        Part::Thread => writer.write_str(&thread_id()),
        Part::Process => write!(writer, "{}", std::process::id()),
        Part::Path => writer.write_str(metadata.file().unwrap_or_default()),
        Part::File => {
            let path = metadata.file().unwrap_or_default();
            writer.write_str(path.rsplit_once('/').map_or(path, |(_, name)| name))
        }
        Part::Line => write!(writer, "{}", metadata.line().unwrap_or(0)),
        _ => Ok(()),
    }
}

/// Writes a message with its line breaks and control characters escaped.
fn write_one_line(writer: &mut Writer<'_>, message: &str) -> fmt::Result {
    for c in message.chars() {
        if c.is_control() {
            write!(writer, "{}", c.escape_default())?;
        } else {
            writer.write_char(c)?;
        }
    }
    Ok(())
}

/// The component of a target: the target itself, the module of this crate that it names, or the
/// library.
fn component(target: &str) -> &str {
    let mut segments = target.split("::");
    match (segments.next(), segments.next()) {
        (Some(env!("CARGO_CRATE_NAME")), Some(module)) => module,
        (Some(env!("CARGO_CRATE_NAME")), None) => "main",
        (first, _) => first.unwrap_or(target),
    }
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warning",
        Level::ERROR => "error",
    }
}

/// The colours of spdlog.
const fn colour_of(level: Level) -> &'static str {
    match level {
        Level::TRACE => "\x1b[37m",
        Level::DEBUG => "\x1b[36m",
        Level::INFO => "\x1b[32m",
        Level::WARN => "\x1b[33m\x1b[1m",
        Level::ERROR => "\x1b[31m\x1b[1m",
    }
}

thread_local! {
    /// The kernel's number of this thread.
    static THREAD_ID: Cow<'static, str> = read_thread_id();
}

fn thread_id() -> Cow<'static, str> {
    THREAD_ID.with(Cow::clone)
}

fn read_thread_id() -> Cow<'static, str> {
    let link = std::fs::read_link("/proc/thread-self").ok();
    let name = link.as_deref().and_then(|link| link.file_name()?.to_str());
    name.map_or(Cow::Borrowed("0"), |name| Cow::Owned(name.to_owned()))
}
