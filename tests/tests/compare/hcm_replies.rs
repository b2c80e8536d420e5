//! `local_reply_config` and the filters of access logs.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

use crate::hcm::{With, group, with};

const GRPC: &str = "Content-Type: application/grpc\r\n";

/// `local_reply_config`.
pub(crate) fn local_replies() -> Group {
    let listeners = [
        with(
            "listener",
            "local_reply_config:
  mappers:
  - filter: { status_code_filter: { comparison: { op: EQ, value: { default_value: 503, runtime_key: a } } } }
    status_code: 599
    headers_to_add:
    - header: { key: x-mapped, value: '%RESPONSE_CODE% %RESPONSE_FLAGS%' }
    - header: { key: x-both, value: one }
  - filter: { header_filter: { header: { name: x-want, string_match: { exact: json } } } }
    body: { inline_string: replaced }
    body_format_override:
      json_format: { text: '%LOCAL_REPLY_BODY%', code: '%RESPONSE_CODE%', path: '%REQ(:path)%', none: '%REQ(x-none)%' }
  - filter: { header_filter: { header: { name: x-want, string_match: { exact: body } } } }
    body: { inline_string: replaced }
  - filter: { header_filter: { header: { name: x-want, string_match: { exact: type } } } }
    status_code: 200
    headers_to_add:
    - header: { key: content-type, value: text/html }
      append_action: OVERWRITE_IF_EXISTS_OR_ADD
  - filter: { header_filter: { header: { name: x-want, string_match: { exact: html } } } }
    body_format_override: { text_format: '<p>%LOCAL_REPLY_BODY%</p>', content_type: 'text/html; charset=UTF-8' }
  - filter: { header_filter: { header: { name: x-want, string_match: { exact: nothing } } } }
    body: { inline_string: '' }
  - filter: { header_filter: { header: { name: x-want, string_match: { exact: grpc } } } }
    headers_to_add:
    - header: { key: grpc-status, value: '5' }
    - header: { key: content-length, value: '5' }",
        ),
        with(
            "formatted",
            "local_reply_config: { body_format: { text_format_source: { inline_string: 'LR %RESPONSE_CODE% %LOCAL_REPLY_BODY% %RESPONSE_CODE_DETAILS%' } } }",
        ),
        with(
            "object",
            "local_reply_config: { body_format: { json_format: { z: '%LOCAL_REPLY_BODY%', code: '%RESPONSE_CODE%', flags: '%RESPONSE_FLAGS%' } } }",
        ),
        with("empty", "local_reply_config: {}"),
    ];
    let wants = ["", "json", "body", "type", "html", "nothing", "grpc"];
    let mut cases = Vec::new();
    for want in wants {
        for path in [
            "/refused",
            "/direct",
            "/direct/400",
            "/direct/json",
            "/empty",
            "/away",
        ] {
            let head = format!("X-Want: {want}\r\n");
            cases.push(Case::get(&format!("{path} wants {want:?}"), path, &head));
        }
        let head = format!("X-Want: {want}\r\n{GRPC}");
        cases.push(Case::request(
            &format!("gRPC wants {want:?}"),
            "POST",
            "/direct/400",
            &head,
            "",
        ));
    }
    for listener in ["listener", "formatted", "object", "empty"] {
        for path in [
            "/refused",
            "/direct",
            "/direct/json",
            "/direct/text",
            "/empty",
            "/away",
        ] {
            cases.extend([
                Case::get(&format!("{listener} {path}"), path, "").at(listener),
                Case::request(&format!("{listener} HEAD {path}"), "HEAD", path, "", "")
                    .at(listener),
                Case::request(&format!("{listener} gRPC {path}"), "POST", path, GRPC, "")
                    .at(listener),
                Case::http2(
                    &format!("{listener} HTTP/2 {path}"),
                    H2Send::new("GET", path),
                )
                .at(listener),
            ]);
        }
        cases.extend([
            Case::http1(&format!("{listener} junk"), "JUNK\r\n\r\n").at(listener),
            Case::http1(
                &format!("{listener} without a host"),
                "GET / HTTP/1.1\r\n\r\n",
            )
            .at(listener),
            Case::http1(&format!("{listener} HTTP/1.0"), "GET / HTTP/1.0\r\n\r\n").at(listener),
            Case::get(
                &format!("{listener} too many fields"),
                "/up",
                &"x: 1\r\n".repeat(101),
            )
            .at(listener),
            Case::get(&format!("{listener} an upstream's"), "/up", "").at(listener),
        ]);
    }
    group("local replies as configured", &listeners, cases)
}

