//! Objects: creation, loading, duplication, credentials, contexts, persistence
//! (Part 3, clauses 12, 13, 24, 28).

use super::start_session;
use crate::cc;
use crate::crypto::Hash;
use crate::keys;
use crate::step::{Piece, Seq, Step, cmd, hmac};
use crate::templates::*;

pub(super) fn all() -> Vec<Seq> {
    vec![
        primaries(),
        create_load(),
        attributes(),
        external_objects(),
        derived(),
        super::duplication::duplication(),
        super::duplication::inner_wrapped(),
        super::duplication::credentials(),
        contexts(),
        evict(),
        seal(),
        rsa_create(),
        slots(),
    ]
}

pub(super) const ORDINARY: u32 = FIXED_TPM | FIXED_PARENT | ORIGIN | USER_WITH_AUTH | NO_DA;

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
fn primaries() -> Seq {
    let mut s = Seq::new("primary objects of all kinds");
    let mut publics = vec![
        storage_parent(),
        ecc(ORDINARY | SIGN, NONE, &scheme(ECDSA, Hash::Sha256)),
        ecc(ORDINARY | SIGN | RESTRICTED, NONE, &scheme(ECDSA, Hash::Sha256)),
        ecc(ORDINARY | SIGN, NONE, &scheme(ECSCHNORR, Hash::Sha256)),
        ecc(ORDINARY | SIGN, NONE, &[0, 0x1a, 0, 0xb, 0, 0]),
        ecc(ORDINARY | DECRYPT, NONE, &scheme(ECDH, Hash::Sha256)),
        ecc(ORDINARY | DECRYPT, NONE, NONE),
        ecc(ORDINARY | SIGN | DECRYPT, NONE, NONE),
        keyed_hash(ORDINARY | SIGN, &[], &scheme(HMAC, Hash::Sha256), &[]),
        keyed_hash(ORDINARY | SIGN | RESTRICTED, &[], &scheme(HMAC, Hash::Sha256), &[]),
        keyed_hash(ORDINARY | DECRYPT, &[], &[0, 0xa, 0, 0xb, 0, 0x22], &[]),
        keyed_hash(ORDINARY | DECRYPT | RESTRICTED, &[], &[0, 0xa, 0, 0xb, 0, 0x22], &[]),
        keyed_hash(ORDINARY & !ORIGIN, &[], NONE, &[]),
        symmetric(ORDINARY | DECRYPT | SIGN, AES128, &[]),
        symmetric(ORDINARY | DECRYPT, AES128, &[]),
        symmetric(ORDINARY | DECRYPT | RESTRICTED, AES128, &[]),
        symmetric(ORDINARY | SIGN, &[0, 6, 0, 128, 0, 0x3f], &[]),
        symmetric(ORDINARY | SIGN | DECRYPT, &[0, 6, 1, 0, 0, 0x10], &[]),
        vec![],
        vec![0, 0x23],
    ];
    for curve in [1, 2, 4, 5, 0x10, 0x20] {
        publics.push(ecc_with(STORAGE, &[], AES128, NONE, curve, (&[], &[])));
    }
    for hash in [Hash::Sha1, Hash::Sha384, Hash::Sha512] {
        let mut public = storage_parent();
        public[2..4].copy_from_slice(&hash.id().to_be_bytes());
        publics.push(public);
    }
    publics.push(ecc(ORDINARY | SIGN | ADMIN_WITH_POLICY, NONE, NONE));
    publics.push(ecc_with(ORDINARY | SIGN, &[1; 32], NONE, NONE, 3, (&[], &[])));
    publics.push(ecc_with(ORDINARY | SIGN, &[1; 31], NONE, NONE, 3, (&[], &[])));
    publics.push(ecc_with(ORDINARY | SIGN, &[], NONE, NONE, 3, (&[1; 32], &[2; 32])));
    publics.push(ecc_with(ORDINARY | SIGN, &[], NONE, NONE, 3, (&[1; 70], &[])));
    for (number, public) in publics.iter().enumerate() {
        let hierarchy = [OWNER, ENDORSEMENT, PLATFORM, NULL][number % 4];
        let id = s.run(primary(hierarchy, b"auth", public));
        s.run(cmd(cc::READ_PUBLIC).of(id));
        flush(&mut s, id);
        let id = s.run(
            cmd(cc::CREATE_PRIMARY)
                .h(OWNER)
                .pw()
                .b2(create_sensitive(b"", b"data"))
                .b2(public)
                .b2(b"outside")
                .b(pcrs(Hash::Sha256, [1, 2, 3])),
        );
        flush(&mut s, id);
        let id = s.run(
            cmd(cc::CREATE_LOADED).h(ENDORSEMENT).pw().b2(create_sensitive(b"", b"")).b2(public),
        );
        flush(&mut s, id);
    }
    s.run(primary(OWNER, &[3; 33], &storage_parent()));
    s.run(primary(LOCKOUT, b"", &storage_parent()));
    s.run(cmd(cc::CREATE_PRIMARY).h(OWNER).pw().b2([]).b2(storage_parent()).b2([]).u32(0));
    s.run(
        cmd(cc::CREATE_PRIMARY)
            .h(OWNER)
            .pw()
            .b2(create_sensitive(b"", b""))
            .b2(storage_parent())
            .b2([7; 70])
            .u32(0),
    );
    s.run(
        cmd(cc::CREATE_PRIMARY)
            .h(OWNER)
            .pwd(b"x")
            .b2(create_sensitive(b"", b""))
            .b2(storage_parent())
            .b2([])
            .u32(0),
    );
    s
}

