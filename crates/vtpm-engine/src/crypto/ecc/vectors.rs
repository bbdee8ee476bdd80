//! Test vectors of the curves, from the documents named or from Python's cryptography 48 and, for
//! what it lacks, from textbook arithmetic in Python.

use super::super::hash::HashAlg;
use super::Curve;

/// Keys from the seeded generator: scalar, x and y. Checked against Python.
pub(super) const GOLDEN: [(Curve, &str, &str, &str); 4] = [
    (
        Curve::P224,
        "e0188c47f2f82119c507ee41ae32df6b64af68f88a8e1ba2c31e596f",
        "1207655dbfd79affeecac3ca52b518e4d02d950433fdbc826480e269",
        "54f0a7268e3f43222dc615394a3b74b7e61209a2af675bc1e0f7625f",
    ),
    (
        Curve::P256,
        "b2a8b62f1d433baefad4ee5de9ce77807555f34f35c08ee72eef2b0a26902051",
        "5ddcd77c0b14f52c4876d0ff423ce443ab8e4bd40c9f7919ae143810b3e2520c",
        "9d2b4b703ac221196646ce859f1c3d3bc670c6b1e6ffe5f6a5dd26445491e855",
    ),
    (
        Curve::P384,
        "1017b423a2469a329e773bf0bc3d202eeb4ed728b2aa0c2ae3e884eab5cfb64d540e1102dd5016b4\
         3c4475037eab109e",
        "1d9c2e57cdb6ced0ef95abf86b7b4d9756659bfad3a1cde5eac00fca95dbb72ac1b9cfc8e3a0806a\
         8d1a12679091e814",
        "fc1843e920574a5f7510abb011d41322e51cabece7bc9e9ac7f69cab6d2ef34553a37ea3a772b165\
         b2b214e5c36a338f",
    ),
    (
        Curve::P521,
        "01f2cac500b4e0962802960c38f57e706cf97f1537e4dd4f3f10f124541760ae46a72b5ea04d0de1\
         25a93b06723a977dff871c6abc66957e591e5f1dc0a9cf4b9a4d",
        "016e08ef16362050e5599f68a8bddb94cf1cb46b4138bb88bf57a1093ff60b5438938a770192ad96\
         db51308a68c4a2b6a6cab4eed2fd3ecbab2494c0ff6a68024ef7",
        "003be56426ac1588e64b2257847f7634131b79f2ca3fe5f5242de45fdb836a3ca6299702b490457b\
         403c7a68dcea97570d4d344295e37067eb46e0d6d5ef06542c73",
    ),
];

/// Commit scalars of nonce `[1; 32]`, name `[2; 34]` and counter 3.
pub(super) const COMMITMENTS: [(Curve, &str); 4] = [
    (Curve::P224, "9067cf5b163141872c1187c79194604c0556e29c75a13cf65928187e"),
    (Curve::P256, "644286c59c967cc9965f5cd301ca58eca6d804397c72b730ca6a73239fbe0df0"),
    (
        Curve::P384,
        "62db0d377ba42138d54e086ae060f85399a85604ae6f75757fd3058a005e89c61a9af214a3b6252a\
         3b9583c8466bb25e",
    ),
    (
        Curve::P521,
        "014790e2bcad8929420956f026af6e6640e968df14a59349472d6c4a9364252563d4f2556cc715c0\
         7f2c2260f109ebdf3b6c31f2c139b02db13ef7ff28c20d508445",
    ),
];

