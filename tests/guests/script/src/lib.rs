//! Does what its configuration says: lines of `<hook> <operation> <arguments>`, the first line being
//! `wants <hook> … [request-body=buffered] [response-body=buffered]`. What operation number `n` (from
//! 0) of a hook answered is left in the metadata `script:<hook>.<n>`.

use std::sync::OnceLock;

use support::http_stream::{self as stream, Error};
use support::types::Block;
use support::{
    BodyMode, Filter, Flow, Interest, LocalReply, Phases, Step, Upstream, log, log_sink, metrics,
    regex, runtime, setup, text_of, token_bucket, wants,
};

struct Script;

static OPERATIONS: OnceLock<Vec<(String, Operation)>> = OnceLock::new();

enum Operation {
    Get(Block, u32),
    GetEach(Block, Vec<u32>),
    GetAll(Block, u32),
    Entries(Block),
    Set(Block, u32, String),
    Append(Block, u32, String),
    Remove(Block, u32),
    Attribute(u32),
    Render(u32),
    SetMetadata(String, String, usize),
    Metadata(String, String),
    ReplaceBody(String),
    UpperBody(String),
    ShowBody,
    Clear(Block),
    AddBody(String),
    SetInterest(Interest),
    Matches(u32, String),
    Prefix(String),
    Count(String, u32),
    Hold(u32, u64),
    Runtime(String),
    Route,
    ClearRouteCache,
    SetResponseFlag(String),
    LimitResponseRate(u64),
    Take(u32, u32),
    Add(u32, u64),
    Write(u32, String),
    WriteFormat(u32, u32),
    Log(log::Level, String),
    MaxLevel,
    InternLate,
    UnknownIds,
    Then(Flow),
}

impl Filter for Script {
    fn configure(document: &str) -> Result<Interest, String> {
        let text = text_of(document);
        let mut lines = text.lines();
        let interest = read_interest(lines.next().unwrap_or_default())?;
        let mut operations = Vec::new();
        for line in lines {
            let (hook, operation) = line.split_once(' ').ok_or(line)?;
            let operation = read(operation).map_err(|error| format!("{line}: {error}"))?;
            operations.push((hook.to_owned(), operation));
        }
        OPERATIONS
            .set(operations)
            .map_err(|_| "configured twice".to_owned())?;
        Ok(interest)
    }

    fn on_request_headers(end: bool) -> Step {
        run("on-request-headers", 0, &[], end)
    }

    fn on_resume(state: u32, end: bool) -> Step {
        run("on-resume", state, &[], end)
    }

    fn on_request_body(state: u32, chunk: Vec<u8>, end: bool) -> Step {
        run("on-request-body", state, &chunk, end)
    }

    fn on_request_trailers(state: u32) -> Step {
        run("on-request-trailers", state, &[], true)
    }

    fn on_response_headers(state: u32, end: bool) -> Step {
        run("on-response-headers", state, &[], end)
    }

    fn on_response_body(state: u32, chunk: Vec<u8>, end: bool) -> Step {
        run("on-response-body", state, &chunk, end)
    }

    fn on_response_trailers(state: u32) -> Step {
        run("on-response-trailers", state, &[], true)
    }

    fn on_log(state: u32) {
        run("on-log", state, &[], true);
    }

    fn on_done(state: u32) {
        run("on-done", state, &[], true);
    }
}

fn read_interest(line: &str) -> Result<Interest, String> {
    let mut words = line.split_whitespace();
    if words.next() != Some("wants") {
        return Err("the first line does not say what is wanted".to_owned());
    }
    let mut interest = wants(Phases::empty());
    for word in words {
        match word {
            "on-request-headers" => interest.wants |= Phases::REQUEST_HEADERS,
            "on-request-body" => interest.wants |= Phases::REQUEST_BODY,
            "on-request-trailers" => interest.wants |= Phases::REQUEST_TRAILERS,
            "on-response-headers" => interest.wants |= Phases::RESPONSE_HEADERS,
            "on-response-body" => interest.wants |= Phases::RESPONSE_BODY,
            "on-response-trailers" => interest.wants |= Phases::RESPONSE_TRAILERS,
            "on-log" => interest.wants |= Phases::LOG,
            "request-body-limit=9" => interest.request_body_limit = Some(9),
            "request-body-limit=max" => interest.request_body_limit = Some(u32::MAX),
            "request-body=buffered" => interest.request_body = BodyMode::Buffered,
            "response-body=buffered" => interest.response_body = BodyMode::Buffered,
            _ => return Err(format!("unknown word {word}")),
        }
    }
    Ok(interest)
}

