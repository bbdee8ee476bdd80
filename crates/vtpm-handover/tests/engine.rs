//! A wrapped key against a real TPM engine: TPM2_Import, TPM2_Load and TPM2_Unseal take it.

mod common;

use common::{Counter, Host, SoftChip, departure, shelf::Shelf, terms};
use sha2::{Digest, Sha256};
use vtpm_engine::{Platform, Profile, Tpm};
use vtpm_handover::{
    Challenge, Chip, ChipError, Destination, DestinationEvent, DestinationHost, Evidence, Key,
    Nonce, Outcome, Secret, Source, SourceEvent, SourceHost, WrappedKey, pcr::PcrSelection,
};

struct Still(Counter);

impl Platform for Still {
    fn now_ms(&mut self) -> u64 {
        0
    }
    fn entropy(&mut self, out: &mut [u8]) -> bool {
        use vtpm_handover::Entropy;
        self.0.fill(out).is_ok()
    }
}

/// A chip whose handover key and registers are in an engine.
struct EngineChip {
    soft: SoftChip,
    tpm: Tpm,
    hk: u32,
    hk_public: Vec<u8>,
}

impl EngineChip {
    fn new(soft: SoftChip) -> Self {
        let mut tpm =
            Tpm::manufacture(Profile::default(), Box::new(Still(Counter::from_seed(5)))).unwrap();
        tpm.init();
        run(&mut tpm, 0x144, &[], &[&[0, 0]]);
        // A P-256 storage key: SHA-256, AES-128-CFB, fixedTPM, restricted, decrypt.
        let public: &[u8] = &[
            0, 0x23, 0, 0x0b, 0, 3, 0, 0x72, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10,
            0, 0, 0, 0,
        ];
        let size = u16::try_from(public.len()).unwrap().to_be_bytes();
        let sensitive = [0, 4, 0, 0, 0, 0];
        let made = run(
            &mut tpm,
            0x131,
            &[0x4000_0001],
            &[&sensitive, &size, public, &[0, 0], &[0, 0, 0, 0]],
        );
        let hk = u32::from_be_bytes(made[..4].try_into().unwrap());
        let length = usize::from(u16::from_be_bytes(made[8..10].try_into().unwrap()));
        Self { soft, tpm, hk, hk_public: made[10..10 + length].to_vec() }
    }

    /// The point at the end of the public area.
    fn point(&self) -> [u8; 65] {
        let (x, y) = self.hk_public[self.hk_public.len() - 68..].split_at(34);
        [&[4], &x[2..], &y[2..]].concat().try_into().unwrap()
    }
}

