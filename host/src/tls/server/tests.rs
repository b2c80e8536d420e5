//! What a context keeps when its files are read again.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::*;
use crate::tls::{ParametersSpec, Secret, Source, SubjectName, Version};

/// A secret that says whom to trust: the authority in a file, and the name that another file has.
#[derive(Debug)]
struct InFiles {
    authority: PathBuf,
    name: PathBuf,
}

impl Secret<TrustSpec> for InFiles {
    fn file(&self) -> &Path {
        &self.name
    }

    fn read(&self) -> Result<TrustSpec, Error> {
        let name = fs::read_to_string(&self.name).unwrap();
        Ok(TrustSpec {
            authorities: Some(Source::File(self.authority.clone())),
            names: vec![SubjectName::new(&name, Arc::new(|_| true))],
            ..TrustSpec::default()
        })
    }
}

#[test]
fn what_is_read_again_and_says_the_same_keeps_the_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    fs::write(at("tls.pem"), cert.pem()).unwrap();
    fs::write(at("tls.key"), signing_key.serialize_pem()).unwrap();
    fs::write(at("name"), "a").unwrap();
    let parameters = ParametersSpec {
        min: Version::Tls12,
        max: Version::Tls13,
        ciphers: &[],
        groups: &[],
        signatures: &[],
        alpn: &[],
    };
    let spec = ServerSpec {
        identities: vec![Whence::Here(IdentitySpec {
            chain: Source::File(at("tls.pem")),
            key: Source::File(at("tls.key")),
            staple: None,
        })],
        trust: Some(Whence::Secret(Arc::new(InFiles {
            authority: at("tls.pem"),
            name: at("name"),
        }))),
        parameters: Parameters::new(&parameters).unwrap(),
        requires_certificate: false,
        requires_name: false,
        scans_on_mismatch: false,
        prefers_client_ciphers: false,
        tickets: TicketChoice::Own,
        sessions: true,
        session_lifetime: None,
        staples: StaplePolicy::Lenient,
    };
    let server = Server::load("here".to_owned(), spec, 1).unwrap();
    let first = server.loaded.load_full();
    let is_first = || Arc::ptr_eq(&first, &server.loaded.load());
    // What is broken is read each second until it is mended.
    fs::write(at("tls.key"), "no key").unwrap();
    assert_eq!(server.reload().len(), 1);
    assert!(is_first());
    fs::write(at("tls.key"), signing_key.serialize_pem()).unwrap();
    assert!(server.reload().is_empty());
    assert!(is_first());
    fs::write(at("name"), "b").unwrap();
    assert!(server.reload().is_empty());
    assert!(!is_first());
}
