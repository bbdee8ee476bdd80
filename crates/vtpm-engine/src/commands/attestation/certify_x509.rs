//! TPM2_CertifyX509: Part 3, clause 18.8, revision 1.59.

use super::der;
use super::x509::{self, Partial};
use crate::commands::command;
use crate::crypto::hash::{Hasher, hash};
use crate::object::Object;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Data, DhObject, Digest, MaxBuffer, Rc, Scheme, SigScheme, Signature};

/// The longest serial number that RFC 5280 allows.
const SERIAL_SIZE: usize = 20;
/// Version 3, as certificates with extensions have it.
const VERSION: [u8; 5] = [der::context(0), 3, der::INTEGER, 1, 2];

command! {
    /// Completes and signs a certificate of a loaded key.
    #[doc(alias = "TPM2_CertifyX509")]
    Command {
        handles {
            /// The key in the certificate.
            object_handle: DhObject,
            /// The key that signs.
            sign_handle: Option<DhObject>,
        }
        parameters {
            /// Empty.
            reserved: Data,
            /// The scheme, unless the key has one.
            in_scheme: SigScheme,
            /// Signature algorithm (optional), issuer, validity, subject and extensions.
            partial_certificate: MaxBuffer,
        }
    }
    Response {
        parameters {
            /// Version, serial number, signature algorithm unless it was given, and public key.
            added_to_certificate: MaxBuffer,
            /// Digest of the `TBSCertificate`.
            tbs_digest: Digest,
            /// Its signature.
            signature: Signature,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    if !command.reserved.is_empty() {
        return Err(Rc::SIZE.parameter(1));
    }
    // A certificate without a signature would be none.
    let handle = command.sign_handle.ok_or(Rc::KEY.handle(2))?;
    let key = tpm.signing_key(handle).map_err(|rc| rc.handle(2))?;
    let scheme = tpm.select_scheme(&key, command.in_scheme.0).map_err(|rc| rc.parameter(2))?;
    let object = tpm.object(command.object_handle).map_err(|_| Rc::ASYMMETRIC.handle(1))?;
    let public_key = x509::public_key(&object).ok_or(Rc::ASYMMETRIC.handle(1))?;
    let partial = Partial::parse(&command.partial_certificate).map_err(|rc| rc.parameter(3))?;
    let algorithm = match partial.signature {
        Some(_) => None,
        None => Some(x509::signature_algorithm(&key, scheme).ok_or(Rc::SCHEME.handle(2))?),
    };
    partial
        .check_extensions(object.public.attributes)
        .map_err(|rc| if rc == Rc::ATTRIBUTES { rc.handle(1) } else { rc.parameter(3) })?;
    let certificate = Certificate {
        partial,
        algorithm: algorithm.as_deref(),
        public_key: &public_key,
        key: &key,
        object: &object,
    };
    certificate.sign(tpm, scheme)
}

/// A certificate of which only the serial number is missing.
struct Certificate<'a> {
    partial: Partial<'a>,
    /// Where the TPM made it.
    algorithm: Option<&'a [u8]>,
    public_key: &'a [u8],
    key: &'a Object,
    object: &'a Object,
}

impl Certificate<'_> {
    fn sign(&self, tpm: &mut Tpm, scheme: Scheme) -> Result<Response, Rc> {
        let alg = scheme.hash().ok_or(Rc::SCHEME.parameter(2))?;
        let serial = self.serial(scheme)?;
        let added = der::sequence(&[
            &VERSION,
            &serial,
            self.algorithm.unwrap_or_default(),
            self.public_key,
        ]);
        let added_to_certificate = MaxBuffer::new(&added).map_err(|_| Rc::FAILURE)?;
        let mut parts: Vec<&[u8]> = vec![&VERSION, &serial];
        parts.extend(self.parts());
        let length = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        let header = der::header(der::SEQUENCE, length);
        parts.insert(0, &header);
        let digest = hash(alg, &parts);
        let signature = tpm.sign(self.key, scheme, &digest)?;
        Ok(Response { added_to_certificate, tbs_digest: Digest::from_slice(&digest), signature })
    }

    /// What follows the serial number, in the order of a `TBSCertificate`.
    fn parts(&self) -> [&[u8]; 6] {
        let partial = &self.partial;
        [
            partial.signature.or(self.algorithm).unwrap_or_default(),
            partial.issuer,
            partial.validity,
            partial.subject,
            self.public_key,
            partial.extensions,
        ]
    }

    /// The serial number: a digest of everything else in the certificate and of both keys' names,
    /// so that no two different certificates have the same.
    fn serial(&self, scheme: Scheme) -> Result<Vec<u8>, Rc> {
        // A key without a name algorithm can only be an external one.
        let alg = self.key.public.name_alg.or(scheme.hash()).ok_or(Rc::SCHEME.parameter(2))?;
        let mut hasher = Hasher::new(alg);
        self.parts().iter().for_each(|part| hasher.update(part));
        hasher.update(&self.key.name);
        hasher.update(&self.object.name);
        let digest = hasher.finish();
        Ok(der::integer(digest.get(..SERIAL_SIZE).unwrap_or(&digest)))
    }
}

