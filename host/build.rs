//! Compiles the built-in filters, and the sample filter of `nuncio demo`, to components for
//! wasm32-wasip2, and embeds them: `$OUT_DIR/filters.rs` has a `pub(crate) static` for each.
//!
//! It runs a second cargo, on the same toolchain and the same lock file, in a target directory that
//! it keeps beside the outer one's. So it neither waits for the outer cargo's lock nor builds
//! anything twice, and needs no network once the dependencies have been fetched.

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A package that becomes a component.
struct Filter {
    /// Name of the `pub(crate) static`.
    name: &'static str,
    /// Its folder, from the root of the workspace.
    folder: &'static str,
    /// Its name for cargo.
    package: &'static str,
}

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "guest";

/// Members of this workspace.
const BUILT_IN: &[Filter] = &[
    Filter {
        name: "ROUTER",
        folder: "filters/router",
        package: "nuncio-filter-router",
    },
    Filter {
        name: "LOCAL_RATELIMIT",
        folder: "filters/local_ratelimit",
        package: "nuncio-filter-local-ratelimit",
    },
    Filter {
        name: "ACCESS_LOG",
        folder: "filters/access_log",
        package: "nuncio-filter-access-log",
    },
    Filter {
        name: "HEADER_MUTATION",
        folder: "filters/header_mutation",
        package: "nuncio-filter-header-mutation",
    },
    Filter {
        name: "CORS",
        folder: "filters/cors",
        package: "nuncio-filter-cors",
    },
    Filter {
        name: "GRPC_WEB",
        folder: "filters/grpc_web",
        package: "nuncio-filter-grpc-web",
    },
    Filter {
        name: "GRPC_HTTP1_BRIDGE",
        folder: "filters/grpc_http1_bridge",
        package: "nuncio-filter-grpc-http1-bridge",
    },
    Filter {
        name: "CSRF",
        folder: "filters/csrf",
        package: "nuncio-filter-csrf",
    },
    Filter {
        name: "GRPC_STATS",
        folder: "filters/grpc_stats",
        package: "nuncio-filter-grpc-stats",
    },
    Filter {
        name: "HEADER_TO_METADATA",
        folder: "filters/header_to_metadata",
        package: "nuncio-filter-header-to-metadata",
    },
    Filter {
        name: "STATEFUL_SESSION",
        folder: "filters/stateful_session",
        package: "nuncio-filter-stateful-session",
    },
    Filter {
        name: "FAULT",
        folder: "filters/fault",
        package: "nuncio-filter-fault",
    },
    Filter {
        name: "BUFFER",
        folder: "filters/buffer",
        package: "nuncio-filter-buffer",
    },
    Filter {
        name: "HEALTH_CHECK",
        folder: "filters/health_check",
        package: "nuncio-filter-health-check",
    },
];

/// A package of its own, as a user's is.
const SAMPLE: Filter = Filter {
    name: "SAMPLE",
    folder: "examples/filters/tenant",
    package: "tenant",
};

/// What the components are made of besides their own folders.
const SHARED: &[&str] = &["Cargo.toml", "Cargo.lock", "filters/config", "sdk", "wit"];

/// The profile `guest` of the workspace, for a package outside of it.
const GUEST: &[&str] = &[
    "profile.guest.inherits='release'",
    "profile.guest.lto=true",
    "profile.guest.codegen-units=1",
    "profile.guest.debug=false",
    "profile.guest.strip=true",
    "profile.guest.panic='abort'",
];

fn main() -> ExitCode {
    match build() {
        Ok(Built::Yes) => ExitCode::SUCCESS,
        // What cargo has said is on standard error, which is shown for a script that fails.
        Ok(Built::No) => ExitCode::FAILURE,
        Err(error) => {
            println!("cargo::error={}", error.to_string().replace('\n', " "));
            ExitCode::SUCCESS
        }
    }
}

/// Whether the filters compile.
enum Built {
    Yes,
    No,
}

