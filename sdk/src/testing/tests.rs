//! The SDK over the fake host: every phase, state, failures, logging and what is shared.

use std::time::Duration;

use serde::Deserialize;

use super::{Host, json};
use crate::{
    Attribute, BodyMode, BucketSettings, Counter, Error, Filter, Flow, Format, HeaderName,
    HostError, Interest, LocalReply, Log, Pattern, RequestBody, RequestHeaders, RequestTrailers,
    ResponseBody, ResponseHeaders, ResponseTrailers, Result, RouteConfig, RouteKind, Setup, Sink,
    Target, TokenBucket,
};

/// Does a bit of everything, and remembers the order of the hooks.
struct Everything {
    buffered: bool,
    path: HeaderName,
    seen: HeaderName,
    checksum: HeaderName,
    address: Attribute,
    line: Format,
    sink: Sink,
    hooks: Counter,
    bucket: TokenBucket,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    buffered: bool,
}

#[derive(Default)]
struct Seen {
    hooks: String,
    bytes: usize,
}

impl Seen {
    fn hook(&mut self, name: &str) -> &str {
        self.hooks.push_str(name);
        &self.hooks
    }
}

impl Filter for Everything {
    type Config = Config;
    type Stream = Seen;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let how = BucketSettings {
            max_tokens: 1,
            tokens_per_fill: 1,
            fill_interval: Duration::from_secs(1),
        };
        Ok(Self {
            buffered: config.buffered,
            path: setup.header_name(":path")?,
            seen: setup.header_name("X-Seen")?,
            checksum: setup.header_name("x-checksum")?,
            address: setup.attribute("source.address")?,
            line: setup.format("%REQ(:path)% %REQ(x-none)% %DYNAMIC_METADATA(test:hooks)%\n")?,
            sink: setup.log_sink(&Target::Stdout)?,
            hooks: setup.counter("everything.hooks")?,
            bucket: setup.token_bucket("one", how)?,
        })
    }

    fn interest(&self) -> Interest {
        let mode = if self.buffered {
            BodyMode::Buffered
        } else {
            BodyMode::Streamed
        };
        Interest::new()
            .request_headers()
            .request_body(mode)
            .request_trailers()
            .response_headers()
            .response_body(mode)
            .response_trailers()
            .log()
    }

    fn on_request_headers(&self, seen: &mut Seen, cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        self.hooks.inc();
        cx.request_mut().set(self.seen, seen.hook("q"))?;
        let path = cx.request().get_str(self.path).unwrap_or_default();
        log::debug!("request for {path}");
        log::trace!("end of stream: {}", cx.end_of_stream());
        match path.as_str() {
            "/fail" => Err(Error::msg("no such path")),
            "/limited" if !self.bucket.take(1) => Ok(LocalReply::new(429).into()),
            "/route" => {
                assert_eq!(cx.route(), Some(RouteKind::Redirect));
                cx.clear_route_cache()?;
                Ok(Flow::Next)
            }
            "/address" => {
                let address = cx.attribute(self.address).unwrap_or_default();
                Ok(LocalReply::new(200).with_body(address).into())
            }
            "/pseudo" => {
                cx.request_mut().set(self.path, "/other")?;
                cx.request_mut().remove(self.path)?;
                Ok(Flow::Next)
            }
            _ => Ok(Flow::Next),
        }
    }

    fn on_request_body(&self, seen: &mut Seen, cx: &mut RequestBody<'_>) -> Result<Flow> {
        seen.hook("b");
        seen.bytes += cx.chunk().len();
        let shouted = cx.chunk().to_ascii_uppercase();
        cx.replace(shouted)?;
        if self.buffered {
            cx.request_mut()
                .set(self.checksum, seen.bytes.to_string())?;
            cx.clear_route_cache()?;
        } else {
            assert_eq!(
                cx.request_mut().set(self.checksum, ""),
                Err(HostError::WrongPhase)
            );
            assert_eq!(cx.clear_route_cache(), Err(HostError::WrongPhase));
        }
        Ok(Flow::Next)
    }

    fn on_request_trailers(&self, seen: &mut Seen, cx: &mut RequestTrailers<'_>) -> Result<Flow> {
        cx.trailers_mut().append(self.seen, seen.hook("t"))?;
        assert_eq!(cx.trailers().get_all(self.seen).len(), 2);
        assert!(cx.request().contains(self.path));
        Ok(Flow::Next)
    }

    fn on_response_headers(&self, seen: &mut Seen, cx: &mut ResponseHeaders<'_>) -> Result<Flow> {
        cx.response_mut().set(self.seen, seen.hook("Q"))?;
        let path = cx.request().get(self.path);
        if path.as_deref() == Some(b"/hidden") && !cx.end_of_stream() {
            return Ok(LocalReply::new(404).into());
        }
        Ok(Flow::Next)
    }

    fn on_response_body(&self, seen: &mut Seen, cx: &mut ResponseBody<'_>) -> Result<()> {
        seen.hook("B");
        if cx.end_of_stream() {
            cx.replace("")?;
        }
        if self.buffered {
            cx.response_mut().remove(self.seen)?;
        }
        Ok(())
    }

    fn on_response_trailers(&self, seen: &mut Seen, cx: &mut ResponseTrailers<'_>) -> Result<()> {
        let hooks = seen.hook("T");
        cx.set_metadata("test", "hooks", hooks)?;
        cx.trailers_mut().remove(self.seen)?;
        assert!(cx.response().contains(self.seen) && cx.trailers().entries().is_empty());
        Ok(())
    }

    fn on_log(&self, seen: &mut Seen, cx: &mut Log<'_>) -> Result<()> {
        seen.hook("l");
        cx.write_format(self.sink, self.line);
        self.sink.write(&cx.render(self.line));
        match cx.response().entries().is_empty() {
            true => Err(Error::msg("no response")),
            false => Ok(()),
        }
    }
}

