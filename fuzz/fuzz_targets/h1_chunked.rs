//! See [`nuncio_fuzz::h1::chunked`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| nuncio_fuzz::h1::chunked(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    nuncio_fuzz::replay(nuncio_fuzz::h1::chunked)
}
