//! Tests of levels and patterns, without the log of the process.

use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Lines that were written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What is written by that pattern at these levels while `log` runs.
fn logged(format: &str, level: &str, components: &str, colour: bool, log: fn()) -> String {
    let lines = Lines::default();
    let pattern = Pattern::new(format, colour).unwrap();
    let layer = fmt::layer()
        .with_writer(lines.clone())
        .event_format(pattern);
    let filter = Levels::parse(level, components).unwrap().targets();
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    tracing::subscriber::with_default(subscriber, log);
    let written = lines.0.lock().unwrap().clone();
    String::from_utf8(written).unwrap()
}

fn some_events() {
    tracing::info!(target: "upstream", "up info");
    tracing::debug!(target: "upstream", "up debug");
    tracing::debug!(target: "http", "http debug");
    tracing::warn!(target: "http", code = 5, "http warn");
    tracing::info!("own info");
    tracing::debug!(target: "h2::codec", "h2 debug");
    tracing::warn!(target: "h2::codec", "h2 warn");
    tracing::error!(target: "main", "main error");
}

#[test]
fn levels_by_component() {
    let shown = |level, components| logged("%n:%v", level, components, false, some_events);
    assert_eq!(
        shown("info", ""),
        "upstream:up info\nhttp:http warn code=5\nobserve:own info\nh2:h2 warn\nmain:main error\n"
    );
    let own = logged("%n:%v", "off", "http:info", false, || {
        tracing::info!(target: concat!(env!("CARGO_CRATE_NAME"), "::http::stream"), "of the module");
        tracing::info!(target: concat!(env!("CARGO_CRATE_NAME"), "::wasm"), "of another");
    });
    assert_eq!(own, "http:of the module\n");
    assert_eq!(shown("error", ""), "main:main error\n");
    assert_eq!(shown("critical", ""), "main:main error\n");
    assert_eq!(shown("off", ""), "");
    assert_eq!(
        shown("off", "upstream:debug,h2:trace"),
        "upstream:up info\nupstream:up debug\nh2:h2 debug\nh2:h2 warn\n"
    );
    let most = shown("trace", "http:off");
    assert!(most.contains("up debug") && !most.contains("http") && !most.contains("h2 debug"));
}

#[test]
fn mistakes_are_named() {
    for (level, components, message) in [
        (
            "verbose",
            "",
            "unknown log level \"verbose\", one of trace, debug, info, warning, error, critical, off",
        ),
        (
            "info",
            "upstrem:debug",
            "unknown log component \"upstrem\", did you mean \"upstream\"?",
        ),
        (
            "info",
            "upstream",
            "component log level \"upstream\" is not COMPONENT:LEVEL",
        ),
        (
            "info",
            "http:x",
            "unknown log level \"x\", one of trace, debug, info, warning, error, critical, off",
        ),
    ] {
        let mistake = Levels::parse(level, components).unwrap_err();
        assert_eq!(mistake.to_string(), message);
    }
    for (pattern, message) in [
        (
            "%v %Q",
            "unknown conversion \"%Q\" at byte 3 of the log format",
        ),
        (
            "100%",
            "unknown conversion \"%\" at byte 3 of the log format",
        ),
    ] {
        assert_eq!(
            Pattern::new(pattern, false).unwrap_err().to_string(),
            message
        );
    }
    assert!(matches!(
        change(&Change::All("info")),
        Err(Error::NotRunning)
    ));
    assert!(shown().is_empty());
}

#[test]
fn patterns() {
    let shown = |format, colour| {
        logged(
            format,
            "info",
            "",
            colour,
            || tracing::warn!(target: "http", "a\nb \"c\""),
        )
    };
    let line = shown(DEFAULT_FORMAT, false);
    let shape: String = line
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect::<String>();
    let thread = "0".repeat(
        std::fs::read_link("/proc/thread-self")
            .unwrap()
            .file_name()
            .unwrap()
            .len(),
    );
    assert_eq!(
        shape,
        format!("[0000-00-00 00:00:00.000][{thread}][warning][http] a\nb \"c\"\n")
    );
    assert_eq!(shown("%L %% %_", false), "W % a\\nb \"c\"\n");
    assert_eq!(
        shown("{\"m\":\"%j\"}", false),
        "{\"m\":\"a\\nb \\\"c\\\"\"}\n"
    );
    assert_eq!(shown("%s:%n", false), "tests.rs:http\n");
    assert_eq!(shown("%^%l%$", true), "\x1b[33m\x1b[1mwarning\x1b[m\n");
    assert_eq!(shown("%P", false), format!("{}\n", std::process::id()));
    assert!(shown("%g:%#", false).contains("log/tests.rs:"));
    for letter in "aAbBcCYDxmdHIMSefFEprRTXz".chars() {
        assert!(
            Pattern::new(&format!("%{letter}"), false).is_ok(),
            "{letter}"
        );
    }
}

#[test]
fn levels_change_all_at_once_or_not_at_all() {
    let levels = Levels::parse("info", "http:debug").unwrap();
    let of = |levels: &Levels, name: &str| {
        let mut all = levels.of_components();
        all.find(|(found, _)| *found == name).unwrap().1
    };
    assert_eq!(
        [of(&levels, "http"), of(&levels, "admin")],
        ["debug", "info"]
    );
    let pairs = vec![("admin", "critical"), ("upstream", "off")];
    let changed = levels.after(&Change::Some(pairs)).unwrap();
    let names = ["http", "admin", "upstream", "main"];
    assert_eq!(
        names.map(|name| of(&changed, name)),
        ["debug", "critical", "off", "info"]
    );
    let pairs = vec![("admin", "critical"), ("upstream", "loud")];
    assert!(matches!(
        levels.after(&Change::Some(pairs)),
        Err(Error::Level(_))
    ));
    let all = changed.after(&Change::All("error")).unwrap();
    assert_eq!(names.map(|name| of(&all, name)), ["error"; 4]);
}