fn head(path: &str) -> [(&str, &str); 2] {
    [(":method", "GET"), (":path", path)]
}

#[test]
fn several_fields_are_read_at_once() {
    struct Reads([HeaderName; 3]);
    impl Filter for Reads {
        type Config = ();
        type Stream = ();
        fn configure((): (), setup: &mut Setup) -> Result<Self> {
            Ok(Self([
                setup.header_name("x-a")?,
                setup.header_name("x-none")?,
                setup.header_name("x-b")?,
            ]))
        }
        fn interest(&self) -> Interest {
            Interest::new().request_headers()
        }
        fn on_request_headers(&self, (): &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
            let values = cx.request().get_each(self.0);
            assert_eq!(values.as_array(), [Some(&b"1"[..]), None, Some(b"")]);
            assert_eq!((values.get(0), values.get(1)), (Some(&b"1"[..]), None));
            assert_eq!(values.get(3), None);
            Ok(Flow::Next)
        }
    }
    let filter = Host::new().configure::<Reads>(json!(null)).unwrap();
    let fields = [("x-a", "1"), ("x-b", ""), ("x-a", "2")];
    let flow = filter.stream().on_request_headers(&fields, true);
    assert_eq!(flow, Ok(Flow::Next));
}

#[test]
fn a_stream_passes_all_phases_with_its_state() {
    let host = Host::new();
    let filter = host.configure::<Everything>(json!({})).unwrap();
    let mut stream = filter.stream();
    assert_eq!(
        stream.on_request_headers(&head("/p"), false),
        Ok(Flow::Next)
    );
    assert_eq!(stream.request_header("x-seen").as_deref(), Some("q"));
    assert_eq!(filter.live_streams(), 1);
    assert_eq!(stream.on_request_body(b"ab", false), Ok(Flow::Next));
    assert_eq!(stream.body(), Some(&b"AB"[..]));
    assert_eq!(stream.on_request_body(b"c", false), Ok(Flow::Next));
    assert_eq!(
        stream.on_request_trailers(&[("x-seen", "0")]),
        Ok(Flow::Next)
    );
    let trailers = [
        ("x-seen".to_owned(), "0".to_owned()),
        ("x-seen".to_owned(), "qbbt".to_owned()),
    ];
    assert_eq!(stream.request_trailers(), trailers);
    assert_eq!(
        stream.on_response_headers(&[(":status", "200")], false),
        Ok(Flow::Next)
    );
    assert_eq!(stream.response_header("x-seen").as_deref(), Some("qbbtQ"));
    assert_eq!(stream.on_response_body(b"cd", true), Ok(()));
    assert_eq!(stream.body(), Some(&b""[..]));
    assert_eq!(stream.on_response_trailers(&[("x-seen", "0")]), Ok(()));
    assert_eq!(stream.response_trailers(), []);
    assert_eq!(stream.metadata("test", "hooks").as_deref(), Some("qbbtQBT"));
    stream.on_log();
    // What is missing is `-` in a sink, and nothing where it is rendered for the filter.
    let written = host.sink(&Target::Stdout);
    assert_eq!(written.as_deref(), Some("/p - qbbtQBT\n/p  qbbtQBT\n"));
    drop(stream);
    assert_eq!(filter.live_streams(), 0);
    assert_eq!(host.counter("everything.hooks"), Some(1));
}

