//! What the sources promise about themselves: every file says what it owns, none is too long, and
//! the layers are kept.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources has failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders with sources that are ours.
const OURS: &[&str] = &[
    "host/src",
    "host/benches",
    "sdk/src",
    "filters",
    "tests/src",
    "tests/tests",
    "tests/guests",
    "fuzz/src",
    "fuzz/tests",
    "fuzz/fuzz_targets",
    "examples",
];
/// Lines of a file without its tests.
const LINES_MAX: usize = 800;

/// A folder or file of `host/src`, and the modules of the crate that it may not name.
const LAYERS: &[(&str, &[&str])] = &[
    ("http", &["config", "build", "server", "cli", "admin"]),
    (
        "route",
        &[
            "config", "build", "server", "cli", "admin", "http", "listener", "upstream", "wasm",
        ],
    ),
    (
        "upstream",
        &[
            "config", "build", "server", "cli", "admin", "http", "listener", "route", "wasm",
        ],
    ),
    (
        "wasm",
        &[
            "config", "build", "server", "cli", "admin", "http", "listener", "route", "upstream",
        ],
    ),
    (
        "observe",
        &[
            "config", "build", "server", "cli", "admin", "http", "listener", "route", "upstream",
            "wasm", "runtime",
        ],
    ),
    (
        "config",
        &[
            "build", "server", "cli", "admin", "http", "listener", "route", "upstream", "wasm",
            "runtime", "observe",
        ],
    ),
    (
        "values",
        &[
            "config", "build", "server", "cli", "admin", "http", "listener", "route", "upstream",
            "wasm", "runtime",
        ],
    ),
    (
        "tls",
        &[
            "config", "build", "server", "cli", "admin", "http", "listener", "route", "upstream",
            "wasm", "runtime",
        ],
    ),
    ("listener", &["config", "build", "server", "cli", "admin"]),
    (
        "tcp",
        &[
            "config", "build", "server", "cli", "admin", "listener", "http", "route",
        ],
    ),
    (
        "socket",
        &[
            "config", "build", "server", "cli", "admin", "listener", "http", "route", "upstream",
            "wasm", "observe", "runtime", "exchange",
        ],
    ),
    (
        "runtime",
        &["config", "build", "server", "cli", "admin", "listener"],
    ),
    (
        "worker",
        &[
            "config", "build", "server", "cli", "admin", "listener", "http",
        ],
    ),
    (
        "frames",
        &[
            "config", "build", "server", "cli", "admin", "listener", "http", "route", "upstream",
            "wasm", "observe", "runtime", "worker", "exchange",
        ],
    ),
    (
        "uri",
        &[
            "config", "build", "server", "cli", "admin", "listener", "http", "route", "upstream",
            "wasm", "observe", "runtime", "worker", "exchange",
        ],
    ),
    (
        "headers",
        &[
            "config", "build", "server", "cli", "admin", "http", "route", "upstream", "wasm",
            "observe", "runtime", "exchange",
        ],
    ),
    (
        "h1",
        &[
            "config", "build", "server", "cli", "admin", "http", "route", "upstream", "wasm",
            "observe", "runtime", "worker",
        ],
    ),
    (
        "exchange",
        &[
            "config", "build", "server", "cli", "admin", "http", "route", "upstream", "wasm",
            "observe", "runtime",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("target") {
            // What somebody has built there is nobody's source.
        } else if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn all(folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        sources(&root().join(folder), &mut found);
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn every_file_opens_with_what_it_owns() {
    for path in all(OURS) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//!"),
            "{} has no //! page",
            path.display()
        );
    }
}

/// The names between backquotes in the first cells of a table.
fn first_cells(table: &str) -> BTreeSet<&str> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.map(|row| row.split(" | ").next().unwrap());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn the_map_of_modules_has_each_and_no_other() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, map) = page.split_once("| module | owns |\n").unwrap();
    let listed = first_cells(map.split("\n\n").next().unwrap());
    let host = root().join("host/src");
    let paths = all(&["host/src"]);
    let modules = paths.iter().map(|path| {
        let within = path.strip_prefix(&host).unwrap();
        let first = within.iter().next().unwrap().to_str().unwrap();
        first.trim_end_matches(".rs")
    });
    let modules = modules.filter(|module| !["lib", "main"].contains(module));
    assert_eq!(listed, modules.collect());
}

#[test]
fn no_file_is_longer_than_one_subject() {
    for path in all(&["host/src", "sdk/src", "filters"]) {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn layers_name_only_what_is_below_them() {
    let host = root().join("host/src");
    for (layer, forbidden) in LAYERS {
        for path in all(&["host/src"]) {
            let within = path.strip_prefix(&host).unwrap();
            let first = within
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_string_lossy();
            if first.trim_end_matches(".rs") != *layer {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for module in *forbidden {
                let named = format!("crate::{module}::");
                let plain = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                let hit = plain.clone().find(|line| line.contains(&named));
                assert!(
                    hit.is_none(),
                    "{} names {named} in: {}",
                    path.display(),
                    hit.unwrap()
                );
            }
        }
    }
}

/// The kinds of cells that a block of statistics may have.
const CELLS: &[&str] = &[
    "counter",
    "gauge",
    "histogram",
    "classes",
    "codes",
    "shared_counter",
    "shared_gauge",
];

/// The cells that a source declares in its blocks of statistics.
fn declared(text: &str) -> Vec<&str> {
    let blocks = text.split("\nstats! {\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("\n}\n").next().unwrap().lines());
    let cells = lines.filter_map(|line| line.trim().split_once(' '));
    let cells = cells.filter(|(kind, _)| CELLS.contains(kind));
    let names = cells.map(|(_, rest)| rest.split([' ', ',']).next().unwrap());
    names.collect()
}

/// Whether some source names that field of something.
fn is_used(texts: &[String], field: &str) -> bool {
    let field = format!(".{field}");
    texts.iter().any(|text| {
        text.match_indices(&field).any(|(at, _)| {
            let rest = text.get(at + field.len()..);
            let next = rest.and_then(|rest| rest.chars().next());
            !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
        })
    })
}

/// A statistic that is declared is counted somewhere, or said to stay 0.
#[test]
fn statistics_are_counted_or_listed() {
    let paths = all(&["host/src"]).into_iter();
    let paths = paths.filter(|path| {
        let inner = path.strip_prefix(root()).unwrap();
        !inner.to_str().unwrap().contains("tests")
    });
    let texts = paths.map(|path| {
        let text = fs::read_to_string(path).unwrap();
        text.split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap()
            .to_owned()
    });
    let texts: Vec<String> = texts.collect();
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, listed) = operations.split_once("and stay 0:\n").unwrap();
    let listed = listed.split("\n## ").next().unwrap();
    let mut cells: Vec<&str> = texts.iter().flat_map(|text| declared(text)).collect();
    assert!(cells.len() > 200, "{}", cells.len());
    cells.sort_unstable();
    for cell in cells.chunk_by(|a, b| a == b) {
        let name = cell[0];
        let is_listed = listed.contains(&format!("`{name}`"));
        assert_ne!(is_used(&texts, name), is_listed, "{name}");
    }
}
