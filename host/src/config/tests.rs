//! Whole configurations: what is accepted and how it reads, what is refused and with which words.
//!
//! The files are in `tests-data/config`. Each of `accepted` has the canonical JSON of what it says
//! beside it in `accepted.json`, each of `refused` its errors in `refused.txt`;
//! `NUNCIO_UPDATE_GOLDEN=1 cargo test` writes them anew.

use std::path::{Path, PathBuf};
use std::{env, fs};

use proptest::prelude::*;

use super::health_check::HealthChecker;
use super::*;
use crate::config::access_log::{AccessLogConfig, FileAccessLogFormat};
use crate::config::filter::HttpFilterConfig;
use crate::config::listener::NetworkFilterConfig;
use crate::config::route::{PathSpecifier, RouteActionKind};

/// [`load`], with what it found wrong as the error.
fn checked(sources: Vec<Source>) -> Result<Loaded, Diagnostics> {
    let loaded = load(sources)?;
    if loaded.diagnostics.has_errors() {
        Err(loaded.diagnostics)
    } else {
        Ok(loaded)
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests-data/config")
        .join(name)
}

fn inputs(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(data(folder)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn load_file(path: &Path) -> Result<Loaded, Diagnostics> {
    checked(vec![Source::inline(
        file_name(path),
        fs::read(path).unwrap(),
    )])
}

fn load_text(text: &str) -> Result<Loaded, Diagnostics> {
    checked(vec![Source::inline("envoy.yaml", text)])
}

fn loaded(text: &str) -> Loaded {
    load_text(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The errors as `line:column path: message`.
fn errors(sources: &[&str]) -> Vec<String> {
    let named = |(index, text): (usize, &&str)| Source::inline(format!("{index}"), *text);
    let diagnostics = checked(sources.iter().enumerate().map(named).collect()).unwrap_err();
    let line = |found: &&Diagnostic| match found.span() {
        Some(span) => {
            let (line, column) = (span.line(), span.column());
            format!(
                "{}:{line}:{column} {}: {}",
                found.source(),
                found.path(),
                found.message()
            )
        }
        None => found.message().to_owned(),
    };
    diagnostics.sorted().iter().map(line).collect()
}

fn assert_golden(actual: &str, golden: &Path) {
    if env::var_os("NUNCIO_UPDATE_GOLDEN").is_some() {
        fs::write(golden, actual).unwrap();
    }
    let expected = fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(actual, expected, "{}", golden.display());
}

#[test]
fn accepted_files_say_what_they_say() {
    let mut all = serde_json::Map::new();
    for path in inputs("accepted") {
        let loaded = load_file(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
        let value = json::to_value(&loaded.bootstrap);
        let again = checked(vec![Source::inline("again", value.to_string())]);
        let again = again.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(
            json::to_value(&again.bootstrap),
            value,
            "{}",
            path.display()
        );
        all.insert(file_name(&path).to_owned(), value);
    }
    let actual = format!("{:#}\n", serde_json::Value::Object(all));
    assert_golden(&actual, &data("accepted.json"));
}

#[test]
fn refused_files_are_told_what_is_wrong() {
    let mut all = String::new();
    for path in inputs("refused") {
        let diagnostics = load_file(&path).unwrap_err();
        assert!(diagnostics.has_errors());
        let heading = format!("{:=<100}\n", format!("{} ", file_name(&path)));
        all.extend([heading.as_str(), &diagnostics.render(false), "\n"]);
        let coloured = diagnostics.render(true);
        let escapes = coloured.split('\x1b').skip(1);
        let plain: String = std::iter::once(coloured.split('\x1b').next().unwrap())
            .chain(escapes.map(|text| text.split_once('m').unwrap().1))
            .collect();
        assert_eq!(plain, diagnostics.render(false));
    }
    assert_golden(&all, &data("refused.txt"));
}

const BASE: &str = r#"
node: { id: base, cluster: c }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 1 } } }
static_resources:
  clusters:
  - name: a
"#;

#[test]
fn what_stands_left_in_brackets_is_read_and_told_of_where_it_stands() {
    assert_eq!(
        errors(&["node: {\n\"cluster\": \"a\",\n  \"id\": 1\n}"]),
        ["0:3:9 node.id: expected a string, found the number 1"]
    );
    // What is wrong for another reason is told as it was.
    let [told] = &errors(&["node: {\n\"id\": \"a\"\n"])[..] else {
        panic!("one error");
    };
    assert!(told.contains("not valid YAML"), "{told}");
}

#[test]
fn a_decimal_of_a_struct_is_a_text_in_yaml_and_a_number_in_json() {
    let text =
        r#"{"node": {"id": "a", "cluster": "b", "metadata": {"version": 1.0, "list": [2.5]}}}"#;
    let metadata = |name: &str| {
        let loaded = checked(vec![Source::inline(name, text)]);
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        let node = loaded.bootstrap.node.expect("a node");
        node.metadata.expect("metadata").get().clone()
    };
    assert_eq!(
        metadata("envoy.yaml"),
        serde_json::json!({ "version": "1.0", "list": ["2.5"] })
    );
    assert_eq!(
        metadata("envoy.json"),
        serde_json::json!({ "version": 1.0, "list": [2.5] })
    );
}

#[test]
fn a_later_source_is_merged_over_an_earlier_one() {
    let merged = |over: &str| {
        let sources = vec![Source::inline("base", BASE), Source::inline("over", over)];
        checked(sources)
            .unwrap_or_else(|errors| panic!("{errors}"))
            .bootstrap
    };
    let cases: [(&str, serde_json::Value); 5] = [
        (
            "node: { id: over }",
            json::to_value(&loaded(&BASE.replace("base", "over")).bootstrap),
        ),
        ("{}", json::to_value(&loaded(BASE).bootstrap)),
        ("node: null", json::to_value(&loaded(BASE).bootstrap)),
        (
            "staticResources: { clusters: [{ name: b }] }",
            json::to_value(&loaded(&format!("{BASE}  - name: b\n")).bootstrap),
        ),
        (
            "admin: { address: { socketAddress: { portValue: 2 } } }",
            json::to_value(&loaded(&BASE.replace("port_value: 1", "port_value: 2")).bootstrap),
        ),
    ];
    for (over, expected) in cases {
        assert_eq!(json::to_value(&merged(over)), expected, "{over}");
    }
    let sources = [
        "node: { id: 1 }",
        "node: { cluster: 2 }\nstatic_resources: { clusters: [{}] }",
    ];
    assert_eq!(
        errors(&sources),
        [
            "0:1:13 node.id: expected a string, found the number 1",
            "1:1:18 node.cluster: expected a string, found the number 2",
            "1:2:32 static_resources.clusters[0]: missing field 'name'",
        ]
    );
}

#[test]
fn a_later_source_replaces_the_member_of_a_oneof_and_a_whole_any() {
    let options = |protocol: &str| {
        format!(
            "{BASE}    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ {protocol}: {{}} }}\n"
        )
    };
    // Lists are joined, so what the two have in common has to be outside of them.
    let over = "admin: { address: { envoy_internal_address: {} } }";
    assert_eq!(
        errors(&[BASE, over]),
        [
            "1:1:21 admin.address.envoy_internal_address: not supported by nuncio: internal listeners (field 'envoy_internal_address')"
        ]
    );
    assert_eq!(
        errors(&[
            &options("http_protocol_options"),
            &options("http9_protocol_options")
        ]),
        [
            "1:10:33 static_resources.clusters[1].typed_extension_protocol_options\
          [\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config\
          .http9_protocol_options: unknown field 'http9_protocol_options'"
        ]
    );
}

#[test]
fn a_place_knows_its_path_and_position() {
    let text = fs::read_to_string(data("accepted/spellings.yaml")).unwrap();
    let loaded = loaded(&text);
    let listener = loaded
        .document
        .root()
        .field("static_resources")
        .field("listeners")
        .index(0);
    let at = |place: Place<'_>| {
        let span = place.span().unwrap();
        let line = text
            .lines()
            .nth(usize::try_from(span.line()).unwrap() - 1)
            .unwrap();
        let skipped = line
            .chars()
            .skip(usize::try_from(span.column()).unwrap() - 1);
        let shown: String = skipped
            .take(usize::try_from(span.width()).unwrap())
            .collect();
        (place.path(), shown)
    };
    let buffer = listener.field("per_connection_buffer_limit_bytes");
    let hcm = listener
        .field("filter_chains")
        .index(0)
        .field("filters")
        .index(0);
    let hcm = hcm.field("typed_config");
    let name = hcm
        .field("route_config")
        .field("virtual_hosts")
        .index(0)
        .field("name");
    for (place, path, shown) in [
        (
            buffer,
            "staticResources.listeners[0].perConnectionBufferLimitBytes",
            "perConnectionBufferLimitBytes",
        ),
        (
            name,
            "staticResources.listeners[0].filterChains.filters.typedConfig.value.route_config\
             .virtual_hosts[0].name",
            "1.5",
        ),
        (
            hcm.field("nonsense").field("further"),
            HCM_NONSENSE,
            "typedConfig",
        ),
        (listener.index(7), "staticResources.listeners[0]", "a"),
    ] {
        assert_eq!(at(place), (path.to_owned(), shown.to_owned()));
    }
    let mut diagnostics = loaded.diagnostics;
    diagnostics
        .warning(listener, "strange")
        .hint("look")
        .related_place(name, "at this");
    assert!(!diagnostics.has_errors() && !diagnostics.is_empty());
    diagnostics.error(name, "unknown");
    assert_eq!(diagnostics.error_count(), 1);
    let rendered = diagnostics.render(false);
    for part in [
        "warning: strange",
        "^^^ at this",
        "  hint: look",
        "envoy.yaml:28:25: error: unknown",
    ] {
        assert!(rendered.contains(part), "{part} is not in {rendered}");
    }
}

const HCM_NONSENSE: &str = "staticResources.listeners[0].filterChains.filters.typedConfig.nonsense";

#[test]
fn the_model_is_what_was_written() {
    let loaded = load_file(&data("accepted/every-field.yaml")).unwrap();
    let listener = loaded.bootstrap.static_resources.listeners.first().unwrap();
    assert_eq!(listener.address.socket().unwrap().port(), 0);
    assert_eq!(listener.enable_reuse_port, Some(false));
    let filter = listener
        .filter_chains
        .first()
        .and_then(|chain| chain.filters.first())
        .unwrap();
    let NetworkFilterConfig::HttpConnectionManager(hcm) = &filter.typed_config else {
        panic!("no HTTP");
    };
    assert_eq!(hcm.drain_timeout.unwrap().get().as_millis(), 2500);
    assert!(hcm.delayed_close_timeout.unwrap().non_zero().is_none());
    let host = hcm.route_config().virtual_hosts.first().unwrap();
    let route = host.routes.first().unwrap();
    assert_eq!(
        route.r#match.path,
        PathSpecifier::Prefix("/api/".to_owned())
    );
    assert!(matches!(route.action, RouteActionKind::Route(_)));
    let AccessLogConfig::File(log) = &hcm.access_log.first().unwrap().typed_config else {
        panic!("the first access log is a file");
    };
    assert!(matches!(
        log.format,
        Some(FileAccessLogFormat::LogFormat(_))
    ));
    let wasm = hcm
        .http_filters
        .iter()
        .find_map(|filter| match &filter.typed_config {
            HttpFilterConfig::Wasm(wasm) => Some(wasm),
            _ => None,
        });
    let wasm = wasm.unwrap();
    assert_eq!(wasm.component.filename(), "auth.wasm");
    assert_eq!(wasm.limits.memory.unwrap().get(), 32 << 20);
    assert_eq!(wasm.limits.cpu_per_call.unwrap().get().as_millis(), 10);
    let configuration = wasm.configuration.as_ref().unwrap().get();
    let expected = serde_json::json!({
        "camelCase": "kept", "snake_case": "kept", "number": 1.5, "nothing": null,
        "list": [1, "yes", "yes"],
    });
    assert_eq!(configuration, &expected);
    let cluster = loaded.bootstrap.static_resources.clusters.first().unwrap();
    assert!(cluster.http_options().is_some());
    let checker = &cluster.health_checks.first().unwrap().checker;
    assert!(matches!(
        checker,
        HealthChecker::HttpHealthCheck(http) if http.method.as_str() == "HEAD"
    ));
}

#[test]
fn errors_stop_at_a_limit() {
    let keys: Vec<String> = (0..1000)
        .map(|number| format!("x{number}: {{}}\n"))
        .collect();
    let found = errors(&[&keys.concat()]);
    assert_eq!(found.len(), 101);
    assert_eq!(
        found.last().unwrap(),
        "more than 100 errors: the rest is not shown"
    );
    let bad: String = (0..1000).map(|_| "- connect_timeout: 5\n").collect();
    assert_eq!(
        errors(&[&format!("static_resources:\n  clusters:\n{}", indent(&bad))]).len(),
        101
    );
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.yaml");
    assert!(matches!(Source::read(&file), Err(ReadError::Io { .. })));
    fs::write(&file, "\u{feff}node: { id: x }\r\n").unwrap();
    let loaded = checked(vec![Source::read(&file).unwrap()]).unwrap();
    assert_eq!(loaded.bootstrap.node.unwrap().id, "x");
    for name in ["envoy.pb", "envoy.pb_text"] {
        let error = Source::read(&folder.path().join(name)).unwrap_err();
        assert!(matches!(error, ReadError::Protobuf(_)));
        assert!(error.to_string().contains("not supported by nuncio"));
    }
    let large = fs::File::create(&file).unwrap();
    large
        .set_len(crate::limits::CONFIG_SOURCE_BYTES + 1)
        .unwrap();
    assert!(matches!(Source::read(&file), Err(ReadError::TooLarge(_))));
}

/// What mutations are made of: what means something in YAML or to the model.
const PIECES: [&str; 30] = [
    "", " ", "\n", "\n  ", "\t", "- ", ": ", "{", "}", "[", "]", "\"", "'", "&a ", "*a", "!x ",
    "|\n", ">-\n", "#", "---\n", "<<", "null", "0x", "-1", "1e9", "@type", "\0", "\u{202e}",
    "\u{feff}", "ü",
];

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let mut files = inputs("accepted");
    files.extend(inputs("refused"));
    let texts: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    let change = (
        any::<prop::sample::Index>(),
        0_usize..40,
        0..PIECES.len(),
        any::<Option<u8>>(),
    );
    let changes = prop::collection::vec(change, 1..6);
    (prop::sample::select(texts), changes).prop_map(|(mut text, changes)| {
        for (at, removed, piece, byte) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + removed).min(text.len());
            let bytes = byte
                .as_ref()
                .map_or(PIECES[piece].as_bytes(), std::slice::from_ref);
            text.splice(at..end, bytes.iter().copied());
        }
        text
    })
}

proptest! {
    #[test]
    fn no_input_panics(text in mutated(), over in prop::option::of(mutated())) {
        let mut sources = vec![Source::inline("first", text)];
        sources.extend(over.map(|over| Source::inline("second", over)));
        match checked(sources) {
            Ok(loaded) => {
                let value = json::to_value(&loaded.bootstrap);
                let again = load_text(&value.to_string());
                prop_assert_eq!(again.ok().map(|again| json::to_value(&again.bootstrap)), Some(value));
            }
            Err(diagnostics) => {
                prop_assert!(diagnostics.has_errors());
                prop_assert!(diagnostics.error_count() <= crate::limits::CONFIG_ERRORS + 1000);
                prop_assert!(!diagnostics.render(true).is_empty());
            }
        }
    }
}
