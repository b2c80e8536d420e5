//! The filter over the fake host. What is expected of formats is what Envoy 1.40 writes with the
//! same configuration.

use nuncio_sdk::Target;
use nuncio_sdk::testing::{Host, Value, json};

use super::*;

const FILE: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const STDOUT: &str =
    "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
const STDERR: &str =
    "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog";

fn with_type(type_url: &str, mut document: Value) -> Value {
    document["@type"] = type_url.into();
    document
}

/// One request, as the log shows it.
fn logged(document: Value, target: &Target) -> String {
    let host = Host::new();
    for (operator, value) in [
        ("START_TIME", "2026-11-23T00:07:10.263Z"),
        ("PROTOCOL", "HTTP/1.1"),
        ("RESPONSE_CODE", "200"),
        ("BYTES_RECEIVED", "0"),
        ("BYTES_SENT", "144"),
        ("DURATION", "1"),
        ("UPSTREAM_HOST", "127.0.0.1:9090"),
    ] {
        host.set_operator(operator, value);
    }
    let filter = host
        .configure::<AccessLog>(document)
        .expect("a good configuration");
    assert_eq!(filter.interest(), Interest::new().log());
    let mut stream = filter.stream();
    let head = [
        (":method", "GET"),
        (":path", "/p"),
        (":authority", "h"),
        ("x-a", "1"),
    ];
    stream.on_request_headers(&head, true).expect("no failure");
    let head = [(":status", "200"), ("x-envoy-upstream-service-time", "0")];
    stream
        .on_response_headers(&head, false)
        .expect("no failure");
    stream.on_log();
    host.sink(target).expect("an open sink")
}

fn refused(document: Value) -> String {
    let refused = Host::new().configure::<AccessLog>(document).err();
    refused.map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn the_default_format_is_envoys() {
    let expected = concat!(
        r#"[2026-11-23T00:07:10.263Z] "GET /p HTTP/1.1" 200 - 0 144 1 0 "-" "-" "-" "h" "#,
        "\"127.0.0.1:9090\"\n"
    );
    assert_eq!(
        logged(with_type(STDOUT, json!({})), &Target::Stdout),
        expected
    );
    let file = Target::File("/var/log/access.log".to_owned());
    let path = json!({ "path": "/var/log/access.log" });
    assert_eq!(logged(with_type(FILE, path), &file), expected);
    let path = json!({ "path": "/var/log/access.log", "format": "" });
    assert_eq!(logged(with_type(FILE, path), &file), expected);
}

#[test]
fn a_text_is_written_as_it_is() {
    for (format, expected) in [
        (json!({ "text_format": "x%REQ(zz)%\n" }), "x-\n"),
        (
            json!({ "text_format_source": { "inline_string": "%REQ(x-a)% no line end" } }),
            "1 no line end",
        ),
        (
            json!({ "text_format": "%REQ(zz)%|%REQ(x-a)%\n", "omit_empty_values": true }),
            "|1\n",
        ),
        (json!({ "text_format": "" }), ""),
    ] {
        let document = with_type(STDERR, json!({ "log_format": format }));
        assert_eq!(logged(document, &Target::Stderr), expected, "{format}");
    }
    let old = with_type(
        FILE,
        json!({ "path": "/dev/stdout", "format": "old %REQ(zz)%\n" }),
    );
    assert_eq!(
        logged(old, &Target::File("/dev/stdout".to_owned())),
        "old -\n"
    );
}

#[test]
fn json_is_one_line() {
    let object = json!({ "d": 1, "b": { "c": "%RESPONSE_CODE%" }, "a": "%REQ(zz)%", "e": ["%REQ(:path)%", null] });
    for (format, expected) in [
        (
            json!({ "json_format": object }),
            r#"{"a":null,"b":{"c":200},"d":1,"e":["/p",null]}"#,
        ),
        (
            json!({ "json_format": { "a": "%REQ(zz)%", "d": 1 }, "omit_empty_values": true }),
            r#"{"d":1}"#,
        ),
    ] {
        let document = with_type(STDOUT, json!({ "log_format": format }));
        assert_eq!(
            logged(document, &Target::Stdout),
            format!("{expected}\n"),
            "{format}"
        );
    }
    for field in ["json_format", "typed_json_format"] {
        let mut document = with_type(FILE, json!({ "path": "/l" }));
        document[field] = json!({ "a": "%REQ(zz)%" });
        let written = logged(document, &Target::File("/l".to_owned()));
        assert_eq!(written, "{\"a\":null}\n", "{field}");
    }
}

#[test]
fn a_bad_configuration_is_refused() {
    for (document, reason) in [
        (with_type(FILE, json!({})), "`path`"),
        (with_type(FILE, json!({ "path": "" })), "`path`"),
        (
            with_type(STDOUT, json!({ "path": "/l" })),
            "no field `path`",
        ),
        (
            with_type(STDOUT, json!({ "log_format": {} })),
            "`log_format` has neither",
        ),
        (
            with_type(
                STDOUT,
                json!({ "log_format": { "text_format": "", "json_format": {} } }),
            ),
            "more than one format",
        ),
        (
            with_type(
                FILE,
                json!({ "path": "/l", "format": "a", "log_format": { "text_format": "a" } }),
            ),
            "more than one format",
        ),
        (
            with_type(STDOUT, json!({ "log_format": { "text_format": "%REQ" } })),
            "%REQ",
        ),
        (with_type(STDOUT, json!({ "log_formt": {} })), "log_formt"),
        (
            with_type("type.googleapis.com/a.b.C", json!({})),
            "not an access log",
        ),
        (json!({}), "@type"),
    ] {
        let message = refused(document.clone());
        assert!(message.contains(reason), "{document}: {message}");
    }
}

#[test]
fn a_sink_that_is_not_granted_is_an_error() {
    let host = Host::new();
    host.refuse_sink(Target::File("/etc/passwd".to_owned()));
    let document = with_type(FILE, json!({ "path": "/etc/passwd" }));
    let refused = host.configure::<AccessLog>(document).err();
    let message = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("/etc/passwd"), "{message}");
}
