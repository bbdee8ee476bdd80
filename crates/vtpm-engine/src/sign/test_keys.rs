//! Signing keys for tests, made without the commands that create objects, and a parser of
//! attestations.

use std::sync::OnceLock;

use crate::crypto::Rng;
use crate::crypto::drbg::Drbg;
use crate::crypto::ecc::{Curve, EccPrivate};
use crate::crypto::hash::HashAlg;
use crate::crypto::rsa::RsaPrivate;
use crate::hierarchy::Hierarchy;
use crate::object::Object;
use crate::profile::Algorithms;
use crate::wire::{
    Aes, Alg, Auth, ClockInfo, Data, Digest, EccParms, EccPoint, EccScheme, GENERATED, Handle,
    KeyedHashScheme, Name, ObjectAttributes, Public, PublicId, PublicParms, Rc, Reader, RsaKeyBits,
    RsaParms, RsaScheme, Scheme, Sensitive, SensitiveComposite, Tag,
};

use crate::test_util::Client;

const ATTRIBUTES: ObjectAttributes =
    ObjectAttributes::SIGN.with(ObjectAttributes::USER_WITH_AUTH).with(ObjectAttributes::NO_DA);

fn object(parms: PublicParms, unique: PublicId, composite: &[u8]) -> Object {
    let alg = parms.alg();
    let public = Public {
        name_alg: Some(HashAlg::Sha256),
        attributes: ATTRIBUTES,
        auth_policy: Digest::empty(),
        parms,
        unique,
    };
    let sensitive = Sensitive {
        alg,
        auth: Auth::empty(),
        seed: Auth::empty(),
        composite: SensitiveComposite::from_slice(composite),
    };
    let name = public.name();
    let qualified_name =
        crate::object::qualified_name(&Handle::OWNER.0.to_be_bytes(), &public, &name);
    Object {
        public,
        sensitive: Some(sensitive),
        name,
        qualified_name,
        hierarchy: Hierarchy::Owner,
        primary: false,
        external: false,
        st_clear: false,
        prepared: OnceLock::new(),
    }
}

fn random(size: usize) -> Vec<u8> {
    let mut seed = [0; 32];
    openssl::rand::rand_bytes(&mut seed).unwrap();
    let mut bytes = vec![0; size];
    Drbg::from_seed(&seed, &[]).fill(&mut bytes);
    bytes
}

/// A new ECC key of the owner hierarchy.
pub(crate) fn ecc(curve: Curve, scheme: Scheme) -> Object {
    let mut drbg = Drbg::from_seed(&random(32), &[]);
    let private = EccPrivate::generate(curve, &mut drbg).unwrap();
    let parms = EccParms { symmetric: None, scheme: EccScheme(scheme), curve, kdf: None };
    let unique = EccPoint::from(private.public().clone());
    object(PublicParms::Ecc(parms), PublicId::Ecc(unique), private.scalar())
}

/// An RSA-1024 key of the owner hierarchy, always the same.
pub(crate) fn rsa(scheme: Scheme) -> Object {
    static KEY: OnceLock<RsaPrivate> = OnceLock::new();
    let private = KEY.get_or_init(|| {
        let mut drbg = Drbg::from_seed(&[5; 32], &[b"test key"]);
        RsaPrivate::generate(1024, 65537, &mut drbg, &|| false).unwrap()
    });
    let parms = RsaParms {
        symmetric: None,
        scheme: RsaScheme(scheme),
        key_bits: RsaKeyBits(1024),
        exponent: 0,
    };
    let unique = PublicId::Rsa(private.modulus().to_vec().into());
    object(PublicParms::Rsa(parms), unique, private.prime())
}

/// An HMAC key of the owner hierarchy.
pub(crate) fn hmac(scheme: KeyedHashScheme) -> Object {
    let unique = PublicId::Digest(Digest::from(random(32)));
    object(PublicParms::KeyedHash(scheme), unique, &[0x0b; 20])
}

/// An AES key with the attribute `sign`, which for it means encryption.
pub(crate) fn aes() -> Object {
    let unique = PublicId::Digest(Digest::from(random(32)));
    object(PublicParms::SymCipher(Aes::cfb(128)), unique, &[0x0a; 16])
}

/// The key with further attributes.
pub(crate) fn with(mut key: Object, attributes: ObjectAttributes) -> Object {
    key.public.attributes = key.public.attributes.with(attributes);
    renamed(key)
}

/// The key without some attributes.
pub(crate) fn without(mut key: Object, attributes: ObjectAttributes) -> Object {
    key.public.attributes = key.public.attributes.without(attributes);
    renamed(key)
}

/// The key without its private part.
pub(crate) fn public_only(mut key: Object) -> Object {
    key.sensitive = None;
    key.prepared = OnceLock::new();
    key
}

fn renamed(mut key: Object) -> Object {
    key.name = key.public.name();
    key
}

impl Client {
    /// Loads a key.
    pub(crate) fn load(&mut self, key: Object) -> Handle {
        self.tpm.load_object(key).unwrap()
    }

    /// A key that is loaded.
    pub(crate) fn key(&self, handle: Handle) -> std::sync::Arc<Object> {
        self.tpm.object(handle).unwrap()
    }

    /// Starts a sequence, which is an object that is no key.
    pub(crate) fn load_sequence(&mut self) -> Handle {
        use crate::object::{Slot, sequence};
        let state = sequence::SequenceState::hash(HashAlg::Sha256);
        let sequence = sequence::Sequence { auth: Auth::empty(), state };
        self.tpm.objects.insert(Slot::Sequence(Box::new(sequence))).unwrap()
    }
}

/// A `TPMS_ATTEST` taken apart.
#[derive(Debug)]
pub(crate) struct ParsedAttest {
    pub(crate) tag: Tag,
    pub(crate) signer: Name,
    pub(crate) extra_data: Data,
    pub(crate) clock_info: ClockInfo,
    pub(crate) firmware_version: u64,
    /// The bytes of the attested part.
    pub(crate) attested: Vec<u8>,
}

/// Parses an attestation, which must start with `TPM_GENERATED_VALUE`.
pub(crate) fn parse_attest(bytes: &[u8]) -> ParsedAttest {
    let algorithms = Algorithms::default();
    let mut reader = Reader::new(bytes, &algorithms);
    assert_eq!(reader.get::<u32>(), Ok(GENERATED));
    let mut parse = || -> Result<_, Rc> {
        Ok(ParsedAttest {
            tag: reader.get()?,
            signer: reader.get()?,
            extra_data: reader.get()?,
            clock_info: reader.get()?,
            firmware_version: reader.get()?,
            attested: reader.rest().to_vec(),
        })
    };
    parse().unwrap()
}

/// Takes a response of an attestation command apart and verifies the signature, if there is a key.
pub(crate) fn checked_attest(
    client: &Client,
    key: Option<&Object>,
    response: &[u8],
) -> ParsedAttest {
    let algorithms = Algorithms::default();
    let mut reader = Reader::new(response, &algorithms);
    let bytes = reader.get::<crate::attest::AttestBuffer>().unwrap();
    if let Some(key) = key {
        let signature = reader.get::<crate::wire::Signature>().unwrap();
        let alg = signature.scheme().hash().unwrap();
        let digest = crate::crypto::hash::hash(alg, &[&bytes]);
        assert_eq!(client.tpm.verify(key, &signature, &digest), Ok(()));
    } else {
        assert_eq!(reader.get::<Alg>(), Ok(Alg::NULL));
    }
    assert_eq!(reader.finish(), Ok(()));
    parse_attest(&bytes)
}