fn read(text: &str) -> Result<Operation, String> {
    let mut words = text.split(' ');
    let operation = words.next().unwrap_or_default();
    let mut word = || words.next().unwrap_or_default();
    let number = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
    Ok(match operation {
        "get" => Operation::Get(block(word())?, setup::intern_header(word())?),
        "get-each" => {
            let at = block(word())?;
            let names = words.map(setup::intern_header).collect::<Result<_, _>>()?;
            Operation::GetEach(at, names)
        }
        "get-each-of" => Operation::GetEach(block(word())?, vec![0; number(word())? as usize]),
        "get-all" => Operation::GetAll(block(word())?, setup::intern_header(word())?),
        "entries" => Operation::Entries(block(word())?),
        "set" => Operation::Set(
            block(word())?,
            setup::intern_header(word())?,
            word().to_owned(),
        ),
        "append" => Operation::Append(
            block(word())?,
            setup::intern_header(word())?,
            word().to_owned(),
        ),
        "remove" => Operation::Remove(block(word())?, setup::intern_header(word())?),
        "attribute" => Operation::Attribute(setup::find_attribute(word())?),
        "render" => Operation::Render(setup::compile_format(word())?),
        "render-json" => Operation::Render(setup::compile_json_format(word(), false)?),
        "set-metadata" => Operation::SetMetadata(
            word().to_owned(),
            word().to_owned(),
            number(word())? as usize,
        ),
        "metadata" => Operation::Metadata(word().to_owned(), word().to_owned()),
        "replace-body" => Operation::ReplaceBody(word().to_owned()),
        "upper-body" => Operation::UpperBody(word().to_owned()),
        "show-body" => Operation::ShowBody,
        "clear" => Operation::Clear(block(word())?),
        "add-body" => Operation::AddBody(word().to_owned()),
        "set-interest" => {
            Operation::SetInterest(read_interest(text.trim_start_matches("set-interest "))?)
        }
        "matches" => Operation::Matches(regex::compile(word())?, word().to_owned()),
        "count" => Operation::Count(word().to_owned(), number(word())?),
        "hold" => Operation::Hold(metrics::open_gauge(word())?, number(word())?.into()),
        "runtime" => Operation::Runtime(word().to_owned()),
        "prefix" => Operation::Prefix(metrics::prefix()),
        "route" => Operation::Route,
        "clear-route-cache" => Operation::ClearRouteCache,
        "take" => {
            let how = token_bucket::Settings {
                max_tokens: number(word())?,
                tokens_per_fill: 1,
                fill_interval_ns: u64::from(number(word())?) * 1_000_000,
            };
            Operation::Take(token_bucket::open("bucket", how)?, number(word())?)
        }
        "add" => Operation::Add(metrics::open_counter(word())?, number(word())?.into()),
        "write" => Operation::Write(log_sink::open(&target(word()))?, word().to_owned()),
        "write-format" => Operation::WriteFormat(
            log_sink::open(&target(word()))?,
            setup::compile_format(word())?,
        ),
        "log" => Operation::Log(level(word())?, word().to_owned()),
        "max-level" => Operation::MaxLevel,
        "intern-late" => Operation::InternLate,
        "unknown-ids" => Operation::UnknownIds,
        "reply" => Operation::Then(Flow::Reply(LocalReply {
            status: number(word())?.try_into().map_err(|_| "no status")?,
            headers: vec![(word().into(), word().into())],
            body: word().into(),
            details: "script".to_owned(),
            grpc_status: None,
            response_flag: None,
            of_route: false,
        })),
        "forward" => Operation::Then(Flow::Forward(Upstream {
            cluster: Some(word().to_owned()).filter(|name| !name.is_empty()),
            timeout_ms: word().parse().ok(),
        })),
        "fail" => Operation::Then(Flow::Fail(word().to_owned())),
        "wait" => Operation::Then(Flow::Wait(number(word())?.into())),
        "limit-response-rate" => Operation::LimitResponseRate(number(word())?.into()),
        "set-response-flag" => Operation::SetResponseFlag(word().to_owned()),
        "bare-reply" => Operation::Then(Flow::Bare(support::types::Flow::Reply)),
        "bare-fail" => Operation::Then(Flow::Bare(support::types::Flow::Fail)),
        _ => return Err("unknown operation".to_owned()),
    })
}

