//! TPM2_Quote: Part 3, clause 18.4, revision 1.59.

use crate::attest::AttestBuffer;
use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Attested, Data, DhObject, PcrSelections, Rc, SigScheme, Signature};

command! {
    /// States the digest of selected PCR.
    #[doc(alias = "TPM2_Quote")]
    Command {
        handles {
            /// The key that signs.
            sign_handle: Option<DhObject>,
        }
        parameters {
            /// From the caller, such as a nonce.
            qualifying_data: Data,
            /// The scheme, unless the key has one. Its hash is that of the PCR digest too.
            in_scheme: SigScheme,
            /// The PCR; the statement lists those of them that are allocated.
            pcr_select: PcrSelections,
        }
    }
    Response {
        parameters {
            /// The statement.
            quoted: AttestBuffer,
            /// Its signature.
            signature: Signature,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let attester = tpm.attester(command.sign_handle, 1, command.in_scheme.0, 2)?;
    // Without a key there is no scheme, and so no hash for the digest.
    let alg = attester.scheme.hash().ok_or(Rc::SCHEME.parameter(2))?;
    let mut selections = command.pcr_select;
    tpm.pcrs.filter(&mut selections.0);
    let digest = tpm.pcrs.digest(alg, &selections.0);
    let attested = Attested::Quote(selections, digest);
    let (quoted, signature) = tpm.attest(&attester, command.qualifying_data, attested)?;
    Ok(Response { quoted, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::{HashAlg, hash};
    use crate::sign::test_keys::{self, checked_attest};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Digest, Handle, List, Marshal, PcrSelection, Scheme, Tag};

    const ECDSA: Scheme = Scheme::Ecdsa(HashAlg::Sha384);

    fn quote(key: Handle, scheme: Scheme, selections: &PcrSelections) -> CommandBuilder {
        command(Cc::QUOTE)
            .handle(key)
            .password(b"")
            .put(Data::from_slice(b"nonce"))
            .put(scheme)
            .put(selections)
    }

    fn selection(alg: HashAlg, pcrs: &[u32]) -> PcrSelection {
        let mut selection = PcrSelection::none(alg);
        pcrs.iter().for_each(|pcr| selection.set(*pcr));
        selection
    }

    #[test]
    fn the_digest_of_the_selected_pcr_is_signed() {
        let mut client = Client::started();
        client.tpm.extend_pcr(7, HashAlg::Sha256, &[1; 32]);
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let selections: PcrSelections = List(vec![selection(HashAlg::Sha256, &[7, 0])]);
        let response = client.run(&quote(key, Scheme::Null, &selections)).unwrap();
        let signer = client.key(key);
        let attest = checked_attest(&client, Some(&signer), &response.parameters);
        assert_eq!(attest.tag, Tag::ATTEST_QUOTE);
        assert_eq!(attest.extra_data.as_bytes(), b"nonce");
        let extended = hash(HashAlg::Sha256, &[&[0; 32], &[1; 32]]);
        let digest = Digest::from_slice(&hash(HashAlg::Sha384, &[&[0; 32], &extended]));
        assert_eq!(attest.attested, [selections.to_bytes(), digest.to_bytes()].concat());
    }

    #[test]
    fn pcr_that_are_not_allocated_are_left_out_of_the_statement() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let selections: PcrSelections = List(vec![selection(HashAlg::Sha1, &[0, 1])]);
        let response = client.run(&quote(key, Scheme::Null, &selections)).unwrap();
        let signer = client.key(key);
        let attest = checked_attest(&client, Some(&signer), &response.parameters);
        let none: PcrSelections = List(vec![selection(HashAlg::Sha1, &[])]);
        let digest = Digest::from_slice(&hash(HashAlg::Sha384, &[]));
        assert_eq!(attest.attested, [none.to_bytes(), digest.to_bytes()].concat());
    }

    #[test]
    fn without_a_key_there_is_no_hash_for_the_digest() {
        let mut client = Client::started();
        for scheme in [Scheme::Null, ECDSA] {
            let command = quote(Handle::NULL, scheme, &List(Vec::new()));
            assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
        }
    }

    #[test]
    fn key_and_scheme_must_fit() {
        let mut client = Client::started();
        let aes = client.load(test_keys::aes());
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let none: PcrSelections = List(Vec::new());
        assert_eq!(client.rc(&quote(aes, Scheme::Null, &none)), Rc::KEY.handle(1));
        let command = quote(key, Scheme::Ecdsa(HashAlg::Sha256), &none);
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
    }

    #[test]
    fn a_bank_that_does_not_exist_is_named() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let command = command(Cc::QUOTE)
            .handle(key)
            .password(b"")
            .put(Data::empty())
            .put(Scheme::Null)
            .bytes(&[0, 0, 0, 1, 0x12, 0x34, 3, 0, 0, 0]);
        assert_eq!(client.rc(&command), Rc::HASH.parameter(3));
    }
}
