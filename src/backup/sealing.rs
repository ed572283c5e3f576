//! Keys that are kept beside a copy: an archive that is encrypted with age in memory, for whoever holds one of the identities that were
//! named. `age --decrypt --identity FILE keys.tar.age | tar x` opens it too.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read, Write};

use age::x25519::Recipient;
use age::{DecryptError, Decryptor, Encryptor, IdentityFile};
use kubewright_core::etcd::manifest::Sealed;
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use crate::host::files::ReadFile;

/// The archive's name beside the snapshot.
pub const KEYS: &str = "keys.tar.age";

/// No more is unpacked of an archive of keys: it has a dozen files of a few kilobytes.
const LARGEST: u64 = 16 << 20;

/// Public keys of age.
#[derive(Clone)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// Reads them, each by itself; at least one.
    ///
    /// # Errors
    /// What is none, in words.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let all: Vec<Recipient> = texts.into_iter().map(recipient).collect::<Result<_, _>>()?;
        if all.is_empty() { Err("no recipient is named".to_owned()) } else { Ok(Self(all)) }
    }

    /// Those of a file as age's own `--recipients-file` takes it: one on a line, comments begin with `#`.
    pub fn lines(text: &str) -> impl Iterator<Item = &str> {
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    }
}

fn recipient(text: &str) -> Result<Recipient, String> {
    if text.starts_with("AGE-SECRET-KEY-") {
        return Err(
            "a secret key stands where a public one is wanted; whoever saw it can open what is encrypted for it"
                .to_owned(),
        );
    }
    if text.starts_with("ssh-") {
        return Err(format!("{text}: keys of ssh are not taken; make one of age's own: age-keygen -o identity.txt"));
    }
    text.parse().map_err(|why| format!("{text}: this is no public key of age (age1…): {why}"))
}

/// Packs and encrypts files of a control plane, by their paths there.
///
/// # Errors
/// Those of encryption, which takes any public key that can be read.
pub(super) fn seal(files: &BTreeMap<String, ReadFile>, recipients: &Recipients) -> io::Result<(Vec<u8>, Sealed)> {
    let all = recipients.0.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor = Encryptor::with_recipients(all).map_err(io::Error::other)?;
    let mut archive = tar::Builder::new(encryptor.wrap_output(Vec::new())?);
    for (path, file) in files {
        let bytes = file.contents.expose_secret();
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(file.mode);
        // Members of an archive have no leading slash, so that it is unpacked where one stands.
        archive.append_data(&mut header, path.trim_start_matches('/'), bytes)?;
    }
    let mut encrypted = archive.into_inner()?;
    encrypted.flush()?;
    let bytes = encrypted.finish()?;
    let sealed = Sealed {
        name: KEYS.to_owned(),
        recipients: recipients.0.iter().map(ToString::to_string).collect(),
        files: files.keys().cloned().collect(),
    };
    Ok((bytes, sealed))
}

/// Why an archive of keys could not be opened.
#[derive(Debug)]
pub enum Unsealed {
    /// The identity file holds none that can be used; in words.
    Identity(String),
    /// None of its identities is one that the archive was encrypted for.
    Stranger,
    /// The archive is damaged.
    Damaged(String),
}

impl fmt::Display for Unsealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(why) => formatter.write_str(why),
            Self::Stranger => formatter.write_str("none of these identities can open it"),
            Self::Damaged(why) => write!(formatter, "it is damaged: {why}"),
        }
    }
}

/// Opens an archive of keys with the identities of a file; its files, by their paths on a control plane.
///
/// # Errors
/// [`Unsealed`].
pub fn unseal(archive: &[u8], identities: &SecretSlice<u8>) -> Result<BTreeMap<String, ReadFile>, Unsealed> {
    let text = identities.expose_secret();
    if text.starts_with(b"age-encryption.org/") || text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
        let why = "the identity file is encrypted itself: age --decrypt FILE, and name what comes of it";
        return Err(Unsealed::Identity(why.to_owned()));
    }
    let identities =
        IdentityFile::from_buffer(BufReader::new(text)).map_err(|error| Unsealed::Identity(error.to_string()))?;
    let identities = identities.into_identities().map_err(|error| Unsealed::Identity(error.to_string()))?;
    if identities.is_empty() {
        return Err(Unsealed::Identity("the identity file holds no identity (AGE-SECRET-KEY-1…)".to_owned()));
    }
    let damaged = |error: io::Error| Unsealed::Damaged(error.to_string());
    let decryptor = Decryptor::new_buffered(archive).map_err(|error| Unsealed::Damaged(error.to_string()))?;
    let opened = decryptor.decrypt(identities.iter().map(|identity| identity.as_ref() as &dyn age::Identity));
    let opened = opened.map_err(|error| match error {
        DecryptError::NoMatchingKeys => Unsealed::Stranger,
        other => Unsealed::Damaged(other.to_string()),
    })?;
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(opened.take(LARGEST));
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.to_str().map(str::to_owned);
        let path = path
            .filter(|path| is_plain(path))
            .ok_or_else(|| Unsealed::Damaged("a name in it is none of ours".to_owned()))?;
        let mode = entry.header().mode().map_err(damaged)? & 0o777;
        // Its whole room at once: what a vector leaves behind while it grows is not wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(entry.size().min(LARGEST) as usize));
        entry.read_to_end(&mut bytes).map_err(damaged)?;
        let contents = SecretSlice::from(std::mem::take(&mut *bytes));
        files.insert(format!("/{path}"), ReadFile { mode, contents });
    }
    Ok(files)
}