fn create_load() -> Seq {
    let mut s = Seq::new("create, load, read, change authorization");
    let parent = s.run(primary(OWNER, b"parent", &storage_parent()));
    let publics = [
        ecc(ORDINARY | SIGN, NONE, &scheme(ECDSA, Hash::Sha256)),
        ecc(STORAGE & !NO_DA, AES128, NONE),
        keyed_hash(ORDINARY | SIGN, &[], &scheme(HMAC, Hash::Sha1), &[]),
        keyed_hash(ORDINARY & !ORIGIN, &[], NONE, &[]),
        symmetric(ORDINARY | SIGN | DECRYPT, AES128, &[]),
    ];
    for (number, public) in publics.iter().enumerate() {
        let data: &[u8] = if number == 3 { b"sealed" } else { b"" };
        let id = s.run(
            cmd(cc::CREATE)
                .of(parent)
                .pwd(b"parent")
                .b2(create_sensitive(b"child\0", data))
                .b2(public)
                .b2(b"info")
                .b(pcrs(Hash::Sha256, [0xff, 0, 0])),
        );
        let load = |private: Piece, public: Piece| {
            cmd(cc::LOAD).of(parent).pwd(b"parent").p(private).p(public)
        };
        let child = s.run(load(Piece::Out(id, "outPrivate"), Piece::Out(id, "outPublic")));
        s.run(cmd(cc::READ_PUBLIC).of(child));
        s.run(
            cmd(cc::CERTIFY_CREATION)
                .h(NULL)
                .of(child)
                .pw()
                .b2([])
                .out(id, "creationHash")
                .b(NONE)
                .out(id, "creationTicket"),
        );
        let changed =
            s.run(cmd(cc::OBJECT_CHANGE_AUTH).of(child).of(parent).pwd(b"child").b2(b"other"));
        s.run(cmd(cc::OBJECT_CHANGE_AUTH).of(child).of(child).pwd(b"child").b2(b"other"));
        s.run(cmd(cc::OBJECT_CHANGE_AUTH).of(child).of(parent).pwd(b"child").b2([3; 33]));
        s.run(cmd(cc::OBJECT_CHANGE_AUTH).of(child).of(parent).pwd(b"wrong").b2(b"other"));
        s.run(cmd(cc::UNSEAL).of(child).pwd(b"child"));
        flush(&mut s, child);
        let child = s.run(load(Piece::Out(changed, "outPrivate"), Piece::Out(id, "outPublic")));
        s.run(cmd(cc::UNSEAL).of(child).pwd(b"other"));
        // Wrong combinations.
        s.run(load(
            Piece::Out(id, "outPrivate"),
            Piece::Sized(vec![Piece::Lit(publics[0].clone())]),
        ));
        s.run(load(Piece::Lit(vec![0, 0]), Piece::Out(id, "outPublic")));
        s.run(load(Piece::Lit(b2(&[1; 100])), Piece::Out(id, "outPublic")));
        s.run(cmd(cc::LOAD).of(child).pwd(b"other").out(id, "outPrivate").out(id, "outPublic"));
        s.run(
            cmd(cc::CREATE)
                .of(child)
                .pwd(b"other")
                .b2(create_sensitive(b"", b""))
                .b2(public)
                .b2([])
                .u32(0),
        );
        flush(&mut s, child);
    }
    s.run(cmd(cc::CREATE).of(parent).pwd(b"wrong"));
    s
}

