//! Sessions and policies (Part 3, clauses 11 and 23).

use super::{nv_public, start_session, start_with};
use crate::cc;
use crate::crypto::{Hash, Sym};
use crate::keys;
use crate::step::{
    AUDIT, CONTINUE, Command, DECRYPT as SESSION_DECRYPT, ENCRYPT, Id, Piece, Salt, Seq, Start,
    cmd, hmac,
};
use crate::templates::*;

pub(super) fn all() -> Vec<Seq> {
    let mut all = vec![
        hmac_sessions(),
        encryption(),
        salted(),
        bound(),
        session_errors(),
        several_sessions(),
        super::policies::policy_assertions(),
        super::policies::policy_or(),
        super::policies::policy_secret(),
        super::policies::policy_signed(),
        super::policies::policy_authorize(),
        super::policies::policy_nv(),
        super::policies::policy_auth(),
        super::policies::policy_bindings(),
        super::policies::policy_time(),
    ];
    all.extend(Hash::ALL.map(hmac_nv));
    all
}

fn hmac_sessions() -> Seq {
    let mut s = Seq::new("HMAC sessions");
    for hash in Hash::ALL {
        let id = s.run(start_session(0, hash));
        s.run(
            cmd(cc::HIERARCHY_CHANGE_AUTH)
                .h(OWNER)
                .auth(hmac(id, CONTINUE, b"").after(b"owner"))
                .b2(b"owner"),
        );
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"owner")).u8(0));
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"wrong")).u8(0));
        s.run(
            cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"owner").damaged()).u8(0),
        );
        s.run(
            cmd(cc::CLOCK_RATE_ADJUST)
                .h(OWNER)
                .auth(hmac(id, CONTINUE, b"owner").plain(b"owner"))
                .u8(0),
        );
        s.run(
            cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"owner").plain(b"")).u8(0),
        );
        s.run(
            cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).auth(hmac(id, 0, b"owner").after(b"")).b2(b""),
        );
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).auth(hmac(id, 0, b"")).b2(b""));
        let id = s.run(start_session(0, hash));
        let key = s.run(primary(OWNER, b"key", &storage_parent()));
        s.run(
            cmd(cc::CREATE)
                .of(key)
                .auth(hmac(id, CONTINUE, b"key"))
                .b2(create_sensitive(b"", b"x"))
                .b2(keyed_hash(FIXED_TPM | FIXED_PARENT | USER_WITH_AUTH, &[], NONE, &[]))
                .b2([])
                .u32(0),
        );
        s.run(cmd(cc::CREATE).of(key).auth(hmac(id, CONTINUE, b"no")));
        flush(&mut s, id);
        flush(&mut s, key);
    }
    s
}

fn hmac_nv(hash: Hash) -> Seq {
    let mut s = Seq::new("HMAC sessions with NV, whose name changes");
    let index = 0x0180_0030;
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"nv").b2(nv_public(index, 0x0006_0006, 16)));
    let id = s.run(start_session(0, hash));
    s.run(cmd(cc::NV_WRITE).h(index).h(index).auth(hmac(id, CONTINUE, b"nv")).b2([1; 16]).u16(0));
    s.run(cmd(cc::NV_WRITE).h(index).h(index).auth(hmac(id, CONTINUE, b"nv")).b2([2; 16]).u16(0));
    s.run(cmd(cc::NV_READ).h(index).h(index).auth(hmac(id, CONTINUE, b"nv")).u16(16).u16(0));
    s.run(cmd(cc::NV_READ).h(index).h(index).auth(hmac(id, CONTINUE, b"bad")).u16(16).u16(0));
    s.run(cmd(cc::NV_READ).h(OWNER).h(index).auth(hmac(id, CONTINUE, b"")).u16(16).u16(0));
    s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(index).auth(hmac(id, CONTINUE, b"")));
    s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(index).auth(hmac(id, 0, b"")));
    s
}

