//! Subsets, and what takes their place.

use super::*;

/// Two of version 1 (one of them in stage "prod"), two of version 2.
fn versions() -> Vec<Given> {
    vec![
        healthy()
            .with("version", Value::text("1"))
            .with("stage", Value::text("prod")),
        healthy()
            .with("version", Value::text("1"))
            .with("stage", Value::text("dev")),
        healthy()
            .with("version", Value::text("2"))
            .with("stage", Value::text("prod")),
        healthy().with("version", Value::text("2")),
    ]
}

fn asked(trial: &mut Trial, pairs: &[(&str, &str)], n: usize) -> Option<Vec<usize>> {
    let criteria = criteria(pairs);
    let wish = Wish {
        criteria: Some(&criteria),
        ..Wish::default()
    };
    let picks: Option<Vec<u32>> = (0..n).map(|_| trial.wish(&wish)).collect();
    picks.map(|picks| trial.tally(&picks))
}

#[test]
fn subsets_are_what_selectors_say() {
    let spec = SubsetSpec {
        selectors: vec![selector(&["version"]), selector(&["stage", "version"])],
        ..SubsetSpec::default()
    };
    let mut trial = Trial::new(&subsets(spec), &versions());
    let plan = Arc::clone(&trial.balancer.plan);
    assert_eq!(plan.subsets().unwrap().criteria().count(), 5);
    for (pairs, expected) in [
        (&[("version", "1")][..], Some(vec![2, 2, 0, 0])),
        (&[("version", "2")], Some(vec![0, 0, 2, 2])),
        (
            &[("version", "2"), ("stage", "prod")],
            Some(vec![0, 0, 4, 0]),
        ),
        (&[("version", "3")], None),
        (&[("stage", "prod")], None),
        (&[("version", "1"), ("other", "x")], None),
        (&[], None),
    ] {
        assert_eq!(asked(&mut trial, pairs, 4), expected, "{pairs:?}");
    }
    assert_eq!(trial.pick(), None, "no criteria, no fallback");
}

#[test]
fn fallbacks_take_the_place_of_subsets() {
    let of = |fallback| SubsetSpec {
        fallback,
        default: Some(criteria(&[("version", "2")])),
        selectors: vec![selector(&["version"])],
        ..SubsetSpec::default()
    };
    for (fallback, expected, noted) in [
        (Fallback::Nobody, None, 0),
        (Fallback::Any, Some(vec![1, 1, 1, 1]), 4),
        (Fallback::Default, Some(vec![0, 0, 2, 2]), 4),
    ] {
        let mut trial = Trial::new(&subsets(of(fallback)), &versions());
        assert_eq!(asked(&mut trial, &[("version", "9")], 4), expected);
        assert_eq!(trial.fake.notes.borrow().len(), noted);
        let plain: Option<Vec<u32>> = (0..4).map(|_| trial.pick()).collect();
        assert_eq!(plain.map(|picks| trial.tally(&picks)), expected);
    }
    let mut lost = of(Fallback::Default);
    lost.default = Some(criteria(&[("version", "7")]));
    assert_eq!(Trial::new(&subsets(lost.clone()), &versions()).pick(), None);
    lost.any_in_panic = true;
    let mut trial = Trial::new(&subsets(lost), &versions());
    assert!(trial.pick().is_some());
    // As in Envoy the empty subset panics before it is found to have nobody.
    assert_eq!(
        *trial.fake.notes.borrow(),
        [Note::Panic, Note::FallbackPanic]
    );
}