fn attributes() -> Seq {
    let mut s = Seq::new("every attribute bit of objects at creation");
    let parent = s.run(primary(OWNER, b"", &storage_parent()));
    type Make = fn(u32) -> Vec<u8>;
    let kinds: [(u32, Make); 6] = [
        (ORDINARY | SIGN, |a| ecc(a, NONE, &scheme(ECDSA, Hash::Sha256))),
        (STORAGE, |a| ecc(a, AES128, NONE)),
        (ORDINARY & !ORIGIN, |a| keyed_hash(a, &[], NONE, &[])),
        (ORDINARY | SIGN, |a| keyed_hash(a, &[], &scheme(HMAC, Hash::Sha256), &[])),
        (ORDINARY | SIGN | DECRYPT, |a| symmetric(a, AES128, &[])),
        (ORDINARY | RESTRICTED | DECRYPT, |a| keyed_hash(a, &[], &[0, 0xa, 0, 0xb, 0, 0x22], &[])),
    ];
    for (base, make) in kinds {
        for first in 0..32 {
            for second in [first, 1, 4, 5, 16, 17, 18] {
                let flips = if first == second { 1 << first } else { 1 << first | 1 << second };
                for data in [&b""[..], b"data"] {
                    s.run(
                        cmd(cc::CREATE)
                            .of(parent)
                            .pw()
                            .b2(create_sensitive(b"", data))
                            .b2(make(base ^ flips))
                            .b2([])
                            .u32(0),
                    );
                }
            }
            let id = s.run(primary(OWNER, b"", &make(base ^ 1 << first)));
            flush(&mut s, id);
        }
    }
    s
}

