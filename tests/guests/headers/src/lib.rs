//! What the benchmark measures: reads two fields of the request and adds two fields, one made of what
//! it read to the request and one to the response.

use std::sync::OnceLock;

use support::http_stream::{append, get};
use support::setup::intern_header;
use support::types::Block;
use support::{Filter, Interest, Phases, Step, next, wants};

struct Headers;

struct Names {
    path: u32,
    agent: u32,
    request: u32,
    response: u32,
}

static NAMES: OnceLock<Names> = OnceLock::new();

impl Filter for Headers {
    fn configure(_document: &str) -> Result<Interest, String> {
        let names = Names {
            path: intern_header(":path")?,
            agent: intern_header("user-agent")?,
            request: intern_header("x-request")?,
            response: intern_header("x-response")?,
        };
        NAMES
            .set(names)
            .map_err(|_| "configured twice".to_owned())?;
        Ok(wants(Phases::REQUEST_HEADERS | Phases::RESPONSE_HEADERS))
    }

    fn on_request_headers(_end: bool) -> Step {
        if let Some(names) = NAMES.get() {
            let mut value = get(Block::RequestHeaders, names.path).unwrap_or_default();
            value.push(b'|');
            value.extend(get(Block::RequestHeaders, names.agent).unwrap_or_default());
            let _added = append(Block::RequestHeaders, names.request, &value);
        }
        next(0)
    }

    fn on_response_headers(state: u32, _end: bool) -> Step {
        if let Some(names) = NAMES.get() {
            let _added = append(Block::ResponseHeaders, names.response, b"1");
        }
        next(state)
    }
}

support::export!(Headers);
