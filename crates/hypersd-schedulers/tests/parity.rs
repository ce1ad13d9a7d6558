//! Tables and trajectories against diffusers; `reference/schedulers.py` makes the fixtures.

use std::{fs, path::PathBuf};

use hypersd_schedulers::{
    Advanced, Algorithm, Error, History, Sample, Schedule, Scheduler, SchedulerConfig, Spacing, Step, Steps,
};
use hypersd_testing::fixture;
use ndarray::{ArrayD, IxDyn};
use serde::Deserialize;

/// One step from the same latent, relative to the largest number in it: both sides round a handful of f32
/// operations, in another order (4 units in the last place).
const STEP: f64 = 5e-7;
/// Up to 50 steps, each starting from the rounding of the one before.
const TRAJECTORY: f64 = 2e-6;
/// A product or quotient of f32 numbers, rounded elsewhere (2 units in the last place).
const SCALAR: f64 = 2.4e-7;
/// Tables stretched to zero signal: torch takes square roots of whole tensors with MKL, which misses the nearest f32
/// in 5 of 1000, and near the end the shift cancels most of the root.
const ZERO_SNR_TABLE: f64 = 4e-6;
/// Karras timesteps between whole ones, absolute: numpy's vectorised f32 logarithm is off by some units in the
/// last place, and a timestep is about 0.005 of one.
const KARRAS_TIMESTEP: f64 = 5e-4;

/// Step counts from 1 to 1000 of which a Karras timestep rounds the other way, for the same reason: one value (of
/// 929 steps) is that near to a half.
const KARRAS_TIES: usize = 1;

/// Columns of a fixture row: t, input scale, draws, then x and x0.
const HEAD: usize = 3;
const ELEMENTS: usize = 8;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[derive(Debug, Deserialize)]
struct Cases {
    configs: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    algorithm: String,
    config: usize,
    eta: f64,
    steps: Option<usize>,
    timesteps: Option<Vec<usize>>,
    sigmas: Option<Vec<f32>>,
    strength: Option<f64>,
    tail: Option<f64>,
    rows: usize,
}

impl Case {
    fn schedule(&self, config: &SchedulerConfig) -> Result<Schedule, Error> {
        let steps = match (&self.timesteps, &self.sigmas) {
            (Some(timesteps), _) => Steps::Timesteps(timesteps.clone()),
            (None, Some(sigmas)) => Steps::Sigmas(sigmas.clone()),
            (None, None) => Steps::Count(self.steps.expect("steps, timesteps or sigmas")),
        };
        let scheduler = Scheduler::new(self.algorithm.parse()?, config)?;
        let schedule = scheduler.schedule(&steps, self.eta, self.strength)?;
        schedule.tail(self.tail.unwrap_or(1.0))
    }

    /// TCD and LCM return another tensor beside x, PNDM none.
    fn gives_x0(&self) -> bool {
        !matches!(self.algorithm.as_str(), "tcd" | "lcm" | "pndm")
    }

    /// Whether timesteps are found from sigmas.
    fn follows_sigmas(&self, config: &SchedulerConfig) -> bool {
        let curves = [config.use_karras_sigmas, config.use_exponential_sigmas, config.use_beta_sigmas];
        let curved = curves.contains(&Some(true)) || self.sigmas.is_some();
        self.algorithm == "dpmpp-sde" || curved && matches!(self.algorithm.as_str(), "euler" | "heun")
    }
}

/// Which sets of trajectories there are.
const SETS: [&str; 6] = ["trajectories", "unipc", "solver-order", "sigma-space", "curves", "timestep-space"];

/// A step as diffusers took it.
struct Row {
    t: f32,
    input_scale: f32,
    draws: f32,
    x: ArrayD<f32>,
    x0: ArrayD<f32>,
    /// The latent that the step went on from: in sets without correctors the one before it.
    corrected: Option<ArrayD<f32>>,
}

struct Fixture {
    configs: Vec<SchedulerConfig>,
    cases: Vec<(Case, Vec<Row>, Vec<f32>)>,
    start: ArrayD<f32>,
    outputs: Vec<ArrayD<f32>>,
    noise: Vec<ArrayD<f32>>,
}

fn latent(data: &[f32]) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(&[1, 2, 2, 2]), data.to_vec()).expect("eight elements")
}

