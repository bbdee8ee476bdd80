//! PCR policies of sealed keys (Part 1, clause 19.7).
//!
//! A sealed key's policy says `PolicyAuthorize(authority)`: it opens in whatever states the holder
//! of the authority's key has approved, so that an operator can approve the next kernel before it
//! is booted, without sealing anything anew. An approval is the authority's signature over
//! `PolicyPCR(selection, values)` and the reference below.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::structures::VerifiedTicket;
use tss_esapi::structures::{
    Digest, Name as TssName, Nonce, PcrSelectionList, Signature as TssSignature,
};
use tss_esapi::traits::UnMarshall;
use tss_esapi::tss2_esys::{TPML_PCR_SELECTION, TPMT_TK_VERIFIED};
use vtpm_credential::tpm::{HashAlg, PcrSelection, PcrValues, PublicArea, Signature};

use crate::chip::{Chip, public};
use crate::error::{Error, Result};
use crate::identity::hexadecimal;
use crate::session::Session;

/// `policyRef`: approvals for other purposes, by the same key, are none for this.
pub const REFERENCE: &[u8] = b"vtpm-anchor pcr policy 1";

const CC_POLICY_AUTHORIZE: [u8; 4] = 0x0000_016a_u32.to_be_bytes();
const CC_POLICY_PCR: [u8; 4] = 0x0000_017f_u32.to_be_bytes();

/// Which states of the host open what is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PcrPolicy {
    /// As [`PcrSelection`] is written.
    pub(crate) selection: String,
    /// The authority's public area.
    #[serde(with = "hexadecimal")]
    pub(crate) authority: Vec<u8>,
    pub(crate) approvals: Vec<Approval>,
}

/// A state of PCRs that the authority approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Which PCRs, as [`PcrSelection`] is written.
    pub selection: String,
    /// SHA-256 over their values.
    #[serde(with = "hexadecimal")]
    pub pcr_digest: Vec<u8>,
    /// The authority's `TPMT_SIGNATURE` over [`Approval::message`].
    #[serde(with = "hexadecimal")]
    pub signature: Vec<u8>,
    /// The operator's words.
    #[serde(default)]
    pub note: String,
}

impl Approval {
    /// What the authority signs (ECDSA, P-256, SHA-256) to approve these values: 56 bytes.
    ///
    /// # Errors
    /// If a value of the selection is missing.
    pub fn message(selection: &PcrSelection, values: &PcrValues) -> Result<Vec<u8>> {
        let digest = values.digest(selection, HashAlg::Sha256)?;
        Ok([policy_pcr(selection, &digest).as_slice(), REFERENCE].concat())
    }

    /// An approval, signed.
    ///
    /// # Errors
    /// As [`message`](Self::message).
    pub fn new(
        selection: &PcrSelection,
        values: &PcrValues,
        signature: &Signature,
        note: &str,
    ) -> Result<Self> {
        Ok(Self {
            selection: selection.to_string(),
            pcr_digest: values.digest(selection, HashAlg::Sha256)?,
            signature: signature.to_bytes(),
            note: note.into(),
        })
    }
}

impl PcrPolicy {
    pub(crate) fn selection(&self) -> Result<PcrSelection> {
        Ok(PcrSelection::from_str(&self.selection)?)
    }

    /// The `authPolicy` of what is sealed under this.
    pub(crate) fn digest(&self) -> Result<[u8; 32]> {
        let name = PublicArea::from_bytes(&self.authority)?.name();
        let first = sha256(&[&[0; 32], &CC_POLICY_AUTHORIZE, name.as_bytes()]);
        Ok(sha256(&[&first, REFERENCE]))
    }

    /// Adds an approval, if it is the authority's.
    pub(crate) fn add(&mut self, approval: Approval) -> Result<()> {
        let selection = self.selection()?;
        if approval.selection != selection.to_string() {
            let (theirs, ours) = (&approval.selection, &self.selection);
            let what =
                format!("the approval is of PCRs {theirs}, this host's policy is over {ours}");
            return Err(Error::Invalid(what));
        }
        let approved = policy_pcr(&selection, &approval.pcr_digest);
        let authority = PublicArea::from_bytes(&self.authority)?;
        Signature::from_bytes(&approval.signature)
            .and_then(|s| s.verify(&authority, &[&approved, REFERENCE].concat(), "an approval"))
            .map_err(|_| Error::NotAuthority)?;
        self.approvals.retain(|known| known.pcr_digest != approval.pcr_digest);
        self.approvals.push(approval);
        Ok(())
    }

