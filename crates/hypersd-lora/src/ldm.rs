//! The UNet's module paths in Stability's own code (LDM, SGM), which `sd-scripts` writes for SDXL.
//!
//! There the blocks of the down and the up path are two flat lists. Which number a block has follows from how many
//! come before it, so the paths are counted from those of diffusers and no version of the UNet is special.

use std::collections::BTreeSet;

/// `(diffusers path, LDM path)` for every module path of a UNet that has another in LDM; none for other networks.
pub(crate) fn paths(diffusers: &BTreeSet<&str>) -> Vec<(String, String)> {
    let blocks = blocks(diffusers);
    let rename = |path: &str| {
        let inside =
            |block: &str| path.strip_prefix(block).filter(|rest| rest.is_empty() || rest.starts_with('.'));
        blocks.iter().find_map(|(old, new)| Some(format!("{new}{}", inside_resnet(inside(old)?))))
    };
    diffusers.iter().filter_map(|path| Some(((*path).to_owned(), rename(path)?))).collect()
}

/// What is not in a block.
const OUTER: [(&str, &str); 7] = [
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
];

/// [`OUTER`], and every resnet, attention, downsampler and upsampler by its number in the flat lists.
fn blocks(paths: &BTreeSet<&str>) -> Vec<(String, String)> {
    let has = |prefix: &str| paths.range(prefix..).next().is_some_and(|path| path.starts_with(prefix));
    let resnets = |block: &str| (0..).take_while(|j| has(&format!("{block}.resnets.{j}."))).count();
    let count = |side: &str| (0..).take_while(|b| has(&format!("{side}.{b}."))).count();
    let mut table: Vec<_> = OUTER.iter().map(|(old, new)| (old.to_string(), new.to_string())).collect();
    let mut site = |block: &str, j: usize, to: String| {
        table.push((format!("{block}.resnets.{j}"), format!("{to}.0")));
        if has(&format!("{block}.attentions.{j}.")) {
            table.push((format!("{block}.attentions.{j}"), format!("{to}.1")));
        }
    };

    let (mut downsamplers, mut upsamplers) = (Vec::new(), Vec::new());
    let mut input = 1; // after conv_in
    for block in (0..count("down_blocks")).map(|b| format!("down_blocks.{b}")) {
        for j in 0..resnets(&block) {
            site(&block, j, format!("input_blocks.{input}"));
            input += 1;
        }
        if has(&format!("{block}.downsamplers.0.")) {
            downsamplers.push((format!("{block}.downsamplers.0.conv"), format!("input_blocks.{input}.0.op")));
            input += 1;
        }
    }
    let mut output = 0;
    for block in (0..count("up_blocks")).map(|b| format!("up_blocks.{b}")) {
        for j in 0..resnets(&block) {
            site(&block, j, format!("output_blocks.{output}"));
            output += 1;
        }
        if output > 0 && has(&format!("{block}.upsamplers.0.")) {
            // The upsampler shares the last resnet's number, after the attention where there is one.
            let at = if has(&format!("{block}.attentions.0.")) { 2 } else { 1 };
            let to = format!("output_blocks.{}.{at}.conv", output - 1);
            upsamplers.push((format!("{block}.upsamplers.0.conv"), to));
        }
    }
    let middle = (0..resnets("mid_block")).map(|j| ("resnets", j, 2 * j));
    let middle =
        middle.chain((0..resnets("mid_block").saturating_sub(1)).map(|j| ("attentions", j, 2 * j + 1)));
    table.extend(middle.map(|(kind, j, at)| (format!("mid_block.{kind}.{j}"), format!("middle_block.{at}"))));
    table.extend(downsamplers);
    table.extend(upsamplers);
    table
}

/// The rest of a path under its block's: attention sites agree, resnets do not.
fn inside_resnet(rest: &str) -> &str {
    match rest {
        ".norm1" => ".in_layers.0",
        ".conv1" => ".in_layers.2",
        ".time_emb_proj" => ".emb_layers.1",
        ".norm2" => ".out_layers.0",
        ".conv2" => ".out_layers.3",
        ".conv_shortcut" => ".skip_connection",
        same => same,
    }
}
