//! Keeps state for each stream: what its request's path was, shown in `x-path` of the response,
//! together with how many streams have state in this instance. A request for `/trap` panics, one for
//! `/none` keeps nothing, and a response to `/late` panics.

use std::cell::RefCell;
use std::collections::BTreeMap;

use support::http_stream::{get, set};
use support::types::Block;
use support::{Filter, Interest, Phases, Step, next, wants};

struct State;

#[derive(Default)]
struct Kept {
    path: u32,
    shown: u32,
    last: u32,
    paths: BTreeMap<u32, Vec<u8>>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

impl Filter for State {
    fn configure(_document: &str) -> Result<Interest, String> {
        let path = support::setup::intern_header(":path")?;
        let shown = support::setup::intern_header("x-path")?;
        KEPT.with_borrow_mut(|kept| {
            *kept = Kept {
                path,
                shown,
                ..Kept::default()
            }
        });
        Ok(wants(
            Phases::REQUEST_HEADERS | Phases::RESPONSE_HEADERS | Phases::LOG,
        ))
    }

    fn on_request_headers(_end: bool) -> Step {
        KEPT.with_borrow_mut(|kept| {
            let path = get(Block::RequestHeaders, kept.path).unwrap_or_default();
            match path.as_slice() {
                b"/trap" => panic!("as the test wants"),
                b"/none" => return next(0),
                _ => {}
            }
            kept.last += 1;
            kept.paths.insert(kept.last, path);
            next(kept.last)
        })
    }

    fn on_response_headers(state: u32, _end: bool) -> Step {
        KEPT.with_borrow(|kept| {
            let path = kept.paths.get(&state).cloned().unwrap_or_default();
            assert_ne!(path, b"/late", "as the test wants");
            let mut shown = path;
            shown.extend_from_slice(format!(" {}", kept.paths.len()).as_bytes());
            let _ended = set(Block::ResponseHeaders, kept.shown, &shown);
        });
        next(state)
    }

    fn on_done(state: u32) {
        KEPT.with_borrow_mut(|kept| kept.paths.remove(&state));
    }
}

support::export!(State);
