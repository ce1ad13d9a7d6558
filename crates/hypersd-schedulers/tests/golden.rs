//! Trajectories of diffusers 0.42.1 in bits, from x = [1, −0.5, 0.25, 2] with the constant model output
//! [0.5, 0.75, −1, 0.1] and noise of torch's generator with seed 7. Written down independently of
//! `reference/schedulers.py`.

use hypersd_schedulers::{Algorithm, FinalSigma, PredictionType, Scheduler, SchedulerConfig, Spacing, Steps};

/// Units in the last place that another order of the same f32 operations may cost, in one step or several.
const ULPS: u32 = 8;

type Bits = [u32; 4];

const NOISE: [Bits; 3] = [
    [0xbe165174, 0x3f49408e, 0x3f7262e7, 0xbf8ea2d3],
    [0x3fd86bd0, 0xbf651371, 0xbeb6147c, 0x3f9dbed1],
    [0x3e0d7d22, 0xbfd75248, 0x3ea2a6bb, 0x3e07fe8d],
];

#[track_caller]
fn check(algorithm: Algorithm, config: SchedulerConfig, steps: Steps, eta: f64, want: &[(f32, Bits)]) {
    let schedule = Scheduler::new(algorithm, &config)
        .and_then(|scheduler| scheduler.schedule(&steps, eta, None))
        .expect("a valid schedule");
    let timesteps: Vec<f32> = schedule.steps.iter().map(|step| step.t).collect();
    assert_eq!(timesteps, want.iter().map(|(t, _)| *t).collect::<Vec<_>>());

    let output = vec![0.5, 0.75, -1.0, 0.1];
    let mut noise = NOISE.iter().map(|bits| bits.map(f32::from_bits).to_vec());
    let mut x: Vec<f32> = vec![1.0, -0.5, 0.25, 2.0];
    let mut history = schedule.history();
    for (step, (t, bits)) in schedule.steps.iter().zip(want) {
        let noise = step.noisy().then(|| noise.next().expect("three draws at most"));
        let advanced = step.advance(&x, &output, noise.as_ref(), &mut history).expect("complete");
        for (got, want) in advanced.x.iter().zip(bits) {
            let off = got.to_bits().abs_diff(*want);
            assert!(off <= ULPS, "t = {t}: {got} is {off} units from {}", f32::from_bits(*want));
        }
        x = advanced.x;
    }
}

fn spaced(spacing: Spacing) -> SchedulerConfig {
    SchedulerConfig { timestep_spacing: Some(spacing), ..SchedulerConfig::stable_diffusion() }
}

fn trailing() -> SchedulerConfig {
    spaced(Spacing::Trailing)
}

fn leading() -> SchedulerConfig {
    spaced(Spacing::Leading)
}

/// DDIM and TCD without noise, which agree where t − T/N is the next timestep.
const TWO_STEPS: [(f32, Bits); 2] = [
    (999.0, [0x40896462, 0xc10ff796, 0x410c7ed9, 0x416c0c9f]),
    (499.0, [0x40eb4b63, 0xc1920bcb, 0x4191eb60, 0x41de9e39]),
];

#[test]
fn ddim() {
    use Steps::Count;
    check(Algorithm::Ddim, trailing(), Count(2), 0.0, &TWO_STEPS);
    check(
        Algorithm::Ddim,
        leading(),
        Count(2),
        0.0,
        &[
            (501.0, [0x3f8eb167, 0xc008dbf2, 0x4003abb7, 0x4069c2a3]),
            (1.0, [0x3f8dfa17, 0xc0098020, 0x40048110, 0x4069c855]),
        ],
    );
    let v_prediction = SchedulerConfig { prediction_type: Some(PredictionType::VPrediction), ..trailing() };
    check(
        Algorithm::Ddim,
        v_prediction,
        Count(2),
        0.0,
        &[
            (999.0, [0x3f26691e, 0xbf4aef7b, 0x3f304c90, 0x3fdc4a0a]),
            (499.0, [0xbd6ffd3b, 0xbf880a4a, 0x3f9b638c, 0x3f5d9f98]),
        ],
    );
    check(
        Algorithm::Ddim,
        trailing(),
        Count(2),
        1.0,
        &[
            (999.0, [0x4072a728, 0xc10e6a59, 0x412563c9, 0x415bc75e]),
            (499.0, [0x40cdf030, 0xc190f46c, 0x41a9ad48, 0x41cf7356]),
        ],
    );
}