fn external_objects() -> Seq {
    let mut s = Seq::new("external objects");
    let mut sequence = vec![
        rsa_key(USER_WITH_AUTH | SIGN, &scheme(RSASSA, Hash::Sha256), b""),
        rsa_small_key(USER_WITH_AUTH | DECRYPT, NONE),
        p256_key(USER_WITH_AUTH | SIGN, &scheme(ECDSA, Hash::Sha256), b"auth"),
        p384_key(USER_WITH_AUTH | SIGN | DECRYPT, NONE),
        hmac_key(USER_WITH_AUTH | SIGN, &scheme(HMAC, Hash::Sha256), b"", b"key"),
        hmac_key(USER_WITH_AUTH, NONE, b"", b"sealed"),
        aes_key(USER_WITH_AUTH | SIGN | DECRYPT, 128, 0x43),
        aes_key(USER_WITH_AUTH | SIGN | DECRYPT, 256, 0),
        external(&[], &p256_public(USER_WITH_AUTH | SIGN, NONE), OWNER),
        external(&[], &p256_public(USER_WITH_AUTH | SIGN, NONE), 0x4000_0002),
        external(&[], &storage_parent(), NULL),
        external(&sensitive(0x23, &[], &[], &[0; 32]), &p256_public(SIGN, NONE), NULL),
        external(&sensitive(0x23, &[], &[], &[0xff; 32]), &p256_public(SIGN, NONE), NULL),
        external(&sensitive(0x23, &[], &[], keys::P256_D), &p256_public(SIGN, NONE), OWNER),
        external(&sensitive(1, &[], &[], keys::P256_D), &p256_public(SIGN, NONE), NULL),
        external(&sensitive(0x23, &[1; 33], &[], keys::P256_D), &p256_public(SIGN, NONE), NULL),
        external(&sensitive(0x23, &[], &[1; 32], keys::P256_D), &p256_public(SIGN, NONE), NULL),
        external(&[], &ecc_with(SIGN, &[], NONE, NONE, 3, (&[1; 32], &[1; 32])), NULL),
        external(&[], &ecc_with(SIGN, &[], NONE, NONE, 3, (&[0; 32], &[0; 32])), NULL),
        external(&[], &ecc_with(SIGN, &[], NONE, NONE, 3, (keys::P256_X, &[])), NULL),
        external(&[], &rsa(SIGN, NONE, NONE, 2048, &[0xff; 255]), NULL),
        external(&[], &rsa(SIGN, NONE, NONE, 2048, &[0xfe; 256]), NULL),
        external(&[], &rsa(SIGN, NONE, NONE, 1024, keys::RSA_2048_N), NULL),
        external(
            &sensitive(1, &[], &[], &[0xff; 128]),
            &rsa(SIGN, NONE, NONE, 2048, keys::RSA_2048_N),
            NULL,
        ),
        external(
            &sensitive(1, &[], &[], keys::RSA_1024_P),
            &rsa(SIGN, NONE, NONE, 2048, keys::RSA_2048_N),
            NULL,
        ),
        external(&[], &keyed_hash(SIGN, &[], &scheme(HMAC, Hash::Sha256), &[1; 32]), NULL),
        external(&[], &keyed_hash(SIGN, &[], &scheme(HMAC, Hash::Sha256), &[1; 31]), NULL),
        external(&[], &symmetric(DECRYPT, AES128, &[1; 32]), NULL),
        external(
            &sensitive(8, &[], &[], b"key"),
            &keyed_hash(SIGN, &[], &scheme(HMAC, Hash::Sha256), &[1; 32]),
            NULL,
        ),
    ];
    for bit in 0..32 {
        sequence.push(p256_key((USER_WITH_AUTH | SIGN) ^ 1 << bit, NONE, b""));
        sequence.push(external(&[], &p256_public((USER_WITH_AUTH | SIGN) ^ 1 << bit, NONE), OWNER));
        sequence.push(hmac_key(
            (USER_WITH_AUTH | SIGN) ^ 1 << bit,
            &scheme(HMAC, Hash::Sha256),
            b"",
            b"k",
        ));
        sequence.push(external(&[], &storage_parent_with(STORAGE ^ 1 << bit), NULL));
    }
    for command in sequence {
        let id = s.run(command);
        s.run(cmd(cc::READ_PUBLIC).of(id));
        flush(&mut s, id);
    }
    s
}

fn storage_parent_with(attributes: u32) -> Vec<u8> {
    ecc_with(attributes, &[], AES128, NONE, 3, (keys::P256_X, keys::P256_Y))
}

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
fn derived() -> Seq {
    let mut s = Seq::new("derived objects");
    let secret = [0x33; 32];
    let parent_scheme = [0, 0xa, 0, 0xb, 0, 0x22];
    let parent =
        s.run(hmac_key(USER_WITH_AUTH | RESTRICTED | DECRYPT, &parent_scheme, b"", &secret));
    let template = |public: &[u8], label: &[u8], context: &[u8]| {
        // The unique field of a template for derivation is label and context.
        let cut = public.len() - 2;
        [&public[..cut], &b2(label), &b2(context)].concat()
    };
    let derive = USER_WITH_AUTH | FIXED_PARENT;
    let publics = [
        keyed_hash(derive | SIGN, &[], &scheme(HMAC, Hash::Sha256), &[]),
        keyed_hash(derive, &[], NONE, &[]),
        symmetric(derive | SIGN | DECRYPT, AES128, &[]),
        keyed_hash(derive | RESTRICTED | DECRYPT, &[], &parent_scheme, &[]),
    ];
    for public in &publics {
        for (label, context) in
            [(&b"label"[..], &b"context"[..]), (b"", b""), (&[1; 32], &[2; 32]), (&[1; 33], b"")]
        {
            let id = s.run(
                cmd(cc::CREATE_LOADED)
                    .of(parent)
                    .pw()
                    .b2(create_sensitive(b"", b""))
                    .b2(template(public, label, context)),
            );
            s.run(cmd(cc::READ_PUBLIC).of(id));
            s.run(cmd(cc::HMAC).of(id).pw().b2(b"data").u16(0x10));
            s.run(cmd(cc::ENCRYPT_DECRYPT).of(id).pw().u8(0).u16(0x10).b2([0; 16]).b2(b"data"));
            flush(&mut s, id);
            let sensitive = [b2(b""), b2(&[b2(label), b2(context)].concat())].concat();
            let id = s.run(
                cmd(cc::CREATE_LOADED).of(parent).pw().b2(sensitive).b2(template(public, b"", b"")),
            );
            flush(&mut s, id);
        }
    }
    for curve in [2u16, 3, 4, 5] {
        let ecc = ecc_with(
            derive | SIGN,
            &[],
            NONE,
            &scheme(ECDSA, Hash::Sha256),
            curve,
            (b"label", b"context"),
        );
        let id =
            s.run(cmd(cc::CREATE_LOADED).of(parent).pw().b2(create_sensitive(b"a", b"")).b2(&ecc));
        s.run(cmd(cc::READ_PUBLIC).of(id));
        flush(&mut s, id);
    }
    for bit in 0..32 {
        let public = keyed_hash((derive | SIGN) ^ 1 << bit, &[], &scheme(HMAC, Hash::Sha256), &[]);
        let id = s.run(
            cmd(cc::CREATE_LOADED)
                .of(parent)
                .pw()
                .b2(create_sensitive(b"", b""))
                .b2(template(&public, b"l", b"c")),
        );
        flush(&mut s, id);
    }
    s.run(
        cmd(cc::CREATE)
            .of(parent)
            .pw()
            .b2(create_sensitive(b"", b""))
            .b2(&publics[0])
            .b2([])
            .u32(0),
    );
    s.run(cmd(cc::CREATE_LOADED).of(parent).pw().b2(create_sensitive(b"", b"")).b2(rsa(
        derive | SIGN,
        NONE,
        NONE,
        2048,
        &[],
    )));
    s
}

