//! A vTPM as its host speaks to it: endorsement credentials go in, quotes come out.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use vtpm_anchor::Anchor;
use vtpm_credential::certificate::{
    EkRequest, Issuer, TpmIdentity, TpmSpecification, Validity, issue_ek, split_pem,
};
use vtpm_credential::evidence::{Guest, Signed, guest_qualifying_data};
use vtpm_credential::tpm::client::{Client, ENDORSEMENT, Transport};
use vtpm_credential::tpm::{PcrSelection, template};
use vtpm_engine::Profile;
use vtpm_host::{Handle, Instance, Whose};

/// `TPM_PT_MANUFACTURER`, `TPM_PT_VENDOR_STRING_1` and `TPM_PT_FIRMWARE_VERSION_1`.
const PT_MANUFACTURER: u32 = 0x105;
const PT_VENDOR_STRING_1: u32 = 0x106;
const PT_FIRMWARE_VERSION_1: u32 = 0x10b;
/// `TPM_PT_REVISION`.
const PT_REVISION: u32 = 0x102;

/// Of an EK certificate's index: defined by the platform, readable by everybody, locked for good
/// when written (TCG EK Credential Profile, clause 2.2.1.4).
const NV_ATTRIBUTES: u32 = 0x4207_2001;
/// Where the chain begins (the same, clause 2.2.1.5.2).
const CHAIN_INDEX: u32 = 0x01c0_0100;
/// How many indices a chain may take.
const CHAIN_INDICES: usize = 8;
/// Certificates in an index of the chain.
const CHAIN_PART: usize = 1600;

/// Endorsement keys, where their certificates lie in NV, and where the keys are kept.
struct Place {
    template: fn() -> Vec<u8>,
    certificate: u32,
    persistent: u32,
}

const PLACES: [Place; 3] = [
    Place { template: template::ek_rsa_2048, certificate: 0x01c0_0002, persistent: 0x8101_0001 },
    Place { template: template::ek_p256, certificate: 0x01c0_000a, persistent: 0x8101_0002 },
    Place { template: template::ek_p384, certificate: 0x01c0_0016, persistent: 0x8101_0016 },
];

/// A running instance as a transport.
pub(crate) struct ByHandle(pub(crate) Handle);

impl Transport for ByHandle {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        Ok(self.0.execute(0, command.to_vec()))
    }
}

/// Makes a vTPM, with endorsement certificates if they are wanted, and leaves it switched off.
/// Gives the generation of its file, for the anchor to remember.
pub(crate) fn make(
    place: &vtpm_store::Place,
    anchor: &Anchor,
    whose: Whose,
    certified: bool,
) -> Result<u64> {
    let source = anchor.key_source();
    let handle = Instance::create(place, &source, whose, Profile::default())?.start()?;
    if certified {
        handle.init()?;
        let mut tpm = Client::new(ByHandle(handle.clone()));
        tpm.startup()?;
        let endorsed = endorse(&mut tpm, anchor);
        let ended = tpm.shutdown();
        endorsed?;
        ended?;
    }
    handle.power_off()?;
    let generation = handle.generation();
    handle.shutdown();
    Ok(generation)
}

/// Makes the endorsement keys of a new vTPM, and gives them certificates by this host's credential
/// key, in NV where software looks for them. The vTPM is started.
fn endorse<T: Transport>(tpm: &mut Client<T>, anchor: &Anchor) -> Result<()> {
    let chain = split_pem(anchor.credential_chain().as_bytes())?;
    let own = chain
        .first()
        .context("the host's credential key has no certificate: run `vtpm host install-cert`")?;
    let signer = anchor.credential_signer();
    let issuer = Issuer::new(&signer, own)?;
    let text = |value: u32| {
        String::from_utf8_lossy(&value.to_be_bytes()).trim_end_matches('\0').to_owned()
    };
    let identity = TpmIdentity {
        manufacturer: tpm.fixed_property(PT_MANUFACTURER)?.to_be_bytes(),
        model: text(tpm.fixed_property(PT_VENDOR_STRING_1)?),
        version: tpm.fixed_property(PT_FIRMWARE_VERSION_1)?,
    };
    let revision = tpm.fixed_property(PT_REVISION)?;
    for Place { template, certificate, persistent } in PLACES {
        let (handle, ek) = tpm.create_primary(ENDORSEMENT, &template())?;
        let request = EkRequest {
            ek: &ek,
            identity: &identity,
            specification: TpmSpecification { level: 0, revision },
            validity: Validity::starting_now(None),
        };
        tpm.nv_install(certificate, NV_ATTRIBUTES, &issue_ek(&request, &issuer)?)?;
        if tpm.read_public(persistent)?.is_none() {
            tpm.persist(handle, persistent)?;
        }
        tpm.flush(handle)?;
    }
    for (index, part) in (CHAIN_INDEX..).zip(chain.concat().chunks(CHAIN_PART)) {
        tpm.nv_install(index, NV_ATTRIBUTES, part)?;
    }
    Ok(())
}

/// The chain that the vTPM carries: that of the host which made it, wherever it lives now.
fn chain_of<T: Transport>(tpm: &mut Client<T>) -> Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    for index in (CHAIN_INDEX..).take(CHAIN_INDICES) {
        match tpm.nv_read(index)? {
            Some(part) => bytes.extend(part),
            None => break,
        }
    }
    let (mut certificates, mut rest) = (Vec::new(), bytes.as_slice());
    // DER: a sequence with a length of two bytes, one certificate after the other.
    while let Some(&[0x30, 0x82, high, low]) = rest.first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).saturating_add(4);
        let Some((certificate, after)) = rest.split_at_checked(length) else { break };
        certificates.push(certificate.to_vec());
        rest = after;
    }
    Ok(certificates)
}

/// The vTPM's part of evidence. The vTPM is started.
pub(crate) fn attest<T: Transport>(
    tpm: &mut Client<T>,
    anchor: &Anchor,
    instance: &[u8],
    nonce: &[u8],
    selection: &PcrSelection,
    event_log: Vec<u8>,
) -> Result<Guest> {
    let ek = match tpm.read_public(0x8101_0002)? {
        Some(ek) => ek,
        None => {
            let (handle, ek) = tpm.create_primary(ENDORSEMENT, &template::ek_p256())?;
            tpm.flush(handle)?;
            ek
        }
    };
    let certificate = tpm.nv_read(0x01c0_000a)?;
    let certificate =
        certificate.context("the vTPM has no EK certificate: it was not made here")?;
    let mut certificates = vec![certificate];
    let own_chain = chain_of(tpm)?;
    if own_chain.is_empty() {
        certificates.extend(split_pem(anchor.credential_chain().as_bytes())?);
    } else {
        certificates.extend(own_chain);
    }
    let values = tpm.pcr_values(selection)?;
    let (ak, area) = tpm.create_primary(ENDORSEMENT, &template::signing(true))?;
    let quoted = tpm.quote(ak, &guest_qualifying_data(instance, nonce), selection);
    tpm.flush(ak)?;
    let quoted = quoted?;
    Ok(Guest {
        ek: ek.as_bytes().to_vec(),
        ak: area.as_bytes().to_vec(),
        certificates,
        quote: Signed { attest: quoted.attest, signature: quoted.signature },
        pcrs: values,
        event_log,
    })
}

/// How long a vTPM over a socket may take for one command.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
