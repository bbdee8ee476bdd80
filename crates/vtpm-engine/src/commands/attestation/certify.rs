//! TPM2_Certify: Part 3, clause 18.2, revision 1.59.

use crate::attest::AttestBuffer;
use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::sign::is_anonymous;
use crate::tpm::Tpm;
use crate::wire::{Attested, Data, DhObject, Name, Rc, SigScheme, Signature};

command! {
    /// States that an object with this name is loaded.
    #[doc(alias = "TPM2_Certify")]
    Command {
        handles {
            /// The object.
            object_handle: DhObject,
            /// The key that signs.
            sign_handle: Option<DhObject>,
        }
        parameters {
            /// From the caller, such as a nonce.
            qualifying_data: Data,
            /// The scheme, unless the key has one.
            in_scheme: SigScheme,
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
    let attester = tpm.attester(command.sign_handle, 2, command.in_scheme.0, 2)?;
    let object = tpm.object(command.object_handle).map_err(|rc| rc.handle(1))?;
    // The qualified name would tell under which parent object and key are.
    let qualified_name =
        if is_anonymous(attester.scheme) { Name::empty() } else { object.qualified_name.clone() };
    let attested = Attested::Certify(object.name.clone(), qualified_name);
    let (certify_info, signature) = tpm.attest(&attester, command.qualifying_data, attested)?;
    Ok(Response { certify_info, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ecc::{Curve, mul_base, mul_base_add};
    use crate::crypto::hash::{HashAlg, hash};
    use crate::profile::Algorithms;
    use crate::sign::test_keys::{self, checked_attest, parse_attest, without};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Marshal, ObjectAttributes, Reader, Scheme, Tag};

    const ECDSA: Scheme = Scheme::Ecdsa(HashAlg::Sha256);

    fn certify(object: Handle, key: Handle, scheme: Scheme) -> CommandBuilder {
        command(Cc::CERTIFY)
            .handle(object)
            .handle(key)
            .password(b"")
            .password(b"")
            .put(Data::from_slice(b"nonce"))
            .put(scheme)
    }

    #[test]
    fn names_of_the_object_and_data_of_the_caller_are_signed() {
        let mut client = Client::started();
        let object = client.load(test_keys::aes());
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let response = client.run(&certify(object, key, Scheme::Null)).unwrap();
        let (object, key) = (client.key(object), client.key(key));
        let attest = checked_attest(&client, Some(&key), &response.parameters);
        assert_eq!(attest.tag, Tag::ATTEST_CERTIFY);
        assert_eq!(attest.signer, key.qualified_name);
        assert_eq!(attest.extra_data.as_bytes(), b"nonce");
        let expected = [object.name.to_bytes(), object.qualified_name.to_bytes()].concat();
        assert_eq!(attest.attested, expected);
    }

    #[test]
    fn every_kind_of_key_signs() {
        let mut client = Client::started();
        let object = client.load(test_keys::aes());
        let hmac = crate::wire::KeyedHashScheme::Hmac(HashAlg::Sha256);
        for (key, scheme) in [
            (test_keys::rsa(Scheme::Null), Scheme::Rsapss(HashAlg::Sha1)),
            (test_keys::ecc(Curve::P384, Scheme::Null), Scheme::EcSchnorr(HashAlg::Sha384)),
            (test_keys::hmac(hmac), Scheme::Null),
        ] {
            let handle = client.load(key);
            let response = client.run(&certify(object, handle, scheme)).unwrap();
            let key = client.key(handle);
            checked_attest(&client, Some(&key), &response.parameters);
            client.tpm.objects.remove(handle);
        }
    }

    #[test]
    fn without_a_key_the_signature_is_null_whatever_the_scheme() {
        let mut client = Client::started();
        let object = client.load(test_keys::aes());
        for scheme in [Scheme::Null, Scheme::Rsassa(HashAlg::Sha256)] {
            let response = client.run(&certify(object, Handle::NULL, scheme)).unwrap();
            let attest = checked_attest(&client, None, &response.parameters);
            assert_eq!(attest.signer.as_bytes(), Handle::NULL.to_bytes());
        }
    }

    #[test]
    fn an_anonymous_signature_tells_nothing_about_the_signer_and_covers_the_data() {
        let mut client = Client::started();
        let (curve, alg) = (Curve::P256, HashAlg::Sha256);
        let object = client.load(test_keys::aes());
        let key = client.load(test_keys::ecc(curve, Scheme::Ecdaa(alg, 0)));
        let (object_name, key) = (client.key(object).name.clone(), (key, client.key(key)));
        let secret = client.tpm.next_commit_secret(curve, &key.1.name);
        let counter = client.tpm.begin_commit();
        let response = client.run(&certify(object, key.0, Scheme::Ecdaa(alg, counter))).unwrap();
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(&response.parameters, &algorithms);
        let bytes = reader.get::<AttestBuffer>().unwrap();
        let attest = parse_attest(&bytes);
        assert!(attest.signer.is_empty() && attest.extra_data.is_empty());
        assert_eq!(attest.attested, [object_name.to_bytes(), vec![0, 0]].concat());
        let Ok(Signature::Ecc { r, s, .. }) = reader.get() else { panic!("no signature") };
        let digest = hash(alg, &[b"nonce", &hash(alg, &[&bytes])]);
        let t = curve.reduce(&hash(alg, &[&r, &digest]));
        let (_, public) = key.1.ecc_point().unwrap();
        let point = mul_base_add(curve, &s, &curve.negate_scalar(&t), &public);
        assert_eq!(point, mul_base(curve, &secret));
    }

    #[test]
    fn a_key_that_does_not_sign_is_named() {
        let mut client = Client::started();
        let object = client.load(test_keys::aes());
        let key = without(test_keys::ecc(Curve::P256, ECDSA), ObjectAttributes::SIGN);
        let key = client.load(key);
        for key in [object, key] {
            assert_eq!(client.rc(&certify(object, key, Scheme::Null)), Rc::KEY.handle(2));
        }
    }

    #[test]
    fn a_scheme_that_does_not_fit_the_key_is_named() {
        let mut client = Client::started();
        let object = client.load(test_keys::aes());
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let command = certify(object, key, Scheme::Ecdsa(HashAlg::Sha384));
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
        let free = client.load(test_keys::ecc(Curve::P256, Scheme::Null));
        let command = certify(object, free, Scheme::Null);
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
    }

    #[test]
    fn a_scheme_of_another_kind_of_key_is_named_and_a_missing_commitment_is_not() {
        let mut client = Client::started();
        let object = client.load(test_keys::aes());
        let free = client.load(test_keys::ecc(Curve::P256, Scheme::Null));
        let command = certify(object, free, Scheme::Hmac(HashAlg::Sha256));
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
        let command = certify(object, free, Scheme::Ecdaa(HashAlg::Sha256, 5));
        assert_eq!(client.rc(&command), Rc::VALUE);
    }

    #[test]
    fn a_sequence_cannot_be_certified() {
        let mut client = Client::started();
        let sequence = client.load_sequence();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        assert_eq!(client.rc(&certify(sequence, key, Scheme::Null)), Rc::TYPE.handle(1));
    }
}
