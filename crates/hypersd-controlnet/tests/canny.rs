//! Edge maps against OpenCV's, to the bit (`reference/canny.py`).

use hypersd_controlnet::Canny;
use hypersd_core::Image;

/// One image and what OpenCV finds in it.
struct Case {
    width: usize,
    height: usize,
    channels: usize,
    canny: Canny,
    pixels: Vec<u8>,
    /// 0 or 255.
    edges: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let path = format!("{}/tests/fixtures/canny.safetensors", env!("CARGO_MANIFEST_DIR"));
    let file = hypersd_testing::fixture(path);
    let bytes = |name: &str| file[name].data.iter().map(|&x| x as u8).collect::<Vec<u8>>();
    let (pixels, packed) = (bytes("pixels"), bytes("edges"));
    let (mut pixels, mut packed) = (pixels.as_slice(), packed.as_slice());
    let sizes = file["sizes"].data.as_chunks::<4>().0;
    let thresholds = file["thresholds"].data.as_chunks::<2>().0;
    let mut cases = Vec::new();
    for (size, &[low, high]) in sizes.iter().zip(thresholds) {
        let [width, height, channels, l2] = size.map(|n| n as usize);
        let (own, rest) = pixels.split_at(width * height * channels);
        let (bits, others) = packed.split_at((width * height).div_ceil(8));
        (pixels, packed) = (rest, others);
        let edge = |i: usize| if bits[i / 8] >> (7 - i % 8) & 1 == 1 { 255 } else { 0 };
        cases.push(Case {
            width,
            height,
            channels,
            canny: Canny { low: low.into(), high: high.into(), l2_gradient: l2 == 1 },
            pixels: own.to_vec(),
            edges: (0..width * height).map(edge).collect(),
        });
    }
    assert!(pixels.is_empty() && packed.is_empty(), "every byte is used");
    cases
}

#[test]
fn every_edge_map_is_opencvs() {
    let cases = cases();
    assert_eq!(cases.len(), 308);
    for (i, case) in cases.into_iter().enumerate() {
        let Case { width, height, channels, canny, pixels, edges } = case;
        let found = match channels {
            1 => canny.edges_of_gray(&pixels, width, height).unwrap(),
            _ => {
                let image = canny.edges(&Image::from_rgb8(width, height, pixels).unwrap()).unwrap();
                assert_eq!((image.width(), image.height()), (width, height));
                let (pixels, _) = image.rgb8().as_chunks::<3>();
                assert!(pixels.iter().all(|[r, g, b]| r == g && g == b), "case {i}: gray in RGB");
                pixels.iter().map(|[r, ..]| *r).collect()
            }
        };
        assert!(found == edges, "case {i}: {width}x{height}x{channels} with {canny:?}");
    }
}

/// A gray picture and the same in RGB: all channels are equally large, and the first counts.
#[test]
fn gray_is_rgb_of_three_equal_channels() {
    for case in cases().into_iter().filter(|case| case.channels == 1) {
        let rgb8 = case.pixels.iter().flat_map(|&p| [p; 3]).collect();
        let image = Image::from_rgb8(case.width, case.height, rgb8).unwrap();
        let edges: Vec<u8> = case.edges.iter().flat_map(|&edge| [edge; 3]).collect();
        assert_eq!(case.canny.edges(&image).unwrap().rgb8(), edges);
    }
}