fn encryption() -> Seq {
    let mut s = Seq::new("parameter encryption");
    for hash in [Hash::Sha256, Hash::Sha1, Hash::Sha512] {
        for sym in
            [Sym::Aes(128), Sym::Aes(256), Sym::Xor(Hash::Sha256), Sym::Xor(Hash::Sha1), Sym::Null]
        {
            let id = s.run(start_with(0, hash, sym));
            let both = SESSION_DECRYPT | ENCRYPT | CONTINUE;
            s.run(
                cmd(cc::HIERARCHY_CHANGE_AUTH)
                    .h(OWNER)
                    .auth(hmac(id, SESSION_DECRYPT | CONTINUE, b"").after(b"secret"))
                    .b2(b"secret"),
            );
            s.run(
                cmd(cc::HIERARCHY_CHANGE_AUTH)
                    .h(OWNER)
                    .auth(hmac(id, SESSION_DECRYPT | CONTINUE, b"secret").after(b""))
                    .b2(b""),
            );
            s.run(cmd(cc::GET_RANDOM).auth(hmac(id, ENCRYPT | CONTINUE, b"")).u16(16));
            s.run(cmd(cc::GET_RANDOM).auth(hmac(id, SESSION_DECRYPT | CONTINUE, b"")).u16(16));
            s.run(cmd(cc::HASH).auth(hmac(id, both, b"")).b2(b"some data").u16(0xb).u32(OWNER));
            s.run(
                cmd(cc::HASH)
                    .auth(hmac(id, both | AUDIT, b""))
                    .b2(b"some data")
                    .u16(0xb)
                    .u32(OWNER),
            );
            s.run(cmd(cc::HASH).auth(hmac(id, both, b"")).b2(b"").u16(0xb).u32(OWNER));
            s.run(
                cmd(cc::PCR_READ)
                    .auth(hmac(id, ENCRYPT | CONTINUE, b""))
                    .b(pcrs(Hash::Sha256, [1, 0, 0])),
            );
            let key = s.run(primary(OWNER, b"key", &storage_parent()));
            s.run(cmd(cc::READ_PUBLIC).of(key).auth(hmac(id, ENCRYPT | CONTINUE, b"")));
            s.run(
                cmd(cc::CREATE)
                    .of(key)
                    .auth(hmac(id, both, b"key"))
                    .b2(create_sensitive(b"", b"x"))
                    .b2(keyed_hash(FIXED_TPM | FIXED_PARENT | USER_WITH_AUTH, &[], NONE, &[]))
                    .b2([])
                    .u32(0),
            );
            flush(&mut s, key);
            flush(&mut s, id);
        }
    }
    s
}

