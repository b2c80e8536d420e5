//! Families, resolvers that clusters share, and the system's own.

use super::*;

#[test]
fn families_choose_as_envoy_does() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (a, b, six) = (ip("10.0.0.1"), ip("10.0.0.2"), ip("::1"));
    let both = [a, six, b, a];
    let v4 = [a, b, a];
    for (family, of_both, of_v4) in [
        (Family::Auto, vec![six], vec![a, b]),
        (Family::V4Only, vec![a, b], vec![a, b]),
        (Family::V6Only, vec![six], vec![]),
        (Family::V4Preferred, vec![a, b], vec![a, b]),
        (Family::All, vec![a, six, b], vec![a, b]),
    ] {
        assert_eq!(select(&both, family), of_both, "{family:?}");
        assert_eq!(select(&v4, family), of_v4, "{family:?}");
    }
    assert_eq!(select(&[six], Family::V4Preferred), [six]);
}

#[test]
fn clusters_that_want_the_same_share_a_resolver() {
    let resolvers = Resolvers::default();
    let (stub, system) = (Arc::default(), Arc::new(ResolverSpec::System));
    let first = resolvers.of(&stub);
    assert!(Rc::ptr_eq(&first, &resolvers.of(&Arc::default())));
    assert!(!Rc::ptr_eq(&first, &resolvers.of(&system)));
}

#[test]
fn the_system_knows_literals_and_localhost_and_fails_on_nonsense() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let resolve = |host: &str| {
            System.resolve(&Question {
                host: host.into(),
                family: Family::V4Preferred,
                is_service: host.starts_with('_'),
            })
        };
        let literal = resolve("127.0.0.9").await.unwrap();
        assert_eq!(
            literal.found,
            [Found::from("127.0.0.9".parse::<IpAddr>().unwrap())]
        );
        let localhost = resolve("localhost").await.unwrap();
        assert!(localhost.found.iter().all(|found| found.ip.is_loopback()));
        let error = resolve("bad name!").await.unwrap_err();
        assert_eq!(error.to_string(), "resolving \"bad name!\"");
        let error = resolve("_a._tcp.example.com").await.unwrap_err();
        assert!(error.cause.to_string().contains("SRV"));
    });
}
