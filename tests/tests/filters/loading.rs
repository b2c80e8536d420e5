//! Components and settings that are refused: each with the place in the file, the component's name
//! and the reason, and exit code 1.

use std::fs;

use nuncio_tests::config::{self, Config};
use nuncio_tests::guests;
use nuncio_tests::process::{Binary, Directory, Proxy, Setup};

/// What `-c` says to a configuration that it does not serve. `@DIRECTORY@` is `directory`.
fn refusal(directory: &Directory, filter: &str, validate: bool) -> String {
    let path = directory.path().to_str().expect("a path that is text");
    let config = Config::new().filter(filter.replace("@DIRECTORY@", path));
    let text = config.text();
    let arguments: &[&str] = if validate {
        &["--mode", "validate"]
    } else {
        &[]
    };
    let setup = Setup::for_template(&text).arguments(arguments);
    let ended = Proxy::spawn(&Binary::nuncio(), &text, setup).wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    ended.output
}

/// Whether a refusal says `says`, at the place of the filter.
#[track_caller]
fn refused(filter: &str, says: &[&str]) {
    let directory = Directory::create();
    for validate in [true, false] {
        let output = refusal(&directory, filter, validate);
        let place = ".http_filters[0].typed_config";
        for says in says.iter().chain(&[place, "proxy.yaml:"]) {
            assert!(output.contains(says), "no {says:?} in:\n{output}");
        }
        assert!(
            !output.contains("panicked at"),
            "the proxy itself: {output}"
        );
    }
}

/// A file with those bytes is refused as a component.
#[track_caller]
fn refused_file(name: &str, bytes: &[u8], says: &[&str]) {
    let directory = Directory::create();
    fs::write(directory.path().join(name), bytes).expect("the directory is writable");
    let filter = config::wasm("mine", &format!("@DIRECTORY@/{name}"), "", "");
    let output = refusal(&directory, &filter, true);
    for says in says.iter().chain(&[name, "component.filename"]) {
        assert!(output.contains(says), "no {says:?} in:\n{output}");
    }
}

fn guest_bytes(name: &str) -> Vec<u8> {
    fs::read(guests::path(name)).expect("it was just built")
}

/// `bytes` with another text of the same length in place of each `from`.
fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "lengths are encoded elsewhere");
    let mut count = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
            count += 1;
        }
    }
    assert!(count > 0, "the component has the text");
    bytes
}

#[test]
fn a_file_that_is_not_there() {
    let filter = config::wasm("mine", "/nowhere/at-all.wasm", "", "");
    refused(
        &filter,
        &["read component", "/nowhere/at-all.wasm", "No such file"],
    );
}

#[test]
fn a_directory() {
    let filter = config::wasm("mine", "/", "", "");
    refused(&filter, &["read component \"/\"", "directory"]);
}

#[test]
fn files_that_are_no_components() {
    refused_file("empty.wasm", b"", &["it is not a WebAssembly component"]);
    refused_file(
        "garbage.wasm",
        &[0xa5; 4096],
        &["it is not a WebAssembly component"],
    );
    refused_file(
        "text.wasm",
        b"(component)",
        &["it is not a WebAssembly component"],
    );
    refused_file(
        "core.wasm",
        b"\0asm\x01\0\0\0",
        &["it is a core module, not a component", "wasm32-wasip2"],
    );
    let mut cut = guest_bytes("script");
    cut.truncate(cut.len() / 2);
    refused_file("cut.wasm", &cut, &["compile component"]);
}

#[test]
fn components_that_are_no_filters() {
    // The smallest component: nothing in it.
    refused_file(
        "other.wasm",
        b"\0asm\x0d\0\x01\0",
        &["it does not export nuncio:filter/http-filter@0.1.0"],
    );
    let later = patched(
        guest_bytes("script"),
        b"nuncio:filter/http-stream@0.1.0",
        b"nuncio:filter/http-stream@0.2.0",
    );
    refused_file(
        "later.wasm",
        &later,
        &[
            "it was built for nuncio:filter/http-stream@0.2.0",
            "this proxy speaks nuncio:filter@0.1.0",
        ],
    );
}

#[test]
fn forbidden_imports() {
    refused_file(
        "sockets.wasm",
        &guest_bytes("sockets"),
        &[
            "it imports wasi:sockets/",
            "a filter may not open connections",
        ],
    );
}

#[test]
fn what_a_filter_says_of_its_configuration() {
    let filter = config::guest("mine", "script", "nonsense", "");
    refused(
        &filter,
        &[
            "filter \"mine\"",
            "the first line does not say what is wanted",
        ],
    );
    let script = "wants on-log\non-log render %NO_SUCH_OPERATOR%";
    refused(
        &config::guest("mine", "script", script, ""),
        &["NO_SUCH_OPERATOR"],
    );
    let script = "wants on-log\non-log write /tmp/not-granted x";
    refused(
        &config::guest("mine", "script", script, ""),
        &["capabilities"],
    );
}

#[test]
fn faults_while_a_filter_is_configured() {
    for (fault, says) in [
        ("panics", "start filter \"mine\""),
        ("loops", "used more than 1s of processor time"),
        ("allocates", "needed more than 16384 KiB of memory"),
        ("exits", "the guest called exit"),
        ("fails", "the filter says so"),
    ] {
        let filter = config::guest("mine", "faults", &format!("configure {fault}"), "");
        let directory = Directory::create();
        let output = refusal(&directory, &filter, true);
        assert!(output.contains(says), "no {says:?} in:\n{output}");
    }
}

#[test]
fn settings_that_are_out_of_range() {
    for (more, says) in [
        (
            ", limits: { memory: 1KiB }",
            "limits.memory must be between 64KiB and 256MiB",
        ),
        (
            ", limits: { memory: 1GiB }",
            "limits.memory must be between 64KiB and 256MiB",
        ),
        (", limits: { memory: much }", "a size such as '16MiB'"),
        (
            ", limits: { cpu_per_call: 2s }",
            "limits.cpu_per_call must be between 1ms and 1s",
        ),
        (", limits: { cpu_per_call: 0s }", "cpu_per_call"),
        (", isolation: PRIVATE", "PRIVATE"),
        (", failure_policy: FAIL_SOMEHOW", "FAIL_SOMEHOW"),
        (", no_such_field: 1", "no_such_field"),
    ] {
        refused(
            &config::guest("mine", "script", "wants on-log", more),
            &[says],
        );
    }
}

#[test]
fn several_bad_filters_are_all_reported() {
    let config = Config::new()
        .filter(config::wasm("one", "/nowhere/one.wasm", "", ""))
        .filter(config::wasm("two", "/nowhere/two.wasm", "", ""));
    let text = config.text();
    let setup = Setup::for_template(&text).arguments(&["--mode", "validate"]);
    let ended = Proxy::spawn(&Binary::nuncio(), &text, setup).wait();
    for says in ["one.wasm", "two.wasm", "http_filters[0]", "http_filters[1]"] {
        assert!(
            ended.output.contains(says),
            "no {says:?} in:\n{}",
            ended.output
        );
    }
    assert_eq!(ended.status.code(), Some(1));
}
