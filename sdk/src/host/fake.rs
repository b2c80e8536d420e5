//! The fake host of the test that runs on this thread. Outside a hook there is none, and every call
//! answers that there is nothing.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Block, BucketSettings, Host, Members, RouteKind, Share, Target};
use crate::error::HostError;
use crate::filter::Interest;
use crate::testing::RuntimeValue;
use crate::testing::world::World;

thread_local! {
    static WORLD: RefCell<Option<Rc<RefCell<World>>>> = const { RefCell::new(None) };
}

/// The fake host that a test is calling a filter from.
pub(crate) struct Current;

/// Makes `world` the current one while `hook` runs.
pub(crate) fn within<R>(world: &Rc<RefCell<World>>, hook: impl FnOnce() -> R) -> R {
    /// Puts the world away again when a hook panics, as the failed assertion of a test does.
    struct Leave(Option<Rc<RefCell<World>>>);
    impl Drop for Leave {
        fn drop(&mut self) {
            WORLD.set(self.0.take());
        }
    }
    let _leave = Leave(WORLD.replace(Some(Rc::clone(world))));
    hook()
}

fn with<R>(call: impl FnOnce(&mut World) -> R) -> Option<R> {
    WORLD.with_borrow(|world| world.as_ref().map(|world| call(&mut world.borrow_mut())))
}

fn setup<R>(call: impl FnOnce(&mut World) -> Result<R, String>) -> Result<R, String> {
    with(call).unwrap_or_else(|| Err("no fake host is configuring a filter".to_owned()))
}

fn change(call: impl FnOnce(&mut World) -> Result<(), HostError>) -> Result<(), HostError> {
    with(call).unwrap_or(Err(HostError::WrongPhase))
}

impl Host for Current {
    fn intern_header(&self, name: &str) -> Result<u32, String> {
        setup(|world| world.intern_header(name))
    }

    fn find_attribute(&self, name: &str) -> Result<u32, String> {
        setup(|world| world.find_attribute(name))
    }

    fn compile_format(&self, text: &str) -> Result<u32, String> {
        setup(|world| world.compile_format(text))
    }

    fn compile_json_format(&self, document: &str, omit_empty: bool) -> Result<u32, String> {
        setup(|world| world.compile_json_format(document, omit_empty))
    }

    fn open_sink(&self, target: &Target) -> Result<u32, String> {
        setup(|world| world.open_sink(target))
    }

    fn open_bucket(&self, key: &str, how: BucketSettings) -> Result<u32, String> {
        setup(|world| world.open_bucket(key, how))
    }

    fn open_counter(&self, name: &str) -> Result<u32, String> {
        setup(|world| world.open_counter(name))
    }

    fn open_gauge(&self, name: &str) -> Result<u32, String> {
        setup(|world| world.open_gauge(name))
    }

    fn stat_prefix(&self) -> String {
        "http.test.".to_owned()
    }

    fn compile_pattern(&self, expression: &str) -> Result<u32, String> {
        setup(|world| world.compile_pattern(expression))
    }

    fn compile_substitution(&self, expression: &str, with: &str) -> Result<u32, String> {
        setup(|world| world.compile_substitution(expression, with))
    }

    fn get(&self, at: Block, name: u32) -> Option<Vec<u8>> {
        self.get_all(at, name).into_iter().next()
    }

    fn get_each(&self, at: Block, names: &[u32]) -> Vec<u8> {
        let values: Vec<_> = names.iter().map(|name| self.get(at, *name)).collect();
        let length = |value: &Option<Vec<u8>>| match value {
            Some(value) => u32::try_from(value.len()).unwrap_or(u32::MAX),
            None => u32::MAX,
        };
        let lengths = values.iter().map(length).flat_map(u32::to_le_bytes);
        lengths
            .chain(values.iter().flatten().flatten().copied())
            .collect()
    }

    fn get_all(&self, at: Block, name: u32) -> Vec<Vec<u8>> {
        with(|world| world.values(at, name)).unwrap_or_default()
    }

    fn entries(&self, at: Block) -> Vec<(Vec<u8>, Vec<u8>)> {
        with(|world| world.entries(at)).unwrap_or_default()
    }

    fn set(&self, at: Block, name: u32, value: &[u8]) -> Result<(), HostError> {
        change(|world| world.set(at, name, value))
    }

