//! A user's filter with configurations of its own at routes.

use nuncio_tests::config::{self, Config};
use nuncio_tests::message::Message;
use nuncio_tests::process::{Binary, Directory};
use nuncio_tests::scene::Scene;

/// What the guest `routes` leaves of each hook.
const LOG: &str = "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %RESPONSE_CODE% \
    request [%DYNAMIC_METADATA(routes:request)%] response [%DYNAMIC_METADATA(routes:response)%] \
    log [%DYNAMIC_METADATA(routes:log)%]";

/// A route with what is configured of `shower` for it.
fn route(prefix: &str, written: &str) -> String {
    format!(
        "{{ match: {{ prefix: {prefix} }}, route: {{ cluster: origin }}, \
         typed_per_filter_config: {{ shower: {written} }} }}"
    )
}

fn words(words: &str) -> String {
    format!(
        "{{ \"@type\": type.googleapis.com/nuncio.filters.http.wasm.v1.WasmPerRoute, \
         configuration: \"{words}\" }}"
    )
}

const OFF: &str =
    "{ \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true }";
const ON: &str =
    "{ \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, config: {} }";

fn requested(scene: &Scene, paths: &[&str]) -> Vec<u16> {
    let status = |path: &&str| scene.get(path, "").status();
    paths.iter().map(status).collect()
}

fn log(scene: Scene) -> Vec<String> {
    scene.stop().log.lines().map(str::to_owned).collect()
}

#[test]
fn each_route_has_its_configuration() {
    let scene = Scene::start(
        &Config::new()
            .filter(config::guest("shower", "routes", "request log", ""))
            .route(route("/response", &words("response log")))
            .route(route("/none", &words("")))
            .route(route("/off", OFF))
            .route("{ match: { prefix: / }, route: { cluster: origin } }")
            .log(LOG),
    );
    assert_eq!(
        requested(&scene, &["/response", "/none", "/off", "/"]),
        [200; 4]
    );
    assert_eq!(
        log(scene),
        [
            "/response 200 request [-] response [request log | 1: response log state 0] \
             log [request log | 1: response log state 1]",
            "/none 200 request [-] response [-] log [-]",
            "/off 200 request [-] response [-] log [-]",
            "/ 200 request [request log state 0] response [-] log [request log state 1]",
        ]
    );
}

#[test]
fn a_filter_can_be_left_out_unless_a_route_wants_it() {
    let filter = config::guest("shower", "routes", "request", "");
    let filter = filter.replacen("name: shower,", "name: shower, disabled: true,", 1);
    let scene = Scene::start(
        &Config::new()
            .filter(filter)
            .route(route("/on", ON))
            .route(route("/other", &words("response")))
            .route("{ match: { prefix: /plain }, route: { cluster: origin } }")
            .log(LOG),
    );
    let paths = ["/on", "/other", "/plain", "/unrouted"];
    assert_eq!(requested(&scene, &paths), [200, 200, 200, 404]);
    assert_eq!(
        log(scene),
        [
            "/on 200 request [request state 0] response [-] log [-]",
            "/other 200 request [-] response [request | 2: response state 0] log [-]",
            "/plain 200 request [-] response [-] log [-]",
            "/unrouted 404 request [-] response [-] log [-]",
        ]
    );
}

/// The script `mover` sends requests for `/from` to `/to`, and has the route matched again.
#[test]
fn a_route_that_is_matched_again_brings_its_configuration() {
    let mover = "wants on-request-headers\n\
        on-request-headers set request-headers :path /to\n\
        on-request-headers clear-route-cache";
    for (to, expected) in [
        (
            words("request response"),
            "/to 200 request [response | 1: request response state 0] \
             response [response | 1: request response state 1] log [-]",
        ),
        // Whether a filter is there was decided by the first route.
        (
            OFF.to_owned(),
            "/to 200 request [-] response [response state 0] log [-]",
        ),
    ] {
        let scene = Scene::start(
            &Config::new()
                .filter(config::guest("mover", "script", mover, ""))
                .filter(config::guest("shower", "routes", "response", ""))
                .route(route("/to", &to))
                .route("{ match: { prefix: / }, route: { cluster: origin } }")
                .log(LOG),
        );
        assert_eq!(requested(&scene, &["/from"]), [200]);
        assert_eq!(log(scene), [expected]);
    }
}

