//! TLS of clients: which handshakes are accepted, which certificate and protocol are chosen, what is
//! said of the client's certificate to upstreams and logs, and what is counted.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::tls::{Client, digest, key_digest, with_certificates};
use rustls::crypto::aws_lc_rs::{cipher_suite as suite, kx_group};
use rustls::version::{TLS12, TLS13};
use rustls::{SignatureScheme, SupportedCipherSuite};

/// What the access log says of a session.
const TLS_LOG: &str = "version %DOWNSTREAM_TLS_VERSION% cipher %DOWNSTREAM_TLS_CIPHER% \
    group %DOWNSTREAM_TLS_GROUP% subject %DOWNSTREAM_PEER_SUBJECT% issuer %DOWNSTREAM_PEER_ISSUER% \
    serial %DOWNSTREAM_PEER_SERIAL% sha256 %DOWNSTREAM_PEER_FINGERPRINT_256% \
    sha1 %DOWNSTREAM_PEER_FINGERPRINT_1% uri %DOWNSTREAM_PEER_URI_SAN% dns %DOWNSTREAM_PEER_DNS_SAN% \
    ip %DOWNSTREAM_PEER_IP_SAN% email %DOWNSTREAM_PEER_EMAIL_SAN% \
    from %DOWNSTREAM_PEER_CERT_V_START(%s)% to %DOWNSTREAM_PEER_CERT_V_END(%s)% \
    chain %DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256% serials %DOWNSTREAM_PEER_CHAIN_SERIALS% \
    certificate %DOWNSTREAM_PEER_CERT% own %DOWNSTREAM_LOCAL_SUBJECT% \
    uri %DOWNSTREAM_LOCAL_URI_SAN% dns %DOWNSTREAM_LOCAL_DNS_SAN%";

pub(crate) fn group() -> Group {
    let mut cases = choices();
    cases.extend(versions());
    cases.extend(protocols());
    cases.extend(clients());
    cases.extend(old_lists());
    cases.extend(forwarded());
    cases.extend(stapled());
    cases.extend(signed());
    cases.extend(streams());
    cases.extend(statistics());
    Group::new("tls", &with_certificates(&template()), cases)
}

const TRUSTED: &str = "trusted_ca: { filename: @CERTS@/ca.pem }";
const REQUIRED: &str = ", require_client_certificate: true";

fn certificates(names: &[&str]) -> String {
    let certificate = |name: &&str| {
        format!(
            "{{ certificate_chain: {{ filename: @CERTS@/{name}.pem }}, \
             private_key: {{ filename: @CERTS@/{name}.key }} }}"
        )
    };
    let all: Vec<String> = names.iter().map(certificate).collect();
    format!("tls_certificates: [{}]", all.join(", "))
}

/// A context that validates clients.
fn validated(fields: &str) -> String {
    let server = certificates(&["server"]);
    format!("{server}, validation_context: {{ {fields} }}")
}

fn template() -> String {
    let mut listeners = vec![plain("listener", &manager(""))];
    listeners.extend(of_servers());
    listeners.extend(of_clients());
    listeners.extend(of_checks());
    listeners.extend(of_staples());
    let proxy = "{ name: envoy.filters.network.tcp_proxy, typed_config: { \
        \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
        stat_prefix: bytes, cluster: origin } }";
    listeners.push(secure("bytes", &certificates(&["server"]), "", proxy));
    format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}\n\
         static_resources:\n  listeners:\n{}\n  clusters:\n  - {{ name: origin, connect_timeout: 5s, \
         type: STATIC, load_assignment: {{ cluster_name: origin, endpoints: [ {{ lb_endpoints: [ {{ \
         endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:origin@ \
         }} }} }} }} ] }} ] }} }}\n",
        listeners.join("\n")
    )
}

