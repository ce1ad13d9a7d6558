//! The hub from name to opened pipeline, against a small server that answers as the hub does.

#[path = "hub/server.rs"]
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use hypersd::{
    Device, HubReference, Pipeline, Request, Steps,
    hub::{Error, Hub, HubOptions, Transfer},
};
use hypersd_testing::weights;
use tempfile::TempDir;

use crate::server::{Fault, Repository, Server};

const MODEL: &str = "someone/tiny-sd15";
const LORA: &str = "someone/loras/tiny-sd15-lora.safetensors";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The tiny model, with what a repository has beside it that is of no use here.
fn model() -> Repository {
    let mut repository = Repository::new(COMMIT);
    repository.add_folder(&weights("").join("tiny-sd15"));
    repository.add("README.md", b"# A model".to_vec());
    repository.add("unet/diffusion_pytorch_model.bin", b"a pickle".to_vec());
    repository.add("unet/diffusion_pytorch_model.fp16.safetensors", b"half".to_vec());
    repository.add("safety_checker/config.json", b"{}".to_vec());
    repository
}

fn loras() -> Repository {
    let mut repository = Repository::new("89abcdef0123456789abcdef0123456789abcdef");
    let lora = fs::read(weights("").join("tiny-sd15-lora.safetensors")).expect("the fixture");
    repository.add("tiny-sd15-lora.safetensors", lora);
    repository.add("other.safetensors", b"other".to_vec());
    repository
}

/// A server with both repositories, and a cache of its own.
struct Place {
    server: Server,
    cache: TempDir,
}

impl Place {
    fn new() -> Self {
        let server = Server::start([(MODEL, model()), ("someone/loras", loras())]);
        Self { server, cache: tempfile::tempdir().expect("a temporary folder") }
    }

    fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: self.server.endpoint(),
            cache_dir: self.cache.path().join("hub"),
            token: None,
            offline: false,
            retries: 0,
            variant: None,
        }
    }

    fn hub(&self) -> Hub {
        Hub::new(self.options()).expect("a client")
    }

    fn offline(&self) -> Hub {
        Hub::new(HubOptions { offline: true, ..self.options() }).expect("a client")
    }

    fn snapshot(&self) -> PathBuf {
        self.cache.path().join("hub/models--someone--tiny-sd15/snapshots").join(COMMIT)
    }
}

fn fetch(hub: &Hub, name: &str) -> Result<PathBuf, Error> {
    hub.fetch(&HubReference::parse(name).expect("a reference"))
}

/// Asserts that a fetch fails with a message that holds all of `words`.
fn refused(hub: &Hub, name: &str, words: &[&str]) -> Error {
    let error = fetch(hub, name).expect_err(name);
    for word in words {
        assert!(error.to_string().contains(word), "{name}: no {word:?} in {error}");
    }
    error
}

#[test]
fn from_names_to_a_picture() {
    let place = Place::new();
    let hub = place.hub();
    let model = hub.locate(MODEL).expect("the model");
    let lora = hub.locate(LORA).expect("the LoRA");
    assert_eq!(model, place.snapshot());

    let draw = |model: &Path, lora: &Path| {
        let builder = Pipeline::open(model).expect("the model").lora(lora, 1.0).expect("the LoRA");
        let pipeline = builder.load(&Device::flex()).expect("loaded");
        let request =
            Request { width: Some(64), height: Some(64), steps: Steps::Count(1), ..Request::default() };
        pipeline.generate(&request).expect("a picture")
    };
    let here = draw(&weights("").join("tiny-sd15"), &weights("").join("tiny-sd15-lora.safetensors"));
    assert_eq!(draw(&model, &lora), here, "the files that were fetched are the files");
}