fn load(set: &str) -> Fixture {
    let text = fs::read_to_string(path(&format!("{set}.json"))).expect("fixtures are committed");
    let Cases { configs, cases } = serde_json::from_str(&text).expect("valid JSON");
    let tensors = fixture(path(&format!("{set}.safetensors")));
    let latents = |name: &str| tensors[name].data.chunks(ELEMENTS).map(latent).collect::<Vec<_>>();
    let corrected = tensors.get("corrected").map(|tensor| &tensor.data[..]);
    let mut rows = tensors["rows"].data.chunks(HEAD + 2 * ELEMENTS).enumerate().map(|(i, row)| Row {
        t: row[0],
        input_scale: row[1],
        draws: row[2],
        x: latent(&row[HEAD..HEAD + ELEMENTS]),
        x0: latent(&row[HEAD + ELEMENTS..]),
        corrected: corrected.map(|data| latent(&data[i * ELEMENTS..][..ELEMENTS])),
    });
    let starts = tensors["starts"].data.chunks(1 + ELEMENTS);
    let cases: Vec<_> = cases
        .into_iter()
        .zip(starts)
        .map(|(case, start)| {
            let rows: Vec<Row> = rows.by_ref().take(case.rows).collect();
            assert_eq!(rows.len(), case.rows, "rows of {case:?}");
            (case, rows, start.to_vec())
        })
        .collect();
    assert!(rows.next().is_none(), "rows that belong to no case");
    Fixture {
        configs: configs
            .iter()
            .map(|text| SchedulerConfig::from_json(text).expect("diffusers wrote it"))
            .collect(),
        cases,
        start: latents("start").remove(0),
        outputs: latents("outputs"),
        noise: latents("noise"),
    }
}

fn peak(x: &ArrayD<f32>) -> f64 {
    x.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max)
}

fn distance(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max)
}

/// The largest number that a step reads of the steps before it, or makes of one: third-order steps extrapolate.
fn largest_past_term(step: &Step, history: &History<ArrayD<f32>>) -> f64 {
    let forms = [step.corrected, Some(step.next)].into_iter().flatten();
    let terms = forms.flat_map(|form| {
        let x = form.earlier_x.into_iter().zip(1..).map(|(factor, back)| (factor, history.x(back)));
        let x0 = form.earlier_x0.into_iter().zip(1..).map(|(factor, back)| (factor, history.x0(back)));
        let output =
            form.earlier_output.into_iter().zip(1..).map(|(factor, back)| (factor, history.output(back)));
        x.chain(x0).chain(output).collect::<Vec<_>>()
    });
    terms
        .filter(|(factor, _)| *factor != 0.0)
        .map(|(factor, sample)| factor.abs().max(1.0) * sample.map_or(0.0, peak))
        .fold(0.0, f64::max)
}

/// The worst of many errors, and where it was.
#[derive(Default)]
struct Worst(f64, String);

impl Worst {
    fn note(&mut self, error: f64, place: impl FnOnce() -> String) {
        // A NaN must not pass as small.
        if error > self.0 || error.is_nan() {
            *self = Self(error, place());
        }
    }

    #[track_caller]
    fn assert_within(&self, tolerance: f64) {
        assert!(self.0 <= tolerance, "error {:.2e}, allowed {tolerance:.1e}: {}", self.0, self.1);
    }
}

/// The alphas_cumprod of a beta schedule, ours and diffusers'.
fn tables(zero_snr: bool) -> Vec<(&'static str, Vec<f32>, Vec<f32>)> {
    let mut tables = fixture(path("alphas.safetensors"));
    ["linear", "scaled_linear", "squaredcos_cap_v2"]
        .map(|beta_schedule| {
            let config = format!(
                r#"{{"beta_schedule": "{beta_schedule}", "beta_start": 0.00085, "beta_end": 0.012,
                    "rescale_betas_zero_snr": {zero_snr}}}"#
            );
            let config = SchedulerConfig::from_json(&config).expect("valid");
            let scheduler = Scheduler::new(Algorithm::Ddim, &config).expect("valid");
            let want = tables.remove(&format!("{beta_schedule}.{zero_snr}")).expect("in the fixture").data;
            assert_eq!((scheduler.alphas_cumprod().len(), want.len()), (1000, 1000));
            (beta_schedule, scheduler.alphas_cumprod().to_vec(), want)
        })
        .into()
}

#[test]
fn tables_are_equal_bit_for_bit() {
    for (beta_schedule, got, want) in tables(false) {
        let differing = got.iter().zip(&want).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!(differing, 0, "{beta_schedule}");
    }
}

#[test]
fn zero_snr_tables_are_equal() {
    let mut worst = Worst::default();
    for (beta_schedule, got, want) in tables(true) {
        assert_eq!((got[999], want[999]), (0.0, 0.0));
        for (t, (got, want)) in got.iter().zip(&want).enumerate().take(999) {
            worst.note(f64::from((got - want).abs() / want), || format!("{beta_schedule}, t = {t}"));
        }
    }
    worst.assert_within(ZERO_SNR_TABLE);
}

