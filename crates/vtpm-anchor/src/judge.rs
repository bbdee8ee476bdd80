//! Judges a peer host of a handover by what its chip says of it, against this host's trust policy.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use vtpm_credential::certificate::{Purpose, Roots};
use vtpm_credential::tpm::{
    Attest, Attested, Attributes, Curve, HashAlg, Key, PcrSelection, PcrValues, PublicArea,
    Signature, make_credential,
};
use vtpm_handover::policy::{TrustPolicy, Verdict};
use vtpm_handover::{Challenge, Evidence, Judge, Judgement, Nonce, Peer, Refusal, Secret, Side};
use zeroize::Zeroizing;

use crate::anchor::HANDOVER_PURPOSE;
use crate::error::Error;

/// The judge over a [`TrustPolicy`]. It needs no chip.
pub struct TrustJudge {
    policy: TrustPolicy,
    roots: Roots,
    /// Each root's name in the policy, and its certificates.
    names: Vec<(String, Roots)>,
}

impl TrustJudge {
    /// Judges by `policy`.
    ///
    /// # Errors
    /// If a root of the policy is no certificate.
    pub fn new(policy: TrustPolicy) -> vtpm_credential::Result<Self> {
        let (mut roots, mut names) = (Roots::default(), Vec::new());
        for root in &policy.roots {
            let these = Roots::from_pem(&root.pem)?;
            roots.extend(these.clone());
            names.push((root.name.clone(), these));
        }
        Ok(Self { policy, roots, names })
    }

    /// Judges by the `text` of a policy file; the roots that it names lie in `beside`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no policy, or a root of it is no certificate.
    pub fn parse(text: &str, beside: &Path) -> Result<Self, Error> {
        let policy = TrustPolicy::parse(text, |file| fs::read(beside.join(file)));
        let policy = policy.map_err(|cause| Error::Invalid(cause.to_string()))?;
        Ok(Self::new(policy)?)
    }

    /// The oldest version of the handover's protocol that the policy allows.
    #[must_use]
    pub fn minimum_protocol(&self) -> u16 {
        self.policy.minimum_protocol
    }

    /// Who the policy says the EK is; for one that is not pinned the chain decides.
    fn endorsed(
        &self,
        evidence: &Evidence,
        ek: &PublicArea,
        verdict: &Verdict<'_>,
    ) -> Result<String, Refusal> {
        let wanted = Attributes::FIXED_TPM.with(Attributes::RESTRICTED).with(Attributes::DECRYPT);
        if !ek.attributes().has(wanted) {
            return Err(bad("endorsement key", "it is no endorsement key"));
        }
        if verdict.pinned {
            return Ok(verdict.name.unwrap_or("a pinned host").to_owned());
        }
        let untrusted =
            |error: vtpm_credential::Error| Refusal::UntrustedEndorsement(error.to_string());
        let certificate = evidence.ek_chain.first().ok_or_else(|| {
            Refusal::UntrustedEndorsement("it has no certificate and is not pinned".into())
        })?;
        ek.must_be_certified_by(certificate).map_err(untrusted)?;
        let (chain, now) = (&evidence.ek_chain, SystemTime::now());
        self.roots.check(chain, Purpose::EndorsementKey, now).map_err(untrusted)?;
        let by = |(_, roots): &&(String, Roots)| {
            roots.check(chain, Purpose::EndorsementKey, now).is_ok()
        };
        Ok(self.names.iter().find(by).map(|(name, _)| name.clone()).unwrap_or_default())
    }
}

impl Judge for TrustJudge {
    fn wanted(&self) -> vtpm_handover::pcr::PcrSelection {
        self.policy.wanted()
    }

    fn judge(
        &mut self,
        side: Side,
        nonce: &Nonce,
        evidence: &Evidence,
    ) -> Result<Judgement, Refusal> {
        let area = |bytes: &[u8], part| PublicArea::from_bytes(bytes).map_err(|e| bad(part, e));
        let ek = area(&evidence.ek_public, "endorsement key")?;
        let ak = area(&evidence.ak_public, "attestation key")?;
        let hk = area(&evidence.hk_public, "handover key")?;
        let verdict = self.policy.of(&evidence.host());
        let label = self.endorsed(evidence, &ek, &verdict)?;
        ak.must_be_attestation_key().map_err(|e| bad("attestation key", e))?;
        let hk_point = handover_point(&hk)?;
        let certified = verified(&evidence.hk_certify, &ak, "certification of the handover key")?;
        certified
            .must_certify(&hk.name(), HANDOVER_PURPOSE)
            .map_err(|e| bad("certification of the handover key", e))?;
        let quote = verified(&evidence.quote, &ak, "quote")?;
        if quote.extra_data != nonce.0 {
            return Err(Refusal::Relayed);
        }
        check_values(&quote, evidence)?;
        verdict.pcrs.check(&evidence.pcrs)?;
        if !verdict.roles.allow(side) {
            return Err(Refusal::SideNotAllowed { host: label, side });
        }
        let pcrs = verdict.pcrs.selection();
        let pcr_digest = digest_of(evidence, &pcrs)?;
        let (challenge, secret) = challenge(&ek, &ak)?;
        let peer = Peer {
            label,
            ek_name: ek.name().as_bytes().to_vec(),
            ak_name: ak.name().as_bytes().to_vec(),
            hk_point,
            pcrs,
            pcr_digest,
        };
        Ok(Judgement { peer, challenge, secret })
    }
}