/// Routes go by what filters leave where they are matched once more behind it.
#[test]
fn a_route_that_is_matched_again_goes_by_what_was_left() {
    let left = "dynamic_metadata: [ { filter: left, path: [ { key: key } ], \
                value: { string_match: { exact: mmm } } } ]";
    let state = "filter_state: [ { key: key, string_match: { exact: mmm } } ]";
    let start = |filter: Option<&str>| {
        let answer = |more: &str, status: u16| {
            format!("{{ match: {{ prefix: /{more} }}, direct_response: {{ status: {status} }} }}")
        };
        let mut config = Config::new()
            .route(answer(&format!(", {left}"), 201))
            .route(answer(&format!(", {state}"), 202))
            .route(answer("", 204));
        if let Some(script) = filter {
            let script = format!("wants on-request-headers\n{script}");
            config = config.filter(config::guest("leaver", "script", &script, ""));
        }
        requested(&Scene::start(&config), &["/"])
    };
    let set = |namespace: &str| format!("on-request-headers set-metadata {namespace} key 3");
    let again = "\non-request-headers clear-route-cache";
    assert_eq!(start(None), [204]);
    assert_eq!(start(Some(&set("left"))), [204], "it was matched before");
    assert_eq!(start(Some(&(set("left") + again))), [201]);
    assert_eq!(start(Some(&(set("other") + again))), [204]);
    assert_eq!(start(Some(&(set("filter_state") + again))), [202]);
}

#[test]
fn a_later_instance_that_refuses_costs_the_streams_of_its_routes() {
    let scene = Scene::start(
        &Config::new()
            .filter(config::guest("shower", "routes", "request", ""))
            .route(route("/once", &words("request once")))
            .route("{ match: { prefix: / }, route: { cluster: origin } }")
            .log(LOG),
    );
    let answers: Vec<Message> = ["/once", "/", "/once"]
        .iter()
        .map(|path| scene.get(path, ""))
        .collect();
    let statuses: Vec<u16> = answers.iter().map(Message::status).collect();
    assert_eq!(statuses, [503, 200, 503]);
}

/// What `--mode validate` says about a configuration, and whether it would run.
fn validated(config: &Config) -> (bool, String) {
    let mut text = config.text();
    for port in ["admin", "listener", "origin"] {
        text = text.replace(&format!("@PORT:{port}@"), "1");
    }
    let directory = Directory::create();
    let path = directory.write("envoy.yaml", &text);
    let arguments = [
        "--mode".as_ref(),
        "validate".as_ref(),
        "-c".as_ref(),
        path.as_os_str(),
    ];
    let output = Binary::nuncio()
        .command(arguments)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn what_is_surely_not_meant_is_said() {
    const CORS: &str =
        "{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy }";
    let shower = || Config::new().filter(config::guest("shower", "routes", "request", ""));
    let named = |name: &str| route("/", &words("request")).replace("shower:", name);
    for (config, runs, says) in [
        (
            shower().route(named("showre:")),
            true,
            "no filter of the chain is named \"showre\"",
        ),
        (
            shower().route(named("showre:")),
            true,
            "did you mean \"shower\"?",
        ),
        (
            shower().route(route("/", CORS)),
            true,
            "it configures another kind of filter than \"shower\"",
        ),
        (
            shower().route(
                "{ match: { prefix: / }, route: { cluster: origin, cors: { max_age: \"1\" } } }",
            ),
            true,
            "this policy does nothing: its filter is not in the chain",
        ),
        (
            shower().route(route("/", &words("refuse"))),
            false,
            "configure filter \"shower\": not this one",
        ),
        (
            shower().route(route("/", "{}")),
            false,
            "missing field '@type'",
        ),
        (
            shower().route(route("/", &ON.replace(", config: {}", ""))),
            false,
            "missing field 'config'",
        ),
        (
            shower().route(route("/", &ON.replace("{}", OFF))),
            false,
            "a FilterConfig cannot hold another one",
        ),
    ] {
        let (did_run, said) = validated(&config);
        assert!(said.contains(says), "no {says:?} in:\n{said}");
        assert_eq!(did_run, runs, "{said}");
    }
}
