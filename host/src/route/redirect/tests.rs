//! Locations of redirects, by tables and for any request.

use proptest::prelude::*;

use super::super::action::Action;
use super::super::facts::Facts;
use super::super::spec::{ActionSpec, MatchSpec, PathSpec, RegexRewriteSpec};
use super::super::testing::{
    exchange, prefix, problems, request, route, table, table_spec, virtual_host,
};
use super::*;

const HOSTS: [&str; 11] = [
    "a.com",
    "a.com:80",
    "a.com:443",
    "a.com:8080",
    "[::1]",
    "[::1]:80",
    "[::1]:443",
    "[::1]:8080",
    "A.com:8443",
    "a.com:",
    "1.2.3.4:80",
];

/// The location for a request that came by `scheme`, and the request's path and original path
/// afterwards.
fn redirected(
    matches: MatchSpec,
    spec: RedirectSpec,
    scheme: &str,
    host: &str,
    target: &str,
) -> (String, String) {
    let table = table(vec![route(matches, ActionSpec::Redirect(spec))]);
    let fields = [(":scheme", scheme), ("x-forwarded-proto", scheme)];
    let mut exchange = exchange(request(host, target, &fields));
    let route = table.find(&Facts::of(&exchange, 0)).unwrap();
    let Action::Redirect(redirect) = &route.action else {
        panic!("{route:?}");
    };
    let mut location = Vec::new();
    let mut scratch = Scratch::default();
    redirect.apply(
        &mut exchange,
        EnvoyHeaders::Add,
        &mut scratch,
        &mut location,
    );
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let path = exchange.request.known(Known::Path).unwrap();
    let original = exchange
        .request
        .known(Known::XEnvoyOriginalPath)
        .unwrap_or_default();
    (
        text(&location),
        format!("{} {}", text(path), text(original)),
    )
}

fn location(spec: RedirectSpec, scheme: &str, host: &str, target: &str) -> String {
    redirected(prefix("/"), spec, scheme, host, target).0
}

fn scheme(scheme: &str) -> RedirectSpec {
    RedirectSpec {
        scheme: SchemeSpec::Named(scheme.to_owned()),
        ..RedirectSpec::default()
    }
}

fn https() -> RedirectSpec {
    RedirectSpec {
        scheme: SchemeSpec::Https,
        ..RedirectSpec::default()
    }
}

#[test]
fn a_default_port_goes_when_the_scheme_changes() {
    for host in HOSTS {
        let without = |port| host.strip_suffix(port).unwrap_or(host);
        for (spec, old, expected) in [
            (https(), "http", format!("https://{}/p?q=1", without(":80"))),
            (https(), "https", format!("https://{host}/p?q=1")),
            (
                scheme("http"),
                "https",
                format!("http://{}/p?q=1", without(":443")),
            ),
            (scheme("http"), "http", format!("http://{host}/p?q=1")),
            (
                scheme("HTTPS"),
                "http",
                format!("HTTPS://{}/p?q=1", without(":80")),
            ),
            (
                scheme("ftp"),
                "http",
                format!("ftp://{}/p?q=1", without(":80")),
            ),
            (
                RedirectSpec::default(),
                "http",
                format!("http://{host}/p?q=1"),
            ),
        ] {
            assert_eq!(
                location(spec, old, host, "/p?q=1"),
                expected,
                "{old} {host}"
            );
        }
    }
}

#[test]
fn a_port_takes_the_place_of_the_old_one() {
    for host in HOSTS {
        let bare = match host {
            "a.com:" => "a.com",
            other if other.ends_with(']') => other,
            other => other.rsplit_once(':').map_or(other, |(bare, _)| bare),
        };
        for (spec, port, expected) in [
            (
                RedirectSpec::default(),
                9000,
                format!("http://{bare}:9000/p"),
            ),
            (RedirectSpec::default(), 80, format!("http://{bare}:80/p")),
            (https(), 443, format!("https://{bare}:443/p")),
            (https(), 80, format!("https://{bare}:80/p")),
        ] {
            let spec = RedirectSpec {
                port: Some(port),
                ..spec
            };
            assert_eq!(location(spec, "http", host, "/p"), expected);
        }
    }
}

#[test]
fn a_host_takes_the_place_of_host_and_port() {
    let host = |host: &str| RedirectSpec {
        host: host.to_owned(),
        ..RedirectSpec::default()
    };
    let secure = |host: &str| RedirectSpec {
        host: host.to_owned(),
        ..https()
    };
    for old in HOSTS {
        assert_eq!(
            location(host("b.com"), "http", old, "/p?q"),
            "http://b.com/p?q"
        );
        assert_eq!(
            location(host("b.com:99"), "http", old, "/p?q"),
            "http://b.com:99/p?q"
        );
        assert_eq!(
            location(secure("b.com:80"), "http", old, "/p"),
            "https://b.com:80/p"
        );
    }
    let both = RedirectSpec {
        port: Some(1),
        ..host("b.com:99")
    };
    assert_eq!(
        location(both, "http", "a.com:7", "/p"),
        "http://b.com:99:1/p"
    );
}