#[test]
fn selectors_have_fallbacks_of_their_own() {
    let with = |keys: &[&str], fallback| SubsetSelector {
        fallback: Some(fallback),
        ..selector(keys)
    };
    let spec = SubsetSpec {
        fallback: Fallback::Default,
        default: Some(criteria(&[("stage", "dev")])),
        selectors: vec![
            with(&["version"], SelectorFallback::Cluster(Fallback::Any)),
            with(&["stage"], SelectorFallback::Cluster(Fallback::Nobody)),
            with(
                &["stage", "version"],
                SelectorFallback::Keys(vec!["version".into()]),
            ),
        ],
        ..SubsetSpec::default()
    };
    let mut trial = Trial::new(&subsets(spec), &versions());
    for (pairs, expected) in [
        (&[("version", "9")][..], Some(vec![1, 1, 1, 1])),
        (&[("stage", "none")], None),
        // Fewer keys: version 2 alone, and where that is not there either, its selector's fallback.
        (
            &[("stage", "none"), ("version", "2")],
            Some(vec![0, 0, 2, 2]),
        ),
        (
            &[("stage", "none"), ("version", "9")],
            Some(vec![1, 1, 1, 1]),
        ),
        (&[("other", "x")], Some(vec![0, 4, 0, 0])),
    ] {
        assert_eq!(asked(&mut trial, pairs, 4), expected, "{pairs:?}");
    }
}

#[test]
fn lists_stand_for_their_values_where_asked() {
    let list = Value::List(vec![Value::text("1"), Value::text("2")]);
    let given = [
        healthy().with("version", list),
        healthy().with("version", Value::text("2")),
    ];
    for (list_is_any, expected) in [(true, Some(vec![2, 2])), (false, Some(vec![0, 4]))] {
        let spec = SubsetSpec {
            selectors: vec![selector(&["version"])],
            list_is_any,
            ..SubsetSpec::default()
        };
        let mut trial = Trial::new(&subsets(spec), &given);
        assert_eq!(asked(&mut trial, &[("version", "2")], 4), expected);
        let one = asked(&mut trial, &[("version", "1")], 2);
        assert_eq!(one, list_is_any.then(|| vec![2, 0]));
    }
}

#[test]
fn single_endpoints_and_sick_subsets() {
    let mut single = selector(&["version"]);
    single.is_single = true;
    let spec = |selector| SubsetSpec {
        selectors: vec![selector],
        ..SubsetSpec::default()
    };
    let mut trial = Trial::new(&subsets(spec(single)), &versions());
    assert_eq!(
        asked(&mut trial, &[("version", "1")], 4),
        Some(vec![4, 0, 0, 0])
    );
    // All of a subset failed: it panics by itself, the others do not.
    let mut given = versions();
    given[0] = given[0].clone().failed();
    given[1] = given[1].clone().failed();
    let mut trial = Trial::new(&subsets(spec(selector(&["version"]))), &given);
    assert_eq!(
        asked(&mut trial, &[("version", "1")], 4),
        Some(vec![2, 2, 0, 0])
    );
    let panics = |trial: &Trial| {
        let notes = trial.fake.notes.borrow();
        notes.iter().filter(|note| **note == Note::Panic).count()
    };
    assert_eq!(panics(&trial), 4);
    assert_eq!(
        asked(&mut trial, &[("version", "2")], 4),
        Some(vec![0, 0, 2, 2])
    );
    assert_eq!(panics(&trial), 4);
}

#[test]
fn subsets_scale_the_weights_of_localities() {
    let given = [
        healthy().zone("a", 4).with("v", Value::text("1")),
        healthy().zone("a", 4),
        healthy().zone("b", 4).with("v", Value::text("1")),
    ];
    let of = |keeps: bool, scales: bool| Balancing {
        by_locality: true,
        ..subsets(SubsetSpec {
            selectors: vec![selector(&["v"])],
            keeps_locality_weights: keeps,
            scales_locality_weights: scales,
            ..SubsetSpec::default()
        })
    };
    for (keeps, scales, expected) in [
        (false, false, vec![15, 0, 15]),
        (true, false, vec![15, 0, 15]),
        (true, true, vec![10, 0, 20]),
    ] {
        let mut trial = Trial::new(&of(keeps, scales), &given);
        assert_eq!(asked(&mut trial, &[("v", "1")], 30), Some(expected));
    }
}