    fn append(&self, at: Block, name: u32, value: &[u8]) -> Result<(), HostError> {
        change(|world| world.append(at, name, value))
    }

    fn remove(&self, at: Block, name: u32) -> Result<(), HostError> {
        change(|world| world.remove(at, name))
    }

    fn attribute(&self, id: u32) -> Option<Vec<u8>> {
        with(|world| world.attribute(id)).flatten()
    }

    fn render(&self, format: u32) -> Vec<u8> {
        with(|world| world.render(format, "")).unwrap_or_default()
    }

    fn set_metadata(&self, namespace: &str, key: &str, value: &[u8]) -> Result<(), HostError> {
        change(|world| world.set_metadata(namespace, key, value))
    }

    fn metadata(&self, namespace: &str, key: &str) -> Option<Vec<u8>> {
        with(|world| world.metadata(namespace, key)).flatten()
    }

    fn replace_body(&self, body: &[u8]) -> Result<(), HostError> {
        change(|world| world.replace_body(body))
    }

    fn clear(&self, at: Block) -> Result<(), HostError> {
        change(|world| world.clear(at))
    }

    fn add_body(&self, body: &[u8]) -> Result<(), HostError> {
        change(|world| world.add_body(body))
    }

    fn set_response_flag(&self, short_name: &str) {
        with(|world| world.set_response_flag(short_name));
    }

    fn limit_response_rate(&self, bytes_per_second: u64) {
        with(|world| world.limit_response_rate(bytes_per_second));
    }

    fn set_interest(&self, interest: Interest) {
        with(|world| world.set_interest(interest));
    }

    fn route(&self) -> Option<RouteKind> {
        with(|world| world.route()).flatten()
    }

    fn clear_route_cache(&self) -> Result<(), HostError> {
        change(World::clear_route_cache)
    }

    fn max_level(&self) -> log::LevelFilter {
        with(|world| world.max_level).unwrap_or(log::LevelFilter::Off)
    }

    fn log(&self, level: log::Level, message: &str) {
        with(|world| world.log.push((level, message.to_owned())));
    }

    fn write(&self, sink: u32, line: &[u8]) {
        with(|world| world.write(sink, line));
    }

    fn write_format(&self, sink: u32, format: u32) {
        with(|world| {
            let line = world.render(format, "-");
            world.write(sink, &line);
        });
    }

    fn take(&self, bucket: u32, tokens: u32) -> bool {
        with(|world| world.take(bucket, tokens)).unwrap_or(false)
    }

    fn add(&self, counter: u32, n: u64) {
        with(|world| world.add(counter, n));
    }

    fn count(&self, name: &str, n: u64) {
        with(|world| *world.counters.entry(name.to_owned()).or_default() += n);
    }

    fn hold(&self, gauge: u32, limit: u64) -> bool {
        with(|world| world.hold(gauge, limit)).unwrap_or(false)
    }

    fn has_runtime_layers(&self) -> bool {
        with(|world| world.runtime.is_some()).unwrap_or(false)
    }

    fn runtime_integer(&self, key: &str) -> Option<u64> {
        match with(|world| world.runtime_value(key)).flatten()? {
            RuntimeValue::Integer(number) => Some(number),
            RuntimeValue::Share(_) => None,
        }
    }

    fn runtime_share(&self, key: &str) -> Option<Share> {
        Some(match with(|world| world.runtime_value(key)).flatten()? {
            RuntimeValue::Integer(percent) => Share {
                numerator: u32::try_from(percent).unwrap_or(u32::MAX),
                denominator: 100,
            },
            RuntimeValue::Share(share) => share,
        })
    }

    fn is_failing(&self) -> bool {
        with(|world| world.is_failing).unwrap_or(false)
    }

    fn members(&self, cluster: &str) -> Option<Members> {
        with(|world| world.members.get(cluster).copied()).flatten()
    }

    fn own_cluster(&self) -> String {
        with(|world| world.own_cluster.clone()).unwrap_or_default()
    }

    fn set_health_check(&self) {
        with(|world| {
            if let Some(exchange) = &mut world.current {
                exchange.is_health_check = true;
            }
        });
    }

    fn matches(&self, pattern: u32, text: &[u8]) -> bool {
        with(|world| world.matches(pattern, text)).unwrap_or(false)
    }

    fn substitute(&self, substitution: u32, text: &[u8]) -> Vec<u8> {
        with(|world| world.substitute(substitution, text)).unwrap_or_default()
    }
}