/// A name that leads nowhere but below.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;
    use age::x25519::Identity;

    use super::*;

    fn files() -> BTreeMap<String, ReadFile> {
        let file = |text: &str| ReadFile { mode: 0o600, contents: SecretSlice::from(text.as_bytes().to_vec()) };
        [("/etc/kubernetes/pki/ca.key", "a secret key"), ("/etc/kubernetes/pki/etcd/ca.key", "another")]
            .map(|(path, text)| (path.to_owned(), file(text)))
            .into()
    }

    fn secret(identity: &Identity) -> SecretSlice<u8> {
        let text = format!("# created: now\n{}\n", identity.to_string().expose_secret());
        SecretSlice::from(text.into_bytes())
    }

    #[test]
    fn any_of_the_recipients_opens_it_and_nobody_else() {
        let (one, other, stranger) = (Identity::generate(), Identity::generate(), Identity::generate());
        let keys = [one.to_public().to_string(), other.to_public().to_string()];
        let recipients = Recipients::parse(keys.iter().map(String::as_str)).unwrap();
        let (bytes, sealed) = seal(&files(), &recipients).unwrap();
        assert_eq!((sealed.name.as_str(), sealed.recipients, sealed.files.len()), (KEYS, keys.to_vec(), 2));
        assert!(!bytes.windows(8).any(|window| window == b"a secret"));
        for identity in [one, other] {
            let opened = unseal(&bytes, &secret(&identity)).unwrap();
            let text =
                |file: &ReadFile| (file.mode, String::from_utf8(file.contents.expose_secret().to_vec()).unwrap());
            assert_eq!(opened.values().map(text).collect::<Vec<_>>(), files().values().map(text).collect::<Vec<_>>());
            assert_eq!(opened.keys().collect::<Vec<_>>(), files().keys().collect::<Vec<_>>());
        }
        assert!(matches!(unseal(&bytes, &secret(&stranger)), Err(Unsealed::Stranger)));
    }

    #[test]
    fn damage_and_what_is_no_identity_are_told_apart() {
        let identity = Identity::generate();
        let key = identity.to_public().to_string();
        let (bytes, _) = seal(&files(), &Recipients::parse([key.as_str()]).unwrap()).unwrap();
        for at in [bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(matches!(unseal(&damaged, &secret(&identity)), Err(Unsealed::Damaged(_))), "at {at}");
        }
        for cut in [0, 10, bytes.len() / 2, bytes.len() - 1] {
            assert!(matches!(unseal(&bytes[..cut], &secret(&identity)), Err(Unsealed::Damaged(_))), "{cut}");
        }
        for (text, why) in
            [("", "no identity"), ("hello\n", "line 1"), ("age-encryption.org/v1\n-> scrypt", "encrypted itself")]
        {
            let Err(Unsealed::Identity(said)) = unseal(&bytes, &SecretSlice::from(text.as_bytes().to_vec())) else {
                panic!("{text}")
            };
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused_and_a_secret_one_not_repeated() {
        let secret = Identity::generate().to_string().expose_secret().to_owned();
        let refused = |texts: &[&str]| Recipients::parse(texts.iter().copied()).err().unwrap();
        assert!(refused(&[]).contains("no recipient"));
        assert!(refused(&["ssh-ed25519 AAAA"]).contains("age-keygen"));
        assert!(refused(&["age1qqqq"]).contains("no public key of age"));
        assert!(!refused(&[&secret]).contains(&secret[15..]), "it would stand in a log");
        assert_eq!(Recipients::lines("# mine\n\n age1a \nage1b\n").collect::<Vec<_>>(), ["age1a", "age1b"]);
    }
}
