//! TPM2_NV_DefineSpace2: Part 3, clause 31.17, revision 1.83.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, HandleInterface, NvPublic2, Rc, RhProvision, Sized2b};

command! {
    /// Defines an NV index of any handle type.
    #[doc(alias = "TPM2_NV_DefineSpace2")]
    Command {
        handles {
            /// Who defines it.
            auth_handle: RhProvision,
        }
        parameters {
            /// The index's authorization value.
            auth: Auth,
            /// The index's public area.
            public_info: Sized2b<NvPublic2>,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    // There is no external NV here, and permanent indices are not defined by commands.
    let NvPublic2::Index(public) = command.public_info.0 else {
        return Err(Rc::HANDLE.parameter(2));
    };
    tpm.define_nv(command.auth_handle.handle(), command.auth, public)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, contents, public, write};
    use crate::crypto::hash::HashAlg;
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Auth, Cc, Digest, Handle, HandleInterface, NvDataSize, NvExpAttributes, NvPublic2,
        NvPublicExp, NvPublicPermanent, Rc, RhExternalNvIndex, RhPermanentNvIndex, Sized2b,
    };

    fn define(public: NvPublic2) -> CommandBuilder {
        command(Cc::NV_DEFINE_SPACE_2)
            .handle(Handle::OWNER)
            .password(b"")
            .put(Auth::from_slice(b"index"))
            .put(Sized2b(public))
    }

    #[test]
    fn an_ordinary_handle_type_defines_what_the_older_command_defines() {
        let mut client = Client::started();
        client.run(&define(NvPublic2::Index(public(INDEX, ORDINARY, 4)))).unwrap();
        client.run(&write(INDEX, b"data", 0)).unwrap();
        assert_eq!(contents(&mut client, INDEX, 4).unwrap(), b"data");
        let again = define(NvPublic2::Index(public(INDEX, ORDINARY, 4)));
        assert_eq!(client.rc(&again), Rc::NV_DEFINED);
    }

    #[test]
    fn external_nv_is_not_there() {
        let mut client = Client::started();
        let external = NvPublic2::External(NvPublicExp {
            index: RhExternalNvIndex::check(Handle(0x1100_0001)).unwrap(),
            name_alg: HashAlg::Sha256,
            attributes: NvExpAttributes::of(ORDINARY).with(NvExpAttributes::ENCRYPTION),
            auth_policy: Digest::empty(),
            data_size: NvDataSize(4),
        });
        assert_eq!(client.rc(&define(external)), Rc::HANDLE.parameter(2));
    }

    #[test]
    fn a_permanent_index_is_not_defined_by_command() {
        let mut client = Client::started();
        let permanent = NvPublic2::Permanent(NvPublicPermanent {
            index: RhPermanentNvIndex::check(Handle(0x1200_0001)).unwrap(),
            name_alg: HashAlg::Sha256,
            attributes: ORDINARY,
            auth_policy: Digest::empty(),
            data_size: NvDataSize(4),
        });
        assert_eq!(client.rc(&define(permanent)), Rc::HANDLE.parameter(2));
    }

    #[test]
    fn an_unknown_handle_type_is_refused() {
        let mut client = Client::started();
        let unknown = command(Cc::NV_DEFINE_SPACE_2)
            .handle(Handle::OWNER)
            .password(b"")
            .put(Auth::empty())
            .bytes(&[0, 1, 0x40]);
        assert_eq!(client.rc(&unknown), Rc::SELECTOR.parameter(2));
    }
}
