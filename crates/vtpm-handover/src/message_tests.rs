use super::*;
use crate::evidence::tests::example;
use crate::pcr::SHA256;

fn all() -> Vec<Body> {
    let wanted = PcrSelection::none().with(SHA256, 7);
    let challenge = Challenge { credential: vec![1; 50], secret: vec![2; 70] };
    let (instance, transfer) = (InstanceId([3; 16]), TransferId([4; 16]));
    let offer =
        Offer { instance, transfer, request: RequestId([5; 16]), epoch: 6, state_limit: 1 << 20 };
    let key = WrappedKey {
        public: vec![7; 80],
        duplicate: vec![8; 110],
        seed: vec![9; 68],
        pcrs: wanted.clone(),
    };
    let settle = |verdict| Body::Settle { instance, transfer, epoch: 6, verdict };
    vec![
        Body::Hello { nonce: [1; 32], wanted: wanted.clone() },
        Body::Welcome { nonce: [2; 32], wanted: PcrSelection::none() },
        Body::SourceEvidence(Box::new(example())),
        Body::DestinationEvidence { evidence: Box::new(example()), challenge: challenge.clone() },
        Body::SourceAnswer { challenge, proof: [3; 32] },
        Body::DestinationAnswer { proof: [4; 32] },
        Body::Offer { offer, key },
        Body::Accept { confirmation: [5; 32] },
        Body::Envelope(vec![6; 1000]),
        Body::Prepared { receipt: [7; 32] },
        Body::Commit { token: [8; 32] },
        Body::Active,
        settle(Verdict::Committed { token: [9; 32] }),
        settle(Verdict::CalledBack { live: true }),
        settle(Verdict::CalledBack { live: false }),
        Body::Settled(Holding::Arrived),
        Body::Settled(Holding::Nothing),
        Body::Abort { reason: Reason::Cancelled, text: "the operator".into() },
    ]
}

#[test]
fn every_body_comes_back_from_its_bytes_and_no_truncation_or_extension_does() {
    for body in all() {
        let (kind, mut bytes) = (body.kind(), body.write());
        assert_eq!(Body::read(kind, &bytes), Ok(body), "{kind:?}");
        if kind == Kind::Envelope {
            continue; // its length is the header's
        }
        for length in 0..bytes.len() {
            assert!(Body::read(kind, &bytes[..length]).is_err(), "{kind:?} {length}");
        }
        bytes.push(0);
        assert_eq!(Body::read(kind, &bytes), Err(Malformed::Trailing(1)), "{kind:?}");
    }
}

#[test]
fn every_kind_has_an_example_here() {
    for kind in Kind::ALL {
        assert!(all().iter().any(|body| body.kind() == *kind), "{kind:?}");
    }
}

#[test]
fn a_header_has_one_form() {
    let header = Header { version: 1, minimum: 1, kind: Kind::Offer, tagged: true, length: 300 };
    let bytes: [u8; HEADER] = header.write().try_into().unwrap();
    assert_eq!(&bytes, b"VTHO\0\x01\0\x01\x07\x01\0\0\0\0\x01\x2c");
    assert_eq!(Header::read(&bytes), Ok(header));
    for (at, value) in [(0, b'v'), (8, 0), (8, 16), (9, 2), (10, 1), (11, 1), (12, 1)] {
        let mut wrong = bytes;
        wrong[at] = value;
        assert!(Header::read(&wrong).is_err(), "byte {at} as {value}");
    }
}

#[test]
fn a_peers_text_cannot_drive_a_terminal() {
    let text = b"\x1b[2Jred\r\n\xff";
    let mut out = Writer::default();
    out.u16(7);
    out.sized(text);
    let body = Body::read(Kind::Abort, &out.into_bytes()).unwrap();
    let wanted = Body::Abort { reason: Reason::from_code(7), text: "[2Jred\u{fffd}".into() };
    assert_eq!(body, wanted);
}
