//! TLS with upstreams: which servers are accepted, what they are asked for and shown, and what is said
//! and counted of it.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::tls::{digest, key_digest, with_certificates};

/// What the access log says of a session. Why a handshake fails is told by each library in its own way.
const LOG: &str = "%REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% flags %RESPONSE_FLAGS% \
    version %UPSTREAM_TLS_VERSION% cipher %UPSTREAM_TLS_CIPHER% subject %UPSTREAM_PEER_SUBJECT% \
    issuer %UPSTREAM_PEER_ISSUER% uri %UPSTREAM_PEER_URI_SAN% dns %UPSTREAM_PEER_DNS_SAN% \
    ip %UPSTREAM_PEER_IP_SAN% from %UPSTREAM_PEER_CERT_V_START(%s)% \
    to %UPSTREAM_PEER_CERT_V_END(%s)% certificate %UPSTREAM_PEER_CERT% \
    group %UPSTREAM_TLS_GROUP% own uri %UPSTREAM_LOCAL_URI_SAN% dns %UPSTREAM_LOCAL_DNS_SAN%";

pub(crate) fn group() -> Group {
    let clusters = clusters();
    // Certificates differ from run to run: where the proxies differ on purpose, the log is left out.
    let on_purpose = ["no_validation", "asked_alone", "newest_by_default"];
    let mut cases: Vec<Case> = clusters
        .iter()
        .map(|cluster| {
            let case = Case::get(&cluster.name, &format!("/{}", cluster.name), "");
            match on_purpose.contains(&cluster.name.as_str()) {
                true => case.without_log(),
                false => case,
            }
        })
        .collect();
    let host = |name: &str, host: &str| Case::get(name, "/by_host", "").replaced("a.example", host);
    cases.push(host("the host of a request is asked for", "b.test"));
    let host = |name: &str, host: &str| {
        Case::get(name, "/by_host_checked", "").replaced("a.example", host)
    };
    cases.push(host("the host of a request has to be shown", "a.test"));
    cases.push(host("the host of a request is not shown", "b.test"));
    cases.push(Case::admin(
        "GET /stats?filter=^cluster[.](named|strange|expired|other_name|other_uri|other_digest|only_12|shows|no_version)[.]ssl",
        &[
            "cluster.expired.ssl.fail",
            "cluster.named.ssl.ciphers",
            "cluster.named.ssl.curves",
            "cluster.named.ssl.handshake",
            "cluster.named.ssl.no_certificate",
            "cluster.named.ssl.session_reused",
            "cluster.named.ssl.sigalgs",
            "cluster.named.ssl.versions",
            "cluster.no_version.ssl.connection_error",
            "cluster.only_12.ssl.ciphers",
            "cluster.only_12.ssl.curves",
            "cluster.only_12.ssl.sigalgs",
            "cluster.only_12.ssl.versions",
            "cluster.other_digest.ssl.fail",
            "cluster.other_name.ssl.fail",
            "cluster.other_uri.ssl.fail",
            "cluster.shows.ssl.no_certificate",
            "cluster.strange.ssl.connection_error",
            "cluster.strange.ssl.fail",
            "cluster.strange.ssl.handshake",
        ],
    ));
    Group::new(
        "tls upstream",
        &with_certificates(&template(&clusters)),
        cases,
    )
}

/// A cluster of one TLS server.
struct Cluster {
    name: String,
    /// The name of its port.
    server: &'static str,
    /// Fields of the context.
    context: String,
    /// Fields of the cluster, each with a comma in front.
    more: String,
}

impl Cluster {
    fn new(name: &str, server: &'static str, common: &str, context: &str) -> Self {
        let context = format!("common_tls_context: {{ {common} }}{context}");
        Self {
            name: name.to_owned(),
            server,
            context,
            more: String::new(),
        }
    }

    fn with(mut self, more: &str) -> Self {
        self.more = more.to_owned();
        self
    }

