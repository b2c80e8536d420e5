//! What routes match: `envoy.config.route.v3.RouteMatch` to [`MatchSpec`].

use std::sync::Arc;

use super::Workshop;
use crate::config::Place;
use crate::config::header::{HeaderMatchSpecifier, HeaderMatcher};
use crate::config::matcher::{
    DoublePattern, MatchPattern, StringMatcher, ValueMatcher, ValuePattern,
};
use crate::config::route::{
    CookieMatcher, FilterStateMatch, FilterStateMatcher, MetadataMatcher, MetadataSegment,
    PathMatchConfig, PathSpecifier, QueryParameterMatchSpecifier, QueryParameterMatcher,
    RouteMatch,
};
use crate::config::scalar::RuntimeFractionalPercent;
use crate::route::spec::{
    CookieMatchSpec, FilterStateSpec, HeaderMatchSpec, HeaderTestSpec, MatchSpec,
    MetadataMatchSpec, PathSpec, QueryMatchSpec, QueryTestSpec, StringMatchSpec, StringPatternSpec,
    TlsMatchSpec, ValueMatchSpec,
};
use crate::values::{Fraction, Share, Values};

impl Workshop<'_> {
    /// Warns about what has no effect.
    pub(super) fn check_match(&mut self, written: &RouteMatch, place: Place<'_>) {
        let kind = match written.path {
            PathSpecifier::SafeRegex(_) => "'safe_regex', which has '(?i)'",
            PathSpecifier::PathMatchPolicy(_) => "'path_match_policy'",
            PathSpecifier::ConnectMatcher(_) => "'connect_matcher'",
            PathSpecifier::Prefix(_)
            | PathSpecifier::Path(_)
            | PathSpecifier::PathSeparatedPrefix(_) => return,
        };
        if written.case_sensitive == Some(false) {
            let message = format!("'case_sensitive' has no effect on {kind}");
            self.diagnostics
                .warning(place.field("case_sensitive"), message);
        }
    }
}

/// `values` are what runtime keys are looked up in.
pub(super) fn matches(written: &RouteMatch, values: &Arc<Values>) -> MatchSpec {
    let path = match &written.path {
        PathSpecifier::Prefix(text) => PathSpec::Prefix(text.clone()),
        PathSpecifier::Path(text) => PathSpec::Path(text.clone()),
        PathSpecifier::SafeRegex(regex) => PathSpec::SafeRegex(regex.regex.clone()),
        PathSpecifier::PathSeparatedPrefix(text) => PathSpec::PathSeparatedPrefix(text.clone()),
        PathSpecifier::PathMatchPolicy(policy) => {
            let PathMatchConfig::UriTemplate(template) = &policy.typed_config;
            PathSpec::Template(template.path_template.clone())
        }
        PathSpecifier::ConnectMatcher(_) => PathSpec::Connect,
    };
    MatchSpec {
        case_sensitive: written.case_sensitive.unwrap_or(true),
        headers: written.headers.iter().map(header).collect(),
        query_parameters: written
            .query_parameters
            .iter()
            .map(query_parameter)
            .collect(),
        grpc: written.grpc.is_some(),
        runtime_fraction: written
            .runtime_fraction
            .as_ref()
            .map(|written| fraction(written, values)),
        cookies: written.cookies.iter().map(cookie).collect(),
        tls_context: written.tls_context.map(|wanted| TlsMatchSpec {
            presented: wanted.presented,
            validated: wanted.validated,
        }),
        dynamic_metadata: written.dynamic_metadata.iter().map(metadata).collect(),
        filter_state: written.filter_state.iter().map(filter_state).collect(),
        ..MatchSpec::path(path)
    }
}

pub(super) fn fraction(written: &RuntimeFractionalPercent, values: &Arc<Values>) -> Fraction {
    let default = written.default_value;
    let share = Share::of(default.numerator, default.denominator.get());
    Fraction::new(share, values, &written.runtime_key)
}

fn cookie(written: &CookieMatcher) -> CookieMatchSpec {
    CookieMatchSpec {
        name: written.name.clone(),
        string: string(&written.string_match),
        invert_match: written.invert_match,
    }
}