#[test]
fn streams_do_not_see_each_others_state() {
    let filter = Host::new().configure::<Everything>(json!({})).unwrap();
    let (mut one, mut other) = (filter.stream(), filter.stream());
    assert_eq!(one.on_request_headers(&head("/"), false), Ok(Flow::Next));
    assert_eq!(other.on_request_headers(&head("/"), false), Ok(Flow::Next));
    assert_eq!(one.on_request_body(b"", true), Ok(Flow::Next));
    let response = [(":status", "200")];
    assert_eq!(one.on_response_headers(&response, true), Ok(Flow::Next));
    assert_eq!(other.on_response_headers(&response, true), Ok(Flow::Next));
    assert_eq!(one.response_header("x-seen").as_deref(), Some("qbQ"));
    assert_eq!(other.response_header("x-seen").as_deref(), Some("qQ"));
}

#[test]
fn a_buffered_body_holds_the_headers_back() {
    let filter = Host::new()
        .configure::<Everything>(json!({ "buffered": true }))
        .unwrap();
    let mut stream = filter.stream();
    assert_eq!(
        stream.on_request_headers(&head("/p"), false),
        Ok(Flow::Next)
    );
    assert_eq!(stream.on_request_body(b"abc", true), Ok(Flow::Next));
    assert_eq!(stream.request_header("x-checksum").as_deref(), Some("3"));
    assert!(stream.route_cache_cleared());
    assert_eq!(
        stream.on_response_headers(&[(":status", "200")], false),
        Ok(Flow::Next)
    );
    assert_eq!(stream.on_response_body(b"abc", false), Ok(()));
    assert_eq!(stream.response_header("x-seen"), None);
}

#[test]
fn an_error_of_a_hook_is_the_filters_failure() {
    let host = Host::new();
    let filter = host.configure::<Everything>(json!({})).unwrap();
    let mut stream = filter.stream();
    let failed = stream.on_request_headers(&head("/fail"), true);
    assert_eq!(failed, Err(Error::msg("no such path")));
    stream.on_log();
    let errors: Vec<_> = host
        .log_lines()
        .into_iter()
        .filter(|(level, _)| *level == log::Level::Error)
        .collect();
    assert_eq!(errors, [(log::Level::Error, "no response".to_owned())]);
    let refused = filter.stream().on_request_headers(&head("/pseudo"), true);
    assert_eq!(refused, Err(HostError::Immutable.into()));
}

/// Changes one field of the response, as its configuration says.
struct Change {
    name: HeaderName,
    remove: bool,
}

impl Filter for Change {
    type Config = (String, bool);
    type Stream = ();

    fn configure((name, remove): Self::Config, setup: &mut Setup) -> Result<Self> {
        Ok(Self {
            name: setup.header_name(&name)?,
            remove,
        })
    }

    fn interest(&self) -> Interest {
        Interest::new().response_headers()
    }

    fn on_response_headers(&self, (): &mut (), cx: &mut ResponseHeaders<'_>) -> Result<Flow> {
        if self.remove {
            cx.response_mut().remove(self.name)?;
        } else {
            cx.response_mut().set(self.name, "201")?;
        }
        Ok(Flow::Next)
    }
}

