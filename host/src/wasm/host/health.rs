//! `health`: how the proxy and the clusters behind it are.

use super::super::bindings::health::{Host, Membership};
use super::super::state::State;

impl Host for State {
    fn is_failing(&mut self) -> bool {
        self.shared.vitals().is_failing()
    }

    fn members(&mut self, cluster: String) -> Option<Membership> {
        let members = self.shared.vitals().members_of(&cluster)?;
        let count = |members: u64| u32::try_from(members).unwrap_or(u32::MAX);
        Some(Membership {
            total: count(members.total),
            healthy: count(members.healthy),
            degraded: count(members.degraded),
        })
    }

    fn own_cluster(&mut self) -> String {
        self.shared.vitals().own_cluster().to_owned()
    }

    fn set_health_check(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.is_health_check = true;
        }
    }
}
