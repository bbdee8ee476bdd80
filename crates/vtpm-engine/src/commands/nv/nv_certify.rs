//! TPM2_NV_Certify: Part 3, clause 31.16, revision 1.59.

use crate::attest::AttestBuffer;
use crate::commands::command;
use crate::crypto::hash;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Attested, Buffer, Data, DhObject, Digest, HandleInterface, MAX_NV_BUFFER, Rc, RhNvAuth,
    RhNvIndex, SigScheme, Signature,
};

command! {
    /// States what an index contains, or the digest of its contents.
    #[doc(alias = "TPM2_NV_Certify")]
    Command {
        handles {
            /// The key that signs.
            sign_handle: Option<DhObject>,
            /// Who authorizes the reading.
            auth_handle: RhNvAuth,
            /// The index.
            nv_index: RhNvIndex,
        }
        parameters {
            /// From the caller, such as a nonce.
            qualifying_data: Data,
            /// The scheme, unless the key has one.
            in_scheme: SigScheme,
            /// How many bytes; with zero here and in `offset`, the digest of all is certified.
            size: u16,
            /// Where, in bytes from the start.
            offset: u16,
        }
    }
    Response {
        parameters {
            /// The statement.
            certify_info: AttestBuffer,
            /// Its signature.
            signature: Signature,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let attester = tpm.attester(command.sign_handle, 1, command.in_scheme.0, 2)?;
    tpm.check_nv_read(command.auth_handle.handle(), command.nv_index.handle())?;
    let index = tpm.nv_index(command.nv_index)?;
    let (offset, size) = (usize::from(command.offset), usize::from(command.size));
    let tail = index.data.get(offset..).ok_or(Rc::NV_RANGE)?;
    let contents = tail.get(..size).ok_or(Rc::NV_RANGE)?;
    if size > MAX_NV_BUFFER {
        return Err(Rc::VALUE.parameter(3));
    }
    let name = index.public.name();
    let attested = if (offset, size) == (0, 0) {
        // Without a scheme there is no hash algorithm, and the digest is empty.
        let digest = attester
            .scheme
            .hash()
            .map_or_else(Digest::empty, |alg| Digest::from_slice(&hash::hash(alg, &[&index.data])));
        Attested::NvDigest(name, digest)
    } else {
        Attested::Nv(name, command.offset, Buffer::from_slice(contents))
    };
    let (certify_info, signature) = tpm.attest(&attester, command.qualifying_data, attested)?;
    Ok(Response { certify_info, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::nv::test_util::{INDEX, ORDINARY, public, with_index, write};
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::{HashAlg, hash};
    use crate::sign::test_keys::{self, checked_attest};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Marshal, Name, NvAttributes, ObjectAttributes, Scheme, Tag};

    const ECDSA: Scheme = Scheme::Ecdsa(HashAlg::Sha256);

    fn certify(key: Handle, scheme: Scheme, size: u16, offset: u16) -> CommandBuilder {
        command(Cc::NV_CERTIFY)
            .handle(key)
            .handle(Handle::OWNER)
            .handle(Handle(INDEX))
            .password(b"")
            .password(b"")
            .put(Data::from_slice(b"nonce"))
            .put(scheme)
            .put(size)
            .put(offset)
    }

    fn index_name(size: u16) -> Name {
        public(INDEX, ORDINARY.with(NvAttributes::WRITTEN), size).name()
    }

    fn written() -> Client {
        let mut client = with_index(ORDINARY, 2000);
        client.run(&write(INDEX, b"contents", 0)).unwrap();
        client
    }

    #[test]
    fn the_asked_for_contents_are_signed() {
        let mut client = written();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let response = client.run(&certify(key, Scheme::Null, 6, 2)).unwrap();
        assert!(!client.outcome.durable);
        let key = client.key(key);
        let attest = checked_attest(&client, Some(&key), &response.parameters);
        assert_eq!(attest.tag, Tag::ATTEST_NV);
        assert_eq!(attest.extra_data.as_bytes(), b"nonce");
        let mut expected = index_name(2000).to_bytes();
        expected.extend(b"\0\x02\0\x06ntents");
        assert_eq!(attest.attested, expected);
    }

    #[test]
    fn size_and_offset_zero_give_a_digest_of_everything_with_the_schemes_hash() {
        let mut client = written();
        let key = client.load(test_keys::ecc(Curve::P256, Scheme::Null));
        let response = client.run(&certify(key, Scheme::Ecdsa(HashAlg::Sha1), 0, 0)).unwrap();
        let key = client.key(key);
        let attest = checked_attest(&client, Some(&key), &response.parameters);
        assert_eq!(attest.tag, Tag::ATTEST_NV_DIGEST);
        let mut contents = b"contents".to_vec();
        contents.resize(2000, 0xff);
        let mut expected = index_name(2000).to_bytes();
        expected.extend(Digest::from_slice(&hash(HashAlg::Sha1, &[&contents])).to_bytes());
        assert_eq!(attest.attested, expected);
    }

    #[test]
    fn without_a_key_the_digest_is_empty_and_the_signature_null() {
        let mut client = written();
        let response = client.run(&certify(Handle::NULL, ECDSA, 0, 0)).unwrap();
        let attest = checked_attest(&client, None, &response.parameters);
        let mut expected = index_name(2000).to_bytes();
        expected.extend([0, 0]);
        assert_eq!(attest.attested, expected);
    }

    #[test]
    fn a_key_that_does_not_sign_is_refused() {
        let mut client = written();
        let ecc = test_keys::ecc(Curve::P256, Scheme::Null);
        let no_sign = client.load(test_keys::without(ecc, ObjectAttributes::SIGN));
        assert_eq!(client.rc(&certify(no_sign, ECDSA, 1, 0)), Rc::KEY.handle(1));
    }

    #[test]
    fn a_scheme_that_does_not_fit_the_key_is_refused() {
        let mut client = written();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let other = Scheme::Ecdsa(HashAlg::Sha1);
        assert_eq!(client.rc(&certify(key, other, 1, 0)), Rc::SCHEME.parameter(2));
    }

    #[test]
    fn contents_beyond_the_end_or_too_large_are_refused() {
        let mut client = written();
        let certify = |size, offset| certify(Handle::NULL, Scheme::Null, size, offset);
        assert_eq!(client.rc(&certify(1, 2000)), Rc::NV_RANGE);
        assert_eq!(client.rc(&certify(0, 2001)), Rc::NV_RANGE);
        assert_eq!(client.rc(&certify(2001, 0)), Rc::NV_RANGE);
        assert_eq!(client.rc(&certify(1025, 0)), Rc::VALUE.parameter(3));
        client.run(&certify(1024, 976)).unwrap();
    }

    #[test]
    fn what_cannot_be_read_cannot_be_certified() {
        let mut client = with_index(ORDINARY, 8);
        let certify = certify(Handle::NULL, Scheme::Null, 1, 0);
        assert_eq!(client.rc(&certify), Rc::NV_UNINITIALIZED);
    }
}