/// RFC 6979, A.2: x and y of the key, and the signature (r, s) of "sample".
pub(super) const ECDSA: [(Curve, HashAlg, &str, &str, &str, &str); 12] = [
    (
        Curve::P224,
        HashAlg::Sha1,
        "00cf08da5ad719e42707fa431292dea11244d64fc51610d94b130d6c",
        "eeab6f3debe455e3dbf85416f7030cbd94f34f2d6f232c69f3c1385a",
        "22226f9d40a96e19c4a301ce5b74b115303c0f3a4fd30fc257fb57ac",
        "66d1cdd83e3af75605dd6e2feff196d30aa7ed7a2edf7af475403d69",
    ),
    (
        Curve::P224,
        HashAlg::Sha256,
        "00cf08da5ad719e42707fa431292dea11244d64fc51610d94b130d6c",
        "eeab6f3debe455e3dbf85416f7030cbd94f34f2d6f232c69f3c1385a",
        "61aa3da010e8e8406c656bc477a7a7189895e7e840cdfe8ff42307ba",
        "bc814050dab5d23770879494f9e0a680dc1af7161991bde692b10101",
    ),
    (
        Curve::P224,
        HashAlg::Sha512,
        "00cf08da5ad719e42707fa431292dea11244d64fc51610d94b130d6c",
        "eeab6f3debe455e3dbf85416f7030cbd94f34f2d6f232c69f3c1385a",
        "074bd1d979d5f32bf958ddc61e4fb4872adcafeb2256497cdac30397",
        "a4ceca196c3d5a1ff31027b33185dc8ee43f288b21ab342e5d8eb084",
    ),
    (
        Curve::P256,
        HashAlg::Sha1,
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        "61340c88c3aaebeb4f6d667f672ca9759a6ccaa9fa8811313039ee4a35471d32",
        "6d7f147dac089441bb2e2fe8f7a3fa264b9c475098fdcf6e00d7c996e1b8b7eb",
    ),
    (
        Curve::P256,
        HashAlg::Sha256,
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    ),
    (
        Curve::P256,
        HashAlg::Sha512,
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        "8496a60b5e9b47c825488827e0495b0e3fa109ec4568fd3f8d1097678eb97f00",
        "2362ab1adbe2b8adf9cb9edab740ea6049c028114f2460f96554f61fae3302fe",
    ),
    (
        Curve::P384,
        HashAlg::Sha1,
        "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea90558660\
         64a254515480bc13",
        "8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe\
         7344fd2533264720",
        "ec748d839243d6fbef4fc5c4859a7dffd7f3abddf72014540c16d73309834fa37b9ba002899f6fda\
         3a4a9386790d4eb2",
        "a3bcfa947beef4732bf247ac17f71676cb31a847b9ff0cbc9c9ed4c1a5b3facf26f49ca031d48575\
         70ccb5ca4424a443",
    ),
    (
        Curve::P384,
        HashAlg::Sha256,
        "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea90558660\
         64a254515480bc13",
        "8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe\
         7344fd2533264720",
        "21b13d1e013c7fa1392d03c5f99af8b30c570c6f98d4ea8e354b63a21d3daa33bde1e888e63355d9\
         2fa2b3c36d8fb2cd",
        "f3aa443fb107745bf4bd77cb3891674632068a10ca67e3d45db2266fa7d1feebefdc63eccd1ac42e\
         c0cb8668a4fa0ab0",
    ),
    (
        Curve::P384,
        HashAlg::Sha512,
        "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea90558660\
         64a254515480bc13",
        "8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe\
         7344fd2533264720",
        "ed0959d5880ab2d869ae7f6c2915c6d60f96507f9cb3e047c0046861da4a799cfe30f35cc900056d\
         7c99cd7882433709",
        "512c8cceee3890a84058ce1e22dbc2198f42323ce8aca9135329f03c068e5112dc7cc3ef3446defc\
         eb01a45c2667fdd5",
    ),
    (
        Curve::P521,
        HashAlg::Sha1,
        "01894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd371123d46e45db6b\
         5d5370a7f20fb633155d38ffa16d2bd761dcac474b9a2f5023a4",
        "00493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a28a0db25741b5b34\
         a828008b22acc23f924faafbd4d33f81ea66956dfeaa2bfdfcf5",
        "00343b6ec45728975ea5cba6659bbb6062a5ff89eea58be3c80b619f322c87910fe092f7d45bb0f8\
         eee01ed3f20babec079d202ae677b243ab40b5431d497c55d75d",
        "00e7b0e675a9b24413d448b8cc119d2bf7b2d2df032741c096634d6d65d0dbe3d5694625fb9e8104\
         d3b842c1b0e2d0b98bea19341e8676aef66ae4eba3d5475d5d16",
    ),
    (
        Curve::P521,
        HashAlg::Sha256,
        "01894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd371123d46e45db6b\
         5d5370a7f20fb633155d38ffa16d2bd761dcac474b9a2f5023a4",
        "00493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a28a0db25741b5b34\
         a828008b22acc23f924faafbd4d33f81ea66956dfeaa2bfdfcf5",
        "01511bb4d675114fe266fc4372b87682baecc01d3cc62cf2303c92b3526012659d16876e25c7c1e5\
         7648f23b73564d67f61c6f14d527d54972810421e7d87589e1a7",
        "004a171143a83163d6df460aaf61522695f207a58b95c0644d87e52aa1a347916e4f7a72930b1bc0\
         6dbe22ce3f58264afd23704cbb63b29b931f7de6c9d949a7ecfc",
    ),
    (
        Curve::P521,
        HashAlg::Sha512,
        "01894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd371123d46e45db6b\
         5d5370a7f20fb633155d38ffa16d2bd761dcac474b9a2f5023a4",
        "00493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a28a0db25741b5b34\
         a828008b22acc23f924faafbd4d33f81ea66956dfeaa2bfdfcf5",
        "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f174e25a1ee9017b5\
         d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa",
        "00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af282623eaa63e5b5c\
         0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a",
    ),
];