fn contexts() -> Seq {
    let mut s = Seq::new("contexts of objects, sessions, sequences");
    let key = s.run(primary(OWNER, b"", &storage_parent()));
    let null = s.run(primary(NULL, b"", &storage_parent()));
    let external = s.run(p256_key(USER_WITH_AUTH | SIGN, NONE, b""));
    for id in [key, null, external] {
        let saved = s.run(cmd(cc::CONTEXT_SAVE).of(id));
        flush(&mut s, id);
        let loaded = s.run(cmd(cc::CONTEXT_LOAD).out(saved, "context"));
        s.run(cmd(cc::READ_PUBLIC).of(loaded));
        flush(&mut s, loaded);
        let again = s.run(cmd(cc::CONTEXT_LOAD).out(saved, "context"));
        flush(&mut s, again);
        for (at, value) in
            [(0, 1), (7, 0x55), (8, 0x90), (11, 9), (12, 0x41), (15, 1), (17, 3), (60, 0xff)]
        {
            s.run(
                cmd(cc::CONTEXT_LOAD)
                    .out(saved, "context")
                    .edit(crate::step::Edit::Set(at, vec![value])),
            );
        }
        s.run(cmd(cc::CONTEXT_SAVE).of(id));
    }
    let stclear = s.run(primary(OWNER, b"", &ecc(STORAGE | ST_CLEAR, AES128, NONE)));
    let saved_clear = s.run(cmd(cc::CONTEXT_SAVE).of(stclear));
    let session = s.run(start_session(0, Hash::Sha256));
    let saved = s.run(cmd(cc::CONTEXT_SAVE).of(session));
    s.run(cmd(cc::CONTEXT_SAVE).of(session));
    s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).auth(hmac(session, 1, b"")).b2(b""));
    s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(0x0300_0000).u32(10));
    let loaded = s.run(cmd(cc::CONTEXT_LOAD).out(saved, "context"));
    s.run(cmd(cc::CONTEXT_LOAD).out(saved, "context"));
    s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).auth(hmac(session, 1, b"")).b2(b""));
    flush(&mut s, loaded);
    s.run(cmd(cc::CONTEXT_LOAD).out(saved, "context"));
    let sequence = s.run(cmd(cc::HASH_SEQUENCE_START).b2(b"").u16(0xb));
    s.run(cmd(cc::SEQUENCE_UPDATE).of(sequence).pw().b2(b"abc"));
    let saved = s.run(cmd(cc::CONTEXT_SAVE).of(sequence));
    flush(&mut s, sequence);
    let sequence = s.run(cmd(cc::CONTEXT_LOAD).out(saved, "context"));
    s.run(cmd(cc::SEQUENCE_COMPLETE).of(sequence).pw().b2(b"def").u32(OWNER));
    s.run(cmd(cc::SHUTDOWN).u16(1));
    s.step(Step::Init);
    s.run(cmd(cc::STARTUP).u16(0));
    s.run(cmd(cc::CONTEXT_LOAD).out(saved_clear, "context"));
    s.run(cmd(cc::FLUSH_CONTEXT).u32(0x8000_0000));
    s.run(cmd(cc::FLUSH_CONTEXT).u32(0x8000_0001));
    s.run(cmd(cc::FLUSH_CONTEXT).u32(0x8000_0003));
    s.run(cmd(cc::FLUSH_CONTEXT).u32(0x8100_0000));
    s.run(cmd(cc::FLUSH_CONTEXT).u32(0x0200_0000));
    s.run(cmd(cc::FLUSH_CONTEXT).u32(0x0300_0000));
    s.run(cmd(cc::FLUSH_CONTEXT).u32(0x0200_ffff));
    s.run(cmd(cc::FLUSH_CONTEXT).u32(OWNER));
    s.run(cmd(cc::CONTEXT_LOAD).b([0; 40]));
    s.run(cmd(cc::CONTEXT_SAVE).h(OWNER));
    s.run(cmd(cc::CONTEXT_SAVE).h(0x8000_0000));
    s
}

