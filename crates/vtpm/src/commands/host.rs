//! `vtpm host`

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use vtpm_anchor::{Anchor, Approval, Making};
use vtpm_credential::certificate::{
    Issuer, Purpose, Roots, Signer, SoftwareSigner, Subject, Validity, request,
    self_signed_authority, split_pem,
};
use vtpm_credential::evidence::{Signed, host_id};
use vtpm_credential::tpm::{Challenge, PcrSelection, PcrValues, PublicArea, Signature};

use crate::files;
use crate::host::HostOptions;

/// This host's identity in its TPM.
#[derive(Subcommand)]
pub(crate) enum Host {
    /// Makes the identity: keys in the TPM that cannot leave it.
    Init(Init),
    /// Shows the identity; with --json, what a verifier needs to enrol this host.
    Show(Show),
    /// A request for a certificate of the credential key, for the operator's authority.
    Csr(Csr),
    /// Keeps the certificate that the operator's authority issued.
    InstallCert(InstallCert),
    /// Replaces the identity. All that was sealed under the old one is lost.
    Recreate(Recreate),
    /// Approves a state of the host's PCRs: vTPMs open in it.
    Bless(Bless),
    /// Answers a verifier's challenge (`vtpm enroll challenge`).
    Answer(Answer),
}

impl Host {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        match self {
            Self::Init(command) => command.run(host),
            Self::Show(command) => command.run(host),
            Self::Csr(command) => command.run(host),
            Self::InstallCert(command) => command.run(host),
            Self::Recreate(command) => command.run(host),
            Self::Bless(command) => command.run(host),
            Self::Answer(command) => command.run(host),
        }
    }
}

/// What keys are sealed under.
#[derive(Args)]
struct Sealing {
    /// Seals under these PCRs of the host, such as sha256:0,2,4,7.
    #[arg(long, requires = "policy_key")]
    pcrs: Option<PcrSelection>,

    /// The public key (P-256, PEM) of who approves states of these PCRs.
    #[arg(long, requires = "pcrs")]
    policy_key: Option<PathBuf>,
}

impl Sealing {
    fn making(&self) -> Result<Making> {
        let pair = self.pcrs.clone().zip(self.policy_key.as_ref());
        let policy = pair.map(|(pcrs, key)| Ok::<_, anyhow::Error>((pcrs, files::read(key)?)));
        Ok(Making { pcr_policy: policy.transpose()? })
    }
}

#[derive(Args)]
pub(crate) struct Init {
    #[command(flatten)]
    sealing: Sealing,
}

impl Init {
    fn run(self, host: &HostOptions) -> Result<()> {
        let tpm = host.tpm.as_deref().unwrap_or("device:/dev/tpmrm0");
        let anchor = Anchor::init(&host.dir, tpm, &self.sealing.making()?, &host.access()?)?;
        finish(&anchor)?;
        host.tell_operations("host init", &anchor);
        show(&anchor)
    }
}

#[derive(Args)]
pub(crate) struct Recreate {
    #[command(flatten)]
    sealing: Sealing,

    /// Why; kept with the new identity.
    #[arg(long)]
    reason: String,
}

impl Recreate {
    fn run(self, host: &HostOptions) -> Result<()> {
        let (tpm, making) = (host.tpm.as_deref(), self.sealing.making()?);
        let anchor = Anchor::recreate(&host.dir, tpm, &making, &host.access()?, &self.reason)?;
        finish(&anchor)?;
        show(&anchor)
    }
}

/// The credential key has a certificate from the start: its own, until an authority's is there.
fn finish(anchor: &Anchor) -> Result<()> {
    let id = shown_id(anchor)?;
    let short = id.get(..16).unwrap_or(&id);
    let subject: Subject = format!("CN=vTPM host {short}").parse()?;
    let signer = anchor.credential_signer();
    let own = self_signed_authority(&signer, &subject, 0, &Validity::starting_now(None))?;
    Ok(anchor.set_credential_chain(&vtpm_credential::certificate::pem_of(&[own])?)?)
}

