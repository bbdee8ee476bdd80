//! The anchor against a chip: swtpm, behind a proxy that can fail.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::Private;
use vtpm_anchor::testing::{Fault, TestChip};
use vtpm_anchor::{Access, Anchor, Approval, CREDENTIAL_PURPOSE, Error, HANDOVER_PURPOSE, Making};
use vtpm_credential::tpm::{
    Attest, Attested, HashAlg, PcrSelection, PublicArea, Signature, make_credential,
};
use vtpm_store::{InstanceId, Key, KeySource, MinimumGeneration};

const ID: InstanceId = InstanceId([7; 16]);

fn made(chip: &TestChip, directory: &Path) -> Anchor {
    Anchor::init(directory, &chip.tcti(), &Making::default(), &Access::default()).unwrap()
}

fn opened(directory: &Path) -> Anchor {
    Anchor::open(directory, &Access::default()).unwrap()
}

#[test]
fn what_is_sealed_opens_again_in_another_process_and_for_its_instance_only() {
    let (chip, directory) = (TestChip::start(), tempfile::tempdir().unwrap());
    let key = Key::generate().unwrap();
    let sealed = made(&chip, directory.path()).key_source().seal_key(&ID, &key).unwrap();
    let again = opened(directory.path());
    let source = again.key_source();
    assert_eq!(source.unseal_key(&ID, &sealed).unwrap(), key);
    let refused = source.unseal_key(&InstanceId([8; 16]), &sealed).unwrap_err();
    assert!(refused.to_string().contains("another instance"), "{refused}");
    for at in [0, 2, 20, sealed.len() / 2, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 0x10;
        assert!(source.unseal_key(&ID, &changed).is_err(), "byte {at}");
    }
    assert_eq!(chip.occupied(), 0, "nothing stays in the chip");
    println!("sealing, unsealing and refusing: {}", again.operations());
}

#[test]
fn identity_keys_are_certified_by_an_ak_that_the_ek_vouches_for() {
    let (chip, directory) = (TestChip::start(), tempfile::tempdir().unwrap());
    let anchor = made(&chip, directory.path());
    let keys = anchor.keys().unwrap();
    for (key, certification, purpose) in [
        (&keys.handover, &keys.handover_certification, HANDOVER_PURPOSE),
        (&keys.credential, &keys.credential_certification, CREDENTIAL_PURPOSE),
    ] {
        let signature = Signature::from_bytes(&certification.signature).unwrap();
        let attest = Attest::verify(&certification.attest, &signature, &keys.attestation).unwrap();
        attest.must_certify(&key.name(), purpose).unwrap();
        assert!(attest.must_certify(&keys.attestation.name(), purpose).is_err());
        assert!(attest.must_certify(&key.name(), b"other").is_err());
        assert!(Attest::verify(&certification.attest, &signature, &keys.credential).is_err());
    }
    for ek in anchor.endorsement() {
        let ek = PublicArea::from_bytes(&ek.public).unwrap();
        let challenge = make_credential(&ek, &keys.attestation.name(), b"a secret").unwrap();
        let opened = anchor.activate(&challenge);
        // The anchor answers for the EK that it shows; the other one's challenge fails.
        let shown = PublicArea::from_bytes(&anchor.endorsement()[0].public).unwrap();
        assert_eq!(opened.is_ok(), ek == shown);
        assert!(opened.is_err() || **opened.unwrap() == *b"a secret");
        let other = make_credential(&ek, &keys.credential.name(), b"a secret").unwrap();
        assert!(anchor.activate(&other).is_err(), "for another key");
    }
    assert_eq!(chip.occupied(), 0, "nothing stays in the chip");
}

#[test]
fn an_rsa_ek_with_a_certificate_is_shown_and_activates() {
    let (chip, directory) = (TestChip::with_certificates(), tempfile::tempdir().unwrap());
    let anchor = made(&chip, directory.path());
    let shown = &anchor.endorsement()[0];
    assert_eq!(shown.kind, vtpm_anchor::EkKind::Rsa2048);
    assert!(!shown.certificate.is_empty());
    let ek = PublicArea::from_bytes(&shown.public).unwrap();
    let name = anchor.keys().unwrap().attestation.name();
    let challenge = make_credential(&ek, &name, &[0x5a; 32]).unwrap();
    assert_eq!(**anchor.activate(&challenge).unwrap(), [0x5a; 32]);
}

#[test]
fn a_quote_is_over_the_values_beside_it() {
    let (chip, directory) = (TestChip::start(), tempfile::tempdir().unwrap());
    let anchor = made(&chip, directory.path());
    chip.extend(7, [9; 32]);
    let selection = PcrSelection::from_str("sha1:0+sha256:0,1,2,3,4,5,6,7,16,17,23").unwrap();
    let quote = anchor.quote(b"a nonce", &selection).unwrap();
    let signature = Signature::from_bytes(&quote.attestation.signature).unwrap();
    let ak = anchor.keys().unwrap().attestation;
    let attest = Attest::verify(&quote.attestation.attest, &signature, &ak).unwrap();
    assert_eq!(attest.extra_data, b"a nonce");
    let Attested::Quote { selection: quoted, digest } = attest.attested else { panic!() };
    assert_eq!(quoted, selection);
    assert_eq!(quote.values.digest(&selection, HashAlg::Sha256).unwrap(), digest);
}

