//! TPM2_SetCommandCodeAuditStatus: Part 3, clause 21.2, revision 1.59.

use crate::commands::command;
use crate::crypto::hash::HashAlg;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Ccs, Digest, Rc, RhProvision};

command! {
    /// Changes which commands are audited, or the hash of the audit digest.
    #[doc(alias = "TPM2_SetCommandCodeAuditStatus")]
    Command {
        handles {
            /// Owner or platform.
            auth: RhProvision,
        }
        parameters {
            /// The new hash; absent, or the present one, to change the list.
            audit_alg: Option<HashAlg>,
            /// Commands that will be audited.
            set_list: Ccs,
            /// Commands that will no longer be audited.
            clear_list: Ccs,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let audit = &mut tpm.permanent.audit;
    if let Some(alg) = command.audit_alg.filter(|alg| *alg != audit.alg) {
        // Hash and list cannot change at once: one of the two changes would not be audited.
        if !command.set_list.0.is_empty() || !command.clear_list.0.is_empty() {
            return Err(Rc::VALUE.parameter(1));
        }
        audit.alg = alg;
        tpm.reset.command_audit_digest = Digest::empty();
        tpm.persist();
        return Ok(Response {});
    }
    let mut changed = false;
    for code in command.set_list.0 {
        changed |= audit.add(code);
    }
    for code in command.clear_list.0 {
        changed |= audit.remove(code);
    }
    if changed {
        tpm.persist();
    }
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::{HashAlg, hash};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Ccs, Handle, List, Rc};

    fn set(alg: Option<HashAlg>, set: &[Cc], clear: &[Cc]) -> CommandBuilder {
        let (set, clear): (Ccs, Ccs) = (List(set.to_vec()), List(clear.to_vec()));
        command(Cc::SET_COMMAND_CODE_AUDIT_STATUS)
            .handle(Handle::OWNER)
            .password(b"")
            .put(alg)
            .put(set)
            .put(clear)
    }

    fn audited(client: &Client) -> Vec<Cc> {
        client.tpm.permanent.audit.commands.clone()
    }

    #[test]
    fn commands_are_added_and_removed_in_order() {
        let mut client = Client::started();
        client.run(&set(None, &[Cc::GET_RANDOM, Cc::QUOTE], &[])).unwrap();
        assert!(client.outcome.durable);
        let all = [Cc::SET_COMMAND_CODE_AUDIT_STATUS, Cc::QUOTE, Cc::GET_RANDOM];
        assert_eq!(audited(&client), all);
        client.run(&set(None, &[Cc::SIGN], &[Cc::QUOTE])).unwrap();
        let all = [Cc::SET_COMMAND_CODE_AUDIT_STATUS, Cc::SIGN, Cc::GET_RANDOM];
        assert_eq!(audited(&client), all);
    }

    #[test]
    fn shutdown_and_unknown_commands_are_never_audited_and_this_command_always() {
        let mut client = Client::started();
        let this = Cc::SET_COMMAND_CODE_AUDIT_STATUS;
        client.run(&set(None, &[Cc::SHUTDOWN, Cc(0x1ff), Cc(0)], &[this])).unwrap();
        assert_eq!(audited(&client), [this]);
    }

    #[test]
    fn hash_and_list_cannot_change_at_once() {
        let mut client = Client::started();
        for (add, remove) in [(&[Cc::QUOTE][..], &[][..]), (&[], &[Cc::QUOTE])] {
            let command = set(Some(HashAlg::Sha1), add, remove);
            assert_eq!(client.rc(&command), Rc::VALUE.parameter(1));
        }
        client.run(&set(Some(HashAlg::Sha512), &[Cc::QUOTE], &[])).unwrap();
        assert!(audited(&client).contains(&Cc::QUOTE));
    }

    #[test]
    fn the_command_that_changes_the_hash_is_not_audited_and_the_digest_starts_anew() {
        let mut client = Client::started();
        client.run(&set(None, &[Cc::GET_RANDOM], &[])).unwrap();
        assert_eq!(client.tpm.permanent.audit.counter, 1);
        assert_eq!(client.tpm.reset.command_audit_digest.len(), 64);
        client.run(&set(Some(HashAlg::Sha256), &[], &[])).unwrap();
        assert!(client.tpm.reset.command_audit_digest.is_empty());
        client.run(&command(Cc::GET_RANDOM).put(4u16)).unwrap();
        assert_eq!(client.tpm.permanent.audit.counter, 2);
        assert_eq!(client.tpm.reset.command_audit_digest.len(), 32);
    }

    #[test]
    fn an_audited_command_extends_the_digest_by_its_command_and_response_hashes() {
        let mut client = Client::started();
        client.run(&set(Some(HashAlg::Sha256), &[], &[])).unwrap();
        client.run(&set(None, &[Cc::GET_RANDOM], &[])).unwrap();
        let before = client.tpm.reset.command_audit_digest.clone();
        let response = client.run(&command(Cc::GET_RANDOM).put(4u16)).unwrap();
        let code = Cc::GET_RANDOM.0.to_be_bytes();
        let cp_hash = hash(HashAlg::Sha256, &[&code, &[0, 4]]);
        let rp_hash = hash(HashAlg::Sha256, &[&[0; 4], &code, &response.parameters]);
        let expected = hash(HashAlg::Sha256, &[&before, &cp_hash, &rp_hash]);
        assert_eq!(client.tpm.reset.command_audit_digest.as_bytes(), expected.as_bytes());
    }

    #[test]
    fn only_owner_and_platform_change_the_list() {
        let mut client = Client::started();
        let empty: Ccs = List(Vec::new());
        for (handle, expected) in [
            (Handle::PLATFORM, None),
            (Handle::ENDORSEMENT, Some(Rc::VALUE.handle(1))),
            (Handle::LOCKOUT, Some(Rc::VALUE.handle(1))),
        ] {
            let command = command(Cc::SET_COMMAND_CODE_AUDIT_STATUS)
                .handle(handle)
                .password(b"")
                .put(None::<HashAlg>)
                .put(&empty)
                .put(&empty);
            assert_eq!(client.run(&command).err(), expected);
        }
    }

    #[test]
    fn a_hash_that_does_not_exist_and_a_list_that_is_too_long_are_named() {
        let mut client = Client::started();
        let start = command(Cc::SET_COMMAND_CODE_AUDIT_STATUS).handle(Handle::OWNER).password(b"");
        assert_eq!(client.rc(&start.clone().put(0x1234u16)), Rc::HASH.parameter(1));
        let long = start.put(None::<HashAlg>).put(255u32);
        assert_eq!(client.rc(&long), Rc::SIZE.parameter(2));
    }
}