/// The private keys of RFC 6979, another party's x and y, and the shared x.
pub(super) const ECDH: [(Curve, &str, &str, &str, &str); 4] = [
    (
        Curve::P224,
        "f220266e1105bfe3083e03ec7a3a654651f45e37167e88600bf257c1",
        "611cf81e4066807a493d60ed2966ec641db8bf5e8930f6564aa802e7",
        "6e926bde3cd088bf50b3144a2bd7cbd4d51e000e067bc261f1704730",
        "6ace334ee85e9e78e23475f9201d59598204a37a7d505d76447a4fb1",
    ),
    (
        Curve::P256,
        "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
        "74b15e630f409a4dd084122aaeae4bebeafcf1607670f09525350e30ed32c436",
        "28728a50b1bfb12c6a99d458dc5bce18ec71f65e797fa9ad9b3333a11e1db365",
        "19d8efedcfbceff5f70eaaf2da94f74d3be1b6480f30439b33fca6dadccdaa21",
    ),
    (
        Curve::P384,
        "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825\
         f872c9ea60d2edf5",
        "57e32813893d66631ccb327e873165e4385ae85f99c5ea9c6f0420e4c66ea4a597a08ad085bf59f8\
         5ef145b577c6fb31",
        "c7fb5b2b80e217c196021e6bd0034b556dcbfc149e8ee50219348c53067490c0cb5d5217653829c9\
         4ff0011a14cdbb51",
        "6bb13374dd89ffb3d47840777be8c9d8ae44c3ac4a240069836fe3129d0ea9cee28bf2416ed16c9c\
         04fc57bc680cb158",
    ),
    (
        Curve::P521,
        "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75caa896eb32f1f47c\
         70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
        "017ba560da8b7f2e727e918f112324bc988b32a3f23cc3bf097e7eea3479c8d260f4cefbefd981b3\
         14423ad6854854584b8cf2c9255e2eae32b0695e77392b9b708b",
        "01fa94008b1351e274129cbfbebf1a122c63c143960a11bedf71237ee0c12140681bea98bbb0e362\
         5f3182b2682d3ef1d3eabfdfd158f6468e4b3e679ceaf2def129",
        "00abea5d53b04b34d767cc14e09c8ec5b05cea92e1f76b6e7d3ad7aa16b8871de99a80d7c2ef9735\
         0d8cb5412b7ecd4ff2539a487ef61c13276055b5e8d583016b6b",
    ),
];

/// EC Schnorr under the P-256 key of RFC 6979 of SHA-256("sample"): (r, s).
pub(super) const SCHNORR: [(HashAlg, &str, &str); 3] = [
    (
        HashAlg::Sha256,
        "24384b6e7073c0f28f1119656b42e918ac98dd1761468fd4fb64f5f0f4ce4893",
        "c9a8fbfd0e4e7033bdb86477ca87680e40ca86193ffc559a2cc9e63f184de791",
    ),
    (
        HashAlg::Sha512,
        "38f739aafbf2485e735edd676ef43300f1bb5d4fab24deea3eb6e5f935520314",
        "241a7fbad73914b35fc5f1999ccb9235d62b1d5b44d2180e28c38ea7b497fb2c",
    ),
    (
        HashAlg::Sha1,
        "000000000000000000000000a18fb61c2b496b2474205ebc441af38a52eabc59",
        "de92980b91eb1e53ba45b2e50c1f72aaf9dfec718699e308ea01ad7fd04d9357",
    ),
];

/// MQV on P-256: our static and ephemeral scalars; x and y of their static point, of their
/// ephemeral point and of the result.
pub(super) const MQV: [&str; 8] = [
    "aa58b21b01d6b8a99c1a5856962dbac36c758a79dc0a77c2e013ce2c39ecdc8a",
    "8405ae6de3ebde2abffb2531d437a163a31dc42a109c7369b66b93258c7e1d67",
    "552a8b05255291070b46ffc6d8d2447a2596b5d23e691735ab1be34757f71562",
    "a3d35e3224c39c41bd54d1781b2734e6628ba0349b389f94b686d09239c6d0bb",
    "80549a13727e1d346d62a46d9bad1fd827563d9e9ce27fc4612a625cd6b530ca",
    "08e2aa2b86481d9c3221a5fe8cd964d214f39f5ae6e34248c74d86073fa569d9",
    "c327fa8b90fb72ecfba294994f1fb0222d589f9903c8591e2acc3eef6f406d92",
    "794b68b412dd1d7d0ed285dfad4f9796b8378d0e7aeddaa2526ca1a0101988bf",
];

/// `[5] G + [7] Q` for the P-256 key of RFC 6979.
pub(super) const SUM: [&str; 2] = [
    "8cef45b0e915e1bf5b898decbab228ae88a0782ee794bd78173e82ee6cfa5be5",
    "140cb57ff467242e1fbb7278b0f62971766c4e92d1d49cf595c337648c6cbcea",
];