    fn yaml(&self) -> String {
        let Self {
            name,
            server,
            context,
            more,
        } = self;
        format!(
            "  - {{ name: {name}, connect_timeout: 5s, type: STATIC, load_assignment: {{ cluster_name: \
             {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ hostname: a.test, address: {{ \
             socket_address: {{ address: 127.0.0.1, port_value: @PORT:{server}@ }} }} }} }} ] }} ] }}, \
             transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
             {context} }} }}{more} }}"
        )
    }
}

const UP_TO_13: &str = "tls_params: { tls_maximum_protocol_version: TLSv1_3 }";
const SNI: &str = ", sni: a.test";

/// Trusts the authority of the tests, and more fields of the validation.
fn trusts(fields: &str) -> String {
    let separator = if fields.is_empty() { "" } else { ", " };
    validates(&format!(
        "trusted_ca: {{ filename: @CERTS@/ca.pem }}{separator}{fields}"
    ))
}

fn validates(fields: &str) -> String {
    format!("{UP_TO_13}, validation_context: {{ {fields} }}")
}

fn names(kind: &str, matcher: &str) -> String {
    trusts(&format!(
        "match_typed_subject_alt_names: [ {{ san_type: {kind}, matcher: {{ {matcher} }} }} ]"
    ))
}

fn shows(name: &str) -> String {
    let own = format!(
        "tls_certificates: [ {{ certificate_chain: {{ filename: @CERTS@/{name}.pem }}, \
         private_key: {{ filename: @CERTS@/{name}.key }} }} ]"
    );
    format!("{}, {own}", trusts(""))
}

fn versions(oldest: &str, newest: &str) -> String {
    trusts("").replace(
        UP_TO_13,
        &format!(
            "tls_params: {{ tls_minimum_protocol_version: {oldest}, \
             tls_maximum_protocol_version: {newest} }}"
        ),
    )
}

fn protocols(options: &str) -> String {
    format!(
        ", typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: \
         {{ \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
         {options} }} }}"
    )
}

fn clusters() -> Vec<Cluster> {
    let mut clusters = of_trust();
    clusters.extend(of_names());
    clusters.extend(of_protocols());
    clusters.extend(of_clients());
    clusters
}

fn of_trust() -> Vec<Cluster> {
    let cluster = Cluster::new;
    let stranger = "trusted_ca: { filename: @CERTS@/stranger-ca.pem }";
    let digests = |name: &str| format!("verify_certificate_hash: [{:?}]", digest(name));
    let keys = |name: &str| format!("verify_certificate_spki: [{:?}]", key_digest(name));
    let revoked = "crl: { filename: @CERTS@/crl.pem }";
    let client = ", sni: client.test";
    let exact = "match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: a.test } } ]";
    let own_by_name = format!("trusted_ca: {{ filename: @CERTS@/own.pem }}, {exact}");
    vec![
        cluster("trusted", "tls_server", &trusts(""), SNI),
        cluster("rsa", "tls_server_rsa", &trusts(""), SNI),
        cluster("strange", "tls_stranger", &trusts(""), client),
        cluster("trust_in_others", "tls_server", &validates(stranger), SNI),
        cluster("expired", "tls_expired", &trusts(""), client),
        cluster(
            "expired_too",
            "tls_expired",
            &trusts("allow_expired_certificate: true"),
            client,
        ),
        cluster("revoked", "tls_revoked", &trusts(revoked), client),
        cluster("not_revoked", "tls_server", &trusts(revoked), SNI),
        cluster(
            "anybody",
            "tls_stranger",
            &trusts("trust_chain_verification: ACCEPT_UNTRUSTED"),
            client,
        ),
        cluster("digest", "tls_server", &trusts(&digests("server")), SNI),
        cluster(
            "other_digest",
            "tls_server",
            &trusts(&digests("second")),
            SNI,
        ),
        cluster("key", "tls_server", &trusts(&keys("server")), SNI),
        cluster("other_key", "tls_server", &trusts(&keys("second")), SNI),
        cluster(
            "digest_alone",
            "tls_stranger",
            &validates(&digests("stranger")),
            client,
        ),
        cluster("old", "tls_old", &trusts(&digests("old")), ""),
        cluster("old_by_name", "tls_old", &trusts(exact), SNI),
        cluster("authority", "tls_authority", &trusts(""), SNI),
        cluster(
            "own",
            "tls_own",
            &validates("trusted_ca: { filename: @CERTS@/own.pem }"),
            SNI,
        ),
        cluster("own_by_name", "tls_own", &validates(&own_by_name), SNI),
        cluster("own_of_nobody", "tls_own", &trusts(""), SNI),
        cluster("no_validation", "tls_server", UP_TO_13, SNI),
    ]
}

