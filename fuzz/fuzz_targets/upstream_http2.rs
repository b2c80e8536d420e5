//! See [`nuncio_fuzz::proxy::upstream_http2`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| nuncio_fuzz::proxy::upstream_http2(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    nuncio_fuzz::replay(nuncio_fuzz::proxy::upstream_http2)
}
