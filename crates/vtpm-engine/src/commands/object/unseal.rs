//! TPM2_Unseal: Part 3, clause 12.7, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, ObjectAttributes, PublicParms, Rc, SensitiveData};

command! {
    /// Returns the data of a sealed object.
    #[doc(alias = "TPM2_Unseal")]
    Command {
        handles {
            /// The sealed object.
            item_handle: DhObject,
        }
        parameters {}
    }
    Response {
        parameters {
            /// The data.
            out_data: SensitiveData,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let object = tpm.object(command.item_handle).map_err(|_| Rc::TYPE.handle(1))?;
    if !matches!(object.public.parms, PublicParms::KeyedHash(_)) {
        return Err(Rc::TYPE.handle(1));
    }
    let key =
        ObjectAttributes::DECRYPT.with(ObjectAttributes::SIGN).with(ObjectAttributes::RESTRICTED);
    if object.public.attributes.any(key) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    // Authorization needs the sensitive area, so it is there.
    let sensitive = object.sensitive.as_ref().ok_or(Rc::AUTH_UNAVAILABLE)?;
    Ok(Response { out_data: SensitiveData::new(&sensitive.composite)? })
}

#[cfg(test)]
mod tests {
    use crate::object::samples::{ecc_signing, ecc_storage, hmac_key, sealed};
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Handle, Marshal, Rc, SensitiveData};

    #[test]
    fn sealed_data_is_returned_to_whoever_knows_the_authorization_value() {
        let mut client = Client::started();
        let parent = client.primary(Handle::OWNER, &ecc_storage());
        let mut template = sealed();
        template.attributes = template.attributes.with(crate::wire::ObjectAttributes::NO_DA);
        let stored = client.create(parent, b"pass", &[5; 128], &template).unwrap();
        let item = client.load_stored(parent, &stored).unwrap();
        let unseal = |auth| command(Cc::UNSEAL).handle(item).password(auth);
        let reply = client.run(&unseal(b"pass")).unwrap();
        assert_eq!(reply.parameters, SensitiveData::from_slice(&[5; 128]).to_bytes());
        assert_eq!(client.rc(&unseal(b"word")), Rc::BAD_AUTH.session(1));
    }

    #[test]
    fn keys_are_not_unsealed() {
        let mut client = Client::started();
        let cases = [(ecc_signing(), Rc::TYPE), (hmac_key(), Rc::ATTRIBUTES)];
        for (template, rc) in cases {
            let handle = client.primary(Handle::OWNER, &template);
            let unseal = command(Cc::UNSEAL).handle(handle).password(b"");
            assert_eq!(client.rc(&unseal), rc.handle(1));
        }
    }
}
