//! See [`nuncio_fuzz::filters::sessions`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| nuncio_fuzz::filters::sessions(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    nuncio_fuzz::replay(nuncio_fuzz::filters::sessions)
}
