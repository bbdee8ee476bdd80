//! TPM2_Startup: Part 3, clause 9.3, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, Su};

command! {
    /// Starts the TPM after `_TPM_Init`.
    #[doc(alias = "TPM2_Startup")]
    Command {
        handles {}
        parameters {
            /// `CLEAR`, or `STATE` to go on from `TPM2_Shutdown(STATE)`.
            startup_type: crate::startup::StartupType,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    // The static root of trust for measurement is locality 0 or 3.
    if !matches!(tpm.locality, 0 | 3) {
        return Err(Rc::LOCALITY);
    }
    let resume = command.startup_type.0 == Su::STATE;
    tpm.start(resume)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Handle, Rc};

    #[test]
    fn nothing_but_startup_is_accepted_after_init() {
        let mut client = Client::initialized();
        assert_eq!(client.rc(&command(Cc::GET_RANDOM).put(1u16)), Rc::INITIALIZE);
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        assert_eq!(client.rc(&command(Cc::STARTUP).put(0u16)), Rc::INITIALIZE);
    }

    #[test]
    fn an_unknown_type_is_refused() {
        let mut client = Client::initialized();
        assert_eq!(client.rc(&command(Cc::STARTUP).put(2u16)), Rc::VALUE.parameter(1));
    }

    #[test]
    fn state_is_refused_without_a_matching_shutdown() {
        let mut client = Client::initialized();
        assert_eq!(client.rc(&command(Cc::STARTUP).put(1u16)), Rc::VALUE.parameter(1));
    }

    #[test]
    fn only_localities_0_and_3_may_start() {
        let mut client = Client::initialized();
        client.locality = 1;
        assert_eq!(client.rc(&command(Cc::STARTUP).put(0u16)), Rc::LOCALITY);
        client.locality = 3;
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
    }

    fn h_crtm(client: &mut Client) {
        client.tpm.hash_start();
        client.tpm.hash_data(b"crtm");
        client.tpm.hash_end();
    }

    #[test]
    fn a_resume_needs_the_h_crtm_that_came_before_the_start() {
        for (before, now) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut client = Client::initialized();
            for came in [before, now] {
                client.tpm.init();
                if came {
                    h_crtm(&mut client);
                }
                if client.tpm.permanent.preserved.is_none() {
                    client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
                    client.run(&command(Cc::SHUTDOWN).put(1u16)).unwrap();
                }
            }
            let rc = client.run(&command(Cc::STARTUP).put(1u16)).err();
            assert_eq!(rc, (before != now).then_some(Rc::VALUE.parameter(1)));
        }
    }

    #[test]
    fn a_resume_comes_from_the_locality_of_the_start() {
        for (before, now) in [(0, 3), (3, 0), (3, 3)] {
            let mut client = Client::initialized();
            client.locality = before;
            client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
            client.run(&command(Cc::SHUTDOWN).put(1u16)).unwrap();
            client.tpm.init();
            client.locality = now;
            let rc = client.run(&command(Cc::STARTUP).put(1u16)).err();
            assert_eq!(rc, (before != now).then_some(Rc::LOCALITY));
            if before != now {
                // The other way to start is open.
                client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
            }
        }
    }

    #[test]
    fn platform_authorization_is_kept_by_a_resume_only() {
        for (startup_type, kept) in [(1u16, true), (0, false)] {
            let mut client = Client::started();
            let change = |old: &[u8], new: &[u8]| {
                command(Cc::HIERARCHY_CHANGE_AUTH)
                    .handle(Handle::PLATFORM)
                    .password(old)
                    .put(crate::wire::Auth::from_slice(new))
            };
            client.run(&change(b"", b"secret")).unwrap();
            client.run(&command(Cc::SHUTDOWN).put(1u16)).unwrap();
            client.tpm.init();
            client.run(&command(Cc::STARTUP).put(startup_type)).unwrap();
            assert_eq!(client.run(&change(b"secret", b"")).is_ok(), kept);
        }
    }

    #[test]
    fn a_command_that_changes_state_after_shutdown_makes_the_shutdown_void() {
        let mut client = Client::started();
        client.run(&command(Cc::SHUTDOWN).put(1u16)).unwrap();
        client
            .run(
                &command(Cc::HIERARCHY_CHANGE_AUTH)
                    .handle(Handle::PLATFORM)
                    .password(b"")
                    .put(crate::wire::Auth::from_slice(b"1")),
            )
            .unwrap();
        client.tpm.init();
        assert_eq!(client.rc(&command(Cc::STARTUP).put(1u16)), Rc::VALUE.parameter(1));
    }
}
