//! The chip's side of a handover: proving, answering, opening; and judging a peer.

use openssl::bn::{BigNum, BigNumContext};
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::symm::{Cipher, Crypter, Mode};
use vtpm_anchor::testing::TestChip;
use vtpm_anchor::{Access, Anchor, Making, TrustJudge};
use vtpm_credential::tpm::{HashAlg, PublicArea, kdfa, kdfe};
use vtpm_handover::pcr::{PcrSelection, SHA256};
use vtpm_handover::policy::TrustPolicy;
use vtpm_handover::{Chip, Evidence, Judge, Nonce, Refusal, Side, WrappedKey};

const NONCE: Nonce = Nonce([5; 32]);

struct Peer {
    chip: TestChip,
    anchor: Anchor,
    _directory: tempfile::TempDir,
}

fn peer(chip: TestChip) -> Peer {
    let directory = tempfile::tempdir().unwrap();
    let access = Access::default();
    let anchor = Anchor::init(directory.path(), &chip.tcti(), &Making::default(), &access).unwrap();
    Peer { chip, anchor, _directory: directory }
}

fn pinning(evidence: &Evidence, more: &str) -> TrustJudge {
    let text = format!(
        "version = 1\n{more}\n[[host]]\nname = \"rack 4\"\nek = \"{}\"\n",
        hex::encode(evidence.host().0)
    );
    TrustJudge::new(TrustPolicy::parse(&text, |_| unreachable!()).unwrap()).unwrap()
}

#[test]
fn a_peer_with_a_pinned_ek_is_trusted_and_answers_its_challenge() {
    let mut peer = peer(TestChip::start());
    let wanted = PcrSelection::none().with(SHA256, 0).with(SHA256, 7);
    let evidence = peer.anchor.evidence(&NONCE, &wanted).unwrap();
    assert_eq!(evidence.pcrs.len(), 2);
    let mut judge = pinning(&evidence, "");
    let judgement = judge.judge(Side::Destination, &NONCE, &evidence).unwrap();
    assert_eq!(judgement.peer.label, "rack 4");
    let answer = Chip::activate(&mut peer.anchor, &judgement.challenge).unwrap();
    assert!(answer.expose() == judgement.secret.expose());
    let relayed = judge.judge(Side::Source, &Nonce([6; 32]), &evidence);
    assert!(matches!(relayed, Err(Refusal::Relayed)));
    assert_eq!(peer.chip.occupied(), 0);
}

#[test]
fn a_peer_is_trusted_by_its_makers_root_and_by_no_other() {
    let mut peer = peer(TestChip::with_certificates());
    let mut evidence = peer.anchor.evidence(&NONCE, &PcrSelection::none()).unwrap();
    assert_eq!(evidence.ek_chain.len(), 1);
    let pem = peer.chip.ca_certificates();
    let trusting = |pem: &str| {
        let text = "version = 1\n[[root]]\nname = \"makers\"\nfile = \"x\"\n";
        let policy = TrustPolicy::parse(text, |_| Ok(pem.as_bytes().to_vec())).unwrap();
        TrustJudge::new(policy).unwrap()
    };
    let judgement = trusting(&pem).judge(Side::Source, &NONCE, &evidence).unwrap();
    assert_eq!(judgement.peer.label, "makers");
    let other = TestChip::with_certificates().ca_certificates();
    let refused = trusting(&other).judge(Side::Source, &NONCE, &evidence);
    assert!(matches!(refused, Err(Refusal::UntrustedEndorsement(_))), "{refused:?}");
    evidence.ek_chain.clear();
    let refused = trusting(&pem).judge(Side::Source, &NONCE, &evidence);
    assert!(matches!(refused, Err(Refusal::UntrustedEndorsement(_))), "{refused:?}");
}

#[test]
fn every_changed_byte_of_the_evidence_is_refused() {
    let mut peer = peer(TestChip::start());
    let wanted = PcrSelection::none().with(SHA256, 0);
    let evidence = peer.anchor.evidence(&NONCE, &wanted).unwrap();
    let mut judge = pinning(&evidence, "");
    judge.judge(Side::Source, &NONCE, &evidence).unwrap();
    let parts: [fn(&mut Evidence) -> &mut Vec<u8>; 8] = [
        |e| &mut e.ek_public,
        |e| &mut e.ak_public,
        |e| &mut e.hk_public,
        |e| &mut e.hk_certify.attest,
        |e| &mut e.hk_certify.signature,
        |e| &mut e.quote.attest,
        |e| &mut e.quote.signature,
        |e| &mut e.pcrs[0].digest,
    ];
    for (number, part) in parts.into_iter().enumerate() {
        let mut changed = evidence.clone();
        for at in 0..part(&mut changed).len() {
            part(&mut changed)[at] ^= 0x40;
            // What the AK's own signatures do not show (its attributes), the challenge does.
            let judged = judge.judge(Side::Source, &NONCE, &changed);
            let answered = judged.and_then(|judgement| {
                let answer = Chip::activate(&mut peer.anchor, &judgement.challenge);
                answer.map_err(|error| Refusal::Unjudged(error.to_string()))
            });
            assert!(answered.is_err(), "part {number}, {at}");
            part(&mut changed)[at] ^= 0x40;
        }
    }
}