/// Listeners that differ in what they show and speak.
fn of_servers() -> Vec<String> {
    let server = certificates(&["server"]);
    let all = certificates(&["server-rsa", "server", "wildcard", "second"]);
    let params = |fields: &str| format!("{all}, tls_params: {{ {fields} }}");
    let ciphers = "cipher_suites: [ECDHE-RSA-AES256-GCM-SHA384, \
        \"[ECDHE-ECDSA-CHACHA20-POLY1305|ECDHE-RSA-CHACHA20-POLY1305]\"]";
    let scanned = certificates(&["second", "server"]);
    [
        ("all", format!("{all}, alpn_protocols: [h2, http/1.1]"), ""),
        ("no_alpn", server.clone(), ""),
        ("old", certificates(&["old"]), ""),
        ("scan", scanned, ", full_scan_certs_on_sni_mismatch: true"),
        ("named", server, ", require_sni: true"),
        (
            "only_12",
            params("tls_maximum_protocol_version: TLSv1_2"),
            "",
        ),
        (
            "only_13",
            params("tls_minimum_protocol_version: TLSv1_3"),
            "",
        ),
        ("ciphers", params(ciphers), ""),
        ("groups", params("ecdh_curves: [P-384]"), ""),
    ]
    .into_iter()
    .map(|(name, common, context)| secure(name, &common, context, &manager("")))
    .collect()
}

/// Listeners that differ in what an authority says of their certificate, and in how they sign.
fn of_staples() -> Vec<String> {
    let server = |more: &str| certificates(&["server"]).replace(" }]", &format!(" {more}}}]"));
    let good = server(", ocsp_staple: { filename: @CERTS@/good.ocsp } ");
    let old = server(", ocsp_staple: { filename: @CERTS@/old.ocsp } ");
    let (strict, must) = (
        ", ocsp_staple_policy: STRICT_STAPLING",
        ", ocsp_staple_policy: MUST_STAPLE",
    );
    let two = format!(
        "{}, {}",
        old.trim_end_matches(']'),
        certificates(&["second"]).trim_start_matches("tls_certificates: [")
    );
    let signs = |names: &[&str], algorithms: &str| {
        format!(
            "{}, tls_params: {{ signature_algorithms: [{algorithms}] }}",
            certificates(names)
        )
    };
    [
        ("staple_good", good.clone(), ""),
        ("staple_good_strict", good.clone(), strict),
        ("staple_good_must", good, must),
        ("staple_old", old.clone(), ""),
        ("staple_old_strict", old.clone(), strict),
        ("staple_old_must", old, must),
        ("staple_none_strict", server(""), strict),
        ("staple_old_or_none", two, strict),
        (
            "signs",
            signs(&["server-rsa", "server"], "ecdsa_secp256r1_sha256"),
            "",
        ),
        (
            "signs_rsa",
            signs(&["server-rsa", "server"], "rsa_pss_rsae_sha256"),
            "",
        ),
        ("signs_old", signs(&["server-rsa"], "rsa_pkcs1_sha256"), ""),
    ]
    .into_iter()
    .map(|(name, common, context)| secure(name, &common, context, &manager("")))
    .collect()
}

fn stapled() -> Vec<Case> {
    let listeners = [
        "staple_good",
        "staple_good_strict",
        "staple_good_must",
        "staple_old",
        "staple_old_strict",
        "staple_old_must",
        "staple_none_strict",
        "staple_old_or_none",
    ];
    let cases = listeners.map(|listener| get(listener, listener, Client::asks("a.test")));
    cases.into()
}

