//! Certificates are what the profile says and what OpenSSL accepts; chains are checked.

use std::process::Command;
use std::slice::from_ref;
use std::time::{Duration, SystemTime};

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::rsa::Rsa;
use vtpm_credential::certificate::{
    EkRequest, Issuer, Purpose, Roots, Signer, SoftwareSigner, Subject, TpmIdentity,
    TpmSpecification, Validity, issue_authority, issue_ek, pem_of, request, self_signed_authority,
    split_pem,
};
use vtpm_credential::tpm::{PublicArea, template};

fn with_point(template: &[u8], tail: usize, nid: Nid, size: usize) -> PublicArea {
    let key = EcKey::generate(&EcGroup::from_curve_name(nid).unwrap()).unwrap();
    let mut context = openssl::bn::BigNumContext::new().unwrap();
    let (mut x, mut y) = (openssl::bn::BigNum::new().unwrap(), openssl::bn::BigNum::new().unwrap());
    key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context).unwrap();
    let mut bytes = template[..template.len() - tail].to_vec();
    for coordinate in [x, y] {
        bytes.extend_from_slice(&(size as u16).to_be_bytes());
        bytes.extend_from_slice(&coordinate.to_vec_padded(size as i32).unwrap());
    }
    PublicArea::from_bytes(&bytes).unwrap()
}

fn endorsement_keys() -> [PublicArea; 3] {
    let mut rsa = template::ek_rsa_2048();
    rsa.truncate(rsa.len() - 256);
    rsa.extend_from_slice(&Rsa::generate(2048).unwrap().n().to_vec());
    [
        PublicArea::from_bytes(&rsa).unwrap(),
        with_point(&template::ek_p256(), 68, Nid::X9_62_PRIME256V1, 32),
        with_point(&template::ek_p384(), 4, Nid::SECP384R1, 48),
    ]
}

/// A root, and an authority below it with its certificate.
struct Operator {
    root: Vec<u8>,
    host: SoftwareSigner,
    host_certificate: Vec<u8>,
}

fn operator() -> Operator {
    let (ca, host) = (SoftwareSigner::generate().unwrap(), SoftwareSigner::generate().unwrap());
    let valid = Validity::starting_now(Some(Duration::from_secs(3600)));
    let subject: Subject = "CN=Operator's root,O=Example".parse().unwrap();
    let root = self_signed_authority(&ca, &subject, 1, &valid).unwrap();
    let wanted = request(&host, &"CN=host 7".parse().unwrap()).unwrap();
    let issuer = Issuer::new(&ca, &root).unwrap();
    let host_certificate = issue_authority(wanted.as_bytes(), &issuer, &valid).unwrap();
    Operator { root, host, host_certificate }
}

fn ek_certificate(operator: &Operator, ek: &PublicArea) -> Vec<u8> {
    let identity = TpmIdentity { manufacturer: *b"VTPM", model: "vTPM".into(), version: 0x10000 };
    let issuer = Issuer::new(&operator.host, &operator.host_certificate).unwrap();
    let request = EkRequest {
        ek,
        identity: &identity,
        specification: TpmSpecification::default(),
        validity: Validity::starting_now(None),
    };
    issue_ek(&request, &issuer).unwrap()
}

#[test]
fn openssl_verifies_the_chain_of_every_kind_of_ek_and_shows_what_the_profile_wants() {
    let (operator, directory) = (operator(), tempfile::tempdir().unwrap());
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("root.pem"), pem_of(from_ref(&operator.root)).unwrap()).unwrap();
    std::fs::write(at("host.pem"), pem_of(from_ref(&operator.host_certificate)).unwrap()).unwrap();
    for ek in endorsement_keys() {
        let certificate = ek_certificate(&operator, &ek);
        ek.must_be_certified_by(&certificate).unwrap();
        std::fs::write(at("ek.pem"), pem_of(&[certificate]).unwrap()).unwrap();
        let verified = Command::new("openssl")
            // The name of an EK certificate is in a critical SAN with an empty subject.
            .args(["verify", "-x509_strict", "-CAfile"])
            .args([at("root.pem"), "-untrusted".into(), at("host.pem"), at("ek.pem")])
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        let shown = Command::new("openssl")
            .args(["x509", "-noout", "-text", "-in"])
            .arg(at("ek.pem"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&shown.stdout);
        for wanted in ["id:5654504D", "2.23.133.2.2", "2.23.133.8.1", "CA:FALSE", "id:00010000"] {
            assert!(text.contains(wanted), "{wanted} is not in {text}");
        }
    }
}

