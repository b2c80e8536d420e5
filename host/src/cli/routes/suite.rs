//! Tests of routes from a file.
//!
//! Owns comparing what a request finds with what it is to find, and how many of the routes the
//! tests take.

use std::collections::HashSet;
use std::io::Write;

use super::Routing;
use super::answer::{Answer, Outcome, answer};
use super::request::{Asked, lossy};
use super::show::{Paint, Shown, flow, quoted};
use crate::build::header_spec;
use crate::config::header::HeaderMatcher as WrittenMatcher;
use crate::config::route_tests::{RouteTest, RouteTestExpectation, RouteTests};
use crate::headers::{Headers, Known};
use crate::route::HeaderCondition;

/// How tests are run.
#[derive(Clone, Copy)]
pub(super) struct Options {
    /// Whether the chain of decisions is shown for tests that pass too.
    pub(super) details: bool,
    /// The least part of all routes that tests have to take, in percent.
    pub(super) fail_under: Option<u8>,
}

/// Runs the tests against the first of the tables that has a virtual host for the request; whether
/// all pass.
pub(super) fn run(
    tests: &RouteTests,
    routings: &[Routing],
    options: Options,
    paint: Paint,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut failed = 0;
    let mut taken = HashSet::new();
    for test in &tests.tests {
        let asked = match Asked::of_test(&test.input) {
            Ok(asked) => asked,
            Err(error) => {
                failed += 1;
                let name = &test.test_name;
                writeln!(out, "{} {name}\n    {error:#}", paint.bad("FAIL"))?;
                continue;
            }
        };
        let answers = routings.iter().enumerate();
        let mut answers = answers.map(|(index, routing)| (index, answer(&asked, routing)));
        let Some(first) = answers.next() else {
            continue;
        };
        let (index, answer) = if first.1.host.is_some() {
            first
        } else {
            answers
                .find(|(_, answer)| answer.host.is_some())
                .unwrap_or(first)
        };
        if let (Some(host), Some((route, _))) = (&answer.host, answer.route) {
            taken.insert((index, host.index, route));
        }
        let wrong = compare(test, &answer);
        let verdict = if wrong.is_empty() {
            paint.good("pass")
        } else {
            failed += 1;
            paint.bad("FAIL")
        };
        writeln!(out, "{verdict} {}", test.test_name)?;
        for line in &wrong {
            writeln!(out, "    {line}")?;
        }
        if (options.details || !wrong.is_empty())
            && let Some(routing) = routings.get(index)
        {
            writeln!(out, "  {asked}")?;
            let answer = &answer;
            let asked = &asked;
            write!(
                out,
                "{}",
                Shown {
                    answer,
                    routing,
                    asked,
                    is_changed: false,
                    paint
                }
            )?;
        }
    }
    let count = tests.tests.len();
    let passed = format!("{} of {count} tests passed", count - failed);
    let covered = coverage(routings, &taken, options, paint, out)?;
    writeln!(
        out,
        "{}",
        if failed == 0 {
            paint.good(&passed)
        } else {
            paint.bad(&passed)
        }
    )?;
    Ok(failed == 0 && covered)
}

/// Tells how many of the routes were taken; whether they are enough.
fn coverage(
    routings: &[Routing],
    taken: &HashSet<(usize, usize, usize)>,
    options: Options,
    paint: Paint,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut total = 0_usize;
    for (table, routing) in routings.iter().enumerate() {
        for (host, written) in routing.written.virtual_hosts.iter().enumerate() {
            for route in 0..written.routes.len() {
                total += 1;
                if options.details && !taken.contains(&(table, host, route)) {
                    let line = routing.lines.get(host).and_then(|lines| *lines.get(route)?);
                    let line = line.map(|line| format!(" (line {line})"));
                    let text = format!(
                        "no test takes routes[{route}]{} of virtual host {}",
                        line.unwrap_or_default(),
                        quoted(&written.name)
                    );
                    writeln!(out, "{}", paint.dim(&text))?;
                }
            }
        }
    }
    let percent = (taken.len() * 100).checked_div(total).unwrap_or(100);
    let text = format!(
        "{} of {total} routes are taken by a test ({percent} %)",
        taken.len()
    );
    let enough = options
        .fail_under
        .is_none_or(|least| percent >= usize::from(least));
    if enough {
        writeln!(out, "{text}")?;
    } else {
        let least = options.fail_under.unwrap_or_default();
        writeln!(
            out,
            "{}",
            paint.bad(&format!("{text}, which is less than {least} %"))
        )?;
    }
    Ok(enough)
}

/// What is otherwise than expected.
fn compare(test: &RouteTest, answer: &Answer<'_>) -> Vec<String> {
    let RouteTestExpectation {
        cluster_name,
        virtual_host_name,
        route_name,
        host_rewrite,
        path_rewrite,
        path_redirect,
        status,
        request_header_matches,
        response_header_matches,
    } = &test.validate;
    let cluster = match &answer.outcome {
        Outcome::Forward { cluster, .. } => cluster.as_str(),
        _ => "",
    };
    let location = match &answer.outcome {
        Outcome::Redirect { location, .. } => location.as_str(),
        _ => "",
    };
    let found_status = match &answer.outcome {
        Outcome::Redirect { status, .. } | Outcome::Direct { status, .. } => u32::from(*status),
        Outcome::NoRoute | Outcome::NoWeight => 404,
        Outcome::Forward { .. } => 0,
    };
    let host = answer.host.as_ref().map_or("", |host| &host.written.name);
    let route = answer.route.and_then(|(_, route)| route);
    let route = route.map_or("", |route| &route.name);
    let part = |known| lossy(answer.request.known(known).unwrap_or_default());
    let mut wrong = Vec::new();
    for (what, expected, found) in [
        ("cluster_name", cluster_name, cluster),
        ("virtual_host_name", virtual_host_name, host),
        ("route_name", route_name, route),
        ("host_rewrite", host_rewrite, &part(Known::Authority)),
        ("path_rewrite", path_rewrite, &part(Known::Path)),
        ("path_redirect", path_redirect, location),
    ] {
        if let Some(expected) = expected
            && expected != found
        {
            let (expected, found) = (quoted(expected), quoted(found));
            wrong.push(format!("{what}: expected {expected}, found {found}"));
        }
    }
    if let Some(expected) = status
        && *expected != found_status
    {
        wrong.push(format!("status: expected {expected}, found {found_status}"));
    }
    for (what, expected, head) in [
        (
            "request_header_matches",
            request_header_matches,
            &answer.request,
        ),
        (
            "response_header_matches",
            response_header_matches,
            &answer.response,
        ),
    ] {
        wrong.extend(
            expected
                .iter()
                .filter_map(|matcher| unmet(what, matcher, head)),
        );
    }
    wrong
}

/// What is wrong with a head, if anything is.
fn unmet(what: &str, written: &WrittenMatcher, head: &Headers) -> Option<String> {
    let text = flow(written);
    match HeaderCondition::new(&header_spec(written)) {
        Ok(matcher) if matcher.matches(head) => None,
        Ok(_) => Some(format!("{what}: {text} does not match")),
        Err(errors) => {
            let problems = errors
                .iter()
                .map(|error| format!("{}: {}", error.path, error.problem));
            let problems: Vec<_> = problems.collect();
            Some(format!(
                "{what}: {text} cannot be used: {}",
                problems.join("; ")
            ))
        }
    }
}