fn start(tpm_key: Id, kind: u8, hash: Hash, sym: Sym) -> (Command, Vec<u8>) {
    let nonce = vec![0x77; 16];
    (
        cmd(cc::START_AUTH_SESSION).of(tpm_key).h(NULL).b2(&nonce),
        [&[kind][..], &sym.marshal(), &hash.id().to_be_bytes()].concat(),
    )
}

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
fn salted() -> Seq {
    let mut s = Seq::new("salted sessions");
    let sym = Sym::Aes(128);
    for session_hash in [Hash::Sha256, Hash::Sha1] {
        let rsa = s.run(rsa_key(USER_WITH_AUTH | DECRYPT, NONE, b""));
        let salt = b"a salt of 20 bytes..".to_vec();
        for label in [&b"SECRET\0"[..], b"WRONG\0"] {
            let out = s.run(
                cmd(cc::RSA_ENCRYPT).of(rsa).b2(&salt).b(scheme(OAEP, Hash::Sha256)).b2(label),
            );
            for piece in [Piece::Out(out, "outData"), Piece::Cross(out, "outData")] {
                let (command, rest) = start(rsa, 0, session_hash, sym);
                let id = s.run(command.p(piece).b(rest).starts(Start {
                    hash: session_hash,
                    sym,
                    nonce: vec![0x77; 16],
                    salt: Salt::Known(salt.clone()),
                    bind: None,
                }));
                s.run(
                    cmd(cc::HASH)
                        .auth(hmac(id, SESSION_DECRYPT | ENCRYPT | CONTINUE, b""))
                        .b2(b"some data")
                        .u16(0xb)
                        .u32(OWNER),
                );
                s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"")).u8(0));
                s.run(
                    cmd(cc::CLOCK_RATE_ADJUST)
                        .h(OWNER)
                        .auth(hmac(id, CONTINUE, b"").damaged())
                        .u8(0),
                );
                flush(&mut s, id);
            }
        }
        for garbage in [vec![], vec![1; 256], vec![0; 255], vec![0xff; 256]] {
            let (command, rest) = start(rsa, 0, session_hash, sym);
            s.run(command.b2(garbage).b(rest));
        }
        flush(&mut s, rsa);
        let ecc = s.run(p256_key(USER_WITH_AUTH | DECRYPT, NONE, b""));
        let pair = s.run(cmd(cc::ECDH_KEYGEN).of(ecc));
        let (command, rest) = start(ecc, 0, session_hash, sym);
        // The salt's hash is the key's, SHA-256; sessions with another are left to RSA.
        if session_hash == Hash::Sha256 {
            let id = s.run(command.out(pair, "pubPoint").b(rest).starts(Start {
                hash: session_hash,
                sym,
                nonce: vec![0x77; 16],
                salt: Salt::Ecdh(pair, keys::P256_X.to_vec()),
                bind: None,
            }));
            s.run(
                cmd(cc::HASH)
                    .auth(hmac(id, SESSION_DECRYPT | ENCRYPT | CONTINUE, b""))
                    .b2(b"some data")
                    .u16(0xb)
                    .u32(OWNER),
            );
            s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"")).u8(0));
            flush(&mut s, id);
        }
        for garbage in [
            vec![],
            vec![1; 68],
            [b2(&[1; 32]), b2(&[1; 32])].concat(),
            [b2(keys::P384_X), b2(keys::P384_Y)].concat(),
        ] {
            let (command, rest) = start(ecc, 1, session_hash, Sym::Null);
            s.run(command.b2(garbage).b(rest));
        }
        flush(&mut s, ecc);
        for key in [
            p256_key(USER_WITH_AUTH | SIGN, NONE, b""),
            aes_key(USER_WITH_AUTH | DECRYPT, 128, 0x43),
            external(&[], &p256_public(DECRYPT, NONE), NULL),
            hmac_key(
                USER_WITH_AUTH | DECRYPT,
                &[0, 0xa, 0, 0xb, 0, 0x22],
                b"",
                b"0123456789abcdef",
            ),
        ] {
            let key = s.run(key);
            let (command, rest) = start(key, 0, session_hash, Sym::Null);
            s.run(command.b2([1; 32]).b(rest));
            flush(&mut s, key);
        }
    }
    s
}

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
fn bound() -> Seq {
    let mut s = Seq::new("bound sessions");
    s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).pw().b2(b"owner"));
    for hash in [Hash::Sha256, Hash::Sha384] {
        let sym = Sym::Xor(Hash::Sha256);
        let nonce = vec![0x66; 32];
        let id = s.run(
            cmd(cc::START_AUTH_SESSION)
                .h(NULL)
                .h(OWNER)
                .b2(&nonce)
                .b2([])
                .u8(0)
                .b(sym.marshal())
                .u16(hash.id())
                .starts(Start {
                    hash,
                    sym,
                    nonce: nonce.clone(),
                    salt: Salt::None,
                    bind: Some(b"owner".to_vec()),
                }),
        );
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"")).u8(0));
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"owner")).u8(0));
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(PLATFORM).auth(hmac(id, CONTINUE, b"")).u8(0));
        s.run(
            cmd(cc::HASH)
                .auth(hmac(id, SESSION_DECRYPT | ENCRYPT | CONTINUE, b""))
                .b2(b"some data")
                .u16(0xb)
                .u32(OWNER),
        );
        // The binding ends when the authorization value changes.
        s.run(
            cmd(cc::HIERARCHY_CHANGE_AUTH)
                .h(OWNER)
                .auth(hmac(id, CONTINUE, b"").after(b"next"))
                .b2(b"next"),
        );
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"")).u8(0));
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"next")).u8(0));
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).pwd(b"next").b2(b"owner"));
        flush(&mut s, id);
        let key = s.run(primary(PLATFORM, b"key", &storage_parent()));
        let id = s.run(
            cmd(cc::START_AUTH_SESSION)
                .h(NULL)
                .of(key)
                .b2(&nonce)
                .b2([])
                .u8(0)
                .b(Sym::Aes(128).marshal())
                .u16(hash.id())
                .starts(Start {
                    hash,
                    sym: Sym::Aes(128),
                    nonce: nonce.clone(),
                    salt: Salt::None,
                    bind: Some(b"key".to_vec()),
                }),
        );
        for _ in 0..2 {
            s.run(
                cmd(cc::CREATE)
                    .of(key)
                    .auth(hmac(id, CONTINUE | SESSION_DECRYPT | ENCRYPT, b"").crypt(b"key"))
                    .b2(create_sensitive(b"", b"x"))
                    .b2(keyed_hash(FIXED_TPM | FIXED_PARENT | USER_WITH_AUTH, &[], NONE, &[]))
                    .b2([])
                    .u32(0),
            );
        }
        flush(&mut s, key);
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(PLATFORM).auth(hmac(id, CONTINUE, b"")).u8(0));
        flush(&mut s, id);
    }
    s
}