/// A listener whose log has that filter.
const fn logging(name: &'static str, log_filter: &'static str) -> With {
    With {
        name,
        options: "",
        log_filter,
    }
}

/// `access_log[].filter`.
pub(crate) fn log_filters() -> Group {
    let listeners = [
        logging(
            "listener",
            "filter: { status_code_filter: { comparison: { op: GE, value: { default_value: 400, runtime_key: a } } } }",
        ),
        logging(
            "at_most",
            "filter: { status_code_filter: { comparison: { op: LE, value: { default_value: 299, runtime_key: a } } } }",
        ),
        logging(
            "different",
            "filter: { status_code_filter: { comparison: { op: NE, value: { default_value: 200, runtime_key: a } } } }",
        ),
        logging(
            "quick",
            "filter: { duration_filter: { comparison: { op: GE, value: { default_value: 100000, runtime_key: a } } } }",
        ),
        logging(
            "slow",
            "filter: { duration_filter: { comparison: { op: LE, value: { default_value: 100000, runtime_key: a } } } }",
        ),
        logging("no_check", "filter: { not_health_check_filter: {} }"),
        logging("traced", "filter: { traceable_filter: {} }"),
        logging("none", "filter: { runtime_filter: { runtime_key: a } }"),
        logging(
            "all",
            "filter: { runtime_filter: { runtime_key: a, percent_sampled: { numerator: 100 } } }",
        ),
        logging(
            "some",
            "filter: { runtime_filter: { runtime_key: a, percent_sampled: { numerator: 50 } } }",
        ),
        logging(
            "both",
            "filter: { and_filter: { filters: [{ status_code_filter: { comparison: { op: GE, value: { default_value: 400, runtime_key: a } } } }, { header_filter: { header: { name: x-log } } }] } }",
        ),
        logging(
            "either",
            "filter: { or_filter: { filters: [{ status_code_filter: { comparison: { op: GE, value: { default_value: 400, runtime_key: a } } } }, { header_filter: { header: { name: x-log } } }] } }",
        ),
        logging(
            "header",
            "filter: { header_filter: { header: { name: x-log, string_match: { prefix: ye } } } }",
        ),
        logging("any_flag", "filter: { response_flag_filter: {} }"),
        logging(
            "one_flag",
            "filter: { response_flag_filter: { flags: [UF, NR] } }",
        ),
        logging(
            "other_flag",
            "filter: { response_flag_filter: { flags: [UO] } }",
        ),
        logging(
            "grpc",
            "filter: { grpc_status_filter: { statuses: [UNAVAILABLE, OK] } }",
        ),
        logging(
            "not_grpc",
            "filter: { grpc_status_filter: { statuses: [UNAVAILABLE], exclude: true } }",
        ),
        logging(
            "end",
            "filter: { log_type_filter: { types: [DownstreamEnd] } }",
        ),
        logging(
            "not_end",
            "filter: { log_type_filter: { types: [DownstreamEnd], exclude: true } }",
        ),
        logging(
            "start",
            "filter: { log_type_filter: { types: [DownstreamStart] } }",
        ),
    ];
    let mut cases = Vec::new();
    for listener in &listeners {
        let name = listener.name;
        if name != "some" {
            // Without an identifier of the client's chance decides.
            let refused = format!("{name}, gRPC refused");
            cases.extend([
                Case::get(&format!("{name}, served"), "/up", "").at(name),
                Case::get(&format!("{name}, refused"), "/refused", "").at(name),
                Case::request(&refused, "POST", "/refused", GRPC, "").at(name),
                Case::http1(&format!("{name}, junk"), "JUNK\r\n\r\n").at(name),
            ]);
        }
        for (what, field, id) in [("a field", "yes", "31"), ("another identifier", "no", "32")] {
            let head = format!(
                "X-Log: {field}\r\nX-Request-Id: 000000{id}-1111-4111-8111-111111111111\r\n"
            );
            cases.push(Case::get(&format!("{name}, served with {what}"), "/up", &head).at(name));
        }
    }
    group("log filters", &listeners, cases)
}