/// The environment is a process's own: the test runs itself again, as a child with the hub's variables.
#[test]
fn names_on_the_hub_stand_where_paths_do() {
    const CHILD: &str = "HYPERSD_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let builder = Pipeline::open(MODEL).expect("the model").lora(LORA, 1.0).expect("the LoRA");
        let builder = builder.vae(format!("{MODEL}/vae")).expect("the VAE");
        builder.unet(format!("{MODEL}@{COMMIT}/unet")).expect("the UNet");
        return;
    }
    let place = Place::new();
    place.server.add_revision(MODEL, COMMIT, model());
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "names_on_the_hub_stand_where_paths_do"])
        .env(CHILD, "1")
        .env("HF_ENDPOINT", place.server.endpoint())
        .env("HF_HOME", place.cache.path())
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .output()
        .expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let fetched = place.server.fetched();
    for name in ["model_index.json", "tiny-sd15-lora.safetensors", "unet/diffusion_pytorch_model.safetensors"]
    {
        assert_eq!(fetched.iter().filter(|file| *file == name).count(), 1, "{name} in {fetched:?}");
    }
    assert_eq!(fetch(&place.offline(), MODEL).expect("cached"), place.snapshot(), "HF_HOME's cache");
}

#[test]
fn only_what_is_needed_is_fetched_and_only_once() {
    let place = Place::new();
    fetch(&place.hub(), MODEL).expect("the model");
    let mut want: Vec<String> = model().names();
    want.retain(|name| {
        !["README.md", ".bin", "fp16", "safety_checker"].iter().any(|unused| name.contains(unused))
    });
    want.sort();
    assert_eq!(place.server.fetched(), want);

    place.server.forget();
    assert_eq!(fetch(&place.hub(), MODEL).expect("the model"), place.snapshot());
    assert_eq!(place.server.fetched(), [] as [&str; 0], "the cache has them");
    assert_eq!(place.server.requests().len(), 1, "which commit `main` is, and no more");
}

#[test]
fn the_cache_is_laid_out_as_other_clients_have_it() {
    let place = Place::new();
    fetch(&place.hub(), MODEL).expect("the model");
    let top = place.cache.path().join("hub/models--someone--tiny-sd15");
    assert_eq!(fs::read_to_string(top.join("refs/main")).expect("the ref"), COMMIT);
    let unet = place.snapshot().join("unet/diffusion_pytorch_model.safetensors");
    let blob = unet.canonicalize().expect("a blob");
    assert_eq!(blob.parent().expect("a folder"), top.join("blobs").canonicalize().expect("the blobs"));
    #[cfg(unix)]
    assert!(fs::read_link(unet).expect("a link").is_relative());
}

#[test]
fn a_variant_is_fetched_instead_and_not_as_well() {
    let place = Place::new();
    let variant = Some("fp16".into());
    let hub = Hub::new(HubOptions { variant, ..place.options() }).expect("a client");
    fetch(&hub, &format!("{MODEL}/unet")).expect("the UNet");
    let want = ["unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors"];
    assert_eq!(place.server.fetched(), want);
}

#[test]
fn a_later_commit_costs_only_what_it_changed() {
    let place = Place::new();
    fetch(&place.hub(), MODEL).expect("the model");
    let commit = "fedcba9876543210fedcba9876543210fedcba98";
    place.server.change(MODEL, |repository| {
        repository.commit = commit.into();
        repository.add("scheduler/scheduler_config.json", b"{\"_class_name\": \"DDIMScheduler\"}".to_vec());
    });
    place.server.forget();
    let model = fetch(&place.hub(), MODEL).expect("the model");
    assert_eq!(place.server.fetched(), ["scheduler/scheduler_config.json"]);
    assert!(model.ends_with(commit));
    Pipeline::open(&model).expect("a whole model");
    assert!(fs::read_to_string(model.join("scheduler/scheduler_config.json")).expect("it").contains("DDIM"));
    Pipeline::open(fetch(&place.offline(), MODEL).expect("cached")).expect("the later one");
}

