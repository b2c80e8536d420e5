//! `/config_dump`: what was loaded, in Envoy's shape.
//!
//! Owns the page's parts. They are made out of the bootstrap when somebody asks; until then that is
//! kept as text, a fraction of what it takes as a tree. Does not own how the configuration becomes
//! JSON (`config::json`).

use serde_json::{Value, json};

const TYPE: &str = "type.googleapis.com/envoy.admin.v3.";

/// The bootstrap, and its static clusters, listeners and routes. `bootstrap` is JSON.
pub(super) fn of(bootstrap: &str) -> Value {
    let bootstrap: Value = serde_json::from_str(bootstrap).unwrap_or_default();
    let listed = |kind: &str| {
        let resources = bootstrap.pointer(&format!("/static_resources/{kind}s"));
        let resources = members(resources).map(|item| json!({ kind: item }));
        resources.collect::<Vec<Value>>()
    };
    let (clusters, listeners) = (listed("cluster"), listed("listener"));
    let routes: Vec<Value> = members(bootstrap.pointer("/static_resources/listeners"))
        .flat_map(|listener| {
            let default = listener.get("default_filter_chain");
            members(listener.get("filter_chains")).chain(default)
        })
        .flat_map(|chain| members(chain.get("filters")))
        .filter_map(|filter| filter.pointer("/typed_config/route_config"))
        .map(|routes| json!({ "route_config": routes }))
        .collect();
    json!({ "configs": [
        { "@type": format!("{TYPE}BootstrapConfigDump"), "bootstrap": bootstrap },
        { "@type": format!("{TYPE}ClustersConfigDump"), "static_clusters": clusters },
        { "@type": format!("{TYPE}ListenersConfigDump"), "static_listeners": listeners },
        { "@type": format!("{TYPE}RoutesConfigDump"), "static_route_configs": routes },
    ] })
}

fn members(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}