fn build() -> Result<Built, Box<dyn Error>> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?)
        .join("..")
        .canonicalize()?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    watch(&root);
    require_target()?;

    // $TARGET_DIR/$PROFILE/build/$PACKAGE/out
    let outer = out
        .ancestors()
        .nth(4)
        .ok_or("OUT_DIR is not inside a target directory")?;
    let target_dir = outer.join("filters");

    let mut built_in = cargo(&root.join("Cargo.toml"), &target_dir)?;
    for filter in BUILT_IN {
        built_in.args(["--package", filter.package]);
    }
    let mut sample = cargo(&root.join(SAMPLE.folder).join("Cargo.toml"), &target_dir)?;
    for setting in GUEST {
        sample.args(["--config", setting]);
    }
    for command in [built_in, sample] {
        if !run(command)? {
            return Ok(Built::No);
        }
    }

    let components = target_dir.join(TARGET).join(PROFILE);
    let mut source = String::new();
    for filter in BUILT_IN.iter().chain([&SAMPLE]) {
        let file = format!("{}.wasm", filter.package.replace('-', "_"));
        copy_if_changed(&components.join(&file), &out.join(&file))?;
        let Filter { name, folder, .. } = filter;
        writeln!(source, "/// The component of `{folder}`.")?;
        writeln!(
            source,
            "pub(crate) static {name}: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"));"
        )?;
    }
    fs::write(out.join("filters.rs"), source)?;
    Ok(Built::Yes)
}

/// Tells cargo what to run this again for. Folders are watched whole, so not those with a target
/// directory in them.
fn watch(root: &Path) {
    let watch = |path: PathBuf| println!("cargo::rerun-if-changed={}", path.display());
    watch(root.join("host/build.rs"));
    for path in SHARED {
        let path = root.join(path);
        if path.join("src").is_dir() {
            watch(path.join("src"));
            watch(path.join("Cargo.toml"));
        } else {
            watch(path);
        }
    }
    for filter in BUILT_IN.iter().chain([&SAMPLE]) {
        for part in ["Cargo.toml", "src"] {
            watch(root.join(filter.folder).join(part));
        }
    }
    watch(root.join(SAMPLE.folder).join("Cargo.lock"));
}

/// Sees to it that the compiler has the target, whose absence cargo reports once for each package. Where rustup
/// was told not to install by itself what `rust-toolchain.toml` names, it is asked to.
fn require_target() -> Result<(), Box<dyn Error>> {
    if has_target()? {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    // An error of it is shown by cargo, above the one below.
    let _installed = rustup.status();
    if has_target()? {
        return Ok(());
    }
    Err(format!("the target {TARGET} is missing: run 'rustup target add {TARGET}'").into())
}

fn has_target() -> Result<bool, Box<dyn Error>> {
    let mut rustc = Command::new(variable("RUSTC")?);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let output = rustc
        .output()
        .map_err(|error| format!("run rustc: {error}"))?;
    let libraries = String::from_utf8(output.stdout)?;
    Ok(output.status.success() && Path::new(libraries.trim()).is_dir())
}

/// A cargo that knows nothing of the outer one but where its registry is and how many jobs may run.
fn cargo(manifest: &Path, target_dir: &Path) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(variable("CARGO")?);
    command.args(["build", "--target", TARGET, "--profile", PROFILE]);
    command
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target_dir);
    for (name, _) in env::vars_os() {
        if is_of_the_outer_cargo(&name) {
            command.env_remove(name);
        }
    }
    // Set and empty, it also overrides what a configuration file says for the host's code.
    command.env("CARGO_ENCODED_RUSTFLAGS", "");
    Ok(command)
}

/// Whether a variable is about the build of this package, or about compiling for the host.
fn is_of_the_outer_cargo(name: &OsStr) -> bool {
    const KEPT: &[&str] = &["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_TERM_COLOR"];
    const KEPT_PREFIXES: &[&str] = &[
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
    ];
    const OTHERS: &[&str] = &[
        "CLIPPY_ARGS",
        "DEBUG",
        "HOST",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTDOC",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "TARGET",
    ];
    let name = name.to_string_lossy();
    if KEPT.contains(&&*name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    name.starts_with("CARGO") || name.starts_with("RUSTC") || OTHERS.contains(&&*name)
}

/// Runs it; answers whether it has succeeded, and shows what it has said where not.
#[expect(
    clippy::print_stderr,
    reason = "cargo shows it where a build script has failed"
)]
fn run(mut command: Command) -> Result<bool, Box<dyn Error>> {
    let output = command
        .output()
        .map_err(|error| format!("run cargo: {error}"))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}

/// A file that did not change keeps its time, so that the outer cargo compiles nothing again.
fn copy_if_changed(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let new = fs::read(from).map_err(|error| format!("read {}: {error}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).map_err(|error| format!("write {}: {error}", to.display()))?;
    Ok(())
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"))
}
