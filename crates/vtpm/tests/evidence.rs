//! Linked evidence verifies, and no single change of it does.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use support::Host;
use vtpm_anchor::testing::TestChip;
use vtpm_credential::certificate::Roots;
use vtpm_credential::evidence::{Evidence, Policy};
use vtpm_credential::tpm::HashAlg;

const NONCE: &str = "00112233445566778899aabbccddeeff";

/// A crypto-agile log of one measurement into PCR 4.
fn event_log(digest: [u8; 32]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 3, 0, 0, 0];
    bytes.extend_from_slice(&[0; 20]);
    let sizes = [1, 0, 0, 0, 0x0b, 0, 32, 0, 0];
    let body = [b"Spec ID Event03\0".as_slice(), &[0; 8], &sizes].concat();
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&[4, 0, 0, 0, 3, 0, 0, 0x80, 1, 0, 0, 0, 0x0b, 0]);
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(&[5, 0, 0, 0, b's', b't', b'a', b'r', b't']);
    bytes
}

/// Evidence of a guest that measured something, and the policy by which it is trusted.
struct Case {
    host: Host,
    id: String,
    entry: String,
}

impl Case {
    fn new() -> Self {
        let host = Host::bare(TestChip::with_certificates());
        std::fs::write(host.at("makers.pem"), host.chip.ca_certificates()).unwrap();
        host.ok(&["host", "init"]);
        // swtpm's EK certificates are issued by an authority between.
        std::fs::write(host.at("host/ek-chain.pem"), host.chip.ca_certificates()).unwrap();
        host.certify();
        let id = host.create();
        let entry = host.enrol("rack 4", None);
        Self { host, id, entry }
    }

    fn attest(&self, name: &str) -> Evidence {
        let running = self.host.start(&self.id, &[]);
        running.extend(4, [9; 32]);
        std::fs::write(self.host.at("log"), event_log([9; 32])).unwrap();
        let (socket, log) = (running.socket.to_str().unwrap(), self.host.path("log"));
        let out = self.host.path(name);
        let arguments = ["attest", &self.id, "--socket", socket, "--nonce", NONCE];
        let more = ["--event-log", &log, "--out", &out];
        self.host.ok(&[arguments.as_slice(), &more].concat());
        running.stop();
        Evidence::from_json(&std::fs::read(self.host.at(name)).unwrap()).unwrap()
    }

    fn policy_text(&self, more: &str) -> String {
        let measured = hex::encode(HashAlg::Sha256.digest(&[&[0; 32], &[9; 32]]));
        let zero = "0".repeat(64);
        format!(
            "version = 1\nmax-age = 300\nhost-roots = [\"makers.pem\"]\n\
             credential-roots = [\"root.pem\"]\nrequire-event-log = true\n{more}\n{}\n\
             [host-pcrs.sha256]\n7 = [\"{zero}\"]\n[guest-pcrs.sha256]\n4 = [\"{measured}\"]\n",
            self.entry
        )
    }

    fn policy(&self) -> Policy {
        let roots = |name: &str| Roots::from_pem(&std::fs::read(self.host.at(name)).unwrap());
        Policy {
            file: toml::from_str(&self.policy_text("")).unwrap(),
            host_roots: roots("makers.pem").unwrap(),
            credential_roots: roots("root.pem").unwrap(),
        }
    }
}

type Change = (&'static str, fn(&mut Evidence), &'static str);