fn shown_id(anchor: &Anchor) -> Result<String> {
    let ek = anchor.endorsement().into_iter().next().context("the host has no endorsement key")?;
    Ok(host_id(&PublicArea::from_bytes(&ek.public)?))
}

/// What a host shows of itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shown {
    /// The name by which policies know it.
    pub(crate) host: String,
    /// `TPMT_PUBLIC`, hexadecimal.
    pub(crate) ek: String,
    /// X.509, hexadecimal; may be empty.
    pub(crate) ek_certificate: String,
    /// `TPMT_PUBLIC`, hexadecimal.
    pub(crate) ak: String,
    /// `TPMT_PUBLIC`, hexadecimal.
    pub(crate) hk: String,
    /// `TPMT_PUBLIC`, hexadecimal.
    pub(crate) ck: String,
    /// The AK's certification of the credential key.
    pub(crate) ck_certification: Signed,
    /// Certificates of the credential key, PEM.
    pub(crate) credential_chain: String,
}

impl Shown {
    fn of(anchor: &Anchor) -> Result<Self> {
        let keys = anchor.keys()?;
        let ek = anchor.endorsement().into_iter().next();
        let ek = ek.context("the host has no endorsement key")?;
        let hex_of = |area: &PublicArea| hex::encode(area.as_bytes());
        Ok(Self {
            host: shown_id(anchor)?,
            ek: hex::encode(&ek.public),
            ek_certificate: hex::encode(&ek.certificate),
            ak: hex_of(&keys.attestation),
            hk: hex_of(&keys.handover),
            ck: hex_of(&keys.credential),
            ck_certification: Signed {
                attest: keys.credential_certification.attest,
                signature: keys.credential_certification.signature,
            },
            credential_chain: anchor.credential_chain(),
        })
    }
}

#[derive(Args)]
pub(crate) struct Show {
    /// For programs, and for `vtpm enroll`.
    #[arg(long)]
    json: bool,
}

impl Show {
    fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&Shown::of(&anchor)?)?);
            return Ok(());
        }
        show(&anchor)
    }
}

fn show(anchor: &Anchor) -> Result<()> {
    let keys = anchor.keys()?;
    println!("host  {}", shown_id(anchor)?);
    println!("TPM   {}", anchor.tpm());
    for ek in anchor.endorsement() {
        let name = PublicArea::from_bytes(&ek.public)?.name();
        let certificate = if ek.certificate.is_empty() { "no certificate" } else { "certificate" };
        println!("EK    {name}  {:?}, {certificate}", ek.kind);
    }
    println!("AK    {}", keys.attestation.name());
    println!("HK    {}", keys.handover.name());
    println!("CK    {}", keys.credential.name());
    if let Some((pcrs, approvals)) = anchor.pcr_approvals()? {
        println!("PCRs  {pcrs}, {} approved states", approvals.len());
    }
    for entry in anchor.audit() {
        println!("audit {} {}: {}", entry.unix_seconds, entry.event, entry.reason);
    }
    Ok(())
}

#[derive(Args)]
pub(crate) struct Csr {
    /// What the certificate is to say, such as "CN=host 7,O=Example".
    #[arg(long)]
    subject: Option<Subject>,

    /// The request; by default to standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Csr {
    fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        let subject = match self.subject {
            Some(subject) => subject,
            None => format!("CN=vTPM host {}", shown_id(&anchor)?).parse()?,
        };
        let wanted = request(&anchor.credential_signer(), &subject)?;
        files::write(self.out.as_deref(), wanted.as_bytes())
    }
}

#[derive(Args)]
pub(crate) struct InstallCert {
    /// The certificate and those between it and the root, PEM, its own first.
    chain: PathBuf,