fn bad(part: &'static str, detail: impl ToString) -> Refusal {
    Refusal::BadEvidence { part, detail: detail.to_string() }
}

fn verified(
    attested: &vtpm_handover::Attested,
    ak: &PublicArea,
    part: &'static str,
) -> Result<Attest, Refusal> {
    let signature = Signature::from_bytes(&attested.signature).map_err(|e| bad(part, e))?;
    Attest::verify(&attested.attest, &signature, ak).map_err(|e| bad(part, e))
}

/// The HK is a P-256 storage key as the wrapping expects it, and cannot leave its chip.
fn handover_point(hk: &PublicArea) -> Result<[u8; 65], Refusal> {
    let wrong = |detail: &str| bad("handover key", detail);
    let wanted = Attributes::FIXED_TPM
        .with(Attributes::FIXED_PARENT)
        .with(Attributes::SENSITIVE_DATA_ORIGIN)
        .with(Attributes::RESTRICTED)
        .with(Attributes::DECRYPT);
    if !hk.attributes().has(wanted) || hk.attributes().has(Attributes::SIGN) {
        return Err(wrong("it is no storage key, or it can leave its TPM"));
    }
    let fits = hk.name_alg() == HashAlg::Sha256 && hk.symmetric().is_some_and(|c| c.bits == 128);
    let Key::Ecc { curve: Curve::P256, x, y } = hk.key() else {
        return Err(wrong("it is not on P-256"));
    };
    if !fits {
        return Err(wrong("it does not use SHA-256 and AES-128"));
    }
    // Refuses a point that is not on the curve.
    hk.public_key().map_err(|e| bad("handover key", e))?;
    let mut point = [0; 65];
    let padded = |coordinate: &[u8]| {
        let mut out = [0; 32];
        let from = 32_usize.saturating_sub(coordinate.len());
        if let Some(tail) = out.get_mut(from..).filter(|tail| tail.len() == coordinate.len()) {
            tail.copy_from_slice(coordinate);
        }
        out
    };
    for (to, from) in point.iter_mut().zip([&[4][..], &padded(x), &padded(y)].concat()) {
        *to = from;
    }
    Ok(point)
}

/// The quote is over exactly the values that the evidence shows, in their order.
fn check_values(quote: &Attest, evidence: &Evidence) -> Result<(), Refusal> {
    let Attested::Quote { selection, digest } = &quote.attested else {
        return Err(bad("quote", "it is a certification"));
    };
    let shown = evidence.pcrs.iter().map(|value| (value.bank, u32::from(value.index)));
    if !selection.iter().map(|(bank, pcr)| (bank.id(), pcr)).eq(shown) {
        return Err(bad("quote", "it is over other registers than those that are shown"));
    }
    let values: Vec<&[u8]> = evidence.pcrs.iter().map(|value| value.digest.as_slice()).collect();
    if HashAlg::Sha256.digest(&values) != *digest {
        return Err(bad("quote", "the registers that are shown are not those that were quoted"));
    }
    Ok(())
}

fn digest_of(
    evidence: &Evidence,
    pcrs: &vtpm_handover::pcr::PcrSelection,
) -> Result<[u8; 32], Refusal> {
    let mut values = PcrValues::default();
    for value in &evidence.pcrs {
        let bank = HashAlg::from_id(value.bank).map_err(|e| bad("quote", e))?;
        values.set(bank, u32::from(value.index), &value.digest);
    }
    let selection = PcrSelection::from_bytes(&pcrs.to_tpml()).map_err(|e| bad("quote", e))?;
    let digest = values.digest(&selection, HashAlg::Sha256).map_err(|e| bad("quote", e))?;
    digest.try_into().map_err(|_| bad("quote", "its digest is not SHA-256"))
}

fn challenge(ek: &PublicArea, ak: &PublicArea) -> Result<(Challenge, Secret), Refusal> {
    let unjudged = |error: String| Refusal::Unjudged(error);
    let mut secret = Zeroizing::new(vec![0; 32]);
    getrandom::fill(&mut secret).map_err(|error| unjudged(error.to_string()))?;
    let made = make_credential(ek, &ak.name(), &secret);
    let made = made.map_err(|error| bad("endorsement key", error))?;
    let challenge = Challenge { credential: made.id_object, secret: made.encrypted_secret };
    Ok((challenge, Secret::from(secret)))
}
