//! `token-bucket`: buckets that all instances of a filter share, on all workers.

use std::sync::Arc;
use std::time::Duration;

use super::super::bindings::token_bucket::{Host, Settings};
use super::super::state::State;
use super::{check_text, intern, look_up};

/// Envoy's least `fill_interval`.
const LEAST_FILL_INTERVAL: Duration = Duration::from_millis(50);

impl Host for State {
    fn open(&mut self, key: String, how: Settings) -> Result<u32, String> {
        check_text(self, &key)?;
        if how.max_tokens == 0 || how.tokens_per_fill == 0 {
            return Err("max-tokens and tokens-per-fill must be at least 1".to_owned());
        }
        let interval = Duration::from_nanos(how.fill_interval_ns);
        if interval < LEAST_FILL_INTERVAL {
            return Err("fill-interval must be at least 50 ms".to_owned());
        }
        let bucket = self
            .shared
            .bucket(key, how.max_tokens, how.tokens_per_fill, interval)?;
        intern(&mut self.opened.buckets, bucket, Arc::ptr_eq)
    }

    fn take(&mut self, of: u32, tokens: u32) -> bool {
        look_up(&self.opened.buckets, of)
            .is_some_and(|bucket| bucket.take(tokens, crate::clock::now()))
    }
}
