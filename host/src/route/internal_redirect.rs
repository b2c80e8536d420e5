//! Internal redirects: which responses are followed by the proxy itself, and where they lead.
//!
//! Owns `internal_redirect_policy` of a route and the reading of `location`; pure. Called by `http`
//! with the head of a response. Does not own the request that follows.

use std::net::Ipv6Addr;
use std::sync::Arc;

use super::error::{Problem, Report};
use super::spec::{InternalRedirectSpec, RedirectPredicateSpec};
use crate::headers::Name;

/// `max_internal_redirects` where it is not set.
const MAX_REDIRECTS: u32 = 1;
/// The statuses that may be followed.
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// `InternalRedirectPolicy`. Immutable.
#[derive(Clone, Debug)]
pub struct InternalRedirects {
    max: u32,
    statuses: Box<[u16]>,
    predicates: Box<[Predicate]>,
    allow_cross_scheme: bool,
    /// Fields of the response that the next request gets, or loses where the response has none.
    pub copied_headers: Box<[Name]>,
}

/// What a target has to be.
#[derive(Clone, Debug)]
enum Predicate {
    /// The target's route is one of these.
    AllowListedRoutes(Box<[String]>),
    /// The target's route was not followed to from this route before.
    PreviousRoutes,
    /// Not from `http` to `https`.
    SafeCrossScheme,
}

/// Why a redirect is not followed, and so passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFollowed {
    /// `location` is not there, or no absolute URL of a host.
    BadLocation,
    /// It leads to another scheme, or to one that is neither `http` nor `https`.
    UnsafeScheme,
    /// There were as many as there may be.
    TooMany,
    /// A predicate says no.
    Predicate,
    /// No route matches the target.
    NoRoute,
}

/// Routes of a request that was redirected: from which to which.
pub type Followed = Vec<(Option<Arc<str>>, Option<Arc<str>>)>;

/// Where a redirect leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// Whether it is `https`.
    pub https: bool,
    /// Host, with a port where it says one.
    pub host: &'a [u8],
    /// Path and query; may be empty or begin with `?`.
    target: &'a [u8],
}

impl<'a> Location<'a> {
    /// Reads the value of `location`: an absolute URL.
    ///
    /// # Errors
    /// When it is none, or none of `http` or `https`.
    pub fn parse(value: &'a [u8]) -> Result<Self, NotFollowed> {
        let (scheme, host, target) = parts(value).ok_or(NotFollowed::BadLocation)?;
        let https = scheme.eq_ignore_ascii_case(b"https");
        if !https && !scheme.eq_ignore_ascii_case(b"http") {
            return Err(NotFollowed::UnsafeScheme);
        }
        Ok(Self {
            https,
            host,
            target,
        })
    }

    /// The path and query of the request that follows.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        match self.target.first() {
            Some(b'/') => self.target.to_vec(),
            _ => [b"/", self.target].concat(),
        }
    }
}

/// Scheme, host, and path with query of an absolute URL.
fn parts(url: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let colon = url.windows(3).position(|window| window == b"://")?;
    let (scheme, rest) = (url.get(..colon)?, url.get(colon + 3..)?);
    let of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    if !scheme.first()?.is_ascii_alphabetic() || !scheme.iter().all(of_scheme) {
        return None;
    }
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let (authority, target) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
    if !target.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let fragment = target.iter().position(|byte| *byte == b'#');
    let target = target.get(..fragment.unwrap_or(target.len()))?;
    Some((scheme, host_of(authority)?, target))
}

/// The host and port of an authority, without a user: a name, or an address, of which a request can be
/// made.
fn host_of(authority: &[u8]) -> Option<&[u8]> {
    let at = authority.iter().rposition(|byte| *byte == b'@');
    let (user, host) = match at {
        Some(at) => authority.split_at_checked(at + 1)?,
        None => (&[][..], authority),
    };
    let (is_name, port) = match host.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b']')?;
            let address = std::str::from_utf8(rest.get(..end)?).ok()?;
            (address.parse::<Ipv6Addr>().is_ok(), rest.get(end + 1..)?)
        }
        None => {
            let colon = host.iter().position(|byte| *byte == b':');
            let (name, port) = host.split_at_checked(colon.unwrap_or(host.len()))?;
            let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
            (!name.is_empty() && name.iter().all(of_name), port)
        }
    };
    let is_port = port.strip_prefix(b":").is_some_and(|digits| {
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    });
    (is_name && user.is_ascii() && (port.is_empty() || is_port)).then_some(host)
}