#[test]
fn pcrs_and_sides_are_as_the_policy_wants_them() {
    let mut peer = peer(TestChip::start());
    let wanted = PcrSelection::none().with(SHA256, 7);
    let evidence = peer.anchor.evidence(&NONCE, &wanted).unwrap();
    let zeros = "0".repeat(64);
    let good = format!("[pcrs.sha256]\n7 = [\"{zeros}\"]");
    let judgement = pinning(&evidence, &good).judge(Side::Source, &NONCE, &evidence).unwrap();
    assert_eq!(judgement.peer.pcrs, wanted);
    let bad = format!("[pcrs.sha256]\n7 = [\"{}\"]", "1".repeat(64));
    let refused = pinning(&evidence, &bad).judge(Side::Source, &NONCE, &evidence);
    assert!(matches!(refused, Err(Refusal::WrongPcr { index: 7, .. })), "{refused:?}");
    let none = peer.anchor.evidence(&NONCE, &PcrSelection::none()).unwrap();
    let refused = pinning(&evidence, &good).judge(Side::Source, &NONCE, &none);
    assert!(matches!(refused, Err(Refusal::MissingPcr { index: 7, .. })), "{refused:?}");
}

/// Wraps a key as TPM2_Import takes it (Part 1, clause 23), under PCRs as they are or under none.
fn wrap(hk: &PublicArea, key: &[u8; 32], pcrs: PcrSelection, pcr_digest: &[u8]) -> WrappedKey {
    let mut public = vec![0, 8, 0, 0x0b];
    let policy = if pcrs.is_empty() {
        public.extend_from_slice(&0x0000_0440_u32.to_be_bytes());
        vec![]
    } else {
        public.extend_from_slice(&0x0000_0480_u32.to_be_bytes());
        HashAlg::Sha256.digest(&[&[0; 32], &[0, 0, 1, 0x7f], &pcrs.to_tpml(), pcr_digest])
    };
    public.extend_from_slice(&(policy.len() as u16).to_be_bytes());
    public.extend_from_slice(&policy);
    public.extend_from_slice(&[0, 0x10, 0, 32]);
    let obfuscation = [3; 32];
    public.extend_from_slice(&HashAlg::Sha256.digest(&[&obfuscation, key]));
    let name = PublicArea::from_bytes(&public).unwrap().name();

    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let point = |key: &openssl::ec::EcPointRef| {
        let mut context = BigNumContext::new().unwrap();
        let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        key.affine_coordinates(&group, &mut x, &mut y, &mut context).unwrap();
        [x.to_vec_padded(32).unwrap(), y.to_vec_padded(32).unwrap()]
    };
    let ephemeral = EcKey::generate(&group).unwrap();
    let [own_x, own_y] = point(ephemeral.public_key());
    let their = hk.public_key().unwrap();
    let [their_x, _] = point(their.ec_key().unwrap().public_key());
    let ephemeral = PKey::from_ec_key(ephemeral).unwrap();
    let mut deriver = Deriver::new(&ephemeral).unwrap();
    deriver.set_peer(&their).unwrap();
    let z = deriver.derive_to_vec().unwrap();
    let alg = HashAlg::Sha256;
    let seed = kdfe(alg, &z, "DUPLICATE", &own_x, &their_x, 256);
    let sym_key = kdfa(alg, &seed, "STORAGE", name.as_bytes(), &[], 128);
    let hmac_key = kdfa(alg, &seed, "INTEGRITY", &[], &[], 256);

    let sensitive = [&[0, 8, 0, 0, 0, 32], &obfuscation[..], &[0, 32], key].concat();
    let sized = [&(sensitive.len() as u16).to_be_bytes(), sensitive.as_slice()].concat();
    let mut crypter =
        Crypter::new(Cipher::aes_128_cfb128(), Mode::Encrypt, &sym_key, Some(&[0; 16])).unwrap();
    let mut encrypted = vec![0; sized.len() + 16];
    let length = crypter.update(&sized, &mut encrypted).unwrap();
    encrypted.truncate(length);
    let mac = alg.hmac(&hmac_key, &[&encrypted, name.as_bytes()]);
    let duplicate = [&[0, 32], mac.as_slice(), &encrypted].concat();
    let seed = [&[0, 32], own_x.as_slice(), &[0, 32], &own_y].concat();
    WrappedKey { public, duplicate, seed, pcrs }
}

#[test]
fn a_transfer_key_opens_in_the_chip_that_it_was_wrapped_to_and_in_the_state_that_was_judged() {
    let (mut peer, mut other) = (peer(TestChip::start()), peer(TestChip::start()));
    let hk = peer.anchor.keys().unwrap().handover;
    let key = [0x77; 32];
    let wrapped = wrap(&hk, &key, PcrSelection::none(), &[]);
    assert_eq!(Chip::unwrap(&mut peer.anchor, &wrapped).unwrap().expose(), &key);
    let refused = Chip::unwrap(&mut other.anchor, &wrapped).unwrap_err();
    assert!(refused.to_string().contains("another host's handover key"), "{refused}");
    let mut changed = wrapped.clone();
    changed.duplicate[60] ^= 1;
    assert!(Chip::unwrap(&mut peer.anchor, &changed).is_err());

    let pcrs = PcrSelection::none().with(SHA256, 16);
    let digest = HashAlg::Sha256.digest(&[&[0; 32]]);
    let bound = wrap(&hk, &key, pcrs, &digest);
    assert_eq!(Chip::unwrap(&mut peer.anchor, &bound).unwrap().expose(), &key);
    peer.chip.extend(16, [1; 32]);
    let refused = Chip::unwrap(&mut peer.anchor, &bound).unwrap_err();
    assert!(refused.to_string().contains("have changed since"), "{refused}");
    assert_eq!(peer.chip.occupied(), 0, "nothing stays in the chip");
    drop(other);
}
