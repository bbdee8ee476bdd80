//! TPM structures, as far as a judge, an issuer and a caller need them (TPM 2.0 Library Part 2),
//! without a TSS and without an engine.

mod attest;
mod challenge;
pub mod client;
mod hash;
mod kdf;
mod pcr;
mod public;
mod signature;
pub mod stream;
pub mod template;
mod wire;

pub use attest::{Attest, Attested, ClockInfo};
pub use challenge::{Challenge, make_credential};
pub use hash::HashAlg;
pub use kdf::{kdfa, kdfe};
pub use pcr::{PcrSelection, PcrValues};
pub use public::{Attributes, Curve, Key, Name, PublicArea, SymmetricCipher};
pub use signature::Signature;