/// FNV-1a over the bits of the timesteps, without the low byte.
fn hash(steps: &[Step]) -> f32 {
    let hash =
        steps.iter().fold(2_166_136_261_u32, |hash, step| (hash ^ step.t.to_bits()).wrapping_mul(16_777_619));
    (hash >> 8) as f32
}

#[test]
fn timesteps_are_equal_for_every_step_count() {
    let names = ["timesteps.safetensors", "timesteps-unipc.safetensors", "timesteps-samplers.safetensors"];
    let hashes = names.map(|name| fixture(path(name)));
    for (name, hashes) in hashes.into_iter().flatten() {
        let (algorithm, spacing) = name.split_once('.').expect("algorithm.spacing");
        // PeRFlow's are from the fewest steps that it takes; PNDM evaluates the second timestep twice.
        let first = if algorithm == "perflow" { 4 } else { 1 };
        let twice = usize::from(algorithm == "pndm");
        let config = SchedulerConfig {
            timestep_spacing: Some(spacing.parse().unwrap_or(Spacing::Leading)),
            use_karras_sigmas: Some(spacing == "karras"),
            ..SchedulerConfig::stable_diffusion()
        };
        let scheduler = Scheduler::new(algorithm.parse().expect("known"), &config).expect("valid");
        let mut ties = 0;
        for (i, &want) in hashes.data.iter().enumerate() {
            let count = first + i;
            match scheduler.schedule(&Steps::Count(count), 0.0, None) {
                Ok(schedule) => {
                    assert_eq!(schedule.steps.len(), count + twice * usize::from(count > 1), "{name}");
                    let differs = hash(&schedule.steps) != want;
                    assert!(!differs || spacing == "karras", "{name}: timesteps of {count} steps");
                    ties += usize::from(differs);
                }
                Err(Error::TimestepRange { .. } | Error::NotDescending { .. }) => {
                    assert_eq!(want, -1.0, "{name}: refused {count} steps");
                }
                Err(error) => panic!("{name}, {count} steps: {error}"),
            }
        }
        assert!(ties <= KARRAS_TIES, "{name}: {ties} step counts differ");
    }
}

/// diffusers has one function for both; the hashes above are of DPM-Solver++.
#[test]
fn karras_timesteps_of_unipc_are_those_of_dpmpp() {
    let config = SchedulerConfig { use_karras_sigmas: Some(true), ..SchedulerConfig::stable_diffusion() };
    let [unipc, dpmpp] = [Algorithm::UniPc, Algorithm::Dpmpp2m]
        .map(|algorithm| Scheduler::new(algorithm, &config).expect("valid"));
    for count in (1..=50).chain((51..=1000).step_by(13)) {
        let [unipc, dpmpp] = [&unipc, &dpmpp].map(|scheduler| {
            let schedule = scheduler.schedule(&Steps::Count(count), 0.0, None).expect("valid");
            schedule.steps.iter().map(|step| step.t).collect::<Vec<_>>()
        });
        assert_eq!(unipc, dpmpp, "{count} steps");
    }
}

#[test]
fn schedules_are_equal() {
    for set in SETS {
        schedules_of_a_set_are_equal(set);
    }
}

fn schedules_of_a_set_are_equal(set: &str) {
    let fixture = load(set);
    let (mut scale, mut noised, mut karras) = (Worst::default(), Worst::default(), Worst::default());
    for (case, rows, start) in &fixture.cases {
        let config = &fixture.configs[case.config];
        let schedule = case.schedule(config).unwrap_or_else(|error| panic!("{case:?}: {error}"));
        assert_eq!(schedule.steps.len(), rows.len(), "{case:?}");
        let relative = |got: f32, want: f32| f64::from((got - want).abs() / want);
        scale.note(relative(schedule.init_noise_sigma, start[0]), || format!("init_noise_sigma of {case:?}"));
        for (step, row) in schedule.steps.iter().zip(rows) {
            if case.follows_sigmas(config) {
                karras.note(f64::from((step.t - row.t).abs()), || format!("{} of {case:?}", row.t));
            } else {
                assert_eq!(step.t, row.t, "{case:?}");
            }
            scale
                .note(relative(step.input_scale(), row.input_scale), || format!("t = {} of {case:?}", row.t));
            assert_eq!(step.noisy(), row.draws == 1.0, "noise at t = {} of {case:?}", row.t);
        }
        let want = latent(&start[1..]);
        let got = schedule.steps[0].add_noise(&fixture.outputs[0], &fixture.noise[0]).expect("one shape");
        noised.note(distance(&got, &want) / peak(&want), || format!("add_noise of {case:?}"));
    }
    scale.assert_within(SCALAR);
    noised.assert_within(SCALAR);
    karras.assert_within(KARRAS_TIMESTEP);
}

