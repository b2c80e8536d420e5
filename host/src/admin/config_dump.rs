//! `/config_dump`: what was loaded, in Envoy's shape.
//!
//! Owns the page's parts. They are made out of the bootstrap when somebody asks; until then that is
//! kept as text, a fraction of what it takes as a tree. A part of it that Envoy has as an `Any` says what
//! it is, and since when it is so. Does not own how the configuration becomes JSON (`config::json`).

use regex::Regex;
use serde_json::{Value, json};

const TYPE: &str = "type.googleapis.com/envoy.admin.v3.";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// The bootstrap, and its static clusters, listeners and routes. `bootstrap` is JSON, which was loaded
/// at `since`.
pub(super) fn of(bootstrap: &str, since: jiff::Timestamp) -> Value {
    let since = format!("{since:.3}");
    let bootstrap: Value = serde_json::from_str(bootstrap).unwrap_or_default();
    let dated = |kind: &str, of: &str, item: &Value| json!({ kind: typed(of, item), "last_updated": since });
    let listed = |kind: &str, of: &str| {
        let resources = bootstrap.pointer(&format!("/static_resources/{kind}s"));
        let resources = members(resources).map(|item| dated(kind, of, item));
        resources.collect::<Vec<Value>>()
    };
    let (clusters, listeners) = (listed("cluster", CLUSTER), listed("listener", LISTENER));
    let routes: Vec<Value> = members(bootstrap.pointer("/static_resources/listeners"))
        .flat_map(|listener| {
            let default = listener.get("default_filter_chain");
            members(listener.get("filter_chains")).chain(default)
        })
        .flat_map(|chain| members(chain.get("filters")))
        .filter_map(|filter| filter.pointer("/typed_config/route_config"))
        .map(|routes| dated("route_config", ROUTES, routes))
        .collect();
    json!({ "configs": [
        { "@type": format!("{TYPE}BootstrapConfigDump"), "bootstrap": bootstrap, "last_updated": since },
        { "@type": format!("{TYPE}ClustersConfigDump"), "static_clusters": clusters },
        { "@type": format!("{TYPE}ListenersConfigDump"), "static_listeners": listeners },
        { "@type": format!("{TYPE}RoutesConfigDump"), "static_route_configs": routes },
    ] })
}

/// The entries of one list of the dump, each as an `Any`: what `?resource=` asks for.
pub(super) fn part(dump: &Value, resource: &str) -> Option<Value> {
    let kind = match resource {
        "static_clusters" => "ClustersConfigDump.StaticCluster",
        "static_listeners" => "ListenersConfigDump.StaticListener",
        "static_route_configs" => "RoutesConfigDump.StaticRouteConfig",
        // There are such lists, and nothing is in them.
        "dynamic_active_clusters"
        | "dynamic_active_secrets"
        | "dynamic_listeners"
        | "dynamic_route_configs"
        | "dynamic_scoped_route_configs"
        | "dynamic_warming_clusters"
        | "dynamic_warming_secrets"
        | "inline_scoped_route_configs" => return Some(json!({})),
        _ => return None,
    };
    let kind = format!("{TYPE}{kind}");
    let mut lists = members(dump.get("configs")).filter_map(|list| list.get(resource));
    let entries: Vec<Value> = members(lists.next())
        .map(|entry| typed(&kind, entry))
        .collect();
    Some(if entries.is_empty() {
        json!({})
    } else {
        json!({ "configs": entries })
    })
}

/// Leaves out of the lists what has another name.
pub(super) fn keep_named(dump: &mut Value, named: &Regex) {
    let lists = dump.get_mut("configs").and_then(Value::as_array_mut);
    let lists = lists.into_iter().flatten().filter_map(Value::as_object_mut);
    for entries in lists
        .flat_map(|list| list.values_mut())
        .filter_map(Value::as_array_mut)
    {
        entries.retain(|entry| {
            let mut parts = entry
                .as_object()
                .into_iter()
                .flat_map(|entry| entry.values());
            let name = parts.find_map(|part| part.get("name")?.as_str());
            named.is_match(name.unwrap_or_default())
        });
    }
}

/// A message as an `Any`.
fn typed(of: &str, message: &Value) -> Value {
    let mut typed = serde_json::Map::new();
    typed.insert("@type".to_owned(), of.into());
    for (name, value) in message.as_object().into_iter().flatten() {
        typed.insert(name.clone(), value.clone());
    }
    typed.into()
}

fn members(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_say_what_they_are_and_since_when() {
        let bootstrap = json!({ "static_resources": {
            "clusters": [{ "name": "c" }],
            "listeners": [{ "filter_chains": [{ "filters": [
                { "typed_config": { "route_config": { "name": "r" } } },
            ] }] }],
        } });
        let since = jiff::Timestamp::from_millisecond(1_800_000_000_005).unwrap();
        let dump = of(&bootstrap.to_string(), since);
        let at = |path: &str| dump.pointer(path).and_then(Value::as_str);
        for (part, of) in [
            ("1/static_clusters/0/cluster", CLUSTER),
            ("2/static_listeners/0/listener", LISTENER),
            ("3/static_route_configs/0/route_config", ROUTES),
        ] {
            assert_eq!(at(&format!("/configs/{part}/@type")), Some(of));
            let (entry, _) = part.rsplit_once('/').unwrap();
            let updated = at(&format!("/configs/{entry}/last_updated"));
            assert_eq!(updated, Some("2027-01-15T08:00:00.005Z"));
        }
        assert_eq!(at("/configs/1/static_clusters/0/cluster/name"), Some("c"));
        let clusters = part(&dump, "static_clusters").unwrap();
        let inner = |value: &Value, path: &str| value.pointer(path).cloned();
        let kind = format!("{TYPE}ClustersConfigDump.StaticCluster");
        assert_eq!(inner(&clusters, "/configs/0/@type"), Some(kind.into()));
        assert_eq!(
            inner(&clusters, "/configs/0/cluster/name"),
            Some("c".into())
        );
        assert_eq!(part(&dump, "bootstraps"), None);
        for (named, left) in [("^c$", true), ("x", false)] {
            let mut dump = dump.clone();
            keep_named(&mut dump, &Regex::new(named).unwrap());
            assert_eq!(dump.pointer("/configs/1/static_clusters/0").is_some(), left);
            assert!(dump.pointer("/configs/0/bootstrap").is_some());
        }
        assert_eq!(
            at("/configs/0/last_updated"),
            Some("2027-01-15T08:00:00.005Z")
        );
    }
}