impl InternalRedirects {
    pub(super) fn build(spec: &InternalRedirectSpec, report: &mut Report) -> Option<Self> {
        let statuses = spec.statuses.iter();
        let statuses: Box<[u16]> = statuses
            .filter_map(|status| u16::try_from(*status).ok())
            .filter(|status| STATUSES.contains(status))
            .collect();
        let predicates = spec.predicates.iter();
        let predicates = predicates.map(|predicate| match predicate {
            RedirectPredicateSpec::AllowListedRoutes(names) => {
                Predicate::AllowListedRoutes(names.clone().into())
            }
            RedirectPredicateSpec::PreviousRoutes => Predicate::PreviousRoutes,
            RedirectPredicateSpec::SafeCrossScheme => Predicate::SafeCrossScheme,
        });
        Some(Self {
            max: spec.max_redirects.unwrap_or(MAX_REDIRECTS),
            statuses: if spec.statuses.is_empty() {
                Box::new([302])
            } else {
                statuses
            },
            predicates: predicates.collect(),
            allow_cross_scheme: spec.allow_cross_scheme,
            copied_headers: report.items(
                "response_headers_to_copy",
                &spec.copied_headers,
                |report, name| {
                    let is_host = name.eq_ignore_ascii_case("host");
                    if is_host || name.starts_with(':') {
                        return report.error(Problem::PseudoHeader);
                    }
                    report.take(Name::parse(name.as_bytes()).map_err(Problem::HeaderName))
                },
            ),
        })
    }