fn evict() -> Seq {
    let mut s = Seq::new("persistent objects");
    let key = s.run(primary(OWNER, b"", &storage_parent()));
    let platform = s.run(primary(PLATFORM, b"", &storage_parent()));
    let null = s.run(primary(NULL, b"", &storage_parent()));
    for object in [key, platform, null] {
        for auth in [OWNER, PLATFORM, ENDORSEMENT] {
            for handle in [0x8100_0001, 0x8180_0001, 0x81ff_ffff, 0x8000_0000, 0x8200_0000] {
                s.run(cmd(cc::EVICT_CONTROL).h(auth).of(object).pw().u32(handle));
                s.run(cmd(cc::EVICT_CONTROL).h(auth).of(object).pw().u32(handle));
                s.run(cmd(cc::READ_PUBLIC).h(handle));
                s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(0x8100_0000).u32(10));
                s.run(cmd(cc::EVICT_CONTROL).h(auth).h(handle).pw().u32(handle + 1));
                s.run(cmd(cc::EVICT_CONTROL).h(auth).h(handle).pw().u32(handle));
            }
        }
    }
    s.run(cmd(cc::EVICT_CONTROL).h(OWNER).of(key).pw().u32(0x8100_0010));
    s.run(cmd(cc::SHUTDOWN).u16(0));
    s.step(Step::Init);
    s.run(cmd(cc::STARTUP).u16(0));
    s.run(cmd(cc::READ_PUBLIC).h(0x8100_0010));
    s.run(
        cmd(cc::CREATE)
            .h(0x8100_0010)
            .pw()
            .b2(create_sensitive(b"", b"x"))
            .b2(keyed_hash(ORDINARY & !ORIGIN, &[], NONE, &[]))
            .b2([])
            .u32(0),
    );
    s.run(cmd(cc::CONTEXT_SAVE).h(0x8100_0010));
    s.run(cmd(cc::FLUSH_CONTEXT).u32(0x8100_0010));
    s.run(cmd(cc::HIERARCHY_CONTROL).h(OWNER).pw().u32(OWNER).u8(0));
    s.run(cmd(cc::READ_PUBLIC).h(0x8100_0010));
    s.run(cmd(cc::HIERARCHY_CONTROL).h(PLATFORM).pw().u32(OWNER).u8(1));
    s.run(cmd(cc::CLEAR).h(PLATFORM).pw());
    s.run(cmd(cc::READ_PUBLIC).h(0x8100_0010));
    s
}