#[test]
fn revisions_are_apart() {
    let place = Place::new();
    let commit = "fedcba9876543210fedcba9876543210fedcba98";
    let mut other = Repository::new(commit);
    other.add("config.json", b"{}".to_vec());
    other.add("model.safetensors", b"other".to_vec());
    place.server.add_revision(MODEL, "fp16", other);
    let folder = fetch(&place.hub(), &format!("{MODEL}@fp16")).expect("the revision");
    assert!(folder.ends_with(commit));
    assert_eq!(fs::read(folder.join("model.safetensors")).expect("a file"), b"other");
    refused(&place.offline(), MODEL, &["not complete in the cache"]);
}

#[test]
fn progress_is_told_from_nothing_to_all() {
    let place = Place::new();
    let told = Arc::new(Mutex::new(Vec::<Transfer>::new()));
    let teller = Arc::clone(&told);
    let hub =
        place.hub().on_progress(move |transfer| teller.lock().expect("unpoisoned").push(transfer.clone()));
    let lora = fetch(&hub, LORA).expect("the LoRA");
    let told = told.lock().expect("unpoisoned");
    let size = fs::metadata(lora).expect("a file").len();
    assert!(told.iter().all(|transfer| transfer.file == LORA && transfer.total == size));
    assert_eq!((told[0].index, told[0].files, told[0].bytes), (0, 1, 0));
    assert!(told.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes), "{told:?}");
    assert_eq!(told.last().expect("reports").bytes, size);
}

#[test]
fn a_path_that_exists_is_not_asked_for() {
    let place = Place::new();
    let path = weights("").join("tiny-sd15");
    assert_eq!(place.hub().locate(&path).expect("a path"), path);
    let error = place.hub().locate("nowhere").expect_err("neither").to_string();
    assert!(error.contains("no such file or folder") && error.contains("owner/name"), "{error}");
    assert_eq!(place.server.requests(), [] as [&str; 0]);
}

#[test]
fn offline_the_cache_is_enough_or_it_is_an_error() {
    let place = Place::new();
    refused(&place.offline(), MODEL, &[MODEL, "not complete in the cache", "HF_HUB_OFFLINE"]);
    fetch(&place.hub(), MODEL).expect("the model");
    place.server.forget();
    assert_eq!(fetch(&place.offline(), MODEL).expect("cached"), place.snapshot());
    let by_commit = format!("{MODEL}@{COMMIT}");
    assert_eq!(fetch(&place.offline(), &by_commit).expect("cached"), place.snapshot());
    fs::remove_file(place.snapshot().join("vae/config.json")).expect("removed");
    fs::remove_file(place.snapshot().join("vae/diffusion_pytorch_model.safetensors")).expect("removed");
    refused(&place.offline(), MODEL, &["not complete in the cache"]);
    assert_eq!(place.server.requests(), [] as [&str; 0]);
}

#[test]
fn without_a_network_the_cache_is_enough_or_it_is_an_error() {
    let place = Place::new();
    fetch(&place.hub(), MODEL).expect("the model");
    // A port that was free a moment ago.
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let endpoint = format!("http://{closed}");
    let hub = Hub::new(HubOptions { endpoint: endpoint.clone(), ..place.options() }).expect("a client");
    assert_eq!(fetch(&hub, MODEL).expect("cached"), place.snapshot());
    let error = refused(&hub, LORA, &[&endpoint, "cannot be reached", "check the connection"]);
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
}

