use hypersd_core::Image;
use proptest::{option, prelude::*};

use super::*;

fn provenance() -> Provenance {
    Provenance {
        version: "hypersd 0.1.0".into(),
        prompt: "a photo of a cat,\nvery fluffy".into(),
        negative: Some("blurry, dog".into()),
        prompt_2: None,
        negative_2: None,
        weighted: false,
        long: false,
        clip_skip: 0,
        seed: u64::MAX,
        rng: "torch-cpu".into(),
        width: 512,
        height: 768,
        batch: 2,
        index: 1,
        scheduler: "tcd".into(),
        karras: false,
        prediction: None,
        original_steps: None,
        timestep_shift: None,
        timesteps: vec![999.0, 759.5],
        steps: None,
        eta: 1.0,
        guidance: 0.0,
        start: None,
        hires: None,
        refine: None,
        guidance_rescale: 0.0,
        zero_snr: false,
        recipe: Some("hyper-sd15-unified".into()),
        weights: vec![
            WeightFile::new(WeightPart::UNet, "sd15", "0123456789"),
            WeightFile::new(WeightPart::Vae, "vae: \"best\"", "abcdef0123"),
            WeightFile::new(WeightPart::TextEncoder, "sd15", "9876543210"),
            WeightFile {
                tensors_sha256: Some("00112233aabb".into()),
                weight: Some(0.5),
                ..WeightFile::new(WeightPart::Lora, "one", "ffffffffff")
            },
            WeightFile {
                tensors_sha256: Some("44556677ccdd".into()),
                weight: Some(1.0),
                ..WeightFile::new(WeightPart::Lora, "two", "eeeeeeeeee")
            },
        ],
    }
}

/// Read back by the web UI's `parse_generation_parameters`: see docs/provenance.md.
#[test]
fn parameters_are_what_the_web_ui_writes() {
    let line = concat!(
        "Steps: 2, Sampler: TCD, CFG scale: 0, Seed: 18446744073709551615, Size: 512x768, ",
        "Model hash: 0123456789, Model: sd15, VAE hash: abcdef0123, VAE: \"vae: \\\"best\\\"\", ",
        "Batch size: 2, Batch pos: 1, Eta: 1, RNG: CPU, Lora hashes: \"one: 00112233aabb, two: 44556677ccdd\", ",
        "Lora weights: \"one: 0.5, two: 1\", Recipe: hyper-sd15-unified, Timesteps: \"999, 759.5\", ",
        "Version: hypersd 0.1.0"
    );
    let want = format!("a photo of a cat,\nvery fluffy\nNegative prompt: blurry, dog\n{line}");
    assert_eq!(provenance().parameters(), want);
}

#[test]
fn what_is_not_there_is_not_written() {
    let plain = Provenance {
        prompt: "cat".into(),
        negative: Some(String::new()),
        seed: 7,
        rng: "torch-cuda".into(),
        batch: 1,
        index: 0,
        scheduler: "dpmpp-2m".into(),
        karras: true,
        timesteps: vec![999.0],
        eta: 0.0,
        guidance: 7.5,
        recipe: None,
        weights: Vec::new(),
        ..provenance()
    };
    let want = "cat\nSteps: 1, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 7, Size: 512x768, \
                Timesteps: 999, Version: hypersd 0.1.0";
    assert_eq!(plain.parameters(), want);
    let unnamed = Provenance { prompt: String::new(), ..plain };
    assert!(unnamed.parameters().starts_with("Steps: 1"), "as the web UI strips it");
}

#[test]
fn a_start_says_its_strength_and_of_how_many_steps() {
    let start = StartRecord { steps: Some(4), strength: Some(0.5), ..StartRecord::new("picture") };
    let parameters = Provenance { start: Some(start), ..provenance() }.parameters();
    assert!(parameters.contains("\nSteps: 4, "), "{parameters}");
    assert!(parameters.contains("Batch pos: 1, Denoising strength: 0.5, Eta: 1, "), "{parameters}");
    let start = StartRecord { noise_level: Some(0.6), ..StartRecord::new("picture") };
    let parameters = Provenance { start: Some(start), ..provenance() }.parameters();
    assert!(parameters.contains("\nSteps: 2, ") && parameters.contains("Noise level: 0.6, "), "{parameters}");
}

#[test]
fn a_second_drawing_is_named_as_the_web_ui_does() {
    let hires = HiresRecord { strength: Some(0.4), steps: Some(3), ..HiresRecord::new(1.5) };
    let parameters = Provenance { hires: Some(hires), guidance_rescale: 0.7, ..provenance() }.parameters();
    let want = "Denoising strength: 0.4, Hires upscale: 1.5, Hires upscaler: Lanczos, Hires steps: 3, CFG Rescale phi: 0.7";
    assert!(parameters.contains(want), "{parameters}");
}

#[test]
fn no_key_stands_twice() {
    let start = StartRecord { strength: Some(0.5), ..StartRecord::new("picture") };
    let hires = HiresRecord { strength: Some(0.4), ..HiresRecord::new(1.5) };
    let parameters = Provenance { start: Some(start), hires: Some(hires), ..provenance() }.parameters();
    assert!(parameters.contains(" Denoising strength: 0.5, "), "{parameters}");
    assert!(parameters.contains("Hires denoising strength: 0.4, "), "{parameters}");
}

#[test]
fn steps_are_those_that_were_asked_for() {
    let heun = Provenance { steps: Some(2), timesteps: vec![999.0, 499.0, 499.0], ..provenance() };
    assert!(heun.parameters().contains("\nSteps: 2, "), "{}", heun.parameters());
}

