//! Misbehaves in one hook, in the way that its configuration says: `"<hook> <fault>"`. A request
//! with `x-good` is spared, so that tests can see what a fault costs others.

use std::hint::black_box;
use std::sync::OnceLock;

use support::http_stream::{get, set};
use support::types::Block;
use support::{Filter, Flow, Interest, LocalReply, Phases, Step, Upstream, next, text_of, wants};

struct Faults;

/// What is wrong, and the ids of `x-good` and `x-result`.
struct Plan {
    hook: String,
    fault: String,
    good: u32,
    result: u32,
}

static PLAN: OnceLock<Plan> = OnceLock::new();

impl Filter for Faults {
    fn configure(document: &str) -> Result<Interest, String> {
        let text = text_of(document);
        let (hook, fault) = text.split_once(' ').ok_or("say a hook and a fault")?;
        let good = support::setup::intern_header("x-good")?;
        let result = support::setup::intern_header("x-result")?;
        let plan = Plan {
            hook: hook.to_owned(),
            fault: fault.to_owned(),
            good,
            result,
        };
        if PLAN.set(plan).is_err() {
            return Err("configured twice".to_owned());
        }
        if let Flow::Fail(message) = act("configure", 0).then {
            return Err(message);
        }
        Ok(wants(Phases::all()))
    }

    fn on_request_headers(_end: bool) -> Step {
        act("on-request-headers", 0)
    }

    fn on_request_body(state: u32, _chunk: Vec<u8>, _end: bool) -> Step {
        act("on-request-body", state)
    }

    fn on_request_trailers(state: u32) -> Step {
        act("on-request-trailers", state)
    }

    fn on_response_headers(state: u32, _end: bool) -> Step {
        act("on-response-headers", state)
    }

    fn on_response_body(state: u32, _chunk: Vec<u8>, _end: bool) -> Step {
        act("on-response-body", state)
    }

    fn on_response_trailers(state: u32) -> Step {
        act("on-response-trailers", state)
    }

    fn on_log(state: u32) {
        act("on-log", state);
    }

    fn on_done(state: u32) {
        act("on-done", state);
    }
}

fn act(hook: &str, state: u32) -> Step {
    let Some(plan) = PLAN.get() else {
        return next(state);
    };
    let spared = hook != "configure" && get(Block::RequestHeaders, plan.good).is_some();
    if plan.hook != hook || spared {
        // A token, so that on-done is called.
        return next(1);
    }
    let then = match plan.fault.as_str() {
        "panics" => panic!("as the test wants"),
        "divides-by-zero" => divide_by(black_box(0)),
        "loops" => loop {
            black_box(());
        },
        "allocates" => allocate(),
        "recurses" => recurse(1),
        "exits" => std::process::exit(3),
        "sleeps" => {
            std::thread::sleep(std::time::Duration::from_secs(1));
            Flow::Next
        }
        "fails" => Flow::Fail("the filter says so".to_owned()),
        "forwards" => Flow::Forward(Upstream {
            cluster: None,
            timeout_ms: None,
        }),
        "replies" => reply(403, "x-a", "b"),
        "replies-with-status-0" => reply(0, "x-a", "b"),
        "replies-with-status-999" => reply(999, "x-a", "b"),
        "replies-with-a-bad-name" => reply(403, "x a", "b"),
        "replies-with-a-split-value" => reply(403, "x-a", "b\r\nc: d"),
        "replies-with-framing" => reply(403, "transfer-encoding", "chunked"),
        "replies-with-a-huge-header" => reply(403, "x-a", &"b".repeat(200 * 1024)),
        "replies-with-too-much-for-the-host" => reply(403, "x-a", &"b".repeat(10 * 1024 * 1024)),
        "prints" => print(plan),
        "floods" => flood(),
        "reads-stdin" => read_stdin(plan),
        "opens-a-file" => open_a_file(plan),
        "reads-the-environment" => read_the_environment(plan),
        "looks-at-clocks" => look_at_clocks(plan),
        "draws-randomness" => draw_randomness(plan),
        "hoards-handles" => hoard_handles(),
        _ => Flow::Fail(format!("unknown fault {}", plan.fault)),
    };
    Step { state: 1, then }
}

fn divide_by(zero: u32) -> Flow {
    if 7 / zero == 1 {
        Flow::Fail("one".to_owned())
    } else {
        Flow::Next
    }
}

fn allocate() -> Flow {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1024 * 1024]);
        black_box(&kept);
    }
}

#[inline(never)]
fn recurse(depth: u64) -> Flow {
    let frame = black_box([depth; 64]);
    if black_box(depth) == 0 {
        return Flow::Next;
    }
    let inner = recurse(depth + 1);
    black_box(frame);
    inner
}

fn reply(status: u16, name: &str, value: &str) -> Flow {
    Flow::Reply(LocalReply {
        status,
        headers: vec![(name.into(), value.into())],
        body: b"no".to_vec(),
        details: "fault".to_owned(),
        grpc_status: None,
        response_flag: None,
        of_route: false,
    })
}

fn print(plan: &Plan) -> Flow {
    println!("printed to stdout");
    eprintln!("printed to stderr");
    print!("without a line feed");
    answer(plan, "printed".to_owned())
}

fn flood() -> Flow {
    for line in 0..10_000 {
        println!("line {line}");
    }
    Flow::Next
}

fn read_stdin(plan: &Plan) -> Flow {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    answer(plan, format!("{read:?}"))
}

fn open_a_file(plan: &Plan) -> Flow {
    let opened = std::fs::read("/etc/passwd").map(|bytes| bytes.len());
    answer(
        plan,
        opened.map_or_else(|error| format!("error: {error}"), |n| n.to_string()),
    )
}

fn read_the_environment(plan: &Plan) -> Flow {
    let variables = std::env::vars().count();
    answer(plan, format!("{variables} {}", std::env::args().count()))
}

fn look_at_clocks(plan: &Plan) -> Flow {
    let first = std::time::Instant::now();
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let year = 1970 + wall.map_or(0, |wall| wall.as_secs()) / 31_556_952;
    let second = std::time::Instant::now();
    answer(plan, format!("{} {year}", second >= first))
}

fn draw_randomness(plan: &Plan) -> Flow {
    use std::hash::{BuildHasher, RandomState};
    let (first, second) = (
        RandomState::new().hash_one(1),
        RandomState::new().hash_one(1),
    );
    answer(plan, format!("{}", first != second))
}

fn hoard_handles() -> Flow {
    #[link(wasm_import_module = "wasi:cli/stdout@0.2.0")]
    unsafe extern "C" {
        #[link_name = "get-stdout"]
        safe fn get_stdout() -> i32;
    }
    loop {
        black_box(get_stdout());
    }
}

fn answer(plan: &Plan, text: String) -> Flow {
    match set(Block::RequestHeaders, plan.result, text.as_bytes()) {
        Ok(()) => Flow::Next,
        Err(error) => Flow::Fail(format!("set: {error:?}")),
    }
}

support::export!(Faults);