#[test]
fn another_chip_and_a_cleared_chip_are_told_apart() {
    let (chip, other) = (TestChip::start(), TestChip::start());
    let directory = tempfile::tempdir().unwrap();
    let anchor = made(&chip, directory.path());
    let sealed = anchor.key_source().seal_key(&ID, &Key::generate().unwrap()).unwrap();
    let access = Access { tpm: Some(other.tcti()), ..Access::default() };
    let elsewhere = Anchor::open(directory.path(), &access).unwrap();
    let refused = elsewhere.key_source().unseal_key(&ID, &sealed).unwrap_err();
    assert!(refused.to_string().contains("is not the one"), "{refused}");
    assert!(matches!(elsewhere.check(), Err(Error::OtherChip { .. })));

    chip.clear();
    let after = opened(directory.path());
    let refused = after.key_source().unseal_key(&ID, &sealed).unwrap_err();
    assert!(refused.to_string().contains("was cleared"), "{refused}");
    assert!(matches!(after.remembered(&ID), Err(Error::Cleared { .. })));

    let again =
        Anchor::init(directory.path(), &chip.tcti(), &Making::default(), &Access::default());
    assert!(matches!(again, Err(Error::IdentityExists { .. })));
    let making = Making::default();
    let new =
        Anchor::recreate(directory.path(), None, &making, &Access::default(), "cleared").unwrap();
    assert_eq!(new.audit().len(), 1);
    assert!(new.key_source().unseal_key(&ID, &sealed).is_err());
    let key = Key::generate().unwrap();
    let sealed = new.key_source().seal_key(&ID, &key).unwrap();
    assert_eq!(opened(directory.path()).key_source().unseal_key(&ID, &sealed).unwrap(), key);
}

fn approve(anchor: &Anchor, selection: &PcrSelection, key: &EcKey<Private>) -> Approval {
    let values = anchor.pcr_values(selection).unwrap();
    let message = Approval::message(selection, &values).unwrap();
    let digest = HashAlg::Sha256.digest(&[&message]);
    let signature = EcdsaSig::sign(&digest, key).unwrap();
    let pad = |number: &openssl::bn::BigNumRef| number.to_vec_padded(32).unwrap();
    let (r, s) = (pad(signature.r()), pad(signature.s()));
    let signature = Signature::Ecdsa { hash: HashAlg::Sha256, r, s };
    Approval::new(selection, &values, &signature, "the state as it is").unwrap()
}

#[test]
fn under_a_pcr_policy_only_approved_states_open_and_approval_may_come_later() {
    let (mut chip, directory) = (TestChip::start(), tempfile::tempdir().unwrap());
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let (operator, stranger) = (EcKey::generate(&group).unwrap(), EcKey::generate(&group).unwrap());
    let selection = PcrSelection::from_str("sha256:4,7").unwrap();
    let making =
        Making { pcr_policy: Some((selection.clone(), operator.public_key_to_pem().unwrap())) };
    let anchor = Anchor::init(directory.path(), &chip.tcti(), &making, &Access::default()).unwrap();
    let key = Key::generate().unwrap();
    let sealed = anchor.key_source().seal_key(&ID, &key).unwrap();
    let refused = anchor.key_source().unseal_key(&ID, &sealed).unwrap_err();
    assert!(refused.to_string().contains("not approved"), "{refused}");
    let forged = anchor.bless(&approve(&anchor, &selection, &stranger));
    assert!(matches!(forged, Err(Error::NotAuthority)), "{forged:?}");
    anchor.bless(&approve(&anchor, &selection, &operator)).unwrap();
    assert_eq!(anchor.key_source().unseal_key(&ID, &sealed).unwrap(), key);

    chip.extend(7, [1; 32]);
    let after = opened(directory.path());
    assert!(after.key_source().unseal_key(&ID, &sealed).is_err(), "another state");
    after.bless(&approve(&after, &selection, &operator)).unwrap();
    assert_eq!(after.key_source().unseal_key(&ID, &sealed).unwrap(), key);
    chip.reset();
    assert_eq!(opened(directory.path()).key_source().unseal_key(&ID, &sealed).unwrap(), key);
    chip.extend(4, [2; 32]);
    assert!(opened(directory.path()).key_source().unseal_key(&ID, &sealed).is_err());
    assert_eq!(chip.occupied(), 0, "nothing stays in the chip");
}

