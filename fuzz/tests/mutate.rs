//! Runs every target over changed seeds: what a fuzzer does, for as long as a test may take, with a
//! stable compiler and the same inputs each time.
//!
//! An input that breaks a promise is written to a file, which `replay` takes, and is made again by its
//! number: `NUNCIO_MUTATE=<target>:<number> cargo test --test mutate`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use nuncio_fuzz::{TARGETS, Target};

/// Inputs for each target; those whose inputs take longer get as many as fit into [`TIME`].
const INPUTS: u64 = 4_000;
/// Time for each target.
const TIME: Duration = Duration::from_millis(1_500);
/// Changes of one input at most.
const CHANGES: u64 = 6;
/// Longest input.
const LONGEST: usize = 16 * 1024;

/// Bytes that mean something to one of the targets.
const TOKENS: [&[u8]; 40] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"/",
    b"//",
    b"/../",
    b"/./",
    b"%2f",
    b"%",
    b"?",
    b"#",
    b";",
    b",",
    b"*",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"\\",
    b"|",
    b"$",
    b"\"",
    b"\xff",
    b"\xc3\xa9",
    b"0",
    b"-1",
    b"18446744073709551616",
    b"chunked",
    b"Transfer-Encoding: ",
    b"Content-Length: 1",
    b"Host: a",
    b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\x00\x04\x08\x00\x00\x00\x00\x01",
];

/// Numbers that look like chance, the same ones for the same seed (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("it is below a usize")
    }

    fn part(&mut self, of: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(of.len() + 1);
        let longest = (of.len() - start).min(64);
        start..start + self.below(longest + 1)
    }
}

/// The input of that number: a seed with some changes.
fn input(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number);
    let mut input = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.next() % CHANGES {
        change(&mut input, seeds, &mut numbers);
    }
    input.truncate(LONGEST);
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], numbers: &mut Numbers) {
    let at = numbers.below(input.len() + 1);
    match numbers.below(8) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << numbers.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = numbers.next().to_le_bytes()[0];
            }
        }
        2 => drop(input.drain(numbers.part(input))),
        3 => {
            let copied = input[numbers.part(input)].to_vec();
            input.splice(at..at, copied);
        }
        4 | 5 => {
            let token = TOKENS[numbers.below(TOKENS.len())];
            input.splice(at..at, token.iter().copied());
        }
        6 => {
            let token = TOKENS[numbers.below(TOKENS.len())];
            input.splice(numbers.part(input), token.iter().copied());
        }
        _ => {
            let other = &seeds[numbers.below(seeds.len())];
            let copied = other[numbers.part(other)].to_vec();
            input.splice(at..at, copied);
        }
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let files = fs::read_dir(folder).expect("a target has a corpus");
    let mut paths: Vec<PathBuf> = files
        .map(|file| file.expect("the folder can be read").path())
        .collect();
    // The order of a folder is not the same everywhere.
    paths.sort();
    let read = |path: &PathBuf| fs::read(path).expect("a seed can be read");
    paths.iter().map(read).collect()
}

/// Runs a target on an input; says how to do it again where that breaks a promise.
fn run(name: &str, target: Target, seeds: &[Vec<u8>], number: u64) {
    let input = input(seeds, number);
    if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
        let path = env::temp_dir().join(format!("nuncio-{name}-{number}-{}", process::id()));
        fs::write(&path, &input).expect("the input can be written");
        panic!(
            "{name} fails on {}; NUNCIO_MUTATE={name}:{number} makes it again",
            path.display()
        );
    }
}

#[test]
fn every_target_holds_on_changed_seeds() {
    if let Ok(again) = env::var("NUNCIO_MUTATE") {
        let (name, number) = again
            .split_once(':')
            .expect("NUNCIO_MUTATE is <target>:<number>");
        let target = TARGETS.iter().find(|(target, _)| *target == name);
        let (_, target) = target.expect("there is a target of that name");
        let number = number.parse().expect("the input has a number");
        return run(name, *target, &seeds(name), number);
    }
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        let end = Instant::now() + TIME;
        let mut ran = 0;
        while ran < INPUTS && Instant::now() < end {
            run(name, *target, &seeds, ran);
            ran += 1;
        }
        println!("{name}: {ran} inputs");
        assert!(ran > 0, "{name} had no time");
    }
}

#[test]
fn inputs_are_made_again_by_their_numbers() {
    let seeds = seeds("h1_request");
    let made: Vec<_> = (0..200).map(|number| input(&seeds, number)).collect();
    let again: Vec<_> = (0..200).map(|number| input(&seeds, number)).collect();
    assert_eq!(made, again);
    let mut kinds = made.clone();
    kinds.sort();
    kinds.dedup();
    assert!(kinds.len() > 150, "{} of 200 differ", kinds.len());
}