    /// Meets the policy in a policy session, if the host is in an approved state.
    pub(crate) fn meet(&self, chip: &mut Chip, session: Session) -> Result<()> {
        let selection = self.selection()?;
        let found = chip.pcr_values(&selection)?.digest(&selection, HashAlg::Sha256)?;
        let approval = self.approvals.iter().find(|approval| approval.pcr_digest == found);
        let approval = approval.ok_or_else(|| Error::NotApproved {
            selection: self.selection.clone(),
            digest: hex::encode(&found),
        })?;
        let approved = policy_pcr(&selection, &found);
        let message = sha256(&[&approved, REFERENCE]);
        let unusable = |_| Error::NotAuthority;
        let digest = Digest::try_from(message.as_slice()).map_err(unusable)?;
        let signature = TssSignature::unmarshall(&approval.signature).map_err(unusable)?;
        let authority = public(&self.authority)?;
        let name = PublicArea::from_bytes(&self.authority)?.name();
        let name = TssName::try_from(name.as_bytes().to_vec()).map_err(unusable)?;
        let approved = Digest::try_from(approved.as_slice()).map_err(unusable)?;
        let reference = Nonce::try_from(REFERENCE).map_err(unusable)?;

        let key = chip.call("TPM2_LoadExternal", |context| {
            context.load_external_public(authority.clone(), Hierarchy::Owner)
        })?;
        let ticket = chip.call("TPM2_VerifySignature", |context| {
            context.verify_signature(key, digest.clone(), signature.clone())
        });
        chip.flush(key);
        let (ticket, session) =
            (TPMT_TK_VERIFIED::try_from(ticket?).map_err(unusable)?, session.policy()?);
        chip.policy_pcr(session, &selection)?;
        chip.call("TPM2_PolicyAuthorize", |context| {
            let (approved, reference) = (approved.clone(), reference.clone());
            let ticket = VerifiedTicket::try_from(ticket)?;
            context.policy_authorize(session, approved, reference, &name, ticket)
        })
    }
}

impl Chip {
    /// `TPM2_PolicyPCR` with the values as they are.
    pub(crate) fn policy_pcr(
        &mut self,
        session: tss_esapi::interface_types::session_handles::PolicySession,
        selection: &PcrSelection,
    ) -> Result<()> {
        let list = selection_list(selection)?;
        self.call("TPM2_PolicyPCR", |context| {
            context.policy_pcr(session, Digest::default(), list.clone())
        })
    }
}

/// A selection for the TSS, its banks in the same order: that counts in digests.
pub(crate) fn selection_list(selection: &PcrSelection) -> Result<PcrSelectionList> {
    let refused = || Error::Invalid(format!("the TPM software cannot select PCRs {selection}"));
    let mut list = TPML_PCR_SELECTION::default();
    for (bank, pcr) in selection.iter() {
        let count = usize::try_from(list.count).map_err(|_| refused())?;
        let last = count.checked_sub(1).and_then(|last| list.pcrSelections.get_mut(last));
        let entry = match last.filter(|last| last.hash == bank.id()) {
            Some(last) => last,
            None => {
                list.count = list.count.saturating_add(1);
                let fresh = list.pcrSelections.get_mut(count).ok_or_else(refused)?;
                (fresh.hash, fresh.sizeofSelect) = (bank.id(), 3);
                fresh
            }
        };
        let byte = usize::try_from(pcr / 8).ok().and_then(|at| entry.pcrSelect.get_mut(at));
        *byte.ok_or_else(refused)? |= 1 << (pcr % 8);
    }
    PcrSelectionList::try_from(list).map_err(|_| refused())
}

fn policy_pcr(selection: &PcrSelection, digest: &[u8]) -> [u8; 32] {
    sha256(&[&[0; 32], &CC_POLICY_PCR, &selection.to_bytes(), digest])
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}