#[test]
fn generations_are_remembered_and_an_older_table_is_refused() {
    let (chip, directory) = (TestChip::start(), tempfile::tempdir().unwrap());
    let anchor = made(&chip, directory.path());
    assert_eq!(anchor.remembered(&ID).unwrap(), None);
    anchor.remember(&[(ID, 5)]).unwrap();
    let table = directory.path().join("generations");
    let old = std::fs::read(&table).unwrap();
    anchor.remember(&[(ID, 9), (InstanceId([8; 16]), 1)]).unwrap();
    anchor.remember(&[(ID, 3)]).unwrap();
    let before = anchor.operations();
    assert_eq!(opened(directory.path()).remembered(&ID).unwrap(), Some(MinimumGeneration(9)));
    anchor.remember(&[(ID, 10)]).unwrap();
    println!("remembering: {}", anchor.operations().since(&before));
    std::fs::write(&table, old).unwrap();
    let refused = opened(directory.path()).remembered(&ID).unwrap_err();
    assert!(matches!(refused, Error::TableRolledBack { .. }), "{refused}");
    anchor.accept_loss(&[(ID, 2)], "the disk was restored").unwrap();
    let after = opened(directory.path());
    assert_eq!(after.remembered(&ID).unwrap(), Some(MinimumGeneration(2)));
    assert_eq!(after.audit()[0].reason, "the disk was restored");
}

#[test]
fn a_chip_that_fails_once_at_any_command_is_not_noticed() {
    let (chip, directory) = (TestChip::start(), tempfile::tempdir().unwrap());
    let anchor = made(&chip, directory.path());
    let (key, source) = (Key::generate().unwrap(), anchor.key_source());
    let sealed = source.seal_key(&ID, &key).unwrap();
    let before = chip.commands().len();
    source.unseal_key(&ID, &sealed).unwrap();
    anchor.remember(&[(ID, 1)]).unwrap();
    let commands = chip.commands().len() - before;
    let mut generation = 1;
    for fault in [Fault::CutBefore, Fault::CutAfter, Fault::Answer(0x922), Fault::Answer(0x908)] {
        for at in 0..commands as u64 {
            let anchor = opened(directory.path());
            chip.plan(at, fault, 1);
            let unsealed = anchor.key_source().unseal_key(&ID, &sealed);
            assert_eq!(unsealed.expect("unsealed"), key, "{fault:?} at {at}");
            generation += 1;
            anchor.remember(&[(ID, generation)]).unwrap();
            chip.heal();
            let remembered = opened(directory.path()).remembered(&ID).unwrap();
            assert_eq!(remembered, Some(MinimumGeneration(generation)), "{fault:?} at {at}");
        }
    }
}

#[test]
fn a_chip_that_stays_away_gives_an_error_and_comes_back() {
    let (chip, directory) = (TestChip::start(), tempfile::tempdir().unwrap());
    let anchor = made(&chip, directory.path());
    let key = Key::generate().unwrap();
    let sealed = anchor.key_source().seal_key(&ID, &key).unwrap();
    anchor.remember(&[(ID, 4)]).unwrap();
    chip.go_away();
    let refused = anchor.key_source().unseal_key(&ID, &sealed).unwrap_err();
    assert!(refused.to_string().contains("cannot be reached"), "{refused}");
    let refused = anchor.remember(&[(ID, 5)]).unwrap_err();
    assert!(refused.is_passing() && refused.to_string().contains("Nothing is lost"), "{refused}");
    chip.heal();
    assert_eq!(anchor.key_source().unseal_key(&ID, &sealed).unwrap(), key);
    assert_eq!(anchor.remembered(&ID).unwrap(), Some(MinimumGeneration(4)));
}

#[test]
fn a_chip_that_hangs_is_given_up_and_one_that_is_busy_for_long_is_named() {
    let (chip, directory) = (TestChip::start(), tempfile::tempdir().unwrap());
    drop(made(&chip, directory.path()));
    let access = Access { patience: Duration::from_millis(500), ..Access::default() };
    let anchor = Anchor::open(directory.path(), &access).unwrap();
    chip.plan(0, Fault::Hang(Duration::from_secs(3)), 1);
    let refused = anchor.check().unwrap_err();
    assert!(matches!(refused, Error::Silent { .. }), "{refused}");
    chip.plan(0, Fault::Answer(0x922), u64::MAX);
    let refused = opened(directory.path()).check().unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }), "{refused}");
    chip.plan(0, Fault::Answer(0x902), 1);
    let refused = opened(directory.path()).check().unwrap_err();
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    chip.plan(0, Fault::Answer(0x101), 1);
    let refused = opened(directory.path()).check().unwrap_err();
    assert!(refused.to_string().contains("0x101"), "{refused}");
    chip.heal();
    opened(directory.path()).check().unwrap();
}

#[test]
fn signatures_of_the_credential_key_verify() {
    let (chip, directory) = (TestChip::start(), tempfile::tempdir().unwrap());
    let anchor = made(&chip, directory.path());
    let digest = HashAlg::Sha256.digest(&[b"to be signed"]);
    let signature = anchor.sign(digest.try_into().unwrap()).unwrap();
    let key = anchor.keys().unwrap().credential;
    signature.verify(&key, b"to be signed", "a message").unwrap();
    assert!(signature.verify(&key, b"another", "a message").is_err());
    anchor.mix_entropy().unwrap();
}
