//! TPM2_NV_DefineSpace: Part 3, clause 31.3, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, HandleInterface, NvPublic, Rc, RhProvision, Sized2b};

command! {
    /// Defines an NV index.
    #[doc(alias = "TPM2_NV_DefineSpace")]
    Command {
        handles {
            /// Who defines it.
            auth_handle: RhProvision,
        }
        parameters {
            /// The index's authorization value.
            auth: Auth,
            /// The index's public area.
            public_info: Sized2b<NvPublic>,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.define_nv(command.auth_handle.handle(), command.auth, command.public_info.0)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, define, define_as, of_kind, public};
    use crate::test_util::{Client, command};
    use crate::wire::{Auth, Cc, Digest, Handle, NvAttributes, Rc, Sized2b};

    const ATTRIBUTES: Rc = Rc::ATTRIBUTES.parameter(2);

    #[track_caller]
    fn refused(attributes: NvAttributes, size: u16, rc: Rc) {
        assert_eq!(Client::started().rc(&define(INDEX, attributes, size)), rc);
    }

    #[test]
    fn an_index_is_defined_once_and_durably() {
        let mut client = Client::started();
        client.run(&define(INDEX, ORDINARY, 16)).unwrap();
        assert!(client.outcome.durable);
        assert_eq!(client.rc(&define(INDEX, ORDINARY, 16)), Rc::NV_DEFINED);
    }

    #[test]
    fn a_policy_must_be_a_digest_of_the_name_algorithm() {
        let mut client = Client::started();
        let mut info = public(INDEX, ORDINARY, 16);
        info.auth_policy = Digest::from_slice(&[1; 20]);
        assert_eq!(client.rc(&define_as(Handle::OWNER, info.clone())), Rc::SIZE.parameter(2));
        info.auth_policy = Digest::from_slice(&[1; 32]);
        client.run(&define_as(Handle::OWNER, info)).unwrap();
    }

    #[test]
    fn the_authorization_value_must_not_be_longer_than_the_name_algorithms_digest() {
        let mut client = Client::started();
        let with_auth = |auth: &[u8]| {
            command(Cc::NV_DEFINE_SPACE)
                .handle(Handle::OWNER)
                .password(b"")
                .put(Auth::from_slice(auth))
                .put(Sized2b(public(INDEX, ORDINARY, 16)))
        };
        assert_eq!(client.rc(&with_auth(&[1; 33])), Rc::SIZE.parameter(1));
        let mut padded = [0; 40];
        padded[0] = 1;
        client.run(&with_auth(&padded)).unwrap();
    }

    #[test]
    fn an_unknown_kind_of_index_is_refused() {
        for kind in [3, 5, 6, 7, 10, 15] {
            refused(of_kind(kind), 8, ATTRIBUTES);
        }
    }

    #[test]
    fn each_kind_has_its_size() {
        for kind in [1, 2, 8, 9] {
            refused(of_kind(kind), 7, Rc::SIZE.parameter(2));
            Client::started().run(&define(INDEX, of_kind(kind), 8)).unwrap();
        }
        refused(of_kind(4), 20, Rc::SIZE.parameter(2));
        Client::started().run(&define(INDEX, of_kind(4), 32)).unwrap();
        refused(ORDINARY, 2049, Rc::SIZE.parameter(2));
        Client::started().run(&define(INDEX, ORDINARY, 2048)).unwrap();
        Client::started().run(&define(INDEX, ORDINARY, 0)).unwrap();
    }

    #[test]
    fn a_counter_cannot_be_cleared() {
        refused(of_kind(1).with(NvAttributes::CLEAR_ST_CLEAR), 8, ATTRIBUTES);
    }

    #[test]
    fn a_pin_index_cannot_be_written_with_its_own_value_or_locked_for_good() {
        for kind in [8, 9] {
            for bad in
                [NvAttributes::AUTH_WRITE, NvAttributes::GLOBAL_LOCK, NvAttributes::WRITE_DEFINE]
            {
                refused(of_kind(kind).with(bad), 8, ATTRIBUTES);
            }
        }
    }

    #[test]
    fn a_pin_fail_index_must_not_count_for_dictionary_attack_protection() {
        refused(of_kind(8).without(NvAttributes::NO_DA), 8, ATTRIBUTES);
        let pass = of_kind(9).without(NvAttributes::NO_DA);
        Client::started().run(&define(INDEX, pass, 8)).unwrap();
    }

    #[test]
    fn an_index_is_not_defined_as_written_or_locked() {
        for status in [NvAttributes::WRITTEN, NvAttributes::WRITE_LOCKED, NvAttributes::READ_LOCKED]
        {
            refused(ORDINARY.with(status), 8, ATTRIBUTES);
        }
    }

    #[test]
    fn an_index_must_be_readable_and_writable_by_someone() {
        refused(NvAttributes::OWNER_READ, 8, ATTRIBUTES);
        refused(NvAttributes::OWNER_WRITE, 8, ATTRIBUTES);
    }

    #[test]
    fn contents_that_are_cleared_cannot_be_locked_for_good() {
        let both = NvAttributes::CLEAR_ST_CLEAR.with(NvAttributes::WRITE_DEFINE);
        refused(ORDINARY.with(both), 8, ATTRIBUTES);
    }

    #[test]
    fn the_creator_must_be_able_to_delete_the_index() {
        let mut client = Client::started();
        let own = public(INDEX, ORDINARY, 8);
        let rc = client.rc(&define_as(Handle::PLATFORM, own));
        assert_eq!(rc, Rc::ATTRIBUTES.handle(1));
        let platform = public(INDEX, ORDINARY.with(NvAttributes::PLATFORM_CREATE), 8);
        let rc = client.rc(&define_as(Handle::OWNER, platform));
        assert_eq!(rc, Rc::ATTRIBUTES.handle(1));
    }

    #[test]
    fn only_the_platform_defines_an_index_that_needs_its_policy_to_be_deleted() {
        refused(ORDINARY.with(NvAttributes::POLICY_DELETE), 8, ATTRIBUTES);
        let platform = NvAttributes::PLATFORM_CREATE.with(NvAttributes::POLICY_DELETE);
        Client::started().run(&define(INDEX, ORDINARY.with(platform), 8)).unwrap();
    }

    #[test]
    fn an_index_larger_than_one_write_cannot_demand_to_be_written_at_once() {
        let all = ORDINARY.with(NvAttributes::WRITE_ALL);
        refused(all, 1025, Rc::SIZE.parameter(2));
        Client::started().run(&define(INDEX, all, 1024)).unwrap();
    }

    #[test]
    fn the_platform_defines_nothing_while_its_nv_is_disabled() {
        let mut client = Client::started();
        client.tpm.clear.platform_nv_enabled = false;
        let define = define(INDEX, ORDINARY.with(NvAttributes::PLATFORM_CREATE), 8);
        assert_eq!(client.rc(&define), Rc::HIERARCHY.handle(1));
    }

    #[test]
    fn a_reserved_attribute_is_named() {
        refused(NvAttributes(ORDINARY.0 | 0x100), 8, Rc::RESERVED_BITS.parameter(2));
    }

    #[test]
    fn only_owner_and_platform_define() {
        let mut client = Client::started();
        let define = define_as(Handle::ENDORSEMENT, public(INDEX, ORDINARY, 8));
        assert_eq!(client.rc(&define), Rc::VALUE.handle(1));
    }
}
