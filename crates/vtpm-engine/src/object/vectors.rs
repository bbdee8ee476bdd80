//! Golden vectors: what another TPM made must load here, and primary objects must come out the same
//! in every release. The vectors are text in `vectors/`, one `name = hex` a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::samples::{
    FIXED, OWN, Stored, ecc_signing, ecc_storage, hmac_key, next, rsa_storage, sensitive,
    sym_cipher,
};
use crate::crypto::ecc::Curve;
use crate::test_util::{Client, command};
use crate::wire::{
    Aes, Cc, Data, Derive, Digest, EncryptedSecret, Handle, IdObject, Label, Marshal,
    ObjectAttributes as Attr, Private, Public, PublicId, PublicParms, Reader, Sensitive,
    SensitiveData, Sized2b, SymMode, Template, Unmarshal,
};
use zeroize::Zeroizing;

fn read(file: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/object/vectors/");
    std::fs::read_to_string(format!("{folder}{file}")).unwrap_or_default()
}

struct Vectors(BTreeMap<String, Vec<u8>>);

impl Vectors {
    fn load(file: &str) -> Self {
        let text = read(file);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.map(|line| line.split_once(" = ").unwrap()).map(parse).collect())
    }

    fn get(&self, name: &str) -> &[u8] {
        self.0.get(name).unwrap_or_else(|| panic!("no vector {name}"))
    }

    fn structure<T: Unmarshal>(&self, name: &str) -> T {
        let algorithms = crate::Algorithms::default();
        let mut reader = Reader::new(self.get(name), &algorithms);
        let value = reader.get().unwrap();
        assert!(reader.is_empty());
        value
    }

    /// A sensitive area with its size in front.
    fn sensitive(&self, name: &str) -> Sensitive {
        self.structure::<Sized2b<Sensitive>>(name).0
    }
}

fn parse((name, hex): (&str, &str)) -> (String, Vec<u8>) {
    let digit = |byte: &u8| (*byte as char).to_digit(16).unwrap() as u8;
    let bytes = hex.as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1]));
    (name.to_owned(), bytes.collect())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A TPM with the known storage key of another one, and that key's child.
fn with_child(vectors: &Vectors, kind: &str) -> (Client, Handle, Handle) {
    let mut client = Client::started();
    let root = client.primary(Handle::OWNER, &ecc_storage());
    let public = vectors.structure(&format!("{kind} parent public"));
    let parent =
        client.import(root, &public, &vectors.sensitive(&format!("{kind} parent sensitive")));
    client.flush(root);
    let child = Stored {
        private: Private::from_slice(vectors.get(&format!("{kind} child private"))),
        public: vectors.structure(&format!("{kind} child public")),
    };
    let child = client.load_stored(parent, &child).unwrap();
    (client, parent, child)
}

#[test]
fn what_another_tpm_stored_below_a_known_key_is_loaded_and_unsealed() {
    let vectors = Vectors::load("swtpm.txt");
    for kind in ["ecc", "rsa"] {
        let (mut client, _, child) = with_child(&vectors, kind);
        let unseal = command(Cc::UNSEAL).handle(child).password(b"pass");
        let reply = client.run(&unseal).unwrap();
        assert_eq!(reply.parameters, SensitiveData::from_slice(b"sealed data").to_bytes());
    }
}

#[test]
fn a_credential_that_another_tpm_made_is_activated() {
    let vectors = Vectors::load("swtpm.txt");
    for kind in ["ecc", "rsa"] {
        let (mut client, parent, child) = with_child(&vectors, kind);
        let activate = command(Cc::ACTIVATE_CREDENTIAL)
            .handle(child)
            .handle(parent)
            .password(b"pass")
            .password(b"")
            .put(IdObject::from_slice(vectors.get(&format!("{kind} credential"))))
            .put(EncryptedSecret::from_slice(vectors.get(&format!("{kind} credential secret"))));
        let reply = client.run(&activate).unwrap();
        assert_eq!(reply.parameters, Digest::from_slice(b"credential").to_bytes());
    }
}