    /// The authority's root, PEM: the chain is checked against it.
    #[arg(long)]
    root: Option<PathBuf>,
}

impl InstallCert {
    fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        let pem = files::read_text(&self.chain)?;
        let chain = split_pem(pem.as_bytes())?;
        let own = chain.first().context("there is no certificate in the file")?;
        let signer = anchor.credential_signer();
        Issuer::new(&signer, own)
            .context("the certificate is not of this host's credential key")?;
        if let Some(root) = &self.root {
            let roots = Roots::from_pem(&files::read(root)?)?;
            roots.check(&chain, Purpose::Authority, SystemTime::now())?;
        }
        Ok(anchor.set_credential_chain(&vtpm_credential::certificate::pem_of(&chain)?)?)
    }
}

#[derive(Args)]
pub(crate) struct Bless {
    /// The policy key's private half (P-256, PEM): signs the approval. Keep it off the hosts, and
    /// sign elsewhere with --values and --out.
    #[arg(long, required_unless_present = "install")]
    key: Option<PathBuf>,

    /// The values to approve, JSON: {"sha256": {"7": "..."}}; by default the host's as they are.
    #[arg(long)]
    values: Option<PathBuf>,

    /// Which PCRs; by default those of the host's policy.
    #[arg(long)]
    pcrs: Option<PcrSelection>,

    /// Writes the approval to a file instead of keeping it here.
    #[arg(long)]
    out: Option<PathBuf>,

    /// Keeps an approval that was signed elsewhere.
    #[arg(long, conflicts_with_all = ["key", "values", "out"])]
    install: Option<PathBuf>,

    /// A remark that is kept with the approval.
    #[arg(long, default_value = "")]
    note: String,
}

impl Bless {
    fn run(self, host: &HostOptions) -> Result<()> {
        if let Some(path) = &self.install {
            let approval: Approval = serde_json::from_slice(&files::read(path)?)?;
            return Ok(host.anchor()?.bless(&approval)?);
        }
        let key = self.key.as_ref().context("--key is missing")?;
        let signer = SoftwareSigner::from_pem(&zeroize::Zeroizing::new(files::read(key)?))?;
        let selection = match &self.pcrs {
            Some(pcrs) => pcrs.clone(),
            None => match host.anchor()?.pcr_approvals()? {
                Some((pcrs, _)) => pcrs,
                None => bail!("this host seals under no PCRs: there is nothing to approve"),
            },
        };
        let values: PcrValues = match &self.values {
            Some(path) => serde_json::from_slice(&files::read(path)?)?,
            None => host.anchor()?.pcr_values(&selection)?,
        };
        let der = signer.sign(&Approval::message(&selection, &values)?)?;
        let signature = Signature::from_ecdsa_der(&der)?;
        let approval = Approval::new(&selection, &values, &signature, &self.note)?;
        match &self.out {
            Some(path) => files::write(Some(path), &serde_json::to_vec_pretty(&approval)?),
            None => Ok(host.anchor()?.bless(&approval)?),
        }
    }
}

/// A challenge as it travels.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Challenged {
    /// `TPMS_ID_OBJECT`, hexadecimal.
    pub(crate) id_object: String,
    /// The encrypted secret, hexadecimal.
    pub(crate) encrypted_secret: String,
}

#[derive(Args)]
pub(crate) struct Answer {
    /// The challenge.
    challenge: PathBuf,

    /// The answer; by default to standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Answer {
    fn run(self, host: &HostOptions) -> Result<()> {
        let challenge: Challenged = serde_json::from_slice(&files::read(&self.challenge)?)?;
        let challenge = Challenge {
            id_object: hex::decode(challenge.id_object)?,
            encrypted_secret: hex::decode(challenge.encrypted_secret)?,
        };
        let secret = host.anchor()?.activate(&challenge)?;
        files::write(self.out.as_deref(), format!("{}\n", hex::encode(&*secret)).as_bytes())
    }
}
