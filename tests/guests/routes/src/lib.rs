//! Shows which configuration its hooks are called with, in the metadata `routes:<hook>`: the documents
//! of the chain and of the routes, which are words separated by blanks.
//!
//! The words of the last document say what is wanted (`request`, `response`, `log`), and what else is
//! to happen: `refuse` refuses the configuration, `panic` traps, `once` refuses it in all instances but
//! the first that asks, `differ` wants the response only in that one.

use std::cell::RefCell;

use support::types::{self, Phases};
use support::{
    Flow, Guest, Interest, RouteConfig, Step, http_stream, text_of, token_bucket, wants,
};

thread_local! {
    static CONFIGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Routes;

/// Whether nobody has asked for that name before, in any instance.
fn is_first(name: &str) -> Result<bool, String> {
    let how = token_bucket::Settings {
        max_tokens: 1,
        tokens_per_fill: 1,
        fill_interval_ns: 3_600_000_000_000,
    };
    Ok(token_bucket::take(token_bucket::open(name, how)?, 1))
}

fn configured(text: String, words: &str) -> Result<(u32, Interest), String> {
    let mut phases = Phases::empty();
    for word in words.split_whitespace() {
        match word {
            "request" => phases |= Phases::REQUEST_HEADERS,
            "response" => phases |= Phases::RESPONSE_HEADERS,
            "log" => phases |= Phases::LOG,
            "refuse" => return Err("not this one".to_owned()),
            "panic" => panic!("as the test wants"),
            "once" if !is_first("once")? => return Err("not twice".to_owned()),
            "differ" if is_first("differ")? => phases |= Phases::RESPONSE_HEADERS,
            _ => {}
        }
    }
    let of = CONFIGS.with_borrow_mut(|configs| {
        configs.push(text);
        configs.len() - 1
    });
    Ok((u32::try_from(of).unwrap_or(u32::MAX), wants(phases)))
}

fn show(of: u32, hook: &str, state: u32) -> Step {
    let text = CONFIGS.with_borrow(|configs| configs.get(of as usize).cloned());
    let text = format!("{} state {state}", text.unwrap_or_default());
    let _ended = http_stream::set_metadata("routes", hook, text.as_bytes());
    Step {
        state: state + 1,
        then: Flow::Next,
    }
}

impl Guest for Routes {
    fn configure(document: String) -> Result<(u32, Interest), String> {
        let words = text_of(&document);
        configured(words.clone(), &words)
    }

    fn configure_route(of: u32, levels: Vec<RouteConfig>) -> Result<(u32, Interest), String> {
        let words = levels
            .last()
            .map(|level| text_of(&level.document))
            .unwrap_or_default();
        let mut text = CONFIGS
            .with_borrow(|configs| configs.get(of as usize).cloned())
            .unwrap_or_default();
        for level in &levels {
            text.push_str(&format!(" | {}: {}", level.id, text_of(&level.document)));
        }
        configured(text, &words)
    }

    fn on_request_headers(of: u32, _: bool) -> types::Flow {
        show(of, "request", 0).tell()
    }

    fn on_resume(_: u32, state: u32, _: bool) -> types::Flow {
        support::next(state).tell()
    }

    fn on_request_body(_: u32, state: u32, _: Vec<u8>, _: bool) -> types::Flow {
        support::next(state).tell()
    }

    fn on_request_trailers(_: u32, state: u32) -> types::Flow {
        support::next(state).tell()
    }

    fn on_response_headers(of: u32, state: u32, _: bool) -> types::Flow {
        show(of, "response", state).tell()
    }

    fn on_response_body(_: u32, state: u32, _: Vec<u8>, _: bool) -> types::Flow {
        support::next(state).tell()
    }

    fn on_response_trailers(_: u32, state: u32) -> types::Flow {
        support::next(state).tell()
    }

    fn on_log(of: u32, state: u32) {
        show(of, "log", state);
    }

    fn on_done(_: u32, _: u32) {}
}

support::export_bindings!(Routes with_types_in support);