fn filter_state(written: &FilterStateMatcher) -> FilterStateSpec {
    let FilterStateMatch::StringMatch(matcher) = &written.matcher;
    FilterStateSpec {
        key: written.key.clone(),
        string: string(matcher),
    }
}

pub(super) fn metadata(written: &MetadataMatcher) -> MetadataMatchSpec {
    let steps = written.path.iter();
    MetadataMatchSpec {
        filter: written.filter.clone(),
        path: steps
            .map(|step| {
                let MetadataSegment::Key(key) = &step.segment;
                key.clone()
            })
            .collect(),
        value: value(&written.value),
        invert: written.invert,
    }
}

fn value(written: &ValueMatcher) -> ValueMatchSpec {
    match &written.pattern {
        ValuePattern::PresentMatch(present) => ValueMatchSpec::Present(*present),
        ValuePattern::StringMatch(matcher) => ValueMatchSpec::String(string(matcher)),
        ValuePattern::BoolMatch(wanted) => ValueMatchSpec::Bool(*wanted),
        ValuePattern::OrMatch(any) => {
            ValueMatchSpec::Any(any.value_matchers.iter().map(value).collect())
        }
        ValuePattern::DoubleMatch(number) => match number.pattern {
            DoublePattern::Exact(number) => ValueMatchSpec::Number(number),
            DoublePattern::Range(range) => ValueMatchSpec::Range {
                start: range.start,
                end: range.end,
            },
        },
    }
}

/// What a header has to be.
pub(crate) fn header(written: &HeaderMatcher) -> HeaderMatchSpec {
    use HeaderMatchSpecifier as Written;
    let legacy = HeaderTestSpec::Legacy;
    let test = match &written.specifier {
        None => HeaderTestSpec::Present(true),
        Some(Written::PresentMatch(present)) => HeaderTestSpec::Present(*present),
        Some(Written::StringMatch(matcher)) => HeaderTestSpec::String(string(matcher)),
        Some(Written::ExactMatch(text)) => legacy(StringPatternSpec::Exact(text.clone())),
        Some(Written::PrefixMatch(text)) => legacy(StringPatternSpec::Prefix(text.clone())),
        Some(Written::SuffixMatch(text)) => legacy(StringPatternSpec::Suffix(text.clone())),
        Some(Written::ContainsMatch(text)) => legacy(StringPatternSpec::Contains(text.clone())),
        Some(Written::SafeRegexMatch(regex)) => {
            legacy(StringPatternSpec::SafeRegex(regex.regex.clone()))
        }
        Some(Written::RangeMatch(range)) => HeaderTestSpec::Range {
            start: range.start,
            end: range.end,
        },
    };
    HeaderMatchSpec {
        name: written.name.clone(),
        test,
        invert_match: written.invert_match,
        treat_missing_header_as_empty: written.treat_missing_header_as_empty,
    }
}

fn query_parameter(written: &QueryParameterMatcher) -> QueryMatchSpec {
    use QueryParameterMatchSpecifier as Written;
    let test = match &written.specifier {
        None => QueryTestSpec::Present(true),
        Some(Written::PresentMatch(present)) => QueryTestSpec::Present(*present),
        Some(Written::StringMatch(matcher)) => QueryTestSpec::String(string(matcher)),
    };
    QueryMatchSpec {
        name: written.name.clone(),
        test,
    }
}

pub(super) fn string(written: &StringMatcher) -> StringMatchSpec {
    let pattern = match &written.pattern {
        MatchPattern::Exact(text) => StringPatternSpec::Exact(text.clone()),
        MatchPattern::Prefix(text) => StringPatternSpec::Prefix(text.clone()),
        MatchPattern::Suffix(text) => StringPatternSpec::Suffix(text.clone()),
        MatchPattern::Contains(text) => StringPatternSpec::Contains(text.clone()),
        MatchPattern::SafeRegex(regex) => StringPatternSpec::SafeRegex(regex.regex.clone()),
    };
    StringMatchSpec {
        pattern,
        ignore_case: written.ignore_case,
    }
}
