//! The race between the addresses of one endpoint (RFC 8305, "happy eyeballs").
//!
//! Owns the order in which addresses are tried and when the next one starts. Does not own what trying
//! is. Called by `connect` for endpoints of more than one address.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::address::Address;
use crate::clock;
use crate::timer::{Timer, after};
use crate::upstream::spec::Eyeballs;

/// How long an attempt runs alone: 300 ms, as in Envoy.
const HEAD_START: Duration = Duration::from_millis(300);

/// The addresses with their families by turns, each in the order given: `eyeballs.first` of the one
/// that comes first, then one of the other, and so on.
pub(super) fn in_order(addresses: &[&Address], eyeballs: Eyeballs) -> Vec<Address> {
    let (mut others, mut v6) = (Vec::new(), Vec::new());
    let mut first_is_v6 = None;
    for address in addresses {
        let is_v6 = address.ip().is_some_and(|address| address.is_ipv6());
        first_is_v6.get_or_insert(is_v6);
        if is_v6 { &mut v6 } else { &mut others }.push((*address).clone());
    }
    let wanted = eyeballs.v6_first.or(first_is_v6).unwrap_or(false);
    // Where there is none of the family that should be first, the other one is.
    let v6_first = if wanted {
        !v6.is_empty()
    } else {
        others.is_empty()
    };
    let (first, second) = if v6_first { (v6, others) } else { (others, v6) };
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    ordered.extend(first.by_ref().take(eyeballs.first.max(1) as usize));
    loop {
        let pair = [second.next(), first.next()];
        if pair.iter().all(Option::is_none) {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// Tries the addresses: the next one when one has failed, or has taken too long. The first success ends
/// all others.
///
/// # Errors
/// The last one, where none succeeds.
pub(super) async fn run<'a, T, F>(
    addresses: &'a [Address],
    attempt: impl Fn(&'a Address) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.iter();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut timer = Timer::default();
    loop {
        if let Some(address) = waiting.next() {
            running.push(Box::pin(attempt(address)));
        } else if running.is_empty() {
            return Err(failure);
        }
        let next = (waiting.len() > 0).then_some(HEAD_START);
        let next = after(clock::now(), next);
        let ended = poll_fn(|cx| {
            let mut failed = None;
            let mut at = 0;
            while let Some(attempt) = running.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(done)) => return Poll::Ready(Some(Ok(done))),
                    Poll::Ready(Err(error)) => {
                        drop(running.remove(at));
                        failed = Some(error);
                    }
                    Poll::Pending => at += 1,
                }
            }
            match failed {
                Some(error) => Poll::Ready(Some(Err(error))),
                None => timer.poll(cx, next).map(|()| None),
            }
        })
        .await;
        match ended {
            Some(Ok(done)) => return Ok(done),
            Some(Err(error)) => failure = error,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn address(text: &str) -> Address {
        Address::Ip(text.parse().unwrap())
    }

    fn ordered(addresses: &[&str], v6_first: Option<bool>, first: u32) -> Vec<String> {
        let addresses: Vec<Address> = addresses.iter().map(|text| address(text)).collect();
        let addresses: Vec<&Address> = addresses.iter().collect();
        let ordered = in_order(&addresses, Eyeballs { v6_first, first });
        ordered.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn families_take_turns() {
        let (a, b, c) = ("1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1");
        let (x, y, z) = ("[::1]:1", "[::2]:1", "[::3]:1");
        for (addresses, v6_first, first, expected) in [
            (&[a, b, x, y][..], None, 1, &[a, x, b, y][..]),
            (&[x, y, z, a], None, 1, &[x, a, y, z]),
            (&[a, x], Some(true), 1, &[x, a]),
            (&[a, b], Some(true), 1, &[a, b]),
            (&[x, a], Some(false), 1, &[a, x]),
            (&[a, b, c, x, y, z], None, 2, &[a, b, x, c, y, z]),
            (&[a, b, x], None, 5, &[a, b, x]),
            (&[a], None, 1, &[a]),
        ] {
            assert_eq!(ordered(addresses, v6_first, first), expected);
        }
    }

    /// What an attempt does: fails or succeeds after so many milliseconds.
    type Script = &'static [(u64, bool)];

    /// Which attempts were started, when, and what came of it.
    async fn raced(script: Script) -> (Vec<(usize, u128)>, Option<usize>, u128) {
        let addresses: Vec<Address> = (0..script.len())
            .map(|at| address(&format!("127.0.0.1:{}", at + 1)))
            .collect();
        let started = RefCell::new(Vec::new());
        let start = tokio::time::Instant::now();
        let result = run(&addresses, |address| {
            let at = usize::from(address.ip().unwrap().port()) - 1;
            started.borrow_mut().push((at, start.elapsed().as_millis()));
            async move {
                let (millis, succeeds) = script[at];
                tokio::time::sleep(Duration::from_millis(millis)).await;
                if succeeds {
                    Ok(at)
                } else {
                    Err(io::ErrorKind::ConnectionRefused.into())
                }
            }
        })
        .await;
        (
            started.into_inner(),
            result.ok(),
            start.elapsed().as_millis(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_starts_when_one_fails_or_is_slow() {
        for (script, started, winner, took) in [
            (&[(10, true), (10, true)][..], &[(0, 0)][..], Some(0), 10),
            (&[(10, false), (10, true)], &[(0, 0), (1, 10)], Some(1), 20),
            (
                &[(1000, true), (10, true)],
                &[(0, 0), (1, 300)],
                Some(1),
                310,
            ),
            (
                &[(400, true), (1000, true)],
                &[(0, 0), (1, 300)],
                Some(0),
                400,
            ),
            (
                &[(1000, true), (50, false), (10, true)],
                &[(0, 0), (1, 300), (2, 350)],
                Some(2),
                360,
            ),
            (&[(10, false), (10, false)], &[(0, 0), (1, 10)], None, 20),
            (&[(900, false), (10, false)], &[(0, 0), (1, 300)], None, 900),
        ] {
            let found = raced(script).await;
            assert_eq!(
                (&found.0[..], found.1, found.2),
                (started, winner, took),
                "{script:?}"
            );
        }
    }
}
