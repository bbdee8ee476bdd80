//! Templates of the usual kinds of object, and short ways to make them, for tests.

use crate::crypto::ecc::Curve;
use crate::crypto::hash::HashAlg;
use crate::session::SessionKind;
use crate::test_util::{Client, CommandBuilder, Reply, command};
use crate::wire::{
    Aes, Alg, Auth, Cc, Data, Digest, EccParms, EccPoint, EccScheme, EncryptedSecret, Handle,
    KeyedHashScheme, Marshal, Nonce, ObjectAttributes as Attr, PcrSelections, Private, Public,
    PublicId, PublicKeyRsa, PublicParms, Rc, Reader, RsaKeyBits, RsaParms, RsaScheme, Scheme,
    Sensitive, SensitiveCreate, SensitiveData, Sized2b, SymDef, SymMode, Unmarshal, marshal_sized,
};

/// The user's key, from the TPM's own secrets.
pub(crate) const OWN: Attr = Attr::SENSITIVE_DATA_ORIGIN.with(Attr::USER_WITH_AUTH);
/// Never leaves this TPM.
pub(crate) const FIXED: Attr = Attr::FIXED_TPM.with(Attr::FIXED_PARENT);
/// A storage key that never leaves this TPM.
pub(crate) const STORAGE: Attr =
    FIXED.with(OWN).with(Attr::RESTRICTED).with(Attr::DECRYPT).with(Attr::NO_DA);

fn public(attributes: Attr, parms: PublicParms, unique: PublicId) -> Public {
    Public {
        name_alg: Some(HashAlg::Sha256),
        attributes,
        auth_policy: Digest::empty(),
        parms,
        unique,
    }
}

/// An ECC key on P-256.
pub(crate) fn ecc(attributes: Attr, scheme: Scheme, symmetric: Option<Aes>) -> Public {
    let parms = EccParms { symmetric, scheme: EccScheme(scheme), curve: Curve::P256, kdf: None };
    public(attributes, PublicParms::Ecc(parms), PublicId::Ecc(EccPoint::default()))
}

/// An RSA key.
pub(crate) fn rsa(bits: u16, attributes: Attr, scheme: Scheme, symmetric: Option<Aes>) -> Public {
    let parms =
        RsaParms { symmetric, scheme: RsaScheme(scheme), key_bits: RsaKeyBits(bits), exponent: 0 };
    public(attributes, PublicParms::Rsa(parms), PublicId::Rsa(PublicKeyRsa::empty()))
}

/// A storage key on P-256.
pub(crate) fn ecc_storage() -> Public {
    ecc(STORAGE, Scheme::Null, Some(Aes::cfb(128)))
}

/// A storage key with RSA.
pub(crate) fn rsa_storage(bits: u16) -> Public {
    rsa(bits, STORAGE, Scheme::Null, Some(Aes::cfb(128)))
}

/// A key on P-256 that signs with any scheme.
pub(crate) fn ecc_signing() -> Public {
    ecc(FIXED.with(OWN).with(Attr::SIGN), Scheme::Null, None)
}

/// A keyed hash object.
pub(crate) fn keyed_hash(attributes: Attr, scheme: KeyedHashScheme) -> Public {
    public(attributes, PublicParms::KeyedHash(scheme), PublicId::Digest(Digest::empty()))
}

/// An HMAC key made by the TPM.
pub(crate) fn hmac_key() -> Public {
    keyed_hash(FIXED.with(OWN).with(Attr::SIGN), KeyedHashScheme::Hmac(HashAlg::Sha256))
}

/// Sealed data.
pub(crate) fn sealed() -> Public {
    keyed_hash(FIXED.with(Attr::USER_WITH_AUTH), KeyedHashScheme::Null)
}

/// A derivation parent made by the TPM.
pub(crate) fn derivation_parent() -> Public {
    let scheme = KeyedHashScheme::Xor(HashAlg::Sha256, Some(Alg::KDF1_SP800_108));
    keyed_hash(STORAGE, scheme)
}

/// An AES key.
pub(crate) fn sym_cipher(attributes: Attr, mode: Option<SymMode>) -> Public {
    let parms = PublicParms::SymCipher(Aes { bits: 128, mode });
    public(attributes, parms, PublicId::Digest(Digest::empty()))
}

/// A sensitive area for creation.
pub(crate) fn sensitive(auth: &[u8], data: &[u8]) -> Sized2b<SensitiveCreate> {
    Sized2b(SensitiveCreate {
        user_auth: Auth::from_slice(auth),
        data: SensitiveData::from_slice(data),
    })
}

