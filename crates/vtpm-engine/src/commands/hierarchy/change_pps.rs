//! TPM2_ChangePPS: Part 3, clause 24.4, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhPlatform};

command! {
    /// Replaces the platform primary seed.
    #[doc(alias = "TPM2_ChangePPS")]
    Command {
        handles {
            /// The platform.
            auth_handle: RhPlatform,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, _: Command) -> Result<Response, Rc> {
    tpm.change_platform_seed();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::hierarchy::Hierarchy;
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Handle, Rc};

    #[test]
    fn seed_and_proof_are_new_afterwards() {
        let mut client = Client::started();
        let hierarchy = Hierarchy::Platform;
        let before = (client.tpm.seed(hierarchy).clone(), client.tpm.proof(hierarchy).clone());
        client.run(&command(Cc::CHANGE_PPS).handle(Handle::PLATFORM).password(b"")).unwrap();
        assert!(client.outcome.durable);
        assert_ne!(client.tpm.seed(hierarchy), &before.0);
        assert_ne!(client.tpm.proof(hierarchy), &before.1);
    }

    #[test]
    fn only_the_platform_may_change_it() {
        let mut client = Client::started();
        let bad = command(Cc::CHANGE_PPS).handle(Handle::OWNER).password(b"");
        assert_eq!(client.rc(&bad), Rc::VALUE.handle(1));
        let bad = command(Cc::CHANGE_PPS).handle(Handle::PLATFORM);
        assert_eq!(client.rc(&bad), Rc::AUTH_MISSING);
    }
}