fn signed() -> Vec<Case> {
    let by = |scheme| Client {
        scheme: Some(scheme),
        ..Client::asks("a.test")
    };
    let of_12 = |client: Client| Client {
        version: Some(&TLS12),
        suite: Some(suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        ..client
    };
    let any = || Client::asks("a.test");
    vec![
        get("signed as is wanted", "signs", any()),
        get(
            "signed as the client likes",
            "signs_rsa",
            by(SignatureScheme::RSA_PSS_SHA256),
        ),
        get(
            "signed as the client does not like",
            "signs",
            by(SignatureScheme::RSA_PSS_SHA256),
        ),
        get("signed as the key does not", "signs_rsa", any()),
        get("signed in the old way, TLS 1.3", "signs_old", any()),
        get("signed in the old way, TLS 1.2", "signs_old", of_12(any())),
    ]
}

/// What is forwarded of clients' certificates.
fn forward(mode: &str) -> String {
    format!(
        "forward_client_cert_details: {mode}, set_current_client_cert_details: \
         {{ subject: true, cert: true, chain: true, dns: true, uri: true }}"
    )
}

/// Listeners that differ in what they forward of clients' certificates.
fn of_clients() -> Vec<String> {
    let bare = "forward_client_cert_details: SANITIZE_SET".to_owned();
    [
        ("optional", "", forward("SANITIZE_SET")),
        ("required", REQUIRED, forward("APPEND_FORWARD")),
        ("forward_only", "", forward("FORWARD_ONLY")),
        ("always", "", forward("ALWAYS_FORWARD_ONLY")),
        ("sanitize", "", forward("SANITIZE")),
        ("bare", "", bare),
    ]
    .into_iter()
    .map(|(name, context, fields)| secure(name, &validated(TRUSTED), context, &manager(&fields)))
    .collect()
}

/// Listeners that differ in what they check.
fn of_checks() -> Vec<String> {
    let named = |kind: &str, matcher: &str| {
        let matcher = format!("{{ san_type: {kind}, matcher: {{ {matcher} }} }}");
        validated(&format!(
            "{TRUSTED}, match_typed_subject_alt_names: [{matcher}]"
        ))
    };
    let trusted = |more: String| validated(&format!("{TRUSTED}, {more}"));
    let hash = format!("verify_certificate_hash: [{:?}]", digest("client"));
    let key = format!("verify_certificate_spki: [{:?}]", key_digest("client"));
    let set = forward("SANITIZE_SET");
    [
        ("depth_0", trusted("max_verify_depth: 0".to_owned()), ""),
        ("depth_1", trusted("max_verify_depth: 1".to_owned()), ""),
        ("depth_2", trusted("max_verify_depth: 2".to_owned()), ""),
        (
            "own",
            validated("trusted_ca: { filename: @CERTS@/own.pem }"),
            "",
        ),
        ("any_certificate", certificates(&["server"]), ""),
        ("hash", trusted(hash), ""),
        ("key", validated(&key), &*set),
        ("san_dns", named("DNS", "exact: client.test"), ""),
        ("san_uri", named("URI", "prefix: \"spiffe://tests/\""), ""),
        (
            "san_pattern",
            named("DNS", "safe_regex: { regex: \"cl.*[.]test\" }"),
            "",
        ),
        ("san_email", named("EMAIL", "suffix: \"@client.test\""), ""),
        ("san_ip", named("IP_ADDRESS", "exact: 192.0.2.7"), ""),
        (
            "crl",
            trusted("crl: { filename: @CERTS@/crl.pem }".to_owned()),
            "",
        ),
        (
            "expired_too",
            trusted("allow_expired_certificate: true".to_owned()),
            "",
        ),
        (
            "old_list",
            trusted("crl: { filename: @CERTS@/old-crl.pem }".to_owned()),
            "",
        ),
        (
            "any_time",
            trusted(
                "crl: { filename: @CERTS@/old-crl.pem }, only_verify_leaf_cert_crl: true, \
                 allow_expired_certificate: true"
                    .to_owned(),
            ),
            "",
        ),
        (
            "anybody",
            trusted("trust_chain_verification: ACCEPT_UNTRUSTED".to_owned()),
            &*set,
        ),
    ]
    .into_iter()
    .map(|(name, common, fields)| secure(name, &common, REQUIRED, &manager(fields)))
    .collect()
}

fn plain(name: &str, filter: &str) -> String {
    listener(name, "", filter)
}

fn secure(name: &str, common: &str, context: &str, filter: &str) -> String {
    let socket = format!(
        "transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
         common_tls_context: {{ {common} }}{context} }} }}, "
    );
    listener(name, &socket, filter)
}

fn listener(name: &str, socket: &str, filter: &str) -> String {
    format!(
        "  - {{ name: {name}, address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
         @PORT:{name}@ }} }}, stat_prefix: {name}, filter_chains: [ {{ {socket}filters: [ {filter} ] }} ] }}"
    )
}