fn block(word: &str) -> Result<Block, String> {
    Ok(match word {
        "request-headers" => Block::RequestHeaders,
        "request-trailers" => Block::RequestTrailers,
        "response-headers" => Block::ResponseHeaders,
        "response-trailers" => Block::ResponseTrailers,
        _ => return Err(format!("unknown block {word}")),
    })
}

fn target(word: &str) -> log_sink::Target {
    match word {
        "stdout" => log_sink::Target::Stdout,
        "stderr" => log_sink::Target::Stderr,
        path => log_sink::Target::File(path.to_owned()),
    }
}

fn level(word: &str) -> Result<log::Level, String> {
    Ok(match word {
        "trace" => log::Level::Trace,
        "debug" => log::Level::Debug,
        "info" => log::Level::Info,
        "warn" => log::Level::Warn,
        "error" => log::Level::Error,
        _ => return Err(format!("unknown level {word}")),
    })
}

fn run(hook: &str, state: u32, chunk: &[u8], end: bool) -> Step {
    let mut then = Flow::Next;
    let operations = OPERATIONS.get().into_iter().flatten();
    for (index, (_, operation)) in operations.filter(|(of, _)| of == hook).enumerate() {
        let answer = match operation {
            Operation::Then(flow) => {
                then = flow.clone();
                continue;
            }
            operation => perform(operation, chunk, end),
        };
        let _ended = stream::set_metadata("script", &format!("{hook}.{index}"), answer.as_bytes());
    }
    Step { state, then }
}

/// So many of the letters a and b, in no order.
fn letters(length: usize) -> Vec<u8> {
    let states = std::iter::successors(Some(1_u32), |state| {
        Some(state.wrapping_mul(1_103_515_245).wrapping_add(12_345))
    });
    let letter = |state: u32| if state & 0x1_0000 == 0 { b'a' } else { b'b' };
    states.map(letter).take(length).collect()
}

