//! Ports and the templates that name them.
//!
//! Owns the choice of listening ports for processes that need to be told one, and the filling of
//! `@PORT:name@` in configurations. Does not listen itself. Called by [`crate::process`] and the
//! scripted origins.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// First port that is handed out. The range stays below Linux's ephemeral ports (32768 and up), so a
/// client's socket never lands on a port that a listener is about to take.
const FIRST: u16 = 20_000;
/// Size of the range.
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A TCP port on the loopback interface that no other harness process hands out while this value
/// lives.
///
/// The UDP port of the same number is the lock: it costs nothing, is released by the kernel when
/// the process ends in whatever way, and other harnesses on the machine see it. That matters
/// because Envoy listens with `SO_REUSEPORT` and would silently share a port with another one.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: UdpSocket,
}

impl Port {
    /// Reserves a port on which nothing listens.
    #[must_use]
    pub fn reserve() -> Self {
        let start = (std::process::id().wrapping_mul(131) % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + (start + step % COUNT) % COUNT;
            let Ok(lock) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else {
                continue;
            };
            // Asking is safer than binding for a moment: a child that another thread is just
            // starting would hold on to that socket until it has become its program.
            let answer = TcpStream::connect((Ipv4Addr::LOCALHOST, number));
            if answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
                return Self {
                    number,
                    _lock: lock,
                };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// The names in `@PORT:name@` of a template, each once, in order of appearance.
#[must_use]
pub fn names(template: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in template.split("@PORT:").skip(1) {
        let (name, _) = part.split_once('@').expect("`@PORT:` is closed by `@`");
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// Fills in a template: `@PORT:name@` from `ports`, `@KEY@` from `values`.
#[must_use]
pub fn fill(template: &str, ports: &BTreeMap<String, u16>, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, number) in ports {
        text = text.replace(&format!("@PORT:{name}@"), &number.to_string());
    }
    for (key, value) in values {
        text = text.replace(&format!("@{key}@"), value);
    }
    assert!(
        !text.contains("@PORT:"),
        "a port of the template has no number:\n{text}"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_by_name() {
        let template = "a: @PORT:one@\nb: @PORT:two@\nc: @PORT:one@ @LOG@";
        assert_eq!(names(template), ["one", "two"]);
        let ports = BTreeMap::from([("one".to_owned(), 1), ("two".to_owned(), 2)]);
        assert_eq!(
            fill(template, &ports, &[("LOG", "x")]),
            "a: 1\nb: 2\nc: 1 x"
        );
    }

    #[test]
    fn a_reserved_port_is_not_handed_out_twice() {
        let first = Port::reserve();
        let second = Port::reserve();
        assert_ne!(first.number(), second.number());
        assert!(first.number() < 32_768);
    }
}
