//! What is logged of each component, and changing it: `/logging`.
//!
//! Owns the parameters and the page in Envoy's form. Does not own the levels (`observe::log`).

use std::fmt::Write as _;

use http::StatusCode;

use super::Page;
use super::pages::Query;
use crate::observe::log::{self, Change};

const USAGE: &str = "usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
levels: trace debug info warning error critical off\x20
";

/// The page.
pub(super) fn page(query: &Query) -> Page {
    let changed = change(query);
    let mut text = String::new();
    let status = match &changed {
        Ok(()) => StatusCode::OK,
        Err(why) => {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "error: {why}\n\n{USAGE}");
            StatusCode::BAD_REQUEST
        }
    };
    text.push_str("active loggers:\n");
    for (name, level) in log::shown() {
        let _infallible = writeln!(text, "  {name}: {level}");
    }
    text.push('\n');
    Page::text(text).with(status)
}

fn change(query: &Query) -> Result<(), String> {
    let (name, value) = match query.pairs() {
        [] => return Ok(()),
        [(name, value)] => (name.as_str(), value.as_str()),
        _ => return Err("invalid number of parameters".to_owned()),
    };
    if value.is_empty() {
        return Ok(());
    }
    let change = match name {
        "level" => Change::All(value),
        "paths" => Change::Some(pairs(value)?),
        name => Change::Some(vec![(name, value)]),
    };
    log::change(&change).map_err(|error| match error {
        log::Error::Level(_) => "unknown logger level".to_owned(),
        log::Error::Component { .. } => "unknown logger name".to_owned(),
        other => other.to_string(),
    })
}

fn pairs(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let pairs = text.split(',').map(|pair| match pair.split_once(':') {
        Some((name, level)) if !name.is_empty() && !level.is_empty() => Ok((name, level)),
        _ => Err("empty logger name or empty logger level".to_owned()),
    });
    pairs.collect()
}
