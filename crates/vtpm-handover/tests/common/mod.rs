//! What the tests share: a chip in software, a judge of such chips, a journal that crashes.
//!
//! The chip's attestations are stand-ins (a shared vendor's key signs them), because the protocol
//! does not read them. Its handover key is a real one: it opens wrapped keys as TPM2_Import does.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of this module, from outside of it"
)]

pub mod shelf;

use aes::Aes128;
use aes::cipher::KeyIvInit;
use hmac::{Hmac, KeyInit, Mac};
use p256::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};
use vtpm_handover::pcr::{self, PcrSelection, PcrValue};
use vtpm_handover::{
    Attested, Challenge, Channel, Chip, ChipError, Departure, Entropy, Evidence, InstanceId, Judge,
    Judgement, Key, Local, Nonce, Peer, Refusal, RequestId, Secret, Side, Terms, WrappedKey,
};

pub const ID: InstanceId = InstanceId([0x1d; 16]);
pub const CHANNEL: Channel = Channel([0xc4; 32]);
const VENDOR: &[u8] = b"the vendor of all chips in these tests";

pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Bytes that are the same in every run.
#[derive(Debug, Clone)]
pub struct Counter {
    seed: u64,
    drawn: u64,
}

impl Counter {
    pub fn from_seed(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }
}

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), ChipError> {
        for chunk in out.chunks_mut(32) {
            self.drawn += 1;
            let block = mac(&self.seed.to_be_bytes(), &[&self.drawn.to_be_bytes()]);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

/// A chip in software.
#[derive(Clone)]
pub struct SoftChip {
    pub ek_public: Vec<u8>,
    pub ak_public: Vec<u8>,
    hk: SecretKey,
    pub pcr_7: [u8; 32],
    /// Shows a quote made for another session.
    pub replays: bool,
    /// Fails its n-th operation from now.
    pub fails_in: Option<usize>,
}

impl SoftChip {
    pub fn new(number: u8) -> Self {
        let hk = SecretKey::from_slice(&mac(VENDOR, &[b"hk", &[number]])).unwrap();
        Self {
            ek_public: format!("the endorsement key of host {number}").into_bytes(),
            ak_public: format!("the attestation key of host {number}").into_bytes(),
            hk,
            pcr_7: [7; 32],
            replays: false,
            fails_in: None,
        }
    }

    fn hk_point(&self) -> [u8; 65] {
        self.hk.public_key().to_sec1_bytes().as_ref().try_into().unwrap()
    }

    fn tick(&mut self) -> Result<(), ChipError> {
        match &mut self.fails_in {
            Some(0) => {
                self.fails_in = None;
                Err(ChipError::new("the chip does not answer", "look at it"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn sign(ak_public: &[u8], attest: Vec<u8>) -> Attested {
    let signature = mac(VENDOR, &[ak_public, &attest]).to_vec();
    Attested { attest, signature }
}

fn credential_secret(ek: &[u8], ak: &[u8], seed: &[u8]) -> [u8; 32] {
    mac(VENDOR, &[b"credential", ek, b"/", ak, b"/", seed])
}

impl Chip for SoftChip {
    fn evidence(&mut self, nonce: &Nonce, wanted: &PcrSelection) -> Result<Evidence, ChipError> {
        self.tick()?;
        let pcrs: Vec<_> = wanted
            .iter()
            .map(|(bank, index)| PcrValue { bank, index, digest: self.pcr_7.to_vec() })
            .collect();
        let nonce = if self.replays { [0x55; 32] } else { nonce.0 };
        let mut attest = nonce.to_vec();
        pcrs.iter().for_each(|value| attest.extend(&value.digest));
        let mut hk_public = b"the handover key ".to_vec();
        hk_public.extend(self.hk_point());
        Ok(Evidence {
            ek_chain: vec![b"certificate".to_vec()],
            ek_public: self.ek_public.clone(),
            ak_public: self.ak_public.clone(),
            hk_certify: sign(&self.ak_public, hk_public.clone()),
            hk_public,
            quote: sign(&self.ak_public, attest),
            pcrs,
        })
    }

    fn activate(&mut self, challenge: &Challenge) -> Result<Secret, ChipError> {
        self.tick()?;
        let secret = credential_secret(&self.ek_public, &self.ak_public, &challenge.secret);
        if challenge.credential != mac(&secret, &[b"credential"]) {
            return Err(ChipError::new("the credential is not for this chip", "look at the peer"));
        }
        Ok(Secret::new(secret.to_vec()))
    }

    fn unwrap(&mut self, wrapped: &WrappedKey) -> Result<Key, ChipError> {
        self.tick()?;
        let digest: [u8; 32] = Sha256::digest(self.pcr_7).into();
        import(&self.hk, wrapped, &digest)
            .ok_or_else(|| ChipError::new("the key cannot be opened", "look at the peer"))
    }
}

/// TPM2_Import, TPM2_Load and TPM2_Unseal as Part 1 and Part 3 have them, written the other way
/// round than the wrapping.
pub fn import(hk: &SecretKey, wrapped: &WrappedKey, pcr_digest: &[u8; 32]) -> Option<Key> {
    let (x, y) = wrapped.seed.split_at_checked(34)?;
    let mut point = vec![4];
    point.extend(x.strip_prefix(b"\0\x20")?);
    point.extend(y.strip_prefix(b"\0\x20")?);
    let ephemeral = PublicKey::from_sec1_bytes(&point).ok()?;
    let shared = hk.diffie_hellman(&ephemeral);
    let ours = hk.public_key().to_sec1_bytes();
    let seed = Sha256::new()
        .chain_update([0, 0, 0, 1])
        .chain_update(shared.raw_secret_bytes())
        .chain_update(b"DUPLICATE\0")
        .chain_update(&point[1..33])
        .chain_update(&ours[1..33])
        .finalize();
    let mut name = vec![0, 0x0b];
    name.extend(Sha256::digest(&wrapped.public));
    let (outer, cipher) = wrapped.duplicate.strip_prefix(b"\0\x20")?.split_at_checked(32)?;
    let integrity = mac(&seed, &[b"\0\0\0\x01INTEGRITY\0\0\0\x01\0"]);
    if outer != mac(&integrity, &[cipher, &name]) {
        return None;
    }
    let storage = mac(&seed, &[b"\0\0\0\x01STORAGE\0", &name, b"\0\0\0\x80"]);
    let mut clear = cipher.to_vec();
    let key: [u8; 16] = storage[..16].try_into().unwrap();
    cfb_mode::Decryptor::<Aes128>::new(&key.into(), &[0; 16].into()).decrypt(&mut clear);
    let sensitive = clear.strip_prefix(b"\0\x48\0\x08\0\0\0\x20")?;
    let (blind, data) = sensitive.split_at_checked(32)?;
    let data = data.strip_prefix(b"\0\x20")?;
    let unique = Sha256::new().chain_update(blind).chain_update(data).finalize();
    let policy = if wrapped.pcrs.is_empty() {
        b"\0\x08\0\x0b\0\0\x04\x40\0\0".to_vec()
    } else {
        let policy = Sha256::new()
            .chain_update([0; 32])
            .chain_update(b"\0\0\x01\x7f")
            .chain_update(wrapped.pcrs.to_tpml())
            .chain_update(pcr_digest)
            .finalize();
        [b"\0\x08\0\x0b\0\0\x04\x80\0\x20", policy.as_slice()].concat()
    };
    let public = [policy.as_slice(), b"\0\x10\0\x20", unique.as_slice()].concat();
    if wrapped.public != public {
        return None;
    }
    let mut data: [u8; 32] = data.try_into().ok()?;
    Some(Key::take(&mut data))
}

/// Judges chips in software.
#[derive(Debug, Clone)]
pub struct SoftJudge {
    pub wanted: PcrSelection,
    pub trusted: Vec<Vec<u8>>,
    pub refuses: Option<Side>,
    pub entropy: Counter,
    /// Makes challenges that no chip can open.
    pub spoils_challenges: bool,
}

impl SoftJudge {
    pub fn trusting(hosts: &[u8], seed: u64) -> Self {
        Self {
            wanted: PcrSelection::none().with(pcr::SHA256, 7),
            trusted: hosts.iter().map(|host| SoftChip::new(*host).ek_public).collect(),
            refuses: None,
            entropy: Counter::from_seed(seed),
            spoils_challenges: false,
        }
    }
}

impl Judge for SoftJudge {
    fn wanted(&self) -> PcrSelection {
        self.wanted.clone()
    }

    fn judge(
        &mut self,
        side: Side,
        nonce: &Nonce,
        evidence: &Evidence,
    ) -> Result<Judgement, Refusal> {
        if !self.trusted.contains(&evidence.ek_public) {
            return Err(Refusal::UntrustedEndorsement("nobody knows it".into()));
        }
        let signed =
            |attested: &Attested| *attested == sign(&evidence.ak_public, attested.attest.clone());
        if !signed(&evidence.quote) || !signed(&evidence.hk_certify) {
            let detail = "the signature is wrong".into();
            return Err(Refusal::BadEvidence { part: "quote", detail });
        }
        let (quoted, values) = evidence.quote.attest.split_at(32);
        if quoted != nonce.0 {
            return Err(Refusal::Relayed);
        }
        if values != [7; 32] {
            return Err(Refusal::WrongPcr { bank: pcr::SHA256, index: 7, found: "?".into() });
        }
        if self.refuses == Some(side) {
            return Err(Refusal::SideNotAllowed { host: "peer".into(), side });
        }
        if evidence.hk_certify.attest != evidence.hk_public {
            let detail = "another key is certified".into();
            return Err(Refusal::BadEvidence { part: "handover key", detail });
        }
        let mut seed = [0; 32];
        self.entropy.fill(&mut seed).unwrap();
        let secret = credential_secret(&evidence.ek_public, &evidence.ak_public, &seed);
        let mut credential = mac(&secret, &[b"credential"]).to_vec();
        if self.spoils_challenges {
            credential[0] ^= 1;
        }
        let hk_point = evidence.hk_public[evidence.hk_public.len() - 65..].try_into().unwrap();
        let peer = Peer {
            label: "a host of the tests".into(),
            ek_name: evidence.ek_public.clone(),
            ak_name: evidence.ak_public.clone(),
            hk_point,
            pcrs: self.wanted.clone(),
            pcr_digest: Sha256::digest([7; 32]).into(),
        };
        let challenge = Challenge { credential, secret: seed.to_vec() };
        Ok(Judgement { peer, challenge, secret: Secret::new(secret.to_vec()) })
    }
}

/// A host: chip, judge, random bytes.
#[derive(Clone)]
pub struct Host {
    pub chip: SoftChip,
    pub judge: SoftJudge,
    pub entropy: Counter,
}

impl Host {
    /// Host `number`, which trusts hosts 1 to 3.
    pub fn new(number: u8, seed: u64) -> Self {
        Self {
            chip: SoftChip::new(number),
            judge: SoftJudge::trusting(&[1, 2, 3], seed ^ 0x1000),
            entropy: Counter::from_seed(seed ^ 0x2000),
        }
    }

    pub fn local(&mut self) -> Local<'_> {
        let Self { chip, judge, entropy } = self;
        Local { chip, judge, entropy }
    }
}

pub fn departure() -> Departure {
    Departure { instance: ID, request: RequestId::NONE, state_limit: 4096 }
}

pub fn terms() -> Terms {
    Terms::on(CHANNEL)
}
