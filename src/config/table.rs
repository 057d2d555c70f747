//! Every option that is also a setting. A new one is a row here and a field where its value goes.

use super::declaration::Declaration;
use super::given::Origin;
use super::units::{parse_duration, parse_moment, parse_rate, parse_size};
use super::values::NODE_CONFIG;
use crate::catalog::LayoutChoice;

/// Where the backups are and how to reach them.
pub static SOURCE: &[Declaration] = &[
    Declaration::one("config", "FILE", "Read settings from this file, as the nodes have it", |settings, given| {
        settings.config = given.path();
        Ok(())
    })
    .common()
    .environment(&["CASSMOUNT_CONFIG"])
    .default(NODE_CONFIG),
    Declaration::one("region", "REGION", "Region of the bucket", |settings, given| {
        settings.store.region = Some(given.text()?.to_owned());
        Ok(())
    })
    .environment_of_store(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
    Declaration::one(
        "endpoint-url",
        "URL",
        "Address of an S3-compatible service, e.g. https://minio.example:9000",
        |settings, given| {
            settings.store.endpoint_url = Some(given.text()?.to_owned());
            Ok(())
        },
    )
    .common()
    .environment_of_store(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
    Declaration::one("profile", "PROFILE", "Profile of ~/.aws/config and ~/.aws/credentials", |settings, given| {
        settings.store.profile = Some(given.text()?.to_owned());
        Ok(())
    })
    .common()
    .environment_of_store(&["AWS_PROFILE"]),
    Declaration::switch("no-sign-request", "Do not sign requests: for public buckets", |settings, _| {
        settings.store.no_sign_request = true;
        Ok(())
    }),
    Declaration::switch(
        "force-path-style",
        "Address the bucket as part of the path, not of the host name",
        |settings, _| {
            settings.store.force_path_style = true;
            Ok(())
        },
    ),
    Declaration::switch(
        "virtual-hosted-style",
        "Address the bucket as part of the host name at --endpoint-url as well",
        |settings, _| {
            settings.store.virtual_hosted_style = true;
            Ok(())
        },
    ),
    Declaration::switch("request-payer", "Pay for the requests to a bucket whose owner does not", |settings, _| {
        settings.store.request_payer = true;
        Ok(())
    }),
    Declaration::one(
        "sse-c-key-file",
        "FILE",
        "File with the key of objects encrypted by SSE-C: 32 bytes, or these in base64",
        |settings, given| {
            settings.store.sse_c_key_file = Some(given.path());
            Ok(())
        },
    ),
    Declaration::one(
        "as-of",
        "TIME",
        "Show a versioned S3 bucket as it was then, e.g. 2026-11-21T02:50:00Z: with what was deleted or overwritten since",
        |settings, given| {
            settings.store.as_of = Some(given.parsed(parse_moment)?);
            Ok(())
        },
    ),
    Declaration::one(
        "ca-bundle",
        "FILE",
        "Trust the certificate authorities in this PEM file as well",
        |settings, given| {
            settings.store.ca_bundle = Some(given.path());
            Ok(())
        },
    )
    .environment_of_store(&["AWS_CA_BUNDLE"]),
    Declaration::one("throttle", "RATE", "Fetch at most this much per second, e.g. 50M", |settings, given| {
        settings.store.throttle = Some(given.parsed(parse_rate)?);
        Ok(())
    })
    .field("throttle_rate"),
    Declaration::one(
        "timeout",
        "TIME",
        "Give up on an operation of the store that made no progress for this long",
        |settings, given| {
            settings.store.timeout = given.parsed(parse_duration)?;
            Ok(())
        },
    )
    .default("60s"),
    Declaration::choice(
        "layout",
        "NAME",
        LayoutChoice::names,
        "How the backups are laid out; `auto` recognises it from the object names (see docs/layouts.md)",
        |settings, given| {
            settings.layout = given.parsed(str::parse)?;
            Ok(())
        },
    )
    .default("auto"),
    Declaration::several(
        "rename-host",
        "OLD=NEW",
        "Show the host OLD of the source as NEW; several of one name become one host. Not for cass_ops. Repeatable",
        |settings, given| {
            settings.rename_hosts.push(given.parsed(str::parse)?);
            Ok(())
        },
    ),
];

/// Where the passphrases are. A passphrase itself is never an argument.
pub static KEYS: &[Declaration] = &[
    Declaration::several(
        "key-file",
        "FILE",
        "File whose first line is the passphrase, as for openssl's -pass file:. Repeat it for rotated keys",
        |settings, given| {
            settings.keys.files.push(given.path());
            Ok(())
        },
    )
    .common()
    .environment(&["CASSMOUNT_KEY_FILE"]),
    Declaration::one(
        "key-command",
        "COMMAND",
        "Command that prints the passphrase on the first line of its standard output",
        |settings, given| {
            settings.keys.command = Some(given.text()?.to_owned());
            Ok(())
        },
    )
    // People put tokens into it.
    .environment(&["CASSMOUNT_KEY_COMMAND"])
    .secret(),
    Declaration::one(
        "cipher",
        "NAME",
        "Cipher of openssl enc, e.g. aes-256-ctr, if not told by trial",
        |settings, given| {
            settings.envelope.cipher = Some(given.parsed(str::parse)?);
            Ok(())
        },
    ),
    Declaration::one("kdf", "NAME", "How its passphrase became a key: pbkdf2 or bytes-to-key", |settings, given| {
        settings.envelope.kdf = Some(given.parsed(str::parse)?);
        Ok(())
    }),
    Declaration::one(
        "iterations",
        "N",
        "Rounds of pbkdf2 (-iter), if not 10000: never told by trial",
        |settings, given| {
            settings.envelope.iterations = Some(given.parsed(str::parse::<u32>)?);
            Ok(())
        },
    ),
    Declaration::one("digest", "NAME", "Its digest (-md): sha256, sha512, sha1 or md5", |settings, given| {
        settings.envelope.digest = Some(given.parsed(str::parse)?);
        Ok(())
    }),
    Declaration::switch(
        "allow-plaintext",
        "Read archives that are not encrypted where those beside them are, though keys are given",
        |settings, _| {
            settings.allow_plaintext = true;
            Ok(())
        },
    ),
];

/// Where the cache is.
pub static CACHE_DIR: &[Declaration] =
    &[Declaration::one("cache-dir", "DIR", "Directory for verified plaintext, mode 0700", |settings, given| {
        settings.cache.directory = Some(given.path());
        Ok(())
    })
    .common()
    .environment(&["CASSMOUNT_CACHE_DIR"])
    .unset("/var/cache/cassmount for root, else ~/.cache/cassmount")];

/// How much may lie there, and in memory.
pub static CACHE: &[Declaration] = &[
    Declaration::one(
        "cache-size",
        "SIZE",
        "Most bytes to keep there; K, M, G and T are powers of 1024, here and everywhere",
        |settings, given| {
            settings.cache.size = Some(given.parsed(parse_size)?);
            Ok(())
        },
    )
    .unset("10G, or a quarter of the free space if that is less"),
    Declaration::one("memory-limit", "SIZE", "Most memory for data in flight", |settings, given| {
        settings.cache.memory_limit = given.parsed(parse_size)?;
        Ok(())
    })
    .default("96M"),
];

/// Whether a node's own tables give their ids.
pub static LIVE_IDS: &[Declaration] = &[
    Declaration::one(
        "live-data-dir",
        "DIR",
        "Name table directories after the live tables in this Cassandra data directory",
        |settings, given| {
            settings.live_ids.directory = Some(given.path());
            settings.live_ids.wanted |= given.origin == Origin::Flag;
            Ok(())
        },
    )
    .field("cassandra_data_dir"),
    Declaration::switch(
        "match-live-ids",
        "Name table directories after the live tables in the configuration's cassandra_data_dir",
        |settings, _| {
            settings.live_ids.wanted = true;
            Ok(())
        },
    ),
];

/// All of them, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Declaration> {
    [SOURCE, KEYS, CACHE_DIR, CACHE, LIVE_IDS].into_iter().flatten()
}