#[cfg(test)]
mod tests {
    use openssl::x509::X509;

    use super::*;
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::HashAlg;
    use crate::profile::Algorithms;
    use crate::sign::test_keys::{self, with, without};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, ObjectAttributes, Reader};

    const ECDSA: Scheme = Scheme::Ecdsa(HashAlg::Sha256);
    const KEY_USAGE: [u8; 5] = [der::OID, 3, 0x55, 0x1d, 0x0f];
    const TPMA_OBJECT: [u8; 9] = [der::OID, 7, 0x67, 0x81, 0x05, 0x0a, 0x01, 0x01, 0x01];

    fn name(common_name: &[u8]) -> Vec<u8> {
        let text = der::element(0x0c, &[common_name]);
        let attribute = der::sequence(&[&[der::OID, 3, 0x55, 4, 3], &text]);
        der::sequence(&[&der::element(0x31, &[&attribute])])
    }

    fn validity() -> Vec<u8> {
        let (from, to) = (der::element(0x17, &[b"250101000000Z"]), b"350101000000Z");
        der::sequence(&[&from, &der::element(0x17, &[to])])
    }

    fn bits_extension(oid: &[u8], bits: &[u8]) -> Vec<u8> {
        let value = der::element(der::OCTET_STRING, &[&der::element(der::BIT_STRING, &[bits])]);
        der::sequence(&[oid, &[1, 1, 0xff], &value])
    }

    fn extensions(list: &[&[u8]]) -> Vec<u8> {
        der::element(x509::EXTENSIONS, &[&der::sequence(list)])
    }

    fn digital_signature() -> Vec<u8> {
        bits_extension(&KEY_USAGE, &[7, 0x80])
    }

    fn partial(extensions: &[u8]) -> Vec<u8> {
        der::sequence(&[&name(b"issuer"), &validity(), &name(b"subject"), extensions])
    }

    fn certify(object: Handle, key: Handle, scheme: Scheme, partial: &[u8]) -> CommandBuilder {
        command(Cc::CERTIFY_X509)
            .handle(object)
            .handle(key)
            .password(b"")
            .password(b"")
            .put(Data::empty())
            .put(scheme)
            .put(MaxBuffer::new(partial).unwrap())
    }

    /// Puts the certificate together as a caller does.
    fn assemble(response: &[u8], given: Option<&[u8]>, extensions: &[u8]) -> Vec<u8> {
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(response, &algorithms);
        let added = reader.get::<MaxBuffer>().unwrap();
        let digest = reader.get::<Digest>().unwrap();
        let signature = reader.get::<Signature>().unwrap();
        assert_eq!(reader.finish(), Ok(()));
        let mut elements =
            der::Der::new(der::Der::new(&added).only(der::SEQUENCE).unwrap().content);
        let mut next = || elements.element().unwrap().whole.to_vec();
        let (version, serial) = (next(), next());
        let algorithm = given.map_or_else(&mut next, <[u8]>::to_vec);
        let public_key = next();
        assert!(elements.is_empty());
        let (issuer, subject) = (name(b"issuer"), name(b"subject"));
        let tbs = der::sequence(&[
            &version,
            &serial,
            &algorithm,
            &issuer,
            &validity(),
            &subject,
            &public_key,
            extensions,
        ]);
        let alg = signature.scheme().hash().unwrap();
        assert_eq!(digest.as_bytes(), hash(alg, &[&tbs]).as_bytes());
        let value = match &signature {
            Signature::Rsa { signature, .. } => signature.to_vec(),
            Signature::Ecc { r, s, .. } => der::sequence(&[&der::integer(r), &der::integer(s)]),
            other => panic!("unexpected {other:?}"),
        };
        der::sequence(&[&tbs, &algorithm, &der::bit_string(&[&value])])
    }

    #[test]
    fn another_library_verifies_the_certificate() {
        let extensions = extensions(&[&digital_signature()]);
        let cases = [
            (test_keys::ecc(Curve::P256, Scheme::Null), ECDSA),
            (test_keys::ecc(Curve::P384, Scheme::Null), Scheme::Ecdsa(HashAlg::Sha384)),
            (test_keys::ecc(Curve::P521, Scheme::Null), Scheme::Ecdsa(HashAlg::Sha512)),
            (test_keys::rsa(Scheme::Null), Scheme::Rsassa(HashAlg::Sha256)),
            (test_keys::rsa(Scheme::Null), Scheme::Rsapss(HashAlg::Sha256)),
        ];
        for (key, scheme) in cases {
            let mut client = Client::started();
            let key = client.load(key);
            let command = certify(key, key, scheme, &partial(&extensions));
            let response = client.run(&command).unwrap();
            let certificate = assemble(&response.parameters, None, &extensions);
            let certificate = X509::from_der(&certificate).unwrap();
            let public_key = certificate.public_key().unwrap();
            assert!(certificate.verify(&public_key).unwrap(), "{scheme:?}");
        }
    }

    #[test]
    fn a_signature_algorithm_that_is_given_is_used_and_not_added() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let extensions = extensions(&[&digital_signature()]);
        let algorithm = x509::signature_algorithm(&client.key(key), ECDSA).unwrap();
        let partial = der::sequence(&[
            &algorithm,
            &name(b"issuer"),
            &validity(),
            &name(b"subject"),
            &extensions,
        ]);
        let response = client.run(&certify(key, key, Scheme::Null, &partial)).unwrap();
        let certificate = assemble(&response.parameters, Some(&algorithm), &extensions);
        let certificate = X509::from_der(&certificate).unwrap();
        assert!(certificate.verify(&certificate.public_key().unwrap()).unwrap());
    }

    #[test]
    fn a_key_that_signs_only_certificates_signs_them() {
        let mut client = Client::started();
        let key = with(test_keys::ecc(Curve::P256, ECDSA), ObjectAttributes::X509_SIGN);
        let key = client.load(key);
        let partial = partial(&extensions(&[&digital_signature()]));
        client.run(&certify(key, key, Scheme::Null, &partial)).unwrap();
    }

    #[test]
    fn the_attributes_in_the_certificate_must_be_those_of_the_key() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let attributes = client.key(key).public.attributes.0;
        for (claimed, expected) in
            [(attributes, None), (attributes ^ 2, Some(Rc::ATTRIBUTES.handle(1)))]
        {
            let mut bits = vec![0];
            bits.extend_from_slice(&claimed.to_be_bytes());
            let claim = bits_extension(&TPMA_OBJECT, &bits);
            let partial = partial(&extensions(&[&digital_signature(), &claim]));
            let command = certify(key, key, Scheme::Null, &partial);
            assert_eq!(client.run(&command).err(), expected);
        }
    }

    #[test]
    fn a_use_that_the_key_does_not_allow_and_a_missing_use_are_named() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let encipherment = bits_extension(&KEY_USAGE, &[5, 0x20]);
        let other = der::sequence(&[&[der::OID, 3, 0x55, 0x1d, 0x0e], &[der::OCTET_STRING, 0]]);
        for extension in [encipherment, other] {
            let partial = partial(&extensions(&[&extension]));
            let command = certify(key, key, Scheme::Null, &partial);
            assert_eq!(client.rc(&command), Rc::VALUE.parameter(3));
        }
    }

    #[test]
    fn a_malformed_certificate_is_named() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let good = extensions(&[&digital_signature()]);
        let (issuer, subject) = (name(b"issuer"), name(b"subject"));
        let whole = partial(&good);
        let trailing = [&whole[..], &[0]].concat();
        let cases = [
            (Vec::new(), Rc::VALUE),
            (vec![0x30], Rc::SIZE),
            (vec![0x31, 0], Rc::SIZE),
            (trailing, Rc::SIZE),
            (whole[..whole.len() - 1].to_vec(), Rc::SIZE),
            (der::sequence(&[&issuer, &validity(), &subject]), Rc::VALUE),
            (der::sequence(&[&issuer, &validity(), &good]), Rc::VALUE),
            (der::sequence(&[&issuer, &validity(), &subject, &good, &good]), Rc::VALUE),
            (der::sequence(&[&issuer, &issuer, &issuer, &issuer, &issuer, &good]), Rc::VALUE),
            (der::sequence(&[&issuer, &validity(), &subject, &[2, 0], &good]), Rc::VALUE),
            (partial(&extensions(&[&[4, 0]])), Rc::VALUE),
            (partial(&[x509::EXTENSIONS, 0]), Rc::VALUE),
        ];
        for (bytes, expected) in cases {
            let command = certify(key, key, Scheme::Null, &bytes);
            assert_eq!(client.rc(&command), expected.parameter(3), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_in_the_certificate_must_be_an_asymmetric_key() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let aes = client.load(test_keys::aes());
        let partial = partial(&extensions(&[&digital_signature()]));
        let command = certify(aes, key, Scheme::Null, &partial);
        assert_eq!(client.rc(&command), Rc::ASYMMETRIC.handle(1));
    }

    #[test]
    fn the_signing_key_must_sign_and_be_there() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let mute = without(test_keys::ecc(Curve::P256, ECDSA), ObjectAttributes::SIGN);
        let mute = client.load(mute);
        let partial = partial(&extensions(&[&digital_signature()]));
        for signer in [mute, Handle::NULL] {
            let command = certify(key, signer, Scheme::Null, &partial);
            assert_eq!(client.rc(&command), Rc::KEY.handle(2));
        }
    }

    #[test]
    fn a_scheme_that_certificates_do_not_have_is_the_keys_fault() {
        let mut client = Client::started();
        let scheme = Scheme::EcSchnorr(HashAlg::Sha256);
        let key = client.load(test_keys::ecc(Curve::P256, scheme));
        let partial = partial(&extensions(&[&digital_signature()]));
        let command = certify(key, key, Scheme::Null, &partial);
        assert_eq!(client.rc(&command), Rc::SCHEME.handle(2));
        let command = certify(key, key, ECDSA, &partial);
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
    }

    #[test]
    fn the_reserved_parameter_is_empty() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let command = command(Cc::CERTIFY_X509)
            .handle(key)
            .handle(key)
            .password(b"")
            .password(b"")
            .put(Data::from_slice(&[0]))
            .put(Scheme::Null)
            .put(MaxBuffer::empty());
        assert_eq!(client.rc(&command), Rc::SIZE.parameter(1));
    }
}
