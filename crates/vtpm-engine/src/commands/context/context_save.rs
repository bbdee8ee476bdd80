//! TPM2_ContextSave: Part 3, clause 28.2, revision 1.59.

use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::object::Slot;
use crate::session::authorize::Authorized;
use crate::state::context::{Header, SAVED_OBJECT, SAVED_SEQUENCE, SAVED_ST_CLEAR};
use crate::state::object::{save_object, save_sequence};
use crate::state::record::Writer;
use crate::state::session::save_session;
use crate::tpm::Tpm;
use crate::wire::{Context, DhContext, DhSaved, Handle, HandleInterface, Rc};

command! {
    /// Saves an object, sequence or session outside the TPM. A session is then no longer loaded;
    /// an object still is.
    #[doc(alias = "TPM2_ContextSave")]
    Command {
        handles {
            /// What to save.
            save_handle: DhContext,
        }
        parameters {}
    }
    Response {
        parameters {
            /// The context.
            context: Context,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let handle = command.save_handle.handle();
    let mut writer = Writer::new();
    let header = if handle.is_session() {
        let (sequence, session) = tpm.sessions.save(handle)?;
        save_session(&mut writer, &session);
        Header { sequence, saved_handle: handle, hierarchy: Hierarchy::Null }
    } else {
        save_slot(tpm, handle, &mut writer)?
    };
    let blob = tpm.seal_context(header, &writer.finish())?;
    let saved_handle = DhSaved::check(header.saved_handle).map_err(|_| Rc::FAILURE)?;
    let hierarchy = header.hierarchy.handle();
    Ok(Response { context: Context { sequence: header.sequence, saved_handle, hierarchy, blob } })
}

fn save_slot(tpm: &mut Tpm, handle: Handle, writer: &mut Writer) -> Result<Header, Rc> {
    let sequence = tpm.reset.object_context_id.checked_add(1).ok_or(Rc::TOO_MANY_CONTEXTS)?;
    let (saved_handle, hierarchy) = match tpm.objects.get(handle).ok_or(Rc::FAILURE)? {
        Slot::Object(object) => {
            save_object(writer, object);
            (if object.st_clear { SAVED_ST_CLEAR } else { SAVED_OBJECT }, object.hierarchy)
        }
        Slot::Sequence(sequence) => {
            save_sequence(writer, sequence);
            (SAVED_SEQUENCE, Hierarchy::Null)
        }
    };
    tpm.reset.object_context_id = sequence;
    Ok(Header { sequence, saved_handle, hierarchy })
}

#[cfg(test)]
mod tests {
    use super::super::test_util::{
        Saved, create, flush, load, save, save_context, start_policy, start_session,
    };
    use crate::commands::capability::properties::{MAX_OBJECT_CONTEXT, MAX_SESSION_CONTEXT};
    use crate::crypto::hash::{HashAlg, Hasher};
    use crate::crypto::hmac::Hmac;
    use crate::hierarchy::Hierarchy;
    use crate::object::sequence::{Sequence, SequenceState};
    use crate::object::{Object, Slot};
    use crate::pcr::EventHashes;
    use crate::session::authorize::CONTEXT_GAP_MAX;
    use crate::session::{BoundValue, PolicyBinding, SessionKey};
    use crate::test_util::{Client, command};
    use crate::wire::{
        Aes, Alg, Auth, Cc, Digest, Handle, Name, Nonce, ObjectAttributes, Public, PublicId,
        PublicKeyRsa, PublicParms, Rc, RsaKeyBits, RsaParms, RsaScheme, Scheme, Sensitive,
        SensitiveComposite, SymMode,
    };
    use std::sync::Arc;

    #[test]
    fn the_saved_handle_says_what_was_saved() {
        let mut client = Client::started();
        let plain = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let st_clear = create(&mut client, Handle::NULL, ObjectAttributes::ST_CLEAR);
        let session = start_session(&mut client);
        let policy = start_policy(&mut client);
        let summary = |saved: &Saved| (saved.sequence(), saved.handle(), saved.hierarchy());
        let saved = save_context(&mut client, plain);
        assert_eq!(summary(&saved), (1, Handle(0x8000_0000), Handle::OWNER));
        let saved = save_context(&mut client, st_clear);
        assert_eq!(summary(&saved), (2, Handle(0x8000_0002), Handle::NULL));
        let saved = save_context(&mut client, session);
        assert_eq!(summary(&saved), (4, session, Handle::NULL));
        let saved = save_context(&mut client, policy);
        assert_eq!(summary(&saved), (5, policy, Handle::NULL));
    }

    #[test]
    fn an_object_stays_loaded_and_a_session_does_not() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let session = start_session(&mut client);
        client.run(&save(object)).unwrap();
        client.run(&save(session)).unwrap();
        client.run(&save(object)).unwrap();
        assert_eq!(client.rc(&save(session)), Rc::reference_handle(0));
        assert_eq!((client.tpm.sessions.loaded(), client.tpm.sessions.active()), (0, 1));
    }

    #[test]
    fn the_contents_are_not_in_the_clear() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let saved = save_context(&mut client, object);
        let public = client.tpm.object(object).unwrap().name.to_vec();
        assert!(!saved.0.windows(public.len()).any(|window| window == public));
        assert!(!saved.0.windows(4).any(|window| window == b"OBJ "));
    }

    #[test]
    fn a_session_that_is_too_old_must_be_loaded_first() {
        let mut client = Client::started();
        let old = start_session(&mut client);
        let context = save_context(&mut client, old);
        let new = start_session(&mut client);
        client.tpm.sessions.context_counter += u64::from(CONTEXT_GAP_MAX) - 1;
        let last = save_context(&mut client, new);
        client.run(&load(&last)).unwrap();
        assert_eq!(client.rc(&save(new)), Rc::CONTEXT_GAP);
        assert_eq!(client.tpm.sessions.loaded(), 1);
        client.run(&load(&context)).unwrap();
        client.run(&save(new)).unwrap();
    }

    #[test]
    fn the_last_room_is_kept_for_the_oldest_session() {
        let mut client = Client::started();
        let sessions: Vec<_> = (0..3).map(|_| start_session(&mut client)).collect();
        let oldest = save_context(&mut client, sessions[0]);
        let other = save_context(&mut client, sessions[1]);
        client.tpm.sessions.context_counter += u64::from(CONTEXT_GAP_MAX);
        start_session(&mut client);
        assert_eq!(client.rc(&load(&other)), Rc::CONTEXT_GAP);
        let start = super::super::test_util::start(crate::wire::Se::HMAC);
        assert_eq!(client.rc(&start), Rc::CONTEXT_GAP);
        client.run(&load(&oldest)).unwrap();
        client.run(&flush(sessions[2])).unwrap();
        // The other one is the oldest now.
        client.run(&load(&other)).unwrap();
    }

    #[test]
    fn sequence_numbers_end() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let session = start_session(&mut client);
        client.tpm.reset.object_context_id = u64::MAX;
        client.tpm.sessions.context_counter = u64::MAX - 1;
        assert_eq!(client.rc(&save(object)), Rc::TOO_MANY_CONTEXTS);
        assert_eq!(client.rc(&save(session)), Rc::TOO_MANY_CONTEXTS);
    }

    #[test]
    fn the_largest_contexts_are_as_large_as_the_properties_say() {
        let mut client = Client::started();
        let hash = HashAlg::Sha512;
        let object = Object {
            public: Public {
                name_alg: Some(hash),
                attributes: ObjectAttributes::RESTRICTED.with(ObjectAttributes::DECRYPT),
                auth_policy: Digest::from_slice(&[1; 64]),
                parms: PublicParms::Rsa(RsaParms {
                    symmetric: Some(Aes { bits: 256, mode: Some(SymMode::Cfb) }),
                    scheme: RsaScheme(Scheme::Null),
                    key_bits: RsaKeyBits(4096),
                    exponent: 0,
                }),
                unique: PublicId::Rsa(PublicKeyRsa::from_slice(&[1; 512])),
            },
            sensitive: Some(Sensitive {
                alg: Alg::RSA,
                auth: Auth::from_slice(&[1; 64]),
                seed: Auth::from_slice(&[1; 64]),
                composite: SensitiveComposite::from_slice(&[1; 5 * 256]),
            }),
            name: Name::from_slice(&[1; 66]),
            qualified_name: Name::from_slice(&[1; 66]),
            hierarchy: Hierarchy::Owner,
            primary: true,
            external: false,
            st_clear: true,
            prepared: Default::default(),
        };
        let hmac = SequenceState::Hmac(Hmac::new(HashAlg::Sha3_256, b"key"));
        let event = SequenceState::Event(EventHashes(HashAlg::ALL.map(Hasher::new).to_vec()));
        let sequences = [hmac, event].map(|state| {
            Slot::Sequence(Box::new(Sequence { auth: Auth::from_slice(&[1; 64]), state }))
        });
        let slots = sequences.into_iter().chain([Slot::Object(Arc::new(object))]);
        for slot in slots {
            let handle = client.tpm.objects.insert(slot).unwrap();
            let saved = save_context(&mut client, handle);
            assert!(saved.0.len() <= MAX_OBJECT_CONTEXT as usize, "{}", saved.0.len());
        }
        let session = start_policy(&mut client);
        let state = client.tpm.sessions.get_mut(session).unwrap();
        state.hash = hash;
        state.key = SessionKey::from_slice(&[1; 64]);
        state.nonce_tpm = Nonce::from_slice(&[1; 64]);
        state.bound = Some(BoundValue::from_slice(&[1; 130]));
        state.audit = Some(Digest::from_slice(&[1; 64]));
        state.policy.digest = Digest::from_slice(&[1; 64]);
        state.policy.binding = PolicyBinding::CpHash(Digest::from_slice(&[1; 64]));
        state.policy.pcr_counter = Some(1);
        let saved = save_context(&mut client, session);
        assert!(saved.0.len() <= MAX_SESSION_CONTEXT as usize, "{}", saved.0.len());
    }

    #[test]
    fn only_objects_and_sessions_can_be_saved() {
        let mut client = Client::started();
        assert_eq!(client.rc(&save(Handle::OWNER)), Rc::VALUE.handle(1));
        assert_eq!(client.rc(&save(Handle(0x8100_0000))), Rc::VALUE.handle(1));
        assert_eq!(client.rc(&save(Handle(0x8000_0000))), Rc::reference_handle(0));
        let command = command(Cc::CONTEXT_SAVE).handle(Handle(0x8000_0000)).password(b"");
        assert_eq!(client.rc(&command), Rc::reference_handle(0));
    }
}
