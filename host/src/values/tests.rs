//! Layers of runtime values, the types that read them, and a directory that changes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn of(name: &str, values: &[(&str, &str)]) -> LayerSpec {
    let value = |(key, text): &(&str, &str)| ((*key).into(), Value::text(text));
    LayerSpec {
        name: name.to_owned(),
        layer: Layer::Static(values.iter().map(value).collect()),
    }
}

fn admin() -> LayerSpec {
    LayerSpec {
        name: "admin".to_owned(),
        layer: Layer::Admin,
    }
}

fn set(values: &Values, key: &str, value: &str) -> Result<(), ModifyError> {
    values.modify(&[(key.to_owned(), value.to_owned())])
}

#[test]
fn later_layers_override_earlier_ones() {
    let layers = vec![
        of("base", &[("a", "1"), ("b", "2")]),
        of("more", &[("b", "3")]),
        admin(),
    ];
    let values = Arc::new(Values::new(layers));
    let [a, b, c] = ["a", "b", "c"].map(|key| Integer::new(9, &values, key));
    assert_eq!([a.get(), b.get(), c.get()], [9, 9, 9], "before publishing");
    values.publish();
    assert_eq!([a.get(), b.get(), c.get()], [1, 3, 9]);
    set(&values, "b", "4").unwrap();
    set(&values, "c", "5").unwrap();
    assert_eq!([a.get(), b.get(), c.get()], [1, 4, 5]);
    let shown = values.layered();
    assert_eq!(shown.layers, ["base", "more", "admin"]);
    let expected = ("4".to_owned(), ["2", "3", "4"].map(str::to_owned).into());
    assert_eq!(shown.entries.get("b"), Some(&expected));
    assert_eq!(values.stats().num_keys.get(), 3);
    assert_eq!(values.stats().admin_overrides_active.get(), 1);
    set(&values, "b", "").unwrap();
    set(&values, "c", "").unwrap();
    assert_eq!([a.get(), b.get(), c.get()], [1, 3, 9]);
    assert_eq!(values.stats().admin_overrides_active.get(), 0);
    assert_eq!(values.stats().load_success.get(), 5);
}

#[test]
fn without_an_admin_layer_nothing_is_changed() {
    let values = Values::new(vec![of("base", &[("a", "1")])]);
    assert_eq!(set(&values, "a", "2"), Err(ModifyError::NoAdminLayer));
    assert_eq!(Values::default().layered().layers, Vec::<String>::new());
}

#[test]
fn fractions_take_percentages_and_shares() {
    let values = Arc::new(Values::new(vec![admin()]));
    let fraction = Fraction::new(Share::new(1, 10_000).unwrap(), &values, "share");
    let none = Fraction::new(Share::new(1, 10_000).unwrap(), &values, "");
    values.publish();
    let count = |fraction: &Fraction| (0..10_000).filter(|n| fraction.holds(*n)).count();
    assert_eq!(count(&fraction), 1);
    set(&values, "share", "25").unwrap();
    assert_eq!(count(&fraction), 2500);
    set(
        &values,
        "share",
        "{numerator: 7, denominator: TEN_THOUSAND}",
    )
    .unwrap();
    assert_eq!(count(&fraction), 7);
    set(&values, "share", "500").unwrap();
    assert_eq!(count(&fraction), 10_000);
    set(&values, "share", "nonsense").unwrap();
    assert_eq!(count(&fraction), 1);
    assert_eq!(count(&none), 1);
}

#[test]
fn a_numerator_keeps_its_denominator() {
    let values = Arc::new(Values::new(vec![admin()]));
    let fraction = Fraction::of_numerator(Share::new(1, 10_000).unwrap(), &values, "share");
    values.publish();
    let count = || (0..10_000).filter(|n| fraction.holds(*n)).count();
    assert_eq!(count(), 1);
    for (value, expected) in [
        ("25", 25),
        ("20000", 10_000),
        ("{numerator: 7, denominator: HUNDRED}", 1),
    ] {
        set(&values, "share", value).unwrap();
        assert_eq!(count(), expected, "{value}");
    }
}