fn manager(fields: &str) -> String {
    let separator = if fields.is_empty() { "" } else { ", " };
    format!(
        "{{ name: envoy.filters.network.http_connection_manager, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
         stat_prefix: in, http_filters: [ {{ name: envoy.filters.http.router, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ], access_log: [ {{ name: \
         envoy.access_loggers.file, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: \"@LOG@\", \
         log_format: {{ text_format_source: {{ inline_string: \"%DOWNSTREAM_DIRECT_REMOTE_PORT% \
         %REQ(:PATH)% %RESPONSE_CODE% {TLS_LOG}\\n\" }} }} }} }} ], route_config: {{ virtual_hosts: [ {{ \
         name: secure, domains: [secure.test], require_tls: ALL, routes: [ {{ match: {{ prefix: / }}, \
         direct_response: {{ status: 204 }} }} ] }}, {{ name: all, domains: [\"*\"], routes: [ {{ match: \
         {{ prefix: /validated, tls_context: {{ validated: true }} }}, direct_response: {{ status: 204 }} \
         }}, {{ match: {{ prefix: /presented, tls_context: {{ presented: true }} }}, direct_response: {{ \
         status: 204 }} }}, {{ match: {{ prefix: /anonymous, tls_context: {{ presented: false }} }}, \
         direct_response: {{ status: 204 }} }}, {{ match: {{ prefix: / }}, route: {{ cluster: origin }} }} \
         ] }} ] }}{separator}{fields} }} }}"
    )
}

/// One request over a session of that client.
fn get(name: &str, listener: &'static str, client: Client) -> Case {
    Case::get(name, "/", "").at(listener).over_tls(client)
}

fn choices() -> Vec<Case> {
    let all = |name: &str, client: Client| get(name, "all", client);
    let rsa = |client: Client| Client {
        scheme: Some(SignatureScheme::RSA_PSS_SHA256),
        ..client
    };
    let rsa_of_12 = Client {
        version: Some(&TLS12),
        suite: Some(suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        ..Client::asks("a.test")
    };
    vec![
        all("by name, elliptic first", Client::asks("a.test")),
        all("by name, in another case", Client::asks("A.TEST")),
        all("by name, of RSA", rsa(Client::asks("a.test"))),
        all("by name, of RSA, TLS 1.2", rsa_of_12),
        all("by wildcard", Client::asks("x.w.test")),
        all("a wildcard is one label", Client::asks("y.x.w.test")),
        all("a wildcard is not its parent", Client::asks("w.test")),
        all("another name", Client::asks("b.test")),
        all("a name that nobody has", Client::asks("nobody.test")),
        all("no name", Client::default()),
        all("no name, RSA", rsa(Client::default())),
        get(
            "a name that nobody has, all looked at",
            "scan",
            Client::asks("nobody.test"),
        ),
        get(
            "RSA where there is none",
            "no_alpn",
            rsa(Client::asks("a.test")),
        ),
        get(
            "a name is wanted and there",
            "named",
            Client::asks("a.test"),
        ),
        get("a name is wanted", "named", Client::default()),
    ]
}

fn versions() -> Vec<Case> {
    let with_12 = |client: Client| Client {
        version: Some(&TLS12),
        ..client
    };
    let with_13 = |client: Client| Client {
        version: Some(&TLS13),
        ..client
    };
    let with_suite = |suite: SupportedCipherSuite| {
        with_12(Client {
            suite: Some(suite),
            ..Client::asks("a.test")
        })
    };
    let x25519 = Client {
        group: Some(kx_group::X25519),
        ..Client::default()
    };
    let p384 = Client {
        group: Some(kx_group::SECP384R1),
        ..Client::default()
    };
    let p256 = Client {
        group: Some(kx_group::SECP256R1),
        ..Client::default()
    };
    let hybrid = Client {
        group: Some(kx_group::X25519MLKEM768),
        version: Some(&TLS13),
        ..Client::default()
    };
    let any = Client::default;
    let first = suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    vec![
        get("1.2 and 1.2", "only_12", with_suite(first)),
        get("1.2 and both", "only_12", any()),
        get("1.2 and 1.3", "only_12", with_13(any())),
        get("1.3 and 1.3", "only_13", with_13(any())),
        get("1.3 and both", "only_13", any()),
        get("1.3 and 1.2", "only_13", with_12(any())),
        get("both and 1.2", "all", with_suite(first)),
        get(
            "a cipher that is listed",
            "ciphers",
            with_suite(suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
        ),
        get(
            "a cipher of a group",
            "ciphers",
            with_suite(suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
        get(
            "a cipher that is not listed",
            "ciphers",
            with_suite(suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        ),
        get("ciphers of 1.3 are no choice", "ciphers", with_13(any())),
        get("a group that is listed", "groups", p384.clone()),
        get("a group that is not listed", "groups", x25519.clone()),
        get("a default group", "all", x25519),
        get("the other default group", "all", p256),
        get("no default group", "all", p384),
        get("the hybrid group", "all", hybrid),
    ]
}

fn protocols() -> Vec<Case> {
    let speaks = |alpn| Client::asks("a.test").speaks(alpn);
    let h2 = |name: &str, listener, alpn| {
        let request = H2Send::new("GET", "/").base("https://a.test");
        Case::http2(name, request)
            .at(listener)
            .over_tls(speaks(alpn))
    };
    let h1 = |name: &str, listener, alpn| get(name, listener, speaks(alpn));
    vec![
        h2("h2 by ALPN", "all", &["h2"]),
        h2("h2 before http/1.1", "all", &["http/1.1", "h2"]),
        h1("http/1.1 by ALPN", "all", &["http/1.1"]),
        h1("a protocol that is not there", "all", &["spdy/3"]),
        h1("one of two that is there", "all", &["spdy/3", "http/1.1"]),
        h1("no ALPN here", "no_alpn", &["http/1.1"]),
        h2("h2 by its preface", "no_alpn", &[]),
        h1("no ALPN there", "all", &[]),
    ]
}

/// Certificates that clients show.
const CLIENTS: [&str; 9] = [
    "client",
    "other-client",
    "revoked",
    "expired",
    "stranger",
    "old",
    "authority",
    "own",
    "deep",
];

/// What a list of revoked certificates says whose time is over.
fn old_lists() -> Vec<Case> {
    let listeners = ["old_list", "any_time"].into_iter();
    let cases = listeners.flat_map(|listener| {
        ["client", "expired", "revoked", "authority", "deep"].map(|name| {
            let client = Client::default().shows(name);
            get(&format!("{name} at {listener}"), listener, client)
        })
    });
    cases.collect()
}

fn clients() -> Vec<Case> {
    let mut cases = vec![
        get(
            "no certificate and none is wanted",
            "optional",
            Client::default(),
        ),
        get(
            "no certificate and one is wanted",
            "required",
            Client::default(),
        ),
    ];
    let listeners = [
        "optional",
        "required",
        "hash",
        "key",
        "san_dns",
        "san_uri",
        "san_pattern",
        "san_email",
        "crl",
        "expired_too",
        "anybody",
        "depth_0",
        "depth_1",
        "own",
        "no_alpn",
    ];
    for listener in listeners {
        for name in CLIENTS {
            let client = Client::default().shows(name);
            cases.push(get(&format!("{name} at {listener}"), listener, client));
        }
    }
    for name in ["client", "old"] {
        let client = Client {
            version: Some(&TLS12),
            suite: Some(suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
            ..Client::default().shows(name)
        };
        let name = format!("{name} at required, TLS 1.2");
        cases.push(get(&name, "required", client));
    }
    for listener in ["san_dns", "san_uri", "san_pattern", "san_email", "san_ip"] {
        let name = format!("various at {listener}");
        let client = Client::default().shows("various");
        cases.push(get(&name, listener, client));
    }
    cases.push(get(
        "client at san_ip",
        "san_ip",
        Client::default().shows("client"),
    ));
    cases.push(get("a server of version 1", "old", Client::default()));
    let deep = Client::default().shows("deep");
    cases.push(get("deep at depth_2", "depth_2", deep));
    cases.push(get(
        "nobody at any_certificate",
        "any_certificate",
        Client::default(),
    ));
    for listener in ["optional", "anybody"] {
        for certificate in [None, Some("client"), Some("stranger")] {
            for path in ["/validated", "/presented", "/anonymous"] {
                let client = Client {
                    certificate,
                    ..Client::default()
                };
                let shown = certificate.unwrap_or("nobody");
                let case = Case::get(&format!("{path} of {shown} at {listener}"), path, "");
                cases.push(case.at(listener).over_tls(client));
            }
        }
    }
    cases
}

fn forwarded() -> Vec<Case> {
    let modes = [
        "optional",
        "required",
        "forward_only",
        "always",
        "sanitize",
        "bare",
    ];
    let mut cases = Vec::new();
    for listener in modes {
        for certificate in [None, Some("client")] {
            for sent in ["", "X-Forwarded-Client-Cert: Hash=00;Subject=\"CN=x\"\r\n"] {
                let client = Client {
                    certificate,
                    ..Client::default()
                };
                let (shown, said) = (certificate.unwrap_or("nobody"), sent.len());
                let name = format!("{shown} at {listener} says {said}");
                cases.push(Case::get(&name, "/", sent).at(listener).over_tls(client));
            }
        }
    }
    let secure = |name: &str| Case::get(name, "/s?q", "").replaced("a.example", "secure.test");
    cases.push(secure("TLS is required").at("listener"));
    cases.push(
        secure("TLS is required and there")
            .at("no_alpn")
            .over_tls(Client::default()),
    );
    cases.push(
        Case::get(
            "who came before us spoke TLS",
            "/s",
            "X-Forwarded-Proto: https\r\n",
        )
        .replaced("a.example", "secure.test"),
    );
    cases
}

fn streams() -> Vec<Case> {
    const LARGE: usize = 3 * 1024 * 1024;
    let large = "x".repeat(LARGE);
    let length = format!("Content-Length: {LARGE}\r\n");
    let ask = |name: &str| get(name, "bytes", Client::default());
    vec![
        Case::request("a large request", "POST", "/", &length, &large)
            .at("all")
            .over_tls(Client::default()),
        get("a large response", "all", Client::default()).reply_bytes(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n{large}"
        )),
        Case::http1(
            "three at once",
            [
                request("GET", "/1", "", ""),
                request("GET", "/2", "", ""),
                request("GET", "/3", "", ""),
            ]
            .concat(),
        )
        .and_responses(2)
        .at("all")
        .over_tls(Client::default()),
        ask("bytes").without_log(),
        Case::steps(
            "an end behind the last byte",
            vec![
                Step::Send(request("GET", "/", "Connection: close\r\n", "")),
                Step::ReceiveToEnd,
            ],
        )
        .at("bytes")
        .over_tls(Client::default())
        .without_log(),
        Case::steps(
            "clear text",
            vec![Step::Send(request("GET", "/", "", "")), Step::ReceiveToEnd],
        )
        .at("all"),
        Case::steps("an end at once", vec![Step::HalfClose, Step::ReceiveToEnd]).at("all"),
    ]
}

fn statistics() -> Vec<Case> {
    vec![
        Case::admin(
            "GET /stats?filter=^listener[.](groups|no_alpn|required|hash|san_dns|optional|only_13|depth_0|staple.*)[.]ssl",
            &[
                "listener.depth_0.ssl.fail",
                "listener.staple_good.ssl.ocsp",
                "listener.staple_none_strict.ssl.ocsp",
                "listener.staple_old_or_none.ssl.ocsp",
                "listener.staple_old.ssl.ocsp",
                "listener.staple_old_must.ssl.connection_error",
                "listener.staple_old_must.ssl.ocsp",
                "listener.staple_old_strict.ssl.fail",
                "listener.staple_old_strict.ssl.ocsp",
                "listener.groups.ssl.connection_error",
                "listener.groups.ssl.handshake",
                "listener.no_alpn.ssl.handshake",
                "listener.no_alpn.ssl.no_certificate",
                "listener.no_alpn.ssl.versions",
                "listener.required.ssl.fail",
                "listener.required.ssl.handshake",
                "listener.hash.ssl.fail",
                "listener.san_dns.ssl.fail",
                "listener.optional.ssl.fail",
                "listener.optional.ssl.no_certificate",
                "listener.only_13.ssl.connection_error",
                "listener.only_13.ssl.handshake",
            ],
        ),
        Case::admin(
            "GET /stats/prometheus?filter=^listener[.](groups|only_13)[.]ssl",
            &[
                "# TYPE",
                "envoy_listener_ssl_versions",
                "envoy_listener_ssl_handshake",
            ],
        ),
    ]
}
