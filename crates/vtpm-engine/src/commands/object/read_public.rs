//! TPM2_ReadPublic: Part 3, clause 12.4, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, Name, Rc, Sized2b, Tpm2bPublic};

command! {
    /// Reads the public area of a loaded object.
    #[doc(alias = "TPM2_ReadPublic")]
    Command {
        handles {
            /// The object.
            object_handle: DhObject,
        }
        parameters {}
    }
    Response {
        parameters {
            /// The public area.
            out_public: Tpm2bPublic,
            /// The name.
            name: Name,
            /// The qualified name.
            qualified_name: Name,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    // A sequence has no public area.
    let object = tpm.object(command.object_handle).map_err(|_| Rc::SEQUENCE)?;
    Ok(Response {
        out_public: Sized2b(object.public.clone()),
        name: object.name.clone(),
        qualified_name: object.qualified_name.clone(),
    })
}

#[cfg(test)]
mod tests {
    use crate::object::samples::{ecc_storage, next};
    use crate::object::{Slot, sequence};
    use crate::pcr::EventHashes;
    use crate::test_util::{Client, command};
    use crate::wire::{Auth, Cc, Handle, Name, Public, Rc, Sized2b};

    #[test]
    fn public_area_and_names_are_returned() {
        let mut client = Client::started();
        let handle = client.primary(Handle::OWNER, &ecc_storage());
        let mut rest = client.run(&command(Cc::READ_PUBLIC).handle(handle)).unwrap().parameters;
        let public = next::<Sized2b<Public>>(&client, &mut rest).0;
        assert_eq!(next::<Name>(&client, &mut rest), public.name());
        let object = client.tpm.object(handle).unwrap();
        assert_eq!(public, object.public);
        assert_eq!(next::<Name>(&client, &mut rest), object.qualified_name);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_sequence_has_no_public_area() {
        let mut client = Client::started();
        let state = sequence::SequenceState::Event(EventHashes::new(&client.tpm.pcrs));
        let sequence = sequence::Sequence { auth: Auth::empty(), state };
        let handle = client.tpm.objects.insert(Slot::Sequence(Box::new(sequence))).unwrap();
        assert_eq!(client.rc(&command(Cc::READ_PUBLIC).handle(handle)), Rc::SEQUENCE);
    }

    #[test]
    fn a_handle_without_an_object_is_named() {
        let mut client = Client::started();
        let nothing = command(Cc::READ_PUBLIC).handle(Handle(0x8000_0001));
        assert_eq!(client.rc(&nothing), Rc::reference_handle(0));
        let hierarchy = command(Cc::READ_PUBLIC).handle(Handle::OWNER);
        assert_eq!(client.rc(&hierarchy), Rc::VALUE.handle(1));
    }
}