fn session_errors() -> Seq {
    let mut s = Seq::new("starting sessions wrongly");
    for (key, bind) in [
        (OWNER, NULL),
        (NULL, 0x8000_0000),
        (0x8000_0000, NULL),
        (NULL, 0),
        (NULL, 0x0180_0000),
        (NULL, 0x0200_0000),
        (NULL, LOCKOUT),
        (NULL, 0x4000_0010),
        (0x8100_0000, NULL),
    ] {
        s.run(cmd(cc::START_AUTH_SESSION).h(key).h(bind).b2([1; 16]).b2([]).u8(0).b(NONE).u16(0xb));
    }
    for nonce in [0, 15, 16, 32, 33, 64, 65] {
        for alg in [4, 0xb, 0xc, 0xd, 0x10, 0x12, 0x27] {
            let id = s.run(
                cmd(cc::START_AUTH_SESSION)
                    .h(NULL)
                    .h(NULL)
                    .b2(vec![1; nonce])
                    .b2([])
                    .u8(1)
                    .b(NONE)
                    .u16(alg),
            );
            flush(&mut s, id);
        }
    }
    for sym in [
        &[0u8, 6, 0, 128, 0, 0x43][..],
        &[0, 6, 0, 128, 0, 0x42],
        &[0, 6, 0, 128, 0, 0x10],
        &[0, 6, 0, 129, 0, 0x43],
        &[0, 0xa, 0, 0x10],
        &[0, 0xa, 0, 0xb],
        &[0, 0x99],
        &[0, 0x40],
        &[0, 3],
    ] {
        let id = s.run(
            cmd(cc::START_AUTH_SESSION).h(NULL).h(NULL).b2([1; 16]).b2([]).u8(0).b(sym).u16(0xb),
        );
        flush(&mut s, id);
    }
    s.run(
        cmd(cc::START_AUTH_SESSION).h(NULL).h(NULL).b2([1; 16]).b2([1; 4]).u8(0).b(NONE).u16(0xb),
    );
    s.run(
        cmd(cc::START_AUTH_SESSION).h(NULL).h(NULL).pw().b2([1; 16]).b2([]).u8(0).b(NONE).u16(0xb),
    );
    let trial = s.run(start_session(3, Hash::Sha256));
    s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(trial, CONTINUE, b"")).u8(0));
    s.run(cmd(cc::POLICY_RESTART).of(trial));
    let policy = s.run(start_session(1, Hash::Sha256));
    s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(policy, CONTINUE, b"")).u8(0));
    s.run(cmd(cc::POLICY_RESTART).h(0x0200_0000));
    s.run(cmd(cc::POLICY_RESTART).h(OWNER));
    let session = s.run(start_session(0, Hash::Sha256));
    s.run(cmd(cc::POLICY_RESTART).of(session));
    s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
    s
}

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
fn several_sessions() -> Seq {
    let mut s = Seq::new("several sessions in one command");
    let first = s.run(start_with(0, Hash::Sha256, Sym::Aes(128)));
    let second = s.run(start_with(0, Hash::Sha256, Sym::Xor(Hash::Sha256)));
    let third = s.run(start_session(0, Hash::Sha1));
    let set = |auths: &[(Id, u8)]| {
        auths
            .iter()
            .fold(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER), |c, (id, a)| {
                c.auth(hmac(*id, *a | CONTINUE, b""))
            })
            .b2(b"")
    };
    let hash = |auths: &[(Id, u8)]| {
        auths
            .iter()
            .fold(cmd(cc::HASH), |c, (id, a)| c.auth(hmac(*id, *a | CONTINUE, b"")))
            .b2(b"data")
            .u16(0xb)
            .u32(OWNER)
    };
    let (d, e) = (SESSION_DECRYPT, ENCRYPT);
    for make in [&set as &dyn Fn(&[(Id, u8)]) -> Command, &hash] {
        for auths in [
            &[(first, 0), (second, d)][..],
            &[(first, d), (second, 0)],
            &[(first, d), (second, d)],
            &[(first, 0), (second, e)],
            &[(first, e), (second, e)],
            &[(first, 0), (second, d | e)],
            &[(first, d), (second, e)],
            &[(first, e), (second, d)],
            &[(first, 0), (second, d), (third, AUDIT)],
            &[(third, 0), (first, d), (second, e)],
            &[(third, 0), (first, e), (second, d)],
            &[(third, AUDIT), (second, AUDIT)],
            &[(first, 0), (first, 0)],
            &[(first, d), (first, e)],
            &[(third, d)],
            &[(first, 0)],
            &[(first, 0), (second, 0)],
            &[(first, 0x18)],
            &[(first, 8)],
        ] {
            s.run(make(auths));
        }
    }
    s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).pw().pw().b2(b""));
    s.run(
        cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).pw().auth(hmac(first, d | CONTINUE, b"")).b2(b""),
    );
    s.run(
        cmd(cc::HIERARCHY_CHANGE_AUTH)
            .h(OWNER)
            .pw()
            .auth(hmac(second, AUDIT | CONTINUE, b""))
            .b2(b""),
    );
    for attributes in 0..=255 {
        let mut auth = crate::step::password(b"");
        auth.attributes = attributes;
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).auth(auth).b2(b""));
        s.run(
            cmd(cc::HASH)
                .auth(hmac(third, attributes | CONTINUE, b""))
                .b2(b"data")
                .u16(0xb)
                .u32(OWNER),
        );
    }
    for handle in [
        0u32,
        0x0200_0000,
        0x0200_0009,
        0x0300_0000,
        0x4000_0009,
        0x4000_0007,
        0x4000_0001,
        0x8000_0000,
        0x0200_ffff,
    ] {
        let mut auth = crate::step::password(b"");
        auth.session = crate::step::Session::Raw(handle);
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).auth(auth.clone()).b2(b""));
        s.run(cmd(cc::HASH).auth(auth.clone()).b2(b"data").u16(0xb).u32(OWNER));
        s.run(cmd(cc::HASH).pw().auth(auth).b2(b"data").u16(0xb).u32(OWNER));
    }
    s
}