#[test]
fn what_the_hub_does_not_have_is_said() {
    let place = Place::new();
    let error = refused(&place.hub(), "someone/tiny-sd16", &["someone/tiny-sd16", "no such", "spelling"]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    refused(&place.hub(), &format!("{MODEL}@v2"), &["@v2", "no such repository or revision"]);
    refused(&place.hub(), "someone/loras/tiny.safetensors", &["no such file", "tiny-sd15-lora.safetensors"]);
    refused(&place.hub(), "someone/loras", &["single files", "someone/loras/"]);
}

#[test]
fn a_model_without_safetensors_is_said() {
    let place = Place::new();
    place.server.change(MODEL, |repository| repository.retain(|name| !name.contains(".safetensors")));
    let words = ["someone/tiny-sd15/text_encoder", "safetensors"];
    assert!(matches!(refused(&place.hub(), MODEL, &words), Error::NoWeights { .. }));
    assert!(place.server.fetched().iter().all(|name| name == "model_index.json"), "nothing big before that");
}

#[test]
fn tokens_are_asked_for_and_sent() {
    let place = Place::new();
    place.server.fault(MODEL, Fault::Private { token: "hf_right".into() });
    let error = refused(&place.hub(), MODEL, &[MODEL, "token", "HF_TOKEN", "does not exist"]);
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    let token = |token: &str| HubOptions { token: Some(token.into()), ..place.options() };
    refused(&Hub::new(token("hf_wrong")).expect("a client"), MODEL, &["valid token"]);
    fetch(&Hub::new(token("hf_right")).expect("a client"), MODEL).expect("the model");
}

#[test]
fn a_gated_repository_names_its_page() {
    let place = Place::new();
    place.server.fault(MODEL, Fault::Gated);
    let page = format!("{}/{MODEL}", place.server.endpoint());
    let error = refused(&place.hub(), MODEL, &["accept the repository's terms", &page]);
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let place = Place::new();
    place.server.fault("someone/loras", Fault::Cut { times: 1 });
    let error = refused(&place.hub(), LORA, &[LORA, "broke off", "run again"]);
    assert!(matches!(error, Error::Transfer { .. }), "{error:?}");
    assert!(fetch(&place.offline(), LORA).is_err(), "half a file is no file");

    place.server.forget();
    let lora = fetch(&place.hub(), LORA).expect("the LoRA");
    let size = fs::metadata(weights("").join("tiny-sd15-lora.safetensors")).expect("the fixture").len();
    assert_eq!(place.server.ranges(), [format!("bytes={}-", size / 2)], "the second half only");
    assert_eq!(
        fs::read(lora).expect("read"),
        fs::read(weights("").join("tiny-sd15-lora.safetensors")).expect("read")
    );
}

#[test]
fn a_broken_transfer_is_taken_up_again() {
    let place = Place::new();
    place.server.fault("someone/loras", Fault::Cut { times: 1 });
    let hub = Hub::new(HubOptions { retries: 1, ..place.options() }).expect("a client");
    let lora = fetch(&hub, LORA).expect("the LoRA");
    assert_eq!(
        fs::read(lora).expect("read"),
        fs::read(weights("").join("tiny-sd15-lora.safetensors")).expect("read")
    );
}

#[test]
fn what_arrives_wrong_does_not_stay() {
    let place = Place::new();
    place.server.fault("someone/loras", Fault::Flip);
    let error = refused(&place.hub(), LORA, &[LORA, "SHA-256", "run again"]);
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    place.server.fault("someone/loras", Fault::None);
    fetch(&place.hub(), LORA).expect("the LoRA, whole this time");
}

#[test]
fn a_server_in_trouble_and_one_that_is_no_hub_are_said() {
    let place = Place::new();
    place.server.fault(MODEL, Fault::Status(503));
    refused(&place.hub(), MODEL, &["503", "try again later"]);
    place.server.fault(MODEL, Fault::NotAHub);
    let error = refused(&place.hub(), MODEL, &["does not answer as a Hugging Face hub", "proxy"]);
    assert!(matches!(error, Error::NotAHub { .. }), "{error:?}");
}

#[test]
fn names_that_lead_out_of_the_cache_are_not_followed() {
    let place = Place::new();
    place.server.change(MODEL, |repository| repository.add("unet/../../../../escaped.json", b"{}".to_vec()));
    fetch(&place.hub(), MODEL).expect("the model");
    place.server.change(MODEL, |repository| repository.commit = "../../escaped".into());
    refused(&place.hub(), MODEL, &[MODEL, "a commit's digits"]);
    assert!(!place.cache.path().join("escaped").exists());
}