/// `TPM2_CreatePrimary` or `TPM2_Create`, by an empty password.
pub(crate) fn creation(
    code: Cc,
    parent: Handle,
    sensitive: Sized2b<SensitiveCreate>,
    template: &Public,
) -> CommandBuilder {
    command(code)
        .handle(parent)
        .password(b"")
        .put(sensitive)
        .put(Sized2b(template.clone()))
        .put(Data::empty())
        .put(PcrSelections::default())
}

/// An object outside the TPM.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) private: Private,
    pub(crate) public: Public,
}

/// Reads the next structure of response parameters.
pub(crate) fn next<T: Unmarshal>(client: &Client, parameters: &mut Vec<u8>) -> T {
    let algorithms = client.tpm.profile.algorithms;
    let mut reader = Reader::new(parameters, &algorithms);
    let value = reader.get().unwrap();
    let rest = reader.rest().to_vec();
    *parameters = rest;
    value
}

impl Client {
    /// A primary object without authorization value.
    pub(crate) fn primary(&mut self, hierarchy: Handle, template: &Public) -> Handle {
        let command = creation(Cc::CREATE_PRIMARY, hierarchy, sensitive(b"", b""), template);
        self.run(&command).unwrap().handle.unwrap()
    }

    /// An object below a parent without authorization value.
    pub(crate) fn create(
        &mut self,
        parent: Handle,
        auth: &[u8],
        data: &[u8],
        template: &Public,
    ) -> Result<Stored, Rc> {
        let reply = self.run(&creation(Cc::CREATE, parent, sensitive(auth, data), template))?;
        Ok(self.stored(&reply))
    }

    /// The object in a response of `TPM2_Create`.
    pub(crate) fn stored(&self, reply: &Reply) -> Stored {
        let mut parameters = reply.parameters.clone();
        let private = next::<Private>(self, &mut parameters);
        let public = next::<Sized2b<Public>>(self, &mut parameters).0;
        Stored { private, public }
    }

    /// Loads an object below a parent without authorization value.
    pub(crate) fn load_stored(&mut self, parent: Handle, stored: &Stored) -> Result<Handle, Rc> {
        let command = command(Cc::LOAD)
            .handle(parent)
            .password(b"")
            .put(&stored.private)
            .put(Sized2b(stored.public.clone()));
        Ok(self.run(&command)?.handle.unwrap())
    }

    /// Makes and loads an object below a parent without authorization value.
    pub(crate) fn child(&mut self, parent: Handle, template: &Public, data: &[u8]) -> Handle {
        let stored = self.create(parent, b"", data, template).unwrap();
        self.load_stored(parent, &stored).unwrap()
    }

    /// Empties a slot.
    pub(crate) fn flush(&mut self, handle: Handle) {
        assert!(self.tpm.objects.remove(handle));
    }

    /// A policy session whose digest is [`POLICY`], for one command.
    pub(crate) fn policy_for(&mut self, code: Cc) -> Handle {
        let start = command(Cc::START_AUTH_SESSION)
            .handle(Handle::NULL)
            .handle(Handle::NULL)
            .put(Nonce::from_slice(&[1; 16]))
            .put(Nonce::empty())
            .put(1u8)
            .put(SymDef::Null)
            .put(HashAlg::Sha256);
        let handle = self.run(&start).unwrap().handle.unwrap();
        let session = self.tpm.sessions.get_mut(handle).unwrap();
        assert_eq!(session.kind, SessionKind::Policy);
        session.policy.digest = Digest::from_slice(&POLICY);
        session.policy.command = Some(code);
        handle
    }
}

/// The policy that [`Client::policy_for`] fulfils.
pub(crate) const POLICY: [u8; 32] = [7; 32];

/// `TPM2_Import` without wrappers below a parent without authorization value.
pub(crate) fn import_clear(
    parent: Handle,
    public: &Public,
    sensitive: &Sensitive,
) -> CommandBuilder {
    let mut duplicate = Vec::new();
    marshal_sized(&mut duplicate, |out| sensitive.marshal(out));
    command(Cc::IMPORT)
        .handle(parent)
        .password(b"")
        .put(Data::empty())
        .put(Sized2b(public.clone()))
        .put(Private::from_slice(&duplicate))
        .put(EncryptedSecret::empty())
        .put(Alg::NULL)
}

impl Client {
    /// An object with a known sensitive area, imported and loaded below a parent.
    pub(crate) fn import(
        &mut self,
        parent: Handle,
        public: &Public,
        sensitive: &Sensitive,
    ) -> Handle {
        let mut rest = self.run(&import_clear(parent, public, sensitive)).unwrap().parameters;
        let private = next::<Private>(self, &mut rest);
        self.load_stored(parent, &Stored { private, public: public.clone() }).unwrap()
    }
}
