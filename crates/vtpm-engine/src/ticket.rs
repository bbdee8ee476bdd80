//! Tickets: proofs by which the TPM recognizes what it found before (Part 1, clause 29; Part 2,
//! clause 10.7; Part 3, clause 5 with each command).

use subtle::ConstantTimeEq;

use crate::hierarchy::Hierarchy;
use crate::tpm::Tpm;
use crate::wire::{Digest, Marshal, Tag, Ticket};

impl Tpm {
    /// A ticket: an HMAC over tag and contents with the hierarchy's proof.
    ///
    /// The null hierarchy's is made as well; whether it proves anything is the caller's matter.
    pub(crate) fn ticket(&self, tag: Tag, hierarchy: Hierarchy, contents: &[&[u8]]) -> Ticket {
        let tag_bytes = tag.to_bytes();
        let mut parts: Vec<&[u8]> = vec![&tag_bytes];
        parts.extend_from_slice(contents);
        let alg = self.context_integrity_hash();
        let digest = crate::crypto::hmac::hmac(alg, self.proof(hierarchy).as_ref(), &parts);
        Ticket { tag, hierarchy: hierarchy.handle(), digest: Digest::from_slice(&digest) }
    }

    /// Whether a ticket is the one that this TPM made over these contents.
    pub(crate) fn is_ticket_valid(&self, ticket: &Ticket, contents: &[&[u8]]) -> bool {
        let Some(hierarchy) = Hierarchy::of(ticket.hierarchy) else { return false };
        let expected = self.ticket(ticket.tag, hierarchy, contents);
        expected.digest.ct_eq(&ticket.digest).into()
    }

    /// `TPMT_TK_CREATION`: this TPM created the object with this name and creation hash.
    pub(crate) fn creation_ticket(
        &self,
        hierarchy: Hierarchy,
        name: &[u8],
        creation_hash: &[u8],
    ) -> Ticket {
        self.ticket(Tag::CREATION, hierarchy, &[name, creation_hash])
    }

    /// `TPMT_TK_VERIFIED`: a key of this name verified a signature over the digest. A key of the
    /// null hierarchy gives a ticket that proves nothing.
    pub(crate) fn verified_ticket(
        &self,
        hierarchy: Hierarchy,
        digest: &[u8],
        key_name: &[u8],
    ) -> Ticket {
        if hierarchy == Hierarchy::Null {
            return Ticket::null(Tag::VERIFIED);
        }
        self.ticket(Tag::VERIFIED, hierarchy, &[digest, key_name])
    }

    /// `TPMT_TK_HASHCHECK`: the digest was computed by this TPM over data that does not start with
    /// `TPM_GENERATED_VALUE`.
    pub(crate) fn hash_check_ticket(
        &self,
        hierarchy: Hierarchy,
        alg: crate::crypto::hash::HashAlg,
        digest: &[u8],
    ) -> Ticket {
        if hierarchy == Hierarchy::Null {
            return Ticket::null(Tag::HASHCHECK);
        }
        self.ticket(Tag::HASHCHECK, hierarchy, &[&alg.id().to_be_bytes(), digest])
    }
}