/// Single changes, and what the verifier must say.
const CHANGES: [Change; 34] = [
    ("format", |e| e.format = "other".into(), "it is no evidence of a vTPM"),
    ("version", |e| e.version = 2, "has version 2"),
    ("nonce", |e| e.nonce[0] ^= 1, "nonce is not the one"),
    ("nonce cut", |e| e.nonce.truncate(8), "nonce is not the one"),
    ("instance", |e| e.instance[3] ^= 1, "since the host bound it: instance"),
    ("instance cut", |e| e.instance.truncate(15), "has not 16 bytes"),
    ("generation", |e| e.generation += 1, "since the host bound it: generation"),
    ("time", |e| e.issued_at -= 1, "since the host bound it: issued_at"),
    ("time back", |e| e.issued_at -= 1000, "older than 300 s"),
    ("time ahead", |e| e.issued_at += 1000, "from the future"),
    ("guest EK", |e| flip(&mut e.guest.ek), "of another key than the one that is shown"),
    ("guest AK", |e| flip(&mut e.guest.ak), "since the host bound it: guest.ak"),
    ("guest AK none", |e| e.guest.ak = e.guest.ek.clone(), "is no attestation key"),
    ("guest certificate", |e| flip(&mut e.guest.certificates[0]), "guest's endorsement: "),
    (
        "guest certificate gone",
        |e| e.guest.certificates.clear(),
        "endorsement: there is no certificate",
    ),
    ("guest chain gone", |e| e.guest.certificates.truncate(1), "no trusted root issued"),
    ("guest attest", |e| flip(&mut e.guest.quote.attest), "guest's quote: the signature"),
    ("guest signature", |e| flip(&mut e.guest.quote.signature), "guest's quote: the signature"),
    ("guest PCR", |e| set_pcr(&mut e.guest.pcrs, 0), "guest's PCR values are not those"),
    ("guest PCR gone", |e| drop_pcr(&mut e.guest.pcrs, 4), "PCR 4 (sha256) is not in the quote"),
    ("event log", |e| flip(&mut e.guest.event_log), "event_log"),
    ("event log cut", |e| e.guest.event_log.truncate(70), "event log is malformed"),
    ("event log gone", |e| e.guest.event_log.clear(), "the policy wants one"),
    ("host EK", |e| flip(&mut e.host.ek), "host's endorsement: "),
    ("host AK", |e| flip(&mut e.host.ak), "is not the one that rack 4 was enrolled with"),
    ("host CK", |e| flip(&mut e.host.ck), "host's credential key: "),
    (
        "host CK attest",
        |e| flip(&mut e.host.ck_certification.attest),
        "certification: the signature",
    ),
    ("host CK other", |e| e.host.ck_certification = e.host.quote.clone(), "is a quote, not a"),
    ("host certificate", |e| flip(&mut e.host.certificates[0]), "host's endorsement: "),
    (
        "host certificate gone",
        |e| e.host.certificates.clear(),
        "endorsement: there is no certificate",
    ),
    ("host attest", |e| flip(&mut e.host.quote.attest), "host's quote: the signature"),
    ("host signature", |e| flip(&mut e.host.quote.signature), "host's quote: the signature"),
    ("host PCR", |e| set_pcr(&mut e.host.pcrs, 7), "PCR 7 (sha256) is 01"),
    ("list of parts", |e| drop(e.bound.remove("nonce")), "list of bound parts"),
];

/// In the middle: in a digest, a coordinate or a signature.
fn flip(bytes: &mut [u8]) {
    let at = bytes.len() * 3 / 5;
    bytes[at] ^= 0x20;
}

fn set_pcr(values: &mut vtpm_credential::tpm::PcrValues, pcr: u32) {
    values.set(HashAlg::Sha256, pcr, &[1; 32]);
}

fn drop_pcr(values: &mut vtpm_credential::tpm::PcrValues, pcr: u32) {
    values.0.get_mut("sha256").unwrap().remove(&pcr);
}

#[test]
fn evidence_verifies_and_every_single_change_is_refused_with_its_reason() {
    let case = Case::new();
    let host = &case.host;
    let evidence = case.attest("evidence.json");
    std::fs::write(host.at("policy.toml"), case.policy_text("")).unwrap();
    let (policy, file) = (host.path("policy.toml"), host.path("changed.json"));
    let verify = |evidence: &Evidence, more: &[&str]| {
        std::fs::write(&file, evidence.to_json()).unwrap();
        let arguments = ["verify", "--policy", &policy, &file];
        let output = host.run(&[arguments.as_slice(), more].concat());
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let nonce = ["--nonce", NONCE];
    let (trusted, report) = verify(&evidence, &nonce);
    assert!(trusted, "{report}");
    println!("{report}");

    let mut reasons = BTreeSet::new();
    for (name, change, wanted) in CHANGES {
        let mut changed = evidence.clone();
        change(&mut changed);
        let (trusted, report) = verify(&changed, &nonce);
        assert!(!trusted, "{name} was not noticed:\n{report}");
        assert!(report.contains(wanted), "{name}: {wanted:?} is not in\n{report}");
        let failures = report.lines().filter(|line| line.starts_with("FAILED"));
        reasons.insert(failures.collect::<Vec<_>>().join("\n"));
    }
    assert!(reasons.len() > 25, "{} different reports", reasons.len());

    let (trusted, report) = verify(&evidence, &["--nonce", "ff"]);
    assert!(!trusted && report.contains("nonce is not the one"), "{report}");
    let late = (evidence.issued_at + 301).to_string();
    let (trusted, report) = verify(&evidence, &["--nonce", NONCE, "--at", &late]);
    assert!(!trusted && report.contains("older than 300 s"), "{report}");
    std::fs::write(&file, &evidence.to_json()[..2000]).unwrap();
    let output = host.run(&["verify", "--policy", &policy, &file, "--nonce", NONCE, "--json"]);
    assert!(!output.status.success());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["trusted"], false);
}