#[test]
fn weights_are_read_together() {
    let values = Arc::new(Values::new(vec![admin()]));
    let weights = Weights::new(&values, ["w.a", "w.b"].map(str::to_owned).into_iter());
    values.publish();
    assert_eq!(weights.read(|_| ()), None);
    set(&values, "w.b", "3").unwrap();
    let read = weights.read(|of| [of(0, 90), of(1, 10), of(2, 7)]);
    assert_eq!(read, Some([90, 3, 7]));
    set(&values, "w.a", "99999999999").unwrap();
    assert_eq!(weights.read(|of| of(0, 90)), Some(u32::MAX));
}

#[test]
fn a_directory_is_read_and_swapped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, weight) in [("v1", "10"), ("v2", "20")] {
        let inner = at(version).join("app/routing");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("weight"), format!("# a comment\n{weight}\n\n")).unwrap();
    }
    symlink(at("v1"), at("current")).unwrap();
    let disk = Disk {
        root: at("current"),
        path: at("current").join("app"),
    };
    let layer = LayerSpec {
        name: "disk".to_owned(),
        layer: Layer::Disk(disk),
    };
    let values = Arc::new(Values::new(vec![layer]));
    let weight = Integer::new(0, &values, "routing.weight");
    values.publish();
    assert_eq!(weight.get(), 10);
    assert_eq!(values.stats().num_layers.get(), 1);
    symlink(at("v2"), at("next")).unwrap();
    fs::rename(at("next"), at("current")).unwrap();
    assert_eq!(weight.get(), 10);
    values.reload();
    assert_eq!(weight.get(), 20);
    fs::remove_file(at("current")).unwrap();
    values.reload();
    assert_eq!(weight.get(), 0);
    assert_eq!(values.stats().override_dir_not_exists.get(), 3);
    assert_eq!(values.stats().num_layers.get(), 0);
}

#[test]
fn a_tree_that_is_too_deep_or_a_file_that_is_too_long_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let layer = || LayerSpec {
        name: "disk".to_owned(),
        layer: Layer::Disk(Disk {
            root: folder.path().to_owned(),
            path: folder.path().to_owned(),
        }),
    };
    let long = vec![b'1'; usize::try_from(crate::limits::RUNTIME_FILE_BYTES).unwrap() + 1];
    fs::write(folder.path().join("long"), long).unwrap();
    assert_eq!(Values::new(vec![layer()]).stats().load_error.get(), 1);
    fs::remove_file(folder.path().join("long")).unwrap();
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 16).collect();
    fs::create_dir_all(folder.path().join(&deep)).unwrap();
    assert_eq!(Values::new(vec![layer()]).stats().load_error.get(), 1);
}

/// Waits, in virtual time, until the key has that value.
async fn becomes(key: &Integer, value: u64) {
    let seen = async {
        while key.get() != value {
            tokio::time::sleep(crate::limits::RUNTIME_WATCH).await;
        }
    };
    let looks = 10 * crate::limits::RUNTIME_WATCH;
    assert!(
        tokio::time::timeout(looks, seen).await.is_ok(),
        "{} was read and not {value}",
        key.get()
    );
}

#[tokio::test(start_paused = true)]
async fn a_swapped_link_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for version in ["1", "2"] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("key"), version).unwrap();
    }
    symlink(at("1"), at("current")).unwrap();
    let disk = Disk {
        root: at("current"),
        path: at("current"),
    };
    let layer = LayerSpec {
        name: "disk".to_owned(),
        layer: Layer::Disk(disk),
    };
    let values = Arc::new(Values::new(vec![layer]));
    let key = Integer::new(0, &values, "key");
    values.publish();
    let watching = tokio::spawn(watch(Arc::clone(&values)));
    tokio::task::yield_now().await;
    symlink(at("2"), at("next")).unwrap();
    fs::rename(at("next"), at("current")).unwrap();
    becomes(&key, 2).await;
    watching.abort();
    // A link to the same folder says that what is in there has changed.
    fs::write(at("2").join("key"), "3").unwrap();
    symlink(at("2"), at("next")).unwrap();
    fs::rename(at("next"), at("current")).unwrap();
    let watching = tokio::spawn(watch(Arc::clone(&values)));
    becomes(&key, 3).await;
    watching.abort();
    // A change before anybody watches is noticed too.
    symlink(at("1"), at("next")).unwrap();
    fs::rename(at("next"), at("current")).unwrap();
    let watching = tokio::spawn(watch(Arc::clone(&values)));
    becomes(&key, 1).await;
    watching.abort();
    // Without a directory there is nothing to watch, and nobody waits.
    watch(Arc::default()).await;
    let none: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    assert_eq!(Values::default().layered().entries, none);
}