#[test]
fn what_the_proxy_keeps_to_itself_cannot_be_changed() {
    for (name, remove, expected) in [
        (":status", false, None),
        (":status", true, Some(HostError::Immutable)),
        (":path", false, Some(HostError::Immutable)),
        ("host", false, Some(HostError::Immutable)),
        ("Content-Length", false, Some(HostError::Immutable)),
        ("content-length", true, None),
        ("connection", true, Some(HostError::Immutable)),
        ("x-own", false, None),
        ("x-own", true, None),
    ] {
        let filter = Host::new()
            .configure::<Change>(json!([name, remove]))
            .unwrap();
        let head = [(":status", "200"), ("content-length", "2")];
        let answer = filter.stream().on_response_headers(&head, false);
        assert_eq!(answer.err(), expected.map(Error::from), "{name} {remove}");
    }
}

#[test]
fn a_hook_can_answer() {
    let host = Host::new();
    let filter = host.configure::<Everything>(json!({})).unwrap();
    let mut stream = filter.stream();
    stream.set_attribute("source.address", "192.0.2.1:7");
    let flow = stream.on_request_headers(&head("/address"), true);
    assert_eq!(
        flow,
        Ok(LocalReply::new(200).with_body("192.0.2.1:7").into())
    );
    let mut stream = filter.stream();
    assert_eq!(
        stream.on_request_headers(&head("/hidden"), true),
        Ok(Flow::Next)
    );
    let flow = stream.on_response_headers(&[(":status", "200")], false);
    assert_eq!(flow, Ok(LocalReply::new(404).into()));
}

#[test]
fn a_route_can_be_asked_for_and_matched_again() {
    let filter = Host::new().configure::<Everything>(json!({})).unwrap();
    let mut stream = filter.stream();
    stream.set_route(Some(RouteKind::Redirect));
    assert_eq!(
        stream.on_request_headers(&head("/route"), true),
        Ok(Flow::Next)
    );
    assert!(stream.route_cache_cleared());
}

#[test]
fn time_moves_only_by_hand() {
    let host = Host::new();
    let filter = host.configure::<Everything>(json!({})).unwrap();
    let limited = || filter.stream().on_request_headers(&head("/limited"), true) != Ok(Flow::Next);
    assert!(!limited() && limited());
    host.advance(Duration::from_millis(999));
    assert!(limited());
    host.advance(Duration::from_millis(1));
    assert!(!limited() && limited());
}

#[test]
fn the_level_is_the_hosts_at_every_moment() {
    let host = Host::new();
    let filter = host.configure::<Everything>(json!({})).unwrap();
    let logged = |level| {
        host.set_max_level(level);
        let before = host.log_lines().len();
        assert_eq!(
            filter.stream().on_request_headers(&head("/p"), true),
            Ok(Flow::Next)
        );
        host.log_lines().len() - before
    };
    assert_eq!(logged(log::LevelFilter::Trace), 2);
    assert_eq!(logged(log::LevelFilter::Info), 0);
    assert_eq!(logged(log::LevelFilter::Debug), 1);
    assert_eq!(logged(log::LevelFilter::Off), 0);
    let lines = host.log_lines();
    assert_eq!(
        lines.first(),
        Some(&(log::Level::Debug, "request for /p".to_owned()))
    );
}

/// Has no state, wants one phase.
struct Quiet;

impl Filter for Quiet {
    type Config = Config;
    type Stream = ();

    fn configure(_: Config, setup: &mut Setup) -> Result<Self> {
        assert!(setup.header_name("no good").is_err());
        assert!(setup.format("%REQ(").is_err());
        assert!(setup.attribute("nothing").is_err());
        Ok(Self)
    }

    fn interest(&self) -> Interest {
        Interest::new().response_headers()
    }

    fn on_request_headers(&self, (): &mut (), _: &mut RequestHeaders<'_>) -> Result<Flow> {
        Err(Error::msg("not wanted"))
    }
}