#[test]
fn every_byte_of_every_part_counts() {
    let case = Case::new();
    let (evidence, policy) = (case.attest("evidence.json"), case.policy());
    let nonce = hex::decode(NONCE).unwrap();
    let trusted =
        |evidence: &Evidence| evidence.judge(&policy, Some(&nonce), SystemTime::now()).trusted;
    assert!(trusted(&evidence));
    let parts: [fn(&mut Evidence) -> &mut Vec<u8>; 16] = [
        |e| &mut e.instance,
        |e| &mut e.nonce,
        |e| &mut e.guest.ek,
        |e| &mut e.guest.ak,
        |e| &mut e.guest.certificates[0],
        |e| &mut e.guest.certificates[1],
        |e| &mut e.guest.quote.attest,
        |e| &mut e.guest.quote.signature,
        |e| &mut e.guest.event_log,
        |e| &mut e.host.ek,
        |e| &mut e.host.ak,
        |e| &mut e.host.ck,
        |e| &mut e.host.ck_certification.attest,
        |e| &mut e.host.ck_certification.signature,
        |e| &mut e.host.quote.attest,
        |e| &mut e.host.quote.signature,
    ];
    for (number, part) in parts.into_iter().enumerate() {
        let mut changed = evidence.clone();
        for at in 0..part(&mut changed).len() {
            part(&mut changed)[at] ^= 0x01;
            assert!(!trusted(&changed), "part {number}, byte {at}");
            part(&mut changed)[at] ^= 0x01;
        }
        assert!(trusted(&changed));
    }
}

#[test]
fn evidence_put_together_from_two_is_refused() {
    let (case, other) = (Case::new(), Case::new());
    let policy = case.policy();
    let nonce = hex::decode(NONCE).unwrap();
    let said = |evidence: &Evidence, policy: &Policy| {
        let report = evidence.judge(policy, Some(&nonce), SystemTime::now());
        assert!(!report.trusted);
        report.failures().map(|check| check.detail.clone()).collect::<Vec<_>>().join("\n")
    };
    let (mine, theirs) = (case.attest("evidence.json"), other.attest("evidence.json"));
    let whole = said(&theirs, &policy);
    assert!(whole.contains("is not enrolled"), "another host: {whole}");
    let mut mixed = mine.clone();
    mixed.host = theirs.host.clone();
    let told = said(&mixed, &policy);
    assert!(told.contains("binds other parts"), "another host's quote: {told}");
    let mut mixed = mine.clone();
    mixed.guest.quote = theirs.guest.quote.clone();
    let told = said(&mixed, &policy);
    assert!(told.contains("guest's quote: the signature"), "another vTPM's quote: {told}");
    let mut mixed = mine.clone();
    mixed.guest = theirs.guest.clone();
    mixed.bound = mixed.parts();
    let told = said(&mixed, &policy);
    assert!(told.contains("binds other parts"), "another vTPM with a new list: {told}");

    // A second vTPM of the same host.
    let second = Case { host: case.host, id: String::new(), entry: case.entry };
    let id = second.host.create();
    let second = Case { id, ..second };
    let neighbour = second.attest("second.json");
    assert!(neighbour.judge(&policy, Some(&nonce), SystemTime::now()).trusted);
    let mut mixed = mine.clone();
    mixed.guest.quote = neighbour.guest.quote;
    assert!(said(&mixed, &policy).contains("guest's quote: the signature"));
    let mut narrow = policy.clone();
    narrow.file.instances = vec![hex::encode(&mine.instance)];
    assert!(mine.judge(&narrow, Some(&nonce), SystemTime::now()).trusted);
    let told = said(&Evidence { guest: mixed.guest, ..mine.clone() }, &narrow);
    assert!(!told.is_empty());
    narrow.file.instances = vec!["0".repeat(32)];
    assert!(said(&mine, &narrow).contains("none that the policy is about"));
    let later = SystemTime::now() + Duration::from_secs(3600);
    assert!(!mine.judge(&policy, Some(&nonce), later).trusted);
}