#[test]
fn what_another_tpm_duplicated_with_both_wrappers_is_imported() {
    let vectors = Vectors::load("swtpm.txt");
    for kind in ["ecc", "rsa"] {
        let (mut client, parent, _) = with_child(&vectors, kind);
        let public: Public = vectors.structure(&format!("{kind} duplicate public"));
        let import = command(Cc::IMPORT)
            .handle(parent)
            .password(b"")
            .put(Data::from_slice(vectors.get(&format!("{kind} duplicate key"))))
            .put(Sized2b(public.clone()))
            .put(Private::from_slice(vectors.get(&format!("{kind} duplicate"))))
            .put(EncryptedSecret::from_slice(vectors.get(&format!("{kind} duplicate seed"))))
            .put(Aes::cfb(128));
        let mut rest = client.run(&import).unwrap().parameters;
        let private = next::<Private>(&client, &mut rest);
        client.load_stored(parent, &Stored { private, public }).unwrap();
    }
}

#[test]
fn derived_objects_are_those_of_another_tpm() {
    let vectors = Vectors::load("swtpm.txt");
    for hash in ["sha256", "sha512"] {
        let mut client = Client::started();
        let root = client.primary(Handle::OWNER, &ecc_storage());
        let public = vectors.structure(&format!("derivation {hash} public"));
        let secret = vectors.sensitive(&format!("derivation {hash} sensitive"));
        let parent = client.import(root, &public, &secret);
        for (kind, label, context) in [
            ("p256", "label", "context"),
            ("p384", "label", "context"),
            ("p521", "label", "context"),
            ("hmac", "label", ""),
            ("aes", "", "context"),
        ] {
            let expected = vectors.get(&format!("derivation {hash} {kind}"));
            let mut template: Public = vectors.structure(&format!("derivation {hash} {kind}"));
            template.unique = PublicId::Derive(Derive::default());
            let derive = Derive {
                label: Label::from_slice(label.as_bytes()),
                context: Label::from_slice(context.as_bytes()),
            };
            let create = command(Cc::CREATE_LOADED)
                .handle(parent)
                .password(b"")
                .put(sensitive(b"", &derive.to_bytes()))
                .put(Template::from_slice(&template.to_bytes()));
            let handle = client.run(&create).unwrap().handle.unwrap();
            let object = client.tpm.object(handle).unwrap();
            assert_eq!(to_hex(&object.public.to_bytes()), to_hex(expected), "{hash} {kind}");
            client.flush(handle);
        }
    }
}

#[test]
fn primary_objects_are_the_same_in_every_release() {
    let mut client = Client::started();
    let hierarchies = &mut client.tpm.permanent.hierarchies;
    hierarchies.owner.seed = Zeroizing::new([0x5a; 64]);
    hierarchies.owner.proof = Zeroizing::new([0x0f; 64]);
    hierarchies.endorsement.seed = Zeroizing::new([0xe5; 64]);
    hierarchies.endorsement.proof = Zeroizing::new([0xf0; 64]);
    let mut p521 = ecc_signing();
    if let PublicParms::Ecc(parms) = &mut p521.parms {
        parms.curve = Curve::P521;
    }
    let aes = sym_cipher(FIXED.with(OWN).with(Attr::DECRYPT), Some(SymMode::Cfb));
    let mut text = String::from(
        "# Primary objects of fixed seeds (see the test): public and sensitive areas. A change\n\
         # here means that every key of every TPM in use is lost.\n",
    );
    for (name, hierarchy, template) in [
        ("rsa-2048", Handle::OWNER, rsa_storage(2048)),
        ("p256", Handle::OWNER, ecc_storage()),
        ("p521", Handle::OWNER, p521),
        ("aes-128", Handle::OWNER, aes),
        ("hmac", Handle::OWNER, hmac_key()),
        ("endorsement rsa-2048", Handle::ENDORSEMENT, rsa_storage(2048)),
        ("endorsement p256", Handle::ENDORSEMENT, ecc_storage()),
    ] {
        let handle = client.primary(hierarchy, &template);
        let object = client.tpm.object(handle).unwrap();
        writeln!(text, "{name} public = {}", to_hex(&object.public.to_bytes())).unwrap();
        let sensitive = object.sensitive.as_ref().unwrap().to_bytes();
        writeln!(text, "{name} sensitive = {}", to_hex(&sensitive)).unwrap();
        client.flush(handle);
    }
    assert!(text == read("primary.txt"), "now they are\n{text}");
}