    /// Whether a response of that status is one to follow.
    #[must_use]
    pub fn follows(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    /// Whether a redirect may leave for that location, after `followed` others.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_leave<'a>(
        &self,
        location: Option<&'a [u8]>,
        https: bool,
        followed: usize,
    ) -> Result<Location<'a>, NotFollowed> {
        let location = Location::parse(location.ok_or(NotFollowed::BadLocation)?)?;
        if !self.allow_cross_scheme && location.https != https {
            return Err(NotFollowed::UnsafeScheme);
        }
        if followed >= self.max as usize {
            return Err(NotFollowed::TooMany);
        }
        Ok(location)
    }

    /// Whether a redirect may arrive at the route called `target`, from the one called `from`.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_arrive(
        &self,
        from: Option<&Arc<str>>,
        target: Option<&Arc<str>>,
        (from_https, to_https): (bool, bool),
        followed: &Followed,
    ) -> Result<(), NotFollowed> {
        let accepts = |predicate: &Predicate| match predicate {
            Predicate::AllowListedRoutes(names) => {
                target.is_some_and(|target| names.iter().any(|name| **name == **target))
            }
            Predicate::PreviousRoutes => !followed
                .iter()
                .any(|(before, to)| before.as_ref() == from && to.as_ref() == target),
            Predicate::SafeCrossScheme => from_https || !to_https,
        };
        if self.predicates.iter().all(accepts) {
            Ok(())
        } else {
            Err(NotFollowed::Predicate)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(spec: &InternalRedirectSpec) -> InternalRedirects {
        let mut report = Report::default();
        let built = InternalRedirects::build(spec, &mut report).unwrap();
        report.finish(built).unwrap()
    }

    #[test]
    fn locations_are_absolute_urls() {
        let table = [
            ("http://a.example/p?q=1", Ok((false, "a.example", "/p?q=1"))),
            ("HTTPS://a.example:8443", Ok((true, "a.example:8443", "/"))),
            ("http://a.example?q", Ok((false, "a.example", "/?q"))),
            ("http://a.example/p#f", Ok((false, "a.example", "/p"))),
            ("http://[::1]:80/p", Ok((false, "[::1]:80", "/p"))),
            ("/p", Err(NotFollowed::BadLocation)),
            ("", Err(NotFollowed::BadLocation)),
            ("ftp://a.example/", Err(NotFollowed::UnsafeScheme)),
            ("http:///p", Err(NotFollowed::BadLocation)),
            ("http://u:p@a.example/", Ok((false, "a.example", "/"))),
            ("http://A-1.b.:00080/x", Ok((false, "A-1.b.:00080", "/x"))),
            ("http://a/<x>\"", Ok((false, "a", "/<x>\""))),
            ("http://a b/p", Err(NotFollowed::BadLocation)),
            ("http://a%20b/", Err(NotFollowed::BadLocation)),
            ("http://a_b/", Err(NotFollowed::BadLocation)),
            ("http://é/", Err(NotFollowed::BadLocation)),
            ("http://*/", Err(NotFollowed::BadLocation)),
            ("http://a:/", Err(NotFollowed::BadLocation)),
            ("http://a:+1/", Err(NotFollowed::BadLocation)),
            ("http://a:65536/", Err(NotFollowed::BadLocation)),
            ("http://a:065536/", Err(NotFollowed::BadLocation)),
            ("http://a:80:80/", Err(NotFollowed::BadLocation)),
            ("http://u@/", Err(NotFollowed::BadLocation)),
            ("http://[::1/", Err(NotFollowed::BadLocation)),
            ("http://[zz]/", Err(NotFollowed::BadLocation)),
            ("http://[::1]x/", Err(NotFollowed::BadLocation)),
            ("http://a]/", Err(NotFollowed::BadLocation)),
            ("http://a/p q", Err(NotFollowed::BadLocation)),
            ("http://a/é", Err(NotFollowed::BadLocation)),
            ("1http://a.example/p", Err(NotFollowed::BadLocation)),
            ("//a.example/p", Err(NotFollowed::BadLocation)),
        ];
        for (value, expected) in table {
            let location = Location::parse(value.as_bytes());
            let found = location.map(|l| (l.https, l.host.to_vec(), l.path()));
            let expected = expected.map(|(https, host, path)| {
                (https, host.as_bytes().to_vec(), path.as_bytes().to_vec())
            });
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn only_the_listed_statuses_are_followed() {
        let default = policy(&InternalRedirectSpec::default());
        let listed = policy(&InternalRedirectSpec {
            statuses: vec![303, 308, 200, 70_000],
            ..InternalRedirectSpec::default()
        });
        let followed = |policy: &InternalRedirects| {
            let all = (100..600).filter(|status| policy.follows(*status));
            all.collect::<Vec<u16>>()
        };
        assert_eq!(followed(&default), [302]);
        assert_eq!(followed(&listed), [303, 308]);
    }

    #[test]
    fn scheme_number_and_predicates_keep_a_request_from_leaving() {
        let strict = policy(&InternalRedirectSpec::default());
        let leaves = |policy: &InternalRedirects, to: &'static str, https, followed| {
            policy.may_leave(Some(to.as_bytes()), https, followed).err()
        };
        assert_eq!(leaves(&strict, "http://a/", false, 0), None);
        let unsafe_scheme = Some(NotFollowed::UnsafeScheme);
        assert_eq!(leaves(&strict, "https://a/", false, 0), unsafe_scheme);
        assert_eq!(leaves(&strict, "http://a/", true, 0), unsafe_scheme);
        assert_eq!(
            leaves(&strict, "http://a/", false, 1),
            Some(NotFollowed::TooMany)
        );
        assert_eq!(
            leaves(&strict, "/p", false, 0),
            Some(NotFollowed::BadLocation)
        );
        assert_eq!(
            strict.may_leave(None, false, 0),
            Err(NotFollowed::BadLocation)
        );
        let wide = policy(&InternalRedirectSpec {
            max_redirects: Some(3),
            allow_cross_scheme: true,
            predicates: vec![
                RedirectPredicateSpec::AllowListedRoutes(vec!["b".into(), "c".into()]),
                RedirectPredicateSpec::PreviousRoutes,
                RedirectPredicateSpec::SafeCrossScheme,
            ],
            ..InternalRedirectSpec::default()
        });
        assert_eq!(leaves(&wide, "https://a/", false, 2), None);
        let name = |text: &str| Some(Arc::<str>::from(text));
        let followed = vec![(name("a"), name("b"))];
        let arrives = |to: &str, schemes| {
            wide.may_arrive(name("a").as_ref(), name(to).as_ref(), schemes, &followed)
        };
        let refused = Err(NotFollowed::Predicate);
        assert_eq!(arrives("c", (false, false)), Ok(()));
        assert_eq!(arrives("b", (false, false)), refused, "followed before");
        assert_eq!(arrives("d", (false, false)), refused, "not listed");
        assert_eq!(arrives("c", (false, true)), refused, "to https");
        assert_eq!(arrives("c", (true, false)), Ok(()));
    }
}