/// Runs a command with empty password sessions for its handles; answers handles and parameters.
fn run(tpm: &mut Tpm, code: u32, handles: &[u32], parameters: &[&[u8]]) -> Vec<u8> {
    let authorized: &[u32] = if code == 0x144 { &[] } else { &handles[..1.min(handles.len())] };
    let mut body = code.to_be_bytes().to_vec();
    handles.iter().for_each(|handle| body.extend(handle.to_be_bytes()));
    if !authorized.is_empty() {
        body.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    }
    parameters.iter().for_each(|part| body.extend(*part));
    let tag: [u8; 2] = if authorized.is_empty() { [0x80, 1] } else { [0x80, 2] };
    let size = u32::try_from(body.len() + 6).unwrap().to_be_bytes();
    let mut response = Vec::new();
    tpm.execute(0, &[&tag[..], &size, &body].concat(), &mut response);
    assert_eq!(response[6..10], [0; 4], "command {code:#x}: {:02x?}", &response[6..10]);
    response[10..].to_vec()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

impl Chip for EngineChip {
    fn evidence(&mut self, nonce: &Nonce, wanted: &PcrSelection) -> Result<Evidence, ChipError> {
        let mut evidence = self.soft.evidence(nonce, wanted)?;
        evidence.hk_public = self.hk_public.clone();
        Ok(evidence)
    }

    fn activate(&mut self, challenge: &Challenge) -> Result<Secret, ChipError> {
        self.soft.activate(challenge)
    }

    fn unwrap(&mut self, wrapped: &WrappedKey) -> Result<Key, ChipError> {
        let WrappedKey { public, duplicate, seed, pcrs } = wrapped;
        let (public, duplicate) = (sized(public), sized(duplicate));
        let null = [0, 0x10];
        let parts: &[&[u8]] = &[&[0, 0], &public, &duplicate, &sized(seed), &null];
        let imported = run(&mut self.tpm, 0x156, &[self.hk], parts);
        let private =
            &imported[4..4 + 2 + usize::from(u16::from_be_bytes([imported[4], imported[5]]))];
        let loaded = run(&mut self.tpm, 0x157, &[self.hk], &[private, &public]);
        let object = u32::from_be_bytes(loaded[..4].try_into().unwrap());
        // A policy session of SHA-256, PolicyPCR over the registers as they are.
        let session = run(
            &mut self.tpm,
            0x176,
            &[],
            &[&[0x40, 0, 0, 7, 0x40, 0, 0, 7], &sized(&[1; 16]), &[0, 0, 1, 0, 0x10, 0, 0x0b]],
        );
        let session: [u8; 4] = session[..4].try_into().unwrap();
        run(&mut self.tpm, 0x17f, &[], &[&session, &[0, 0], &pcrs.to_tpml()]);
        let mut command = vec![0x80, 2, 0, 0, 0, 27, 0, 0, 1, 0x5e];
        command.extend(object.to_be_bytes());
        command.extend([0, 0, 0, 9]);
        command.extend(session);
        command.extend([0, 0, 0, 0, 0]);
        let mut response = Vec::new();
        self.tpm.execute(0, &command, &mut response);
        if response[6..10] != [0; 4] {
            return Err(ChipError::new("TPM2_Unseal refused", "look at the registers"));
        }
        let mut key: [u8; 32] = response[16..48].try_into().unwrap();
        Ok(Key::take(&mut key))
    }
}

/// A judge that takes the point and the registers' values from the engine.
struct EngineJudge {
    soft: common::SoftJudge,
    point: [u8; 65],
    digest: [u8; 32],
}

impl vtpm_handover::Judge for EngineJudge {
    fn wanted(&self) -> PcrSelection {
        self.soft.wanted()
    }

    fn judge(
        &mut self,
        side: vtpm_handover::Side,
        nonce: &Nonce,
        evidence: &Evidence,
    ) -> Result<vtpm_handover::Judgement, vtpm_handover::Refusal> {
        let mut evidence = evidence.clone();
        evidence.hk_public = evidence.hk_certify.attest.clone();
        let mut judged = self.soft.judge(side, nonce, &evidence)?;
        judged.peer.hk_point = self.point;
        judged.peer.pcr_digest = self.digest;
        Ok(judged)
    }
}

fn move_into_engine(digest: [u8; 32]) -> (Outcome, Shelf) {
    let (mut a, mut b) = (Host::new(1, 10), Host::new(2, 20));
    let mut chip = EngineChip::new(b.chip.clone());
    let mut judge = EngineJudge { soft: a.judge.clone(), point: chip.point(), digest };
    let (mut at_a, mut at_b) = (Shelf::live(b"state"), Shelf::empty());
    let local =
        vtpm_handover::Local { chip: &mut a.chip, judge: &mut judge, entropy: &mut a.entropy };
    let mut source_host = SourceHost { local, journal: &mut at_a };
    let local =
        vtpm_handover::Local { chip: &mut chip, judge: &mut b.judge, entropy: &mut b.entropy };
    let mut host = DestinationHost { local, journal: &mut at_b };
    let (mut source, hello) = Source::start(departure(), &terms(), &mut source_host).unwrap();
    let mut destination = Destination::new(&terms());
    let mut to_b = vec![hello];
    let mut outcome = Outcome::Unknown;
    while let Some(message) = to_b.pop() {
        let step = destination.receive(&mut host, &message);
        if let DestinationEvent::Ended(ending) = step.event {
            outcome = ending.outcome;
        }
        for message in step.send {
            let mut step = source.receive(&mut source_host, &message);
            to_b.append(&mut step.send);
            step = match step.event {
                SourceEvent::Ready => source.begin(&mut source_host, b"state").unwrap(),
                SourceEvent::Prepared => source.commit(&mut source_host).unwrap(),
                _ => continue,
            };
            to_b.append(&mut step.send);
        }
    }
    (outcome, at_b)
}

#[test]
fn an_engine_imports_loads_and_unseals_the_transfer_key() {
    // Register 7 of a TPM that has just started is zeros.
    let (outcome, at_b) = move_into_engine(Sha256::digest([0; 32]).into());
    assert_eq!(outcome, Outcome::LivesHere);
    assert_eq!(at_b.state, b"state");
}

#[test]
fn an_engine_whose_registers_have_changed_does_not_unseal_it() {
    let (outcome, at_b) = move_into_engine(Sha256::digest([9; 32]).into());
    assert_eq!(outcome, Outcome::NotTaken);
    assert_eq!(at_b, Shelf::empty());
}