#[test]
fn a_path_takes_the_place_of_the_old_one() {
    for (path, strip_query, target, expected) in [
        ("/n", false, "/p?q=1", "/n?q=1"),
        ("/n", false, "/p", "/n"),
        ("/n", false, "/p?", "/n?"),
        ("/n", true, "/p?q=1", "/n"),
        ("/n?z=2", false, "/p?q=1", "/n?z=2"),
        ("/n?z=2", true, "/p?q=1", "/n?z=2"),
        ("/n?", false, "/p?q=1", "/n?"),
        ("/n#frag", false, "/p?q=1", "/n#frag?q=1"),
        ("/n#frag", false, "/p", "/n#frag"),
        ("n", false, "/p?q=1", "/n?q=1"),
        ("", false, "/p?q=1", "/p?q=1"),
        ("", true, "/p?q=1", "/p"),
        ("", true, "/p?", "/p"),
        ("", true, "/p", "/p"),
    ] {
        let spec = RedirectSpec {
            path: RedirectPathSpec::Path(path.to_owned()),
            strip_query,
            ..RedirectSpec::default()
        };
        let (location, request) = redirected(prefix("/"), spec, "http", "a:80", target);
        assert_eq!(
            location,
            format!("http://a:80{expected}"),
            "{path} on {target}"
        );
        assert_eq!(request, format!("{target} "), "the request stays as it is");
    }
}

#[test]
fn a_rewrite_changes_the_request_too() {
    let path = |path: &str| MatchSpec::path(PathSpec::Path(path.to_owned()));
    let swap = |path: &str| RedirectPathSpec::Prefix(path.to_owned());
    let regex = |pattern: &str, substitution: &str| {
        RedirectPathSpec::Regex(RegexRewriteSpec {
            pattern: pattern.to_owned(),
            substitution: substitution.to_owned(),
        })
    };
    for (matches, rewrite, strip_query, target, expected, then) in [
        (
            prefix("/pre"),
            swap("/new"),
            false,
            "/pre/x?q=1",
            "/new/x?q=1",
            "/new/x?q=1",
        ),
        (
            prefix("/pre"),
            swap("/new"),
            true,
            "/pre/x?q=1",
            "/new/x",
            "/new/x?q=1",
        ),
        (
            prefix("/pre"),
            swap("/"),
            false,
            "/pre/x?q=1",
            "//x?q=1",
            "//x?q=1",
        ),
        (
            prefix("/pre"),
            swap("new"),
            false,
            "/pre/x?q=1",
            "/new/x?q=1",
            "new/x?q=1",
        ),
        (
            path("/pre"),
            swap("/new"),
            false,
            "/pre?q=1",
            "/new?q=1",
            "/new?q=1",
        ),
        (
            prefix("/"),
            regex("o", "0"),
            false,
            "/foo/oo?q=o",
            "/f00/00?q=o",
            "/f00/00?q=o",
        ),
        (
            prefix("/"),
            regex("o", "0"),
            true,
            "/foo/oo?q=o",
            "/f00/00",
            "/f00/00?q=o",
        ),
        (prefix("/"), regex("z", "0"), false, "/1", "/1", "/1"),
    ] {
        let spec = RedirectSpec {
            path: rewrite,
            strip_query,
            ..RedirectSpec::default()
        };
        let (location, request) = redirected(matches, spec, "http", "a", target);
        assert_eq!(location, format!("http://a{expected}"));
        assert_eq!(request, format!("{then} {target}"));
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let specs = [
        RedirectSpec {
            host: "a\nb".to_owned(),
            status: 300,
            ..scheme("a\rb")
        },
        RedirectSpec {
            path: RedirectPathSpec::Path("/\0".to_owned()),
            ..RedirectSpec::default()
        },
        RedirectSpec {
            path: RedirectPathSpec::Prefix("\n".to_owned()),
            ..RedirectSpec::default()
        },
    ];
    let routes = specs
        .into_iter()
        .map(|spec| route(prefix("/"), ActionSpec::Redirect(spec)))
        .collect();
    let found = problems(&table_spec(vec![virtual_host("v", &["*"], routes)]));
    let expected = [
        "0].redirect.scheme_redirect: must not have the byte 0x0d",
        "0].redirect.host_redirect: must not have the byte 0x0a",
        "0].redirect.response_code: status 300 is not one of 301, 302, 303, 307 and 308",
        "1].redirect.path_redirect: must not have the byte 0x00",
        "2].redirect.prefix_rewrite: must not have the byte 0x0a",
    ];
    assert_eq!(
        found,
        expected.map(|problem| format!("virtual_hosts[0].routes[{problem}"))
    );
}

proptest! {
    #[test]
    fn a_host_is_split_without_loss(host in proptest::collection::vec(any::<u8>(), 0..20)) {
        let (name, port) = split_port(&host);
        prop_assert_eq!([name, port].concat(), host.clone());
        prop_assert!(port.is_empty() || port.starts_with(b":"));
    }

    #[test]
    fn never_panics(
        host in proptest::collection::vec(any::<u8>(), 0..20),
        target in proptest::collection::vec(any::<u8>(), 0..20),
        strip_query in any::<bool>(),
    ) {
        let mut head = Headers::new();
        head.append_known(Known::Authority, &host);
        head.append_known(Known::Path, &target);
        let redirect = Redirect { strip_query, ..Redirect::to_https() };
        let mut location = Vec::new();
        redirect.apply(&mut exchange(head), EnvoyHeaders::Add, &mut Scratch::default(), &mut location);
        prop_assert!(location.starts_with(b"https://"));
    }
}
