//! Running all groups and telling the result.
//!
//! Owns the command line of the comparison, the threads that run groups side by side, and what is
//! printed: one line a case, the differing lines of those that fail, and the totals.

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;
use std::sync::{Mutex, mpsc};
use std::thread;

use crate::process::Binary;

use super::case::Group;
use super::differences::{self, Difference};
use super::{diff, side};

/// Groups that run at the same time. Most of their time is waiting.
const AT_ONCE: usize = 4;

/// What the command line asks.
#[derive(Debug, Default)]
struct Options {
    filters: Vec<String>,
    list: bool,
    show: bool,
    envoy_with_itself: bool,
    envoy_required: bool,
}

impl Options {
    fn from_command_line() -> Self {
        let mut options = Self {
            envoy_required: std::env::var_os("CI").is_some(),
            ..Self::default()
        };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--list" => options.list = true,
                "--show" => options.show = true,
                "--self" => options.envoy_with_itself = true,
                "--require-envoy" => options.envoy_required = true,
                // What `cargo test` hands to every suite has no meaning here.
                flag if flag.starts_with('-') => {}
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty()
            || self
                .filters
                .iter()
                .any(|filter| name.contains(filter.as_str()))
    }
}

/// Runs the groups under Envoy and under nuncio and compares.
///
/// Arguments: words that a case's full name must contain; `--list`; `--show` prints what Envoy does
/// in each case; `--self` compares Envoy with itself, which shows that a case is deterministic;
/// `--require-envoy` makes a missing Envoy a failure.
#[must_use]
pub fn main(groups: Vec<Group>, differences: &str) -> ExitCode {
    let options = Options::from_command_line();
    let differences = differences::read(differences);
    let groups: Vec<Group> = groups
        .into_iter()
        .filter(|group| keep(group, &options))
        .collect();
    if options.list {
        for group in &groups {
            group
                .cases
                .iter()
                .for_each(|case| println!("{}: {}", group.name, case.name));
        }
        return ExitCode::SUCCESS;
    }
    let Some(envoy) = Binary::envoy() else {
        println!("comparison not run: Envoy is not here; tests/tools/fetch-envoy installs it");
        return if options.envoy_required {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    };
    let other = if options.envoy_with_itself {
        envoy.clone()
    } else {
        Binary::nuncio()
    };
    let mut totals = Totals::default();
    let queue = Mutex::new(VecDeque::from(groups));
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (sender, queue, envoy, other) = (sender.clone(), &queue, &envoy, &other);
            scope.spawn(move || {
                loop {
                    let Some(group) = queue.lock().unwrap().pop_front() else {
                        return;
                    };
                    let sides = both(&group, envoy, other);
                    sender
                        .send((group, sides))
                        .expect("the report is read to its end");
                }
            });
        }
        drop(sender);
        for (group, sides) in results {
            match sides {
                Some((left, right)) => totals.add(&group, &left, &right, &differences, &options),
                None => totals.broken(&group),
            }
        }
    });
    totals.print(&differences, &options)
}

fn keep(group: &Group, options: &Options) -> bool {
    let mut cases = group.cases.iter();
    options.wants(group.name)
        || cases.any(|case| options.wants(&format!("{}: {}", group.name, case.name)))
}

/// Lines of every case under one proxy, in order.
type Lines = Vec<Vec<String>>;

/// Runs a group on both sides at once; `None` when one of them could not be run.
fn both(group: &Group, envoy: &Binary, other: &Binary) -> Option<(Lines, Lines)> {
    thread::scope(|scope| {
        let left = scope.spawn(|| side::run(group, envoy));
        let right = scope.spawn(|| side::run(group, other));
        let (left, right) = (left.join(), right.join());
        Some((left.ok()?, right.ok()?))
    })
}

#[derive(Debug, Default)]
struct Totals {
    passed: usize,
    as_documented: usize,
    failures: Vec<(String, Vec<String>)>,
    seen: BTreeMap<String, ()>,
}

impl Totals {
    fn add(
        &mut self,
        group: &Group,
        left: &Lines,
        right: &Lines,
        differences: &BTreeMap<String, Difference>,
        options: &Options,
    ) {
        let names = group
            .cases
            .iter()
            .map(|case| case.name.as_str())
            .chain(["the whole log"]);
        for (name, (left, right)) in names.zip(left.iter().zip(right)) {
            let name = format!("{}: {name}", group.name);
            if !options.wants(&name) {
                continue;
            }
            let listed = differences
                .get(&name)
                .filter(|_| !options.envoy_with_itself);
            let found = diff(left, right);
            let expected = listed.map_or(&[][..], |listed| &listed.lines[..]);
            if found != expected {
                println!("FAILED   {name}");
                let mut lines = found;
                if listed.is_some() {
                    lines.insert(
                        0,
                        "(is a deliberate difference, but not as listed)".to_owned(),
                    );
                }
                self.failures.push((name.clone(), lines));
            } else if listed.is_some() {
                println!("differs  {name}");
                self.as_documented += 1;
            } else {
                println!("same     {name}");
                self.passed += 1;
            }
            if options.show {
                left.iter().for_each(|line| println!("             {line}"));
            }
            self.seen.insert(name, ());
        }
    }

    fn broken(&mut self, group: &Group) {
        println!("FAILED   {}: the group could not be run", group.name);
        let why = vec!["one of the two could not be run, see above".to_owned()];
        self.failures.push((group.name.to_owned(), why));
    }

    fn print(mut self, differences: &BTreeMap<String, Difference>, options: &Options) -> ExitCode {
        let all_run = options.filters.is_empty() && !options.envoy_with_itself;
        for name in differences
            .keys()
            .filter(|name| all_run && !self.seen.contains_key(*name))
        {
            let why =
                vec!["listed as a deliberate difference, but there is no such case".to_owned()];
            self.failures.push((name.clone(), why));
        }
        for (name, lines) in &self.failures {
            println!("\n== {name}");
            lines.iter().for_each(|line| println!("{line}"));
        }
        let Self {
            passed,
            as_documented,
            failures,
            ..
        } = self;
        let failed = failures.len();
        if failed > 0 {
            println!("\n(lines after - are Envoy's, after + are the other's)");
        }
        println!("\n{passed} same, {as_documented} different as documented");
        println!("{} passed, {failed} failed", passed + as_documented);
        if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