fn perform(operation: &Operation, chunk: &[u8], end: bool) -> String {
    match operation {
        Operation::Get(at, name) => optional(stream::get(*at, *name)),
        Operation::GetEach(at, names) => stream::get_each(*at, names).escape_ascii().to_string(),
        Operation::GetAll(at, name) => stream::get_all(*at, *name)
            .iter()
            .map(|value| text(value))
            .collect::<Vec<_>>()
            .join(","),
        Operation::Entries(at) => {
            let entries = stream::entries(*at);
            let entry =
                |(name, value): &(Vec<u8>, Vec<u8>)| format!("{}={}", text(name), text(value));
            entries.iter().map(entry).collect::<Vec<_>>().join(",")
        }
        Operation::Set(at, name, value) => ended(stream::set(*at, *name, value.as_bytes())),
        Operation::Append(at, name, value) => ended(stream::append(*at, *name, value.as_bytes())),
        Operation::Remove(at, name) => ended(stream::remove(*at, *name)),
        Operation::Attribute(id) => optional(stream::get_attribute(*id)),
        Operation::Render(id) => text(&stream::render(*id)),
        Operation::SetMetadata(namespace, key, length) => {
            ended(stream::set_metadata(namespace, key, &vec![b'm'; *length]))
        }
        Operation::Metadata(namespace, key) => optional(stream::metadata(namespace, key)),
        Operation::ReplaceBody(body) => match body.strip_prefix("bytes:") {
            Some(length) => ended(stream::replace_body(&vec![
                b'b';
                length.parse().unwrap_or(0)
            ])),
            None => ended(stream::replace_body(body.as_bytes())),
        },
        // The text goes behind the last chunk, which may be empty.
        Operation::UpperBody(last) => {
            let last: &[u8] = if end { last.as_bytes() } else { b"" };
            ended(stream::replace_body(
                &[&chunk.to_ascii_uppercase(), last].concat(),
            ))
        }
        Operation::ShowBody => format!("{} {end}", text(chunk)),
        Operation::Clear(at) => ended(stream::clear(*at)),
        Operation::AddBody(body) => match body.strip_prefix("bytes:") {
            Some(length) => ended(stream::add_body(&vec![b'b'; length.parse().unwrap_or(0)])),
            None => ended(stream::add_body(body.as_bytes())),
        },
        Operation::SetInterest(interest) => {
            stream::set_interest(*interest);
            "set".to_owned()
        }
        Operation::SetResponseFlag(flag) => {
            stream::set_response_flag(flag);
            "set".to_owned()
        }
        Operation::LimitResponseRate(rate) => {
            stream::limit_response_rate(*rate);
            "limited".to_owned()
        }
        Operation::Matches(pattern, text) => match text.strip_prefix("bytes:") {
            Some(length) => {
                regex::matches(*pattern, &letters(length.parse().unwrap_or(0))).to_string()
            }
            None => regex::matches(*pattern, text.as_bytes()).to_string(),
        },
        Operation::Count(name, times) => {
            (0..*times).for_each(|time| metrics::count(&format!("{name}.{time}"), 1));
            "counted".to_owned()
        }
        Operation::Hold(gauge, limit) => metrics::hold(*gauge, *limit).to_string(),
        Operation::Runtime(key) => {
            let share = runtime::share(key).map(|share| (share.numerator, share.denominator));
            format!("{} {:?} {share:?}", runtime::has_layers(), runtime::integer(key))
        }
        Operation::Prefix(prefix) => prefix.clone(),
        Operation::Route => match stream::route() {
            None => "none".to_owned(),
            Some(stream::RouteKind::Forward) => "forward".to_owned(),
            Some(stream::RouteKind::Redirect) => "redirect".to_owned(),
            Some(stream::RouteKind::DirectResponse) => "direct-response".to_owned(),
        },
        Operation::ClearRouteCache => ended(stream::clear_route_cache()),
        Operation::Take(bucket, tokens) => token_bucket::take(*bucket, *tokens).to_string(),
        Operation::Add(counter, n) => {
            metrics::add(*counter, *n);
            "added".to_owned()
        }
        Operation::Write(sink, line) => {
            log_sink::write(*sink, line.as_bytes());
            "written".to_owned()
        }
        Operation::WriteFormat(sink, format) => {
            log_sink::write_format(*sink, *format);
            "written".to_owned()
        }
        Operation::Log(level, message) => {
            log::write(*level, message);
            "logged".to_owned()
        }
        Operation::MaxLevel => match log::max_level() {
            None => "none".to_owned(),
            Some(level) => format!("{level:?}"),
        },
        Operation::InternLate => {
            setup::intern_header("x-late").map_or_else(|error| error, |id| id.to_string())
        }
        Operation::UnknownIds => unknown_ids(),
        Operation::Then(_) => String::new(),
    }
}

/// Everything that takes an id, with one that was never given.
fn unknown_ids() -> String {
    let id = u32::MAX;
    let block = Block::RequestHeaders;
    log_sink::write(id, b"lost");
    log_sink::write_format(id, id);
    metrics::add(id, 1);
    [
        optional(stream::get(block, id)),
        format!("{:?}", stream::get_all(block, id)),
        ended(stream::set(block, id, b"v")),
        optional(stream::get_attribute(id)),
        format!("{:?}", stream::render(id)),
        token_bucket::take(id, 0).to_string(),
        regex::matches(id, b"").to_string(),
    ]
    .join(",")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn optional(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| text(&value))
}

fn ended(result: Result<(), Error>) -> String {
    let name = match result {
        Ok(()) => "ok",
        Err(Error::WrongPhase) => "wrong-phase",
        Err(Error::Immutable) => "immutable",
        Err(Error::TooLarge) => "too-large",
        Err(Error::InvalidValue) => "invalid-value",
    };
    name.to_owned()
}

support::export!(Script);