#[test]
fn tcd() {
    use Steps::{self, Count, Timesteps};
    check(Algorithm::Tcd, leading(), Count(2), 0.0, &TWO_STEPS);
    check(
        Algorithm::Tcd,
        leading(),
        Count(2),
        0.3,
        &[
            (999.0, [0x4080ecbb, 0xc10b7946, 0x411c007b, 0x415f82d8]),
            (499.0, [0x40db3b81, 0xc18dc8c3, 0x41a0a06e, 0x41d2b9dc]),
        ],
    );
    check(
        Algorithm::Tcd,
        leading(),
        Count(2),
        1.0,
        &[
            (999.0, [0x40701887, 0xc10f4b00, 0x4126b89c, 0x415b902f]),
            (499.0, [0x40ca64cb, 0xc1916819, 0x41aacb23, 0x41cefb49]),
        ],
    );
    check(
        Algorithm::Tcd,
        leading(),
        Count(1),
        1.0,
        &[(999.0, [0x40eb4b62, 0xc1920bcb, 0x4191eb60, 0x41de9e39])],
    );
    check(
        Algorithm::Tcd,
        leading(),
        Timesteps(vec![999, 749, 499, 249]),
        0.3,
        &[
            (999.0, [0x3fe9d8be, 0xc0564fd3, 0x409862c0, 0x40b6063f]),
            (749.0, [0x408bc7cc, 0xc113e08f, 0x413f0313, 0x415435ba]),
            (499.0, [0x40cd381b, 0xc17bdf5c, 0x419d2e4b, 0x41a52bc9]),
            (249.0, [0x40eefa88, 0xc19d2730, 0x41c47b60, 0x41c85be9]),
        ],
    );
}

#[test]
fn lcm() {
    use Steps::{self, Count, Timesteps};
    check(
        Algorithm::Lcm,
        leading(),
        Timesteps(vec![800]),
        0.0,
        &[(800.0, [0x4029c14f, 0xc0cdfde2, 0x40cd376b, 0x411e79f5])],
    );
    check(
        Algorithm::Lcm,
        leading(),
        Count(2),
        0.0,
        &[
            (999.0, [0x406f9a4b, 0xc10f79c6, 0x4126f81b, 0x415b8941]),
            (499.0, [0x40c98b94, 0xc191d11d, 0x41ab55b8, 0x41cf0545]),
        ],
    );
}

#[test]
fn euler() {
    use Steps::Count;
    check(
        Algorithm::Euler,
        leading(),
        Count(2),
        0.0,
        &[
            (501.0, [0x3e55d27c, 0xbfd7e889, 0x3fea8b61, 0x3febbedd]),
            (1.0, [0x3e40ab50, 0xbfdbdfe1, 0x3fefd52c, 0x3feb377c]),
        ],
    );
    check(
        Algorithm::Euler,
        trailing(),
        Count(2),
        0.0,
        &[
            (999.0, [0xc0b00735, 0xc1240568, 0x41540735, 0x3f3327aa]),
            (499.0, [0xc0c9d598, 0xc1376032, 0x416dd598, 0x3f09dd72]),
        ],
    );
    check(
        Algorithm::EulerAncestral,
        trailing(),
        Count(2),
        0.0,
        &[
            (999.0, [0xc0ce843b, 0xc121138e, 0x4181a2af, 0xbf9d708b]),
            (499.0, [0xc0e8529e, 0xc1346e58, 0x418e89e0, 0xbfb215a7]),
        ],
    );
}

#[test]
fn dpmpp() {
    use Steps::Count;
    check(
        Algorithm::Dpmpp2m,
        leading(),
        Count(3),
        0.0,
        &[
            (751.0, [0x3fc8b195, 0xc005d7db, 0x3fee6e2d, 0x4089ff8c]),
            (501.0, [0x40049b36, 0xc075a98f, 0x406aee3e, 0x40d55164]),
            (251.0, [0x400b656b, 0xc0a69559, 0x40a5a02a, 0x4100fa82]),
        ],
    );
    let karras = SchedulerConfig { use_karras_sigmas: Some(true), ..leading() };
    check(
        Algorithm::Dpmpp2m,
        karras,
        Count(3),
        0.0,
        &[
            (999.0, [0x409da1f5, 0xc12b316f, 0x4127f64e, 0x418a1e9b]),
            (427.0, [0x40eb4b61, 0xc1920bc9, 0x4191eb5e, 0x41de9e38]),
            (0.0, [0x40eaed88, 0xc192487d, 0x419236fe, 0x41deb07c]),
        ],
    );
}

/// A constant velocity, unlike a constant epsilon, tells one order from another.
fn velocity(config: SchedulerConfig) -> SchedulerConfig {
    SchedulerConfig { prediction_type: Some(PredictionType::VPrediction), ..config }
}

