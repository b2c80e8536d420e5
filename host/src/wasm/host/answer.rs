//! `answer`: what a hook's answer says beyond its flow.
//!
//! It is kept with the store until the hook returns; `outcome` reads it.

use std::time::Duration;

use super::super::bindings::answer::Host;
use super::super::bindings::types::{LocalReply, Upstream};
use super::super::state::{Said, State};

impl Host for State {
    fn keep(&mut self, token: u32) {
        self.token = token;
    }

    fn reply(&mut self, what: LocalReply) {
        self.said().reply = Some(what);
    }

    fn forward(&mut self, to: Upstream) {
        self.said().forward = Some(to);
    }

    fn fail(&mut self, message: String) {
        self.said().failure = Some(message);
    }

    fn wait(&mut self, ms: u64) {
        self.said().wait = Duration::from_millis(ms);
    }
}

impl State {
    fn said(&mut self) -> &mut Said {
        self.said.get_or_insert_default()
    }
}
