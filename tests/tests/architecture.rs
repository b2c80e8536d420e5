//! What the sources promise about themselves: every file says what it owns, none is too long, and
//! the layers are kept.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot read the sources has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "architecture/names.rs"]
mod names;

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

/// The modules of `host/src` that name nothing but each other. Whoever likes may name them.
const LEAVES: &str = "
    address bucket certificate clock filters headers keepalive limits metadata nearest pattern
    proxy_header sniffed socket socket_option timer uri variant vitals watched
";

/// Each other module, and those of them that it names. A row names rows below it.
const LAYERS: &str = "
    cli: admin build config exchange http observe route runtime server
    server: admin build listener observe runtime tls upstream values wasm worker
    admin: build listener observe route runtime server tls values
    build: config exchange frames h1 http log_filter observe route runtime tcp tls upstream values
        wasm
    listener: exchange http observe runtime tcp tls worker
    http: exchange frames h1 log_filter observe route runtime tcp upstream wasm worker
    tcp: exchange observe runtime upstream values worker
    worker: exchange log_filter route runtime upstream wasm
    runtime: frames h1 http log_filter observe route tcp tls upstream values wasm
    log_filter: exchange route values
    wasm: exchange observe values
    route: exchange observe values
    upstream: exchange frames h1 observe tls values
    tls: exchange observe
    values: observe
    config:
    observe: exchange
    frames:
    h1: exchange
    exchange:
";

/// Rows that name one above them: what runs is made of what it runs, and the admin pages are those of the server that
/// has them.
const CIRCLES: &[(&str, &str)] = &[("admin", "server"), ("runtime", "http"), ("runtime", "tcp")];

/// Whose names a module hands on as its own.
const HANDED_ON: &[(&str, &str)] = &[
    ("listener", "sniffed"),
    ("listener", "tls"),
    ("route", "pattern"),
    ("upstream", "proxy_header"),
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

/// The module of the crate that a source below `host/src` is of, and how far it lies below the root.
fn module_of(within: &Path) -> (String, usize) {
    let parts: Vec<&str> = within.iter().map(|part| part.to_str().unwrap()).collect();
    (parts[0].trim_end_matches(".rs").to_owned(), parts.len())
}

/// What the modules of the crate name of each other, and hand on.
fn named() -> [BTreeMap<String, BTreeSet<String>>; 2] {
    let host = root().join("host/src");
    let mut found = [BTreeMap::new(), BTreeMap::new()];
    for path in all(&["host/src"]) {
        let (module, below_root) = module_of(path.strip_prefix(&host).unwrap());
        if ["lib", "main"].contains(&&*module) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let names = names::read(&text, below_root);
        for (found, names) in found.iter_mut().zip([names.all, names.handed_on]) {
            let of_module: &mut BTreeSet<_> = found.entry(module.clone()).or_default();
            of_module.extend(names.into_iter().filter(|name| *name != module));
        }
    }
    found
}

/// The rows of [`LAYERS`].
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut rows = Vec::new();
    for word in LAYERS.split_whitespace() {
        match (word.strip_suffix(':'), rows.last_mut()) {
            (Some(layer), _) => rows.push((layer, Vec::new())),
            (None, Some((_, named))) => named.push(word),
            (None, None) => panic!("{word} stands in front of the first row"),
        }
    }
    rows
}

#[test]
fn layers_name_what_their_rows_say() {
    let [all, handed_on] = named();
    let leaves: BTreeSet<_> = LEAVES.split_whitespace().collect();
    let rows: BTreeMap<_, _> = rows().into_iter().collect();
    let modules: BTreeSet<_> = all.keys().map(String::as_str).collect();
    let listed = leaves.iter().chain(rows.keys()).copied();
    assert_eq!(modules, listed.collect());
    for (layer, named) in &all {
        let named = named.iter().map(String::as_str);
        let named: Vec<_> = named.filter(|name| !leaves.contains(name)).collect();
        let row = rows.get(layer.as_str()).map_or(&[][..], Vec::as_slice);
        assert_eq!(named, row, "what {layer} names, and its row");
    }
    let handed_on = handed_on.iter().flat_map(|(layer, names)| {
        let names = names.iter();
        names.map(|name| (layer.as_str(), name.as_str()))
    });
    assert_eq!(handed_on.collect::<Vec<_>>(), HANDED_ON);
}

#[test]
fn rows_name_what_is_below_them() {
    let mut circles = Vec::new();
    let rows = rows();
    for (at, (layer, named)) in rows.iter().enumerate() {
        let above = rows[..at].iter().map(|(above, _)| *above);
        let named = above.filter(|above| named.contains(above));
        circles.extend(named.map(|above| (*layer, above)));
    }
    assert_eq!(circles, CIRCLES);
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