#[test]
fn every_changed_byte_of_a_certificate_is_refused() {
    let operator = operator();
    let [_, ek, _] = endorsement_keys();
    let certificate = ek_certificate(&operator, &ek);
    let roots = Roots::from_der(from_ref(&operator.root)).unwrap();
    let now = SystemTime::now();
    let chain = |leaf: Vec<u8>| vec![leaf, operator.host_certificate.clone()];
    let path = roots.check(&chain(certificate.clone()), Purpose::EndorsementKey, now).unwrap();
    assert_eq!(path.len(), 3);
    for at in 0..certificate.len() {
        let mut changed = certificate.clone();
        changed[at] ^= 0x04;
        let checked = roots.check(&chain(changed), Purpose::EndorsementKey, now);
        assert!(checked.is_err(), "byte {at}");
    }
}

#[test]
fn each_way_for_a_chain_to_be_wrong_has_its_own_message() {
    let (operator, other) = (operator(), operator());
    let [_, ek, other_ek] = endorsement_keys();
    let leaf = ek_certificate(&operator, &ek);
    let now = SystemTime::now();
    let said = |roots: &[Vec<u8>], chain: &[Vec<u8>], purpose, at| {
        let roots = Roots::from_der(roots).unwrap();
        roots.check(chain, purpose, at).unwrap_err().to_string()
    };
    let root = [operator.root.clone()];
    let full = [leaf.clone(), operator.host_certificate.clone()];
    let ek_purpose = Purpose::EndorsementKey;
    let later = now + Duration::from_secs(7200);
    let earlier = now - Duration::from_secs(7200);
    for (message, wanted) in [
        (said(&root, &[], ek_purpose, now), "there is no certificate"),
        (said(&root, &full[..1], ek_purpose, now), "no trusted root issued"),
        (said(&[], &full, ek_purpose, now), "no trusted root issued"),
        (said(from_ref(&other.root), &full, ek_purpose, now), "was not signed by its issuer"),
        (said(&root, &full, ek_purpose, later), "its time has ended"),
        (said(&root, &full, ek_purpose, earlier), "its time has not begun"),
        (said(&root, &full[1..], ek_purpose, now), "not one of an endorsement key"),
        (said(&root, &full, Purpose::Authority, now), "none for issuing"),
        (said(&root, &[vec![0x30, 0]], ek_purpose, now), "malformed"),
    ] {
        assert!(message.contains(wanted), "{wanted:?} is not in {message:?}");
    }
    assert!(other_ek.must_be_certified_by(&leaf).is_err());
    // An EK's certificate issues nothing, even if its holder signs with it.
    let below = [leaf.clone(), leaf];
    assert!(Roots::from_der(&root).unwrap().check(&below, ek_purpose, now).is_err());
}

#[test]
fn keys_and_pem_come_back() {
    let signer = SoftwareSigner::generate().unwrap();
    let again = SoftwareSigner::from_pem(&signer.to_pem().unwrap()).unwrap();
    assert_eq!(signer.public_key().unwrap(), again.public_key().unwrap());
    let operator = operator();
    let both = [operator.root, operator.host_certificate];
    let pem = pem_of(&both).unwrap();
    assert_eq!(split_pem(format!("# a remark\n{pem}\n").as_bytes()).unwrap(), both);
    assert!(split_pem(&pem.as_bytes()[..pem.len() - 30]).is_err());
    assert!(SoftwareSigner::from_pem(b"nothing").is_err());
}