fn seal() -> Seq {
    let mut s = Seq::new("sealed data");
    let parent = s.run(primary(OWNER, b"", &storage_parent()));
    for size in [0, 1, 64, 128, 129, 256] {
        for policy in [&[][..], &[1; 32]] {
            let public = keyed_hash(ORDINARY & !ORIGIN, policy, NONE, &[]);
            let id = s.run(
                cmd(cc::CREATE)
                    .of(parent)
                    .pw()
                    .b2(create_sensitive(b"a", &vec![6; size]))
                    .b2(&public)
                    .b2([])
                    .u32(0),
            );
            let object = load(&mut s, parent, id);
            s.run(cmd(cc::UNSEAL).of(object).pwd(b"a"));
            s.run(cmd(cc::UNSEAL).of(object).pw());
            s.run(
                cmd(cc::SIGN).of(object).pwd(b"a").b2([1; 32]).b(NONE).u16(0x8024).u32(NULL).b2([]),
            );
            flush(&mut s, object);
        }
    }
    s.run(cmd(cc::UNSEAL).of(parent).pw());
    s.run(cmd(cc::UNSEAL).h(OWNER).pw());
    s
}

fn rsa_create() -> Seq {
    let mut s = Seq::new("RSA keys made by the TPM");
    s.slow = true;
    let parent = s.run(primary(OWNER, b"", &rsa(STORAGE, AES128, NONE, 2048, &[])));
    let sign = s.run(
        cmd(cc::CREATE)
            .of(parent)
            .pw()
            .b2(create_sensitive(b"", b""))
            .b2(rsa(ORDINARY | SIGN, NONE, &scheme(RSASSA, Hash::Sha256), 1024, &[]))
            .b2([])
            .u32(0),
    );
    let sign = load(&mut s, parent, sign);
    s.run(cmd(cc::SIGN).of(sign).pw().b2([1; 32]).b(NONE).u16(0x8024).u32(NULL).b2([]));
    let made = s.run(cmd(cc::MAKE_CREDENTIAL).of(parent).b2(b"credential").out(sign, "name"));
    s.run(
        cmd(cc::ACTIVATE_CREDENTIAL)
            .of(sign)
            .of(parent)
            .pw()
            .pw()
            .out(made, "credentialBlob")
            .out(made, "secret"),
    );
    let saved = s.run(cmd(cc::CONTEXT_SAVE).of(sign));
    let loaded = s.run(cmd(cc::CONTEXT_LOAD).out(saved, "context"));
    s.run(cmd(cc::CERTIFY).of(parent).of(loaded).pw().pw().b2(b"q").b(NONE));
    flush(&mut s, loaded);
    let id = s.run(primary(NULL, b"", &rsa(ORDINARY | DECRYPT, NONE, NONE, 1024, &[])));
    s.run(cmd(cc::RSA_DECRYPT).of(id).pw().b2([1; 128]).b(NONE).b2([]));
    s
}

fn slots() -> Seq {
    let mut s = Seq::new("as many objects and sessions as fit");
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(s.run(aes_key(USER_WITH_AUTH | DECRYPT, 128, 0x43)));
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
    }
    flush(&mut s, ids[1]);
    s.run(aes_key(USER_WITH_AUTH | DECRYPT, 128, 0x43));
    s.run(cmd(cc::HASH_SEQUENCE_START).b2(b"").u16(0xb));
    ids.iter().for_each(|id| flush(&mut s, *id));
    let mut ids = Vec::new();
    for kind in [0, 1, 3, 0] {
        ids.push(s.run(start_session(kind, Hash::Sha256)));
    }
    for _ in 0..70 {
        s.run(cmd(cc::CONTEXT_SAVE).of(ids[0]));
        let id = s.run(start_session(0, Hash::Sha256));
        s.run(cmd(cc::CONTEXT_SAVE).of(id));
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
    }
    s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(0x0200_0000).u32(100));
    s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(0x0300_0000).u32(100));
    for handle in [0x0200_0000, 0x0300_0001, 0x0200_0001, 0x0200_0030] {
        s.run(cmd(cc::FLUSH_CONTEXT).u32(handle));
        s.run(cmd(cc::CONTEXT_SAVE).h(handle));
    }
    for bad in [2, 4, 0xff] {
        s.run(start_session(bad, Hash::Sha256));
    }
    s
}
