# The menu of tasks. Each is a line or two over cargo or a script; without `just`, run the lines.

# List the tasks
default:
    @just --list

# Build and run the demo
demo:
    cargo run --release -p nuncio -- demo

# Check FILE without serving it
validate FILE:
    cargo run --release -p nuncio -- -c {{ FILE }} --mode validate

# All tests
test *ARGS:
    cargo test --workspace {{ ARGS }}

# Compare with the real Envoy, case by case
compare *ARGS:
    cargo test -p nuncio-tests --test compare -- {{ ARGS }}

# Formatting, lints and documentation, as CI checks them
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Licences, advisories and duplicate versions of dependencies
deny:
    cargo deny check

# Hold the conversations of tlsfuzzer, of which a checkout is in DIR
tlsfuzzer DIR *ARGS:
    cargo build -p nuncio
    tests/tools/tlsfuzzer {{ DIR }} {{ ARGS }}

# The benchmark against Envoy and nginx; see docs/performance.md
bench *ARGS:
    tests/bench/run {{ ARGS }}

# Fuzz TARGET for SECONDS; see CONTRIBUTING.md
fuzz TARGET SECONDS="60":
    mkdir -p fuzz/target/corpus/{{ TARGET }}
    cargo fuzz run --sanitizer none {{ TARGET }} fuzz/target/corpus/{{ TARGET }} fuzz/corpus/{{ TARGET }} -- -max_total_time={{ SECONDS }} -rss_limit_mb=1024 -timeout=5

# Everything that CI runs
ci:
    .ci/run