#[test]
fn unipc() {
    use Steps::Count;
    check(
        Algorithm::UniPc,
        velocity(leading()),
        Count(3),
        0.0,
        &[
            (751.0, [0x3f4c0152, 0xbf3500ce, 0x3f0be07d, 0x3fef8e30]),
            (501.0, [0x3f1bfc38, 0xbf7fb3e7, 0x3f6eeb93, 0x3febf46e]),
            (251.0, [0x3e5a6020, 0xbf9fc958, 0x3fab3ac2, 0x3fba1e3c]),
        ],
    );
    check(
        Algorithm::UniPc,
        SchedulerConfig { solver_order: Some(3), ..velocity(trailing()) },
        Count(4),
        0.0,
        &[
            (999.0, [0x3f665315, 0xbf1ef699, 0x3ed5b6ec, 0x3ffa08f5]),
            (749.0, [0x3f3b29b0, 0xbf572e3c, 0x3f3796fe, 0x3ff1e1ea]),
            (499.0, [0x3f090c48, 0xbf90848f, 0x3f8d2b38, 0x3fec473a]),
            (249.0, [0x3e1ed6c4, 0xbfad76aa, 0x3fbcf11d, 0x3fbae46a]),
        ],
    );
    check(
        Algorithm::UniPc,
        SchedulerConfig {
            solver_type: Some("bh1".to_owned()),
            disable_corrector: Some(vec![0]),
            final_sigmas_type: Some(FinalSigma::SigmaMin),
            ..velocity(leading())
        },
        Count(3),
        0.0,
        &[
            (751.0, [0x3f4c0152, 0xbf3500ce, 0x3f0be07d, 0x3fef8e30]),
            (501.0, [0x3f1bacf8, 0xbf7f7eac, 0x3f6ec872, 0x3feb9f0e]),
            (251.0, [0x3e6eff20, 0xbf9f87d2, 0x3faa22d4, 0x3fbde211]),
        ],
    );
}

#[test]
fn third_order_dpmpp() {
    use Steps::Count;
    check(
        Algorithm::Dpmpp2m,
        SchedulerConfig { solver_order: Some(3), ..velocity(leading()) },
        Count(5),
        0.0,
        &[
            (831.0, [0x3f67bc77, 0xbf1d8f65, 0x3ed1acd8, 0x3ffa7f63]),
            (665.0, [0x3f4940cc, 0xbf466277, 0x3f204a86, 0x3ff53e87]),
            (499.0, [0x3f287037, 0xbf78d159, 0x3f634872, 0x3ff281fa]),
            (333.0, [0x3f06083f, 0xbf983876, 0x3f964e39, 0x3ff0df9c]),
            (167.0, [0x3e7d84c5, 0xbfb30165, 0x3fbf7a60, 0x3fd23962]),
        ],
    );
}

#[test]
fn heun() {
    check(
        Algorithm::Heun,
        leading(),
        Steps::Count(2),
        0.0,
        &[
            (501.0, [0x3e55d27c, 0xbfd7e889, 0x3fea8b61, 0x3febbedd]),
            (1.0, [0x3e55d27c, 0xbfd7e884, 0x3fea8b61, 0x3febbedf]),
            (1.0, [0x3e40ab50, 0xbfdbdfdc, 0x3fefd52c, 0x3feb377e]),
        ],
    );
}

#[test]
fn stochastic_dpmpp() {
    check(
        Algorithm::Dpmpp2mSde,
        velocity(trailing()),
        Steps::Count(3),
        0.0,
        &[
            (999.0, [0xbda55974, 0x3ec7f46e, 0x3f9ed2f6, 0xbf248f66]),
            (666.0, [0x3f3a56dc, 0xbf533401, 0x3f829970, 0x3ebcf6da]),
            (332.0, [0x3e457f46, 0xbf8eb4f9, 0x3fb6cd43, 0x3e4f2690]),
        ],
    );
    check(
        Algorithm::DpmppSde,
        leading(),
        Steps::Count(2),
        0.0,
        &[
            (501.0, [0x3e2f6350, 0xbfbe2e02, 0x4004c412, 0x3fc7468c]),
            (63.412167, [0x3de5d7de, 0xbfdbad3b, 0x401450d1, 0x3fca83a7]),
            (1.0, [0x3dbb8986, 0xbfdfa493, 0x4016f5b6, 0x3fc9fc46]),
        ],
    );
}

#[test]
fn pndm() {
    check(
        Algorithm::Pndm,
        leading(),
        Steps::Count(4),
        0.0,
        &[
            (751.0, [0x3fc8b198, 0xc005d7dc, 0x3fee6e30, 0x4089ff8e]),
            (501.0, [0x3fc8b198, 0xc005d7dc, 0x3fee6e30, 0x4089ff8e]),
            (501.0, [0x40049b36, 0xc075a98d, 0x406aee3e, 0x40d55164]),
            (251.0, [0x400c9929, 0xc0a57360, 0x40a429df, 0x4100ef45]),
            (1.0, [0x400c4516, 0xc0a5d015, 0x40a49f4e, 0x4100f869]),
        ],
    );
}

#[test]
fn ddpm() {
    check(
        Algorithm::Ddpm,
        leading(),
        Steps::Count(3),
        0.0,
        &[
            (667.0, [0x3f9a3ac2, 0xc003fb3d, 0x40465aaf, 0x4066e1fd]),
            (334.0, [0x3fa03cd4, 0xc063b7d1, 0x40a513ea, 0x409c96aa]),
            (1.0, [0x3f9dbaed, 0xc065e538, 0x40a68a6a, 0x409c9704]),
        ],
    );
}