fn of_names() -> Vec<Cluster> {
    let cluster =
        |name: &str, common: &str, context: &str| Cluster::new(name, "tls_server", common, context);
    let options = |fields: &str| {
        protocols(&format!(
            "explicit_http_config: {{ http_protocol_options: {{}} }}, \
             upstream_http_protocol_options: {{ {fields} }}"
        ))
    };
    let checked = ", auto_sni_san_validation: true";
    vec![
        cluster("named", &names("DNS", "exact: a.test"), SNI),
        cluster("other_name", &names("DNS", "exact: b.test"), SNI),
        cluster("name_by_pattern", &names("DNS", "suffix: .test"), SNI),
        cluster(
            "uri",
            &names("URI", "exact: \"spiffe://tests/server\""),
            SNI,
        ),
        cluster(
            "other_uri",
            &names("URI", "prefix: \"spiffe://other/\""),
            SNI,
        ),
        Cluster::new(
            "ip",
            "tls_various",
            &names("IP_ADDRESS", "exact: 192.0.2.7"),
            SNI,
        ),
        Cluster::new(
            "other_ip",
            "tls_various",
            &names("IP_ADDRESS", "exact: 192.0.2.8"),
            SNI,
        ),
        Cluster::new("mail", "tls_various", &names("EMAIL", "prefix: mail@"), SNI),
        cluster("no_mail", &names("EMAIL", "prefix: mail@"), SNI),
        cluster("unnamed", &names("DNS", "exact: a.test"), ""),
        cluster(
            "asked_for_another",
            &names("DNS", "exact: a.test"),
            ", sni: b.test",
        ),
        cluster("asked_alone", &trusts(""), ", sni: b.test"),
        cluster("asked_and_checked", &trusts(""), &format!("{SNI}{checked}")),
        cluster(
            "asked_and_other",
            &trusts(""),
            &format!(", sni: b.test{checked}"),
        ),
        cluster("by_endpoint", &trusts(""), ", auto_host_sni: true"),
        cluster(
            "by_endpoint_checked",
            &trusts(""),
            &format!(", auto_host_sni: true{checked}"),
        ),
        cluster("by_host", &names("DNS", "exact: a.test"), "").with(&options("auto_sni: true")),
        cluster("by_host_checked", &trusts(""), "")
            .with(&options("auto_sni: true, auto_san_validation: true")),
        cluster("by_field", &names("DNS", "exact: a.test"), "").with(&options(
            "auto_sni: true, override_auto_sni_header: x-request-id-of-nobody",
        )),
    ]
}

