//! What can be wrong with certificates, keys and authorities.

use std::io;

use crate::limits::CERTIFICATE_BYTES;

/// Which part of a context is wrong, so that whoever has written it can be pointed at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `certificate_chain`.
    Chain,
    /// `private_key`.
    Key,
    /// `ocsp_staple`.
    Staple,
    /// `trusted_ca`.
    Authorities,
    /// `crl`.
    Revoked,
    /// An entry of `session_ticket_keys`.
    TicketKey(usize),
    /// A secret with keys of session tickets.
    Tickets,
    /// The secret that it is in.
    Secret,
}

/// Why a certificate, a key or a list of authorities cannot be used. `from` is the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says why.
    #[error("read {from}: {problem}")]
    Read {
        /// The file.
        from: String,
        /// What the system said; a part of the message, so that one who looks for causes sees it once.
        problem: io::Error,
    },
    /// There is nothing in it.
    #[error("{from} is empty")]
    Empty {
        /// The file.
        from: String,
    },
    /// It cannot be a certificate.
    #[error("{from} has more than {CERTIFICATE_BYTES} bytes")]
    TooLarge {
        /// The file.
        from: String,
    },
    /// It has none of what was looked for.
    #[error("{from} has no {what} in PEM form")]
    Nothing {
        /// The file.
        from: String,
        /// What was looked for.
        what: &'static str,
    },
    /// A key that needs a password.
    #[error("the private key in {from} is encrypted")]
    Encrypted {
        /// The file.
        from: String,
    },
    /// It is not what its PEM says.
    #[error("{from}: {problem}")]
    Malformed {
        /// The file.
        from: String,
        /// What is wrong.
        problem: String,
    },
    /// The key belongs to another certificate.
    #[error("the private key in {key} is not that of the certificate in {chain}")]
    Mismatch {
        /// The file of the key.
        key: String,
        /// The file of the certificate.
        chain: String,
    },
    /// A file of secrets has not what is wanted.
    #[error("{from}: {problem}")]
    Secret {
        /// The file.
        from: String,
        /// What is wrong.
        problem: String,
    },
    /// The system has no authorities.
    #[error("the system has no certificates of authorities: {problem}")]
    NoSystemRoots {
        /// What was tried.
        problem: String,
    },
    /// A certificate that has to come with an OCSP response has none.
    #[error("the certificate in {chain} has to come with an OCSP response, and there is none")]
    NoStaple {
        /// The file of the certificate.
        chain: String,
    },
    /// Names are wanted of certificates that nobody vouches for.
    #[error("names of certificates say nothing without a 'trusted_ca' that vouches for them")]
    NamesWithoutAuthorities,
    /// A list of certificates that nobody vouches for.
    #[error("a list of revoked certificates needs a 'trusted_ca'")]
    RevokedWithoutAuthorities,
    /// The library refuses the whole.
    #[error("{0}")]
    Refused(#[from] rustls::Error),
}