#[test]
fn hooks_that_are_not_wanted_are_not_called_and_no_state_is_kept() {
    let filter = Host::new().configure::<Quiet>(json!({})).unwrap();
    let mut stream = filter.stream();
    assert_eq!(stream.on_request_headers(&head("/p"), true), Ok(Flow::Next));
    assert_eq!(
        stream.on_response_headers(&[(":status", "200")], true),
        Ok(Flow::Next)
    );
    stream.on_log();
    assert_eq!(filter.live_streams(), 0);
}

#[test]
fn the_configuration_is_checked_by_its_type() {
    let host = Host::new();
    assert!(
        host.configure::<Quiet>(json!(null)).is_ok(),
        "nothing is an empty object"
    );
    let refused = host.configure::<Quiet>(json!({ "bufered": true })).err();
    assert!(refused.is_some_and(|error| error.to_string().contains("`bufered`")));
    host.refuse_sink(Target::Stdout);
    let refused = host.configure::<Everything>(json!({})).err();
    let expected = "open log sink \"stdout\": not granted";
    assert_eq!(
        refused.map(|error| error.to_string()).as_deref(),
        Some(expected)
    );
}

#[test]
fn a_route_has_a_configuration_of_the_same_type() {
    let host = Host::new();
    let filter = host.configure::<Everything>(json!({})).unwrap();
    let route = filter
        .for_route(&[json!({ "nonsense": 1 }), json!({ "buffered": true })])
        .unwrap();
    let mode = |filter: &super::Configured<Everything>| filter.interest().request_body_mode();
    assert_eq!(mode(&filter), BodyMode::Streamed);
    assert_eq!(mode(&route), BodyMode::Buffered, "the most specific counts");
    let mut stream = route.stream();
    stream.on_request_headers(&[(":path", "/")], true).unwrap();
    assert_eq!(filter.live_streams(), 1, "they are of one instance");
    let refused = filter.for_route(&[json!({ "nonsense": 1 })]).err();
    let message = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("nonsense"), "{message}");
}

/// Puts levels together, wants less of some streams, and ends bodies of its own.
struct Levels {
    words: Vec<String>,
    pattern: Pattern,
    path: HeaderName,
}

impl Filter for Levels {
    type Config = String;
    type Stream = ();

    fn configure(word: String, setup: &mut Setup) -> Result<Self> {
        Ok(Self {
            words: vec![word],
            pattern: setup.pattern("/[a-z]+")?,
            path: setup.header_name(":path")?,
        })
    }

    fn configure_route(&self, config: &RouteConfig<'_>, _: &mut Setup) -> Result<Self> {
        let mut words = self.words.clone();
        for level in config.levels() {
            words.push(format!("{}{}", level.read::<String>()?, level.id()));
        }
        Ok(Self { words, ..*self })
    }

    fn interest(&self) -> Interest {
        Interest::new().request_headers().response_trailers()
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let path = cx.request().get(self.path).unwrap_or_default();
        if !self.pattern.matches(&path) {
            cx.set_interest(Interest::new());
        }
        cx.count(&format!("words.{}", self.words.len()), 1);
        Ok(Flow::Next)
    }

    fn on_response_trailers(&self, _: &mut (), cx: &mut ResponseTrailers<'_>) -> Result<()> {
        cx.add_body(self.words.join(" "))?;
        cx.clear_trailers()?;
        Ok(())
    }
}

#[test]
fn a_filter_puts_levels_together_and_ends_bodies() {
    let host = Host::new();
    let filter = host.configure::<Levels>(json!("chain")).unwrap();
    let route = filter.for_route(&[json!("host"), json!("route")]).unwrap();
    for (filter, path, added) in [
        (&filter, "/a", "chain"),
        (&route, "/a", "chain host1 route2"),
        (&route, "/1", ""),
    ] {
        let mut stream = filter.stream();
        stream.on_request_headers(&[(":path", path)], true).unwrap();
        stream.on_response_trailers(&[("x-t", "1")]).unwrap();
        assert_eq!(stream.added_body(), added.as_bytes(), "{path}");
        assert_eq!(stream.response_trailers().is_empty(), !added.is_empty());
    }
    assert_eq!(host.counter("words.1"), Some(1));
    assert_eq!(host.counter("words.3"), Some(2));
}