fn of_protocols() -> Vec<Cluster> {
    let cluster = |name: &str, server, common: &str| Cluster::new(name, server, common, SNI);
    let http2 = protocols("explicit_http_config: { http2_protocol_options: {} }");
    let http1 = protocols("explicit_http_config: { http_protocol_options: {} }");
    let either = protocols("auto_config: {}");
    let (old, new) = ("TLSv1_2", "TLSv1_3");
    let offers = |names: &str| format!("{}, alpn_protocols: [{names}]", trusts(""));
    vec![
        cluster("http1_of_either", "tls_either", &trusts("")).with(&http1),
        cluster("http2_of_either", "tls_either", &trusts("")).with(&http2),
        cluster("either_of_either", "tls_either", &trusts("")).with(&either),
        cluster("either_of_http1", "tls_http1", &trusts("")).with(&either),
        cluster("either_of_none", "tls_server", &trusts("")).with(&either),
        cluster("http2_of_http1", "tls_http1", &trusts("")).with(&http2),
        cluster("offers", "tls_either", &offers("http/1.1")),
        cluster("offers_others", "tls_http1", &offers("spdy/3")),
        cluster("only_12", "tls_server", &versions(old, old)),
        cluster("only_13", "tls_server", &versions(new, new)),
        cluster("both_of_12", "tls_only_12", &trusts("")),
        cluster("both_of_13", "tls_only_13", &trusts("")),
        cluster("no_version", "tls_only_13", &versions(old, old)),
        cluster("no_old_version", "tls_only_12", &versions(new, new)),
        cluster(
            "newest_by_default",
            "tls_server",
            &trusts("").replace(&format!("{UP_TO_13}, "), ""),
        ),
    ]
}

fn of_clients() -> Vec<Cluster> {
    let cluster = |name: &str, server, common: &str| Cluster::new(name, server, common, SNI);
    let of_12 = |common: &str| {
        common.replace(
            UP_TO_13,
            "tls_params: { tls_maximum_protocol_version: TLSv1_2 }",
        )
    };
    vec![
        cluster("shows", "tls_wants", &shows("client")),
        cluster("shows_if_asked", "tls_asks", &shows("client")),
        cluster("shows_unasked", "tls_server", &shows("client")),
        cluster("shows_nothing", "tls_asks", &trusts("")),
        cluster("has_nothing_to_show", "tls_wants", &trusts("")),
        cluster("shows_what_is_strange", "tls_wants", &shows("stranger")),
        cluster("has_nothing_to_show_12", "tls_wants", &of_12(&trusts(""))),
        cluster(
            "shows_what_is_strange_12",
            "tls_wants",
            &of_12(&shows("stranger")),
        ),
    ]
}

fn template(clusters: &[Cluster]) -> String {
    let routes: Vec<String> = clusters
        .iter()
        .map(|cluster| {
            let name = &cluster.name;
            format!("{{ match: {{ path: /{name} }}, route: {{ cluster: {name} }} }}")
        })
        .collect();
    let plain = |name: &str| {
        format!(
            "  - {{ name: {name}, connect_timeout: 5s, type: STATIC, load_assignment: {{ cluster_name: \
             {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ \
             address: 127.0.0.1, port_value: @PORT:{name}@ }} }} }} }} ] }} ] }} }}\n"
        )
    };
    let listed: Vec<String> = clusters.iter().map(Cluster::yaml).collect();
    format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}\n\
         static_resources:\n  listeners:\n  - {{ name: main, address: {{ socket_address: {{ address: \
         127.0.0.1, port_value: @PORT:listener@ }} }}, filter_chains: [ {{ filters: [ {{ name: \
         envoy.filters.network.http_connection_manager, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
         stat_prefix: in, http_filters: [ {{ name: envoy.filters.http.router, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ], access_log: [ {{ name: \
         envoy.access_loggers.file, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: \"@LOG@\", \
         log_format: {{ text_format_source: {{ inline_string: \"%DOWNSTREAM_DIRECT_REMOTE_PORT% {LOG}\\n\" \
         }} }} }} }} ], route_config: {{ virtual_hosts: [ {{ name: all, domains: [\"*\"], routes: [ {}, \
         {{ match: {{ prefix: / }}, route: {{ cluster: origin }} }} ] }} ] }} }} }} ] }} ] }}\n  \
         clusters:\n{}{}{}\n",
        routes.join(", "),
        plain("origin"),
        plain("h2origin"),
        listed.join("\n")
    )
}
