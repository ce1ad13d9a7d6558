//! Settings of the hub: its address, the folder of its files, and the token of whoever asks.

use std::{ffi::OsString, fs, path::PathBuf};

use super::Error;

/// Settings of the hub's client.
#[derive(Clone)]
pub struct HubOptions {
    /// The hub's address, `https://huggingface.co` for instance.
    pub endpoint: String,
    /// The cache that all clients of the hub share; its folders are called `models--owner--name`.
    pub cache_dir: PathBuf,
    /// An access token, for repositories that are private or gated.
    pub token: Option<String>,
    /// True where only the cache is asked.
    pub offline: bool,
    /// The number of times that a transfer that broke off is taken up again before it is an error.
    pub retries: usize,
    /// The weights that are fetched where a network has them more than once, `fp16` for instance; `None` is the plain
    /// ones. Open the model with the same variant.
    pub variant: Option<String>,
}

impl HubOptions {
    /// The settings of the environment, with the variables and the defaults of Hugging Face's own clients: `HF_ENDPOINT`;
    /// `HF_HUB_CACHE`, else `HF_HOME`, else `XDG_CACHE_HOME`, else `~/.cache`; `HF_TOKEN`, else the file that
    /// `hf auth login` writes (`HF_TOKEN_PATH`); `HF_HUB_OFFLINE`. Three retries, plain weights.
    ///
    /// This is the only place where hypersd reads the environment.
    ///
    /// # Errors
    /// [`Error::NoHome`] where the place of the cache does not follow from it.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var_os(name), std::env::home_dir())
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let hugging_face = set("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(set("XDG_CACHE_HOME")?).join("huggingface")))
            .or_else(|| Some(home?.join(".cache/huggingface")));
        let cache_dir = set("HF_HUB_CACHE")
            .map(PathBuf::from)
            .or_else(|| Some(hugging_face.as_ref()?.join("hub")))
            .ok_or(Error::NoHome)?;
        let token_file =
            set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(hugging_face.as_ref()?.join("token")));
        let token = text("HF_TOKEN")
            .or_else(|| fs::read_to_string(token_file?).ok())
            .map(|token| token.trim().to_string())
            .filter(|token| !token.is_empty());
        let on = |value: String| matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE");
        Ok(Self {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            cache_dir,
            token,
            offline: text("HF_HUB_OFFLINE").is_some_and(on),
            retries: 3,
            variant: None,
        })
    }
}

impl std::fmt::Debug for HubOptions {
    /// Without the token, which is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubOptions")
            .field("endpoint", &self.endpoint)
            .field("cache_dir", &self.cache_dir)
            .field("has_token", &self.token.is_some())
            .field("offline", &self.offline)
            .field("retries", &self.retries)
            .field("variant", &self.variant)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn options(variables: &[(&str, &str)], home: Option<&str>) -> Result<HubOptions, Error> {
        let get = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        HubOptions::from_variables(get, home.map(PathBuf::from))
    }

    #[test]
    fn the_cache_is_where_other_clients_have_it() {
        for (variables, want) in [
            (&[][..], "/home/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/xdg")], "/xdg/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/xdg"), ("HF_HOME", "/hf")], "/hf/hub"),
            (&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/cache")], "/cache"),
            (&[("HF_HOME", "")], "/home/me/.cache/huggingface/hub"),
        ] {
            let options = options(variables, Some("/home/me")).expect("a home");
            assert_eq!(options.cache_dir, Path::new(want), "{variables:?}");
        }
        assert!(matches!(options(&[], None), Err(Error::NoHome)));
        options(&[("HF_HOME", "/hf")], None).expect("HF_HOME is enough");
    }

    #[test]
    fn tokens_come_from_the_variable_then_the_file() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let hf = home.path().to_str().expect("UTF-8");
        assert_eq!(options(&[("HF_HOME", hf)], None).expect("options").token, None);
        fs::write(home.path().join("token"), "hf_file\n").expect("written");
        let token = |variables: &[(&str, &str)]| options(variables, None).expect("options").token;
        assert_eq!(token(&[("HF_HOME", hf)]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[("HF_HOME", hf), ("HF_TOKEN", "hf_variable")]).as_deref(), Some("hf_variable"));
    }

    #[test]
    fn the_rest_has_defaults() {
        let plain = options(&[], Some("/")).expect("options");
        assert_eq!((plain.endpoint.as_str(), plain.offline), ("https://huggingface.co", false));
        let set = options(&[("HF_ENDPOINT", "http://mirror"), ("HF_HUB_OFFLINE", "true")], Some("/"));
        let set = set.expect("options");
        assert_eq!((set.endpoint.as_str(), set.offline), ("http://mirror", true));
        assert!(!options(&[("HF_HUB_OFFLINE", "0")], Some("/")).expect("options").offline);
    }

    #[test]
    fn a_token_is_not_printed() {
        let options = options(&[("HF_TOKEN", "hf_secret")], Some("/")).expect("options");
        assert!(!format!("{options:?}").contains("hf_secret"));
    }
}
