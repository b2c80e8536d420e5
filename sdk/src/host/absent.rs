//! No proxy: a native build without the feature `testing`. It lets a filter compile; every call
//! answers that there is nothing.

use super::{Block, BucketSettings, Host, Members, RouteKind, Share, Target};
use crate::error::HostError;
use crate::filter::Interest;

/// Nobody.
pub(crate) struct Current;

fn absent<T>() -> Result<T, String> {
    Err("there is no host: enable the feature `testing` of nuncio-sdk".to_owned())
}

impl Host for Current {
    fn intern_header(&self, _: &str) -> Result<u32, String> {
        absent()
    }

    fn find_attribute(&self, _: &str) -> Result<u32, String> {
        absent()
    }

    fn compile_format(&self, _: &str) -> Result<u32, String> {
        absent()
    }

    fn compile_json_format(&self, _: &str, _: bool) -> Result<u32, String> {
        absent()
    }

    fn open_sink(&self, _: &Target) -> Result<u32, String> {
        absent()
    }

    fn open_bucket(&self, _: &str, _: BucketSettings) -> Result<u32, String> {
        absent()
    }

    fn open_counter(&self, _: &str) -> Result<u32, String> {
        absent()
    }

    fn open_gauge(&self, _: &str) -> Result<u32, String> {
        absent()
    }

    fn stat_prefix(&self) -> String {
        String::new()
    }

    fn compile_pattern(&self, _: &str) -> Result<u32, String> {
        absent()
    }

    fn compile_substitution(&self, _: &str, _: &str) -> Result<u32, String> {
        absent()
    }

    fn get(&self, _: Block, _: u32) -> Option<Vec<u8>> {
        None
    }

    fn get_each(&self, _: Block, _: &[u32]) -> Vec<u8> {
        Vec::new()
    }

    fn get_all(&self, _: Block, _: u32) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn entries(&self, _: Block) -> Vec<(Vec<u8>, Vec<u8>)> {
        Vec::new()
    }

    fn set(&self, _: Block, _: u32, _: &[u8]) -> Result<(), HostError> {
        Err(HostError::WrongPhase)
    }

    fn append(&self, _: Block, _: u32, _: &[u8]) -> Result<(), HostError> {
        Err(HostError::WrongPhase)
    }

    fn remove(&self, _: Block, _: u32) -> Result<(), HostError> {
        Err(HostError::WrongPhase)
    }

    fn attribute(&self, _: u32) -> Option<Vec<u8>> {
        None
    }

    fn render(&self, _: u32) -> Vec<u8> {
        Vec::new()
    }

    fn set_metadata(&self, _: &str, _: &str, _: &[u8]) -> Result<(), HostError> {
        Err(HostError::WrongPhase)
    }

    fn metadata(&self, _: &str, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn replace_body(&self, _: &[u8]) -> Result<(), HostError> {
        Err(HostError::WrongPhase)
    }

    fn clear(&self, _: Block) -> Result<(), HostError> {
        Err(HostError::WrongPhase)
    }

    fn add_body(&self, _: &[u8]) -> Result<(), HostError> {
        Err(HostError::WrongPhase)
    }

    fn set_response_flag(&self, _: &str) {}

    fn limit_response_rate(&self, _: u64) {}

    fn set_interest(&self, _: Interest) {}

    fn route(&self) -> Option<RouteKind> {
        None
    }

    fn clear_route_cache(&self) -> Result<(), HostError> {
        Err(HostError::WrongPhase)
    }

    fn max_level(&self) -> log::LevelFilter {
        log::LevelFilter::Off
    }

    fn log(&self, _: log::Level, _: &str) {}

    fn write(&self, _: u32, _: &[u8]) {}

    fn write_format(&self, _: u32, _: u32) {}

    fn take(&self, _: u32, _: u32) -> bool {
        false
    }

    fn add(&self, _: u32, _: u64) {}

    fn count(&self, _: &str, _: u64) {}

    fn hold(&self, _: u32, _: u64) -> bool {
        false
    }

    fn has_runtime_layers(&self) -> bool {
        false
    }

    fn runtime_integer(&self, _: &str) -> Option<u64> {
        None
    }

    fn runtime_share(&self, _: &str) -> Option<Share> {
        None
    }

    fn is_failing(&self) -> bool {
        false
    }

    fn members(&self, _: &str) -> Option<Members> {
        None
    }

    fn own_cluster(&self) -> String {
        String::new()
    }

    fn set_health_check(&self) {}

    fn matches(&self, _: u32, _: &[u8]) -> bool {
        false
    }

    fn substitute(&self, _: u32, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}
