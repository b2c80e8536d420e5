//! The command line: what is printed, where errors point, and exit codes.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use nuncio_tests::process::{Binary, Directory, Ran};

const ENVOY: &str = include_str!("../fixtures/mission/envoy.yaml");

fn nuncio<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    Ran::nuncio(arguments)
}

/// `--mode validate` of a text in a file of that name.
fn validate(name: &str, text: &str) -> Ran {
    let directory = Directory::create();
    let path = directory.write(name, text);
    nuncio([
        OsStr::new("--mode"),
        OsStr::new("validate"),
        OsStr::new("-c"),
        path.as_os_str(),
    ])
}

/// The document's configuration with one change.
fn changed(from: &str, to: &str) -> String {
    assert!(ENVOY.contains(from), "{from:?} is in the fixture");
    ENVOY.replacen(from, to, 1)
}

#[test]
fn version_and_help_go_to_stdout() {
    let version = nuncio(["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.starts_with("nuncio "), "{}", version.stdout);
    let help = nuncio(["--help"]);
    assert_eq!(help.code, Some(0));
    for flag in [
        "--config-path",
        "--config-yaml",
        "--mode",
        "--concurrency",
        "--log-level",
        "--component-log-level",
        "--log-format",
        "--drain-time-s",
        "--service-node",
        "--service-cluster",
        "--version",
    ] {
        assert!(help.stdout.contains(flag), "{flag} is not in the help");
    }
}

#[test]
fn a_good_file_is_reported_with_its_path() {
    let directory = Directory::create();
    let path = directory.write("envoy.yaml", ENVOY);
    let path = path.to_str().unwrap();
    for flag in ["-c", "--config-path"] {
        let ran = nuncio(["--mode", "validate", flag, path]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stdout, format!("configuration '{path}' OK\n"));
    }
}

#[test]
fn a_typo_is_shown_where_it_stands() {
    let ran = validate("typo.yaml", &changed("connect_timeout", "conect_timeout"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    ran.says("typo.yaml:31:5");
    ran.says("static_resources.clusters[0]");
    ran.says("conect_timeout: 0.25s");
    ran.says("connect_timeout");
    ran.says("^");
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = changed("connect_timeout: 0.25s", "connect_timeout: 250ms")
        .replace("lb_policy: ROUND_ROBIN", "lb_policy: ROUND_ROBBIN")
        .replace("cluster: backend_service", "cluster: backend_servce");
    let ran = validate("three.yaml", &text);
    assert_eq!(ran.code, Some(1));
    for place in ["three.yaml:23:", "three.yaml:31:", "three.yaml:32:"] {
        ran.says(place);
    }
}

#[test]
fn what_would_be_ignored_is_an_error() {
    let duplicate = changed(
        "    lb_policy: ROUND_ROBIN",
        "    type: STATIC\n    lb_policy: ROUND_ROBIN",
    );
    assert_eq!(validate("duplicate.yaml", &duplicate).code, Some(1));
    let second = format!("{ENVOY}---\nstatic_resources: {{}}\n");
    assert_eq!(validate("second.yaml", &second).code, Some(1));
    let later = changed(
        "    lb_policy: ROUND_ROBIN",
        "    lb_policy: ROUND_ROBIN\n    track_timeout_budgets: true",
    );
    let ran = validate("later.yaml", &later);
    assert_eq!(ran.code, Some(1));
    ran.says("not supported by nuncio");
    ran.says("later.yaml:33:5");
}

#[test]
fn layers_of_runtime_values_are_checked() {
    let layers = "layered_runtime:\n  layers:\n  \
                  - { name: one, static_layer: { a: [1], b: { c: null } } }\n  \
                  - { name: one, admin_layer: {} }\n  \
                  - { name: two, admin_layer: {} }\n";
    let ran = validate("layers.yaml", &format!("{layers}{ENVOY}"));
    assert_eq!(ran.code, Some(1));
    for line in 3..=5 {
        ran.says(&format!("layers.yaml:{line}:"));
    }
    ran.says("runtime key \"a\" has neither a scalar nor a fraction");
    ran.says("runtime key \"b.c\" has neither a scalar nor a fraction");
    ran.says("another layer has the name \"one\"");
    ran.says("there may be one admin layer, and this is another");
}

#[test]
fn both_spellings_of_field_names_are_accepted() {
    let text = ENVOY
        .replace("static_resources", "staticResources")
        .replace("filter_chains", "filterChains")
        .replace("route_config", "routeConfig")
        .replace("load_assignment", "loadAssignment")
        .replace("connect_timeout", "connectTimeout");
    let ran = validate("camel.yaml", &text);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ran = nuncio(["-c", "/nowhere/at-all.yaml"]);
    assert_eq!(ran.code, Some(1));
    ran.says("/nowhere/at-all.yaml");
}

#[test]
fn yaml_that_is_broken_is_shown_where_it_breaks() {
    let ran = validate("broken.yaml", "static_resources:\n  listeners: [\n  - }\n");
    assert_eq!(ran.code, Some(1));
    ran.says("broken.yaml:3:");
}

#[test]
fn a_configuration_can_be_given_inline() {
    let ran = nuncio(["--mode", "validate", "--config-yaml", ENVOY]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    for arguments in [
        &["--no-such-flag"][..],
        &["--mode", "dance", "-c", "x.yaml"],
        &["--concurrency", "many", "-c", "x.yaml"],
        &["--log-level", "loud", "-c", "x.yaml"],
        &[],
    ] {
        let ran = nuncio(arguments);
        assert!(
            ran.code.is_some_and(|code| code != 0),
            "{arguments:?} was accepted"
        );
        assert!(!ran.stderr.is_empty(), "{arguments:?} got no message");
        assert!(
            !ran.stderr.contains("panicked"),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn the_limit_on_open_files_is_raised() {
    let nuncio = Binary::nuncio().command(["--config-yaml", "{}"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -Sn 200 && exec \"$0\" \"$@\""])
        .arg(nuncio.get_program())
        .args(nuncio.get_args())
        .stderr(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let wanted = "raised the limit on open files from 200 to ";
    let said = lines.map(Result::unwrap).any(|line| line.contains(wanted));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said, "{wanted}");
}
