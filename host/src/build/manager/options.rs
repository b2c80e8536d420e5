//! Options of a connection manager that most do without: early changes of heads, `upgrade`s that are
//! ignored, `proxy-status`, entries of access logs before the end.
//!
//! Called by `manager` and `listeners`.

use crate::build::Workshop;
use crate::build::matching::string;
use crate::config::Place;
use crate::config::header::{HeadMutation, HeadMutationAction, HeaderValueOption};
use crate::config::http_connection_manager::{
    EarlyHeaderMutationConfig, HttpConnectionManager, ProxyName,
};
use crate::config::scalar::Duration;
use crate::headers::Name;
use crate::http::proxy_status::ProxyStatus;
use crate::route::spec::MutationSpec;
use crate::route::{RequestChanges, TextCondition};
use crate::runtime::EarlyLogs;

impl Workshop<'_> {
    /// `early_header_mutation_extensions`.
    pub(super) fn early_changes(
        &mut self,
        written: &HttpConnectionManager,
        place: Place<'_>,
    ) -> RequestChanges {
        let place = place.field("early_header_mutation_extensions");
        let mut changes = RequestChanges::default();
        let extensions = written.early_header_mutation_extensions.iter();
        for (index, extension) in extensions.enumerate() {
            let EarlyHeaderMutationConfig::HeaderMutation(list) = &extension.typed_config;
            let place = place.index(index).field("typed_config").field("mutations");
            self.head_changes(&list.mutations, place, &mut changes);
        }
        changes
    }

    /// Changes to the head of a request, one after another, behind those that are there.
    pub(in crate::build) fn head_changes(
        &mut self,
        written: &[HeadMutation],
        place: Place<'_>,
        changes: &mut RequestChanges,
    ) {
        for (index, mutation) in written.iter().enumerate() {
            self.head_change(&mutation.action, place.index(index), changes);
        }
    }

    fn head_change(
        &mut self,
        written: &HeadMutationAction,
        place: Place<'_>,
        changes: &mut RequestChanges,
    ) {
        let mut spec = MutationSpec::default();
        match written {
            HeadMutationAction::RemoveOnMatch(names) => {
                let built = TextCondition::new(&string(&names.key_matcher));
                let place = place.field("remove_on_match").field("key_matcher");
                if let Some(names) = self.of_routes(built, place) {
                    changes.push_removal(names);
                }
                return;
            }
            HeadMutationAction::Remove(name) => spec.remove.push(name.clone()),
            HeadMutationAction::Append(option) => {
                let option: &HeaderValueOption = option;
                spec.add = self.adds(std::slice::from_ref(option), place.field("append"));
            }
        }
        let pushed = changes.push(&spec);
        self.of_routes(pushed, place);
    }

    /// `http_protocol_options.ignore_http_11_upgrade`.
    pub(super) fn ignored_upgrades(
        &mut self,
        written: &HttpConnectionManager,
        place: Place<'_>,
    ) -> Box<[TextCondition]> {
        let Some(http1) = &written.http_protocol_options else {
            return Box::default();
        };
        let place = place
            .field("http_protocol_options")
            .field("ignore_http_11_upgrade");
        let matchers = http1.ignore_http_11_upgrade.iter().enumerate();
        let built = matchers.filter_map(|(index, matcher)| {
            self.of_routes(TextCondition::new(&string(matcher)), place.index(index))
        });
        built.collect()
    }

    /// `proxy_status_config`.
    pub(in crate::build) fn proxy_status(
        &self,
        written: &HttpConnectionManager,
    ) -> Option<ProxyStatus> {
        let config = written.proxy_status_config.as_ref()?;
        let server = match written.server_name.as_str() {
            "" => "envoy",
            name => name,
        };
        let name = match &config.proxy_name {
            // Also where it is false, as in Envoy.
            Some(ProxyName::UseNodeId(_)) => &self.node.id,
            Some(ProxyName::LiteralProxyName(name)) => name,
            None => server,
        };
        Some(ProxyStatus {
            name: name.into(),
            field: Name::parse(b"proxy-status").ok()?,
            details: !config.remove_details,
            termination_details: !config.remove_connection_termination_details,
            flags: !config.remove_response_flags,
            recommended_status: config.set_recommended_response_code,
        })
    }
}

/// `access_log_options`, and the older fields.
pub(in crate::build) fn early_logs(written: &HttpConnectionManager) -> EarlyLogs {
    let options = written.access_log_options.unwrap_or_default();
    let interval = options
        .access_log_flush_interval
        .or(written.access_log_flush_interval);
    EarlyLogs {
        at_start: options.flush_access_log_on_new_request
            || written.flush_access_log_on_new_request,
        at_tunnel: options.flush_log_on_tunnel_successfully_established,
        interval: interval.and_then(Duration::non_zero),
    }
}