#[test]
fn an_empty_metadata_is_in_no_subset() {
    let spec = SubsetSpec {
        selectors: vec![selector(&["v"])],
        ..SubsetSpec::default()
    };
    let given = [healthy()];
    assert_eq!(given[0].traits.metadata, Metadata::new());
    let plan = plan(&subsets(spec), &given);
    assert_eq!(plan.subsets().unwrap().criteria().count(), 0);
}

fn structs(pairs: &[(&str, &str)]) -> Value {
    let pairs = pairs.iter();
    Value::Struct(
        pairs
            .map(|(key, value)| ((*key).into(), Value::text(value)))
            .collect(),
    )
}

#[test]
fn alternatives_are_tried_in_order() {
    let of = |takes_alternatives, fallback| {
        let spec = SubsetSpec {
            selectors: vec![selector(&["version"]), selector(&["stage", "version"])],
            takes_alternatives,
            fallback,
            ..SubsetSpec::default()
        };
        Trial::new(&subsets(spec), &versions())
    };
    let asking = |list: &[Value]| {
        let list = ("fallback_list".into(), Value::List(list.to_vec()));
        Criteria::new([("version".into(), Value::text("9")), list])
    };
    let chosen = |trial: &mut Trial, criteria: &Criteria| {
        trial.wish(&Wish {
            criteria: Some(criteria),
            ..Wish::default()
        })
    };
    let prod = structs(&[("version", "2"), ("stage", "prod")]);
    let none = structs(&[("stage", "none")]);
    let first = asking(&[none.clone(), prod.clone(), structs(&[("version", "1")])]);
    for (takes, fallback, criteria, expected) in [
        (true, Fallback::Nobody, &first, Some(2)),
        (
            true,
            Fallback::Nobody,
            &asking(std::slice::from_ref(&none)),
            None,
        ),
        (true, Fallback::Nobody, &asking(&[]), None),
        // What takes the place of the first is somebody.
        (true, Fallback::Any, &first, Some(0)),
        (false, Fallback::Nobody, &first, None),
    ] {
        let mut trial = of(takes, fallback);
        assert_eq!(
            chosen(&mut trial, criteria),
            expected,
            "{takes} {fallback:?}"
        );
    }
    let mut trial = of(true, Fallback::Nobody);
    chosen(&mut trial, &first);
    assert_eq!(*trial.fake.notes.borrow(), [Note::Subset]);
}

#[test]
fn what_no_selector_has_does_not_count_where_asked() {
    let of = |takes_more_keys| {
        let spec = SubsetSpec {
            selectors: vec![
                selector(&["stage", "version"]),
                SubsetSelector {
                    fallback: Some(SelectorFallback::Cluster(Fallback::Any)),
                    ..selector(&["version"])
                },
            ],
            takes_more_keys,
            ..SubsetSpec::default()
        };
        Trial::new(&subsets(spec), &versions())
    };
    for (pairs, with, without) in [
        (
            &[("version", "1"), ("a", "b")][..],
            Some(vec![1, 1, 0, 0]),
            None,
        ),
        (
            &[("version", "1"), ("stage", "prod"), ("a", "b")],
            Some(vec![2, 0, 0, 0]),
            None,
        ),
        (
            &[("version", "1")],
            Some(vec![1, 1, 0, 0]),
            Some(vec![1, 1, 0, 0]),
        ),
        // The selector's own fallback is that of the keys that are left.
        (
            &[("version", "9"), ("a", "b")],
            Some(vec![1, 1, 0, 0]),
            None,
        ),
        (&[("stage", "prod"), ("a", "b")], None, None),
    ] {
        assert_eq!(asked(&mut of(true), pairs, 2), with, "{pairs:?}");
        assert_eq!(asked(&mut of(false), pairs, 2), without, "{pairs:?}");
    }
}
