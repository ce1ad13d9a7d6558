//! Models from anywhere: bytes that the caller hands over make what files on disk make.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use hypersd::{
    ByteSource, Control, CoreError, Error, FileTree, Image, ImageError, Location, Pipeline, PipelineBuilder,
    Recipe, Request,
};
use hypersd_testing::device;

/// Bytes that nobody sees but by reading; reading the one at `broken` fails.
struct Ranges {
    bytes: Vec<u8>,
    broken: usize,
}

impl ByteSource for Ranges {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        if (start..start + into.len()).contains(&self.broken) {
            return Err(io::Error::new(ErrorKind::ConnectionReset, "the line is dead"));
        }
        self.bytes.read_at(offset, into)
    }
}

/// The demo's files: `model`, `controlnet` and `hyper-lora.safetensors`.
fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/hypersd-demo")
}

fn edges() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/control/edges-square.png")
}

fn far(path: &Path) -> Ranges {
    Ranges { bytes: fs::read(path).expect("a file"), broken: usize::MAX }
}

/// All that is in a folder, every file read by ranges or, with `memory`, as a whole.
fn tree(folder: &Path, memory: bool) -> FileTree {
    fn add(tree: FileTree, folder: &Path, place: &str, memory: bool) -> FileTree {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.fold(tree, |tree, path| {
            let name = path.file_name().expect("a name").to_str().expect("Unicode");
            match path.is_dir() {
                true => add(tree, &path, &format!("{place}{name}/"), memory),
                false if memory => tree.with(format!("{place}{name}"), far(&path).bytes),
                false => tree.with(format!("{place}{name}"), far(&path)),
            }
        })
    }
    add(FileTree::new("given"), folder, "", memory)
}

fn open(files: &Location) -> Result<PipelineBuilder, Error> {
    Pipeline::open(files.join("model"))?
        .lora(files.join("hyper-lora.safetensors"), 1.0)?
        .controlnet(files.join("controlnet"))
}

fn request(edges: Location) -> Result<Request, Error> {
    let controls = vec![Control::new(Image::open(edges)?)];
    Ok(Request { controls, ..Recipe::HYPER_SD15_UNIFIED.request("a red mushroom in the meadow by day") })
}

/// The picture, and the digests of the files that it is made of.
fn draw(builder: PipelineBuilder, request: &Request) -> Result<(Image, Vec<String>), Error> {
    let hashing = builder.hash_weights()?;
    let picture = builder.load(&device())?.generate(request)?.remove(0);
    Ok((picture, hashing.finish()?.into_iter().map(|file| file.sha256).collect()))
}

#[test]
fn a_tree_of_bytes_is_what_its_files_are_on_disk() {
    let on_disk = request(edges().into()).expect("a request");
    let want = draw(open(&demo().into()).expect("the demo"), &on_disk).expect("a picture");
    for memory in [true, false] {
        let files = Location::from(tree(&demo(), memory));
        let given = request(Location::of_bytes("edges.png", far(&edges()))).expect("a request");
        let found = draw(open(&files).expect("the demo"), &given).expect("a picture");
        assert_eq!(found, want, "in memory: {memory}");
        let low = draw(open(&files).expect("the demo").low_memory(), &given).expect("a picture");
        assert_eq!(low, want, "in memory: {memory}, and never more of it than needed");
    }
}

#[test]
fn a_part_that_is_replaced_has_its_configuration_beside_it() {
    let request = Recipe::HYPER_SD15_UNIFIED.request("a red mushroom in the meadow by day");
    let drawn = |files: Location| {
        let file = |network| files.join(network).join("diffusion_pytorch_model.safetensors");
        let builder = Pipeline::open(demo().join("model"))?.unet(file("unet"))?.vae(file("vae"))?;
        draw(builder, &request)
    };
    let want = drawn(demo().join("model").into()).expect("a picture");
    let found = drawn(tree(&demo().join("model"), false).into()).expect("a picture");
    assert_eq!(found, want);

    let weights = far(&demo().join("model/unet/diffusion_pytorch_model.safetensors"));
    let alone = FileTree::new("given").with("unet.safetensors", weights).with("config.json", b"{");
    let builder = Pipeline::open(hypersd_demo::model()).expect("the demo");
    let error =
        builder.unet(Location::from(alone).join("unet.safetensors")).expect_err("half a configuration");
    let error = error.to_string();
    assert!(error.starts_with("given: config.json") && error.contains("expected JSON"), "{error}");
}

#[test]
fn a_source_that_fails_is_named_wherever_it_does() {
    let files = tree(&demo(), false);
    let broken = |path: &str| {
        let bytes = far(&demo().join(path)).bytes;
        let source = Ranges { broken: bytes.len() - 1, bytes };
        Location::from(files.clone().with(path, source))
    };
    let unet = open(&broken("model/unet/diffusion_pytorch_model.safetensors")).expect("its header is whole");
    let hashing = unet.hash_weights().expect("the files");
    let error = unet.load(&device()).expect_err("the weights cannot be read");
    assert!(matches!(error, Error::Weights(CoreError::Io { .. })), "{error:?}");
    let (error, place) = (error.to_string(), "given: model/unet/diffusion_pytorch_model.safetensors");
    assert!(
        error.starts_with(&format!("{place}, tensor ")) && error.ends_with("the line is dead"),
        "{error}"
    );
    assert_eq!(
        hashing.finish().expect_err("not to the end").to_string(),
        format!("{place}: the line is dead")
    );

    let lora = open(&broken("hyper-lora.safetensors")).expect("its header is whole");
    let error = lora.load(&device()).expect_err("the LoRA cannot be read").to_string();
    assert!(
        error.contains("given: hyper-lora.safetensors") && error.ends_with("the line is dead"),
        "{error}"
    );

    let config = open(&broken("model/scheduler/scheduler_config.json")).expect_err("no configuration");
    assert!(config.to_string().starts_with("given: model/scheduler/scheduler_config.json"), "{config}");

    let picture = Ranges { broken: 0, ..far(&edges()) };
    let error = request(Location::of_bytes("edges.png", picture)).expect_err("no picture");
    assert!(
        matches!(error, Error::Image(ImageError(CoreError::Io { .. }))) && !error.is_request(),
        "{error:?}"
    );
}

#[test]
fn a_picture_that_cannot_be_is_no_fault_of_the_weights() {
    let damaged =
        request(Location::of_bytes("edges.png", far(&edges()).bytes[..100].to_vec())).expect_err("cut");
    assert!(matches!(damaged, Error::Image(ImageError(CoreError::Format { .. }))), "{damaged:?}");
    let lost = request("no/such/edges.png".into()).expect_err("no file");
    assert!(matches!(lost, Error::Image(ImageError(CoreError::Io { .. }))), "{lost:?}");
    let size = Error::from(Image::from_rgb8(0, 8, Vec::new()).expect_err("no pixels"));
    assert!(
        matches!(size, Error::Image(ImageError(CoreError::Argument { .. }))) && size.is_request(),
        "{size:?}"
    );
}