#[test]
fn every_step_is_equal_from_the_same_latent() {
    for set in SETS {
        steps_of_a_set_are_equal(set);
    }
}

fn steps_of_a_set_are_equal(set: &str) {
    let fixture = load(set);
    let (mut x_error, mut x0_error) = (Worst::default(), Worst::default());
    for (case, rows, start) in &fixture.cases {
        let schedule = case.schedule(&fixture.configs[case.config]).expect("tested above");
        let first = fixture.start.mapv(|x| x * start[0]);
        for (i, (step, row)) in schedule.steps.iter().zip(rows).enumerate() {
            let x = if i == 0 { &first } else { &rows[i - 1].x };
            let output = &fixture.outputs[i];
            let mut history = schedule.history();
            for (i, row) in rows[..i].iter().enumerate() {
                let x = if i == 0 { &first } else { &rows[i - 1].x };
                history.push(row.corrected.as_ref().unwrap_or(x), &row.x0, &fixture.outputs[i]);
            }
            let past = history.clone();
            let Advanced { x: got, x0, .. } =
                step.advance(x, output, Some(&fixture.noise[i]), &mut history).expect("complete");
            let largest = peak(x)
                .max(peak(&row.x))
                .max(peak(&x0))
                .max(peak(output) * f64::from(step.level.sigma))
                .max(largest_past_term(step, &past));
            x_error.note(distance(&got, &row.x) / largest, || format!("x, step {i} of {case:?}"));
            if case.gives_x0() {
                x0_error.note(distance(&x0, &row.x0) / largest, || format!("x0, step {i} of {case:?}"));
            }
        }
    }
    x_error.assert_within(STEP);
    x0_error.assert_within(STEP);
}

#[test]
fn trajectories_are_equal() {
    for set in SETS {
        trajectories_of_a_set_are_equal(set);
    }
}

fn trajectories_of_a_set_are_equal(set: &str) {
    let fixture = load(set);
    let mut worst = Worst::default();
    for (case, rows, start) in &fixture.cases {
        let schedule = case.schedule(&fixture.configs[case.config]).expect("tested above");
        let mut x = fixture.start.mapv(|x| x * start[0]);
        let mut history = schedule.history();
        // An error made where the latent was large stays when it has become small.
        let mut largest = peak(&x);
        for (i, (step, row)) in schedule.steps.iter().zip(rows).enumerate() {
            let noise = step.noisy().then(|| &fixture.noise[i]);
            let advanced = step.advance(&x, &fixture.outputs[i], noise, &mut history).expect("complete");
            largest = largest.max(peak(&row.x)).max(peak(&advanced.x0));
            worst.note(distance(&advanced.x, &row.x) / largest, || format!("step {i} of {case:?}"));
            x = advanced.x;
        }
    }
    worst.assert_within(TRAJECTORY);
}

/// The sigmas and timesteps that diffusers has of "Align Your Steps" are those of the fixture's cases.
#[test]
fn align_your_steps_is_what_diffusers_has() {
    use hypersd_schedulers::align_your_steps::{SD15_SIGMAS, SD15_TIMESTEPS, SDXL_SIGMAS, SDXL_TIMESTEPS};
    let fixture = load("curves");
    for sigmas in [SD15_SIGMAS, SDXL_SIGMAS] {
        assert!(fixture.cases.iter().any(|(case, ..)| case.sigmas.as_deref() == Some(&sigmas[..])));
    }
    for timesteps in [SD15_TIMESTEPS, SDXL_TIMESTEPS] {
        assert!(fixture.cases.iter().any(|(case, ..)| case.timesteps.as_deref() == Some(&timesteps[..])));
    }
}

#[test]
fn vectors_and_arrays_give_the_same_numbers() {
    let x: Vec<f32> = (0..24).map(|i| (i as f32).sin()).collect();
    let y: Vec<f32> = (0..24).map(|i| (i as f32).cos()).collect();
    let shaped =
        |data: &[f32]| ArrayD::from_shape_vec(IxDyn(&[2, 3, 4]), data.to_vec()).expect("24 elements");
    let (a, b) = (shaped(&x), shaped(&y));
    let vector = Vec::linear_combination(&[(0.3, &x), (-1.7, &y)]).clamp(0.9);
    let array = Sample::clamp(ArrayD::linear_combination(&[(0.3, &a), (-1.7, &b)]), 0.9);
    assert_eq!(Sample::shape(&array), [2, 3, 4]);
    assert_eq!(array.iter().copied().collect::<Vec<_>>(), vector);
    assert!(vector.contains(&0.9), "nothing was clamped");
}