#[test]
fn a_replaced_unet_stands_for_its_model() {
    let weights = vec![
        WeightFile::new(WeightPart::Model, "sdxl", "0000000000"),
        WeightFile::new(WeightPart::UNet, "one-step", "1111111111"),
    ];
    let parameters = Provenance { weights, ..provenance() }.parameters();
    assert!(parameters.contains("Model hash: 1111111111, Model: one-step, "), "{parameters}");
}

#[test]
fn a_picture_gives_back_what_it_was_made_of() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.png");
    let image = Image::from_rgb8(8, 8, vec![1; 192]).expect("an image");
    for prompt in
        ["", "a cat", "猫 😀 — \"quoted\" \\ back", "Negative prompt: trap\nSteps: 3", "nul \0 in it"]
    {
        let provenance = Provenance { prompt: prompt.into(), timesteps: vec![999.0, 0.1], ..provenance() };
        image.save_with(&path, &provenance.text_chunks()).expect("written");
        assert_eq!(Provenance::read(&path).expect("read"), Some(provenance), "{prompt:?}");
        assert_eq!(Image::open(&path).expect("an image"), image);
    }

    image.save(&path).expect("written");
    assert_eq!(Provenance::read(&path).expect("read"), None);
    let text = [TextChunk { keyword: "hypersd".into(), text: "{\"prompt\": 3}".into() }];
    image.save_with(&path, &text).expect("written");
    assert!(matches!(Provenance::read(&path), Err(Error::Config { .. })));
}

/// Numbers as people write them. Of a number with 17 digits the JSON reader may miss the last bit.
fn number() -> impl Strategy<Value = f64> {
    (-1_000_000_i32..1_000_000).prop_map(|thousandths| f64::from(thousandths) / 1000.0)
}

fn part() -> impl Strategy<Value = WeightPart> {
    prop_oneof![Just("unet".to_string()), Just("text_encoder".to_string()), any::<String>()]
        .prop_map(WeightPart::from)
}

prop_compose! {
    fn any_file()(
        part in part(),
        [name, sha256] in any::<[String; 2]>(),
        tensors_sha256 in any::<Option<String>>(),
        weight in option::of(-10.0_f32..10.0),
    ) -> WeightFile {
        WeightFile { tensors_sha256, weight, ..WeightFile::new(part, name, sha256) }
    }
}

prop_compose! {
    fn any_start()(
        kind in any::<String>(),
        pictures in any::<Vec<String>>(),
        (steps, timesteps) in any::<(Option<usize>, Option<Vec<usize>>)>(),
        [strength, noise_level, image_guidance] in [option::of(number()), option::of(number()), option::of(number())],
        mask in option::of((any::<String>(), number(), any::<Option<usize>>())),
    ) -> StartRecord {
        let mask = mask.map(|(picture, blur, crop)| MaskRecord { picture, blur, crop });
        StartRecord { pictures, steps, timesteps, strength, noise_level, image_guidance, mask, ..StartRecord::new(kind) }
    }
}

prop_compose! {
    fn any_hires()(
        scale in number(),
        [strength, noise_level] in [option::of(number()), option::of(number())],
        steps in any::<Option<usize>>(),
    ) -> HiresRecord {
        HiresRecord { strength, noise_level, steps, ..HiresRecord::new(scale) }
    }
}

prop_compose! {
    fn any_refine()(
        [switch_at, aesthetic_score, negative_aesthetic_score] in
            [option::of(number()), option::of(number()), option::of(number())],
    ) -> RefineRecord {
        RefineRecord { switch_at, aesthetic_score, negative_aesthetic_score }
    }
}

prop_compose! {
    fn any_provenance()(
        [version, prompt, rng, scheduler] in any::<[String; 4]>(),
        [negative, recipe, prediction, prompt_2, negative_2] in any::<[Option<String>; 5]>(),
        [width, height, batch, index, clip_skip] in any::<[usize; 5]>(),
        [original_steps, timestep_shift, steps] in any::<[Option<usize>; 3]>(),
        (seed, karras, weighted, long) in any::<(u64, bool, bool, bool)>(),
        timesteps in prop::collection::vec(0.0_f32..1000.0, 0..5),
        (eta, guidance, guidance_rescale) in (number(), number(), number()),
        (start, hires, zero_snr) in (option::of(any_start()), option::of(any_hires()), any::<bool>()),
        refine in option::of(any_refine()),
        weights in prop::collection::vec(any_file(), 0..4),
    ) -> Provenance {
        Provenance {
            version, prompt, negative, prompt_2, negative_2, weighted, long, clip_skip, seed, rng, width, height, batch,
            index, scheduler, karras, prediction, original_steps, timestep_shift, timesteps, steps, eta, guidance,
            guidance_rescale, zero_snr, start, hires, refine, recipe, weights,
        }
    }
}

proptest! {
    #[test]
    fn the_json_has_it_all(provenance in any_provenance()) {
        let chunks = provenance.text_chunks();
        prop_assert!(chunks.iter().all(|chunk| !chunk.text.contains('\0')));
        let json = chunks.iter().find(|chunk| chunk.keyword == HYPERSD).expect("the JSON");
        prop_assert_eq!(serde_json::from_str::<Provenance>(&json.text).expect("its own JSON"), provenance);
    }

    #[test]
    fn a_part_is_its_name(part in part()) {
        prop_assert_eq!(WeightPart::from(String::from(part.clone())), part);
    }
}
